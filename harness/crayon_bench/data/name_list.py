"""A list of names and splits that somebody published: for numbers of the very same images, in the same order."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crayon_bench.data.plain import open_plain
from crayon_bench.errors import UserError

SPLITS = ("train", "val", "test")
"""As words; 0, 1 and 2 stand for them in this order, as in CelebA's ``list_eval_partition.txt``."""
HEADER = ["path", "split"]
LARGEST = 1 << 28
"""Bytes of a list."""

_FORMS = "a CSV with the header path,split, or a name and a split on each line with white space between"


@dataclass(frozen=True)
class Entry:
    """One line of a list. line: its number, from 1. split: one of :data:`SPLITS`."""

    line: int
    name: str
    split: str


def read_name_list(path: Path) -> list[Entry]:
    """Return the entries of a list, in its order; ``.gz`` is unpacked.

    Two forms are read. CSV: the first line is ``path,split``, each other line has these two. Or each line is a name and
    a split, with white space between, and there is no header. A split is train, val or test, or 0, 1 or 2. Empty lines
    are passed over. Raises UserError, with the line, for anything else, and for a name that is there twice.
    """
    lines = _lines(path)
    first = next((line for line in lines if line.strip()), "")
    entries: list[Entry] = []
    seen: dict[str, int] = {}
    for number, words in _table(path, lines) if "," in first else _columns(path, lines):
        where = f"{path}: line {number}"
        name, split = words
        if split in ("0", "1", "2"):
            split = SPLITS[int(split)]
        if split not in SPLITS:
            raise UserError(f"{where}: {name}: there is no split '{split}'", f"{', '.join(SPLITS)}, or 0, 1, 2")
        if name in seen:
            raise UserError(f"{where}: {name} is in line {seen[name]} already")
        seen[name] = number
        entries.append(Entry(number, name, split))
    if not entries:
        raise UserError(f"{path}: it lists no images", f"expected {_FORMS}")
    return entries


def of_split(entries: Sequence[Entry], split: str) -> list[Entry]:
    """Return the entries of a split, in the list's order."""
    return [entry for entry in entries if entry.split == split]


def _lines(path: Path) -> list[str]:
    if path.is_dir():
        raise UserError(f"{path}: a folder, not a list of names")
    with open_plain(path) as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise UserError(f"{path}: larger than {LARGEST >> 20} MiB, which no list of names is")
    try:
        return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file (byte {error.start})", f"expected {_FORMS}") from None


def _table(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, strict=True)
    header = None
    try:
        for record in reader:
            words = [word.strip() for word in record]
            if not any(words):
                continue
            if header is None:
                header = words
                if header != HEADER:
                    what = f"{path}: line {reader.line_num}: {','.join(record)[:60]} is not the header path,split"
                    raise UserError(what, f"expected {_FORMS}")
                continue
            if len(words) != 2 or not all(words):
                raise UserError(f"{path}: line {reader.line_num}: expected a name and a split")
            yield reader.line_num, words
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}", f"expected {_FORMS}") from None


def _columns(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2:
            raise UserError(f"{path}: line {number}: expected a name and a split", f"expected {_FORMS}")
        yield number, words
