"""Saliency maps: normalisation without traps, and maps of a whole training set."""

from collections.abc import Callable

import torch
from torch import Tensor

from crayon_bench.models import Classifier


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


@torch.no_grad()
def saliency_maps(model: Classifier, images: Tensor, labels: Tensor, batch: int = 1024) -> tuple[Tensor, int]:
    """Return max-normalised maps of the labels' logits for all *images* (N, C, H, W), and how many are dead.

    Maps are (N, H, W), in [0, 1], float32 or the model's own precision if that is higher.
    """
    dead: list[Tensor] = []
    parts = zip(torch.split(images, batch), torch.split(labels, batch), strict=True)
    maps = torch.cat([max_normalise(model.run(x).saliency(y), dead.append) for x, y in parts])
    return maps, int(torch.cat(dead).sum())
