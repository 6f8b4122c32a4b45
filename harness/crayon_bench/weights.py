"""Pretrained weights: where they come from, what they are, and whether they fit. Loading executes nothing.

Weights are part of a run's key by the hash of their file, and so is the input scaling that belongs to them.
"""

import hashlib
import io
import json
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.protocol import CNNSpec, ModelSpec, Scaling

if TYPE_CHECKING:
    from torch import Tensor

    from crayon_bench.dataset import Dataset
    from crayon_bench.models import Classifier

HEADS = {"mobilenet_v2": "classifier.", "resnet18": "fc.", "resnet50": "fc.", "small-cnn": "head."}
"""How the names of the last layer begin in a published state_dict; that layer is always new."""


LARGEST = 4 << 30
"""Largest file of weights, in bytes; the largest of these networks has a fortieth."""


@dataclass(frozen=True)
class Weights:
    """Weights that were found. coordinates: what of them is part of a run's key. path: None for random ones."""

    coordinates: dict[str, Any] | None
    path: Path | None


def find_weights(spec: ModelSpec, dataset: "type[Dataset]", given: Path | None) -> Weights:
    """Return the initial weights for the network *spec* on *dataset*; *given* is the file of ``--weights``.

    The file is read, and checked against the architecture. Raises UserError if there are none, with the way to them.
    """
    if not isinstance(spec, CNNSpec):
        return Weights(None, None)
    if given is not None:
        path, source, sha256 = given, "file", None
    elif spec.weights == "file":
        raise UserError(f"the protocol wants weights for {spec.title} that are given", "add --weights FILE")
    elif spec.weights == "none":
        unit = "unit" if spec.scaling == "auto" else spec.scaling
        return Weights({"source": "none", "sha256": None, "scaling": unit}, None)
    elif spec.weights in dataset.pretrained:
        shipped = dataset.pretrained[spec.weights]
        path, source, sha256 = Path(str(shipped.file)), f"{dataset.name}:{spec.weights}", shipped.sha256
    elif spec.weights == "imagenet":
        path, source, sha256 = _imagenet(spec), "imagenet", None
    else:
        known = ", ".join(["imagenet", *dataset.pretrained, "none"])
        raise UserError(f"model.weights = '{spec.weights}': there are no such weights", f"one of: {known}")
    content = _content(path)
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise UserError(
            f"{path}: damaged: its sha256 is {found[:12]}…, not {sha256[:12]}…", "install crayon-bench again"
        )
    _check(spec, path, _tensors(path, content))  # before its scaling is asked for: it may be no weights at all
    own = _own_scaling(path, content) if source != "imagenet" else Scaling.IMAGENET
    scaling: Scaling | None = own if spec.scaling == "auto" else Scaling(spec.scaling)
    if scaling is None:
        raise UserError(
            f"{path}: the file does not say with which input scaling it was trained",
            "say it: --set model.scaling=unit (x/255), symmetric (x/127.5 − 1) or imagenet (mean and std)",
        )
    return Weights({"source": source, "sha256": found, "scaling": scaling.value}, path)


def load_into(model: "Classifier", spec: CNNSpec, coordinates: Mapping[str, Any], path: Path) -> None:
    """Copy the weights in *path* into the body of *model*. Raises UserError if the file has changed or does not fit."""
    import torch

    content = _content(path)
    if hashlib.sha256(content).hexdigest() != coordinates["sha256"]:
        raise UserError(f"{path}: the weights changed after the plan was made", "give the same command again")
    tensors = _check(spec, path, _tensors(path, content))
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.startswith("body."):
                value.copy_(tensors[name.removeprefix("body.")])


def _content(path: Path) -> bytes:
    try:
        info = path.stat()
        if not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):  # a device may have no end
            raise UserError(f"weights {path}: not a file")
        if info.st_size > LARGEST:
            raise UserError(f"weights {path}: larger than {LARGEST >> 30} GiB, which none of these networks is")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"weights {path}: cannot be read: {error.strerror or error}") from None


def _is_safetensors(content: bytes) -> bool:
    return len(content) > 9 and content[8:9] == b"{" and int.from_bytes(content[:8], "little") < len(content)


