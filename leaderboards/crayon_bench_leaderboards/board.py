"""From records to tables.

Only records of one *setting* (same data, protocol, oracle, selection rule …) stand in one table, so that a stand-in
never stands beside real data. Several settings in a store give several tables, newest first.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crayon_bench.budget import Budget
from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.store.records import GroupCount, MetricValue, Record, Status, digest
from crayon_bench_leaderboards.price import Price, price_remarks
from crayon_bench_leaderboards.reading import read_model

_HERE = files("crayon_bench_leaderboards")

_SHORT = {"sample_accuracy": "Acc", "group_mean_accuracy": "MA", "worst_group_accuracy": "WGA"}
CURVE = "curve"
"""A board made of what was run, not of a file: :mod:`crayon_bench_leaderboards.curve`."""
SHORT_NAMES = {short.lower(): name for name, short in _SHORT.items()}

Detail = Literal["worst_group", "seconds", "memory"]


class Board(BaseModel):
    """A board's definition. methods: in the order of its rows; other methods that were run follow them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal[1]
    name: str
    title: str
    datasets: Annotated[list[str], Field(min_length=1)]
    methods: list[str]
    metrics: Annotated[list[str], Field(min_length=1)]
    titles: dict[str, str] = {}
    """Titles of methods, for rows of those that were not run."""
    reference: str | None = None
    """Published numbers to show beside ours: short for ``references`` with one name."""
    references: list[str] = []
    details: list[Detail] = []
    """What the second, small table says of each method. None: there is no such table."""
    seeds: bool = False
    """Whether a column says how many seeds each row has."""

    @model_validator(mode="after")
    def _has_no_doubles(self) -> "Board":
        for names in (self.datasets, self.methods, self.metric_names(), self.references, self.details):
            if len(set(names)) < len(names):
                raise ValueError(f"a name stands twice in {names}")
        if self.reference is not None and self.references:
            raise ValueError("give reference or references, not both")
        return self

    def reference_names(self) -> list[str]:
        """Return the names of the published numbers, in the order of their columns."""
        return self.references if self.reference is None else [self.reference]

    def metric_names(self) -> list[str]:
        """Return the full names of the metrics; ``acc``, ``ma`` and ``wga`` are short ones."""
        return [SHORT_NAMES.get(name, name) for name in self.metrics]

    @property
    def gained(self) -> str:
        """The metric of which a priced table says what was gained: the worst group's accuracy, or else the first."""
        names = self.metric_names()
        return "worst_group_accuracy" if "worst_group_accuracy" in names else names[0]

    def gained_of(self, rows: "Sequence[Row]") -> str:
        """The same, or the first metric that these *rows* have where they have no groups."""
        names = [self.gained, *self.metric_names()]
        return next((name for name in names if any(row.metrics[name].mean is not None for row in rows)), self.gained)


