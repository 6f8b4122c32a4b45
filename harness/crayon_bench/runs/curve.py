"""What test accuracy did from epoch to epoch: kept where the protocol asks for it, for study. It selects nothing."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from crayon_bench.networks.mlp import MLPForward
from crayon_bench.networks.training import predict

if TYPE_CHECKING:
    from crayon_bench.method import Job


def watched(job: "Job", images: Tensor, labels: Tensor, rows: list[dict[str, float]]) -> Callable[..., None]:
    """Return ``job.on_epoch`` that writes a row per epoch into *rows* as well.

    images: of the test split, uint8 (N, C, H, W). labels: int64 (N,). A row: ``epoch`` from 1; ``accuracy`` in percent;
    ``dead_maps``, the share of the epoch's training maps that were zero everywhere, in percent, for methods that count
    them; ``live_units``, the share of an MLP's hidden units that are on for some test image, in percent.
    """
    told = job.on_epoch
    before = 0

    @torch.no_grad()
    def on_epoch(epoch: int, epochs: int, loss: float) -> None:
        nonlocal before
        told(epoch, epochs, loss)
        row = {"epoch": float(epoch), "accuracy": _accuracy(job, images, labels)}
        if job._dead is not None:
            dead = int(job._dead)
            row["dead_maps"] = 100.0 * (dead - before) / len(job.images)
            before = dead
        forward = job.model.run(images[:2048].to(job.device))
        if isinstance(forward, MLPForward):
            row["live_units"] = 100.0 * float(torch.cat([gate.any(0) for gate in forward.gates]).double().mean())
        rows.append({name: round(value, 4) for name, value in row.items()})

    return on_epoch


def _accuracy(job: "Job", images: Tensor, labels: Tensor) -> float:
    predicted = predict(job.model, images, job.device).argmax(-1).cpu()
    return 100.0 * float((predicted == labels).double().mean())
