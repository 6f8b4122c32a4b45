"""The plan: which runs, each with the key under which its record is looked up, before any data is loaded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from crayon_bench.budget import Budget
from crayon_bench.data.located import Located, locate_dataset
from crayon_bench.dataset import Dataset, Found, Source
from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.feedback import FeedbackKind, feedback_label
from crayon_bench.guard import method_running
from crayon_bench.method import Method, Setting
from crayon_bench.networks.weights import find_weights
from crayon_bench.oracle import FeedbackOracle
from crayon_bench.parameters import Parameters, validated
from crayon_bench.plugins.registry import Kind, Registry, guarded
from crayon_bench.plugins.rows import PluginError
from crayon_bench.runs.protocol import Protocol, load_protocol, parse_set
from crayon_bench.store.records import NUMERICS, SCHEMA, Record, Status, digest, setting_of
from crayon_bench.store.request import RunRequest
from crayon_bench.store.store import Store

FIRST = "original"
"""Planned first where it is asked for: it makes what the others share."""


SHARED_SECTIONS = ("dataset", "oracle", "model", "original", "refine", "protocol")


class Rerun(StrEnum):
    """Which runs that the store knows are carried out again."""

    MISSING = "missing"
    FAILED = "failed"
    ALL = "all"


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
    sets: Sequence[str] = ()
    weights: Path | None = None
    device: str = "auto"
    keep_models: bool = False


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


T = TypeVar("T")


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


def _plan_dataset(
    options: Options,
    registry: Registry,
    plan: Plan,
    located: Located,
    oracle: type[FeedbackOracle],
    methods: list[type[Method]],
    sets: list[tuple[str, str]],
) -> None:
    dataset, root, strict = located.dataset, located.root, located.strict
    if not strict and not root.is_dir():
        raise UserError(f"--data-root {root}: there is no such folder")
    found = _try(plan, guarded, dataset, dataset.find, root, options.source, strict=strict)
    if found is None:
        return
    protocol = _protocol(options, dataset, found, sets)
    _check_tables(protocol, registry)
    data_parameters = validated(dataset.Parameters, dict(protocol.dataset_parameters), "dataset").to_dict()
    own = validated(oracle.Parameters, oracle_table(oracle, protocol), "oracle")
    oracle_coordinates = {**_identity(registry, Kind.ORACLE, oracle), "parameters": own.to_dict()}
    if oracle.reads_answers:
        if options.answers is None:
            raise UserError(f"oracle '{oracle.name}' answers from recorded answers", "add --answers DIR")
        oracle_coordinates["answers"] = oracle.fingerprint(options.answers)
    elif options.answers is not None:
        raise UserError(
            f"--answers {options.answers}: oracle '{oracle.name}' reads no recorded answers", "add --oracle human"
        )
    unable = _try(plan, guarded, oracle, _unable, oracle, own, dataset, found, options.answers)
    if unable is None:
        return
    weights = find_weights(protocol.model, dataset, options.weights, found.class_names)
    _remark(plan, dataset, found, options, root)
    plan.remarks += [f"{dataset.name}: {remark}" for remark in weights.remarks]
    shared = {
        "schema": SCHEMA,
        "numerics": NUMERICS,
        "dataset": {
            **_identity(registry, Kind.DATASET, dataset),
            "source": found.source.value,
            "content": found.content,
            "parameters": data_parameters,
        },
        "protocol": {"name": protocol.name, "threads": protocol.threads},
        "model": protocol.model.to_dict(),
        "weights": weights.coordinates,
        "original": protocol.original.to_dict(),
        "oracle": oracle_coordinates,
        "budget": None,
        "selection": protocol.selection.value,
    }
    budgets = [_budget_coordinates(budget, options.strategy, registry) for budget in dict.fromkeys(options.budgets)]
    cells: list[tuple[dict[str, Any], dict[str, str], bool, dict[str, Any], str | None]] = []
    for method in methods:
        recipe, table = protocol.for_method(method.name, method.Parameters, trains=method.trains)
        own_parameters = validated(method.Parameters, table, method.name)
        parameters = own_parameters.to_dict()
        asks = _try(plan, guarded, method, questions_of, method, own_parameters)
        if asks is None:
            continue
        coordinates = {
            **shared,
            "method": {
                **_identity(registry, Kind.METHOD, method),
                "parameters": parameters,
                "recipe": recipe.to_dict() if method.trains else None,
            },
        }
        setting = Setting(dataset, protocol.model, unable, own_parameters)
        answer = _try(plan, guarded, method, skip_of, method, setting)
        if answer is None:
            continue
        skip = answer[0]
        mine = (*SHARED_SECTIONS, method.name)
        overrides = {key: value for key, value in protocol.overrides.items() if key.partition(".")[0] in mine}
        title = {
            "method": method.title,
            "dataset": found.title or dataset.title,
            "oracle": oracle.title,
            "feedback": "-" if method.baseline else feedback_label(asks),
        }
        # What asks nothing is the same under every budget.
        limits = budgets if asks or method.control else [None]
        cells += [({**coordinates, "budget": b}, title, method.baseline, overrides, skip) for b in limits]
    for seed in options.seeds:
        for coordinates, title, baseline, overrides, skip in cells:
            mine_now = {**coordinates, "seed": seed}
            plan.requests.append(
                RunRequest(
                    coordinates=mine_now,
                    key=digest(mine_now),
                    setting=setting_of(mine_now),
                    title=title,
                    baseline=baseline,
                    overrides=overrides,
                    source=found.source.value,
                    verified=found.verified,
                    notes=[*found.notes, *_protocol_note(protocol), *weights.notes],
                    where=found.where,
                    data_root=str(root.resolve()),
                    strict=strict,
                    device=options.device,
                    plugin_files=[str(file.resolve()) for file in registry.files],
                    weights=str(weights.path.resolve()) if weights.path else None,
                    answers=str(options.answers.resolve()) if options.answers else None,
                    skip=skip,
                    keep=options.keep_models,
                )
            )


def _budget_coordinates(budget: Budget | None, strategy: str, registry: Registry) -> dict[str, Any] | None:
    if budget is None:
        return None
    chosen = registry.load(Kind.STRATEGY, strategy)
    return {**budget.coordinates, "strategy": _identity(registry, Kind.STRATEGY, chosen)}


def oracle_table(oracle: type[FeedbackOracle], protocol: Protocol) -> dict[str, Any]:
    """Return an oracle's parameters in a protocol: its own table's, and those of the oracles that it is made from."""
    table: dict[str, Any] = {}
    for base in reversed(oracle.__mro__):
        if isinstance(name := base.__dict__.get("name"), str):
            table |= protocol.oracle.get(name, {})
    return table


def questions_of(method: type[Method], parameters: Parameters) -> tuple[FeedbackKind, ...]:
    """Return what :meth:`Method.questions` says. Raises TypeError for what is not a tuple of kinds."""
    with method_running():
        asks = method().questions(parameters)
    if not isinstance(asks, tuple) or not all(isinstance(kind, FeedbackKind) for kind in asks):
        raise TypeError(f"questions() must return a tuple of FeedbackKind, not {asks!r}")
    return asks


def skip_of(method: type[Method], setting: Setting) -> tuple[str | None]:
    """Return what :meth:`Method.skip` says, in a tuple of one."""
    with method_running():  # the data set that the setting names is not to be loaded here
        reason = method().skip(setting)
    if reason is not None and not isinstance(reason, str):
        raise TypeError(f"skip() must return a reason or None, not {type(reason).__name__}")
    return (reason,)


def _unable(
    oracle: type[FeedbackOracle], parameters: Any, dataset: type[Dataset], found: Found, answers: Path | None
) -> dict[FeedbackKind, str]:
    asker = oracle(parameters, seed=0)
    asker.answers = answers
    return {kind: why for kind in FeedbackKind if (why := asker.unable(kind, dataset, found))}


def _check_tables(protocol: Protocol, registry: Registry) -> None:
    """Raise UserError for a table of a protocol that belongs to no plugin: a misspelt name must not be passed over."""
    for table, kind in ((protocol.methods, Kind.METHOD), (protocol.oracle, Kind.ORACLE)):
        for name in table:
            if name not in registry.names(kind):
                where = f"protocol {protocol.name}: {'methods' if kind is Kind.METHOD else 'oracle'}.{name}"
                raise UserError(f"{where}: there is no {kind} '{name}'", did_you_mean(name, registry.names(kind)))


def _protocol_note(protocol: Protocol) -> list[str]:
    """Return what the protocol has to say under every table, unless somebody has set the oracle otherwise."""
    own = not any(key.startswith("oracle.") for key in protocol.overrides)
    return [f"protocol {protocol.name}: {protocol.note}"] if protocol.note and own else []


def changed_plugins(coordinates: dict[str, Any], registry: Registry) -> list[str]:
    """Return what makes a run's result here and is not what made it then, in words. Raises UserError, PluginError."""
    changed = []
    for kind in (Kind.DATASET, Kind.ORACLE, Kind.METHOD):
        then = {key: coordinates[kind.value].get(key) for key in ("name", "version", "file")}
        now = _identity(registry, kind, registry.load(kind, then["name"]))
        if then != {"file": None, **now}:
            changed.append(f"{kind} '{then['name']}'")
    if coordinates.get("numerics") != NUMERICS:
        changed.append("the core's numerics")
    return changed


