"""``crayon-bench runs``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crayon_bench.commands import data_root_option, plugin_option, store_option
from crayon_bench.errors import UserError

if TYPE_CHECKING:
    from crayon_bench.plugins.registry import Registry
    from crayon_bench.runs.again import Inputs
    from crayon_bench.store.records import Record
    from crayon_bench.store.store import Store


@click.group()
def runs() -> None:
    """List, show, compare and export runs in a store. A run is named by the beginning of its key or of its folder."""


@runs.command("list")
@store_option
@click.option("--format", "form", type=click.Choice(["terminal", "json"]), default="terminal", show_default=True)
def list_runs(store: Path, form: str) -> None:
    """List the runs in a store."""
    from tabulate import tabulate

    from crayon_bench.store.records import data_titles
    from crayon_bench.store.store import Store

    records = Store.open(store).records()
    if form == "json":
        click.echo(json.dumps([json.loads(record.to_json()) for record in records], indent=1, ensure_ascii=False))
        return
    titles: dict[str, set[str]] = {}
    for record, title in zip(records, data_titles(records), strict=True):
        titles.setdefault(record.dataset, set()).add(title)
    rows = [
        (
            record.key[:12],
            title if len(titles[record.dataset]) > 1 else record.dataset,
            record.source,
            record.protocol,
            record.method,
            record.seed,
            record.status.value,
            record.feedback.total,
            "  ".join(f"{m.short} {m.value:.2f}" for m in record.metrics.values() if m.value is not None),
            f"{record.seconds.get('total', 0):.1f}",
            record.reason or ", ".join(f"{key}={value}" for key, value in record.overrides.items()),
        )
        for record, title in zip(records, data_titles(records), strict=True)
    ]
    headers = ["key", "dataset", "source", "protocol", "method", "seed", "status", "#FB", "metrics", "s", "remark"]
    click.echo(tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True))


@runs.command()
@click.argument("run")
@store_option
@click.option("--log", is_flag=True, help="Show the run's log instead.")
def show(run: str, store: Path, log: bool) -> None:
    """Show the record of RUN as JSON."""
    from crayon_bench.store.store import Store

    kept = Store.open(store)
    record = _one(kept, run)
    click.echo(kept.log(record) if log else record.to_json(), nl=False)


@runs.command()
@store_option
@click.option("--yes", is_flag=True, help="Delete. Without it, what would be deleted is shown.")
def prune(store: Path, yes: bool) -> None:
    """Delete what no record needs: artifacts that none names, and what is unfinished or set aside."""
    import shutil

    from crayon_bench.store.store import Store

    kept = Store.open(store)
    with kept.in_use(alone=True):
        found = kept.unneeded()
        total = 0
        for path in found:
            size = sum(file.lstat().st_size for file in ([path] if path.is_file() else path.rglob("*")))
            total += size
            click.echo(f"{path.relative_to(store)}  {size / 2**20:.1f} MiB")
            if yes:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    what = "deleted" if yes else "would be deleted; give --yes to do it"
    click.echo(f"{len(found)} files and folders, {total / 2**20:.1f} MiB, {what}.", err=True)


@runs.command()
@click.argument("run")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="File to write: NAME.safetensors.")
@store_option
@click.option("--force", is_flag=True, help="Write over files that are there.")
@click.option(
    "--dataset", default="", metavar="NAME:PATH", help="Where the data lie, if they are a folder of your own."
)
@data_root_option
@click.option("--weights", type=click.Path(path_type=Path), metavar="FILE", help="The run's weights, if it had a file.")
@click.option("--answers", type=click.Path(path_type=Path), metavar="DIR", help="The run's recorded answers.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@plugin_option
def export(
    run: str,
    output: Path,
    store: Path,
    force: bool,
    dataset: str,
    data_root: Path | None,
    weights: Path | None,
    answers: Path | None,
    device: str,
    plugin_files: tuple[Path, ...],
) -> None:
    """Write the refined model of RUN, and beside it a card that says what it is and how to load it.

    The weights are those that run --keep-models kept. If there are none, the run is carried out again, from the same
    inputs, and its model is written only if it predicts what the record's did. The other options are for that case.
    """
    from crayon_bench.plugins.registry import Registry
    from crayon_bench.runs.again import Inputs
    from crayon_bench.store.records import Status
    from crayon_bench.store.store import Store

    if output.suffix != ".safetensors":
        raise UserError(f"--output {output}: expected a file NAME.safetensors")
    kept = Store.open(store)
    record = _one(kept, run)
    if record.status is not Status.OK:
        raise UserError(f"run {record.folder} {record.status.value}: {record.reason}", "it has no refined model")
    beside = output.with_suffix(".md")
    if not force and (there := next((path for path in (output, beside) if path.exists()), None)):
        raise UserError(f"--output {output}: {there} is there already", "choose another name, or add --force")
    inputs = Inputs(dataset, data_root, weights, answers, device)
    _write_model(kept, record, output, beside, inputs, Registry(plugin_files))
    click.echo(f"{output}: {record.title['method']} on {record.title['dataset']}, seed {record.seed}; card: {beside}")


def _write_model(
    store: "Store", record: "Record", output: Path, beside: Path, inputs: "Inputs", registry: "Registry"
) -> None:
    from tempfile import TemporaryDirectory

    from crayon_bench.networks.card import card
    from crayon_bench.networks.exported import read_metadata
    from crayon_bench.runs.again import carry_out_again, count_right
    from crayon_bench.store.atomic import write_file

    right, total = count_right(store.predictions(record))
    if store.has_model(record):
        model, how = store.model(record), "kept when the run was carried out"
    else:
        click.echo(f"run {record.folder}: its weights were not kept; it is carried out again", err=True)
        with TemporaryDirectory(prefix="crayon-bench-") as scratch:
            model = carry_out_again(record, store, registry, inputs, Path(scratch))
        how = f"the run was carried out again, and made the same {total:,} predictions"
    text = card(record, read_metadata(model, f"run {record.folder}"), output.name, right, total, how)
    new = [path for path in (output, beside) if not path.exists()]
    try:
        write_file(output, model)
        write_file(beside, text.encode())
    except OSError as error:
        for path in new:  # both or none
            path.unlink(missing_ok=True)
        raise UserError(f"--output {output}: cannot be written: {error.strerror or error}") from None


@runs.command()
@click.argument("first")
@click.argument("second")
@store_option
def diff(first: str, second: str, store: Path) -> None:
    """Show in which coordinates, and in which results, two runs differ."""
    from tabulate import tabulate

    from crayon_bench.store.records import differences
    from crayon_bench.store.store import Store

    kept = Store.open(store)
    a, b = _one(kept, first), _one(kept, second)
    heads = ["", a.key[:12], b.key[:12]]
    parts = {
        "what was asked for": (a.coordinates, b.coordinates),
        "where it ran": (a.environment, b.environment),
        "what came out": (_results(a), _results(b)),
    }
    for title, (left, right) in parts.items():
        rows = [(path, *values) for path, values in differences(left, right).items()]
        click.echo(f"{title}: {'no difference' if not rows else ''}")
        if rows:
            click.echo(tabulate(rows, headers=heads, tablefmt="simple", disable_numparse=True))
    scores = _scores(a, b)
    if scores:
        click.echo("scores:")
        click.echo(tabulate(scores, headers=[*heads, "difference"], tablefmt="simple", disable_numparse=True))


def _scores(a: "Record", b: "Record") -> list[tuple[str, ...]]:
    """Return all scores of both runs, equal ones too."""
    rows = []
    for name in dict.fromkeys([*a.metrics, *b.metrics]):
        left, right = (record.metrics[name].value if name in record.metrics else None for record in (a, b))
        change = "" if left is None or right is None else f"{right - left:+.2f}"
        rows.append((name, *("–" if value is None else f"{value:.2f}" for value in (left, right)), change))
    return rows


def _results(record: "Record") -> dict[str, Any]:
    return {
        "status": record.status.value,
        "reason": record.reason,
        "feedback": record.feedback.by_kind,
        "warnings": record.warnings,
    }


def _one(store: "Store", name: str) -> "Record":
    found = [r for r in store.records() if name and (r.key.startswith(name) or r.folder.startswith(name))]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(f"store {store.path}: there is no run '{name}'", "see crayon-bench runs list")
    raise UserError(f"store {store.path}: {len(found)} runs begin with '{name}'", "give more of the key")
