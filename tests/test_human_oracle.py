"""Recorded answers as an oracle."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from crayon_bench.budget import Budget
from crayon_bench.dataset import Evidence, Source
from crayon_bench.errors import UserError
from crayon_bench.feedback import FeedbackKind, Verdict
from crayon_bench.ledger.allowance import Allowance
from crayon_bench.ledger.metered import close_ledger, open_ledger
from crayon_bench.oracle import Patches, Situation
from crayon_bench.store.records import Feedback
from crayon_bench.strategy import Pool
from crayon_bench_leaderboards.price import load_price
from crayon_bench_plugins.annotation.answers.events import Via
from crayon_bench_plugins.annotation.answers.folder import Answers
from crayon_bench_plugins.annotation.answers.recorder import Recorder
from crayon_bench_plugins.annotation.answers.shown import image_hash, map_hash, patches_hash
from crayon_bench_plugins.annotation.answers.tasks import Task
from crayon_bench_plugins.oracles.human import HumanOracle, HumanParameters
from crayon_bench_plugins.strategies.random import RandomStrategy
from recorded import BEGIN, CONTENT, by_rule, hurried, manifest, record

FACES = ["--dataset", "celeba", "--source", "standin", "--seeds", "0,", "--store", "store"]
SIZES = ("dataset.majority=20", "dataset.minority=4", "dataset.test=10", "original.epochs=1", "refine.epochs=1")
SMALL = [part for pair in SIZES for part in ("--set", pair)]
HUMAN = ["--oracle", "human", "--answers", "answers"]
METHODS = {
    "crayon-attention": {"map_verdict": 48},
    "crayon-pruning": {"neuron_verdict": 0},
    "energy": {"box": 48},
    "rrr": {"irrelevant_mask": 48},
    "gradia": {"map_verdict": 48, "relevant_mask": 0},
    "random-pruning": {},
}


def records(store: str = "store", control: str | None = None) -> dict[tuple[str, str], dict]:
    """(method, oracle) → record, of the runs of seed 0 under a control."""
    found = {}
    for file in Path(store).glob("runs/*/record.json"):
        one = json.loads(file.read_text())
        c = one["coordinates"]
        if c.get("control") == control:
            found[c["method"]["name"], c["oracle"]["name"]] = {**one, "folder": file.parent}
    return found


RULE = ("oracle.patch_share=0.0", "oracle.patch_misses=10")
"""With these, some neurons are relevant and some are not."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Answers by the simulated rule, and the store with the original model that they are about."""
    folder = tmp_path_factory.mktemp("made")
    options = {"datasets": ["celeba"], "methods": ["crayon-attention"], "seeds": [0], "source": Source.STANDIN}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRAYON_BENCH_DATA", str(tmp_path_factory.mktemp("no-data")))
        by_rule(folder / "answers", {**options, "sets": (*SIZES, *RULE)}, folder / "store")
    return folder


@pytest.fixture
def answered(made):
    """Copies of them in ./answers and ./store."""
    for name in ("answers", "store"):
        shutil.copytree(made / name, name)


def test_answers_by_the_rule_give_what_the_rule_gives_of_maps_and_boxes(cli, answered):
    rule = [part for value in RULE for part in ("--set", value)]
    for oracle in (rule, HUMAN):
        assert cli("run", *FACES, *SMALL, "--methods", "crayon-attention,energy", *oracle).code == 0
    found = records()
    for method in ("crayon-attention", "energy"):
        runs = [found[method, oracle] for oracle in ("simulated", "human")]
        tables = [pq.read_table(run["folder"] / "predictions.parquet") for run in runs]
        assert tables[0].equals(tables[1])
        assert runs[0]["feedback"]["by_kind"] == runs[1]["feedback"]["by_kind"] == METHODS[method]


