"""Whether a file is the published one: its checksum, or its number of images."""

import hashlib
from pathlib import Path

from crayon_bench.data.plain import CHUNK, digests
from crayon_bench.data.preparing import Preparing
from crayon_bench.data.trees.opening import open_tree
from crayon_bench.dataset import IMAGE_SUFFIXES, DataFile
from crayon_bench.errors import UserError


def checksum_of(file: DataFile) -> str:
    """Return the published file's checksum; ``""`` if none is published."""
    return file.packed_sha256 or file.packed_md5


def compare(file: DataFile, path: Path) -> tuple[str, str]:
    """Return the hash of the content, and how it differs from the published file."""
    if file.tree:
        tree = open_tree(path, *file.folders)
        # Images alone: what else lies in an archive, such as a licence, differs between packers.
        number, why = sum(name.lower().endswith(IMAGE_SUFFIXES) for name in tree.members), ""
        if file.members and number != file.members:
            why = f"{path.name} holds {number:,} images, the published one {file.members:,}"
        return tree.digest(), why
    sha256, md5 = digests(path, 2 * file.size + CHUNK)
    kind, here, published = ("sha256", sha256, file.sha256) if file.sha256 else ("md5", md5, file.packed_md5)
    if not published or here == published:
        return sha256, ""
    what = f"{kind} of its content {here[:12]}…, published {published[:12]}…"
    return sha256, f"{path.name} is not the published file ({what})"


def is_published_archive(path: Path, file: DataFile) -> bool | None:
    """Return whether a tree's archive has its published checksum; None if it is a folder, or none is published."""
    if path.is_dir() or not (file.packed_sha256 or file.packed_md5):
        return None
    hasher = packed_hasher(file)
    try:
        with path.open("rb") as stream, Preparing(f"{path.name}: checksum, MB", path.stat().st_size >> 20) as progress:
            while chunk := stream.read(CHUNK):
                hasher.update(chunk)
                progress.step()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    return hasher.hexdigest() == (file.packed_sha256 or file.packed_md5)


def packed_hasher(file: DataFile) -> "hashlib._Hash":
    """Return a hasher of the kind whose checksum is published of the packed *file*; sha256 if none is."""
    md5 = file.packed_md5 and not file.packed_sha256
    return hashlib.md5(usedforsecurity=False) if md5 else hashlib.sha256()
