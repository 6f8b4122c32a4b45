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
from rich.console import Console

from conftest import TINY
from crayon_bench.store.records import NUMERICS, GroupCount, Record, digest, setting_of
from crayon_bench.store.store import Store
from crayon_bench_leaderboards.boards import boards_for, load_board, load_reference
from crayon_bench_leaderboards.fill import make_tables
from crayon_bench_leaderboards.hooks import show_board
from crayon_bench_leaderboards.render import terminal, to_terminal

METHODS = {
    "original": ("Original", "-", True, []),
    "crayon-attention": ("CRAYON-Attention", "Yes-No", False, ["map_verdict"]),
    "crayon-pruning": ("CRAYON-Pruning", "Yes-No", False, ["neuron_verdict"]),
    "crayon-attention-pruning": ("CRAYON-Attention+Pruning", "Yes-No", False, ["map_verdict", "neuron_verdict"]),
    "rrr": ("RRR", "Map", False, ["irrelevant_mask"]),
    "gradia": ("GradIA", "Yes-No, Map", False, ["map_verdict", "irrelevant_mask"]),
    "energy": ("Energy loss", "Bounding box", False, ["box"]),
    "res": ("RES", "Map", False, ["irrelevant_mask"]),
    "train-more": ("Train More", "None", False, []),
    "random-pruning": ("Random Pruning", "None", False, []),
}
TITLES = {"celeba": "Biased CelebA", "waterbirds": "Waterbirds"}


def limit(size: float, strategy: str = "random", version: int = 1) -> dict:
    """The budget of a record: a number of questions, or a share."""
    what = {"share": size} if isinstance(size, float) else {"questions": size}
    return {**what, "strategy": {"name": strategy, "version": version}}


def record(method: str, seed: int, acc: float | None, **changes) -> Record:
    title, feedback, baseline, kinds = METHODS.get(method, (method.title(), "None", False, []))
    source = changes.pop("source", "real")
    coordinates = {
        "numerics": changes.pop("numerics", NUMERICS),
        "dataset": {"name": changes.pop("dataset", "decoymnist"), "source": source},
        "protocol": {"name": changes.pop("protocol", "paper")},
        "method": {"name": method, "parameters": changes.pop("parameters", {})},
        "oracle": {"name": changes.pop("oracle", "simulated")},
        "budget": changes.pop("budget", None),
        "seed": seed,
    }
    values = {
        "key": digest(coordinates), "setting": setting_of(coordinates), "status": "ok", "coordinates": coordinates,
        "title": {"method": title, "dataset": TITLES.get(coordinates["dataset"]["name"], "DecoyMNIST"), "oracle": "simulated", "feedback": feedback},
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
        kept.save(r, b"PAR1----PAR1", "")


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
        None, "second", "best", "best", None,
    ]  # fmt: skip  # RRR and Energy loss cannot be told apart; Original and Train More are what they are compared with
    alike = "rows that the paired 95 % interval of their difference cannot tell apart are marked alike"
    markdown = cli("leaderboard", "--format", "markdown").out
    assert "**96.30 ± 0.26**" in markdown and "**96.10 ± 0.10**" in markdown and "*81.00 ± 2.65*" in markdown
    latex = cli("leaderboard", "--format", "latex").out
    assert r"\textbf{96.30 $\pm$ 0.26}" in latex
    assert r"\underline{81.00 $\pm$ 2.65}" in latex
    text = cli("leaderboard").out
    assert "96.30 ± 0.26 ★" in text and "96.10 ± 0.10 ★" in text and "81.00 ± 2.65 ☆" in text
    assert all(alike in shown.replace("\\", "") for shown in (markdown, latex, text))
    lines = list(csv.DictReader(io.StringIO(cli("leaderboard", "--format", "csv").out)))
    assert [line["sample_accuracy_mark"] for line in lines] == ["", "second", "best", "best", ""]


def test_nothing_is_marked_that_says_nothing(cli, full):
    def marks() -> set:
        return {r["metrics"]["sample_accuracy"]["mark"] for r in rows(cli("leaderboard", "--format", "json")).values()}

    save([r for r in full if r.seed == 0])  # one seed
    assert marks() == {None}
    save([record(m, s, 10.0 * s) for m in SCORES for s in range(3)])  # all are equal
    assert marks() == {None}
    # Means that differ by less than their seeds do: none can be told from the best.
    save([record(m, s, 50.0 + n + 9 * ((s + n) % 3)) for n, m in enumerate(SCORES) for s in range(3)])
    assert marks() == {None}
    assert "best" not in cli("leaderboard", "--explain").out


def test_five_lines_stand_below_a_table_and_the_rest_is_a_word_away(cli, full):
    for r in full:
        r.warnings, r.notes = {"dead maps in training": 1}, ["UNVERIFIED data: x"]
    full[0].metrics["sample_accuracy"].value = 10.0
    save(full)
    short, whole = (cli("leaderboard", "--protocol", "paper", *more).out for more in ([], ["--explain"]))
    block = short.rstrip().split("\n\n")[-1]  # what stands after the last blank line
    below = [line for line in block.splitlines() if not line.startswith("    ")]
    assert len(below) <= 5
    assert any("UNVERIFIED" in line for line in below)
    assert re.match(r"  \d+ more lines: crayon-bench leaderboard --explain", below[-1])
    for form in ("markdown", "latex", "csv"):
        assert "zero everywhere (dead maps)" in cli("leaderboard", "--format", form).out
    one = " ".join(whole.split())
    assert "RRR: warning: maps that are zero everywhere (dead maps), in training:" in one
    assert "see docs/foot-guns.md, Dead maps (3 times in all 3 seeds)" in one
    assert "Original: Acc of its seeds: 10.00, 52.00, 54.00" in one
    assert one.count("Acc: accuracy; #FB: answers that were counted.") == 1


def test_what_runs_bring_with_them_is_among_the_five_lines(cli, full):
    """Who answered, whose weights, what was assumed: a table without it would be read wrongly."""
    noted = ["original model: the user's", "classes: 0, 1, 10, 2 was assumed"]
    answered = {"title": {"method": "RRR", "dataset": "DecoyMNIST", "oracle": "noisy", "feedback": "Map"}}
    made = [record("rrr", s, v, oracle="noisy", notes=noted, warnings={f"w{n}": 1 for n in range(9)}, **answered)
            for s, v in enumerate(SCORES["rrr"])]  # fmt: skip
    save(made)
    out = cli("leaderboard").out
    for line in ("Feedback by oracle: noisy", *(f"DecoyMNIST: {note}" for note in noted), "more lines"):
        assert line in out