@pytest.mark.slow
def test_answers_by_the_rule_give_what_the_rule_gives(cli, answered):
    """The same verdicts, metrics and predictions, for every kind of question, and what people took for it.

    With a control too: the same answers, which carry less, and as many.
    """
    methods = ["--methods", ",".join(METHODS)]
    rule = [part for value in RULE for part in ("--set", value)]
    for oracle in (rule, HUMAN):
        result = cli("run", *FACES, *SMALL, *methods, *oracle, "--control", "shuffled")
        assert result.code == 0, result.err
    found, less = records(), records(control="shuffled")
    assert {method for method, _ in less} == {method for method, counts in METHODS.items() if counts}
    for (method, oracle), one in less.items():
        true = found[method, oracle]
        if method != "gradia":  # which asks for masks where the answers say so
            assert one["feedback"] == true["feedback"]
        assert one["metrics"] == less[method, "simulated"]["metrics"]
        tables = [
            pq.read_table(run["folder"] / "predictions.parquet") for run in (one, less[method, "simulated"], true)
        ]
        assert tables[0].equals(tables[1])
        assert not tables[0].equals(tables[2]), (method, oracle)
    for method, counts in METHODS.items():
        by_rule_, by_people = found[method, "simulated"], found[method, "human"]
        assert by_people["status"] == "ok"
        for part in ("metrics", "groups", "validation", "attention"):
            assert by_people[part] == by_rule_[part], (method, part)
        tables = [pq.read_table(one["folder"] / "predictions.parquet") for one in (by_rule_, by_people)]
        assert tables[0].equals(tables[1]), method
        for part in ("total", "by_kind", "verdicts", "lent"):
            assert by_people["feedback"][part] == by_rule_["feedback"][part], (method, part)
        for kind, number in counts.items():
            assert by_people["feedback"]["by_kind"][kind] >= max(1, number)
        took = {kind: 2.0 * n for kind, n in by_people["feedback"]["by_kind"].items()}
        assert by_people["feedback"]["seconds"] == pytest.approx(took)
        assert re.fullmatch("[0-9a-f]{64}", by_people["coordinates"]["oracle"]["answers"])
        assert by_people["warnings"] == by_rule_["warnings"]
    tally = found["crayon-pruning", "human"]["feedback"]["verdicts"]["neuron_verdict"]
    assert tally["yes"] > 0 < tally["no"]
    assert "human" in cli("leaderboard", "--store", "store").out


def test_a_budget_is_spent_on_what_has_answers(cli, answered):
    """Ten of the 48 maps are answered: a budget of 8 asks 8 of them, one of 20 all ten."""
    file = next(Path("answers/maps").glob("*.jsonl"))
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:10]))
    for budget, total in ((8, 8), (20, 10)):
        store = f"store-{budget}"
        shutil.copytree("store", store)
        options = ["--methods", "crayon-attention", "--budget", budget]
        assert cli("run", *FACES[:-1], store, *SMALL, *options, *HUMAN).code == 0
        assert records(store)["crayon-attention", "human"]["feedback"]["total"] == total


def test_answers_about_another_models_maps(cli, answered):
    """Another seed's run fails and says so; told to, it uses them, and that stands under the table."""
    other = [*("1," if part == "0," else part for part in FACES), *SMALL, *HUMAN]
    attention = ["--methods", "crayon-attention"]
    result = cli("run", *other, *attention)
    assert result.code == 1
    assert "none of 48 fits: they are about maps of another model (seed 0, protocol quick)" in result.err
    assert "oracle.misfit=use" in result.err
    result = cli("run", *other, *attention, "--set", "oracle.misfit=use")
    assert result.code == 0
    assert "answers about maps of another model, used all the same (48 times" in result.out
    assert cli("run", *other, "--methods", "energy").code == 0  # a box is about the image


