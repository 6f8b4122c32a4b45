"""Two things timed in turns, and what is noted of them."""

import time
from collections.abc import Callable, Sequence
from statistics import median

import pytest
import torch


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """How long *work* takes; with ``time.process_time``, of this process's CPU time, whoever else is busy."""
    start = clock()
    work()
    return clock() - start


def ratio(
    slow: Callable[[], object],
    fast: Callable[[], object],
    rounds: int = 5,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Median of slow / fast, the two timed in turns so that a busy machine slows both."""
    return median(seconds(slow, clock) / seconds(fast, clock) for _ in range(rounds))


def ratios(
    contestants: Sequence[Callable[[], object]],
    standard: Callable[[], object],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Median of each contestant / standard: in every round each is timed right between two timings of the standard."""
    for work in (standard, *contestants):
        work()
    found: list[list[float]] = [[] for _ in contestants]
    for _ in range(rounds):
        before = seconds(standard, clock)
        for number, work in enumerate(contestants):
            took = seconds(work, clock)
            after = seconds(standard, clock)
            found[number].append(2 * took / (before + after))
            before = after
    return [median(values) for values in found]


def note(benchmark, **values: float | str) -> None:
    """Keep *values* in the benchmark's record, and print them."""
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in values.items()}
    benchmark.extra_info.update(rounded)
    print(f"\n{benchmark.name}")
    for name, value in rounded.items():
        print(f"  {name:<48} {value}")


@pytest.fixture(autouse=True)
def one_thread():
    """Under which everything is timed where this is imported: as in a run, one thread and denormals flushed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(before)