class Reference(BaseModel):
    """Published numbers: data set → method → metric → percent.

    short: heads its columns where a board has several references. notes: data set → method → footnote, or metric →
    footnote, of a published number that needs a word.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal[1]
    name: str
    short: str
    citation: str
    where: dict[str, str] = {}
    protocol: str
    values: dict[str, dict[str, dict[str, float]]]
    notes: dict[str, dict[str, str | dict[str, str]]] = {}

    def note(self, dataset: str, method: str, metric: str) -> str | None:
        """Return the footnote of a published number, if it has one."""
        note = self.notes.get(dataset, {}).get(method)
        return note.get(metric) if isinstance(note, dict) else note


def board_names() -> list[str]:
    """Return the names of the built-in boards."""
    return sorted(f.name.removesuffix(".toml") for f in (_HERE / "boards").iterdir() if f.name.endswith(".toml"))


def load_board(name: str) -> Board:
    """Return a built-in board, or one from a TOML file. Raises UserError."""
    if name.endswith(".toml") or "/" in name or "\\" in name:
        board = read_model(Path(name), Board, "--board")
    elif name in board_names():
        board = read_model(_HERE / "boards" / f"{name}.toml", Board, "--board")
    else:
        raise UserError(f"--board {name}: there is no such board", did_you_mean(name, [*board_names(), CURVE]))
    known = _reference_names()
    for reference in board.reference_names():  # here, so that the message names the file with the mistake
        if reference not in known:
            raise UserError(
                f"--board {name}: there are no published numbers '{reference}'", did_you_mean(reference, known)
            )
    return board


def _reference_names() -> list[str]:
    return sorted(f.name.removesuffix(".toml") for f in (_HERE / "reference").iterdir() if f.name.endswith(".toml"))


def load_reference(name: str) -> Reference:
    """Return published numbers by name. Raises UserError."""
    known = _reference_names()
    if name not in known:
        raise UserError(f"there are no published numbers '{name}'", did_you_mean(name, known))
    return read_model(_HERE / "reference" / f"{name}.toml", Reference, "reference")


def boards_for(records: Sequence[Record]) -> list[Board]:
    """Return the boards on which *records* belong; data sets that are on none get a board of their own."""
    present = list(dict.fromkeys(record.dataset for record in records))
    boards = [board for board in map(load_board, board_names()) if set(board.datasets) & set(present)]
    covered = {name for board in boards for name in board.datasets}
    for name in present:
        if name not in covered:
            titles = {record.title["dataset"] for record in records if record.dataset == name}
            title = titles.pop() if len(titles) == 1 else name  # one of folders, each with a title of its own
            metrics = list(SHORT_NAMES.values())
            boards.append(Board(schema_=1, name=name, title=title, datasets=[name], methods=[], metrics=metrics))
    return boards


# ---------------------------------------------------------------------------------------------------------------------
# tables


@dataclass
class Cell:
    """A metric over seeds. mark: "best", "second" or "" among the rows that have every seed.

    published: reference → percent. published_notes: reference → number of the footnote.
    """

    short: str
    direction: str
    mean: float | None
    std: float | None
    per_seed: dict[int, float]
    reason: str | None = None
    mark: str = ""
    published: dict[str, float] = field(default_factory=dict)
    published_notes: dict[str, int] = field(default_factory=dict)


@dataclass
class WorstGroup:
    """The group that was the worst in most seeds.

    total: its test examples. seeds: in how many it was the worst, alone or with others; of: how many seeds are known.
    tied: groups that were the worst as often. per_seed: the worst of each seed, several if they are equal.
    """

    name: str
    total: float
    seeds: int
    of: int
    tied: list[str]
    per_seed: dict[int, list[str]]


@dataclass
class Row:
    """A method on a data set, under one budget. status: ok, partial, failed, skipped or missing.

    budget: ``10%``, ``100 uncertain``; None for no limit. published: reference → metric → percent. seconds, memory
    (MiB): means of the method's own refine step. notes: numbers of footnotes.
    """

    dataset: str
    method: str
    variant: str
    budget: str | None
    order: tuple[bool, bool, float, str]
    """Sorts the budgets of a method."""
    label: str
    feedback: str
    feedback_total: float | None
    feedback_by_kind: dict[str, float]
    baseline: bool
    status: str
    reason: str | None
    metrics: dict[str, Cell]
    published: dict[str, dict[str, float]]
    worst_group: WorstGroup | None
    seconds: float | None
    memory: float | None
    warnings: dict[str, int]
    groups: dict[int, list[GroupCount]] = field(default_factory=dict)
    """Seed → right and total of each test group."""
    hours_by_seed: dict[int, float | None] = field(default_factory=dict)
    """Seed → person-hours; empty without a price, None where a time or price is not known."""
    gain: float | None = None
    """What was gained per person-hour, in points of the board's metric. None: not defined, or there is no price."""
    notes: list[int] = field(default_factory=list)

    @property
    def hours(self) -> float | None:
        """Person-hours, mean over seeds. None: not known for every seed."""
        known = [hours for hours in self.hours_by_seed.values() if hours is not None]
        return fmean(known) if known and len(known) == len(self.hours_by_seed) else None

    @property
    def title(self) -> str:
        """The label with the budget: no two rows of a section have the same."""
        return self.label if self.budget is None else f"{self.label}, budget {self.budget}"

    def all_notes(self) -> list[int]:
        """Return the numbers of the row's footnotes, with those of its published numbers."""
        theirs = {note for cell in self.metrics.values() for note in cell.published_notes.values()}
        return [*self.notes, *sorted(theirs)]


@dataclass
class Section:
    """The rows of one data set in one setting."""

    dataset: str
    title: str
    source: str
    protocol: str
    seeds: list[int]
    setting: str
    oracle: str
    rows: list[Row]
    left_out: list[int]
    """Seeds that fewer than half of the methods have."""


