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

MEND = f"replace it, or take its line out of {LIST}"


def checksums(root: Path, rows: Sequence[Row]) -> dict[str, str]:
    """Return the sha256 of every image and mask, in the rows' order.

    They are kept in the cache folder, and hold until a file's size or time of modification changes. Raises UserError
    with its line for a file that is not there.
    """
    lines = _named(rows)
    kept_in = cache_root() / "folders" / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:24]}.json"
    known = _kept(kept_in)
    signatures, problems = _signatures(root, lines)
    if problems:
        first = problems[0][1]
        more = f" (and {len(problems) - 1:,} more; data verify lists them)" if len(problems) > 1 else ""
        raise UserError(first.message + more, first.hint)
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


def broken_files(
    root: Path, rows: Sequence[Row], read: Callable[[Row], Sequence[tuple[str, UserError]]]
) -> list[tuple[str, UserError]]:
    """Return the names of files that are not there, and what *read* says of the other rows, in the rows' order."""

    def one(row: Row) -> Sequence[tuple[str, UserError]]:
        return missing_files(root, [row]) or read(row)

    with Preparing(f"{root.name}: reading", len(rows)) as progress, closing(in_threads(one, rows)) as results:
        found: dict[str, tuple[str, UserError]] = {}
        for problems in results:
            found |= {str(error): (name, error) for name, error in problems if str(error) not in found}
            progress.step()
    return list(found.values())


def missing_files(root: Path, rows: Sequence[Row]) -> list[tuple[str, UserError]]:
    """Return the files of these *rows* that are not there."""
    return _signatures(root, _named(rows))[1]


def failing(name: str, reader: Callable[[], object]) -> list[tuple[str, UserError]]:
    """Return what *reader* raises, with the *name* of its file; nothing if it can read it."""
    try:
        reader()
    except UserError as error:
        return [(name, error)]
    return []


def _named(rows: Sequence[Row]) -> dict[str, Row]:
    """Return each file with the first row that names it."""
    lines: dict[str, Row] = {}
    for row in rows:
        for name in (row.path, row.mask):
            if name:
                lines.setdefault(name, row)
    return lines


def _signatures(root: Path, lines: Mapping[str, Row]) -> tuple[dict[str, list[int]], list[tuple[str, UserError]]]:
    """Return what changes when a file does, by name; and those that are not there."""
    signatures: dict[str, list[int]] = {}
    problems: list[tuple[str, UserError]] = []
    for name, row in lines.items():
        try:
            info = (root / name).stat()
            if not stat.S_ISREG(info.st_mode):
                raise FileNotFoundError(2, "not a file")
            signatures[name] = [info.st_size, info.st_mtime_ns]
        except (OSError, ValueError) as error:
            problems.append((name, _missing(root, row, name, error)))
    return signatures, problems


def _missing(root: Path, row: Row, name: str, error: Exception) -> UserError:
    why = "there is no such file" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", None) or error
    column = "path" if name == row.path else "mask"
    return UserError(f"{place_of(root, row)}: {column} {name}: {why}", "paths are written from the folder itself")


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