def test_a_warning_is_counted_in_words_that_agree(cli, full):
    next(r for r in full if r.method == "rrr").warnings = {"odd": 1}
    for r in [r for r in full if r.method == "energy"][:2]:
        r.warnings = {"odd": 1000}
    save(full)
    out = cli("leaderboard", "--explain").out
    assert "RRR: warning: odd (once in 1 of 3 seeds)" in out
    assert "Energy loss: warning: odd (2,000 times in 2 of 3 seeds)" in out
    save([record("rrr", 0, 50.0, warnings={"odd": 2}, protocol="quick")], Path("one"))
    assert "RRR: warning: odd (2 times)" in cli("leaderboard", "--explain", "--store", "one").out


def test_the_rows_are_those_that_were_run_and_a_named_board_says_which_were_not(cli):
    save([record(m, s, v) for m in ("rrr", "energy") for s, v in enumerate(SCORES[m])])
    assert list(rows(cli("leaderboard", "--format", "json"))) == ["RRR", "Energy loss"]
    assert "Not run" not in cli("leaderboard", "--explain").out
    named = cli("leaderboard", "--board", "table2")
    assert "Not run, of this board: Original, CRAYON-Attention, Train More." in named.out
    assert "missing" not in named.out


def test_rows_of_ones_own_data_begin_with_original(cli):
    save(
        [
            record(m, s, 50.0 + s, dataset="mine")
            for m in ("energy", "crayon-attention", "original", "rrr")
            for s in range(2)
        ]
    )
    assert next(iter(rows(cli("leaderboard", "--format", "json")))) == "Original"
    assert next(iter(rows(cli("leaderboard", "--board", "curve", "--format", "json")))) == "Original"


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
    assert marks["CRAYON-Attention"] == "best"
    assert marks["Original"] is marks["Train More"] is None


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
    assert "for protocol paper; no row here is of it" in text
    assert "no row here" not in cli("leaderboard", "--format", "markdown", "--protocol", "paper").out


def test_published_numbers_are_left_out_where_set_changed_what_all_rows_rest_on(cli):
    changed = {"original.epochs": 1, "dataset.validation": 7}
    save([record(method, 0, scores[0], overrides=changed) for method, scores in SCORES.items()])
    board = json.loads(cli("leaderboard", "--format", "json").out)
    assert not any(row["published"] for row in board["rows"])
    assert any("left out" in remark for remark in board["remarks"])


@pytest.mark.parametrize(("images", "stand"), [(2000, True), (1999, False)])
def test_published_numbers_stand_beside_a_list_of_as_many_test_images(cli, images, stand):
    groups = [GroupCount(name=name, right=1, total=images) for name in "abcd"]
    for protocol in ("paper", "paper-final"):
        made = table1("celeba", protocol=protocol, groups=groups, overrides={"dataset.list": "sha256:1"})
        save(made, Path(protocol))
        board = json.loads(cli("leaderboard", "--format", "json", "--store", protocol).out)
        assert any(row["published_by"] for row in board["rows"]) == stand
        said = " ".join(board["remarks"])
        assert ("8,000 test images, as many as the published one; whether" in said) == stand
        assert ("left out: the list has 7,996 test images, the published one 8,000" in said) != stand
    more = {"dataset.list": "sha256:1", "dataset.size": 100}
    save(table1("celeba", groups=groups, overrides=more), Path("more"))
    # No list of these was published.
    save(table1("waterbirds", groups=groups, overrides={"dataset.list": "sha256:1"}), Path("birds"))
    save(table1("celeba", groups=[], overrides={"dataset.list": "sha256:1"}), Path("without groups"))
    for store in ("more", "birds", "without groups"):
        board = json.loads(cli("leaderboard", "--format", "json", "--store", store).out)
        assert not any(row["published_by"] for row in board["rows"])


def test_a_row_is_marked_as_changed_by_what_did_change_it(cli):
    """A method's own table in a protocol goes before [refine]: --set refine.epochs does not reach it."""
    changed = {"overrides": {"refine.epochs": 3}}
    own = record("rrr", 0, 90.0, parameters={"epochs": 10}, **changed)
    reached = record("energy", 0, 80.0, parameters={"epochs": 3}, **changed)
    save([record("original", 0, 55.0, **changed), own, reached])
    rows = {row["method"]: row for row in json.loads(cli("leaderboard", "--format", "json").out)["rows"]}
    assert rows["rrr"]["label"] == "RRR"
    assert rows["rrr"]["published"]
    assert rows["energy"]["label"] == "Energy loss (epochs=3)"
    assert not rows["energy"]["published"]


def test_changed_parameters_are_a_row_of_their_own(cli, full):
    changed = [record("rrr", s, 90.0, parameters={"lambda": 1}, overrides={"rrr.lambda": 1}) for s in range(3)]
    save(full + changed)
    found = rows(cli("leaderboard", "--format", "json"))
    assert found["RRR (lambda=1)"]["metrics"]["sample_accuracy"]["mean"] == 90.0
    assert found["RRR (lambda=1)"]["published"] is None
    assert found["RRR"]["metrics"]["sample_accuracy"]["mean"] == pytest.approx(96.3)
    assert found["Energy loss"]["status"] == "ok"


def test_a_recipe_that_was_changed_shows_on_its_rows_and_not_in_another_table(cli):
    run = ["run", "--dataset", "decoymnist", "--methods", "original,train-more", "--seeds", "1", "--source", "standin"]
    short = ["--set", "original.epochs=1"]
    assert cli(*run, *short, "--set", "refine.epochs=1").code == 0
    assert "Train More (epochs=1)" in cli("leaderboard").out
    assert cli(*run, *short, "--set", "refine.epochs=2").code == 0
    text = cli("leaderboard", "--format", "markdown").out.partition("**Details**")[0]
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
    assert "train-more" not in state
    assert state["energy"] == ("failed", "failed for seed 0, 1, 2: OSError: gone")
    assert state["rrr"] == ("partial", "failed for seed 2: RuntimeError: no")
    assert state["gradia"] == ("skipped", "no masks")
    marks = {row["method"]: row["metrics"]["sample_accuracy"]["mark"] for row in json.loads(result.out)["rows"]}
    assert set(marks.values()) == {None}  # a mean over other seeds is not compared, and one row alone is not the best
    terminal = cli("leaderboard", "--board", "table2", "--explain").out
    assert "Not run, of this board: Train More." in terminal
    assert "96.25 ± 0.35 (n=2)" in terminal
    for word in ("failed", "n/a", "does not apply: no masks", "OSError: gone"):
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
    text = cli("leaderboard", "--explain").out
    assert text.count("warning: dead maps (9 times in all 3 seeds)") == 1


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


