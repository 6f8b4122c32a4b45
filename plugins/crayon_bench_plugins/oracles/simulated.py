"""The simulated oracle: answers by rule from the data set's evidence, as §4.3 of the CRAYON paper does."""

from collections.abc import Callable
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from crayon_bench import Evidence, FeedbackOracle, Floats, Ints, Parameters, Patches, Verdict, Verdicts, to_grid
from crayon_bench_plugins.oracles.shares import Shares, cut_above, cut_offs

_CHUNK = 512
_NONE = "none"
_BY_SHARE = ("yes_above", "no_below", "no_above")
_BY_CHANCE = tuple(f"{name}_chance" for name in _BY_SHARE)


class SimulatedParameters(Parameters):
    """Where the lines between yes, maybe and no are drawn."""

    later: ClassVar[tuple[str, ...]] = ("rule", "shares")

    rule: Literal["share", "enrichment"] = Field(
        default="share",
        description="share: a map is judged by the share of its total on relevant pixels; enrichment: by this share in"
        " multiples of chance, the share of the image that is relevant",
    )
    shares: str = Field(
        default=_NONE,
        description="none, or yes=A,maybe=B,no=C: the cut-offs of the rule are those that give these shares of answers"
        " about all training maps of the run's original model",
    )
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
    yes_above_chance: float = Field(
        default=2.0, ge=0, le=1e6, description="rule enrichment: answer yes above this multiple of chance"
    )
    no_below_chance: float = Field(
        default=1.0, ge=0, le=1e6, description="rule enrichment: answer no below this multiple of chance"
    )
    no_above_chance: float = Field(
        default=1.0,
        ge=0,
        le=1e6,
        description="rule enrichment, without truth about relevant pixels: answer no above this multiple of chance, the"
        " share of the image that is irrelevant",
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

    @field_validator("shares")
    @classmethod
    def _shares_can_be(cls, value: str) -> str:
        if value == _NONE:
            return value
        return ",".join(f"{name}={share:.6g}" for name, share in Shares.parse(value)._asdict().items())

    @model_validator(mode="after")
    def _lines_are_in_order(self) -> Self:
        for low, high in (("no_below", "yes_above"), ("no_below_chance", "yes_above_chance")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} = {getattr(self, low)} must not be above {high} = {getattr(self, high)}")
        return self

    def unused(self) -> dict[str, str]:
        """Return which cut-offs do not count: those of the other rule, and all where they follow from ``shares``."""
        by_share = self.rule == "share"
        others = _BY_CHANCE if by_share else _BY_SHARE
        why = f"rule = {self.rule} has the cut-offs {', '.join(_BY_SHARE if by_share else _BY_CHANCE)}"
        unused = dict.fromkeys(others, why)
        if self.shares != _NONE:
            why = f"shares = {self.shares} sets the cut-offs; shares=none leaves them to you"
            unused |= dict.fromkeys(_BY_SHARE if by_share else _BY_CHANCE, why)
        return unused


class _Measured(NamedTuple):
    """What n maps have on the pixels in question, what in all, and what they would have by chance: float64 (n,)."""

    on: NDArray[np.float64]
    total: NDArray[np.float64]
    chance: NDArray[np.float64]


class SimulatedOracle(FeedbackOracle):
    """Answers from the evidence, by rules with the numbers above.

    A map is judged by the share o = ΣM·S/ΣM of its total on relevant pixels, with S the share of each cell of the map
    that they cover: "yes" above ``yes_above``, "no" below ``no_below``, "maybe" between. Where the data set knows only
    irrelevant pixels, "no" if more than ``no_above`` lies on them, else "maybe": that a map avoids the decoys does not
    make it right. A map that is zero everywhere gets "maybe".

    With ``rule = "enrichment"``, o is divided by chance, the mean of S, which is o of a map of equal values, and the
    cut-offs are ``yes_above_chance``, ``no_below_chance`` and ``no_above_chance``. If nothing or everything in an image
    is relevant, its map gets "maybe".

    With ``shares``, the cut-offs of the rule are those that give these shares of answers about the original model's
    maps of all training images, whatever a method asks about and whatever the budget; the record has them. Maps with
    equal o get the same answer, so that shares are met as nearly as can be.

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

    def begin(self, maps: Callable[[], Floats], evidence: Evidence) -> None:
        """Find the cut-offs that give the wanted ``shares``."""
        if self.parameters.shares == _NONE or not (evidence.has("relevant_masks") or evidence.has("irrelevant_masks")):
            return
        wanted, shown = Shares.parse(self.parameters.shares), maps()
        found = self._measure(np.arange(len(shown)), shown, evidence)
        unit = self._unit(found)
        scores = found.on / np.where(unit > 0, unit, np.nan)
        highest, ending = (1.0, "") if self.parameters.rule == "share" else (np.inf, "_chance")
        if evidence.has("relevant_masks"):
            no_below, yes_above = cut_offs(scores, wanted, highest=highest)
            self.calibrated = {f"yes_above{ending}": yes_above, f"no_below{ending}": no_below}
        else:
            self.calibrated = {f"no_above{ending}": cut_above(scores, wanted, highest=highest)}
        given = self._judged(found, relevant=evidence.has("relevant_masks"))
        off = [abs((given == Verdict[name.upper()]).mean() - share) for name, share in wanted._asdict().items()]
        if max(off) > max(0.01, 1 / len(given)):
            self.warn(
                "the answers do not have the shares of oracle.shares: too many maps are alike, or zero everywhere"
            )

    def judge_maps(self, examples: Ints, maps: Floats, evidence: Evidence) -> Verdicts:
        """Judge maps by what they have on relevant, or else irrelevant, pixels."""
        return Verdicts(self._judged(self._measure(examples, maps, evidence), relevant=evidence.has("relevant_masks")))

    def _measure(self, examples: Ints, maps: Floats, evidence: Evidence) -> _Measured:
        ask = evidence.relevant_masks if evidence.has("relevant_masks") else evidence.irrelevant_masks
        total = maps.sum(axis=(1, 2), dtype=np.float64)
        on, chance = np.zeros(len(examples)), np.zeros(len(examples))
        for start in range(0, len(examples), _CHUNK):
            part = slice(start, start + _CHUNK)
            S = ask(examples[part])
            if S.shape[1:] != maps.shape[1:]:
                S = to_grid(torch.from_numpy(np.ascontiguousarray(S)), maps.shape[1:]).numpy()
            on[part] = np.einsum("nhw,nhw->n", maps[part], S, dtype=np.float64)
            chance[part] = S.mean(axis=(1, 2), dtype=np.float64)
        return _Measured(np.minimum(on, total), total, chance)  # sums in another order may be an atom more

    def _unit(self, found: _Measured) -> NDArray[np.float64]:
        """Return what cut-offs are multiples of, (n,); 0 for a map that tells nothing."""
        if self.parameters.rule == "share":
            return found.total
        return np.where((found.chance > 0) & (found.chance < 1), found.total * found.chance, 0.0)

    def _judged(self, found: _Measured, *, relevant: bool) -> NDArray[np.int8]:
        p = self.parameters
        ending = "" if p.rule == "share" else "_chance"
        lines = self.calibrated or {name: getattr(p, name) for name in (_BY_CHANCE if ending else _BY_SHARE)}
        if p.shares != _NONE and not self.calibrated:
            raise ValueError("the cut-offs that give oracle.shares are found by begin(), which was not called")
        unit = self._unit(found)
        values = np.full(len(unit), Verdict.MAYBE, dtype=np.int8)
        if relevant:
            values[found.on > lines[f"yes_above{ending}"] * unit] = Verdict.YES
            values[found.on < lines[f"no_below{ending}"] * unit] = Verdict.NO
        else:
            values[found.on > lines[f"no_above{ending}"] * unit] = Verdict.NO
        if silent := int(((found.total > 0) & (unit == 0)).sum()):
            values[unit == 0] = Verdict.MAYBE
            self.warnings["images of which nothing or everything is relevant: maybe"] = silent
        return values

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
