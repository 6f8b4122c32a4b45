"""``metadata.csv``: which images there are, and what is said of each."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crayon_bench import UserError
from crayon_bench.errors import did_you_mean
from crayon_bench.texts import in_order
from crayon_bench_plugins.datasets.folder.sheet import LIST, NAMES, OPTIONAL, REQUIRED, Sheet, read_sheet

SPLITS = ("train", "val", "test")
UNKNOWN = "unknown"
"""As good as an empty cell, of an attribute."""
MOST_CLASSES = 1000


@dataclass(frozen=True)
class Row:
    """A row of metadata.csv. line: where it stands in the file, from 1. box: its numbers, see ``boxes.py``.

    attribute: ``""`` where it is not known.
    """

    line: int
    path: str
    label: str
    split: str
    attribute: str
    mask: str
    box: tuple[float, float, float, float] | None


def place_of(root: Path, row: Row) -> str:
    """Return where a row stands, for messages."""
    return f"{root / LIST}, line {row.line}"


def class_names(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the labels in order: whole numbers as numbers, others as text."""
    return tuple(in_order(row.label for row in rows))


def attributes_of(rows: Sequence[Row]) -> list[str]:
    """Return the sorted attributes that are known; none if there are no groups."""
    return sorted({row.attribute for row in rows} - {""})


def group_names(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the names of the groups, label by label; none if there are no attributes."""
    return tuple(f"{label}, {attribute}" for label in class_names(rows) for attribute in attributes_of(rows))


@dataclass(frozen=True)
class Metadata:
    """What metadata.csv says. skipped: what was passed over, in words; ``""`` if nothing was."""

    rows: list[Row]
    skipped: str


def read_metadata(root: Path) -> Metadata:
    """Return the rows of metadata.csv, in their order. Raises UserError naming the line that is wrong."""
    file = root / LIST
    sheet = read_sheet(file)
    columns = _columns(file, sheet)
    rows: list[Row] = []
    lines: dict[str, int] = {}
    comments = 0
    for line, cells in sheet.records():
        where = f"{file}, line {line}"
        if cells[0].startswith("#"):
            if os.path.isfile(root / _cell(cells, columns["path"])):  # noqa: PTH113 - whatever is written there
                hint = "take it out; for an image whose name begins with #, write ./#…"
                raise UserError(f"{where}: it begins with # as a comment does, and names an image that is there", hint)
            comments += 1
            continue
        if len(cells) < len(REQUIRED) and len(columns) > len(cells):
            what = "one cell" if len(cells) == 1 else f"{len(cells)} cells"
            hint = f"the first line separates columns by {NAMES[sheet.separator]}"
            raise UserError(f"{where}: {what} for {len(sheet.header)} columns", hint)
        row = _row(where, line, cells, columns, len(sheet.header))
        if row.path in lines:
            hint = "an image may have one row"
            raise UserError(f"{where}: path {row.path} is in line {lines[row.path]} already", hint)
        lines[row.path] = line
        rows.append(row)
    _check(file, rows)
    return Metadata(rows, sheet.skipped(comments))


def _columns(file: Path, sheet: Sheet) -> dict[str, int]:
    """Return where the columns are that are looked at."""
    columns: dict[str, int] = {}
    where = f"{file}, line {sheet.line}"
    for place, known in enumerate(name.strip().lower() for name in sheet.header):
        if known in columns and known in (*REQUIRED, *OPTIONAL):
            raise UserError(f"{where}: the column {known} is there twice", "leave one out")
        columns[known] = place
    for name in REQUIRED:
        if name not in columns:
            raise UserError(f"{where}: the column {name} is missing", f"expected: {', '.join(REQUIRED)}")
    return columns


def _row(where: str, line: int, record: Sequence[str], columns: Mapping[str, int], width: int) -> Row:
    if any(record[width:]):
        raise UserError(f"{where}: it has more cells than the first line", "put quotes round a text with a comma")
    cells = {name: _cell(record, columns.get(name, width)) for name in (*REQUIRED, *OPTIONAL)}
    for name in REQUIRED:
        if not cells[name]:
            raise UserError(f"{where}: {name} is empty", "every image needs one")
    if cells["split"] not in SPLITS:
        near = {"validation": "val", "valid": "val", "training": "train"}.get(cells["split"].lower())
        hint = f"did you mean '{near}'?" if near else did_you_mean(cells["split"], SPLITS)
        raise UserError(f"{where}: split is {_quoted(cells['split'])}", hint)
    for name in ("label", "attribute"):
        if len(cells[name]) > 100 or not (cells[name].isprintable() or not cells[name]):
            raise UserError(f"{where}: {name} is {_quoted(cells[name])}", "expected at most 100 plain characters")
    if cells["attribute"].lower() == UNKNOWN:
        if cells["split"] == "test":
            hint = "the groups of test images must be known; for a group of its own, write another word"
            raise UserError(f"{where}: attribute is '{UNKNOWN}'", hint)
        cells["attribute"] = ""
    path, mask = (_inside(where, name, cells[name]) for name in ("path", "mask"))
    return Row(line, path, cells["label"], cells["split"], cells["attribute"], mask, _box(where, cells["box"]))


def _cell(record: Sequence[str], place: int) -> str:
    return record[place] if place < len(record) else ""


def _inside(where: str, column: str, name: str) -> str:
    """Return a path inside of the folder, without doubled slashes. Raises UserError if it leads outside."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name or re.match("[A-Za-z]:", name):
        raise UserError(f"{where}: {column} {_quoted(name)} leaves the folder", "write it from the folder itself")
    if "\\" in name:
        raise UserError(f"{where}: {column} {_quoted(name)} has a backslash", "write / between folders")
    if name and not parts:
        raise UserError(f"{where}: {column} {_quoted(name)} is no file", "write it from the folder itself")
    return "/".join(parts)


def _box(where: str, text: str) -> tuple[float, float, float, float] | None:
    if not text:
        return None
    words = re.split(r"[\s,;]+", text)
    if len(words) != 4 or not all(re.fullmatch(r"-?\d{1,6}(\.\d{1,20})?(e-\d\d?)?", w, re.ASCII | re.I) for w in words):
        raise UserError(f"{where}: box is {_quoted(text)}", "expected four numbers, such as: top left bottom right")
    a, b, c, d = map(float, words)
    return a, b, c, d


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}…")


