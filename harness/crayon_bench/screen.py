"""Text for a screen: how wide it is, lists and lines that fit, and what stands for signs that it does not have."""

import codecs
import os
import sys
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO
from unicodedata import combining, east_asian_width

_USUAL = 80
"""Columns of a terminal that does not tell."""
GAP = 2
"""Between two columns of a list."""

_PLAIN = {
    "★": "*", "☆": "+", "±": "~", "—": "-", "–": "-", "−": "-", "─": "-", "…": ".", "→": ">", "×": "x", "≤": "<",
    "≥": ">", "✓": "=", "✗": "!", "·": ".", "‘": "'", "’": "'", "“": '"', "”": '"',
}  # fmt: skip


def plain_signs(error: UnicodeError) -> tuple[str, int]:
    """Stand in for what an encoding does not have, one letter for one, so that columns stay where they are."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


ON_A_PLAIN_SCREEN = "crayon-bench-plain"
"""The name of :func:`plain_signs` among handlers of errors of encoding."""

codecs.register_error(ON_A_PLAIN_SCREEN, plain_signs)


def screen_width(stream: TextIO | None = None) -> int | None:
    """Return the columns of the terminal, or ``$COLUMNS``; None where *stream*, standard output, goes elsewhere."""
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given) > 0:
        return int(given)
    stream = stream or sys.stdout
    if not stream.isatty():
        return None
    with suppress(OSError):
        return os.get_terminal_size(stream.fileno()).columns or _USUAL
    return _USUAL


def on_screen(text: str) -> str:
    """Return sentences for standard output: their lines fit a terminal, and elsewhere stay as they are."""
    return fit_lines(text, screen_width())


def fit_lines(text: str, width: int | None) -> str:
    """Return *text* with its long lines broken between words; what follows is indented by four more."""
    if width is None:
        return text
    lines = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        lines += wrap(line.strip(), width, indent, f"{indent}    ") or [""]
    return "\n".join(lines) + ("\n" if text.endswith("\n") else "")


def fit_paragraphs(text: str, width: int | None) -> str:
    """Return a docstring's *text* with its paragraphs filled anew; what is indented stays as its lines are.

    A list's entry, which begins with ``* ``, goes to the next one; its lines are indented below the star.
    """
    if width is None:
        return text
    blocks: list[list[str]] = []
    for line in text.splitlines():
        literal = line.startswith("    ")
        goes_on = bool(blocks and blocks[-1][-1].strip() and line.strip()) and not line.startswith("* ")
        if goes_on and not literal and not blocks[-1][-1].startswith("    "):
            blocks[-1].append(line)
        else:
            blocks.append([line])
    filled = []
    for block in blocks:
        star = block[0].startswith("* ")
        filled.append(
            "\n".join(wrap(" ".join(map(str.strip, block)), width, "", "  " if star else ""))
            if not block[0].startswith("    ")
            else fit_lines(block[0], width)
        )
    return "\n".join(filled)


def wrap(text: str, width: int, first: str = "", later: str = "") -> list[str]:
    """Return *text* in lines of at most *width*; a word is never broken."""
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )


def cells(text: str) -> int:
    """Return how many columns of a screen *text* takes: two for a wide letter, none for an accent of its own."""
    wide = sum(east_asian_width(sign) in "WF" for sign in text)
    return len(text) + wide - sum(bool(combining(sign)) for sign in text)


def fit_columns(columns: Sequence[Sequence[str]], words: Sequence[bool], width: int, gap: int) -> list[int]:
    """Return widths of *columns* of text. Only those of *words* are made narrower, down to their longest word."""
    widths = [max((cells(line) for text in column for line in text.splitlines()), default=0) for column in columns]
    least = [
        max((cells(word) for text in column for word in text.split()), default=0) if narrows else widths[n]
        for n, (column, narrows) in enumerate(zip(columns, words, strict=True))
    ]
    while sum(widths) + gap * (len(widths) - 1) > width:
        room, widest = max(((widths[n] if widths[n] > least[n] else 0, -n) for n in range(len(widths))), default=(0, 0))
        if not room:
            break
        widths[-widest] -= 1
    return widths


def list_text(
    heads: Sequence[str],
    rows: Sequence[Sequence[object]],
    drop: Sequence[str] = (),
    *,
    shared: Sequence[str] = (),
    cut: str = "",
    stream: TextIO | None = None,
) -> str:
    """Return a list with headings that fits the screen. Elsewhere than on one each row is a line, with all columns.

    stream: where it is printed; None: standard output.

    In this order, as far as it is needed: the column *cut* is cut; those *shared* whose cells are all the same are said
    in a line above; cells are wrapped; columns of *drop* are left out in turn, which a line below says.
    """
    table = [[str(cell) for cell in column] for column in zip(heads, *rows, strict=True)]
    width = screen_width(stream)
    above: list[str] = []
    dropped: list[str] = []
    if width is None:
        widths = [max(map(cells, column)) for column in table]
    else:
        for head in shared:
            if _wide(table, cut) > width and (same := [c for c in table if c[0] == head and len({*c[1:]}) == 1]):
                table.remove(same[0])
                above.append(f"{head} {same[0][1]}")
        table, widths, dropped = _fitting(table, list(drop), cut, width)
    first, *rest = [_row(row, widths) for row in zip(*table, strict=True)]
    lines = [f"All: {', '.join(above)}."] if above else []
    lines += [*first, (" " * GAP).join("-" * n for n in widths), *(line for row in rest for line in row)]
    if dropped:
        lines.append(f"\nLeft out, for the width: {', '.join(dropped)}.")
    return "\n".join(lines)


_Columns = list[list[str]]
"""Each with its heading first."""
_NARROWEST = 12
"""Columns that are left of a cut cell at least."""


def _wide(table: _Columns, cut: str) -> int:
    """Return how wide columns are if nothing is wrapped, and the column *cut* is cut."""
    widths = [max(map(cells, column)) for column in table]
    short = [min(wide, _NARROWEST) if c[0] == cut else wide for wide, c in zip(widths, table, strict=True)]
    return sum(short) + GAP * (len(short) - 1)


def _fitting(table: _Columns, drop: list[str], cut: str, width: int) -> tuple[_Columns, list[int], list[str]]:
    """Return the columns that fit, their widths, and the headings of those that were left out."""
    dropped: list[str] = []
    while True:
        short = [[_cut(cell, _NARROWEST) for cell in column] if column[0] == cut else column for column in table]
        widths = fit_columns(short, [column[0] != cut for column in table], width, GAP)
        room = width - sum(widths) - GAP * (len(widths) - 1)
        drop = [head for head in drop if any(column[0] == head for column in table)]
        if room >= 0 or not drop:
            break
        table = [column for column in table if column[0] != drop[0]]
        dropped.append(drop[0])
    for n, column in enumerate(table):
        if column[0] == cut:
            widths[n] = min(widths[n] + max(room, 0), max(map(cells, column)))
            table[n] = [_cut(cell, widths[n]) for cell in column]
    return table, widths, dropped


def _cut(text: str, width: int) -> str:
    return text if cells(text) <= width else f"{text[: width - 1]}…"


def _row(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    parts = [wrap(cell, n) if cells(cell) > n else [cell] for cell, n in zip(row, widths, strict=True)]
    lines = []
    for i in range(max(map(len, parts))):
        texts = [part[i] if i < len(part) else "" for part in parts]
        padded = [text + " " * (n - cells(text)) for text, n in zip(texts, widths, strict=True)]
        lines.append((" " * GAP).join(padded).rstrip())
    return lines
