"""Options that several verbs share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from crayon_bench.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])

STORE = Path("crayon-runs")
MAX_SEED = 2**31 - 1


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


def split_names(text: str, option: str) -> list[str]:
    """Split ``a,b``; raises UserError if a name is empty."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UserError(f"{option} '{text}': expected names separated by commas")
    return names


def parse_seeds(text: str) -> list[int]:
    """Read ``5`` (seeds 0 to 4) or ``0,1,2`` or ``7,`` (seed 7 alone). Raises UserError."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 1 and parts[-1] == "":
        parts.pop()
    if not all(part.isascii() and part.isdigit() and len(part) < 20 and int(part) <= MAX_SEED for part in parts):
        raise UserError(f"--seeds {text}: expected a number of seeds, such as 5, or a list of seeds, such as 0,1,2")
    numbers = [int(part) for part in parts]
    if "," in text:
        return list(dict.fromkeys(numbers))
    if not 1 <= numbers[0] <= 10_000:
        raise UserError(f"--seeds {text}: the number of seeds must be 1 to 10000", "for seed 7 alone, write --seeds 7,")
    return list(range(numbers[0]))
