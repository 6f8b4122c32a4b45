"""Saliency maps of a whole training set."""

from itertools import count

import torch
from torch import Tensor

from crayon_bench.data.paging import Rows
from crayon_bench.networks.classifier import Classifier, batch_for_maps


@torch.no_grad()
def saliency_maps(model: Classifier, images: Tensor, labels: Tensor, batch: int | None = None) -> tuple[Tensor, int]:
    """Return max-normalised maps of the labels' logits for all *images* (N, C, H, W), and how many are dead.

    Maps are (N, H, W), in [0, 1] but for an MLP whose ``peak`` is signed, float32 or the model's own precision if
    that is higher.
    """
    dead: list[Tensor] = []
    batch = batch or batch_for_maps(images.shape[1:])
    rows = Rows(images)
    parts = ((rows[start : start + len(y)], y) for start, y in zip(count(0, batch), torch.split(labels, batch)))
    maps = torch.cat([model.run(x.to(y.device)).normalised(y, dead.append) for x, y in parts])
    return maps, int(torch.cat(dead).sum())
