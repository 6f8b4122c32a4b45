"""``data prepare``: fetching a data set's files. The only place here that opens a connection."""

import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from crayon_bench.data.files import is_there, origins_of
from crayon_bench.data.plain import CHUNK
from crayon_bench.data.preparing import Preparing
from crayon_bench.data.published import checksum_of, compare, is_published_archive, packed_hasher
from crayon_bench.dataset import DataFile, Dataset
from crayon_bench.errors import UserError
from crayon_bench.store.atomic import replace_folder


def prepare(dataset: type[Dataset], root: Path, mirrors: Sequence[str], say: Callable[[str], None]) -> Path:
    """Fetch the data set's files into *root*, from *mirrors* (base URLs) first; return their folder.

    A file that is there with its published checksum is left alone. Raises UserError if no source delivers a file with
    the published checksum; what was delivered is then not kept.
    """
    if not dataset.files:
        raise UserError(f"dataset '{dataset.name}' has nothing to prepare")
    folder = root / dataset.folders[0]
    _make(folder)
    for file in dataset.files:
        here = [path for path in dict.fromkeys((folder / file.name, folder / file.packed)) if is_there(path, file)]
        right = [path for path in here if _is_published(dataset, path, file)]
        for path in (path for path in here if path not in right):
            kept = path.with_name(f"{path.name}.unverified")
            (replace_folder if path.is_dir() else Path.replace)(path, kept)
            say(f"{path.name}: not the published file, kept as {kept.name}")
        if right:
            say(f"{file.packed}: there already, verified")
            continue
        failures = []
        for url in [f"{mirror.rstrip('/')}/{file.packed}" for mirror in mirrors] + list(file.urls):
            say(f"{file.packed}: fetching {url}")
            try:
                _fetch(dataset, url, folder / file.packed, file)
                say(f"{file.packed}: {'verified' if checksum_of(file) else 'checked; no checksum of it is published'}")
                break
            except _FetchError as error:
                say(f"{file.packed}: {error}")
                failures.append(f"{url}: {error}")
        else:
            raise UserError(
                f"{file.packed}: no source delivered it ({'; '.join(failures)})",
                _by_hand(dataset, file),
            )
    return folder


def _by_hand(dataset: type[Dataset], file: DataFile) -> str:
    names = ", ".join(f.packed for f in dataset.files)
    what = f"get {names}{origins_of(dataset.files)}" if file.origin else "get it yourself"
    return f"{what}, then crayon-bench data import {dataset.name} FOLDER"


def _is_published(dataset: type[Dataset], path: Path, file: DataFile) -> bool:
    try:
        if not checksum_of(file):
            dataset.check_file(file, path)
        if file.tree and (right := is_published_archive(path, file)) is not None:
            return right
        return not compare(file, path)[1]
    except UserError:  # truncated or corrupt
        return False


class _FetchError(Exception):
    pass


def _fetch(dataset: type[Dataset], url: str, target: Path, file: DataFile) -> None:
    if not url.startswith(("https://", "http://")):
        raise _FetchError("not an http(s) address")
    hasher, size, start = packed_hasher(file), 0, b""
    limit = file.size + CHUNK  # nothing that we fetch grows by packing
    try:
        file_ = tempfile.NamedTemporaryFile(dir=target.parent, prefix=".fetch-", delete=False)  # noqa: SIM115
    except OSError as error:
        why = f"{target.parent}: cannot be written: {error.strerror or error}"
        raise UserError(why, "choose another --data-root") from None
    with file_ as out:
        temporary = Path(out.name)
        try:
            with (
                urllib.request.urlopen(url, timeout=60) as response,
                Preparing(f"{file.packed}: fetching, MB", max(1, file.size >> 20)) as progress,
            ):
                while chunk := response.read(CHUNK):
                    start = start or chunk[:512]
                    size += len(chunk)
                    if size > limit:
                        raise _FetchError(f"larger than {limit} bytes")
                    hasher.update(chunk)
                    out.write(chunk)
                    progress.step((size >> 20) - progress.done)
            out.flush()
            os.fsync(out.fileno())
            if hasher.hexdigest() != checksum_of(file):
                if start.lstrip()[:1] == b"<":
                    raise _FetchError("an HTML page came in place of the file")
                if checksum_of(file):
                    raise _FetchError(f"wrong checksum ({size} bytes, {hasher.name} {hasher.hexdigest()[:12]}…)")
                try:
                    dataset.check_file(file, temporary)
                except UserError as error:
                    raise _FetchError(str(error).replace(str(temporary), file.packed)) from None
            temporary.chmod(0o644)
            temporary.replace(target)
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
            raise _FetchError(f"failed: {getattr(error, 'reason', error)}") from None
        finally:
            temporary.unlink(missing_ok=True)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror or error}", "choose another --data-root") from None
