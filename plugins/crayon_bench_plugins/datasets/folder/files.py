"""The images and masks that metadata.csv names: their checksums, and opening them."""

import hashlib
import json
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from crayon_bench import UserError
from crayon_bench.data.preparing import Preparing, in_threads
from crayon_bench.data.roots import cache_root
from crayon_bench.store.atomic import read_json, write_file
from crayon_bench_plugins.datasets.folder.metadata import Row, place_of
from crayon_bench_plugins.datasets.folder.reading import read_bounded
from crayon_bench_plugins.datasets.folder.sheet import LIST

MEND = f"replace it, or take its line out of {LIST}; data verify lists all that are broken"


def checksums(root: Path, rows: Sequence[Row]) -> dict[str, str]:
    """Return the sha256 of every image and mask, in the rows' order.

    They are kept in the cache folder, and hold until a file's size or time of modification changes. Raises UserError
    with its line for a file that is not there.
    """
    lines: dict[str, Row] = {}
    for row in rows:
        for name in (row.path, row.mask):
            if name:
                lines.setdefault(name, row)
    kept_in = cache_root() / "folders" / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:24]}.json"
    known = _kept(kept_in)
    signatures = _signatures(root, lines)
    stale = [name for name, signature in signatures.items() if known.get(name, [])[:2] != signature]

    def make(name: str) -> str:
        try:
            return hashlib.sha256(read_bounded(root / name)).hexdigest()
        except OSError as error:
            raise _missing(root, lines[name], name, error) from None

    with Preparing(f"{root.name}: checksums", len(stale)) as progress, closing(in_threads(make, stale)) as results:
        for name, sha256 in zip(stale, results, strict=True):
            known[name] = [*signatures[name], sha256]
            progress.step()
    if stale:
        with suppress(OSError):  # a cache that cannot be kept is done without
            kept_in.parent.mkdir(parents=True, exist_ok=True)
            write_file(kept_in, json.dumps({name: known[name] for name in lines}).encode())
    return {name: known[name][2] for name in lines}


def _signatures(root: Path, lines: Mapping[str, Row]) -> dict[str, list[int]]:
    signatures, problem, missing = {}, None, 0
    for name, row in lines.items():
        try:
            info = (root / name).stat()
            if not stat.S_ISREG(info.st_mode):
                raise FileNotFoundError(2, "not a file")
            signatures[name] = [info.st_size, info.st_mtime_ns]
        except (OSError, ValueError) as error:
            missing += 1
            problem = problem or (row, name, error)
    if problem:
        raise _missing(root, *problem, f" (and {missing - 1:,} more)" if missing > 1 else "")
    return signatures


def _missing(root: Path, row: Row, name: str, error: Exception, more: str = "") -> UserError:
    why = "there is no such file" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", None) or error
    column = "path" if name == row.path else "mask"
    return UserError(f"{place_of(root, row)}: {column} {name}: {why}{more}", "paths are written from the folder itself")


def _kept(file: Path) -> dict[str, list[Any]]:
    try:
        content = read_json(file)
        if all(
            [type(part) for part in value] == [int, int, str] and re.fullmatch("[0-9a-f]{64}", value[2])
            for value in content.values()
        ):
            return dict(content)
    except (OSError, ValueError, AttributeError, TypeError, IndexError):
        pass
    return {}


def opened(root: Path, row: Row, name: str, opener: Callable[[bytes, str], Any]) -> Any:
    """Return what *opener* makes of the file *name* of a row: of its content, and where it is. Raises UserError."""
    try:
        content = read_bounded(root / name)
    except OSError as error:
        raise _missing(root, row, name, error) from None
    try:
        return opener(content, f"{place_of(root, row)}: {name}")
    except UserError as error:
        raise UserError(error.message, MEND if error.hint == "fetch it again" else error.hint) from None
