"""The Metric interface: predictions in, one number out, with a direction and an exact definition.

To add a metric, subclass :class:`Metric`, set the class attributes and write ``compute``. It is a pure function of the
per-example predictions, in numpy; it has no access to the model. Raise MetricError
where it is not defined (an empty group, say): the tables then show "n/a" with your reason, never a made-up value.
Override ``applies`` for one that some data sets do not have at all, and ``chance`` to say what comes without looking.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


class Direction(StrEnum):
    """Which way is better."""

    HIGHER = "higher"
    LOWER = "lower"


_PIXELS = 1 << 24
"""Of masks that are looked at together."""


@dataclass(frozen=True)
class Attention:
    """Where the model looks in N test examples, and where the truth lies. It is read when the run is over.

    maps: float32 (N, h, w) ≥ 0: the true label's maps that methods see (``model.maps``), on their own grid.
    relevant: returns the relevant pixels of some examples, bool (n, H, W), by their positions, int64 (n,).
    """

    maps: NDArray[np.float32]
    relevant: Callable[[NDArray[np.int64]], NDArray[np.bool_]]

    def parts(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """Give all examples with their relevant pixels, some at a time."""
        start, step = 0, 1
        while start < len(self.maps):
            examples = np.arange(start, min(start + step, len(self.maps)))
            masks = self.relevant(examples)
            yield examples, masks
            start, step = start + step, max(1, _PIXELS // max(1, masks[0].size))


@dataclass(frozen=True)
class Predictions:
    """Predictions on the test split.

    labels, predicted, groups: int64 (N,). probabilities: float32 (N, number of classes), rows sum to 1.
    group_names: name of each group; a group without examples is still named here. Empty where nothing is known of
    groups; *no_groups* then says why. training: int64 (number of groups,), training examples of each group; None where
    that is not known. attention: None where nothing is known of where the truth lies in test examples.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    groups: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    group_names: tuple[str, ...]
    no_groups: str = ""
    training: NDArray[np.int64] | None = None
    attention: Attention | None = None

    def group_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return, per group, the number of right predictions and the number of examples."""
        size = len(self.group_names)
        right = np.bincount(self.groups[self.labels == self.predicted], minlength=size)[:size]
        total = np.bincount(self.groups, minlength=size)[:size]
        return right.astype(np.int64), total.astype(np.int64)


class Metric(ABC):
    """Base class of metrics. See the module's docstring for what to write."""

    name: ClassVar[str]
    short: ClassVar[str]
    """Name in a column heading, such as ``WGA``."""
    summary: ClassVar[str]
    """The exact definition in one sentence."""
    direction: ClassVar[Direction] = Direction.HIGHER
    unit: ClassVar[str] = "%"
    columns: ClassVar[str] = ""
    """The group of columns that shows it on request (``leaderboard --columns``); empty: of the usual ones."""

    def applies(self, predictions: Predictions) -> bool:
        """Return whether there is such a number for these data at all; if not, the record does not have it."""
        return True

    def chance(self, predictions: Predictions) -> float | None:
        """Return the value that comes without looking at images, in :attr:`unit`; None if there is no such thing."""
        return None

    @abstractmethod
    def compute(self, predictions: Predictions) -> float:
        """Return the value in :attr:`unit` (accuracies: percent, 0–100). Raises MetricError where undefined."""
