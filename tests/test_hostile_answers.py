"""Hostile folders of recorded answers, and names of annotators: see :mod:`hostile`."""

import json
import re
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given

from crayon_bench_plugins.annotation.agreement import agreement
from crayon_bench_plugins.annotation.answers.events import Via
from crayon_bench_plugins.annotation.answers.folder import Answers
from crayon_bench_plugins.annotation.answers.names import check_name, slug_of
from crayon_bench_plugins.annotation.answers.recorder import Recorder
from crayon_bench_plugins.annotation.answers.tasks import Task
from crayon_bench_plugins.annotation.answers.votes import votes_of
from crayon_bench_plugins.annotation.merging import merge
from crayon_bench_plugins.annotation.tables import rows_of, to_csv, to_parquet
from crayon_bench_plugins.oracles.human import HumanOracle
from hostile import attempt, cases, examples, mutated, mutated_text, mutated_value, texts
from recorded import BEGIN, hurried, manifest
from test_answers import everything

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path) -> Path:
    everything(tmp_path / "answers")
    return tmp_path / "answers"


def use(folder: Path) -> int:
    """What all commands and the oracle do."""
    HumanOracle.fingerprint(folder)
    answers = Answers.open(folder)
    rows, _ = rows_of(answers)
    assert to_csv(rows)
    assert to_parquet(rows)
    for task in answers.tasks():
        questions = answers.manifest(task)
        histories, _ = answers.histories(task, questions)
        agreement(
            task,
            votes_of(histories),
            lambda vote, size=questions.image_size: answers.read_mask(vote.annotator, vote.answer, size),
        )
    output = folder.with_name("merged")
    try:
        with hurried():
            merge([folder], output)
    finally:
        shutil.rmtree(output, ignore_errors=True)
    return len(rows)


def test_files_of_damaged_bytes(folder):
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".jsonl", ".json", ".png"))
    assert len(files) == 14
    for rng in cases("answers: bytes", 1500):
        file = rng.choice(files)
        whole = file.read_bytes()
        text = file.suffix != ".png" and rng.random() < 0.5
        other = rng.choice(files).read_bytes()
        file.write_bytes(mutated_text(rng, whole.decode()) if text else mutated(rng, whole, other))
        before = file.read_bytes()
        found = attempt("answers: bytes", lambda: use(folder))
        assert found is None or found <= 15  # a line less or a word changed; without its undo, one answer more
        assert file.read_bytes() == before
        file.write_bytes(whole)
    assert use(folder) == 14


def test_lines_and_questions_with_other_values(folder):
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".jsonl", ".json"))
    for rng in cases("answers: values", 1500):
        file = rng.choice(files)
        whole = file.read_text()
        lines = [json.loads(line) for line in whole.splitlines()]
        number = rng.randrange(len(lines))
        lines[number] = mutated_value(rng, lines[number])
        with suppress(ValueError, RecursionError):  # what has no text cannot be written
            file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        attempt("answers: values", lambda: use(folder))
        file.write_text(whole)


def test_recording_onto_damaged_files(folder):
    """It goes on behind what is whole, or is refused; what was there is still there."""
    file = Answers(folder).file(Task.MAPS, "Ada")
    whole = file.read_bytes()
    for rng in cases("answers: recording", 600):
        damaged = mutated(rng, whole)
        file.write_bytes(damaged)

        def go_on() -> None:
            with hurried(), Recorder(Answers(folder), Task.MAPS, "Ada") as recorder:
                recorder.answer("image-0", "yes", shown_at=BEGIN, via=Via.KEY)

        attempt("answers: recording", go_on)
        assert file.read_bytes().startswith(damaged[: damaged.rfind(b"\n") + 1])
        kept = b"".join(one.read_bytes() for one in folder.glob("maps/.*.damaged"))
        assert kept in (b"", damaged[damaged.rfind(b"\n") + 1 :])
        for one in folder.glob("maps/.*.damaged"):
            one.unlink()


@given(name=texts(["../x", "a/../../b", "=cmd", "Ada", "A" * 80, "é" * 80, "\u0301"]))
@examples(2000)
def test_any_name(name):
    kept = attempt("answers: names", lambda: check_name(name))
    if kept is not None:
        assert check_name(kept) == kept
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?-[0-9a-f]{8}", slug_of(kept))
        assert len(slug_of(kept)) <= 41


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path):
    """Answers go into the folder of answers."""
    folder = Answers(tmp_path / "answers")
    with hurried():
        folder.begin(manifest())
    target = tmp_path / "target"
    target.write_bytes(b"")
    folder.file(Task.MAPS, "Ada").symlink_to(target)
    with pytest.raises(Exception, match="cannot be written"):
        Recorder(folder, Task.MAPS, "Ada")
    assert target.read_bytes() == b""


def test_files_that_are_too_large(tmp_path, monkeypatch):
    everything(tmp_path)
    for name, words in (
        ("history.LARGEST_FILE", "larger than"),
        ("folder.LARGEST_MANIFEST", "larger than"),
        ("folder.LARGEST_MASK", "larger than"),
        ("folder.MOST_ANNOTATORS", "more than 1 annotators"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"crayon_bench_plugins.annotation.answers.{name}", 1)
            with pytest.raises(Exception, match=words):
                use(tmp_path)
    assert use(tmp_path) == 14
