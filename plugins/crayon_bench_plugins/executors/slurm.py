"""The executor ``slurm``: runs as jobs in a Slurm queue, through submitit."""

import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, Literal

from pydantic import Field

from crayon_bench import Answer, Executor, Parameters, Perform, Record, RunRequest, UserError, answer

_PATIENCE = 10.0
"""Seconds that jobs have to write their "interrupted" records."""


class SlurmParameters(Parameters):
    """What a job asks for, beside CPUs and GPUs, which the runs themselves say."""

    cluster: Literal["slurm", "local"] = Field(
        "slurm", description="slurm: the queue of this machine; local: jobs are processes here, to try it out"
    )
    partition: str | None = Field(None, description="partition of the jobs")
    account: str | None = Field(None, description="account that is charged")
    qos: str | None = Field(None, description="quality of service")
    constraint: str | None = Field(None, description="features that a node must have")
    minutes: int = Field(240, ge=1, description="time that a job may take, in minutes")
    memory: int = Field(8, ge=1, description="memory of a job, in GB")


class SlurmExecutor(Executor):
    """Carries runs out as jobs, at most ``--workers`` in the queue at a time (16 without it).

    Each asks for as many CPUs as the protocol has threads, and for a GPU with ``--device cuda``. Every node must see
    the store and the data under the same paths. A job that ends without a result is submitted once more.
    """

    name = "slurm"
    summary = "as jobs in a Slurm queue (needs the package submitit)"
    elsewhere = True
    Parameters = SlurmParameters

    def __init__(self, workers: int | None = None, parameters: Any = None) -> None:
        if find_spec("submitit") is None:
            raise UserError("executor 'slurm': the package submitit is not installed", "pip install submitit")
        super().__init__(workers, parameters)

    def at_once(self, requests: Sequence[RunRequest]) -> int:
        """Return how many jobs are in the queue at a time."""
        most = 16 if self.parameters.cluster == "slurm" else os.cpu_count() or 1
        return max(1, min(self.workers or most, len(requests)))

    def execute(self, requests: Sequence[RunRequest], perform: Perform) -> Iterator[Record]:
        """Submit jobs and yield records as they come."""
        waiting, most = deque(requests), self.at_once(requests)
        submit = _submitter(self.parameters, perform)
        running: list[tuple[Any, RunRequest]] = []
        pause = 0.2 if self.parameters.cluster == "local" else 5.0
        try:
            while waiting or running:
                while waiting and len(running) < most:
                    request = waiting.popleft()
                    running.append((submit(request), request))
                over = [(job, request) for job, request in running if job.done()]
                if not over:
                    time.sleep(pause)
                for job, request in over:
                    ended = _collect(job, request, perform)
                    running.remove((job, request))
                    if isinstance(ended, RunRequest):
                        waiting.appendleft(ended)
                    else:
                        yield ended
        finally:
            _stop(running, perform, local=self.parameters.cluster == "local")


def _submitter(parameters: SlurmParameters, perform: Perform) -> Any:
    import submitit

    logging.getLogger("submitit").setLevel(logging.ERROR)
    try:
        executor = submitit.AutoExecutor(folder=perform.folder / "jobs", cluster=parameters.cluster)
    except RuntimeError as error:
        raise UserError(f"executor 'slurm': {error}", "run it where sbatch is, or try --slurm-cluster local") from None
    optional = {"partition": "slurm_partition", "account": "slurm_account", "qos": "slurm_qos"}
    optional["constraint"] = "slurm_constraint"
    asked = {theirs: getattr(parameters, ours) for ours, theirs in optional.items() if getattr(parameters, ours)}

    def submit(request: RunRequest) -> Any:
        executor.update_parameters(
            name="crayon-bench",
            timeout_min=parameters.minutes,
            mem_gb=parameters.memory,
            cpus_per_task=int(request.coordinates["protocol"]["threads"]),
            gpus_per_node=1 if request.device == "cuda" else 0,
            **asked,
        )
        # Ctrl-C on a terminal would reach processes of --slurm-cluster local too; _stop() says what is to be done.
        if threading.current_thread() is not threading.main_thread():
            raise UserError("executor 'slurm': jobs are submitted from the main thread alone", "call it from there")
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return executor.submit(_job, perform, request)
        except submitit.core.utils.FailedJobError as error:
            raise UserError(f"executor 'slurm': a job cannot be submitted: {error}") from None
        finally:
            signal.signal(signal.SIGINT, before)

    return submit


def _job(perform: Perform, request: RunRequest) -> Answer:
    """Carry out a request, in the job."""
    signal.signal(signal.SIGTERM, _interrupt)  # scancel
    return answer(perform, request)


def _interrupt(number: int, frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _collect(job: Any, request: RunRequest, perform: Perform) -> RunRequest | Record:
    import submitit

    try:
        sent: Answer = job.result()
    except submitit.core.utils.UncompletedJobError:
        return perform.lost(request, f"its job {job.job_id} ended without a result (killed, or out of memory or time)")
    except submitit.core.utils.FailedJobError as error:
        lines = str(error).strip().splitlines() or ["no reason given"]
        return perform.lost(request, f"its job {job.job_id} failed: {lines[-1]}")
    return sent.open()


def _stop(running: list[tuple[Any, RunRequest]], perform: Perform, *, local: bool) -> None:
    begun = [(job, request) for job, request in running if job.state not in ("PENDING", "UNKNOWN")]
    for job, _ in running:
        with suppress(Exception):  # whatever scancel says, the others are to be cancelled too
            if local:  # its cancel() sends SIGINT, and prints a traceback
                os.kill(int(job.job_id), signal.SIGTERM)
            else:
                job.cancel()
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and not all(job.done() for job, _ in begun):
        time.sleep(0.1)
    for _, request in begun:
        perform.stopped(request)
