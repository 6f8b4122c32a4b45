"""Tables for a terminal, with rich."""

import io
import sys
from typing import Any

from crayon_bench_leaderboards.board import Table
from crayon_bench_leaderboards.render.cells import Text, footnote_sign, layout

_SIGNS = {"best": (" ★", "bold green"), "second": (" ☆", "underline"), "": ("", "")}
_LEGEND = "★ best, ☆ second best of this column."


def print_terminal(table: Table) -> None:
    """Print *table* on standard output, in colour if that is a terminal."""
    from rich.console import Console

    _draw(Console(file=sys.stdout, width=None if sys.stdout.isatty() else 140, highlight=False), table)


def to_terminal(table: Table) -> str:
    """Return *table* as plain text."""
    from rich.console import Console

    out = io.StringIO()
    _draw(Console(file=out, width=140, highlight=False, color_system=None), table)
    return out.getvalue()


def _draw(console: Any, table: Table) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text as RichText

    headings, rows = layout(table)
    # Printed and not the grid's own title, which would be wrapped to the width of the columns.
    console.print(RichText(table.title, style="bold yellow" if table.source == "standin" else "bold"))
    console.print(RichText(table.subtitle))
    grid = RichTable(box=box.SIMPLE_HEAD)
    for position, heading in enumerate(headings):
        grid.add_column(RichText(heading), justify="left" if position < 2 else "right", no_wrap=position >= 2)
    for row in rows:
        grid.add_row(*[_cell(cell) for cell in row])
    console.print(grid)
    marked = any(cell.mark for row in rows for cell in row)
    for number, note in enumerate(table.footnotes, 1):
        console.print(RichText(f"  [{footnote_sign(number)}] {note}"))
    for remark in [*([_LEGEND] if marked else []), *table.remarks]:
        console.print(RichText(f"  {remark}"))
    console.print()


def _cell(cell: Text) -> Any:
    from rich.text import Text as RichText

    sign, style = _SIGNS[cell.mark]
    text = RichText(cell.text, style=style)
    text.append(sign)
    if cell.notes:
        text.append(f" [{','.join(map(footnote_sign, cell.notes))}]", style="dim")
    return text