# ---------------------------------------------------------------------------------------------------------------------
# table 1: two data sets, two references, details

GROUPS = {
    "celeba": ["black, smiling", "black, not smiling", "blond, smiling", "blond, not smiling"],
    "waterbirds": ["landbird on land", "landbird on water", "waterbird on land", "waterbird on water"],
}
SIZES = {"celeba": [2000] * 4, "waterbirds": [2255, 2255, 642, 642]}
WORST = {"celeba": 2, "waterbirds": 2}


def faces(
    method: str, seed: int, ma: float, wga: float, dataset: str = "celeba", worst: int | None = None, **changes
) -> Record:
    """A record of table 1, in which group number *worst* has the lowest accuracy."""
    worst = WORST[dataset] if worst is None else worst
    values = [("group_mean_accuracy", "MA", ma), ("worst_group_accuracy", "WGA", wga)]
    groups = [
        {"name": name, "total": total, "right": total * (3 if number == worst else 9) // 10}
        for number, (name, total) in enumerate(zip(GROUPS[dataset], SIZES[dataset], strict=True))
    ]
    made = {
        "dataset": dataset,
        "metrics": {n: {"value": v, "short": short, "direction": "higher", "unit": "%"} for n, short, v in values},
        "groups": groups,
        "memory": {"peak": 1000.0 + seed},
    }
    return record(method, seed, None, **{**made, **changes})


def table1(dataset: str, shift: float = 0.0, **changes) -> list[Record]:
    """All methods, three seeds."""
    return [
        faces(method, seed, 70 + shift + n + seed, 30 + shift + 2 * n + seed, dataset, **changes)
        for n, method in enumerate(METHODS)
        for seed in range(3)
    ]


def grids(markdown: str) -> list[list[list[str]]]:
    """The cells of the markdown tables in a text."""
    found: list[list[list[str]]] = []
    for before, line in zip(["", *markdown.splitlines()], markdown.splitlines(), strict=False):
        if line.startswith("|"):
            if not before.startswith("|"):
                found.append([])
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_table_1_has_a_row_per_method_and_columns_per_data_set_in_every_format(cli):
    save(table1("celeba") + table1("waterbirds", 3))
    main, details = grids(cli("leaderboard", "--format", "markdown").out)
    per_set = ["#FB", "MA (%)", "MA paper", "MA final", "WGA (%)", "WGA paper", "WGA final"]
    names = [f"{title} {name}" for title in TITLES.values() for name in per_set]
    assert main[0] == ["Method", "Feedback", *names]
    assert [re.sub(" <.*", "", row[0]) for row in main[2:]] == [title for title, *_ in METHODS.values()]
    assert main[2 + 1][1:] == [
        "Yes-No",
        "60,000", "72.00 ± 1.00", "83.31", "89.61", "33.00 ± 1.00", "64.25", "83.29",
        "60,000", "75.00 ± 1.00", "71.50", "85.23", "36.00 ± 1.00", "37.76", "72.31",
    ]  # fmt: skip
    # Each column of each data set has its own best and second best.
    assert [main[-3][n] for n in (3, 6, 10, 13)] == [f"**{v}.00 ± 1.00**" for v in (78, 45, 81, 48)]
    assert [main[-4][n] for n in (3, 6, 10, 13)] == [f"*{v}.00 ± 1.00*" for v in (77, 43, 80, 46)]
    assert len(details) == len(main)

    board = json.loads(cli("leaderboard", "--format", "json").out)
    assert board["board"] == "table1"
    assert board["source"] == dict.fromkeys(TITLES, "real")
    assert [(r["dataset"], r["method"]) for r in board["rows"]] == [(d, m) for d in TITLES for m in METHODS]
    lines = list(csv.DictReader(io.StringIO(cli("leaderboard", "--format", "csv").out)))
    assert [(line["dataset"], line["method"]) for line in lines] == [(d, m) for d in TITLES for m in METHODS]
    assert [line["worst_group_accuracy_mean"] for line in lines[:1] + lines[10:11]] == ["31.0", "34.0"]

    latex = cli("leaderboard", "--format", "latex").out
    head = latex.partition(r"\toprule")[2].partition(r"\midrule")[0].strip().splitlines()
    assert head[0].strip() == r"&  & \multicolumn{7}{c}{Biased CelebA} & \multicolumn{7}{c}{Waterbirds} \\"
    assert head[1] == r"\cmidrule(lr){3-9} \cmidrule(lr){10-16}"
    assert head[2].count("&") == 15
    assert latex.count(r"\begin{tabular}") == latex.count(r"\toprule") == latex.count(r"\bottomrule") == 2
    assert r"\hline" not in latex


def test_table_1_with_one_data_set_has_no_columns_for_the_other(cli):
    save(table1("waterbirds"))
    main, details = grids(cli("leaderboard", "--format", "markdown").out)
    assert main[0] == [
        "Method", "Feedback", "#FB", "MA (%)", "MA paper", "MA final", "WGA (%)", "WGA paper", "WGA final",
    ]  # fmt: skip
    assert details[0] == ["Method", "Worst group", "Seconds", "Peak MiB"]
    text = cli("leaderboard").out
    assert "Waterbirds (real data)" in text
    assert "CelebA (" not in text
    assert "multicolumn" not in cli("leaderboard", "--format", "latex").out


GOLDEN = """\
Table 1: Biased CelebA and Waterbirds
Biased CelebA (real data), protocol paper, 3 seeds; Waterbirds (real data), protocol paper, 3 seeds

                               ────────── Biased CelebA ───────────   ────────────────── Waterbirds ──────────────────
 Method             Feedback      #FB         MA (%)        WGA (%)      #FB               MA (%)              WGA (%)
───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 Original           -               -   71.00 ± 1.00   31.00 ± 1.00        -         74.00 ± 1.00         34.00 ± 1.00
 CRAYON-Attention   Yes-No     60,000   72.00 ± 1.00   33.00 ± 1.00   60,000         75.00 ± 1.00         36.00 ± 1.00
 Train More [b]     None            0   79.00 ± 1.00   47.00 ± 1.00        0   81.50 ± 0.71 (n=2)   49.50 ± 0.71 (n=2)

 Published numbers beside our means (%)
                    ───────────────── Biased CelebA ─────────────────   ───────────────────────── Waterbirds ────────────────────────
                       MA      MA      MA     WGA         WGA     WGA            MA      MA      MA           WGA         WGA     WGA
 Method              ours   paper   final    ours       paper   final          ours   paper   final          ours       paper   final
──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 Original           71.00   71.57   73.71   31.00       30.42   32.60         74.00   67.84   72.08         34.00       25.31   28.35
 CRAYON-Attention   72.00   83.31   89.61   33.00       64.25   83.29         75.00   71.50   85.23         36.00       37.76   72.31
 Train More         79.00   70.09           47.00   18.69 [a]           81.50 (n=2)   67.72           49.50 (n=2)   18.69 [a]

 Details
                    ────────────────── Biased CelebA ───────────────────   ───────────────────── Waterbirds ────────────────────
 Method             Worst group                       Seconds   Peak MiB   Worst group                        Seconds   Peak MiB
─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 Original           blond, smiling (2,000 test) 3/3       2.0      1,001   waterbird on land (642 test) 3/3       2.0      1,001
 CRAYON-Attention   blond, smiling (2,000 test) 3/3       2.0      1,001   waterbird on land (642 test) 3/3       2.0      1,001
 Train More         blond, smiling (2,000 test) 3/3       2.0      1,001   waterbird on land (642 test) 2/2       2.0      1,000

  [a] Train More: the paper prints the same worst-group accuracy, 18.69, for both data sets of Table 1: probably a slip for one of them
  [b] Train More on Waterbirds: failed for seed 2: OSError: gone
  MA: mean of the groups' accuracies; WGA: accuracy of the worst group; #FB: answers that were counted.
  Biased CelebA: Mean ± sample standard deviation over 3 seeds. Setting CELEBA.
  No control was run; what the answers add, crayon-bench run --control shuffled finds out.
  Published (paper): Towards Mitigating Spurious Correlations in Image Classifiers with Simple Yes-no Feedback (CRAYON), anonymous
    submission to ICML, Table 1
  Published (final): README of the public CRAYON repository, for the later full paper, 2024
  Published numbers (final) are for protocol paper-final; no row here is of it.
  Waterbirds: Mean ± sample standard deviation over 3 seeds. Setting WATERBIRDS.
  Worst group: the one that most often had the lowest accuracy, the number of its test examples, and in how many of the seeds; tied: another
    one was as often.
  Seconds: mean over seeds of the method's own refine step and of making what it shares with other methods, such as maps, whichever of them
    made it; without the original model.
  Peak MiB: mean over seeds of the highest memory, resident or on the device, while the method refined, with whatever the process held
    before and with what it made for others.
"""


def golden_records() -> list[Record]:
    some = ("original", "crayon-attention", "train-more")
    kept = [r for r in table1("celeba") + table1("waterbirds", 3) if r.method in some]
    failed = {"status": "failed", "reason": "OSError: gone", "metrics": {}, "groups": [], "memory": {}}
    return [
        faces(r.method, r.seed, 0, 0, r.dataset, **failed)
        if (r.dataset, r.method, r.seed) == ("waterbirds", "train-more", 2)
        else r
        for r in kept
    ]


def test_the_terminal_shows_this():
    board = load_board("table1").model_copy(update={"methods": ["original", "crayon-attention", "train-more"]})
    [table] = make_tables(board, golden_records())
    expected = GOLDEN
    for section in table.sections:  # they have the core's numerics in them
        expected = expected.replace(f"Setting {section.dataset.upper()}.", f"Setting {section.setting[:8]}.")
    assert [line.rstrip() for line in to_terminal(table).rstrip().splitlines()] == expected.splitlines()


def drawn(table, width: int) -> list[str]:
    out = io.StringIO()
    terminal._draw(Console(file=out, width=width, highlight=False, color_system=None), table)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_no_number_is_cut_off_in_any_terminal(width):
    [table] = make_tables(load_board("table1"), table1("celeba") + table1("waterbirds", 3))
    text = "\n".join(drawn(table, width))
    assert "…" not in text
    for number in ("72.00 ± 1.00", "75.00 ± 1.00", "120,000", "83.31", "72.31", "1,001"):
        assert number in text
    grids_there = sum(line.lstrip().startswith("Method") for line in text.splitlines())
    assert grids_there == {60: 10, 80: 6, 100: 5, 140: 3, 200: 2}[width]


def test_data_sets_of_different_sources_or_protocols_do_not_share_a_table(cli):
    standin = table1("celeba", source="standin", protocol="quick")
    save(standin + table1("waterbirds", 3))
    found = json.loads(cli("leaderboard", "--format", "json").out)
    by_source = {tuple(t["source"].items()): t for t in (found, *found["also"])}
    assert set(by_source) == {(("celeba", "standin"),), (("waterbirds", "real"),)}
    made_up = by_source[("celeba", "standin"),]
    assert made_up["references"] == {}
    assert all(row["published"] is None and row["published_by"] == {} for row in made_up["rows"])
    for form in ("markdown", "latex", "terminal", "csv"):
        text = cli("leaderboard", "--format", form, "--source", "standin").out
        for published in ("83.31", "89.61", "18.69", "Published (", "README of the"):
            assert published not in text
    save(table1("celeba", protocol="paper") + table1("waterbirds", 3, protocol="paper-final"))
    found = json.loads(cli("leaderboard", "--format", "json", "--source", "real").out)
    assert not any(len(set(t["protocol"].values())) > 1 for t in (found, *found["also"]))


def test_every_reference_has_its_columns_its_citation_and_its_remark(cli):
    save(table1("celeba"))
    board = json.loads(cli("leaderboard", "--format", "json").out)
    assert {name: r["protocol"] for name, r in board["references"].items()} == {
        "crayon": "paper", "crayon-final": "paper-final",
    }  # fmt: skip
    by = {row["method"]: row["published_by"] for row in board["rows"]}
    assert by["rrr"]["crayon"] == {"group_mean_accuracy": 81.08, "worst_group_accuracy": 55.32}
    assert by["rrr"]["crayon-final"] == {"group_mean_accuracy": 78.64, "worst_group_accuracy": 42.16}
    assert set(by["crayon-attention-pruning"]) == {"crayon-final"}
    assert set(by["train-more"]) == set(by["random-pruning"]) == {"crayon"}
    assert by["res"] == {}
    main, _ = grids(cli("leaderboard", "--format", "markdown").out)
    rows_ = {re.sub(" <.*", "", row[0]): row for row in main}
    assert rows_["CRAYON-Attention+Pruning"][4:6] == ["", "90.13"]
    assert rows_["Random Pruning"][4:6] == ["71.42", ""]
    line = list(csv.DictReader(io.StringIO(cli("leaderboard", "--format", "csv").out)))[3]
    assert line["worst_group_accuracy_published_crayon"] == line["worst_group_accuracy_published"] == ""
    assert line["worst_group_accuracy_published_crayon-final"] == "84.38"

    remark = "Published numbers ({}) are for protocol {}; no row here is of it"
    paper, final = remark.format("paper", "paper"), remark.format("final", "paper-final")
    for protocol, expected in (("paper", (False, True)), ("paper-final", (True, False)), ("quick", (True, True))):
        save(table1("celeba", protocol=protocol))
        text = cli("leaderboard", "--format", "markdown", "--protocol", protocol).out
        assert (paper in text, final in text) == expected
        assert "- Published (paper): Towards Mitigating" in text
        assert "- Published (final): README of the public CRAYON repository" in text


def test_the_references_agree_with_each_other_in_form():
    for name in ("crayon", "crayon-final"):
        reference = load_reference(name)
        assert reference.name == name
        for dataset in ("celeba", "waterbirds"):
            assert set(reference.values[dataset]) <= set(load_board("table1").methods)
            for values in reference.values[dataset].values():
                # MA is a mean over groups and so never below the worst one: the sources print the pairs as WGA/MA.
                assert 0 < values["worst_group_accuracy"] < values["group_mean_accuracy"] < 100
        for dataset, notes in reference.notes.items():
            assert set(notes) <= set(reference.values[dataset])


def test_changed_rows_have_no_published_numbers_and_no_footnote_on_them(cli):
    changed = {"parameters": {"epochs": 1}, "overrides": {"train-more.epochs": 1}}
    save([faces("train-more", s, 70, 30, **changed) for s in range(3)])
    board = json.loads(cli("leaderboard", "--format", "json").out)
    [row] = [row for row in board["rows"] if row["method"] == "train-more"]
    assert (row["published"], row["published_by"], row["notes"]) == (None, {}, [])


def test_a_doubtful_published_number_has_a_footnote_at_that_number(cli):
    save(table1("celeba") + table1("waterbirds", 3))
    text = cli("leaderboard", "--format", "markdown").out
    main, _ = grids(text)
    assert [cell for row in main for cell in row[1:] if "<sup>" in cell] == ["18.69 <sup>b</sup>"] * 2
    assert text.count("probably a slip") == 1
    assert r"18.69\textsuperscript{b}" in cli("leaderboard", "--format", "latex").out
    assert "18.69 [b]" in cli("leaderboard").out
    notes = {
        (row["dataset"], row["method"]): row["notes"]
        for row in json.loads(cli("leaderboard", "--format", "json").out)["rows"]
    }
    of = [key for key, value in notes.items() if any("probably a slip" in text for text in value)]
    assert of == [("celeba", "train-more"), ("waterbirds", "train-more")]
    lines = csv.DictReader(io.StringIO(cli("leaderboard", "--format", "csv").out))
    assert [line["method"] for line in lines if "probably a slip" in line["notes"]] == ["train-more"] * 2


@pytest.mark.parametrize("protocol", ["paper", "paper-final"])
def test_a_published_row_of_another_name_is_footnoted_where_its_numbers_stand(cli, protocol):
    save([faces(method, s, 70, 30, protocol=protocol) for method in ("original", "energy", "rrr") for s in range(3)])
    rows = {row["method"]: row for row in json.loads(cli("leaderboard", "--format", "json").out)["rows"]}
    assert rows["energy"]["notes"] == [
        "the published (final) row is called Bounding Box, which our Energy loss stands for"
    ]
    assert not rows["rrr"]["notes"]
    assert "Energy loss [a]" in cli("leaderboard").out
    assert cli("leaderboard").out.count("Bounding Box,") == 1


def test_where_no_published_number_stands_nothing_is_said_of_its_name(cli):
    changed = {"parameters": {"lambda": 3}, "overrides": {"energy.lambda": 3}}
    save([faces("energy", s, 70, 30, **changed) for s in range(3)])
    assert "Bounding Box" not in cli("leaderboard", "--explain").out


def test_a_note_can_be_for_all_numbers_of_a_row():
    reference = load_reference("crayon").model_copy(update={"notes": {"celeba": {"rrr": "all of them"}}})
    assert reference.note("celeba", "rrr", "group_mean_accuracy") == "all of them"
    assert reference.note("celeba", "energy", "group_mean_accuracy") is None


def worst(records: list[Record]):
    [table] = make_tables(load_board("table1"), records)
    return {row.method: row for row in table.sections[0].rows}[records[0].method].worst_group


def shares(*pairs: tuple[int, int]) -> list[dict]:
    return [{"name": f"g{n}", "right": right, "total": total} for n, (right, total) in enumerate(pairs)]


def test_the_worst_group_is_the_most_frequent_one_with_how_often(cli):
    records = [faces("rrr", s, 70, 30, worst=w) for s, w in enumerate([2, 0, 2, 3, 2])]
    found = worst(records)
    assert (found.name, found.total, found.seeds, found.of, found.tied) == ("blond, smiling", 2000, 3, 5, [])
    save(records)
    assert "blond, smiling (2,000 test) 3/5 " in cli("leaderboard").out
    assert "tied " not in cli("leaderboard").out
    [row] = [r for r in json.loads(cli("leaderboard", "--format", "json").out)["rows"] if r["method"] == "rrr"]
    assert row["worst_group"] == {
        "name": "blond, smiling", "total": 2000, "seeds": 3, "of": 5, "tied": [],
        "per_seed": {
            "0": ["blond, smiling"], "1": ["black, smiling"], "2": ["blond, smiling"],
            "3": ["blond, not smiling"], "4": ["blond, smiling"],
        },
    }  # fmt: skip
    lines = list(csv.DictReader(io.StringIO(cli("leaderboard", "--format", "csv").out)))
    [line] = [line for line in lines if line["method"] == "rrr"]
    assert [line[f"worst_group{part}"] for part in ("", "_total", "_seeds")] == ["blond, smiling", "2000", "3/5"]


def test_worst_groups_that_are_equal_are_called_tied():
    # 1/3 and 2/6 are the same share, and both count for the seed; an empty group has no share.
    found = worst([faces("rrr", 0, 70, 30, groups=shares((1, 1), (1, 3), (2, 6), (0, 0)))])
    assert (found.name, found.total, found.seeds, found.of, found.tied) == ("g1", 3, 1, 1, ["g2"])
    assert found.per_seed == {0: ["g1", "g2"]}
    # As often: the one with the lower mean, and then the first.
    uneven = [shares((1, 10), (9, 10)), shares((9, 10), (0, 10))]
    found = worst([faces("rrr", s, 70, 30, groups=g) for s, g in enumerate(uneven)])
    assert (found.name, found.seeds, found.of, found.tied) == ("g1", 1, 2, ["g0"])
    even = [shares((1, 10), (9, 10)), shares((9, 10), (1, 10))]
    records = [faces("rrr", s, 70, 30, groups=g) for s, g in enumerate(even)]
    assert worst(records).name == "g0"
    [table] = make_tables(load_board("table1"), records)
    assert "g0 (10 test) 1/2, tied" in to_terminal(table)


def test_a_run_without_groups_has_no_worst_group():
    assert worst([faces("rrr", s, 70, 30, groups=[]) for s in range(2)]) is None
    assert worst([faces("rrr", s, 70, 30, groups=shares((0, 0))) for s in range(2)]) is None


def test_memory_that_was_not_measured_is_left_blank(cli):
    records = table1("celeba")
    for r in records:
        if r.method == "rrr" or (r.method, r.seed) == ("energy", 2):
            r.memory = {}
    save(records)
    _, details = grids(cli("leaderboard", "--format", "markdown").out)
    peak = {row[0]: row[-1] for row in details}
    assert (peak["RRR"], peak["Energy loss"], peak["RES"]) == ("-", "1,000", "1,001")
    memory = {r["method"]: r["memory_mib"] for r in json.loads(cli("leaderboard", "--format", "json").out)["rows"]}
    assert (memory["rrr"], memory["energy"], memory["res"]) == (None, 1000.5, 1001.0)
    lines = {r["method"]: r for r in csv.DictReader(io.StringIO(cli("leaderboard", "--format", "csv").out))}
    assert (lines["rrr"]["memory_mib"], lines["res"]["memory_mib"], lines["res"]["seconds"]) == ("", "1001.0", "2.0")
    for r in records:
        r.memory = {}
    save(records)
    _, details = grids(cli("leaderboard", "--format", "markdown").out)
    assert details[0] == ["Method", "Worst group", "Seconds"]
    assert "Peak MiB" not in cli("leaderboard").out


def test_memory_is_optional_in_a_record_and_never_negative():
    old = json.loads(record("rrr", 0, 1.0).to_json())
    del old["memory"]
    assert Record.model_validate(old).memory == {}
    with pytest.raises(ValueError, match="memory"):
        Record.model_validate({**old, "memory": {"peak": -1.0}})


def test_table_2_has_no_worst_group_and_other_boards_no_details(cli, full, tmp_path):
    for r in full:
        r.groups = [GroupCount(name="g", right=1, total=2)]
    save(full)
    _, details = grids(cli("leaderboard", "--format", "markdown").out)
    assert details[0] == ["Method", "Seconds"]
    assert details[2] == ["Original", "2.0"]
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'schema = 1\nname = "mine"\ntitle = "Mine"\ndatasets = ["decoymnist"]\nmethods = []\nmetrics = ["acc"]\n'
    )
    assert len(grids(cli("leaderboard", "--board", mine, "--format", "markdown").out)) == 1


