"""The serial executor: one run after the other, in this process."""

from collections.abc import Iterable, Iterator

from crayon_bench.errors import UserError
from crayon_bench.executor import Executor, Perform
from crayon_bench.plan import RunRequest
from crayon_bench.records import Record


class SerialExecutor(Executor):
    """Carries runs out in the order of the plan."""

    name = "serial"
    summary = "one run after the other, in this process"

    def __init__(self, workers: int) -> None:
        if workers != 1:
            raise UserError(f"--workers {workers}: executor 'serial' has one worker", "leave --workers out")
        super().__init__(workers)

    def execute(self, requests: Iterable[RunRequest], perform: Perform) -> Iterator[Record]:
        """Perform each request in turn."""
        for request in requests:
            yield perform(request)
