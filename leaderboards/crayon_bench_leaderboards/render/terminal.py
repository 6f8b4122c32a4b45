"""Tables for a terminal, with rich."""

import io
import sys
from typing import Any

from crayon_bench.screen import fit_columns, screen_width, wrap
from crayon_bench_leaderboards.marks import LEGEND
from crayon_bench_leaderboards.render.grids import Grid, Text
from crayon_bench_leaderboards.render.layout import main_grid, published_grid, sheet_of
from crayon_bench_leaderboards.table import Table

_SIGNS = {"best": (" ★", "bold green"), "second": (" ☆", "underline"), "": ("", "")}
_LEGEND = f"★ best, ☆ second best of a column; {LEGEND}."
_GAP = 3
"""Between two columns of rich's grid; it begins and ends with a blank."""


_WIDTH = 140
"""Where the text goes elsewhere than to a screen."""
_DROPPED = ("Feedback", "Seeds")
"""Columns that are left out of a grid which is too wide, in this order; then it is cut into several."""


def print_terminal(table: Table, *, explain: bool = False) -> None:
    """Print *table* on standard output, as wide as the screen is, and in colour if it is one.

    explain: with all that stands under it; otherwise five lines of that.
    """
    from rich.console import Console

    _draw(Console(file=sys.stdout, width=screen_width() or _WIDTH, highlight=False), table, explain)


def to_terminal(table: Table) -> str:
    """Return *table* as plain text."""
    from rich.console import Console

    out = io.StringIO()
    _draw(Console(file=out, width=_WIDTH, highlight=False, color_system=None), table, explain=True)
    return out.getvalue()


def _draw(console: Any, table: Table, explain: bool = True) -> None:
    # Printed and not the grid's own title, which would be wrapped to the width of the columns.
    _say(console, table.title, style="bold yellow" if table.source == "standin" else "bold")
    _say(console, table.subtitle)
    sheet = sheet_of(table)
    grids = [sheet.main]
    if not _fits(sheet.main, console.width):
        # The published numbers go below, and if that is not enough, each data set has its own grid.
        parts = [main_grid(table, published=False), published_grid(table)]
        grids = [grid for part in parts if part for grid in _fitting(part, console.width)]
    below = [grid for grid in [sheet.details, *sheet.statistics] if grid]
    grids += [part for grid in below for part in _fitting(grid, console.width)]
    for grid in grids:
        _draw_grid(console, grid)
    console.print()
    lines = [f"[{sign}] {note}" for sign, note in sheet.footnotes]
    shown = {column.name for grid in grids for column in grid.columns}
    if missing := [name for name in _DROPPED if name not in shown and any(c.name == name for c in sheet.main.columns)]:
        lines.append(f"Left out, for the width: {', '.join(missing)}.")
    lines += [*([_LEGEND] if sheet.marked else []), *sheet.remarks]
    for line in lines if explain else _gravest(lines, table.grave):
        _say(console, line, "  ")
    console.print()


_LINES = 5
_GRAVE = (
    *(
        "UNVERIFIED",
        "WARNING: ",
        "arithmetic",
        "failed for seed",
        "Answers add (",
        "No control was run",
        "★ best",
        "#FB: answers",
        "Not run, of",
        ": warning: ",
    ),
    *("not run for seed", "] no ", "does not apply", "changed by --set", "Left out"),
    *("STAND-IN", "Mean ± ", "One seed, "),  # the title says these too
)
"""Words of lines below a table, those first that nobody should miss."""


_FAILED = _GRAVE.index("failed for seed")


def _gravest(lines: list[str], grave: list[str]) -> list[str]:
    """Return at most five of *lines*, in their order: what makes a number doubtful first, and how to see the rest."""
    if len(lines) <= _LINES:
        return lines

    def gravity(n: int) -> tuple[int, int]:
        place = next((place for place, word in enumerate(_GRAVE) if word in lines[n]), len(_GRAVE))
        return min(place, _FAILED) if lines[n] in grave else place, n

    kept = sorted(sorted(range(len(lines)), key=gravity)[: _LINES - 1])
    rest = len(lines) - len(kept)
    return [*(lines[n] for n in kept), f"{rest} more lines: crayon-bench leaderboard --explain, or another --format."]


def _say(console: Any, text: str, indent: str = "", style: str = "") -> None:
    from rich.text import Text as RichText

    for line in wrap(text, console.width, indent, indent + "  " * bool(indent)):
        console.print(RichText(line, style=style), soft_wrap=True)


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
    """Return *grid*, or what of it fits *width*: a grid for each data set, without some columns, cut into several."""
    if _fits(grid, width):
        return [grid]
    return [part for one in grid.by_group() for part in _narrowed(one, width)]


def _narrowed(grid: Grid, width: int) -> list[Grid]:
    for name in _DROPPED:
        if not _fits(grid, width):
            grid = grid.without(name)
    parts, keep = [], list(range(grid.lead))
    for n in range(grid.lead, len(grid.columns)):
        if len(keep) > grid.lead and not _fits(grid.only([*keep, n]), width):
            parts.append(grid.only(keep))
            keep = list(range(grid.lead))
        keep.append(n)
    return [*parts, grid.only(keep)]


def _widths(grid: Grid, width: int) -> list[int]:
    """Return the columns' widths. Only columns of words are made narrower to fit, down to their longest word."""
    texts = [
        [column.name, column.by, *(_cell(row[n]).plain for row in grid.rows)] for n, column in enumerate(grid.columns)
    ]
    return fit_columns(texts, [column.left for column in grid.columns], width - _GAP + 1, _GAP)


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