def test_what_is_said_of_one_data_set_of_several_names_it(cli):
    records = [r for r in table1("celeba") + table1("waterbirds") if r.method in ("original", "rrr", "energy")]
    records += [faces("train-more", s, 0, 0, "waterbirds", status="skipped", reason="no", metrics={}) for s in range(3)]
    for r in records:
        if (r.dataset, r.method) == ("waterbirds", "rrr"):
            r.warnings = {"dead maps": 2}
    save([*records, faces("rrr", 9, 70, 30, "waterbirds")])
    text = cli("leaderboard", "--format", "markdown").out
    assert "</sup> does not apply on Waterbirds: no" in text
    assert "</sup> RRR on Waterbirds: warning: dead maps (6 times in all 3 seeds)" in text
    assert "- Waterbirds: Left out, because" in text
    assert "- Biased CelebA: Mean ±" in text


def test_a_variant_of_the_second_data_set_stands_by_its_method(cli):
    changed = {"parameters": {"lambda": 1}, "overrides": {"rrr.lambda": 1}}
    save(table1("celeba") + table1("waterbirds") + [faces("rrr", s, 90, 80, "waterbirds", **changed) for s in range(3)])
    main, details = grids(cli("leaderboard", "--format", "markdown").out)
    names = [row[0] for row in main]
    first = names.index("RRR")
    assert [name.partition(" (")[0] for name in names[first : first + 3]] == ["RRR", "RRR", "GradIA"]
    assert [row[0] for row in details] == [re.sub(" <.*", "", name) for name in names]
    assert next(row for row in main if row[0] == "RRR (lambda=1)")[2:9] == ["-", "missing", "", "", "missing", "", ""]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('references = ["crayon", "crayon-fnal"]', "there are no published numbers 'crayon-fnal'"),
        ('reference = "other"', "there are no published numbers 'other'"),
        ('reference = "crayon"\nreferences = ["crayon-final"]', "not both"),
        ('references = ["crayon", "crayon"]', "stands twice"),
        ('details = ["memry"]', "details"),
        ('details = ["memory", "memory"]', "stands twice"),
    ],
)
def test_mistakes_in_a_board_file_are_named(cli, full, tmp_path, lines, message):
    save(full)
    mine = tmp_path / "mine.toml"
    mine.write_text(
        f'schema = 1\nname = "mine"\ntitle = "Mine"\ndatasets = ["decoymnist"]\nmethods = []\nmetrics = ["acc"]\n{lines}\n'
    )
    result = cli("leaderboard", "--board", mine)
    assert result.code == 2
    assert "mine.toml" in result.err
    assert message in result.err


