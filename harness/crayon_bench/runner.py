"""Carrying out runs: one (:func:`perform`), and many (:func:`sweep`)."""

import contextlib
import gc
import io
import os
import platform
import random
import subprocess
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

import crayon_bench
from crayon_bench.allowance import Allowance, make_allowance
from crayon_bench.artifacts import Artifacts
from crayon_bench.budget import Budget
from crayon_bench.dataset import Dataset, Evidence, LoadedData, Source, Split
from crayon_bench.errors import MetricError, StoreError, UserError
from crayon_bench.events import Listener, here, sender
from crayon_bench.executor import Executor
from crayon_bench.exported import effective_spec, model_bytes
from crayon_bench.feedback import FeedbackKind, feedback_label
from crayon_bench.grids import to_grid
from crayon_bench.guard import method_running
from crayon_bench.limits import LimitError, Limits, last_words, limited
from crayon_bench.method import Job, Method
from crayon_bench.metric import Predictions
from crayon_bench.models import Classifier, batch_for_maps, build_model, state_hash
from crayon_bench.oracle import FeedbackOracle, MeteredOracle, Situation, close_ledger, open_ledger
from crayon_bench.parameters import Parameters
from crayon_bench.plan import RunRequest
from crayon_bench.plugins import Kind, PluginError, Registry, call_hooks, content_hash, send_hooks
from crayon_bench.protocol import CNNSpec, Recipe, Selection
from crayon_bench.records import LARGEST, Feedback, GroupCount, MetricValue, Record, Status
from crayon_bench.seeds import derive_seed
from crayon_bench.store import Store
from crayon_bench.strategy import Pool, QueryStrategy
from crayon_bench.training import fit, predict
from crayon_bench.weights import load_into


@dataclass(frozen=True)
class Performer:
    """What an executor calls for each request. Plain data, so that it can be sent to another process."""

    store: str
    plugin_files: tuple[tuple[str, str], ...] = ()
    """Path and content hash of each ``--plugin`` file."""
    limits: Limits = field(default_factory=Limits)
    home: str = ""
    """The process that started the sweep, whose hooks are called."""
    sweep: str | None = None
    """Folder for what other processes have to say, and for an executor's own files."""

    @property
    def folder(self) -> Path:
        """See :class:`crayon_bench.executor.Perform`."""
        return Path(self.sweep or self.store)

    def __call__(self, request: RunRequest) -> list[Record]:
        """Carry out one run together with those named in it, and return their records; see :func:`perform`."""
        from crayon_bench.together import perform_together  # here, because it needs this module

        if away := self.sweep is not None and here() != self.home:
            send_hooks(sender(self.folder))
        registry = _registry(self.plugin_files)
        return perform_together(request, Store(Path(self.store)), registry, self.limits, self._note(request, away))

    def lost(self, request: RunRequest, why: str, *, guilty: bool = True) -> tuple[list[RunRequest], list[Record]]:
        """See :class:`crayon_bench.executor.Perform`."""
        words = last_words(note) if (note := self._note(request)) is not None else ""
        if request.others and guilty:
            each = (request, *request.others)
            return [replace(one, others=[], tries=request.tries + 1) for one in each], []
        if not words and request.tries < (_TRIES if guilty else _TRIES_OF_MACHINES) - 1:
            return [replace(request, tries=request.tries + 1)], []
        reason = words or f"{why}, {request.tries + 1} times"
        return [], [self._fail(one, reason) for one in (request, *request.others)]

    def _fail(self, request: RunRequest, reason: str) -> Record:
        call_hooks("run_started", request=request)
        run = Run(replace(request, device="cpu"))  # there may be no GPU here
        run.log.write(f"The worker ended without a record, and with it what it had logged: {reason}\n")
        run.end(Status.FAILED, reason)
        Store(Path(self.store)).save(run.record, None, run.log.getvalue())
        call_hooks("run_finished", request=request, record=run.record)
        return run.record

    def stopped(self, request: RunRequest) -> None:
        """See :class:`crayon_bench.executor.Perform`."""
        store = Store(Path(self.store))
        for one in (request, *request.others):
            known = store.find(one.coordinates, one.key)
            if known is None or known.status is not Status.INTERRUPTED:
                save_interrupted(Run(replace(one, device="cpu")), store)

    def _note(self, request: RunRequest, away: bool = True) -> Path | None:
        """Return the file in which a worker says that it is ended for a limit; None in the user's own process."""
        return self.folder / f"{request.key}.why" if self.sweep is not None and away else None


