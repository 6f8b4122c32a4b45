"""Pretrained weights: where they come from, what they are, and whether they fit. Loading executes nothing.

Weights are part of a run's key by the hash of their file, and so is the input scaling that belongs to them.
"""

import hashlib
import io
import json
import re
import stat
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.networks.specification import CNNSpec, ModelSpec, Scaling

if TYPE_CHECKING:
    from torch import Tensor

    from crayon_bench.dataset import Dataset
    from crayon_bench.networks.classifier import Classifier

HEADS = {"mobilenet_v2": "classifier.", "resnet18": "fc.", "resnet50": "fc.", "small-cnn": "head."}
"""How the names of the last layer begin in a published state_dict."""

LARGEST = 4 << 30
"""Largest file of weights, in bytes; the largest of these networks has a fortieth."""


@dataclass(frozen=True)
class Weights:
    """Weights that were found. coordinates: what of them is part of a run's key. path: None for random ones.

    remarks: what the user should know before it starts. notes: those that stand under every table.
    """

    coordinates: dict[str, Any] | None
    path: Path | None
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find_weights(
    spec: ModelSpec, dataset: "type[Dataset]", given: Path | None, class_names: Sequence[str] = ()
) -> Weights:
    """Return the initial weights for the network *spec* on *dataset*; *given* is the file of ``--weights``.

    If that is a whole classifier for these classes, it is the original model: its coordinates then have ``head``.
    class_names: those of the data, where the class of *dataset* does not know how many there are.
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
    tensors = _tensors(path, content)
    _check(spec, path, tensors)  # before its scaling is asked for: it may be no weights at all
    own = _own_scaling(path, content) if source != "imagenet" else Scaling.IMAGENET
    scaling: Scaling | None = own if spec.scaling == "auto" else Scaling(spec.scaling)
    if scaling is None:
        raise UserError(
            f"{path}: the file does not say with which input scaling it was trained",
            "say it: --set model.scaling=unit (x/255), symmetric (x/127.5 − 1) or imagenet (mean and std)",
        )
    coordinates = {"source": source, "sha256": found, "scaling": scaling.value}
    return _whole(spec, dataset, class_names, path, content, coordinates) if given else Weights(coordinates, path)


def _whole(
    spec: CNNSpec,
    dataset: "type[Dataset]",
    class_names: Sequence[str],
    path: Path,
    content: bytes,
    coordinates: dict[str, Any],
) -> Weights:
    """Return the weights of ``--weights``: with its last layer, if that fits and is wanted."""
    number = len(class_names) or dataset.classes
    why = "model.head = new"
    if spec.head != "new":
        _, why = _own_head(spec, path, _tensors(path, content), number)
        said = _own_classes(path, content)
        if not why and said and sorted(said) != sorted(class_names or said):
            why = f"its classes are {', '.join(said)}"
    if why and spec.head == "file":
        raise UserError(f"weights {path}: no classifier of these {number} classes: {why}", "see model.head")
    if why:
        text = f"weights {path}: initial weights of the body; the last layer is new, and the original model is trained"
        return Weights(coordinates, path, (f"{text} ({why})",))
    note = f"original model: the user's, {path.name} (sha256 {coordinates['sha256'][:12]}…), not trained"
    order = f"in the order of the labels: {', '.join(class_names)}" if class_names else "in the data set's order"
    order = f"its outputs are taken {order}; the file does not say" if not said else f"its outputs: {', '.join(said)}"
    other = "to train one from its body, add --set model.head=new"
    return Weights({**coordinates, "head": True}, path, (f"{note}; {other}", f"{path.name}: {order}"), (note,))


def load_into(
    model: "Classifier",
    spec: CNNSpec,
    coordinates: Mapping[str, Any],
    path: Path,
    class_names: Sequence[str] = (),
) -> None:
    """Copy the weights in *path* into the body of *model*, and into its last layer if the *coordinates* say so.

    Outputs are put into the order of *class_names* if the file says which is which.
    Raises UserError if the file has changed or does not fit.
    """
    import torch

    content = _content(path)
    if hashlib.sha256(content).hexdigest() != coordinates["sha256"]:
        raise UserError(f"{path}: the weights changed after the plan was made", "give the same command again")
    tensors = _tensors(path, content)
    body = _check(spec, path, tensors)
    with torch.no_grad():
        state = model.state_dict()
        for name, value in state.items():
            if name.startswith("body."):
                value.copy_(body[name.removeprefix("body.")])
        if not coordinates.get("head"):
            return
        head, why = _own_head(spec, path, tensors, len(state["head.bias"]))
        said = _own_classes(path, content)
        if head is None or (said and sorted(said) != sorted(class_names)):
            why = why or f"its classes are {', '.join(said)}, and the data's {', '.join(class_names)}"
            raise UserError(f"weights {path}: {why}", "for its body alone, add --set model.head=new")
        rows = torch.tensor([said.index(name) for name in class_names] if said else range(len(state["head.bias"])))
        state["head.weight"].copy_(head[0][rows])
        state["head.bias"].copy_(head[1][rows])


def _own_head(
    spec: CNNSpec, path: Path, tensors: "Mapping[str, Tensor]", classes: int
) -> "tuple[tuple[Tensor, Tensor] | None, str]":
    """Return weight (classes, K) and bias (classes,) of the last layer, or None and why it is not one for *classes*.

    Raises UserError if it fits and its numbers are none.
    """
    import torch

    from crayon_bench.networks.convnets import ConvNet

    with torch.device("meta"):
        channels = ConvNet(spec, (3, 64, 64), 2, seed=0).channels
    own = {name: value for name, value in tensors.items() if name.startswith((HEADS[spec.name], "head."))}
    weights = [name for name in own if name.endswith("weight")]
    if not own:
        return None, "it has no last layer"
    if len(weights) != 1 or set(own) - {weights[0], f"{weights[0].removesuffix('weight')}bias"}:
        return None, f"its last layer is not one linear layer, but {', '.join(sorted(own)[:4])}"
    weight = own[weights[0]]
    bias = own.get(f"{weights[0].removesuffix('weight')}bias", torch.zeros(classes))
    if weight.shape != (classes, channels) or bias.shape != (classes,):
        return None, f"its last layer is {tuple(weight.shape)}, not {(classes, channels)}"
    kept = tensors.get("kept", torch.ones(channels))
    if kept.shape != (channels,):
        return None, f"kept is {tuple(kept.shape)}, not {(channels,)}"
    parts = []
    for name, value in ((weights[0], weight), ("bias of the last layer", bias), ("kept", kept)):
        _check_ordinary(path, name, value)
        if not value.is_floating_point():
            raise UserError(f"weights {path}: {name} is {value.dtype}")
        parts.append(value.float())
        _check_finite(path, name, parts[-1])
    return (parts[0] * parts[2], parts[1]), ""


def _check_ordinary(path: Path, name: str, value: "Tensor") -> None:
    import torch

    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        raise UserError(f"weights {path}: {name} is not an ordinary tensor")


def _check_finite(path: Path, name: str, value: "Tensor") -> None:
    if not value.isfinite().all():
        raise UserError(f"weights {path}: {name} is not finite everywhere")


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


def _said(content: bytes, what: str) -> Any:
    """Return what a safetensors file's metadata say; None if they say nothing."""
    if not _is_safetensors(content):
        return None
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return header["__metadata__"][what]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _own_classes(path: Path, content: bytes) -> list[str]:
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


def _own_scaling(path: Path, content: bytes) -> Scaling | None:
    said = _said(content, "scaling")
    if said is None:
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

    from crayon_bench.networks.convnets import ConvNet

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
        _check_ordinary(path, name, body[name])
        if body[name].shape != value.shape:
            raise UserError(f"{what}: {name} is {tuple(body[name].shape)}, not {tuple(value.shape)}")
        if body[name].is_floating_point() != value.is_floating_point() or body[name].is_complex():
            raise UserError(f"{what}: {name} is {body[name].dtype}")
        body[name] = body[name].to(value.dtype)  # before looking: what float64 can hold, float32 may not
        _check_finite(path, name, body[name])
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
