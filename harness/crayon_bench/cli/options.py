"""Options that several verbs share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

STORE = Path("crayon-runs")


def store_option(command: F) -> F:
    """``--store DIR``."""
    return click.option(
        "--store",
        type=click.Path(path_type=Path),
        default=STORE,
        show_default="./crayon-runs",
        help="Folder of records.",
    )(command)


def data_root_option(command: F) -> F:
    """``--data-root DIR``."""
    return click.option(
        "--data-root",
        type=click.Path(path_type=Path),
        help="Folder with real data. Files in a folder that you name are used even if their checksum is not the"
        " published one; the output says so. Default: $CRAYON_BENCH_DATA or your user data folder, where every file"
        " must verify.",
    )(command)


def plugin_option(command: F) -> F:
    """``--plugin FILE``."""
    return click.option(
        "--plugin",
        "plugin_files",
        type=click.Path(path_type=Path),
        multiple=True,
        help="Python file with plugins of your own; may be given several times.",
    )(command)


def set_option(command: F) -> F:
    """``--set SECTION.KEY=VALUE``."""
    return click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="METHOD.PARAMETER=VALUE",
        help="Change a value of the protocol, e.g. rrr.lambda=10; sections dataset, oracle, model, original, refine and"
        " protocol work too. May be given several times.",
    )(command)
