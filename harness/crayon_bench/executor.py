"""The Executor interface: where the runs of a plan are carried out.

To add an executor, subclass :class:`Executor` and write ``execute``: carry out every request by calling
``perform(request)`` — here, in another process, on another machine — and yield the record that each returns, in any
order. ``perform``, requests and records are plain data and can be sent to another process (``request.to_json()`` where
only text can). What belongs to every executor alike is done by ``perform``: the store, logs, limits of time and memory,
and the progress of runs elsewhere, which reaches the hooks in this process through files beside the store's records.
An executor has to:

- let KeyboardInterrupt through, after it has ended its workers and called ``perform.stopped`` for each run in hand;
- tell ``perform.lost(request, why)`` of a worker that died, and carry out again what that returns;
- let a UserError from ``perform`` through: it ends the sweep. :func:`answer` carries one home from another process.

A run's result depends on its request alone: an executor cannot change it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from crayon_bench.errors import UserError
from crayon_bench.parameters import Parameters as _NoParameters
from crayon_bench.store.records import Record
from crayon_bench.store.request import RunRequest


class Perform(Protocol):
    """What an executor is given to carry out requests with: :class:`crayon_bench.runs.sweep.Performer`."""

    @property
    def folder(self) -> Path:
        """A folder beside the store for files of this sweep; it is gone afterwards."""

    def __call__(self, request: RunRequest) -> Record:
        """Carry out the run; return its record, which is in the store by then."""

    def lost(self, request: RunRequest, why: str, *, guilty: bool = True) -> RunRequest | Record:
        """Note that the worker with *request* died. Return what to carry out again, or the record that says it failed.

        A run is tried once more; then it has failed. *guilty*: False if a machine went down, which may happen to a run
        more often.
        """

    def stopped(self, request: RunRequest) -> None:
        """Write the "interrupted" record of a run in hand, if its worker has not done so."""


class Executor(ABC):
    """Base class of executors.

    workers: what the user asked for with ``--workers``; None: choose. parameters: each is an option
    ``--NAME-PARAMETER VALUE`` of ``crayon-bench run``, where NAME is the executor's name.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    elsewhere: ClassVar[bool] = False
    """Whether runs are carried out on other machines: then it is not looked here whether there is a GPU."""
    Parameters: ClassVar[type[_NoParameters]] = _NoParameters

    def __init__(self, workers: int | None = None, parameters: Any = None) -> None:
        """Raise UserError if *workers* cannot be had, or if what the executor needs is not installed."""
        self.workers = workers
        self.parameters: Any = self.Parameters() if parameters is None else parameters

    def at_once(self, requests: Sequence[RunRequest]) -> int:
        """Return how many of the *requests* are carried out at the same time."""
        return self.workers or 1

    @abstractmethod
    def execute(self, requests: Sequence[RunRequest], perform: Perform) -> Iterator[Record]:
        """Carry out the *requests*, best in their order, and yield all records."""


@dataclass(frozen=True)
class Answer:
    """What comes back from another process: a record, or the user's mistake that ends the sweep."""

    record: str = ""
    mistake: tuple[str, str | None] | None = None

    def open(self) -> Record:
        """Return the record. Raises UserError if there was a mistake."""
        if self.mistake is not None:
            raise UserError(*self.mistake)
        return Record.model_validate_json(self.record)


def answer(perform: Perform, request: RunRequest) -> Answer:
    """Return ``perform(request)`` in a form that can be sent home from another process."""
    try:
        return Answer(perform(request).to_json())
    except UserError as error:
        return Answer(mistake=(error.message, error.hint))
