"""What a run begins with: data, original model, metered oracle, and the job that a method is given."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from crayon_bench.budget import Budget
from crayon_bench.dataset import LoadedData
from crayon_bench.errors import UserError
from crayon_bench.feedback import FeedbackKind
from crayon_bench.ledger.allowance import Allowance, make_allowance
from crayon_bench.ledger.controls import weakened
from crayon_bench.ledger.metered import MeteredOracle, close_ledger, open_ledger
from crayon_bench.method import Job
from crayon_bench.networks.classifier import Classifier, state_hash
from crayon_bench.networks.specification import Recipe
from crayon_bench.networks.training import predict
from crayon_bench.oracle import FeedbackOracle, Situation
from crayon_bench.parameters import Parameters
from crayon_bench.plugins.hooks import call_hooks
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.runs.environment import resolve_device
from crayon_bench.runs.loading import load_data, make_selector, to_device
from crayon_bench.runs.originals import copy_of, original_depends_on, original_model, shared_artifacts
from crayon_bench.runs.protocol import Selection
from crayon_bench.runs.run import Run, UsersMistakeError
from crayon_bench.seeds import derive_seed
from crayon_bench.store.request import RunRequest
from crayon_bench.store.store import Store
from crayon_bench.strategy import Pool, QueryStrategy


@dataclass(frozen=True)
class Prepared:
    """What a run begins with. ledger: behind ``job.oracle``; close it."""

    job: Job
    data: LoadedData
    ledger: MeteredOracle


def prepare(
    run: Run,
    store: Store,
    registry: Registry,
    parameters: Parameters,
    asks: Sequence[FeedbackKind],
    control: bool,
) -> Prepared:
    """Load the data, make or read the original model, and open the ledger."""
    request = run.request
    c = request.coordinates
    device = resolve_device(request.device)
    report = partial(print, file=run.log)
    try:
        with run.timed("data"):
            data = load_data(request, registry)
        run.record.notes = list(dict.fromkeys([*run.record.notes, *data.notes]))
        select = make_selector(Selection(c["selection"]), data, device)
    except UserError as error:
        raise UsersMistakeError(error) from None
    images, labels = to_device(data.train, device)
    epochs = partial(epoch_finished, request)

    with run.timed("original"):
        original = original_model(run, store, data, images, labels, device, select, partial(epochs, "original"), report)

    try:
        oracle = make_oracle(request, registry)
    except UserError as error:
        raise UsersMistakeError(error) from None
    oracle.situation = Situation(
        ids=data.train.ids,
        labels=data.train.labels,
        class_names=data.class_names,
        dataset=c["dataset"],
        model=state_hash(original),
        image_size=(images.shape[2], images.shape[3]),
    )
    ledger = open_ledger(
        oracle,
        data.evidence,
        groups=partial(_known_groups, data),
        asks=frozenset(asks),
        control=control,
        size=len(data.train),
        allowance=_allowance(request, registry, asks, control, original, images, device),
        weakened=weakened(request.control, data.train.labels, derive_seed(request.seed, "feedback")),
    )
    job = Job(
        model=copy_of(original, request, data, device),
        original=original,
        images=images,
        labels=labels,
        classes=len(data.class_names),
        oracle=ledger,
        recipe=Recipe.model_validate(c["method"]["recipe"] or c["original"]),
        parameters=parameters,
        device=device,
        report=report,
        base_seed=request.seed,
        on_epoch=partial(epochs, "refine"),
        share=partial(_share, run, store.artifacts, original_depends_on(c)),
        select=select,
    )
    if FeedbackKind.MAP_VERDICT in asks:
        try:
            oracle.begin(lambda: job._maps().cpu().numpy(), data.evidence)
        except UserError as error:
            close_ledger(ledger)
            raise UsersMistakeError(error) from None
        run.record.calibrated = dict(oracle.calibrated)
    return Prepared(job, data, ledger)


def _known_groups(data: LoadedData, examples: Any) -> Any:
    """Return the groups of training *examples*: whatever an oracle says that it can, what is not known is no answer."""
    groups = data.train.groups[examples]
    if (groups < 0).any():
        raise UserError("the groups of some training images are not known", "leave out methods that ask for groups")
    return groups


def make_oracle(request: RunRequest, registry: Registry) -> FeedbackOracle:
    """Return the oracle of a run. Raises UserError if recorded answers are not those of the plan."""
    wanted = request.coordinates["oracle"]
    oracle_class: type[FeedbackOracle] = registry.load(Kind.ORACLE, wanted["name"])
    parameters = oracle_class.Parameters.model_validate(wanted["parameters"])
    oracle = oracle_class(parameters, seed=derive_seed(request.seed, "feedback"))
    if request.answers is not None:
        oracle.answers = Path(request.answers)
        if oracle_class.fingerprint(oracle.answers) != wanted["answers"]:
            raise UserError(f"--answers {request.answers}: changed after the plan was made", "give the command again")
    return oracle


def _allowance(
    request: RunRequest,
    registry: Registry,
    asks: Sequence[FeedbackKind],
    control: bool,
    original: Classifier,
    images: Tensor,
    device: str,
) -> Allowance | None:
    wanted = request.coordinates["budget"]
    if wanted is None:
        return None
    strategy: type[QueryStrategy] = registry.load(Kind.STRATEGY, wanted["strategy"]["name"])
    kinds = [*asks, *([FeedbackKind.NEURON_VERDICT] if control else [])]
    pool = Pool(len(images), lambda: predict(original, images, device).softmax(-1).cpu().numpy())
    seed = derive_seed(request.seed, "budget")
    return make_allowance(Budget.from_coordinates(wanted), kinds, lambda: strategy(seed=seed), pool)


def _share(
    run: Run, root: Path, original: dict[str, Any], name: str, make: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    start, artifacts = time.perf_counter(), shared_artifacts(root)
    tensors, folder, _ = artifacts.get_or_make("shared", {"original": original, "name": name}, make)
    if folder not in run.record.artifacts:  # a method may ask for it twice
        run.record.artifacts.append(folder)
        # What it took whoever made it, so that a method's time does not depend on which one came first.
        run.record.seconds["shared"] = round(run.record.seconds.get("shared", 0.0) + artifacts.seconds(folder), 3)
    run.apart += time.perf_counter() - start
    return tensors


def epoch_finished(request: RunRequest, phase: str, epoch: int, epochs: int, loss: float) -> None:
    """Tell the hooks."""
    call_hooks("epoch_finished", request=request, phase=phase, epoch=epoch, epochs=epochs, loss=loss)
