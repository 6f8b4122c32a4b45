"""Whether the tensors of a file match a network: its body, and its last layer."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from crayon_bench.errors import UserError
from crayon_bench.networks.specification import CNNSpec
from crayon_bench.networks.weights_file import renamed

if TYPE_CHECKING:
    from torch import Tensor

HEADS = {"mobilenet_v2": "classifier.", "resnet18": "fc.", "resnet50": "fc.", "small-cnn": "head."}
"""How the names of the last layer begin in a published state_dict."""


def matching_body(spec: CNNSpec, path: Path, tensors: "dict[str, Tensor]") -> "dict[str, Tensor]":
    """Return the body's tensors. Raises UserError naming the first that does not fit."""
    import torch

    from crayon_bench.networks.convnets import ConvNet

    with torch.device("meta"):
        wanted = ConvNet(spec, (3, 64, 64), 2, seed=0).body.state_dict()
    head = HEADS[spec.name]
    names = [name for name in tensors if not name.startswith((head, "head.")) and name != "kept"]
    body = renamed(path, {name: name.removeprefix("body.") for name in names}, tensors)
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


def matching_head(
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