@dataclass
class Table:
    """A board filled in. footnotes: numbered from 1. remarks: sentences under the table.

    references: published numbers that stand beside ours; none beside a stand-in.
    """

    board: Board
    source: str
    references: list[Reference]
    sections: list[Section]
    footnotes: list[str]
    remarks: list[str]
    price: Price | None = None
    """Whose person-hours stand in it; None: it has none."""
    statistics: bool = False
    """Whether it ends with intervals, differences and ranks."""

    @property
    def title(self) -> str:
        """Heading; says so if the data are a stand-in."""
        return f"{'STAND-IN DATA — ' if self.source == 'standin' else ''}{self.board.title}"

    @property
    def subtitle(self) -> str:
        """Which data, protocol and seeds."""
        kind = "a stand-in" if self.source == "standin" else "real data"
        return "; ".join(f"{s.title} ({kind}), protocol {s.protocol}, {_seeds(s.seeds)}" for s in self.sections)


def _seeds(seeds: list[int]) -> str:
    return "1 seed" if len(seeds) == 1 else f"{len(seeds)} seeds"


def make_tables(
    board: Board, records: Iterable[Record], only: Sequence[str] | None = None, price: Price | None = None
) -> list[Table]:
    """Return the tables of *board*, newest first.

    only: rows for these methods; None: the board's and all others. price: what answers cost; None: no such columns.
    """
    by_setting: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.dataset in board.datasets:
            by_setting[record.setting].append(record)
    computed = {name for group in by_setting.values() for record in group for name in record.metrics}
    for name in board.metric_names():
        if by_setting and name not in _SHORT and name not in computed:
            raise UserError(
                f"board {board.name}: there is no metric '{name}'", did_you_mean(name, {*computed, *_SHORT})
            )
    newest_first = sorted(by_setting.values(), key=lambda group: max(r.finished for r in group), reverse=True)
    references = [load_reference(name) for name in board.reference_names()]
    tables = []
    for kind in dict.fromkeys((group[0].source, group[0].protocol) for group in newest_first):
        alike = [group for group in newest_first if (group[0].source, group[0].protocol) == kind]
        per_dataset = [[group for group in alike if group[0].dataset == name] for name in board.datasets]
        for groups in zip_longest(*per_dataset):
            tables.append(_make_table(board, kind[0], [g for g in groups if g], references, only, price))
    return tables


def _make_table(
    board: Board,
    source: str,
    groups: list[list[Record]],
    references: list[Reference],
    only: Sequence[str] | None,
    price: Price | None,
) -> Table:
    table = Table(board, source, references if source == "real" else [], [], [], [], price)
    several = len(groups) > 1  # then what is said of one data set must name it
    for group in groups:
        section = _section(board, group, table.references, only, price)
        table.sections.append(section)
        for row in section.rows:
            row.notes += [_number(table, text) for text in _footnotes(row, f" on {section.title}" if several else "")]
            for metric, cell in row.metrics.items():
                for reference in table.references:
                    note = reference.note(section.dataset, row.method, metric)
                    if note and reference.name in cell.published:
                        cell.published_notes[reference.name] = _number(table, note)
        table.remarks += _remarks(section, group, table.references, f"{section.title}: " if several else "")
    if price is not None:
        table.remarks += _price_remarks(table, price)
    table.remarks = list(dict.fromkeys(table.remarks))
    return table


def _number(table: Table, footnote: str) -> int:
    if footnote not in table.footnotes:
        table.footnotes.append(footnote)
    return table.footnotes.index(footnote) + 1


def _price_remarks(table: Table, price: Price) -> list[str]:
    rows = [row for section in table.sections for row in section.rows]
    short = next((row.metrics[table.board.gained_of(rows)].short for row in rows), "")
    kinds = {kind: row.feedback_by_kind[kind] for row in rows for kind in row.feedback_by_kind}
    unknown = list(dict.fromkeys(row.label for row in rows if row.hours_by_seed and row.hours is None))
    return price_remarks(price, [kind for kind, number in kinds.items() if number], short, unknown)


