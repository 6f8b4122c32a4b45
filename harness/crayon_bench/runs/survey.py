"""What an oracle answers, before any method is run: shares of answers, also by class, and where the cut-offs lie."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crayon_bench.dataset import Dataset, Source
from crayon_bench.feedback import FeedbackKind
from crayon_bench.ledger.metered import close_ledger
from crayon_bench.parameters import Parameters
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.runs.isolation import isolated
from crayon_bench.runs.leaks import (
    ANSWERS,
    Answers,
    Suspicion,
    count_answers,
    enrichment,
    follow_size,
    on_evidence,
    size_correlation,
    suspicions,
    yes_enrichment,
)
from crayon_bench.runs.prepared import Prepared, make_oracle, prepare
from crayon_bench.runs.run import Run, UsersMistakeError
from crayon_bench.store.request import RunRequest
from crayon_bench.store.store import Store

Array = np.ndarray[Any, Any]

QUANTILES = (5, 10, 25, 50, 75, 90, 95)
VERDICTS = (FeedbackKind.MAP_VERDICT, FeedbackKind.NEURON_VERDICT)


@dataclass
class Survey:
    """Answers about one original model.

    calibrated: what the oracle found first, such as cut-offs. warnings: what it had to say. relevant: whether shares
    are of what lies on relevant pixels; False: on irrelevant ones. shares: by class, :data:`QUANTILES` of the maps'
    shares. multiples: the same of their enrichment over chance. chance: by class, the mean share that a map of equal
    values has. below: share of the maps that have less on their relevant pixels than that. size: Spearman's rank
    correlation of answers (no, maybe, yes) with the size of the relevant part; None where one of them is constant.
    suspicions: why the answers may tell little of where the model looks.
    """

    seed: int
    class_names: Sequence[str]
    calibrated: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    maps: Answers | None = None
    neurons: Array | None = None
    dead_maps: int = 0
    dead_neurons: int = 0
    relevant: bool = True
    shares: dict[str, Array] = field(default_factory=dict)
    multiples: dict[str, Array] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)
    below: float = 0.0
    size: float | None = None
    suspicions: list[Suspicion] = field(default_factory=list)


def survey(
    request: RunRequest,
    store: Store,
    registry: Registry,
    *,
    patches: int,
    radius: int,
    kinds: Sequence[FeedbackKind] = VERDICTS,
) -> Survey:
    """Ask the oracle of *request* about every map and every neuron of its original model; nothing learns from it."""
    dataset: type[Dataset] = registry.load(Kind.DATASET, request.dataset)
    source = Source(request.coordinates["dataset"]["source"])
    there = dataset.find(Path(request.data_root), source, strict=request.strict)
    oracle = make_oracle(request, registry)
    asked = tuple(kind for kind in kinds if not oracle.unable(kind, dataset, there))
    run = Run(request)
    with isolated(request, run.record.warnings) as surroundings:
        try:
            prepared = prepare(run, store, registry, Parameters(), asked, False)
            surroundings.begin()
        except UsersMistakeError as mistake:
            raise mistake.error from None
        found = Survey(request.seed, prepared.data.class_names, run.record.calibrated)
        try:
            if FeedbackKind.MAP_VERDICT in asked:
                _look_at_maps(found, prepared)
            if prepared.job.has_feature_maps and FeedbackKind.NEURON_VERDICT in asked:
                _look_at_neurons(found, prepared, patches, radius)
        finally:
            found.warnings = list(close_ledger(prepared.ledger).warnings)
        return found


def _look_at_maps(found: Survey, prepared: Prepared) -> None:
    job, data = prepared.job, prepared.data
    M, examples, labels = job.original_maps().cpu(), np.arange(len(data.train)), data.train.labels
    values = job.oracle.judge_maps(examples, M.numpy()).values
    found.maps = count_answers(values, labels, job.classes)
    found.dead_maps = int((M.amax((-2, -1)) <= 0).sum())
    found.relevant = data.evidence.has("relevant_masks")
    if not found.relevant and not data.evidence.has("irrelevant_masks"):
        found.suspicions = list(suspicions(found.maps, None, None))
        return
    share, chance = on_evidence(M, data.evidence, examples)
    multiples = enrichment(share, chance)
    rows = {"all": np.full(len(labels), True)}
    rows |= {name: labels == number for number, name in enumerate(data.class_names)}
    for name, here in rows.items():
        if not np.isnan(share[here]).all():
            found.shares[name] = np.nanpercentile(share[here], QUANTILES)
            found.chance[name] = float(chance[here].mean())
        if not np.isnan(multiples[here]).all():
            found.multiples[name] = np.nanpercentile(multiples[here], QUANTILES)
    found.below = float((share < chance)[~np.isnan(share)].mean()) if found.shares else 0.0
    found.size, _ = size_correlation(values, chance) or (None, None)
    yes = yes_enrichment(values, multiples) if found.relevant else None
    found.suspicions = list(suspicions(found.maps, follow_size(values, chance), yes))


def _look_at_neurons(found: Survey, prepared: Prepared, patches: int, radius: int) -> None:
    job = prepared.job
    neurons = job.neurons(patches)
    values = job.oracle.judge_neurons(neurons.patches(job.images.shape[-2], job.images.shape[-1], radius)).values
    found.neurons = np.array([int((values == v).sum()) for v in ANSWERS])
    found.dead_neurons = int(neurons.dead.sum())
