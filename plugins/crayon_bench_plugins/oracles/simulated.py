"""The simulated oracle: answers by rule from the data set's evidence, as §4.3 of the CRAYON paper does."""

import numpy as np
from pydantic import Field

from crayon_bench.dataset import Evidence
from crayon_bench.feedback import Verdict
from crayon_bench.oracle import FeedbackOracle, Floats, Ints, Verdicts
from crayon_bench.parameters import Parameters


class SimulatedParameters(Parameters):
    """When a map is judged irrelevant."""

    no_above: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="answer no if more than this share of the map's total lies on irrelevant pixels",
    )


class SimulatedOracle(FeedbackOracle):
    """Answers "no" if more than ``no_above`` of a map's total lies on irrelevant pixels, else "maybe".

    It never says "yes" from irrelevant pixels alone: that a map avoids the decoys does not make it right. A map that
    is zero everywhere gets "maybe". Masks, boxes and groups are passed on from the evidence.
    """

    name = "simulated"
    title = "simulated"
    summary = "answers by rule from the data set's evidence"
    Parameters = SimulatedParameters
    parameters: SimulatedParameters

    def judge_maps(self, examples: Ints, maps: Floats, evidence: Evidence) -> Verdicts:
        """Judge maps by the share of their total on irrelevant pixels."""
        irrelevant = evidence.irrelevant_masks(examples)
        total = maps.sum(axis=(1, 2), dtype=np.float64)
        on_irrelevant = np.einsum("nhw,nhw->n", maps, irrelevant, dtype=np.float64)
        values = np.full(len(examples), Verdict.MAYBE, dtype=np.int8)
        values[on_irrelevant > self.parameters.no_above * total] = Verdict.NO
        return Verdicts(values)
