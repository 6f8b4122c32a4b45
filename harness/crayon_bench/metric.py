"""The Metric interface: predictions in, one number out, with a direction and an exact definition.

To add a metric, subclass :class:`Metric`, set the class attributes and write ``compute``. It is a pure function of the
per-example predictions, in numpy; it has no access to the model. Raise MetricError
where it is not defined (an empty group, say): the tables then show "n/a" with your reason, never a made-up value.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


class Direction(StrEnum):
    """Which way is better."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True)
class Predictions:
    """Predictions on the test split.

    labels, predicted, groups: int64 (N,). probabilities: float32 (N, number of classes), rows sum to 1.
    group_names: name of each group; a group without examples is still named here. Empty where nothing is known of
    groups; *no_groups* then says why.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    groups: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    group_names: tuple[str, ...]
    no_groups: str = ""

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

    @abstractmethod
    def compute(self, predictions: Predictions) -> float:
        """Return the value in :attr:`unit` (accuracies: percent, 0–100). Raises MetricError where undefined."""
