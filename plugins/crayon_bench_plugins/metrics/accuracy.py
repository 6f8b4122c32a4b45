"""Accuracies, each with its exact definition; never "average" or "adjusted", which mean different things to people."""

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


def _by_group(predictions: Predictions) -> NDArray[np.float64]:
    right, total = predictions.group_counts()
    if len(total) == 0:
        raise MetricError(predictions.no_groups or "there are no groups")
    empty = [name for name, n in zip(predictions.group_names, total, strict=True) if n == 0]
    if empty:
        more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
        raise MetricError(f"no test examples in group '{empty[0]}'{more}")
    return np.asarray(right / total, dtype=np.float64)
