"""Data files: where they are looked for, fetched, imported and verified. The only place that opens a connection."""

import gzip
import hashlib
import http.client
import json
import os
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import IO, cast

import platformdirs

from crayon_bench.data.preparing import Preparing
from crayon_bench.data.trees import BROKEN, is_tar, is_zip, open_member, open_tar, open_tree
from crayon_bench.dataset import IMAGE_SUFFIXES, DataFile, Dataset
from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.store.atomic import read_json, replace_folder, write_file

CHUNK = 1 << 20
ACCEPTED = "accepted-unverified.json"
"""Beside imported files: name → sha256 of those that the user took knowingly without their published checksum."""


def default_root() -> Path:
    """Return the data root that is used without ``--data-root``: ``$CRAYON_BENCH_DATA`` or the user's data folder."""
    chosen = os.environ.get("CRAYON_BENCH_DATA")
    return Path(chosen) if chosen else platformdirs.user_data_path("crayon-bench", appauthor=False)


@dataclass(frozen=True)
class FileReport:
    """What is known of one file.

    sha256: of the plain content; of a tree, of its members' names, sizes and crc32s. accepted: taken knowingly by
    ``data import``. why: how it differs from the published one; ``""`` if it does not, as far as that can be told.
    """

    file: DataFile
    path: Path
    sha256: str
    accepted: bool
    why: str

    @property
    def verified(self) -> bool:
        """Whether it has its published checksum; of a tree, its published number of files."""
        return not self.why


def locate(dataset: type[Dataset], root: Path) -> dict[str, Path]:
    """Return the paths of the data set's files under *root*, by plain name: packed or plain, plain first.

    The folders in ``dataset.folders`` are tried in order; the first that has any of the files is taken. Returns an
    empty dictionary if none has; raises UserError if the folder has some of the files and lacks others.
    """
    for folder in (root / name for name in dataset.folders):
        paths = {}
        for file in dataset.files:
            for candidate in (folder / file.name, folder / file.packed):
                if _is_there(candidate, file):
                    paths[file.name] = candidate
                    break
        if paths and len(paths) < len(dataset.files):
            lacking = [file for file in dataset.files if file.name not in paths]
            missing = [f"{f.packed} (or the folder {f.name})" if f.tree else f.packed for f in lacking]
            what = "it" if len(missing) == 1 else "them"
            hint = f"add {what}{_from(lacking)}, or crayon-bench data prepare {dataset.name}"
            raise UserError(f"{folder}: incomplete: {', '.join(missing)} is missing", hint)
        if paths:
            return paths
    return {}


def _is_there(path: Path, file: DataFile) -> bool:
    return path.is_file() if path.name == file.packed or not file.tree else path.is_dir()


def _from(files: Sequence[DataFile]) -> str:
    origins = list(dict.fromkeys(file.origin for file in files if file.origin))
    return f", from {' and '.join(origins)}" if origins else ""


def inspect(dataset: type[Dataset], root: Path) -> list[FileReport]:
    """Return a report on every file under *root*; an empty list if there is none. Raises UserError if one is broken."""
    reports = []
    for name, path in locate(dataset, root).items():
        file = next(f for f in dataset.files if f.name == name)
        sha256, why = _compare(file, path)
        reports.append(FileReport(file, path, sha256, _accepted(path.parent).get(name) == sha256, why))
    return reports


def _compare(file: DataFile, path: Path) -> tuple[str, str]:
    """Return the hash of the content, and how it differs from the published file."""
    if file.tree:
        tree = open_tree(path, file.name)
        # Images alone: what else lies in an archive, such as a licence, differs between packers.
        number, why = sum(name.lower().endswith(IMAGE_SUFFIXES) for name in tree.members), ""
        if file.members and number != file.members:
            why = f"{path.name} holds {number:,} images, the published one {file.members:,}"
        return tree.digest(), why
    sha256, md5 = _digests(path, 2 * file.size + CHUNK)
    kind, here, published = ("sha256", sha256, file.sha256) if file.sha256 else ("md5", md5, file.packed_md5)
    if not published or here == published:
        return sha256, ""
    what = f"{kind} of its content {here[:12]}…, published {published[:12]}…"
    return sha256, f"{path.name} is not the published file ({what})"