@pytest.mark.parametrize("line", ['reference = "crayon"', 'references = ["crayon"]'])
def test_one_reference_can_be_given_either_way(cli, full, tmp_path, line):
    save(full)
    mine = tmp_path / "mine.toml"
    mine.write_text(
        f'schema = 1\nname = "mine"\ntitle = "Mine"\ndatasets = ["decoymnist"]\nmethods = ["rrr"]\nmetrics = ["acc"]\n{line}\n'
    )
    [main] = grids(cli("leaderboard", "--board", mine, "--format", "markdown").out)
    assert main[0] == ["Method", "Feedback", "#FB", "Acc (%)", "Acc published"]
    assert main[2][4] == "96.18"


def test_a_run_of_all_data_sets_prints_both_boards(full, capsys):
    records = [r for r in table1("celeba") + table1("waterbirds") + full if r.method in ("original", "rrr")]
    show_board(records, ["original", "rrr"], Store.create(Path("s")))
    text = capsys.readouterr().out
    assert text.count("Table 1: Biased CelebA and Waterbirds\n") == 1
    assert text.count("Table 2: accuracy on DecoyMNIST\n") == 1
    assert "GradIA" not in text  # only what was asked for
    assert [board.name for board in boards_for(records)] == ["table1", "table2"]


def test_statistics_are_added_only_on_demand_and_in_every_format(cli):
    scores = {"original": 50.0, "crayon-attention": 70.0, "rrr": 96.0, "energy": 95.9}
    jitter = [0.3, -0.2, 0.1, 0.4, -0.3, 0.2, -0.1]
    records = []
    for n, (name, score) in enumerate(scores.items()):
        for seed in range(7):
            share = [{"name": "g", "right": 8, "total": 10}]
            records.append(record(name, seed, score + jitter[(seed * (n + 1)) % 7], groups=share))
    save(records)
    assert "Rank" not in cli("leaderboard").out
    assert "statistics" not in json.loads(cli("leaderboard", "--format", "json").out)
    [found] = json.loads(cli("leaderboard", "--statistics", "--format", "json").out)["statistics"]["decoymnist"]
    by_method = {row["method"]: row for row in found["rows"]}
    assert {name: row["rank"] for name, row in by_method.items()} == {
        "rrr": 1, "energy": 1, "crayon-attention": 3, "original": 4,
    }  # fmt: skip
    best = by_method["rrr"]
    assert best["to_best"] is None
    # Three differences to Original, each with p = 2 / 2⁷: Holm gives all of them three times that.
    assert best["to_original"]["p"] == pytest.approx(3 * 2 / 2**7)
    assert best["to_original"]["interval"]["estimate"] == pytest.approx(
        statistics.mean(r.metrics["sample_accuracy"].value for r in records if r.method == "rrr")
        - statistics.mean(r.metrics["sample_accuracy"].value for r in records if r.method == "original")
    )
    assert best["per_run"]["0"]["low"] == pytest.approx(49.02, abs=0.01)  # Wilson of 8 of 10
    for form, text in (("terminal", "1 tied"), ("markdown", "1 tied |"), ("latex", "1 tied"), ("csv", "_to_best_p")):
        assert text in cli("leaderboard", "--statistics", "--format", form).out
    save([r for r in records if r.seed < 5], Path("five"))
    assert "WARNING: 5 seeds: below 6" in cli("leaderboard", "--statistics", "--store", "five").out


