"""``--dataset NAME`` or ``NAME:PATH``: which data set is meant, and where its data lie."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crayon_bench.data.roots import default_root
from crayon_bench.errors import UserError
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.plugins.rows import PluginError
from crayon_bench.texts import expanded, split_names

if TYPE_CHECKING:
    from crayon_bench.dataset import Dataset


@dataclass(frozen=True)
class Located:
    """A data set and its root. strict: the root is ours; see :meth:`crayon_bench.dataset.Dataset.find`."""

    dataset: "type[Dataset]"
    root: Path
    strict: bool


def locate_dataset(text: str, registry: Registry, data_root: Path | None) -> Located:
    """Return what ``--dataset`` says; *data_root* is the folder of ``--data-root``.

    Raises UserError for an unknown name, for a path that the data set does not take, for one that it needs and that
    is not given, and for a folder that is not there; PluginError if the data set cannot be used.
    """
    name, colon, path = text.partition(":")
    dataset = load_dataset(name, registry)
    if dataset.takes_path:
        if not path:
            raise UserError(f"dataset '{name}' is a folder of your own, and none is named", f"write {name}:PATH")
        root = expanded(Path(path))
        if root.is_file():
            raise UserError(f"dataset {text}: not a folder", f"name the folder that it is in: {name}:{root.parent}")
        if not root.is_dir():
            raise UserError(f"dataset {text}: there is no such folder")
        return Located(dataset, root, strict=False)
    if colon:
        raise UserError(f"dataset {text}: '{name}' takes no path", f"write {name} --data-root DIR")
    return Located(dataset, expanded(data_root) if data_root else default_root(), strict=data_root is None)


def load_dataset(name: str, registry: Registry) -> "type[Dataset]":
    """Return the data set *name*. Raises UserError for an unknown name, PluginError if it cannot be used."""
    try:
        dataset: type[Dataset] = registry.load(Kind.DATASET, name)
    except UserError as error:
        if name and expanded(Path(name)).is_dir():
            hint = " or ".join(f"{owner}:{name}" for owner in _takers(registry))
            raise UserError(f"there is no dataset '{name}', but a folder", hint and f"write {hint}") from error
        raise
    return dataset


def _takers(registry: Registry) -> Iterator[str]:
    """Yield the names of the data sets that may be any folder."""
    for name in registry.names(Kind.DATASET):
        with suppress(UserError, PluginError):
            if registry.load(Kind.DATASET, name).takes_path:
                yield name


def split_datasets(text: str | Iterable[str], registry: Registry) -> list[str]:
    """Return the data sets in ``a,b`` or in a list, each as :func:`locate_dataset` takes it; a path may have commas.

    Raises UserError if a name is empty, or if the commas can be read in two ways.
    """
    if not isinstance(text, str) or ":" not in text or text.count(",") > _MOST_COMMAS:
        return split_names(text, "--dataset")
    parts = text.split(",")
    known = registry.names(Kind.DATASET)
    readings = list(_readings(parts, known))
    if len(readings) > 1:
        ways = " or ".join(" and ".join(f"'{one}'" for one in reading) for reading in readings[:2])
        raise UserError(f"--dataset {text}: is it {ways}?", "rename one of the folders")
    return readings[0] if readings else _up_to_names(split_names(text, "--dataset"), known)


_MOST_COMMAS = 50


def _readings(parts: list[str], known: Collection[str]) -> Iterator[list[str]]:
    """Yield the ways to put *parts* together in which every name is known and every folder there."""
    if not parts:
        yield []
    for end in range(1, len(parts) + 1):
        first = ",".join(parts[:end]).strip()
        name, colon, path = first.partition(":")
        if name in known and (expanded(Path(path)).is_dir() if colon and path else end == 1):
            yield from ([first, *rest] for rest in _readings(parts[end:], known))


def _up_to_names(parts: list[str], known: Collection[str]) -> list[str]:
    """Return *parts* with what names no data set put to the path before it, so that a message names all of it."""
    names: list[str] = []
    for part in parts:
        if names and ":" in names[-1] and part.partition(":")[0] not in known:
            names[-1] += f",{part}"
        else:
            names.append(part)
    return names
