"""The executor ``ray``: runs on a Ray cluster, or on one that is started here for the sweep."""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from pydantic import Field

from crayon_bench import Answer, Executor, Parameters, Perform, Record, RunRequest, UserError, answer

_PATIENCE = 10.0
"""Seconds that workers have to write their "interrupted" records."""


class RayParameters(Parameters):
    """Which cluster."""

    address: str | None = Field(
        None, description="address of a cluster, such as auto or HOST:6379; without it one is started on this machine"
    )
    gpus: float = Field(1.0, gt=0, le=1, description="share of a GPU that a run asks for, where runs are on GPUs")


class RayExecutor(Executor):
    """Carries runs out as Ray tasks; each asks for as many CPUs as the protocol has threads, and for a GPU on CUDA.

    Every machine must see the store and the data under the same paths. A task whose machine goes down is carried out
    again elsewhere, up to four times; one whose worker dies, once.
    """

    name = "ray"
    summary = "on a Ray cluster (needs the package ray)"
    elsewhere = True
    Parameters = RayParameters

    def __init__(self, workers: int | None = None, parameters: Any = None) -> None:
        if find_spec("ray") is None:
            raise UserError("executor 'ray': the package ray is not installed", "pip install ray")
        super().__init__(workers, parameters)
        self._connected = False
        """Whether it was this executor that connected, and not the script that uses it."""

    def at_once(self, requests: Sequence[RunRequest]) -> int:
        """Connect, and return what was asked for, or how many runs the cluster holds."""
        self._connect(requests)
        import ray

        needs = _needs(requests[0], self.parameters.gpus)
        has = ray.cluster_resources()
        most = min(int(has.get(name, 0) / much) for name, much in needs.items())
        if most < 1:
            what = ", ".join(f"{much:g} {name}" for name, much in needs.items())
            raise UserError(f"executor 'ray': the cluster has no machine for a run, which needs {what}")
        return max(1, min(self.workers or most, len(requests)))

    def _connect(self, requests: Sequence[RunRequest]) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would send statistics of its use
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or Ray warns of what it will do one day
        import ray

        if ray.is_initialized():
            return
        self._connected = True
        address = self.parameters.address or os.environ.get("RAY_ADDRESS")
        own: dict[str, Any] = {"address": address}
        if address is None:
            threads = int(requests[0].coordinates["protocol"]["threads"])
            cpus = {} if self.workers is None else {"num_cpus": self.workers * threads}
            own = {"address": "local", "include_dashboard": False, **cpus}
        # What a run prints is in its log; what Ray has to say of workers that die, the sweep says itself.
        paths = os.pathsep.join(path for path in sys.path if path)
        environment = {"env_vars": {"PYTHONPATH": paths}} if address is None else None
        before = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(**own, log_to_driver=False, logging_level="ERROR", runtime_env=environment)
        except Exception as error:  # Ray has no class for these
            what = f"cluster {address}" if address else "a local cluster"
            raise UserError(f"executor 'ray': {what} cannot be reached: {error}", "see ray status") from None
        finally:
            if before is not None and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray's own prints a trace, and ends with another exit code

    def execute(self, requests: Sequence[RunRequest], perform: Perform) -> Iterator[Record]:
        """Hand over as many requests as the cluster holds; yield records as they come."""
        self._connect(requests)
        import ray

        waiting, most = deque(requests), self.at_once(requests)
        running: dict[Any, RunRequest] = {}
        try:
            while waiting or running:
                while waiting and len(running) < most:
                    request = waiting.popleft()
                    running[self._submit(request, perform)] = request
                ready, _ = ray.wait(list(running), timeout=1.0)  # so that Ctrl-C is heard
                for reference in ready:
                    request = running[reference]
                    ended = _collect(reference, request, perform)
                    del running[reference]
                    if isinstance(ended, RunRequest):
                        waiting.appendleft(ended)
                    else:
                        yield ended
        finally:
            _stop(running, perform)
            if self._connected:
                ray.shutdown()

    def _submit(self, request: RunRequest, perform: Perform) -> Any:
        import ray

        needs = _needs(request, self.parameters.gpus)
        # Ray's own retries would hide how often a run was tried.
        task = ray.remote(num_cpus=needs["CPU"], num_gpus=needs.get("GPU", 0), max_retries=0)(answer)
        return task.remote(perform, request)


def _needs(request: RunRequest, gpus: float) -> dict[str, float]:
    cpus = {"CPU": float(request.coordinates["protocol"]["threads"])}
    return {**cpus, "GPU": gpus} if request.device == "cuda" else cpus


def _collect(reference: Any, request: RunRequest, perform: Perform) -> RunRequest | Record:
    import ray
    from ray import exceptions

    try:
        sent: Answer = ray.get(reference)
        return sent.open()
    except exceptions.LocalRayletDiedError:
        raise UserError("executor 'ray': Ray on this machine is gone", "the same command continues") from None
    except (exceptions.NodeDiedError, exceptions.ObjectLostError, exceptions.OwnerDiedError):
        return perform.lost(request, "its machine went down", guilty=False)
    except exceptions.OutOfMemoryError:
        return perform.lost(request, "its worker was killed by Ray: out of memory")
    except exceptions.WorkerCrashedError:
        return perform.lost(request, "its worker died (killed, or ended by the plugin)")
    except exceptions.RayTaskError as error:
        raise UserError(f"executor 'ray': {error.cause!r}") from None
    except exceptions.RayError as error:
        raise UserError(f"executor 'ray': {error}", "the same command continues") from None


def _stop(running: dict[Any, RunRequest], perform: Perform) -> None:
    import ray
    from ray import exceptions

    left = list(running)
    for force in (False, True):
        for reference in left:
            with suppress(exceptions.RayError, ValueError):
                ray.cancel(reference, force=force)  # raises KeyboardInterrupt in the worker, or kills it
        if left:  # who has ended is not killed: Ray aborts where a task that it has given up is answered after all
            _, left = ray.wait(left, num_returns=len(left), timeout=_PATIENCE)
    for request in running.values():
        perform.stopped(request)
