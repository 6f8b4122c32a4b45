"""Recorded answers: what is on the disk is exactly what was acknowledged."""

import csv
import io
import json
import os
import random
import re
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import cohen_kappa_score

from crayon_bench.errors import UserError
from crayon_bench_plugins.annotation.agreement import (
    agreement,
    box_iou,
    cohen_kappa,
    gwet_ac1,
    krippendorff_alpha,
    mask_iou,
    percent_agreement,
)
from crayon_bench_plugins.annotation.answers.events import Event, Via, to_line, to_text
from crayon_bench_plugins.annotation.answers.folder import Answers
from crayon_bench_plugins.annotation.answers.history import History, replay
from crayon_bench_plugins.annotation.answers.names import slug_of
from crayon_bench_plugins.annotation.answers.recorder import Recorder
from crayon_bench_plugins.annotation.answers.shown import image_hash, map_hash, patches_hash
from crayon_bench_plugins.annotation.answers.tasks import Task
from crayon_bench_plugins.annotation.answers.votes import majority, votes_of
from crayon_bench_plugins.oracles.human import HumanOracle
from recorded import BEGIN, CONTENT, hurried, manifest, record


def answer_of(folder: Answers, task: Task, who: str) -> dict[str, object]:
    histories, _ = folder.histories(task)
    history = next(history for history in histories if history.annotator == who)
    return {example: event.answer for example, event in history.current.items()}


# ---------------------------------------------------------------------------------------------------------------------
# lines


def test_a_line_has_what_the_reference_says(tmp_path):
    questions = manifest()
    with hurried():
        folder = Answers(tmp_path)
        folder.begin(questions)
        with Recorder(folder, Task.MAPS, "  Jose\u0301 ") as recorder:  # é in two characters
            late = datetime(2026, 1, 31, 11, 0, 2, 500_000, tzinfo=UTC)
            recorder.answer("image-2", "maybe", shown_at=BEGIN, via=Via.TOUCH, answered_at=late)
            assert recorder.undo(via=Via.KEY, answered_at=late).example == "image-2"
            assert recorder.undo(via=Via.KEY) is None
    lines = [json.loads(line) for line in (tmp_path / "maps/jose-24c2ab65.jsonl").read_text().splitlines()]
    shared = {"example": "image-2", "shown": map_hash(np.full((2, 2), 2)), "dataset": CONTENT, "model": "0" * 64}
    shared |= {"annotator": "José", "answered_at": "2026-01-31T11:00:02.500Z"}
    assert lines == [
        {**shared, "n": 1, "op": "answer", "answer": "maybe", "shown_at": "2026-01-31T09:30:00.000Z", "via": "touch"},
        {**shared, "n": 2, "op": "undo", "undoes": 1, "via": "key"},
    ]
    assert json.loads((tmp_path / "maps/questions.json").read_text())["questions"][2] == ["image-2", shared["shown"]]


def test_hashes_stay_what_they_are():
    """Others' answers must fit tomorrow's version too."""
    assert map_hash(np.array([[0.0, 0.5], [1.0, 0.25]])) == "4c305346a6c470cd"
    assert patches_hash(["a", "b"], np.arange(8).reshape(2, 4)) == "a7a2a9f8e70fa3ea"
    assert image_hash("content", "example") == "37f74f86d707b9bb"
    assert slug_of("Ada Lovelace") == "ada-lovelace-76740216"


@pytest.mark.parametrize(
    ("task", "good", "bad"),
    [
        (Task.MAPS, ["yes", "no", "maybe", "skip"], ["Yes", "", None, 1, True, [0, 0, 1, 1], "a" * 64]),
        (Task.NEURONS, ["yes", "no", "maybe", "skip"], ["unasked"]),
        (
            Task.BOXES,
            ["maybe", "skip", (0, 0, 8, 10), [1, 2, 3, 4]],
            [
                "yes",
                (0, 0, 9, 10),
                (0, 0, 8, 11),
                (3, 0, 3, 5),
                (-1, 0, 3, 5),
                (0, 0, 1.0, 1),
                (True, 1, 2, 2),
                (1, 2, 3),
            ],
        ),
        (Task.MASKS, ["maybe", "skip", "a" * 64], ["yes", "a" * 63, "A" * 64, "../" + "a" * 61, (0, 0, 1, 1)]),
    ],
)
def test_each_task_has_its_answers(tmp_path, task, good, bad):
    folder = Answers(tmp_path)
    with hurried():
        folder.begin(manifest(task))
        first = manifest(task).questions[0][0]
        with Recorder(folder, task, "Ada") as recorder:
            for answer in good:
                recorder.answer(first, answer, shown_at=BEGIN, via=Via.POINTER)
                assert recorder.history.current[first].answer in (answer, tuple(answer))
            for answer in bad:
                with pytest.raises(UserError, match=r"box must be|no answer about"):
                    recorder.answer(first, answer, shown_at=BEGIN, via=Via.POINTER)
            with pytest.raises(UserError, match="there is none of this name"):
                recorder.answer("elsewhere", "maybe", shown_at=BEGIN, via=Via.POINTER)
    history, whole, size = replay(folder.file(task, "Ada"), manifest(task))
    assert (history.length, whole) == (len(good), size)


