"""Carrying out the seeds of one cell together: their networks are trained as a stack.

What a record holds does not depend on it: :mod:`crayon_bench.stacking` trains each network to the same bits in any
company. So this module only has to deal with the case in which all goes well. If anything else happens — a plugin
raises, one seed's loss is no longer finite, a method does not keep to what ``stackable`` says — what was done is
dropped and each seed is carried out by itself, so that the guilty one fails alone.
"""

import contextlib
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor

from crayon_bench.artifacts import Artifacts
from crayon_bench.errors import StoreError, UserError
from crayon_bench.guard import method_running
from crayon_bench.limits import Limits, limited
from crayon_bench.method import Method
from crayon_bench.models import MLP
from crayon_bench.plan import RunRequest
from crayon_bench.plugins import Kind, Registry, call_hooks
from crayon_bench.protocol import Recipe, Selection
from crayon_bench.records import Record, Status, canonical, digest
from crayon_bench.runner import (
    ORIGINAL,
    PeakMemory,
    Prepared,
    Run,
    UsersMistakeError,
    changed,
    close,
    epoch_finished,
    global_state,
    isolated,
    judge,
    load_data,
    make_selector,
    new_model,
    original_depends_on,
    original_order,
    perform,
    prepare,
    resolve_device,
    save_interrupted,
    to_device,
)
from crayon_bench.stacking import Training, alike, train
from crayon_bench.store import Store

if TYPE_CHECKING:
    from crayon_bench.models import Classifier

AT_ONCE = 5
"""How many seeds are trained together at most: each has its images, labels and feedback in memory."""


def put_together(requests: Sequence[RunRequest], registry: Registry, workers: int) -> list[RunRequest]:
    """Return the requests as units of work for an executor: one of each group, with the others named in it.

    Groups are seeds of one cell of a stackable method with an MLP on a CPU, so many that every worker has some.
    """
    at_once = min(AT_ONCE, math.ceil(len(requests) / workers))
    groups: dict[str, list[RunRequest]] = {}
    cells: dict[str, int] = defaultdict(int)
    for request in requests:
        if _is_stackable(request, registry):
            name = canonical({key: value for key, value in request.coordinates.items() if key != "seed"})
            group = f"{cells[name] // at_once} of {name}"
            cells[name] += 1
        else:
            group = request.key
        groups.setdefault(group, []).append(request)
    return [replace(first, others=others) for first, *others in groups.values()]


def _is_stackable(request: RunRequest, registry: Registry) -> bool:
    method: type[Method] = registry.load(Kind.METHOD, request.method)
    mlp = request.coordinates["model"]["name"] == "mlp"
    on_cpu = request.device != "cuda" and resolve_device(request.device) == "cpu"
    return request.skip is None and mlp and method.stackable and on_cpu


def in_order(units: Sequence[RunRequest]) -> list[RunRequest]:
    """Return the units for several workers: first those that make the original models of the others.

    Otherwise all workers would begin by waiting for the first model.
    """
    made: set[str] = set()
    first: list[RunRequest] = []
    rest: list[RunRequest] = []
    for unit in units:
        models = {digest(original_depends_on(one.coordinates)) for one in (unit, *unit.others)}
        (first if unit.skip is None and not models <= made else rest).append(unit)
        made |= models if unit.skip is None else set()
    return first + rest


def perform_together(
    request: RunRequest,
    store: Store,
    registry: Registry,
    limits: Limits | None = None,
    note: Path | None = None,
) -> list[Record]:
    """Carry out a run and those named in it, write their records to the *store* and return them.

    See :func:`~crayon_bench.runner.perform`. KeyboardInterrupt leaves an "interrupted" record for each. Together they
    may take the *limits* of all.
    """
    limits = limits or Limits()
    requests = [replace(request, others=[]), *request.others]
    if len(requests) == 1:
        return [perform(requests[0], store, registry, "", limits, note)]
    runs = [Run(one) for one in requests]
    for one in requests:
        call_hooks("run_started", request=one)
    start = time.perf_counter()
    try:
        # The outer isolation puts back what a limit may keep the inner ones from putting back.
        with isolated(requests[0]), limited(limits.times(len(runs)), note):
            _carry_out(runs, store, registry)
    except UsersMistakeError as mistake:
        raise mistake.error from None
    except StoreError:
        raise
    except KeyboardInterrupt:
        for run in runs:
            save_interrupted(run, store)
        raise
    except BaseException as error:  # a plugin may raise anything
        seeds = ", ".join(str(one.seed) for one in requests)
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
        remark = f"Seeds {seeds} were carried out one by one, because together they failed: {reason}\n"
        del runs, error
        return [perform(one, store, registry, remark, limits, note) for one in requests]
    seconds = (time.perf_counter() - start) / len(runs)
    for run in runs:
        run.end(Status.OK)
        run.record.seconds["total"] = round(seconds, 3)
        run.record.stacked = len(runs)
        store.save(run.record, run.predictions, run.log.getvalue(), run.model)
        call_hooks("run_finished", request=run.request, record=run.record)
    return [run.record for run in runs]


class _Pending:
    """What ``job.fit`` returns before the networks are trained; a method must hand it on as it is."""

    def __getattr__(self, name: str) -> Any:
        raise TypeError("a method that declares stackable = True returns what job.fit() returned, as it is")


