"""CRAYON-Attention: refine with yes-no feedback on saliency maps (CRAYON paper, §3.2)."""

import torch
from pydantic import Field
from torch import Tensor

from crayon_bench.feedback import FeedbackKind, Verdict
from crayon_bench.method import Job, Method
from crayon_bench.models import Classifier, Forward
from crayon_bench.parameters import Parameters
from crayon_bench.training import Batch


class CrayonAttentionParameters(Parameters):
    """The weights of eq. 4."""

    alpha: float = Field(default=1.0, ge=0, description="α: weight of ℓ_rel, per example whose map was judged relevant")
    beta: float = Field(
        default=1.0, ge=0, description="β: weight of ℓ_irrel, per example whose map was judged irrelevant"
    )
    share: bool = Field(
        default=False,
        description="divide α by the number of maps judged relevant and β by that of maps judged irrelevant",
    )
    normalise: bool = Field(
        default=False, description="divide ℓ_rel by Σ_hw (1 − M) and ℓ_irrel by Σ_hw M, so that both lie in 0–1"
    )


class CrayonAttention(Method):
    """Keep the maps that were judged relevant, move away from those that were judged irrelevant.

    M is the map of the true label's logit under the original model, M′ under the model being trained, each divided by
    its own maximum::

        ℓ_rel,n   = Σ_hw M′ (1 − M)        for n ∈ R, judged "yes"     (eq. 1)
        ℓ_irrel,n = Σ_hw M′ M              for n ∈ I, judged "no"      (eq. 2)
        L = Σ_n −log ŷ_n + α Σ_{n∈R} ℓ_rel,n + β Σ_{n∈I} ℓ_irrel,n     (eq. 3, 4)

    "Maybe" and unanswered maps leave cross-entropy alone. Maps are Grad-CAM of the last feature map for convolutional
    networks and |input gradient| for MLPs. ``share`` and ``normalise`` are the later CRAYON code's, off by default.

    Departures: "yes" and "no" to a dead map, in which there is nothing to keep or to leave, count as "maybe"; with
    ``model.maps = "contrast"``, M and M′ are of the logits' difference in place of the label's logit. The paper does
    not say whether M′ belongs to the true or the predicted label (the authors' code: the true one), nor whether the
    gradient flows through M′'s maximum (here it does). All three terms are means over the batch in place of sums, the
    same to Adam but that weight decay weighs more.
    """

    name = "crayon-attention"
    title = "CRAYON-Attention"
    summary = "yes-no feedback on saliency maps steers attention"
    source = "CRAYON paper, §3.2"
    version = 2
    asks = (FeedbackKind.MAP_VERDICT,)
    stackable = True
    Parameters = CrayonAttentionParameters

    def refine(self, job: Job) -> Classifier:
        """Ask about every map of the original model, then fine-tune."""
        assert isinstance(job.parameters, CrayonAttentionParameters)
        return steer(job, job.parameters)


def steer(job: Job, parameters: CrayonAttentionParameters) -> Classifier:
    """Ask about every map of the original model, and fine-tune ``job.model`` on eq. 4."""
    M = job.original_maps()
    verdicts = job.oracle.judge_maps(torch.arange(len(M)).numpy(), M.cpu().numpy()).values
    answers = torch.from_numpy(verdicts).to(M.device)
    alive = M.amax((-2, -1)) > 0  # whatever was answered, there is nothing to keep or to leave in a dead map
    R, I = alive & (answers == Verdict.YES), alive & (answers == Verdict.NO)  # noqa: E741
    alpha, beta = parameters.alpha * R.to(M.dtype), parameters.beta * I.to(M.dtype)
    if parameters.share:
        alpha, beta = alpha / R.sum().clamp_min(1), beta / I.sum().clamp_min(1)
    if not (alpha.any() or beta.any()):
        job.warn("no map was judged yes or no with a positive weight: this is plain training")
        return job.fit()
    if parameters.normalise:
        alpha = alpha / (1 - M).sum((-2, -1)).clamp_min(1e-6)
        beta = beta / M.sum((-2, -1)).clamp_min(1e-6)

    # α M′(1 − M) + β M′M = M′ (α(1 − M) + βM), and the second factor does not change in training.
    weight = alpha[:, None, None] * (1 - M) + beta[:, None, None] * M

    def penalty(forward: Forward, batch: Batch) -> Tensor:
        return forward.peak_sum(batch.labels, batch["weight"], job.count_dead)  # Σ_hw M′ · weight

    return job.fit(penalty, {"weight": weight})
