"""What answers about maps go with, beside where the model looks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from crayon_bench.dataset import Evidence
from crayon_bench.feedback import FeedbackKind, Verdict
from crayon_bench.ledger.metered import Judged
from crayon_bench.networks.grids import to_grid

Array = np.ndarray[Any, Any]

ANSWERS = (Verdict.YES, Verdict.MAYBE, Verdict.NO, Verdict.UNASKED)
NOTABLE = 0.3
"""From this value on, an association of answers with the class or with the size of the mask is worth a warning."""
UNLIKELY = 0.001
"""Probability that answers which follow nothing look as if they did, below which they are said to."""
ALIKE = 0.95
"""From this share on, one answer is nearly the only one."""
FEW = 20
"""Fewer answers than this say nothing about an oracle."""
_CHUNK = 512


@dataclass
class Answers:
    """How often each of :data:`ANSWERS` was given, in total and by class. by_class: (classes, 4)."""

    kind: FeedbackKind
    by_class: Array

    @property
    def total(self) -> Array:
        """Answers of each sort, (4,)."""
        return np.asarray(self.by_class.sum(axis=0))

    def guess(self) -> tuple[float, float]:
        """Return the shares of images whose class is right: guessing from the answer alone, and the commonest class."""
        n = self.by_class.sum()
        return float(self.by_class.max(axis=0).sum() / n), float(self.by_class.sum(axis=1).max() / n)

    def association(self) -> float | None:
        """Return how closely answers go with the class, Cramér's V in [0, 1]; None where one of them is constant."""
        from scipy import stats  # half a second that most runs need not wait for

        there = self._there()
        return None if min(there.shape) < 2 else float(stats.contingency.association(there, method="cramer"))

    def follow_class(self) -> float | None:
        """Return :meth:`association`; None where it is small or may be chance."""
        V = self.association()
        return V if V is not None and V >= NOTABLE and self._unlikely() else None

    def commonest(self) -> tuple[Verdict, float] | None:
        """Return the answer that is nearly the only one among those given, and its share; None if there is none."""
        given = self.total[:3]
        share = given.max() / max(FEW, given.sum())
        return (ANSWERS[int(given.argmax())], float(share)) if share >= ALIKE else None

    def _there(self) -> Array:
        return self.by_class[self.by_class.any(axis=1)][:, self.by_class.any(axis=0)]

    def _unlikely(self) -> bool:
        from scipy import stats

        return bool(stats.chi2_contingency(self._there()).pvalue < UNLIKELY)


def count_answers(values: Array, labels: Array, classes: int) -> Answers:
    """Return the :class:`Answers` about maps: *values* of :class:`Verdict`, (n,), about images with *labels*, (n,)."""
    counts = [[int((values[labels == c] == v).sum()) for v in ANSWERS] for c in range(classes)]
    return Answers(FeedbackKind.MAP_VERDICT, np.array(counts))


def size_correlation(values: Array, size: Array) -> tuple[float, float] | None:
    """Return Spearman's correlation of :class:`Verdict`, (n,), with *size*, (n,), and its p; None if constant."""
    order = {Verdict.NO: 0, Verdict.MAYBE: 1, Verdict.YES: 2}
    answered = np.isin(values, list(order))
    ranks = np.array([order[Verdict(value)] for value in values[answered].tolist()])
    if len(np.unique(ranks)) < 2 or len(np.unique(size[answered])) < 2:
        return None
    from scipy import stats

    found = stats.spearmanr(ranks, size[answered])
    return float(found.statistic), float(found.pvalue)


def follow_size(values: Array, size: Array) -> float | None:
    """Return :func:`size_correlation`; None where it is small or may be chance."""
    rho, p = size_correlation(values, size) or (0.0, 1.0)
    return rho if abs(rho) >= NOTABLE and p < UNLIKELY else None


class Suspicion(NamedTuple):
    """Why answers may tell little of where the model looks. short: without numbers, the same for every seed."""

    short: str
    long: str


