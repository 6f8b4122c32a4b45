"""Controls: answers that carry less, in the place of the true ones.

What a method gains with the true ones beside them is what the answers add.
The questions, their number and what is counted for them are the same; only what comes back differs. Answers of one call
change places, or are all made alike; a question that is not answered stays so.
"""

from collections import Counter
from typing import Any, TypeVar

import numpy as np

from crayon_bench.feedback import Control, FeedbackKind
from crayon_bench.oracle import Boxes, Groups, Ints, Masks, Verdicts
from crayon_bench.seeds import derive_seed

Answer = TypeVar("Answer", Verdicts, Masks, Boxes, Groups)

_LOOKED_AT = 64
"""How many masks are compared with the true ones."""


class Weakened:
    """Answers under a control. labels: of the training examples, int64 (N,). seed: the run's feedback seed.

    warnings: what kept the control from being one, and how often.
    """

    def __init__(self, control: Control, labels: Ints, seed: int) -> None:
        self.control = control
        self.labels = labels
        self.seed = seed
        self.warnings: Counter[str] = Counter()

    def __call__(self, kind: FeedbackKind, given: Answer, examples: Ints | None) -> Answer:
        """Return the answers *given* to n questions about *examples*, int64 (n,); None for questions about neurons."""
        there = np.flatnonzero(given.answered)
        if not len(there):
            return given
        if self.control is Control.CONSTANT:
            values = _constant(given, there)
        else:
            classes = None if examples is None or self.control is Control.SHUFFLED_ALL else self.labels[examples[there]]
            source = np.arange(len(given.values))
            source[there] = there[_elsewhere(len(there), classes, derive_seed(self.seed, f"{self.control} {kind}"))]
            values = given.values[source]
        some = there[:_LOOKED_AT] if isinstance(given, Masks) else there
        if np.array_equal(values[some], given.values[some]):
            self.warnings[f"answers ({kind}) are all alike: the control has the true ones, and is none"] += 1
        return type(given)(values) if isinstance(given, Verdicts) else type(given)(values, given.answered)


def _constant(given: Verdicts | Masks | Boxes | Groups, there: Ints) -> Any:
    """Return the values in which every answer is the one that stands for all."""
    n = len(given.values)
    true = given.values if len(there) == n else given.values[there]
    if isinstance(given, Masks):
        # As many pixels as a mask has on average: those that are relevant most often. Half of the masks may share none.
        often = true.sum(0, dtype=np.int64).ravel()
        size = round(float(often.sum()) / len(true))
        mask = np.zeros(often.shape, dtype=np.bool_)
        mask[np.argsort(-often, kind="stable")[:size]] = True
        typical = mask.reshape(true.shape[1:])
    elif isinstance(given, Boxes):
        typical = np.rint(true.mean(0)).astype(true.dtype)
    else:
        values, counts = np.unique(true, return_counts=True)
        typical = values[counts.argmax()]
    values = given.values.copy()
    values[there] = typical
    return values


def _elsewhere(n: int, classes: Ints | None, seed: int) -> Ints:
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
