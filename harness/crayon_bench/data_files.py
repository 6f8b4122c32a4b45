"""Data files: where they are looked for, fetched, imported and verified. The only place that opens a connection."""

import gzip
import hashlib
import http.client
import json
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import platformdirs

from crayon_bench.dataset import DataFile, Dataset
from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.files import read_json, write_file

CHUNK = 1 << 20
ACCEPTED = "accepted-unverified.json"
"""Beside imported files: name → sha256 of those that the user took knowingly without their published checksum."""


def default_root() -> Path:
    """Return the data root that is used without ``--data-root``: ``$CRAYON_BENCH_DATA`` or the user's data folder."""
    chosen = os.environ.get("CRAYON_BENCH_DATA")
    return Path(chosen) if chosen else platformdirs.user_data_path("crayon-bench", appauthor=False)


@dataclass(frozen=True)
class FileReport:
    """What is known of one file. sha256: of the plain content. accepted: taken knowingly by ``data import``."""

    file: DataFile
    path: Path
    sha256: str
    accepted: bool

    @property
    def verified(self) -> bool:
        """Whether it has its published checksum."""
        return self.sha256 == self.file.sha256


def locate(dataset: type[Dataset], root: Path) -> dict[str, Path]:
    """Return the paths of the data set's files under *root*, by plain name: packed or plain, plain first.

    The folders in ``dataset.folders`` are tried in order; the first that has any of the files is taken. Returns an
    empty dictionary if none has; raises UserError if the folder has some of the files and lacks others.
    """
    for folder in (root / name for name in dataset.folders):
        paths = {}
        for file in dataset.files:
            for candidate in (folder / file.name, folder / file.packed):
                if candidate.is_file():
                    paths[file.name] = candidate
                    break
        if paths and len(paths) < len(dataset.files):
            missing = [f.packed for f in dataset.files if f.name not in paths]
            hint = f"add {'it' if len(missing) == 1 else 'them'}, or crayon-bench data prepare {dataset.name}"
            raise UserError(f"{folder}: incomplete: {', '.join(missing)} is missing", hint)
        if paths:
            return paths
    return {}


def inspect(dataset: type[Dataset], root: Path) -> list[FileReport]:
    """Return a report on every file under *root*; an empty list if there is none. Raises UserError if one is broken."""
    reports = []
    for name, path in locate(dataset, root).items():
        file = next(f for f in dataset.files if f.name == name)
        sha256 = content_sha256(path)
        reports.append(FileReport(file, path, sha256, _accepted(path.parent).get(name) == sha256))
    return reports


