"""The tiny set: a few dozen images drawn in memory, with evidence of every kind, and an oracle that answers about it.

Two classes (a lying and a standing bar) × two attributes (a red or a blue corner, the shortcut) are four groups.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import count
from pathlib import Path
from types import new_class
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from pydantic import Field

from crayon_bench import (
    Boxes,
    Dataset,
    Evidence,
    FeedbackKind,
    FeedbackOracle,
    Found,
    Groups,
    LoadedData,
    Masks,
    Parameters,
    Patches,
    Source,
    Split,
    Verdict,
    Verdicts,
)
from crayon_bench.oracle import Bools, Floats, Ints

NETWORKS = ("mlp", "small-cnn")
"""Protocols of the tiny set, each with the network of that name."""

SIZE = 32
_TRAIN = (12, 4, 4, 12)
_TEST = (4, 4, 4, 4)
_GROUPS = ("lying, red", "lying, blue", "standing, red", "standing, blue")
_numbers = count(1)

Case = Literal["plain", "empty group", "single class"]
Answer = TypeVar("Answer", Verdicts, Masks, Boxes, Groups)


@dataclass
class Watch:
    """What happens to one tiny set while a method runs.

    answers: how many questions its oracle answered, by kind. reads: evidence that was read, but not by its oracle.
    """

    number: int = field(default_factory=lambda: next(_numbers))
    answers: Counter[FeedbackKind] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    running: bool = False
    _answering: bool = False
    _drawn: LoadedData | None = None
    _digest: str = ""

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Mark what is read inside as read by the oracle."""
        self._answering = True
        try:
            yield
        finally:
            self._answering = False

    def read(self, what: str) -> None:
        """Note that evidence is read."""
        if self.running and not self._answering:
            self.reads[what] += 1

    def drawn(self, data: LoadedData) -> LoadedData:
        """Remember what was drawn, and return it."""
        self._drawn, self._digest = data, digest_of(data)
        return data

    def has_changed(self) -> bool:
        """Return whether somebody has written into what was drawn."""
        return self._drawn is not None and digest_of(self._drawn) != self._digest

    def of(self, plugin: type[Any]) -> type[Any]:
        """Return *plugin*, a class with an attribute ``watch``, with this one in its place."""
        return new_class(plugin.__name__, (plugin,), exec_body=lambda namespace: namespace.update(watch=self))


