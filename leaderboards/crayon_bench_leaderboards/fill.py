"""Filling boards in: from records to tables.

Only records of one *setting* (same data, protocol, oracle, selection rule …) stand in one table, so that a stand-in
never stands beside real data. Several settings in a store give several tables, newest first.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from statistics import fmean
from typing import Any

import pandas as pd

from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.store.records import Record, Status, data_titles
from crayon_bench_leaderboards.boards import SHORT, Board, Reference, load_reference
from crayon_bench_leaderboards.controls import Added, Asked, Read, answers_add, first_control
from crayon_bench_leaderboards.frames import cells_of, groups_frame, runs_frame
from crayon_bench_leaderboards.marks import mark
from crayon_bench_leaderboards.price import Price
from crayon_bench_leaderboards.remarks import annotate
from crayon_bench_leaderboards.table import Cell, Row, Section, Table, Warned, WorstGroup, gained_metric
from crayon_bench_leaderboards.variants import Variant, by_setting, is_another_experiment, variants_of


def make_tables(
    board: Board,
    records: Iterable[Record],
    only: Sequence[str] | None = None,
    price: Price | None = None,
    *,
    whole: bool = False,
    read: Read | None = None,
) -> list[Table]:
    """Return the tables of *board*, newest first.

    only: rows for these methods; None: those that were run. price: what answers cost; None: no such columns. whole: a
    line names the methods of the board that were not run. read: returns the predictions of a run, for the intervals of
    what the answers add; None: there are none.
    """
    newest_first = by_setting(record for record in records if record.dataset in board.datasets)
    computed = {name for group in newest_first for record in group for name in record.metrics}
    for name in board.metric_names():
        if newest_first and name not in SHORT and name not in computed:
            raise UserError(f"board {board.name}: there is no metric '{name}'", did_you_mean(name, {*computed, *SHORT}))
    references = [load_reference(name) for name in board.reference_names()]
    together = [record for group in newest_first for record in group]
    titles = {record.setting: title for record, title in [*zip(together, data_titles(together), strict=True)][::-1]}
    tables = []
    for kind in dict.fromkeys((group[0].source, group[0].protocol) for group in newest_first):
        alike = [group for group in newest_first if (group[0].source, group[0].protocol) == kind]
        per_dataset = [[group for group in alike if group[0].dataset == name] for name in board.datasets]
        for groups in zip_longest(*per_dataset):
            here = [group for group in groups if group]
            table = Table(board, kind[0], references if kind[0] == "real" else [], [], [], [], price)
            table.sections = [_section(board, group, table.references, only, price, read) for group in here]
            for section in table.sections:
                section.title = titles[section.setting]
            annotate(table, here)
            if whole:
                _name_missing(table)
            tables.append(table)
    return tables


def _name_missing(table: Table) -> None:
    several = len(table.sections) > 1
    for section in reversed(table.sections):
        there = {row.method for row in section.rows}
        if missing := [table.board.titles.get(name, name) for name in table.board.methods if name not in there]:
            where = f"{section.title}: " if several else ""
            table.remarks.insert(0, f"{where}Not run, of this board: {', '.join(missing)}.")


def _section(
    board: Board,
    records: list[Record],
    references: list[Reference],
    only: Sequence[str] | None,
    price: Price | None,
    read: Read | None,
) -> Section:
    first = records[0]
    seeds = _seeds_of(records)
    left_out = sorted({record.seed for record in records} - set(seeds))
    records = [record for record in records if record.seed in seeds]
    published = {
        reference.name: reference.values.get(first.dataset, {})
        for reference in references
        if not is_another_experiment(records, reference.images.get(first.dataset))
    }
    numbers = _Numbers(records)
    variants = variants_of(records)
    rows = []
    wanted = only if only is not None else [record.method for record in records]
    for name in sorted(set(wanted), key=board.place):
        theirs = {reference: values[name] for reference, values in published.items() if name in values}
        for variant in [one for one in variants if one.method == name] or [Variant(name)]:
            rows.append(_row(board, first.dataset, variant, numbers, seeds, theirs))
            if price is not None:
                rows[-1].hours_by_seed = {r.seed: price.hours(r.feedback) for r in _done(variant)}
    section = Section(
        dataset=first.dataset,
        title=first.title["dataset"],
        source=first.source,
        protocol=first.protocol,
        seeds=seeds,
        setting=first.setting,
        oracle=first.title["oracle"],
        rows=rows,
        left_out=left_out,
    )
    _add_gains(rows, gained_metric(board, rows))
    _add_what_answers_add(rows, answers_add(records, read))
    compared = [
        row
        for row in rows
        if row.status == "ok" and not row.baseline and row.control is None and row.method not in board.controls
    ]
    for metric in board.metric_names():
        mark([row.metrics[metric] for row in compared if row.metrics[metric].mean is not None])
    return section


def _seeds_of(records: list[Record]) -> list[int]:
    """Return the seeds that at least half of the methods have: one that a single method was tried with is no gap."""
    runs = pd.DataFrame([(record.method, record.seed) for record in records], columns=["method", "seed"])
    methods = runs.groupby("seed")["method"].nunique()
    return methods.index[methods >= runs["method"].nunique() / 2].tolist()


def _done(variant: Variant) -> list[Record]:
    return [record for record in variant.records if record.status is Status.OK]


_ROW = ["method", "variant", "budget", "control"]
"""The columns that tell the rows of a section apart."""


class _Numbers:
    """The frames of a section's runs, by row."""

    def __init__(self, records: list[Record]) -> None:
        runs, groups = runs_frame(records), groups_frame(records)
        self.cells: dict[Any, dict[Any, Any]] = {}
        for cell in cells_of(runs).to_dict("records"):
            self.cells.setdefault(tuple(cell[name] for name in _ROW), {})[cell["metric"]] = cell
        known = runs.dropna(subset="value").sort_values("seed")
        self.per_seed: dict[Any, dict[int, float]] = {}
        for *key, seed, value in known[[*_ROW, "metric", "seed", "value"]].itertuples(index=False, name=None):
            self.per_seed.setdefault(tuple(key), {})[seed] = value
        self.groups = dict(iter(groups.groupby(_ROW)))
        self.no_groups = groups[:0]
        self.worst = _worst_groups(groups)


