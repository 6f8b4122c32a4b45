"""The pluggy hooks, in the entry-point group ``crayon_bench.hooks``: events, commands and boards.

A hook plugin is a module (or object) with functions marked ``@hookimpl``; take only the arguments that you need. The
module is imported at every start of the command line: import heavy things inside the functions.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from crayon_bench.store.records import Record
    from crayon_bench.store.request import RunRequest
    from crayon_bench.store.store import Store

PROJECT = "crayon_bench"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function as the implementation of the hook of that name: ``@hookimpl``."""


@hookspec
def add_commands(register: Callable[[str, str, str], None]) -> None:
    """Add commands: call ``register(name, "module:command", summary)``; the module is imported when it is used."""


@hookspec
def show_board(records: "list[Record]", methods: list[str], store: "Store") -> None:
    """Print the leaderboard that ends a ``run``; *methods* are those the user asked for, *records* are in *store*."""


@hookspec
def preparing(what: str, done: int, total: int) -> None:
    """Tell of long work before or between runs, such as decoding: *done* of *total* steps of *what*.

    The first call for a *what* has *done* 0, the last *done* = *total*, also if the work was given up. May be called
    outside a sweep.
    """


@hookspec
def sweep_started(requests: "list[RunRequest]", done: int, quiet: bool) -> None:
    """A sweep begins: *requests* are still to be carried out, *done* were found in the store."""


@hookspec
def run_started(request: "RunRequest") -> None:
    """A run begins."""


@hookspec
def epoch_finished(request: "RunRequest", phase: str, epoch: int, epochs: int, loss: float) -> None:
    """An epoch of the *phase* ``original`` or ``refine`` is over; *epoch* counts from 1, *loss* is its mean."""


@hookspec
def run_finished(request: "RunRequest", record: "Record") -> None:
    """A run is over and its record is in the store."""


@hookspec
def sweep_finished(records: "list[Record]") -> None:
    """A sweep is over, interrupted or not."""
