"""Recorded answers as a table."""

import csv
import io
from collections.abc import Iterator
from datetime import datetime

from crayon_bench_plugins.annotation.answers.folder import Answers, to_cell

COLUMNS = ("example", "task", "annotator", "answer", "shown_at", "answered_at", "via")

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rows_of(answers: Answers) -> tuple[list[tuple[str, ...]], list[str]]:
    """Return what counts, a row of :data:`COLUMNS` for each annotator and question, and remarks.

    By task, annotator and the data set's order. Of a question that was answered again, the last answer; none that was
    undone.
    """
    rows: list[tuple[str, ...]] = []
    remarks: list[str] = []
    for task in answers.tasks():
        manifest = answers.manifest(task)
        histories, torn = answers.histories(task, manifest)
        remarks += torn
        for history in histories:
            for example in manifest.shown:
                if (event := history.current.get(example)) is None or event.answer is None:
                    continue
                cell = to_cell(task, history.annotator, event.answer)
                times = (event.shown_at or "", event.answered_at)
                rows.append((example, task.value, history.annotator, cell, *times, event.via))
    return rows, remarks


def to_csv(rows: list[tuple[str, ...]]) -> bytes:
    """Return the rows as CSV in UTF-8, with a header.

    A cell that begins with =, +, -, @, a tab or a return has an apostrophe in front of it: a spreadsheet would compute
    it otherwise.
    """
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_safe(row) for row in rows)
    return sink.getvalue().encode("utf-8", "backslashreplace")


def _safe(row: tuple[str, ...]) -> Iterator[str]:
    return (f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in row)


def to_parquet(rows: list[tuple[str, ...]]) -> bytes:
    """Return the rows as parquet; times are timestamps in UTC, in milliseconds."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    moment = pa.timestamp("ms", tz="UTC")
    columns = {}
    for name, values in zip(COLUMNS, zip(*rows, strict=True) if rows else [()] * len(COLUMNS), strict=True):
        if name.endswith("_at"):
            columns[name] = pa.array([datetime.fromisoformat(value) if value else None for value in values], moment)
        else:
            columns[name] = pa.array([value.encode("utf-8", "backslashreplace").decode() for value in values])
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue()
