"""Recorded answers of people: a folder of append-only files, one per annotator.

::

    DIR/TASK/questions.json        what is asked: data set, model, and per question its id and the hash of what is shown
    DIR/TASK/SLUG.jsonl            one annotator's answers and undos, a line each, in the order in which they were given
    DIR/masks/files/SLUG/SHA.png   the masks that were painted

A line counts once its newline is on the disk. What comes after the last newline is torn: a writer was killed, or the
disk was full, before it acknowledged that answer. Opening the file for writing sets it aside. Skipped, maybe and never
asked are three different things: ``"skip"``, ``"maybe"``, and no answer at all.

Reading changes nothing. What is read is checked here, and refused by a UserError that names file and line.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import threading
import unicodedata
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self, TypeAlias

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crayon_bench import UserError
from crayon_bench.store.atomic import read_json, write_file

SCHEMA = 1

LONGEST_NAME = 80
"""Characters of an annotator's name."""
LONGEST_ID = 512
"""Characters of an example's id."""
LONGEST_LINE = 8192
"""Bytes of a line."""
LARGEST_FILE = 1 << 28
"""Bytes of an annotator's file."""
LARGEST_MANIFEST = 1 << 28
LARGEST_MASK = 1 << 24
"""Bytes of a mask's file."""
MOST_QUESTIONS = 2_000_000
MOST_ANNOTATORS = 1000
PAUSE = 120.0
"""Seconds: whoever takes longer for a word has paused, and this much counts."""
PAUSE_OF_DRAWINGS = 600.0
"""The same for a box or a mask."""


class Task(StrEnum):
    """What annotators are asked about."""

    MAPS = "maps"
    """Does the model look at the right place? One saliency map a question."""
    NEURONS = "neurons"
    """Do these patches show something relevant? One neuron a question."""
    BOXES = "boxes"
    """Where is what matters? A rectangle."""
    MASKS = "masks"
    """Which pixels matter? A painted mask."""

    @property
    def judged(self) -> bool:
        """Whether the answer is yes or no, about something that a model made; else it is drawn on an image."""
        return self in (Task.MAPS, Task.NEURONS)


class Via(StrEnum):
    """How an answer was entered."""

    KEY = "key"
    POINTER = "pointer"
    TOUCH = "touch"


YES, NO, MAYBE, SKIP = "yes", "no", "maybe", "skip"
WORDS = {
    Task.MAPS: frozenset((YES, NO, MAYBE, SKIP)),
    Task.NEURONS: frozenset((YES, NO, MAYBE, SKIP)),
    Task.BOXES: frozenset((MAYBE, SKIP)),
    Task.MASKS: frozenset((MAYBE, SKIP)),
}
"""The answers of each task that are words."""

Box: TypeAlias = tuple[int, int, int, int]
"""Top, left, bottom, right in pixels of the data set's image; bottom and right excluded."""
Answer: TypeAlias = str | Box
"""A word, or a box, or the sha256 (64 hex digits) of a mask's file."""
Bools = NDArray[np.bool_]

_SHA = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


# ---------------------------------------------------------------------------------------------------------------------
# hashes and names


def map_hash(saliency: NDArray[Any]) -> str:
    """Return the hash of one map (H, W) as it is shown: of its shape and its float32 values. 16 hex digits."""
    values = np.ascontiguousarray(saliency, dtype="<f4")
    return _short(f"map {values.shape}\n".encode() + values.tobytes())


def patches_hash(ids: Sequence[str], boxes: NDArray[Any]) -> str:
    """Return the hash of one neuron's patches, strongest first: *ids* of their k examples, *boxes* int (k, 4)."""
    places = np.ascontiguousarray(boxes, dtype="<i8").reshape(len(ids), 4)
    return _short(b"patches\n" + json.dumps(list(ids)).encode() + b"\n" + places.tobytes())


def image_hash(content: str, example: str) -> str:
    """Return the hash of one image: of the data set's *content* hash and the *example*'s id."""
    return _short(b"image\n" + json.dumps([content, example]).encode())


