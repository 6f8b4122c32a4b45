"""``crayon-bench annotate serve``."""

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from crayon_bench import UserError
from crayon_bench.commands import (
    USERS_PATH,
    data_root_option,
    device_option,
    plugin_option,
    protocol_option,
    set_option,
    store_option,
)
from crayon_bench.errors import one_line
from crayon_bench.plugins.completing import plugin_names
from crayon_bench.screen import on_screen
from crayon_bench.texts import MAX_SEED
from crayon_bench_plugins.annotation.listening import SHORTEST_TOKEN, bound, check_address, run

if TYPE_CHECKING:
    from crayon_bench_plugins.annotation.answers.folder import Answers
    from crayon_bench_plugins.annotation.answers.tasks import Task
    from crayon_bench_plugins.annotation.desk import Desk

PORT = 8642


@click.command()
@click.option(
    "--dataset",
    required=True,
    metavar="NAME",
    shell_complete=plugin_names("datasets"),
    help="Data set; see: crayon-bench data list.",
)
@click.option(
    "--task",
    required=True,
    type=click.Choice(["maps", "neurons", "boxes", "masks"]),
    help="What is asked: yes or no about saliency maps or about neurons, boxes drawn, or masks painted.",
)
@click.option("--annotator", metavar="NAME", help="Whose answers these are. Default: the page asks.")
@click.option(
    "--overlap",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of the questions that every annotator is asked; each of the others is answered by one.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N questions.")
@click.option(
    "--answers",
    type=USERS_PATH,
    default=Path("answers"),
    show_default="./answers",
    metavar="DIR",
    help="Folder in which the answers are recorded; what is there already is gone on with.",
)
@click.option(
    "--instructions",
    type=USERS_PATH,
    metavar="FILE",
    help="Markdown that annotators read in place of the guide. HTML in it is shown as text, images are left out.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0: one that is free.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDR", help="Another one needs --token.")
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="Name under which a proxy in front of this server is called; may be given several times. Needs --token.",
)
@click.option(
    "--token",
    envvar="CRAYON_BENCH_TOKEN",
    help=f"Word of {SHORTEST_TOKEN} or more characters that the page asks for. Also from $CRAYON_BENCH_TOKEN, which"
    " other users of this machine cannot read.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    help="Seed of the original model that is asked about, and of the order of the questions.",
)
@protocol_option
@data_root_option
@click.option("--source", type=click.Choice(["auto", "real", "standin"]), default="auto", show_default=True)
@store_option
@device_option
@click.option("--weights", type=USERS_PATH, metavar="FILE", help="Initial weights, as in run.")
@set_option
@plugin_option
@click.pass_context
def serve(
    context: click.Context,
    dataset: str,
    task: str,
    annotator: str | None,
    overlap: float,
    limit: int | None,
    answers: Path,
    instructions: Path | None,
    port: int,
    host: str,
    names: tuple[str, ...],
    token: str | None,
    seed: int,
    protocol: str | None,
    data_root: Path | None,
    source: str,
    store: Path,
    device: str,
    weights: Path | None,
    sets: tuple[str, ...],
    plugin_files: tuple[Path, ...],
) -> None:
    """Ask people, one question at a time, on a page in the browser; answers are recorded as they are given.

    The original model, its saliency maps and its neurons are made if the store does not have them: by the same
    protocol, seed and data as a run makes them, so that the run finds the answers. Ctrl-C ends the server; the same
    command goes on where everybody stopped.
    """
    check_installed()
    check_address(host, names, token)
    if not 0 <= overlap <= 1:  # click's range lets nan pass
        raise UserError(f"--overlap {overlap}: expected a share, 0 to 1")
    from crayon_bench_plugins.annotation.answers.names import check_name
    from crayon_bench_plugins.annotation.instructions import read_instructions

    annotator = None if annotator is None else check_name(annotator)
    guide = "" if instructions is None else read_instructions(instructions)
    with bound(host, port) as listener:  # before the model is trained: a port that is taken is told at once
        from crayon_bench import Source
        from crayon_bench.plugins.registry import Kind, Registry
        from crayon_bench.runs.environment import one_gpu
        from crayon_bench.runs.plan import Options
        from crayon_bench.store.store import Store
        from crayon_bench_plugins.annotation.answers.folder import Answers
        from crayon_bench_plugins.annotation.answers.tasks import Task
        from crayon_bench_plugins.annotation.desk import Desk
        from crayon_bench_plugins.annotation.doors import Keys
        from crayon_bench_plugins.annotation.pictures import Pictures
        from crayon_bench_plugins.annotation.questions import gather
        from crayon_bench_plugins.annotation.server import Service
        from crayon_bench_plugins.annotation.telling import telling

        registry = Registry(plugin_files)
        options = Options(
            datasets=[dataset],
            methods=registry.names(Kind.METHOD),
            seeds=[seed],
            protocol=protocol,
            data_root=data_root,
            source=Source(source),
            sets=sets,
            weights=weights,
            device=one_gpu(device),
        )
        say("Reading the data; making what is asked about, if the store does not have it…")
        material = gather(Task(task), options, registry, Store.create(store), say)
        with contextlib.ExitStack() as stack:
            kept = Answers(answers)
            kept.begin(material.manifest())
            stack.enter_context(_alone(kept, Task(task)))
            desk = Desk(kept, material.manifest(), overlap=overlap, limit=limit, seed=seed)
            stack.callback(desk.close)
            number = listener.getsockname()[1]
            cookie = f"crayon-annotate-{number}"  # cookies know no ports
            service = Service(material, desk, Pictures(material), Keys(token), annotator, cookie, guide)
            for remark in desk.remarks:
                say(f"Warning: {remark}")
            say(f"{len(desk.ids):,} questions about {task}, {desk.answered:,} of them answered; answers in {answers}")
            click.echo(f"Open http://{'[::1]' if host == '::1' else host}:{number}/ in a browser. Ctrl-C ends.")
            with telling(desk, say):
                run(service, listener, (host, *names))
        tell_end(desk, answers, _run_options(context))


