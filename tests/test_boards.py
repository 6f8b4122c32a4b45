"""Leaderboards: what is in them, what is marked, what is never mixed."""

import csv
import io
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from crayon_bench.records import Record, digest, setting_of
from crayon_bench.store import Store

METHODS = {
    "original": ("Original", "-", True, []),
    "crayon-attention": ("CRAYON-Attention", "Yes-No", False, ["map_verdict"]),
    "rrr": ("RRR", "Map", False, ["irrelevant_mask"]),
    "energy": ("Energy loss", "Bounding box", False, ["box"]),
    "train-more": ("Train More", "None", False, []),
}


def record(method: str, seed: int, acc: float | None, **changes) -> Record:
    title, feedback, baseline, kinds = METHODS.get(method, (method.title(), "None", False, []))
    source = changes.pop("source", "real")
    coordinates = {
        "dataset": {"name": changes.pop("dataset", "decoymnist"), "source": source},
        "protocol": {"name": changes.pop("protocol", "paper")},
        "method": {"name": method, "parameters": changes.pop("parameters", {})},
        "oracle": {"name": "simulated"},
        "seed": seed,
    }
    values = {
        "key": digest(coordinates), "setting": setting_of(coordinates), "status": "ok", "coordinates": coordinates,
        "title": {"method": title, "dataset": "DecoyMNIST", "oracle": "simulated", "feedback": feedback},
        "baseline": baseline, "source": source, "verified": True, "finished": f"2026-01-01T00:00:0{seed}+00:00",
        "feedback": {"total": 60000 * len(kinds), "by_kind": dict.fromkeys(kinds, 60000), "label": feedback},
        "metrics": {"sample_accuracy": {"value": acc, "short": "Acc", "direction": "higher", "unit": "%"}},
        "seconds": {"refine": 2.0, "total": 3.0},
    }  # fmt: skip
    return Record.model_validate({**values, **changes})


SCORES = {
    "original": [50.0, 52.0, 54.0],
    "crayon-attention": [80.0, 84.0, 79.0],
    "rrr": [96.0, 96.5, 96.4],
    "energy": [96.0, 96.2, 96.1],
    "train-more": [50.0, 51.0, 53.0],
}


def save(records: list[Record], store: Path = Path("crayon-runs")) -> None:
    kept = Store.create(store)
    for r in records:
        kept.save(r, b"-", "")


@pytest.fixture
def full() -> list[Record]:
    return [record(m, seed, acc) for m, values in SCORES.items() for seed, acc in enumerate(values)]


def rows(result) -> dict[str, dict]:
    assert result.code == 0, result.err
    return {row["label"]: row for row in json.loads(result.out)["rows"]}


def test_json_is_the_contract(cli, full):
    save(full)
    board = json.loads(cli("leaderboard", "--board", "table2", "--format", "json").out)
    assert (board["schema"], board["board"], board["source"]) == (1, "table2", {"decoymnist": "real"})
    assert [row["method"] for row in board["rows"]] == list(SCORES)
    for row in board["rows"]:
        assert {
            "dataset",
            "method",
            "label",
            "feedback",
            "feedback_count",
            "metrics",
            "status",
            "reason",
            "published",
        } <= set(row)
        values = SCORES[row["method"]]
        metric = row["metrics"]["sample_accuracy"]
        assert metric["mean"] == pytest.approx(statistics.mean(values))
        assert metric["std"] == pytest.approx(statistics.stdev(values))
        assert metric["per_seed"] == {str(i): v for i, v in enumerate(values)}
        assert metric["n"] == 3
    attention = board["rows"][1]
    assert attention["feedback_count"] == {"total": 60000, "by_kind": {"map_verdict": 60000}}
    assert attention["published"] == {"sample_accuracy": 85.33}
    published = {"original": 55.72, "crayon-attention": 85.33, "rrr": 96.18, "energy": 96.13, "train-more": 56.72}
    assert {row["method"]: row["published"]["sample_accuracy"] for row in board["rows"]} == published


