"""Energy loss: attention energy inside bounding boxes (Rao et al. 2023, arXiv:2303.11932)."""

import torch
from pydantic import Field
from torch import Tensor

from crayon_bench import Batch, Classifier, FeedbackKind, Forward, Job, Method, Parameters, upsampling


class EnergyParameters(Parameters):
    """The weight of the localisation term."""

    lambda_: float = Field(
        default=1.0, ge=0, alias="lambda", description="λ: weight of the share of energy outside the box"
    )


class EnergyLoss(Method):
    """Keep the map's positive energy inside the box around what matters.

    With M′⁺ the positive part of the label's map under the model being trained, upsampled to the image's size::

        L = mean_n −log p_ny + λ mean_n (1 − Σ_{hw in box} M′⁺ / Σ_hw M′⁺)

    Upsampling is linear: with A the map on its grid, U the upsampling and m the box, the two sums are ⟨A, Uᵀm⟩ and
    ⟨A, Uᵀ1⟩, and Uᵀm is computed once. A map without positive energy, and an image without a box, add nothing and have
    no gradient.

    Departures: for MLPs the map is |input gradient|, which has the image's size and is nowhere negative; the paper has
    convolutional networks, with B-cos and input-times-gradient maps beside Grad-CAM. With
    ``model.maps = "contrast"``, M′ is of the logits' difference in place of the label's logit.
    """

    name = "energy"
    title = "Energy loss"
    summary = "bounding boxes, inside which attention is kept"
    source = "Rao et al. 2023"
    asks = (FeedbackKind.BOX,)
    Parameters = EnergyParameters

    def refine(self, job: Job) -> Classifier:
        """Ask for a box on every image, then fine-tune."""
        parameters = job.parameters
        assert isinstance(parameters, EnergyParameters)
        boxes = job.oracle.boxes(torch.arange(len(job.images)).numpy())
        edges = torch.from_numpy(boxes.values[:, :, None].copy()).to(job.device)
        (height, width), grid = job.images.shape[-2:], job.model.map_size(*job.images.shape[-2:])
        rows, columns = torch.arange(height, device=job.device), torch.arange(width, device=job.device)
        in_rows = (edges[:, 0] <= rows) & (rows < edges[:, 2])
        in_columns = (edges[:, 1] <= columns) & (columns < edges[:, 3])
        # U is the product of an upsampling of rows and one of columns, and a box is a product too.
        U_rows, U_columns = (
            upsampling(cells, pixels).to(job.device) for cells, pixels in zip(grid, (height, width), strict=True)
        )
        inside = (in_rows.float() @ U_rows)[:, :, None] * (in_columns.float() @ U_columns)[:, None, :]  # Uᵀm
        everywhere = U_rows.sum(0)[:, None] * U_columns.sum(0)  # Uᵀ1
        answered = torch.from_numpy(boxes.answered).to(job.device)

        def penalty(forward: Forward, batch: Batch) -> Tensor:
            A = forward.saliency(batch.labels)
            total = (A * everywhere).sum((-2, -1))
            dead = total <= 0
            job.count_dead(dead)
            share = (A * batch["inside"]).sum((-2, -1)) / total.masked_fill(dead, torch.inf)
            return parameters.lambda_ * (1 - share) * (batch["answered"] & ~dead)

        return job.fit(penalty, {"inside": inside, "answered": answered})
