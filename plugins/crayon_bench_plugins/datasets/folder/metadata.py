"""``metadata.csv``: which images there are, and what is said of each."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crayon_bench import UserError
from crayon_bench.errors import did_you_mean
from crayon_bench.texts import in_order
from crayon_bench_plugins.datasets.folder.reading import read_bounded

LIST = "metadata.csv"
SPLITS = ("train", "val", "test")
REQUIRED = ("path", "label", "split")
OPTIONAL = ("attribute", "mask", "box")
MOST_CLASSES = 1000


@dataclass(frozen=True)
class Row:
    """A row of metadata.csv. line: where it stands in the file, from 1. box: its numbers, see ``boxes.py``."""

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


def group_names(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the names of the groups, label by label; none if there are no attributes."""
    attributes = sorted({row.attribute for row in rows})
    if attributes == [""]:
        return ()
    return tuple(f"{label}, {attribute}" for label in class_names(rows) for attribute in attributes)


def read_metadata(root: Path) -> list[Row]:
    """Return the rows of metadata.csv, in their order. Raises UserError naming the line that is wrong."""
    file = root / LIST
    try:
        content = read_bounded(file)
    except FileNotFoundError:
        hint = f"its columns: {', '.join(REQUIRED)}; optional: {', '.join(OPTIONAL)}"
        raise UserError(f"{root}: there is no {LIST} in it", hint) from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{file}, line {line}: not UTF-8 text", "save it as CSV in UTF-8") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    rows: list[Row] = []
    lines: dict[str, int] = {}
    try:
        columns = _columns(file, reader.fieldnames or [])
        for record in reader:
            row = _row(f"{file}, line {reader.line_num}", reader.line_num, record, columns)
            if row.path in lines:
                raise UserError(
                    f"{file}, line {row.line}: path {row.path} is in line {lines[row.path]} already",
                    "an image may have one row",
                )
            lines[row.path] = row.line
            rows.append(row)
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: {error}", "save it as CSV, with commas and quotes") from None
    _check(file, rows)
    return rows


def _columns(file: Path, header: Sequence[str]) -> dict[str, str]:
    """Return the header's own spelling of the columns that are looked at."""
    columns: dict[str, str] = {}
    for name in header:
        known = name.strip().lower()
        if known in columns and known in (*REQUIRED, *OPTIONAL):
            raise UserError(f"{file}, line 1: the column {known} is there twice", "leave one out")
        columns[known] = name
    for name in REQUIRED:
        if name not in columns:
            separated = len(header) == 1 and re.search(r"[;\t|]", header[0])
            hint = "separate columns by commas" if separated else f"expected: {', '.join(REQUIRED)}"
            raise UserError(f"{file}, line 1: the column {name} is missing", hint)
    return columns


def _row(where: str, line: int, record: Mapping[str | None, Any], columns: Mapping[str, str]) -> Row:
    if None in record:
        raise UserError(f"{where}: it has more cells than the first line", "put quotes round a text with a comma")
    cells = dict.fromkeys((*REQUIRED, *OPTIONAL), "")
    cells |= {name: (record[column] or "").strip() for name, column in columns.items() if name in cells}
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
    path, mask = (_inside(where, name, cells[name]) for name in ("path", "mask"))
    return Row(line, path, cells["label"], cells["split"], cells["attribute"], mask, _box(where, cells["box"]))


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
    if 0 < sum(bool(row.attribute) for row in rows) < len(rows):
        line = next(row.line for row in rows if not row.attribute)
        hint = "give every image one, or leave the column out"
        raise UserError(f"{file}, line {line}: attribute is empty, and other images have one", hint)
    names = group_names(rows)
    if len(names) > 10 * MOST_CLASSES:
        raise UserError(f"{file}: {len(names):,} groups of label and attribute", "is attribute the right column?")
    if len(set(names)) < len(names):
        raise UserError(f"{file}: two groups of label and attribute have one name", "take commas out of them")
