"""Folders of answers put together."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crayon_bench import UserError
from crayon_bench.store.atomic import write_file
from crayon_bench_plugins.annotation.answers.events import Event, to_line
from crayon_bench_plugins.annotation.answers.folder import Answers, check_new, new_folder
from crayon_bench_plugins.annotation.answers.history import History, replay
from crayon_bench_plugins.annotation.answers.manifest import Manifest
from crayon_bench_plugins.annotation.answers.tasks import Task, is_word


@dataclass
class Merged:
    """What was put together. conflicts: questions to which one annotator gave different answers in two folders."""

    annotators: dict[Task, int] = field(default_factory=dict)
    answers: dict[Task, int] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def merge(folders: Sequence[Path], output: Path) -> Merged:
    """Write the answers of all *folders* to the new folder *output*, whole or not at all.

    What is there twice, with the same times, is one answer. What one annotator said in several folders is put in the
    order of the clock: of two answers to one question, the later one counts. Raises UserError if the folders ask
    different things, if something is broken, or if there is something at *output*.
    """
    parts = [Answers.open(path) for path in folders]
    check_new(output, "--output")
    for part in parts:
        if output.resolve().is_relative_to(part.path.resolve()):
            raise UserError(f"--output {output}: it lies in {part.path}, which is merged", "choose a folder elsewhere")
    manifests = {task: _same(task, parts) for task in Task if any(task in part.tasks() for part in parts)}
    found = Merged()
    with new_folder(output, "--output") as temporary:
        for task, manifest in manifests.items():
            _merge_task([part for part in parts if task in part.tasks()], manifest, Answers(temporary), found)
    return found


def _same(task: Task, parts: Sequence[Answers]) -> Manifest:
    having = [part for part in parts if task in part.tasks()]
    first = having[0].manifest(task)
    for part in having[1:]:
        if (why := first.difference(part.manifest(task))) is not None:
            raise UserError(
                f"answers {having[0].path} and {part.path} are not about the same {task}: {why}",
                "merge only what was asked about the same data and model",
            )
    return first


def _merge_task(parts: Sequence[Answers], manifest: Manifest, output: Answers, found: Merged) -> None:
    task = manifest.task
    output.begin(manifest)
    files: dict[str, list[tuple[Answers, Path]]] = {}
    for part in parts:
        for file in part.annotators(task):
            files.setdefault(file.name, []).append((part, file))
    found.annotators[task] = found.answers[task] = 0
    for _, sources in sorted(files.items()):
        histories, all_events = [], []
        for part, file in sources:
            events: list[Event] = []
            history, whole, size = replay(file, manifest, events)
            if whole < size:
                found.remarks.append(f"{file}: its last line is torn ({size - whole} bytes) and is left out")
            if history is not None:
                histories.append((part, history))
                all_events.append(events)
        if not histories:
            continue
        merged = History(histories[0][1].annotator)
        lines, masks = [], []
        for event in _in_order(all_events, merged):
            merged.add(event)
            lines.append(to_line(event, manifest, merged.annotator))
            if event.answer is not None and not is_word(event.answer) and isinstance(event.answer, str):
                masks.append(event)
        _copy_masks([part for part, _ in histories], merged, masks, output)
        write_file(output.file(task, merged.annotator), b"".join(lines))
        found.annotators[task] += 1
        found.answers[task] += len(merged.current)
        found.conflicts += _conflicts(task, histories, merged)


def _in_order(parts: Sequence[Sequence[Event]], merged: History) -> Iterator[Event]:
    """Yield the events of one annotator's files, each once, by the clock and never against the order of a file.

    *merged* has taken in each event before the next is asked for.
    """
    heads = [0] * len(parts)
    named = [list(_named(events)) for events in parts]
    numbers: dict[Any, int] = {}
    undone: set[Any] = set()
    while left := [i for i, events in enumerate(parts) if heads[i] < len(events)]:
        i = min(left, key=lambda i: parts[i][heads[i]].answered_at)
        event, name = parts[i][heads[i]], named[i][heads[i]]
        heads[i] += 1
        n = merged.length + 1
        if event.undoes is None:
            if name not in numbers:
                numbers[name] = n
                yield event._replace(n=n)
        elif name not in undone:
            undone.add(name)
            yield event._replace(n=n, undoes=numbers[name])


def _named(events: Iterable[Event]) -> Iterator[Any]:
    """Yield what each event is called in any file: an answer by what was said when, an undo by what it undoes."""
    times: Counter[Any] = Counter()
    names: dict[int, Any] = {}
    for event in events:
        if event.undoes is not None:
            yield names[event.undoes]
            continue
        said = (event.example, event.answer, event.shown_at, event.answered_at)
        times[said] += 1
        names[event.n] = (said, times[said])
        yield names[event.n]


def _copy_masks(parts: Sequence[Answers], merged: History, events: Sequence[Event], output: Answers) -> None:
    for event in events:
        sha = str(event.answer)
        having = [part for part in parts if part.mask_file(merged.annotator, sha).exists()]
        file = output.mask_file(merged.annotator, sha)
        if (having or event.n in merged.standing) and not file.exists():  # of what was undone, it may have been deleted
            content = (having or parts)[0].mask_content(merged.annotator, sha)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_file(file, content)


def _conflicts(task: Task, histories: Sequence[tuple[Answers, History]], merged: History) -> Iterator[str]:
    for example, event in merged.current.items():
        said = {
            str(part.path): "mask" if isinstance(one.answer, str) and not is_word(one.answer) else str(one.answer)
            for part, history in histories
            if (one := history.current.get(example)) is not None
        }
        answers = {history.current[example].answer for _, history in histories if example in history.current}
        if len(answers) > 1:
            each = ", ".join(f"{answer} in {path}" for path, answer in said.items())
            yield f"{task}: {merged.annotator}: {example}: {each}; {event.answered_at} counts"
