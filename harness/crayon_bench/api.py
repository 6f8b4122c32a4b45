"""What a script or a notebook does with crayon-bench: run, read a store, and compute with the results.

``crayon-bench run`` is a shell over :func:`run`, and says the same words. A user's mistake raises
:class:`~crayon_bench.errors.UserError`.
"""

import json
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crayon_bench.budget import Budget
from crayon_bench.data.located import load_dataset, split_datasets
from crayon_bench.dataset import Source
from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.feedback import Control
from crayon_bench.parameters import validated
from crayon_bench.plugins.hooks import call_hooks
from crayon_bench.plugins.registry import Kind, Registry, guarded
from crayon_bench.plugins.rows import PluginError
from crayon_bench.runs.limits import Limits, memory
from crayon_bench.runs.plan import Options, Plan, make_plan
from crayon_bench.runs.protocol import parse_value
from crayon_bench.runs.remaining import Rerun, split_plan
from crayon_bench.store.records import Record, Status
from crayon_bench.store.request import RunRequest
from crayon_bench.store.store import Store
from crayon_bench.texts import choice, expanded, kind_of_device, parse_seeds, split_names

if TYPE_CHECKING:
    import pandas as pd

    from crayon_bench.executor import Executor
    from crayon_bench_leaderboards.table import Table

Level = Literal["run", "cell", "group", "example"]
Names = str | Sequence[str]

STORE = Path("crayon-runs")

_running = threading.Lock()


def run(
    dataset: Names,
    methods: Names = "all",
    *,
    seeds: int | str | Sequence[int] = 5,
    protocol: str | Path | None = None,
    settings: Mapping[str, Any] | Sequence[str] = (),
    data_root: str | Path | None = None,
    source: str = "auto",
    store: str | Path = STORE,
    executor: str = "auto",
    executor_options: Mapping[str, Any] | None = None,
    workers: int | None = None,
    time_limit: float | None = None,
    memory_limit: int | None = None,
    device: str = "auto",
    oracle: str = "simulated",
    answers: str | Path | None = None,
    budget: str | int | Sequence[str | int] = "all",
    strategy: str = "random",
    control: str | Sequence[str] = (),
    weights: str | Path | None = None,
    plugin: str | Path | Sequence[str | Path] = (),
    rerun: str = "failed",
    keep_models: bool = False,
    dry_run: bool = False,
    progress: bool = True,
) -> "Results":
    """Run *methods* on data sets, seed by seed, as ``crayon-bench run`` does, and return the results.

    The arguments are the command's options. Lists may be given as lists, or separated by commas. Runs whose record is
    in the *store* are not repeated; a call that was interrupted continues.

    settings: values of the protocol to change, ``{"rrr.lambda": 10}``; the command's ``--set``.
    control: further runs of each method that asks, with answers that carry less: ``shuffled``, ``shuffled-all``,
    ``constant``; see :class:`~crayon_bench.feedback.Control`. executor_options: the executor's parameters, by name.
    plugin: Python files with plugins of your own.
    seeds: a number of seeds, or a list of seeds. time_limit: seconds of a run; memory_limit: MiB that it may add.
    dry_run: run and fetch nothing; :attr:`Results.to_do` tells what would be run. progress: show how far it is, on
    standard error or in the notebook.

    From another thread than the main one, ``auto`` is ``processes``: a run captures its process's standard output.

    A run that fails is a record, and does not stop the others: see :attr:`Results.failed`. Raises UserError for a
    mistake, and for a call while another one is at work in this process.
    """
    plugins = [plugin] if isinstance(plugin, str | Path) else plugin
    folder = expanded(Path(store))
    if not _running.acquire(blocking=False):
        raise UserError("another run() is at work in this process", "wait for it, or start another process")
    try:
        registry = Registry(expanded(Path(file)) for file in plugins)
        names = registry.names(Kind.METHOD) if _is_all(methods) else split_names(methods, "--methods")
        options = Options(
            datasets=split_datasets(dataset, registry),
            methods=names,
            seeds=parse_seeds(seeds),
            protocol=None if protocol is None else str(protocol),
            data_root=_path(data_root),
            source=Source(choice(source, list(Source), "--source")),
            oracle=oracle,
            answers=_path(answers),
            budgets=[Budget.parse(text) for text in _budgets(budget)],
            strategy=strategy,
            controls=_controls(control),
            sets=_sets(settings),
            weights=_path(weights),
            device=kind_of_device(str(device)),
            keep_models=keep_models,
            fetch=not dry_run,
        )
        limits = _limits(time_limit, memory_limit)
        if threading.current_thread() is not threading.main_thread():
            if executor == "serial" and limits != Limits():
                raise UserError("limits are kept in a process's main thread alone", "use executor 'processes'")
            if executor == "auto":  # what a run captures, and its limits, are its process's own
                executor = "processes"
        carrier = _executor(registry, executor, executor_options or {}, workers)
        which = Rerun(choice(rerun, list(Rerun), "--rerun"))
        plan = make_plan(options, registry)
        _tell(plan, quiet=not progress)
        if dry_run:
            known = Store.open(folder) if (folder / "runs").is_dir() else None
            records, left = split_plan(plan, known, which)
        else:
            left = []
            if str(device).startswith("cuda:"):
                from crayon_bench.runs.environment import one_gpu  # imports torch

                one_gpu(str(device), elsewhere=carrier.elsewhere)
            known = _ready(plan, folder, carrier)
            records = _carry_out(plan, known, carrier, registry, limits, which, quiet=not progress)
        return Results(records, known, plan.requests, left, names, plan.problems)
    except PluginError as error:
        raise UserError(str(error)) from error
    finally:
        _running.release()