def unverified(dataset: type[Dataset], reports: Sequence[FileReport], *, strict: bool) -> tuple[str, ...]:
    """Return the notes that stand under every table made from files that are not the published ones.

    Raises UserError if *strict* (see :meth:`Dataset.find`) and one is neither published nor accepted on import.
    """
    hint = f"crayon-bench data prepare {dataset.name}, or data import … --accept-unverified"
    notes = []
    for report in reports:
        if not report.verified:
            notes.append(f"UNVERIFIED data: {report.why}")
            if strict and not report.accepted:
                raise UserError(f"{report.path}: {notes[-1]}", hint)
    for doubt in dataset.doubts({report.file.name: report.path for report in reports}):
        notes.append(f"UNVERIFIED data: {doubt}")
        if strict and not all(report.accepted for report in reports):
            raise UserError(f"{reports[0].path.parent}: {notes[-1]}", hint)
    return tuple(notes)


def content_sha256(path: Path) -> str:
    """Return the sha256 of a file's plain content (``.gz`` is unpacked). Raises UserError if it cannot be read."""
    return _digests(path)[0]


def _digests(path: Path, limit: float = inf) -> tuple[str, str]:
    size = 0
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with open_plain(path) as stream:
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            if size > limit:  # a small .gz may unpack to terabytes
                raise UserError(f"{path}: larger than {limit} bytes, twice the published file")
            sha256.update(chunk)
            md5.update(chunk)
    return sha256.hexdigest(), md5.hexdigest()


def is_published_archive(path: Path, file: DataFile) -> bool | None:
    """Return whether a tree's archive has its published checksum; None if it is a folder, or none is published."""
    if path.is_dir() or not (file.packed_sha256 or file.packed_md5):
        return None
    hasher = _packed_hasher(file)
    try:
        with path.open("rb") as stream, Preparing(f"{path.name}: checksum, MB", path.stat().st_size >> 20) as progress:
            while chunk := stream.read(CHUNK):
                hasher.update(chunk)
                progress.step()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    return hasher.hexdigest() == (file.packed_sha256 or file.packed_md5)


def _packed_hasher(file: DataFile) -> "hashlib._Hash":
    md5 = file.packed_md5 and not file.packed_sha256
    return hashlib.md5(usedforsecurity=False) if md5 else hashlib.sha256()