def _row(
    board: Board,
    dataset: str,
    variant: Variant,
    numbers: _Numbers,
    seeds: list[int],
    published: dict[str, dict[str, float]],
) -> Row:
    done = _done(variant)
    status, reason = _status(variant.records, done, seeds)
    first = next(iter([*done, *variant.records]), None)
    label = first.title["method"] if first else board.titles.get(variant.method, variant.method)
    if variant.changes:
        label += f" ({variant.changes})"
    if variant.changes or variant.budget is not None or variant.control is not None:
        published = {}  # those numbers are for the method as it was published, with all feedback
    key = (variant.method, variant.changes, variant.budget or "all", variant.control or "")
    cells: dict[Any, dict[Any, Any]] = numbers.cells.get(key, {})
    means = next(iter(cells.values()), {})
    kinds = sorted({kind for record in done for kind in record.feedback.by_kind})
    groups = numbers.groups.get(key, numbers.no_groups)
    return Row(
        dataset=dataset,
        method=variant.method,
        variant=variant.changes,
        budget=variant.budget,
        control=variant.control,
        order=variant.order,
        label=label,
        feedback=done[0].feedback.label if done else first.title["feedback"] if first else "?",
        feedback_total=_plain(means["feedback_total"]) if done else None,
        feedback_by_kind={kind: _plain(means[f"feedback_{kind}"]) for kind in kinds},
        baseline=first.baseline if first else False,
        status=status,
        reason=reason,
        metrics={
            metric: _cell(
                metric,
                done,
                cells.get(metric, {}),
                numbers.per_seed.get((*key, metric), {}),
                {by: values[metric] for by, values in published.items() if metric in values},
            )
            for metric in board.metric_names()
        },
        published=published,
        worst_group=numbers.worst.get(key),
        seconds=_known(means.get("seconds")),
        memory=_known(means.get("peak_mib")),
        warnings={
            what: Warned(sum(times), sum(map(bool, times)))
            for what in dict.fromkeys(what for record in done for what in record.warnings)
            for times in [[record.warnings.get(what, 0) for record in done]]
        },
        done=len(done),
        groups=groups,
    )


