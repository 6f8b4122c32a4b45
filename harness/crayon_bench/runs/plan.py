"""The plan: which runs, each with the key under which its record is looked up, before any data is loaded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from crayon_bench.budget import Budget
from crayon_bench.data.located import Located, locate_dataset
from crayon_bench.dataset import Dataset, Found, Source
from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.feedback import FeedbackKind, feedback_label
from crayon_bench.method import Method, Setting
from crayon_bench.networks.weights import Weights, find_weights
from crayon_bench.oracle import FeedbackOracle
from crayon_bench.parameters import check_used, validated
from crayon_bench.plugins.registry import Kind, Registry, guarded
from crayon_bench.plugins.rows import PluginError
from crayon_bench.runs.foreseen import oracle_table, questions_of, skip_of, unable_of
from crayon_bench.runs.identity import budget_coordinates, identity_of
from crayon_bench.runs.protocol import Protocol, choose_protocol, parse_set
from crayon_bench.store.records import NUMERICS, SCHEMA, digest, setting_of
from crayon_bench.store.request import RunRequest

FIRST = "original"
"""Planned first where it is asked for: it makes what the others share."""

SHARED_SECTIONS = ("dataset", "oracle", "model", "original", "refine", "protocol")

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """What the user asked for; the fields are the options of ``crayon-bench run``."""

    datasets: Sequence[str]
    methods: Sequence[str]
    seeds: Sequence[int]
    protocol: str | None = None
    data_root: Path | None = None
    source: Source = Source.AUTO
    oracle: str = "simulated"
    answers: Path | None = None
    budgets: Sequence[Budget | None] = (None,)
    strategy: str = "random"
    controls: Sequence[str] = ()
    """Beside the true answers, also these: see :mod:`crayon_bench.ledger.controls`."""
    sets: Sequence[str] = ()
    weights: Path | None = None
    device: str = "auto"
    keep_models: bool = False
    fetch: bool = True
    """Whether published weights that are not here are downloaded. Otherwise the plan says that they are missing."""


@dataclass
class Plan:
    """Requests in the order in which they are carried out, and the plugins that cannot take part."""

    requests: list[RunRequest] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """What the user should know before it starts: stand-ins, unverified files."""


def make_plan(options: Options, registry: Registry) -> Plan:
    """Return the plan. Raises UserError for anything that the user got wrong."""
    plan = Plan()
    sets = [parse_set(text) for text in options.sets]
    methods = _methods(options.methods, registry, plan)
    _check_sections(sets, list(options.methods), registry)
    if any(budget is not None for budget in options.budgets) or options.strategy != Options.strategy:
        registry.load(Kind.STRATEGY, options.strategy)  # a mistake in its name is one without a budget too
    for metric in registry.names(Kind.METRIC):
        _try(plan, registry.load, Kind.METRIC, metric)
    for text in dict.fromkeys(options.datasets):
        located = _try(plan, locate_dataset, text, registry, options.data_root)
        oracle: type[FeedbackOracle] | None = _try(plan, registry.load, Kind.ORACLE, options.oracle)
        if located is not None and oracle is not None:
            _plan_dataset(options, registry, plan, located, oracle, methods, sets)
    # One folder may be named twice, or copied.
    plan.requests = list({request.key: request for request in plan.requests}.values())
    if options.weights is not None and plan.requests and not any(request.weights for request in plan.requests):
        raise UserError(
            f"--weights {options.weights}: no network of this run takes weights: the MLP has none",
            "leave --weights out, or choose a convolutional network",
        )
    return plan


def _try(plan: Plan, step: Callable[..., T], *arguments: Any, **keywords: Any) -> T | None:
    """Return ``step(…)``; a plugin that cannot be used becomes one of the plan's problems, and the rest goes on."""
    try:
        return step(*arguments, **keywords)
    except PluginError as error:
        plan.problems.append(str(error))
        return None


def _methods(names: Sequence[str], registry: Registry, plan: Plan) -> list[type[Method]]:
    found = [_try(plan, registry.load, Kind.METHOD, name) for name in dict.fromkeys(names)]
    return sorted((method for method in found if method), key=lambda method: method.name != FIRST)