class _Fit:
    """What one job asked for."""

    def __init__(self) -> None:
        self.training: Training | None = None
        self.pending = _Pending()

    def later(self, training: Training) -> "Classifier":
        if self.training is not None:
            raise TypeError("a method that declares stackable = True calls job.fit() once")
        self.training = training
        return cast("Classifier", self.pending)


def _carry_out(runs: list[Run], store: Store, registry: Registry) -> None:
    _make_originals(runs, store, registry)
    methods: list[Method] = [registry.load(Kind.METHOD, run.request.method)() for run in runs]
    prepared: list[Prepared] = []
    memory = PeakMemory("cpu")
    try:
        fits, refined = [], []
        for run, method in zip(runs, methods, strict=True):
            with isolated(run.request, run), run.captured_output():
                parameters = method.Parameters.model_validate(run.request.coordinates["method"]["parameters"])
                asks = method.questions(parameters)
                with _added(run, "data", "original"):
                    own = prepare(run, store, registry, parameters, asks, method.control, stackable=True)
                prepared.append(own)
                fit = _Fit()
                own.job._later = fit.later
                with run.timed("refine"), method_running():
                    model: Any = method.refine(own.job)
                own.job._later = None
                if fit.training is not None and model is not fit.pending:
                    raise TypeError("a method that declares stackable = True returns what job.fit() returned, as it is")
                fits.append(fit.training)
                refined.append(model if fit.training is None else own.job.model)
        _train(runs, prepared, fits)
        peak = memory.mebibytes()
    finally:
        for run, method, own in zip(runs, methods, prepared, strict=False):
            close(run, method, own)
    for run, own, model in zip(runs, prepared, refined, strict=True):
        if peak is not None:
            run.record.memory["peak"] = round(peak / len(runs), 1)
        with isolated(run.request, run), run.captured_output():
            judge(run, registry, own, model)


def _make_originals(runs: list[Run], store: Store, registry: Registry) -> None:
    first = runs[0].request
    with isolated(first), _all_logs(runs), _shared(runs, "original"):
        try:
            with _shared(runs, "data"):
                data = load_data(first, registry)
            select = make_selector(Selection(first.coordinates["selection"]), data, "cpu")
        except UserError as error:
            raise UsersMistakeError(error) from None

        def make(missing: list[int]) -> list[dict[str, Tensor]]:
            images, labels = to_device(data.train, "cpu")
            trainings = []
            for request in (runs[number].request for number in missing):
                trainings.append(
                    Training(
                        cast("MLP", new_model(request, data, pretrained=True)),
                        images,
                        labels,
                        Recipe.model_validate(request.coordinates["original"]),
                        original_order(request),
                        on_epoch=partial(epoch_finished, request, "original"),
                        select=select,
                    )
                )
            train(trainings)
            return [dict(training.model.state_dict()) for training in trainings]

        depends = [original_depends_on(run.request.coordinates) for run in runs]
        found = Artifacts(store.artifacts).get_or_make_all(ORIGINAL, depends, make)
        for run, own in zip(runs, found, strict=True):
            run.original = own


def _train(runs: list[Run], prepared: list[Prepared], fits: list[Training | None]) -> None:
    """Train what the jobs asked for: those with alike penalties as one stack."""
    asked = [number for number, training in enumerate(fits) if training is not None]
    trainings = [cast("Training", fits[number]) for number in asked]
    with isolated(runs[0].request, *runs), _all_logs(runs), _shared(runs, "refine"), method_running():
        state = global_state()
        # All jobs score by one rule on one split; making a selector voids the earlier ones.
        select = prepared[-1].job.select
        for group in alike([(t.penalty, *_kinds(t)) for t in trainings]):
            jobs = [prepared[asked[position]].job for position in group]
            train([replace(trainings[position], select=select) for position in group])
            # The penalty that ran is the first job's, and it counted for all.
            dead = jobs[0]._dead
            for s, job in enumerate(jobs):
                job._dead = None if dead is None else dead[s]
                job.note_dead()
        if any("random" in name for name in changed(state)):
            raise TypeError("a method that declares stackable = True draws no global random numbers in its penalty")


def _kinds(training: Training) -> tuple[Any, ...]:
    """Return what must be the same in a stack beside the penalty."""
    feedback = {name: (str(value.dtype), tuple(value.shape)) for name, value in training.feedback.items()}
    return training.recipe, tuple(training.images.shape), str(training.images.dtype), feedback


@contextlib.contextmanager
def _shared(runs: list[Run], what: str) -> Iterator[None]:
    """Note how long *what* takes, in equal parts for all runs."""
    start = time.perf_counter()
    yield
    for run in runs:
        before = run.record.seconds.get(what, 0.0)
        run.record.seconds[what] = round(before + (time.perf_counter() - start) / len(runs), 3)


@contextlib.contextmanager
def _added(run: Run, *names: str) -> Iterator[None]:
    """Add what is timed inside to what was noted before, in place of replacing it."""
    before = {name: run.record.seconds.get(name, 0.0) for name in names}
    yield
    for name in names:
        run.record.seconds[name] = round(run.record.seconds.get(name, 0.0) + before[name], 3)


class _Logs:
    """Writes to the logs of all runs."""

    def __init__(self, runs: list[Run]) -> None:
        self.logs = [run.log for run in runs]

    def write(self, text: str) -> int:
        for log in self.logs:
            log.write(text)
        return len(text)

    def flush(self) -> None:
        pass


@contextlib.contextmanager
def _all_logs(runs: list[Run]) -> Iterator[None]:
    with contextlib.redirect_stdout(cast("Any", _Logs(runs))):
        yield