def _add_gains(rows: list[Row], metric: str) -> None:
    """Fill in what each row gained per person-hour: paired with Original by seeds, over all seeds of the row."""
    original = next((row for row in rows if row.method == "original" and row.metrics[metric].per_seed), None)
    if original is None:
        return
    before = original.metrics[metric]
    sign = 1 if before.direction == "higher" else -1
    for row in rows:
        after, hours = row.metrics[metric].per_seed, row.hours
        if row.metrics[metric].mean is not None and hours and set(after) <= set(before.per_seed):
            row.gain = sign * fmean(value - before.per_seed[seed] for seed, value in after.items()) / hours


def _section(
    board: Board, group: list[Record], references: list[Reference], only: Sequence[str] | None, price: Price | None
) -> Section:
    first = group[0]
    seeds = _seeds_of(group)
    stray = sorted({record.seed for record in group} - set(seeds))
    group = [record for record in group if record.seed in seeds]
    variants: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in group:
        identity = [record.coordinates["method"], record.coordinates.get("budget")]
        variants[record.method, digest(identity)].append(record)
    rank = {name: position for position, name in enumerate(board.methods)}
    wanted = list(only) if only is not None else [*board.methods, *sorted({record.method for record in group})]
    names = sorted(dict.fromkeys(wanted), key=lambda name: (rank.get(name, len(rank)), name))
    published = {reference.name: reference.values.get(first.dataset, {}) for reference in references}
    if _shared_changes(group):
        published = {}  # another experiment, for every row
    rows = []
    for name in names:
        mine = [records for (method, _), records in variants.items() if method == name]
        labelled = sorted(
            zip(_changes(mine), _budgets(mine), mine, strict=True),
            key=lambda one: (one[0], _budget_order(one[2][0].coordinates.get("budget")), one[1] or ""),
        )
        for changes, budget, records in labelled or [("", None, [])]:
            theirs = {reference: values[name] for reference, values in published.items() if name in values}
            rows.append(_row(board, first, name, changes, budget, records, seeds, theirs))
            if price is not None:
                done = [record for record in records if record.status is Status.OK]
                rows[-1].hours_by_seed = {record.seed: price.hours(record.feedback) for record in done}
    _add_gains(rows, board.gained_of(rows))
    for metric in board.metric_names():
        _mark([row.metrics[metric] for row in rows if row.status == "ok" and row.metrics[metric].mean is not None])
    title = first.title["dataset"]
    oracle = first.title.get("oracle", "")
    return Section(first.dataset, title, first.source, first.protocol, seeds, first.setting, oracle, rows, stray)


def _seeds_of(group: list[Record]) -> list[int]:
    """Return the seeds that at least half of the methods have: one that a single method was tried with is no gap."""
    methods: dict[int, set[str]] = defaultdict(set)
    for record in group:
        methods[record.seed].add(record.method)
    half = len({record.method for record in group}) / 2
    return sorted(seed for seed, names in methods.items() if len(names) >= half)


def _budget_order(budget: Mapping[str, Any] | None) -> tuple[bool, bool, float, str]:
    """Return what sorts the budgets of a method: numbers of questions, then shares, each ascending; no limit last.

    The last of them is the name of the strategy.
    """
    if budget is None:
        return (True, False, 0.0, "")
    limit = Budget.from_coordinates(budget)
    return (False, limit.questions is None, limit.questions or limit.share or 0.0, str(budget["strategy"]["name"]))


def _changes(variants: list[list[Record]]) -> list[str]:
    """Return, for each variant of a method, what sets it apart: what ``--set`` changed and what differs from others."""
    flat = []
    for records in variants:
        method = records[0].coordinates["method"]
        own = {key: value for key, value in method.items() if key not in ("name", "parameters", "recipe")}
        flat.append({**own, **(method.get("recipe") or {}), **method.get("parameters", {})})
    keys = {key for one in flat for key in one}
    differing = {key for key in keys if len({repr(one.get(key)) for one in flat}) > 1}
    texts = []
    for records, values in zip(variants, flat, strict=True):
        name = records[0].method
        # A key of [refine] that the method's own table in the protocol has is not changed by --set refine.KEY.
        changed = {
            parameter
            for key, value in records[0].overrides.items()
            if _is_rows_own(key, name) and (parameter := key.partition(".")[2]) in values and values[parameter] == value
        }
        # What a record does not have is left at what it was before there was such a parameter.
        named = [key for key in sorted(changed | differing) if values.get(key) is not None]
        texts.append(", ".join(f"{key}={values[key]}" for key in named))
    return texts


