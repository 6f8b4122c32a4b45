"""The text of a table's cells, which terminal, markdown and latex share."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from crayon_bench_leaderboards.board import Cell, Row, Section, Table

if TYPE_CHECKING:  # they need scipy, which a table without statistics does not
    from crayon_bench_leaderboards.compared import Difference, Statistics
    from crayon_bench_leaderboards.statistics import Interval


@dataclass(frozen=True)
class Text:
    """A cell: its text, its mark ("best", "second" or "") and its footnotes."""

    text: str
    mark: str = ""
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Column:
    """A column's heading, whose second line is *by*. group: title of its data set, where a table has several."""

    name: str
    group: str = ""
    by: str = ""
    left: bool = False

    @property
    def within(self) -> str:
        """Heading under the heading of its group."""
        return f"{self.name} {self.by}".rstrip()

    @property
    def heading(self) -> str:
        """Heading that stands alone."""
        return f"{self.group} {self.within}".lstrip()


@dataclass(frozen=True)
class Grid:
    """Columns and rows. lead: how many columns come before those of the data sets."""

    columns: list[Column]
    rows: list[list[Text]]
    lead: int
    title: str = ""

    def groups(self) -> list[tuple[str, int]]:
        """Return the title and the number of columns of each data set; one without a title if there is only one."""
        return [(name, len(list(same))) for name, same in groupby(column.group for column in self.columns[self.lead :])]

    def by_group(self) -> "list[Grid]":
        """Return a grid for each data set, all with the leading columns."""
        grids = []
        for name, _ in self.groups():
            keep = [n for n, column in enumerate(self.columns) if n < self.lead or column.group == name]
            rows = [[row[n] for n in keep] for row in self.rows]
            grids.append(Grid([self.columns[n] for n in keep], rows, self.lead, self.title))
        return grids


@dataclass(frozen=True)
class _Line:
    """A method or a variant of one under a budget: its row in each section, None where it was not even planned."""

    label: Text
    budget: str
    feedback: str
    rows: list[Row | None]


def main_grid(table: Table, *, published: bool = True) -> Grid:
    """Return Method, Budget if a row has one, Feedback, then for each data set #FB, metrics and what they cost.

    published: with the published numbers beside ours.
    """
    lines = _lines(table)
    columns, rows = _leading(lines, notes=True)
    columns.append(Column("Feedback", left=True))
    for texts, line in zip(rows, lines, strict=True):
        texts.append(Text(line.feedback))
    lead = len(columns)
    for number, section in enumerate(table.sections):
        group = _group(table, section)
        columns.append(Column("#FB", group))
        _extend(rows, lines, number, _feedback_count)
        for metric in table.board.metric_names():
            short = _short(section, metric)
            columns.append(Column(f"{short} (%)", group))
            _extend(rows, lines, number, partial(_value, metric=metric))
            if published:
                _add_published(table, number, metric, columns, rows, lines)
        if table.price is not None:
            columns.append(Column("person-hours", group))
            _extend(rows, lines, number, _hours)
            columns.append(
                Column(f"{_short(section, table.board.gained_of(section.rows))} gained", group, "per person-hour")
            )
            _extend(rows, lines, number, _gain)
        if table.board.seeds:
            columns.append(Column("Seeds", group))
            _extend(rows, lines, number, _seeds)
    return Grid(columns, rows, lead)


def published_grid(table: Table) -> Grid | None:
    """Return our means and the published numbers alone, for where all columns are too many."""
    lines = [line for line in _lines(table) if any(row and row.budget is None for row in line.rows)]
    columns = [Column("Method", left=True)]
    rows = [[Text(line.label.text)] for line in lines]
    for number, section in enumerate(table.sections):
        for metric in table.board.metric_names():
            if any(row.metrics[metric].published for row in section.rows):
                columns.append(Column(_short(section, metric), _group(table, section), "ours"))
                _extend(rows, lines, number, partial(_mean_alone, metric=metric))
                _add_published(table, number, metric, columns, rows, lines)
    return Grid(columns, rows, 1, "Published numbers beside our means (%)") if len(columns) > 1 else None


def details_grid(table: Table) -> Grid | None:
    """Return what the board wants to say of each method; without what no run has. None: nothing."""
    kinds: list[tuple[Column, Callable[[Row | None], Text]]] = []
    for detail in table.board.details:
        column, text = _DETAILS[detail]
        if any(text(row).text != "-" for section in table.sections for row in section.rows):
            kinds.append((column, text))
    if not kinds:
        return None
    lines = _lines(table)
    columns, rows = _leading(lines)
    lead = len(columns)
    for number, section in enumerate(table.sections):
        for column, text in kinds:
            columns.append(Column(column.name, _group(table, section), left=column.left))
            _extend(rows, lines, number, text)
    return Grid(columns, rows, lead, "Details")


def details_legend(grid: Grid) -> list[str]:
    """Return sentences on the columns of a grid of details."""
    names = {column.name for column in grid.columns}
    return [sentence for name, sentence in _EXPLAINED.items() if name in names]


