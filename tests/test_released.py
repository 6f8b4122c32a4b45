"""``annotate import --from crayon``: answers that the authors released, replayed by the oracle ``human``."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from crayon_bench.feedback import Verdict
from crayon_bench_plugins.annotation import released
from helpers import method
from test_celeba import write_celeba
from test_name_list import ONCE, as_columns, as_csv, entries
from test_waterbirds import root as birds_root, rows as rows_of_birds, sources  # noqa: F401

RELEASED = dict(released.RELEASED)
NO, YES, MAYBE, NOBODY = 1, 0, 0.5, -1
CODED = [NO, YES, YES, MAYBE, NOBODY, NO, NO, 1.0, 0.0, NO, YES, NOBODY]
WORDS = ["no", "yes", "yes", "maybe", None, "no", "no", "no", "yes", "no", "yes", None]
"""Of the twelve training images of the list."""

LISTENER = method(
    "listener",
    """
import json, numpy, pathlib
M = job.original_maps().cpu().numpy()
given = job.oracle.judge_maps(numpy.arange(len(M)), M).values
pathlib.Path("heard.json").write_text(json.dumps(given.tolist()))
return job.model
""",
    extra="from crayon_bench import FeedbackKind\n    asks = (FeedbackKind.MAP_VERDICT,)",
)


@pytest.fixture
def root(tmp_path):
    write_celeba(tmp_path / "root" / "celeba")
    Path("list.csv").write_text(as_csv(entries(tmp_path / "root")))
    Path("coded.json").write_text(json.dumps(CODED))
    return tmp_path / "root"


def taken(cli, root, *more, answers="answers"):
    return cli("annotate", "import", "--from", "crayon", "coded.json", "--list", "list.csv", "--answers", answers,
               "--data-root", root, *more)  # fmt: skip


def test_the_answers_that_a_run_counts_are_those_of_the_list(cli, root):
    told = taken(cli, root, "--protocol", "quick")
    assert told.code == 0, told.err
    assert "4 yes, 1 maybe, 5 no, 2 not annotated" in told.out
    assert "oracle.misfit=use alone" in told.out
    command = re.search("Next: crayon-bench (.*)", told.out)
    assert command is not None
    for part in ("--set dataset.list=list.csv", "--set oracle.misfit=use", "--oracle human --answers answers"):
        assert part in command[1]
    Path("listener.py").write_text(LISTENER)
    plain = ["run", "--dataset", "celeba", "--data-root", root, "--seeds", "0,", "--quiet", "--set",
             "dataset.list=list.csv", "--methods", "crayon-attention,listener", "--plugin", "listener.py", "--store",
             "store", "--oracle", "human", "--answers", "answers", *ONCE]  # fmt: skip

    refused = cli(*plain)  # nobody has seen this model's maps
    assert refused.code == 1
    assert "none of 10 fits: they are about maps of another model" in refused.err
    assert "--set oracle.misfit=use" in refused.err

    used = cli(*plain, "--set", "oracle.misfit=use")
    assert used.code == 0, used.err
    names = {Verdict.YES: "yes", Verdict.NO: "no", Verdict.MAYBE: "maybe", Verdict.UNASKED: None}
    heard = json.loads(Path("heard.json").read_text())
    assert [names[Verdict(value)] for value in heard] == WORDS  # each image has its own answer
    for file in Path("store").glob("runs/*/record.json"):
        record = json.loads(file.read_text())
        if record["status"] == "ok":
            numbers = record["feedback"]["verdicts"]["map_verdict"]
            assert record["feedback"]["total"] == 10
            assert {word: numbers.get(word, 0) for word in ("yes", "maybe", "no")} == {"yes": 4, "maybe": 1, "no": 5}
            assert "map_verdict" not in record["feedback"]["seconds"]  # unknown, and not 0
            assert record["warnings"]["answers about maps of another model, used all the same"] >= 10
            assert not [warning for warning in record["warnings"] if "came within" in warning]
    table = cli("leaderboard", "--store", "store", "--price", "recorded", "--explain")
    assert "answers about maps of another model, used all the same" in table.out
    unknown = re.search("person-hours are not known, because no times were recorded, for: (.*)", table.out)
    assert unknown is not None and "CRAYON-Attention" in unknown[1]


def test_times_that_are_not_known_are_empty_in_a_table_and_no_sign_of_haste(cli, root):
    assert taken(cli, root).code == 0
    for form in ("csv", "parquet"):
        told = cli("annotate", "export", "--answers", "answers", "--output", f"out.{form}")
        assert told.code == 0, told.err
    with Path("out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["answer"] for row in rows] == [word for word in WORDS if word]
    assert {(row["shown_at"], row["via"], row["annotator"]) for row in rows} == {("", "import", "CRAYON authors")}
    assert {row["shown_at"] for row in pq.read_table("out.parquet").to_pylist()} == {None}
    told = cli("annotate", "agreement", "--answers", "answers")
    assert told.code == 0
    assert "Was it looked at?" not in told.out
    merged = cli("annotate", "merge", "--answers", "answers", "--answers", "answers", "--output", "both")
    assert merged.code == 0, merged.err
    assert "10 answers of 1 annotators" in merged.err


@pytest.mark.parametrize(
    ("coded", "message"),
    [
        ([*CODED, 1], "13 answers, and .*list.csv lists 12 training images: they go by position"),
        (CODED[:-1], "11 answers, and .*list.csv lists 12 training images"),
        ([*CODED[:7], 0.7, *CODED[8:]], r"position 7 \(from 0; \d+.jpg\): 0.7 is no answer .* 1 is no, 0 yes, 0.5 maybe"),
        ([*CODED[:7], 2, *CODED[8:]], "position 7 .*: 2 is no answer"),
        ([*CODED[:7], True, *CODED[8:]], "position 7 .*: true is no answer"),
        ([*CODED[:7], "yes", *CODED[8:]], 'position 7 .*: "yes" is no answer'),
        ([*CODED[:7], None, *CODED[8:]], "position 7 .*: null is no answer"),
        ([*CODED[:7], [1], *CODED[8:]], r"position 7 .*: \[1\] is no answer"),
        ([*CODED[:7], float("nan"), *CODED[8:]], "position 7 .*: NaN is no answer"),
        ([-1] * 12, "there is no answer in it"),
        ({"a": 1}, "not a JSON list of numbers"),
        ("[1, 0", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
    ids=range(13),
)  # fmt: skip
def test_what_is_no_list_of_answers_is_one_line_and_leaves_nothing(cli, root, coded, message):
    Path("coded.json").write_text(coded if isinstance(coded, str) else json.dumps(coded))
    told = taken(cli, root)
    assert (told.code, len(told.err.splitlines())) == (2, 1)
    assert re.search(rf"coded\.json: {message}", told.err), told.err
    assert not Path("answers").exists()


def test_what_does_not_fit_together_is_one_line(cli, root):
    for more, message in (
        (["--dataset", "decoymnist"], "the authors released answers about celeba and waterbirds alone"),
        (["--set", "dataset.majority=3"], "changes nothing: dataset.list says"),
        (["--annotator", " "], "expected a name of 1 to 80 printable characters"),
    ):
        told = taken(cli, root, *more)
        assert (told.code, message in told.err, Path("answers").exists()) == (2, True, False), told.err
    missing = cli("annotate", "import", "--from", "crayon", "none.json", "--list", "list.csv", "--answers", "answers")
    assert (missing.code, "none.json: cannot be read" in missing.err) == (2, True)
    assert taken(cli, root).code == 0
    before = {path: path.read_bytes() for path in Path("answers").rglob("*") if path.is_file()}
    again = taken(cli, root)
    assert (again.code, "--answers answers: there is something already" in again.err) == (2, True)
    assert before == {path: path.read_bytes() for path in Path("answers").rglob("*") if path.is_file()}


def test_the_line_of_an_imported_answer_is_as_the_reference_says(cli, root):
    assert taken(cli, root).code == 0
    (file,) = Path("answers/maps").glob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0]["shown_at"] is None and lines[0]["via"] == "import"
    lines[0]["shown_at"] = lines[0]["answered_at"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = cli("annotate", "export", "--answers", "answers", "--output", "out.csv")
    assert (told.code, "an imported answer has no 'shown_at'" in told.err) == (2, True)


def test_other_numbers_than_the_authors_report_are_told(cli, root, monkeypatch):
    for yes, doubt in ((4, False), (5, True)):
        theirs = {"yes": yes, "maybe": 1, "no": 12 - 1 - yes}
        Path("coded.json").write_text(json.dumps([0] * 4 + [0.5] + [1] * 7))
        monkeypatch.setitem(released.RELEASED, "celeba", theirs)
        told = taken(cli, root, answers=f"answers-{yes}")
        assert told.code == 0, told.err
        assert ("the authors report 5 yes, 1 maybe, 6 no" in told.err) == doubt
    assert {name: sum(counts.values()) for name, counts in RELEASED.items()} == {"celeba": 20_200, "waterbirds": 4_795}


def test_birds_are_coded_the_other_way_round(cli, birds_root):  # noqa: F811
    names = [row["img_filename"] for row in rows_of_birds(birds_root) if row["split"] == "0"]
    order = np.random.RandomState(4).permutation(len(names))  # by name, whatever the order of the list
    values = [1, 5 / 6, 0.7000001, 0.7, 2 / 3, 0.5, 0.4999, 1 / 3, 0, -1]
    said = ["yes", "yes", "yes", "maybe", "maybe", "maybe", "no", "no", "no", None]
    listed = [names[i] for i in order][:-3]
    Path("list.csv").write_text(as_columns([(name, "train") for name in listed]))
    Path("coded.json").write_text(json.dumps([values[i % 10] for i in range(len(listed))]))
    told = taken(cli, birds_root, "--dataset", "waterbirds", "--set", "dataset.size=32")
    assert told.code == 0, told.err
    assert "3 training images are not in list.csv, and stay unasked" in told.err
    assert "above 0.7 is yes, from 0.5 on maybe, below it no" in told.out
    assert cli("annotate", "export", "--answers", "answers", "--output", "out.csv").code == 0
    with Path("out.csv").open(newline="") as stream:
        found = {row["example"]: row["answer"] for row in csv.DictReader(stream)}
    assert found == {name: said[i % 10] for i, name in enumerate(listed) if said[i % 10]}
    for value in (1.2, -0.5):
        Path("coded.json").write_text(json.dumps([value] * len(listed)))
        wrong = taken(cli, birds_root, "--dataset", "waterbirds", answers="other")
        assert (wrong.code, "position 0 (from 0; " in wrong.err) == (2, True)
    Path("list.csv").write_text(as_columns([("a/b.jpg", "train")]))
    Path("coded.json").write_text("[1]")
    stray = taken(cli, birds_root, "--dataset", "waterbirds", "--set", "dataset.size=32", answers="other")
    assert (stray.code, "line 1: a/b.jpg is no training image of these data" in stray.err) == (2, True)
    assert not Path("other").exists()
