"""The noisy oracle: simulated answers of people who err."""

from typing import Any

import numpy as np
from pydantic import Field

from crayon_bench import (
    Boxes,
    Evidence,
    FeedbackKind,
    Floats,
    Groups,
    Ints,
    Masks,
    Patches,
    Verdict,
    Verdicts,
    derive_seed,
)
from crayon_bench_plugins.oracles.simulated import SimulatedOracle, SimulatedParameters


def _rate(what: str, default: float = 0.0) -> Any:
    return Field(default=default, ge=0, le=1, description=what)


class NoisyParameters(SimulatedParameters):
    """How often an answer is wrong, or not given, by kind of question."""

    map_flip: float = _rate("rate at which yes and no to a map change places", 0.1)
    map_maybe: float = _rate("rate at which a map is answered with maybe instead")
    neuron_flip: float = _rate("rate at which yes and no to a neuron change places", 0.1)
    neuron_maybe: float = _rate("rate at which a neuron is answered with maybe instead")
    mask_flip: float = _rate("rate at which a mask is that of another image")
    mask_maybe: float = _rate("rate at which no mask is drawn: the question stays unanswered")
    box_flip: float = _rate("rate at which a box is that of another image")
    box_maybe: float = _rate("rate at which no box is drawn: the question stays unanswered")
    group_flip: float = _rate("rate at which a group label is that of another image")
    group_maybe: float = _rate("rate at which no group is named: the question stays unanswered")


class NoisyOracle(SimulatedOracle):
    """Answers as ``simulated`` does, then errs at random.

    Whether an answer is wrong depends on the seed, the kind of question and the image or neuron alone: asked again, it
    is the same, and so it is under another budget. "Maybe" takes precedence over a flip. Answers that are "maybe" by
    rule stay so. A wrong mask, box or group is that of another image among those asked about at the same time.
    """

    name = "noisy"
    title = "noisy"
    summary = "answers by rule, some of them wrong or withheld at given rates"
    version = 1
    Parameters = NoisyParameters
    parameters: NoisyParameters

    def judge_maps(self, examples: Ints, maps: Floats, evidence: Evidence) -> Verdicts:
        """Judge by rule, then err."""
        given = super().judge_maps(examples, maps, evidence)
        p = self.parameters
        return self._err(given, FeedbackKind.MAP_VERDICT, examples, p.map_flip, p.map_maybe)

    def judge_neurons(self, patches: Patches, evidence: Evidence) -> Verdicts:
        """Judge by rule, then err."""
        given = super().judge_neurons(patches, evidence)
        p = self.parameters
        return self._err(given, FeedbackKind.NEURON_VERDICT, patches.neurons, p.neuron_flip, p.neuron_maybe)

    def relevant_masks(self, examples: Ints, evidence: Evidence) -> Masks:
        """Draw the right mask, another image's, or none."""
        p = self.parameters
        whose, there = self._whose(FeedbackKind.RELEVANT_MASK, examples, p.mask_flip, p.mask_maybe)
        return Masks(super().relevant_masks(whose, evidence).values, there)

    def irrelevant_masks(self, examples: Ints, evidence: Evidence) -> Masks:
        """Draw the right mask, another image's, or none."""
        p = self.parameters
        whose, there = self._whose(FeedbackKind.IRRELEVANT_MASK, examples, p.mask_flip, p.mask_maybe)
        return Masks(super().irrelevant_masks(whose, evidence).values, there)

    def boxes(self, examples: Ints, evidence: Evidence) -> Boxes:
        """Draw the right box, another image's, or none."""
        p = self.parameters
        whose, there = self._whose(FeedbackKind.BOX, examples, p.box_flip, p.box_maybe)
        return Boxes(super().boxes(whose, evidence).values, there)

    def groups(self, examples: Ints, truth: Ints) -> Groups:
        """Name the right group, another image's, or none."""
        p = self.parameters
        places = np.arange(len(examples))
        whose, there = self._whose(FeedbackKind.GROUP, examples, p.group_flip, p.group_maybe, places)
        return Groups(truth[whose], there)

    def _err(self, given: Verdicts, kind: FeedbackKind, numbers: Ints, flip: float, maybe: float) -> Verdicts:
        self._tell(kind, flip, maybe)
        values = given.values.copy()
        values[self._chance(kind, "flip", numbers) < flip] *= -1  # yes is 1, no −1, maybe 0
        values[self._chance(kind, "maybe", numbers) < maybe] = Verdict.MAYBE
        return Verdicts(values)

    def _whose(
        self, kind: FeedbackKind, examples: Ints, flip: float, maybe: float, answers: Ints | None = None
    ) -> tuple[Ints, np.ndarray]:
        """Return, for each question, which of the *answers* is given, and whether one is."""
        self._tell(kind, flip, maybe)
        answers = examples if answers is None else answers
        wrong = self._chance(kind, "flip", examples) < flip
        n = len(examples)
        # Any of the others, but not its own.
        step = 1 + np.floor(self._chance(kind, "whose", examples) * max(0, n - 1)).astype(np.int64)
        other = answers[(np.arange(n) + step) % max(1, n)]
        return np.where(wrong, other, answers), self._chance(kind, "maybe", examples) >= maybe

    def _tell(self, kind: FeedbackKind, flip: float, maybe: float) -> None:
        if flip == maybe == 0:
            self.warnings[f"no noise is set for answers ({kind}): they are the true ones"] = 1

    def _chance(self, kind: FeedbackKind, what: str, numbers: Ints) -> np.ndarray:
        """Return a random number in [0, 1) for each image or neuron, float64 (n,)."""
        rng = np.random.default_rng(derive_seed(self.seed, f"{kind} {what}"))
        return rng.random(int(numbers.max(initial=-1)) + 1)[numbers]
