"""What a budget leaves of each kind of question, and which questions are asked: the ledger's own account of it."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from crayon_bench.budget import Budget
from crayon_bench.feedback import FeedbackKind
from crayon_bench.seeds import derive_seed
from crayon_bench.strategy import Pool, QueryStrategy

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Allowance:
    """The budget of one run.

    kinds: what the method may ask. A number of questions is for all kinds together: each may take what is left, less
    an equal share of the whole (or what was reserved) for every kind that was not asked about yet. A share is of each
    kind by itself.
    """

    def __init__(self, budget: Budget, kinds: Sequence[FeedbackKind], strategy: QueryStrategy, pool: Pool) -> None:
        self._budget = budget
        self._strategy = strategy
        self._pool = pool
        self._reserved = dict.fromkeys(kinds, (budget.questions or 0) // max(1, len(kinds)))
        self._spent = dict.fromkeys(kinds, 0)
        self._begun: set[FeedbackKind] = set()
        self._ranks: Ints | None = None
        self.warnings: dict[str, int] = {}

    def reserve(self, kind: FeedbackKind, number: int) -> None:
        """Set *number* questions of a number aside for a *kind* that is asked about later, its equal share at most."""
        # Not below zero: less than nothing set aside would be more than the budget for the others.
        self._reserved[kind] = max(0, min(number, (self._budget.questions or 0) // max(1, len(self._spent))))

    def pick(self, kind: FeedbackKind, numbers: Ints, available: Bools) -> Bools:
        """Return which of n questions, about these images or neurons, may be asked now, bool (n,)."""
        picked = np.zeros(len(numbers), dtype=np.bool_)
        order = np.argsort(self._keys(kind, numbers), kind="stable")
        picked[order[available[order]][: self._left(kind, len(numbers))]] = True
        return picked

    def spend(self, kind: FeedbackKind, number: int) -> None:
        """Note that *number* questions were asked."""
        self._begun.add(kind)
        self._spent[kind] += number

    def _left(self, kind: FeedbackKind, asked: int) -> int:
        if self._budget.questions is None:
            there = asked if kind is FeedbackKind.NEURON_VERDICT else len(self._pool)
            return max(0, self._budget.of(there) - self._spent[kind])
        later = sum(n for other, n in self._reserved.items() if other is not kind and other not in self._begun)
        return max(0, self._budget.questions - sum(self._spent.values()) - later)

    def _keys(self, kind: FeedbackKind, numbers: Ints) -> NDArray[np.float64] | Ints:
        if kind is FeedbackKind.NEURON_VERDICT:
            if self._strategy.about_images:
                self.warnings[f"neurons were chosen at random: '{self._strategy.name}' is about images"] = 1
            rng = np.random.default_rng(derive_seed(self._strategy.seed, "neurons"))
            return rng.random(int(numbers.max(initial=-1)) + 1)[numbers]
        if self._ranks is None:
            self._ranks = _ranks(self._strategy, self._pool)
        return self._ranks[numbers]


def _ranks(strategy: QueryStrategy, pool: Pool) -> Ints:
    order = np.asarray(strategy.rank(pool))
    n = len(pool)
    if order.shape != (n,) or not np.issubdtype(order.dtype, np.integer) or not (np.sort(order) == np.arange(n)).all():
        raise ValueError(f"strategy '{strategy.name}': rank() must return the positions 0 to {n - 1}, each once")
    ranks = np.empty(n, dtype=np.int64)
    ranks[order] = np.arange(n)
    return ranks


def make_allowance(
    budget: Budget | None, kinds: Sequence[FeedbackKind], strategy: Callable[[], QueryStrategy], pool: Pool
) -> Allowance | None:
    """Return the allowance of a run; None without a budget, when the *strategy* is not made."""
    return None if budget is None else Allowance(budget, kinds, strategy(), pool)
