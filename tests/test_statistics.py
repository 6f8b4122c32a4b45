"""Intervals, tests and ranks against scipy, or against a slow reference, on random inputs."""

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from crayon_bench_leaderboards import statistics as ours


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_wilson_is_scipys(level):
    random = np.random.default_rng(1)
    total = random.integers(1, 400, 200)
    right = np.array([random.integers(0, n + 1) for n in total])
    right[:3], total[:3] = (0, 1, 200), (1, 1, 200)
    low, high = ours.wilson(right, total, level)
    for k, n, lower, upper in zip(right, total, low, high, strict=True):
        theirs = stats.binomtest(int(k), int(n)).proportion_ci(level, method="wilson")
        assert (lower, upper) == pytest.approx((100 * theirs.low, 100 * theirs.high), abs=1e-9)


def test_the_interval_of_a_mean_of_shares_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(2)
    truth, total = np.array([0.97, 0.6, 0.1, 0.9]), np.array([200, 40, 60, 200])
    inside = 0
    for _ in range(2000):
        interval = ours.wilson_of_mean(random.binomial(total, truth), total)
        inside += interval.low <= 100 * truth.mean() <= interval.high
    assert 0.935 <= inside / 2000 <= 0.97
    # One group: the Wilson interval itself.
    low, high = ours.wilson([7], [9])
    one = ours.wilson_of_mean([7], [9])
    assert (one.low, one.high) == pytest.approx((low[0], high[0]))


def test_the_bootstrap_over_seeds_is_scipys_stretched():
    random = np.random.default_rng(3)
    for n in (5, 8, 20):
        x = random.normal(40, 7, n)
        found = ours.bootstrap_mean(x)
        theirs = stats.bootstrap((x,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
        width = theirs.high - theirs.low
        factor = stats.t.ppf(0.975, n - 1) / stats.norm.ppf(0.975) * math.sqrt(n / (n - 1))
        assert found.estimate == pytest.approx(x.mean())
        assert found.low == pytest.approx(x.mean() + factor * (theirs.low - x.mean()), abs=0.05 * width)
        assert found.high == pytest.approx(x.mean() + factor * (theirs.high - x.mean()), abs=0.05 * width)
        assert ours.bootstrap_mean(x) == found  # the same numbers, the same interval
    assert ours.bootstrap_mean([1.0]) is None
    assert ours.stretch(10_000) == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3, 5, 6])
def test_few_seeds_do_not_make_intervals_too_narrow(n):
    random = np.random.default_rng(4)
    missed = plain = 0
    for _ in range(1000):
        x = random.normal(0, 1, n)
        interval = ours.bootstrap_mean(x)
        missed += not interval.low <= 0 <= interval.high
        shrunk = [(end - x.mean()) / ours.stretch(n) + x.mean() for end in (interval.low, interval.high)]
        plain += not shrunk[0] <= 0 <= shrunk[1]
    assert missed <= 80 < plain  # of 50 promised; percentiles alone miss far more


def slow_sign_flips(x: np.ndarray) -> float:
    observed = abs(np.mean(x))
    values = [abs(np.mean(x * signs)) for signs in itertools.product([-1, 1], repeat=len(x))]
    return float(np.mean([value >= observed - 1e-12 for value in values]))


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_over_bimodal_seeds_cover_what_the_docs_say(n):
    """Some seeds repair, 85 %, and the others fail, 10 %; what the reference says of it is made here."""

    def covered(fails: float, draws: int = 300) -> float:
        random = np.random.default_rng([0, n, round(100 * fails)])
        truth, right = 10 * fails + 85 * (1 - fails), 0
        for _ in range(draws):
            seeds = np.where(random.random(n) < fails, 10, 85) + random.normal(0, 2, n)
            found = ours.bootstrap_mean(seeds)
            right += max(found.low, 0) <= truth <= min(found.high, 100)
        return 100 * right / draws

    shares = [covered(fails / 10) for fails in range(1, 10)]
    page = (Path(__file__).parents[1] / "docs/reference/statistics.md").read_text(encoding="utf-8")
    (said,) = re.findall(rf"(\d+) to (\d+) % with {n}\b", page)
    assert abs(min(shares) - int(said[0])) < 1.5
    assert abs(max(shares) - int(said[1])) < 1.5
    assert min(shares) in (shares[0], shares[-1])
    assert shares.index(max(shares)) in (2, 3, 4, 5, 6)


def test_sign_flips_are_counted_exactly():
    random = np.random.default_rng(5)
    for n in (6, 7, 9):
        for shift in (0, 1, 5):
            x = random.normal(shift, 1, n)
            assert ours.sign_flip_p(x) == pytest.approx(slow_sign_flips(x))
    assert ours.sign_flip_p([5.0] * 6) == pytest.approx(2 / 2**6)
    assert ours.sign_flip_p([0.0] * 8) == 1.0
    assert ours.sign_flip_p([9.0] * 5) is None  # 2 / 2⁵ > 0.05
    many = random.normal(0.2, 1, 40)
    assert ours.sign_flip_p(many) == ours.sign_flip_p(many)
    assert ours.sign_flip_p(many) == pytest.approx(stats.ttest_1samp(many, 0).pvalue, abs=0.03)


