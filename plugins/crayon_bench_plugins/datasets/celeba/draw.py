"""The biased draw: how many images of each group, and which."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from crayon_bench import Parameters, UserError
from crayon_bench_plugins.datasets.celeba.listing import Listing
from crayon_bench_plugins.datasets.celeba.published import GROUPS

_MAJORITY = (1, 2)
_TRAIN, _VALIDATION, _TEST = 0, 1, 2
"""Partitions of ``list_eval_partition.txt``."""


class CelebAParameters(Parameters):
    """How many images of each group are drawn, and how large they are."""

    later: ClassVar[tuple[str, ...]] = ("edition", "standin_plain", "list")
    files: ClassVar[tuple[str, ...]] = ("list",)

    majority: int = Field(
        default=10_000,
        ge=1,
        le=200_000,
        description="training images of each of the two frequent groups: black hair and smiling, blond and not smiling",
    )
    minority: int = Field(
        default=100,
        ge=0,
        le=200_000,
        description="training images of each of the two rare groups: black hair and not smiling, blond and smiling",
    )
    test: int = Field(default=2_000, ge=1, le=200_000, description="test images of each of the four groups")
    validation: int = Field(default=0, ge=0, le=200_000, description="validation images of each of the four groups")
    scale: float = Field(
        default=1.0,
        gt=0,
        le=10,
        description="factor on the four numbers above; products are rounded, and what was 1 or more stays at least 1",
    )
    size: int = Field(
        default=224, ge=16, le=1024, description="shorter side of the images in pixels; 224 gives 224 wide, 274 high"
    )
    edition: int = Field(
        default=2,
        ge=1,
        le=2,
        description="stand-in alone: 2, stickers give the smile away on a part of the faces; 1, hair on all of them",
    )
    standin_plain: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="stand-in alone, second edition: share of the frequent images, `majority`, that have no sticker",
    )

    list: str = Field(
        default="",
        max_length=4096,
        description="file of image names and splits: exactly these images, in this order, in place of the numbers"
        " above; a CSV with the header path,split, or a name and a split on each line with white space between; a split"
        " is train, val or test, or 0, 1 or 2",
    )

    def unused(self) -> dict[str, str]:
        """With a list, no numbers count; and there is no stand-in."""
        why = "dataset.list says which images there are"
        numbers = ("majority", "minority", "test", "validation", "scale", "edition", "standin_plain")
        return dict.fromkeys(numbers, why) if self.list else {}

    def of_standin(self) -> dict[str, tuple[int, ...]]:
        """Return, for each split, how many drawn images of each of the stand-in's groups are wanted.

        Groups are in the order of :mod:`crayon_bench_plugins.standins.splits`.
        """
        wanted = self.wanted()
        rare, often = wanted.train[0], wanted.train[1]
        plain = round(often * self.standin_plain)
        train, groups = wanted.train, len(GROUPS)
        if self.edition == 2:
            train, groups = (often - plain, rare, plain, rare, often - plain, plain), 6
        return {"train": train, "validation": (wanted.validation,) * groups, "test": (wanted.test,) * groups}

    def wanted(self, scale: float | None = None) -> "Wanted":
        """Return the numbers of images after scaling, by *scale* instead of :attr:`scale` if given."""
        factor = self.scale if scale is None else scale

        def scaled(number: int) -> int:
            return max(1, round(number * factor)) if number else 0

        rare, often = scaled(self.minority), scaled(self.majority)
        train = tuple(often if group in _MAJORITY else rare for group in range(len(GROUPS)))
        return Wanted(train, scaled(self.test), scaled(self.validation))


@dataclass(frozen=True)
class Wanted:
    """Numbers of images: *train* by group, *test* and *validation* of each group."""

    train: tuple[int, ...]
    test: int
    validation: int


def draw(
    listing: Listing, parameters: CelebAParameters, where: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of the training, test and validation images, each in file order.

    Raises UserError, with what each group has and the largest scale that would work, if a group has too few.
    """
    wanted = parameters.wanted()
    have = [
        tuple(len(listing.positions(partition, group)) for partition in (_TRAIN, _VALIDATION, _TEST))
        for group in range(len(GROUPS))
    ]
    if not _fits(wanted, have):
        raise UserError(_too_few(wanted, have, where), _advice(parameters, have))
    train, test, validation = [], [], []
    for group in range(len(GROUPS)):
        official, reserve = listing.positions(_TEST, group), listing.positions(_VALIDATION, group)
        train.append(listing.positions(_TRAIN, group)[: wanted.train[group]])
        validation.append(reserve[: wanted.validation])
        test.append(official[: wanted.test])
        if (more := wanted.test - len(official)) > 0:
            test.append(reserve[len(reserve) - more :])
    first, second, third = (np.sort(np.concatenate(part)) for part in (train, test, validation))
    return first, second, third


def _fits(wanted: Wanted, have: list[tuple[int, ...]]) -> bool:
    return all(
        train <= in_train and wanted.validation + max(0, wanted.test - in_test) <= in_validation
        for train, (in_train, in_validation, in_test) in zip(wanted.train, have, strict=True)
    )


def _too_few(wanted: Wanted, have: list[tuple[int, ...]], where: str) -> str:
    rows = []
    for name, train, (in_train, in_validation, in_test) in zip(GROUPS, wanted.train, have, strict=True):
        row = f"{name}: training {in_train:,} / {train:,}, test {in_test:,} / {wanted.test:,}"
        more = max(0, wanted.test - in_test)
        row += f", validation {in_validation:,} / {wanted.validation:,}" + (f" + {more:,} for the test" if more else "")
        rows.append(row)
    return f"{where}: too few images (found / asked for): {'; '.join(rows)}"


def _advice(parameters: CelebAParameters, have: list[tuple[int, ...]]) -> str:
    # Four decimals are enough; from above, so that the first that fits is the largest.
    bound = 10.0
    for train, (in_train, in_validation, in_test) in zip(parameters.wanted(1.0).train, have, strict=True):
        reserve = in_validation + in_test
        for asked, available in (
            (train, in_train),
            (parameters.validation, in_validation),
            (parameters.test + parameters.validation, reserve),
        ):
            if asked:
                bound = min(bound, (available + 1) / asked)
    for steps in range(int(bound * 10_000), 0, -1):
        if _fits(parameters.wanted(steps / 10_000), have):
            return f"largest that works: --set dataset.scale={steps / 10_000:g}"
    return "no scale of 0.0001 or more works: set majority, minority, test and validation yourself"
