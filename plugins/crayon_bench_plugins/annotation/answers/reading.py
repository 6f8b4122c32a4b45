"""Everything that is recorded in a folder; read once, however many runs ask the same people."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from crayon_bench import UserError
from crayon_bench_plugins.annotation.answers.folder import Answers
from crayon_bench_plugins.annotation.answers.manifest import Manifest
from crayon_bench_plugins.annotation.answers.tasks import Task, is_word
from crayon_bench_plugins.annotation.answers.votes import Vote, votes_of


@dataclass(frozen=True)
class Recorded:
    """One task of a folder: its questions, and the votes on each. torn: last lines that do not count."""

    manifest: Manifest
    votes: dict[str, list[Vote]]
    torn: int

    @cached_property
    def timed(self) -> bool:
        """Whether it is known of every answer how long it took."""
        return all(vote.event.timed for votes in self.votes.values() for vote in votes)


_last: tuple[Any, dict[Task, Recorded]] | None = None


def read_all(path: Path) -> dict[Task, Recorded]:
    """Return what is recorded in the folder, by task. Raises UserError, also if no question is answered."""
    global _last
    folder = Answers.open(path)
    signature = (path.resolve(), _signature(folder))
    if _last is not None and _last[0] == signature:  # many runs ask the same people
        return _last[1]
    recorded = {}
    for task in folder.tasks():
        manifest = folder.manifest(task)
        histories, torn = folder.histories(task, manifest)
        recorded[task] = Recorded(manifest, votes_of(histories), len(torn))
        for votes in recorded[task].votes.values():
            for vote in votes:
                if not is_word(vote.answer) and isinstance(vote.answer, str):
                    folder.mask_content(vote.annotator, vote.answer)
    if not any(one.votes for one in recorded.values()):
        raise UserError(f"answers {path}: nobody has answered a question yet", "see crayon-bench annotate --help")
    _last = (signature, recorded)
    return recorded


def _signature(folder: Answers) -> list[tuple[str, int, int]]:
    files = [file for task in folder.tasks() for file in (folder.manifest_file(task), *folder.annotators(task))]
    stats = [(str(file), file.stat()) for file in files]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