def test_mistakes_are_one_line_before_anything_is_trained(cli, tmp_path, answered):
    run = ["run", *FACES, *SMALL, "--methods", "crayon-attention", "--oracle", "human"]
    empty = tmp_path / "empty"
    empty.mkdir()
    asked = tmp_path / "asked"
    (asked / "maps").mkdir(parents=True)
    shutil.copy("answers/maps/questions.json", asked / "maps")
    made_up = tmp_path / "made-up"
    record(made_up, manifest(), "Ada", {"image-0": "yes"})
    for folder, words in (
        (None, "add --answers DIR"),
        (tmp_path / "nowhere", "there is no such folder"),
        (empty, "no answers are recorded there"),
        (asked, "nobody has answered"),
        (made_up, "about other data"),
    ):
        result = cli(*run, *([] if folder is None else ["--answers", folder]))
        assert result.code == 2
        assert words in result.err
        assert len(result.err.strip().splitlines()) == 1
    assert not list(Path("store/runs").iterdir())


def test_methods_whose_questions_nobody_answered_are_skipped(cli, answered):
    shutil.rmtree("answers/boxes")
    cli("run", *FACES, *SMALL, "--methods", "energy", *HUMAN)
    (one,) = records().values()
    assert one["status"] == "skipped"
    assert "no answers about boxes are recorded in answers" in one["reason"]


def test_oracle_stats_of_recorded_answers(cli, answered):
    rule = [part for value in RULE for part in ("--set", value)]
    said = [cli("oracle", "stats", *FACES, *SMALL, *oracle) for oracle in (rule, HUMAN)]
    assert said[1].code == 0, said[1].err
    assert said[0].out == said[1].out


# ---------------------------------------------------------------------------------------------------------------------
# small folders

MAPS = np.stack([np.full((2, 2), i) for i in range(6)]).astype(np.float32)


class Nothing(Evidence):
    pass


def oracle_of(folder: Path, n: int = 6, image_size=(8, 10), model="0" * 64, budget=None, **parameters):
    """The ledger of a human oracle about *n* images, and the oracle."""
    oracle = HumanOracle(HumanParameters(**parameters), seed=0)
    oracle.answers = folder
    oracle.situation = Situation(
        ids=[f"image-{i}" for i in range(n)][::-1],  # elsewhere than in the folder
        labels=np.zeros(n, np.int64),
        class_names=("cat", "dog"),
        dataset={"name": "made-up", "source": "standin", "content": CONTENT},
        model=model,
        image_size=image_size,
    )
    kinds = [FeedbackKind.MAP_VERDICT]
    allowance = None if budget is None else Allowance(Budget(budget), kinds, RandomStrategy(seed=0), Pool(n, list))
    ledger = open_ledger(
        oracle, Nothing(), groups=lambda e: e, asks=frozenset(FeedbackKind), size=n, allowance=allowance
    )
    return ledger, oracle


def test_unasked_skip_and_maybe_are_three_things(tmp_path):
    record(tmp_path, manifest(n=6), "Ada", {"image-0": "yes", "image-1": "maybe", "image-2": "skip", "image-3": "no"})
    ledger, oracle = oracle_of(tmp_path)
    values = ledger.judge_maps(np.arange(6), MAPS[::-1]).values[::-1]
    expected = [Verdict.YES, Verdict.MAYBE, Verdict.UNASKED, Verdict.NO, Verdict.UNASKED, Verdict.UNASKED]
    assert values.tolist() == expected
    available = oracle.available(FeedbackKind.MAP_VERDICT, np.arange(6))[::-1]
    assert available.tolist() == [True, True, False, True, False, False]
    receipt = close_ledger(ledger)
    assert receipt.by_kind == {"map_verdict": 3}
    assert receipt.verdicts["map_verdict"] == {"yes": 1, "no": 1, "maybe": 1}
    assert receipt.warnings == {"maps that were skipped by all who were asked, left unasked": 1}
    assert receipt.seconds == {"map_verdict": 6.0}


