"""Intervals, tests and ranks; the definitions with their formulas are in docs/reference/statistics.md.

Everything is deterministic: each bootstrap starts from the same seed, so equal numbers give equal intervals.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Bits = NDArray[np.bool_]

LEVEL = 0.95
DRAWS = 10_000
SEED = 20_240_601
"""Of every bootstrap and every random set of sign flips; its value has no meaning."""
ENOUGH_SEEDS = 6
"""With fewer pairs no exact two-sided test reaches p < 0.05: 2 / 2⁵ = 0.0625."""
_FLIPS = 2**16
"""All sign patterns up to 16 pairs; with more, this many random ones."""


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its interval."""

    estimate: float
    low: float
    high: float


def wilson(right: ArrayLike, total: ArrayLike, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Return the ends of the Wilson score intervals of the shares right / total, in percent."""
    n = np.asarray(total, dtype=np.float64)
    p = np.asarray(right, dtype=np.float64) / n
    z = stats.norm.isf((1 - level) / 2)
    middle = p + z**2 / (2 * n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = ((middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    return 100 * np.clip(low, 0, p), 100 * np.clip(high, p, 1)


def wilson_of_mean(right: ArrayLike, total: ArrayLike, level: float = LEVEL) -> Interval:
    """Return the unweighted mean of shares with an interval made of their Wilson intervals (MOVER), in percent."""
    p = 100 * np.asarray(right, dtype=np.float64) / np.asarray(total, dtype=np.float64)
    low, high = wilson(right, total, level)
    mean, n = float(p.mean()), len(p)
    return Interval(mean, mean - float(np.linalg.norm(p - low)) / n, mean + float(np.linalg.norm(high - p)) / n)


def stretch(n: int, level: float = LEVEL) -> float:
    """Return by how much resampled means of *n* values are too near to their mean.

    They have the standard deviation of n − 1 values as if it were of n, and normal tails: for the mean of a few normal
    values, this factor makes of the percentile interval what Student's t gives.
    """
    if n < 2:
        return 1.0
    half = (1 - level) / 2
    return float(stats.t.isf(half, n - 1) / stats.norm.isf(half) * np.sqrt(n / (n - 1)))


def bootstrap_mean(values: ArrayLike, level: float = LEVEL) -> Interval | None:
    """Return the mean of *values*, one per seed, with its bootstrap interval. None: fewer than two values."""
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2:
        return None
    means = x[np.random.default_rng(SEED).integers(len(x), size=(DRAWS, len(x)))].mean(1)
    return _interval(float(x.mean()), x.mean() + stretch(len(x), level) * (means - x.mean()), level)


def _interval(estimate: float, draws: Floats, level: float) -> Interval:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))


def sign_flip_p(differences: ArrayLike) -> float | None:
    """Return the two-sided p of the exact test that flips the signs of paired differences. None: too few pairs."""
    x = np.asarray(differences, dtype=np.float64)
    if len(x) < ENOUGH_SEEDS:
        return None

    def mean(values: Floats, axis: int = -1) -> Floats:
        return np.asarray(values.mean(axis=axis))

    random = np.random.default_rng(SEED)
    test = stats.permutation_test(
        (x,), mean, permutation_type="samples", vectorized=True, n_resamples=_FLIPS, batch=4096, rng=random
    )
    return float(test.pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Return *p* corrected by Holm's step-down procedure, in the same order."""
    raw = np.asarray(p, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    corrected = np.empty_like(raw)
    corrected[order] = np.minimum(1, np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1)))
    return [float(value) for value in corrected]


def ranks(scores: Floats, level: float = LEVEL) -> list[int]:
    """Return the rank of each row of *scores* (methods, seeds), higher being better; rows not separable share one.

    The best mean of those left opens a rank; all that Holm-corrected sign-flip tests cannot tell from it share it.
    """
    left = sorted(range(len(scores)), key=lambda row: -float(scores[row].mean()))
    found = [0] * len(scores)
    while left:
        rank = len(scores) - len(left) + 1
        best, *others = left
        raw = [sign_flip_p(scores[best] - scores[row]) for row in others]
        corrected = holm([1.0 if p is None else p for p in raw])
        tied = {best, *(row for row, p in zip(others, corrected, strict=True) if p >= 1 - level)}
        for row in tied:
            found[row] = rank
        left = [row for row in left if row not in tied]
    return found