def load_results(store: str | Path = STORE) -> "Results":
    """Return the results in a *store*. Nothing is run. Raises UserError if there is no store."""
    kept = Store.open(expanded(Path(store)))
    return Results(kept.records(), kept)


def list_datasets() -> list[str]:
    """Return the names of the data sets."""
    return Registry().names(Kind.DATASET)


def list_methods() -> list[str]:
    """Return the names of the methods."""
    return Registry().names(Kind.METHOD)


def list_protocols(dataset: str) -> list[str]:
    """Return the names of a data set's protocols. Raises UserError for an unknown data set."""
    try:
        folder = load_dataset(dataset, Registry()).protocols()
    except PluginError as error:
        raise UserError(str(error)) from error
    names = [] if folder is None else [file.name for file in folder.iterdir()]
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


# ---------------------------------------------------------------------------------------------------------------------
# results


@dataclass(frozen=True)
class Results:
    """Records of runs, and what can be computed from them.

    records: as they are in the store, failed and skipped ones too. store: where they are; None after a *dry_run* in
    which there is none.

    After :func:`run`: planned, what was asked for; to_do, what a *dry_run* leaves of it; methods, those asked for;
    problems, plugins that could not take part.
    """

    records: list[Record]
    store: Store | None = None
    planned: Sequence[RunRequest] = ()
    to_do: Sequence[RunRequest] = ()
    methods: Sequence[str] = ()
    problems: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __repr__(self) -> str:
        where = f" in {self.store.path}" if self.store is not None else ""
        return f"<Results: {self.counts()}{where}>"

    def _repr_html_(self) -> str:
        return str(self.to_frame("cell").to_html(index=False)) if self.records else repr(self)

    def counts(self) -> str:
        """Return how many runs there are of each status, in words."""
        number = {status: sum(record.status is status for record in self.records) for status in Status}
        words = ", ".join(f"{number[status]} {status.value}" for status in Status if number[status])
        return f"{len(self.records)} runs: {words}" if words else "no runs"

    @property
    def failed(self) -> list[Record]:
        """The records of runs that failed; ``record.reason`` says why."""
        return [record for record in self.records if record.status is Status.FAILED]

    def filter(self, **by: Any) -> "Results":
        """Return the results of some runs: ``filter(method=["rrr", "energy"], dataset="celeba")``.

        by: a value or several values of a column of :meth:`to_frame` that tells runs apart, ``dataset`` to ``status``,
        as text or as they are there; a setting may be given by its beginning. Raises UserError for another column, for
        a value that no run has, and if no run has them all.
        """
        runs = self.to_frame("run").drop_duplicates("key").set_index("key").astype(str)
        chosen = runs
        for name, wanted in by.items():
            if name not in _COLUMNS:
                raise UserError(f"filter({name}=…): there is no such column", did_you_mean(name, _COLUMNS))
            one = isinstance(wanted, str) or not isinstance(wanted, Iterable)
            texts = [str(value) for value in ([wanted] if one else wanted)]
            for text in texts:
                if not any(_is(name, value, text) for value in runs[name]):
                    raise UserError(f"{name} {text}: no run has it", did_you_mean(text, runs[name]))
            chosen = chosen[[any(_is(name, value, text) for text in texts) for value in chosen[name]]]
        if by and chosen.empty:
            words = ", ".join(f"{name} {wanted}" for name, wanted in by.items())
            raise UserError(f"no run has all of: {words}")
        return replace(self, records=[record for record in self.records if record.key in chosen.index])

    def to_frame(self, level: Level = "run") -> "pd.DataFrame":
        """Return a tidy data frame.

        level: ``run``, a row per run and metric; ``cell``, mean, sample standard deviation, number of seeds and, where
        a control was run, what the answers add;
        ``group``, right answers per run and group of the test split; ``example``, every prediction. The columns are
        listed in docs/reference/frames.md.
        """
        from crayon_bench_leaderboards import frames

        choice(level, ("run", "cell", "group", "example"), "level")
        if level == "example":
            return frames.examples_frame([r for r in self.records if r.status is Status.OK], self._open().predictions)
        if level == "run":
            return frames.runs_frame(self.records)
        if level == "group":
            return frames.groups_frame(self.records)
        from crayon_bench_leaderboards.controls import with_answers_add

        return with_answers_add(frames.cells_frame(self.records), self.records, self._read)

    def predictions(self, **by: Any) -> "pd.DataFrame":
        """Return the predictions of some runs, a row per test example; *by*: see :meth:`filter`."""
        return self.filter(**by).to_frame("example")

    def leaderboard(
        self,
        board: str | Path | None = None,
        *,
        statistics: bool = False,
        price: str | Path | None = None,
        metric: str | None = None,
        methods: Names | None = None,
        columns: Names = (),
    ) -> "Leaderboard":
        """Return a leaderboard, as ``crayon-bench leaderboard`` prints it.

        board: ``table1``, ``table2`` …, ``curve`` or a TOML file; None: every table that there are runs for.
        statistics: with intervals, differences and ranks. price: ``published``, ``recorded`` or a file of seconds per
        answer. metric: the score of a curve. methods: rows in place of the board's own. columns: further metrics, by
        name or by group (``attention``, ``adjusted``). Raises UserError if there are
        no runs for it.
        """
        from crayon_bench_leaderboards.leaderboard import tables_of

        where = f"store {self.store.path}" if self.store is not None else "these results"
        rows = None if methods is None else split_names(methods, "methods")
        for name in rows or ():
            if name not in (known := {record.method for record in self.records}):
                raise UserError(f"methods {name}: no run has it", did_you_mean(name, known))
        tables = tables_of(
            self.records,
            board=_text(board),
            price=_text(price),
            metric=metric,
            methods=rows,
            read=self._read,
            columns=split_names(columns, "columns") if columns else [],
            where=where,
        )
        for table in tables:
            table.statistics = statistics
        return Leaderboard(tables)

    @property
    def _read(self) -> "Callable[[Record], Any] | None":
        return None if self.store is None else self.store.predictions

    def _open(self) -> Store:
        if self.store is None:
            raise UserError("there is no store: nothing was run")
        return self.store


