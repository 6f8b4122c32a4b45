"""One line of an annotator's file: an answer, or an undo."""

import json
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from crayon_bench import UserError
from crayon_bench_plugins.annotation.answers.manifest import Manifest
from crayon_bench_plugins.annotation.answers.tasks import Answer, check_answer, is_word

LONGEST_LINE = 8192
"""Bytes of a line."""
PAUSE = 120.0
"""Seconds: whoever takes longer for a word has paused, and this much counts."""
PAUSE_OF_DRAWINGS = 600.0
"""The same for a box or a mask."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Via(StrEnum):
    """How an answer was entered."""

    KEY = "key"
    POINTER = "pointer"
    TOUCH = "touch"
    IMPORT = "import"
    """Taken over from others: when it was shown is not known, and answered_at is when it was taken over."""


_VIAS = tuple(via.value for via in Via)


class Event(NamedTuple):
    """One line: an answer, or (``undoes`` is a number) an undo of the answer with that number.

    n: running number in the file, from 1. example: the question's id. answer: None for an undo. shown_at, answered_at:
    as :func:`to_text` gives them; an undo has no shown_at, nor has what was imported.
    """

    n: int
    example: str
    answer: Answer | None
    shown_at: str | None
    answered_at: str
    via: str
    undoes: int | None = None

    @property
    def timed(self) -> bool:
        """Whether it is known how long the answer took."""
        return self.shown_at is not None

    @property
    def seconds(self) -> float:
        """How long it took, 0 to :data:`PAUSE` or, for a box or a mask, :data:`PAUSE_OF_DRAWINGS`; 0 if not known."""
        if self.shown_at is None:
            return 0.0
        taken = datetime.fromisoformat(self.answered_at) - datetime.fromisoformat(self.shown_at)
        longest = PAUSE if self.answer is None or is_word(self.answer) else PAUSE_OF_DRAWINGS
        return min(longest, max(0.0, taken.total_seconds()))


def to_text(moment: datetime) -> str:
    """Return a moment in UTC with milliseconds: ``2026-01-31T09:30:00.000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_line(event: Event, manifest: Manifest, annotator: str) -> bytes:
    """Return the line of an event, with its newline. Raises UserError if it is too long."""
    fields: dict[str, Any] = {"n": event.n, "op": "answer" if event.undoes is None else "undo"}
    fields |= {"example": event.example, "shown": manifest.shown[event.example], "dataset": manifest.content}
    fields |= {"model": manifest.model, "annotator": annotator}
    if event.undoes is None:
        fields |= {"answer": event.answer, "shown_at": event.shown_at}
    else:
        fields["undoes"] = event.undoes
    line = json.dumps({**fields, "answered_at": event.answered_at, "via": event.via}).encode() + b"\n"
    if len(line) > LONGEST_LINE:
        raise UserError(f"question {event.example[:100]}: its line would be longer than {LONGEST_LINE} bytes")
    return line


def from_line(text: str, n: int, manifest: Manifest, annotator: str) -> Event:
    """Return the event of the *n*-th line of *annotator*'s file.

    Raises ValueError, KeyError, RecursionError or TypeError.
    """
    line = json.loads(text)
    if type(line) is not dict:
        raise ValueError("expected an object")
    if type(line["n"]) is not int or line["n"] != n:
        raise ValueError(f"n must be {n}")
    example, via = line["example"], line["via"]
    if type(example) is not str or (shown := manifest.shown.get(example)) is None:
        raise ValueError("no question has this 'example'")
    if line["shown"] != shown or line["dataset"] != manifest.content or line["model"] != manifest.model:
        raise ValueError("'shown', 'dataset' or 'model' is not that of questions.json")
    if line["annotator"] != annotator:
        raise ValueError("'annotator' is not the one whose file this is")
    if type(via) is not str or via not in _VIAS:
        raise ValueError(f"'via' must be one of {', '.join(_VIAS)}")
    at = _time(line["answered_at"], "answered_at")
    if line["op"] == "answer":
        answer = check_answer(manifest.task, line["answer"], manifest.image_size)
        if via == Via.IMPORT and line["shown_at"] is not None:
            raise ValueError("an imported answer has no 'shown_at'")
        shown_at = None if via == Via.IMPORT else _time(line["shown_at"], "shown_at")
        return Event(n, example, answer, shown_at, at, via)
    if line["op"] != "undo" or type(line["undoes"]) is not int:
        raise ValueError("'op' must be answer, or undo with the number that it 'undoes'")
    datetime.fromisoformat(at)
    return Event(n, example, None, None, at, via, line["undoes"])


def _time(value: Any, name: str) -> str:
    if type(value) is not str or not _TIME.fullmatch(value):
        raise ValueError(f"{name} must be a time such as 2026-01-31T09:30:00.000Z")
    return value  # whether there is such a day is seen when the seconds are computed