def slow_holm(p: list[float], alpha: float) -> set[int]:
    """Return which hypotheses Holm's procedure rejects, step by step as it was written."""
    rejected: set[int] = set()
    for step, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[index] > alpha / (len(p) - step):
            break
        rejected.add(index)
    return rejected


def test_holm_rejects_what_the_procedure_rejects():
    random = np.random.default_rng(6)
    for _ in range(300):
        p = list(random.beta(0.4, 3, random.integers(1, 12)))
        corrected = ours.holm(p)
        for alpha in (0.01, 0.05, 0.2):
            assert {i for i, value in enumerate(corrected) if value <= alpha} == slow_holm(p, alpha)
        assert all(a >= b for a, b in zip(corrected, p, strict=True))
    assert ours.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert ours.holm([]) == []


def test_methods_that_cannot_be_told_apart_share_a_rank():
    random = np.random.default_rng(7)
    noise = random.normal(0, 1, (4, 10))
    scores = np.array([50.0, 80, 80.1, 20])[:, None] + noise
    assert ours.ranks(scores) == [3, 1, 1, 4]
    assert ours.ranks(scores[:, :5]) == [1, 1, 1, 1]  # five seeds separate nothing
    assert ours.ranks(scores[:1]) == [1]
    assert ours.seeds_to_separate(2) == 6
    need = ours.seeds_to_separate(10)
    apart = np.arange(10.0)[:, None] * np.ones(need)
    assert max(ours.ranks(apart)) > 1
    assert max(ours.ranks(apart[:, : need - 1])) == 1


def slow_score(run: np.ndarray, chosen: list[np.ndarray], metric: str) -> float:
    accuracies = [run[examples].mean() for examples in chosen]
    if metric == "worst_group_accuracy":
        return 100 * min(accuracies)
    if metric == "group_mean_accuracy":
        return 100 * sum(accuracies) / len(accuracies)
    return 100 * run[np.concatenate(chosen)].mean()


def slow_difference(old, new, sizes, metric, paired, draws, random, level):
    """One draw at a time, example by example."""
    edges = np.concatenate([[0], np.cumsum(sizes)])
    values = []
    for _ in range(draws):
        chosen = [edges[g] + random.integers(n, size=n) for g, n in enumerate(sizes)]
        before = np.array([slow_score(run, chosen, metric) for run in old])
        after = np.array([slow_score(run, chosen, metric) for run in new])
        seeds_old = random.integers(len(old), size=len(old))
        seeds_new = seeds_old if paired else random.integers(len(new), size=len(new))
        value = after.mean() - before.mean()
        value += ours.stretch(len(new), level) * (after[seeds_new].mean() - after.mean())
        value -= ours.stretch(len(old), level) * (before[seeds_old].mean() - before.mean())
        values.append(value)
    return np.quantile(values, [(1 - level) / 2, (1 + level) / 2])


SLOW_WAYS = [(metric, paired) for metric in ours.METRICS for paired in (True, False)]


@pytest.mark.parametrize(
    ("metric", "paired"), [SLOW_WAYS[0], *(pytest.param(*way, marks=pytest.mark.slow) for way in SLOW_WAYS[1:])]
)
def test_the_gates_bootstrap_is_the_slow_one(metric, paired):
    random = np.random.default_rng(8)
    sizes = np.array([30, 50, 20])
    p = np.repeat([0.9, 0.7, 0.5], sizes)
    old = random.random((7, 100)) < p
    new = np.where(
        random.random((7 if paired else 8, 100)) < 0.7, old[[0, 1, 2, 3, 4, 5, 6, 0][: 7 if paired else 8]], False
    )
    [found] = ours.bootstrap_differences(old, new, sizes, [metric], paired=paired).values()
    # Whatever other metrics are asked for, they are of the same draws.
    assert ours.bootstrap_differences(old, new, sizes, list(ours.METRICS), paired=paired)[metric] == found
    everything = np.split(np.arange(100), np.cumsum(sizes)[:-1])
    means = [np.mean([slow_score(run, everything, metric) for run in runs]) for runs in (old, new)]
    assert found.estimate == pytest.approx(means[1] - means[0])
    for level in (0.95, 0.5):
        [found] = ours.bootstrap_differences(old, new, sizes, [metric], paired=paired, level=level).values()
        slow = slow_difference(old, new, sizes, metric, paired, 800, random, level)
        width = slow[1] - slow[0]
        assert (found.low, found.high) == pytest.approx(tuple(slow), abs=0.15 * width)


def test_equal_runs_have_no_difference_and_pairing_narrows():
    random = np.random.default_rng(9)
    sizes = np.array([40, 60])
    old = random.random((5, 100)) < 0.7
    [same] = ours.bootstrap_differences(old, old, sizes, ["worst_group_accuracy"]).values()
    assert (same.estimate, same.low, same.high) == (0, 0, 0)
    [apart] = ours.bootstrap_differences(old, old, sizes, ["worst_group_accuracy"], paired=False).values()
    assert apart.low < 0 < apart.high
    assert math.isclose(apart.estimate, 0)
