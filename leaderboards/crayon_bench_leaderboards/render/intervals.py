"""The grids of a table's statistics."""

from crayon_bench_leaderboards.compared import Difference, Statistics, statistics_of
from crayon_bench_leaderboards.render.grids import Column, Grid, Text
from crayon_bench_leaderboards.statistics import Interval
from crayon_bench_leaderboards.table import Table

_RUNS_IN_A_ROW = 5


def statistics_grids(table: Table) -> tuple[list[Grid], list[str]]:
    """Return two kinds of grids for each data set and metric, of methods and of runs; and sentences under them."""
    grids = []
    warnings: dict[str, None] = {}
    for section in table.sections:
        where = f"{section.title}: " if len(table.sections) > 1 else ""
        for found in statistics_of(table, section):
            warnings |= dict.fromkeys(found.remarks)
            grids.append(_methods_grid(found, where))
            seeds = sorted({seed for row in found.rows for seed in row.per_run})
            grids += [
                _runs_grid(found, seeds[first : first + _RUNS_IN_A_ROW], where)
                for first in range(0, len(seeds), _RUNS_IN_A_ROW)
            ]
    return grids, [*warnings, "Statistics: 95 % intervals. Definitions: docs/reference/statistics.md."]


def _methods_grid(found: Statistics, where: str) -> Grid:
    names = ["Method", f"{found.short} over seeds", "To Original", "p", "To best", "p", "Rank"]
    columns = [Column(name, left=not n) for n, name in enumerate(names)]
    rows = []
    for row in found.rows:
        pairs = [text for difference in (row.to_original, row.to_best) for text in _difference(difference)]
        rank = f"{row.rank}{' tied' if row.rank_shared else ''}"
        rows.append([Text(text) for text in (row.label, _interval(row.interval), *pairs, rank)])
    return Grid(columns, rows, 1, f"{where}{found.short}: intervals over seeds, differences, ranks")


def _runs_grid(found: Statistics, seeds: list[int], where: str) -> Grid:
    columns = [Column("Method", left=True), *(Column(f"Seed {seed}") for seed in seeds)]
    rows = [[Text(row.label), *(Text(_interval(row.per_run.get(seed))) for seed in seeds)] for row in found.rows]
    return Grid(columns, rows, 1, f"{where}{found.short} of each run, with its Wilson interval")


def _interval(interval: Interval | None, sign: str = "") -> str:
    if interval is None:
        return "-"
    return f"{interval.estimate:{sign}.2f} [{interval.low:{sign}.2f}, {interval.high:{sign}.2f}]"


def _difference(difference: Difference | None) -> tuple[str, str]:
    if difference is None:
        return "", ""
    return _interval(difference.interval, "+"), "-" if difference.p is None else f"{difference.p:.3f}"
