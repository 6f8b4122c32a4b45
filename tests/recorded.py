"""Answers for tests, written as the page writes them."""

from collections.abc import Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from crayon_bench.feedback import FeedbackKind, Verdict
from crayon_bench.ledger.metered import close_ledger
from crayon_bench.parameters import Parameters
from crayon_bench.plugins.registry import Registry
from crayon_bench.runs.isolation import isolated
from crayon_bench.runs.plan import Options, make_plan
from crayon_bench.runs.prepared import prepare
from crayon_bench.runs.run import Run
from crayon_bench.store.request import RunRequest
from crayon_bench.store.store import Store
from crayon_bench_plugins.annotation.answers.events import Via
from crayon_bench_plugins.annotation.answers.folder import Answers
from crayon_bench_plugins.annotation.answers.manifest import Manifest
from crayon_bench_plugins.annotation.answers.recorder import Recorder
from crayon_bench_plugins.annotation.answers.shown import image_hash, map_hash, neuron_id, patches_hash
from crayon_bench_plugins.annotation.answers.tasks import Answer, Task

CONTENT = "c" * 64
BEGIN = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
WORD = {Verdict.YES: "yes", Verdict.NO: "no", Verdict.MAYBE: "maybe"}


def manifest(task: Task = Task.MAPS, n: int = 4, **changes: Any) -> Manifest:
    """Questions about *n* made-up images of 8 × 10 pixels."""
    ids = [f"neuron-{i}" if task is Task.NEURONS else f"image-{i}" for i in range(n)]
    values: dict[str, Any] = {
        "task": task,
        "dataset": {"name": "made-up", "source": "standin", "content": CONTENT, "version": 1, "parameters": {}},
        "protocol": "quick",
        "seed": 0,
        "model": "0" * 64,
        "maps": "logit" if task is Task.MAPS else None,
        "class_names": ["cat", "dog"],
        "image_size": (8, 10),
        "questions": [(name, map_hash(np.full((2, 2), i))) for i, name in enumerate(ids)],
    }
    return Manifest(**{**values, **changes})


@contextmanager
def hurried():
    """Within it, nothing waits for the disk."""
    with patch("os.fsync"):
        yield


def record(
    folder: Path, questions: Manifest, who: str, given: Mapping[str, Answer] | list[tuple[str, Answer]], *, took=2.0
) -> Answers:
    """Let *who* give answers one after the other, each in *took* seconds."""
    answers = Answers(folder)
    with hurried():
        answers.begin(questions)
        with Recorder(answers, questions.task, who, questions) as recorder:
            pairs = given.items() if isinstance(given, Mapping) else given
            for i, (example, answer) in enumerate(pairs):
                shown = BEGIN + timedelta(seconds=10 * (recorder.history.length + i))
                recorder.answer(
                    example, answer, shown_at=shown, via=Via.KEY, answered_at=shown + timedelta(seconds=took)
                )
    return answers


def by_rule(folder: Path, arguments: Mapping[str, Any], store: Path, *, who: str = "Ruth") -> RunRequest:
    """Record what the simulated oracle says about maps, neurons, boxes and masks of a run, and return its request."""
    registry = Registry()
    request = make_plan(Options(**arguments), registry).requests[0]
    kinds = tuple(FeedbackKind)
    with isolated(request, {}):
        prepared = prepare(Run(request), Store.create(store), registry, Parameters(), kinds, False)
        job, data = prepared.job, prepared.data
        everyone = np.arange(len(data.train))
        ids = data.train.ids
        height, width = job.images.shape[-2:]
        common = {
            "dataset": request.coordinates["dataset"],
            "protocol": request.protocol,
            "seed": request.seed,
            "class_names": list(data.class_names),
            "image_size": (height, width),
        }
        from crayon_bench.networks.classifier import state_hash

        model = state_hash(job.original)
        M = job.original_maps().cpu().numpy()
        verdicts = job.oracle.judge_maps(everyone, M).values
        shown = [(name, map_hash(one)) for name, one in zip(ids, M, strict=True)]
        maps = Manifest(task=Task.MAPS, model=model, maps="contrast", questions=shown, **common)
        record(folder, maps, who, {name: WORD[v] for name, v in zip(ids, verdicts, strict=True)})

        patches = job.neurons(20).patches(height, width, 1)
        verdicts = job.oracle.judge_neurons(patches).values
        there = patches.examples >= 0
        shown = [
            (neuron_id(number), patches_hash([ids[e] for e in examples[here]], boxes[here]))
            for number, examples, boxes, here in zip(
                patches.neurons, patches.examples, patches.boxes, there, strict=True
            )
        ]
        neurons = Manifest(task=Task.NEURONS, model=model, patches=20, radius=1, questions=shown, **common)
        record(folder, neurons, who, {name: WORD[v] for (name, _), v in zip(shown, verdicts, strict=True)})

        shown = [(name, image_hash(request.coordinates["dataset"]["content"], name)) for name in ids]
        drawn = Manifest(task=Task.BOXES, questions=shown, **common)
        boxes = job.oracle.boxes(everyone).values
        record(folder, drawn, who, {name: tuple(box) for name, box in zip(ids, boxes.tolist(), strict=True)})

        painted = Manifest(task=Task.MASKS, questions=shown, **common)
        masks = job.oracle.relevant_masks(everyone).values
        answers = Answers(folder)
        with hurried():
            files = {name: answers.write_mask(who, np.array(mask)) for name, mask in zip(ids, masks, strict=True)}
        record(folder, painted, who, files)
        close_ledger(prepared.ledger)
    return request
