"""The executor ``processes``: several runs at the same time on this machine, each in a process of its own."""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import current_process, get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from crayon_bench import Answer, Executor, Perform, Record, RunRequest, Status, UserError, answer

_PATIENCE = 10.0
"""Seconds that a worker has to write its "interrupted" record."""


class ProcessesExecutor(Executor):
    """Carries runs out in worker processes, each of which does many.

    A worker that dies costs the run in hand, which is tried once more, and then it has failed. A worker whose run
    failed is replaced, so that nothing is left of it.

    The number of threads of a run belongs to the protocol, because it changes the last bits of a sum. So the CPUs are
    shared out by the number of workers: by default as many as CPUs and memory allow, with a GPU one for each.

    Workers do not import the script that started the sweep, which therefore needs no ``if __name__ == "__main__"``.
    """

    name = "processes"
    summary = "several runs at the same time, each in a process of its own"

    def at_once(self, requests: Sequence[RunRequest]) -> int:
        """Return the number of workers: what was asked for, one per GPU, or CPUs by threads.

        Raises UserError in a process that may start none.
        """
        if current_process().daemon:
            raise UserError("executor 'processes': this process is a daemon, which may start none", "use 'serial'")
        threads = max((int(request.coordinates["protocol"]["threads"]) for request in requests), default=1)
        gpus, cpus = _gpus(requests), _cpus()
        if self.workers is None:
            self.workers = max(1, min(len(gpus), cpus, _room()) if gpus else min(cpus // threads, _room()))
        elif not gpus and self.workers * threads > max(cpus, threads):
            much = f"{self.workers} × {threads} threads are more than the {cpus} CPUs here; runs will be slow"
            print(f"Warning: --workers {self.workers}: {much}", file=sys.stderr)
        return max(1, min(self.workers, len(requests)))

    def execute(self, requests: Sequence[RunRequest], perform: Perform) -> Iterator[Record]:
        """Keep every worker busy with one request; yield records as they come."""
        waiting = deque(requests)
        gpus = _gpus(requests)
        number = min(self.workers or 1, len(waiting))
        workers = [_Worker(perform, gpus[place % len(gpus)] if gpus else None) for place in range(number)]
        try:
            while waiting or any(worker.request for worker in workers):
                for worker in workers:
                    if worker.request is None and waiting:
                        worker.begin(waiting.popleft())
                busy = [worker for worker in workers if worker.request]
                ready = wait([end for worker in busy for end in (worker.pipe, worker.process.sentinel)])
                for worker in [w for w in busy if w.pipe in ready or w.process.sentinel in ready]:
                    ended = worker.end()
                    if isinstance(ended, RunRequest):
                        waiting.appendleft(ended)
                    else:
                        yield ended
        finally:
            _stop(workers)


class _Worker:
    """A process, from the first request on, and what it has in hand."""

    pipe: Connection
    process: SpawnProcess

    def __init__(self, perform: Perform, gpu: str | None) -> None:
        self.perform, self.gpu = perform, gpu
        self.request: RunRequest | None = None
        self.started = False

    def _start(self) -> None:
        spawn = get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_work, args=(theirs, self.perform, self.gpu), daemon=True)
        with _no_main():
            self.process.start()
        theirs.close()  # so that its end is noticed here
        self.started = True

    def begin(self, request: RunRequest) -> None:
        """Hand a request over."""
        if not self.started:
            self._start()
        self.request = request
        with suppress(OSError):  # dead already: end() will see
            self.pipe.send(request)

    def end(self) -> RunRequest | Record:
        """Take what the worker sent, or note that it died. Return the record, or what to carry out again."""
        request, self.request = self.request, None
        assert request is not None
        try:
            if not self.pipe.poll():
                raise EOFError  # it is dead, and a process that it started holds its pipe open
            sent: Answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            found = self.perform.lost(request, f"its worker {_how(self.process.exitcode)}")
            self._retire()
            return found
        record = sent.open()
        if record.status is Status.FAILED:
            self._retire()
        return record

    def _retire(self) -> None:
        self.pipe.close()
        _end(self.process)
        self.started = False


@contextmanager
def _no_main() -> Iterator[None]:
    """Inside, a process that is spawned does not begin by importing the user's script: it would run it once more.

    Other threads see an empty ``__main__`` for these milliseconds.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _stop(workers: list[_Worker]) -> None:
    """End all workers; those with a run in hand leave an "interrupted" record."""
    workers = [worker for worker in workers if worker.started]
    busy = [worker for worker in workers if worker.request is not None]
    for worker in workers:
        worker.pipe.close() if worker.request is None else worker.process.terminate()
    for worker in workers:
        _end(worker.process)
    for worker in busy:
        if worker.request is not None:
            worker.perform.stopped(worker.request)


def _end(process: SpawnProcess) -> None:
    process.join(_PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()


def _work(pipe: Connection, perform: Perform, gpu: str | None) -> None:
    """Carry out requests in a process of its own, until there are no more."""
    # Ctrl-C on a terminal reaches this process too; the one that started it says what is to be done, by SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.dup2(2, 1)  # standard output is for results; whatever writes to it from C does not
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    with suppress(KeyboardInterrupt, EOFError, OSError):
        while True:
            pipe.send(answer(perform, pipe.recv()))


def _interrupt(number: int, frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """End at once when the process that started this one is gone: the same command continues."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            name = signal.Signals(-code).name
            return f"was killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
    return f"ended with exit code {code}"


def _cpus() -> int:
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _of_container("cpu.max").partition(" ")
    return min(here, max(1, int(quota) // int(period))) if quota.isdigit() and period.isdigit() else here


def _of_container(name: str) -> str:
    """Return what a container's control group says; empty where there is none, or no limit."""
    with suppress(OSError):
        text = Path("/sys/fs/cgroup", name).read_text().strip()
        return "" if text.startswith("max") else text
    return ""


_OF_A_RUN = 2 << 30
"""Bytes of memory that a run may need: the full CelebA took 1.75 GiB, real DecoyMNIST 1.2."""


def _room() -> int:
    """Return how many runs the free memory holds; as many as one likes where the system does not tell."""
    free = sys.maxsize
    with suppress(OSError):  # Linux only
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    limit, used = _of_container("memory.max"), _of_container("memory.current")
    if limit.isdigit() and used.isdigit():
        free = min(free, int(limit) - int(used))
    return max(0, free) // _OF_A_RUN


def _gpus(requests: Sequence[RunRequest]) -> list[str]:
    """Return what to call each GPU in ``CUDA_VISIBLE_DEVICES``; empty if the runs are not on one."""
    import torch

    if not requests or requests[0].device == "cpu" or not torch.cuda.is_available():
        return []
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return names or [str(number) for number in range(torch.cuda.device_count())]
