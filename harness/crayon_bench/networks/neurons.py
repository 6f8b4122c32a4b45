"""Neurons of a convolutional network: what activates them most, found in one pass, and their pooled activations.

A neuron is a channel k of the last feature map A. Its activation on an image is max_hw A_khw; its patches are crops
around the cell where that maximum lies, on the images that activate it most (CRAYON paper, §3.3). Memory: the k
strongest images of each channel so far, and the pooled features.
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
    the earlier of equals first; −1 where it is active (> 0) on fewer than k images. rows, columns: int64 (K, k), the
    cell of the maximum. grid: height and width of A.
    """

    pooled: Tensor
    examples: Tensor
    rows: Tensor
    columns: Tensor
    grid: tuple[int, int]

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
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Self:
        """Return what :meth:`to_tensors` gave."""
        height, width = tensors["grid"].tolist()
        return cls(tensors["pooled"], tensors["examples"], tensors["rows"], tensors["columns"], (height, width))

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
    where = torch.zeros((0, channels), dtype=torch.long)
    cells = torch.zeros((0, channels), dtype=torch.long)
    batch = batch or batch_for_maps(images.shape[1:])
    grid = (1, 1)
    for start in range(0, n, batch):
        A = model.features(reader[start : start + batch].to(device))
        grid = (A.shape[-2], A.shape[-1])
        pooled[start : start + len(A)] = A.mean((-2, -1)).float().cpu()
        peak, cell = (t.cpu() for t in A.flatten(-2).max(-1))
        best = torch.cat([best, peak.float()])
        where = torch.cat([where, torch.arange(start, start + len(A))[:, None].expand(-1, channels)])
        cells = torch.cat([cells, cell])
        # Stable, so that of equal activations the earlier image stays, whatever the size of the batches.
        best, order = best.sort(dim=0, descending=True, stable=True)
        best, order = best[:k], order[:k]
        where, cells = where.gather(0, order), cells.gather(0, order)
    where = where.masked_fill(best <= 0, -1)
    rows, columns = cells // grid[1], cells % grid[1]
    return Neurons(pooled, where.T.contiguous(), rows.T.contiguous(), columns.T.contiguous(), grid)
