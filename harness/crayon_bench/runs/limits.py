"""Limits of a run's time and memory.

A thread looks at the clock and at the memory. When a limit is passed, it sends the main thread a signal, whose handler
raises :class:`LimitError` there: code in Python and calls that return to Python end at once. Code that does not return
is ended with its process, after a grace period, where the process is a worker; in the process of the user's own
command that cannot be done.
"""

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRACE = 5.0
"""Seconds that code which was told to end has for it."""

_EVERY = 0.02


class LimitError(BaseException):
    """A run passed a limit. No Exception, so that a plugin's ``except Exception`` does not keep it."""


@dataclass(frozen=True)
class Limits:
    """seconds: of a run, without waiting for what another makes. mebibytes: that it may add to its process's memory."""

    seconds: float | None = None
    mebibytes: int | None = None


_watch: "_Watch | None" = None


@contextmanager
def limited(limits: Limits, note: Path | None = None) -> Iterator[None]:
    """Raise LimitError inside when a limit is passed. *note*: this is a worker, which may be ended; say there why."""
    global _watch
    if limits == Limits() or not hasattr(signal, "pthread_kill"):
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("limits are kept in a process's main thread alone")
    watch = _Watch(limits, note)
    before = signal.signal(signal.SIGALRM, watch.strike)
    try:
        _watch = watch
        try:
            watch.start()
            yield
        finally:
            watch.over = True
    finally:
        _watch = None
        watch.end()
        signal.signal(signal.SIGALRM, before)


@contextmanager
def not_counted() -> Iterator[None]:
    """Inside, a run's time stands still: it waits for what another run makes."""
    watch = _watch
    if watch is None:
        yield
        return
    watch.pause()
    try:
        yield
    finally:
        watch.go_on()


class _Watch:
    def __init__(self, limits: Limits, note: Path | None) -> None:
        self.limits, self.note = limits, note
        self.over = False
        self.why = ""
        self._spent, self._since = 0.0, time.monotonic()
        self._paused = False
        self._struck, self._raised = 0.0, -1.0
        self._first = memory() if limits.mebibytes is not None else 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True, name="crayon-bench limits")
        self._hang: Any = None

    def start(self) -> None:
        self._thread.start()
        self._arm()

    def end(self) -> None:
        self._ended.set()
        self._disarm()
        if self._hang is not None:
            self._hang.close()
            Path(self._hang.name).unlink(missing_ok=True)

    def pause(self) -> None:
        self._spent, self._paused = self._now(), True
        self._disarm()

    def go_on(self) -> None:
        self._since, self._paused = time.monotonic(), False
        self._arm()

    def strike(self, number: int, frame: Any) -> None:
        """Handle the signal, in the main thread."""
        if not self.why or self.over:
            return
        if _importing(frame) and time.monotonic() - self._struck < GRACE:
            return  # half a module would stay in this process; the next signal comes soon
        self._raised = time.monotonic()
        raise LimitError(self.why)

    def _now(self) -> float:
        return self._spent if self._paused else self._spent + time.monotonic() - self._since

    def _look(self) -> None:
        while not self._ended.wait(_EVERY):
            self.why = self.why or self._passed()
            if not self.why or self.over:
                continue
            now = time.monotonic()
            self._struck = self._struck or now
            if self.note is not None and now - self._struck > GRACE:
                _end(self.note, self.why)
            if now - self._raised > 1.0:  # again and again: a plugin may have caught it
                with suppress(ProcessLookupError):
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    def _passed(self) -> str:
        seconds, mebibytes = self.limits.seconds, self.limits.mebibytes
        if seconds is not None and self._now() > seconds:
            return f"time limit: it took longer than {seconds:g} s (--time-limit)"
        if mebibytes is not None and memory() - self._first > mebibytes:
            return f"memory limit: it took more than {mebibytes} MiB (--memory-limit)"
        return ""

    # Code that never gives the interpreter back cannot be reached by a Python thread; faulthandler's thread is in C.
    def _arm(self) -> None:
        if self.note is None or self.limits.seconds is None:
            return
        if self._hang is None:
            with suppress(OSError):
                self._hang = self.note.with_suffix(".hang").open("w+b", buffering=0)
        if self._hang is not None:
            left = max(0.1, self.limits.seconds - self._now() + 2 * GRACE)
            faulthandler.dump_traceback_later(left, exit=True, file=self._hang)

    def _disarm(self) -> None:
        if self._hang is not None:
            faulthandler.cancel_dump_traceback_later()


def _importing(frame: Any) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _end(note: Path, why: str) -> None:
    with suppress(OSError):
        note.write_text(why, encoding="utf-8")
    os._exit(1)


def last_words(note: Path) -> str:
    """Return why a worker was ended for a limit, from what it left; empty if it was not."""
    found = ""
    with suppress(OSError, ValueError):
        if note.with_suffix(".hang").stat().st_size:
            found = "time limit: it took too long and did not give the interpreter back (--time-limit)"
    with suppress(OSError, ValueError):
        found = note.read_text(encoding="utf-8")
    for file in (note, note.with_suffix(".hang")):
        with suppress(OSError):
            file.unlink()
    return found


def memory() -> float:
    """Return the process's own resident memory in MiB, without pages of files; 0 where the system does not tell."""
    with suppress(OSError):  # Linux only
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    return 0.0