def test_best_and_second_best_are_marked_in_every_format(cli, full):
    save(full)
    assert [r["metrics"]["sample_accuracy"]["mark"] for r in rows(cli("leaderboard", "--format", "json")).values()] == [
        None, None, "best", "second", None,
    ]  # fmt: skip
    assert "**96.30 ± 0.26**" in cli("leaderboard", "--format", "markdown").out
    assert "*96.10 ± 0.10*" in cli("leaderboard", "--format", "markdown").out
    latex = cli("leaderboard", "--format", "latex").out
    assert r"\textbf{96.30 $\pm$ 0.26}" in latex
    assert r"\underline{96.10 $\pm$ 0.10}" in latex
    assert "96.30 ± 0.26 ★" in cli("leaderboard").out
    assert "96.10 ± 0.10 ☆" in cli("leaderboard").out
    lines = list(csv.DictReader(io.StringIO(cli("leaderboard", "--format", "csv").out)))
    assert [line["sample_accuracy_mark"] for line in lines] == ["", "", "best", "second", ""]


def test_ties_share_a_mark_and_lower_can_be_better(cli, full):
    tied = [r for r in full if r.method != "energy"] + [record("energy", s, v) for s, v in enumerate(SCORES["rrr"])]
    save(tied)
    marks = {
        k: r["metrics"]["sample_accuracy"]["mark"] for k, r in rows(cli("leaderboard", "--format", "json")).items()
    }
    assert marks["RRR"] == marks["Energy loss"] == "best"
    assert marks["CRAYON-Attention"] == "second"
    for r in tied:
        r.metrics["sample_accuracy"].direction = "lower"
    save(tied)
    marks = {
        k: r["metrics"]["sample_accuracy"]["mark"] for k, r in rows(cli("leaderboard", "--format", "json")).items()
    }
    assert marks["Train More"] == "best"


def test_columns_are_the_papers_with_ours_and_the_published_side_by_side(cli, full):
    save(full)
    head, rule, *body = cli("leaderboard", "--format", "markdown").out.splitlines()[4:11]
    assert [c.strip() for c in head.strip("|").split("|")] == ["Method", "Feedback", "#FB", "Acc (%)", "Acc published"]
    assert [c.strip() for c in body[0].strip("|").split("|")] == ["Original", "-", "-", "52.00 ± 2.00", "55.72"]
    assert [c.strip() for c in body[4].strip("|").split("|")] == ["Train More", "None", "0", "51.33 ± 1.53", "56.72"]
    assert "60,000" in body[1]


def test_a_stand_in_has_its_own_table_its_name_on_it_and_no_published_number(cli, full):
    save(full + [record(m, 0, 10.0, source="standin", protocol="quick") for m in SCORES])
    text = cli("leaderboard", "--format", "markdown").out
    real, standin = sorted(re.split(r"(?=^### )", text, flags=re.M)[1:], key=lambda t: "STAND-IN" in t)
    assert "10.00" in standin
    assert "10.00" not in real
    assert "85.33" in real
    assert "85.33" not in standin
    assert "STAND-IN" in standin.splitlines()[0]
    assert "Published" not in standin
    board = json.loads(cli("leaderboard", "--format", "json").out)
    both = [board, *board["also"]]
    assert sorted(t["source"]["decoymnist"] for t in both) == ["real", "standin"]
    assert {len(t["rows"]) for t in both} == {5}
    only = json.loads(cli("leaderboard", "--format", "json", "--source", "standin").out)
    assert "also" not in only
    assert all(row["published"] is None for row in only["rows"])


def test_another_protocol_has_its_own_table_and_a_remark_on_the_published_numbers(cli, full):
    save([*full, record("rrr", 0, 33.0, protocol="quick")])
    text = cli("leaderboard", "--format", "markdown", "--protocol", "quick").out
    assert "33.00" in text
    assert "for protocol paper unchanged; not every row here is" in text
    assert "not every row here is" not in cli("leaderboard", "--format", "markdown", "--protocol", "paper").out