def test_several_annotators_become_one(tmp_path):
    """Majority, ties are maybe, skips do not vote; everybody's time is counted, and pauses are not."""
    questions = manifest(n=6)
    record(tmp_path, questions, "Ada", {f"image-{i}": word for i, word in enumerate(["yes", "yes", "yes", "no", "no"])})
    record(tmp_path, questions, "Bob", {f"image-{i}": word for i, word in enumerate(["yes", "no", "skip", "maybe"])})
    record(tmp_path, questions, "Cy", {"image-0": "no", "image-3": "maybe"}, took=3600)
    ledger, _ = oracle_of(tmp_path)
    values = ledger.judge_maps(np.arange(6), MAPS[::-1]).values[::-1]
    expected = [Verdict.YES, Verdict.MAYBE, Verdict.YES, Verdict.MAYBE, Verdict.NO, Verdict.UNASKED]
    assert values.tolist() == expected
    assert close_ledger(ledger).seconds == {"map_verdict": 5 * 2 + 3 * 2 + 2 * 120}


def test_what_does_not_fit_is_left_or_used_and_counted(tmp_path):
    record(tmp_path, manifest(n=6), "Ada", {f"image-{i}": "yes" for i in range(4)})
    maps = MAPS[::-1].copy()
    maps[-1] += 1e-3  # image-0
    for misfit, verdict, became in (
        ("leave", Verdict.UNASKED, "left unasked"),
        ("use", Verdict.YES, "used all the same"),
    ):
        for model, what in (
            ("0" * 64, "of this model, but shown otherwise or computed on another machine"),
            ("1" * 64, "of another model"),
        ):
            ledger, _ = oracle_of(tmp_path, misfit=misfit, model=model)
            assert ledger.judge_maps(np.arange(6), maps).values[-1] == verdict
            assert close_ledger(ledger).warnings == {f"answers about maps {what}, {became}": 1}
    ledger, _ = oracle_of(tmp_path, misfit="leave")
    with pytest.raises(UserError, match="none of 4 fits"):
        ledger.judge_maps(np.arange(6), maps + 1)


@pytest.mark.parametrize("budget", [1, 2, 6])
def test_a_budget_is_not_spent_on_answers_that_do_not_fit(tmp_path, budget):
    record(tmp_path, manifest(n=6), "Ada", {f"image-{i}": "yes" for i in range(5)})
    maps = MAPS[::-1].copy()
    maps[-3:] += 1e-3  # image-0, image-1 and image-2
    ledger, _ = oracle_of(tmp_path, budget=budget)
    values = ledger.judge_maps(np.arange(6), maps).values[::-1]
    assert set(np.nonzero(values == Verdict.YES)[0].tolist()) <= {3, 4}
    receipt = close_ledger(ledger)
    assert receipt.total == min(budget, 2)
    assert list(receipt.warnings.values()) == [3]
    ledger, _ = oracle_of(tmp_path, budget=budget)
    with pytest.raises(UserError, match="none of 5 fits"):
        ledger.judge_maps(np.arange(6), maps + 1)
    ledger, _ = oracle_of(tmp_path, budget=6, misfit="use")
    assert (ledger.judge_maps(np.arange(6), maps + 1).values == Verdict.YES).sum() == 5


def test_what_is_drawn_may_take_longer_than_a_word(tmp_path):
    shown = [(f"image-{i}", image_hash(CONTENT, f"image-{i}")) for i in range(6)]
    boxes = manifest(Task.BOXES, model=None, questions=shown)
    record(tmp_path, boxes, "Ada", {"image-0": (0, 0, 4, 4)}, took=300)
    record(tmp_path, boxes, "Bob", {"image-1": (0, 0, 4, 4)}, took=3600)
    ledger, _ = oracle_of(tmp_path)
    ledger.boxes(np.arange(6))
    assert close_ledger(ledger).seconds == {"box": 300 + 600}


