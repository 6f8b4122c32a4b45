"""What people save beside tensors: the network inside of a checkpoint, and what a file is that is none."""

import io
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crayon_bench.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "network", "ema", "model_ema", "state_dict_ema")
"""Under which names a checkpoint may hold a network; of several, the first is taken."""

_SAVE = "save the network by torch.save(model.state_dict(), FILE), or with safetensors"
_DEEPEST = 3


def network_in(path: Path, saved: Any) -> "tuple[dict[str, Tensor], str]":
    """Return the state_dict that *saved* is, or holds under one of the :data:`CONTAINERS`.

    The second value says which of several was taken; it is empty if there is one. Raises UserError if there is none.
    """
    found = _all_in(saved)
    if not found:
        raise UserError(
            f"weights {path}: not a state_dict (a dictionary of tensors by name): it holds {_contents(saved)}",
            f"a network is looked for under {', '.join(CONTAINERS)}; else {_SAVE}",
        )
    (taken, tensors), *others = found.items()
    left = ", ".join(f"'{name}'" for name in dict(others))
    return tensors, f"{path.name}: the network is its '{taken}'; {left} is not looked at" if others else ""


def _all_in(saved: Any, name: str = "", depth: int = 0) -> "dict[str, dict[str, Tensor]]":
    """Return the networks in a checkpoint, by the dotted name of their place."""
    import torch

    if not isinstance(saved, dict) or not saved:
        return {}
    if all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in saved.items()):
        return {name: saved}
    if depth == _DEEPEST:
        return {}
    found: dict[str, dict[str, Tensor]] = {}
    for inner in CONTAINERS:
        found |= _all_in(saved.get(inner), f"{name}.{inner}".removeprefix("."), depth + 1)
    return found


def _contents(saved: Any) -> str:
    if not isinstance(saved, dict):
        return f"a {type(saved).__name__}"
    some = [f"{str(name)[:40]} ({type(value).__name__})" for name, value in list(saved.items())[:5]]
    return ", ".join([*some, *(["…"] if len(saved) > len(some) else [])]) or "nothing"


def looks_like(content: bytes) -> tuple[str, str]:
    """Return what a file is that cannot be read as weights, and what to do; both empty if that is not known."""
    start = content[:512].lstrip().lower()
    if not content:
        return "empty", "fetch it again"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, which stands for the file", "fetch the file itself: git lfs pull"
    if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "a web page", "fetch the file itself; the page may ask for a login"
    for magic, (what, hint) in _OTHERS.items():
        if content.startswith(magic):
            return what, hint
    with suppress(Exception), zipfile.ZipFile(io.BytesIO(content)) as bundle:  # no zip, or a broken one
        names = bundle.namelist()
        if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
            return "a TorchScript program", "torch.save(torch.jit.load(FILE).state_dict(), NEW), if you trust it"
        if any(name.endswith(("archive_format", "exported_program.json")) for name in names):
            return "an exported program", "torch.save(torch.export.load(FILE).state_dict, NEW), if you trust it"
        if any(name.endswith(".npy") for name in names):
            return "an archive of NumPy's", _SAVE
    return "", ""


_OTHERS = {
    b"\x89HDF": ("an HDF5 file, as Keras writes them", _SAVE),
    b"\x93NUMPY": ("an array of NumPy's", _SAVE),
    b"\x1f\x8b": ("packed by gzip", "unpack it: gunzip or tar"),
}
