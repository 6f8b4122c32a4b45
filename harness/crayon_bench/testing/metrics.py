"""Checks of metrics."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from crayon_bench import Attention, Direction, Metric, MetricError, Predictions
from crayon_bench.testing import common
from crayon_bench.testing.common import check_metadata
from crayon_bench.testing.trial import CheckSkipped, global_state_kept, pickles_noted

_GROUPS = ("lying, red", "lying, blue", "standing, red", "standing, blue")


def _predictions(groups: Any, right: Callable[[Any], Any]) -> Predictions:
    """Return predictions on examples of *groups*; *right* says of their positions which are right."""
    groups = np.asarray(groups, dtype=np.int64)
    labels = groups // 2
    predicted = np.where(right(np.arange(len(groups))), labels, 1 - labels).astype(np.int64)
    sure = np.linspace(0.6, 0.9, len(groups), dtype=np.float32)
    probabilities = np.stack([np.where(predicted == c, sure, 1 - sure) for c in (0, 1)], axis=1).astype(np.float32)
    maps, masks = np.random.RandomState(0).uniform(0, 1, (len(groups), 2, 2)), np.zeros((len(groups), 4, 4), np.bool_)
    masks[:, :2, 1:] = True
    looks = Attention(maps.astype(np.float32), lambda examples: masks[examples])
    training = np.array([12, 4, 4, 12])
    return Predictions(labels, predicted, groups, probabilities, _GROUPS, training=training, attention=looks)


def _tiny() -> Predictions:
    return _predictions(np.arange(40) % 4, lambda i: i % 3 > 0)


def _computed(metric: type[Metric], predictions: Predictions) -> float:
    try:
        value = float(metric().compute(predictions))
    except Exception as error:
        raise CheckSkipped(f"it does not compute, see check_computes ({type(error).__name__}: {error})") from error
    if not np.isfinite(value):
        raise CheckSkipped(f"it does not compute, see check_computes (it gives {value})")
    return value


def check_computes(metric: type[Metric]) -> None:
    """It gives a finite number, within seconds."""
    start = time.process_time()
    value = metric().compute(_tiny())
    taken = time.process_time() - start
    assert isinstance(value, int | float | np.number) and np.isfinite(value), f"it gives {value!r}, no finite number"
    assert taken < common.SECONDS, f"it took {taken:.1f} s of CPU time, more than {common.SECONDS} s"


def check_same_predictions_same_value(metric: type[Metric]) -> None:
    """The same predictions have the same value."""
    first, second = _computed(metric, _tiny()), _computed(metric, _tiny())
    assert first == second, f"the same predictions have the values {first} and {second}"


def check_global_state_left_as_found(metric: type[Metric]) -> None:
    """Random states, threads, dtype, grad mode, folder and environment stay as they are."""
    changed: list[str] = []
    _computed(metric, _tiny())
    with global_state_kept(changed):
        _computed(metric, _tiny())
    common.expect_unchanged(changed, "0")


def check_pickles_nothing(metric: type[Metric]) -> None:
    """Nothing is pickled or unpickled."""
    where: list[str] = []
    with pickles_noted(where):
        _computed(metric, _tiny())
    common.expect_no_pickles(where)


def check_predictions_untouched(metric: type[Metric]) -> None:
    """The predictions stay as they are: other metrics read them too."""
    given, kept = _tiny(), _tiny()
    _computed(metric, given)
    for name in ("labels", "predicted", "groups", "probabilities"):
        assert np.array_equal(getattr(given, name), getattr(kept, name)), f"it changed predictions.{name}"


def check_direction(metric: type[Metric]) -> None:
    """All right is not worse than all wrong, by ``direction``."""
    groups = np.arange(40) % 4
    right = _computed(metric, _predictions(groups, lambda i: i >= 0))
    wrong = _computed(metric, _predictions(groups, lambda i: i < 0))
    better = right >= wrong if metric.direction is Direction.HIGHER else right <= wrong
    assert better, f"'{metric.direction}' is better, but all right gives {right:.4g} and all wrong {wrong:.4g}"


def check_empty_group(metric: type[Metric]) -> None:
    """Without examples of a group it gives a number or raises MetricError, never NaN."""
    _expect_number_or_reason(metric, _predictions([0, 2, 2, 3] * 5, lambda i: i % 3 > 0), "where a group is empty")


def check_single_class(metric: type[Metric]) -> None:
    """With examples of one class it gives a number or raises MetricError."""
    _expect_number_or_reason(metric, _predictions([0, 1] * 10, lambda i: i % 3 > 0), "with one class alone")


def check_batch_of_one(metric: type[Metric]) -> None:
    """With one example, or none, it gives a number or raises MetricError."""
    one = _predictions([3], lambda i: i >= 0)
    _expect_number_or_reason(metric, one, "with one example")
    nothing = {name: getattr(one, name)[:0] for name in ("labels", "predicted", "groups", "probabilities")}
    assert one.attention is not None
    nothing["attention"] = replace(one.attention, maps=one.attention.maps[:0])
    _expect_number_or_reason(metric, replace(one, **nothing), "without examples")


def _expect_number_or_reason(metric: type[Metric], predictions: Predictions, where: str) -> None:
    _computed(metric, _tiny())
    try:
        with np.errstate(all="ignore"):
            value = float(metric().compute(predictions))
    except MetricError as error:
        assert common.is_reason(str(error)), f"{where} it raises MetricError without a reason in one line"
        return
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise AssertionError(f"{where} it raises {what}; raise MetricError with a reason") from error
    assert np.isfinite(value), f"{where} it gives {value}; raise MetricError with a reason"


def checks_of(metric: type[Metric]) -> list[Any]:
    """Return the checks that concern *metric*."""
    return [
        check_metadata,
        check_computes,
        check_same_predictions_same_value,
        check_global_state_left_as_found,
        check_predictions_untouched,
        check_direction,
        check_pickles_nothing,
        check_empty_group,
        check_single_class,
        check_batch_of_one,
    ]