def test_changed_parameters_are_a_row_of_their_own(cli, full):
    changed = [record("rrr", s, 90.0, parameters={"lambda": 1}, overrides={"rrr.lambda": 1}) for s in range(3)]
    save(full + changed)
    found = rows(cli("leaderboard", "--format", "json"))
    assert found["RRR (lambda=1)"]["metrics"]["sample_accuracy"]["mean"] == 90.0
    assert found["RRR (lambda=1)"]["published"] is None
    assert found["RRR (lambda=None)"]["metrics"]["sample_accuracy"]["mean"] == pytest.approx(96.3)
    assert found["Energy loss"]["status"] == "ok"


def test_a_recipe_that_was_changed_shows_on_its_rows_and_not_in_another_table(cli):
    run = ["run", "--dataset", "decoymnist", "--methods", "original,train-more", "--seeds", "1", "--source", "standin"]
    short = ["--set", "original.epochs=1"]
    assert cli(*run, *short, "--set", "refine.epochs=1").code == 0
    assert "Train More (epochs=1)" in cli("leaderboard").out
    assert cli(*run, *short, "--set", "refine.epochs=2").code == 0
    text = cli("leaderboard", "--format", "markdown").out
    assert text.count("### ") == 1
    assert text.count("Train More (epochs=1)") == text.count("Train More (epochs=2)") == 1
    assert text.count("| Original ") == 1
    assert cli(*run, "--set", "original.epochs=2", "--set", "refine.epochs=2").code == 0
    assert cli("leaderboard", "--format", "markdown").out.count("### ") == 2


def test_missing_failed_partial_and_skipped_cells_are_shown_as_such(cli, full):
    some = [r for r in full if r.method not in ("energy", "train-more", "rrr")]
    some += [r for r in full if r.method == "rrr" and r.seed < 2]
    some += [record("rrr", 2, None, status="failed", reason="RuntimeError: no", metrics={})]
    some += [record("energy", s, None, status="failed", reason="OSError: gone", metrics={}) for s in range(3)]
    some += [record("gradia", s, None, status="skipped", reason="no masks", metrics={}) for s in range(3)]
    save(some)
    result = cli("leaderboard", "--format", "json")
    state = {row["method"]: (row["status"], row["reason"]) for row in json.loads(result.out)["rows"]}
    assert state["train-more"] == ("missing", "not run")
    assert state["energy"] == ("failed", "failed for seed 0, 1, 2: OSError: gone")
    assert state["rrr"] == ("partial", "failed for seed 2: RuntimeError: no")
    assert state["gradia"] == ("skipped", "no masks")
    marks = {row["method"]: row["metrics"]["sample_accuracy"]["mark"] for row in json.loads(result.out)["rows"]}
    assert marks["rrr"] is None  # a mean over other seeds is not compared
    assert marks["crayon-attention"] == "best"
    terminal = cli("leaderboard").out
    assert "96.25 ± 0.35 (n=2)" in terminal
    for word in ("missing", "failed", "n/a", "does not apply: no masks", "OSError: gone"):
        assert word in terminal


def test_an_undefined_metric_is_shown_with_its_reason(cli):
    broken = [record("rrr", s, None) for s in range(2)]
    for r in broken:
        r.metrics["sample_accuracy"].reason = "no test examples in group 'x'"
    save(broken)
    text = cli("leaderboard").out
    assert "n/a" in text
    assert "no Acc: no test examples in group 'x'" in text


def test_unverified_data_stand_under_the_table(cli, full):
    for r in full:
        r.verified, r.notes = False, ["UNVERIFIED data: train-images is not the published file"]
    save(full)
    for form in ("terminal", "markdown", "latex"):
        assert "UNVERIFIED data: train-images is not the published file" in cli("leaderboard", "--format", form).out


