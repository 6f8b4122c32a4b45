"""A data set's files: where they are, and what is known of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crayon_bench.data.published import compare
from crayon_bench.dataset import DataFile, Dataset
from crayon_bench.errors import UserError
from crayon_bench.store.atomic import read_json

ACCEPTED = "accepted-unverified.json"
"""Beside imported files: name → sha256 of those that the user took knowingly without their published checksum."""


@dataclass(frozen=True)
class FileReport:
    """What is known of one file.

    sha256: of the plain content; of a tree, of its members' names, sizes and crc32s. accepted: taken knowingly by
    ``data import``. why: how it differs from the published one; ``""`` if it does not, as far as that can be told.
    """

    file: DataFile
    path: Path
    sha256: str
    accepted: bool
    why: str

    @property
    def verified(self) -> bool:
        """Whether it has its published checksum; of a tree, its published number of files."""
        return not self.why


def locate(dataset: type[Dataset], root: Path) -> dict[str, Path]:
    """Return the paths of the data set's files under *root*, by plain name: packed or plain, plain first.

    The folders in ``dataset.folders`` are tried in order; the first that has any of the files is taken. Returns an
    empty dictionary if none has; raises UserError if the folder has some of the files and lacks others.
    """
    for folder in (root / name for name in dataset.folders):
        paths = {}
        for file in dataset.files:
            for candidate in (folder / file.name, folder / file.packed):
                if is_there(candidate, file):
                    paths[file.name] = candidate
                    break
        if paths and len(paths) < len(dataset.files):
            lacking = [file for file in dataset.files if file.name not in paths]
            missing = [f"{f.packed} (or the folder {f.name})" if f.tree else f.packed for f in lacking]
            what = "it" if len(missing) == 1 else "them"
            hint = f"add {what}{origins_of(lacking)}, or crayon-bench data prepare {dataset.name}"
            raise UserError(f"{folder}: incomplete: {', '.join(missing)} is missing", hint)
        if paths:
            return paths
    return {}


def is_there(path: Path, file: DataFile) -> bool:
    """Return whether *file* is at *path*, which has its plain or its packed name: a file, or a tree's folder."""
    return path.is_file() if path.name == file.packed or not file.tree else path.is_dir()


def origins_of(files: Sequence[DataFile]) -> str:
    """Return where *files* can be had by hand, as the end of a sentence; ``""`` if that is not known."""
    origins = list(dict.fromkeys(file.origin for file in files if file.origin))
    return f", from {' and '.join(origins)}" if origins else ""


def inspect(dataset: type[Dataset], root: Path) -> list[FileReport]:
    """Return a report on every file under *root*; an empty list if there is none. Raises UserError if one is broken."""
    reports = []
    for name, path in locate(dataset, root).items():
        file = next(f for f in dataset.files if f.name == name)
        sha256, why = compare(file, path)
        reports.append(FileReport(file, path, sha256, _accepted(path.parent).get(name) == sha256, why))
    return reports


def unverified(dataset: type[Dataset], reports: Sequence[FileReport], *, strict: bool) -> tuple[str, ...]:
    """Return the notes that stand under every table made from files that are not the published ones.

    Raises UserError if *strict* (see :meth:`Dataset.find`) and one is neither published nor accepted on import.
    """
    hint = f"crayon-bench data prepare {dataset.name}, or data import … --accept-unverified"
    notes = []
    for report in reports:
        if not report.verified:
            notes.append(f"UNVERIFIED data: {report.why}")
            if strict and not report.accepted:
                raise UserError(f"{report.path}: {notes[-1]}", hint)
    for doubt in dataset.doubts({report.file.name: report.path for report in reports}):
        notes.append(f"UNVERIFIED data: {doubt}")
        if strict and not all(report.accepted for report in reports):
            raise UserError(f"{reports[0].path.parent}: {notes[-1]}", hint)
    return tuple(notes)


def _accepted(folder: Path) -> dict[str, str]:
    try:
        content = read_json(folder / ACCEPTED)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / ACCEPTED}: cannot be read: {error}", "delete it and import again") from None
    return content if isinstance(content, dict) else {}
