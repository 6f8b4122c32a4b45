"""Accuracies, each with its exact definition; never "average", which means different things to people."""

import numpy as np
from numpy.typing import NDArray

from crayon_bench import Metric, MetricError, Predictions


class SampleAccuracy(Metric):
    """Acc: share of test examples that are classified right, every example weighing the same."""

    name = "sample_accuracy"
    short = "Acc"
    summary = "right predictions / test examples, in percent"

    def compute(self, predictions: Predictions) -> float:
        """Return percent. Raises MetricError without examples."""
        if len(predictions.labels) == 0:
            raise MetricError("there are no test examples")
        return 100.0 * float(np.mean(predictions.labels == predictions.predicted))


class GroupMeanAccuracy(Metric):
    """MA: unweighted mean of the accuracies of all groups (§4.4.1 of the CRAYON paper)."""

    name = "group_mean_accuracy"
    short = "MA"
    summary = "unweighted mean over all groups of right predictions / test examples of the group, in percent"

    def compute(self, predictions: Predictions) -> float:
        """Return percent. Raises MetricError if a group has no test examples."""
        return 100.0 * float(_by_group(predictions).mean())


class WorstGroupAccuracy(Metric):
    """WGA: accuracy of the group in which it is lowest (§4.4.1 of the CRAYON paper)."""

    name = "worst_group_accuracy"
    short = "WGA"
    summary = "minimum over all groups of right predictions / test examples of the group, in percent"

    def compute(self, predictions: Predictions) -> float:
        """Return percent. Raises MetricError if a group has no test examples."""
        return 100.0 * float(_by_group(predictions).min())


class AdjustedAccuracy(Metric):
    """AdjAcc: mean of the groups' accuracies, weighted by the groups' shares of the training split.

    The "average" or "adjusted average accuracy" of the literature on Waterbirds (Sagawa et al. 2020, §3), whose test
    groups have other shares than its training groups. Groups that are not in training have no weight.
    """

    name = "adjusted_accuracy"
    short = "AdjAcc"
    summary = (
        "mean over all groups of right predictions / test examples of the group, weighted by the group's share of the"
        " training examples, in percent"
    )
    columns = "adjusted"

    def compute(self, predictions: Predictions) -> float:
        """Return percent. Raises MetricError if a group that is in training has no test examples."""
        right, total = predictions.group_counts()
        if len(total) == 0:
            raise MetricError(predictions.no_groups or "there are no groups")
        if predictions.training is None:
            raise MetricError("the groups of some training examples are not known")
        there = predictions.training > 0
        if not there.any():
            raise MetricError("there are no training examples")
        _none_empty(predictions, there & (total == 0))
        return 100.0 * float(np.average(right[there] / total[there], weights=predictions.training[there]))


def _by_group(predictions: Predictions) -> NDArray[np.float64]:
    right, total = predictions.group_counts()
    if len(total) == 0:
        raise MetricError(predictions.no_groups or "there are no groups")
    _none_empty(predictions, total == 0)
    return np.asarray(right / total, dtype=np.float64)


def _none_empty(predictions: Predictions, without: NDArray[np.bool_]) -> None:
    empty = [name for name, lacks in zip(predictions.group_names, without, strict=True) if lacks]
    if empty:
        more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
        raise MetricError(f"no test examples in group '{empty[0]}'{more}")
