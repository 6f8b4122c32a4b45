"""From pixels to the cells of a feature map, and between them."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from crayon_bench.feedback import FeedbackKind

if TYPE_CHECKING:
    from crayon_bench.ledger.metered import MeteredOracle

_CHUNK = 512


def to_grid(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the share of each cell that is covered: float32 (n, h, w), in [0, 1], for masks (n, H, W)."""
    return nn.functional.adaptive_avg_pool2d(masks[:, None].float(), grid).squeeze(1)


def boxes_to_grid(boxes: Tensor, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Return the share of each cell that a box covers: float32 (n, h, w), for boxes (n, 4) in an image of *size*.

    A box is top, left, bottom, right (excluded) in pixels. The same as :func:`to_grid` of the boxes' masks.
    """
    pools = []
    for side, (pixels, cells) in enumerate(zip(size, grid, strict=True)):
        at = torch.arange(pixels, device=boxes.device)
        inside = (boxes[:, side, None] <= at) & (at < boxes[:, side + 2, None])
        pools.append(nn.functional.adaptive_avg_pool1d(inside.float(), cells))
    return pools[0][:, :, None] * pools[1][:, None, :]


def ask_masks(oracle: "MeteredOracle", kind: FeedbackKind, n: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Ask for the masks of this *kind* of all n training images, some at a time, and keep them on the grid only.

    Returns :func:`to_grid` of the masks, float32 (n, h, w), and which were answered, bool (n,). A mask that was not
    answered, or that the budget did not allow, is zero.
    """
    ask = oracle.relevant_masks if kind is FeedbackKind.RELEVANT_MASK else oracle.irrelevant_masks
    shares, answered = torch.zeros(n, *grid), torch.zeros(n, dtype=torch.bool)
    chosen = oracle.chosen(kind, np.arange(n))
    for start in range(0, len(chosen), _CHUNK):
        part = chosen[start : start + _CHUNK]
        given = ask(part)
        shares[part] = to_grid(torch.from_numpy(np.ascontiguousarray(given.values)), grid)
        answered[part] = torch.from_numpy(given.answered.copy())
    return shares, answered


def upsampling(cells: int, pixels: int) -> Tensor:
    """Return the matrix U (pixels, cells) of bilinear upsampling along one side; its rows sum to 1."""
    eye = torch.eye(cells)[None]
    return nn.functional.interpolate(eye, size=pixels, mode="linear", align_corners=False)[0].T.contiguous()


def blur(maps: Tensor, sigma: float = 0.8) -> Tensor:
    """Return maps (n, h, w) after a 3×3 Gaussian; borders are reflected, without repeating the edge."""
    side = float(np.exp(-1 / (2 * sigma**2)))
    kernel = torch.tensor([side, 1.0, side], dtype=maps.dtype, device=maps.device)
    kernel = kernel / kernel.sum()
    mode = "reflect" if min(maps.shape[-2:]) > 1 else "replicate"
    padded = nn.functional.pad(maps[:, None], (1, 1, 1, 1), mode=mode)
    return nn.functional.conv2d(padded, torch.outer(kernel, kernel)[None, None]).squeeze(1)
