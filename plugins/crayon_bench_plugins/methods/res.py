"""RES: robust explanation supervision (Gao, Sun, Bai, Gu, Hong and Liang 2022, arXiv:2206.13413)."""

from typing import ClassVar, Literal

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
    Parameters,
    ask_masks,
    blur,
    min_max_normalise,
)

STEP = 1e-4
"""How far above an irrelevant cell's value a candidate of the threshold lies."""


class RESParameters(Parameters):
    """Weights and tolerance of the explanation loss."""

    later: ClassVar[tuple[str, ...]] = ("scaling",)

    lambda_: float = Field(default=1.0, ge=0, alias="lambda", description="λ: weight of the explanation loss")
    eta: float = Field(default=0.1, ge=0, le=2, description="η: mean deviation that is tolerated, in 0–2")
    steepness: float = Field(default=5.0, gt=0, le=1000, description="factor in tanh, in place of a step at a*")
    scaling: Literal["min-max", "max"] = Field(
        default="min-max",
        description="how M′ is made of the map: min-max, as the authors have it; max, with ReLU, by its maximum alone",
    )


class RES(Method):
    """Align maps with masks of relevant and irrelevant pixels, tolerating that masks are inexact.

    On the grid, F⁺ and F⁻ are the relevant and irrelevant cells, Y = F⁺ − F⁻, M′ the Grad-CAM map of the true label
    before its ReLU, scaled to 0–1 by minimum and maximum, and G a 3×3 Gaussian (σ = 0.8) after which maps are divided
    by their maximum::

        a* = argmax_a #{Y<0, M′<a}/#{Y<0} + #{Y>0, M′≥a}/#{Y>0}      over the batch, without gradient
        L  = mean CE + λ [ (Σ_{Y≠0} |tanh(5(M′ − a*)) − Y| / #{Y≠0} − η)⁺ + mean |M′ − G(F⁺)| ]

    The candidates for a* are the values of M′ at relevant cells and those at irrelevant cells plus 1e-4; the least of
    equals is taken. The authors' code tries each against all cells in a Python loop; here they are sorted, and the
    counts are look-ups: the same threshold, see docs/performance.md.

    Departures: gradient flows through the channel weights of Grad-CAM. A cell is relevant if half of it is, or as much
    of it as of the image's most relevant cell; irrelevant if half of it is and it is not relevant: a small object would
    otherwise have no cell. λ is ours (1 in the authors' code), and so is ``scaling = "max"``: M′ is the map after ReLU
    by its maximum. #FB counts both masks, two an image. With ``model.maps = "contrast"``, M′ is of the logits'
    difference in place of the label's logit.
    """

    name = "res"
    title = "RES"
    summary = "maps of relevant and irrelevant pixels, aligned with tolerance"
    source = "Gao et al. 2022 (RES)"
    asks = (FeedbackKind.RELEVANT_MASK, FeedbackKind.IRRELEVANT_MASK)
    Parameters = RESParameters

    def refine(self, job: Job) -> Classifier:
        """Ask for both masks of every image, then fine-tune."""
        q = job.parameters
        assert isinstance(q, RESParameters)
        N, (height, width) = len(job.images), job.images.shape[-2:]
        grid = job.model.map_size(height, width)
        relevant, _ = ask_masks(job.oracle, FeedbackKind.RELEVANT_MASK, N, grid)
        irrelevant, _ = ask_masks(job.oracle, FeedbackKind.IRRELEVANT_MASK, N, grid)
        most = relevant.amax((-2, -1), keepdim=True)
        plus = (relevant > 0) & ((relevant >= 0.5) | (relevant >= most))
        minus = (irrelevant >= 0.5) & ~plus
        Y = (plus.float() - minus.float()).to(job.device)
        target = blur(plus.float())
        peak = target.amax((-2, -1), keepdim=True)
        target = (target / peak.masked_fill(peak <= 0, torch.inf)).to(job.device)
        known = (Y != 0).any(-1).any(-1)

        def penalty(forward: Forward, batch: Batch) -> Tensor:
            Y, target, known = batch["Y"], batch["target"], batch["known"]
            if q.scaling == "max":
                M_ = forward.normalised(batch.labels, job.count_dead)
            else:
                M_ = min_max_normalise(forward.signed(batch.labels), job.count_dead)
            a = threshold(M_.detach(), Y)
            judged = Y != 0
            wrong = ((torch.tanh(q.steepness * (M_ - a)) - Y).abs() * judged).sum() / judged.sum().clamp_min(1)
            apart = (M_ - target).abs().mean((-2, -1)) * known  # nothing to align with where nothing was answered
            # Terms of the batch as a whole: the same for each example, so that they weigh as much beside cross-entropy
            # in the loop's mean as in its sum.
            whole = (wrong - q.eta).relu() + apart.sum() / known.sum().clamp_min(1)
            return (q.lambda_ * whole).expand(batch.labels.shape)

        return job.fit(penalty, {"Y": Y, "target": target, "known": known})


def threshold(M: Tensor, Y: Tensor) -> Tensor:
    """Return a*, the threshold that separates relevant (Y > 0) from irrelevant (Y < 0) cells best; the least of equals.

    M, Y: of one shape. A side without cells counts for nothing; without any cells the threshold is 0.5.
    """
    low, high = M[Y < 0], M[Y > 0]
    if len(low) + len(high) == 0:
        return torch.full((), 0.5, dtype=M.dtype, device=M.device)
    candidates = torch.cat([low + STEP, high]).sort().values
    low, high = low.sort().values, high.sort().values
    # right=False counts the values strictly below each candidate.
    below = torch.searchsorted(low, candidates).double() / max(1, len(low))
    above = (len(high) - torch.searchsorted(high, candidates)).double() / max(1, len(high))
    score = below + above
    return candidates[torch.nonzero(score == score.max())[0, 0]]
