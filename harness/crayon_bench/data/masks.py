"""Geometry of masks."""

import numpy as np
from numpy.typing import NDArray


def tight_boxes(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the boxes round what is set in *masks* (n, H, W), int64 (n, 4). Round an empty one: the whole image."""
    sides = []
    for axis in (2, 1):  # any column set → rows that count; any row set → columns
        line: NDArray[np.bool_] = np.any(masks, axis=axis)
        sides.append((line.argmax(axis=1), line.shape[1] - line[:, ::-1].argmax(axis=1)))
    (top, bottom), (left, right) = sides
    return np.stack([top, left, bottom, right], axis=1).astype(np.int64).reshape(-1, 4)


def silent_masks(silent: int, number: int) -> str:
    """Return the note that stands under a table if *silent* of *number* masks of training images tell nothing."""
    what = f"all {number:,} masks" if silent == number else f"{silent:,} of {number:,} masks"
    return f"{what} of training images tell nothing (empty, cropped away, or all of the image): all of it is relevant"