def _check(file: Path, rows: Sequence[Row]) -> None:
    """Raise UserError if the rows together are no data set."""
    for split in ("train", "test"):
        if not any(row.split == split for row in rows):
            raise UserError(f"{file}: it has no rows with split {split}", "both train and test are needed")
    learned = {row.label for row in rows if row.split == "train"}
    for row in rows:
        if row.label not in learned:
            raise UserError(
                f"{file}, line {row.line}: no training image has the label {_quoted(row.label)}",
                did_you_mean(row.label, learned) if len(learned) < 20 else "add one, or take the line out",
            )
    if len(learned) < 2:
        raise UserError(f"{file}: all training images have the label {_quoted(rows[0].label)}", "two are needed")
    if len(learned) > MOST_CLASSES:
        raise UserError(f"{file}: {len(learned):,} labels", f"at most {MOST_CLASSES:,}; is it the right column?")
    if attributes_of(rows):
        _check_attributes(file, rows)
    names = group_names(rows)
    if len(names) > 10 * MOST_CLASSES:
        raise UserError(f"{file}: {len(names):,} groups of label and attribute", "is attribute the right column?")
    if len(set(names)) < len(names):
        raise UserError(f"{file}: two groups of label and attribute have one name", "take commas out of them")


def _check_attributes(file: Path, rows: Sequence[Row]) -> None:
    """Raise UserError if a group is not known where it is needed: of test images, and of some validation images."""
    for split in ("test", "val"):
        mine = [row for row in rows if row.split == split]
        lacking = [row for row in mine if not row.attribute]
        if lacking and (split == "test" or len(lacking) < len(mine)):
            others = "other images have one" if split == "test" else "other images of the split val have one"
            hint = "give every image one, or leave the column out; training images alone may lack theirs"
            raise UserError(f"{file}, line {lacking[0].line}: attribute is empty, and {others}", hint)