def seeds_to_separate(methods: int, level: float = LEVEL) -> int:
    """Return how many seeds it takes until the best of *methods* can be separated from the others at all."""
    return next(n for n in range(ENOUGH_SEEDS, 64) if 2 / 2**n * max(methods - 1, 1) < 1 - level)


# ---------------------------------------------------------------------------------------------------------------------
# the gate: runs with their predictions. sizes: number of examples of each group; bits of examples: group after group.

Metric = Callable[[Floats, NDArray[np.int64]], Floats]


def _sample_accuracy(accuracies: Floats, sizes: NDArray[np.int64]) -> Floats:
    return np.asarray(accuracies @ (sizes / sizes.sum()))


METRICS: dict[str, Metric] = {
    "worst_group_accuracy": lambda accuracies, _: accuracies.min(-1),
    "group_mean_accuracy": lambda accuracies, _: accuracies.mean(-1),
    "sample_accuracy": _sample_accuracy,
}
"""From the accuracies of groups (…, groups) in percent to the metric: those that follow from right and wrong."""


def group_accuracies(right: Bits, sizes: NDArray[np.int64]) -> Floats:
    """Return the accuracy of each group in percent, (runs, groups), from bits (runs, examples)."""
    parts = np.split(right, np.cumsum(sizes)[:-1], axis=1)
    return 100 * np.stack([part.mean(1) for part in parts], axis=1)


def bootstrap_differences(
    old: Bits,
    new: Bits,
    sizes: NDArray[np.int64],
    metrics: Sequence[str],
    *,
    paired: bool = True,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Return the means over seeds of *metrics* of *new* (seeds, examples) less those of *old*, with their intervals.

    A draw takes the same test examples, group by group, for every run, and the same seeds for both sides if they are
    *paired*; otherwise each side has its own. What a draw of seeds changes is stretched, see :func:`stretch`.
    """
    random = np.random.default_rng(SEED)
    both = np.concatenate([old, new])
    found = group_accuracies(both, sizes)
    drawn = np.empty((DRAWS, len(both), len(sizes)))
    for g, right in enumerate(np.split(both, np.cumsum(sizes)[:-1], axis=1)):
        # Examples on which all runs agree are interchangeable: drawing kinds of examples is the same, and much less.
        kinds, counts = np.unique(right, axis=1, return_counts=True)
        times = random.multinomial(sizes[g], counts / sizes[g], size=DRAWS)
        drawn[:, :, g] = 100 * (times @ kinds.T.astype(np.float64)) / sizes[g]
    seeds = random.integers(len(old), size=(DRAWS, len(old)))
    seeds_new = seeds if paired else random.integers(len(new), size=(DRAWS, len(new)))

    def interval(compute: Callable[[Floats, NDArray[np.int64]], Floats]) -> Interval:
        scores, means = compute(drawn, sizes), compute(found, sizes)
        before = _over_seeds(scores[:, : len(old)], seeds, level)
        after = _over_seeds(scores[:, len(old) :], seeds_new, level)
        # Stretched draws may pass what a difference of percentages can be.
        draws = np.clip(after - before, -100, 100)
        return _interval(float(means[len(old) :].mean() - means[: len(old)].mean()), draws, level)

    return {metric: interval(METRICS[metric]) for metric in metrics}


def _over_seeds(scores: Floats, seeds: NDArray[np.int64], level: float) -> Floats:
    mean = scores.mean(1)
    return np.asarray(mean + stretch(scores.shape[1], level) * (np.take_along_axis(scores, seeds, 1).mean(1) - mean))