def test_neurons_are_matched_by_number_and_by_what_their_patches_show(tmp_path):
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3]])
    shown = [
        ("neuron-7", patches_hash(["image-3", "image-0"], boxes)),
        ("neuron-2", patches_hash(["image-1"], boxes[:1])),
    ]
    record(tmp_path, manifest(Task.NEURONS, questions=shown), "Ada", {"neuron-7": "no", "neuron-2": "yes"})
    ledger, oracle = oracle_of(tmp_path)
    patches = Patches(
        np.array([2, 5, 7]), np.array([[4, -1], [0, 1], [2, 5]]), np.array([[boxes[0], [0] * 4], boxes, boxes])
    )
    assert ledger.judge_neurons(patches).values.tolist() == [Verdict.YES, Verdict.UNASKED, Verdict.NO]
    assert oracle.available(FeedbackKind.NEURON_VERDICT, patches.neurons).tolist() == [True, False, True]
    assert close_ledger(ledger).by_kind == {"neuron_verdict": 2}


def test_boxes_and_masks_of_several(tmp_path):
    shown = [(f"image-{i}", image_hash(CONTENT, f"image-{i}")) for i in range(6)]
    boxes = manifest(Task.BOXES, model=None, questions=shown)
    record(tmp_path, boxes, "Ada", {"image-0": (0, 0, 4, 4), "image-1": (0, 0, 4, 4), "image-2": "maybe"})
    record(tmp_path, boxes, "Bob", {"image-0": (1, 2, 5, 9), "image-1": "maybe"})
    record(tmp_path, boxes, "Cy", {"image-0": (2, 1, 6, 5), "image-3": (1, 1, 2, 2)})
    record(tmp_path, boxes, "Di", {"image-3": (2, 4, 5, 8), "image-4": "skip"})
    masks = manifest(Task.MASKS, model=None, questions=shown)
    answers = Answers(tmp_path)
    painted = np.zeros((3, 8, 10), np.bool_)
    painted[0, 0], painted[1, :2], painted[2, :, 0] = True, True, True
    with hurried():
        for who, mask in zip(("Ada", "Bob", "Cy"), painted, strict=True):
            record(tmp_path, masks, who, {"image-0": answers.write_mask(who, mask)})
        record(tmp_path, masks, "Cy", {"image-1": answers.write_mask("Cy", painted[2]), "image-2": "skip"})
        record(tmp_path, masks, "Bob", {"image-1": answers.write_mask("Bob", painted[0])})
    ledger, oracle = oracle_of(tmp_path)
    given = ledger.boxes(np.arange(6))
    assert given.answered[::-1].tolist() == [True, False, False, True, False, False]
    assert given.values[5].tolist() == [1, 1, 5, 5]
    assert given.values[2].tolist() == [1, 2, 4, 5]  # between two: the outer pixel
    for ask, turn in ((ledger.relevant_masks, False), (ledger.irrelevant_masks, True)):
        got = ask(np.arange(6))
        assert got.answered[::-1].tolist() == [True, True, False, False, False, False]
        most = (painted.sum(0) >= 2) ^ turn
        assert (got.values[5] == most).all()
        assert (got.values[4] == (painted[2] & painted[0]) ^ turn).all()  # of two, where both painted
    for kind in (FeedbackKind.BOX, FeedbackKind.RELEVANT_MASK):
        assert oracle.available(kind, np.arange(6)).sum() == 2
    receipt = close_ledger(ledger)
    assert receipt.by_kind == {"box": 2, "relevant_mask": 2, "irrelevant_mask": 2}
    # A mask is painted once, and what both kinds of questions took is known.
    assert receipt.seconds == {"box": 10.0, "relevant_mask": 10.0, "irrelevant_mask": 0.0}
    counted = Feedback(total=receipt.total, by_kind=dict(receipt.by_kind), seconds=dict(receipt.seconds))
    assert load_price("recorded").hours(counted) == pytest.approx(20 / 3600)
    assert receipt.warnings == {
        "boxes of which people said maybe, left unasked": 2,
        "boxes that were skipped by all who were asked, left unasked": 1,
        "masks that were skipped by all who were asked, left unasked": 2,
    }
    with pytest.raises(UserError, match=r"images of 10 x 8 pixels, and this run's are 8 x 8"):
        oracle_of(tmp_path, image_size=(8, 8))[0].boxes(np.arange(6))