def digest_of(data: LoadedData) -> str:
    """Return a hash of the splits, and of as much of the evidence as there is."""
    digest = sha256()
    examples = np.arange(len(data.train))
    for split in (data.train, data.test, data.validation):
        if split is not None:
            for values in (split.images, split.labels, split.groups):
                digest.update(np.ascontiguousarray(values).data)
            digest.update(repr(split.ids).encode())
    for what in ("relevant_masks", "irrelevant_masks", "boxes"):
        if data.evidence.has(what):
            for part in np.array_split(examples, max(1, len(examples) // 512)):
                digest.update(np.ascontiguousarray(getattr(data.evidence, what)(part)).data)
    return digest.hexdigest()


class TinyEvidence(Evidence):
    """Where the bars and the corners are."""

    def __init__(self, relevant: Bools, boxes: Ints, watch: Watch) -> None:
        self._relevant, self._boxes, self._watch = relevant, boxes, watch
        self._irrelevant = np.zeros_like(relevant)
        self._irrelevant[:, :6, :6] = True

    def relevant_masks(self, examples: Ints) -> Bools:
        """The bars."""
        self._watch.read("relevant masks")
        return self._relevant[examples]

    def irrelevant_masks(self, examples: Ints) -> Bools:
        """The corners."""
        self._watch.read("irrelevant masks")
        return self._irrelevant[examples]

    def boxes(self, examples: Ints) -> Ints:
        """Around the bars."""
        self._watch.read("boxes")
        return self._boxes[examples]


class TinyParameters(Parameters):
    """Which tiny set."""

    case: Case = Field(default="plain", description="all four groups; without 'lying, blue'; or trained on one class")


class TinySet(Dataset):
    """Bars on noise, with a coloured corner that goes with the label in three training images of four."""

    name = "tiny"
    title = "Tiny set"
    summary = "drawn in memory, for the conformance checks"
    image_shape = (3, SIZE, SIZE)
    classes = 2
    evidence: ClassVar[dict[FeedbackKind, str]] = dict.fromkeys(FeedbackKind, "")
    Parameters = TinyParameters
    parameters: TinyParameters
    watch: ClassVar[Watch] = Watch()

    @classmethod
    def find(cls, root: Path, source: Source, *, strict: bool) -> Found:
        """It is always there."""
        return Found(Source.STANDIN, f"tiny {cls.watch.number}", "drawn in memory")

    def load(self, found: Found) -> LoadedData:
        """Draw it."""
        case = self.parameters.case
        train, test = list(_TRAIN), list(_TEST)
        if case == "empty group":
            train[1] = test[1] = 0
        elif case == "single class":
            train[2] = train[3] = 0
        split, relevant, boxes = _draw("train", train)
        evidence = TinyEvidence(relevant, boxes, self.watch)
        others = _draw("test", test)[0], _draw("validation", test)[0]
        return self.watch.drawn(LoadedData(split, others[0], ("lying", "standing"), _GROUPS, evidence, others[1]))

    @classmethod
    def protocols(cls) -> Traversable | None:
        """One per network."""
        return files("crayon_bench.testing") / "protocols"


def _draw(name: str, counts: list[int]) -> tuple[Split, Bools, Ints]:
    """Return a split with so many images of each group, the bars' pixels and the boxes around them."""
    random = np.random.RandomState(sum(name.encode()))
    groups = random.permutation(np.repeat(np.arange(4), counts)).astype(np.int64)
    n = len(groups)
    images = random.randint(0, 64, (n, 3, SIZE, SIZE)).astype(np.uint8)
    relevant = np.zeros((n, SIZE, SIZE), dtype=np.bool_)
    boxes = np.zeros((n, 4), dtype=np.int64)
    for i, group in enumerate(groups):
        height, width = ((4, 18), (18, 4))[group // 2]
        top, left = random.randint(7, SIZE - height), random.randint(7, SIZE - width)
        boxes[i] = top, left, top + height, left + width
        relevant[i, top : top + height, left : left + width] = True
        images[i, :, relevant[i]] = 220
        images[i, 2 * (group % 2), :6, :6] = 255
    return Split(images, groups // 2, groups, [f"{name}-{i}" for i in range(n)]), relevant, boxes


class TinyOracle(FeedbackOracle):
    """Answers about all examples but every seventh, as a person would leave some out, and counts by itself."""

    name = "tiny"
    title = "tiny"
    summary = "answers from the evidence, all but every seventh question"
    watch: ClassVar[Watch] = Watch()

    def judge_maps(self, examples: Ints, maps: Floats, evidence: Evidence) -> Verdicts:
        """Yes if more than half of the map lies in the rows of the bar, no if less than a fifth does."""
        with self.watch.answering():
            boxes = evidence.boxes(examples)
        rows = (np.arange(maps.shape[1])[None] + 0.5) * SIZE / maps.shape[1]
        inside = (rows >= boxes[:, :1]) & (rows < boxes[:, 2:3])
        share = (maps.sum(2) * inside).sum(1) / np.maximum(maps.sum((1, 2)), 1e-12)
        values = np.select([share > 0.5, share < 0.2], [Verdict.YES, Verdict.NO], Verdict.MAYBE).astype(np.int8)
        values[examples % 7 == 6] = Verdict.UNASKED
        return self._counted(FeedbackKind.MAP_VERDICT, Verdicts(values))

    def judge_neurons(self, patches: Patches, evidence: Evidence) -> Verdicts:
        """Every second neuron is relevant."""
        values = np.where(patches.neurons % 2, Verdict.YES, Verdict.NO).astype(np.int8)
        values[patches.neurons % 7 == 6] = Verdict.UNASKED
        return self._counted(FeedbackKind.NEURON_VERDICT, Verdicts(values))

    def relevant_masks(self, examples: Ints, evidence: Evidence) -> Masks:
        """Pass them on."""
        with self.watch.answering():
            values = evidence.relevant_masks(examples)
        return self._counted(FeedbackKind.RELEVANT_MASK, Masks(values, examples % 7 != 6))

    def irrelevant_masks(self, examples: Ints, evidence: Evidence) -> Masks:
        """Pass them on."""
        with self.watch.answering():
            values = evidence.irrelevant_masks(examples)
        return self._counted(FeedbackKind.IRRELEVANT_MASK, Masks(values, examples % 7 != 6))

    def boxes(self, examples: Ints, evidence: Evidence) -> Boxes:
        """Pass them on."""
        with self.watch.answering():
            values = evidence.boxes(examples)
        return self._counted(FeedbackKind.BOX, Boxes(values, examples % 7 != 6))

    def groups(self, examples: Ints, truth: Ints) -> Groups:
        """Pass them on."""
        return self._counted(FeedbackKind.GROUP, Groups(truth, examples % 7 != 6))

    def _counted(self, kind: FeedbackKind, answer: Answer) -> Answer:
        self.watch.answers[kind] += int(answer.answered.sum())
        return answer
