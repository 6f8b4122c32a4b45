"""What a shell completes: names of plugins, protocols and runs, found without importing torch.

A completion never fails and never says anything: where something is broken, there is nothing to complete.
"""

from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def plugin_names(kind: str, *more: str, several: bool = False) -> Complete:
    """Return what completes the names of a *kind* of plugin, such as ``methods``, and *more* words.

    several: they may be separated by commas.
    """

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        names = [*more, *sorted({entry.name for entry in entry_points(group=f"crayon_bench.{kind}")})]
        if not several:
            return _beginning(names, incomplete)
        before, comma, last = incomplete.rpartition(",")
        given = before.split(",")
        return [f"{before}{comma}{name}" for name in _beginning(names, last) if name not in given]

    return complete


def complete_protocols(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Complete the protocols of ``--dataset``, or of all data sets where none is given yet; and files."""
    from click.shell_completion import CompletionItem

    from crayon_bench.plugins.registry import Kind, Registry

    registry = Registry()
    given = [word.partition(":")[0] for word in (ctx.params.get("dataset") or "").split(",") if word]
    names: set[str] = set()
    for dataset in given or registry.names(Kind.DATASET):
        try:
            folder = registry.load(Kind.DATASET, dataset).protocols()
            names |= {file.name.removesuffix(".toml") for file in folder.iterdir()} if folder is not None else set()
        except Exception:
            continue
    found = _beginning(sorted(name for name in names if not name.startswith("_")), incomplete)
    return found or [CompletionItem(incomplete, type="file")]


def complete_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the folders of the runs in ``--store``."""
    try:
        folders = (Path(ctx.params.get("store") or "crayon-runs") / "runs").iterdir()
        return _beginning(sorted(folder.name for folder in folders if folder.name.count(".") == 3), incomplete)
    except OSError:
        return []


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