class Leaderboard:
    """One or several tables; several, where runs are of several settings, which cannot be compared.

    Shows itself in a notebook, and as text where it is printed.
    """

    def __init__(self, tables: "Sequence[Table]") -> None:
        self.tables = list(tables)

    def __str__(self) -> str:
        return self._as("terminal")

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self._as("html")

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def to_frame(self) -> "pd.DataFrame":
        """Return the rows of all tables as one data frame, with numbers where the tables have numbers."""
        from crayon_bench_leaderboards.render import tables_frame

        return tables_frame(self.tables)

    def to_markdown(self) -> str:
        """Return the tables in Markdown."""
        return self._as("markdown")

    def to_latex(self) -> str:
        """Return the tables in LaTeX."""
        return self._as("latex")

    def save(self, path: str | Path) -> Path:
        """Write the tables to a file whose ending says how: .csv, .json, .md, .tex, .html or .txt. Raises UserError."""
        from crayon_bench.store.atomic import write_file

        path = expanded(Path(path))
        if path.suffix.lower() not in _FORMS:
            raise UserError(f"{path}: expected a file name that ends with {', '.join(_FORMS)}")
        try:
            write_file(path, self._as(_FORMS[path.suffix.lower()]).encode())
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
        return path

    def _as(self, form: str) -> str:
        from crayon_bench_leaderboards.leaderboard import text_of

        return text_of(self.tables, form)


