"""Tables for a terminal, with rich."""

import io
import sys
from typing import Any

from crayon_bench_leaderboards.render.grids import Grid, Text
from crayon_bench_leaderboards.render.layout import main_grid, published_grid, sheet_of
from crayon_bench_leaderboards.table import Table

_SIGNS = {"best": (" ★", "bold green"), "second": (" ☆", "underline"), "": ("", "")}
_LEGEND = "★ best, ☆ second best of this column."
_GAP = 3
"""Between two columns of rich's grid; it begins and ends with a blank."""


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
    from rich.text import Text as RichText

    # Printed and not the grid's own title, which would be wrapped to the width of the columns.
    console.print(RichText(table.title, style="bold yellow" if table.source == "standin" else "bold"))
    console.print(RichText(table.subtitle))
    sheet = sheet_of(table)
    grids = [sheet.main]
    if not _fits(sheet.main, console.width):
        # The published numbers go below, and if that is not enough, each data set has its own grid.
        parts = [main_grid(table, published=False), published_grid(table)]
        grids = [grid for part in parts if part for grid in _fitting(part, console.width)]
    details = _fitting(sheet.details, console.width) if sheet.details else []
    for grid in [*grids, *details, *sheet.statistics]:
        _draw_grid(console, grid)
    console.print()
    for sign, note in sheet.footnotes:
        console.print(RichText(f"  [{sign}] {note}"))
    for remark in [*([_LEGEND] if sheet.marked else []), *sheet.remarks]:
        console.print(RichText(f"  {remark}"))
    console.print()


def _draw_grid(console: Any, grid: Grid) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text as RichText

    allowed = console.width
    widths = _widths(grid, allowed)
    drawn = RichTable(box=box.SIMPLE_HEAD, show_edge=False)
    for column, width in zip(grid.columns, widths, strict=True):
        heading = RichText(f"{column.name}\n{column.by}" if column.by else column.name)
        drawn.add_column(heading, justify="left" if column.left else "right", width=width, no_wrap=not column.left)
    for row in grid.rows:
        drawn.add_row(*[_cell(cell) for cell in row])
    console.print()
    if grid.title:
        console.print(RichText(f" {grid.title}", style="bold"))
    # Where even that is too wide, the terminal breaks the lines: better than numbers that are cut off.
    console.width = max(allowed, _total(widths))
    if any(column.group for column in grid.columns):
        console.print(RichText(_group_line(grid, widths), style="bold"))
    console.print(drawn)
    console.width = allowed


def _total(widths: list[int]) -> int:
    return sum(widths) + _GAP * len(widths) - 1


def _fits(grid: Grid, width: int) -> bool:
    return _total(_widths(grid, width)) <= width


def _fitting(grid: Grid, width: int) -> list[Grid]:
    return [grid] if _fits(grid, width) else grid.by_group()


def _widths(grid: Grid, width: int) -> list[int]:
    """Return the columns' widths. Only columns of words are made narrower to fit, down to their longest word."""
    from rich.cells import cell_len

    texts = [
        [column.name, column.by, *(_cell(row[n]).plain for row in grid.rows)] for n, column in enumerate(grid.columns)
    ]
    widths = [max(map(cell_len, column)) for column in texts]
    least = [
        max(cell_len(word) for text in texts[n] for word in text.split()) if column.left else widths[n]
        for n, column in enumerate(grid.columns)
    ]
    while _total(widths) > width:
        room, widest = max((widths[n] if widths[n] > least[n] else 0, -n) for n in range(len(widths)))
        if not room:
            break
        widths[-widest] -= 1
    return widths


def _group_line(grid: Grid, widths: list[int]) -> str:
    """Return the titles of the data sets, each over its columns."""
    line = " " * (_total(widths[: grid.lead]) + 1)
    first = grid.lead
    for title, count in grid.groups():
        space = sum(widths[first : first + count]) + _GAP * (count - 1)
        line += " " + f" {title} ".center(space, "─") + " " * (_GAP - 1)
        first += count
    return line.rstrip()


def _cell(cell: Text) -> Any:
    from rich.text import Text as RichText

    sign, style = _SIGNS[cell.mark]
    text = RichText(cell.text, style=style)
    text.append(sign)
    if cell.notes:
        text.append(f" [{cell.signs}]", style="dim")
    return text
