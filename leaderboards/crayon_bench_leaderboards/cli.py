"""``crayon-bench leaderboard``."""

from pathlib import Path

import click

from crayon_bench.cli.options import store_option
from crayon_bench.errors import UserError


@click.command()
@store_option
@click.option("--board", metavar="NAME|FILE", help="Which table. Default: every one that the store has runs for.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown", "latex", "csv", "json"]),
    default="terminal",
    show_default=True,
)
@click.option("--output", type=click.Path(path_type=Path), help="File to write instead of standard output.")
@click.option("--source", type=click.Choice(["real", "standin"]), help="Only runs on real data, or on stand-ins.")
@click.option("--protocol", metavar="NAME", help="Only runs with this protocol.")
def leaderboard(
    store: Path, board: str | None, form: str, output: Path | None, source: str | None, protocol: str | None
) -> None:
    """Print a leaderboard of the runs in a store.

    Runs that cannot be compared (other data, protocol, oracle …) are never in one table: a store that has several
    settings gives several tables, newest first.
    """
    from crayon_bench.files import write_file
    from crayon_bench.store import Store
    from crayon_bench_leaderboards.board import boards_for, load_board, make_tables
    from crayon_bench_leaderboards.render import print_terminal, to_csv, to_json, to_latex, to_markdown, to_terminal

    chosen = load_board(board) if board else None
    records = [
        record
        for record in Store.open(store).records()
        if source in (None, record.source) and protocol in (None, record.protocol)
    ]
    tables = [table for b in ([chosen] if chosen else boards_for(records)) for table in make_tables(b, records)]
    if not tables:
        what = f"board {chosen.name} ({', '.join(chosen.datasets)})" if chosen else "any board"
        raise UserError(f"store {store}: there are no such runs for {what}", "see crayon-bench runs list")
    if form == "terminal" and output is None:
        for table in tables:
            print_terminal(table)
        return
    if form == "terminal":
        text = "".join(to_terminal(table) for table in tables)
    else:
        text = {"markdown": to_markdown, "latex": to_latex, "csv": to_csv, "json": to_json}[form](tables)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        write_file(output, text.encode())
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written: {error.strerror or error}") from None
    click.echo(f"{output}: {len(tables)} table{'s' if len(tables) > 1 else ''}", err=True)
