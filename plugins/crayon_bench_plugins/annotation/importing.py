"""``crayon-bench annotate import``."""

import shlex
from collections import Counter
from pathlib import Path

import click

from crayon_bench import Source
from crayon_bench.commands import USERS_PATH, data_root_option, plugin_option, protocol_option, set_option
from crayon_bench.plugins.completing import plugin_names
from crayon_bench.screen import on_screen


@click.command("import")
@click.argument("file", type=USERS_PATH)
@click.option("--from", "origin", required=True, type=click.Choice(["crayon"]), help="Who released the answers.")
@click.option(
    "--list",
    "names",
    required=True,
    type=USERS_PATH,
    metavar="FILE",
    help="List of names and splits that the answers go by; where the data set has a parameter list, it is set to it.",
)
@click.option("--answers", required=True, type=USERS_PATH, metavar="DIR", help="New folder to write.")
@click.option(
    "--dataset",
    default="celeba",
    show_default=True,
    metavar="NAME",
    shell_complete=plugin_names("datasets"),
    help="Data set that they are about: celeba or waterbirds, which are coded differently.",
)
@click.option(
    "--annotator", default="CRAYON authors", show_default=True, metavar="NAME", help="Whose answers these are."
)
@protocol_option
@data_root_option
@set_option
@plugin_option
def import_answers(
    file: Path,
    origin: str,
    names: Path,
    answers: Path,
    dataset: str,
    annotator: str,
    protocol: str | None,
    data_root: Path | None,
    sets: tuple[str, ...],
    plugin_files: tuple[Path, ...],
) -> None:
    """Take answers about maps that others released, so that run --oracle human --answers DIR replays them.

    FILE is a JSON list of numbers, one for each training image of the list, in its order. celeba: 1 is no, 0 yes, 0.5
    maybe, -1 not annotated. waterbirds: the mean of three people; above 0.7 is yes, from 0.5 on maybe, below it no.

    They are about the maps of the authors' model, and not of yours: a run uses them with --set oracle.misfit=use alone.
    """
    from crayon_bench.data.located import locate_dataset
    from crayon_bench.parameters import check_used, validated
    from crayon_bench.plugins.registry import Kind, Registry
    from crayon_bench.runs.identity import identity_of
    from crayon_bench.runs.protocol import choose_protocol, parse_set
    from crayon_bench_plugins.annotation.answers.folder import check_new
    from crayon_bench_plugins.annotation.answers.names import check_name
    from crayon_bench_plugins.annotation.released import CODINGS, differing, keep_released, read_released

    who = check_name(annotator)
    check_new(answers, "--answers")
    registry = Registry(plugin_files)
    located = locate_dataset(dataset, registry, data_root)
    kind = located.dataset
    said = read_released(kind.name, file, names)
    if "list" in kind.Parameters.files and not any(parse_set(text)[0] == "dataset.list" for text in sets):
        sets = (*sets, f"dataset.list={names}")
    pairs = [parse_set(text) for text in sets]
    found = kind.find(located.root, Source.REAL, strict=located.strict)
    table = choose_protocol(protocol, kind, found, pairs, oracle="human").dataset_parameters
    parameters = validated(kind.Parameters, dict(table), "dataset")
    check_used(parameters, "dataset", pairs)
    read = kind(parameters)
    read.notes(found)  # what is wrong with the parameters is told before images are decoded
    coordinates = {
        **identity_of(registry, Kind.DATASET, kind),
        "source": found.source.value,
        "content": found.content,
        "parameters": parameters.to_dict(),
    }
    missing = keep_released(said, names, read.load(found), coordinates, who, answers)
    counts = Counter(said.values())
    told = ", ".join(f"{counts[word]:,} {word}" for word in ("yes", "maybe", "no", "not annotated"))
    click.echo(on_screen(f"{answers}: {told} ({CODINGS[kind.name][1]})"))
    if doubt := differing(kind.name, said):
        click.echo(on_screen(f"Warning: {doubt}"), err=True)
    if missing:
        click.echo(on_screen(f"{missing:,} training images are not in {names}, and stay unasked"), err=True)
    click.echo(
        on_screen(
            "They are about maps of the authors' model, which is not here: a run uses them with oracle.misfit=use"
            " alone, and says so under the table. How long they took is not known."
        )
    )
    options = ["--dataset", dataset, *(["--protocol", protocol] if protocol else [])]
    options += ["--data-root", str(data_root)] if data_root else []
    options += [word for path in plugin_files for word in ("--plugin", str(path))]
    options += [word for text in (*sets, "oracle.misfit=use") for word in ("--set", text)]
    command = ["crayon-bench", "run", *options, "--methods", "original,crayon-attention", "--oracle", "human"]
    click.echo(f"Next: {shlex.join([*command, '--answers', str(answers)])}")
