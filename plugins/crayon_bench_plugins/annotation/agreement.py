"""How far annotators agree: percent agreement, Cohen's kappa, Krippendorff's alpha, Gwet's AC1; overlap of drawings.

With r_qk the number of annotators who gave question q the answer k, r_q = Σ_k r_qk, and K answers to choose from:

* percent agreement p_a: mean over questions with r_q ≥ 2 of Σ_k r_qk (r_qk − 1) / (r_q (r_q − 1)), the share of pairs
  that agree;
* Gwet's AC1 (Gwet 2008, doi:10.1348/000711006X126600) = (p_a − p_e) / (1 − p_e) with p_e = Σ_k π_k (1 − π_k) / (K − 1),
  π_k the mean of r_qk / r_q over all questions that anybody answered. Answers are skewed: where nearly all are "no",
  kappa and alpha are low however well annotators agree, and AC1 is not;
* Krippendorff's alpha, nominal (Hayes & Krippendorff 2007, doi:10.1080/19312450709336664) = 1 − D_o / D_e over
  questions with r_q ≥ 2;
* Cohen's kappa of two annotators, over the questions that both answered.

Skips are no answers. A value that is not defined is None: kappa and alpha where there is but one answer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crayon_bench_plugins.annotation.answers.folder import to_cell
from crayon_bench_plugins.annotation.answers.haste import hasty
from crayon_bench_plugins.annotation.answers.tasks import MAYBE, NO, SKIP, YES, Bools, Box, Task, is_word
from crayon_bench_plugins.annotation.answers.votes import Vote, majority

Array = NDArray[Any]

CATEGORIES = (YES, NO, MAYBE)


@dataclass(frozen=True)
class Pair:
    """Two annotators: the number of questions that both answered, in how many they agree, and Cohen's kappa.

    For drawings, kappa is None and ``iou`` the mean overlap; for verdicts it is the other way about.
    """

    first: str
    second: str
    questions: int
    percent: float | None = None
    kappa: float | None = None
    iou: float | None = None


@dataclass(frozen=True)
class Disputed:
    """A question on which annotators differ. agreed: share of pairs that agree, or their mean overlap, 0–1.

    outcome: what counts, see :func:`crayon_bench_plugins.annotation.answers.votes.majority`; "" for drawings.
    """

    example: str
    agreed: float
    answers: Mapping[str, str]
    outcome: str = ""


@dataclass
class Agreement:
    """How far annotators of one task agree.

    counts: annotator → answer → number (``box`` and ``mask`` for drawings). questions: how many have two answers or
    more. percent, alpha, ac1: fractions, None if not defined. iou: mean overlap of pairs of drawings. disputed: those
    who agree least come first. signs: annotator → :func:`~crayon_bench_plugins.annotation.answers.haste.signs` of
    answers given without looking, where there are any.
    """

    task: Task
    counts: dict[str, dict[str, int]]
    questions: int = 0
    percent: float | None = None
    alpha: float | None = None
    ac1: float | None = None
    iou: float | None = None
    pairs: list[Pair] = field(default_factory=list)
    disputed: list[Disputed] = field(default_factory=list)
    signs: dict[str, list[str]] = field(default_factory=dict)


def agreement(
    task: Task, votes: Mapping[str, Sequence[Vote]], read_mask: Callable[[Vote], Bools] | None = None
) -> Agreement:
    """Return how far annotators agree on the questions of *votes*. *read_mask* is needed for masks."""
    found = Agreement(task, _tally(task, votes), signs=hasty(votes))
    if task.judged:
        _verdicts(found, votes)
    else:
        _drawings(found, votes, read_mask)
    found.disputed.sort(key=lambda one: (one.agreed, -len(one.answers), one.example))
    return found


def _tally(task: Task, votes: Mapping[str, Sequence[Vote]]) -> dict[str, dict[str, int]]:
    words = [*CATEGORIES, SKIP] if task.judged else ["box" if task is Task.BOXES else "mask", MAYBE, SKIP]
    names = sorted({vote.annotator for given in votes.values() for vote in given})
    counts = {name: dict.fromkeys(words, 0) for name in names}
    for given in votes.values():
        for vote in given:
            counts[vote.annotator][str(vote.answer) if is_word(vote.answer) else words[0]] += 1
    return counts


def _verdicts(found: Agreement, votes: Mapping[str, Sequence[Vote]]) -> None:
    names, examples = list(found.counts), list(votes)
    rows = {name: row for row, name in enumerate(names)}
    codes = {word: code for code, word in enumerate(CATEGORIES)}
    given = np.full((len(names), len(examples)), -1, dtype=np.int8)
    for column, example in enumerate(examples):
        for vote in votes[example]:
            given[rows[vote.annotator], column] = codes.get(str(vote.answer), -1)
    counts = np.stack([(given == code).sum(axis=0) for code in range(len(CATEGORIES))], axis=1)
    found.questions = int((counts.sum(axis=1) >= 2).sum())
    found.percent, found.ac1, found.alpha = percent_agreement(counts), gwet_ac1(counts), krippendorff_alpha(counts)
    for one, other in combinations(range(len(names)), 2):
        both = (given[one] >= 0) & (given[other] >= 0)
        if n := int(both.sum()):
            a, b = given[one, both], given[other, both]
            kappa = cohen_kappa(a, b, len(CATEGORIES))
            found.pairs.append(Pair(names[one], names[other], n, float((a == b).mean()), kappa))
    agreed = _agreeing(counts)
    for column in np.nonzero(agreed < 1)[0].tolist():
        example = examples[column]
        answers = {vote.annotator: str(vote.answer) for vote in votes[example] if vote.answer != SKIP}
        outcome = majority(list(answers.values())) or ""
        found.disputed.append(Disputed(example, float(agreed[column]), answers, outcome))


def _drawings(found: Agreement, votes: Mapping[str, Sequence[Vote]], read_mask: Callable[[Vote], Bools] | None) -> None:
    overlaps: dict[tuple[str, str], list[float]] = {}
    means = []
    for example, given in votes.items():
        drawn = [vote for vote in given if not is_word(vote.answer)]
        if len(drawn) < 2:
            continue
        if found.task is Task.BOXES:
            here = {
                (a.annotator, b.annotator): box_iou(a.answer, b.answer)  # type: ignore[arg-type]
                for a, b in combinations(drawn, 2)
            }
        else:
            assert read_mask is not None
            masks = [(vote.annotator, read_mask(vote)) for vote in drawn]
            here = {(a, b): mask_iou(one, other) for (a, one), (b, other) in combinations(masks, 2)}
        for pair, value in here.items():
            overlaps.setdefault(pair, []).append(value)
        means.append(float(np.mean(list(here.values()))))
        if means[-1] < 1:
            answers = {
                vote.annotator: to_cell(found.task, vote.annotator, vote.answer)
                for vote in given
                if vote.answer != SKIP
            }
            found.disputed.append(Disputed(example, means[-1], answers))
    found.questions = len(means)
    found.iou = float(np.mean(means)) if means else None
    found.pairs = [Pair(a, b, len(each), iou=float(np.mean(each))) for (a, b), each in sorted(overlaps.items())]


# ---------------------------------------------------------------------------------------------------------------------
# measures. counts: int (questions, K), how many gave each answer


def _agreeing(counts: Array) -> Array:
    """Return the share of pairs of annotators that agree on each question, (n,); NaN for fewer than two."""
    r = counts.sum(axis=1).astype(np.float64)
    pairs = np.where(r >= 2, r * (r - 1), np.nan)
    return np.asarray((counts * (counts - 1)).sum(axis=1) / pairs)


def percent_agreement(counts: Array) -> float | None:
    """Return the mean share of agreeing pairs, 0–1; None without a question that two answered."""
    agreed = _agreeing(counts)
    agreed = agreed[~np.isnan(agreed)]
    return float(agreed.mean()) if len(agreed) else None


def gwet_ac1(counts: Array) -> float | None:
    """Return Gwet's AC1, at most 1; None without a question that two answered, or with one category alone."""
    observed, k = percent_agreement(counts), counts.shape[1]
    if observed is None or k < 2:
        return None
    r = counts.sum(axis=1)
    share = (counts[r > 0] / r[r > 0, None]).mean(axis=0)
    by_chance = float((share * (1 - share)).sum() / (k - 1))  # at most 1/K
    return (observed - by_chance) / (1 - by_chance)


