"""``crayon-bench oracle``."""

from pathlib import Path
from typing import TYPE_CHECKING

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
from crayon_bench.texts import parse_seeds

if TYPE_CHECKING:
    from crayon_bench.runs.survey import Survey


@click.group()
def oracle() -> None:
    """Look at what an oracle answers."""


@oracle.command()
@click.option(
    "--dataset", required=True, metavar="NAME", shell_complete=plugin_names("datasets"), help="Data set; as in run."
)
@click.option("--seeds", default="1", show_default=True, metavar="N|0,1,2|1-3", help="Original models to ask about.")
@protocol_option
@data_root_option
@click.option("--source", type=click.Choice(["auto", "real", "standin"]), default="auto", show_default=True)
@store_option
@device_option
@click.option(
    "--oracle",
    "name",
    default="simulated",
    show_default=True,
    metavar="NAME",
    shell_complete=plugin_names("oracles"),
    help="Who is asked.",
)
@click.option("--answers", type=USERS_PATH, metavar="DIR", help="Recorded answers, as in run.")
@click.option("--weights", type=USERS_PATH, metavar="FILE", help="Initial weights, as in run.")
@click.option("--patches", type=click.IntRange(1, 1000), help="Patches per neuron. Default: the protocol's.")
@set_option
@plugin_option
def stats(
    dataset: str,
    seeds: str,
    protocol: str | None,
    data_root: Path | None,
    source: str,
    store: Path,
    device: str,
    name: str,
    answers: Path | None,
    weights: Path | None,
    patches: int | None,
    sets: tuple[str, ...],
    plugin_files: tuple[Path, ...],
) -> None:
    """Print which answers an oracle gives about the maps and neurons of original models, in all and by class.

    Answers that depend on the class leak the label: a method may learn from them without looking at any map. Those
    that depend on how large the relevant part is say little about where the model looks. A warning tells of both. And
    cut-offs that fit other maps than yours make every answer the same: the quantiles show where yours lie, and chance
    what a map has that looks everywhere alike.

    Original models, their maps and neurons are made if the store does not have them. Nothing else is kept, and
    nothing is counted.
    """
    from crayon_bench.dataset import Source
    from crayon_bench.plugins.registry import Kind, Registry
    from crayon_bench.runs.environment import one_gpu
    from crayon_bench.runs.plan import Options, make_plan
    from crayon_bench.runs.survey import survey
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
    for remark in [*plan.problems, *plan.remarks]:
        click.echo(remark, err=True)
    # Neurons are shown as the methods that ask about them would show them.
    parameters = [request.coordinates["method"]["parameters"] for request in plan.requests]
    shown: dict[str, int] = next((p for p in parameters if "patches" in p), {})
    kept = Store.create(store)
    for seed in options.seeds:
        request = next(request for request in plan.requests if request.seed == seed)
        k, radius = patches or shown.get("patches", 20), shown.get("radius", 1)
        _print(survey(request, kept, registry, patches=k, radius=radius), request.title["dataset"])


def _print(found: "Survey", dataset: str) -> None:
    from crayon_bench.runs.survey import ANSWERS, QUANTILES

    names = [answer.name.lower() for answer in ANSWERS]
    click.echo(f"{dataset}, seed {found.seed}")
    if found.maps is not None:
        rows = [("all", *found.maps.total), *zip(found.class_names, *found.maps.by_class.T, strict=True)]
        table = [(name, *[f"{n:,} ({n / max(1, sum(counts)):.1%})" for n in counts]) for name, *counts in rows]
        click.echo(list_text(["maps of", *names], table))
        guess, base = found.maps.guess()
        _tell(
            f"The answer alone tells the class of {guess:.1%} of the images; always guessing the commonest, {base:.1%}."
        )
        if (V := found.maps.follow_class()) is not None:
            _tell(
                f"Warning: the answers follow the class (Cramér's V {V:.2f}): a method may learn the class from them,"
                " and look as if it had learned where to look."
            )
        if found.follow_size is not None:
            which = "larger" if found.follow_size > 0 else "smaller"
            _tell(
                "Warning: the answers follow the size of the relevant part (rank correlation"
                f" {found.follow_size:+.2f}): yes goes to images where it is {which}, wherever the model looks."
            )
        if found.dead_maps:
            click.echo(f"{found.dead_maps} maps are zero everywhere.")
    if found.shares:
        rows = [
            (name, f"{found.chance[name]:.3f}", *[f"{value:.3f}" for value in values])
            for name, values in found.shares.items()
        ]
        click.echo("\nShare of a map's total on relevant pixels, at these percentiles of the maps:")
        heads = ["maps of", "chance", *[f"{q} %" for q in QUANTILES]]
        click.echo(list_text(heads, rows))
        _tell(
            "Chance is the share of the image that is relevant: a map that looks everywhere alike has that much on it."
        )
        _tell(f"{found.below:.1%} of the maps have less on it than that.")
    if found.neurons is not None:
        _tell("\nneurons: " + ", ".join(f"{n:,} {name}" for name, n in zip(names, found.neurons, strict=True) if n))
        if found.dead_neurons:
            click.echo(f"{found.dead_neurons} more are active on no training image and are not asked about.")
    click.echo("")


def _tell(text: str) -> None:
    """Print a sentence, whose lines fit a terminal."""
    click.echo(on_screen(text))
