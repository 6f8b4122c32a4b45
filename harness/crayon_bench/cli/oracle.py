"""``crayon-bench oracle``."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

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
from crayon_bench.errors import UserError
from crayon_bench.plugins.completing import plugin_names
from crayon_bench.screen import list_text, on_screen
from crayon_bench.texts import parse_seeds

if TYPE_CHECKING:
    from crayon_bench.plugins.registry import Registry
    from crayon_bench.runs.survey import Survey
    from crayon_bench.store.request import RunRequest
    from crayon_bench.store.store import Store

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def oracle() -> None:
    """Look at what an oracle answers."""


def _original_options(command: F) -> F:
    """Which original models are asked about, and who is asked; the names are the parameters of :func:`_asked`."""
    for option in reversed(
        [
            click.option(
                "--dataset",
                required=True,
                metavar="NAME",
                shell_complete=plugin_names("datasets"),
                help="Data set; as in run.",
            ),
            click.option(
                "--seeds", default="1", show_default=True, metavar="N|0,1,2|1-3", help="Original models to ask about."
            ),
            protocol_option,
            data_root_option,
            click.option("--source", type=click.Choice(["auto", "real", "standin"]), default="auto", show_default=True),
            store_option,
            device_option,
            click.option(
                "--oracle",
                "name",
                default="simulated",
                show_default=True,
                metavar="NAME",
                shell_complete=plugin_names("oracles"),
                help="Who is asked.",
            ),
            click.option("--weights", type=USERS_PATH, metavar="FILE", help="Initial weights, as in run."),
            set_option,
            plugin_option,
        ]
    ):
        command = option(command)
    return command


class _Asked(NamedTuple):
    """What is needed to ask about original models: a request for each. shown: how methods show neurons."""

    requests: "list[RunRequest]"
    store: "Store"
    registry: "Registry"
    shown: dict[str, int]


def _asked(
    *,
    dataset: str,
    seeds: str,
    protocol: str | None,
    data_root: Path | None,
    source: str,
    store: Path,
    device: str,
    name: str,
    weights: Path | None,
    sets: Sequence[str],
    plugin_files: Sequence[Path],
    answers: Path | None = None,
    quiet: bool = False,
) -> _Asked:
    from crayon_bench.dataset import Source
    from crayon_bench.plugins.registry import Kind, Registry
    from crayon_bench.runs.environment import one_gpu
    from crayon_bench.runs.plan import Options, make_plan
    from crayon_bench.store.store import Store

    registry = Registry(plugin_files)
    options = Options(
        datasets=[dataset],
        methods=registry.names(Kind.METHOD),
        seeds=parse_seeds(seeds),
        protocol=protocol,
        data_root=data_root,
        source=Source(source),
        oracle=name,
        answers=answers,
        sets=sets,
        weights=weights,
        device=one_gpu(device),
    )
    plan = make_plan(options, registry)
    for remark in [*plan.problems, *plan.remarks] if not quiet else []:
        click.echo(remark, err=True)
    # Neurons are shown as the methods that ask about them would show them.
    parameters = [request.coordinates["method"]["parameters"] for request in plan.requests]
    shown: dict[str, int] = next((p for p in parameters if "patches" in p), {})
    requests = [next(request for request in plan.requests if request.seed == seed) for seed in options.seeds]
    return _Asked(requests, Store.create(store), registry, shown)


@oracle.command()
@_original_options
@click.option("--answers", type=USERS_PATH, metavar="DIR", help="Recorded answers, as in run.")
@click.option("--patches", type=click.IntRange(1, 1000), help="Patches per neuron. Default: the protocol's.")
def stats(patches: int | None, **asked: Any) -> None:
    """Print which answers an oracle gives about the maps and neurons of original models, in all and by class.

    Answers that depend on the class leak the label: a method may learn from them without looking at any map. Those
    that depend on how large the relevant part is say little about where the model looks. A warning tells of both, and
    a verdict sums up. And cut-offs that fit other maps than yours make every answer the same: the quantiles show where
    yours lie, and chance what a map has that looks everywhere alike.

    Original models, their maps and neurons are made if the store does not have them. Nothing else is kept, and
    nothing is counted.
    """
    from crayon_bench.runs.survey import survey

    given = _asked(**asked)
    k, radius = patches or given.shown.get("patches", 20), given.shown.get("radius", 1)
    for request in given.requests:
        found = survey(request, given.store, given.registry, patches=k, radius=radius)
        _print(found, request.title["dataset"])


@oracle.command()
@_original_options
@click.option(
    "--shares",
    required=True,
    metavar="yes=A,maybe=B,no=C",
    help="Which share of the answers each one is to have, for example yes=.26,maybe=.24,no=.50.",
)
def calibrate(shares: str, **asked: Any) -> None:
    """Find the cut-offs that give wanted shares of answers about the maps of original models.

    They are those of the rule in force (--set oracle.rule=…) for the training maps of your own original model, and are
    printed as options and as lines of a protocol. Every original model has its own: to let each run find those of its
    model, set oracle.shares in place of them.
    """
    from crayon_bench.feedback import FeedbackKind
    from crayon_bench.runs.survey import survey

    if "=" not in shares:
        raise UserError(f"--shares {shares}: expected yes=A,maybe=B,no=C")
    sets = list(asked.pop("sets"))
    before = _asked(**asked, sets=sets)
    given = _asked(**asked, sets=[*sets, f"oracle.shares={shares}"], quiet=True)
    for plain, request in zip(before.requests, given.requests, strict=True):
        found = survey(request, given.store, given.registry, patches=1, radius=1, kinds=[FeedbackKind.MAP_VERDICT])
        if not found.calibrated:
            raise UserError(
                f"oracle calibrate: nothing is known of these data by which '{request.oracle}' could judge maps",
                "crayon-bench data list says what oracles can be asked about a data set",
            )
        click.echo(f"{request.title['dataset']}, seed {found.seed}")
        click.echo(_answers_table(found))
        for warning in found.warnings:
            _tell(f"Warning: {warning}.")
        own = [key for key in plain.overrides if key.startswith("oracle.")]
        kept = {key.partition(".")[2]: plain.overrides[key] for key in own if key != "oracle.shares"}
        if "shares" in plain.coordinates["oracle"]["parameters"]:
            kept["shares"] = "none"
        lines = {**kept, **found.calibrated}
        click.echo("\nAs options:\n" + " ".join(f"--set oracle.{key}={value}" for key, value in lines.items()))
        click.echo(f"\nIn a protocol:\n[oracle.{request.oracle}]")
        click.echo("\n".join(f"{key} = {_toml(value)}" for key, value in lines.items() if key != "shares"))
        click.echo("\nOr, for each original model its own cut-offs:")
        click.echo(f'shares = "{request.coordinates["oracle"]["parameters"]["shares"]}"\n')


def _toml(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def _answers_table(found: "Survey") -> str:
    from crayon_bench.runs.leaks import ANSWERS

    assert found.maps is not None
    rows = [("all", *found.maps.total), *zip(found.class_names, *found.maps.by_class.T, strict=True)]
    table = [(name, *[f"{n:,} ({n / max(1, sum(counts)):.1%})" for n in counts]) for name, *counts in rows]
    return list_text(["maps of", *(answer.name.lower() for answer in ANSWERS)], table)


def _print(found: "Survey", dataset: str) -> None:
    from crayon_bench.runs.leaks import ANSWERS

    click.echo(f"{dataset}, seed {found.seed}")
    if found.maps is not None:
        click.echo(_answers_table(found))
        if found.calibrated:
            lines = ", ".join(f"{name} {value:g}" for name, value in found.calibrated.items())
            _tell(f"Cut-offs that were found for this original model: {lines}.")
        guess, base = found.maps.guess()
        _tell(
            f"The answer alone tells the class of {guess:.1%} of the images; always guessing the commonest, {base:.1%}."
        )
        V, size = found.maps.association(), found.size
        _tell(
            f"With the class, the answers have a Cramér's V of {_or_none(V, '.2f')}; with the size of the relevant"
            f" part, a rank correlation of {_or_none(size, '+.2f')}."
        )
        for suspicion in found.suspicions:
            _tell(f"Warning: {suspicion.long}")
        for warning in found.warnings:
            _tell(f"Warning: {warning}.")
        if found.dead_maps:
            click.echo(f"{found.dead_maps} maps are zero everywhere.")
    _print_shares(found)
    if found.maps is not None:
        _tell(f"\nVerdict: {_verdict(found)}")
    if found.neurons is not None:
        names = [answer.name.lower() for answer in ANSWERS]
        click.echo(
            "\nneurons: " + ", ".join(f"{n:,} {name}" for name, n in zip(names, found.neurons, strict=True) if n)
        )
        if found.dead_neurons:
            click.echo(f"{found.dead_neurons} more are active on no training image and are not asked about.")
    click.echo("")


def _or_none(value: float | None, how: str) -> str:
    return "none (one of them is the same for all)" if value is None else format(value, how)


def _print_shares(found: "Survey") -> None:
    from crayon_bench.runs.survey import QUANTILES

    if not found.shares:
        return
    what = "relevant" if found.relevant else "irrelevant"
    heads, less = ["maps of", "chance", *(f"{q} %" for q in QUANTILES)], ["10 %", "90 %", "25 %", "75 %"]
    click.echo("")
    _tell(f"Share of a map's total on {what} pixels, at these percentiles of the maps:")
    rows = [(name, f"{found.chance[name]:.3f}", *[f"{v:.3f}" for v in values]) for name, values in found.shares.items()]
    click.echo(list_text(heads, rows, less))
    _tell(f"Chance is the share of the image that is {what}: a map that looks everywhere alike has that much on it.")
    _tell(f"{found.below:.1%} of the maps have less on it than that.")
    if found.multiples:
        click.echo("")
        _tell("The same in multiples of the image's own chance (enrichment):")
        rows = [(name, *[f"{v:.2f}" for v in values]) for name, values in found.multiples.items()]
        click.echo(list_text([heads[0], *heads[2:]], rows, less))


def _verdict(found: "Survey") -> str:
    if not found.suspicions:
        return "nothing here speaks against it that the answers tell, image by image, where the model looks."
    return (
        f"doubtful: {'; '.join(suspicion.short for suspicion in found.suspicions)}. What a method gains may come from"
        " that; run it with --control shuffled,constant too."
    )


def _tell(text: str) -> None:
    """Print a sentence, whose lines fit a terminal."""
    click.echo(on_screen(text))