def test_any_answers_and_undos_are_replayed_as_they_were_given(tmp_path):
    """Against a list from which undo takes the last: what stands, what counts, and in what order."""
    rng = random.Random(0)
    folder, questions = Answers(tmp_path), manifest(n=5)
    given: list[tuple[str, str]] = []
    with hurried():
        folder.begin(questions)
        for _ in range(20):
            with Recorder(folder, Task.MAPS, "Ada") as recorder:
                for _ in range(rng.randrange(30)):
                    if rng.random() < 0.4:
                        taken = recorder.undo(via=Via.KEY)
                        assert (taken and (taken.example, taken.answer)) == (given.pop() if given else None)
                    else:
                        given.append((f"image-{rng.randrange(5)}", rng.choice(["yes", "no", "maybe", "skip"])))
                        recorder.answer(
                            *given[-1], shown_at=BEGIN, via=Via.KEY, answered_at=BEGIN + timedelta(seconds=1)
                        )
                now = recorder.history
            again = replay(recorder.file, questions)[0] or History("Ada")
            for history in (now, again):
                assert [(event.example, event.answer) for event in history.standing.values()] == given
                assert {example: event.answer for example, event in history.current.items()} == dict(given)
                assert history.seconds == pytest.approx(len(given))


def test_a_history_of_twenty_annotators_is_read_fast(tmp_path):
    """10,000 lines in well under a second of CPU: 200,000 must not keep anybody waiting."""
    questions = manifest(n=10_000)
    folder = Answers(tmp_path)
    with hurried():
        folder.begin(questions)
    at = to_text(BEGIN)
    lines = (to_line(Event(i + 1, f"image-{i}", "no", at, at, "key"), questions, "Ada") for i in range(10_000))
    folder.file(Task.MAPS, "Ada").write_bytes(b"".join(lines))
    questions = folder.manifest(Task.MAPS)
    start = time.process_time()
    ((history,), _) = folder.histories(Task.MAPS, questions)
    assert time.process_time() - start < 1
    assert len(history.current) == 10_000
    with hurried(), Recorder(folder, Task.MAPS, "Ada") as recorder:
        start = time.process_time()
        for i in range(300):
            recorder.answer(f"image-{i}", "yes", shown_at=BEGIN, via=Via.KEY)
        assert (time.process_time() - start) / 300 < 0.002


def test_answering_waits_for_the_disk(tmp_path):
    """Acknowledged only after the line was synced, and the folder too when the file is new."""
    folder = Answers(tmp_path)
    folder.begin(manifest())
    synced = []
    real = os.fsync

    def noted(descriptor):
        size = os.fstat(descriptor).st_size
        real(descriptor)
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), size))

    with patch("os.fsync", noted), Recorder(folder, Task.MAPS, "Ada") as recorder:
        assert [name for name, _ in synced] == [str(tmp_path / "maps")]
        for _ in range(2):
            recorder.answer("image-0", "yes", shown_at=BEGIN, via=Via.KEY)
            assert synced[-1] == (str(recorder.file), recorder.file.stat().st_size)
    assert len(synced) == 3


# ---------------------------------------------------------------------------------------------------------------------
# accidents

WRITER = """
import os, random, signal, sys, time
from datetime import UTC, datetime
from pathlib import Path
from crayon_bench_plugins.annotation.answers.events import Via
from crayon_bench_plugins.annotation.answers.folder import Answers
from crayon_bench_plugins.annotation.answers.recorder import Recorder
from crayon_bench_plugins.annotation.answers.tasks import Task

rng = random.Random(5)
for trial in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        with Recorder(Answers(Path(sys.argv[1])), Task.MAPS, "Ada") as recorder:
            while True:
                n = recorder.history.length + 1
                if n % 7 == 0:
                    recorder.undo(via=Via.KEY)
                else:
                    recorder.answer(f"image-{n % 50}", ("yes", "no")[n % 2], shown_at=datetime.now(UTC), via=Via.KEY)
                os.write(1, f"{n}\\n".encode())
    time.sleep(0.005 + 0.06 * rng.random())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.write(1, b"killed\\n")
"""


def test_kill_9_at_50_random_moments_loses_no_acknowledged_answer(tmp_path):
    folder, questions = Answers(tmp_path), manifest(n=50)
    folder.begin(questions)
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path), "50"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    said = done.stdout.split()
    assert said.count("killed") == 50
    acknowledged = [int(word) for word in said if word != "killed"]
    assert acknowledged == sorted(set(acknowledged))  # every writer went on where the last one stopped
    assert len(acknowledged) > 50
    events: list[Event] = []
    _, whole, size = replay(folder.file(Task.MAPS, "Ada"), questions, events)
    there = {event.n: event for event in events}
    for n in acknowledged:
        assert n in there
        assert there[n].undoes is not None if n % 7 == 0 else there[n].answer == ("yes", "no")[n % 2]
    # At most one a kill was on the disk, and not yet acknowledged.
    assert len(events) <= len(acknowledged) + 50
    assert whole == size


