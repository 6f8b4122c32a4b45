"""The simulated oracle: answers by rule from the data set's evidence, as §4.3 of the CRAYON paper does."""

from typing import Self

import numpy as np
import torch
from pydantic import Field, model_validator

from crayon_bench import Evidence, FeedbackOracle, Floats, Ints, Parameters, Patches, Verdict, Verdicts, to_grid

_CHUNK = 512


class SimulatedParameters(Parameters):
    """Where the lines between yes, maybe and no are drawn."""

    yes_above: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="answer yes if more than this share of the map's total lies on relevant pixels",
    )
    no_below: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="answer no if less than this share of the map's total lies on relevant pixels",
    )
    no_above: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="without truth about relevant pixels: answer no if more than this share of the map's total lies on"
        " irrelevant pixels",
    )
    patch_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="a patch shows what is relevant if it holds more than this share of the image's relevant pixels",
    )
    patch_misses: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="a neuron is relevant if at most this many of its patches do not show it; in proportion for one"
        " that has fewer patches than were asked for",
    )

    @model_validator(mode="after")
    def _lines_are_in_order(self) -> Self:
        if self.no_below > self.yes_above:
            raise ValueError(f"no_below = {self.no_below} must not be above yes_above = {self.yes_above}")
        return self


class SimulatedOracle(FeedbackOracle):
    """Answers from the evidence, by rules with the numbers above.

    A map is judged by the share o = ΣM·S/ΣM of its total on relevant pixels, with S the share of each cell of the map
    that they cover: "yes" above ``yes_above``, "no" below ``no_below``, "maybe" between. Where the data set knows only
    irrelevant pixels, "no" if more than ``no_above`` lies on them, else "maybe": that a map avoids the decoys does not
    make it right. A map that is zero everywhere gets "maybe".

    A neuron is judged by its patches: "yes" if all but ``patch_misses`` of them show what is relevant, and one at
    least does, else "no". One that is active on too few images to fill its k patches may miss in proportion.

    Masks, boxes and groups are passed on from the evidence.
    """

    name = "simulated"
    title = "simulated"
    summary = "answers by rule from the data set's evidence"
    version = 3
    Parameters = SimulatedParameters
    parameters: SimulatedParameters

    def judge_maps(self, examples: Ints, maps: Floats, evidence: Evidence) -> Verdicts:
        """Judge maps by the share of their total on relevant, or else irrelevant, pixels."""
        values = np.full(len(examples), Verdict.MAYBE, dtype=np.int8)
        relevant = evidence.has("relevant_masks")
        ask = evidence.relevant_masks if relevant else evidence.irrelevant_masks
        total = maps.sum(axis=(1, 2), dtype=np.float64)
        on = np.zeros(len(examples))
        for start in range(0, len(examples), _CHUNK):
            part = slice(start, start + _CHUNK)
            S = ask(examples[part])
            if S.shape[1:] != maps.shape[1:]:
                S = to_grid(torch.from_numpy(np.ascontiguousarray(S)), maps.shape[1:]).numpy()
            on[part] = np.einsum("nhw,nhw->n", maps[part], S, dtype=np.float64)
        if relevant:
            values[on > self.parameters.yes_above * total] = Verdict.YES
            values[on < self.parameters.no_below * total] = Verdict.NO
        else:
            values[on > self.parameters.no_above * total] = Verdict.NO
        return Verdicts(values)

    def judge_neurons(self, patches: Patches, evidence: Evidence) -> Verdicts:
        """Judge neurons by how many of their patches show what is relevant."""
        n, k = patches.examples.shape
        there = patches.examples >= 0
        shown = np.zeros((n, k), dtype=np.bool_)
        for example in np.unique(patches.examples[there]):
            mask = evidence.relevant_masks(np.array([example]))[0]
            # Sums over any box in four look-ups.
            sums = np.pad(mask.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
            here = patches.examples == example
            top, left, bottom, right = patches.boxes[here].T
            inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
            shown[here] = inside > self.parameters.patch_share * sums[-1, -1]
        misses, hits = (there & ~shown).sum(axis=1), (there & shown).sum(axis=1)
        relevant = (hits > 0) & (misses * k <= self.parameters.patch_misses * there.sum(axis=1))
        return Verdicts(np.where(relevant, Verdict.YES, Verdict.NO).astype(np.int8))
