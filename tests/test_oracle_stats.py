"""``oracle stats`` tells what the oracle answered, and how the answers go with the class."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from crayon_bench.feedback import FeedbackKind, Verdict
from crayon_bench.runs.leaks import Answers, follow_size

FACES = ["--dataset", "celeba", "--source", "standin", "--seeds", "0,"]
SIZES = ("dataset.majority=20", "dataset.minority=4", "dataset.test=4", "dataset.validation=4", "original.epochs=1")
SMALL = [part for pair in SIZES for part in ("--set", pair)]


def table(text: str) -> dict[str, dict[str, int]]:
    """Return the first table's counts: row → answer → how many."""
    lines = text.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("maps of"))
    answers = lines[begin].split()[2:]
    found = {}
    for line in lines[begin + 2 :]:
        counts = re.findall(r"([\d,]+) \([\d.]+%\)", line)
        if len(counts) != len(answers):
            return found
        found[line.split("  ")[0]] = dict(zip(answers, (int(n.replace(",", "")) for n in counts), strict=True))
    return found


def test_the_counts_are_those_of_a_run_and_add_up_over_the_classes(cli):
    told = cli("oracle", "stats", *FACES, *SMALL, "--store", "store")
    assert told.code == 0, told.err
    counts = table(told.out)
    assert sum(counts["all"].values()) == 48
    classes = [counts["not smiling"], counts["smiling"]]
    assert {name: sum(one[name] for one in classes) for name in counts["all"]} == counts["all"]
    neurons = {name: int(n) for n, name in re.findall(r"(\d+) (yes|no)", told.out.partition("neurons:")[2])}

    methods = "crayon-attention,crayon-pruning"
    assert cli("run", *FACES, *SMALL, "--set", "refine.epochs=1", "--methods", methods, "--store", "store").code == 0
    records = [json.loads(file.read_text()) for file in Path("store/runs").glob("*/record.json")]
    verdicts = {kind: tally for record in records for kind, tally in record["feedback"]["verdicts"].items()}
    assert {**verdicts["map_verdict"], "unasked": 0} == counts["all"]
    assert {name: n for name, n in verdicts["neuron_verdict"].items() if n} == neurons


def test_how_well_the_answer_alone_tells_the_class(cli):
    all_yes = ["--set", "oracle.yes_above=0.0", "--set", "oracle.no_below=0.0"]
    told = cli("oracle", "stats", *FACES, *SMALL, *all_yes, "--store", "store")
    counts = table(told.out)
    best = sum(max(counts[name][answer] for name in counts if name != "all") for answer in counts["all"])
    guess, base = re.search(r"tells the class of ([\d.]+)% .* commonest, ([\d.]+)%", told.out).groups()
    assert (guess, base) == (f"{100 * best / 48:.1f}", "50.0")


def test_the_chance_level_stands_beside_the_percentiles(cli):
    from crayon_bench.plugins.registry import Registry
    from crayon_bench.runs.loading import load_data
    from crayon_bench.runs.plan import Options, make_plan

    told = cli("oracle", "stats", *FACES, *SMALL, "--store", "store")
    registry = Registry()
    options = Options(datasets=["celeba"], methods=["original"], seeds=[0], source="standin", sets=SMALL[1::2])
    data = load_data(make_plan(options, registry).requests[0], registry)
    sizes = data.evidence.relevant_masks(np.arange(48)).mean((1, 2))
    rows = {
        line.split("  ")[0]: line.split()
        for line in told.out.partition("Share of a map")[2].partition("The same")[0].splitlines()
    }
    assert rows["maps of"][2] == "chance" and rows["maps of"][3:5] == ["5", "%"]
    assert float(rows["all"][1]) == pytest.approx(sizes.mean(), abs=0.0006)
    assert float(rows["smiling"][1]) == pytest.approx(sizes[data.train.labels == 1].mean(), abs=0.0006)
    # Of faces, all mouths are of one size: the second table is the first in multiples of that.
    times = {line.split("  ")[0]: line.split() for line in told.out.partition("The same")[2].splitlines()}
    first, second = ([float(value) for value in row[-7:]] for row in (rows["all"], times["all"]))
    assert second == pytest.approx([value / sizes.mean() for value in first], abs=0.02)
    below = float(re.search(r"([\d.]+)% of the maps have less", told.out)[1])
    assert 0 < below < 100


def test_answers_that_follow_the_size_of_the_mask_or_the_class_are_told():
    random = np.random.default_rng(0)
    size = random.random(400)
    by_size = np.where(size > 0.5, Verdict.YES, Verdict.NO)
    assert follow_size(by_size, size) == pytest.approx(0.866, abs=0.01)
    assert follow_size(np.where(size < 0.5, Verdict.YES, Verdict.MAYBE), size) < -0.8
    assert follow_size(random.choice([Verdict.YES, Verdict.NO], 400), size) is None
    assert follow_size(np.where(size > 0.5, Verdict.UNASKED, Verdict.NO), size) is None  # nothing but no was answered
    assert follow_size(np.full(400, Verdict.NO), size) is None
    assert follow_size(by_size[:4], size[:4]) is None  # four answers say nothing

    def of(*rows: tuple[int, int, int, int]) -> Answers:
        return Answers(FeedbackKind.MAP_VERDICT, np.array(rows))

    assert of((90, 0, 10, 0), (10, 0, 90, 0)).follow_class() == pytest.approx(0.8, abs=0.02)
    assert of((50, 5, 45, 0), (45, 5, 50, 0)).follow_class() is None
    assert of((0, 0, 100, 0), (0, 0, 100, 0)).follow_class() is None
    assert of((0, 0, 50, 50), (0, 0, 100, 0)).follow_class() > 0.5  # who is left unasked tells the class too
    assert of((2, 0, 1, 0), (1, 0, 2, 0)).follow_class() is None


