"""Tables as HTML, for notebooks and pages."""

from html import escape

from tabulate import tabulate

from crayon_bench_leaderboards.marks import LEGEND
from crayon_bench_leaderboards.render.grids import Grid, Text
from crayon_bench_leaderboards.render.layout import sheet_of
from crayon_bench_leaderboards.table import Table


def to_html(tables: list[Table]) -> str:
    """Return plain HTML tables with captions, and notes under them: best in bold, second best in italics."""
    parts = []
    for table in tables:
        sheet = sheet_of(table)
        caption = f"<strong>{escape(table.title)}</strong><br>{escape(table.subtitle)}"
        first, *others = sheet.grids
        grids = [_grid(first, caption), *(_grid(grid, escape(grid.title)) for grid in others)]
        notes = [f"<sup>{sign}</sup> {escape(note)}" for sign, note in sheet.footnotes]
        legend = [f"<b>Best</b> and <i>second best</i> of a column; {LEGEND}."] if sheet.marked else []
        under = "".join(f"<li>{line}</li>\n" for line in [*notes, *legend, *map(escape, sheet.remarks)])
        parts.append("\n".join([*grids, f"<ul>\n{under}</ul>\n"]))
    return "\n".join(parts)


def _grid(grid: Grid, caption: str) -> str:
    body = [[_cell(cell) for cell in row] for row in grid.rows]
    heads = [escape(column.heading) for column in grid.columns]
    align = ["left" if column.left else "right" for column in grid.columns]
    drawn = tabulate(body, headers=heads, tablefmt="unsafehtml", colalign=align, disable_numparse=True)
    return drawn.replace("<table>", f"<table>\n<caption>{caption}</caption>", 1)


def _cell(cell: Text) -> str:
    text = escape(cell.text)
    text = {"best": f"<b>{text}</b>", "second": f"<i>{text}</i>", "": text}[cell.mark]
    return text + (f" <sup>{cell.signs}</sup>" if cell.notes else "")