def test_a_torn_last_line_is_set_aside_wherever_it_was_torn(tmp_path):
    folder = record(tmp_path, manifest(), "Ada", {"image-0": "yes", "image-1": "no"})
    file = folder.file(Task.MAPS, "Ada")
    content = file.read_bytes()
    first = content.index(b"\n") + 1
    for cut in (*range(first + 1, len(content), 23), len(content) - 1):
        file.write_bytes(content[:cut])
        (history,), remarks = folder.histories(Task.MAPS)  # reading changes nothing
        assert list(history.current) == ["image-0"]
        assert f"its last line is torn ({cut - first} bytes)" in remarks[0]
        assert file.read_bytes() == content[:cut]
        with hurried(), Recorder(folder, Task.MAPS, "Ada") as recorder:
            assert "its last line was torn" in recorder.remarks[0]
            recorder.answer("image-2", "maybe", shown_at=BEGIN, via=Via.KEY)
        (kept,) = tmp_path.glob("maps/.*.damaged")
        assert kept.read_bytes() == content[first:cut]
        kept.unlink()
        assert answer_of(folder, Task.MAPS, "Ada") == {"image-0": "yes", "image-2": "maybe"}
        assert folder.histories(Task.MAPS)[1] == []


def test_a_file_with_nothing_but_a_torn_line(tmp_path):
    folder = record(tmp_path, manifest(), "Ada", {"image-0": "yes"})
    file = folder.file(Task.MAPS, "Ada")
    file.write_bytes(file.read_bytes()[:-1])
    assert folder.histories(Task.MAPS)[0] == []
    with pytest.raises(UserError, match="nobody has answered a question yet"):
        HumanOracle.fingerprint(tmp_path)
    with hurried(), Recorder(folder, Task.MAPS, "Ada") as recorder:
        assert recorder.history.length == 0


BREAK = {
    "not JSON": (lambda line: line[:40], "Unterminated|Expecting|broken"),
    "no object": (lambda line: "[1]", "expected an object"),
    "a field is missing": (lambda line: line.replace('"via"', '"by"'), "there is no 'via'"),
    "a line is missing": (lambda line: line.replace('"n": 2', '"n": 3'), "n must be 2"),
    "another annotator": (lambda line: line.replace('"Ada"', '"Bob"'), "not the one whose file this is"),
    "another question": (lambda line: line.replace("image-1", "image-9"), "no question has this"),
    "another map": (lambda line: re.sub(r'"shown": "\w+"', '"shown": "0"', line), "is not that of questions.json"),
    "another model": (lambda line: line.replace('"' + "0" * 64, '"1' + "0" * 63), "is not that of questions.json"),
    "another data set": (lambda line: line.replace(CONTENT, "d" * 64), "is not that of questions.json"),
    "no such answer": (lambda line: line.replace('"no"', '"nein"'), "no answer about maps"),
    "no such day": (lambda line: line.replace("2026-01-31", "2026-02-31"), "day"),
    "no such time": (lambda line: line.replace(".000Z", "Z"), "shown_at|answered_at"),
    "no such way": (lambda line: line.replace('"key"', '"mouse"'), "'via' must be one of"),
    "an undo of nothing": (
        lambda line: line.replace('"answer", "ex', '"undo", "undoes": 7, "ex'),
        "there is no answer 7 about this question",
    ),
    "too long": (lambda line: line[:-1] + " " * 9000 + "}", "longer than 8192"),
    "too deep": (lambda line: "[" * 8000, "recursion"),
    "two lines in one": (lambda line: line + line, "Extra data"),
    "no text": (lambda line: line.replace("Ada", "\udcff"), "utf-8"),
}


@pytest.mark.parametrize("what", BREAK)
def test_a_broken_line_is_named_with_its_file_and_number(cli, tmp_path, what):
    change, words = BREAK[what]
    folder = record(tmp_path, manifest(), "Ada", {"image-0": "yes", "image-1": "no", "image-2": "yes"})
    file = folder.file(Task.MAPS, "Ada")
    lines = file.read_text().splitlines()
    lines[1] = change(lines[1])
    broken = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    file.write_bytes(broken)
    for command in (["agreement"], ["export", "--output", "out.csv"]):
        result = cli("annotate", *command, "--answers", tmp_path)
        assert result.code == 2
        assert f"{file.name}, line 2: broken: " in result.err
        assert re.search(words, result.err)
        assert len(result.err.strip().splitlines()) == 1
    with pytest.raises(UserError, match="line 2"):
        Recorder(folder, Task.MAPS, "Ada")
    assert file.read_bytes() == broken
    assert not Path("out.csv").exists()