_RUNS_IN_A_ROW = 5


def statistics_grids(table: Table) -> list[Grid]:
    """Return, if the table has statistics, two kinds of grids for each data set and metric: of methods and of runs."""
    if not table.statistics:
        return []
    from crayon_bench_leaderboards.compared import statistics_of

    grids = []
    for section in table.sections:
        where = f"{section.title}: " if len(table.sections) > 1 else ""
        for found in statistics_of(table, section):
            grids.append(_methods_grid(found, where))
            seeds = sorted({seed for row in found.rows for seed in row.per_run})
            grids += [
                _runs_grid(found, seeds[first : first + _RUNS_IN_A_ROW], where)
                for first in range(0, len(seeds), _RUNS_IN_A_ROW)
            ]
    return grids


def statistics_legend(table: Table) -> list[str]:
    """Return sentences under the statistics, the warnings first."""
    if not table.statistics:
        return []
    from crayon_bench_leaderboards.compared import statistics_of

    found = [one for section in table.sections for one in statistics_of(table, section)]
    warnings = dict.fromkeys(remark for one in found for remark in one.remarks)
    return [*warnings, "Statistics: 95 % intervals. Definitions: docs/reference/statistics.md."]


def _methods_grid(found: "Statistics", where: str) -> Grid:
    names = ["Method", f"{found.short} over seeds", "To Original", "p", "To best", "p", "Rank"]
    columns = [Column(name, left=not n) for n, name in enumerate(names)]
    rows = []
    for row in found.rows:
        pairs = [text for difference in (row.to_original, row.to_best) for text in _difference(difference)]
        rank = f"{row.rank}{' tied' if row.rank_shared else ''}"
        rows.append([Text(text) for text in (row.label, _interval(row.interval), *pairs, rank)])
    return Grid(columns, rows, 1, f"{where}{found.short}: intervals over seeds, differences, ranks")


def _runs_grid(found: "Statistics", seeds: list[int], where: str) -> Grid:
    columns = [Column("Method", left=True), *(Column(f"Seed {seed}") for seed in seeds)]
    rows = [[Text(row.label), *(Text(_interval(row.per_run.get(seed))) for seed in seeds)] for row in found.rows]
    return Grid(columns, rows, 1, f"{where}{found.short} of each run, with its Wilson interval")


def _interval(interval: "Interval | None", sign: str = "") -> str:
    if interval is None:
        return "-"
    return f"{interval.estimate:{sign}.2f} [{interval.low:{sign}.2f}, {interval.high:{sign}.2f}]"


def _difference(difference: "Difference | None") -> tuple[str, str]:
    if difference is None:
        return "", ""
    return _interval(difference.interval, "+"), "-" if difference.p is None else f"{difference.p:.3f}"


def _leading(lines: list[_Line], *, notes: bool = False) -> tuple[list[Column], list[list[Text]]]:
    """Return the columns Method and, if any row has one, Budget."""
    columns = [Column("Method", left=True)]
    rows = [[line.label if notes else Text(line.label.text)] for line in lines]
    if any(row and row.budget is not None for line in lines for row in line.rows):
        columns.append(Column("Budget"))
        for texts, line in zip(rows, lines, strict=True):
            texts.append(Text(line.budget))
    return columns, rows


def _lines(table: Table) -> list[_Line]:
    together: dict[tuple[str, str, str], list[Row | None]] = {}
    order: dict[tuple[str, str, str], tuple[Any, ...]] = {}
    rank = {name: position for position, name in enumerate(table.board.methods)}
    for number, section in enumerate(table.sections):
        for row in section.rows:
            key = (row.method, row.variant, row.budget or "")
            together.setdefault(key, [None] * len(table.sections))[number] = row
            order[key] = (rank.get(row.method, len(rank)), row.method, row.variant, row.order, row.budget or "")
    lines = []
    # Sorted again: a variant that only a later data set has belongs to its method, not at the end.
    for _, rows in sorted(together.items(), key=lambda item: order[item[0]]):
        known = [row for row in rows if row is not None]
        feedback = " / ".join(dict.fromkeys(row.feedback for row in known if row.feedback != "?"))
        label = next((row.label for row in known if row.label != row.method), known[0].label)
        notes = tuple(sorted({note for row in known for note in row.notes}))
        lines.append(_Line(Text(label, notes=notes), _budget(known), feedback or "?", rows))
    return lines


def _budget(rows: list[Row]) -> str:
    """Return the budget as in a table: ``all`` for no limit, ``-`` where a method asks nothing anyway."""
    if rows[0].budget is not None:
        return rows[0].budget
    return "all" if any(row.feedback_total for row in rows) else "-"


def _extend(rows: list[list[Text]], lines: list[_Line], number: int, text: Callable[[Row | None], Text]) -> None:
    for texts, line in zip(rows, lines, strict=True):
        texts.append(text(line.rows[number]))


