"""Controls: the same questions, as many answers, and less in them."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from conftest import TINY
from crayon_bench.dataset import Evidence
from crayon_bench.feedback import Control, FeedbackKind, Verdict
from crayon_bench.ledger.controls import weakened
from crayon_bench.ledger.metered import close_ledger, open_ledger
from crayon_bench.oracle import Boxes, FeedbackOracle, Groups, Masks, Patches, Verdicts

N, CLASSES = 400, 3
RNG = np.random.RandomState(3)
LABELS = RNG.randint(0, CLASSES, N)
ANSWERED = RNG.rand(N) < 0.8
SHUFFLES = ("shuffled", "shuffled-all")


class Everyone(FeedbackOracle):
    """Answers that name the example they are about; one in five is not given."""

    name, title, summary = "everyone", "everyone", "for a test"

    def judge_maps(self, examples, maps, evidence):
        return Verdicts(np.where(ANSWERED[examples], VERDICTS[examples], Verdict.UNASKED).astype(np.int8))

    def judge_neurons(self, patches, evidence):
        return self.judge_maps(patches.neurons, None, evidence)

    def relevant_masks(self, examples, evidence):
        return Masks(MASKS[examples], ANSWERED[examples])

    irrelevant_masks = relevant_masks

    def boxes(self, examples, evidence):
        return Boxes(BOXES[examples], ANSWERED[examples])

    def groups(self, examples, truth):
        return Groups(truth, ANSWERED[examples])


VERDICTS = RNG.choice([-1, 0, 1], N, p=[0.5, 0.1, 0.4])
MASKS = np.zeros((N, 6, 7), bool)
for i in range(N):
    MASKS[i, i % 6, : 1 + i // 6 % 6] = True
BOXES = np.stack([np.arange(N), np.arange(N) + 1, np.arange(N) + 3, np.arange(N) + 5], 1)


def ask(kind, control, examples=None, seed=0, labels=LABELS):
    """What a method is given: values and answered, with the receipt."""
    examples = np.arange(N) if examples is None else examples
    book = open_ledger(
        Everyone(FeedbackOracle.Parameters(), seed=0), Evidence(), groups=lambda e: e % 5, asks=frozenset(FeedbackKind),
        size=N, weakened=weakened(control, labels, seed),
    )  # fmt: skip
    question = {
        "map_verdict": lambda: book.judge_maps(examples, np.ones((len(examples), 2, 2))),
        "neuron_verdict": lambda: book.judge_neurons(
            Patches(examples, examples[:, None] * 0, np.zeros((len(examples), 1, 4), np.int64))
        ),
        "relevant_mask": lambda: book.relevant_masks(examples),
        "irrelevant_mask": lambda: book.irrelevant_masks(examples),
        "box": lambda: book.boxes(examples),
        "group": lambda: book.groups(examples),
    }[kind]
    given = question()
    return given, close_ledger(book)


def rows(values):
    return Counter(value.tobytes() for value in values)


@pytest.mark.parametrize("control", SHUFFLES)
@pytest.mark.parametrize("kind", list(FeedbackKind))
def test_shuffled_answers_are_the_same_ones_about_others_and_cost_as_much(kind, control):
    true, paid = ask(kind, None)
    given, cost = ask(kind, control)
    there = np.flatnonzero(true.answered)
    assert np.array_equal(given.answered, true.answered)
    assert (cost.by_kind, cost.total, cost.verdicts) == (paid.by_kind, paid.total, paid.verdicts)
    assert cost.warnings == {}
    assert not np.array_equal(given.values, true.values)
    classes = LABELS if control == "shuffled" and kind != "neuron_verdict" else LABELS * 0
    for label in np.unique(classes):
        of_class = there[classes[there] == label]
        assert rows(given.values[of_class]) == rows(true.values[of_class])
    again, _ = ask(kind, control)
    other, _ = ask(kind, control, seed=1)
    assert np.array_equal(again.values, given.values)
    assert not np.array_equal(other.values, given.values)
    if kind == "box":  # each names its example
        assert not (given.values[there] == true.values[there]).all(1).any(), "one stayed where it was"


def test_shuffled_over_classes_tells_nothing_of_the_class():
    """Here the class is all that an answer could tell: a group for each."""
    labels = np.arange(N) % 2

    def share_right(control):
        book = open_ledger(
            Everyone(FeedbackOracle.Parameters(), seed=0), Evidence(), groups=lambda e: labels[e] * 4 + 3,
            asks=frozenset(FeedbackKind), size=N, weakened=weakened(control, labels, 0),
        )  # fmt: skip
        given = book.groups(np.arange(N))
        close_ledger(book)
        return np.mean((given.values == labels * 4 + 3)[given.answered])

    assert share_right(None) == share_right("shuffled") == 1
    assert abs(share_right("shuffled-all") - 0.5) < 0.1


def test_constant_is_the_commonest_answer_the_mean_box_and_the_likeliest_pixels():
    examples = np.arange(N)[::-1]
    there = ANSWERED[::-1]
    for kind in ("map_verdict", "neuron_verdict"):
        given, cost = ask(kind, "constant", examples)
        assert set(given.values[there]) == {-1}
        assert set(given.values[~there]) == {Verdict.UNASKED}
        assert cost.total == there.sum()
    given, _ = ask("box", "constant", examples)
    assert (given.values[there] == np.rint(BOXES[ANSWERED].mean(0))).all()
    given, _ = ask("group", "constant", examples)
    commonest = Counter((np.arange(N) % 5)[ANSWERED].tolist()).most_common(1)[0][0]
    assert set(given.values[there].tolist()) == {commonest}
    for kind in ("relevant_mask", "irrelevant_mask"):
        given, _ = ask(kind, "constant", examples)
        often = MASKS[ANSWERED].mean(0)
        (mask,) = {m.tobytes() for m in given.values[there]}
        mask = np.frombuffer(mask, bool).reshape(6, 7)
        assert mask.sum() == round(often.sum())
        assert often[mask].min() >= often[~mask].max()
        assert not given.values[~there].any()


def test_a_control_that_is_none_says_so():
    labels = np.arange(N)  # every image is the only one of its class
    given, cost = ask("box", "shuffled", labels=labels)
    assert np.array_equal(given.values[ANSWERED], BOXES[ANSWERED])
    assert list(cost.warnings) == ["answers (box) are all alike: the control has the true ones, and is none"]
    assert ask("box", "constant", np.array([np.flatnonzero(ANSWERED)[0]]))[1].warnings
    assert not ask("box", "constant", np.flatnonzero(~ANSWERED)[:3])[1].warnings


STORE = Path("crayon-runs")


def records(store: Path, share: float | None = None) -> dict[tuple, dict]:
    """By method, control and seed: those with this share of the questions."""
    found = [json.loads(file.read_text()) for file in store.glob("runs/*/record.json")]
    coordinates = [r["coordinates"] for r in found]
    return {
        (c["method"]["name"], c.get("control"), c["seed"]): r
        for c, r in zip(coordinates, found, strict=True)
        if (c["budget"] or {}).get("share") == share
    }


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    from crayon_bench.cli import invoke

    store = tmp_path_factory.mktemp("controls") / "store"
    run = ["run", "--dataset", "decoymnist", "--methods", "original,rrr,crayon-attention", "--seeds", "2", *TINY]
    controls = ["--control", ",".join(Control), "--budget", "50%,all"]
    assert invoke([*run, *controls, "--store", str(store), "--executor", "serial", "--quiet"]) == 0
    return store


def test_each_method_that_asks_is_run_once_more_under_each_control_and_budget(sweep):
    assert len(list(sweep.glob("runs/*/record.json"))) == 2 * (1 + 2 * 2 * 4)
    for share in (None, 0.5):
        found = records(sweep, share)
        assert {control for method, control, _ in found if method == "original"} <= {None}
        for method in ("rrr", "crayon-attention"):
            for seed in (0, 1):
                true = found[method, None, seed]
                assert "control" not in true["coordinates"]
                for control in Control:
                    weak = found[method, control, seed]
                    assert weak["feedback"] == true["feedback"] or control == "constant"
                    assert weak["feedback"]["total"] == true["feedback"]["total"] > 0
                    assert weak["setting"] == true["setting"]
                    assert weak["key"] != true["key"]
                    assert {k: v for k, v in weak["coordinates"].items() if k != "control"} == true["coordinates"]


def test_true_answers_alone_are_what_they_were_without_a_control(sweep, cli, tmp_path):
    run = ["run", "--dataset", "decoymnist", "--methods", "rrr", "--seeds", "1", *TINY, "--store", tmp_path / "s"]
    assert cli(*run).code == 0
    alone = records(tmp_path / "s")["rrr", None, 0]
    same = records(sweep)["rrr", None, 0]
    assert same["key"] == alone["key"]
    assert same["metrics"] == alone["metrics"]


@pytest.mark.parametrize("text", ["shuffle", "shuffled,", "all"])
def test_a_control_that_there_is_not_is_told(text, cli):
    result = cli("run", "--dataset", "decoymnist", "--methods", "rrr", *TINY, "--control", text)
    assert result.code == 2
    assert "--control" in result.err
    assert "Traceback" not in result.err
    assert not STORE.exists()


def test_a_dry_run_shows_the_control(cli):
    result = cli(
        "run", "--dataset", "decoymnist", "--methods", "rrr,original", *TINY, "--control", "constant", "--dry-run"
    )
    assert result.code == 0
    assert result.out.count("constant") == 5
    assert "control" in result.out
