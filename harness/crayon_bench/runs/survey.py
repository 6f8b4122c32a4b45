"""What an oracle answers, before any method is run: shares of answers, also by class, and where the cut-offs lie."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from crayon_bench.dataset import Dataset, Evidence, Source
from crayon_bench.feedback import FeedbackKind, Verdict
from crayon_bench.ledger.metered import close_ledger
from crayon_bench.networks.grids import to_grid
from crayon_bench.parameters import Parameters
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.runs.isolation import isolated
from crayon_bench.runs.prepared import make_oracle, prepare
from crayon_bench.runs.run import Run, UsersMistakeError
from crayon_bench.store.request import RunRequest
from crayon_bench.store.store import Store

Array = np.ndarray[Any, Any]

ANSWERS = (Verdict.YES, Verdict.MAYBE, Verdict.NO, Verdict.UNASKED)
QUANTILES = (5, 10, 25, 50, 75, 90, 95)
NOTABLE = 0.3
"""From this value on, an association of answers with the class or with the size of the mask is worth a warning."""
UNLIKELY = 0.001
"""Probability that answers which follow nothing look as if they did, below which they are said to."""


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

    def follow_class(self) -> float | None:
        """Return how closely answers go with the class, Cramér's V in [0, 1]; None where that may be chance."""
        there = self.by_class[self.by_class.any(axis=1)][:, self.by_class.any(axis=0)]
        if min(there.shape) < 2:
            return None
        V = float(stats.contingency.association(there, method="cramer"))
        return V if V >= NOTABLE and stats.chi2_contingency(there).pvalue < UNLIKELY else None


@dataclass
class Survey:
    """Answers about one original model.

    shares: by class, :data:`QUANTILES` of the maps' share on relevant pixels. chance: by class, the mean share of the
    image that is relevant, which is what a map of equal values has on it. below: share of the maps that have less on
    their relevant pixels than that. follow_size: Spearman's rank correlation of answers (no, maybe, yes) with the size
    of the relevant part; None where it is small or may be chance.
    """

    seed: int
    class_names: Sequence[str]
    maps: Answers | None = None
    neurons: Array | None = None
    dead_maps: int = 0
    dead_neurons: int = 0
    shares: dict[str, Array] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)
    below: float = 0.0
    follow_size: float | None = None


def survey(request: RunRequest, store: Store, registry: Registry, *, patches: int, radius: int) -> Survey:
    """Ask the oracle of *request* about every map and every neuron of its original model; nothing learns from it."""
    kinds = (FeedbackKind.MAP_VERDICT, FeedbackKind.NEURON_VERDICT)
    dataset: type[Dataset] = registry.load(Kind.DATASET, request.dataset)
    source = Source(request.coordinates["dataset"]["source"])
    there = dataset.find(Path(request.data_root), source, strict=request.strict)
    oracle = make_oracle(request, registry)
    unable = {kind for kind in kinds if oracle.unable(kind, dataset, there)}
    run = Run(request)
    with isolated(request, run.record.warnings) as surroundings:
        try:
            prepared = prepare(run, store, registry, Parameters(), kinds, False)
            surroundings.begin()
        except UsersMistakeError as mistake:
            raise mistake.error from None
        job, data = prepared.job, prepared.data
        try:
            found = Survey(request.seed, data.class_names)
            if FeedbackKind.MAP_VERDICT not in unable:
                M = job.original_maps().cpu()
                values = job.oracle.judge_maps(np.arange(len(M)), M.numpy()).values
                labels = job.labels.cpu().numpy()
                counts = [[int((values[labels == c] == v).sum()) for v in ANSWERS] for c in range(job.classes)]
                found.maps = Answers(FeedbackKind.MAP_VERDICT, np.array(counts))
                found.dead_maps = int((M.amax((-2, -1)) <= 0).sum())
                if data.evidence.has("relevant_masks"):
                    share, size = relevant_share(M, data.evidence)
                    rows = {"all": np.full(len(labels), True)}
                    rows |= {name: labels == number for number, name in enumerate(data.class_names)}
                    for name, here in rows.items():
                        if not np.isnan(share[here]).all():
                            found.shares[name] = np.nanpercentile(share[here], QUANTILES)
                            found.chance[name] = float(size[here].mean())
                    found.below = float((share < size)[~np.isnan(share)].mean())
                    found.follow_size = follow_size(values, size)
            if job.has_feature_maps and FeedbackKind.NEURON_VERDICT not in unable:
                neurons = job.neurons(patches)
                asked = neurons.patches(job.images.shape[-2], job.images.shape[-1], radius)
                values = job.oracle.judge_neurons(asked).values
                found.neurons = np.array([int((values == v).sum()) for v in ANSWERS])
                found.dead_neurons = int(neurons.dead.sum())
            return found
        finally:
            close_ledger(prepared.ledger)


def follow_size(values: Array, size: Array) -> float | None:
    """Return Spearman's correlation of answers, :class:`Verdict` (n,), with *size* (n,); None if it may be chance."""
    order = {Verdict.NO: 0, Verdict.MAYBE: 1, Verdict.YES: 2}
    answered = np.isin(values, list(order))
    ranks = np.array([order[Verdict(value)] for value in values[answered].tolist()])
    if len(np.unique(ranks)) < 2 or len(np.unique(size[answered])) < 2:
        return None
    found = stats.spearmanr(ranks, size[answered])
    return float(found.statistic) if abs(found.statistic) >= NOTABLE and found.pvalue < UNLIKELY else None


def relevant_share(maps: torch.Tensor, evidence: Evidence) -> tuple[Array, Array]:
    """Return the share of each map's total on relevant pixels, (n,) in [0, 1], NaN for a map of zeros; and of its area.

    The second is the first for a map of equal values.
    """
    parts, sizes = [], []
    for start in range(0, len(maps), 512):
        M = maps[start : start + 512]
        masks = evidence.relevant_masks(np.arange(start, start + len(M)))
        S = to_grid(torch.from_numpy(np.ascontiguousarray(masks)), (M.shape[1], M.shape[2]))
        total = M.sum((-2, -1))
        parts.append(((M * S).sum((-2, -1)) / total.masked_fill(total <= 0, torch.nan)).numpy())
        sizes.append(S.float().mean((-2, -1)).numpy())
    return np.concatenate(parts), np.concatenate(sizes)