@pytest.fixture
def any_leak(monkeypatch):
    """Warn of every association, however small."""
    import crayon_bench.runs.leaks as module

    monkeypatch.setattr(module, "NOTABLE", 0.0)
    monkeypatch.setattr(module, "UNLIKELY", 1.1)


@pytest.fixture
def few_birds(monkeypatch):
    """Draw few birds. They are of many sizes, unlike the mouths of faces."""
    import crayon_bench_plugins.datasets.waterbirds.dataset as birds

    monkeypatch.setattr(birds, "STANDIN_MAJORITY", {2: 30})
    for name in ("STANDIN_OPEN", "STANDIN_VALIDATION", "STANDIN_TEST"):
        monkeypatch.setattr(birds, name, 20)


def test_the_warnings_are_printed(cli, any_leak, few_birds):
    birds = ["--dataset", "waterbirds", *FACES[2:], "--set", "original.epochs=1"]
    told = cli("oracle", "stats", *birds, "--store", "store").out
    assert re.search(r"Warning: the answers follow the class \(Cramér's V 0\.\d\d\)", told)
    assert re.search(
        r"Warning: the answers follow the size of the relevant part \(rank correlation [+-]0\.\d\d\)", told
    )


def test_a_run_repeats_the_warnings_under_its_table_but_not_for_its_control(cli, any_leak, few_birds):
    birds = ["--dataset", "waterbirds", *FACES[2:], "--set", "original.epochs=1", "--set", "refine.epochs=1"]
    run = ["run", *birds, "--methods", "crayon-attention,rrr", "--control", "shuffled", "--store", "store"]
    assert cli(*run).code == 0
    told = cli("leaderboard", "--store", "store", "--format", "markdown").out
    for what in ("class", "size of the relevant part"):
        assert re.search(f"warning: the answers about maps follow the {what}; see crayon-bench oracle stats", told)
    records = [json.loads(file.read_text()) for file in Path("store/runs").glob("*/record.json")]
    warned = [r for r in records if any("oracle stats" in what for what in r["warnings"])]
    assert [(r["coordinates"]["method"]["name"], r["coordinates"].get("control")) for r in warned] == [
        ("crayon-attention", None)
    ]


def test_answers_that_are_nearly_all_alike_and_yes_at_chance_are_told(cli):
    from crayon_bench.runs.leaks import suspicions, yes_enrichment

    alike = Answers(FeedbackKind.MAP_VERDICT, np.array([(0, 1, 49, 3), (1, 0, 49, 0)]))
    assert [why.short for why in suspicions(alike, None, None)] == ["nearly all answers about maps are no"]
    few = Answers(FeedbackKind.MAP_VERDICT, np.array([(0, 0, 5, 40), (0, 0, 5, 40)]))
    mixed = Answers(FeedbackKind.MAP_VERDICT, np.array([(30, 10, 10, 0), (30, 10, 10, 0)]))
    assert not list(suspicions(few, None, None)) and not list(suspicions(mixed, None, 1.4))
    assert [why.short for why in suspicions(mixed, None, 0.9)] == [
        "yes goes to maps that look at the relevant part no more than by chance"
    ]
    yes, multiples = np.full(30, Verdict.YES), np.linspace(0, 2, 30)
    assert yes_enrichment(yes, multiples) == pytest.approx(1.0) and yes_enrichment(yes[:5], multiples[:5]) is None
    told = cli(
        "oracle",
        "stats",
        *FACES,
        *SMALL,
        "--set",
        "oracle.yes_above=1.0",
        "--set",
        "oracle.no_below=1.0",
        "--store",
        "s",
    ).out
    assert (
        "Warning: nearly all answers are no (" in told
        and "Verdict: doubtful: nearly all answers about maps are no" in told
    )


def test_the_verdict_and_tables_fit_80_columns(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    told = cli("oracle", "stats", *FACES, *SMALL, "--store", "store")
    assert max(map(len, told.out.splitlines())) <= 80 and "Verdict: " in told.out
    told = cli("oracle", "calibrate", *FACES, *SMALL, "--store", "store", "--shares", "yes=.3,no=.7")
    assert max(map(len, told.out.splitlines())) <= 80


def test_digits_are_told_of_by_their_irrelevant_pixels(cli):
    told = cli(
        "oracle", "stats", "--dataset", "decoymnist", *FACES[2:], "--set", "original.epochs=1", "--store", "store"
    ).out
    assert "on irrelevant pixels" in told and re.search(r"^all +0\.082 ", told, re.MULTILINE)
