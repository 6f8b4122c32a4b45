"""Writing that is whole or not at all: temporary name, fsync, rename."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tomllib
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_DEEPEST = 50
"""Levels of a TOML file. Dotted keys nest without recursion, but what reads the result later recurses."""


def write_file(path: Path, content: bytes) -> None:
    """Write *content* to *path*; readers see the old file or the new one. Links and devices stay what they are."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        _write_synced(temporary, content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder *path* with *files* in it; an older folder of that name gives way in the last moment."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
        for name, content in files.items():
            _write_synced(temporary / name, content)
        sync_folder(temporary)
        replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(path.parent)


SUMS = "SHA256SUMS"
"""A folder's file of checksums, for ``sha256sum -c`` too."""


def with_sums(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files of a folder and one of their checksums."""
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
    return {**files, SUMS: sums.encode()}


def check_sums(folder: Path, names: Sequence[str]) -> None:
    """Raise ValueError if one of the files is not what was written. Folders of earlier versions have no sums."""
    if not (folder / SUMS).exists():
        return
    sums = (folder / SUMS).read_bytes()
    for name in names:
        if f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n".encode() not in sums:
            raise ValueError(f"{name}: the checksum does not match")


def replace_folder(temporary: Path, path: Path) -> None:
    """Rename a folder to *path*; an older folder of that name gives way."""
    # A folder cannot replace one that is not empty: the old one is renamed away first. Killed between the two renames,
    # the run is merely missing. Another process may do the same at the same moment: then try again, the last one wins.
    for attempt in range(50):
        try:
            temporary.rename(path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or attempt == 49:
                raise
        old = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
        with contextlib.suppress(FileNotFoundError):
            path.rename(old)
            shutil.rmtree(old, ignore_errors=True)


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder so that it is kept but no longer found; return its new path."""
    kept = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.damaged")
    path.rename(kept)
    return kept


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises OSError or ValueError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Return the content of TOML. Raises ValueError, also for what would be a trap later on."""
    try:
        content = tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level: list[Any] = [content]
    for _ in range(_DEEPEST):
        if any(isinstance(value, int) and abs(value) >= 1 << 63 for value in level):
            raise ValueError("an integer has more than the 64 bits that TOML allows")  # Python refuses to print them
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
        ]
        if not level:
            return content
    raise ValueError("nested too deeply")


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Put on the disk which files a folder has: what was made, renamed or deleted in it. Raises OSError."""
    if os.name == "nt":  # a folder cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