def _plain(value: float) -> float:
    return int(value) if value == int(value) else float(value)


def _known(value: float | None) -> float | None:
    return None if value is None or value != value else value


def _worst_groups(groups: pd.DataFrame) -> dict[Any, WorstGroup]:
    """Return, for each row, which group was the worst; of several as often, the one with the lowest mean accuracy."""
    known = groups.dropna(subset="accuracy").sort_values("seed", kind="stable")
    # Equal shares of different sizes divide to the same float: ties are exact.
    worst = known[known["accuracy"] == known.groupby([*_ROW, "seed"])["accuracy"].transform("min")]
    per_seed: dict[Any, dict[Any, list[str]]] = {}
    for *row, seed, name in worst[[*_ROW, "seed", "group"]].itertuples(index=False, name=None):
        per_seed.setdefault(tuple(row), {}).setdefault(seed, []).append(name)
    means: dict[Any, dict[str, tuple[float, float]]] = {}
    over_seeds = known.groupby([*_ROW, "group"], sort=False)[["total", "accuracy"]].mean().reset_index()
    for *row, name, total, accuracy in over_seeds.itertuples(index=False, name=None):
        means.setdefault(tuple(row), {})[name] = (total, accuracy)
    found = {}
    for key, seeds in per_seed.items():
        times = Counter(name for names in seeds.values() for name in names)
        often = [name for name in means[key] if times[name] == max(times.values())]
        name = min(often, key=lambda one: round(means[key][one][1], 9))  # equal means may differ in the last bit
        found[key] = WorstGroup(
            name=name,
            total=_plain(means[key][name][0]),
            seeds=times[name],
            of=len(seeds),
            tied=[other for other in often if other != name],
            per_seed=seeds,
        )
    return found


def _status(records: Sequence[Record], done: list[Record], seeds: list[int]) -> tuple[str, str | None]:
    if len(done) == len(seeds):
        return "ok", None
    failed = [record for record in records if record.status is Status.FAILED]
    skipped = [record for record in records if record.status is Status.SKIPPED]
    if skipped and not done and not failed:
        return "skipped", skipped[0].reason
    what = []
    if failed:
        numbers = ", ".join(str(record.seed) for record in failed)
        what.append(f"failed for seed {numbers}: {failed[0].reason}")
    missing = sorted(set(seeds) - {record.seed for record in done} - {record.seed for record in failed})
    if missing:
        what.append("not run" if len(missing) == len(seeds) else f"not run for seed {', '.join(map(str, missing))}")
    return ("partial" if done else "failed" if failed else "missing"), "; ".join(what)


def _cell(
    metric: str, done: list[Record], cell: dict[str, Any], per_seed: dict[int, float], published: dict[str, float]
) -> Cell:
    values = [record.metrics[metric] for record in done if metric in record.metrics]
    reason = next((value.reason for value in values if value.value is None), None)
    if done and not values:
        reason = f"metric '{metric}' was not computed"
    return Cell(
        short=values[0].short if values else SHORT.get(metric, metric),
        direction=values[0].direction if values else "higher",
        mean=_known(cell.get("mean")),
        std=_known(cell.get("std")),
        per_seed=per_seed,
        reason=reason,
        published=published,
    )


def _add_what_answers_add(rows: list[Row], found: dict[Asked, dict[str, dict[str, Added]]]) -> None:
    for row in rows:
        added = found.get((row.method, row.variant, row.budget), {})
        further = added.keys() - {first_control(added)}  # the row of the method itself tells of the first
        row.answers_add = added if row.control is None else {c: added[c] for c in further if c == row.control}


def _add_gains(rows: list[Row], metric: str) -> None:
    """Fill in what each row gained per person-hour: paired with Original by seeds, over all seeds of the row."""
    original = next((row for row in rows if row.method == "original" and row.metrics[metric].per_seed), None)
    if original is None:
        return
    before = original.metrics[metric]
    sign = 1 if before.direction == "higher" else -1
    for row in (row for row in rows if row.control is None):
        after, hours = row.metrics[metric].per_seed, row.hours
        if row.metrics[metric].mean is not None and hours and set(after) <= set(before.per_seed):
            row.gain = sign * fmean(value - before.per_seed[seed] for seed, value in after.items()) / hours
