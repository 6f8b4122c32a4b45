"""A data set's files: where they are, and what is known of each."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crayon_bench.data.published import compare
from crayon_bench.dataset import DataFile, Dataset, Found, Source
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
    def folder(self) -> Path:
        """Where the file lies, above a folder of its own name."""
        return home_of(self.path, self.file)

    @property
    def verified(self) -> bool:
        """Whether it has its published checksum; of a tree, its published number of files."""
        return not self.why


def locate(dataset: type[Dataset], root: Path) -> dict[str, Path]:
    """Return the paths of the data set's files under *root*, by plain name: plain first, then packed, then others.

    The folders in ``dataset.folders`` are tried in order; the first that has any of the files is taken. Returns an
    empty dictionary if none has; raises UserError if the folder has some of the files and lacks others.
    """
    for folder in (root / name for name in dataset.folders):
        paths = {}
        for file in dataset.files:
            if (there := find_in(folder, file)) is not None:
                paths[file.name] = there
        if paths and len(paths) < len(dataset.files):
            lacking = [file for file in dataset.files if file.name not in paths]
            missing = [f"{f.packed} (or the folder {f.name})" if f.tree else f.packed for f in lacking]
            what = "it" if len(missing) == 1 else "them"
            hint = elsewhere(dataset, folder)
            hint = hint or f"add {what}{origins_of(lacking)}, or crayon-bench data prepare {dataset.name}"
            raise UserError(f"{folder}: incomplete: {', '.join(missing)} is missing", hint)
        if paths:
            return paths
    return {}


def find_in(folder: Path, file: DataFile) -> Path | None:
    """Return where *file* is in *folder*, under any of its names, perhaps in a folder of its own name; None if not."""
    for path in (folder / name for name in file.names):
        if is_there(path, file):
            return path
        if not file.tree and (inner := next((path / name for name in file.names if (path / name).is_file()), None)):
            return inner
    return None


def is_there(path: Path, file: DataFile) -> bool:
    """Return whether *file* is at *path*, which has one of its names: a file, or a tree's folder."""
    if not file.tree or path.name == file.packed:
        return path.is_file()
    return path.is_dir() if path.name in file.folders else path.is_file()


def home_of(path: Path, file: DataFile) -> Path:
    """Return the folder in which *file* lies at *path*, above one of its own name."""
    return path.parent.parent if not file.tree and path.parent.name in file.names else path.parent


_DEEP, _MANY = 3, 500
"""How many levels down files are looked for that are not where they should be, and in how many folders."""


def elsewhere(dataset: type[Dataset], root: Path) -> str:
    """Return where the data set's files are in place of *root*, as advice; ``""`` if they are not near."""
    trees = {name for file in dataset.files if file.tree for name in file.folders}
    here = root.resolve()
    if here.name in trees and here.is_dir():
        return f"name the folder that it is in: --data-root {root.parent}"
    level = [root]
    for _ in range(_DEEP):
        below: list[Path] = []
        for folder in level[:_MANY]:
            with suppress(OSError), os.scandir(folder) as entries:
                names = sorted(e.name for e in entries if e.is_dir() and e.name not in trees and e.name[0] != ".")
                below += [folder / name for name in names]
        for folder in below[:_MANY]:
            if all(find_in(folder, file) for file in dataset.files):
                return f"its files are in {folder}: --data-root {folder}"
        level = below
    return ""


def files_of(dataset: type[Dataset], root: Path, source: Source) -> list[FileReport]:
    """Return a report on every file; an empty list if the stand-in is to be taken, see :func:`standin_of`.

    Raises UserError if *source* is ``real`` and there are no files, or if one is broken.
    """
    reports = [] if source is Source.STANDIN else inspect(dataset, root)
    if not reports and source is Source.REAL:
        looked = ", ".join(str(root / folder) for folder in dataset.folders)
        wanted = ", ".join(f"{f.packed} or the folder {f.name}" if f.tree else f.packed for f in dataset.files)
        hint = f"crayon-bench data prepare {dataset.name}, data import {dataset.name} FOLDER, or --data-root DIR"
        where = f"no {dataset.title} files found (looked in {looked} for {wanted})"
        raise UserError(where, elsewhere(dataset, root) or hint)
    return reports


def standin_of(dataset: type[Dataset], root: Path, source: Source, where: str, content: str = "") -> Found:
    """Return what is found where there is nothing but the stand-in. content: what its hash is of, if not *where*."""
    advice = elsewhere(dataset, root) if source is Source.AUTO else ""
    digest = hashlib.sha256((content or where).encode()).hexdigest()
    return Found(Source.STANDIN, digest, where, remarks=(advice,) if advice else ())


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