@contextlib.contextmanager
def _alone(answers: "Answers", task: "Task") -> Iterator[None]:
    """Hold a task of a folder: two servers would not know what the other has handed out. Raises UserError."""
    from filelock import FileLock, Timeout

    from crayon_bench.store.locks import locking

    lock = FileLock(answers.path / task / ".served")
    try:
        with locking(f"--answers {answers.path}", "choose a folder on another file system"):
            lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"--answers {answers.path}: another server is asking about {task} there",
            "let everybody use its address, or choose another folder",
        ) from None
    try:
        yield
    finally:
        lock.release()


def say(text: str) -> None:
    """Print a remark on standard error."""
    click.echo(one_line(text), err=True)


def check_installed() -> None:
    """Raise UserError if the extra is not installed."""
    try:
        import jinja2  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"the annotation page needs {error.name or 'more'}, which is not installed",
            "pip install starlette uvicorn jinja2",
        ) from None


def tell_end(desk: "Desk", answers: Path, run_options: Sequence[str]) -> None:
    """Say how many answers are where, and what comes next."""
    from crayon_bench_plugins.annotation.answers.haste import signs

    given = sum(seat.given for seat in desk.seats.values())
    people = sum(seat.given > 0 for seat in desk.seats.values())
    counts = (
        f"\n{given:,} answers of {people} annotator{'' if people == 1 else 's'} about {desk.answered:,} of"
        f" {len(desk.ids):,} questions are in {answers}."
    )
    click.echo(on_screen(counts))
    for name, seat in sorted(desk.seats.items()):
        if told := signs(seat.history.current.values()):
            click.echo(on_screen(f"Warning: {name}: {'; '.join(told)}. Was it looked at?"))
    methods = {"maps": "crayon-attention", "neurons": "crayon-pruning", "boxes": "energy", "masks": "rrr"}
    command = ["crayon-bench", "run", "--methods", f"original,{methods[desk.manifest.task]}", *run_options]
    click.echo(f"Next: {shlex.join([*command, '--oracle', 'human', '--answers', str(answers)])}")


def _run_options(context: click.Context) -> list[str]:
    """Return the options of this command that a run must have too, so that it asks about the same model."""
    given = ["--dataset", context.params["dataset"], "--seeds", f"{context.params['seed']},"]
    for option in context.command.params:
        name = option.name or ""
        if name in _OF_A_RUN and context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            values = context.params[name]
            for value in values if isinstance(values, tuple) else (values,):
                given += [option.opts[0], str(value)]
    return given


_OF_A_RUN = ("protocol", "data_root", "source", "store", "device", "weights", "sets", "plugin_files")
