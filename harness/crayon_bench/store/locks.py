"""Locks between processes, on file systems that have none."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from crayon_bench.errors import StoreError

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
STORE = "choose another with --store DIR (stores merge by copying), or have this file system mounted with locks"


@contextmanager
def locking(what: str, hint: str = STORE) -> Iterator[None]:
    """Around the taking of a lock: a file system without locks becomes a StoreError that names *what* and the remedy.

    Going on without would let two processes write the same file.
    """
    try:
        yield
    except (OSError, NotImplementedError) as error:  # the latter is what older versions of filelock raise
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        why = getattr(error, "strerror", None) or error
        raise StoreError(f"{what}: its file system has no locks ({why})", hint) from None
