"""Which columns and rows a table has where it is printed, and what stands under them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from crayon_bench.feedback import control_label
from crayon_bench_leaderboards.render import numbers
from crayon_bench_leaderboards.render.grids import Column, Grid, Text, footnote_sign
from crayon_bench_leaderboards.table import Row, Section, Table, gained_metric
from crayon_bench_leaderboards.variants import control_place

TextOf = Callable[[Row | None], Text]


@dataclass(frozen=True)
class Sheet:
    """A table as all printed formats show it: grids, and under them footnotes (sign and text) and remarks."""

    main: Grid
    details: Grid | None
    statistics: list[Grid]
    footnotes: list[tuple[str, str]]
    remarks: list[str]

    @property
    def grids(self) -> list[Grid]:
        """All of them, in order."""
        return [self.main, *([self.details] if self.details else []), *self.statistics]

    @property
    def marked(self) -> bool:
        """Whether anything is marked as the best."""
        return any(cell.mark for row in self.main.rows for cell in row)


def sheet_of(table: Table) -> Sheet:
    """Lay *table* out."""
    details = details_grid(table)
    names = {column.name for column in details.columns} if details else set()
    statistics: list[Grid] = []
    remarks = [*table.remarks, *(sentence for name, sentence in _EXPLAINED.items() if name in names)]
    if table.statistics:
        # Here, because it needs scipy, which a table without statistics does not.
        from crayon_bench_leaderboards.render.intervals import statistics_grids

        statistics, sentences = statistics_grids(table)
        remarks += sentences
    footnotes = [(footnote_sign(number), note) for number, note in enumerate(table.footnotes, 1)]
    return Sheet(main_grid(table), details, statistics, footnotes, remarks)


def main_grid(table: Table, *, published: bool = True) -> Grid:
    """Return Method, Budget if a row has one, Feedback, then for each data set #FB, metrics, what answers add and cost.

    published: with the published numbers beside ours.
    """
    lines = _lines(table)
    leading = [*_leading(lines, notes=True), (Column("Feedback", left=True), [Text(line.feedback) for line in lines])]
    return _grid(lines, leading, [_main_columns(table, section, published) for section in table.sections])


def _main_columns(table: Table, section: Section, published: bool) -> Iterator[tuple[Column, TextOf]]:
    group = _group(table, section)
    yield Column("#FB", group), numbers.feedback_count
    for metric in table.board.metric_names():
        yield Column(f"{_short(section, metric)} (%)", group), partial(numbers.value, metric=metric)
        if published:
            yield from _published_columns(table, section, metric)
    if any(row.answers_add for row in section.rows):
        first = gained_metric(table.board, section.rows)
        short = _short(section, first)
        yield Column("Answers add", group, f"({short})"), partial(numbers.answers_add, metric=first)
    if table.price is not None:
        yield Column("person-hours", group), numbers.hours
        short = _short(section, gained_metric(table.board, section.rows))
        yield Column(f"{short} gained", group, "per person-hour"), numbers.gain
    if table.board.seeds:
        yield Column("Seeds", group), numbers.seeds


def _published_columns(table: Table, section: Section, metric: str) -> Iterator[tuple[Column, TextOf]]:
    for reference in table.references:
        if any(reference.name in row.metrics[metric].published for row in section.rows):
            by = reference.short if len(table.references) > 1 else "published"
            text = partial(numbers.published, metric=metric, reference=reference.name)
            yield Column(_short(section, metric), _group(table, section), by), text


def published_grid(table: Table) -> Grid | None:
    """Return our means and the published numbers alone, for where all columns are too many."""
    lines = [line for line in _lines(table) if any(r and r.budget is None and r.control is None for r in line.rows)]
    leading = [(Column("Method", left=True), [Text(line.label.text) for line in lines])]
    columns = [list(_beside_published(table, section)) for section in table.sections]
    return _grid(lines, leading, columns, "Published numbers beside our means (%)") if any(columns) else None


def _beside_published(table: Table, section: Section) -> Iterator[tuple[Column, TextOf]]:
    for metric in table.board.metric_names():
        if theirs := list(_published_columns(table, section, metric)):
            ours = Column(_short(section, metric), _group(table, section), "ours")
            yield ours, partial(numbers.mean_alone, metric=metric)
            yield from theirs


def details_grid(table: Table) -> Grid | None:
    """Return what the board wants to say of each method; without what no run has. None: nothing."""
    rows = [row for section in table.sections for row in section.rows]
    known = [_DETAILS[detail] for detail in table.board.details]
    kinds = [(name, left, text) for name, left, text in known if any(text(row).text != "-" for row in rows)]
    if not kinds:
        return None
    lines = _lines(table)
    columns = [
        [(Column(name, _group(table, section), left=left), text) for name, left, text in kinds]
        for section in table.sections
    ]
    return _grid(lines, _leading(lines), columns, "Details")


_DETAILS: dict[str, tuple[str, bool, TextOf]] = {
    "worst_group": ("Worst group", True, numbers.worst_group),
    "seconds": ("Seconds", False, numbers.seconds),
    "memory": ("Peak MiB", False, numbers.memory),
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


# ---------------------------------------------------------------------------------------------------------------------
# lines: a row of each section


@dataclass(frozen=True)
class _Line:
    """A method or a variant of one under a budget and a control: its row in each section.

    None where it was not even planned.
    """

    label: Text
    budget: str
    feedback: str
    rows: list[Row | None]


def _lines(table: Table) -> list[_Line]:
    together: dict[tuple[str, str, str, str], list[Row | None]] = {}
    for number, section in enumerate(table.sections):
        for row in section.rows:
            key = (row.method, row.variant, row.budget or "", row.control or "")
            together.setdefault(key, [None] * len(table.sections))[number] = row
    lines = []
    for rows in together.values():
        known = [row for row in rows if row is not None]
        # Sorted again: a variant that only a later data set has belongs to its method, not at the end.
        first = known[0]
        budget = (first.order, first.budget or "")
        order = (table.board.place(first.method), first.variant, *budget, control_place(first.control))
        feedback = " / ".join(dict.fromkeys(row.feedback for row in known if row.feedback != "?"))
        label = next((row.label for row in known if row.label != row.method), first.label)
        if first.control is not None:
            label = f"… {control_label(first.control)}"  # its method stands above it
        notes = tuple(sorted({note for row in known for note in row.notes}))
        lines.append((order, _Line(Text(label, notes=notes), _budget(known), feedback or "?", rows)))
    return [line for _, line in sorted(lines, key=lambda one: one[0])]


def _budget(rows: list[Row]) -> str:
    """Return the budget as in a table: ``all`` for no limit, ``-`` where a method asks nothing anyway."""
    if rows[0].budget is not None:
        return rows[0].budget
    return "all" if any(row.feedback_total for row in rows) else "-"


def _leading(lines: list[_Line], *, notes: bool = False) -> list[tuple[Column, list[Text]]]:
    """Return the columns Method and, if any row has one, Budget."""
    labels = [line.label if notes else Text(line.label.text) for line in lines]
    columns = [(Column("Method", left=True), labels)]
    if any(row and row.budget is not None for line in lines for row in line.rows):
        columns.append((Column("Budget"), [Text(line.budget) for line in lines]))
    return columns


def _grid(
    lines: list[_Line],
    leading: list[tuple[Column, list[Text]]],
    sections: "list[list[tuple[Column, TextOf]]] | list[Iterator[tuple[Column, TextOf]]]",
    title: str = "",
) -> Grid:
    columns = list(leading)
    for number, section in enumerate(sections):
        columns += [(column, [text(line.rows[number]) for line in lines]) for column, text in section]
    rows = [list(row) for row in zip(*(texts for _, texts in columns), strict=True)]
    return Grid([column for column, _ in columns], rows, len(leading), title)


def _group(table: Table, section: Section) -> str:
    return section.title if len(table.sections) > 1 else ""


def _short(section: Section, metric: str) -> str:
    return next((row.metrics[metric].short for row in section.rows if row.metrics[metric].per_seed), "") or (
        section.rows[0].metrics[metric].short if section.rows else metric
    )
