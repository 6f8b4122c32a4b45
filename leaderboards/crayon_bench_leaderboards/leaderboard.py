"""From records to the tables of a leaderboard, and to their text: what the command and a script both call."""

from collections.abc import Sequence

from crayon_bench.errors import UserError
from crayon_bench.store.records import Record
from crayon_bench_leaderboards.boards import CURVE, boards_for, load_board, with_columns
from crayon_bench_leaderboards.controls import Read
from crayon_bench_leaderboards.curve import curve_tables
from crayon_bench_leaderboards.fill import make_tables
from crayon_bench_leaderboards.price import load_price
from crayon_bench_leaderboards.render import to_csv, to_html, to_json, to_latex, to_markdown, to_terminal
from crayon_bench_leaderboards.table import Table


def tables_of(
    records: Sequence[Record],
    *,
    board: str | None = None,
    price: str | None = None,
    metric: str | None = None,
    methods: Sequence[str] | None = None,
    read: Read | None = None,
    columns: Sequence[str] = (),
    where: str,
) -> list[Table]:
    """Return the tables of a *board*, or of every board that there are runs for; several settings, several tables.

    price: ``published``, ``recorded`` or a file. metric: the score of the board ``curve``. methods: its rows, in place
    of the board's. read: returns a run's predictions, see :func:`make_tables`. columns: further metrics, by name or by
    the name of their group. Raises UserError if there are no runs for it; *where* they were looked for.
    """
    if metric is not None and board != CURVE:
        raise UserError(f"--metric {metric}: is for --board curve alone")
    if columns and board == CURVE:
        raise UserError(f"--columns {','.join(columns)}: --board curve has one score", "see --metric")
    paid = load_price(price) if price is not None else None
    what = "any board"
    if board == CURVE:
        tables = curve_tables(records, metric, paid or load_price("published"), read)
    elif board is None:
        boards = [with_columns(b, columns, records) for b in boards_for(records)]
        tables = [table for b in boards for table in make_tables(b, records, price=paid, only=methods, read=read)]
    else:
        chosen = with_columns(load_board(board), columns, records)
        what = f"board {chosen.name} ({', '.join(chosen.datasets)})"
        tables = make_tables(chosen, records, price=paid, only=methods, whole=methods is None, read=read)
    if not tables:
        raise UserError(f"{where}: there are no such runs for {what}", "see crayon-bench runs list")
    return tables


def text_of(tables: Sequence[Table], form: str) -> str:
    """Return the tables as ``terminal``, ``markdown``, ``latex``, ``csv``, ``json`` or ``html``."""
    if form == "terminal":
        return "".join(to_terminal(table) for table in tables)
    forms = {"markdown": to_markdown, "latex": to_latex, "csv": to_csv, "json": to_json, "html": to_html}
    return forms[form](list(tables))