def neuron_id(number: int) -> str:
    """Return the id of a question about a neuron."""
    return f"neuron-{number}"


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def check_name(name: str) -> str:
    """Return an annotator's name in its one spelling (NFC, no spaces around it). Raises UserError."""
    name = unicodedata.normalize("NFC", name[: 8 * LONGEST_NAME]).strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise UserError(f"annotator {name[:100]!r}: expected a name of 1 to {LONGEST_NAME} printable characters")
    return name


def slug_of(name: str) -> str:
    """Return what an annotator's files are called: safe, and different for different names."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    word = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:32].strip("-") or "annotator"
    return f"{word}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def to_text(moment: datetime) -> str:
    """Return a moment in UTC with milliseconds: ``2026-01-31T09:30:00.000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ---------------------------------------------------------------------------------------------------------------------
# questions

Word = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
Hash16 = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Manifest(BaseModel):
    """What is asked in one task, written once.

    dataset: the data set's coordinates, as in a record: name, source and content hash at least. protocol, seed, model:
    of the original model, *model* as :func:`crayon_bench.networks.classifier.state_hash` has it; None where no model
    is needed. maps: kind of maps, ``logit`` or ``contrast``. patches, radius: how neurons are shown. image_size:
    height and width in pixels. questions: (id, hash of what is shown), in the data set's order.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    schema_: Annotated[int, Field(alias="schema", ge=1, le=SCHEMA)] = SCHEMA
    task: Annotated[Task, Field(strict=False)]
    dataset: dict[str, Any]
    protocol: Word | None = None
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    model: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    maps: Word | None = None
    patches: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    radius: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    class_names: Annotated[list[Word], Field(max_length=100_000)]
    image_size: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65536)], Annotated[int, Field(ge=1, le=65536)]], Field(strict=False)
    ]
    questions: Annotated[
        list[Annotated[tuple[Word, Hash16], Field(strict=False)]], Field(min_length=1, max_length=MOST_QUESTIONS)
    ]

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        for key in ("name", "source", "content"):
            value = self.dataset.get(key)
            if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_ID:
                raise ValueError(f"dataset.{key} must be a text")
        if len(self.shown) != len(self.questions):
            raise ValueError("a question is there twice")
        if self.task.judged and self.model is None:
            raise ValueError(f"questions about {self.task} need the hash of a model")
        return self

    @cached_property
    def shown(self) -> dict[str, str]:
        """Question's id → hash of what is shown."""
        return dict(self.questions)

    @property
    def content(self) -> str:
        """The data set's content hash."""
        return str(self.dataset["content"])

    def to_bytes(self) -> bytes:
        """Return the content of ``questions.json``."""
        return json.dumps(self.model_dump(by_alias=True, mode="json"), sort_keys=True).encode() + b"\n"

    @cached_property
    def digest(self) -> str:
        """The sha256 of :meth:`to_bytes`."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def difference(self, other: "Manifest") -> str | None:
        """Return in one clause how *other* differs; None if it asks the same."""
        for name in ("task", "protocol", "seed", "model", "maps", "patches", "radius", "image_size"):
            mine, its = getattr(self, name), getattr(other, name)
            if mine != its:
                return f"{name} is {mine} in one and {its} in the other"
        for key in sorted({*self.dataset, *other.dataset}):
            if self.dataset.get(key) != other.dataset.get(key):
                return f"dataset {key} is {self.dataset.get(key)} in one and {other.dataset.get(key)} in the other"
        if self.class_names != other.class_names:
            return "the names of the classes are not the same"
        if self.questions != other.questions:
            return "the questions are not the same"
        return None


# ---------------------------------------------------------------------------------------------------------------------
# events


class Event(NamedTuple):
    """One line: an answer, or (``undoes`` is a number) an undo of the answer with that number.

    n: running number in the file, from 1. example: the question's id. answer: None for an undo. shown_at, answered_at:
    as :func:`to_text` gives them; an undo has no shown_at.
    """

    n: int
    example: str
    answer: Answer | None
    shown_at: str | None
    answered_at: str
    via: str
    undoes: int | None = None

    @property
    def seconds(self) -> float:
        """How long it took, 0 to :data:`PAUSE` or, for a box or a mask, :data:`PAUSE_OF_DRAWINGS`."""
        if self.shown_at is None:
            return 0.0
        taken = datetime.fromisoformat(self.answered_at) - datetime.fromisoformat(self.shown_at)
        longest = PAUSE if self.answer is None or is_word(self.answer) else PAUSE_OF_DRAWINGS
        return min(longest, max(0.0, taken.total_seconds()))


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


def check_answer(task: Task, answer: Any, image_size: tuple[int, int]) -> Answer:
    """Return an answer as it is kept. Raises ValueError if the task has no such answer."""
    if isinstance(answer, str):
        if answer in WORDS[task] or (task is Task.MASKS and _SHA.fullmatch(answer)):
            return answer
    elif task is Task.BOXES and isinstance(answer, list | tuple) and len(answer) == 4:
        if all(type(value) is int for value in answer):
            top, left, bottom, right = answer
            if 0 <= top < bottom <= image_size[0] and 0 <= left < right <= image_size[1]:
                return (top, left, bottom, right)
        raise ValueError(f"a box must be top, left, bottom, right within {image_size[0]} x {image_size[1]} pixels")
    raise ValueError(f"no answer about {task}: {json.dumps(answer, default=str)[:100]}")


def is_word(answer: Answer | None) -> bool:
    """Return whether an answer is a word, not a box or a mask."""
    return isinstance(answer, str) and len(answer) < 64


def to_cell(task: Task, annotator: str, answer: Answer) -> str:
    """Return an answer as tables have it: the word, the box as four numbers, or the mask's path in the folder."""
    if isinstance(answer, tuple):
        return " ".join(map(str, answer))
    return answer if is_word(answer) else f"{task}/files/{slug_of(annotator)}/{answer}.png"