def test_foreign_text_cannot_break_a_table(cli, full):
    name = "A|B <i>&_{x}% \\cite $y$ [red]z[/red]"
    save(
        [
            *full,
            *[
                record(
                    "mine", s, 1.0, title={"method": name, "dataset": "D", "oracle": "simulated", "feedback": "None"}
                )
                for s in range(3)
            ],
        ]
    )
    assert name in cli("leaderboard").out
    markdown = cli("leaderboard", "--format", "markdown").out
    assert r"A\|B \<i\>&\_{x}% \\cite $y$ \[red\]z\[/red\]" in markdown
    latex = cli("leaderboard", "--format", "latex").out
    assert r"\textbackslash{}cite \$y\$" in latex
    assert r"\&\_\{x\}\%" in latex


def test_output_file_and_board_file(cli, full, tmp_path):
    save(full)
    target = tmp_path / "t.md"
    assert cli("leaderboard", "--format", "markdown", "--output", target).code == 0
    assert target.read_text() == cli("leaderboard", "--format", "markdown").out
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'schema = 1\nname = "mine"\ntitle = "Mine"\ndatasets = ["decoymnist"]\nmethods = ["energy"]\nmetrics = ["acc"]\n'
    )
    board = json.loads(cli("leaderboard", "--board", mine, "--format", "json").out)
    assert board["rows"][0]["method"] == "energy"
    assert len(board["rows"]) == 5  # the others follow
    assert all(row["published"] is None for row in board["rows"])
    mine.write_text(mine.read_text().replace("metrics", "metric"))
    result = cli("leaderboard", "--board", mine)
    assert result.code == 2
    assert "mine.toml" in result.err
    assert "metric" in result.err


def test_leaderboards_never_import_torch(full, tmp_path):
    save(full, tmp_path / "s")
    code = (
        "import sys\nfrom crayon_bench.cli import invoke\n"
        f"for form in ('terminal', 'markdown', 'latex', 'csv', 'json'):\n"
        f"    assert invoke(['leaderboard', '--store', {str(tmp_path / 's')!r}, '--format', form]) == 0\n"
        "assert 'torch' not in sys.modules, 'torch'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_an_interrupted_run_counts_as_missing(cli, full):
    save([r if r.method != "rrr" else record("rrr", r.seed, None, status="interrupted", metrics={}) for r in full])
    assert rows(cli("leaderboard", "--format", "json"))["RRR"]["status"] == "missing"


def test_every_variant_is_a_line_and_has_its_own_warnings(cli, full):
    changed = [record("rrr", s, 99.0, parameters={"lambda": 1}, warnings={"dead maps": 3}) for s in range(3)]
    save(full + changed)
    for form in ("terminal", "markdown", "latex", "csv"):
        out = cli("leaderboard", "--format", form).out
        assert "99.0" in out
        assert "96.3" in out
    text = cli("leaderboard").out
    assert text.count("warning: dead maps (9 times, all seeds)") == 1


def test_one_more_seed_of_one_method_does_not_take_the_others_rank(cli, full):
    save([*full, record("rrr", 7, 10.0)])
    found = rows(cli("leaderboard", "--format", "json"))
    assert {row["status"] for row in found.values()} == {"ok"}
    assert found["RRR"]["metrics"]["sample_accuracy"]["n"] == 3
    assert "Left out, because fewer than half of the methods have it: seed 7." in cli("leaderboard").out


def test_what_a_method_that_failed_may_ask_for_is_still_shown(cli, full):
    failed = [
        record("rrr", s, None, status="failed", reason="x", metrics={}, feedback={"label": "None"}) for s in range(3)
    ]
    save([r for r in full if r.method != "rrr"] + failed)
    assert rows(cli("leaderboard", "--format", "json"))["RRR"]["feedback"] == "Map"


def test_csv_names_unverified_data_too(cli, full):
    for r in full:
        r.notes = ["UNVERIFIED data: x"]
    save(full)
    assert cli("leaderboard", "--format", "csv").out.count("UNVERIFIED data: x") == 5
