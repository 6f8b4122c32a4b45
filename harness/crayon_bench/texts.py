"""What users write in a word or two: names, seeds and choices, on a command line or in a script."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from crayon_bench.errors import UserError, did_you_mean

MAX_SEED = 2**31 - 1


def split_names(text: str | Iterable[str], option: str) -> list[str]:
    """Return the names in ``a,b``, or in a list. Raises UserError if one is empty."""
    words = text.split(",") if isinstance(text, str) else map(str, text) if isinstance(text, Iterable) else [str(text)]
    names = [name.strip() for name in words]
    if not names or not all(names):
        raise UserError(f"{option} '{text}': expected names separated by commas")
    return names


def parse_seeds(text: str | int | Sequence[int]) -> list[int]:
    """Read ``5`` (seeds 0 to 4), ``0,1,2`` or ``7,`` (seed 7 alone), or a number or list of these. Raises UserError."""
    several = list(text) if isinstance(text, Iterable) and not isinstance(text, str) else None
    word = str(text) if several is None else ",".join(map(str, several)) + ","
    parts = [part.strip() for part in word.split(",")]
    if len(parts) > 1 and parts[-1] == "":
        parts.pop()
    if not all(part.isascii() and part.isdigit() and len(part) < 20 and int(part) <= MAX_SEED for part in parts):
        raise UserError(f"--seeds {text}: expected a number of seeds, such as 5, or a list of seeds, such as 0,1,2")
    numbers = [int(part) for part in parts]
    if several is not None or "," in word:
        return list(dict.fromkeys(numbers))
    if not 1 <= numbers[0] <= 10_000:
        raise UserError(f"--seeds {text}: the number of seeds must be 1 to 10000", "for seed 7 alone, write --seeds 7,")
    return list(range(numbers[0]))


def choice(value: Any, options: Sequence[str], option: str) -> str:
    """Return *value* if it is one of the *options*. Raises UserError."""
    if str(value) not in options:
        raise UserError(f"{option} {value}: there is no such choice", did_you_mean(str(value), options))
    return str(value)


def expanded(path: Path) -> Path:
    """Return *path* with ``~`` as the user's home: shells leave it as it is behind ``folder:`` and ``--option=``."""
    try:
        return path.expanduser()
    except RuntimeError:  # ~nobody
        return path
