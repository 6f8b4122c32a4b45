"""GradIA: interactive attention alignment (Gao, Sun, Zhao and Hong 2022, arXiv:2202.02838)."""

from typing import ClassVar, Literal

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
    Parameters,
    Verdict,
    blur,
    cross_entropy,
    min_max_normalise,
    predict,
    to_grid,
)


class GradIAParameters(Parameters):
    """Weights of the prediction term p and the attention term a in the four quadrants."""

    later: ClassVar[tuple[str, ...]] = ("scaling",)

    p_unreasonable_wrong: float = Field(default=1.0, ge=0, description="p where map and prediction are bad")
    a_unreasonable_wrong: float = Field(default=1.0, ge=0, description="a where map and prediction are bad")
    p_unreasonable_right: float = Field(default=0.4, ge=0, description="p where the map alone is bad")
    a_unreasonable_right: float = Field(default=1.6, ge=0, description="a where the map alone is bad")
    p_reasonable_wrong: float = Field(default=0.8, ge=0, description="p where the prediction alone is bad")
    a_reasonable_wrong: float = Field(default=0.2, ge=0, description="a where the prediction alone is bad")
    weight: float = Field(default=1.0, ge=0, description="factor on every a; 1 is the authors' code")
    scaling: Literal["min-max", "max"] = Field(
        default="min-max",
        description="how M′ is made of the map: min-max, as the authors have it; max, with ReLU, by its maximum alone",
    )


class GradIA(Method):
    """Ask about every map; where the model looks at the wrong place or errs, ask for a map of what is relevant.

    Map (yes-no feedback) and prediction of the original model put every image into one of four quadrants, with
    weights p and a; those that are neither reasonable nor right, or only one of both, get a map T of relevant pixels::

        L = mean_n p_n·CE_n + mean_{n: a_n>0} a_n · mean_hw |M′_n − T_n|

    M′ is the Grad-CAM map of the true label without ReLU, scaled to 0–1 by its minimum and maximum. T is the mask of
    relevant pixels, averaged over the cells of the grid, blurred by a 3×3 Gaussian and divided by its maximum.

    Departures: the authors' code keeps the channel weights of Grad-CAM out of the gradient, here it flows through
    them. "Maybe" and unanswered maps count as reasonable. ``weight`` is ours, and so is ``scaling = "max"``: M′ is the
    map after ReLU by its maximum, as the other methods have it; before ReLU, evidence against the label counts for
    nothing. With ``model.maps = "contrast"``, maps are of the logits' difference in place of the label's logit.
    """

    name = "gradia"
    title = "GradIA"
    summary = "yes-no feedback on maps, and maps of relevant pixels where the model errs"
    source = "Gao et al. 2022 (GRADIA)"
    asks = (FeedbackKind.MAP_VERDICT, FeedbackKind.RELEVANT_MASK)
    Parameters = GradIAParameters

    def refine(self, job: Job) -> Classifier:
        """Ask about every map, ask for masks where they are needed, then fine-tune."""
        q = job.parameters
        assert isinstance(q, GradIAParameters)
        M = job.original_maps()
        verdicts = job.oracle.judge_maps(np.arange(len(M)), M.cpu().numpy()).values
        unreasonable = torch.from_numpy(verdicts == Verdict.NO).to(job.device)
        wrong = predict(job.original, job.images, job.device).argmax(-1) != job.labels

        p = torch.ones(len(M), device=job.device)
        a = torch.zeros(len(M), device=job.device)
        for where, p_here, a_here in (
            (unreasonable & wrong, q.p_unreasonable_wrong, q.a_unreasonable_wrong),
            (unreasonable & ~wrong, q.p_unreasonable_right, q.a_unreasonable_right),
            (~unreasonable & wrong, q.p_reasonable_wrong, q.a_reasonable_wrong),
        ):
            p[where], a[where] = p_here, a_here * q.weight

        T = torch.zeros(M.shape, device=job.device)
        needed = torch.nonzero(a > 0).flatten().cpu().numpy()
        asked = torch.from_numpy(job.oracle.chosen(FeedbackKind.RELEVANT_MASK, needed))
        a[~torch.isin(torch.arange(len(a)), asked).to(a.device)] = 0  # beyond the budget
        for part in torch.split(asked, 512):
            masks = job.oracle.relevant_masks(part.numpy())
            target = blur(to_grid(torch.from_numpy(np.ascontiguousarray(masks.values)), (M.shape[1], M.shape[2])))
            peak = target.amax((-2, -1), keepdim=True)
            T[part] = (target / peak.masked_fill(peak <= 0, torch.inf)).to(job.device)
            there = torch.from_numpy(masks.answered).to(job.device) & (peak.flatten() > 0).to(job.device)
            a[part] = torch.where(there, a[part], 0.0)  # no mask, or an empty one: nothing to align with

        def penalty(forward: Forward, batch: Batch) -> Tensor:
            p, a, T = batch["p"], batch["a"], batch["T"]
            if q.scaling == "max":
                M_ = forward.normalised(batch.labels, job.count_dead)
            else:
                M_ = min_max_normalise(forward.signed(batch.labels), job.count_dead)
            distance = a * (M_ - T).abs().mean((-2, -1))
            # The loop takes the mean over the batch or B times that: B/#{a > 0} makes it one over those with a > 0.
            scale = a.shape[-1] / (a > 0).sum(-1, keepdim=True).clamp_min(1)
            return (p - 1) * cross_entropy(forward.logits, batch.labels) + distance * scale

        return job.fit(penalty, {"p": p, "a": a, "T": T})