def _check_sections(sets: list[tuple[str, str]], methods: list[str], registry: Registry) -> None:
    for key, value in sets:
        section = key.partition(".")[0]
        if section in SHARED_SECTIONS or section in methods:
            continue
        if section in registry.names(Kind.METHOD):
            raise UserError(f"--set {key}={value}: method '{section}' is not in this run", "add it to --methods")
        hint = did_you_mean(section, [*SHARED_SECTIONS, *methods])
        raise UserError(f"--set {key}={value}: there is no method or section '{section}'", hint)


def _check_tables(protocol: Protocol, registry: Registry) -> None:
    """Raise UserError for a table of a protocol that belongs to no plugin: a misspelt name must not be passed over."""
    for table, kind in ((protocol.methods, Kind.METHOD), (protocol.oracle, Kind.ORACLE)):
        for name in table:
            if name not in registry.names(kind):
                where = f"protocol {protocol.name}: {'methods' if kind is Kind.METHOD else 'oracle'}.{name}"
                raise UserError(f"{where}: there is no {kind} '{name}'", did_you_mean(name, registry.names(kind)))


def _plan_dataset(
    options: Options,
    registry: Registry,
    plan: Plan,
    located: Located,
    oracle: type[FeedbackOracle],
    methods: list[type[Method]],
    sets: list[tuple[str, str]],
) -> None:
    """Add the requests on one data set, seed by seed."""
    ground = _ground(options, registry, plan, located, oracle, sets)
    if ground is None:
        return
    cells = [cell for method in methods for cell in _cells(ground, method, registry, plan, options.controls, sets)]
    plan.requests += [_request(ground, cell, seed, options, registry) for seed in options.seeds for cell in cells]


@dataclass(frozen=True)
class _Ground:
    """What all runs on one data set share. coordinates: of a run, without method and seed. unable: kind → reason.

    files: parameters of the data set that are files → where they lie.
    """

    located: Located
    found: Found
    notes: Sequence[str]
    protocol: Protocol
    oracle: type[FeedbackOracle]
    unable: dict[FeedbackKind, str]
    weights: Weights
    coordinates: dict[str, Any]
    budgets: list[dict[str, Any] | None]
    files: dict[str, str]


class _Cell(NamedTuple):
    """A method under a budget; a run is one of its seeds. skip: why it is not carried out; None if it is."""

    coordinates: dict[str, Any]
    title: dict[str, str]
    baseline: bool
    overrides: dict[str, Any]
    skip: str | None


def _ground(
    options: Options,
    registry: Registry,
    plan: Plan,
    located: Located,
    oracle: type[FeedbackOracle],
    sets: list[tuple[str, str]],
) -> _Ground | None:
    """Look at data, protocol, oracle and weights; None if a plugin cannot be used."""
    dataset, root = located.dataset, located.root
    if not located.strict and not root.is_dir():
        raise UserError(f"--data-root {root}: there is no such folder")
    found = _try(plan, guarded, dataset, dataset.find, root, options.source, strict=located.strict)
    if found is None:
        return None
    protocol = choose_protocol(options.protocol, dataset, found, sets, oracle=options.oracle)
    _check_tables(protocol, registry)
    data_parameters = validated(dataset.Parameters, dict(protocol.dataset_parameters), "dataset")
    check_used(data_parameters, "dataset", sets)
    own = validated(oracle.Parameters, oracle_table(oracle, protocol), "oracle")
    check_used(own, "oracle", sets)
    oracle_coordinates = {
        **identity_of(registry, Kind.ORACLE, oracle),
        "parameters": own.to_dict(),
        **_answers_coordinates(options, oracle),
    }
    unable = _try(plan, guarded, oracle, unable_of, oracle, own, dataset, found, options.answers)
    if unable is None:
        return None
    notes = _try(plan, guarded, dataset, lambda: tuple(dataset(data_parameters).notes(found)))
    if notes is None:
        return None
    weights = find_weights(protocol.model, dataset, options.weights, found.class_names, fetch=options.fetch)
    _remark(plan, dataset, found, notes, options, root)
    plan.remarks += [f"{dataset.name}: {remark}" for remark in weights.remarks]
    coordinates = {
        "schema": SCHEMA,
        "numerics": NUMERICS,
        "dataset": {
            **identity_of(registry, Kind.DATASET, dataset),
            "source": found.source.value,
            "content": found.content,
            "parameters": data_parameters.to_dict(),
        },
        # A key without a curve is what it was before there were curves.
        "protocol": {
            "name": protocol.name,
            "threads": protocol.threads,
            **({"curve": True} if protocol.curve else {}),
        },
        "model": protocol.model.to_dict(),
        "weights": weights.coordinates,
        "original": protocol.original.to_dict(),
        "oracle": oracle_coordinates,
        "budget": None,
        "selection": protocol.selection.value,
    }
    budgets = [budget_coordinates(budget, options.strategy, registry) for budget in dict.fromkeys(options.budgets)]
    files = {name: str(path) for name, path in data_parameters.paths().items()}
    return _Ground(located, found, notes, protocol, oracle, unable, weights, coordinates, budgets, files)


