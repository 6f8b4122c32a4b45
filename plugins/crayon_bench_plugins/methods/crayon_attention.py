"""CRAYON-Attention: refine with yes-no feedback on saliency maps (CRAYON paper, §3.2)."""

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from crayon_bench import (
    Batch,
    Classifier,
    FeedbackKind,
    Forward,
    Job,
    Method,
    Parameters as AnyParameters,
    Verdict,
    boxes_to_grid,
    to_grid,
)


class CrayonAttentionParameters(AnyParameters):
    """The weights of eq. 4."""

    later: ClassVar[tuple[str, ...]] = ("extra",)

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
    extra: str = Field(
        default="none",
        pattern=r"^(none|(box|mask):[1-9][0-9]{0,8})$",
        description="none, box:N or mask:N: ask for boxes, or masks of relevant pixels, of N images too, those first"
        " whose maps were judged irrelevant",
    )
    gamma: float | None = Field(
        default=None, ge=0, description="γ: weight of ℓ_extra, per example with a box or mask; unset: that of ℓ_irrel"
    )

    def unused(self) -> dict[str, str]:
        """Return γ where nothing extra is asked for."""
        return {} if self.extra != "none" else {"gamma": "extra = none asks for no boxes or masks"}

    @property
    def extra_kind(self) -> FeedbackKind | None:
        """What is asked for on top of verdicts."""
        return {"box": FeedbackKind.BOX, "mask": FeedbackKind.RELEVANT_MASK}.get(self.extra.partition(":")[0])

    @property
    def extra_number(self) -> int:
        """On how many images."""
        return int(self.extra.partition(":")[2] or 0)


class CrayonAttention(Method):
    """Keep the maps that were judged relevant, move away from those that were judged irrelevant.

    M is the map of the true label's logit under the original model, M′ under the model being trained, each divided by
    its own maximum::

        ℓ_rel,n   = Σ_hw M′ (1 − M)        for n ∈ R, judged "yes"     (eq. 1)
        ℓ_irrel,n = Σ_hw M′ M              for n ∈ I, judged "no"      (eq. 2)
        L = Σ_n −log ŷ_n + α Σ_{n∈R} ℓ_rel,n + β Σ_{n∈I} ℓ_irrel,n     (eq. 3, 4)

    "Maybe" and unanswered maps leave cross-entropy alone. Maps are Grad-CAM of the last feature map for convolutional
    networks and |input gradient| for MLPs. ``share`` and ``normalise`` are the later CRAYON code's, off by default.

    A few boxes or masks may be added (``extra``), as the paper suggests for later work (§5). S is the share of each
    cell that is relevant by such an annotation; it says where to look, which "no" does not::

        ℓ_extra,n = Σ_hw M′ (1 − S)       for n with a box or mask, γ ℓ_extra is added to L

    This is eq. 1 with a person's map in place of the model's. ``share`` and ``normalise`` apply to it as to the
    others.

    Departures: ℓ_extra is ours. "Yes" and "no" to a dead map, in which there is nothing to keep or to leave, count as
    "maybe"; with ``model.maps = "contrast"``, M and M′ are of the logits' difference in place of the label's logit.
    The paper does not say whether M′ belongs to the true or the predicted label (the authors' code: the true one), nor
    whether the gradient flows through M′'s maximum (here it does). Eq. 4 is a sum over the batch: the recipe's
    ``reduction`` says whether it is one here, or a mean.
    """

    name = "crayon-attention"
    title = "CRAYON-Attention"
    summary = "yes-no feedback on saliency maps steers attention"
    source = "CRAYON paper, §3.2"
    version = 2
    asks = (FeedbackKind.MAP_VERDICT,)
    Parameters = CrayonAttentionParameters

    def questions(self, parameters: AnyParameters) -> tuple[FeedbackKind, ...]:
        """Return verdicts, and what ``extra`` asks for."""
        return with_extra(self.asks, parameters)

    def refine(self, job: Job) -> Classifier:
        """Ask about every map of the original model, then fine-tune."""
        assert isinstance(job.parameters, CrayonAttentionParameters)
        return steer(job, job.parameters)


def with_extra(asks: tuple[FeedbackKind, ...], parameters: AnyParameters) -> tuple[FeedbackKind, ...]:
    """Return the kinds *asks*, and what ``extra`` adds."""
    assert isinstance(parameters, CrayonAttentionParameters)
    return asks if parameters.extra_kind is None else (*asks, parameters.extra_kind)


