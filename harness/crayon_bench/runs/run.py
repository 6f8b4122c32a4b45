"""One run in the making: its record, its log and its clock."""

import contextlib
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from crayon_bench.errors import UserError
from crayon_bench.runs.environment import environment
from crayon_bench.runs.isolation import no_output
from crayon_bench.store.records import Feedback, Record, Status
from crayon_bench.store.request import RunRequest


class UsersMistakeError(Exception):
    """Data or selection do not allow the run: not the method's failure, and the same for every method."""

    def __init__(self, error: UserError) -> None:
        self.error = error


@dataclass
class Run:
    """What is known of a run so far."""

    request: RunRequest
    log: io.StringIO = field(default_factory=io.StringIO)
    predictions: bytes | None = None
    model: bytes | None = None
    """The refined model, where it is to be kept."""
    apart: float = 0.0
    """Seconds spent on making or reading shared artifacts, which are noted apart."""

    def __post_init__(self) -> None:
        request = self.request
        self._clock = time.perf_counter()
        self.record = Record(
            key=request.key,
            setting=request.setting,
            status=Status.INTERRUPTED,
            coordinates=request.coordinates,
            title=request.title,
            baseline=request.baseline,
            source=request.source,
            verified=request.verified,
            notes=request.notes,
            overrides=request.overrides,
            feedback=Feedback(label=request.title["feedback"]),
            started=now(),
            environment=environment(request.device, request.coordinates["protocol"]["threads"]),
        )

    def end(self, status: Status, reason: str | None = None) -> None:
        """Note how the run ended."""
        self.record.status = status
        self.record.reason = reason
        self.record.finished = now()
        self.record.seconds["total"] = round(time.perf_counter() - self._clock, 3)

    @contextlib.contextmanager
    def captured_output(self) -> Iterator[None]:
        """Send what is printed to the run's log."""
        # What a plugin prints belongs to its log: standard output is for the table alone.
        with contextlib.redirect_stdout(self.log), no_output():
            yield

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Note how long *what* takes."""
        start, apart = time.perf_counter(), self.apart
        yield
        self.record.seconds[what] = round(time.perf_counter() - start - (self.apart - apart), 3)


def now() -> str:
    """Return the time, in UTC, as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