def _own_scaling(path: Path, content: bytes) -> Scaling | None:
    if not _is_safetensors(content):
        return None
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        said = header["__metadata__"]["scaling"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if said not in list(Scaling):
        raise UserError(f"weights {path}: its metadata have scaling = {said!r}", did_you_mean(str(said), list(Scaling)))
    return Scaling(said)


def _tensors(path: Path, content: bytes) -> "dict[str, Tensor]":
    import warnings

    import torch
    from safetensors.torch import load

    if _is_safetensors(content):
        try:
            return load(content)
        except Exception as error:  # the library raises KeyError and others at headers that are not its own
            raise UserError(f"weights {path}: not a readable safetensors file: {error}") from None
    if _is_bomb(content):
        raise UserError(
            f"weights {path}: it unpacks to more than its own size", "torch.save does not pack: save it again"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        # PyTorch's own text is long and recommends to execute the file.
        held = re.search(r"GLOBAL ([\w.]{1,100})", str(error))
        why = f": it holds {held[1]}, not tensors alone" if held else ""
        raise UserError(
            f"weights {path}: neither a safetensors file nor a state_dict that can be read without executing it{why}",
            "save it with safetensors, or torch.save(model.state_dict(), FILE)",
        ) from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()
    ):
        raise UserError(f"weights {path}: not a state_dict (a dictionary of tensors by name)")
    return _renamed(path, {name: name.removeprefix("module.") for name in state}, state)


def _is_bomb(content: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as bundle:
            return sum(info.file_size for info in bundle.infolist()) > len(content)
    except Exception:  # no zip, or a broken one: PyTorch says so
        return False


def _renamed(path: Path, names: Mapping[str, str], tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    renamed = {new: tensors[old] for old, new in names.items()}
    if len(renamed) < len(names):
        old, new = next((old, new) for old, new in names.items() if old != new and new in names)
        raise UserError(f"weights {path}: {new} is in it twice, as {old} too")
    return renamed


def _check(spec: CNNSpec, path: Path, tensors: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """Return the body's tensors. Raises UserError naming the first that does not fit."""
    import torch

    from crayon_bench.convnets import ConvNet

    with torch.device("meta"):
        wanted = ConvNet(spec, (3, 64, 64), 2, seed=0).body.state_dict()
    head = HEADS[spec.name]
    names = [name for name in tensors if not name.startswith((head, "head.")) and name != "kept"]
    body = _renamed(path, {name: name.removeprefix("body.") for name in names}, tensors)
    what = f"weights {path} do not fit {spec.title}"
    counters = [name for name in wanted if name.endswith("num_batches_tracked")]
    for name in counters:  # absent from files of old; it plays no part
        body.setdefault(name, torch.zeros((), dtype=torch.long))
    if spec.cut is not None:  # what was cut off may be in the file
        with torch.device("meta"):
            whole = ConvNet(spec.model_copy(update={"cut": None}), (3, 64, 64), 2, seed=0).body.state_dict()
        body = {name: value for name, value in body.items() if name in wanted or name not in whole}
    missing = [name for name in wanted if name not in body]
    unknown = [name for name in body if name not in wanted]
    if missing or unknown:
        first = f"it lacks {missing[0]}" if missing else f"it has {unknown[0]}, which the network has not"
        raise UserError(f"{what}: {first} ({len(missing)} missing, {len(unknown)} too many)")
    for name, value in wanted.items():
        if body[name].layout != torch.strided or body[name].is_quantized or body[name].is_meta:
            raise UserError(f"weights {path}: {name} is not an ordinary tensor")
        if body[name].shape != value.shape:
            raise UserError(f"{what}: {name} is {tuple(body[name].shape)}, not {tuple(value.shape)}")
        if body[name].is_floating_point() != value.is_floating_point() or body[name].is_complex():
            raise UserError(f"{what}: {name} is {body[name].dtype}")
        body[name] = body[name].to(value.dtype)  # before looking: what float64 can hold, float32 may not
        if not torch.isfinite(body[name]).all():
            raise UserError(f"weights {path}: {name} is not finite everywhere")
        if name.endswith("running_var") and (body[name] < 0).any():
            raise UserError(f"weights {path}: {name} has negative values, which no variance has")
    return body


def _imagenet(spec: CNNSpec) -> Path:
    """Return torchvision's file of ImageNet weights, downloaded if it is not in PyTorch's cache."""
    import torch
    from torchvision.models import get_model_weights

    if spec.name == "small-cnn":
        raise UserError("model.weights = 'imagenet': there are none for the small CNN", "choose another network")
    url: str = get_model_weights(spec.name)["IMAGENET1K_V1"].value.url
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / url.rsplit("/", 1)[1]
    if path.is_file():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The name ends with the beginning of the sha256, which is verified.
        prefix = path.stem.rsplit("-", 1)[1]
        torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=False)
    except Exception as error:
        raise UserError(
            f"{spec.title} needs ImageNet weights, and they could not be downloaded"
            f" ({' '.join(str(error).split())[:120]})",
            f"put {path.name} (from {url}) into {folder}, or --weights FILE",
        ) from None
    return path
