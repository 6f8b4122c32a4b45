"""What people are asked about: the very maps and patches that methods ask the oracle about, and what shows them.

Made as a run makes them, in a run's own surroundings, so that the hashes of the answers are those of the run's
questions. Evidence (masks, boxes, groups) stays behind: nothing that is made here leads to it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crayon_bench.dataset import Source
from crayon_bench.errors import UserError
from crayon_bench.feedback import FeedbackKind
from crayon_bench.models import state_hash
from crayon_bench.oracle import Patches, close_ledger
from crayon_bench.parameters import Parameters
from crayon_bench.plan import Options, RunRequest, make_plan
from crayon_bench.plugins import Kind, Registry, call_hooks
from crayon_bench.runner import Run, UsersMistakeError, isolated, load_data, prepare
from crayon_bench.store import Store
from crayon_bench.training import predict
from crayon_bench_plugins.annotation.answers import Manifest, Task, image_hash, map_hash, neuron_id, patches_hash

KINDS = {Task.MAPS: FeedbackKind.MAP_VERDICT, Task.NEURONS: FeedbackKind.NEURON_VERDICT}
"""The kinds of question of the tasks that a model is needed for."""


@dataclass(frozen=True)
class Material:
    """What one task asks about, and what is needed to show it.

    title: of the data set. standin: whether the data are a stand-in. ids: names of the N training examples.
    labels: int64 (N,). images: uint8 (N, C, H, W). dataset: its coordinates. seed: of the original model.

    Of maps and neurons alone: model: hash of the original model's parameters; predicted: int64 (N,).
    Of maps alone: maps: float32 (N, h, w) ≥ 0; kind: ``logit`` or ``contrast``.
    Of neurons alone: patches; shown: how many there are for each, and their radius.
    """

    task: Task
    title: str
    standin: bool
    ids: Sequence[str]
    labels: NDArray[np.int64]
    class_names: Sequence[str]
    images: NDArray[np.uint8]
    dataset: Mapping[str, Any]
    protocol: str
    seed: int
    model: str | None = None
    predicted: NDArray[np.int64] | None = None
    maps: NDArray[np.float32] | None = None
    kind: str | None = None
    patches: Patches | None = None
    shown: tuple[int, int] | None = None

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.patches) if self.patches is not None else len(self.ids)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.images.shape[2], self.images.shape[3]

    def manifest(self) -> Manifest:
        """Return the questions as they are recorded: ids, and hashes of what is shown."""
        content = str(self.dataset["content"])
        if self.maps is not None:
            asked = [(name, map_hash(one)) for name, one in zip(self.ids, self.maps, strict=True)]
        elif self.patches is not None:
            asked = []
            for number, examples, boxes in zip(
                self.patches.neurons.tolist(), self.patches.examples, self.patches.boxes, strict=True
            ):
                there = examples >= 0
                names = [self.ids[example] for example in examples[there]]
                asked.append((neuron_id(number), patches_hash(names, boxes[there])))
        else:
            asked = [(name, image_hash(content, name)) for name in self.ids]
        k, radius = self.shown or (None, None)
        return Manifest(
            task=self.task,
            dataset=dict(self.dataset),
            protocol=self.protocol if self.model is not None else None,
            seed=self.seed if self.model is not None else None,
            model=self.model,
            maps=self.kind,
            patches=k,
            radius=radius,
            class_names=list(self.class_names),
            image_size=self.image_size,
            questions=asked,
        )


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
        with isolated(request):
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
