"""MaskTune: mask what the original model looks at most, and train on for one epoch (arXiv:2210.00055)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from crayon_bench import Job, Method, Parameters


class MaskTuneParameters(Parameters):
    """What is masked, and for how long the model is trained."""

    deviations: float = Field(
        default=2.0, ge=0, description="a pixel is masked if its map is above the map's mean plus this many deviations"
    )
    epochs: int = Field(default=1, ge=1, description="epochs of fine-tuning on the masked images")


class MaskTune(Method):
    """Force the model to look elsewhere: no feedback, one epoch on images whose most salient pixels are black.

    With A the map of the true label's logit under the original model, at the image's size, μ and σ its mean and
    standard deviation over the pixels, and τ = μ + 2σ::

        x̂ = x · 1[A ≤ τ]          then one epoch of cross-entropy on the x̂ alone

    Departures: maps are the harness's (Grad-CAM where the paper has xGradCAM: the same up to a factor for networks that
    end with average pooling and one linear layer; |input gradient| for MLPs, of which the paper has none). Learning
    rate and batch are those of the protocol; the paper takes the last, decayed rate of the first training.
    """

    name = "masktune"
    title = "MaskTune"
    summary = "masks the most salient pixels of the training images and fine-tunes for one epoch"
    source = "Asgari et al. 2022, arXiv:2210.00055"
    Parameters = MaskTuneParameters

    def refine(self, job: Job):
        """Mask every training image, then fine-tune."""
        salient = most_salient(job.original_maps(), job.images.shape[-2:], job.parameters.deviations)
        job.images.masked_fill_(salient.unsqueeze(1).to(job.images.device), 0)
        job.report(f"masked {100 * float(salient.float().mean()):.1f} % of the pixels")
        job.recipe = job.recipe.model_copy(update={"epochs": job.parameters.epochs})
        return job.fit()


def most_salient(maps: Tensor, size: tuple[int, int], deviations: float) -> Tensor:
    """Return the pixels where a map (N, h, w), scaled to *size*, is above mean + *deviations* · σ: bool (N, H, W)."""
    parts = []
    for part in maps.split(1024):
        A = nn.functional.interpolate(part.unsqueeze(1), size=size, mode="bilinear").squeeze(1)
        sigma, mu = torch.std_mean(A, dim=(-2, -1), keepdim=True, correction=0)
        threshold = mu + deviations * sigma
        parts.append(threshold < A)  # strictly: nothing of a map that is the same everywhere
    return torch.cat(parts)
