"""The serial executor: one run after the other, in this process."""

from collections.abc import Iterator, Sequence
from typing import Any

from crayon_bench import Executor, Perform, Record, RunRequest, UserError


class SerialExecutor(Executor):
    """Carries runs out in the order of the plan.

    A plugin that ends the process (``os._exit``, a crash) ends the sweep; the same command continues. A run that passes
    ``--time-limit`` inside code that does not return to Python is ended when it returns. ``processes`` outlives both.
    """

    name = "serial"
    summary = "one run after the other, in this process"

    def __init__(self, workers: int | None = None, parameters: Any = None) -> None:
        if workers not in (None, 1):
            raise UserError(
                f"--workers {workers}: executor 'serial' has one worker",
                "leave --workers out, or add --executor processes",
            )
        super().__init__(workers, parameters)

    def execute(self, requests: Sequence[RunRequest], perform: Perform) -> Iterator[Record]:
        """Perform each request in turn."""
        for request in requests:
            yield perform(request)
