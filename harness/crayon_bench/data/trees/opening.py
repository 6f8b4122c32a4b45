"""Which kind of tree lies at a path."""

from pathlib import Path

from crayon_bench.data.trees.archives import is_tar, is_zip
from crayon_bench.data.trees.folder import FolderTree
from crayon_bench.data.trees.tar import TarTree
from crayon_bench.data.trees.tree import Tree
from crayon_bench.data.trees.zip import ZipTree
from crayon_bench.errors import UserError


def open_tree(path: Path, *names: str) -> Tree:
    """Return the tree at *path*: a folder, or a zip or tar archive (told by content).

    names: those that its own folder may have; see :attr:`crayon_bench.DataFile.folders`.

    Raises UserError if it is none of them.
    """
    if path.is_dir():
        return FolderTree(path, names)
    try:
        if is_zip(path):
            return ZipTree(path, names)
        if is_tar(path):
            return TarTree(path, names)
        with path.open("rb") as stream:
            start = stream.read(512).lstrip()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    if start[:1] == b"<":
        raise UserError(f"{path}: an HTML page, not an archive", "open it in a browser to see what it says")
    raise UserError(f"{path}: neither a folder nor a whole zip or tar archive", "fetch it again")
