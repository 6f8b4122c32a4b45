"""Saliency maps: normalisation without traps, and maps of a whole training set."""

from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor

from crayon_bench.models import Classifier, batch_for_maps
from crayon_bench.paging import Rows


def max_normalise(maps: Tensor, count_dead: Callable[[Tensor], None] | None = None) -> Tensor:
    """Divide each map (…, H, W) ≥ 0 by its own maximum, with the gradient flowing through the maximum too.

    A dead map (nowhere positive) stays all zeros, with zero gradient: dividing by (maximum + ε) instead would turn
    rounding noise into a map of ones, and ε vanishes in half precision. Maps are computed in float32 at least.
    *count_dead* is called with which maps are dead, bool (…), without waiting for the device.
    """
    if maps.dtype in (torch.float16, torch.bfloat16):
        maps = maps.float()
    peak = maps.amax(dim=(-2, -1), keepdim=True)
    dead = peak <= 0
    if count_dead is not None:
        count_dead(dead.squeeze(-1).squeeze(-1))
    # Divided by infinity, a dead map and its gradient are exactly zero.
    return maps / peak.masked_fill(dead, torch.inf)


def min_max_normalise(maps: Tensor, count_dead: Callable[[Tensor], None] | None = None) -> Tensor:
    """Scale each map (…, H, W) to 0–1 by its minimum and maximum, with the gradient flowing through both.

    A flat map becomes all zeros, with zero gradient, and is counted as dead.
    """
    if maps.dtype in (torch.float16, torch.bfloat16):
        maps = maps.float()
    low = maps.amin(dim=(-2, -1), keepdim=True)
    span = maps.amax(dim=(-2, -1), keepdim=True) - low
    flat = span <= 0
    if count_dead is not None:
        count_dead(flat.squeeze(-1).squeeze(-1))
    return (maps - low) / span.masked_fill(flat, torch.inf)


@torch.no_grad()
def saliency_maps(model: Classifier, images: Tensor, labels: Tensor, batch: int | None = None) -> tuple[Tensor, int]:
    """Return max-normalised maps of the labels' logits for all *images* (N, C, H, W), and how many are dead.

    Maps are (N, H, W), in [0, 1], float32 or the model's own precision if that is higher.
    """
    dead: list[Tensor] = []
    batch = batch or batch_for_maps(images.shape[1:])
    rows = Rows(images)
    parts = ((rows[start : start + len(y)], y) for start, y in zip(count(0, batch), torch.split(labels, batch)))
    maps = torch.cat([max_normalise(model.run(x.to(y.device)).saliency(y), dead.append) for x, y in parts])
    return maps, int(torch.cat(dead).sum())