def test_the_interval_of_an_accuracys_mean_stays_within_0_and_100(cli):
    save([record("original", seed, acc) for seed, acc in enumerate([0.0, 0.5, 9.0])])
    save([record("rrr", seed, acc) for seed, acc in enumerate([99.9, 99.0, 92.0])])
    [found] = json.loads(cli("leaderboard", "--statistics", "--format", "json").out)["statistics"]["decoymnist"]
    intervals = {row["method"]: row["interval"] for row in found["rows"]}
    assert intervals["original"]["low"] == 0
    assert intervals["rrr"]["high"] == 100
    to_best = next(row["to_best"] for row in found["rows"] if row["method"] == "original")
    assert to_best["interval"]["low"] < to_best["interval"]["estimate"] < 0  # a difference is not cut


# ---------------------------------------------------------------------------------------------------------------------
# budgets: a row for each


def asked(method: str, number: int, **more) -> dict:
    """The changes of a record whose method asked *number* questions of its first kind."""
    _, label, _, [kind, *_] = METHODS[method]
    return {"feedback": {"total": number, "by_kind": {kind: number}, "label": label}, **more}


def swept(dataset: str = "decoymnist", make=record) -> list[Record]:
    """Original, Train More, and CRAYON-Attention with four budgets in no order, three seeds each."""
    scores = ((0.1, 6000, 70.0), (None, 60000, 80.0), (500, 500, 60.0), (0.01, 600, 62.0))
    found = []
    for seed in range(3):
        found += [make("original", seed, 50.0 + seed), make("train-more", seed, 51.0 + seed)]
        for size, number, score in scores:
            limited = asked("crayon-attention", number, budget=size and limit(size))
            found.append(make("crayon-attention", seed, score + seed, **limited))
    return found


