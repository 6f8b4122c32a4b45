"""The data of a run, on its device and its own, and the rule that chooses an epoch."""

import gc
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crayon_bench.dataset import Dataset, LoadedData, Source, Split
from crayon_bench.errors import UserError
from crayon_bench.networks.training import predict
from crayon_bench.parameters import restored
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.runs.protocol import Selection
from crayon_bench.store.request import RunRequest

_loaded: tuple[str, LoadedData] | None = None


def load_data(request: RunRequest, registry: Registry) -> LoadedData:
    """Return the data of a run; the last ones are kept for the next run."""
    global _loaded
    wanted = request.coordinates["dataset"]
    memo = repr(sorted(wanted.items())) + request.data_root
    if _loaded is not None and _loaded[0] == memo:
        return _loaded[1]
    _loaded = None
    gc.collect()
    dataset: type[Dataset] = registry.load(Kind.DATASET, wanted["name"])
    found = dataset.find(Path(request.data_root), Source(wanted["source"]), strict=request.strict)
    if found.content != wanted["content"]:
        raise UserError(f"{found.where}: the data changed after the plan was made", "give the same command again")
    data = dataset(restored(dataset.Parameters, wanted["parameters"], request.files, "dataset")).load(found)
    _loaded = memo, data
    return data


def to_device(split: Split, device: str) -> tuple[Tensor, Tensor]:
    """Return images and labels, as tensors of this run's own."""
    return own_images(split.images, device), torch.tensor(split.labels, device=device)


def own_images(images: np.ndarray[Any, Any], device: str) -> Tensor:
    """Return the images as a tensor of this run's own: what one method writes into them must not reach the next run."""
    if device == "cuda" and images.nbytes < torch.cuda.mem_get_info()[0] / 2:
        return torch.from_numpy(_private(images)).to(device)
    return torch.from_numpy(_private(images))


def _private(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if isinstance(images, np.memmap) and images.filename is not None and images.flags.c_contiguous:
        whole = images
        while isinstance(whole.base, np.memmap):
            whole = whole.base
        # A slice has its map's offset and not its own: where it begins is told by its address alone.
        offset = whole.offset + images.ctypes.data - whole.ctypes.data
        # Mapped once more, copy-on-write: pages are read as they are needed, and what is written stays in this run.
        return np.memmap(images.filename, images.dtype, "c", offset, images.shape)
    return np.array(images)


# Like the ledger's accounts: a job's `select` must not lead to the validation split.
_selectors: dict[int, tuple[Selection, Tensor, np.ndarray[Any, Any], np.ndarray[Any, Any], int]] = {}


_numbers = count(1)


def make_selector(rule: Selection, data: LoadedData, device: str) -> Callable[[nn.Module], float] | None:
    """Return what scores a model by the *rule*; None if the last epoch is taken. An earlier one is void."""
    if rule is Selection.LAST:
        return None
    if data.validation is None:
        raise UserError(f"selection '{rule.value}' needs a validation split, and there is none", "use selection 'last'")
    split, number = data.validation, next(_numbers)
    if rule is Selection.VAL_WGA and not data.group_names:
        why = data.no_groups or "there are no groups"
        raise UserError(f"selection 'val_wga': {why}", "use 'last' or 'val_accuracy'")
    if rule is Selection.VAL_WGA and (split.groups < 0).any():
        raise UserError(
            "selection 'val_wga': the groups of validation images are not known", "use 'last' or 'val_accuracy'"
        )
    if rule is Selection.VAL_WGA and (np.bincount(split.groups, minlength=len(data.group_names)) == 0).any():
        raise UserError("selection 'val_wga': a group has no validation examples", "use 'last' or 'val_accuracy'")
    _selectors.clear()
    _selectors[number] = (
        rule,
        own_images(split.images, device),
        split.labels,
        split.groups,
        len(data.group_names),
    )
    return partial(_score, number)


def _score(number: int, model: nn.Module) -> float:
    rule, images, labels, groups, size = _selectors[number]
    right = predict(model, images, next(model.parameters()).device).argmax(-1).cpu().numpy() == labels
    if rule is Selection.VAL_ACCURACY:
        return float(right.mean())
    total = np.bincount(groups, minlength=size)
    return float((np.bincount(groups[right], minlength=size) / total).min())
