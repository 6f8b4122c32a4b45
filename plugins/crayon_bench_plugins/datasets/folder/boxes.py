"""What the four numbers of a box mean, and whether all boxes together make sense."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from crayon_bench import UserError
from crayon_bench_plugins.datasets.folder.metadata import Row, place_of

BoxOrder = Literal["tlbr", "xyxy", "xywh", "cxcywh"]
BoxUnit = Literal["pixels", "subpixels", "normalised"]

Numbers = tuple[float, float, float, float]
Size = tuple[int, int]

NAMES: Mapping[BoxOrder, str] = {
    "tlbr": "top left bottom right",
    "xyxy": "left top right bottom",
    "xywh": "left top width height",
    "cxcywh": "centre's x, centre's y, width, height",
}
UNITS: Mapping[BoxUnit, str] = {
    "pixels": "whole pixels",
    "subpixels": "pixels and parts of them",
    "normalised": "parts of the image's width and height, from 0 to 1",
}
NOTHING = 0.001
"""Share of an image: a smaller box covers next to nothing."""
MANY = 0.1
"""Share of the boxes."""
_SLACK = 0.5
"""Pixels that rounding may put a normalised box outside of its image."""


def sides_of(box: Numbers, order: BoxOrder, unit: BoxUnit, size: Size) -> Numbers:
    """Return top, left, bottom, right in pixels of an image of *size* (width, height).

    Raises ValueError that says what is wrong: numbers of another unit, a box that is empty, or that leaves the image.
    """
    width, height = size
    if unit == "pixels" and any(number != int(number) for number in box):
        raise ValueError("has numbers that are not whole")
    if unit == "normalised" and max(box) > 1.001:
        raise ValueError("has numbers above 1")
    a, b, c, d = box
    if order == "tlbr":
        top, left, bottom, right = a, b, c, d
    elif order == "xyxy":
        left, top, right, bottom = a, b, c, d
    elif order == "xywh":
        left, top, right, bottom = a, b, a + c, b + d
    else:
        left, top, right, bottom = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    if unit == "normalised":
        top, left, bottom, right = top * height, left * width, bottom * height, right * width
    if top >= bottom or left >= right:
        raise ValueError("is empty")
    slack = _SLACK if unit == "normalised" else 0
    if min(top, left) < -slack or bottom > height + slack or right > width + slack:
        raise ValueError(f"leaves the image, which is {width} wide and {height} high")
    return max(top, 0), max(left, 0), min(bottom, height), min(right, width)


def check_boxes(root: Path, rows: Sequence[Row], sizes: Mapping[str, Size], order: BoxOrder, unit: BoxUnit) -> None:
    """Raise UserError for the first box that cannot be one; it says how else all of them could be read.

    sizes: path → width and height; what is not there is not checked.
    """
    known = [row for row in rows if row.path in sizes]
    wrong: list[tuple[Row, str]] = []
    for row in known:
        try:
            sides_of(_box(row), order, unit, sizes[row.path])
        except ValueError as error:
            wrong.append((row, str(error)))
    if not wrong:
        return
    row, why = wrong[0]
    more = f" (and {len(wrong) - 1:,} more of {len(known):,} are wrong)" if len(wrong) > 1 else ""
    others = [f"dataset.box={o} dataset.box_unit={u}" for o, u in _readings(known, sizes)]
    hint = f"as dataset.box={order} dataset.box_unit={unit} expected: {NAMES[order]}, in {UNITS[unit]}"
    if others:
        hint += f"; all {len(known):,} boxes fit with {' or '.join(others)}"
    raise UserError(f"{place_of(root, row)}: the box '{written(row)}' {why}{more}", hint)


def box_notes(
    rows: Sequence[Row], sizes: Mapping[str, Size], order: BoxOrder, unit: BoxUnit, *, said: bool
) -> Iterator[str]:
    """Yield what is odd about boxes that are possible; and which other orders are, unless theirs was *said*."""
    shares = _shares(rows, sizes, order, unit)
    if not shares:
        return
    if not said and (others := [f"{other} ({NAMES[other]})" for other in _rivals(rows, sizes, order, unit)]):
        yield (
            f"boxes were read as {order} ({NAMES[order]}), and all {len(shares):,} would fit as {' or '.join(others)}"
            f" too; crayon-bench data show draws them, and dataset.box={order} says that it is right"
        )
    small = sum(share < NOTHING for share in shares)
    if small > MANY * len(shares):
        yield (
            f"{small:,} of {len(shares):,} boxes cover less than a thousandth of their image; they were read as"
            f" {NAMES[order]}, in {UNITS[unit]} (dataset.box, dataset.box_unit)"
        )


def written(row: Row) -> str:
    """Return a box as it is written."""
    return " ".join(f"{number:g}" for number in _box(row))


def _readings(rows: Sequence[Row], sizes: Mapping[str, Size]) -> Iterator[tuple[BoxOrder, BoxUnit]]:
    """Yield the ways of reading that give every row a box, and not next to nothing; the plainest unit of each order."""
    found: set[BoxOrder] = set()
    for unit, order in product(get_args(BoxUnit), get_args(BoxOrder)):
        try:
            shares = _shares(rows, sizes, order, unit)
        except ValueError:
            continue
        if order not in found and np.median(shares) >= NOTHING:
            found.add(order)
            yield order, unit


def _rivals(rows: Sequence[Row], sizes: Mapping[str, Size], order: BoxOrder, unit: BoxUnit) -> Iterator[BoxOrder]:
    """Yield the other orders that give every row a box, not the same ones, and not next to nothing."""
    known = [row for row in rows if row.path in sizes]

    def boxes(order: BoxOrder) -> list[Numbers]:
        return [sides_of(_box(row), order, unit, sizes[row.path]) for row in known]

    ours = boxes(order)
    for other in get_args(BoxOrder):
        with suppress(ValueError):
            if boxes(other) != ours and np.median(_shares(rows, sizes, other, unit)) >= NOTHING:
                yield other


def _shares(rows: Sequence[Row], sizes: Mapping[str, Size], order: BoxOrder, unit: BoxUnit) -> list[float]:
    """Return the share of its image that each box covers. Raises ValueError if one is impossible."""
    shares = []
    for row in rows:
        if row.path in sizes:
            width, height = sizes[row.path]
            top, left, bottom, right = sides_of(_box(row), order, unit, (width, height))
            shares.append((bottom - top) * (right - left) / (width * height))
    return shares


def _box(row: Row) -> Numbers:
    assert row.box is not None
    return row.box
