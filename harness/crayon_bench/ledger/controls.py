"""Controls: answers that carry less, in the place of the true ones.

What a method gains with the true ones beside them is what the answers add.
The questions, their number and what is counted for them are the same; only what comes back differs. Answers of one call
change places, or are all made alike; a question that is not answered stays so. Methods ask for masks in parts, as
they are large: so masks change places among all training images.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from crayon_bench.feedback import Control, FeedbackKind
from crayon_bench.oracle import Boxes, Groups, Ints, Masks, Verdicts
from crayon_bench.seeds import derive_seed

Answer = TypeVar("Answer", Verdicts, Masks, Boxes, Groups)
Small = TypeVar("Small", Verdicts, Boxes, Groups)

_PART = 512
"""How many masks are looked at together."""


class Weakened:
    """Answers under a control. labels: of the training examples, int64 (N,). seed: the run's feedback seed.

    warnings: what kept the control from being one, and how often.
    """

    def __init__(self, control: Control, labels: Ints, seed: int) -> None:
        self.control = control
        self.labels = labels
        self.seed = seed
        self.warnings: Counter[str] = Counter()
        self._next: dict[FeedbackKind, Ints] = {}
        self._typical: dict[FeedbackKind, Any] = {}

    def __call__(self, kind: FeedbackKind, given: Small, examples: Ints | None) -> Small:
        """Return the answers *given* to n questions about *examples*, int64 (n,); None for questions about neurons."""
        there = np.flatnonzero(given.answered)
        if not len(there):
            return given
        if self.control is Control.CONSTANT:
            values = _constant(given, there)
        else:
            source = np.arange(len(given.values))
            source[there] = there[self._elsewhere(kind, None if examples is None else examples[there], len(there))]
            values = given.values[source]
        self._compare(kind, values, given.values)
        return type(given)(values) if isinstance(given, Verdicts) else type(given)(values, given.answered)

    def masks(
        self, kind: FeedbackKind, given: Masks, examples: Ints, ask: Callable[[Ints], Masks], able: Ints
    ) -> Masks:
        """Return the masks *given* to n questions about *examples*, int64 (n,).

        ask: what is said about any examples. able: all training examples about which it can be said, int64.
        """
        there = np.flatnonzero(given.answered)
        if not len(there):
            return given
        values = given.values.copy()
        if self.control is Control.CONSTANT:
            if kind not in self._typical:
                self._typical[kind] = _typical_mask(ask, able)
            values[there] = self._typical[kind]
        else:
            if kind not in self._next:
                self._next[kind] = np.arange(len(self.labels))
                self._next[kind][able] = able[self._elsewhere(kind, able, len(able))]
            other = self._next[kind][examples]
            left = there
            while len(left):  # somebody may have said nothing about the next one: then of the one after that
                told = ask(other[left])
                values[left[told.answered]] = told.values[told.answered]
                left = left[~told.answered & (other[left] != examples[left])]
                other[left] = self._next[kind][other[left]]
        self._compare(kind, values[there], given.values[there])
        return Masks(values, given.answered)

    def _elsewhere(self, kind: FeedbackKind, examples: Ints | None, n: int) -> Ints:
        """Return from which of n places each gets its answer."""
        classes = None if examples is None or self.control is Control.SHUFFLED_ALL else self.labels[examples]
        return _cycles(n, classes, derive_seed(self.seed, f"{self.control} {kind}"))

    def _compare(self, kind: FeedbackKind, values: Any, true: Any) -> None:
        if np.array_equal(values, true):
            self.warnings[f"answers ({kind}) are all alike: the control has the true ones, and is none"] += 1


def _typical_mask(ask: Callable[[Ints], Masks], able: Ints) -> Any:
    """Return as many pixels as a mask has on average: those that most of them have; half of them may share none."""
    often, number = 0, 0
    for first in range(0, len(able), _PART):
        told = ask(able[first : first + _PART])
        often = often + told.values[told.answered].sum(0, dtype=np.int64)
        number += int(told.answered.sum())
    count = np.asarray(often)
    mask = np.zeros(count.size, dtype=np.bool_)
    mask[np.argsort(-count.ravel(), kind="stable")[: round(float(count.sum()) / max(number, 1))]] = True
    return mask.reshape(count.shape)


def _constant(given: Verdicts | Boxes | Groups, there: Ints) -> Any:
    """Return the values in which every answer is the one that stands for all."""
    true = given.values[there]
    if isinstance(given, Boxes):
        typical = np.rint(true.mean(0)).astype(true.dtype)
    else:
        values, counts = np.unique(true, return_counts=True)
        typical = values[counts.argmax()]
    values = given.values.copy()
    values[there] = typical
    return values


def _cycles(n: int, classes: Ints | None, seed: int) -> Ints:
    """Return from which of n places each gets its answer: in each class one random cycle, in which none stays."""
    rng = np.random.default_rng(seed)
    places = np.arange(n)
    for some in [places.copy()] if classes is None else [np.flatnonzero(classes == c) for c in np.unique(classes)]:
        cycle = rng.permutation(some)
        places[cycle] = np.roll(cycle, 1)
    return places


def weakened(control: str | None, labels: Ints, seed: int) -> Weakened | None:
    """Return what makes the answers of a run weaker; None for a run with the true ones."""
    return None if control is None else Weakened(Control(control), labels, seed)
