"""``metadata.csv``: which images there are, with label, split and place."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from crayon_bench import UserError
from crayon_bench.data.trees.tree import Tree
from crayon_bench_plugins.datasets.waterbirds.published import GROUPS, MISLABELLED, PICTURES, PUBLISHED, SPLITS


@dataclass(frozen=True)
class Row:
    """A row of ``metadata.csv``. line: where it stands in the file, from 1. y, place: 0 land, 1 water."""

    line: int
    filename: str
    y: int
    split: int
    place: int

    @property
    def group(self) -> int:
        """Label × place."""
        return 2 * self.y + self.place

    @property
    def mask(self) -> str:
        """Name of its segmentation."""
        return str(PurePosixPath(self.filename).with_suffix(".png"))


def read_metadata(tree: Tree) -> list[Row]:
    """Return the rows of ``metadata.csv``, in their order. Raises UserError naming the line that is wrong."""
    where = f"{tree.path}: metadata.csv"
    if "metadata.csv" not in tree.members:
        hint = f"get the published set from {PICTURES.origin}, or build one"
        if nested := tree.nested("metadata.csv"):
            hint = f"it lies in {nested} there: move what is in that folder up to {tree.path.name} itself"
        raise UserError(f"{where} is missing", hint)
    try:
        text = tree.read("metadata.csv").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{where} is not a text file", "fetch it again") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    seen: dict[str, int] = {}
    try:
        columns = reader.fieldnames or []
        for column in ("img_id", "img_filename", "y", "split", "place"):
            if columns.count(column) != 1:
                raise UserError(f"{where}: the column {column} is missing" if column not in columns
                                else f"{where}: the column {column} is there twice")  # fmt: skip
        for record in reader:
            rows.append(_row(record, reader.line_num, where))
            for value in (f"img_id {record['img_id']}", f"img_filename {rows[-1].filename}"):
                if value in seen:
                    raise UserError(f"{where}, line {reader.line_num}: {value} is in line {seen[value]} already")
                seen[value] = reader.line_num
            if (mask := f"mask {rows[-1].mask}") in seen:
                where_now = f"{where}, line {reader.line_num}: {rows[-1].filename}"
                raise UserError(f"{where_now} has the segmentation of line {seen[mask]}")
            seen[mask] = reader.line_num
    except csv.Error as error:
        raise UserError(f"{where}, line {reader.line_num}: {error}", "fetch it again") from None
    for number, split in ((0, "training"), (2, "test")):
        if not any(row.split == number for row in rows):
            raise UserError(f"{where}: it has no {split} images (split {number})")
    return rows


def _row(record: dict[str, str], line: int, where: str) -> Row:
    values = []
    for column, allowed in (("img_id", None), ("y", 2), ("split", 3), ("place", 2)):
        value = record[column] or ""
        if not (value.isascii() and value.isdigit() and len(value) < 19) or (
            allowed is not None and int(value) >= allowed
        ):
            expected = "a whole number" if allowed is None else " or ".join(map(str, range(allowed)))
            raise UserError(f"{where}, line {line}: {column} is {value!r}, expected {expected}")
        values.append(int(value))
    name = record["img_filename"] or ""
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or "\0" in name or not name or {"", ".", ".."} & set(parts):
        raise UserError(f"{where}, line {line}: img_filename {name!r} is no path inside the set")
    return Row(line, name, *values[1:])


def corrected(row: Row) -> Row:
    """Return the row with a landbird's label if its species was mislabelled."""
    species = row.filename.partition("/")[0].partition(".")[2].lower()
    return Row(row.line, row.filename, 0, row.split, row.place) if species in MISLABELLED else row


def group_sizes(rows: Sequence[Row]) -> tuple[tuple[int, ...], ...]:
    """Return the number of images by split and group."""
    table = np.zeros((len(SPLITS), len(GROUPS)), dtype=np.int64)
    for row in rows:
        table[row.split, row.group] += 1
    return tuple(tuple(int(number) for number in line) for line in table)


def differing_sizes(rows: Sequence[Row]) -> str:
    """Return in words which groups are not as large as the published ones; ``""`` if all are."""
    texts = [
        f"{split} {'/'.join(map(str, here))} (published {'/'.join(map(str, there))})"
        for split, here, there in zip(SPLITS, group_sizes(rows), PUBLISHED, strict=True)
        if here != there
    ]
    return f"images by group {', '.join(texts)}" if texts else ""
