"""The QueryStrategy interface: which questions are asked if a budget does not allow them all.

To add a strategy, subclass :class:`QueryStrategy`, set ``name``, ``title`` and ``summary``, and write ``rank``. A
strategy sees what the original model makes of the training images, and neither evidence nor groups.

The ranking is made once per run, for all training images: a method asks about those that come first in it, so that
the questions of a small budget are among those of a larger one, and every method is given the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Pool:
    """The N training images that may be asked about, as the original model sees them. Computed when it is read."""

    def __init__(self, size: int, probabilities: Callable[[], Floats]) -> None:
        self._probabilities = probabilities
        self._size = size

    def __len__(self) -> int:
        return self._size

    @cached_property
    def probabilities(self) -> Floats:
        """Probability of each class under the original model, float32 (N, classes)."""
        return self._probabilities()

    @property
    def predicted(self) -> Ints:
        """Predicted class, int64 (N,)."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @property
    def margins(self) -> Floats:
        """Probability of the most probable class less that of the second, float32 (N,); 1 for a single class."""
        if self.probabilities.shape[1] < 2:
            return np.ones(len(self), dtype=np.float32)
        two = np.partition(self.probabilities, -2, axis=1)[:, -2:]
        return np.asarray(two[:, 1] - two[:, 0], dtype=np.float32)


class QueryStrategy(ABC):
    """Base class of query strategies. ``self.seed`` is the run's: take randomness from there."""

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    version: ClassVar[int] = 1
    """Raise it when the same pool is ranked in another order; it is part of the key of every run with a budget."""
    about_images: ClassVar[bool] = True
    """Whether the order follows from the images; neurons are then in random order, and the record says so."""

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    @abstractmethod
    def rank(self, pool: Pool) -> Ints:
        """Return the positions 0 … N−1 of the *pool*, each once, int64 (N,): the first is asked about first."""