_TRIES = 2
_TRIES_OF_MACHINES = 5
"""How often a run is tried whose machine went down: that is not the run's fault."""


@cache
def _registry(plugin_files: tuple[tuple[str, str], ...]) -> Registry:
    for path, content in plugin_files:
        if content_hash(Path(path)) != content:  # its result would be kept under the key of another text
            raise UserError(f"--plugin {path}: it changed after the plan was made", "give the same command again")
    return Registry(Path(path) for path, _ in plugin_files)


def sweep(
    requests: list[RunRequest], executor: Executor, store: Store, registry: Registry, limits: Limits | None = None
) -> Iterator[Record]:
    """Carry out the *requests* and yield their records, each of which is in the store by then."""
    from crayon_bench.together import in_order, put_together

    files = tuple((str(file.resolve()), content_hash(file)) for file in registry.files)
    if executor.elsewhere:  # so that all machines do the same
        requests = [
            replace(one, device="cuda" if one.device == "cuda" else resolve_device(one.device)) for one in requests
        ]
    workers = executor.at_once(requests)
    units = put_together(requests, registry, workers)
    folder = store.path.resolve() / f".sweep.{uuid.uuid4().hex[:8]}"
    performer = Performer(str(store.path.resolve()), files, limits or Limits(), here(), str(folder))
    missing = {request.key: request for request in requests}
    with store.in_use(), Listener(folder, requests, store) as listener:
        for record in executor.execute(units if workers == 1 else in_order(units), performer):
            listener.check()
            missing.pop(record.key, None)
            yield record
    if missing:
        some = next(iter(missing.values()))
        raise UserError(f"executor '{executor.name}' returned no record of {len(missing)} runs, such as {some.folder}")


def perform(
    request: RunRequest,
    store: Store,
    registry: Registry,
    remark: str = "",
    limits: Limits | None = None,
    note: Path | None = None,
) -> Record:
    """Carry out one run by itself, write its record to the *store* and return it. *remark*: begins its log.

    limits, note: see :func:`~crayon_bench.limits.limited`. Whatever a plugin raises becomes a record with the status
    "failed". KeyboardInterrupt becomes one with the status "interrupted" and goes on. Raises UserError if the store
    cannot be written, or if the data do not allow the run.
    """
    call_hooks("run_started", request=request)
    run = Run(request)
    run.log.write(remark or ("Carried out again: its worker died.\n" if request.tries else ""))
    try:
        if request.skip is not None:
            run.end(Status.SKIPPED, request.skip)
        else:
            with isolated(request, run), run.captured_output(), limited(limits or Limits(), note):
                _carry_out(run, store, registry)
            run.end(Status.OK)
    except UsersMistakeError as mistake:
        raise mistake.error from None
    except StoreError:
        raise
    except KeyboardInterrupt:
        save_interrupted(run, store)
        raise
    except BaseException as error:  # a plugin may raise anything, SystemExit too: the sweep goes on
        if isinstance(error, UserError | LimitError):
            reason = str(error)
        else:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
        run.log.write("\n" + "".join(traceback.format_exception(error)))
        run.predictions = run.model = None
        run.end(Status.FAILED, reason)
    store.save(run.record, run.predictions, run.log.getvalue(), run.model)
    call_hooks("run_finished", request=request, record=run.record)
    return run.record


def save_interrupted(run: "Run", store: Store) -> None:
    """Write the record of a run that the user interrupted."""
    run.end(Status.INTERRUPTED, "interrupted by the user")
    earlier = store.find(run.request.coordinates, run.request.key)
    if earlier is None or earlier.status is not Status.OK:  # what was done is never replaced by what was not
        store.save(run.record, None, run.log.getvalue())


class UsersMistakeError(Exception):
    """Data or selection do not allow the run: not the method's failure, and the same for every method."""

    def __init__(self, error: UserError) -> None:
        self.error = error


