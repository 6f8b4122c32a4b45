"""Whether the tensors of a file match a network: its body, and its last layer."""

from collections import Counter
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


_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of names that torch.compile and others put between those of the network."""


def plain_names(spec: CNNSpec, path: Path, tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Return the tensors under the names that the network itself gives them: without ``module.``, ``model.`` and so on.

    What stands before the names of the body is dropped, and of that what other names, such as the last layer's, share.
    Raises UserError if the body is in there twice, under two such prefixes.
    """
    parts = {name: [part for part in name.split(".") if part not in _WRAPPERS] for name in tensors}
    wanted = {name for name in _body(spec) if not name.endswith(_COUNTER)}
    hits: Counter[tuple[str, ...]] = Counter()
    for name in parts.values():
        hits.update(tuple(name[:n]) for n in range(len(name)) if ".".join(name[n:]) in wanted)
    whole = [prefix for prefix, number in hits.items() if number == len(wanted)]
    if len(whole) > 1:
        under = " and ".join(f"'{'.'.join(prefix)}'" for prefix in sorted(whole))
        raise UserError(
            f"weights {path}: {spec.title} is in it more than once, under {under}", "save one of them alone"
        )
    nearest = max(hits, key=lambda one: hits[one], default=())
    prefix = whole[0] if whole else nearest if 2 * hits[nearest] > len(wanted) else ()

    def plain(name: list[str]) -> str:
        shared = next((n for n, (a, b) in enumerate(zip(name, prefix, strict=False)) if a != b), len(prefix))
        return ".".join(name[min(shared, len(name) - 1) :])

    # `n_averaged` is what torch's AveragedModel adds.
    return renamed(path, {name: plain(of) for name, of in parts.items() if name != "n_averaged"}, tensors)


_COUNTER = "num_batches_tracked"


def _body(spec: CNNSpec) -> "dict[str, Tensor]":
    """Return the body's tensors without numbers."""
    import torch

    from crayon_bench.networks.convnets import ConvNet

    with torch.device("meta"):
        return dict(ConvNet(spec, (3, 64, 64), 2, seed=0).body.state_dict())


def _body_of(spec: CNNSpec, path: Path, tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Return what is not of the last layer."""
    names = [name for name in tensors if not name.startswith((HEADS[spec.name], "head.")) and name != "kept"]
    return renamed(path, {name: name.removeprefix("body.") for name in names}, tensors)


def matching_body(spec: CNNSpec, path: Path, tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Return the body's tensors, of a file's under their :func:`plain_names`. Raises UserError if they do not fit."""
    import torch

    wanted, body = _body(spec), _body_of(spec, path, tensors)
    what = f"weights {path} do not fit {spec.title}"
    for name in wanted:
        if name.endswith(_COUNTER):  # absent from files of old; it plays no part
            body.setdefault(name, torch.zeros((), dtype=torch.long))
    if spec.cut is not None:  # what was cut off may be in the file
        whole = _body(spec.model_copy(update={"cut": None}))
        body = {name: value for name, value in body.items() if name in wanted or name not in whole}
    missing = [name for name in wanted if name not in body]
    # In order: a safetensors file is read in any. Weights say more than counters.
    unknown = sorted(set(body) - set(wanted), key=lambda name: (name.endswith(_COUNTER), name))
    if missing or unknown:
        first = f"it lacks {missing[0]}" if missing else f"it has {unknown[0]}, which the network has not"
        sides = {"the network has": missing, "the file has": unknown}
        shown = "; ".join(f"{side} {', '.join(names[:3])}" for side, names in sides.items() if names)
        raise UserError(
            f"{what}: {first} ({len(missing)} missing, {len(unknown)} too many); {shown}", _likely(spec, path, tensors)
        )
    for name, value in wanted.items():
        _check_ordinary(path, name, body[name])
        if body[name].shape != value.shape:
            shapes = f"{tuple(body[name].shape)}, not {tuple(value.shape)}"
            raise UserError(f"{what}: {name} is {shapes}", _likely(spec, path, tensors))
        if body[name].is_floating_point() != value.is_floating_point() or body[name].is_complex():
            raise UserError(f"{what}: {name} is {body[name].dtype}")
        body[name] = body[name].to(value.dtype)  # before looking: what float64 can hold, float32 may not
        _check_finite(path, name, body[name])
        if name.endswith("running_var") and (body[name] < 0).any():
            raise UserError(f"weights {path}: {name} has negative values, which no variance has")
    return body


def _likely(spec: CNNSpec, path: Path, tensors: "Mapping[str, Tensor]") -> str:
    """Return why a file may not fit, in words."""
    for name in HEADS:
        other = CNNSpec.model_validate({"name": name})
        if name != spec.name and _is_body_of(other, path, tensors):
            return f"it looks like {other.title}: add --set model.name={name}"
    if any(name in _body(spec) for name in tensors):
        return "it may be another size or variant of that network"
    others = ", ".join(CNNSpec.model_validate({"name": name}).title for name in HEADS)
    return f"it may be another architecture, or have another library's names than torchvision's; known are {others}"


def _is_body_of(spec: CNNSpec, path: Path, tensors: "Mapping[str, Tensor]") -> bool:
    wanted = {name: value.shape for name, value in _body(spec).items() if not name.endswith(_COUNTER)}
    try:
        body = _body_of(spec, path, plain_names(spec, path, tensors))
    except UserError:
        return False
    return {name: value.shape for name, value in body.items() if not name.endswith(_COUNTER)} == wanted


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
