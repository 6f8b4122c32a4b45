"""RRR: Right for the Right Reasons (Ross, Hughes and Doshi-Velez 2017, arXiv:1703.03717)."""

import torch
from pydantic import Field
from torch import Tensor

from crayon_bench import Batch, Classifier, FeedbackKind, Forward, Job, Method, Parameters, ask_masks


class RRRParameters(Parameters):
    """The weight of the explanation term."""

    lambda_: float = Field(
        default=1000.0,
        ge=0,
        alias="lambda",
        description="λ: weight of the squared input gradient, for input in 0–255; for input in 0–1 it is λ/255²; for"
        " convolutional networks, of the squared map on irrelevant pixels",
    )


class RRR(Method):
    """Keep the input gradient small where the annotation A says that pixels must not matter.

    With p the predicted probabilities of K classes (eq. 1 of the paper, one-hot labels)::

        L = Σ_n −log p_ny + λ Σ_n Σ_d (A_nd · ∂/∂x_d Σ_k log p_nk)²

    The gradient of Σ_k log p_k with respect to the logits is 1 − K·p, so that the input gradient has a closed form and
    training needs no double backward.

    For convolutional networks the gradient is that of Grad-CAM (Selvaraju et al. 2017), with respect to the last
    feature map and not to the pixels: M′ is the true label's map divided by its maximum, and A the share of each cell
    that must not matter::

        L = Σ_n −log p_ny + λ Σ_n Σ_hw (A_n · M′_n)²

    With ``model.maps = "contrast"``, M′ is of the logits' difference in place of the label's logit.

    Departures: the form for convolutional networks is ours; it is not published for these data, and the input
    gradient's costs a double backward (docs/performance.md). Weight decay is the optimiser's, not the paper's separate
    term; the recipe's ``reduction`` says whether L is this sum over the batch, or a mean. An image without an answer
    has A = 0.
    """

    name = "rrr"
    title = "RRR"
    summary = "maps of irrelevant pixels, where the input gradient is kept small"
    source = "Ross, Hughes and Doshi-Velez 2017"
    asks = (FeedbackKind.IRRELEVANT_MASK,)
    Parameters = RRRParameters

    def refine(self, job: Job) -> Classifier:
        """Ask for a mask of every image, then fine-tune."""
        parameters = job.parameters
        assert isinstance(parameters, RRRParameters)
        if job.has_feature_maps:
            return self._on_feature_maps(job, parameters)
        masks = job.oracle.irrelevant_masks(torch.arange(len(job.images)).numpy())
        A = torch.from_numpy(masks.values & masks.answered[:, None, None]).to(job.device).flatten(1)
        # Elsewhere the term is zero: the gradient is computed at these pixels alone.
        pixels = torch.nonzero(A.any(0).repeat(job.images.shape[1])).squeeze(-1)
        A = A[:, pixels % A.shape[1]].float()

        def penalty(forward: Forward, batch: Batch) -> Tensor:
            p = forward.logits.softmax(-1)
            K = p.shape[-1]
            gradient = forward.input_gradient(1 - K * p, pixels)
            return parameters.lambda_ * (batch["A"] * gradient).square().sum(-1)

        return job.fit(penalty, {"A": A})

    def _on_feature_maps(self, job: Job, parameters: RRRParameters) -> Classifier:
        grid = job.model.map_size(*job.images.shape[-2:])
        A, _ = ask_masks(job.oracle, FeedbackKind.IRRELEVANT_MASK, len(job.images), grid)

        def penalty(forward: Forward, batch: Batch) -> Tensor:
            M_ = forward.normalised(batch.labels, job.count_dead)
            return parameters.lambda_ * (batch["A"] * M_).square().sum((-2, -1))

        return job.fit(penalty, {"A": A.to(job.device)})