def test_a_full_disk_acknowledges_nothing_by_halves(tmp_path):
    """The kernel writes half a line and no more: the answer is refused, the half is taken back, and it goes on."""
    folder = record(tmp_path, manifest(), "Ada", {"image-0": "yes"})
    file = folder.file(Task.MAPS, "Ada")
    content = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Recorder(folder, Task.MAPS, "Ada") as recorder:
        for stuck in (False, True):
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) + 100, hard))
            try:
                with patch("os.ftruncate", side_effect=OSError(5, "Input/output error")) if stuck else hurried():  # noqa: SIM117
                    with pytest.raises(UserError, match=r"cannot be written: .*; the answer was not recorded"):
                        recorder.answer("image-1", "no", shown_at=BEGIN, via=Via.KEY)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert file.read_bytes().startswith(content)
            assert file.stat().st_size == len(content) + (100 if stuck else 0)
            assert list(recorder.history.current) == ["image-0"]
        recorder.answer("image-1", "maybe", shown_at=BEGIN, via=Via.KEY)
    assert answer_of(folder, Task.MAPS, "Ada") == {"image-0": "yes", "image-1": "maybe"}


def test_an_answer_that_cannot_be_synced_is_not_acknowledged(tmp_path):
    folder = record(tmp_path, manifest(), "Ada", {"image-0": "yes"})
    with Recorder(folder, Task.MAPS, "Ada") as recorder:
        with (
            patch("os.fsync", side_effect=OSError(5, "Input/output error")),
            pytest.raises(UserError, match="Input/output"),
        ):
            recorder.answer("image-1", "no", shown_at=BEGIN, via=Via.KEY)
        assert "image-1" not in recorder.history.current
    assert answer_of(folder, Task.MAPS, "Ada") == {"image-0": "yes"}


def test_two_servers_cannot_record_one_annotator(tmp_path):
    folder = Answers(tmp_path)
    folder.begin(manifest())
    with Recorder(folder, Task.MAPS, "Ada") as first:
        with pytest.raises(UserError, match="another process is recording"):
            Recorder(folder, Task.MAPS, "Ada")
        with Recorder(folder, Task.MAPS, "Bob") as other:
            for recorder, answer in ((first, "yes"), (other, "no")):
                recorder.answer("image-0", answer, shown_at=BEGIN, via=Via.KEY)
    with pytest.raises(UserError, match="recording has ended"):
        first.answer("image-1", "yes", shown_at=BEGIN, via=Via.KEY)
    Recorder(folder, Task.MAPS, "Ada").close()
    assert {who: answer_of(folder, Task.MAPS, who) for who in ("Ada", "Bob")} == {
        "Ada": {"image-0": "yes"},
        "Bob": {"image-0": "no"},
    }


def test_questions_are_written_once(tmp_path):
    folder = Answers(tmp_path)
    folder.begin(manifest())
    before = folder.manifest_file(Task.MAPS).read_bytes()
    folder.begin(manifest())
    assert folder.manifest_file(Task.MAPS).read_bytes() == before
    for change, words in (
        ({"seed": 1}, "seed is 0 in one and 1 in the other"),
        ({"n": 5}, "the questions are not the same"),
        ({"maps": "contrast"}, "maps is logit in one and contrast in the other"),
        ({"class_names": ["dog", "cat"]}, "names of the classes"),
        ({"dataset": {"name": "made-up", "source": "standin", "content": "d"}}, f"dataset content is {CONTENT}"),
    ):
        with pytest.raises(UserError, match=words):
            folder.begin(manifest(**change))
    assert folder.manifest(Task.MAPS) == manifest()


@pytest.mark.parametrize("name", ["", "  ", "a" * 81, "a\nb", "a\x00b", "\u202eabc", "\ud800"])
def test_names_that_are_none(tmp_path, name):
    folder = Answers(tmp_path)
    folder.begin(manifest())
    with pytest.raises(UserError, match="1 to 80 printable characters"):
        Recorder(folder, Task.MAPS, name)
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["questions.json"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "CON", ".", "名前", "a/b", "<b>", "=1+1", "Ada", "ada"])
def test_any_other_name_has_a_safe_file_of_its_own(tmp_path, name):
    record(tmp_path / "in", manifest(), name, {"image-0": "yes"})
    (file,) = (tmp_path / "in/maps").glob("*.jsonl")
    assert re.fullmatch(r"[a-z0-9-]+-[0-9a-f]{8}\.jsonl", file.name)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert slug_of("Ada") != slug_of("ada")


