"""The command line. One file per verb; a verb's file is imported when it is used."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from traceback import walk_tb
from typing import Any

import click

from crayon_bench._version import __version__
from crayon_bench.cli.streams import output_is_lost, prepare_streams
from crayon_bench.commands import LazyGroup
from crayon_bench.errors import UserError, one_line
from crayon_bench.plugins.hooks import hook_failures
from crayon_bench.plugins.rows import PluginError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
TERMINATED = 143
"""Exit code after SIGTERM, as shells have it: a batch system sends it when a job's time is over."""


class _Root(LazyGroup):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # not our output's, see streams: click would end with 1 and without a word
            raise UserError(f"{_place(error)}: {error.strerror}", "give the same command again") from error


@click.group(
    cls=_Root,
    lazy={
        "run": ("crayon_bench.cli.run:run", "Run methods on data sets and print the leaderboard."),
        "data": ("crayon_bench.cli.data:data", "List, fetch, import, build, verify and show data sets."),
        "oracle": ("crayon_bench.cli.oracle:oracle", "Look at what an oracle answers."),
        "plugins": ("crayon_bench.cli.plugins:plugins", "List, describe, check and begin plugins."),
        "runs": ("crayon_bench.cli.runs:runs", "List, show, compare and export the runs in a store."),
    },
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    no_args_is_help=True,
)
@click.option("--version", is_flag=True, help="Show the version and exit.")
@click.option("--verbose", is_flag=True, help="With --version: all that a report of a fault needs.")
@click.pass_context
def cli(context: click.Context, version: bool, verbose: bool) -> None:
    """Compare methods that repair shortcut learning in image classifiers, and count the feedback each one used.

    Start with: crayon-bench run --dataset decoymnist --methods all
    """
    if version:
        click.echo(f"crayon-bench, version {__version__}")
        if verbose:
            from crayon_bench.cli.about import about

            for line in about():
                click.echo(line)
        context.exit()
    if verbose:
        raise UserError("--verbose says more about the version", "use --version --verbose")
    if context.invoked_subcommand is None:
        raise click.UsageError("Missing command.", context)


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit: 0 all well, 1 a run failed, 2 a mistake, 130 interrupted, 143 by SIGTERM."""
    sys.exit(invoke(args))


def invoke(args: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    prepare_streams()
    if os.environ.get("_CRAYON_BENCH_COMPLETE") == "fish_source":
        from crayon_bench.cli.fish import mend_fish

        mend_fish()
    terminated: list[int] = []
    try:
        with _interrupted_by_sigterm(terminated):
            result = cli.main(args=args, prog_name="crayon-bench", standalone_mode=False)
            sys.stdout.flush()
    except (UserError, PluginError) as error:
        return _fail(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "")
        return 0
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "crayon-bench"
        return _fail(f"{error.format_message().rstrip('.')} — see {where} --help")
    except click.ClickException as error:
        return _fail(error.format_message())
    except (KeyboardInterrupt, click.Abort):
        how = "Ended by SIGTERM" if terminated else "Interrupted"
        _say(f"{how}. What was finished is kept: the same command continues (--rerun all starts over).")
        return TERMINATED if terminated else INTERRUPTED
    except OSError as error:
        lost = output_is_lost()
        where = error.filename or ("standard output" if lost else _place(error))
        return _fail(f"{where}: {error.strerror or error}")
    finally:
        for failure in hook_failures():
            if failure.target:
                _say(f"Warning: plugin '{failure.name}' could not be loaded: {failure.error}")
    return result if isinstance(result, int) else 0


@contextlib.contextmanager
def _interrupted_by_sigterm(terminated: list[int]) -> Iterator[None]:
    """Inside, SIGTERM is what Ctrl-C is, and is noted in *terminated*; unless somebody handles it already."""

    def end(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_IGN)  # what is being put in order is not interrupted once more
        terminated.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _place(error: BaseException) -> str:
    """Return where in the code an error arose that names no file."""
    frames = [(frame.f_code.co_filename, number) for frame, number in walk_tb(error.__traceback__)]
    return f"{type(error).__name__} in {Path(frames[-1][0]).name}, line {frames[-1][1]}"


def _say(message: str) -> None:
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr)


def _fail(message: str) -> int:
    _say(f"Error: {one_line(message, 4000)}")
    return 2