def krippendorff_alpha(counts: Array) -> float | None:
    """Return Krippendorff's alpha for nominal data, at most 1; None where there is but one answer."""
    r = counts.sum(axis=1)
    kept, r = counts[r >= 2].astype(np.float64), r[r >= 2]
    total = kept.sum()
    expected = total**2 - (kept.sum(axis=0) ** 2).sum()
    if expected <= 0:
        return None
    disagreeing = ((r**2 - (kept**2).sum(axis=1)) / (r - 1)).sum()
    return float(1 - (total - 1) * disagreeing / expected)


def cohen_kappa(first: Array, second: Array, k: int) -> float | None:
    """Return Cohen's kappa of two annotators' answers, int (n,) in [0, k); None where both gave but one answer."""
    n = len(first)
    observed = float((first == second).mean()) if n else 1.0
    a, b = (np.bincount(each, minlength=k) for each in (first, second))
    by_chance = float((a * b).sum()) / max(1, n) ** 2
    return None if n == 0 or by_chance >= 1 else (observed - by_chance) / (1 - by_chance)


def box_iou(one: Box, other: Box) -> float:
    """Return the area that two boxes share, as a fraction of the area that they cover together."""
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, height) * max(0, width)
    area = sum((bottom - top) * (right - left) for top, left, bottom, right in (one, other))
    return shared / (area - shared)


def mask_iou(one: Bools, other: Bools) -> float:
    """Return the pixels that two masks share, as a fraction of those that one of them has; 1 for two empty masks."""
    covered = int((one | other).sum())
    return int((one & other).sum()) / covered if covered else 1.0
