"""What the answers add: each method beside itself with answers that carry less.

The definition is in docs/reference/controls.md. A row and its control have the same original models, seeds, recipe and
questions; the difference of their scores is paired over seeds and test examples, as the gate's.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import nan
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from crayon_bench.store.records import Record, Status
from crayon_bench_leaderboards.cells import Run, run_of
from crayon_bench_leaderboards.variants import Variant, by_setting, control_place, variants_of

Read = Callable[[Record], Any]
"""Returns the predictions of a run, as :meth:`Store.predictions`."""
Asked = tuple[str, str, str | None]
"""What a row and its controls have in common: method, variant and budget."""


@dataclass(frozen=True)
class Added:
    """Score with the true answers less the score with a control's, in points: the mean over *n* seeds.

    low, high: the ends of its 95 % interval. None: not known, such as where predictions cannot be read.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def told(self) -> bool:
        """Whether it can be told from chance: the interval leaves out 0."""
        return self.low is not None and self.high is not None and not (self.low <= _SLACK and self.high >= -_SLACK)


_SLACK = 1e-9
"""Differences of equal decimals may differ from 0 in the last bit."""


def answers_add(records: Sequence[Record], read: Read | None) -> dict[Asked, dict[str, dict[str, Added]]]:
    """Return what the answers add, by control and metric, for each row of *records* that has controls.

    records: of one setting. read: None, if predictions are nowhere to be had; then there are no intervals.
    """
    variants = variants_of(records)
    true = {(one.method, one.changes, one.budget): one for one in variants if one.control is None}
    found: dict[Asked, dict[str, dict[str, Added]]] = {}
    runs: dict[str, Run] = {}
    for variant in variants:
        key = (variant.method, variant.changes, variant.budget)
        if variant.control is not None and key in true and (added := _between(variant, true[key], read, runs)):
            found.setdefault(key, {})[variant.control] = added
    return found


def first_control(added: dict[str, dict[str, Added]]) -> str | None:
    """Return the control that a row is compared with where there is place for one."""
    return min(added, key=control_place, default=None)


def _between(weak: Variant, true: Variant, read: Read | None, runs: dict[str, Run]) -> dict[str, Added]:
    with_less, with_true = (
        {record.seed: record for record in one.records if record.status is Status.OK} for one in (weak, true)
    )
    pairs = [(with_less[seed], with_true[seed]) for seed in sorted(with_less.keys() & with_true.keys())]
    differences = {
        name: values
        for name in (pairs[0][1].metrics if pairs else ())
        if len(values := [value for both in pairs for value in _difference(both, name)]) == len(pairs)
    }
    intervals = _intervals(pairs, differences, read, runs)
    unknown = (None, None)
    found = {}
    for name, values in differences.items():
        low, high = intervals.get(name, unknown)
        found[name] = Added(fmean(values), low, high, len(pairs))
    return found


def _difference(both: tuple[Record, Record], name: str) -> list[float]:
    """Return the difference; nothing where one of the two has no such value."""
    weak, true = (record.metrics[name].value if name in record.metrics else None for record in both)
    return [] if weak is None or true is None else [true - weak]


def _intervals(
    pairs: list[tuple[Record, Record]], differences: dict[str, list[float]], read: Read | None, runs: dict[str, Run]
) -> dict[str, tuple[float, float]]:
    from crayon_bench_leaderboards.statistics import METRICS, bootstrap_differences, bootstrap_mean  # imports scipy

    found = {}
    for name, values in differences.items():
        # Other metrics do not follow from right and wrong: their interval is over seeds alone.
        if name not in METRICS and (over_seeds := bootstrap_mean(values)):
            found[name] = (over_seeds.low, over_seeds.high)
    names = [name for name in differences if name in METRICS]
    if read is None or not names:
        return found
    for record in (record for both in pairs for record in both):
        if record.key not in runs:
            runs[record.key] = run_of(record, read)
    sides = [[runs[record.key] for record in side] for side in zip(*pairs, strict=True)]
    every = [run for side in sides for run in side]
    tests = every[0].tests
    if tests is None or any(run.right is None or run.tests != tests for run in every):
        return found
    weak, true = (np.stack([run.right for run in side if run.right is not None]) for side in sides)
    sizes = tests.sizes[tests.sizes > 0]
    for name, interval in bootstrap_differences(weak, true, sizes, names).items():
        found[name] = (interval.low, interval.high)
    return found


def with_answers_add(cells: pd.DataFrame, records: Iterable[Record], read: Read | None) -> pd.DataFrame:
    """Return *cells*, which :func:`cells_frame` made of *records*, with what the answers add as its last columns.

    The row with the true answers tells of its first control, the row of a further control of that one.
    """
    found: dict[tuple[Any, ...], Added] = {}
    for group in by_setting(records):
        for (method, changes, budget), by_control in answers_add(group, read).items():
            asked = (group[0].setting, method, changes, budget or "all")
            for control, by_metric in by_control.items():
                place = "" if control == first_control(by_control) else control
                found |= {(*asked, place, metric): added for metric, added in by_metric.items()}
    keys = cells[["setting", "method", "variant", "budget", "control", "metric"]].itertuples(index=False, name=None)
    added = [found.get(key) for key in keys]
    columns = {
        "answers_add": [nan if one is None else one.mean for one in added],
        "answers_add_low": [nan if one is None or one.low is None else one.low for one in added],
        "answers_add_high": [nan if one is None or one.high is None else one.high for one in added],
    }
    return cells.assign(**{name: pd.Series(values, cells.index, "float64") for name, values in columns.items()})
