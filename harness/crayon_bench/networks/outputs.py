"""Which output of a classifier is which class: what the user says of it, what the file says, or what is assumed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crayon_bench.errors import UserError
from crayon_bench.texts import expanded

_LARGEST = 1 << 20
_SHOWN = 12


def told_classes(given: str | Sequence[str | int]) -> list[str]:
    """Return the classes by output, from a list, or from the file that *given* names: a line each, or JSON.

    JSON is a list, or an object from class to number (``class_to_idx``) or from number to class (``id2label``).
    Raises UserError.
    """
    where = "model.classes"
    if isinstance(given, str):
        where = f"model.classes = '{given}'"
        names = _in_file(expanded(Path(given)), where)
    else:
        names = [str(name).strip() for name in given]
    if not names or not all(names):
        raise UserError(f"{where}: {'a name is empty' if names else 'there is no name in it'}", _HINT)
    if doubles := [name for name in names if names.count(name) > 1][:1]:
        raise UserError(f"{where}: '{doubles[0]}' is in it twice", _HINT)
    return names


_HINT = "expected the labels in the order of the outputs"


def _in_file(path: Path, where: str) -> list[str]:
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{where}: larger than {_LARGEST >> 20} MiB, which no list of classes is")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{where}: there is no such file", 'a list is written ["first", "second"]') from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return _in_json(json.loads(text))
        except (ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{where}: neither a list nor an object of classes and numbers: {error}", _HINT) from None
    return [line.strip() for line in text.rstrip().splitlines()]


def _in_json(content: Any) -> list[str]:
    """Raises ValueError or TypeError."""
    if isinstance(content, dict):
        texts = all(isinstance(value, str) for value in content.values())
        number_of = {name: int(n) for n, name in content.items()} if texts else dict(content)
        if sorted(number_of.values()) != list(range(len(content))):
            raise ValueError(f"its numbers are not 0 to {len(content) - 1}")
        content = sorted(number_of, key=lambda name: number_of[name])
    if not all(type(name) in (str, int) for name in content):
        raise ValueError("a class is no text")
    return [str(name).strip() for name in content]


def check_classes(told: Sequence[str], said: Sequence[str], class_names: Sequence[str], number: int) -> None:
    """Raise UserError if what the user *told* cannot be the classes by output.

    said: what the file says, where it does. class_names: the data's, where they are known; number: how many there are.
    """
    if len(told) != number:
        raise UserError(f"model.classes: {len(told):,} names, and the data have {number:,} classes", _HINT)
    if class_names and (strange := [name for name in told if name not in class_names]):
        lacking = next(name for name in class_names if name not in told)
        raise UserError(f"model.classes: '{strange[0]}' is no label of the data, and '{lacking}' is not in it", _HINT)
    if said and sorted(said) == sorted(told) and list(said) != list(told):
        raise UserError(
            f"model.classes: {shown(told)}; but the file says that its outputs are {shown(said)}",
            "leave model.classes out, or take the metadata out of the file",
        )


def shown(names: Sequence[str]) -> str:
    """Return the names in their order, the middle of many left out."""
    listed = names if len(names) <= _SHOWN else [*names[: _SHOWN - 1], "…", names[-1]]
    return ", ".join(listed)
