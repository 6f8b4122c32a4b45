"""Tables as markdown and LaTeX, with tabulate."""

import re

from tabulate import tabulate

from crayon_bench_leaderboards.marks import LEGEND
from crayon_bench_leaderboards.render.grids import Grid, Text
from crayon_bench_leaderboards.render.layout import sheet_of
from crayon_bench_leaderboards.table import Table


def to_markdown(tables: list[Table]) -> str:
    """Return GitHub-flavoured markdown: best in bold, second best in italics."""
    parts = []
    for table in tables:
        sheet = sheet_of(table)
        grids = "\n\n".join(map(_markdown_grid, sheet.grids))
        notes = [f"<sup>{sign}</sup> {markdown_text(note)}" for sign, note in sheet.footnotes]
        legend = [f"**Best** and *second best* of a column; {LEGEND}."] if sheet.marked else []
        under = "\n".join(f"- {line}" for line in [*notes, *legend, *map(markdown_text, sheet.remarks)])
        parts.append(f"### {markdown_text(table.title)}\n\n{markdown_text(table.subtitle)}\n\n{grids}\n\n{under}\n")
    return "\n".join(parts)


def _markdown_grid(grid: Grid) -> str:
    body = [[_markdown_cell(cell) for cell in row] for row in grid.rows]
    heads = [markdown_text(column.heading) for column in grid.columns]
    drawn = tabulate(body, headers=heads, tablefmt="pipe", colalign=_align(grid), disable_numparse=True)
    return f"**{markdown_text(grid.title)}**\n\n{drawn}" if grid.title else drawn


def _align(grid: Grid) -> list[str]:
    return ["left" if column.left else "right" for column in grid.columns]


def markdown_text(text: str) -> str:
    """Return *text* with what markdown would take for its own escaped, on one line."""
    return re.sub(r"([\\|<>*_`\[\]])", r"\\\1", text).replace("\n", " ")


def _markdown_cell(cell: Text) -> str:
    around = {"best": "**", "second": "*", "": ""}[cell.mark]
    notes = f" <sup>{cell.signs}</sup>" if cell.notes else ""
    return f"{around}{markdown_text(cell.text)}{around}{notes}"


def to_latex(tables: list[Table]) -> str:
    r"""Return LaTeX tables with booktabs' rules: best in bold, second best underlined (``\usepackage{booktabs}``)."""
    parts = []
    for table in tables:
        sheet = sheet_of(table)
        notes = [rf"\textsuperscript{{{sign}}} {_latex(note)}" for sign, note in sheet.footnotes]
        legend = (
            [rf"\textbf{{Best}} and \underline{{second best}} of a column; {_latex(LEGEND)}."] if sheet.marked else []
        )
        under = "\\\\\n".join([*notes, *legend, *map(_latex, sheet.remarks)])
        caption = rf"\caption{{{_latex(table.title)}. {_latex(table.subtitle)}.}}"
        # Several data sets are too wide for one column of a paper, and for letters of the usual size.
        wide = len(table.sections) > 1
        name = "table*" if wide else "table"
        small = "\\scriptsize\n\\setlength{\\tabcolsep}{3pt}\n" if wide else ""
        grids = "\n\n\\medskip\n".join(map(_latex_grid, sheet.grids))
        parts.append(
            f"\\begin{{{name}}}\n\\centering\n{caption}\n{small}{grids}\n\n\\footnotesize\n{under}\n\\end{{{name}}}\n"
        )
    return "\n".join(parts)


def _latex_grid(grid: Grid) -> str:
    body = [[_latex_cell(cell) for cell in row] for row in grid.rows]
    heads = [_latex(column.within) for column in grid.columns]
    drawn: str = tabulate(body, headers=heads, tablefmt="latex_raw", colalign=_align(grid), disable_numparse=True)
    for rule in (r"\toprule" + _latex_groups(grid), r"\midrule", r"\bottomrule"):
        drawn = drawn.replace(r"\hline", rule, 1)
    return drawn


def _latex_groups(grid: Grid) -> str:
    """Return a line with the titles of the data sets, each over its columns; nothing if there is only one."""
    groups = grid.groups()
    if not any(title for title, _ in groups):
        return ""
    titles, rules, first = [""] * grid.lead, [], grid.lead + 1
    for title, count in groups:
        titles.append(rf"\multicolumn{{{count}}}{{c}}{{{_latex(title)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + count - 1}}}")
        first += count
    return "\n " + " & ".join(titles) + " \\\\\n" + " ".join(rules)


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$", "—": "---", "…": r"\dots{}",
    "λ": r"$\lambda$", "α": r"$\alpha$", "β": r"$\beta$", "<": r"$<$", ">": r"$>$",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text).replace("\n", " ")


def _latex_cell(cell: Text) -> str:
    text = _latex(cell.text)
    text = {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}", "": text}[cell.mark]
    notes = rf"\textsuperscript{{{cell.signs}}}" if cell.notes else ""
    return text + notes
