"""Splits of drawn images: biased for training, group-balanced for validation and test; and what the oracle may know."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from crayon_bench import Evidence, LoadedData, Split
from crayon_bench.data.masks import tight_boxes
from crayon_bench_plugins.standins.birds.drawing import draw_birds
from crayon_bench_plugins.standins.birds.outside import GROUPS as BIRD_GROUPS, draw_birds_outside
from crayon_bench_plugins.standins.birds.sample import sample_birds, sample_birds_outside
from crayon_bench_plugins.standins.faces.drawing import draw_faces
from crayon_bench_plugins.standins.faces.sample import sample_faces
from crayon_bench_plugins.standins.faces.stickers import KINDS

Ints = NDArray[np.int64]
ERRORS = 0.04
"""Share of wrong training labels. A shortcut that knows better than the mouth stays the better guess, however long
training goes on; without it, Train More repairs what the original model had not learned yet."""
BY_PLACE = 0.08
"""Share of the training birds among bushes or ponds that were labelled by the place, for the same reason."""
Drawing = tuple[NDArray[np.uint8], NDArray[np.bool_]]


class MaskEvidence(Evidence):
    """The drawn masks: what they cover matters, all else must not; boxes are drawn tightly around them."""

    def __init__(self, masks: NDArray[np.bool_]) -> None:
        self._masks: NDArray[np.bool_] = masks

    def relevant_masks(self, examples: Ints) -> NDArray[np.bool_]:
        """Return the masks as they are drawn."""
        return np.asarray(self._masks[examples])

    def irrelevant_masks(self, examples: Ints) -> NDArray[np.bool_]:
        """Return all other pixels."""
        return np.asarray(~self._masks[examples])

    def boxes(self, examples: Ints) -> Ints:
        """Return the tight box around each mask."""
        return tight_boxes(self.relevant_masks(examples))


def standin_faces(sizes: Mapping[str, Sequence[int]], edition: int = 2) -> LoadedData:
    """Return drawn faces. sizes: split → number of images of each group, in the order of the group's number.

    Label: smiling. Groups of the first edition: 2 · blond + smiling; of the second: 3 · smiling + sticker. Of the
    second's training labels, ERRORS are wrong, and the sticker goes with the label.
    """
    kinds = len(KINDS)

    def first(groups: Ints, random: np.random.RandomState, training: bool) -> Drawing:
        return draw_faces(sample_faces(groups // 2, groups % 2, random), random)

    def second(groups: Ints, random: np.random.RandomState, training: bool) -> Drawing:
        hair, turn = random.randint(0, 2, len(groups)), random.random_sample(len(groups))
        smiling = np.where(turn < ERRORS * training, 1 - groups // kinds, groups // kinds)
        return draw_faces(sample_faces(hair, smiling, random), random, groups % kinds)

    names = ("not smiling", "smiling")
    if edition == 1:
        groups = tuple(f"{hair} hair, {name}" for hair in ("black", "blond") for name in names)
        return _data(sizes, first, label=lambda groups: groups % 2, class_names=names, group_names=groups)
    groups = tuple(f"{name}, {kind}" for name in names for kind in KINDS)
    return _data(sizes, second, label=lambda groups: groups // kinds, class_names=names, group_names=groups)


def standin_birds(sizes: dict[str, Sequence[int]]) -> LoadedData:
    """Return drawn birds. Label: water bird. Groups: 2 · water bird + water scene; sizes as for the faces."""

    def draw(groups: Ints, random: np.random.RandomState, training: bool) -> Drawing:
        return draw_birds(sample_birds(groups // 2, groups % 2, random), random)

    return _data(
        sizes,
        draw,
        label=lambda groups: groups // 2,
        class_names=("landbird", "waterbird"),
        group_names=("landbird on land", "landbird on water", "waterbird on land", "waterbird on water"),
    )


def _data(
    sizes: Mapping[str, Sequence[int]],
    draw: Callable[[Ints, np.random.RandomState, bool], Drawing],
    *,
    label: Callable[[Ints], Ints],
    class_names: tuple[str, ...],
    group_names: tuple[str, ...],
) -> LoadedData:
    splits, masks = {}, {}
    for number, (name, counts) in enumerate(sizes.items()):
        if not sum(counts):
            continue
        groups = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
        images, masks[name] = draw(groups, np.random.RandomState(1000 + number), name == "train")
        splits[name] = Split(images, label(groups), groups, [f"{name}-{i:05d}" for i in range(len(groups))])
    return LoadedData(
        train=splits["train"],
        validation=splits.get("validation"),
        test=splits["test"],
        class_names=class_names,
        group_names=group_names,
        evidence=MaskEvidence(masks["train"]),
        test_evidence=MaskEvidence(masks["test"]),
    )


def standin_birds_outside(sizes: dict[str, Sequence[int]]) -> LoadedData:
    """Return drawn birds. sizes: split → number of images of each of the groups, 3 · label + what is beside the bird.

    Label: water bird. Of the training birds whose label goes with the place, BY_PLACE are of the other kind.
    """
    splits, masks = {}, {}
    for number, (name, counts) in enumerate(sizes.items()):
        if not sum(counts):
            continue
        groups = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
        label, beside = groups // 3, groups % 3
        random = np.random.RandomState(2000 + number)
        wrong = (random.random_sample(len(groups)) < BY_PLACE) & (label == beside) & (name == "train")
        images, masks[name] = draw_birds_outside(
            sample_birds_outside(np.where(wrong, 1 - label, label), beside, random), random
        )
        splits[name] = Split(images, label, groups, [f"{name}-{i:05d}" for i in range(len(groups))])
    return LoadedData(
        train=splits["train"],
        validation=splits.get("validation"),
        test=splits["test"],
        class_names=("landbird", "waterbird"),
        group_names=BIRD_GROUPS,
        evidence=MaskEvidence(masks["train"]),
        test_evidence=MaskEvidence(masks["test"]),
    )
