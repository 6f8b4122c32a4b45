"""Reading a file of the user's within bounds."""

import stat
from pathlib import Path

from crayon_bench.data.trees.tree import LARGEST


def read_bounded(path: Path) -> bytes:
    """Return a file's content. Raises OSError, and ValueError where it is no file, or too large."""
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        raise OSError(22, "not a file")
    if info.st_size > LARGEST:
        raise OSError(27, f"larger than {LARGEST >> 20} MiB")
    return path.read_bytes()
