"""A file of weights, read without executing anything: its tensors, and what it says of itself."""

import io
import json
import re
import stat
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.networks.checkpoint import looks_like, network_in
from crayon_bench.networks.specification import Scaling

if TYPE_CHECKING:
    from torch import Tensor


LARGEST = 4 << 30
"""Largest file of weights, in bytes; the largest of these networks has a fortieth."""


def content_of(path: Path) -> bytes:
    """Return the bytes of the file. Raises UserError if it is none, too large, or cannot be read."""
    try:
        info = path.stat()
        if not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):  # a device may have no end
            raise UserError(f"weights {path}: not a file")
        if info.st_size > LARGEST:
            raise UserError(f"weights {path}: larger than {LARGEST >> 30} GiB, which none of these networks is")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"weights {path}: cannot be read: {error.strerror or error}") from None


def tensors_in(path: Path, content: bytes) -> "tuple[dict[str, Tensor], str]":
    """Return the tensors by name, of a safetensors file or of what torch.save wrote: a state_dict, or a checkpoint.

    The second value says which of several networks in a checkpoint was taken; it is empty if there is one.
    Raises UserError.
    """
    import warnings

    import torch
    from safetensors.torch import load

    if _is_safetensors(content):
        try:
            return load(content), ""
        except Exception as error:  # the library raises KeyError and others at headers that are not its own
            raise UserError(f"weights {path}: not a readable safetensors file: {error}") from None
    if _is_bomb(content):
        kind, hint = looks_like(content)  # the code in a TorchScript program is packed
        what = f"it is {kind}, not a state_dict" if kind else "it unpacks to more than its own size"
        raise UserError(f"weights {path}: {what}", hint or "torch.save does not pack: save it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        # PyTorch's own text is long and recommends to execute the file.
        held = re.search(r"GLOBAL ([\w.]{1,100})", str(error))
        why, hint = looks_like(content)
        why = f": it holds {held[1]}, not tensors alone" if held else f": it is {why}" if why else ""
        raise UserError(
            f"weights {path}: neither a safetensors file nor a state_dict that can be read without executing it{why}",
            hint or "save it with safetensors, or torch.save(model.state_dict(), FILE)",
        ) from None
    return network_in(path, state)


def _is_bomb(content: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as bundle:
            return sum(info.file_size for info in bundle.infolist()) > len(content)
    except Exception:  # no zip, or a broken one: PyTorch says so
        return False


def renamed(path: Path, names: Mapping[str, str], tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Return *tensors* under new *names*, old → new. Raises UserError if two get the same one."""
    found = {new: tensors[old] for old, new in names.items()}
    if len(found) < len(names):
        old, new = next((old, new) for old, new in names.items() if old != new and new in names)
        raise UserError(f"weights {path}: {new} is in it twice, as {old} too")
    return found


def _is_safetensors(content: bytes) -> bool:
    return len(content) > 9 and content[8:9] == b"{" and int.from_bytes(content[:8], "little") < len(content)


def _said(content: bytes, what: str) -> Any:
    """Return what a safetensors file's metadata say; None if they say nothing."""
    if not _is_safetensors(content):
        return None
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return header["__metadata__"][what]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def classes_in(path: Path, content: bytes) -> list[str]:
    """Return the names of the outputs; none if the file does not say."""
    said = _said(content, "classes")
    if said is None:
        return []
    names: Any = None
    with suppress(ValueError, TypeError, RecursionError):
        names = json.loads(said)
    fine = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not fine or not names or len(set(names)) < len(names):
        raise UserError(f"weights {path}: its metadata have classes = {str(said)[:60]!r}", "expected a list, in JSON")
    return [str(name) for name in names]


def scaling_in(path: Path, content: bytes) -> Scaling | None:
    """Return the input scaling with which the weights were trained; None if the file does not say."""
    said = _said(content, "scaling")
    if said is None:
        return None
    if said not in list(Scaling):
        raise UserError(f"weights {path}: its metadata have scaling = {said!r}", did_you_mean(str(said), list(Scaling)))
    return Scaling(said)
