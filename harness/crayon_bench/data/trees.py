"""Many files under one name: a folder, a zip or a tar archive, read in place and never unpacked.

Members are named by their path below the tree's own folder, with ``/``, however the tree is packed:
``img_align_celeba.zip`` and the folder ``img_align_celeba`` both have the member ``000001.jpg``. Nothing is written, so
that no member can be written outside; a member whose name leads outside, or that is a link, makes the archive invalid.
"""

import hashlib
import json
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from lzma import LZMAError
from pathlib import Path
from typing import IO, Any

import platformdirs

from crayon_bench.data.preparing import Preparing, in_threads
from crayon_bench.errors import UserError
from crayon_bench.store.atomic import write_file

_CHUNK = 1 << 20
_FORMAT = 1
"""Raise it when what is kept of a scan changes."""
LARGEST = 256 << 20
"""Largest file that is read into memory, in bytes. None of these data sets has one; a bomb would fill memory."""
_TIMES, _ROOM = 20, 1 << 30
"""A tar archive may unpack to so many times its size and so many bytes more. Images hardly shrink by packing."""
_HEADER = 1 << 20
"""Largest header of a tar's member, such as its long name."""
BROKEN = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, struct.error),
    *(RuntimeError, ValueError, ArithmeticError, LookupError),
)
"""What zipfile and tarfile raise at archives that are broken, beside OSError."""
_SMALL = 16 << 20
"""Largest text of a tar archive that a scan keeps, in bytes."""
_TEXTS = (".csv", ".json", ".txt")


