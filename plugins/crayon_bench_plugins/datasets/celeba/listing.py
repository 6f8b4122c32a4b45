"""The two text files: which images there are, with group and partition."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crayon_bench import UserError
from crayon_bench.data.plain import open_plain
from crayon_bench_plugins.datasets.celeba.published import ATTRIBUTES, PARTITION


@dataclass(frozen=True)
class Listing:
    """The two text files, in file order. groups: int64 (N,), −1 where hair is neither just black nor just blond."""

    names: tuple[str, ...]
    groups: NDArray[np.int64]
    partition: NDArray[np.int64]

    def positions(self, partition: int, group: int) -> NDArray[np.int64]:
        """Return where a partition's images of a group are, in file order."""
        return np.flatnonzero((self.partition == partition) & (self.groups == group))


def read_listing(files: Mapping[str, Path]) -> Listing:
    """Read the two text files (plain name → path). Raises UserError naming the file and the line that is wrong."""
    path = files[ATTRIBUTES.name]
    lines = lines_of(path)
    header, rows = _table(path, lines) if "," in "".join(lines[:1]) else _official(path, lines)
    columns = {}
    for name in ("Black_Hair", "Blond_Hair", "Smiling"):
        if header.count(name) != 1:
            raise UserError(f"{path}: the line of names must name the attribute {name} once")
        columns[name] = header.index(name) + 1
    names: list[str] = []
    values = []
    written: set[str] = set()
    for number, words in rows:
        if len(words) != len(header) + 1:
            raise UserError(f"{path}: line {number}: {len(words) - 1} values instead of {len(header)}")
        value = tuple(words[column] for column in columns.values())
        written.update(value)
        if not written <= {"1", "-1"} and not written <= {"1", "0"}:
            raise UserError(f"{path}: line {number}: values are neither all 1 and -1 nor all 1 and 0")
        names.append(words[0])
        values.append([word == "1" for word in value])
    if not names:
        raise UserError(f"{path}: it lists no images")
    black, blond, smiling = np.array(values, dtype=np.bool_).T
    groups = np.where(black != blond, 2 * blond.astype(np.int64) + smiling, -1)
    return Listing(tuple(names), groups, _read_partition(files[PARTITION.name], names, path))


_Rows = Iterable[tuple[int, list[str]]]
"""Lines with their numbers, from 1: an image's name, and its values."""


def _official(path: Path, lines: list[str]) -> tuple[list[str], _Rows]:
    """Return the attributes and the rows of the text file: their number, then the attributes, then a line an image."""
    announced = lines[0].strip() if lines else ""
    header = lines[1].split() if len(lines) > 1 else []
    if not announced.isdigit() or len(announced) > 18 or not header:
        raise UserError(
            f"{path}: line 1 must be the number of images, line 2 the names of the attributes",
            "this is neither the official list_attr_celeba.txt nor a CSV with a line of names",
        )
    rows = [(number, words) for number, line in enumerate(lines[2:], start=3) if (words := line.split())]
    if len(rows) != int(announced):
        raise UserError(f"{path}: {len(rows):,} rows, line 1 promises {int(announced):,}", "fetch it again")
    return header, rows


def _table(path: Path, lines: list[str]) -> tuple[list[str], _Rows]:
    """Return the attributes and the rows of a CSV file, as Kaggle has it: names, then a line an image."""
    reader = csv.reader(lines, strict=True)
    try:
        rows = [(reader.line_num, [word.strip() for word in words]) for words in reader if any(words)]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}", "fetch it again") from None
    return rows[0][1][1:], rows[1:]


def _read_partition(path: Path, names: list[str], attributes: Path) -> NDArray[np.int64]:
    partition: dict[str, int] = {}
    lines = lines_of(path)
    rows: _Rows = ((number, words) for number, line in enumerate(lines, start=1) if (words := line.split()))
    if "," in "".join(lines[:1]):
        rows = _table(path, lines)[1]
    for number, words in rows:
        if len(words) != 2 or words[1] not in ("0", "1", "2"):
            raise UserError(f"{path}: line {number}: expected an image's name and 0, 1 or 2")
        if words[0] in partition:
            raise UserError(f"{path}: line {number}: {words[0]} is there twice")
        partition[words[0]] = int(words[1])
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise UserError(f"{attributes}: {twice} is there twice")
    for name in names:
        if name not in partition:
            raise UserError(f"{path}: {name} is missing, which {attributes.name} lists", "the two must belong together")
    return np.array([partition[name] for name in names], dtype=np.int64)


def lines_of(path: Path) -> list[str]:
    """Return the lines of a text file, which may be packed as ``.gz``. Raises UserError if it is none."""
    with open_plain(path) as stream:
        content = stream.read()
    if content.lstrip()[:1] == b"<":
        raise UserError(f"{path}: an HTML page, not the text file", "open it in a browser to see what it says")
    try:
        return content.removeprefix(b"\xef\xbb\xbf").decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file (byte {error.start})", "fetch it again") from None
