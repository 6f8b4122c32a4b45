"""The Executor interface: where the runs of a plan are carried out.

To add an executor, subclass :class:`Executor` and write ``execute``: carry out every request by calling
``perform(request)`` — here, in another process, on another machine — and yield each record as it is ready, in any
order. ``perform``, requests and records hold plain data and can be sent to another process (``request.to_json()`` where
only text can). A request may name ``others``, seeds that are trained together with it; ``perform`` carries them out
too, and their records are taken from the store: the executor need not know. A run's result depends on its request
alone: an executor cannot change it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

from crayon_bench.plan import RunRequest
from crayon_bench.records import Record

Perform = Callable[[RunRequest], Record]


class Executor(ABC):
    """Base class of executors. ``workers`` is the number that the user asked for with ``--workers``."""

    name: ClassVar[str]
    summary: ClassVar[str]

    def __init__(self, workers: int) -> None:
        """Raise UserError if *workers* cannot be had."""
        self.workers = workers

    @abstractmethod
    def execute(self, requests: Iterable[RunRequest], perform: Perform) -> Iterator[Record]:
        """Carry out the *requests* and yield their records. KeyboardInterrupt passes through."""
