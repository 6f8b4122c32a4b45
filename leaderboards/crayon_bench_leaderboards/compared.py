"""Statistics of a table's rows: intervals, differences and ranks, for ``leaderboard --statistics``."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from crayon_bench_leaderboards.statistics import (
    ENOUGH_SEEDS,
    LEVEL,
    METRICS,
    Interval,
    bootstrap_mean,
    holm,
    ranks,
    seeds_to_separate,
    sign_flip_p,
    wilson,
    wilson_of_mean,
)
from crayon_bench_leaderboards.table import Row, Section, Table


@dataclass(frozen=True)
class Difference:
    """A method's mean less another's, paired over seeds. p: of sign flips, Holm-corrected; None below 6 seeds."""

    interval: Interval
    p: float | None


@dataclass
class RowStatistics:
    """Of one row and metric. per_run: seed → Wilson interval of that run. rank: shared by what cannot be told apart."""

    label: str
    """With the budget, if there is one."""
    method: str
    budget: str | None
    interval: Interval | None
    per_run: dict[int, Interval]
    to_original: Difference | None = None
    to_best: Difference | None = None
    rank: int | None = None
    rank_shared: bool = False


@dataclass
class Statistics:
    """Of one section and metric: a row for each complete row of the table."""

    metric: str
    short: str
    seeds: list[int]
    rows: list[RowStatistics]
    remarks: list[str] = field(default_factory=list)


def statistics_of(table: Table, section: Section) -> list[Statistics]:
    """Return the statistics of the board's metrics in *section*; rows that lack a seed are left out."""
    return [_of_metric(section, metric) for metric in table.board.metric_names()]


def _of_metric(section: Section, metric: str) -> Statistics:
    whole = [row for row in section.rows if row.status == "ok" and row.metrics[metric].mean is not None]
    rows = [row for row in whole if row.control is None]  # what a control is for, answers_add says
    short = next((row.metrics[metric].short for row in rows), metric)
    found = Statistics(metric, short, section.seeds, [_row(row, metric) for row in rows])
    if not rows:
        return found
    scores = pd.DataFrame([row.metrics[metric].per_seed for row in rows])[section.seeds].to_numpy()
    sign = 1 if rows[0].metrics[metric].direction == "higher" else -1
    best = int((sign * scores.mean(1)).argmax())
    original = next((n for n, row in enumerate(rows) if row.method == "original"), None)
    if original is not None:
        for n, difference in _differences(scores, original).items():
            found.rows[n].to_original = difference
    for n, difference in _differences(scores, best).items():
        found.rows[n].to_best = difference
    places = ranks(sign * scores)
    for row, place in zip(found.rows, places, strict=True):
        row.rank, row.rank_shared = place, places.count(place) > 1
    found.remarks = _remarks(found, len(rows), "methods" if all(row.budget is None for row in rows) else "rows")
    return found


def _row(row: Row, metric: str) -> RowStatistics:
    values = row.metrics[metric].per_seed
    runs = {seed: _run(row.groups[row.groups["seed"] == seed], metric) for seed in sorted(set(row.groups["seed"]))}
    per_run = {seed: interval for seed, interval in runs.items() if interval is not None}
    interval = bootstrap_mean([values[seed] for seed in sorted(values)])
    if interval is not None and metric in METRICS:  # of few seeds that differ, it would reach beyond what there can be
        interval = replace(interval, low=max(interval.low, 0.0), high=min(interval.high, 100.0))
    return RowStatistics(row.title, row.method, row.budget, interval, per_run)


def _run(groups: pd.DataFrame, metric: str) -> Interval | None:
    """Return the interval of one run. None: the metric does not follow from the groups' counts."""
    right, total = groups["right"].to_numpy(), groups["total"].to_numpy()
    if not total.all():
        return None
    if metric == "group_mean_accuracy":
        return wilson_of_mean(right, total)
    if metric == "worst_group_accuracy":
        worst = int((right / total).argmin())
        right, total = right[worst], total[worst]
    elif metric == "sample_accuracy":
        right, total = right.sum(), total.sum()
    else:
        return None
    low, high = wilson(right, total)
    return Interval(float(100 * right / total), float(low), float(high))


def _differences(scores: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", to: int) -> dict[int, Difference]:
    """Return each row's difference to row *to*; empty with one seed, which has no interval."""
    others = [n for n in range(len(scores)) if n != to]
    intervals = {n: bootstrap_mean(scores[n] - scores[to]) for n in others}
    raw = {n: sign_flip_p(scores[n] - scores[to]) for n in others}
    known = [n for n in others if raw[n] is not None]
    corrected = dict(zip(known, holm([p for p in raw.values() if p is not None]), strict=True))
    return {n: Difference(interval, corrected.get(n)) for n, interval in intervals.items() if interval is not None}


def _remarks(found: Statistics, number: int, what: str) -> list[str]:
    seeds, need = len(found.seeds), seeds_to_separate(number)
    if seeds < ENOUGH_SEEDS:
        return [
            f"WARNING: {seeds} seed{'s' if seeds > 1 else ''}: below {ENOUGH_SEEDS} no exact two-sided test can reach"
            f" p < {1 - LEVEL:.2f}; look at the intervals, and take all ranks as undecided."
        ]
    if seeds < need:
        return [f"WARNING: {seeds} seeds cannot separate {number} {what} after Holm's correction: {need} can."]
    return []