@dataclass
class Run:
    """What is known of a run so far."""

    request: RunRequest
    log: io.StringIO = field(default_factory=io.StringIO)
    predictions: bytes | None = None
    model: bytes | None = None
    """The refined model, where it is to be kept."""
    original: tuple[dict[str, Tensor], str, bool] | None = None
    """The original model, where it was made or read before: tensors, name of the artifact, whether it was made."""
    state: dict[str, Any] = field(default_factory=dict)
    """What the method should leave as it is; see :func:`global_state`."""
    apart: float = 0.0
    """Seconds spent on making or reading shared artifacts, which are noted apart."""

    def __post_init__(self) -> None:
        request = self.request
        self._clock = time.perf_counter()
        self.record = Record(
            key=request.key,
            setting=request.setting,
            status=Status.INTERRUPTED,
            coordinates=request.coordinates,
            title=request.title,
            baseline=request.baseline,
            source=request.source,
            verified=request.verified,
            notes=request.notes,
            overrides=request.overrides,
            feedback=Feedback(label=request.title["feedback"]),
            started=_now(),
            environment=_environment(request.device, request.coordinates["protocol"]["threads"]),
        )

    def end(self, status: Status, reason: str | None = None) -> None:
        """Note how the run ended."""
        self.record.status = status
        self.record.reason = reason
        self.record.finished = _now()
        self.record.seconds["total"] = round(time.perf_counter() - self._clock, 3)

    @contextlib.contextmanager
    def captured_output(self) -> Iterator[None]:
        """Send what is printed to the run's log."""
        # What a plugin prints belongs to its log: standard output is for the table alone.
        with contextlib.redirect_stdout(self.log), _no_output():
            yield

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Note how long *what* takes."""
        start, apart = time.perf_counter(), self.apart
        yield
        self.record.seconds[what] = round(time.perf_counter() - start - (self.apart - apart), 3)


@contextlib.contextmanager
def _no_output() -> Iterator[None]:
    """Send what C code, or a process that a plugin starts, writes to standard output to standard error."""
    try:
        before = os.dup(1)
    except OSError:  # it is closed
        yield
        return
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


@dataclass(frozen=True)
class Prepared:
    """What a run begins with. ledger: behind ``job.oracle``; close it."""

    job: Job
    data: LoadedData
    ledger: MeteredOracle


def prepare(
    run: "Run",
    store: Store,
    registry: Registry,
    parameters: Parameters,
    asks: Sequence[FeedbackKind],
    control: bool,
    stackable: bool = False,
) -> Prepared:
    """Load the data, make or read the original model, and open the ledger."""
    request = run.request
    c = request.coordinates
    device = resolve_device(request.device)
    report = partial(print, file=run.log)
    try:
        with run.timed("data"):
            data = load_data(request, registry)
        select = make_selector(Selection(c["selection"]), data, device)
    except UserError as error:
        raise UsersMistakeError(error) from None
    images, labels = to_device(data.train, device)
    epochs = partial(epoch_finished, request)

    with run.timed("original"):
        original = _original_model(
            run, store, data, images, labels, device, select, partial(epochs, "original"), report
        )

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
        groups=lambda examples: data.train.groups[examples],
        asks=frozenset(asks),
        control=control,
        size=len(data.train),
        allowance=_allowance(request, registry, asks, control, original, images, device),
    )
    job = Job(
        model=_copy(original, request, data, device),
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
        stacks=stackable,
    )
    # What was imported and made above may have drawn; whether it was depends on what this process did before.
    _seed_global(request)
    run.state = global_state()
    return Prepared(job, data, ledger)


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


def _carry_out(run: "Run", store: Store, registry: Registry) -> None:
    request, record = run.request, run.record
    method: Method = registry.load(Kind.METHOD, request.method)()
    parameters = method.Parameters.model_validate(request.coordinates["method"]["parameters"])
    asks = method.questions(parameters)
    prepared = prepare(run, store, registry, parameters, asks, method.control, method.stackable)
    job = prepared.job
    memory = PeakMemory(job.device)
    try:
        with run.timed("refine"), method_running():
            refined = method.refine(job)
    finally:
        if (peak := memory.mebibytes()) is not None:
            record.memory["peak"] = peak
        close(run, method, prepared)
    judge(run, registry, prepared, refined)


def close(run: "Run", method: Method, prepared: Prepared) -> None:
    """End the method's questions and note what was answered and what went wrong."""
    receipt = close_ledger(prepared.ledger)
    run.record.feedback = Feedback(
        total=receipt.total,
        by_kind={kind.value: number for kind, number in receipt.by_kind.items()},
        verdicts={kind.value: dict(tally) for kind, tally in receipt.verdicts.items()},
        label="-" if method.baseline else feedback_label(kind for kind in FeedbackKind if receipt.by_kind.get(kind)),
        lent={kind.value: number for kind, number in receipt.lent.items()},
        seconds={kind.value: round(seconds, 3) for kind, seconds in receipt.seconds.items()},
    )
    run.record.warnings |= prepared.job.warnings | receipt.warnings


