"""``crayon-bench data``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crayon_bench.commands import USERS_PATH, data_root_option, plugin_option, set_option
from crayon_bench.errors import UserError
from crayon_bench.plugins.completing import plugin_names
from crayon_bench.screen import list_text, on_screen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crayon_bench.data.files import FileReport
    from crayon_bench.data.located import Located
    from crayon_bench.dataset import Dataset, Found


@click.group()
def data() -> None:
    """List, fetch, import, build, verify and show data sets."""


@data.command("list")
@data_root_option
@plugin_option
def list_datasets(data_root: Path | None, plugin_files: tuple[Path, ...]) -> None:
    """List the data sets and say which data there are: real, or a stand-in."""
    from crayon_bench.data.roots import default_root
    from crayon_bench.dataset import Source
    from crayon_bench.plugins.registry import Kind, Registry
    from crayon_bench.plugins.rows import PluginError

    registry = Registry(plugin_files)
    rows = []
    for name in registry.names(Kind.DATASET):
        try:
            dataset = registry.load(Kind.DATASET, name)
            if dataset.takes_path:
                rows.append((name, "your own", f"where you say: {name}:PATH", dataset.summary))
                continue
            found = dataset.find(data_root or default_root(), Source.AUTO, strict=data_root is None)
            state = found.source.value if found.verified else f"{found.source.value}, UNVERIFIED"
            rows.append((name, state, found.where, dataset.summary))
        except (UserError, PluginError) as error:
            rows.append((name, "broken", str(error), ""))
    click.echo(list_text(["name", "data", "where", "summary"], rows, drop=["summary"]))


@data.command()
@click.argument("name", shell_complete=plugin_names("datasets"))
@data_root_option
@click.option("--mirror", "mirrors", multiple=True, metavar="URL", help="Folder on a web server to try first.")
@plugin_option
def prepare(name: str, data_root: Path | None, mirrors: tuple[str, ...], plugin_files: tuple[Path, ...]) -> None:
    """Fetch the real files of data set NAME, verify them, and keep them."""
    from crayon_bench.data.fetching import prepare
    from crayon_bench.data.roots import default_root

    folder = prepare(_dataset(name, plugin_files), data_root or default_root(), mirrors, _say)
    click.echo(f"{name}: ready in {folder}")


@data.command("import")
@click.argument("name", shell_complete=plugin_names("datasets"))
@click.argument("path", type=USERS_PATH)
@data_root_option
@click.option("--accept-unverified", is_flag=True, help="Take files without their published checksum, and remember it.")
@plugin_option
def import_data(
    name: str, path: Path, data_root: Path | None, accept_unverified: bool, plugin_files: tuple[Path, ...]
) -> None:
    """Copy the files of data set NAME from PATH: a folder, an archive (zip, tar) or one of the files."""
    from crayon_bench.data.importing import import_files
    from crayon_bench.data.roots import default_root

    folder = import_files(
        _dataset(name, plugin_files), path, data_root or default_root(), accept_unverified=accept_unverified, say=_say
    )
    click.echo(f"{name}: imported into {folder}")


@data.command()
@click.argument("name", shell_complete=plugin_names("datasets"))
@data_root_option
@click.option("--format", "form", type=click.Choice(["terminal", "json"]), default="terminal", show_default=True)
@set_option
@plugin_option
def verify(name: str, data_root: Path | None, form: str, sets: tuple[str, ...], plugin_files: tuple[Path, ...]) -> int:
    """Compare the files of data set NAME with their published checksums. Exit code 1 if one differs.

    A folder of your own, NAME:PATH, has none: every file in it is read as a run would read it, --set dataset.PARAMETER
    included. All files that are broken or missing are listed, of any data set but whole archives with their published
    checksum. Exit code 2 if one is.
    """
    located = _located(name, data_root, plugin_files)
    _data_parameters(sets)  # nothing is read for what is no parameter
    try:
        lines, facts = _read_all(located, sets) if located.dataset.takes_path else _compare_all(name, located, sets)
    except _BrokenError as error:
        if form == "json":
            broken = [{"file": file, "problem": one.message, "hint": one.hint} for file, one in error.files]
            click.echo(json.dumps({"data": name, "ok": False, "broken": broken}, indent=1, ensure_ascii=False))
        elif len(error.files) > 1:
            for _, one in error.files:
                click.echo(on_screen(str(one)))
            click.echo(f"{sum(bool(file) for file, _ in error.files):,} files cannot be read, as listed.")
        raise UserError(error.message, error.hint) from None
    if form == "json":
        click.echo(json.dumps({"data": name, **facts}, indent=1, ensure_ascii=False))
    else:
        for line in lines:
            click.echo(on_screen(line))
    return 0 if facts["ok"] else 1


class _BrokenError(UserError):
    """Files that cannot be read: (name, what is wrong); the name of one that is not known is empty."""

    def __init__(self, error: UserError, files: "Sequence[tuple[str, UserError]]" = ()) -> None:
        super().__init__(error.message, error.hint)
        self.files = files or [("", error)]


def _compare_all(name: str, located: "Located", sets: tuple[str, ...]) -> tuple[list[str], dict[str, Any]]:
    from crayon_bench.data.files import inspect
    from crayon_bench.data.published import is_published_archive
    from crayon_bench.dataset import Source

    dataset, root = located.dataset, located.root
    try:
        reports = inspect(dataset, root)
        found = _compared(name, dataset, reports, root)
    except UserError as error:
        raise _BrokenError(error, _broken(located, {}, error)) from None
    whole = all(is_published_archive(r.path, r.file) if r.file.tree else r.verified for r in reports)
    if not whole and (broken := _broken(located, {})):
        raise _BrokenError(broken[0][1], broken)
    if sets:  # what they choose of the files must be there, and can be read with them
        there = dataset.find(root, Source.REAL, strict=False)
        notes = [*_with_parameters(dataset, there, sets).notes(there)]
        lines, facts = found
        return [*lines, *(f"    {note}" for note in notes if note not in there.notes)], facts
    return found


def _compared(
    name: str, dataset: "type[Dataset]", reports: "Sequence[FileReport]", root: Path
) -> tuple[list[str], dict[str, Any]]:
    """Return what is said of each file, as lines and as what goes into JSON."""
    from crayon_bench.data.files import elsewhere

    if not reports:
        hint = elsewhere(dataset, root) or f"crayon-bench data prepare {name}, or --data-root DIR"
        raise UserError(f"{name}: no files under {root}", hint)
    paths = {report.file.name: report.path for report in reports}
    dataset.check_files(paths)
    said = [_report_on(report) for report in reports]
    doubts = dataset.doubts(paths)
    accepted = ", accepted on import" if all(report.accepted for report in reports) else ""
    files = [
        {
            "file": report.file.name,
            "path": str(report.path),
            "sha256": report.sha256,
            "verified": report.verified,
            "accepted": report.accepted,
            "why": report.why,
        }
        for report in reports
    ]
    lines = [*(line for one in said for line in one), *(f"UNVERIFIED{accepted}: {doubt}" for doubt in doubts)]
    ok = all(report.verified for report in reports) and not doubts
    return lines, {"ok": ok, "files": files, "doubts": doubts, "broken": []}


def _broken(
    located: "Located", values: "Mapping[str, Any]", error: UserError | None = None
) -> "list[tuple[str, UserError]]":
    """Return all files that cannot be read, where *error* is what was said of the first, if anything was."""
    from crayon_bench.data.files import locate
    from crayon_bench.parameters import validated

    dataset, broken = located.dataset, []
    try:
        if dataset.takes_path or locate(dataset, located.root):
            broken = [*dataset(validated(dataset.Parameters, dict(values), "dataset")).broken(located.root)]
    except UserError:  # what names the files is wrong already
        pass
    if error is not None and not any(file in error.message for file, _ in broken):  # something else is wrong too
        broken = [("", error), *broken]
    return broken


def _read_all(located: "Located", sets: tuple[str, ...]) -> tuple[list[str], dict[str, Any]]:
    """Return what is said of a folder, as lines and as what goes into JSON. Raises _BrokenError."""
    from crayon_bench.dataset import Source

    try:
        found = located.dataset.find(located.root, Source.REAL, strict=False)
        dataset = _with_parameters(located.dataset, found, sets)
        notes = [*dataset.notes(found)]
        data = dataset.load(found)
    except UserError as error:
        raise _BrokenError(error, _broken(located, _data_parameters(sets), error)) from None
    splits = {"training": data.train, "validation": data.validation, "test": data.test}
    there = {part: len(split) for part, split in splits.items() if split is not None}
    sizes = ", ".join(f"{number:,} {part}" for part, number in there.items())
    notes += [*data.notes, *found.remarks]
    unable = list(dict.fromkeys(found.unable.values()))
    first = f"{found.where}: {sizes} images, all readable; classes: {', '.join(data.class_names)}"
    facts = {"images": there, "classes": data.class_names, "groups": data.group_names, "notes": notes, "unable": unable}
    return [first, *(f"    {text}" for text in (*notes, *unable))], {"ok": True, **facts, "broken": []}


def _report_on(report: "FileReport") -> list[str]:
    from crayon_bench.data.published import is_published_archive

    file = report.file
    state = "UNVERIFIED, accepted on import" if report.accepted else "UNVERIFIED"
    if not file.tree:
        first = f"{report.path}: {'verified' if report.verified else state}"
        if report.verified:
            return [first]
        if not file.sha256:
            return [first, f"    {report.why}"]
        return [first, f"    sha256 of its content {report.sha256}", f"    published            {file.sha256}"]
    from crayon_bench.data.trees.opening import open_tree

    archive = is_published_archive(report.path, file)
    members = open_tree(report.path, *file.folders).members
    if archive:
        state = "verified"
    else:
        if not report.path.is_dir():  # a folder's files were read for their checksums just now
            open_tree(report.path, *file.folders).check()
        if report.verified:
            state = f"{len(members):,} files" + (", as many as published" if file.members else ", all readable")
            state += "; the archive is not the published one, repacked perhaps" if archive is False else ""
    return [f"{report.path}: {state}", *([] if report.verified else [f"    {report.why}"])]


@data.command()
@click.argument("name", required=False, shell_complete=plugin_names("datasets"))
@data_root_option
@plugin_option
def where(name: str | None, data_root: Path | None, plugin_files: tuple[Path, ...]) -> None:
    """Print the data root, or the folder of data set NAME's files in it (where they are, or would be put)."""
    from crayon_bench.data.files import home_of, locate
    from crayon_bench.data.roots import default_root

    if name is None:
        click.echo(data_root or default_root())
        return
    located = _located(name, data_root, plugin_files)
    dataset, root = located.dataset, located.root
    paths = locate(dataset, root)
    if dataset.takes_path:
        click.echo(root)
    elif paths:
        click.echo(home_of(paths[dataset.files[0].name], dataset.files[0]))
    elif dataset.folders:
        click.echo(f"{root / dataset.folders[0]} (not there yet)")
    else:
        click.echo(f"{name} has no files")


