"""The text of a table's cells, which terminal, markdown and latex share."""

from dataclasses import dataclass

from crayon_bench_leaderboards.board import Cell, Row, Section, Table


@dataclass(frozen=True)
class Text:
    """A cell: its text, its mark ("best", "second" or "") and its footnotes."""

    text: str
    mark: str = ""
    notes: tuple[int, ...] = ()


def layout(table: Table) -> tuple[list[str], list[list[Text]]]:
    """Return headings and rows: Method, Feedback, then for each data set #FB and its metrics, and published ones."""
    several = len(table.sections) > 1
    headings = ["Method", "Feedback"]
    for section in table.sections:
        prefix = f"{section.title} " if several else ""
        headings.append(f"{prefix}#FB")
        for metric in table.board.metric_names():
            short = _short(section, metric)
            headings.append(f"{prefix}{short} (%)")
            if _has_published(section, metric):
                headings.append(f"{prefix}{short} published")
    lines: dict[tuple[str, str], list[Row | None]] = {}
    for number, section in enumerate(table.sections):
        for line in section.rows:
            key = line.method, line.variant
            lines.setdefault(key, [None] * len(table.sections))[number] = line
    rows = []
    for cells in lines.values():
        known = [row for row in cells if row is not None]
        feedback = next((row.feedback for row in known if row.feedback != "?"), known[0].feedback)
        notes = tuple(sorted({note for row in known for note in row.notes}))
        texts = [
            Text(next((r.label for r in known if r.label != r.method), known[0].label), notes=notes),
            Text(feedback),
        ]
        for section, row in zip(table.sections, cells, strict=True):
            texts.append(Text(_feedback_count(row)))
            for metric in table.board.metric_names():
                texts.append(_value(row, metric))
                if _has_published(section, metric):
                    cell = row.metrics[metric] if row else None
                    texts.append(Text("" if cell is None or cell.published is None else f"{cell.published:.2f}"))
        rows.append(texts)
    return headings, rows


def _short(section: Section, metric: str) -> str:
    return next((row.metrics[metric].short for row in section.rows if row.metrics[metric].per_seed), "") or (
        section.rows[0].metrics[metric].short if section.rows else metric
    )


def _has_published(section: Section, metric: str) -> bool:
    return any(row.metrics[metric].published is not None for row in section.rows)


def _feedback_count(row: Row | None) -> str:
    if row is None or row.feedback_total is None or row.baseline:
        return "-"
    return f"{row.feedback_total:,}" if row.feedback_total == int(row.feedback_total) else f"{row.feedback_total:,.1f}"


_STATES = {"skipped": "n/a", "failed": "failed", "missing": "missing"}


def _value(row: Row | None, metric: str) -> Text:
    if row is None:
        return Text("missing")
    if row.status in _STATES:
        return Text(_STATES[row.status])
    cell = row.metrics[metric]
    if cell.mean is None:
        return Text("n/a")
    return Text(f"{number(cell)}{f' (n={len(cell.per_seed)})' if row.status == 'partial' else ''}", cell.mark)


def number(cell: Cell) -> str:
    """Return ``mean ± std`` with two decimals, or the value alone for one seed."""
    if cell.mean is None:
        return ""
    return f"{cell.mean:.2f}" if cell.std is None else f"{cell.mean:.2f} ± {cell.std:.2f}"


def footnote_sign(note: int) -> str:
    """Return a, b, … z, aa, ab … for 1, 2, …"""
    sign = ""
    while note:
        note, rest = divmod(note - 1, 26)
        sign = chr(ord("a") + rest) + sign
    return sign
