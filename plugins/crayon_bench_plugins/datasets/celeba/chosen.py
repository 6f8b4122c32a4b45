"""The images that a list names, in place of the draw."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crayon_bench import UserError
from crayon_bench.data.name_list import SPLITS, of_split, read_name_list
from crayon_bench_plugins.datasets.celeba.listing import Listing
from crayon_bench_plugins.datasets.celeba.published import ATTRIBUTES, GROUPS

Parts = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Positions in the listing of the training, test and validation images."""


def chosen(path: Path, listing: Listing) -> Parts:
    """Return the positions of the listed training, test and validation images, in the list's order.

    Raises UserError, with the line where there is one, for an image that CelebA does not have or whose hair is not just
    black or just blond, and if a group has no training or no test images.
    """
    entries = read_name_list(path)
    place = {name: i for i, name in enumerate(listing.names)}
    for entry in entries:
        where = f"{path}: line {entry.line}: {entry.name}"
        if entry.name not in place:
            raise UserError(f"{where} is no image that {ATTRIBUTES.name} lists", "names are as in that file")
        if listing.groups[place[entry.name]] < 0:
            raise UserError(
                f"{where} has both of the attributes Black_Hair and Blond_Hair, or neither, and so no group",
                "take its line out of the list",
            )
    parts = {
        split: np.array([place[entry.name] for entry in of_split(entries, split)], dtype=np.int64) for split in SPLITS
    }
    for split in ("train", "test"):
        if not len(parts[split]):
            raise UserError(f"{path}: it lists no {split} images")
        for group, number in enumerate(np.bincount(listing.groups[parts[split]], minlength=len(GROUPS))):
            if not number:
                raise UserError(f"{path}: none of its {len(parts[split]):,} {split} images is of '{GROUPS[group]}'")
    return parts["train"], parts["test"], parts["val"]