def _time(value: Any, name: str) -> str:
    if type(value) is not str or not _TIME.fullmatch(value):
        raise ValueError(f"{name} must be a time such as 2026-01-31T09:30:00.000Z")
    return value  # whether there is such a day is seen when the seconds are computed


def _parse(text: str, n: int, manifest: Manifest, annotator: str) -> Event:
    """Return the event of a line. Raises ValueError, KeyError, RecursionError or TypeError."""
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
        return Event(n, example, answer, _time(line["shown_at"], "shown_at"), at, via)
    if line["op"] != "undo" or type(line["undoes"]) is not int:
        raise ValueError("'op' must be answer, or undo with the number that it 'undoes'")
    datetime.fromisoformat(at)
    return Event(n, example, None, None, at, via, line["undoes"])


_VIAS = tuple(via.value for via in Via)


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


# ---------------------------------------------------------------------------------------------------------------------
# the folder


class Answers:
    """A folder of recorded answers at *path*. Reading needs no lock, and changes nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, path: Path) -> "Answers":
        """Open a folder that has answers, or at least questions. Raises UserError if there are none."""
        if not path.is_dir():
            raise UserError(f"answers {path}: {'not a folder' if path.exists() else 'there is no such folder'}")
        answers = cls(path)
        if not answers.tasks():
            raise UserError(
                f"answers {path}: no answers are recorded there",
                "expected maps/, neurons/, boxes/ or masks/ with questions.json, as crayon-bench annotate writes them",
            )
        return answers

    def tasks(self) -> list[Task]:
        """Return the tasks that have questions."""
        return [task for task in Task if self.manifest_file(task).exists()]

    def manifest_file(self, task: Task) -> Path:
        """Return where a task's questions are kept."""
        return self.path / task / "questions.json"

    def file(self, task: Task, annotator: str) -> Path:
        """Return where an annotator's answers are kept."""
        return self.path / task / f"{slug_of(annotator)}.jsonl"

    def manifest(self, task: Task) -> Manifest:
        """Return a task's questions. Raises UserError if they are not there or broken."""
        file = self.manifest_file(task)
        try:
            if file.stat().st_size > LARGEST_MANIFEST:
                raise ValueError(f"larger than {LARGEST_MANIFEST >> 20} MiB")
            raw = read_json(file)
            if isinstance(raw, dict) and isinstance(raw.get("schema"), int) and raw["schema"] > SCHEMA:
                raise UserError(f"{file}: its schema is {raw['schema']}, this version reads up to {SCHEMA}", "upgrade")
            manifest = Manifest.model_validate(raw)
            if manifest.task is not task:
                raise ValueError(f"it is about {manifest.task}")
            _ = manifest.digest  # what cannot be written again cannot be compared
        except FileNotFoundError:
            raise UserError(f"answers {self.path}: there are no questions about {task}") from None
        except OSError as error:
            raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise UserError(f"{file}: damaged: {where} {first['msg']}") from None
        except (ValueError, RecursionError, TypeError, OverflowError) as error:
            raise UserError(f"{file}: damaged: {error}") from None
        return manifest

    def begin(self, manifest: Manifest) -> None:
        """Write a task's questions, or check that those which are there are the same. Raises UserError."""
        file = self.manifest_file(manifest.task)
        if file.exists():
            if (why := self.manifest(manifest.task).difference(manifest)) is not None:
                raise UserError(
                    f"answers {self.path}: they are about other {manifest.task}: {why}", "choose another folder"
                )
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_file(file, manifest.to_bytes())
            _sync_folder(self.path)
        except OSError as error:
            raise _cannot_write(file, error, "") from None

    def annotators(self, task: Task) -> list[Path]:
        """Return the files of a task's annotators, by name. Raises UserError if there are too many."""
        files = sorted((self.path / task).glob("[!.]*.jsonl"))
        if len(files) > MOST_ANNOTATORS:
            raise UserError(f"answers {self.path}: {task}: more than {MOST_ANNOTATORS} annotators")
        return files

    def histories(self, task: Task, manifest: Manifest | None = None) -> tuple[list[History], list[str]]:
        """Replay all annotators of a task, by name. Returns them and remarks, such as of a torn line.

        Annotators without a whole line are left out. Raises UserError for what is broken.
        """
        manifest = manifest or self.manifest(task)
        found, remarks = [], []
        for file in self.annotators(task):
            history, whole, size = replay(file, manifest)
            if whole < size:
                remarks.append(f"{file}: its last line is torn ({size - whole} bytes) and does not count")
            if history is not None:
                found.append(history)
        return sorted(found, key=lambda history: history.annotator), remarks

    # -- masks

    def mask_file(self, annotator: str, sha: str) -> Path:
        """Return where a mask is kept."""
        return self.path / to_cell(Task.MASKS, annotator, sha)

    def write_mask(self, annotator: str, mask: Bools) -> str:
        """Keep a mask, bool (H, W), as a PNG of 1 bit a pixel, and return the sha256 of the file: an answer.

        It is on the disk when this returns. Raises UserError if it cannot be written.
        """
        content = mask_bytes(mask)
        sha = hashlib.sha256(content).hexdigest()
        file = self.mask_file(annotator, sha)
        try:
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                write_file(file, content)
                for folder in (file.parent.parent, file.parent.parent.parent):
                    _sync_folder(folder)
        except OSError as error:
            raise _cannot_write(file, error) from None
        return sha

    def mask_content(self, annotator: str, sha: str) -> bytes:
        """Return the bytes of a mask's file. Raises UserError if it is missing or not what was written."""
        file = self.mask_file(annotator, sha)
        try:
            if file.stat().st_size > LARGEST_MASK:
                raise UserError(f"{file}: larger than {LARGEST_MASK >> 20} MiB")
            content = file.read_bytes()
        except FileNotFoundError:
            raise UserError(f"{file}: a mask is missing that {annotator} painted", "copy it there") from None
        except OSError as error:
            raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None
        if hashlib.sha256(content).hexdigest() != sha:
            raise UserError(f"{file}: damaged: its checksum is not its name")
        return content

    def read_mask(self, annotator: str, sha: str, image_size: tuple[int, int]) -> Bools:
        """Return a mask, bool (H, W). Raises UserError if it is missing, damaged or of another size."""
        file = self.mask_file(annotator, sha)
        return parse_mask(self.mask_content(annotator, sha), image_size, str(file))


