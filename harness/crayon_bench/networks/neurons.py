"""Neurons of a convolutional network: what activates them most, found in one pass, and their pooled activations.

A neuron is a channel k of the last feature map A. Its activation on an image is max_hw A_khw; its patches are crops
around the cell where that maximum lies, on the images that activate it most (CRAYON paper, §3.3). Memory: the k + 1
strongest images of each channel so far, and the pooled features.

An activation with a ceiling, such as ReLU6, reaches it on many images, and in many cells of one. Which of them are
shown must not follow from the order of files: of equal maxima the higher mean comes first, and of equal cells the
one nearest to their centre is taken. How many patches such a choice was made for is counted.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from crayon_bench.data.paging import Rows
from crayon_bench.networks.classifier import batch_for_maps
from crayon_bench.networks.convnets import ConvNet
from crayon_bench.oracle import Patches


@dataclass(frozen=True)
class Neurons:
    """What one pass over the training images says about the K channels. All on the CPU.

    pooled: GAP(A), float32 (N, K). examples: int64 (K, k), the images that activate a channel most, strongest first,
    of equals that with the higher mean first, then the earlier; −1 where it is active (> 0) on fewer than k images.
    rows, columns: int64 (K, k), the cell of the maximum. grid: height and width of A. tied: int64 (K,), on how many of
    its k images a channel's maximum is that of another image too, or of another cell.
    """

    pooled: Tensor
    examples: Tensor
    rows: Tensor
    columns: Tensor
    grid: tuple[int, int]
    tied: Tensor

    @property
    def dead(self) -> Tensor:
        """Which channels are active on no image, bool (K,)."""
        return self.examples[:, 0] < 0

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the content as tensors, to be kept as an artifact."""
        return {
            "pooled": self.pooled,
            "examples": self.examples,
            "rows": self.rows,
            "columns": self.columns,
            "grid": torch.tensor(self.grid),
            "tied": self.tied,
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Self:
        """Return what :meth:`to_tensors` gave."""
        height, width = tensors["grid"].tolist()
        where = tensors["examples"], tensors["rows"], tensors["columns"]
        return cls(tensors["pooled"], *where, (height, width), tensors["tied"])

    def patches(self, height: int, width: int, radius: int) -> Patches:
        """Return the patches of the channels that are not dead.

        A patch is the square of cells at most *radius* away from the maximum, in pixels of an image of *height* ×
        *width*, clipped to the image.
        """
        alive = ~self.dead
        h, w = self.grid
        rows, columns = self.rows[alive], self.columns[alive]
        edges = [
            (rows - radius).clamp_min(0) * height // h,
            (columns - radius).clamp_min(0) * width // w,
            -((rows + radius + 1).clamp_max(h) * -height // h),
            -((columns + radius + 1).clamp_max(w) * -width // w),
        ]
        return Patches(
            neurons=torch.nonzero(alive).flatten().numpy(),
            examples=self.examples[alive].numpy(),
            boxes=torch.stack(edges, dim=-1).numpy(),
        )


@torch.no_grad()
def find_neurons(model: ConvNet, images: Tensor, k: int, device: str, batch: int | None = None) -> Neurons:
    """Return what the *images*, uint8 (N, 3, H, W), say about the channels of *model*, which must be in eval mode."""
    n, channels, reader = len(images), model.channels, Rows(images)
    k = min(k, n)
    pooled = torch.empty(n, channels)
    best = torch.full((0, channels), -torch.inf)
    where, cells, equals = (torch.zeros((0, channels), dtype=torch.long) for _ in range(3))
    batch = batch or batch_for_maps(images.shape[1:])
    grid = (1, 1)
    for start in range(0, n, batch):
        A = model.features(reader[start : start + batch].to(device))
        grid = (A.shape[-2], A.shape[-1])
        pooled[start : start + len(A)] = A.mean((-2, -1)).float().cpu()
        peak, cell, number = (t.cpu() for t in _peaks(A))
        best = torch.cat([best, peak.float()])
        where = torch.cat([where, torch.arange(start, start + len(A))[:, None].expand(-1, channels)])
        cells, equals = torch.cat([cells, cell]), torch.cat([equals, number])
        # Twice, and stable: by the maximum, then by the mean, then the earlier image, whatever the size of the batches.
        order = pooled.gather(0, where).argsort(dim=0, descending=True, stable=True)
        order = order.gather(0, best.gather(0, order).argsort(dim=0, descending=True, stable=True))[: k + 1]
        best, where, cells, equals = (t.gather(0, order) for t in (best, where, cells, equals))
    same = best[1:] == best[:-1]  # the last one that is shown may equal the first one that is not
    tied = (equals > 1)[:k]
    tied[: len(same)] |= same[:k]
    tied[1:] |= same[: k - 1]
    best, where, cells = best[:k], where[:k], cells[:k]
    tied = (tied & (best > 0)).sum(0)
    where = where.masked_fill(best <= 0, -1)
    rows, columns = cells // grid[1], cells % grid[1]
    return Neurons(pooled, where.T.contiguous(), rows.T.contiguous(), columns.T.contiguous(), grid, tied)


def _peaks(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the maximum of each map of A, (B, K, H, W), the cell where it is shown, and in how many cells it lies.

    Of several cells the one nearest to their centre of gravity is taken, and the first of these. Each (B, K).
    """
    H, W = A.shape[-2:]
    peak = A.amax((-2, -1))
    at = peak[..., None, None] == A
    number = at.sum((-2, -1))
    row = torch.arange(H, device=A.device)[:, None].expand(H, W)
    column = torch.arange(W, device=A.device).expand(H, W)
    # Distances in whole numbers, so that they do not depend on rounding: n·(cell − centre) = n·cell − Σ cells.
    n = number[..., None, None]
    far_r = n * row - (at * row).sum((-2, -1), keepdim=True)
    far_c = n * column - (at * column).sum((-2, -1), keepdim=True)
    far = (far_r**2 + far_c**2).masked_fill(~at, torch.iinfo(torch.int64).max)
    return peak, far.flatten(-2).argmin(-1), number