def judge(run: "Run", registry: Registry, prepared: Prepared, refined: Any) -> None:
    """Note what the refined model predicts, and the metrics of that."""
    record, job, data = run.record, prepared.job, prepared.data
    device = job.device
    test_images = _images(data.test.images, device)
    with run.timed("test"):
        predictions = _predict(refined, data.test, test_images, data, device)
        run.predictions = _to_parquet(data.test, predictions)
        right, total = predictions.group_counts()
        record.groups = [
            GroupCount(name=name, right=int(r), total=int(t))
            for name, r, t in zip(data.group_names, right, total, strict=True)
        ]
        record.metrics = _compute_metrics(predictions, registry, run)
        if data.validation is not None:
            seen = _predict(refined, data.validation, _images(data.validation.images, device), data, device)
            values = _compute_metrics(seen, registry, run).items()
            record.validation = {name: value.value for name, value in values if value.value is not None}
        if run.request.keep:
            _keep(run, refined, data)
        if data.evidence.has("relevant_masks") and isinstance(refined, Classifier):
            record.attention = _attention(refined, data.train, device, data.evidence)


def _keep(run: "Run", refined: nn.Module, data: LoadedData) -> None:
    spec, shape = effective_spec(run.request.coordinates), data.train.images.shape[1:]
    try:
        run.model = model_bytes(refined, spec, data.class_names, shape, run=run.request.key)
    except Exception as error:  # a network of a method's own may hold anything, and its result is none the worse
        run.log.write(f"The refined model cannot be kept: {type(error).__name__}: {error}\n")
        run.record.warnings["the refined model cannot be kept, see the log"] = 1


# ---------------------------------------------------------------------------------------------------------------------
# data and models

_loaded: tuple[str, LoadedData] | None = None


def load_data(request: RunRequest, registry: Registry) -> LoadedData:
    """Return the data of a run; the last ones are kept for the next run."""
    global _loaded
    wanted = request.coordinates["dataset"]
    memo = repr(sorted(wanted.items())) + request.data_root
    if _loaded is not None and _loaded[0] == memo:
        return _loaded[1]
    _loaded = None
    gc.collect()
    dataset: type[Dataset] = registry.load(Kind.DATASET, wanted["name"])
    found = dataset.find(Path(request.data_root), Source(wanted["source"]), strict=request.strict)
    if found.content != wanted["content"]:
        raise UserError(f"{found.where}: the data changed after the plan was made", "give the same command again")
    data = dataset(dataset.Parameters.model_validate(wanted["parameters"])).load(found)
    _loaded = memo, data
    return data


def to_device(split: Split, device: str) -> tuple[Tensor, Tensor]:
    """Return images and labels, as tensors of this run's own."""
    return _images(split.images, device), torch.tensor(split.labels, device=device)


def _images(images: np.ndarray[Any, Any], device: str) -> Tensor:
    """Return the images as a tensor of this run's own: what one method writes into them must not reach the next run."""
    if device == "cuda" and images.nbytes < torch.cuda.mem_get_info()[0] / 2:
        return torch.from_numpy(_private(images)).to(device)
    return torch.from_numpy(_private(images))