def content_sha256(path: Path) -> str:
    """Return the sha256 of a file's plain content (``.gz`` is unpacked). Raises UserError if it cannot be read."""
    hasher = hashlib.sha256()
    with open_plain(path) as stream:
        while chunk := stream.read(CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()


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
        here = [path for path in (folder / file.name, folder / file.packed) if path.is_file()]
        right = [path for path in here if _is_published(path, file)]
        for path in (path for path in here if path not in right):
            kept = path.with_name(f"{path.name}.unverified")
            path.replace(kept)
            say(f"{path.name}: not the published file, kept as {kept.name}")
        if right:
            say(f"{file.packed}: there already, verified")
            continue
        failures = []
        for url in [f"{mirror.rstrip('/')}/{file.packed}" for mirror in mirrors] + list(file.urls):
            say(f"{file.packed}: fetching {url}")
            try:
                _fetch(url, folder / file.packed, file)
                say(f"{file.packed}: verified")
                break
            except _FetchError as error:
                say(f"{file.packed}: {error}")
                failures.append(f"{url}: {error}")
        else:
            raise UserError(
                f"{file.packed}: no source delivered it ({'; '.join(failures)})",
                f"get it yourself, then crayon-bench data import {dataset.name} FOLDER",
            )
    return folder


def _is_published(path: Path, file: DataFile) -> bool:
    try:
        return content_sha256(path) == file.sha256
    except UserError:  # truncated or corrupt
        return False


class _FetchError(Exception):
    pass


def _fetch(url: str, target: Path, file: DataFile) -> None:
    if not url.startswith(("https://", "http://")):
        raise _FetchError("not an http(s) address")
    hasher, size, start = hashlib.sha256(), 0, b""
    limit = file.size + CHUNK  # nothing that we fetch grows by packing
    try:
        file_ = tempfile.NamedTemporaryFile(dir=target.parent, prefix=".fetch-", delete=False)  # noqa: SIM115
    except OSError as error:
        why = f"{target.parent}: cannot be written: {error.strerror or error}"
        raise UserError(why, "choose another --data-root") from None
    with file_ as out:
        temporary = Path(out.name)
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                while chunk := response.read(CHUNK):
                    start = start or chunk[:512]
                    size += len(chunk)
                    if size > limit:
                        raise _FetchError(f"larger than {limit} bytes")
                    hasher.update(chunk)
                    out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
            if hasher.hexdigest() != file.packed_sha256:
                if start.lstrip()[:1] == b"<":
                    raise _FetchError("an HTML page came in place of the file")
                raise _FetchError(f"wrong checksum ({size} bytes, sha256 {hasher.hexdigest()[:12]}…)")
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
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise UserError(f"{source}: broken: {error}", "fetch it again") from None
        missing = [file.packed for file in dataset.files if file.name not in found]
        if missing:
            raise UserError(f"{source}: {', '.join(missing)} is not in it (nor unpacked)", "nothing was imported")
        accepted = {}
        for file in dataset.files:
            sha256 = content_sha256(found[file.name])
            if sha256 == file.sha256:
                say(f"{file.name}: verified")
                continue
            if not accept_unverified:
                raise UserError(
                    f"{found[file.name]}: not the published file (sha256 {sha256[:12]}…, not {file.sha256[:12]}…)",
                    "to use it knowingly, add --accept-unverified; records and tables will say so",
                )
            accepted[file.name] = sha256
            say(f"{file.name}: UNVERIFIED, accepted (sha256 {sha256})")
        dataset.check_files(found)
        try:
            _copy_into(folder, dataset, found, accepted)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be written: {error.strerror or error}", "choose another --data-root"
            ) from None
    return folder


def _copy_into(folder: Path, dataset: type[Dataset], found: dict[str, Path], accepted: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in dataset.files:
        path = found[file.name]
        name = file.packed if path.suffix == ".gz" else file.name
        if path.resolve() != (folder / name).resolve():
            for stale in {file.packed, file.name} - {name}:
                (folder / stale).unlink(missing_ok=True)
            temporary = folder / f".{name}.tmp"
            shutil.copyfile(path, temporary)
            temporary.replace(folder / name)
    if accepted:
        write_file(folder / ACCEPTED, json.dumps(accepted, indent=1).encode() + b"\n")
    else:
        (folder / ACCEPTED).unlink(missing_ok=True)


def _find_files(dataset: type[Dataset], source: Path, scratch: Path) -> Iterator[tuple[str, Path]]:
    wanted = {name: file.name for file in dataset.files for name in (file.packed, file.name)}
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.name in wanted and path.is_file():
                yield wanted[path.name], path
    elif not source.exists():
        siblings = [p.name for p in source.parent.iterdir()] if source.parent.is_dir() else []
        raise UserError(f"{source}: there is no such file or folder", did_you_mean(source.name, siblings[:200]))
    elif source.name in wanted:
        for path in sorted(source.parent.iterdir()):  # one of the files names its folder
            if path.name in wanted and path.is_file():
                yield wanted[path.name], path
    else:
        limit = 2 * max(file.size for file in dataset.files)
        for member, stream in _members(source):
            base = Path(member).name
            if base in wanted:
                # Written under the name that we look for, never under the archive's: no path can lead outside.
                with (scratch / base).open("wb") as out:
                    _copy_bounded(stream, out, limit, f"{source}: {member}")
                yield wanted[base], scratch / base


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as bundle:
            for info in bundle.infolist():
                if not info.is_dir():
                    with bundle.open(info) as stream:
                        yield info.filename, stream
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as bundle:
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