@contextmanager
def open_plain(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacking ``.gz``. Whatever is wrong with it becomes a UserError."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            yield cast("IO[bytes]", stream)
    except EOFError:
        raise UserError(f"{path}: truncated: it ends too early", "fetch it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: corrupt: {error}", "fetch it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def _accepted(folder: Path) -> dict[str, str]:
    try:
        content = read_json(folder / ACCEPTED)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / ACCEPTED}: cannot be read: {error}", "delete it and import again") from None
    return content if isinstance(content, dict) else {}


# ---------------------------------------------------------------------------------------------------------------------
# data prepare


def prepare(dataset: type[Dataset], root: Path, mirrors: Sequence[str], say: Callable[[str], None]) -> Path:
    """Fetch the data set's files into *root*, from *mirrors* (base URLs) first; return their folder.

    A file that is there with its published checksum is left alone. Raises UserError if no source delivers a file with
    the published checksum; what was delivered is then not kept.
    """
    if not dataset.files:
        raise UserError(f"dataset '{dataset.name}' has nothing to prepare")
    folder = root / dataset.folders[0]
    _make(folder)
    for file in dataset.files:
        here = [path for path in dict.fromkeys((folder / file.name, folder / file.packed)) if _is_there(path, file)]
        right = [path for path in here if _is_published(dataset, path, file)]
        for path in (path for path in here if path not in right):
            kept = path.with_name(f"{path.name}.unverified")
            (replace_folder if path.is_dir() else Path.replace)(path, kept)
            say(f"{path.name}: not the published file, kept as {kept.name}")
        if right:
            say(f"{file.packed}: there already, verified")
            continue
        failures = []
        for url in [f"{mirror.rstrip('/')}/{file.packed}" for mirror in mirrors] + list(file.urls):
            say(f"{file.packed}: fetching {url}")
            try:
                _fetch(dataset, url, folder / file.packed, file)
                say(f"{file.packed}: {'verified' if _checksum(file) else 'checked; no checksum of it is published'}")
                break
            except _FetchError as error:
                say(f"{file.packed}: {error}")
                failures.append(f"{url}: {error}")
        else:
            raise UserError(
                f"{file.packed}: no source delivered it ({'; '.join(failures)})",
                _by_hand(dataset, file),
            )
    return folder


def _by_hand(dataset: type[Dataset], file: DataFile) -> str:
    names = ", ".join(f.packed for f in dataset.files)
    what = f"get {names}{_from(dataset.files)}" if file.origin else "get it yourself"
    return f"{what}, then crayon-bench data import {dataset.name} FOLDER"


def _checksum(file: DataFile) -> str:
    """Return the published file's checksum; ``""`` if none is published."""
    return file.packed_sha256 or file.packed_md5


def _is_published(dataset: type[Dataset], path: Path, file: DataFile) -> bool:
    try:
        if not _checksum(file):
            dataset.check_file(file, path)
        if file.tree and (right := is_published_archive(path, file)) is not None:
            return right
        return not _compare(file, path)[1]
    except UserError:  # truncated or corrupt
        return False


class _FetchError(Exception):
    pass


def _fetch(dataset: type[Dataset], url: str, target: Path, file: DataFile) -> None:
    if not url.startswith(("https://", "http://")):
        raise _FetchError("not an http(s) address")
    hasher, size, start = _packed_hasher(file), 0, b""
    limit = file.size + CHUNK  # nothing that we fetch grows by packing
    try:
        file_ = tempfile.NamedTemporaryFile(dir=target.parent, prefix=".fetch-", delete=False)  # noqa: SIM115
    except OSError as error:
        why = f"{target.parent}: cannot be written: {error.strerror or error}"
        raise UserError(why, "choose another --data-root") from None
    with file_ as out:
        temporary = Path(out.name)
        try:
            with (
                urllib.request.urlopen(url, timeout=60) as response,
                Preparing(f"{file.packed}: fetching, MB", max(1, file.size >> 20)) as progress,
            ):
                while chunk := response.read(CHUNK):
                    start = start or chunk[:512]
                    size += len(chunk)
                    if size > limit:
                        raise _FetchError(f"larger than {limit} bytes")
                    hasher.update(chunk)
                    out.write(chunk)
                    progress.step((size >> 20) - progress.done)
            out.flush()
            os.fsync(out.fileno())
            if hasher.hexdigest() != _checksum(file):
                if start.lstrip()[:1] == b"<":
                    raise _FetchError("an HTML page came in place of the file")
                if _checksum(file):
                    raise _FetchError(f"wrong checksum ({size} bytes, {hasher.name} {hasher.hexdigest()[:12]}…)")
                try:
                    dataset.check_file(file, temporary)
                except UserError as error:
                    raise _FetchError(str(error).replace(str(temporary), file.packed)) from None
            temporary.chmod(0o644)
            temporary.replace(target)
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
            raise _FetchError(f"failed: {getattr(error, 'reason', error)}") from None
        finally:
            temporary.unlink(missing_ok=True)


# ---------------------------------------------------------------------------------------------------------------------
# data import


def import_files(
    dataset: type[Dataset], source: Path, root: Path, *, accept_unverified: bool, say: Callable[[str], None]
) -> Path:
    """Copy the data set's files from *source* (folder, file, zip or tar) into *root*; return their folder.

    All files are checked before the first is copied. One without its published checksum is refused unless
    *accept_unverified*, and is then noted in :data:`ACCEPTED`. Raises UserError.
    """
    if not dataset.files:
        raise UserError(f"dataset '{dataset.name}' has nothing to import")
    folder = root / dataset.folders[0]
    with tempfile.TemporaryDirectory(prefix="crayon-bench-") as scratch:
        try:
            found = dict(_find_files(dataset, source, Path(scratch)))
        except (OSError, *BROKEN) as error:
            raise UserError(f"{source}: broken: {error}", "fetch it again") from None
        missing = [file.packed for file in dataset.files if file.name not in found]
        if missing:
            raise UserError(f"{source}: {', '.join(missing)} is not in it (nor unpacked)", "nothing was imported")
        hint = "to use it knowingly, add --accept-unverified; records and tables will say so"
        accepted, digests = {}, {}
        for file in dataset.files:
            digests[file.name], why = _compare(file, found[file.name])
            if not why:
                say(f"{file.name}: {_approval(file)}")
                continue
            if not accept_unverified:
                raise UserError(f"{found[file.name]}: {why}", hint)
            accepted[file.name] = digests[file.name]
            say(f"{file.name}: UNVERIFIED, accepted ({why})")
        dataset.check_files(found)
        for doubt in dataset.doubts(found):
            if not accept_unverified:
                raise UserError(f"{source}: {doubt}", hint)
            accepted = digests
            say(f"UNVERIFIED, accepted: {doubt}")
        try:
            _copy_into(folder, dataset, found, accepted)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be written: {error.strerror or error}", "choose another --data-root"
            ) from None
    return folder


