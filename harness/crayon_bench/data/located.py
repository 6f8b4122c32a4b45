"""``--dataset NAME`` or ``NAME:PATH``: which data set is meant, and where its data lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crayon_bench.data.roots import default_root
from crayon_bench.errors import UserError
from crayon_bench.plugins.registry import Kind, Registry

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
    dataset: type[Dataset] = registry.load(Kind.DATASET, name)
    if dataset.takes_path:
        if not path:
            raise UserError(f"dataset '{name}' is a folder of your own, and none is named", f"write {name}:PATH")
        if not Path(path).is_dir():
            what = "not a folder" if Path(path).exists() else "there is no such folder"
            raise UserError(f"dataset {text}: {what}")
        return Located(dataset, Path(path), strict=False)
    if colon:
        raise UserError(f"dataset {text}: '{name}' takes no path", f"write {name} --data-root DIR")
    return Located(dataset, data_root or default_root(), strict=data_root is None)
