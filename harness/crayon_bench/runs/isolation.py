"""A run's own surroundings: random state, threads, arithmetic, output; put back after it."""

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crayon_bench.runs.environment import resolve_device
from crayon_bench.seeds import derive_seed
from crayon_bench.store.request import RunRequest


@contextlib.contextmanager
def no_output() -> Iterator[None]:
    """Send what C code, or a process that a plugin starts, writes to standard output to standard error."""
    try:
        before = os.dup(1)
    except OSError:  # it is closed
        yield
        return
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


class PeakMemory:
    """The highest memory in use from its making on: of the device on CUDA, else resident memory of the process."""

    def __init__(self, device: str) -> None:
        self.device = device
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            with contextlib.suppress(OSError):  # resets VmHWM; Linux only
                Path("/proc/self/clear_refs").write_text("5")

    def mebibytes(self) -> float | None:
        """Return the peak so far, in MiB; None where the system does not tell."""
        if self.device == "cuda":
            return round(torch.cuda.max_memory_allocated() / 2**20, 1)
        try:
            status = Path("/proc/self/status").read_text()
        except OSError:
            return None
        lines = [line.split() for line in status.splitlines() if line.startswith("VmHWM:")]
        return round(int(lines[0][1]) / 1024, 1) if lines else None


class Surroundings:
    """A run's own random state; and what of the global state its method should leave as it is, watched."""

    def __init__(self, request: RunRequest) -> None:
        self._seed = derive_seed(request.seed, "global")
        self.begin()

    def begin(self) -> None:
        """Set the global random states by the run's seed, and watch from here on.

        Called once more before the method: importing some libraries draws from these states, and whether that happens
        in this run depends on what its process did before.
        """
        random.seed(self._seed)
        np.random.seed(self._seed % 2**32)
        torch.manual_seed(self._seed)
        self._before = _global_state()

    def changed(self) -> list[str]:
        """Return the names of what is not as it was."""
        now = _global_state()
        return [name for name, value in self._before.items() if now[name] != value]


@contextlib.contextmanager
def isolated(request: RunRequest, warnings: dict[str, int]) -> Iterator[Surroundings]:
    """Give the run its own random state and thread count; put these, dtype, grad mode and folder back.

    What was changed of them inside is noted in *warnings*, those of the run's record.
    """
    before = (random.getstate(), np.random.get_state(), torch.get_num_threads(), torch.get_default_dtype())
    grad, folder = torch.is_grad_enabled(), Path.cwd()
    on_cuda = resolve_device(request.device) == "cuda"
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if on_cuda else []), _exact(on_cuda):
        torch.set_num_threads(request.coordinates["protocol"]["threads"])
        # Penalties drive gradients, and Adam's squares of them, below 1e-38, where a CPU is 2-3 times as slow.
        torch.set_flush_denormal(True)
        surroundings = Surroundings(request)
        try:
            yield surroundings
        finally:
            warnings |= {f"{name} changed": 1 for name in surroundings.changed()}
            torch.set_flush_denormal(False)
            random.setstate(before[0])
            np.random.set_state(before[1])
            torch.set_num_threads(before[2])
            torch.set_default_dtype(before[3])
            torch.set_grad_enabled(grad)
            os.chdir(folder)


def _global_state() -> dict[str, Any]:
    numpy_state: Any = np.random.get_state()
    return {
        "global random state of Python": random.getstate(),
        "global random state of NumPy": (numpy_state[1].tobytes(), *numpy_state[2:]),
        "global random state of PyTorch": torch.random.get_rng_state().numpy().tobytes(),
        "number of threads": torch.get_num_threads(),
        "default dtype": torch.get_default_dtype(),
        "grad mode": torch.is_grad_enabled(),
        "current folder": Path.cwd(),
    }


@contextlib.contextmanager
def _exact(on_cuda: bool) -> Iterator[None]:
    """On a GPU, add up in one order and in full float32, and put the settings back."""
    if not on_cuda:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is computed
    before = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    flags = (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32)
    # Warn only: an operation that has no deterministic form is better told of than refused.
    torch.use_deterministic_algorithms(True, warn_only=True)
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = True, False, False, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = flags
