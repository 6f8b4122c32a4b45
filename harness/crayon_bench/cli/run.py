"""``crayon-bench run``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crayon_bench.commands import (
    USERS_PATH,
    data_root_option,
    device_option,
    plugin_option,
    protocol_option,
    set_option,
    store_option,
)
from crayon_bench.plugins.completing import plugin_names
from crayon_bench.screen import list_text, on_screen

if TYPE_CHECKING:
    from crayon_bench.api import Results
    from crayon_bench.store.request import RunRequest


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
    required=True,
    metavar="NAME[,NAME]",
    shell_complete=plugin_names("datasets", several=True),
    help="Data sets; see: crayon-bench data list. NAME:PATH for one that is a folder of your own.",
)
@click.option(
    "--methods",
    default="all",
    show_default=True,
    metavar="all|NAME[,NAME]",
    shell_complete=plugin_names("methods", "all", several=True),
    help="Methods; see: crayon-bench plugins list.",
)
@click.option(
    "--seeds", default="5", show_default=True, metavar="N|0,1,2|1-3", help="Number of seeds, or a list of seeds."
)
@protocol_option
@data_root_option
@click.option(
    "--source",
    default="auto",
    show_default=True,
    metavar="[auto|real|standin]",
    help="auto takes real data where they are and the embedded stand-in where they are not.",
)
@store_option
@click.option(
    "--executor",
    default="auto",
    show_default=True,
    metavar="NAME",
    shell_complete=plugin_names("executors"),
    help="Where runs are carried out; see: crayon-bench plugins list. auto: processes, if there is work for several."
    " An executor's parameters (crayon-bench plugins info NAME)"
    " are options: --NAME-PARAMETER VALUE.",
)
@click.option(
    "--workers",
    type=int,
    metavar="N",
    help="Runs at the same time. Default: what the executor finds; processes: one per GPU, or as many as CPUs and"
    " memory hold at the protocol's number of threads.",
)
@click.option(
    "--time-limit",
    type=float,
    metavar="SECONDS",
    help="End a run that takes longer; it has failed. Waiting for a model that another run makes is not counted.",
)
@click.option(
    "--memory-limit",
    type=int,
    metavar="MIB",
    help="End a run that adds more to its process's memory; it has failed. On Linux.",
)
@device_option
@click.option(
    "--oracle",
    default="simulated",
    show_default=True,
    metavar="NAME",
    shell_complete=plugin_names("oracles"),
    help="Who answers the methods' questions.",
)
@click.option(
    "--answers",
    type=USERS_PATH,
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
    shell_complete=plugin_names("strategies"),
    help="Which questions are asked under a budget; see: crayon-bench plugins list.",
)
@click.option(
    "--control",
    default="",
    metavar="NAME[,NAME]",
    help="Further runs of each method that asks, with answers that carry less, so that the table says what the answers"
    " add. shuffled: each is given about another image of its class; shuffled-all: about any other image; constant: all"
    " are the commonest one, masks and boxes the mean.",
)
@click.option(
    "--weights",
    type=USERS_PATH,
    metavar="FILE",
    help="A state_dict (.pth) or safetensors. With a last layer of as many outputs as there are classes it is the"
    " original model, and none is trained (--set model.head=new trains one all the same); otherwise it is the initial"
    " weights of the body, in place of the protocol's.",
)
@set_option
@plugin_option
@click.option(
    "--rerun",
    default="failed",
    show_default=True,
    metavar="[missing|failed|all]",
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
def run(sets: tuple[str, ...], plugin_files: tuple[Path, ...], quiet: bool, **options: Any) -> int:
    """Run methods on data sets, seed by seed, and print the leaderboard of what was run.

    Runs whose record is in the store are not repeated. Ctrl-C stops; the same command continues.

    Exit codes: 0 all well, 1 a run failed, 2 a mistake in the command or its files, 130 interrupted, 143 by SIGTERM.
    """
    from crayon_bench.api import run as carry_out
    from crayon_bench.plugins.hooks import call_hooks
    from crayon_bench.runs.protocol import parse_value

    of_executor = click.get_current_context().meta.get(__name__, {})
    results = carry_out(
        settings=sets,
        plugin=plugin_files,
        executor_options={name: parse_value(text) for name, text in of_executor.items()},
        progress=not quiet,
        **options,
    )
    if options["dry_run"]:
        _show_plan(results)
        return 1 if results.problems else 0
    shown = call_hooks("show_board", records=results.records, methods=results.methods, store=results.store)
    _summary(results, options["store"], quiet)
    return 1 if results.failed or results.problems or not shown else 0


def _show_plan(results: "Results") -> None:
    known = {record.key: record.status.value for record in results}

    def state(request: "RunRequest") -> str:
        if request.key in known:
            return f"in the store: {known[request.key]}"
        if request.skip:
            return f"does not apply: {request.skip}"
        return "to do, with weights that are not here" if request.missing else "to do"

    limited = any(request.budget for request in results.planned)
    controlled = any(request.control for request in results.planned)
    rows = [
        (
            r.dataset,
            r.protocol,
            r.method,
            *([r.budget or "all"] if limited else []),
            *([r.control or "-"] if controlled else []),
            r.seed,
            "-" if r.missing else r.key[:12],
            state(r),
        )
        for r in results.planned
    ]
    heads = ["dataset", "protocol", "method", *(["budget"] if limited else []), *(["control"] if controlled else [])]
    click.echo(list_text([*heads, "seed", "key", "state"], rows, drop=["key", "protocol"]))
    for missing in dict.fromkeys(r.missing for r in results.planned if r.missing):
        click.echo(on_screen(f"\n{missing}. Which of its runs are in the store can be said when it is."))
    todo = sum(request.skip is None for request in results.to_do)
    rest = len(results.to_do) - todo
    click.echo(f"\n{todo} to do, {rest} do not apply, {len(results)} in the store. Nothing was run.")


def _summary(results: "Results", store: Path, quiet: bool) -> None:
    for record in results.failed:
        log = store / "runs" / record.folder / "log.txt"
        click.echo(
            f"FAILED {record.dataset} {record.method} seed {record.seed}: {record.reason} (log: {log})", err=True
        )
    for problem in results.problems:
        click.echo(f"LEFT OUT {problem}", err=True)
    if not quiet:
        click.echo(f"{results.counts()}. Records: {store}", err=True)
