"""``crayon-bench runs``."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crayon_bench.commands import USERS_PATH, data_root_option, device_option, plugin_option, store_option
from crayon_bench.errors import UserError, one_line
from crayon_bench.plugins.completing import complete_runs

if TYPE_CHECKING:
    from crayon_bench.cli.showing import Known
    from crayon_bench.plugins.registry import Registry
    from crayon_bench.runs.again import Inputs
    from crayon_bench.store.records import Record
    from crayon_bench.store.store import Store


oracle_option = click.option(
    "--oracle", metavar="NAME", help="Of several runs that RUN may name, the one with this oracle, such as human."
)


@click.group()
def runs() -> None:
    """List, show, compare and export runs in a store. A run is named by the beginning of its key or of its folder."""


@runs.command("list")
@store_option
@click.option("--format", "form", type=click.Choice(["terminal", "json"]), default="terminal", show_default=True)
def list_runs(store: Path, form: str) -> None:
    """List the runs in a store."""
    from crayon_bench.screen import list_text
    from crayon_bench.store.store import Store

    records = Store.open(store).records()
    if form == "json":
        click.echo(json.dumps([json.loads(record.to_json()) for record in records], indent=1, ensure_ascii=False))
        return
    if not records:
        click.echo(f"store {store}: there are no runs", err=True)
        return
    rows = _rows(records)
    shared = ("source", "protocol", "status", "dataset", "oracle")
    scores = [head for head in rows[0] if head in _scores_of(records)]
    drop = ("time", "remark", "source", "protocol", "status", *scores[:-1], "#FB", "dataset")
    click.echo(list_text([*rows[0]], [[*row.values()] for row in rows], drop, shared=shared, cut="remark"))


_SHORTEST_KEY = 8


def _rows(records: "Sequence[Record]") -> list[dict[str, str]]:
    """Return one row a run. Budget, oracle and control are columns where a run has another than the usual one."""
    keys = [record.key for record in records]
    length = next(n for n in range(_SHORTEST_KEY, 65) if len({key[:n] for key in keys}) == len(set(keys)))
    from crayon_bench.store.records import data_titles

    common = [change for change in records[0].overrides.items() if all(change in r.overrides.items() for r in records)]
    titles: dict[str, set[str]] = {}
    for record, title in zip(records, data_titles(records), strict=True):
        titles.setdefault(record.dataset, set()).add(title)
    rows = []
    for record, title in zip(records, data_titles(records), strict=True):
        scores = {m.short: "" if m.value is None else f"{m.value:.2f}" for m in record.metrics.values()}
        first = sorted(record.overrides.items(), key=common.__contains__)  # what is cut is what all have
        changed = ", ".join(f"{key}={value}" for key, value in first)
        rows.append(
            {
                "key": record.key[:length],
                "dataset": title if len(titles[record.dataset]) > 1 else record.dataset,
                "source": record.source,
                "protocol": record.protocol,
                "method": record.method,
                "budget": record.budget or "all",
                "oracle": record.oracle,
                "control": record.control or ("tally" if record.feedback.lent else ""),
                "seed": str(record.seed),
                "status": record.status.value,
                "#FB": f"{record.feedback.total:,}",
                **{short: scores.get(short, "") for short in _scores_of(records)},
                "time": f"{record.seconds.get('total', 0):.1f} s",
                "remark": record.reason or changed,
            }
        )
    for head, usual in {"budget": "all", "oracle": "simulated", "control": "", "remark": ""}.items():
        if all(row[head] == usual for row in rows):
            for row in rows:
                del row[head]
    return rows


def _scores_of(records: "Sequence[Record]") -> list[str]:
    return list(dict.fromkeys(m.short for record in records for m in record.metrics.values() if not m.columns))


@runs.command()
@click.argument("run", shell_complete=complete_runs)
@store_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "json"]),
    default="terminal",
    show_default=True,
    help="json: the whole record, for programs.",
)
@click.option("--log", is_flag=True, help="Show the run's log instead.")
@oracle_option
def show(run: str, store: Path, form: str, log: bool, oracle: str | None) -> None:
    """Show what RUN was, its scores, groups and feedback, and the command that repeats it."""
    from crayon_bench.cli.showing import shown
    from crayon_bench.screen import screen_width
    from crayon_bench.store.store import Store

    kept = Store.open(store)
    record = _one(kept, run, oracle)
    if log or form == "json":
        click.echo(kept.log(record) if log else record.to_json(), nl=False)
        return
    for line in shown(record, store, _known(record.dataset), screen_width()):
        click.echo(line)


def _known(dataset: str) -> "Known":
    from crayon_bench.api import list_protocols
    from crayon_bench.cli.showing import Known
    from crayon_bench.plugins.registry import Kind, Registry
    from crayon_bench.plugins.rows import PluginError

    try:
        return Known(list_protocols(dataset), Registry().load(Kind.DATASET, dataset).takes_path)
    except (UserError, PluginError):
        return Known(None, False)


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
@click.argument("run", shell_complete=complete_runs)
@click.option("--output", type=USERS_PATH, required=True, help="File to write: NAME.safetensors.")
@store_option
@click.option("--force", is_flag=True, help="Write over files that are there.")
@oracle_option
@click.option(
    "--dataset", default="", metavar="NAME:PATH", help="Where the data lie, if they are a folder of your own."
)
@data_root_option
@click.option("--weights", type=USERS_PATH, metavar="FILE", help="The run's weights, if it had a file.")
@click.option("--answers", type=USERS_PATH, metavar="DIR", help="The run's recorded answers.")
@device_option
@plugin_option
def export(
    run: str,
    output: Path,
    store: Path,
    force: bool,
    oracle: str | None,
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
    from crayon_bench.runs.environment import one_gpu
    from crayon_bench.screen import on_screen
    from crayon_bench.store.records import Status
    from crayon_bench.store.store import Store

    if output.suffix != ".safetensors":
        raise UserError(f"--output {output}: expected a file NAME.safetensors")
    kept = Store.open(store)
    record = _one(kept, run, oracle, controls=False)
    if record.status is not Status.OK:
        raise UserError(f"run {record.folder} {record.status.value}: {record.reason}", "it has no refined model")
    beside = output.with_suffix(".md")
    if not force and (there := next((path for path in (output, beside) if path.exists()), None)):
        raise UserError(f"--output {output}: {there} is there already", "choose another name, or add --force")
    inputs = Inputs(dataset, data_root, weights, answers, one_gpu(device))
    _write_model(kept, record, output, beside, inputs, Registry(plugin_files))
    what = f"{record.title['method']} on {record.title['dataset']}, seed {record.seed}"
    click.echo(on_screen(f"{output}: {what}; card: {beside}"))


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
@click.argument("first", shell_complete=complete_runs)
@click.argument("second", shell_complete=complete_runs)
@store_option
def diff(first: str, second: str, store: Path) -> None:
    """Show in which coordinates, and in which results, two runs differ."""
    from crayon_bench.screen import list_text
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
            click.echo(list_text(heads, rows))
    scores = _scores(a, b)
    if scores:
        click.echo("scores:")
        click.echo(list_text([*heads, "difference"], scores))


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


def _one(store: "Store", name: str, oracle: str | None = None, *, controls: bool = True) -> "Record":
    """Return the run that *name* begins, if it is one. Otherwise those that it may be are listed; raises UserError.

    controls: whether controls count among several; one whose key or folder alone begins so is meant in any case.
    """
    found = [r for r in store.records() if name and (r.key.startswith(name) or r.folder.startswith(name))]
    asked = [r for r in found if oracle is None or r.oracle == oracle]
    true = [r for r in asked if controls or r.coordinates.get("control") is None]
    if len(asked) == 1 or len(true) == 1:
        return (true or asked)[0]
    if not found:
        raise UserError(f"store {store.path}: there is no run '{name}'", "see crayon-bench runs list")
    if not asked:
        there = ", ".join(sorted({r.oracle for r in found}))
        raise UserError(f"store {store.path}: no run '{name}' has oracle '{oracle}'", f"there is: {there}")
    for line in _apart(asked):
        click.echo(line, err=True)
    hint = "give more of the key, as listed" + ("" if len({r.oracle for r in asked}) == 1 else ", or --oracle NAME")
    raise UserError(f"store {store.path}: {len(asked)} runs begin with '{name}'", hint)


_LISTED = 20


def _apart(records: "Sequence[Record]") -> list[str]:
    """Return *records* as a list of what sets them apart: columns of ``runs list``, or coordinates that differ."""
    from crayon_bench.screen import list_text
    from crayon_bench.store.records import differences

    rows = _rows(records)
    heads = [head for head in rows[0] if head in _NAMING and len({row[head] for row in rows}) > 1]
    if heads == ["key"]:
        paths = dict.fromkeys(p for r in records[1:] for p in differences(records[0].coordinates, r.coordinates))
        for path in list(paths)[:3]:
            for row, record in zip(rows, records, strict=True):
                row[path] = one_line(str(_at(record.coordinates, path)), 24)
            heads.append(path)
    cells = [[row[head] for head in heads] for row in rows[:_LISTED]]
    more = [f"… and {len(rows) - _LISTED:,} more"] if len(rows) > _LISTED else []
    return [*list_text(heads, cells, cut="remark", stream=sys.stderr).splitlines(), *more]


_NAMING = ("key", "dataset", "source", "protocol", "method", "budget", "oracle", "control", "seed", "status", "remark")


def _at(nest: Any, path: str) -> Any:
    for part in path.split("."):
        nest = nest.get(part, "–") if isinstance(nest, dict) else "–"
    return nest
