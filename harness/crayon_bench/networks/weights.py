"""Pretrained weights: where they come from, what they are, and whether they fit. Loading executes nothing.

Weights are part of a run's key by the hash of their file, and so is the input scaling that belongs to them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crayon_bench.errors import UserError
from crayon_bench.networks.matching import matching_body, matching_head, plain_names
from crayon_bench.networks.outputs import check_classes, shown, told_classes
from crayon_bench.networks.specification import CNN_NAMES, CNNSpec, ModelSpec, Scaling
from crayon_bench.networks.weights_file import classes_in, content_of, scaling_in, tensors_in

if TYPE_CHECKING:
    from torch import Tensor

    from crayon_bench.dataset import Dataset
    from crayon_bench.networks.classifier import Classifier


_PUBLISHED = {"imagenet": "IMAGENET1K_V1", "imagenet-v2": "IMAGENET1K_V2"}
"""torchvision's names of its weights."""


@dataclass(frozen=True)
class Weights:
    """Weights that were found. coordinates: what of them is part of a run's key. path: None for random ones.

    remarks: what the user should know before it starts. notes: those that stand under every table.
    missing: what is not here and how a run will get it; the coordinates are then without the hash.
    """

    coordinates: dict[str, Any] | None
    path: Path | None
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    missing: str = ""


def find_weights(
    spec: ModelSpec,
    dataset: "type[Dataset]",
    given: Path | None,
    class_names: Sequence[str] = (),
    *,
    fetch: bool = True,
) -> Weights:
    """Return the initial weights for the network *spec* on *dataset*; *given* is the file of ``--weights``.

    If that is a whole classifier for these classes, it is the original model: its coordinates then have ``head``.
    class_names: those of the data, where the class of *dataset* does not know how many there are.
    fetch: whether published weights that are not here are downloaded; otherwise they are ``missing``.
    The file is read, and checked against the architecture. Raises UserError if there are none, with the way to them.
    """
    if not isinstance(spec, CNNSpec):
        return Weights(None, None)
    if spec.classes is not None and (given is None or spec.head == "new"):
        why = "there is no --weights FILE" if given is None else "model.head = new leaves its outputs out"
        raise UserError(f"model.classes says which output of --weights FILE is which class, and {why}")
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
    elif spec.weights in _PUBLISHED:
        path, url = _published(spec)
        source, sha256 = spec.weights, None
        if not path.is_file() and not fetch:
            scaling = Scaling.IMAGENET if spec.scaling == "auto" else Scaling(spec.scaling)
            how = f"a run fetches it from {url} into {path.parent}; or put it there, or add --weights FILE"
            text = f"{path.name}, the {_words(spec)} of {spec.title}, is not here: {how}"
            return Weights({"source": source, "sha256": None, "scaling": scaling.value}, None, missing=text)
        if not path.is_file():
            _download(spec, path, url)
    else:
        known = ", ".join([*_PUBLISHED, *dataset.pretrained, "none"])
        raise UserError(f"model.weights = '{spec.weights}': there are no such weights", f"one of: {known}")
    content = content_of(path)
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise UserError(
            f"{path}: damaged: its sha256 is {found[:12]}…, not {sha256[:12]}…", "install crayon-bench again"
        )
    tensors, which = tensors_in(path, content)
    tensors = plain_names(spec, path, tensors)
    matching_body(spec, path, tensors)  # before its scaling is asked for: it may be no weights at all
    own = scaling_in(path, content) if source not in _PUBLISHED else Scaling.IMAGENET
    known_scaling = own if spec.scaling == "auto" else Scaling(spec.scaling)
    if known_scaling is None:
        raise UserError(
            f"{path}: the file does not say with which input scaling it was trained",
            "say it: --set model.scaling=unit (x/255), symmetric (x/127.5 − 1) or imagenet (mean and std)",
        )
    coordinates = {"source": source, "sha256": found, "scaling": known_scaling.value}
    if not given:
        return Weights(coordinates, path)
    whole = _whole(spec, dataset, class_names, path, content, tensors, coordinates)
    told = (which,) if which else ()  # a checkpoint may hold two networks
    return replace(whole, remarks=(*told, *whole.remarks), notes=(*told, *whole.notes))


