"""The shuffled oracle: the control that shows whether answers merely leak labels."""

from typing import Any, Literal

import numpy as np
from pydantic import Field

from crayon_bench import Boxes, Evidence, FeedbackKind, Floats, Groups, Ints, Masks, Patches, Verdicts, derive_seed
from crayon_bench_plugins.oracles.simulated import SimulatedOracle, SimulatedParameters

_LOOKED_AT = 64
"""How many masks are compared with the true ones."""


class ShuffledParameters(SimulatedParameters):
    """Among which images answers change places."""

    within: Literal["label", "all"] = Field(
        default="label",
        description="label: answers change places among images of one label, so that they tell as much about the label"
        " as before, and nothing about the image; all: among all images",
    )


class ShuffledOracle(SimulatedOracle):
    """Gives the answers of ``simulated`` to other images than those they are about.

    If a method gains as much from them, what it learned was how often each label gets each answer and not where the
    model should look. Answers about neurons change places among all neurons. Answers are shuffled among the questions
    of one call; none stays where it was, unless it is the only one of its label.
    """

    name = "shuffled"
    title = "shuffled"
    summary = "a control: answers by rule, each given about another image of the same label"
    version = 2
    Parameters = ShuffledParameters
    parameters: ShuffledParameters

    def judge_maps(self, examples: Ints, maps: Floats, evidence: Evidence) -> Verdicts:
        """Judge by rule, then shuffle."""
        right = super().judge_maps(examples, maps, evidence).values
        given = right[self._places(FeedbackKind.MAP_VERDICT, examples)]
        self._tell(FeedbackKind.MAP_VERDICT, given, right)
        return Verdicts(given)

    def judge_neurons(self, patches: Patches, evidence: Evidence) -> Verdicts:
        """Judge by rule, then shuffle."""
        right = super().judge_neurons(patches, evidence).values
        given = right[_elsewhere(np.arange(len(patches)), self._rng(FeedbackKind.NEURON_VERDICT))]
        self._tell(FeedbackKind.NEURON_VERDICT, given, right)
        return Verdicts(given)

    def relevant_masks(self, examples: Ints, evidence: Evidence) -> Masks:
        """Return another image's mask."""
        given = super().relevant_masks(examples[self._places(FeedbackKind.RELEVANT_MASK, examples)], evidence)
        right = super().relevant_masks(examples[:_LOOKED_AT], evidence)
        self._tell(FeedbackKind.RELEVANT_MASK, given.values[:_LOOKED_AT], right.values)
        return given

    def irrelevant_masks(self, examples: Ints, evidence: Evidence) -> Masks:
        """Return another image's mask."""
        given = super().irrelevant_masks(examples[self._places(FeedbackKind.IRRELEVANT_MASK, examples)], evidence)
        right = super().irrelevant_masks(examples[:_LOOKED_AT], evidence)
        self._tell(FeedbackKind.IRRELEVANT_MASK, given.values[:_LOOKED_AT], right.values)
        return given

    def boxes(self, examples: Ints, evidence: Evidence) -> Boxes:
        """Return another image's box."""
        given = super().boxes(examples[self._places(FeedbackKind.BOX, examples)], evidence)
        self._tell(FeedbackKind.BOX, given.values, super().boxes(examples, evidence).values)
        return given

    def groups(self, examples: Ints, truth: Ints) -> Groups:
        """Return another image's group."""
        return super().groups(examples, truth[self._places(FeedbackKind.GROUP, examples)])

    def _tell(self, kind: FeedbackKind, given: Any, right: Any) -> None:
        if len(right) and np.array_equal(given, right):
            self.warn(f"shuffled answers ({kind}) are the true ones, because all are alike: this is no control")

    def _places(self, kind: FeedbackKind, examples: Ints) -> Ints:
        """Return from which place each place gets its answer, int64 (n,)."""
        rng = self._rng(kind)
        labels = self.situation.labels[examples]
        if self.parameters.within == "all":
            labels = np.zeros_like(labels)
        places = np.arange(len(examples))
        for label in np.unique(labels):
            of_label = np.nonzero(labels == label)[0]
            places[of_label] = _elsewhere(of_label, rng)
        return places

    def _rng(self, kind: FeedbackKind) -> Any:
        return np.random.default_rng(derive_seed(self.seed, f"shuffle {kind}"))


def _elsewhere(places: Ints, rng: Any) -> Ints:
    """Return *places* in another order, in which none of two or more stays where it was: one random cycle."""
    cycle = rng.permutation(len(places))
    moved = np.empty_like(places)
    moved[cycle] = places[np.roll(cycle, 1)]
    return moved