def cache_root() -> Path:
    """Return the folder of things that can be made again: ``$CRAYON_BENCH_CACHE`` or the user's cache folder."""
    chosen = os.environ.get("CRAYON_BENCH_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("crayon-bench", appauthor=False)


@dataclass(frozen=True, slots=True)
class Member:
    """size: bytes; crc32: of the content."""

    size: int
    crc32: int


@dataclass
class _Scan:
    members: dict[str, Member] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


_scans: dict[tuple[str, str], tuple[str, _Scan]] = {}
"""Scans of this process, by path and name: (signature, scan)."""


class Tree(ABC):
    """Many files under one name; see :func:`open_tree`. Whatever is wrong with them becomes a UserError."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self._known: _Scan | None = None

    @property
    def members(self) -> Mapping[str, Member]:
        """Every file: name → size and crc32.

        A zip's own directory is believed. Folders and tar archives are read once; the result is kept in the cache
        folder and holds until a name, size or modification time changes. Not noticed: a change that keeps all three.
        """
        return self._scan().members

    def digest(self) -> str:
        """Return a sha256 of names, sizes and crc32s: the same however the tree is packed."""
        return digest_of(self.members, sorted(self.members))

    def missing(self, names: Collection[str]) -> list[str]:
        """Return those of *names* that the tree has not."""
        members = self.members
        return [name for name in names if name not in members]

    def check(self) -> None:
        """Read every file. Raises UserError at the first that does not fit the checksum that its archive has of it."""
        names = self.members
        with Preparing(f"{self.path.name}: reading", len(names)) as progress:
            for _ in self.contents(names):
                progress.step()

    def read(self, name: str) -> bytes:
        """Return one file's content. Raises UserError if there is none of that *name*."""
        for _, content in self.contents([name]):
            return content
        raise UserError(f"{self.path}: there is no {name} in it")

    @abstractmethod
    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of those *names* that there are, once each, in an order that is quick to read."""

    @abstractmethod
    def _signature(self) -> str:
        """Return something cheap that changes when the content does."""

    @abstractmethod
    def _make_scan(self) -> _Scan: ...

    def _scan(self) -> _Scan:
        if self._known is None:
            here = (str(self.path.resolve()), self.name)
            with self._errors():
                signature = self._signature()
            known = _scans.get(here)
            if known is None or known[0] != signature:
                known = signature, self._kept_scan(here, signature)
                _scans[here] = known
            self._known = known[1]
        return self._known

    def _kept_scan(self, here: tuple[str, str], signature: str) -> _Scan:
        with self._errors():
            return self._make_scan()

    def member_name(self, name: str) -> str | None:
        """Return a packed file's name below the tree's own folder; None for a packer's litter.

        Raises UserError if the name leads outside.
        """
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or "\\" in name or "\0" in name or ".." in parts or ":" in (parts or [""])[0]:
            raise UserError(
                f"{self.path}: the name of its member {name!r} leads outside the archive", "do not trust it"
            )
        if not parts or "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1] in (".DS_Store", "Thumbs.db"):
            return None
        if self.name in parts[:-1]:
            parts = parts[len(parts) - parts[::-1].index(self.name) :]
        return "/".join(parts)

    def _bound(self, name: str, size: int) -> None:
        if size > LARGEST:
            raise UserError(f"{self.path}: {name}: larger than {LARGEST >> 20} MiB, which no file here is")

    def _put(self, scan: _Scan, name: str, member: Member) -> None:
        if name in scan.members:
            raise UserError(f"{self.path}: {name} is in it twice")
        scan.members[name] = member

    @contextmanager
    def _errors(self, name: str = "") -> Iterator[None]:
        where = f"{self.path}: {name}" if name else str(self.path)
        try:
            yield
        except EOFError:
            raise UserError(f"{where}: truncated: it ends too early", "fetch it again") from None
        except BROKEN as error:
            raise UserError(f"{where}: broken: {error}", "fetch it again") from None
        except FileNotFoundError:
            raise UserError(f"{where}: not there (any more)") from None
        except OSError as error:
            raise UserError(f"{where}: cannot be read: {error.strerror or error}") from None


def digest_of(members: Mapping[str, Member], names: Collection[str]) -> str:
    """Return a sha256 of the name, size and crc32 of these *names*, in their order."""
    hasher = hashlib.sha256()
    for name in names:
        member = members[name]
        hasher.update(f"{name}\t{member.size}\t{member.crc32:08x}\n".encode(errors="surrogateescape"))
    return hasher.hexdigest()


def open_tree(path: Path, name: str) -> Tree:
    """Return the tree at *path*: a folder, or a zip or tar archive (told by content). *name*: of its own folder.

    Raises UserError if it is none of them.
    """
    if path.is_dir():
        return _Folder(path, name)
    try:
        if is_zip(path):
            return _Zip(path, name)
        if is_tar(path):
            return _Tar(path, name)
        with path.open("rb") as stream:
            start = stream.read(512).lstrip()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    if start[:1] == b"<":
        raise UserError(f"{path}: an HTML page, not an archive", "open it in a browser to see what it says")
    raise UserError(f"{path}: neither a folder nor a whole zip or tar archive", "fetch it again")


def is_zip(path: Path) -> bool:
    """Return whether *path* begins, or ends, as a zip archive does. Raises OSError."""
    try:
        return zipfile.is_zipfile(path)
    except BROKEN:
        return False


def is_tar(path: Path) -> bool:
    """Return whether *path* begins as a tar archive does, packed or not. Raises OSError."""
    try:
        with path.open("rb") as stream, open_tar(stream):
            return True
    except BROKEN:
        return False


def open_member(bundle: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """Open a zip's member, to be read piece by piece: only so does zipfile unpack no more than is asked for."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others it unpacks at once
        raise zipfile.BadZipFile(f"{info.filename} is packed by a method other than deflate")
    return bundle.open(info)


def open_tar(stream: IO[bytes]) -> tarfile.TarFile:
    """Open a tar archive whose headers are looked at before they are believed."""
    return tarfile.open(fileobj=stream, tarinfo=_Info)


class _Info(tarfile.TarInfo):
    """A member that cannot lead tarfile back to where it was, nor have it read a header of gigabytes."""

    def _block(self, count: int) -> int:
        if count < 0:  # CVE-2025-8194
            raise tarfile.HeaderError("a member has a negative size")
        return super()._block(count)  # type: ignore[misc,no-any-return]

    def _proc_member(self, tar: tarfile.TarFile) -> Any:
        names = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        if self.type in (*names, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE) and self.size > _HEADER:
            raise tarfile.HeaderError(f"a header of {self.size} bytes")
        return super()._proc_member(tar)  # type: ignore[misc]


class _Folder(Tree):
    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in names:
            # Most files lie where their names say, and the folder need not be walked.
            path: str | None = os.path.join(self.path, name)  # noqa: PTH118
            if self.member_name(name) != name or not os.path.isfile(str(path)):  # noqa: PTH113
                self._scan()
                path = self._files.get(name)
            if path is not None:
                with self._errors(name):
                    self._bound(name, Path(path).stat().st_size)
                    content = Path(path).read_bytes()
                yield name, content

    def _signature(self) -> str:
        # Plain strings and not Path objects: there may be 200,000 files, and this is done for every plan.
        self._files: dict[str, str] = {}
        found: list[str] = []
        folders = [str(self.path)]
        while folders:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    # A link to a folder is not followed: one above would have no end. Links to files are.
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                        continue
                    info = entry.stat()
                    if not stat.S_ISREG(info.st_mode):
                        continue
                    relative = os.path.relpath(entry.path, self.path) if os.sep != "/" else entry.path[self._offset :]
                    name = self.member_name(relative.replace(os.sep, "/"))
                    if name is not None:
                        found.append(f"{name}\t{info.st_size}\t{info.st_mtime_ns}")
                        self._files[name] = entry.path
        if len(self._files) != len(found):
            raise UserError(f"{self.path}: the same file is in it twice, in folders called {self.name} in one another")
        return hashlib.sha256("\n".join(sorted(found)).encode(errors="surrogateescape")).hexdigest()

    @property
    def _offset(self) -> int:
        return len(str(self.path)) + 1 if str(self.path) != "/" else 1

    def _kept_scan(self, here: tuple[str, str], signature: str) -> _Scan:
        return _kept(here, signature, lambda: super(_Folder, self)._kept_scan(here, signature))

    def _make_scan(self) -> _Scan:
        names = sorted(self._files)
        scan = _Scan()
        with (
            Preparing(f"{self.path.name}: checksums", len(names)) as progress,
            closing(in_threads(self._member, names)) as results,
        ):
            for name, member in zip(names, results, strict=True):
                scan.members[name] = member
                progress.step()
        return scan

    def _member(self, name: str) -> Member:
        size = crc32 = 0
        with self._errors(name), Path(self._files[name]).open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                crc32 = zlib.crc32(chunk, crc32)
        return Member(size, crc32)


class _Zip(Tree):
    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        wanted = set(names)
        with self._errors(), zipfile.ZipFile(self.path) as bundle:
            for info in bundle.infolist():
                name = None if info.is_dir() else self.member_name(info.filename)
                if name in wanted:
                    self._bound(name, info.file_size)
                    with self._errors(name), open_member(bundle, info) as stream:
                        content = stream.read(info.file_size + 1)
                        if len(content) != info.file_size:
                            raise EOFError
                    yield name, content

    def _signature(self) -> str:
        return _file_signature(self.path)

    def _make_scan(self) -> _Scan:
        scan = _Scan()
        with zipfile.ZipFile(self.path) as bundle:
            for info in bundle.infolist():
                if info.is_dir() or (name := self.member_name(info.filename)) is None:
                    continue
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise UserError(f"{self.path}: its member {name} is a link, which is not followed")
                self._put(scan, name, Member(info.file_size, info.CRC))
        return scan


class _Tar(Tree):
    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        wanted = set(names)
        known = self._scan()
        for name in [name for name in names if name in known.texts]:
            wanted.discard(name)
            yield name, known.texts[name].encode()
        if not wanted:
            return
        with self._errors(), self.path.open("rb") as raw, open_tar(raw) as bundle:
            for name, info in self._infos(bundle):
                if name in wanted:
                    self._bound(name, info.size)
                    stream = bundle.extractfile(info)
                    content = b"" if stream is None else stream.read()
                    if zlib.crc32(content) != known.members[name].crc32:
                        raise UserError(f"{self.path}: {name} changed while it was read")
                    yield name, content

    def _signature(self) -> str:
        return _file_signature(self.path)

    def _kept_scan(self, here: tuple[str, str], signature: str) -> _Scan:
        return _kept(here, signature, lambda: super(_Tar, self)._kept_scan(here, signature))

    def _make_scan(self) -> _Scan:
        scan = _Scan()
        total = self.path.stat().st_size
        with (
            Preparing(f"{self.path.name}: checksums, MB", total >> 20) as progress,
            self.path.open("rb") as raw,
            open_tar(raw) as bundle,
        ):
            for name, info in self._infos(bundle):
                stream = bundle.extractfile(info)
                size = crc32 = 0
                kept: list[bytes] | None = [] if name.endswith(_TEXTS) and info.size <= _SMALL else None
                while stream is not None and (chunk := stream.read(_CHUNK)):
                    size += len(chunk)
                    crc32 = zlib.crc32(chunk, crc32)
                    if kept is not None:
                        kept.append(chunk)
                if size != info.size:
                    raise EOFError
                self._put(scan, name, Member(size, crc32))
                if kept is not None:
                    with suppress(UnicodeDecodeError):  # then it is read from the archive when it is wanted
                        scan.texts[name] = b"".join(kept).decode()
                progress.step(max(0, (raw.tell() >> 20) - progress.done))
            # A tar ends before its packing does, and only there stands the checksum of a .gz.
            rest = 0
            while bundle.fileobj is not None and (chunk := bundle.fileobj.read(_CHUNK)):
                rest += len(chunk)
                self._no_bomb(rest)
        return scan

    def _no_bomb(self, unpacked: int) -> None:
        if unpacked > _TIMES * self.path.stat().st_size + _ROOM:
            raise UserError(f"{self.path}: it unpacks to more than {_TIMES} times its size: no archive of images does")

    def _infos(self, bundle: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
        total = 0
        for info in bundle:
            total += tarfile.BLOCKSIZE + info.size
            self._no_bomb(total)
            if info.isdir() or (name := self.member_name(info.name)) is None:
                continue
            if not info.isfile() or info.issparse():
                what = "a link" if info.issym() or info.islnk() else "sparse" if info.issparse() else "a device"
                raise UserError(f"{self.path}: its member {name} is {what}, which is not followed")
            yield name, info


def _file_signature(path: Path) -> str:
    info = path.stat()
    return f"{info.st_size} {info.st_mtime_ns}"


def _kept(here: tuple[str, str], signature: str, make: Callable[[], _Scan]) -> _Scan:
    """Return the scan that is kept in the cache folder, or *make* and keep it. A cache that fails is done without."""
    file = cache_root() / "trees" / f"{hashlib.sha256(repr(here).encode()).hexdigest()[:24]}.scan"
    try:
        checksum, _, body = file.read_bytes().partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != checksum:
            raise ValueError("damaged")
        content: Any = json.loads(body)
        if [content["format"], content["where"], content["signature"]] == [_FORMAT, list(here), signature]:
            members = {name: Member(size, crc32) for name, size, crc32 in content["members"]}
            return _Scan(members, dict(content["texts"]))
    except (OSError, ValueError, KeyError):
        pass
    scan = make()
    kept = {
        "format": _FORMAT,
        "where": here,
        "signature": signature,
        "members": [(name, member.size, member.crc32) for name, member in scan.members.items()],
        "texts": scan.texts,
    }
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        body = json.dumps(kept).encode()
        write_file(file, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    return scan
