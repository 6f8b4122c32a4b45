"""The board ``curve``: a score against the number of answers and against person-hours, by method and budget."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from crayon_bench.feedback import control_label
from crayon_bench.store.records import Record
from crayon_bench_leaderboards.boards import CURVE, SHORT_NAMES, Board, board_of, default_metric
from crayon_bench_leaderboards.controls import Read
from crayon_bench_leaderboards.fill import make_tables
from crayon_bench_leaderboards.frames import runs_frame
from crayon_bench_leaderboards.price import Price
from crayon_bench_leaderboards.table import Row, Section, Table
from crayon_bench_leaderboards.variants import by_setting


def curve_tables(records: Sequence[Record], metric: str | None, price: Price, read: Read | None = None) -> list[Table]:
    """Return a table of one data set for each setting, newest first; its rows are methods with their budgets.

    metric: full or short name. None: worst-group accuracy, or the first metric of the data set's own board where that
    has no worst group; accuracy where no run has the former, such as of images without groups. read: see
    :func:`make_tables`.
    """
    tables = []
    for group in by_setting(records):
        methods = list({record.method for record in group})
        tables += make_tables(_board(group, metric), group, only=methods, price=price, read=read)
    return tables


def _board(group: list[Record], metric: str | None) -> Board:
    dataset = group[0].dataset
    theirs = board_of(dataset)
    name = metric or default_metric(dataset)
    name = SHORT_NAMES.get(name, name)
    known = set(runs_frame(group).dropna(subset="value")["metric"])
    if metric is None and name not in known and "sample_accuracy" in known:
        name = "sample_accuracy"
    shorts = {record.metrics[name].short for record in group if name in record.metrics}
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
    """The rows of a method by ascending #FB: those of one strategy, and the one without a limit.

    control: whose answers; None for the true ones. of: the same number for a method's curve and those of its controls.
    """

    label: str
    control: str | None
    of: int
    rows: list[Row] = field(default_factory=list)


def has_curve(table: Table) -> bool:
    """Return whether a row has both answers and a score."""
    return bool(curves_of(table.sections[0], table.board.metric_names()[0])[0])


def curves_of(section: Section, metric: str) -> tuple[list[Curve], list[Row]]:
    """Return the curves of *section*, and the rows that asked nothing: they are levels, the same at every budget."""
    scored = [row for row in section.rows if row.metrics[metric].mean is not None]
    asking = [row for row in scored if row.feedback_total and not row.baseline]
    curves: dict[tuple[str, str, str | None, str], Curve] = {}
    numbers: dict[tuple[str, str, str], int] = {}

    def curve_of(row: Row, strategy: str, label: str) -> Curve:
        number = numbers.setdefault((row.method, row.variant, strategy), len(numbers))
        control = "" if row.control is None else f", {control_label(row.control)}"
        new = Curve(f"{label}{control}", row.control, number)
        return curves.setdefault((row.method, row.variant, row.control, strategy), new)

    for row in asking:
        if row.budget is not None:
            strategy = row.order[-1]
            curve_of(row, strategy, row.label if strategy == "random" else f"{row.label}, {strategy}").rows.append(row)
    for row in asking:
        if row.budget is None:
            mine = [curve for key, curve in curves.items() if key[:3] == (row.method, row.variant, row.control)]
            for curve in mine or [curve_of(row, "", row.label)]:
                curve.rows.append(row)
    for curve in curves.values():
        curve.rows.sort(key=lambda row: row.feedback_total or 0)
    return list(curves.values()), [row for row in scored if row not in asking and row.budget is None]
