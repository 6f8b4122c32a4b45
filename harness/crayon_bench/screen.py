"""Text for a screen: how wide it is, lists and lines that fit, and what stands for signs that it does not have."""

import codecs
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from unicodedata import combining, east_asian_width

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


def screen_width() -> int | None:
    """Return the columns of the terminal, or ``$COLUMNS``; None where standard output goes elsewhere."""
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given) > 0:
        return int(given)
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def fit_lines(text: str, width: int | None) -> str:
    """Return *text* with its long lines broken between words; what follows is indented by four more."""
    if width is None:
        return text
    lines = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        lines += wrap(line.strip(), width, indent, f"{indent}    ") or [""]
    return "\n".join(lines) + ("\n" if text.endswith("\n") else "")


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


def list_text(heads: Sequence[str], rows: Sequence[Sequence[object]], drop: Sequence[str] = ()) -> str:
    """Return a list with headings that fits the screen: cells are wrapped, then columns of *drop* are left out in turn.

    Elsewhere than on a screen each row is a line, with all columns.
    """
    table = [[str(cell) for cell in row] for row in [heads, *rows]]
    width = screen_width()
    left = list(drop)
    while True:
        columns = [list(column) for column in zip(*table, strict=True)]
        if width is None:
            widths = [max(map(cells, column)) for column in columns]
            break
        widths = fit_columns(columns, [True] * len(columns), width, GAP)
        if not left or sum(widths) + GAP * (len(widths) - 1) <= width:
            break
        gone = table[0].index(left.pop(0))
        table = [row[:gone] + row[gone + 1 :] for row in table]
    lines = [line for row in table for line in _row(row, widths)]
    rule = "  ".join("-" * n for n in widths)
    first = len(_row(table[0], widths))
    missing = [head for head in heads if head not in table[0]]
    note = [f"\nLeft out, for the width: {', '.join(missing)}."] if missing else []
    return "\n".join([*lines[:first], rule, *lines[first:], *note])


def _row(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    parts = [wrap(cell, n) if cells(cell) > n else [cell] for cell, n in zip(row, widths, strict=True)]
    lines = []
    for i in range(max(map(len, parts))):
        texts = [part[i] if i < len(part) else "" for part in parts]
        padded = [text + " " * (n - cells(text)) for text, n in zip(texts, widths, strict=True)]
        lines.append((" " * GAP).join(padded).rstrip())
    return lines
