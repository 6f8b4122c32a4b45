"""Long work before a run: told through the hook ``preparing``, and spread over threads."""

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from crayon_bench.plugins.hooks import call_hooks

_EVERY = 0.2
"""Seconds between two calls of the hook."""

T = TypeVar("T")
R = TypeVar("R")


class Preparing:
    """Context that tells how far some work is; *what* says what is done, *total* is the number of steps.

    The first call of the hook has ``done`` = 0, the last has ``done`` = *total*, also if the work was given up.
    """

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0

    def __enter__(self) -> Self:
        self._tell(0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tell(self.total)

    def step(self, number: int = 1) -> None:
        """Say that *number* more steps are done."""
        self.done += number
        if time.monotonic() - self._told >= _EVERY and self.done < self.total:
            self._tell(self.done)

    def _tell(self, done: int) -> None:
        self._told = time.monotonic()
        if not self.total:  # nothing to do is nothing to tell
            return
        call_hooks("preparing", what=self.what, done=done, total=self.total)


def in_threads(function: Callable[[T], R], items: Iterable[T], workers: int | None = None) -> Generator[R, None, None]:
    """Yield ``function(item)`` in the order of *items*, computed in *workers* threads (default: one per CPU, up to 16).

    Only a few items per thread are taken ahead, so memory is bounded however many there are. Wrap it in
    ``contextlib.closing``: if the consumer stops early, what was not begun is dropped and what runs is waited for.
    """
    workers = workers or min(os.cpu_count() or 1, 16)
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="crayon-bench")
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
