"""Lists that fit the terminal: what is the same in all rows is said above them, and columns are left out in order."""

from collections.abc import Sequence

from crayon_bench.screen import GAP as _GAP, cells as _cells

_NARROWEST = 12
"""Characters that are left of a cut column at least."""


def fitted(
    rows: Sequence[dict[str, str]], columns: int | None, *, shared: Sequence[str], drop: Sequence[str], cut: str
) -> str:
    """Return *rows* of one list of columns as text that is at most *columns* wide, if that can be.

    In this order, as far as it is needed: the column *cut* is cut; those *shared* whose cells are all the same are said
    in a line above the list; those to *drop* are left out, which a line below it says.
    """
    heads = list(rows[0])
    above: list[str] = []
    dropped: list[str] = []

    def wide(without: str = "") -> int:
        return sum(_wide(rows, head) + _GAP for head in heads if head != without) - _GAP

    if columns is not None and (cut not in heads or wide(cut) + _GAP + _NARROWEST > columns):
        for head in shared:
            if wide(cut) + _GAP + _NARROWEST > columns and head in heads and len({row[head] for row in rows}) == 1:
                heads.remove(head)
                above.append(f"{head} {rows[0][head]}")
        for head in [*drop[:1], cut, *drop[1:]]:
            left = wide(cut) + _GAP + _NARROWEST if cut in heads else wide()
            if left > columns and head in heads:
                heads.remove(head)
                dropped.append(head)
    cells = [{head: row[head] for head in heads} for row in rows]
    if columns is not None and cut in heads:
        room = columns - wide(cut) - _GAP
        for row in cells:
            row[cut] = row[cut] if len(row[cut]) <= room else f"{row[cut][: room - 1]}…"
    # Not tabulate: it makes a column two characters wider than its head.
    widths = [_wide(cells, head) for head in heads]
    ruled = [heads, ["-" * wide for wide in widths], *(list(row.values()) for row in cells)]
    lines = [f"All: {', '.join(above)}."] if above else []
    for line in ruled:
        lines.append((" " * _GAP).join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip())
    if dropped:
        lines.append(f"Left out for want of room: {', '.join(dropped)}.")
    return "\n".join(lines)


def _wide(rows: Sequence[dict[str, str]], head: str) -> int:
    return max(_cells(head), *(_cells(row[head]) for row in rows))
