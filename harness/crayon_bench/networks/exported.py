"""Refined models as files: safetensors in torchvision's names where the network is one of its, with all that is needed
to use it in the metadata. The same model gives the same bytes.

Metadata, all of them texts: ``format``; ``model``, the network's specification (JSON); ``names``, whose names the
tensors have: ``torchvision``, ``crayon-bench`` or ``other``; ``architecture``; ``classes`` (JSON, by output);
``scaling`` of the pixels; ``image_shape`` (JSON: channels, height, width); ``crayon_bench``, the version; ``run``, the
run's key.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors, save as dump_tensors
from torch import Tensor, nn

from crayon_bench._version import __version__
from crayon_bench.errors import UserError
from crayon_bench.networks.build import build_model
from crayon_bench.networks.classifier import Classifier
from crayon_bench.networks.mlp import MLP
from crayon_bench.networks.specification import CNNSpec, MLPSpec, ModelSpec, model_spec

if TYPE_CHECKING:
    from crayon_bench.networks.convnets import ConvNet

FORMAT = "crayon-bench-model/1"
_HEADS = {"mobilenet_v2": "classifier.1.", "resnet18": "fc.", "resnet50": "fc."}


def effective_spec(coordinates: Mapping[str, Any]) -> ModelSpec:
    """Return a run's network, with the scaling that its weights came with."""
    spec = model_spec(coordinates["model"])
    if isinstance(spec, CNNSpec):
        return spec.model_copy(update={"scaling": coordinates["weights"]["scaling"]})
    return spec


def is_torchvisions(spec: ModelSpec) -> bool:
    """Return whether torchvision has this very network: the same layers with the same strides."""
    if not isinstance(spec, CNNSpec) or spec.name not in _HEADS or spec.cut is not None:
        return False
    return spec.name != "mobilenet_v2" or spec.output_stride in (None, 32)


def model_bytes(
    model: nn.Module, spec: ModelSpec, classes: Sequence[str], shape: Sequence[int], *, run: str = ""
) -> bytes:
    """Return *model* as a file. shape: of its images, (C, H, W). run: the key of the run that made it.

    Pruned channels become zero columns of the last layer, which gives the same logits. A network that is not as *spec*
    says, because a method made another, keeps its own names. Raises ValueError for what is no tensor.
    """
    tensors = _named(model, spec, len(classes), shape)
    names = "torchvision" if is_torchvisions(spec) else "crayon-bench"
    if tensors is None:
        tensors, names = dict(model.state_dict()), "other"
    if wrong := [name for name, value in tensors.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"{wrong[0]} of the refined model's state is no tensor")
    metadata = {
        "format": FORMAT,
        "architecture": spec.name if names != "other" else type(model).__name__,
        "names": names,
        "model": json.dumps(spec.to_dict()),
        "classes": json.dumps(list(classes), ensure_ascii=False),
        "scaling": spec.pixels if isinstance(spec, MLPSpec) else spec.scaling,
        "image_shape": json.dumps([int(n) for n in shape]),
        "crayon_bench": __version__,
        "run": run,
    }
    # A copy of each: what shares memory cannot be written.
    copies = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    return _in_order(dump_tensors(copies, metadata))


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file with a sorted header: as it is written, the order of the metadata is random."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]


def _named(model: nn.Module, spec: ModelSpec, classes: int, shape: Sequence[int]) -> dict[str, Tensor] | None:
    """Return the tensors under published names where there are any; None for a network that is not *spec*'s."""
    state = dict(model.state_dict())
    if type(model) is MLP:
        return state
    expected = _empty(spec, classes, shape)
    if type(model) is not type(expected):
        return None
    if {n: v.shape for n, v in state.items()} != {n: v.shape for n, v in expected.state_dict().items()}:
        return None
    convnet: ConvNet = model  # type: ignore[assignment]
    kept = state.pop("kept")
    state["head.weight"] = state["head.weight"] * kept
    if not is_torchvisions(spec):
        return state
    head = _HEADS[spec.name]
    return {convnet.published_name(name) or head + name.removeprefix("head."): value for name, value in state.items()}


def _empty(spec: ModelSpec, classes: int, shape: Sequence[int]) -> Classifier:
    channels, height, width = shape
    with torch.device("meta"):
        return build_model(spec, (channels, height, width), classes, seed=0)


def read_metadata(content: bytes, what: str) -> dict[str, str]:
    """Return the metadata of a file of :func:`model_bytes`. Raises UserError that begins with *what* if it is none."""
    try:
        end = 8 + int.from_bytes(content[:8], "little")
        if not 8 < end <= min(len(content), 100 << 20):
            raise ValueError
        metadata = json.loads(content[8:end])["__metadata__"]
        if metadata["format"] != FORMAT or not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError
        return dict(metadata)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{what}: not a model that crayon-bench exported") from None


def load_model(path: str | Path) -> Classifier:
    """Return the classifier in a file of ``runs export``, in eval mode, for uint8 images (N, C, H, W).

    Raises UserError if the file cannot be read, or holds a network of a method's own.
    """
    what = f"model {path}"
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{what}: cannot be read: {error.strerror or error}") from None
    metadata = read_metadata(content, what)
    if metadata["names"] == "other":
        raise UserError(f"{what}: it holds a network of the method's own, {metadata['architecture']}")
    try:
        spec = model_spec(json.loads(metadata["model"]))
        channels, height, width = json.loads(metadata["image_shape"])
        model = build_model(spec, (channels, height, width), len(json.loads(metadata["classes"])), seed=0)
        tensors = load_tensors(content)
        if metadata["names"] == "torchvision":
            head = _HEADS[spec.name]
            tensors = {
                f"head.{name.removeprefix(head)}" if name.startswith(head) else f"body.{name}": value
                for name, value in tensors.items()
            }
        if "kept" in model.state_dict():
            tensors["kept"] = torch.ones_like(model.state_dict()["kept"])
        model.load_state_dict(tensors)
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError, UserError) as error:
        raise UserError(f"{what}: damaged: {' '.join(str(error).split())[:200]}") from None
    return model.eval()