@data.command(context_settings={"ignore_unknown_options": True}, options_metavar="[OPTIONS]")
@click.argument("name", shell_complete=plugin_names("datasets"))
@click.argument("inputs", nargs=-1, type=click.UNPROCESSED, metavar="--INPUT DIR …")
@click.option("--output", type=USERS_PATH, required=True, help="Data root to make; must not exist.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of every draw.")
@plugin_option
def build(name: str, inputs: tuple[str, ...], output: Path, seed: int, plugin_files: tuple[Path, ...]) -> None:
    """Build data set NAME from others, each given by an option of the data set's own: without any, they are listed."""
    dataset = _dataset(name, plugin_files)
    known = dataset.build_inputs
    if not known:
        raise UserError(f"dataset '{name}' is not one that can be built")
    folders = _parse_inputs(inputs, known)
    if missing := [f"--{key} DIR ({text})" for key, text in known.items() if key not in folders]:
        raise UserError(f"data build {name}: {', '.join(missing)} is missing")
    for key, folder in folders.items():
        if not folder.is_dir():
            raise UserError(f"--{key} {folder}: there is no such folder", f"expected: {known[key]}")
    if output.exists() or output.is_symlink():
        raise UserError(f"--output {output}: is there already", "choose a new folder; nothing is overwritten")
    dataset.build(folders, output, seed, _say)
    click.echo(on_screen(f"{name}: built in {output}; use it with --data-root {output}"))