def test_a_mask_is_what_was_painted(tmp_path):
    folder, rng = Answers(tmp_path), np.random.default_rng(0)
    for shape in ((8, 10), (1, 1), (7, 33)):
        mask = rng.random(shape) < 0.5
        sha = folder.write_mask("Ada", mask)
        assert sha == folder.write_mask("Ada", mask)
        assert (folder.read_mask("Ada", sha, shape) == mask).all()
        file = tmp_path / "masks/files" / slug_of("Ada") / f"{sha}.png"
        assert file.read_bytes()[24] == 1  # bits a pixel
        with pytest.raises(UserError, match="pixels of 1 bit"):
            folder.read_mask("Ada", sha, (shape[0] + 1, shape[1]))
        file.write_bytes(file.read_bytes() + b"x")
        with pytest.raises(UserError, match="checksum"):
            folder.read_mask("Ada", sha, shape)
        file.unlink()
        with pytest.raises(UserError, match="a mask is missing that Ada painted"):
            folder.read_mask("Ada", sha, shape)


def test_votes():
    cases = {"yes": "yes", "yes no": "maybe", "yes yes no": "yes", "yes maybe": "maybe", "no maybe maybe": "maybe"}
    cases |= {
        "yes no maybe": "maybe",
        "no no yes yes maybe": "maybe",
        "skip": None,
        "skip no": "no",
        "no skip skip": "no",
    }
    for given, outcome in cases.items():
        assert majority(given.split()) == outcome, given
    assert majority([]) is None


# ---------------------------------------------------------------------------------------------------------------------
# export and merge


def everything(folder: Path, names=("Ada", "Bob")) -> Answers:
    """Answers about all tasks."""
    drawn = [(f"image-{i}", image_hash(CONTENT, f"image-{i}")) for i in range(4)]
    for who in names:
        record(folder, manifest(), who, {"image-0": "yes", "image-3": "skip", "image-1": "maybe"})
        record(folder, manifest(Task.NEURONS), who, {"neuron-2": "no"})
        record(
            folder,
            manifest(Task.BOXES, model=None, questions=drawn),
            who,
            {"image-0": (1, 2, 3, 4), "image-1": "maybe"},
        )
        with hurried():
            sha = Answers(folder).write_mask(who, np.eye(8, 10, dtype=np.bool_))
        record(folder, manifest(Task.MASKS, model=None, questions=drawn), who, {"image-2": sha})
    with hurried(), Recorder(Answers(folder), Task.MAPS, names[0]) as recorder:
        recorder.answer("image-0", "no", shown_at=BEGIN, via=Via.POINTER, answered_at=BEGIN)
        recorder.answer("image-2", "no", shown_at=BEGIN, via=Via.POINTER, answered_at=BEGIN)
        recorder.undo(via=Via.POINTER)
    return Answers(folder)


