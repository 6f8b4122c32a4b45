"""TOML files of boards, published numbers and prices."""

from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from crayon_bench.errors import UserError
from crayon_bench.parameters import validated
from crayon_bench.store.atomic import parse_toml

M = TypeVar("M", bound=BaseModel)


class Readable(Protocol):
    """A file, of the file system or of a package."""

    def read_text(self, encoding: str | None = None) -> str:
        """Return its text."""


def read_model(path: Readable | Path, model: type[M], what: str) -> M:
    """Return the TOML file *path* as a *model*, whose field ``schema_`` is its ``schema``. Raises UserError."""
    raw: dict[str, Any]
    try:
        raw = parse_toml(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{what} {path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except ValueError as error:
        raise UserError(f"{what} {path}: not valid TOML: {error}") from None
    if "schema" in raw:
        raw["schema_"] = raw.pop("schema")
    try:
        return validated(model, raw, "")
    except UserError as error:
        raise UserError(f"{what} {path}: {str(error).replace('schema_', 'schema')}") from None
