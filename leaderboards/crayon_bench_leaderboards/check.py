"""The gate: has a score got worse since the baseline? Definitions: docs/reference/statistics.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from crayon_bench.store.records import differences
from crayon_bench_leaderboards.boards import SHORT, default_metric
from crayon_bench_leaderboards.cells import Cell, Examples, Run, without_versions
from crayon_bench_leaderboards.pairing import check_allowed, differing, partners, short, titles, to_allow
from crayon_bench_leaderboards.statistics import METRICS, Bits, Interval, bootstrap_differences, group_accuracies

ACCURACY = "sample_accuracy"
"""The metric that needs no groups."""


class Verdict(StrEnum):
    """What the gate says of a cell."""

    HOLDS = "holds"
    REGRESSED = "regressed"
    UNDECIDED = "undecided"
    NOT_MEASURED = "not measured"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class WorstGroup:
    """The group with the lowest mean accuracy now, with its test examples and its accuracy then and now."""

    name: str
    total: int
    old: float
    new: float


@dataclass(frozen=True)
class Score:
    """A metric's mean over seeds then and now, and how sure the difference is. fell: surely by more than the margin."""

    metric: str
    old: float
    new: float
    difference: Interval
    fell: bool


@dataclass(frozen=True)
class Measured:
    """What was measured of a cell. The verdict is of *metric*: its mean over seeds then and now, and the difference."""

    seeds_old: list[int]
    seeds_new: list[int]
    paired: bool
    metric: str
    old: float
    new: float
    difference: Interval
    worst_group: WorstGroup | None
    """None where there are no groups."""
    smallest: float | None
    """The smallest drop that an interval as wide as this one could have shown to be more than the margin.

    None: the score was not above it, so that no drop could have been seen.
    """
    others: list[Score] = field(default_factory=list)
    """The other metrics that follow from the predictions."""


@dataclass(frozen=True)
class Comparison:
    """One cell of the baseline."""

    dataset: str
    source: str
    protocol: str
    method: str
    title: str
    verdict: Verdict
    reason: str | None = None
    measured: Measured | None = None
    differs: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Coordinates that were allowed to differ and did: dotted path → then, now."""

    @property
    def name(self) -> str:
        """Where it belongs, in words."""
        source = " (stand-in)" if self.source == "standin" else ""
        return f"{self.dataset}{source}, {self.protocol}: {self.title}"


@dataclass
class Report:
    """All cells of the baseline. added: cells that it does not have. versions: what has changed since it was made.

    metric: None, if each cell is judged by the metric of its data set.
    """

    metric: str | None
    margin: float
    allowed: list[str] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    versions: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 all hold, 1 one regressed, 2 one could not be measured or decided, 3 nothing could be compared."""
        verdicts = {comparison.verdict for comparison in self.comparisons}
        if Verdict.REGRESSED in verdicts:
            return 1
        if verdicts <= {Verdict.NOT_COMPARABLE}:
            return 3
        return 0 if verdicts == {Verdict.HOLDS} else 2


def check(
    baseline: Mapping[str, Cell],
    now: Mapping[str, Cell],
    metric: str | None,
    margin: float,
    *,
    any_seeds: bool = False,
    allow: Sequence[str] = (),
) -> Report:
    """Compare the cells of *baseline* with those of *now*. margin: percentage points that a score may lose.

    metric: its full name. None: that of the data set's board, or worst-group accuracy; accuracy without groups.
    allow: coordinates that may differ, as dotted paths. Raises UserError for one that there is not.
    """
    check_allowed(allow, [*baseline.values(), *now.values()])
    report = Report(metric, margin, list(allow))
    known = {key: cell for key, cell in baseline.items() if _measured(cell) or _damaged(cell)}
    partner, title = partners(known, now, allow), titles(known)
    for key, cell in sorted(known.items(), key=lambda item: (item[1].dataset, item[1].method, item[0])):
        alike = [other for _, other in partner[key]]
        report.comparisons.append(_compare(cell, title[key], alike, now, report, any_seeds))
        if len(alike) == 1:
            report.versions |= _versions(cell, alike[0])
    met = {key for found in partner.values() for key, _ in found}
    report.added = sorted(
        f"{cell.dataset}: {cell.title}" for key, cell in now.items() if key not in met and not cell.lost
    )
    return report