def test_every_budget_is_a_row_with_its_own_numbers_in_every_format(cli):
    save(swept())
    board = json.loads(cli("leaderboard", "--format", "json").out)
    attention = [row for row in board["rows"] if row["method"] == "crayon-attention"]
    seen = [
        (r["label"], r["budget"], r["feedback_count"]["total"], r["metrics"]["sample_accuracy"]["mean"], r["status"])
        for r in attention
    ]
    assert seen == [
        ("CRAYON-Attention", "500", 500, 61.0, "ok"),
        ("CRAYON-Attention", "1%", 600, 63.0, "ok"),
        ("CRAYON-Attention", "10%", 6000, 71.0, "ok"),
        ("CRAYON-Attention", None, 60000, 81.0, "ok"),
    ]
    main, details = grids(cli("leaderboard", "--format", "markdown").out)
    assert main[0] == ["Method", "Budget", "Feedback", "#FB", "Acc (%)", "Acc published"]
    main = [[re.sub(" <.*", "", cell) for cell in row] for row in main]
    assert [row[:2] for row in details[2:]] == [row[:2] for row in main[2:]]
    assert [(row[0], row[1], row[3]) for row in main[2:]] == [
        ("Original", "-", "-"),
        ("CRAYON-Attention", "500", "500"),
        ("CRAYON-Attention", "1%", "600"),
        ("CRAYON-Attention", "10%", "6,000"),
        ("CRAYON-Attention", "all", "60,000"),
        ("Train More", "-", "0"),
    ]
    lines = list(csv.DictReader(io.StringIO(cli("leaderboard", "--format", "csv").out)))
    assert [(line["budget"], line["feedback_count"]) for line in lines[1:5]] == [
        ("500", "500"), ("1%", "600"), ("10%", "6000"), ("", "60000"),
    ]  # fmt: skip
    assert r"CRAYON-Attention & 10\% & Yes-No & 6,000 & \underline{71.00" in " ".join(
        cli("leaderboard", "--format", "latex").out.split()
    ).replace("  ", " ")
    assert re.search(r"CRAYON-Attention +10% +Yes-No +6,000 +71.00 ± 1.00 ☆", cli("leaderboard").out)


