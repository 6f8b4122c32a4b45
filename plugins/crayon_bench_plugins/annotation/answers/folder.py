"""The folder of recorded answers: where everything is, reading it, and keeping questions and masks."""

import hashlib
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from crayon_bench import UserError
from crayon_bench.store.atomic import read_json, sync_folder, write_file
from crayon_bench_plugins.annotation.answers.history import History, replay
from crayon_bench_plugins.annotation.answers.manifest import SCHEMA, Manifest
from crayon_bench_plugins.annotation.answers.masks import mask_bytes, parse_mask
from crayon_bench_plugins.annotation.answers.names import slug_of
from crayon_bench_plugins.annotation.answers.tasks import Answer, Bools, Task, is_word

LARGEST_MANIFEST = 1 << 28
"""Bytes of a task's questions."""
LARGEST_MASK = 1 << 24
"""Bytes of a mask's file."""
MOST_ANNOTATORS = 1000


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
            sync_folder(self.path)
        except OSError as error:
            raise cannot_write(file, error, "") from None

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
                    sync_folder(folder)
        except OSError as error:
            raise cannot_write(file, error) from None
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


def to_cell(task: Task, annotator: str, answer: Answer) -> str:
    """Return an answer as tables have it: the word, the box as four numbers, or the mask's path in the folder."""
    if isinstance(answer, tuple):
        return " ".join(map(str, answer))
    return answer if is_word(answer) else f"{task}/files/{slug_of(annotator)}/{answer}.png"


def check_new(output: Path, option: str) -> None:
    """Raise UserError if there is something at *output*, which was given as *option*; an empty folder is nothing."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{option} {output}: there is something already", "name a folder that does not exist")


@contextmanager
def new_folder(output: Path, option: str = "--answers") -> Iterator[Path]:
    """Give a folder to write to, which becomes *output* when all went well; else nothing stays. Raises UserError."""
    temporary = output.with_name(f".{output.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if output.exists():
            output.rmdir()
        temporary.rename(output)
    except OSError as error:
        raise UserError(f"{option} {output}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def cannot_write(file: Path, error: OSError, what: str = "; the answer was not recorded") -> UserError:
    """Return what to tell the user if *file* cannot be written; *what* is said after the reason."""
    return UserError(
        f"{file}: cannot be written: {error.strerror or error}{what}",
        "make room, or make the folder writable",
    )
