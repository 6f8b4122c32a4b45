"""``data import``: copying a data set's files from the user's own folder or archive."""

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from crayon_bench.data.files import ACCEPTED, is_there
from crayon_bench.data.plain import CHUNK
from crayon_bench.data.published import checksum_of, compare
from crayon_bench.data.trees.archives import BROKEN, is_tar, is_zip, open_member, open_tar
from crayon_bench.dataset import DataFile, Dataset
from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.store.atomic import replace_folder, write_file


def _near(name: str, siblings: list[str]) -> str:
    """Return which file may have been meant; not all that lie there, which are no choices."""
    hint = did_you_mean(name, siblings)
    return hint if hint.startswith("did you mean") else "give a folder, an archive (zip, tar) or one of its files"


def import_files(
    dataset: type[Dataset], source: Path, root: Path, *, accept_unverified: bool, say: Callable[[str], None]
) -> Path:
    """Copy the data set's files from *source* (folder, file, zip or tar) into *root*; return their folder.

    All files are checked before the first is copied. One without its published checksum is refused unless
    *accept_unverified*, and is then noted in :data:`ACCEPTED`. Raises UserError.
    """
    if not dataset.files:
        use = f"give it where it lies: --dataset {dataset.name}:{source}" if dataset.takes_path else None
        raise UserError(f"dataset '{dataset.name}' has nothing to import", use)
    folder = root / dataset.folders[0]
    with tempfile.TemporaryDirectory(prefix="crayon-bench-") as scratch:
        try:
            found = dict(_find_files(dataset, source, Path(scratch)))
        except (OSError, *BROKEN) as error:
            raise UserError(f"{source}: broken: {error}", "fetch it again") from None
        missing = [file.packed for file in dataset.files if file.name not in found]
        if missing:
            packed = source.is_file() and any(file.tree and file.name not in found for file in dataset.files)
            hint = "nothing was imported" + ("; unpack it, and import the folder that comes out" if packed else "")
            raise UserError(f"{source}: {', '.join(missing)} is not in it (nor unpacked)", hint)
        hint = "to use it knowingly, add --accept-unverified; records and tables will say so"
        accepted, digests = {}, {}
        for file in dataset.files:
            digests[file.name], why = compare(file, found[file.name])
            if not why:
                say(f"{file.name}: {_approval(file)}")
                continue
            if not accept_unverified:
                raise UserError(f"{found[file.name]}: {why}", hint)
            accepted[file.name] = digests[file.name]
            say(f"{file.name}: UNVERIFIED, accepted ({why})")
        dataset.check_files(found)
        for doubt in dataset.doubts(found):
            if not accept_unverified:
                raise UserError(f"{source}: {doubt}", hint)
            accepted = digests
            say(f"UNVERIFIED, accepted: {doubt}")
        try:
            _copy_into(folder, dataset, found, accepted)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be written: {error.strerror or error}", "choose another --data-root"
            ) from None
    return folder


def _approval(file: DataFile) -> str:
    if file.tree and file.members:
        return f"{file.members:,} images, as published"
    return "verified" if file.sha256 or checksum_of(file) else "whole; no checksum of it is published"


def _copy_into(folder: Path, dataset: type[Dataset], found: dict[str, Path], accepted: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    staged: list[tuple[Path, Path, set[str]]] = []
    try:
        for file in dataset.files:
            path = found[file.name]
            name = path.name
            if path.resolve() == (folder / name).resolve():
                continue
            temporary = folder / f".{name}.tmp"
            _remove(temporary)
            staged.append((temporary, folder / name, {*file.names} - {name}))
            if path.is_dir():
                shutil.copytree(path, temporary)
            else:
                shutil.copyfile(path, temporary)
        # Everything is copied before anything is replaced: a disk that fills up leaves what was there before.
        for temporary, target, stale in staged:
            for name in stale:
                _remove(folder / name)
            if temporary.is_dir():
                replace_folder(temporary, target)
            else:
                temporary.replace(target)
    finally:
        for temporary, _, _ in staged:
            _remove(temporary)
    if accepted:
        write_file(folder / ACCEPTED, json.dumps(accepted, indent=1).encode() + b"\n")
    else:
        (folder / ACCEPTED).unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _find_files(dataset: type[Dataset], source: Path, scratch: Path) -> Iterator[tuple[str, Path]]:
    wanted = {name: file for file in dataset.files for name in file.names}
    trees = {name for name, file in wanted.items() if file.tree}
    if source.is_dir() and source.name in wanted and source.name not in trees:  # in a folder of its own name
        source = source.resolve().parent
    if source.is_dir() and source.name not in wanted:
        for found, folders, names in os.walk(source):
            here = [Path(found, name) for name in sorted([*folders, *names])]
            yield from ((wanted[path.name].name, path) for path in here if _is_wanted(path, wanted))
            folders[:] = sorted(name for name in folders if name not in trees)
    elif not source.exists():
        siblings = [p.name for p in source.parent.iterdir()] if source.parent.is_dir() else []
        raise UserError(f"{source}: there is no such file or folder", _near(source.name, siblings[:200]))
    elif source.name in wanted:
        for path in sorted(source.resolve().parent.iterdir()):  # one of the files names its folder
            if _is_wanted(path, wanted):
                yield wanted[path.name].name, path
    else:
        limit = 2 * max(file.size for file in dataset.files)
        for member, stream in _members(source):
            base = Path(member).name
            if base in wanted:
                # Written under the name that we look for, never under the archive's: no path can lead outside.
                with (scratch / base).open("wb") as out:
                    _copy_bounded(stream, out, limit, f"{source}: {member}")
                yield wanted[base].name, scratch / base


def _is_wanted(path: Path, wanted: dict[str, DataFile]) -> bool:
    return path.name in wanted and is_there(path, wanted[path.name])


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if is_zip(archive):
        with zipfile.ZipFile(archive) as bundle:
            for info in bundle.infolist():
                if not info.is_dir():
                    with open_member(bundle, info) as stream:
                        yield info.filename, stream
    elif is_tar(archive):
        with archive.open("rb") as raw, open_tar(raw) as bundle:
            for member in bundle:
                if member.isfile() and (opened := bundle.extractfile(member)) is not None:
                    yield member.name, opened
    else:
        raise UserError(f"{archive}: neither a zip nor a tar archive, nor one of the data set's files")


def _copy_bounded(stream: IO[bytes], out: IO[bytes], limit: int, what: str) -> None:
    size = 0
    while chunk := stream.read(CHUNK):
        size += len(chunk)
        if size > limit:
            raise UserError(f"{what}: larger than {limit} bytes, which none of these files is")
        out.write(chunk)