def mask_bytes(mask: Bools) -> bytes:
    """Return a mask, bool (H, W), as a PNG of 1 bit a pixel; the same mask gives the same bytes."""
    from PIL import Image

    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"a mask must be bool (H, W), not {mask.dtype} {mask.shape}")
    height, width = mask.shape
    sink = io.BytesIO()
    Image.frombytes("1", (width, height), np.packbits(mask, axis=1).tobytes()).save(sink, "PNG")
    return sink.getvalue()


def parse_mask(content: bytes, image_size: tuple[int, int], where: str) -> Bools:
    """Return the mask in a PNG, bool (H, W). Raises UserError, naming *where*, unless it is 1-bit and of that size."""
    from PIL import Image

    height, width = image_size
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.mode != "1" or image.size != (width, height):
                raise ValueError(
                    f"expected {width} x {height} pixels of 1 bit, not {image.size[0]} x {image.size[1]} '{image.mode}'"
                )
            image.load()
            return np.array(image, dtype=np.bool_)
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise UserError(f"{where}: not a mask: {error or type(error).__name__}") from None


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
            event = _parse(text, number, manifest, history.annotator)
            history.add(event)
            if events is not None:
                events.append(event)
        except KeyError as error:
            raise UserError(f"{file}, line {number}: broken: there is no {error}", _MEND) from None
        except (ValueError, TypeError, RecursionError, UserError) as error:
            why = error.message if isinstance(error, UserError) else str(error)
            raise UserError(f"{file}, line {number}: broken: {why}", _MEND) from None
    return history, whole, len(content)


