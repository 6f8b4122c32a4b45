"""Maps of one forward pass: what they are of, and normalisation without traps."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def contrast_seeds(labels: Tensor, logits: Tensor) -> Tensor:
    """Return 1 for the label and −1/(classes − 1) for the others: (B, classes)."""
    one_hot = nn.functional.one_hot(labels, logits.shape[-1]).to(logits.dtype)
    return one_hot - (1 - one_hot) / max(1, logits.shape[-1] - 1)


def max_normalise(maps: Tensor, count_dead: Callable[[Tensor], None] | None = None) -> Tensor:
    """Divide each map (…, H, W) by its own maximum, with the gradient flowing through the maximum too.

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