def steer(job: Job, parameters: CrayonAttentionParameters) -> Classifier:
    """Ask about every map of the original model, and fine-tune ``job.model`` on eq. 4."""
    M = job.original_maps()
    if parameters.extra_kind is not None:
        job.oracle.reserve(parameters.extra_kind, parameters.extra_number)
    verdicts = job.oracle.judge_maps(torch.arange(len(M)).numpy(), M.cpu().numpy()).values
    answers = torch.from_numpy(verdicts).to(M.device)
    alive = M.amax((-2, -1)) > 0  # whatever was answered, there is nothing to keep or to leave in a dead map
    R, I = alive & (answers == Verdict.YES), alive & (answers == Verdict.NO)  # noqa: E741
    alpha, beta = parameters.alpha * R.to(M.dtype), parameters.beta * I.to(M.dtype)
    if parameters.share:
        alpha, beta = alpha / R.sum().clamp_min(1), beta / I.sum().clamp_min(1)
    S, there = ask_extra(job, parameters, answers)
    gamma = (parameters.beta if parameters.gamma is None else parameters.gamma) * there.to(M.dtype)
    if parameters.share:
        gamma = gamma / there.sum().clamp_min(1)
    if not (alpha.any() or beta.any() or gamma.any()):
        job.warn("no map was judged yes or no with a positive weight: this is plain training")
        return job.fit()
    if parameters.normalise:
        alpha = alpha / (1 - M).sum((-2, -1)).clamp_min(1e-6)
        beta = beta / M.sum((-2, -1)).clamp_min(1e-6)
        gamma = gamma / (1 - S).sum((-2, -1)).clamp_min(1e-6)

    # α M′(1 − M) + β M′M = M′ (α(1 − M) + βM), and the second factor does not change in training; nor does γ(1 − S).
    weight = alpha[:, None, None] * (1 - M) + beta[:, None, None] * M
    if gamma.any():
        weight = weight + gamma[:, None, None] * (1 - S)

    def penalty(forward: Forward, batch: Batch) -> Tensor:
        M_ = forward.normalised(batch.labels, job.count_dead)
        return (M_ * batch["weight"]).sum((-2, -1))

    return job.fit(penalty, {"weight": weight})


def ask_extra(job: Job, parameters: CrayonAttentionParameters, answers: Tensor) -> tuple[Tensor, Tensor]:
    """Ask for the boxes or masks of ``extra``, and return S, float32 (N, h, w), and which images have one, bool (N,).

    *answers*: the verdicts, (N,). Images are drawn at random among those judged irrelevant, then among "maybe",
    unanswered and "yes".
    """
    N, kind = len(answers), parameters.extra_kind
    (height, width), grid = job.images.shape[-2:], job.model.map_size(*job.images.shape[-2:])
    if kind is None:
        return torch.zeros(1, 1, 1, device=answers.device), torch.zeros(N, dtype=torch.bool, device=answers.device)
    turn = torch.randperm(N, generator=torch.Generator().manual_seed(job.seed("extra")))
    order = {Verdict.NO: 0, Verdict.MAYBE: 1, Verdict.UNASKED: 2, Verdict.YES: 3}
    priority = torch.tensor([order[Verdict(value)] for value in answers[turn.to(answers.device)].tolist()])
    wanted = job.oracle.able(kind, turn[priority.argsort(stable=True)].numpy())[: parameters.extra_number]
    wanted = wanted[: len(job.oracle.chosen(kind, wanted))]  # as many as the budget allows, and the first of them
    S, there = torch.zeros(N, *grid), torch.zeros(N, dtype=torch.bool)
    if kind is FeedbackKind.BOX:
        boxes = job.oracle.boxes(wanted)
        S[wanted] = boxes_to_grid(torch.from_numpy(boxes.values), (height, width), grid)
        there[wanted] = torch.from_numpy(boxes.answered)
    else:
        for part in torch.split(torch.from_numpy(wanted), 512):
            masks = job.oracle.relevant_masks(part.numpy())
            S[part] = to_grid(torch.from_numpy(np.ascontiguousarray(masks.values)), grid)
            there[part] = torch.from_numpy(masks.answered)
    there &= S.amax((-2, -1)) > 0  # nothing to look at: an empty box or mask
    job.report(f"{int(there.sum())} images have a {'box' if kind is FeedbackKind.BOX else 'mask'} too")
    return S.to(answers.device), there.to(answers.device)
