"""``crayon-bench leaderboard`` and ``crayon-bench check``."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crayon_bench.commands import USERS_PATH, form_of, store_option
from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.screen import fit_lines, screen_width
from crayon_bench.texts import split_names

if TYPE_CHECKING:
    from crayon_bench_leaderboards.cells import Cell
    from crayon_bench_leaderboards.table import Table


def _boards() -> list[str]:
    from importlib.resources import files

    folder = files("crayon_bench_leaderboards") / "boards"
    return sorted([*(file.name.removesuffix(".toml") for file in folder.iterdir()), "curve"])


_TABLES = {".txt": "terminal", ".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json", ".html": "html"}
_VERDICTS = {".txt": "terminal", ".md": "markdown", ".json": "json", ".xml": "junit"}


@click.command()
@store_option
@click.option(
    "--board",
    metavar="NAME|FILE",
    shell_complete=lambda ctx, param, incomplete: [name for name in _boards() if name.startswith(incomplete)],
    help="Which table; curve: a score against feedback. Default: every table that the store has runs for.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown", "latex", "csv", "json"]),
    show_default="terminal, or what the ending of --output says",
)
@click.option("--output", type=USERS_PATH, help="File to write instead of standard output.")
@click.option("--source", type=click.Choice(["real", "standin"]), help="Only runs on real data, or on stand-ins.")
@click.option("--protocol", metavar="NAME", help="Only runs with this protocol.")
@click.option("--statistics", is_flag=True, help="Add intervals, differences to Original and to the best, and ranks.")
@click.option("--explain", is_flag=True, help="Say all there is to say below a table, not the gravest five lines.")
@click.option(
    "--price",
    metavar="published|recorded|FILE",
    help="Add person-hours and what was gained per person-hour, by these seconds per answer.",
)
@click.option(
    "--columns",
    metavar="GROUP|METRIC[,…]",
    help="Further metrics that the runs have: attention, adjusted, or a metric's name.",
)
@click.option("--metric", metavar="NAME", help="The score of --board curve. Default: worst_group_accuracy (wga).")
@click.option("--plot", type=USERS_PATH, metavar="FILE.png|.svg", help="With --board curve: the picture to write.")
def leaderboard(
    store: Path,
    board: str | None,
    form: str | None,
    output: Path | None,
    source: str | None,
    protocol: str | None,
    statistics: bool,
    explain: bool,
    price: str | None,
    columns: str | None,
    metric: str | None,
    plot: Path | None,
) -> None:
    """Print a leaderboard of the runs in a store.

    Runs that cannot be compared (other data, protocol, oracle …) are never in one table: a store that has several
    settings gives several tables, newest first.
    """
    from crayon_bench.store.store import Store
    from crayon_bench_leaderboards.leaderboard import tables_of, text_of
    from crayon_bench_leaderboards.render import print_terminal

    form = form_of(output, form, _TABLES, "terminal")
    _check_plot(board, plot)
    kept = Store.open(store)
    records = [
        record for record in kept.records() if source in (None, record.source) and protocol in (None, record.protocol)
    ]
    more = split_names(columns, "--columns") if columns is not None else []
    tables = tables_of(
        records,
        board=board,
        price=price,
        metric=metric,
        read=kept.predictions,
        columns=more,
        where=f"store {store}",
    )
    for table in tables:
        table.statistics = statistics
    pictures = _draw(tables, plot) if plot is not None else {}
    if form == "terminal" and output is None:
        for table in tables:
            print_terminal(table, explain=explain)
    else:
        _put(text_of(tables, form), output)
        if output is not None:
            click.echo(f"{output}: {len(tables)} table{'s' if len(tables) > 1 else ''}", err=True)
    for path, picture in pictures.items():
        _write(path, picture, "--plot")
        click.echo(f"{path}: written", err=True)


def _check_plot(board: str | None, plot: Path | None) -> None:
    if plot is not None and board != "curve":
        raise UserError(f"--plot {plot}: is for --board curve alone")
    if plot is not None and plot.suffix.lower() not in (".png", ".svg"):
        raise UserError(f"--plot {plot}: expected a file name that ends with .png or .svg")


def _draw(tables: "list[Table]", plot: Path) -> dict[Path, bytes]:
    """Return a picture of each table that has a curve; of several, with data set and setting in their names."""
    from crayon_bench_leaderboards.curve import has_curve
    from crayon_bench_leaderboards.render.plot import draw_curve

    drawable = [table for table in tables if has_curve(table)]
    if not drawable:
        raise UserError(
            f"--plot {plot}: there is nothing to draw: no method has both answers and a score",
            "run some with crayon-bench run --budget 10%,all",
        )
    drawn = {}
    for table in drawable:
        section = table.sections[0]
        name = f"{plot.stem}-{section.dataset}-{section.setting[:8]}{plot.suffix}"
        drawn[plot if len(drawable) == 1 else plot.with_name(name)] = draw_curve(table, plot.suffix.lower()[1:])
    return drawn


def _put(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
    else:
        _write(output, text.encode(), "--output")


def _write(path: Path, content: bytes, option: str) -> None:
    from crayon_bench.store.atomic import write_file

    try:
        write_file(path, content)
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be written: {error.strerror or error}") from None


@click.command()
@click.option(
    "--baseline",
    required=True,
    type=USERS_PATH,
    metavar="FILE|STORE",
    help="What to compare with: a baseline file, or another store.",
)
@store_option
@click.option(
    "--metric",
    metavar="NAME",
    help="worst_group_accuracy (wga), group_mean_accuracy (ma) or sample_accuracy (acc). Default: that of the data"
    " set's board, or wga; acc where there are no groups.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 100),
    default=2.0,
    show_default=True,
    metavar="PP",
    help="Percentage points that a score may lose.",
)
@click.option("--methods", metavar="NAME[,NAME]", help="Only these methods of the baseline. Default: all.")
@click.option(
    "--allow",
    metavar="COORDINATE[,COORDINATE]",
    help="What may differ from the baseline, as runs diff names it: weights, method.parameters, method.recipe,"
    " original.lr … The verdict says what did.",
)
@click.option("--any-seeds", is_flag=True, help="Compare cells that have no seed in common, unpaired.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown", "json", "junit"]),
    show_default="terminal, or what the ending of --output says",
)
@click.option("--output", type=USERS_PATH, help="File to write instead of standard output.")
@click.option("--update-baseline", is_flag=True, help="Write the store's runs to the baseline FILE; compare nothing.")
def check(
    baseline: Path,
    store: Path,
    metric: str | None,
    margin: float,
    methods: str | None,
    allow: str | None,
    any_seeds: bool,
    form: str | None,
    output: Path | None,
    update_baseline: bool,
) -> int:
    """Compare the runs in a store with a baseline, and fail if a score has got worse.

    Compared are equal cells: same data, method, parameters, recipe, oracle and protocol, whatever versions of
    crayon-bench and its plugins ran them. A cell has regressed if the whole 95 % interval of (now − then), over seeds
    and test examples, lies below −margin; it is undecided if the interval straddles −margin. A score that was so low
    that no drop could have been seen is undecided too; there, the cell has regressed if another metric has.

    Exit codes: 0 all cells of the baseline hold, 1 one regressed, 2 one is undecided or could not be measured (and for
    a mistake in the command), 3 nothing could be compared.
    """
    from crayon_bench.store.store import Store
    from crayon_bench_leaderboards.baseline import read_cells, write_baseline
    from crayon_bench_leaderboards.cells import gate_cells
    from crayon_bench_leaderboards.check import check as compare
    from crayon_bench_leaderboards.render.report import conclusion, report_text

    form = form_of(output, form, _VERDICTS, "terminal")
    chosen = None if methods is None else split_names(methods, "--methods")
    full_name = None if metric is None else _known_metric(metric)
    if margin != margin:
        raise UserError("--margin nan: expected a number from 0 to 100")
    now = _only(gate_cells(Store.open(store)), chosen, f"store {store}")
    if update_baseline:
        if not any(run.right is not None for cell in now.values() for run in cell.runs.values()):
            raise UserError(f"store {store}: there are no runs to write", "make some with crayon-bench run")
        write_baseline(baseline, now.values())
        _tell_written(baseline, now.values())
        return 0
    then = _only(read_cells(baseline), chosen, f"--baseline {baseline}")
    allowed = () if allow is None else split_names(allow, "--allow")
    report = compare(then, now, full_name, margin, any_seeds=any_seeds, allow=allowed)
    text = report_text(report, form)
    _put(fit_lines(text, screen_width()) if form == "terminal" and output is None else text, output)
    if output is not None:
        click.echo(f"{output}: {conclusion(report)}", err=True)
    return report.exit_code


def _known_metric(name: str) -> str:
    from crayon_bench_leaderboards.boards import SHORT_NAMES
    from crayon_bench_leaderboards.statistics import METRICS

    full = SHORT_NAMES.get(name, name)
    if full not in METRICS:
        raise UserError(
            f"--metric {name}: the gate compares metrics that follow from right and wrong alone",
            did_you_mean(name, METRICS),
        )
    return full


def _only(cells: "dict[str, Cell]", methods: list[str] | None, where: str) -> "dict[str, Cell]":
    if methods is None:
        return cells
    known = {cell.method for cell in cells.values()}
    for name in methods:
        if known and name not in known:
            raise UserError(f"--methods {name}: {where} has no such method", did_you_mean(name, known))
    return {key: cell for key, cell in cells.items() if cell.method in methods}


def _tell_written(baseline: Path, cells: "Iterable[Cell]") -> None:
    runs = [run for cell in cells for run in cell.runs.values()]
    left_out = sum(run.right is None for run in runs)
    more = f"; {left_out} left out, without predictions" if left_out else ""
    click.echo(f"{baseline}: {len(runs) - left_out} runs{more}", err=True)
