"""The board ``curve``: a score against the number of answers and against person-hours, by method and budget."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from crayon_bench.store.records import Record
from crayon_bench_leaderboards.board import (
    CURVE,
    SHORT_NAMES,
    Board,
    Row,
    Section,
    Table,
    board_names,
    load_board,
    make_tables,
)
from crayon_bench_leaderboards.price import Price


def curve_tables(records: Sequence[Record], metric: str | None, price: Price) -> list[Table]:
    """Return a table of one data set for each setting, newest first; its rows are methods with their budgets.

    metric: full or short name. None: worst-group accuracy, or the first metric of the data set's own board where that
    has no worst group; accuracy where no run has the former, such as of images without groups.
    """
    by_setting: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_setting[record.setting].append(record)
    newest_first = sorted(by_setting.values(), key=lambda group: max(r.finished for r in group), reverse=True)
    tables = []
    for group in newest_first:
        board = _board(group, metric)
        tables += make_tables(board, group, only=list({record.method for record in group}), price=price)
    return tables


def _board(group: list[Record], metric: str | None) -> Board:
    dataset = group[0].dataset
    theirs = next((board for board in map(load_board, board_names()) if dataset in board.datasets), None)
    name = metric or (theirs.gained if theirs else "worst_group_accuracy")
    name = SHORT_NAMES.get(name, name)
    known = {one for record in group for one, value in record.metrics.items() if value.value is not None}
    if metric is None and name not in known and "sample_accuracy" in known:
        name = "sample_accuracy"
    shorts = {
        short for record in group for one, value in record.metrics.items() if one == name for short in [value.short]
    }
    return Board(
        schema_=1,
        name=CURVE,
        title=f"{min(shorts, default=name)} against feedback and its price",
        datasets=[dataset],
        methods=theirs.methods if theirs else [],
        titles=theirs.titles if theirs else {},
        metrics=[name],
        seeds=True,
    )


@dataclass
class Curve:
    """The rows of a method by ascending #FB: those of one strategy, and the one without a limit."""

    label: str
    rows: list[Row] = field(default_factory=list)


def has_curve(table: Table) -> bool:
    """Return whether a row has both answers and a score."""
    return bool(curves_of(table.sections[0], table.board.metric_names()[0])[0])


def curves_of(section: Section, metric: str) -> tuple[list[Curve], list[Row]]:
    """Return the curves of *section*, and the rows that asked nothing: they are levels, the same at every budget."""
    scored = [row for row in section.rows if row.metrics[metric].mean is not None]
    asking = [row for row in scored if row.feedback_total and not row.baseline]
    curves: dict[tuple[str, str, str], Curve] = {}
    for row in asking:
        if row.budget is not None:
            strategy = row.order[-1]
            label = row.label if strategy == "random" else f"{row.label}, {strategy}"
            curves.setdefault((row.method, row.variant, strategy), Curve(label)).rows.append(row)
    for row in asking:
        if row.budget is None:
            mine = [curve for key, curve in curves.items() if key[:2] == (row.method, row.variant)]
            if not mine:
                mine = [curves.setdefault((row.method, row.variant, ""), Curve(row.label))]
            for curve in mine:
                curve.rows.append(row)
    for curve in curves.values():
        curve.rows.sort(key=lambda row: row.feedback_total or 0)
    return list(curves.values()), [row for row in scored if row not in asking and row.budget is None]
