"""Which means of a column are marked as the best and the second best, and what rows that are alike have in common."""

from collections.abc import Sequence

from crayon_bench_leaderboards.table import Cell

LEGEND = "rows that the paired 95 % interval of their difference cannot tell apart are marked alike"


def mark(cells: Sequence[Cell]) -> None:
    """Mark the best and the second best of *cells*, which have the same seeds.

    All that cannot be told apart from the best are marked as it is, and so for the second best. Nothing is marked with
    one seed, among fewer than two, or where none can be told apart from the best.
    """
    if len(cells) < 2 or len(cells[0].per_seed) < 2:
        return
    sign = 1 if cells[0].direction == "higher" else -1
    left = sorted(cells, key=lambda cell: -sign * (cell.mean or 0.0))
    for name in ("best", "second"):
        alike = [cell for cell in left if cell is left[0] or not _apart(left[0], cell)]
        if len(alike) == len(cells):
            return
        for cell in alike:
            cell.mark = name
        left = [cell for cell in left if not cell.mark]
        if not left:
            return


def _apart(first: Cell, second: Cell) -> bool:
    """Return whether the interval of their paired difference leaves out 0."""
    from crayon_bench_leaderboards.statistics import bootstrap_mean  # imports scipy

    interval = bootstrap_mean([first.per_seed[seed] - second.per_seed[seed] for seed in sorted(first.per_seed)])
    return interval is not None and not (interval.low <= _SLACK and interval.high >= -_SLACK)


_SLACK = 1e-9
"""Differences of equal decimals may differ from 0 in the last bit."""
