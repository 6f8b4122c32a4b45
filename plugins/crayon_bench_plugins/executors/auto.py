"""The executor ``auto``: worker processes where there is work for several, this process where there is not."""

from collections.abc import Iterator, Sequence
from multiprocessing import current_process

from crayon_bench import Executor, Perform, Record, RunRequest
from crayon_bench_plugins.executors.processes import ProcessesExecutor
from crayon_bench_plugins.executors.serial import SerialExecutor


class AutoExecutor(Executor):
    """``processes`` with as many workers as cores, memory and GPUs carry; ``serial`` if one is enough.

    One is enough for a single run, and where there is one core, or one GPU. Runs that do not apply are no work. A
    worker of another pool may start no processes: there too, the runs are carried out in it.
    """

    name = "auto"
    summary = "processes where there is work for several, otherwise serial"

    _chosen: Executor | None = None

    def at_once(self, requests: Sequence[RunRequest]) -> int:
        """Return the number of workers that it chooses."""
        work = [request for request in requests if request.skip is None]
        processes = ProcessesExecutor(self.workers)
        if len(work) > 1 and not current_process().daemon and (workers := processes.at_once(work)) > 1:
            self._chosen = processes
            return workers
        self._chosen = SerialExecutor()
        return 1

    def execute(self, requests: Sequence[RunRequest], perform: Perform) -> Iterator[Record]:
        """Let the chosen executor carry the requests out."""
        if self._chosen is None:
            self.at_once(requests)
        assert self._chosen is not None
        yield from self._chosen.execute(requests, perform)