def test_export(cli, tmp_path):
    everything(tmp_path / "answers", ("=HYPERLINK(1)", "Bob"))
    for form in ("csv", "parquet"):
        result = cli(
            "annotate", "export", "--answers", tmp_path / "answers", "--format", form, "--output", f"../out.{form}"
        )
        assert result.code == 0, result.err
        assert "14 answers" in result.err
    with Path("../out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["example", "task", "annotator", "answer", "shown_at", "answered_at", "via"]
    found = {(row["task"], row["annotator"], row["example"]): row["answer"] for row in rows}
    assert len(found) == len(rows) == 14
    for name in ("'=HYPERLINK(1)", "Bob"):
        slug = slug_of(name.lstrip("'"))
        mine = {(task, example): answer for (task, who, example), answer in found.items() if who == name}
        mask = mine.pop(("masks", "image-2"))
        assert re.fullmatch(rf"masks/files/{slug}/[0-9a-f]{{64}}\.png", mask)
        assert (tmp_path / "answers" / mask).is_file()
        assert mine == {
            ("maps", "image-0"): "yes" if name == "Bob" else "no",
            ("maps", "image-1"): "maybe",
            ("maps", "image-3"): "skip",
            ("neurons", "neuron-2"): "no",
            ("boxes", "image-0"): "1 2 3 4",
            ("boxes", "image-1"): "maybe",
        }
    assert rows[0]["answered_at"] == "2026-01-31T09:30:00.000Z"
    table = pq.read_table("../out.parquet").to_pylist()
    assert table[0]["answered_at"] == BEGIN
    assert {row["annotator"] for row in table} == {"=HYPERLINK(1)", "Bob"}  # nothing computes it there
    assert [row["example"] for row in table] == [row["example"] for row in rows]


def test_export_where_it_cannot_be_written(cli, tmp_path):
    everything(tmp_path / "answers")
    result = cli("annotate", "export", "--answers", tmp_path / "answers", "--output", tmp_path / "nowhere/out.csv")
    assert result.code == 2
    assert "--output" in result.err


def test_merging_what_is_there_twice_changes_nothing(cli, tmp_path):
    everything(tmp_path / "a")
    result = cli(
        "annotate", "merge", "--answers", tmp_path / "a", "--answers", tmp_path / "a", "--output", tmp_path / "c"
    )
    assert result.code == 0, result.err
    assert "maps: 6 answers of 2 annotators" in result.err
    assert "differently" not in result.err
    one, other = (
        {f.relative_to(root): f.read_bytes() for f in root.rglob("*") if f.is_file() and f.suffix != ".lock"}
        for root in (tmp_path / "a", tmp_path / "c")
    )
    assert one == other
    assert HumanOracle.fingerprint(tmp_path / "a") == HumanOracle.fingerprint(tmp_path / "c")


def test_merging_people_and_the_same_person(cli, tmp_path):
    """Different people side by side; of one person, each answer once, by the clock, and what was undone stays undone."""
    record(tmp_path / "a", manifest(), "Ada", {"image-0": "yes", "image-1": "yes"})
    (tmp_path / "b/maps").mkdir(parents=True)
    for name in ("questions.json", f"{slug_of('Ada')}.jsonl"):  # a copy, with which she went on
        (tmp_path / "b/maps" / name).write_bytes((tmp_path / "a/maps" / name).read_bytes())
    with hurried(), Recorder(Answers(tmp_path / "b"), Task.MAPS, "Ada") as recorder:
        recorder.undo(via=Via.KEY, answered_at=BEGIN + timedelta(minutes=1))
        late = BEGIN + timedelta(minutes=2)
        recorder.answer("image-0", "no", shown_at=late, via=Via.KEY, answered_at=late)
    with hurried(), Recorder(Answers(tmp_path / "a"), Task.MAPS, "Ada") as recorder:
        late = BEGIN + timedelta(minutes=3)
        recorder.answer("image-2", "maybe", shown_at=late, via=Via.KEY, answered_at=late)
    record(tmp_path / "b", manifest(), "Bob", {"image-0": "no"})
    for order in (("a", "b"), ("b", "a")):
        output = tmp_path / "".join(order)
        folders = [part for name in order for part in ("--answers", tmp_path / name)]
        result = cli("annotate", "merge", *folders, "--output", output)
        assert result.code == 0, result.err
        assert "maps: Ada: image-0: " in result.err
        assert "2026-01-31T09:32:00.000Z counts" in result.err
        assert "1 questions were answered differently" in result.err
        assert answer_of(Answers(output), Task.MAPS, "Ada") == {"image-0": "no", "image-2": "maybe"}
        assert answer_of(Answers(output), Task.MAPS, "Bob") == {"image-0": "no"}
        assert len(Answers(output).file(Task.MAPS, "Ada").read_text().splitlines()) == 5


def test_of_two_answers_of_one_person_the_later_counts(tmp_path):
    from crayon_bench_plugins.annotation.merging import merge

    for name, answer, minutes in (("a", "yes", 5), ("b", "no", 1)):
        folder, at = Answers(tmp_path / name), BEGIN + timedelta(minutes=minutes)
        folder.begin(manifest())
        with hurried(), Recorder(folder, Task.MAPS, "Ada") as recorder:
            recorder.answer("image-0", answer, shown_at=at, via=Via.KEY, answered_at=at)
    for order in ("ab", "ba"):
        merged = merge([tmp_path / name for name in order], tmp_path / order)
        assert answer_of(Answers(tmp_path / order), Task.MAPS, "Ada") == {"image-0": "yes"}
        assert len(merged.conflicts) == 1


def test_merging_any_two_halves_of_a_history(tmp_path):
    """Copies that went on apart: every answer is there once, each file's order holds though clocks go backwards."""
    from crayon_bench_plugins.annotation.merging import merge

    for number in range(12):
        rng = random.Random(number)
        questions = manifest(n=4)
        where = [tmp_path / f"{number}-{name}" for name in ("a", "b", "c")]
        stood = []
        for folder, said in zip(where[:2], (rng.randrange(6), rng.randrange(6)), strict=True):
            if folder is where[1]:
                (folder / "maps").mkdir(parents=True)
                for file in where[0].glob("maps/*.json*"):
                    (folder / "maps" / file.name).write_bytes(file.read_bytes())
            with hurried():
                Answers(folder).begin(questions)
            for _ in range(2 if folder is where[0] else 1):
                with hurried(), Recorder(Answers(folder), Task.MAPS, "Ada") as recorder:
                    for _ in range(said + 1):
                        at = BEGIN + timedelta(seconds=rng.randrange(-20, 20), milliseconds=rng.randrange(1000))
                        if rng.random() < 0.3:
                            recorder.undo(via=Via.KEY, answered_at=at)
                        else:
                            example = f"image-{rng.randrange(4)}"
                            recorder.answer(
                                example, rng.choice(("yes", "no")), shown_at=at, via=Via.KEY, answered_at=at
                            )
            events: list[Event] = []
            replay(recorder.file, questions, events)
            undone = {event.undoes for event in events}
            stood.append({(e.example, e.answer, e.answered_at): e.n not in undone for e in events if e.undoes is None})
        merge(where[:2], where[2])
        file = Answers(where[2]).file(Task.MAPS, "Ada")
        history = replay(file, questions)[0]
        got = [(e.example, e.answer, e.answered_at) for e in history.standing.values()]
        # What one of them took back is taken back.
        expected = {said for said in {**stood[0], **stood[1]} if all(part.get(said, True) for part in stood)}
        assert set(got) == expected
        assert len(got) == len(expected)


def test_merging_what_does_not_belong_together(cli, tmp_path):
    everything(tmp_path / "a")
    record(tmp_path / "b", manifest(seed=3), "Cy", {"image-0": "yes"})
    folders = ["--answers", tmp_path / "a", "--answers", tmp_path / "b"]
    result = cli("annotate", "merge", *folders, "--output", tmp_path / "c")
    assert result.code == 2
    assert "not about the same maps: seed is 0 in one and 3 in the other" in result.err
    inside = cli("annotate", "merge", *folders, "--output", tmp_path / "a" / "within")
    assert inside.code == 2 and "which is merged" in inside.err and not (tmp_path / "a" / "within").exists()
    taken = cli("annotate", "merge", "--answers", tmp_path / "a", "--output", tmp_path / "b")
    assert taken.code == 2
    assert "there is something already" in taken.err
    assert sorted(path.name for path in tmp_path.iterdir() if path.name in "abc" or path.name.startswith(".")) == [
        "a",
        "b",
    ]


def test_merging_leaves_torn_lines_out_and_says_so(cli, tmp_path):
    folder = everything(tmp_path / "a")
    file = folder.file(Task.MAPS, "Bob")
    file.write_bytes(file.read_bytes() + b'{"n": 4')
    result = cli("annotate", "merge", "--answers", tmp_path / "a", "--output", tmp_path / "c")
    assert result.code == 0
    assert "its last line is torn (7 bytes) and is left out" in result.err
    assert answer_of(Answers(tmp_path / "c"), Task.MAPS, "Bob") == answer_of(folder, Task.MAPS, "Bob")


# ---------------------------------------------------------------------------------------------------------------------
# agreement


def counts_of(*raters, k):
    """Answers 1…k of each rater, 0 for none, as counts (questions, k)."""
    table = np.array(raters)
    return np.stack([(table == c).sum(0) for c in range(1, k + 1)], axis=1)


def test_published_examples():
    """The vignette of irrCAC, by the author of AC1: 100 patients of 2 abstractors; 12 units of 4 observers."""
    table = np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]])
    first, second = (np.repeat(codes, table.ravel()) for codes in ([0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 2] * 3))
    counts = counts_of(first + 1, second + 1, k=3)
    assert cohen_kappa(first, second, 3) == pytest.approx(0.7964094, abs=5e-8)
    assert gwet_ac1(counts) == pytest.approx(0.8493305, abs=5e-8)
    assert krippendorff_alpha(counts) == pytest.approx(0.7972585, abs=5e-8)
    assert percent_agreement(counts) == pytest.approx(0.89)
    four = counts_of(
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
        k=5,
    )
    assert krippendorff_alpha(four) == pytest.approx(0.743, abs=5e-4)
    assert gwet_ac1(four) == pytest.approx(0.77544, abs=5e-6)
    assert percent_agreement(four) == pytest.approx(0.8181818)


