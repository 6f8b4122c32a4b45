"""What one annotator has said so far: the lines of their file, replayed."""

import json
from pathlib import Path

from crayon_bench import UserError
from crayon_bench_plugins.annotation.answers.events import LONGEST_LINE, Event, from_line
from crayon_bench_plugins.annotation.answers.manifest import Manifest
from crayon_bench_plugins.annotation.answers.names import check_name, slug_of

LARGEST_FILE = 1 << 28
"""Bytes of an annotator's file."""

_MEND = "restore the file from a copy, or delete this line and all after it"


class History:
    """What one annotator has said about one task so far; kept up to date in O(1) a line.

    standing: number → answer, of those not undone, in the order in which they were given. current: question's id → the
    answer that counts, the last one that stands. length: number of lines. seconds: time taken for what stands.
    """

    def __init__(self, annotator: str) -> None:
        self.annotator = annotator
        self.standing: dict[int, Event] = {}
        self.current: dict[str, Event] = {}
        self.length = 0
        self.seconds = 0.0
        self._earlier: dict[int, Event] = {}  # number → what it stands in place of

    @property
    def slug(self) -> str:
        """See :func:`slug_of`."""
        return slug_of(self.annotator)

    @property
    def last(self) -> Event | None:
        """The answer that an undo would take back; None if there is none."""
        return next(reversed(self.standing.values()), None)

    def add(self, event: Event) -> None:
        """Take one more event into account. Raises ValueError for an undo of what does not stand."""
        if event.undoes is not None:
            self._undo(event.undoes, event.example)
        else:
            if (earlier := self.current.get(event.example)) is not None:
                self._earlier[event.n] = earlier
            self.standing[event.n] = self.current[event.example] = event
            self.seconds += event.seconds
        self.length = event.n

    def _undo(self, number: int, example: str) -> None:
        event = self.standing.get(number)
        if event is None or event.example != example:
            raise ValueError(f"there is no answer {number} about this question that could be undone")
        del self.standing[number]
        self.seconds -= event.seconds
        while self.current.get(example) is not None and self.current[example].n not in self.standing:
            before = self._earlier.get(self.current[example].n)
            if before is None:
                del self.current[example]
            else:
                self.current[example] = before


def replay(file: Path, manifest: Manifest, events: list[Event] | None = None) -> tuple[History | None, int, int]:
    """Read an annotator's file. Returns what was said, the bytes of whole lines, and the bytes of the file.

    None if there is no whole line. *events* takes every line. Raises UserError, naming file and line, for a whole line
    that is broken.
    """
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise UserError(f"{file}: larger than {LARGEST_FILE >> 20} MiB")
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None
    whole = content.rfind(b"\n") + 1
    history: History | None = None
    for number, line in enumerate(content[:whole].split(b"\n")[:-1], 1):
        try:
            if len(line) >= LONGEST_LINE:
                raise ValueError(f"longer than {LONGEST_LINE} bytes")
            text = line.decode("utf-8")
            if history is None:
                history = History(_whose(text, file))
            event = from_line(text, number, manifest, history.annotator)
            history.add(event)
            if events is not None:
                events.append(event)
        except KeyError as error:
            raise UserError(f"{file}, line {number}: broken: there is no {error}", _MEND) from None
        except (ValueError, TypeError, RecursionError, UserError) as error:
            why = error.message if isinstance(error, UserError) else str(error)
            raise UserError(f"{file}, line {number}: broken: {why}", _MEND) from None
    return history, whole, len(content)


def _whose(text: str, file: Path) -> str:
    first = json.loads(text)
    if type(first) is not dict or type(first["annotator"]) is not str:
        raise ValueError("'annotator' must be a name")
    name: str = first["annotator"]
    if check_name(name) != name:
        raise ValueError("'annotator' is not a name as it is kept")
    if f"{slug_of(name)}.jsonl" != file.name:
        raise ValueError(f"the file of {name} must be called {slug_of(name)}.jsonl")
    return name
