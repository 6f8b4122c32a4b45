"""What users write in a word or two: names, seeds and choices, on a command line, in a script or in a list."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from crayon_bench.errors import UserError, did_you_mean

MAX_SEED = 2**31 - 1
MOST_SEEDS = 10_000


def split_names(text: str | Iterable[str], option: str) -> list[str]:
    """Return the names in ``a,b``, or in a list. Raises UserError if one is empty."""
    words = text.split(",") if isinstance(text, str) else map(str, text) if isinstance(text, Iterable) else [str(text)]
    names = [name.strip() for name in words]
    if not names or not all(names):
        raise UserError(f"{option} '{text}': expected names separated by commas")
    return names


def parse_seeds(text: str | int | Sequence[int]) -> list[int]:
    """Read ``5`` (seeds 0 to 4), ``0,1,2``, ``1-3`` or ``7,`` (seed 7 alone), or a number or list. Raises UserError."""
    several = list(text) if isinstance(text, Iterable) and not isinstance(text, str) else None
    word = str(text) if several is None else ",".join(map(str, several)) + ","
    parts = [part.strip() for part in word.split(",")]
    if len(parts) > 1 and parts[-1] == "":
        parts.pop()
    ends = [re.fullmatch(r"([0-9]{1,19})(?:-([0-9]{1,19}))?", part) for part in parts]
    if not all(end is not None and int(end[1]) <= int(end[2] or end[1]) <= MAX_SEED for end in ends):
        raise UserError(
            f"--seeds {text}: expected a number of seeds, such as 5, or a list of seeds, such as 0,1,2 or 1-3"
        )
    spans = [(int(end[1]), int(end[2] or end[1])) for end in ends if end is not None]
    if sum(last - first + 1 for first, last in spans) > MOST_SEEDS:
        raise UserError(f"--seeds {text}: more than {MOST_SEEDS} seeds")
    numbers = [seed for first, last in spans for seed in range(first, last + 1)]
    if several is not None or "," in word or "-" in word:
        return list(dict.fromkeys(numbers))
    if not 1 <= numbers[0] <= MOST_SEEDS:
        raise UserError(
            f"--seeds {text}: the number of seeds must be 1 to {MOST_SEEDS}", "for seed 7 alone, write --seeds 7,"
        )
    return list(range(numbers[0]))


def choice(value: Any, options: Sequence[str], option: str) -> str:
    """Return *value* if it is one of the *options*. Raises UserError."""
    if str(value) not in options:
        raise UserError(f"{option} {value}: there is no such choice", did_you_mean(str(value), options))
    return str(value)


DEVICES = ("auto", "cpu", "cuda")


def kind_of_device(device: str) -> str:
    """Return one of :data:`DEVICES`, ``cuda`` for ``cuda:N`` too. Raises UserError."""
    return choice("cuda" if re.fullmatch(r"cuda:[0-9]{1,4}", device) else device, DEVICES, "--device")


def in_order(names: Iterable[str]) -> list[str]:
    """Return the *names* without doubles, sorted: 2 before 10 if all are whole numbers, otherwise as text."""
    found = set(names)
    if all(re.fullmatch(r"[+-]?\d{1,18}(\.0+)?", name, re.ASCII) for name in found):  # 1.0 is what pandas writes
        return sorted(found, key=lambda name: (int(name.partition(".")[0]), name))
    return sorted(found)


def expanded(path: Path) -> Path:
    """Return *path* with ``~`` as the user's home: shells leave it as it is behind ``folder:`` and ``--option=``."""
    try:
        return path.expanduser()
    except RuntimeError:  # ~nobody
        return path
