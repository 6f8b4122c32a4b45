"""While a method runs, evidence, groups and data sets refuse to be read, except on behalf of a metered answer.

This is the second of two fences. The first is that nothing a method is handed leads to these things
(:mod:`crayon_bench.oracle` keeps them in a vault of its own). This one also stops a method that imports a dataset
plugin and loads it. Python has no walls: somebody who patches this module gets through; nobody does by accident.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident

from crayon_bench.errors import GuardError

# Plain module variables and not a ContextVar: a thread that a method starts must be fenced in as well. The gate,
# however, opens only for the thread that answers.
_fenced = False
_answering: dict[int, int] = {}
_refused: Counter[str] = Counter()


@contextmanager
def method_running() -> Iterator[None]:
    """Fence: inside, :func:`require_open` raises."""
    global _fenced
    before, _fenced = _fenced, True
    try:
        yield
    finally:
        _fenced = before


@contextmanager
def answering() -> Iterator[None]:
    """Gate in the fence: the ledger opens it, for its own thread, for the length of one answer."""
    thread = get_ident()
    _answering[thread] = _answering.get(thread, 0) + 1
    try:
        yield
    finally:
        _answering[thread] -= 1
        if not _answering[thread]:
            del _answering[thread]


def require_open(what: str) -> None:
    """Raise :class:`GuardError` naming *what* if a method is running."""
    if _fenced and get_ident() not in _answering:
        _refused[what] += 1
        raise GuardError(f"a method may not read {what}; it asks job.oracle, which counts the answer")


def refused() -> Counter[str]:
    """Return how often each thing was refused in this process: a method may have caught the error and gone on."""
    return _refused.copy()