def _add_published(
    table: Table, number: int, metric: str, columns: list[Column], rows: list[list[Text]], lines: list[_Line]
) -> None:
    section = table.sections[number]
    for reference in table.references:
        if any(reference.name in row.metrics[metric].published for row in section.rows):
            by = reference.short if len(table.references) > 1 else "published"
            columns.append(Column(_short(section, metric), _group(table, section), by))
            _extend(rows, lines, number, partial(_published, metric=metric, reference=reference.name))


def _group(table: Table, section: Section) -> str:
    return section.title if len(table.sections) > 1 else ""


def _short(section: Section, metric: str) -> str:
    return next((row.metrics[metric].short for row in section.rows if row.metrics[metric].per_seed), "") or (
        section.rows[0].metrics[metric].short if section.rows else metric
    )


def _published(row: Row | None, metric: str, reference: str) -> Text:
    cell = row.metrics[metric] if row else None
    if cell is None or reference not in cell.published:
        return Text("")
    note = cell.published_notes.get(reference)
    return Text(f"{cell.published[reference]:.2f}", notes=() if note is None else (note,))


def _feedback_count(row: Row | None) -> Text:
    if row is None or row.feedback_total is None or row.baseline:
        return Text("-")
    total = row.feedback_total
    return Text(f"{total:,}" if total == int(total) else f"{total:,.1f}")


_UNKNOWN = "–"


def _hours(row: Row | None) -> Text:
    return Text(_UNKNOWN if row is None or row.baseline or row.hours is None else _rounded(row.hours))


def _gain(row: Row | None) -> Text:
    if row is None or row.gain is None:
        return Text(_UNKNOWN)
    return Text(f"{'−' if row.gain < 0 else '+'}{_rounded(abs(row.gain))}")


def _rounded(value: float) -> str:
    """Return a number that is not negative with three digits, or all those before the point."""
    return f"{value:,.0f}" if value >= 99.95 else f"{float(f'{value:.3g}'):g}"


def _seeds(row: Row | None) -> Text:
    return Text("-" if row is None or not row.groups else str(len(row.groups)))


_STATES = {"skipped": "n/a", "failed": "failed", "missing": "missing"}


def _value(row: Row | None, metric: str) -> Text:
    if row is None:
        return Text("missing")
    if row.status in _STATES:
        return Text(_STATES[row.status])
    cell = row.metrics[metric]
    if cell.mean is None:
        return Text("n/a")
    return Text(f"{number(cell)}{_of_fewer(row, cell)}", cell.mark)


def _mean_alone(row: Row | None, metric: str) -> Text:
    cell = row.metrics[metric] if row else None
    if row is None or cell is None or cell.mean is None:
        return Text(_value(row, metric).text)
    return Text(f"{cell.mean:.2f}{_of_fewer(row, cell)}")


def _of_fewer(row: Row, cell: Cell) -> str:
    return f" (n={len(cell.per_seed)})" if row.status == "partial" else ""


def _worst_group(row: Row | None) -> Text:
    worst = row.worst_group if row else None
    if worst is None:
        return Text("-")
    often = f" {worst.seeds}/{worst.of}" if worst.of > 1 else ""
    return Text(f"{worst.name} ({worst.total:,} test){often}{', tied' if worst.tied else ''}")


def _seconds(row: Row | None) -> Text:
    return Text("-" if row is None or row.seconds is None else f"{row.seconds:,.1f}")


def _memory(row: Row | None) -> Text:
    return Text("-" if row is None or row.memory is None else f"{row.memory:,.0f}")


_DETAILS: dict[str, tuple[Column, Callable[[Row | None], Text]]] = {
    "worst_group": (Column("Worst group", left=True), _worst_group),
    "seconds": (Column("Seconds"), _seconds),
    "memory": (Column("Peak MiB"), _memory),
}
_EXPLAINED = {
    "Worst group": (
        "Worst group: the one that most often had the lowest accuracy, the number of its test examples, and in how many"
        " of the seeds; tied: another one was as often."
    ),
    "Seconds": (
        "Seconds: mean over seeds of the method's own refine step and of making what it shares with other methods, such"
        " as maps, whichever of them made it; without the original model."
    ),
    "Peak MiB": (
        "Peak MiB: mean over seeds of the highest memory, resident or on the device, while the method refined, with"
        " whatever the process held before and with what it made for others."
    ),
}


def number(cell: Cell) -> str:
    """Return ``mean ± std`` with two decimals, or the value alone for one seed."""
    if cell.mean is None:
        return ""
    return f"{cell.mean:.2f}" if cell.std is None else f"{cell.mean:.2f} ± {cell.std:.2f}"


def footnote_sign(note: int) -> str:
    """Return a, b, … z, aa, ab … for 1, 2, …"""
    sign = ""
    while note:
        note, rest = divmod(note - 1, 26)
        sign = chr(ord("a") + rest) + sign
    return sign