def _parse_inputs(words: tuple[str, ...], known: "Mapping[str, str]") -> dict[str, Path]:
    from crayon_bench.errors import did_you_mean
    from crayon_bench.texts import expanded

    folders: dict[str, Path] = {}
    rest = list(words)
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        key = option.removeprefix("--")
        if not option.startswith("--") or key not in known:
            raise UserError(f"data build: there is no option '{option}'", did_you_mean(key, known))
        if not equals:
            if not rest:
                raise UserError(f"data build: {option} needs a folder: {known[key]}")
            value = rest.pop(0)
        folders[key] = expanded(Path(value))
    return folders


@data.command()
@click.argument("name", shell_complete=plugin_names("datasets"))
@click.option("--output", type=USERS_PATH, required=True, help="PNG file to write.")
@click.option(
    "--per-class",
    type=click.IntRange(1, 50),
    default=8,
    show_default=True,
    help="Images of a group (or class) and split.",
)
@click.option(
    "--evidence/--no-evidence",
    default=True,
    show_default=True,
    help="Outline masks (yellow) and boxes (cyan) of training images.",
)
@click.option("--source", type=click.Choice(["auto", "real", "standin"]), default="auto", show_default=True)
@data_root_option
@set_option
@plugin_option
def show(
    name: str,
    output: Path,
    per_class: int,
    evidence: bool,
    source: str,
    data_root: Path | None,
    sets: tuple[str, ...],
    plugin_files: tuple[Path, ...],
) -> None:
    """Draw a contact sheet of data set NAME: the first images of each group, training left, test right.

    Masks and boxes are drawn over the training images: look whether they lie where the truth is.
    Where there are more than eight groups, rows are classes. Parameters are those of the default protocol.
    """
    from crayon_bench.data.contact_sheet import draw
    from crayon_bench.dataset import Source
    from crayon_bench.store.atomic import write_file

    if output.suffix.lower() != ".png":
        raise UserError(f"--output {output}: expected a file name that ends with .png, which is what is written")
    located = _located(name, data_root, plugin_files)
    found = located.dataset.find(located.root, Source(source), strict=located.strict)
    title = found.title or located.dataset.title
    dataset = _with_parameters(located.dataset, found, sets)
    sheet = draw(title, found, dataset.load(found), per_class, evidence=evidence)
    try:
        write_file(output, sheet)
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written: {error.strerror or error}") from None
    click.echo(on_screen(f"{output}: {title}, {found.source.value} data{'' if found.verified else ' (UNVERIFIED)'}"))
    for note in dataset.notes(found):
        click.echo(on_screen(f"    {note}"))