_MEND = "restore the file from a copy, or delete this line and all after it"


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
            self._lock.acquire()
        except Timeout:
            raise UserError(
                f"annotator {self.annotator}: another process is recording these answers ({self.file})",
                "end it, or use another name",
            ) from None
        except OSError as error:
            raise _cannot_write(self.file, error) from None
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
                _sync_folder(self.file.parent)
        except OSError as error:
            raise _cannot_write(self.file, error) from None

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
            raise _cannot_write(self.file, error) from None
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


def _cannot_write(file: Path, error: OSError, what: str = "; the answer was not recorded") -> UserError:
    return UserError(
        f"{file}: cannot be written: {error.strerror or error}{what}",
        "make room, or make the folder writable",
    )


def _sync_folder(path: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------------------------------------------------------------
# votes → one answer


@dataclass(frozen=True, slots=True)
class Vote:
    """What one annotator says about one question."""

    annotator: str
    event: Event

    @property
    def answer(self) -> Answer:
        """The answer that counts."""
        assert self.event.answer is not None
        return self.event.answer


def votes_of(histories: Sequence[History]) -> dict[str, list[Vote]]:
    """Return the votes on each question, skips among them, by annotator's name. Nobody's question is not in it."""
    votes: dict[str, list[Vote]] = {}
    for history in histories:
        for example, event in history.current.items():
            votes.setdefault(example, []).append(Vote(history.annotator, event))
    return votes


def majority(answers: Sequence[str]) -> str | None:
    """Return what most of *answers* say, yes, no or maybe. Skips do not vote; a tie is maybe; None if nobody votes."""
    counts = {word: answers.count(word) for word in (YES, NO, MAYBE)}
    most = max(counts.values())
    if most == 0:
        return None
    first = [word for word, count in counts.items() if count == most]
    return first[0] if len(first) == 1 else MAYBE


def is_drawn(votes: Sequence[Vote]) -> bool:
    """Return whether more annotators drew something than said maybe: then what they drew is the answer."""
    drawn = sum(not is_word(vote.answer) for vote in votes)
    return drawn > sum(vote.answer == MAYBE for vote in votes)


def median_box(boxes: Sequence[Box]) -> Box:
    """Return the median of each side. Between two, the outer one, so that a box of whole pixels covers both halves."""
    sides = np.median(np.array(boxes, dtype=np.int64), axis=0)
    top, left = np.floor(sides[:2]).astype(int)
    bottom, right = np.ceil(sides[2:]).astype(int)
    return int(top), int(left), int(bottom), int(right)


def majority_mask(masks: Sequence[Bools]) -> Bools:
    """Return the pixels that more than half of the *masks*, bool (H, W) each, have set."""
    return np.asarray(2 * np.sum(np.stack(masks), axis=0, dtype=np.int64) > len(masks))


def questions_with(votes: Mapping[str, Sequence[Vote]], least: int) -> Iterator[str]:
    """Return the questions on which at least *least* annotators have a vote that is no skip, in the order of votes."""
    for example, given in votes.items():
        if sum(vote.answer != SKIP for vote in given) >= least:
            yield example
