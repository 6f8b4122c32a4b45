"""What happens in other processes reaches the hooks of this one.

Each worker appends a line of JSON per event to a file of its own in a folder beside the store's records; the process
that started the sweep reads them. Plain files, because they work the same for a process here, a job in a queue and a
machine that shares nothing but the disk, and because a worker that dies leaves what it had said. Nothing is lost with
them: they tell of progress alone, results are in records.
"""

import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from crayon_bench.errors import StoreError, UserError
from crayon_bench.plugins.hooks import call_hooks
from crayon_bench.store.request import RunRequest
from crayon_bench.store.store import Store

_EVERY = 0.1
"""Seconds between two looks at the files."""


def here() -> str:
    """Return the name of this process among all processes of all machines."""
    return f"{socket.gethostname()}-{os.getpid()}"


def sender(folder: Path) -> Callable[[str, dict[str, Any]], None]:
    """Return a function that writes a hook's name and arguments into this process's file in *folder*."""
    file = folder / f"{here()}.jsonl"

    def send(hook: str, arguments: dict[str, Any]) -> None:
        plain = {"key": arguments["request"].key} if "request" in arguments else {}
        plain |= {name: value for name, value in arguments.items() if name not in ("request", "record")}
        # A full disk must not end a run for the sake of its progress; and no folder: nobody is listening any more.
        with suppress(OSError), file.open("ab", buffering=0) as out:
            out.write(json.dumps({"hook": hook, **plain}).encode() + b"\n")

    return send


class Listener:
    """Context in which events that are written to *folder* are told to the hooks, by a thread."""

    def __init__(self, folder: Path, requests: Iterable[RunRequest], store: Store) -> None:
        self.folder, self.store = folder, store
        self.requests = {request.key: request for request in requests}
        self._read: dict[Path, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True, name="crayon-bench events")
        self._mistake: UserError | None = None

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir()
        except OSError as error:
            raise StoreError(f"store {self.store.path}: cannot be written: {error.strerror or error}") from None
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        shutil.rmtree(self.folder, ignore_errors=True)
        if error is None:
            self.check()

    def check(self) -> None:
        """Raise the UserError that a hook raised, if one did."""
        if self._mistake is not None:
            raise self._mistake

    def _listen(self) -> None:
        try:
            while not self._over.wait(_EVERY):
                self._look()
            self._look()
        except UserError as mistake:
            self._mistake = mistake

    def _look(self) -> None:
        for file in sorted(self.folder.glob("*.jsonl")):
            with suppress(OSError), file.open("rb") as lines:
                lines.seek(self._read.get(file, 0))
                for line in lines:
                    if not line.endswith(b"\n"):  # its end is not written yet
                        break
                    self._read[file] = self._read.get(file, 0) + len(line)
                    self._tell(line)

    def _tell(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            hook, key = event.pop("hook"), event.pop("key", None)
            arguments = {**event, "request": self.requests[key]} if key else event
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # a torn line
        if hook == "run_finished":
            record = self.store.find(arguments["request"].coordinates, key)
            if record is None:
                return
            arguments["record"] = record
        call_hooks(hook, **arguments)
