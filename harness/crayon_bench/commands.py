"""What commands are made of, here and in plugins: options that several share, and groups that import what is used."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.plugins.completing import complete_protocols
from crayon_bench.plugins.hooks import call_hooks
from crayon_bench.plugins.rows import PluginError
from crayon_bench.texts import DEVICES, expanded, kind_of_device

F = TypeVar("F", bound=Callable[..., Any])

STORE = Path("crayon-runs")


class UsersPath(click.Path):
    """A path in which ``~`` is the user's home: shells leave it as it is in ``--store=~/runs``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        return super().convert(str(expanded(Path(value))), param, ctx)


USERS_PATH = UsersPath(path_type=Path)


def store_option(command: F) -> F:
    """``--store DIR``."""
    return click.option(
        "--store",
        type=USERS_PATH,
        default=STORE,
        show_default="./crayon-runs",
        help="Folder of records.",
    )(command)


def data_root_option(command: F) -> F:
    """``--data-root DIR``."""
    return click.option(
        "--data-root",
        type=USERS_PATH,
        help="Folder with real data. Files in a folder that you name are used even if their checksum is not the"
        " published one; the output says so. Default: $CRAYON_BENCH_DATA or your user data folder, where every file"
        " must verify.",
    )(command)


def plugin_option(command: F) -> F:
    """``--plugin FILE``."""
    return click.option(
        "--plugin",
        "plugin_files",
        type=USERS_PATH,
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


def protocol_option(command: F) -> F:
    """``--protocol NAME|FILE``."""
    return click.option(
        "--protocol",
        metavar="NAME|FILE",
        help="Recipe: one of the data set's own, which crayon-bench plugins info DATASET lists, or a TOML file."
        " Default: the data set's, such as paper; quick on a stand-in.",
        shell_complete=complete_protocols,
    )(command)


def _device(ctx: click.Context, param: click.Parameter, value: str) -> str:
    kind_of_device(value)
    return value


def device_option(command: F) -> F:
    """``--device DEVICE``."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="[auto|cpu|cuda|cuda:N]",
        callback=_device,
        shell_complete=lambda ctx, param, incomplete: [name for name in DEVICES if name.startswith(incomplete)],
        help="Where to compute; cuda:N is the GPU with this number.",
    )(command)


def form_of(output: Path | None, form: str | None, endings: Mapping[str, str], default: str) -> str:
    """Return what to write: the *form* that was given, or what the ending of the file *output* says, or *default*.

    *endings*: such as ``.csv`` → form. Raises UserError where ending and form disagree, or neither says it.
    """
    ending = "" if output is None else output.suffix.lower()
    if form is None:
        if ending and ending not in endings:
            known = ", ".join(endings)
            raise UserError(f"--output {output}: unknown ending {ending}", f"expected {known}; or say --format")
        return endings.get(ending, default)
    if ending in endings and endings[ending] != form:
        raise UserError(
            f"--output {output}: the ending is that of {endings[ending]}, --format is {form}", "make them agree"
        )
    return form


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used: name → (``module:attribute``, summary)."""

    def __init__(
        self, *arguments: object, lazy: dict[str, tuple[str, str]], closed: bool = False, **keywords: object
    ) -> None:
        """*closed*: a group of its own, to which the hook ``add_commands`` adds nothing."""
        super().__init__(*arguments, **keywords)  # type: ignore[arg-type]
        self.lazy = lazy
        self.closed = closed

    def register(self, name: str, target: str, summary: str) -> None:
        """Add a command; the first to claim a name has it."""
        self.lazy.setdefault(name, (target, summary))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of registration."""
        self._ask_plugins()
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in self.lazy:
            self._ask_plugins()
        if cmd_name not in self.lazy:
            return None
        module, _, attribute = self.lazy[cmd_name][0].partition(":")
        try:
            command = getattr(import_module(module), attribute)
        except Exception as error:
            raise PluginError(f"command '{cmd_name}' cannot be used: {type(error).__name__}: {error}") from error
        if not isinstance(command, click.Command):
            raise PluginError(f"command '{cmd_name}' cannot be used: {self.lazy[cmd_name][0]} is no click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one may have been meant."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise UserError(f"there is no command '{args[0]}'", did_you_mean(args[0], self.lazy))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the summaries, importing none of them."""
        rows = [(name, self.lazy[name][1]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _ask_plugins(self) -> None:
        if self.closed:
            return
        call_hooks("add_commands", register=self.register)
