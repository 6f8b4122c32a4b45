"""Parameters of plugins: declared once as a pydantic model, read from protocols and ``--set``, validated here."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from crayon_bench.errors import UserError, did_you_mean


class Parameters(BaseModel):
    """Base of every plugin's parameters.

    Give each field a default, a range (``ge``, ``gt``, ``le``) and a ``description`` with its unit and its symbol in
    the paper. Unknown names and values out of range are the user's mistake and are reported with their place.
    """

    # strict: `epochs = true` or `beta = "30"` in a protocol is a mistake, not a number.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, populate_by_name=True)

    later: ClassVar[tuple[str, ...]] = ()
    """Parameters that came when there were runs already: at their default they are left out of keys, which stay."""

    files: ClassVar[tuple[str, ...]] = ()
    """Of data sets: parameters that are the path of a file, or ``""``. Its content is hashed and recorded, not its
    path, which a run is given beside the other values."""

    def to_dict(self) -> dict[str, Any]:
        """Return the values that count, under their public names, as they are hashed and recorded.

        Raises UserError if one of :attr:`files` cannot be read.
        """
        default = {name: type(self).model_fields[name].default for name in self.later}
        unused = self.unused()
        values = self.model_dump(mode="json", by_alias=True) | {n: _content(p) for n, p in self.paths().items()}
        return {
            name: value
            for name, value in values.items()
            if name not in unused and not (name in default and value == default[name])
        }

    def unused(self) -> dict[str, str]:
        """Return which parameters do not count beside the others, and why; to set one of them is a mistake."""
        return {}

    def paths(self) -> dict[str, Path]:
        """Return where those of :attr:`files` lie that are given, by name; absolute, ``~`` is the home."""
        given = {name: getattr(self, name) for name in self.files}
        return {name: Path(path).expanduser().absolute() for name, path in given.items() if path}

    @classmethod
    def names(cls) -> list[str]:
        """Return the public names of the parameters."""
        return [field.alias or name for name, field in cls.model_fields.items()]


P = TypeVar("P", bound=BaseModel)


def validated(model: type[P], values: dict[str, Any], where: str) -> P:
    """Return ``model(**values)``; a mistake becomes a :class:`UserError` that names the key's path under *where*."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UserError(_explain(model, error, where)) from None


PP = TypeVar("PP", bound=Parameters)


def restored(model: type[PP], values: Mapping[str, Any], paths: Mapping[str, str], where: str) -> PP:
    """Return the parameters that :meth:`Parameters.to_dict` gave as *values*; *paths*: of :attr:`Parameters.files`.

    Raises UserError if a file is not given, or is not what it was.
    """
    files = {name: value for name, value in values.items() if name in model.files and value}
    for name, content in files.items():
        if name not in paths:
            raise UserError(f"{where}.{name}: it was a file with {content}, and it is not said where that is now")
        if _content(Path(paths[name])) != content:
            raise UserError(f"{where}.{name} = {paths[name]}: it is not the file with {content}: it was changed")
    return model.model_validate({**values, **{name: paths[name] for name in files}})


def check_used(own: Parameters, section: str, sets: Sequence[tuple[str, str]]) -> None:
    """Raise UserError for a parameter that was set and does not count beside the others."""
    unused = own.unused()
    for key, value in sets:
        where, _, name = key.partition(".")
        if where == section and name in unused:
            raise UserError(f"--set {key}={value}: changes nothing: {unused[name]}")


def _content(path: Path) -> str:
    try:
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def _explain(model: type[BaseModel], error: ValidationError, where: str) -> str:
    first = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    place = ".".join(part for part in (where, path) if part)
    if first["type"] == "extra_forbidden":
        parent = _submodel(model, [str(part) for part in first["loc"][:-1]])
        known = [field.alias or name for name, field in parent.model_fields.items()]
        return f"{place}: there is no such parameter; {did_you_mean(str(first['loc'][-1]), known)}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"{place}: this key is missing"
    return f"{place} = {_short(first['input'])}: {message[0].lower()}{message[1:]}"


def _submodel(model: type[BaseModel], path: list[str]) -> type[BaseModel]:
    for part in path:
        for name, field in model.model_fields.items():
            annotation = field.annotation
            if part in (name, field.alias) and isinstance(annotation, type) and issubclass(annotation, BaseModel):
                model = annotation
    return model


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