def _measured(cell: Cell) -> dict[int, Run]:
    return {seed: run for seed, run in sorted(cell.runs.items()) if run.right is not None}


def _damaged(cell: Cell) -> list[str]:
    return [f"seed {seed}: {run.reason}" for seed, run in sorted(cell.runs.items()) if run.damaged]


def _compare(
    old: Cell, title: str, alike: list[Cell], now: Mapping[str, Cell], report: Report, any_seeds: bool
) -> Comparison:
    verdict, reason, measured, differs = Verdict.NOT_COMPARABLE, None, None, {}
    if then := _damaged(old):
        verdict, reason = Verdict.NOT_MEASURED, f"baseline: {then[0]}"
    elif not alike:
        verdict, reason = _why_missing(old, now)
    elif len(alike) > 1:  # the newest, or the one that is equal, might be the one that is not meant
        paths = ", ".join(dict.fromkeys(path for other in alike for path in differing(alike[0], other)))
        reason = (
            f"{len(alike)} cells of the store could be meant, which differ in {paths}; keep one in a store of its own"
        )
    else:
        [new] = alike
        differs = differing(old, new)
        before, after = _measured(old), _measured(new)
        common = [seed for seed in before if seed in new.runs]
        paired = bool(common) or not any_seeds
        wanted = common if paired else list(new.runs)
        broken = [f"seed {seed}: {new.runs[seed].reason}" for seed in sorted(wanted) if seed not in after]
        if not wanted:
            reason = f"no seed in common ({_list(before)} then, {_list(new.runs)} now); see --any-seeds"
        elif broken:
            verdict, reason = Verdict.NOT_MEASURED, broken[0]
        else:
            chosen = ({s: before[s] for s in (common if paired else before)}, {s: after[s] for s in wanted})
            verdict, reason, measured = _measure(*chosen, report, paired, old.dataset)
    coordinates = old.coordinates
    return Comparison(
        dataset=old.dataset,
        source=str(coordinates["dataset"].get("source", "")),
        protocol=str(coordinates["protocol"]["name"]),
        method=old.method,
        title=title,
        verdict=verdict,
        reason=reason,
        measured=measured,
        differs=differs,
    )


def _list(seeds: Mapping[int, Run]) -> str:
    shown = ", ".join(map(str, sorted(seeds)[:6]))
    return f"{shown} …" if len(seeds) > 6 else shown


def _why_missing(old: Cell, now: Mapping[str, Cell]) -> tuple[Verdict, str]:
    alike = [cell for cell in now.values() if (cell.dataset, cell.method) == (old.dataset, old.method)]
    if not alike:
        return Verdict.NOT_COMPARABLE, "not run"
    for cell in alike:
        if cell.lost:  # it may have been this one
            return Verdict.NOT_MEASURED, _damaged(cell)[0]
    differing = [differences(without_versions(old.coordinates), without_versions(cell.coordinates)) for cell in alike]
    nearest = min(differing, key=len)
    if not nearest:  # 1 and 1.0 are equal and not the same
        return Verdict.NOT_COMPARABLE, "not run with the same settings"
    path, (then, there) = next(iter(nearest.items()))
    more = f" and {len(nearest) - 1} more" if len(nearest) > 1 else ""
    nearest_one = f"nearest: {path} {short(then)} then, {short(there)} now{more}"
    if words := to_allow(nearest):
        nearest_one += f"; may it differ? --allow {','.join(words)}"
    return Verdict.NOT_COMPARABLE, f"not run with the same settings; {nearest_one}"