def _budgets(variants: list[list[Record]]) -> list[str | None]:
    """Return the budget of each variant of a method; with more of its strategy where others have the same name."""
    strategies: dict[str | None, dict[str, Any]] = defaultdict(dict)
    for record, *_ in variants:
        strategy = (record.coordinates.get("budget") or {}).get("strategy")
        strategies[record.budget][digest(strategy)] = strategy
    texts = []
    for record, *_ in variants:
        text = record.budget
        if text is not None and len(strategies[text]) > 1:
            strategy = record.coordinates["budget"]["strategy"]
            text += "".join(f" {key}={str(value)[:8]}" for key, value in sorted(strategy.items()) if key != "name")
        texts.append(text)
    return texts


def _shared_changes(group: list[Record]) -> dict[str, Any]:
    """Return what ``--set`` changed for all rows, such as the data set's size or the original model's epochs."""
    return {key: value for r in group for key, value in r.overrides.items() if not _is_rows_own(key, r.method)}


def _is_rows_own(key: str, method: str) -> bool:
    """Return whether an override concerns one row; the others, such as ``original.epochs``, make another table."""
    section = key.partition(".")[0]
    return section == "refine" or section == method != "original"


def _row(
    board: Board,
    any_record: Record,
    name: str,
    changes: str,
    budget: str | None,
    records: list[Record],
    seeds: list[int],
    published: dict[str, dict[str, float]],
) -> Row:
    done = [record for record in records if record.status is Status.OK]
    status, reason = _status(records, done, seeds)
    first = done[0] if done else records[0] if records else None
    label = first.title["method"] if first else board.titles.get(name, name)
    limit = first.coordinates.get("budget") if first else None
    if changes:
        label += f" ({changes})"
    if changes or limit is not None:
        published = {}  # those numbers are for the method as it was published, with all feedback
    cells = {
        metric: _cell(metric, done, {by: values[metric] for by, values in published.items() if metric in values})
        for metric in board.metric_names()
    }
    kinds = sorted({kind for record in done for kind in record.feedback.by_kind})
    return Row(
        dataset=any_record.dataset,
        method=name,
        variant=changes,
        budget=budget,
        order=_budget_order(limit),
        label=label,
        feedback=done[0].feedback.label if done else first.title["feedback"] if first else "?",
        feedback_total=_plain(fmean(record.feedback.total for record in done)) if done else None,
        feedback_by_kind={k: _plain(fmean(record.feedback.by_kind.get(k, 0) for record in done)) for k in kinds},
        baseline=first.baseline if first else False,
        status=status,
        reason=reason,
        metrics=cells,
        published=published,
        worst_group=_worst_group(done),
        seconds=fmean(record.seconds.get("refine", 0.0) + record.seconds.get("shared", 0.0) for record in done)
        if done
        else None,
        memory=_mean([record.memory["peak"] for record in done if "peak" in record.memory]),
        warnings=dict(sum((Counter(record.warnings) for record in done), Counter())),
        groups={record.seed: record.groups for record in done},
    )


def _plain(value: float) -> float:
    return int(value) if value == int(value) else value


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None


def _worst_group(done: list[Record]) -> WorstGroup | None:
    """Return which group was the worst; of several as often, the one with the lowest mean accuracy."""
    # An empty group has no accuracy. Equal shares of different sizes divide to the same float: ties are exact.
    accuracy = {r.seed: {g.name: g.right / g.total for g in r.groups if g.total} for r in done}
    accuracy = {seed: groups for seed, groups in sorted(accuracy.items()) if groups}
    if not accuracy:
        return None
    per_seed = {
        seed: [name for name, value in groups.items() if value == min(groups.values())]
        for seed, groups in accuracy.items()
    }
    times = Counter(name for names in per_seed.values() for name in names)
    order = dict.fromkeys(name for groups in accuracy.values() for name in groups)
    often = [name for name in order if times[name] == max(times.values())]
    worst = min(often, key=lambda name: fmean(groups[name] for groups in accuracy.values() if name in groups))
    return WorstGroup(
        name=worst,
        total=_plain(fmean(g.total for r in done for g in r.groups if g.name == worst and g.total)),
        seeds=times[worst],
        of=len(per_seed),
        tied=[name for name in often if name != worst],
        per_seed=per_seed,
    )