def brute(units, k):
    """Percent agreement, AC1 and alpha, one pair of answers after the other."""
    pairs = [[a == b for a, b in combinations(unit, 2)] for unit in units if len(unit) > 1]
    observed = np.mean([np.mean(each) for each in pairs])
    shares = np.array([[unit.count(c) / len(unit) for c in range(k)] for unit in units if unit]).mean(0)
    chance = sum(p * (1 - p) for p in shares) / (k - 1)
    values = [value for unit in units if len(unit) > 1 for value in unit]
    expected = np.mean([a != b for a, b in combinations(values, 2)])
    within = sum(np.mean([a != b for a, b in combinations(unit, 2)]) * len(unit) for unit in units if len(unit) > 1)
    return observed, (observed - chance) / (1 - chance), 1 - within / len(values) / expected


@pytest.mark.parametrize("seed", range(5))
def test_measures_are_those_of_brute_force_and_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    table = rng.choice(4, size=(5, 40), p=[0.4, 0.05, 0.45, 0.1])  # 0: no answer
    counts = counts_of(*table, k=3)
    units = [[value - 1 for value in column if value] for column in table.T.tolist()]
    expected = brute(units, 3)
    got = percent_agreement(counts), gwet_ac1(counts), krippendorff_alpha(counts)
    assert got == pytest.approx(expected)
    both = (table[0] > 0) & (table[1] > 0)
    first, second = table[0, both] - 1, table[1, both] - 1
    assert cohen_kappa(first, second, 3) == pytest.approx(cohen_kappa_score(first, second))


