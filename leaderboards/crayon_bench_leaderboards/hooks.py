"""How leaderboards reach the command line: by the same hooks that a third party has."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from crayon_bench.plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from crayon_bench.store.records import Record
    from crayon_bench.store.store import Store


@hookimpl
def add_commands(register: Callable[[str, str, str], None]) -> None:
    """Add ``crayon-bench leaderboard`` and ``crayon-bench check``."""
    register("leaderboard", "crayon_bench_leaderboards.cli:leaderboard", "Print a leaderboard of the runs in a store.")
    register("check", "crayon_bench_leaderboards.cli:check", "Compare the runs in a store with a baseline.")


@hookimpl
def show_board(records: "list[Record]", methods: list[str], store: "Store") -> None:
    """Print the leaderboards of what was run."""
    from crayon_bench_leaderboards.boards import boards_for
    from crayon_bench_leaderboards.fill import make_tables
    from crayon_bench_leaderboards.render import print_terminal

    for board in boards_for(records):
        for table in make_tables(board, records, only=methods, read=store.predictions):
            print_terminal(table)
