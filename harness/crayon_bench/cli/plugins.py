"""``crayon-bench plugins``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crayon_bench.commands import UsersPath, plugin_option
from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.screen import fit_paragraphs, list_text, on_screen, screen_width

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from crayon_bench.plugins.registry import Kind, Registry


@click.group()
def plugins() -> None:
    """List, describe, check and begin plugins."""


@plugins.command("list")
@plugin_option
@click.option("--load", is_flag=True, help="Import each plugin too, to find faults that only an import shows.")
def list_plugins(plugin_files: tuple[Path, ...], load: bool) -> None:
    """List all plugins. Nothing is imported, unless --load is given; what cannot work is shown as broken."""
    from crayon_bench.plugins.registry import Registry

    rows = [
        (row.kind, row.name, row.package, f"broken: {row.error}" if row.error else "ok", row.target)
        for row in Registry(plugin_files, for_listing=True).rows(load=load)
    ]
    click.echo(list_text(["kind", "name", "package", "state", "where"], rows, drop=["where", "package"]))


@plugins.command()
@click.argument("name")
@plugin_option
def info(name: str, plugin_files: tuple[Path, ...]) -> None:
    """Describe the plugin NAME: what it does, what it asks for, its parameters with units and ranges."""
    from crayon_bench.plugins.registry import Registry

    registry = Registry(plugin_files)
    for kind in _kinds_of(name, registry):
        _describe(kind.value, registry.load(kind, name))


@plugins.command()
@click.argument("name")
@plugin_option
@click.option("--verbose", is_flag=True, help="Show the log and the traceback of runs that failed.")
def check(name: str, plugin_files: tuple[Path, ...], verbose: bool) -> int:
    """Check that the plugin NAME keeps to what its interface asks for, on a tiny data set; the CPU is enough.

    One line per check. Exit code: 0 if none failed, 1 if one did.
    """
    from crayon_bench.plugins.registry import Kind, Registry

    registry = Registry(plugin_files)
    kinds = _kinds_of(name, registry)
    unchecked = (Kind.EXECUTOR, Kind.STRATEGY)
    checked = [kind for kind in kinds if kind not in unchecked]
    if not checked:
        plural = {Kind.EXECUTOR: "executors", Kind.STRATEGY: "strategies"}[kinds[0]]
        raise UserError(f"{kinds[0].value} '{name}': there are no checks for {plural}")
    results = [_check(kind, registry.load(kind, name), verbose) for kind in checked]
    return 0 if all(results) else 1


@plugins.command()
@click.argument("kind", type=click.Choice(["method", "metric", "oracle", "dataset"]))
@click.argument("name")
@click.option(
    "--output",
    type=UsersPath(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    show_default="the current folder",
    help="Folder to make the package's folder in.",
)
def new(kind: str, name: str, output: Path) -> None:
    """Write a small package with a plugin of the given KIND, called NAME, with its entry point and tests that pass.

    Nothing is overwritten.
    """
    from crayon_bench.plugins.registry import Kind
    from crayon_bench.plugins.scaffold import write_package

    folder = write_package(Kind(kind), name, output)
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        click.echo(file)
    plugin = next(folder.glob("src/*/__init__.py"))
    click.echo(f"\nTry it:      crayon-bench plugins check {name} --plugin {plugin}")
    click.echo(f'Install it:  pip install -e "{folder}[test]" && pytest {folder}')


def _kinds_of(name: str, registry: "Registry") -> "list[Kind]":
    from crayon_bench.plugins.registry import Kind

    kinds = [kind for kind in Kind if name in registry.names(kind)]
    if not kinds:
        hint = did_you_mean(name, [known for kind in Kind for known in registry.names(kind)])
        raise UserError(f"there is no plugin '{name}'", hint)
    return kinds


def _check(kind: "Kind", plugin: Any, verbose: bool) -> bool:
    """Run the checks and print a line for each; return whether none failed."""
    from collections import Counter

    from crayon_bench.testing import run_checks

    click.echo(f"{kind.value} {plugin.name} ({plugin.__module__}:{plugin.__qualname__})")
    states: Counter[str] = Counter()
    for outcome in run_checks(plugin):
        states[outcome.state] += 1
        text = f"  {outcome.state:<8}{outcome.check}"
        click.echo(on_screen(f"{text}: {outcome.reason}" if outcome.reason else text))
        if verbose and outcome.details:
            click.echo("\n".join(f"      {line}" for line in outcome.details.splitlines()))
    parts = [f"{states[state]} {state}" for state in ("ok", "FAILED", "skipped") if states[state]]
    click.echo(f"{states.total()} checks: {', '.join(parts)}")
    return not states["FAILED"]


def _tell_sources(name: str, file: "Traversable") -> None:
    """Say which keys of a protocol its source does not state, if the file says so."""
    from crayon_bench.runs.protocol import load_protocol

    try:
        protocol = load_protocol(file)
    except UserError as error:
        click.echo(on_screen(f"  {name}: broken: {error}"))
        return
    if not protocol.sources:
        return
    click.echo(on_screen(f"  {name}: stated by {protocol.source}, but for"))
    for words, keys in (("public code", protocol.sources["code"]), ("ours", protocol.sources["ours"])):
        tables: dict[str, list[str]] = {}
        for key in keys:
            table, _, last = key.rpartition(".")
            tables.setdefault(table, []).append(last)
        told = tables.pop("", [])
        for table, names in tables.items():
            told.append(f"{table}.{names[0] if len(names) == 1 else '{' + ', '.join(names) + '}'}")
        click.echo(on_screen(f"    {words}: {', '.join(told) or 'nothing'}"))


def _describe(kind: str, plugin: Any) -> None:
    import inspect

    click.echo(on_screen(f"{kind} {plugin.name}: {plugin.summary}"))
    click.echo(f"class: {plugin.__module__}:{plugin.__qualname__}")
    for attribute in ("title", "short", "source", "version", "direction", "unit"):
        if value := getattr(plugin, attribute, None):
            click.echo(on_screen(f"{attribute}: {value}"))
    if kind == "method":
        click.echo(on_screen(f"asks for: {', '.join(plugin.asks) or 'no feedback'}"))
    if kind == "dataset":
        able = [feedback for feedback, reason in plugin.evidence.items() if not reason]
        click.echo(on_screen(f"evidence for: {', '.join(able) or 'nothing'}"))
        if (folder := plugin.protocols()) is not None:
            names = sorted(file.name[:-5] for file in folder.iterdir() if file.name.endswith(".toml"))
            click.echo(on_screen(f"protocols: {', '.join(names)}"))
            for name in names:
                _tell_sources(name, folder / f"{name}.toml")
    if doc := inspect.getdoc(plugin):
        click.echo("\n" + fit_paragraphs(doc, screen_width()))
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
            text += f"  {field.description or ''}{f' ({limits})' if limits else ''}"
            click.echo(on_screen(text))
