"""What the tests on hostile input share: how cases are made, and what must hold of each.

A case is accepted, or refused by one line (UserError), or set aside with a warning and made again. Nothing else: no
other exception, no hang, no blow-up of memory, and nothing written but in the store and in the cache.
``CRAYON_BENCH_FUZZ=full`` runs all cases (``nox -s fuzz``), otherwise a twentieth of them is run.
"""

import os
import random
import re
import resource
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch  # noqa: F401 - here, because its import needs more memory than a case may take
from hypothesis import HealthCheck, settings, strategies as st

from crayon_bench.data.roots import cache_root
from crayon_bench.errors import UserError
from crayon_bench.plugins.rows import PluginError

FULL = os.environ.get("CRAYON_BENCH_FUZZ") == "full"
TALLY: dict[str, Counter[str]] = defaultdict(Counter)
"""kind → how often it was accepted, refused or remade."""

SECONDS = 20
"""A case that computes longer hangs, or one that takes fifteen times as long on the clock, on a machine that is busy."""
MEMORY = 2 << 30
"""What a case may reserve beyond what the process has already."""

T = TypeVar("T")


class TooLong(BaseException):
    pass


def number(full: int) -> int:
    """How many cases of *full* are run."""
    return full if FULL else max(10, full // 20)


def cases(kind: str, full: int) -> Iterator[random.Random]:
    """A source of random numbers for each case: the same ones every time."""
    for i in range(number(full)):
        yield random.Random(f"{kind} {i}")


def examples(full: int) -> Callable[[T], T]:
    """Settings of a property test."""
    return settings(
        max_examples=number(full), deadline=None, derandomize=True, database=None, suppress_health_check=[*HealthCheck]
    )


@contextmanager
def bounded() -> Iterator[None]:
    """Within it, whatever takes too long or too much memory is stopped."""

    def ring(*_: object) -> None:
        raise TooLong

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    before = {kind: signal.signal(kind, ring) for kind in (signal.SIGALRM, signal.SIGPROF)}
    signal.setitimer(signal.ITIMER_REAL, 15 * SECONDS)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for kind, handler in before.items():
            signal.signal(kind, handler)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def attempt(kind: str, read: Callable[[], T], *, remade: Callable[[], bool] = lambda: False) -> T | None:
    """Return what *read* gives, None if it is refused, and check that nothing else happens."""
    try:
        with bounded():
            result = read()
    except (UserError, PluginError) as error:
        text = str(error)
        assert text.strip(), "no message"
        assert text.isprintable(), f"not one plain line: {text!r}"
        assert len(text) < 3000, f"{len(text)} characters: {text[:300]}"
        TALLY[kind]["refused"] += 1
        result = None
    else:
        TALLY[kind]["remade" if remade() else "accepted"] += 1
    assert os.listdir() == []  # noqa: PTH208 - the folder we are in
    assert os.listdir(os.environ["CRAYON_BENCH_DATA"]) == []  # noqa: PTH208
    assert not list(cache_root().rglob("*.tmp"))
    return result


# ---------------------------------------------------------------------------------------------------------------------
# bytes


def mutated(rng: random.Random, content: bytes, other: bytes = b"") -> bytes:
    """*content* with one to three accidents: bits flipped, cut, spliced, stretches lost, doubled or overwritten."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = _accident(rng, content, other or content)
    return content


def _accident(rng: random.Random, content: bytes, other: bytes) -> bytes:
    # Headers and trailers are where the meaning is: half of the accidents happen there.
    n = len(content)
    end = n if rng.random() < 0.5 else min(n, 200)
    here = rng.randrange(end + 1)
    if rng.random() < 0.25:
        here = n - here
    size = rng.choice((1, 2, 4, 8, 64, 1000))
    kind = rng.choice(("flip", "flip", "cut", "splice", "lose", "double", "insert", "fill", "number"))
    if kind == "flip":
        changed = bytearray(content)
        for _ in range(rng.choice((1, 1, 4, 32)) if n else 0):
            changed[rng.choice((min(here, n - 1), rng.randrange(n)))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if kind == "cut":
        return content[:here]
    if kind == "splice":
        return content[:here] + other[rng.randrange(len(other) + 1) :]
    if kind == "lose":
        return content[:here] + content[here + size :]
    if kind == "double":
        return content[: here + size] + content[here:]
    if kind == "insert":
        return content[:here] + rng.randbytes(size) + content[here:]
    if kind == "fill":
        return content[:here] + rng.choice((b"\0", b"\xff", b"9", b" ")) * size + content[here + size :]
    value = rng.choice((0, 1, -1, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1)) % 2**64
    width = rng.choice((2, 4, 8))
    raw = (value % 2 ** (8 * width)).to_bytes(width, rng.choice(("little", "big")))
    return content[:here] + raw + content[here + width :]


# ---------------------------------------------------------------------------------------------------------------------
# texts

WORDS = [
    "", " ", "-1", "0", "2", "3", "1e999", "-0.0", "nan", "inf", "true", "null", "²", "٣", "9" * 5000, "0x" + "f" * 5000,
    "1_000", "../../x", "/etc/passwd", "a\\b", "\0", "\x1b[31m", "\x0b", "\x1c", "\x85", "\u2028", "\r", "\n", '"', "'", ",",
    "=", "#", "[", "]]", "{", "a.b.c", "\N{PILE OF POO}", "\u202e", "x" * 10_000, "[" * 2000, "a." * 2000 + "a", "{a=" * 500,
    "1979-05-27", "07:32:00", "1e308", "4294967296", "18446744073709551616",
]  # fmt: skip
"""Words that somebody may not have thought of."""


def mutated_text(rng: random.Random, text: str) -> bytes:
    """*text* with words exchanged, lines lost, doubled or swapped; sometimes bytes changed as well."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        kind = rng.choice(("word", "word", "word", "line", "double", "swap", "ends"))
        lines = text.split("\n")
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        if kind == "word":
            words = re.split(r"([\s,=]+)", lines[i])
            words[rng.randrange(len(words))] = rng.choice([*WORDS, *re.split(r"[\s,=]+", lines[j])])
            lines[i] = "".join(words)
        elif kind == "line":
            del lines[i]
        elif kind == "double":
            lines.insert(j, lines[i])
        elif kind == "swap":
            lines[i], lines[j] = lines[j], lines[i]
        text = (rng.choice(("\r\n", "\r", "\n\n", "\x0b")) if kind == "ends" else "\n").join(lines)
    content = text.encode("utf-8", "surrogatepass")
    return mutated(rng, content) if rng.random() < 0.25 else content


def texts(base: list[str] | None = None) -> st.SearchStrategy[str]:
    """Any text, and those that are hostile."""
    return st.one_of(st.text(max_size=20), st.sampled_from([*WORDS, *(base or [])]))


# ---------------------------------------------------------------------------------------------------------------------
# values


def deep(depth: int = 3000) -> list[Any]:
    nest: list[Any] = []
    for _ in range(depth):
        nest = [nest]
    return nest


VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 10**18, 10**400, -(10**400), 1e308, -1e308, 1e-320, float("nan"), float("inf"), 0.5, "",
    "x", "x" * 10_000, "\ud800", "\0", "../../x", "/etc/passwd", "\x1b[31m\n", "[bold]", "1", [], {}, [1], [None], {"": None},
    {"name": "x"}, {"name": 3}, {"name": "../x"}, [[[[]]]], deep(200),
]  # fmt: skip


def spots(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values in a nest of dictionaries and lists."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from spots(item, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any, *, drop: bool = False) -> Any:
    """A copy of *value* with *new* at *path*, or with nothing there."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if drop and len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = changed(copy[path[0]], path[1:], new, drop=drop)
    return copy


def mutated_value(rng: random.Random, value: Any) -> Any:
    """*value* with one or two places exchanged or left out."""
    for _ in range(rng.choice((1, 1, 2))):
        path = rng.choice(list(spots(value))[1:] or [()])
        value = changed(value, path, rng.choice(VALUES), drop=rng.random() < 0.2)
    return value


def anything() -> st.SearchStrategy[Any]:
    """Any value that JSON can hold, and some that it should not."""
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10), st.sampled_from(VALUES)
    )
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner), max_leaves=12
    )