def test_without_a_budget_there_is_no_column_for_it(cli, full):
    save(full)
    for form in ("terminal", "markdown", "latex"):
        assert "Budget" not in cli("leaderboard", "--format", form).out


def test_published_numbers_stand_beside_all_feedback_alone(cli):
    save(swept())
    board = json.loads(cli("leaderboard", "--format", "json").out)
    published = {(row["method"], row["budget"]): row["published"] for row in board["rows"]}
    assert published["crayon-attention", "10%"] is None
    assert published["crayon-attention", None] == {"sample_accuracy": 85.33}
    assert "Published numbers are for all feedback; rows with a budget have none." in board["remarks"]
    [table] = make_tables(load_board("table2"), swept())
    narrow = "\n".join(drawn(table, 60))
    assert narrow.count("85.33") == 1
    assert narrow.partition("Published numbers beside")[2].partition("Details")[0].count("CRAYON-Attention") == 1


def test_a_footnote_names_the_budget_of_its_row(cli):
    some = [r for r in swept() if not (r.budget == "1%" and r.seed == 2)]
    for r in some:
        if r.budget == "10%":
            r.warnings = {"dead maps": 1}
    save(some)
    text = cli("leaderboard", "--explain").out
    assert "CRAYON-Attention, budget 1%: not run for seed 2" in text
    assert "CRAYON-Attention, budget 10%: warning: dead maps (3 times in all 3 seeds)" in text
    assert "62.50 ± 0.71 (n=2)" in text


def test_statistics_tell_the_budgets_apart(cli):
    save(swept())
    board = json.loads(cli("leaderboard", "--format", "json", "--statistics").out)
    found = {row["label"]: row for row in board["statistics"]["decoymnist"][0]["rows"]}
    assert set(found) == {
        "Original", "Train More", "CRAYON-Attention",
        *(f"CRAYON-Attention, budget {budget}" for budget in ("500", "1%", "10%")),
    }  # fmt: skip
    assert found["CRAYON-Attention, budget 10%"]["to_original"]["interval"]["estimate"] == pytest.approx(20)
    assert found["CRAYON-Attention"]["to_original"]["interval"]["estimate"] == pytest.approx(30)
    lines = csv.DictReader(io.StringIO(cli("leaderboard", "--format", "csv", "--statistics").out))
    gains = {
        line["budget"]: line["sample_accuracy_to_original"] for line in lines if line["method"] == "crayon-attention"
    }
    assert {budget: round(float(gain)) for budget, gain in gains.items()} == {"500": 10, "1%": 12, "10%": 20, "": 30}


def test_strategies_are_rows_of_their_own(cli):
    other = [
        record("crayon-attention", s, 75.0, **asked("crayon-attention", 6000, budget=limit(0.1, "uncertain")))
        for s in range(3)
    ]
    save(swept() + other)
    budgets = [row[1] for row in grids(cli("leaderboard", "--format", "markdown").out)[0][3:8]]
    assert budgets == ["500", "1%", "10%", "10% uncertain", "all"]
    newer = [
        record("crayon-attention", s, 99.0, **asked("crayon-attention", 6000, budget=limit(0.1, version=2)))
        for s in range(3)
    ]
    save(newer)
    main = grids(cli("leaderboard", "--format", "markdown").out)[0]
    assert [row[1] for row in main[3:9]] == [
        "500", "1%", "10% version=1", "10% version=2", "10% uncertain", "all",
    ]  # fmt: skip


def test_data_sets_side_by_side_share_the_line_of_a_budget(cli):
    def make(dataset):
        return lambda method, seed, value, **more: faces(method, seed, value, value, dataset, **more)

    waterbirds = [r for r in swept("waterbirds", make("waterbirds")) if r.budget != "500"]
    save(swept("celeba", make("celeba")) + waterbirds)
    main = grids(cli("leaderboard", "--format", "markdown").out)[0]
    lines = {row[1]: row for row in main if row[0].startswith("CRAYON-Attention") and "+" not in row[0]}
    assert list(lines) == ["500", "1%", "10%", "all"]
    assert [cell for cell in lines["500"] if cell] == [
        "CRAYON-Attention", "500", "Yes-No", "500", "61.00 ± 1.00", "61.00 ± 1.00", "-", "missing", "missing",
    ]  # fmt: skip
    assert lines["10%"].count("6,000") == 2


def test_training_for_no_epochs_is_told(cli):
    idle = cli("run", "--dataset", "decoymnist", "--methods", "original,train-more,rrr", "--seeds", "1", *TINY, "--set", "train-more.epochs=0", "--set", "original.epochs=0")  # fmt: skip
    assert idle.code == 0, idle.err
    nothing = "Train More: 0 epochs of training, nothing was refined, but for what a method does before it trains."
    initial = "The original model was trained for 0 epochs: it is what its initial weights are."
    for text in (idle.out, *(cli("leaderboard", *more).out for more in ([], ["--explain"], ["--format", "markdown"]))):
        assert text.count(nothing) == 1
        assert text.count(initial) == 1
    assert "0 epochs" not in cli("run", "--dataset", "decoymnist", "--methods", "original,train-more", "--seeds", "1", *TINY).out  # fmt: skip