def test_drawings_on_images_that_were_read_otherwise_are_told(tmp_path):
    shown = [(f"image-{i}", image_hash(CONTENT, f"image-{i}")) for i in range(6)]
    saw = {"name": "made-up", "source": "standin", "content": CONTENT, "version": 1, "parameters": {"fit": "crop"}}
    record(tmp_path, manifest(Task.BOXES, model=None, questions=shown, dataset=saw), "Ada", {"image-0": (0, 0, 4, 4)})
    for version, fit, told in ((1, "crop", ""), (1, "stretch", "dataset.fit crop, now stretch"),
                               (2, "crop", "dataset.version 1, now 2")):  # fmt: skip
        ledger, oracle = oracle_of(tmp_path)
        known = {**saw, "version": version, "parameters": {"fit": fit}}
        oracle.situation = replace(oracle.situation, dataset=known)
        assert ledger.boxes(np.arange(6)).answered.sum() == 1
        warning = f"boxes that people drew when the data set was read otherwise ({told})"
        assert close_ledger(ledger).warnings == ({warning: 1} if told else {})


def test_the_fingerprint_is_of_what_counts(tmp_path):
    """Not of names, files, order or what was undone; of answers, times, questions and masks."""

    def made(name, people, took=2.0, **changes):
        for who, given in people.items():
            record(tmp_path / name, manifest(n=6, **changes), who, given, took=took)
        return HumanOracle.fingerprint(tmp_path / name)

    first = made("a", {"Ada": {"image-0": "yes", "image-1": "no"}, "Bob": {"image-0": "maybe"}})
    assert made("b", {"Zoe": {"image-0": "maybe"}, "Bea": {"image-1": "no", "image-0": "yes"}}) == first
    again = [("image-1", "yes"), ("image-0", "yes"), ("image-1", "no")]
    assert made("c", {"Ada": again, "Bob": {"image-0": "maybe"}}) == first
    with hurried(), Recorder(Answers(tmp_path / "c"), Task.MAPS, "Bob") as recorder:
        recorder.answer("image-2", "yes", shown_at=BEGIN, via=Via.KEY)
        recorder.undo(via=Via.KEY)
    assert HumanOracle.fingerprint(tmp_path / "c") == first
    people = {"Ada": {"image-0": "yes", "image-1": "no"}, "Bob": {"image-0": "yes"}}
    assert made("d", people) != first
    assert made("e", {**people, "Bob": {"image-0": "maybe"}}, took=3.0) != first
    assert made("f", {**people, "Bob": {"image-0": "maybe"}}, seed=1) != first
    assert made("g", {**people, "Bob": {"image-0": "maybe", "image-2": "skip"}}) != first


def test_answers_that_change_after_the_plan(cli, answered):
    from crayon_bench.plugins.registry import Registry
    from crayon_bench.runs.plan import Options, make_plan
    from crayon_bench.runs.prepared import make_oracle

    options = Options(
        ["celeba"],
        ["crayon-attention"],
        [0],
        source=Source.STANDIN,
        sets=SIZES,
        oracle="human",
        answers=Path("answers"),
    )
    request = make_plan(options, Registry()).requests[0]
    make_oracle(request, Registry())
    with hurried(), Recorder(Answers(Path("answers")), Task.MAPS, "Ruth") as recorder:
        recorder.undo(via=Via.KEY)
    with pytest.raises(UserError, match="changed after the plan was made"):
        make_oracle(request, Registry())


def test_the_hash_of_a_map_is_of_its_shape_and_values():
    assert map_hash(MAPS[1]) == map_hash(MAPS[1].astype(np.float64)) == map_hash(MAPS[1].copy().T)
    assert len({map_hash(one) for one in (*MAPS, np.ones((1, 4)), np.ones((4, 1)), -MAPS[0])}) == 9
