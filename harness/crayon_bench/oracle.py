"""The FeedbackOracle interface, and the ledger through which alone a method meets it.

To add an oracle, subclass :class:`FeedbackOracle`, set ``name``, ``title``, ``summary`` and override what it answers
differently: ``judge_maps`` has no default, ``judge_neurons`` answers nothing unless overridden; masks, boxes and groups
are the true ones unless overridden.
``self.parameters`` are its parameters, ``self.seed`` the run's feedback seed: take randomness from there.
``self.situation`` says whom it answers. One that reads recorded answers sets ``reads_answers`` and overrides
``fingerprint``; it finds them in the folder ``self.answers``.

A method is never handed an oracle but a :class:`MeteredOracle`, whose answers are counted by kind. The ``#FB`` column
of every table is that count. Unanswered questions (``answered`` false, ``Verdict.UNASKED``) are not counted. Under a
budget, questions that it does not allow are not put to the oracle at all, and come back unanswered.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from crayon_bench.dataset import Dataset, Evidence, Found
from crayon_bench.feedback import FeedbackKind, Verdict
from crayon_bench.parameters import Parameters as AnyParameters

Ints = NDArray[np.int64]


Floats = NDArray[np.float32]


Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Verdicts:
    """Answers about n maps or neurons: ``values``, int8 (n,), of :class:`~crayon_bench.feedback.Verdict`."""

    values: NDArray[np.int8]

    @property
    def answered(self) -> Bools:
        """Which questions were answered (``maybe`` is an answer), bool (n,)."""
        return np.asarray(self.values != Verdict.UNASKED)


@dataclass(frozen=True)
class Patches:
    """What shows n neurons to a person: up to k image patches each, strongest activation first.

    neurons: int64 (n,), channel numbers. examples: int64 (n, k), positions in the training split; −1 where a neuron is
    active on fewer than k images. boxes: int64 (n, k, 4) as top, left, bottom, right (excluded) in pixels.
    """

    neurons: Ints
    examples: Ints
    boxes: Ints

    def __len__(self) -> int:
        return len(self.neurons)

    def at(self, which: Any) -> "Patches":
        """Return those of some of the neurons: a slice or bool (n,)."""
        return Patches(self.neurons[which], self.examples[which], self.boxes[which])


@dataclass(frozen=True)
class Masks:
    """n masks: ``values``, bool (n, H, W), possibly a read-only view; ``answered``, bool (n,)."""

    values: Bools
    answered: Bools


@dataclass(frozen=True)
class Boxes:
    """n boxes: ``values``, int64 (n, 4) as top, left, bottom, right (excluded) in pixels; ``answered``, bool (n,)."""

    values: Ints
    answered: Bools


@dataclass(frozen=True)
class Groups:
    """n group numbers: ``values``, int64 (n,); ``answered``, bool (n,)."""

    values: Ints
    answered: Bools


@dataclass(frozen=True)
class Situation:
    """About what an oracle is asked in one run.

    ids: names of the training examples, by position. labels: int64 (N,). class_names: by label. dataset: the data
    set's coordinates. model: sha256 of the original model's parameters, see
    :func:`crayon_bench.networks.classifier.state_hash`. image_size: height and width in pixels.
    """

    ids: Sequence[str]
    labels: Ints
    class_names: Sequence[str]
    dataset: Mapping[str, Any]
    model: str
    image_size: tuple[int, int]


class FeedbackOracle(ABC):
    """Base class of oracles. ``examples`` are positions in the training split, int64 (n,).

    An oracle that subclasses another takes that one's table of a protocol for its own, as far as it has none itself.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    version: ClassVar[int] = 1
    """Raise it when the same question gets another answer; it is part of every run's key."""
    reads_answers: ClassVar[bool] = False
    """Whether it answers from a folder of recorded answers (``--answers DIR``)."""
    Parameters: ClassVar[type[AnyParameters]] = AnyParameters

    def __init__(self, parameters: AnyParameters, *, seed: int) -> None:
        self.parameters = parameters
        self.seed = seed
        self.situation: Situation
        """Set before the first question."""
        self.answers: Path | None = None
        """The folder of ``--answers``; set before :meth:`unable` is called."""
        self.warnings: dict[str, int] = {}
        """What went wrong how often; it stands in the record and under tables."""
        self.seconds: dict[FeedbackKind, float] = {}
        """How long people took for the answers that were given, where that is known."""
        self.calibrated: dict[str, float] = {}
        """Parameters that :meth:`begin` found for this run's original model; they stand in the record."""

    @classmethod
    def fingerprint(cls, answers: Path) -> str:
        """Return a hash of what the folder of *answers* holds; it is part of every run's key. Raises UserError."""
        raise NotImplementedError

    def unable(self, kind: FeedbackKind, dataset: type[Dataset], found: Found) -> str | None:
        """Return why this *kind* of question cannot be answered for what was *found* of *dataset*; None if it can."""
        return found.unable.get(kind) or dataset.unable(kind)

    def begin(self, maps: Callable[[], Floats], evidence: Evidence) -> None:
        """Look at the original model before the first question, if maps are asked about. Nothing of it is counted.

        maps: returns the original model's maps of all training images, as a method would show them, float32 (N, H, W);
        the same in every run of one original model. An oracle that needs none of this has nothing to do.
        """
        return

    def available(self, kind: FeedbackKind, numbers: Ints, shown: Any = None) -> Bools:
        """Return which of n questions, about these images or neurons, it could answer: bool (n,); by default all.

        A budget is spent on those alone. shown: the maps or patches of the questions, where they are known already.
        """
        return np.ones(len(numbers), dtype=np.bool_)

    def warn(self, what: str, times: int = 1) -> None:
        """Count a warning."""
        self.warnings[what] = self.warnings.get(what, 0) + times

    @abstractmethod
    def judge_maps(self, examples: Ints, maps: Floats, evidence: Evidence) -> Verdicts:
        """Does each map, float32 (n, H, W) ≥ 0, look at the right place?"""

    def judge_neurons(self, patches: Patches, evidence: Evidence) -> Verdicts:
        """Do the patches of each neuron show something relevant? The default leaves every question unanswered."""
        return Verdicts(np.full(len(patches), Verdict.UNASKED, dtype=np.int8))

    def relevant_masks(self, examples: Ints, evidence: Evidence) -> Masks:
        """Which pixels matter?"""
        return Masks(evidence.relevant_masks(examples).astype(np.bool_, copy=False), _all(examples))

    def irrelevant_masks(self, examples: Ints, evidence: Evidence) -> Masks:
        """Which pixels must not matter?"""
        return Masks(evidence.irrelevant_masks(examples).astype(np.bool_, copy=False), _all(examples))

    def boxes(self, examples: Ints, evidence: Evidence) -> Boxes:
        """Where is what matters?"""
        return Boxes(evidence.boxes(examples).astype(np.int64, copy=False), _all(examples))

    def groups(self, examples: Ints, truth: Ints) -> Groups:
        """To which group does each example belong? *truth*: the true groups, int64 (n,)."""
        return Groups(truth, _all(examples))


def _all(examples: Ints) -> Bools:
    return np.ones(len(examples), dtype=np.bool_)