def suspicions(answers: Answers, size: float | None, yes: float | None) -> Iterator[Suspicion]:
    """Give what speaks against *answers* about maps.

    size: see :func:`follow_size`. yes: the median enrichment of maps that were answered with yes, None for no maps.
    """
    if (common := answers.commonest()) is not None:
        name, share = common[0].name.lower(), common[1]
        yield Suspicion(
            f"nearly all answers about maps are {name}",
            f"nearly all answers are {name} ({share:.1%}): they hardly tell one map from another.",
        )
    if (V := answers.follow_class()) is not None:
        yield Suspicion(
            "the answers about maps follow the class",
            f"the answers follow the class (Cramér's V {V:.2f}): a method may learn the class from them, and look as if"
            " it had learned where to look.",
        )
    if size is not None:
        which = "larger" if size > 0 else "smaller"
        yield Suspicion(
            "the answers about maps follow the size of the relevant part",
            f"the answers follow the size of the relevant part (rank correlation {size:+.2f}): yes goes to images where"
            f" it is {which}, wherever the model looks.",
        )
    if yes is not None and yes <= 1:
        yield Suspicion(
            "yes goes to maps that look at the relevant part no more than by chance",
            f"yes goes to maps with {yes:.2f} × chance on the relevant part (median): they look there no more than a"
            " map of equal values.",
        )


def warnings_of(judged: Sequence[Judged], labels: Array, classes: int, evidence: Evidence) -> dict[str, int]:
    """Return what a run should warn of, by the answers about maps that it was given; each once."""
    judged = [part for part in judged if len(part.examples)]
    if not judged:
        return {}
    examples, values = (np.concatenate([getattr(part, name) for part in judged]) for name in ("examples", "values"))
    size = yes = None
    if evidence.has("relevant_masks"):
        found = [on_evidence(torch.from_numpy(part.maps), evidence, part.examples) for part in judged]
        share, chance = (np.concatenate(parts) for parts in zip(*found, strict=True))
        size, yes = follow_size(values, chance), yes_enrichment(values, enrichment(share, chance))
    answers = count_answers(values, labels[examples], classes)
    return {f"{why.short}; see crayon-bench oracle stats": 1 for why in suspicions(answers, size, yes)}


def on_evidence(maps: torch.Tensor, evidence: Evidence, examples: Array) -> tuple[Array, Array]:
    """Return the share of each map's total on relevant pixels of *examples*, (n,), and that of a map of equal values.

    In [0, 1]; the first is NaN for a map of zeros. If no relevant pixels are known, it is about irrelevant ones.
    """
    ask = evidence.relevant_masks if evidence.has("relevant_masks") else evidence.irrelevant_masks
    parts, sizes = [], []
    for start in range(0, len(maps), _CHUNK):
        M = maps[start : start + _CHUNK]
        masks = ask(examples[start : start + _CHUNK])
        S = to_grid(torch.from_numpy(np.ascontiguousarray(masks)), (M.shape[1], M.shape[2]))
        total = M.sum((-2, -1))
        parts.append(((M * S).sum((-2, -1)) / total.masked_fill(total <= 0, torch.nan)).numpy())
        sizes.append(S.double().mean((-2, -1)).numpy())
    return np.concatenate(parts), np.concatenate(sizes)


def enrichment(share: Array, chance: Array) -> Array:
    """Return *share* in multiples of *chance*, (n,); NaN where nothing or everything in an image is relevant."""
    return np.asarray(share / np.where((chance > 0) & (chance < 1), chance, np.nan))


def yes_enrichment(values: Array, multiples: Array) -> float | None:
    """Return the median of *multiples* of chance, (n,), over the maps answered with yes; None for few of them."""
    known = multiples[(values == Verdict.YES) & ~np.isnan(multiples)]
    return float(np.median(known)) if len(known) >= FEW else None
