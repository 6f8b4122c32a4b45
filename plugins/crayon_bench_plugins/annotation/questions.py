"""What people are asked about: the very maps and patches that methods ask the oracle about, and what shows them.

Made as a run makes them, in a run's own surroundings, so that the hashes of the answers are those of the run's
questions. Evidence (masks, boxes, groups) stays behind: nothing that is made here leads to it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from crayon_bench import FeedbackKind, Parameters, RunRequest, Source, UserError, predict
from crayon_bench.ledger.metered import close_ledger
from crayon_bench.networks.classifier import state_hash
from crayon_bench.plugins.hooks import call_hooks
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.runs.isolation import isolated
from crayon_bench.runs.loading import load_data
from crayon_bench.runs.plan import Options, make_plan
from crayon_bench.runs.prepared import prepare
from crayon_bench.runs.run import Run, UsersMistakeError
from crayon_bench.store.store import Store
from crayon_bench_plugins.annotation.answers.tasks import Task
from crayon_bench_plugins.annotation.material import Material

KINDS = {Task.MAPS: FeedbackKind.MAP_VERDICT, Task.NEURONS: FeedbackKind.NEURON_VERDICT}
"""The kinds of question of the tasks that a model is needed for."""


def gather(task: Task, options: Options, registry: Registry, store: Store, say: Callable[[str], None]) -> Material:
    """Return what *task* asks about; the original model, its maps and neurons are made, or read from the *store*.

    *options* name one data set and one seed, and all methods. *say* takes remarks. Raises UserError.
    """
    plan = make_plan(options, registry)
    for remark in [*plan.problems, *plan.remarks]:
        say(remark)
    if not plan.requests:
        raise UserError(f"--dataset {', '.join(options.datasets)}: it cannot be used, for the reason above")
    request = plan.requests[0]
    call_hooks("sweep_started", requests=[request], done=0, quiet=False)  # shows how the original model gets on
    try:
        with isolated(request, {}):
            if not task.judged:
                return _plain(task, request, registry)
            return _of_model(task, request, plan.requests, registry, store, say)
    except UsersMistakeError as mistake:
        raise mistake.error from None
    finally:
        call_hooks("sweep_finished", records=[])


def _plain(task: Task, request: RunRequest, registry: Registry) -> Material:
    return Material(**_common(task, request, registry))


def _common(task: Task, request: RunRequest, registry: Registry) -> dict[str, Any]:
    data = load_data(request, registry)
    return {
        "task": task,
        "title": request.title["dataset"],
        "standin": request.source == Source.STANDIN.value,
        "ids": data.train.ids,
        "labels": data.train.labels,
        "class_names": data.class_names,
        "images": data.train.images,
        "dataset": request.coordinates["dataset"],
        "protocol": request.coordinates["protocol"]["name"],
        "seed": request.seed,
    }


def _of_model(
    task: Task,
    request: RunRequest,
    requests: Sequence[RunRequest],
    registry: Registry,
    store: Store,
    say: Callable[[str], None],
) -> Material:
    call_hooks("run_started", request=request)
    prepared = prepare(Run(request), store, registry, Parameters(), [KINDS[task]], False)
    job = prepared.job
    try:
        made: dict[str, Any] = {
            "model": state_hash(job.original),
            "predicted": predict(job.original, job.images, job.device).argmax(-1).cpu().numpy().astype(np.int64),
        }
        if task is Task.MAPS:
            made["maps"] = job.original_maps().cpu().numpy()
            made["kind"] = "contrast" if getattr(job.original, "contrasted", False) else "logit"
        elif not job.has_feature_maps:
            raise UserError(
                "--task neurons: the protocol's network has no convolutional feature maps", "ask about maps instead"
            )
        else:
            k, radius = made["shown"] = shown_patches(requests, registry, say)
            made["patches"] = job.neurons(k).patches(job.images.shape[-2], job.images.shape[-1], radius)
    finally:
        close_ledger(prepared.ledger)
    return Material(**_common(task, request, registry), **made)


def shown_patches(
    requests: Sequence[RunRequest], registry: Registry, say: Callable[[str], None] = lambda text: None
) -> tuple[int, int]:
    """Return how many patches show a neuron to the methods that ask about neurons, and their radius in cells.

    Where methods differ, the first one's are taken, and *say* is told which others will find no answers.
    """
    shown: dict[tuple[int, int], list[str]] = {}
    for request in requests:
        method = registry.load(Kind.METHOD, request.method)
        if FeedbackKind.NEURON_VERDICT in method.asks:
            parameters = request.coordinates["method"]["parameters"]
            shown.setdefault((parameters.get("patches", 20), parameters.get("radius", 1)), []).append(request.method)
    if not shown:
        return 20, 1
    first, *others = shown
    for other in others:
        say(
            f"{', '.join(shown[other])}: shows neurons by other patches than {', '.join(shown[first])} does, and will"
            " find no answers here"
        )
    return first
