"""``crayon-bench runs``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crayon_bench.cli.options import store_option
from crayon_bench.errors import UserError

if TYPE_CHECKING:
    from crayon_bench.records import Record
    from crayon_bench.store import Store


@click.group()
def runs() -> None:
    """List, show and compare the runs in a store. A run is named by the beginning of its key or of its folder."""


@runs.command("list")
@store_option
@click.option("--format", "form", type=click.Choice(["terminal", "json"]), default="terminal", show_default=True)
def list_runs(store: Path, form: str) -> None:
    """List the runs in a store."""
    from tabulate import tabulate

    from crayon_bench.store import Store

    records = Store.open(store).records()
    if form == "json":
        click.echo(json.dumps([json.loads(record.to_json()) for record in records], indent=1, ensure_ascii=False))
        return
    rows = [
        (
            record.key[:12],
            record.dataset,
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
        for record in records
    ]
    headers = ["key", "dataset", "source", "protocol", "method", "seed", "status", "#FB", "metrics", "s", "remark"]
    click.echo(tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True))


@runs.command()
@click.argument("run")
@store_option
@click.option("--log", is_flag=True, help="Show the run's log instead.")
def show(run: str, store: Path, log: bool) -> None:
    """Show the record of RUN as JSON."""
    from crayon_bench.store import Store

    kept = Store.open(store)
    record = _one(kept, run)
    click.echo(kept.log(record) if log else record.to_json(), nl=False)


@runs.command()
@store_option
@click.option("--yes", is_flag=True, help="Delete. Without it, what would be deleted is shown.")
def prune(store: Path, yes: bool) -> None:
    """Delete what no record needs: artifacts that none names, and what is unfinished or set aside."""
    import shutil

    from crayon_bench.store import Store

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
@click.argument("first")
@click.argument("second")
@store_option
def diff(first: str, second: str, store: Path) -> None:
    """Show in which coordinates, and in which results, two runs differ."""
    from tabulate import tabulate

    from crayon_bench.records import differences
    from crayon_bench.store import Store

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