def _identity(registry: Registry, kind: Kind, plugin: Any) -> dict[str, Any]:
    # A local file changes from run to run without its author raising `version`: its content is part of its identity.
    file = registry.file_hash(kind, plugin.name)
    return {"name": plugin.name, "version": plugin.version, **({"file": file} if file else {})}


def default_protocol(dataset: type[Dataset], found: Found) -> str:
    """Return the name of the protocol that is used without ``--protocol``."""
    return dataset.default_protocol if found.source is Source.REAL else "quick"


def _protocol(options: Options, dataset: type[Dataset], found: Found, sets: list[tuple[str, str]]) -> Protocol:
    name = options.protocol or default_protocol(dataset, found)
    folder = dataset.protocols()
    is_file = name.endswith(".toml") or "/" in name or "\\" in name
    if is_file:
        path: Any = Path(name)
        if not path.is_file():
            raise UserError(f"--protocol {name}: {'not a file' if path.exists() else 'there is no such file'}")
    else:
        known = [] if folder is None else [f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml")]
        if folder is None or name not in known:
            raise UserError(f"dataset '{dataset.name}' has no protocol '{name}'", did_you_mean(name, known))
        path = folder / f"{name}.toml"
    protocol = load_protocol(path, sets, oracle=options.oracle)
    if is_file and folder is not None and (folder / f"{protocol.name}.toml").is_file():
        raise UserError(
            f"protocol {path}: name = '{protocol.name}': a built-in protocol has this name", "choose another"
        )
    if protocol.dataset != dataset.name:
        raise UserError(f"protocol {name} is for dataset '{protocol.dataset}', not '{dataset.name}'")
    return protocol


def _remark(plan: Plan, dataset: type[Dataset], found: Found, options: Options, root: Path) -> None:
    if found.source is Source.STANDIN:
        text = f"{dataset.name}: STAND-IN data ({found.where})."
        if options.source is Source.AUTO:
            text += f" No real files in {root}; see crayon-bench data prepare {dataset.name}, or --data-root DIR."
        plan.remarks.append(text)
    else:
        plan.remarks.append(f"{dataset.name}: real data from {found.where}")
    plan.remarks += [f"{dataset.name}: {note}" for note in found.notes]


def is_done(request: RunRequest, record: Record | None, rerun: Rerun) -> bool:
    """Return whether a run with this *record* in the store need not be carried out."""
    if record is None or rerun is Rerun.ALL or record.status is Status.INTERRUPTED:
        return False
    if request.skip is not None or record.status is Status.SKIPPED:
        return record.status is Status.SKIPPED and record.reason == request.skip
    return not (record.status is Status.FAILED and rerun is Rerun.FAILED)


def split_plan(plan: Plan, store: Store | None, rerun: Rerun) -> tuple[list[Record], list[RunRequest]]:
    """Return the records that are in the store already, and the requests that are left to carry out.

    A run whose model is to be kept, and was not, is left.
    """
    done: list[Record] = []
    left: list[RunRequest] = []
    for request in plan.requests:
        record = store.find(request.coordinates, request.key) if store is not None else None
        if (
            store is None
            or record is None
            or not is_done(request, record, rerun)
            or (request.keep and record.status is Status.OK and not store.has_model(record))
        ):
            left.append(request)
        else:
            done.append(record)
    return done, left
