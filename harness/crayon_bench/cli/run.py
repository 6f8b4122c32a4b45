"""``crayon-bench run``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crayon_bench.cli.options import (
    data_root_option,
    parse_seeds,
    plugin_option,
    set_option,
    split_names,
    store_option,
)

if TYPE_CHECKING:
    from crayon_bench.plugins.registry import Registry
    from crayon_bench.runs.limits import Limits
    from crayon_bench.runs.plan import Plan
    from crayon_bench.runs.remaining import Rerun
    from crayon_bench.store.records import Record
    from crayon_bench.store.request import RunRequest
    from crayon_bench.store.store import Store


class _Run(click.Command):
    """Takes the options of the chosen executor out of the arguments: ``--NAME-PARAMETER VALUE``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the rest as usual."""
        begin, own, rest = f"--{_chosen(args)}-", {}, []
        words = iter(args)
        for word in words:
            option, equals, value = word.partition("=")
            if begin == "---" or not option.startswith(begin):
                rest.append(word)
                continue
            text = value if equals else next(words, None)
            if text is None:
                raise click.UsageError(f"Option '{option}' requires an argument.", ctx)
            own[option.removeprefix(begin).replace("-", "_")] = text
        ctx.meta[__name__] = own
        return super().parse_args(ctx, rest)


def _chosen(args: list[str]) -> str:
    chosen = ""
    for word, following in zip(args, [*args[1:], ""], strict=False):
        if word == "--executor":
            chosen = following
        elif word.startswith("--executor="):
            chosen = word.partition("=")[2]
    return chosen


@click.command(cls=_Run)
@click.option(
    "--dataset",
    "datasets",
    required=True,
    metavar="NAME[,NAME]",
    help="Data sets; see: crayon-bench data list. NAME:PATH for one that is a folder of your own.",
)
@click.option(
    "--methods",
    default="all",
    show_default=True,
    metavar="all|NAME[,NAME]",
    help="Methods; see: crayon-bench plugins list.",
)
@click.option("--seeds", default="5", show_default=True, metavar="N|0,1,2", help="Number of seeds, or a list of seeds.")
@click.option("--protocol", metavar="NAME|FILE", help="Recipe. Default: paper on real data, quick on a stand-in.")
@data_root_option
@click.option(
    "--source",
    type=click.Choice(["auto", "real", "standin"]),
    default="auto",
    show_default=True,
    help="auto takes real data where they are and the embedded stand-in where they are not.",
)
@store_option
@click.option(
    "--executor",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Where runs are carried out; see: crayon-bench plugins list. auto: processes, if there is work for several."
    " An executor's parameters (crayon-bench plugins info NAME)"
    " are options: --NAME-PARAMETER VALUE.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Runs at the same time. Default: what the executor finds; processes: one per GPU, or as many as the CPUs hold"
    " at the protocol's number of threads.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End a run that takes longer; it has failed. Waiting for a model that another run makes is not counted.",
)
@click.option(
    "--memory-limit",
    type=click.IntRange(min=1),
    metavar="MIB",
    help="End a run that adds more to its process's memory; it has failed. On Linux.",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
@click.option(
    "--oracle", default="simulated", show_default=True, metavar="NAME", help="Who answers the methods' questions."
)
@click.option(
    "--answers",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Recorded answers, for an oracle that reads them, such as human.",
)
@click.option(
    "--budget",
    default="all",
    show_default=True,
    metavar="all|N|P%[,…]",
    help="How many questions a method may ask: a number in all, or a share of the questions of each kind. Several, such"
    " as 100,500,10%,all, give a row each.",
)
@click.option(
    "--strategy",
    default="random",
    show_default=True,
    metavar="NAME",
    help="Which questions are asked under a budget; see: crayon-bench plugins list.",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A state_dict (.pth) or safetensors. With a last layer of as many outputs as there are classes it is the"
    " original model, and none is trained (--set model.head=new trains one all the same); otherwise it is the initial"
    " weights of the body, in place of the protocol's.",
)
@set_option
@plugin_option
@click.option(
    "--rerun",
    type=click.Choice(["missing", "failed", "all"]),
    default="failed",
    show_default=True,
    help="missing: only runs without a record; failed: those and failed ones; all: all (original models are kept).",
)
@click.option(
    "--keep-models",
    is_flag=True,
    help="Keep the refined models beside the records, for: crayon-bench runs export. Runs that are in the store without"
    " theirs are carried out again.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be run, and run nothing.")
@click.option("--quiet", is_flag=True, help="No progress: only warnings, errors and the leaderboard.")
def run(
    datasets: str,
    methods: str,
    seeds: str,
    protocol: str | None,
    data_root: Path | None,
    source: str,
    store: Path,
    executor: str,
    workers: int | None,
    time_limit: float | None,
    memory_limit: int | None,
    device: str,
    oracle: str,
    answers: Path | None,
    budget: str,
    strategy: str,
    weights: Path | None,
    sets: tuple[str, ...],
    plugin_files: tuple[Path, ...],
    rerun: str,
    keep_models: bool,
    dry_run: bool,
    quiet: bool,
) -> int:
    """Run methods on data sets, seed by seed, and print the leaderboard of what was run.

    Runs whose record is in the store are not repeated. Ctrl-C stops; the same command continues.

    Exit codes: 0 all well, 1 a run failed, 2 a mistake in the command or its files, 130 interrupted.
    """
    from crayon_bench.budget import Budget
    from crayon_bench.dataset import Source
    from crayon_bench.parameters import validated
    from crayon_bench.plugins.hooks import call_hooks
    from crayon_bench.plugins.registry import Kind, Registry, guarded
    from crayon_bench.runs.plan import Options, make_plan
    from crayon_bench.runs.protocol import parse_value
    from crayon_bench.runs.remaining import Rerun, split_plan
    from crayon_bench.store.store import Store

    registry = Registry(plugin_files)
    names = registry.names(Kind.METHOD) if methods.strip() == "all" else split_names(methods, "--methods")
    options = Options(
        datasets=split_names(datasets, "--dataset"),
        methods=names,
        seeds=parse_seeds(seeds),
        protocol=protocol,
        data_root=data_root,
        source=Source(source),
        oracle=oracle,
        answers=answers,
        budgets=[Budget.parse(text) for text in budget.split(",")],
        strategy=strategy,
        sets=sets,
        weights=weights,
        device=device,
        keep_models=keep_models,
    )
    limits = _limits(time_limit, memory_limit)
    executor_class = registry.load(Kind.EXECUTOR, executor)
    texts = click.get_current_context().meta.get(__name__, {})
    given = {name: parse_value(text) for name, text in texts.items()}
    parameters = validated(executor_class.Parameters, given, f"--executor {executor}")
    carrier = guarded(executor_class, executor_class, workers, parameters)
    plan = make_plan(options, registry)
    _tell(plan, registry, quiet)
    if dry_run:
        _show_plan(plan, Store.open(store) if (store / "runs").is_dir() else None, Rerun(rerun))
        return 1 if plan.problems or registry.file_errors else 0

    if device == "cuda" and not carrier.elsewhere:
        from crayon_bench.runs.environment import resolve_device

        resolve_device(device)  # before anything is written
    kept = Store.create(store)
    done, left = split_plan(plan, kept, Rerun(rerun))
    records = list(done)
    if left:
        from crayon_bench.runs.sweep import sweep

        call_hooks("sweep_started", requests=left, done=len(done), quiet=quiet)
        try:
            for record in sweep(left, carrier, kept, registry, limits):
                records.append(record)  # one by one: an interrupted sweep tells the hooks what was done
        finally:
            call_hooks("sweep_finished", records=records)
    shown = call_hooks("show_board", records=_in_order(plan, records), methods=names)
    return max(_summary(plan, records, kept, quiet), 0 if shown and not registry.file_errors else 1)


def _limits(seconds: float | None, mebibytes: int | None) -> "Limits":
    import math
    import signal

    from crayon_bench.errors import UserError
    from crayon_bench.runs.limits import Limits, memory

    if seconds is not None and not math.isfinite(seconds):  # click's range lets nan pass
        raise UserError(f"--time-limit {seconds}: expected a number of seconds")
    if seconds is not None and not hasattr(signal, "pthread_kill"):
        raise UserError("--time-limit: this system has no signals between threads", "leave it out")
    if mebibytes is not None and not memory():
        raise UserError("--memory-limit: this system does not tell a process's memory", "leave it out")
    return Limits(seconds, mebibytes)


def _in_order(plan: "Plan", records: "list[Record]") -> "list[Record]":
    by_key = {record.key: record for record in records}
    return [by_key[request.key] for request in plan.requests if request.key in by_key]


def _tell(plan: "Plan", registry: "Registry", quiet: bool) -> None:
    for file, why in registry.file_errors.items():
        click.echo(f"Warning: --plugin {file} could not be loaded: {why}", err=True)
    for problem in plan.problems:
        click.echo(f"Warning: {problem}", err=True)
    for remark in plan.remarks:
        if not quiet or "UNVERIFIED" in remark or "STAND-IN" in remark:
            click.echo(remark, err=True)


def _show_plan(plan: "Plan", store: "Store | None", rerun: "Rerun") -> None:
    from tabulate import tabulate

    from crayon_bench.runs.remaining import split_plan

    done, left = split_plan(plan, store, rerun)
    known = {record.key: record.status.value for record in done}

    def state(request: "RunRequest") -> str:
        if request.key in known:
            return f"in the store: {known[request.key]}"
        return f"does not apply: {request.skip}" if request.skip else "to do"

    limited = any(request.budget for request in plan.requests)
    rows = [
        (r.dataset, r.protocol, r.method, *([r.budget or "all"] if limited else []), r.seed, r.key[:12], state(r))
        for r in plan.requests
    ]
    heads = ["dataset", "protocol", "method", *(["budget"] if limited else []), "seed", "key", "state"]
    click.echo(tabulate(rows, headers=heads, tablefmt="simple"))
    todo = sum(request.skip is None for request in left)
    click.echo(f"\n{todo} to do, {len(left) - todo} do not apply, {len(done)} in the store. Nothing was run.")


def _summary(plan: "Plan", records: "list[Record]", store: "Store", quiet: bool) -> int:
    from collections import Counter

    from crayon_bench.store.records import Status

    failed = [record for record in records if record.status is Status.FAILED]
    for record in failed:
        log = store.runs / record.folder / "log.txt"
        click.echo(
            f"FAILED {record.dataset} {record.method} seed {record.seed}: {record.reason} (log: {log})", err=True
        )
    for problem in plan.problems:
        click.echo(f"LEFT OUT {problem}", err=True)
    if not quiet:
        counts = Counter(record.status.value for record in records)
        words = ", ".join(f"{counts[status.value]} {status.value}" for status in Status if counts[status.value])
        click.echo(f"{len(records)} runs: {words}. Records: {store.path}", err=True)
    return 1 if failed or plan.problems else 0
