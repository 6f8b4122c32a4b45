"""While a method runs, evidence, groups and data sets refuse to be read, except on behalf of a metered answer.

This is the second of two fences. The first is that nothing a method is handed leads to these things
(:mod:`crayon_bench.oracle` keeps them in a vault of its own). This one also stops a method that imports a dataset
plugin and loads it. Python has no walls: somebody who patches this module gets through; nobody does by accident.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from crayon_bench.errors import GuardError

# A plain module variable and not a ContextVar: a thread that a method starts must be fenced in as well.
_fenced = False


@contextmanager
def method_running() -> Iterator[None]:
    """Fence: inside, :func:`require_open` raises."""
    with _set(True):
        yield


@contextmanager
def answering() -> Iterator[None]:
    """Gate in the fence: the ledger opens it for the length of one answer."""
    with _set(False):
        yield


@contextmanager
def _set(fenced: bool) -> Iterator[None]:
    global _fenced
    before, _fenced = _fenced, fenced
    try:
        yield
    finally:
        _fenced = before


def require_open(what: str) -> None:
    """Raise :class:`GuardError` naming *what* if a method is running."""
    if _fenced:
        raise GuardError(f"a method may not read {what}; it asks job.oracle, which counts the answer")