def _answers_coordinates(options: Options, oracle: type[FeedbackOracle]) -> dict[str, Any]:
    if not oracle.reads_answers:
        if options.answers is None:
            return {}
        raise UserError(
            f"--answers {options.answers}: oracle '{oracle.name}' reads no recorded answers", "add --oracle human"
        )
    if options.answers is None:
        raise UserError(f"oracle '{oracle.name}' answers from recorded answers", "add --answers DIR")
    return {"answers": oracle.fingerprint(options.answers)}


def _cells(
    ground: _Ground,
    method: type[Method],
    registry: Registry,
    plan: Plan,
    controls: Sequence[str],
    sets: Sequence[tuple[str, str]],
) -> list[_Cell]:
    """Return a method's cells, one a budget, and as many under each control; none if it cannot be used."""
    dataset, protocol = ground.located.dataset, ground.protocol
    recipe, table = protocol.for_method(method.name, method.Parameters, trains=method.trains)
    own = validated(method.Parameters, table, method.name)
    check_used(own, method.name, sets)
    parameters = own.to_dict()
    asks = _try(plan, guarded, method, questions_of, method, own)
    if asks is None:
        return []
    coordinates = {
        **ground.coordinates,
        "method": {
            **identity_of(registry, Kind.METHOD, method),
            "parameters": parameters,
            "recipe": recipe.to_dict() if method.trains else None,
        },
    }
    answer = _try(plan, guarded, method, skip_of, method, Setting(dataset, protocol.model, ground.unable, own))
    if answer is None:
        return []
    mine = (*SHARED_SECTIONS, method.name)
    overrides = {key: value for key, value in protocol.overrides.items() if key.partition(".")[0] in mine}
    title = {
        "method": method.title,
        "dataset": ground.found.title or dataset.title,
        "oracle": ground.oracle.title,
        "feedback": "-" if method.baseline else feedback_label(asks),
    }
    # What asks nothing is the same under every budget.
    budgets = ground.budgets if asks or method.control else [None]
    # What asks nothing has no answers to be weakened; the true ones are no coordinate, so that older keys stay.
    less = [{}, *({"control": control} for control in dict.fromkeys(controls) if asks)]
    return [
        _Cell({**coordinates, "budget": budget, **control}, title, method.baseline, overrides, answer[0])
        for budget in budgets
        for control in less
    ]


def _request(ground: _Ground, cell: _Cell, seed: int, options: Options, registry: Registry) -> RunRequest:
    found, weights = ground.found, ground.weights
    coordinates = {**cell.coordinates, "seed": seed}
    return RunRequest(
        coordinates=coordinates,
        key=digest(coordinates),
        setting=setting_of(coordinates),
        title=cell.title,
        baseline=cell.baseline,
        overrides=cell.overrides,
        source=found.source.value,
        verified=found.verified,
        notes=[*ground.notes, *ground.protocol.notes, *weights.notes],
        where=found.where,
        data_root=str(ground.located.root.resolve()),
        strict=ground.located.strict,
        device=options.device,
        plugin_files=[str(file.resolve()) for file in registry.files],
        weights=str(weights.path.resolve()) if weights.path else None,
        answers=str(options.answers.resolve()) if options.answers else None,
        skip=cell.skip,
        keep=options.keep_models,
        missing=weights.missing,
        files=ground.files,
    )


def _remark(
    plan: Plan, dataset: type[Dataset], found: Found, notes: Sequence[str], options: Options, root: Path
) -> None:
    if found.source is Source.STANDIN:
        text = f"{dataset.name}: STAND-IN data ({found.where})."
        if options.source is Source.AUTO:
            text += f" No real files in {root}; see crayon-bench data prepare {dataset.name}, or --data-root DIR."
        plan.remarks.append(text)
    else:
        plan.remarks.append(f"{dataset.name}: real data from {found.where}")
    plan.remarks += [f"{dataset.name}: {text}" for text in (*notes, *found.remarks)]
