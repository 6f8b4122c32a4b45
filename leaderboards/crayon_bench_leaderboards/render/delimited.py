"""Tables as CSV and as data frames: one line per data set, method, budget and control, full precision."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from crayon_bench_leaderboards.controls import first_control
from crayon_bench_leaderboards.table import Row, Section, Table, gained_metric


def tables_frame(tables: list[Table]) -> pd.DataFrame:
    """Return the *tables* with the columns of their CSV. Accuracies in percent; NA where there is no value."""
    return pd.DataFrame(_lines(tables), columns=_heads(tables))


def to_csv(tables: list[Table]) -> str:
    """Return CSV with a heading. Accuracies in percent; empty where there is no value."""
    frame = pd.DataFrame(_lines(tables), columns=_heads(tables), dtype=object)  # whole numbers stay as they are
    return frame.to_csv(index=False, lineterminator="\n")


def _heads(tables: list[Table]) -> list[str]:
    metrics = list(dict.fromkeys(name for table in tables for name in table.board.metric_names()))
    references = list(dict.fromkeys(name for table in tables for name in table.board.reference_names()))
    return [
        *("board", "source", "setting", "protocol", "dataset", "data", "method", "label", "budget", "control"),
        *("feedback", "feedback_count", "status", "reason", "notes"),
        *(f"{metric}_{part}" for metric in metrics for part in ("mean", "std", "n", "mark", "published")),
        *(f"{metric}_published_{reference}" for metric in metrics for reference in references),
        *("answers_add", "answers_add_low", "answers_add_high"),
        *("worst_group", "worst_group_total", "worst_group_seeds", "seconds", "memory_mib"),
        *(("price", "person_hours", "gained_per_hour") if any(table.price for table in tables) else ()),
        *(
            f"{metric}_{part}"
            for metric in metrics
            for part in _STATISTICS
            if any(table.statistics for table in tables)
        ),
    ]


def _lines(tables: list[Table]) -> list[dict[str, Any]]:
    lines = []
    for table in tables:
        for section in table.sections:
            compared = _statistics(table, section) if table.statistics else {}
            lines += [{**_line(table, section, row), **compared.get(row.title, {})} for row in section.rows]
    return lines


def _line(table: Table, section: Section, row: Row) -> dict[str, Any]:
    line: dict[str, Any] = {
        "board": table.board.name,
        "source": section.source,
        "setting": section.setting[:12],
        "protocol": section.protocol,
        "dataset": row.dataset,
        "data": section.title,
        "method": row.method,
        "label": row.label,
        "budget": row.budget,
        "control": row.control,
        "feedback": row.feedback,
        "feedback_count": row.feedback_total,
        "status": row.status,
        "reason": row.reason,
        "notes": "; ".join([*(table.footnotes[note - 1] for note in row.all_notes()), *table.remarks]),
        "seconds": row.seconds,
        "memory_mib": row.memory,
    }
    for metric, cell in row.metrics.items():
        line |= {
            f"{metric}_mean": cell.mean,
            f"{metric}_std": cell.std,
            f"{metric}_n": len(cell.per_seed),
            f"{metric}_mark": cell.mark or None,
            **{f"{metric}_published_{reference}": value for reference, value in cell.published.items()},
        }
        for first in table.board.reference_names()[:1]:
            line[f"{metric}_published"] = cell.published.get(first)
    control = first_control(row.answers_add)
    added = row.answers_add[control].get(gained_metric(table.board, section.rows)) if control is not None else None
    if added is not None:
        line |= {"answers_add": added.mean, "answers_add_low": added.low, "answers_add_high": added.high}
    if worst := row.worst_group:
        line |= {"worst_group": worst.name, "worst_group_total": worst.total}
        line["worst_group_seeds"] = f"{worst.seeds}/{worst.of}"
    if table.price is not None:
        line |= {"price": table.price.name, "person_hours": row.hours, "gained_per_hour": row.gain}
    return line


_STATISTICS = (
    "low",
    "high",
    *(f"to_{to}{part}" for to in ("original", "best") for part in ("", "_low", "_high", "_p")),
    "rank",
)


def _statistics(table: Table, section: Section) -> dict[str, dict[str, Any]]:
    """Return, by the title of a row, its last columns."""
    from crayon_bench_leaderboards.compared import statistics_of

    found: dict[str, dict[str, Any]] = {}
    for one in statistics_of(table, section):
        for row in one.rows:
            values = dict(_compared(row.interval, row.to_original, row.to_best), rank=row.rank)
            found.setdefault(row.label, {}).update({f"{one.metric}_{part}": value for part, value in values.items()})
    return found


def _compared(interval: Any, to_original: Any, to_best: Any) -> Iterator[tuple[str, float | None]]:
    if interval is not None:
        yield from (("low", interval.low), ("high", interval.high))
    for to, difference in (("to_original", to_original), ("to_best", to_best)):
        if difference is not None:
            d = difference.interval
            yield from ((to, d.estimate), (f"{to}_low", d.low), (f"{to}_high", d.high), (f"{to}_p", difference.p))
