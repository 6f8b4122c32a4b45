"""Metrics against a brute-force count."""

import numpy as np
import pytest

from crayon_bench.errors import MetricError
from crayon_bench.metric import Predictions
from crayon_bench.plugins.registry import Kind, Registry

NAMES = ("sample_accuracy", "group_mean_accuracy", "worst_group_accuracy")


def metrics():
    registry = Registry()
    return [registry.load(Kind.METRIC, name)() for name in NAMES]


def predictions(labels, predicted, groups, n_groups) -> Predictions:
    return Predictions(
        np.asarray(labels, np.int64), np.asarray(predicted, np.int64), np.asarray(groups, np.int64),
        np.zeros((len(labels), 10), np.float32), tuple(f"g{i}" for i in range(n_groups)),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_against_brute_force(seed):
    random = np.random.RandomState(seed)
    n_groups = random.randint(1, 7)
    groups = np.concatenate([np.arange(n_groups), random.randint(0, n_groups, 50) ** 2 % n_groups])
    labels, predicted = random.randint(0, 3, len(groups)), random.randint(0, 3, len(groups))
    by_group = []
    for g in range(n_groups):
        hits = [int(y == p) for y, p, h in zip(labels, predicted, groups, strict=True) if h == g]
        by_group.append(sum(hits) / len(hits))
    right = sum(int(y == p) for y, p in zip(labels, predicted, strict=True))
    expected = [100 * right / len(groups), 100 * sum(by_group) / n_groups, 100 * min(by_group)]
    given = predictions(labels, predicted, groups, n_groups)
    assert [m.compute(given) for m in metrics()] == pytest.approx(expected, abs=1e-12)


def test_the_three_differ_where_groups_have_different_sizes():
    given = predictions([0] * 10, [0] * 8 + [1] * 2, [0] * 8 + [1] * 2, 2)
    assert [m.compute(given) for m in metrics()] == [80.0, 50.0, 0.0]


def test_an_empty_group_is_an_error_never_zero():
    given = predictions([0, 1], [0, 1], [0, 0], 3)
    acc, ma, wga = metrics()
    assert acc.compute(given) == 100.0
    for metric in (ma, wga):
        with pytest.raises(MetricError, match="no test examples in group 'g1' and 1 more"):
            metric.compute(given)


def test_directions_and_definitions():
    for metric in metrics():
        assert metric.direction == "higher"
        assert metric.unit == "%"
        assert "test examples" in metric.summary
    assert [metric.short for metric in metrics()] == ["Acc", "MA", "WGA"]
