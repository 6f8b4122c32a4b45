"""``crayon-bench annotate export``, ``merge`` and ``agreement``."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crayon_bench import UserError
from crayon_bench.commands import USERS_PATH, form_of
from crayon_bench.errors import one_line
from crayon_bench.screen import list_text, on_screen

if TYPE_CHECKING:
    from crayon_bench_plugins.annotation.agreement import Agreement
    from crayon_bench_plugins.annotation.answers.folder import Answers
    from crayon_bench_plugins.annotation.answers.tasks import Bools
    from crayon_bench_plugins.annotation.answers.votes import Vote

_SHOWN = 20
"""Conflicts that are named one by one."""

_answers = click.option("--answers", required=True, type=USERS_PATH, metavar="DIR", help="Folder of recorded answers.")


@click.command()
@_answers
@click.option("--format", "form", type=click.Choice(["csv", "parquet"]), show_default="csv, or as --output ends")
@click.option("--output", required=True, type=USERS_PATH, metavar="FILE", help="File to write.")
def export(answers: Path, form: str | None, output: Path) -> None:
    """Write all answers to a table: example, task, annotator, answer, shown_at, answered_at, via.

    One row for each annotator and question; what was undone is not in it. The answer is yes, no, maybe or skip, a box
    as top, left, bottom and right in pixels, or the path of a mask in DIR.
    """
    from crayon_bench.store.atomic import write_file
    from crayon_bench_plugins.annotation.answers.folder import Answers
    from crayon_bench_plugins.annotation.tables import rows_of, to_csv, to_parquet

    form = form_of(output, form, {".csv": "csv", ".parquet": "parquet"}, "csv")
    rows, remarks = rows_of(Answers.open(answers))
    _remark(remarks)
    if not rows:
        raise _unanswered(answers, "in it")
    try:
        write_file(output, to_csv(rows) if form == "csv" else to_parquet(rows))
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written: {error.strerror or error}") from None
    click.echo(f"{output}: {len(rows):,} answers", err=True)


@click.command()
@click.option(
    "--answers",
    "folders",
    required=True,
    multiple=True,
    type=USERS_PATH,
    metavar="DIR",
    help="Folder of recorded answers; given several times.",
)
@click.option("--output", required=True, type=USERS_PATH, metavar="DIR", help="New folder to write.")
def merge(folders: tuple[Path, ...], output: Path) -> None:
    """Put folders of answers together that ask the same questions; the folders stay as they are.

    Answers that are in several folders count once. If one annotator answered a question differently in two of them,
    the later answer counts, and is named.
    """
    from crayon_bench_plugins.annotation.merging import merge as put_together

    merged = put_together(folders, output)
    _remark(merged.remarks)
    _remark(merged.conflicts[:_SHOWN])
    if len(merged.conflicts) > _SHOWN:
        click.echo(f"… and {len(merged.conflicts) - _SHOWN:,} more", err=True)
    for task, people in merged.annotators.items():
        click.echo(f"{output}: {task}: {merged.answers[task]:,} answers of {people} annotators", err=True)
    if merged.conflicts:
        click.echo(f"{len(merged.conflicts):,} questions were answered differently by the same annotator", err=True)


@click.command()
@_answers
@click.option("--task", "name", metavar="TASK", help="maps, neurons, boxes or masks. Default: all that there are.")
@click.option(
    "--show", type=click.IntRange(0), default=20, show_default=True, metavar="N", help="Disagreements to list."
)
def agreement(answers: Path, name: str | None, show: int) -> None:
    """Print how far annotators agree, on questions with two answers or more, and where they do not.

    Percent agreement, Krippendorff's alpha, Gwet's AC1, and Cohen's kappa of each pair; of boxes and masks, the mean
    overlap (intersection over union). Skips are no answers. Answers that look as if nobody had looked are named: those
    that came within half a second, and long rows of one answer, or of two in turn.
    """
    from crayon_bench.errors import did_you_mean
    from crayon_bench_plugins.annotation.agreement import agreement as measure
    from crayon_bench_plugins.annotation.answers.folder import Answers
    from crayon_bench_plugins.annotation.answers.tasks import Task
    from crayon_bench_plugins.annotation.answers.votes import votes_of

    folder = Answers.open(answers)
    if name is not None and name not in list(Task):
        raise UserError(f"--task {name}: there is no such task", did_you_mean(name, Task))
    tasks = folder.tasks() if name is None else [Task(name)]
    manifests = {task: folder.manifest(task) for task in tasks}
    if not any(folder.annotators(task) for task in tasks):
        raise _unanswered(answers, f"about {' or '.join(tasks)}")
    for task, manifest in manifests.items():
        histories, remarks = folder.histories(task, manifest)
        _remark(remarks)
        if len(histories) < 2:
            who = f"only {histories[0].annotator} has" if histories else "nobody has"
            _remark([f"{task}: agreement takes two annotators, and {who} answered so far"])
        if not histories:
            continue
        found = measure(task, votes_of(histories), partial(_mask, folder, manifest.image_size))
        _print(found, show)


def _unanswered(answers: Path, what: str) -> UserError:
    hint = f"crayon-bench annotate serve --answers {answers} asks them, with the options of before"
    return UserError(f"answers {answers}: nobody has answered the questions {what} yet", hint)


def _mask(folder: "Answers", image_size: tuple[int, int], vote: "Vote") -> "Bools":
    return folder.read_mask(vote.annotator, str(vote.answer), image_size)


def _print(found: "Agreement", show: int) -> None:
    judged = found.task.judged
    click.echo(f"{found.task}: {found.questions:,} questions with two answers or more")
    words = list(next(iter(found.counts.values()), {}))
    counts = [(name, *tally.values()) for name, tally in found.counts.items()]
    click.echo(list_text(["annotator", *words], counts))
    for name, told in found.signs.items():
        click.echo(on_screen(f"Warning: {name}: {'; '.join(told)}. Was it looked at?"))
    if judged:
        measures = (
            f"\npercent agreement {_number(found.percent, percent=True)}, Krippendorff's alpha"
            f" {_number(found.alpha)}, Gwet's AC1 {_number(found.ac1)}"
        )
        click.echo(on_screen(measures))
    else:
        click.echo(f"\nmean overlap (IoU) {_number(found.iou)}")
    if found.pairs:
        heads = ["", "", "questions", *(["agree", "Cohen's kappa"] if judged else ["mean IoU"])]
        rows = [
            (p.first, p.second, f"{p.questions:,}", *(_pair(p.percent, p.kappa) if judged else [_number(p.iou)]))
            for p in found.pairs
        ]
        click.echo("\n" + list_text(heads, rows))
    if found.disputed and show:
        said = [
            (
                one_line(one.example, 60),
                _number(one.agreed, percent=judged),
                "; ".join(f"{who}: {answer}" for who, answer in one.answers.items()),
                *([one.outcome] if judged else []),
            )
            for one in found.disputed[:show]
        ]
        heads = ["question", "agree" if judged else "IoU", "answers", *(["counts as"] if judged else [])]
        click.echo("\n" + list_text(heads, said))
        if (more := len(found.disputed) - show) > 0:
            click.echo(f"… and {more:,} more")
    click.echo("")


def _pair(percent: float | None, kappa: float | None) -> list[str]:
    return [_number(percent, percent=True), _number(kappa)]


def _number(value: float | None, *, percent: bool = False) -> str:
    if value is None:
        return "n/a"
    return f"{value:.1%}" if percent else f"{value:.3f}"


def _remark(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(one_line(line), err=True)