def _data_parameters(sets: tuple[str, ...]) -> dict[str, Any]:
    """Return what ``--set`` says of the data set's parameters. Raises UserError for anything else."""
    from crayon_bench.runs.protocol import parse_set, parse_value

    values = {}
    for key, value in map(parse_set, sets):
        section, _, parameter = key.partition(".")
        if section != "dataset":
            raise UserError(f"--set {key}={value}: only dataset.PARAMETER changes what is shown")
        values[parameter] = parse_value(value)
    return values


def _with_parameters(dataset: "type[Dataset]", found: "Found", sets: tuple[str, ...]) -> "Dataset":
    """Return the data set with the default protocol's parameters, changed by *sets*."""
    from crayon_bench.parameters import check_used, validated
    from crayon_bench.runs.protocol import default_protocol, load_protocol, parse_set

    values = _data_parameters(sets)
    table: dict[str, Any] = {}
    folder = dataset.protocols()
    if folder is not None and (file := folder / f"{default_protocol(dataset, found)}.toml").is_file():
        table = dict(load_protocol(file).dataset_parameters)
    parameters = validated(dataset.Parameters, {**table, **values}, "dataset")
    check_used(parameters, "dataset", [parse_set(text) for text in sets])
    return dataset(parameters)


def _located(text: str, data_root: Path | None, plugin_files: tuple[Path, ...]) -> "Located":
    from crayon_bench.data.located import locate_dataset
    from crayon_bench.plugins.registry import Registry

    return locate_dataset(text, Registry(plugin_files), data_root)


def _dataset(name: str, plugin_files: tuple[Path, ...]) -> "type[Dataset]":
    from crayon_bench.data.located import load_dataset
    from crayon_bench.plugins.registry import Registry

    return load_dataset(name, Registry(plugin_files))


def _say(text: str) -> None:
    click.echo(text, err=True)