def _measure(
    before: Mapping[int, Run], after: Mapping[int, Run], report: Report, paired: bool, dataset: str
) -> tuple[Verdict, str | None, Measured | None]:
    every = [run.tests for run in (*before.values(), *after.values()) if run.tests is not None]
    tests = every[0]
    if any(other != tests for other in every):
        return Verdict.NOT_MEASURED, "the test examples are not the same", None
    metric = report.metric or (default_metric(dataset) if tests.grouped else ACCURACY)
    if not tests.grouped and metric != ACCURACY:
        return Verdict.NOT_MEASURED, "there are no groups; --metric acc needs none", None
    if empty := [name for name, size in tests.groups if not size]:
        return Verdict.NOT_MEASURED, f"no test examples in group '{empty[0]}'", None
    if not paired and min(len(before), len(after)) < 2:
        return Verdict.NOT_MEASURED, "without common seeds, each side needs two or more", None
    old, new = _bits(before), _bits(after)
    scores = _scores(old, new, tests, report.margin, paired)
    mine = scores.pop(metric)
    worst = _worst_group(old, new, tests) if tests.grouped else None
    step = 100 / (worst.total if worst and metric == "worst_group_accuracy" else old.shape[1])
    smallest = report.margin + max(mine.difference.high - mine.difference.estimate, step)
    at_floor = mine.old <= smallest + _SLACK
    measured = Measured(
        seeds_old=list(before),
        seeds_new=list(after),
        paired=paired,
        metric=metric,
        old=mine.old,
        new=mine.new,
        difference=mine.difference,
        worst_group=worst,
        smallest=None if at_floor else smallest,
        others=list(scores.values()),
    )
    verdict = _judge(mine.difference, report.margin)
    if at_floor and verdict is not Verdict.REGRESSED:
        return *_at_floor(mine, measured.others, report.margin, smallest), measured
    fallen = [SHORT[other.metric] for other in measured.others if other.fell]
    if verdict is Verdict.HOLDS and fallen:  # a collapse may raise the worst group; what is meant, people must say
        why = f"{SHORT[metric]} holds, and {' and '.join(fallen)} fell by more than the margin"
        return Verdict.UNDECIDED, why, measured
    return verdict, None, measured


def _scores(old: Bits, new: Bits, tests: Examples, margin: float, paired: bool) -> dict[str, Score]:
    names = list(METRICS) if tests.grouped else [ACCURACY]
    differences = bootstrap_differences(old, new, tests.sizes, names, paired=paired)
    then, now = (group_accuracies(bits, tests.sizes) for bits in (old, new))
    return {
        name: Score(
            name,
            float(METRICS[name](then, tests.sizes).mean()),
            float(METRICS[name](now, tests.sizes).mean()),
            difference,
            _judge(difference, margin) is Verdict.REGRESSED,
        )
        for name, difference in differences.items()
    }


def _at_floor(score: Score, others: list[Score], margin: float, smallest: float) -> tuple[Verdict, str]:
    """Judge a cell whose fall could not be seen, because its score is low or varies much: by others it can only fail.

    smallest: the smallest fall that could be seen, in points.
    """
    short = SHORT[score.metric]
    if score.old <= margin + _SLACK:
        why = f"{short} was {score.old:.2f} and cannot fall by more than the margin"
    else:
        why = f"{short} was {score.old:.2f}, and no fall of less than {smallest:.2f} points could be seen"
        why += ": take more seeds"
    if fallen := [SHORT[other.metric] for other in others if other.fell]:
        return Verdict.REGRESSED, f"{' and '.join(fallen)} fell by more than the margin; {why}"
    return Verdict.UNDECIDED, why


def _bits(runs: Mapping[int, Run]) -> Bits:
    return np.stack([run.right for run in runs.values() if run.right is not None])


_SLACK = 1e-9
"""Both sides are sums of fractions: what is equal to the margin on paper may differ from it in the last bit."""


def _judge(difference: Interval, margin: float) -> Verdict:
    if difference.high < -margin - _SLACK:
        return Verdict.REGRESSED
    return Verdict.HOLDS if difference.low >= -margin - _SLACK else Verdict.UNDECIDED


def _worst_group(old: Bits, new: Bits, tests: Examples) -> WorstGroup:
    then, now = (group_accuracies(right, tests.sizes).mean(0) for right in (old, new))
    worst = int(now.argmin())
    name, total = tests.groups[worst]
    return WorstGroup(name, total, float(then[worst]), float(now[worst]))


def _versions(old: Cell, new: Cell) -> dict[str, tuple[str, str]]:
    """Return the versions that differ. The crayon_bench and torch that ran are versions too, though no coordinates."""
    found = {}
    asked = differences(without_versions(old.coordinates), without_versions(new.coordinates))
    for path, (then, now) in differences(old.coordinates, new.coordinates).items():
        if path in asked:
            continue
        found[f"{path} ({old.method})" if path.startswith("method.") else path] = (short(then), short(now))
    then, now = ({name: cell.environment.get(name, "?") for name in ("crayon_bench", "torch")} for cell in (old, new))
    return found | {path: (str(a), str(b)) for path, (a, b) in differences(then, now).items()}
