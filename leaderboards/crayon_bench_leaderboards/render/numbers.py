"""What is printed in one cell of a table."""

from crayon_bench_leaderboards.controls import first_control
from crayon_bench_leaderboards.render.grids import Text
from crayon_bench_leaderboards.table import Cell, Row


def published(row: Row | None, metric: str, reference: str) -> Text:
    """Return a published number with its footnote; nothing where there is none."""
    cell = row.metrics[metric] if row else None
    if cell is None or reference not in cell.published:
        return Text("")
    note = cell.published_notes.get(reference)
    return Text(f"{cell.published[reference]:.2f}", notes=() if note is None else (note,))


def feedback_count(row: Row | None) -> Text:
    """Return the answers that were counted, mean over seeds; ``-`` for what is no mitigation."""
    if row is None or row.feedback_total is None or row.baseline:
        return Text("-")
    total = row.feedback_total
    return Text(f"{total:,}" if total == int(total) else f"{total:,.1f}")


_UNKNOWN = "–"


def answers_add(row: Row | None, metric: str) -> Text:
    """Return what the answers add, ``+12.0 [+3.1, +20.4]``; nothing in the row of the control that its method names."""
    added = {} if row is None else row.answers_add
    first = first_control(added)
    if row is None or first is None or metric not in added[first]:
        return Text("" if row is not None and row.control is not None else _UNKNOWN)
    one = added[first][metric]
    if one.low is None or one.high is None:
        return Text(f"{_points(one.mean)} [?]")
    return Text(f"{_points(one.mean)} [{_points(one.low)}, {_points(one.high)}]")


def _points(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"  # never -0.0


def hours(row: Row | None) -> Text:
    """Return the person-hours."""
    return Text(_UNKNOWN if row is None or row.baseline or row.hours is None else _rounded(row.hours))


def gain(row: Row | None) -> Text:
    """Return what was gained per person-hour."""
    if row is None or row.gain is None:
        return Text(_UNKNOWN)
    return Text(f"{'−' if row.gain < 0 else '+'}{_rounded(abs(row.gain))}")


def _rounded(value: float) -> str:
    """Return a number that is not negative with three digits, or all those before the point."""
    return f"{value:,.0f}" if value >= 99.95 else f"{float(f'{value:.3g}'):g}"


def seeds(row: Row | None) -> Text:
    """Return how many seeds came to an end."""
    return Text("-" if row is None or not row.done else str(row.done))


_STATES = {"skipped": "n/a", "failed": "failed", "missing": "missing"}


def value(row: Row | None, metric: str) -> Text:
    """Return ``mean ± std``, or why there is none; of one seed, the value alone."""
    if row is None:
        return Text("missing")
    if row.status in _STATES:
        return Text(_STATES[row.status])
    cell = row.metrics[metric]
    if cell.mean is None:
        return Text("n/a")
    return Text(f"{_number(cell)}{_of_fewer(row, cell)}", cell.mark)


def _number(cell: Cell) -> str:
    return f"{cell.mean:.2f}" if cell.std is None else f"{cell.mean:.2f} ± {cell.std:.2f}"


def mean_alone(row: Row | None, metric: str) -> Text:
    """Return the mean, or why there is none."""
    cell = row.metrics[metric] if row else None
    if row is None or cell is None or cell.mean is None:
        return Text(value(row, metric).text)
    return Text(f"{cell.mean:.2f}{_of_fewer(row, cell)}")


def _of_fewer(row: Row, cell: Cell) -> str:
    return f" (n={len(cell.per_seed)})" if row.status == "partial" else ""


def worst_group(row: Row | None) -> Text:
    """Return the worst group, its size, and in how many seeds it was the worst."""
    worst = row.worst_group if row else None
    if worst is None:
        return Text("-")
    often = f" {worst.seeds}/{worst.of}" if worst.of > 1 else ""
    return Text(f"{worst.name} ({worst.total:,} test){often}{', tied' if worst.tied else ''}")


def seconds(row: Row | None) -> Text:
    """Return the seconds of the refine step."""
    return Text("-" if row is None or row.seconds is None else f"{row.seconds:,.1f}")


def memory(row: Row | None) -> Text:
    """Return the peak of memory in MiB."""
    return Text("-" if row is None or row.memory is None else f"{row.memory:,.0f}")