def test_where_all_say_the_same_kappa_and_alpha_are_not_defined_and_ac1_is_one():
    counts = counts_of([2, 2, 2], [2, 2, 2], k=3)
    assert (percent_agreement(counts), gwet_ac1(counts), krippendorff_alpha(counts)) == (1, 1, None)
    assert cohen_kappa(np.ones(3, int), np.ones(3, int), 3) is None
    alone = counts_of([1, 2, 0], [0, 0, 0], k=3)
    assert (percent_agreement(alone), gwet_ac1(alone), krippendorff_alpha(alone)) == (None, None, None)


def test_the_report_lists_disagreements_first_and_skips_are_no_answers(cli, tmp_path):
    questions = manifest(n=6)
    words = {"y": "yes", "n": "no", "m": "maybe", "s": "skip"}
    said = {"Ada": "yynsy", "Bob": "ynnyn", "Cy": "ynys"}
    for who, each in said.items():
        record(tmp_path, questions, who, {f"image-{i}": words[letter] for i, letter in enumerate(each)})
    found = agreement(Task.MAPS, votes_of(Answers(tmp_path).histories(Task.MAPS)[0]))
    assert found.questions == 4
    assert found.counts["Ada"] == {"yes": 3, "no": 1, "maybe": 0, "skip": 1}
    assert [(one.example, one.outcome) for one in found.disputed] == [
        ("image-4", "maybe"),
        ("image-1", "no"),
        ("image-2", "no"),
    ]
    assert found.percent == pytest.approx((1 + 1 / 3 + 1 / 3 + 0) / 4)
    assert {(p.first, p.second): (p.questions, p.percent) for p in found.pairs}["Ada", "Bob"] == (4, 0.5)
    result = cli("annotate", "agreement", "--answers", tmp_path, "--task", "maps", "--show", 1)
    assert result.code == 0
    assert "maps: 4 questions with two answers or more" in result.out
    assert "percent agreement 41.7%" in result.out
    assert re.search(r"image-4 +0\.0% +Ada: yes; Bob: no +maybe", result.out)
    assert "… and 2 more" in result.out
    assert "did you mean 'maps'" in cli("annotate", "agreement", "--answers", tmp_path, "--task", "mapz").err
    assert "no questions about boxes" in cli("annotate", "agreement", "--answers", tmp_path, "--task", "boxes").err


def test_what_agreement_lacks_is_told(cli, tmp_path):
    (tmp_path / "empty").mkdir()
    Answers(tmp_path / "asked").begin(manifest())
    for folder, what in (("empty", "no answers are recorded there"), ("asked", "nobody has answered the questions")):
        for command in (["agreement"], ["export", "--output", "out.csv"]):
            result = cli("annotate", *command, "--answers", tmp_path / folder)
            assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
            assert f"answers {tmp_path / folder}: {what}" in result.err
        assert not Path("out.csv").exists()
    record(tmp_path / "asked", manifest(), "Ada", {"image-0": "yes"})
    Answers(tmp_path / "asked").begin(manifest(Task.BOXES))
    alone = cli("annotate", "agreement", "--answers", tmp_path / "asked")
    assert alone.code == 0
    assert "maps: agreement takes two annotators, and only Ada has answered so far" in alone.err
    assert "boxes: agreement takes two annotators, and nobody has answered so far" in alone.err
    assert "boxes" not in alone.out


def test_overlap_of_drawings(cli, tmp_path):
    assert box_iou((0, 0, 4, 4), (2, 2, 6, 6)) == pytest.approx(4 / 28)
    assert box_iou((0, 0, 2, 2), (2, 2, 4, 4)) == 0
    grid = np.indices((8, 10))
    for (a, b), (c, d) in [(((1, 2), (5, 9)), ((0, 3), (4, 10))), (((0, 0), (8, 10)), ((3, 3), (4, 4)))]:
        one, other = (
            ((grid >= np.reshape(low, (2, 1, 1))) & (grid < np.reshape(high, (2, 1, 1)))).all(0)
            for low, high in ((a, b), (c, d))
        )
        assert mask_iou(one, other) == pytest.approx(box_iou((*a, *b), (*c, *d)))
    nothing = np.zeros((2, 2), np.bool_)
    assert mask_iou(nothing, nothing) == 1
    everything(tmp_path)
    with hurried(), Recorder(Answers(tmp_path), Task.BOXES, "Bob") as recorder:
        recorder.answer("image-0", (1, 2, 3, 6), shown_at=BEGIN, via=Via.POINTER)
    result = cli("annotate", "agreement", "--answers", tmp_path)
    assert result.code == 0, result.err
    assert re.search(r"image-0 +0\.500 +Ada: 1 2 3 4; Bob: 1 2 3 6", result.out)
    assert "mean overlap (IoU) 1.000" in result.out  # of the masks


def test_a_table_of_nothing(tmp_path):
    from crayon_bench_plugins.annotation.tables import to_csv, to_parquet

    assert to_csv([]).decode().strip() == "example,task,annotator,answer,shown_at,answered_at,via"
    assert pq.read_table(io.BytesIO(to_parquet([]))).num_rows == 0
