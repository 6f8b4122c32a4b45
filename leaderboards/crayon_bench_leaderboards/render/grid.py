"""Tables as markdown and LaTeX, with tabulate."""

import re

from tabulate import tabulate

from crayon_bench_leaderboards.board import Table
from crayon_bench_leaderboards.render.cells import Text, footnote_sign, layout


def to_markdown(tables: list[Table]) -> str:
    """Return GitHub-flavoured markdown: best in bold, second best in italics."""
    parts = []
    for table in tables:
        headings, rows = layout(table)
        body = [[_markdown_cell(cell) for cell in row] for row in rows]
        align = ["left", "left", *["right"] * (len(headings) - 2)]
        heads = [_markdown(heading) for heading in headings]
        grid = tabulate(body, headers=heads, tablefmt="pipe", colalign=align, disable_numparse=True)
        notes = [
            f"<sup>{footnote_sign(number)}</sup> {_markdown(note)}" for number, note in enumerate(table.footnotes, 1)
        ]
        remarks = [*_legend(rows, "**Best** and *second best* of a column are marked."), *map(_markdown, table.remarks)]
        under = "\n".join(f"- {line}" for line in [*notes, *remarks])
        parts.append(f"### {_markdown(table.title)}\n\n{_markdown(table.subtitle)}\n\n{grid}\n\n{under}\n")
    return "\n".join(parts)


def _markdown(text: str) -> str:
    return re.sub(r"([\\|<>*_`\[\]])", r"\\\1", text).replace("\n", " ")


def _markdown_cell(cell: Text) -> str:
    around = {"best": "**", "second": "*", "": ""}[cell.mark]
    notes = f" <sup>{','.join(map(footnote_sign, cell.notes))}</sup>" if cell.notes else ""
    return f"{around}{_markdown(cell.text)}{around}{notes}"


def to_latex(tables: list[Table]) -> str:
    r"""Return LaTeX tables with booktabs' rules: best in bold, second best underlined (``\usepackage{booktabs}``)."""
    parts = []
    for table in tables:
        headings, rows = layout(table)
        body = [[_latex_cell(cell) for cell in row] for row in rows]
        align = ["left", "left", *["right"] * (len(headings) - 2)]
        heads = [_latex(heading) for heading in headings]
        grid = tabulate(body, headers=heads, tablefmt="latex_raw", colalign=align, disable_numparse=True)
        for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
            grid = grid.replace(r"\hline", rule, 1)
        notes = [
            rf"\textsuperscript{{{footnote_sign(number)}}} {_latex(note)}"
            for number, note in enumerate(table.footnotes, 1)
        ]
        legend = _legend(rows, r"\textbf{Best} and \underline{second best} of a column are marked.")
        under = "\\\\\n".join([*notes, *legend, *map(_latex, table.remarks)])
        caption = rf"\caption{{{_latex(table.title)}. {_latex(table.subtitle)}.}}"
        parts.append(f"\\begin{{table}}\n\\centering\n{caption}\n{grid}\n\n\\footnotesize\n{under}\n\\end{{table}}\n")
    return "\n".join(parts)


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
    notes = rf"\textsuperscript{{{','.join(map(footnote_sign, cell.notes))}}}" if cell.notes else ""
    return text + notes


def _legend(rows: list[list[Text]], text: str) -> list[str]:
    return [text] if any(cell.mark for row in rows for cell in row) else []