def _private(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if isinstance(images, np.memmap) and images.filename is not None and images.flags.c_contiguous:
        whole = images
        while isinstance(whole.base, np.memmap):
            whole = whole.base
        # A slice has its map's offset and not its own: where it begins is told by its address alone.
        offset = whole.offset + images.ctypes.data - whole.ctypes.data
        # Mapped once more, copy-on-write: pages are read as they are needed, and what is written stays in this run.
        return np.memmap(images.filename, images.dtype, "c", offset, images.shape)
    return np.array(images)


def _original_model(
    run: Run,
    store: Store,
    data: LoadedData,
    images: Tensor,
    labels: Tensor,
    device: str,
    select: Callable[[nn.Module], float] | None,
    on_epoch: Callable[[int, int, float], None],
    report: Callable[[str], None],
) -> Classifier:
    c = run.request.coordinates
    whole = is_users_model(c)

    def make() -> dict[str, Tensor]:
        model = new_model(run.request, data, pretrained=True).to(device)
        if whole:
            return model.state_dict()
        recipe = Recipe.model_validate(c["original"])
        order = original_order(run.request)
        fit(model, images, labels, recipe, order_seed=order, on_epoch=on_epoch, select=select)
        return model.state_dict()

    state, name, made = run.original or Artifacts(store.artifacts).get_or_make(ORIGINAL, original_depends_on(c), make)
    run.record.artifacts.append(name)
    how = "the user's, not trained, kept as" if whole else "trained, kept as"
    report(f"original model: {how if made else 'reused'} artifact {name}")
    model = new_model(run.request, data)
    model.load_state_dict(state)
    model.to(device).eval().requires_grad_(False)
    return model


ORIGINAL = "original-model"


def original_order(request: RunRequest) -> int:
    """Return the seed of the order in which the original model sees its examples."""
    return derive_seed(request.seed, "original order")


def is_users_model(c: dict[str, Any]) -> bool:
    """Return whether the original model is a whole one from ``--weights``, which is not trained."""
    return bool((c["weights"] or {}).get("head"))


def original_depends_on(c: dict[str, Any]) -> dict[str, Any]:
    """Return the coordinates of the original model."""
    keys = ("numerics", "dataset", "model", "weights", "original", "selection", "seed")
    depends = {**{key: c[key] for key in keys}, "threads": c["protocol"]["threads"]}
    if is_users_model(c):  # the same for every seed, however others would be trained
        depends = {key: c[key] for key in ("numerics", "dataset", "model", "weights")}
    # Which maps are looked at changes nothing in the original model.
    return {**depends, "model": {key: value for key, value in c["model"].items() if key != "maps"}}


def _share(
    run: Run, root: Path, original: dict[str, Any], name: str, make: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    start, artifacts = time.perf_counter(), Artifacts(root)
    tensors, folder, _ = artifacts.get_or_make("shared", {"original": original, "name": name}, make)
    if folder not in run.record.artifacts:  # a method may ask for it twice
        run.record.artifacts.append(folder)
        # What it took whoever made it, so that a method's time does not depend on which one came first.
        run.record.seconds["shared"] = round(run.record.seconds.get("shared", 0.0) + artifacts.seconds(folder), 3)
    run.apart += time.perf_counter() - start
    return tensors


def new_model(request: RunRequest, data: LoadedData, *, pretrained: bool = False) -> Classifier:
    """Return the network with its initial parameters."""
    c = request.coordinates
    channels, height, width = data.train.images.shape[1:]
    spec = effective_spec(c)
    model = build_model(spec, (channels, height, width), len(data.class_names), derive_seed(c["seed"], "init"))
    if pretrained and isinstance(spec, CNNSpec) and request.weights is not None:
        load_into(model, spec, c["weights"], Path(request.weights), data.class_names)
    return model


def _copy(original: Classifier, request: RunRequest, data: LoadedData, device: str) -> Classifier:
    model = new_model(request, data)
    model.load_state_dict(original.state_dict())
    return model.to(device)


# Like the ledger's accounts: a job's `select` must not lead to the validation split.
_selectors: dict[int, tuple[Selection, Tensor, np.ndarray[Any, Any], np.ndarray[Any, Any], int]] = {}
_numbers = count(1)


def make_selector(rule: Selection, data: LoadedData, device: str) -> Callable[[nn.Module], float] | None:
    """Return what scores a model by the *rule*; None if the last epoch is taken. An earlier one is void."""
    if rule is Selection.LAST:
        return None
    if data.validation is None:
        raise UserError(f"selection '{rule.value}' needs a validation split, and there is none", "use selection 'last'")
    split, number = data.validation, next(_numbers)
    if rule is Selection.VAL_WGA and not data.group_names:
        why = data.no_groups or "there are no groups"
        raise UserError(f"selection 'val_wga': {why}", "use 'last' or 'val_accuracy'")
    if rule is Selection.VAL_WGA and (np.bincount(split.groups, minlength=len(data.group_names)) == 0).any():
        raise UserError("selection 'val_wga': a group has no validation examples", "use 'last' or 'val_accuracy'")
    _selectors.clear()
    _selectors[number] = (
        rule,
        _images(split.images, device),
        split.labels,
        split.groups,
        len(data.group_names),
    )
    return partial(_score, number)


def _score(number: int, model: nn.Module) -> float:
    rule, images, labels, groups, size = _selectors[number]
    right = predict(model, images, next(model.parameters()).device).argmax(-1).cpu().numpy() == labels
    if rule is Selection.VAL_ACCURACY:
        return float(right.mean())
    total = np.bincount(groups, minlength=size)
    return float((np.bincount(groups[right], minlength=size) / total).min())


# ---------------------------------------------------------------------------------------------------------------------
# results


def _predict(refined: Any, split: Split, images: Tensor, data: LoadedData, device: str) -> Predictions:
    with method_running():  # a refined model is the method's code too
        logits = _checked_logits(refined, images, len(data.class_names), device)
    return Predictions(
        labels=split.labels,
        predicted=logits.argmax(-1).numpy(),
        groups=split.groups,
        probabilities=logits.softmax(-1).numpy(),
        group_names=data.group_names,
        no_groups=data.no_groups,
    )


_LOOKED_AT = 256
"""How many training images :func:`_attention` looks at, evenly spread."""


@torch.no_grad()
def _attention(model: Classifier, split: Split, device: str, evidence: Evidence) -> dict[str, float]:
    """Return the mean share of the maps' total on relevant pixels: of the label's map, and of its contrast."""
    chosen = torch.linspace(0, len(split) - 1, min(len(split), _LOOKED_AT)).round().long()
    shares: dict[str, list[Tensor]] = {"saliency": [], "contrast": []}
    # In small batches, which stay in a CPU's caches: of small images, 700 at once take 1.7 times as long as 128.
    for index in torch.split(chosen, min(128, batch_for_maps(split.images.shape[1:]))):
        # The split's own images: a method may have changed those that it was given.
        images = torch.from_numpy(np.array(split.images[index.numpy()])).to(device)
        labels = torch.from_numpy(split.labels[index.numpy()]).to(device)
        with method_running():
            forward = model.run(images)
            maps = {"saliency": forward.saliency(labels), "contrast": forward.contrast(labels)}
        masks = torch.from_numpy(np.ascontiguousarray(evidence.relevant_masks(index.numpy())))
        height, width = maps["saliency"].shape[-2:]
        S = to_grid(masks, (height, width)).to(device)
        for name, M in maps.items():
            total = M.sum((-2, -1))
            shares[name].append(((M * S).sum((-2, -1)) / total)[total > 0])
    means = {name: torch.cat(parts) for name, parts in shares.items()}
    finite = {name: values for name, values in means.items() if len(values) and bool(values.isfinite().all())}
    return {name: round(float(values.double().mean()), 6) for name, values in finite.items()}


def _checked_logits(model: Any, images: Tensor, classes: int, device: str) -> Tensor:
    if not isinstance(model, nn.Module):
        raise TypeError(f"refine() must return a model, not {type(model).__name__}")
    logits = predict(model.to(device), images, device).float().cpu()
    if logits.shape != (len(images), classes):
        raise ValueError(f"the refined model's logits are {tuple(logits.shape)}, not {(len(images), classes)}")
    if not torch.isfinite(logits).all():
        raise ValueError("the refined model's logits are not all finite")
    return logits


def _to_parquet(split: Split, predictions: Predictions) -> bytes:
    confidence = predictions.probabilities[np.arange(len(predictions.predicted)), predictions.predicted]
    known = bool(predictions.group_names)
    groups = pa.array(predictions.groups.astype(np.int32)) if known else pa.nulls(len(split), pa.int32())
    table = pa.table(
        {
            "example": list(split.ids),
            "label": pa.array(predictions.labels.astype(np.int32)),
            "predicted": pa.array(predictions.predicted.astype(np.int32)),
            "group": groups,
            "confidence": pa.array(confidence.astype(np.float32)),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _compute_metrics(predictions: Predictions, registry: Registry, run: Run) -> dict[str, MetricValue]:
    values = {}
    for name in registry.names(Kind.METRIC):
        try:
            metric = registry.load(Kind.METRIC, name)()
        except PluginError as error:
            run.log.write(f"metric left out: {error}\n")
            continue
        value, reason = None, None
        try:
            value = float(metric.compute(predictions))
            if not abs(value) <= LARGEST:
                value, reason = None, "the value is not finite"
        except MetricError as error:
            reason = str(error)
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        values[name] = MetricValue(
            value=value, short=metric.short, direction=metric.direction.value, unit=metric.unit, reason=reason
        )
    return values


# ---------------------------------------------------------------------------------------------------------------------
# surroundings


def epoch_finished(request: RunRequest, phase: str, epoch: int, epochs: int, loss: float) -> None:
    """Tell the hooks."""
    call_hooks("epoch_finished", request=request, phase=phase, epoch=epoch, epochs=epochs, loss=loss)


class PeakMemory:
    """The highest memory in use from its making on: of the device on CUDA, else resident memory of the process."""

    def __init__(self, device: str) -> None:
        self.device = device
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            with contextlib.suppress(OSError):  # resets VmHWM; Linux only
                Path("/proc/self/clear_refs").write_text("5")

    def mebibytes(self) -> float | None:
        """Return the peak so far, in MiB; None where the system does not tell."""
        if self.device == "cuda":
            return round(torch.cuda.max_memory_allocated() / 2**20, 1)
        try:
            status = Path("/proc/self/status").read_text()
        except OSError:
            return None
        lines = [line.split() for line in status.splitlines() if line.startswith("VmHWM:")]
        return round(int(lines[0][1]) / 1024, 1) if lines else None


@contextlib.contextmanager
def isolated(request: RunRequest, *runs: "Run") -> Iterator[None]:
    """Give the run its own random state and thread count; put these, dtype, grad mode and folder back.

    What was changed of them inside is a warning in the records of the *runs*.
    """
    before = (random.getstate(), np.random.get_state(), torch.get_num_threads(), torch.get_default_dtype())
    grad, folder = torch.is_grad_enabled(), Path.cwd()
    on_cuda = resolve_device(request.device) == "cuda"
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if on_cuda else []), _exact(on_cuda):
        _seed_global(request)
        torch.set_num_threads(request.coordinates["protocol"]["threads"])
        # Penalties drive gradients, and Adam's squares of them, below 1e-38, where a CPU is 2-3 times as slow.
        torch.set_flush_denormal(True)
        for run in runs:
            run.state = global_state()
        try:
            yield
        finally:
            for run in runs:
                run.record.warnings |= {f"{name} changed": 1 for name in changed(run.state)}
            torch.set_flush_denormal(False)
            random.setstate(before[0])
            np.random.set_state(before[1])
            torch.set_num_threads(before[2])
            torch.set_default_dtype(before[3])
            torch.set_grad_enabled(grad)
            os.chdir(folder)


def _seed_global(request: RunRequest) -> None:
    seed = derive_seed(request.seed, "global")
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def global_state() -> dict[str, Any]:
    """Return what a plugin should leave as it is, by name."""
    numpy_state: Any = np.random.get_state()
    return {
        "global random state of Python": random.getstate(),
        "global random state of NumPy": (numpy_state[1].tobytes(), *numpy_state[2:]),
        "global random state of PyTorch": torch.random.get_rng_state().numpy().tobytes(),
        "number of threads": torch.get_num_threads(),
        "default dtype": torch.get_default_dtype(),
        "grad mode": torch.is_grad_enabled(),
        "current folder": Path.cwd(),
    }


def changed(before: dict[str, Any]) -> list[str]:
    """Return the names of what differs from an earlier :func:`global_state`."""
    now = global_state()
    return [name for name, value in before.items() if now[name] != value]


@contextlib.contextmanager
def _exact(on_cuda: bool) -> Iterator[None]:
    """On a GPU, add up in one order and in full float32, and put the settings back."""
    if not on_cuda:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is computed
    before = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    flags = (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32)
    # Warn only: an operation that has no deterministic form is better told of than refused.
    torch.use_deterministic_algorithms(True, warn_only=True)
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = True, False, False, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = flags


def resolve_device(name: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``. Raises UserError if there is no such device."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("--device cuda: PyTorch finds no CUDA device here", "use --device cpu or auto")
    return ("cuda" if available else "cpu") if name == "auto" else name


@cache
def _environment(device: str, threads: int) -> dict[str, Any]:
    device = resolve_device(device)
    return {
        "crayon_bench": crayon_bench.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pillow": version("pillow"),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "cpus": os.cpu_count(),
        "threads": threads,
    }


def _commit() -> str | None:
    # Only in a checkout of this project; an installed package has its version.
    root = Path(crayon_bench.__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