_FORMS = {".csv": "csv", ".html": "html", ".json": "json", ".md": "markdown", ".tex": "latex", ".txt": "terminal"}
_OF_ROW = ("method", "variant", "budget", "control")
_COLUMNS = ("dataset", "source", "protocol", "setting", *_OF_ROW, "oracle", "seed", "status")


def _is(name: str, value: str, wanted: str) -> bool:
    return bool(wanted) and value.startswith(wanted) if name == "setting" else value == wanted


# ---------------------------------------------------------------------------------------------------------------------
# from arguments to a sweep


def _is_all(methods: Names) -> bool:
    return isinstance(methods, str) and methods.strip() == "all"


def _path(text: str | Path | None) -> Path | None:
    return None if text is None else expanded(Path(text))


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)


def _controls(control: str | Sequence[str]) -> list[str]:
    names = split_names(control, "--control") if control else []
    return [choice(name, list(Control), "--control") for name in names]


def _budgets(budget: Any) -> list[str]:
    if isinstance(budget, str):
        return budget.split(",")
    return [str(one) for one in budget] if isinstance(budget, Iterable) else [str(budget)]


def _sets(settings: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """Return the settings as ``--set`` takes them."""
    if not isinstance(settings, Mapping):
        return list(settings)
    return [f"{name}={_toml(value, name)}" for name, value in settings.items()]


def _toml(value: Any, where: str) -> str:
    """Return *value* as TOML. Its forms of numbers, texts and lists are JSON's too."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, default=lambda number: number.item())
        if parse_value(text) != value:
            raise ValueError
    except (TypeError, ValueError, AttributeError):
        raise UserError(f"settings {where} = {value!r}: expected a number, a text, true or false, or a list") from None
    return text


def _executor(registry: Registry, name: str, options: Mapping[str, Any], workers: int | None) -> "Executor":
    chosen: type[Executor] = registry.load(Kind.EXECUTOR, name)
    if workers is not None and not (isinstance(workers, int) and workers >= 1):
        raise UserError(f"--workers {workers}: expected a number of workers, 1 at least")
    parameters = validated(chosen.Parameters, dict(options), f"--executor {name}")
    return guarded(chosen, chosen, workers, parameters)


def _limits(seconds: float | None, mebibytes: int | None) -> Limits:
    if seconds is not None and not (isinstance(seconds, int | float) and math.isfinite(seconds) and seconds > 0):
        given = f"{seconds:g}" if isinstance(seconds, int | float) else repr(seconds)
        raise UserError(f"--time-limit {given}: expected a number of seconds")
    if mebibytes is not None and not (isinstance(mebibytes, int) and mebibytes >= 1):
        raise UserError(f"--memory-limit {mebibytes}: expected a number of MiB, 1 at least")
    if seconds is not None and not hasattr(signal, "pthread_kill"):
        raise UserError("--time-limit: this system has no signals between threads", "leave it out")
    if mebibytes is not None and not memory():
        raise UserError("--memory-limit: this system does not tell a process's memory", "leave it out")
    return Limits(seconds, mebibytes)


def _tell(plan: Plan, *, quiet: bool) -> None:
    for problem in plan.problems:
        _say(f"Warning: {problem}")
    for remark in plan.remarks:
        if not quiet or "UNVERIFIED" in remark or "STAND-IN" in remark:
            _say(remark)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _ready(plan: Plan, path: Path, executor: "Executor") -> Store:
    """Return the store, made if needed. Raises UserError before that if there is no such device."""
    if not executor.elsewhere and any(request.device == "cuda" for request in plan.requests):
        from crayon_bench.runs.environment import resolve_device

        resolve_device("cuda")
    return Store.create(path)


def _carry_out(
    plan: Plan, store: Store, executor: "Executor", registry: Registry, limits: Limits, rerun: Rerun, *, quiet: bool
) -> list[Record]:
    """Carry out what the store lacks, and return the records of the plan, in its order."""
    done, left = split_plan(plan, store, rerun)
    records = list(done)
    if left:
        from crayon_bench.runs.sweep import sweep  # imports torch

        call_hooks("sweep_started", requests=left, done=len(done), quiet=quiet)
        try:
            for record in sweep(left, executor, store, registry, limits):
                records.append(record)  # one by one: an interrupted sweep tells the hooks what was done
        finally:
            call_hooks("sweep_finished", records=records)
    by_key = {record.key: record for record in records}
    return [by_key[request.key] for request in plan.requests if request.key in by_key]