def _status(records: list[Record], done: list[Record], seeds: list[int]) -> tuple[str, str | None]:
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


def _cell(metric: str, done: list[Record], published: dict[str, float]) -> Cell:
    values = {r.seed: r.metrics[metric] for r in done if metric in r.metrics}
    known = {seed: value.value for seed, value in sorted(values.items()) if value.value is not None}
    sample: MetricValue | None = next(iter(values.values()), None)
    reason = next((value.reason for value in values.values() if value.value is None), None)
    if done and not values:
        reason = f"metric '{metric}' was not computed"
    complete = bool(known) and len(known) == len(done)  # a mean over some of the seeds would be another number
    numbers = list(known.values()) if complete else []
    return Cell(
        short=sample.short if sample else _SHORT.get(metric, metric),
        direction=sample.direction if sample else "higher",
        mean=fmean(numbers) if numbers else None,
        std=stdev(numbers) if len(numbers) > 1 else None,
        per_seed=known,
        reason=reason,
        published=published,
    )


def _mark(cells: list[Cell]) -> None:
    """Mark the best and the second-best mean as printed, ties alike; nothing to mark among fewer than two."""
    if len(cells) < 2:
        return
    sign = 1 if cells[0].direction == "higher" else -1
    printed = [round(cell.mean or 0.0, 2) * sign for cell in cells]
    ranking = sorted(set(printed), reverse=True)
    for cell, value in zip(cells, printed, strict=True):
        if value == ranking[0]:
            cell.mark = "best"
        elif value == ranking[1]:
            cell.mark = "second"


def _footnotes(row: Row, where: str) -> list[str]:
    notes = []
    if row.status == "skipped":
        notes.append(f"does not apply{where}: {row.reason}")  # without the label: several methods share a reason
    elif row.status != "ok":
        notes.append(f"{row.title}{where}: {row.reason}")
    for cell in row.metrics.values():
        if cell.reason:
            notes.append(f"no {cell.short}{where}: {cell.reason}")  # where it is the data's, all rows share it
    notes += [
        f"{row.title}{where}: warning: {what} ({times:,} times, all seeds)" for what, times in row.warnings.items()
    ]
    return notes


def _remarks(section: Section, group: list[Record], references: list[Reference], where: str) -> list[str]:
    remarks = []
    several = len(section.seeds) > 1
    what = f"Mean ± sample standard deviation over {_seeds(section.seeds)}" if several else "One seed, no deviation"
    remarks.append(f"{where}{what}. #FB: answers that were counted. Setting {section.setting[:8]}.")
    if section.left_out:
        numbers = ", ".join(map(str, section.left_out))
        remarks.append(f"{where}Left out, because fewer than half of the methods have it: seed {numbers}.")
    if section.source == "standin":
        remarks.append(
            f"{section.title} here is a STAND-IN made without the real data: nothing in this table says how a method"
            " does on the real data."
        )
    remarks += [f"{section.title}: {note}" for note in dict.fromkeys(note for record in group for note in record.notes)]
    oracle = group[0].title.get("oracle", "")
    if oracle != "simulated":
        remarks.append(f"{where}Feedback by oracle: {oracle}")
    shared = _shared_changes(group)
    changed_rows = any(_is_rows_own(key, r.method) for r in group for key in r.overrides)
    limited_rows = any(r.budget is not None for r in group)
    if shared:
        changed = ", ".join(f"{key}={value}" for key, value in sorted(shared.items()))
        remarks.append(f"{section.title}: protocol {section.protocol} changed by --set: {changed}")
    for reference in references:
        if section.dataset not in reference.values:
            continue
        by = "" if len(references) == 1 else f" ({reference.short})"
        place = reference.where.get(section.dataset, "")
        remarks.append(f"Published{by}: {reference.citation}{', ' if place else ''}{place}")
        if shared:
            remarks.append(f"Published numbers{by} are left out: they are for a protocol that nothing was changed of.")
        elif section.protocol != reference.protocol:
            remarks.append(f"Published numbers{by} are for protocol {reference.protocol}; no row here is of it.")
        elif changed_rows:
            remarks.append(
                f"Published numbers{by} are for protocol {reference.protocol} as it is; changed rows have none."
            )
        if limited_rows and not shared:
            remarks.append(f"Published numbers{by} are for all feedback; rows with a budget have none.")
    return remarks
