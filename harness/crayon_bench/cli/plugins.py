"""``crayon-bench plugins``."""

from pathlib import Path
from typing import Any

import click

from crayon_bench.cli.options import plugin_option
from crayon_bench.errors import UserError, did_you_mean


@click.group()
def plugins() -> None:
    """List and describe plugins."""


@plugins.command("list")
@plugin_option
@click.option("--load", is_flag=True, help="Import each plugin too, to find faults that only an import shows.")
def list_plugins(plugin_files: tuple[Path, ...], load: bool) -> None:
    """List all plugins. Nothing is imported, unless --load is given; what cannot work is shown as broken."""
    from tabulate import tabulate

    from crayon_bench.plugins import Registry

    rows = [
        (row.kind, row.name, row.package, f"broken: {row.error}" if row.error else "ok", row.target)
        for row in Registry(plugin_files).rows(load=load)
    ]
    click.echo(tabulate(rows, headers=["kind", "name", "package", "state", "where"], tablefmt="simple"))


@plugins.command()
@click.argument("name")
@plugin_option
def info(name: str, plugin_files: tuple[Path, ...]) -> None:
    """Describe the plugin NAME: what it does, what it asks for, its parameters with units and ranges."""
    from crayon_bench.plugins import Kind, Registry

    registry = Registry(plugin_files)
    kinds = [kind for kind in Kind if name in registry.names(kind)]
    if not kinds:
        everything = [known for kind in Kind for known in registry.names(kind)]
        raise UserError(f"there is no plugin '{name}'", did_you_mean(name, everything))
    for kind in kinds:
        _describe(kind.value, registry.load(kind, name))


def _describe(kind: str, plugin: Any) -> None:
    import inspect

    click.echo(f"{kind} {plugin.name}: {plugin.summary}")
    click.echo(f"class: {plugin.__module__}:{plugin.__qualname__}")
    for attribute in ("title", "short", "source", "version", "direction", "unit"):
        if value := getattr(plugin, attribute, None):
            click.echo(f"{attribute}: {value}")
    if kind == "method":
        click.echo(f"asks for: {', '.join(plugin.asks) or 'no feedback'}")
    if kind == "dataset":
        able = [feedback for feedback, reason in plugin.evidence.items() if not reason]
        click.echo(f"evidence for: {', '.join(able) or 'nothing'}")
        if (folder := plugin.protocols()) is not None:
            names = sorted(file.name[:-5] for file in folder.iterdir() if file.name.endswith(".toml"))
            click.echo(f"protocols: {', '.join(names)}")
    if doc := inspect.getdoc(plugin):
        click.echo(f"\n{doc}")
    model = getattr(plugin, "Parameters", None)
    if model is not None and model.model_fields:
        click.echo("\nparameters:")
        for name, field in model.model_fields.items():
            limits = ", ".join(
                f"{sign} {getattr(limit, bound)}"
                for limit in field.metadata
                for bound, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
                if getattr(limit, bound, None) is not None
            )
            text = f"  {field.alias or name} = {field.default!r}"
            click.echo(f"{text}  {field.description or ''}{f' ({limits})' if limits else ''}")