def _whole(
    spec: CNNSpec,
    dataset: "type[Dataset]",
    class_names: Sequence[str],
    path: Path,
    content: bytes,
    tensors: "Mapping[str, Tensor]",
    coordinates: dict[str, Any],
) -> Weights:
    """Return the weights of ``--weights``: with its last layer, if that fits and is wanted."""
    number = len(class_names) or dataset.classes
    said = classes_in(path, content)
    told = [] if spec.classes is None else told_classes(spec.classes)
    if told:
        check_classes(told, said, class_names, number)
    why = "model.head = new"
    if spec.head != "new":
        _, why = matching_head(spec, path, tensors, number)
        if not why and not told and said and sorted(said) != sorted(class_names or said):
            why = f"its classes are {shown(said)}"
    if why and (told or spec.head == "file"):
        hint = "see model.head and model.classes"
        raise UserError(f"weights {path}: no classifier of these {number} classes: {why}", hint)
    if why:
        text = f"weights {path}: initial weights of the body; the last layer is new, and the original model is trained"
        return Weights(coordinates, path, (f"{text} ({why})",))
    note = f"original model: the user's, {path.name} (sha256 {coordinates['sha256'][:12]}…), not trained"
    other = "to train one from its body, add --set model.head=new"
    order, hint = f"{path.name}: its outputs: {shown(told or said)}", ""
    if not told and not said:
        labels = f"in the order of the labels: {shown(class_names)}" if class_names else "in the data set's order"
        order = f"{path.name}: its outputs are taken {labels}; the file does not say"
        hint = "; if they are in another, say it: --set model.classes=FILE, or a list"
    elif told and said and told != said:
        order += f", in place of the file's {shown(said)}"
    # Two classes in the wrong order show: less than half is right. Of more, one does not see it.
    assumed = [order] if not told and not said and number > 2 else []
    coordinates |= {"head": True, **({"classes": told} if told and told != said else {})}
    return Weights(coordinates, path, (f"{note}; {other}", order + hint), (note, *assumed))


def load_into(
    model: "Classifier",
    spec: CNNSpec,
    coordinates: Mapping[str, Any],
    path: Path,
    class_names: Sequence[str] = (),
) -> None:
    """Copy the weights in *path* into the body of *model*, and into its last layer if the *coordinates* say so.

    Outputs are put into the order of *class_names* if the *coordinates*, or else the file, say which is which.
    Raises UserError if the file has changed or does not fit.
    """
    import torch

    content = content_of(path)
    if hashlib.sha256(content).hexdigest() != coordinates["sha256"]:
        raise UserError(f"{path}: the weights changed after the plan was made", "give the same command again")
    tensors = plain_names(spec, path, tensors_in(path, content)[0])
    body = matching_body(spec, path, tensors)
    with torch.no_grad():
        state = model.state_dict()
        for name, value in state.items():
            if name.startswith("body."):
                value.copy_(body[name.removeprefix("body.")])
        if not coordinates.get("head"):
            return
        head, why = matching_head(spec, path, tensors, len(state["head.bias"]))
        order = coordinates.get("classes") or classes_in(path, content)
        if head is None or (order and sorted(order) != sorted(class_names)):
            why = why or f"its classes are {shown(order)}, and the data's {shown(class_names)}"
            raise UserError(f"weights {path}: {why}", "for its body alone, add --set model.head=new")
        rows = torch.tensor([order.index(name) for name in class_names] if order else range(len(state["head.bias"])))
        state["head.weight"].copy_(head[0][rows])
        state["head.bias"].copy_(head[1][rows])


def _published(spec: CNNSpec) -> tuple[Path, str]:
    """Return where torchvision's file of ImageNet weights lies in PyTorch's cache, or would, and its address."""
    import torch
    from torchvision.models import get_model_weights

    wanted = _PUBLISHED[spec.weights]
    networks = [name for name in CNN_NAMES if name != "small-cnn" and wanted in get_model_weights(name).__members__]
    if spec.name not in networks:
        raise UserError(
            f"model.weights = '{spec.weights}': there are none for {spec.title}",
            f"these have some: {', '.join(networks)}; or choose other weights",
        )
    url: str = get_model_weights(spec.name)[wanted].value.url
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1], url


def _words(spec: CNNSpec) -> str:
    return "ImageNet weights" if spec.weights == "imagenet" else "ImageNet weights (V2)"


def _download(spec: CNNSpec, path: Path, url: str) -> None:
    import torch

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The name ends with the beginning of the sha256, which is verified.
        prefix = path.stem.rsplit("-", 1)[1]
        torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=False)
    except Exception as error:
        raise UserError(
            f"{spec.title} needs {_words(spec)}, and they could not be downloaded"
            f" ({' '.join(str(error).split())[:120]})",
            f"put {path.name} (from {url}) into {path.parent}, or --weights FILE",
        ) from None
