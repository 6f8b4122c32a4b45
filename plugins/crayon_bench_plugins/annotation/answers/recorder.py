"""Recording: one annotator's answers appended to their file, each on the disk before it is acknowledged."""

import contextlib
import os
import threading
import uuid
from datetime import UTC, datetime
from typing import Self

from filelock import FileLock, Timeout

from crayon_bench import UserError
from crayon_bench.store.atomic import sync_folder, write_file
from crayon_bench.store.locks import locking
from crayon_bench_plugins.annotation.answers.events import Event, Via, to_line, to_text
from crayon_bench_plugins.annotation.answers.folder import Answers, cannot_write
from crayon_bench_plugins.annotation.answers.history import LARGEST_FILE, History, replay
from crayon_bench_plugins.annotation.answers.manifest import Manifest
from crayon_bench_plugins.annotation.answers.names import check_name
from crayon_bench_plugins.annotation.answers.tasks import Answer, Task, check_answer


class Recorder:
    """Writes one annotator's answers about one task; alone, until it is closed.

    ``history`` is what the annotator has said so far, ``remarks`` what was found on opening, such as a torn line that
    was set aside. Safe to use from several threads. Raises UserError if another process records the same annotator,
    or if the file is broken.
    """

    def __init__(self, answers: Answers, task: Task, annotator: str, manifest: Manifest | None = None) -> None:
        self.answers = answers
        self.annotator = check_name(annotator)
        self.manifest = manifest or answers.manifest(task)
        self.file = answers.file(task, self.annotator)
        self.remarks: list[str] = []
        self.history = History(self.annotator)
        self._size = 0
        self._descriptor: int | None = None
        self._turn = threading.Lock()
        # Not per thread: a server may close in another thread than it opened in.
        self._lock = FileLock(self.file.with_name(f".{self.file.stem}.lock"), timeout=0, thread_local=False)
        try:
            with locking(f"annotator {self.annotator}: {self.file.parent}", "choose a folder on another file system"):
                self._lock.acquire()
        except Timeout:
            raise UserError(
                f"annotator {self.annotator}: another process is recording these answers ({self.file})",
                "end it, or use another name",
            ) from None
        except OSError as error:
            raise cannot_write(self.file, error) from None
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        try:
            new = not self.file.exists()
            if not new:
                history, whole, size = replay(self.file, self.manifest)
                self.history, self._size = history or self.history, whole
                if whole < size:
                    self._set_torn_aside(whole, size)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
            self._descriptor = os.open(self.file, flags, 0o644)
            if new:
                sync_folder(self.file.parent)
        except OSError as error:
            raise cannot_write(self.file, error) from None

    def _set_torn_aside(self, whole: int, size: int) -> None:
        kept = self.file.with_name(f".{self.file.name}.{uuid.uuid4().hex[:8]}.damaged")
        with self.file.open("rb+") as file:
            file.seek(whole)
            write_file(kept, file.read())
            file.truncate(whole)
            os.fsync(file.fileno())
        self.remarks.append(
            f"{self.file}: its last line was torn ({size - whole} bytes); set aside as {kept.name}, that answer was"
            " never acknowledged"
        )

    def answer(
        self, example: str, answer: Answer, *, shown_at: datetime, via: Via, answered_at: datetime | None = None
    ) -> Event:
        """Record an answer; when this returns, it is on the disk. *answered_at*: by default now.

        Raises UserError for what is no answer or no question, and if it cannot be written: then nothing was recorded.
        """
        if example not in self.manifest.shown:
            raise UserError(f"question {example[:100]!r}: there is none of this name about {self.manifest.task}")
        try:
            kept = check_answer(self.manifest.task, answer, self.manifest.image_size)
        except ValueError as error:
            raise UserError(f"question {example[:100]}: {error}") from None
        at = to_text(answered_at or datetime.now(UTC))
        with self._turn:
            event = Event(self.history.length + 1, example, kept, to_text(shown_at), at, Via(via).value)
            self._append(event)
        return event

    def undo(self, *, via: Via, answered_at: datetime | None = None) -> Event | None:
        """Take the last answer back that stands, and return it; None if there is none. As :meth:`answer`."""
        at = to_text(answered_at or datetime.now(UTC))
        with self._turn:
            last = self.history.last
            if last is not None:
                n = self.history.length + 1
                self._append(Event(n, last.example, None, None, at, Via(via).value, undoes=last.n))
        return last

    def _append(self, event: Event) -> None:
        if self._descriptor is None:
            raise UserError(f"annotator {self.annotator}: recording has ended")
        line = to_line(event, self.manifest, self.annotator)
        if self._size + len(line) > LARGEST_FILE:
            raise UserError(f"{self.file}: it would be larger than {LARGEST_FILE >> 20} MiB")
        try:
            if os.fstat(self._descriptor).st_size != self._size:  # what a failed attempt left
                os.ftruncate(self._descriptor, self._size)
            if (written := os.write(self._descriptor, line)) != len(line):
                raise OSError(28, f"only {written} of {len(line)} bytes could be written")
            os.fsync(self._descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
                os.fsync(self._descriptor)
            raise cannot_write(self.file, error) from None
        self._size += len(line)
        self.history.add(event)

    def close(self) -> None:
        """Let others record this annotator; a second call does nothing."""
        with self._turn:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