def _approval(file: DataFile) -> str:
    if file.tree and file.members:
        return f"{file.members:,} images, as published"
    return "verified" if file.sha256 or _checksum(file) else "whole; no checksum of it is published"


def _copy_into(folder: Path, dataset: type[Dataset], found: dict[str, Path], accepted: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    staged: list[tuple[Path, Path, set[str]]] = []
    try:
        for file in dataset.files:
            path = found[file.name]
            if file.tree:
                name = file.name if path.is_dir() else file.packed
            else:
                name = file.packed if path.suffix == ".gz" else file.name
            if path.resolve() == (folder / name).resolve():
                continue
            temporary = folder / f".{name}.tmp"
            _remove(temporary)
            staged.append((temporary, folder / name, {file.packed, file.name} - {name}))
            if path.is_dir():
                shutil.copytree(path, temporary)
            else:
                shutil.copyfile(path, temporary)
        # Everything is copied before anything is replaced: a disk that fills up leaves what was there before.
        for temporary, target, stale in staged:
            for name in stale:
                _remove(folder / name)
            if temporary.is_dir():
                replace_folder(temporary, target)
            else:
                temporary.replace(target)
    finally:
        for temporary, _, _ in staged:
            _remove(temporary)
    if accepted:
        write_file(folder / ACCEPTED, json.dumps(accepted, indent=1).encode() + b"\n")
    else:
        (folder / ACCEPTED).unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _find_files(dataset: type[Dataset], source: Path, scratch: Path) -> Iterator[tuple[str, Path]]:
    wanted = {name: file for file in dataset.files for name in (file.packed, file.name)}
    if source.is_dir() and source.name not in wanted:
        for found, folders, names in os.walk(source):
            here = [Path(found, name) for name in sorted([*folders, *names])]
            yield from ((wanted[path.name].name, path) for path in here if _is_wanted(path, wanted))
            folders[:] = sorted(name for name in folders if name not in wanted)
    elif not source.exists():
        siblings = [p.name for p in source.parent.iterdir()] if source.parent.is_dir() else []
        raise UserError(f"{source}: there is no such file or folder", did_you_mean(source.name, siblings[:200]))
    elif source.name in wanted:
        for path in sorted(source.resolve().parent.iterdir()):  # one of the files names its folder
            if _is_wanted(path, wanted):
                yield wanted[path.name].name, path
    else:
        limit = 2 * max(file.size for file in dataset.files)
        for member, stream in _members(source):
            base = Path(member).name
            if base in wanted:
                # Written under the name that we look for, never under the archive's: no path can lead outside.
                with (scratch / base).open("wb") as out:
                    _copy_bounded(stream, out, limit, f"{source}: {member}")
                yield wanted[base].name, scratch / base


def _is_wanted(path: Path, wanted: dict[str, DataFile]) -> bool:
    return path.name in wanted and _is_there(path, wanted[path.name])


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if is_zip(archive):
        with zipfile.ZipFile(archive) as bundle:
            for info in bundle.infolist():
                if not info.is_dir():
                    with open_member(bundle, info) as stream:
                        yield info.filename, stream
    elif is_tar(archive):
        with archive.open("rb") as raw, open_tar(raw) as bundle:
            for member in bundle:
                if member.isfile() and (opened := bundle.extractfile(member)) is not None:
                    yield member.name, opened
    else:
        raise UserError(f"{archive}: neither a zip nor a tar archive, nor one of the data set's files")


def _copy_bounded(stream: IO[bytes], out: IO[bytes], limit: int, what: str) -> None:
    size = 0
    while chunk := stream.read(CHUNK):
        size += len(chunk)
        if size > limit:
            raise UserError(f"{what}: larger than {limit} bytes, which none of these files is")
        out.write(chunk)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror or error}", "choose another --data-root") from None
