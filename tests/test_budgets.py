"""Budgets: how many questions, which ones, and what a method makes of those that were not asked."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import TINY
from crayon_bench.budget import Budget
from crayon_bench.errors import UserError
from crayon_bench.feedback import FeedbackKind, Verdict
from crayon_bench.ledger.allowance import Allowance
from crayon_bench.ledger.metered import close_ledger, open_ledger
from crayon_bench.networks.convnets import ConvNet
from crayon_bench.networks.grids import ask_masks, boxes_to_grid, to_grid
from crayon_bench.networks.specification import CNNSpec
from crayon_bench.oracle import Patches
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.runs.perform import perform
from crayon_bench.runs.plan import Options, make_plan
from crayon_bench.store.records import Record, digest, setting_of
from crayon_bench.store.store import Store
from crayon_bench.strategy import Pool, QueryStrategy
from crayon_bench.testing.tiny import TinyOracle, TinySet
from crayon_bench_plugins.oracles.simulated import SimulatedOracle
from penalties import Answers, capture, evidence

N = 32
FOUND = TinySet.find(None, None, strict=True)
MAP, NEURON, BOX, MASK = (
    FeedbackKind.MAP_VERDICT, FeedbackKind.NEURON_VERDICT, FeedbackKind.BOX, FeedbackKind.RELEVANT_MASK
)  # fmt: skip


class EveryQuestion(TinyOracle):
    """Answers all that it is asked, and remembers what that was."""

    name = "every"

    def __init__(self, *arguments, cannot=(), **keywords):
        super().__init__(*arguments, **keywords)
        self.asked = []
        self.cannot = list(cannot)

    def available(self, kind, numbers, shown=None):
        return ~np.isin(numbers, self.cannot)

    def boxes(self, examples, evidence):
        self.asked += examples.tolist()
        given = super().boxes(examples, evidence)
        return type(given)(given.values, np.ones(len(examples), bool))


def book_of(budget, asks, strategy="random", oracle=None, probabilities=None, seed=3):
    data = TinySet(TinySet.Parameters()).load(FOUND)
    oracle = oracle or EveryQuestion(EveryQuestion.Parameters(), seed=0)
    pool = Pool(N, lambda: probabilities)
    chooser = Registry().load(Kind.STRATEGY, strategy)(seed=seed)
    allowance = None if budget is None else Allowance(budget, asks, chooser, pool)
    book = open_ledger(
        oracle, data.evidence, groups=lambda e: data.train.groups[e], asks=frozenset(asks), size=N, allowance=allowance
    )
    return book, oracle


def patches(k):
    return Patches(np.arange(k), np.zeros((k, 1), np.int64), np.tile([0, 0, 4, 4], (k, 1, 1)))


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("all", None), ("100%", None), ("0", Budget(questions=0)), ("100", Budget(questions=100)),
        ("10%", Budget(share=0.1)), (" 0.5% ", Budget(share=0.005)),
    ],
)  # fmt: skip
def test_what_budgets_look_like(text, budget):
    assert Budget.parse(text) == budget
    if budget is not None:
        assert Budget.from_coordinates(json.loads(json.dumps(budget.coordinates))) == budget


@pytest.mark.parametrize("text", ["", "-1", "1.5", "ten", "0%", "101%", "1e3", "10 %", "99999999999", "²", "000"])
def test_what_is_no_budget(text, cli):
    with pytest.raises(UserError, match="--budget"):
        Budget.parse(text)
    result = cli("run", "--dataset", "decoymnist", "--budget", f"5,{text}")
    assert (result.code, result.out) == (2, "")
    assert f"--budget '{text.strip()}'" in result.err and len(result.err.splitlines()) == 1


def test_a_share_is_rounded_up_and_not_by_the_error_of_floating_point():
    assert [Budget.parse(f"{p}%").of(200) for p in (1, 3, 7, 0.1)] == [2, 6, 14, 1]
    assert Budget.parse("30%").of(10) == 3  # 0.3 · 10 is 3.0000000000000004 in some orders


def test_no_more_is_asked_than_is_allowed_and_the_rest_is_blank():
    book, oracle = book_of(Budget(questions=5), [BOX])
    given = book.boxes(np.arange(N))
    assert given.answered.sum() == len(oracle.asked) == 5
    assert (given.values[~given.answered] == 0).all() and (given.values[given.answered] > 0).any(axis=1).all()
    assert book.boxes(np.arange(N)).answered.sum() == 0  # nothing is left
    assert close_ledger(book).total == 5


def test_without_a_budget_all_is_asked():
    book, oracle = book_of(None, [BOX])
    assert book.boxes(np.arange(N)).answered.all()
    assert oracle.asked == list(range(N))


def test_the_questions_of_a_small_budget_are_among_those_of_a_larger_one_whatever_is_asked_for():
    asked = {}
    for number in (3, 10, 20):
        for kind in ("box", "share"):
            budget = Budget(questions=number) if kind == "box" else Budget(share=number / N)
            book, oracle = book_of(budget, [BOX])
            book.boxes(np.arange(N)[::-1])
            asked[number, kind] = set(oracle.asked)
    assert asked[3, "box"] < asked[10, "box"] < asked[20, "box"]
    assert all(asked[n, "box"] == asked[n, "share"] for n in (3, 10, 20))
    book, oracle = book_of(Budget(questions=10), [BOX], seed=4)
    book.boxes(np.arange(N))
    assert set(oracle.asked) != asked[10, "box"]


def test_asked_in_pieces_it_is_the_same_questions():
    whole, oracle = book_of(Budget(questions=10), [MASK])
    S, answered = ask_masks(whole, MASK, N, (4, 4))
    assert answered.sum() > 0 and (S[~answered] == 0).all()
    pieces, _ = book_of(Budget(questions=10), [MASK])
    chosen = pieces.chosen(MASK, np.arange(N))
    assert len(chosen) == 10 and (np.diff(chosen) > 0).all()
    assert set(np.nonzero(answered.numpy())[0]) <= set(chosen.tolist())
    assert close_ledger(pieces).total == 0  # choosing is not asking


def test_the_budget_is_spent_on_what_can_be_answered():
    book, oracle = book_of(
        Budget(questions=6), [BOX], oracle=EveryQuestion(EveryQuestion.Parameters(), seed=0, cannot=range(25))
    )
    book.boxes(np.arange(N))
    assert len(oracle.asked) == 6 and min(oracle.asked) >= 25


def test_kinds_share_a_number_and_what_one_leaves_another_may_use():
    maps = np.ones((N, 4, 4), np.float32)
    book, _ = book_of(Budget(questions=20), [MAP, BOX])
    assert (book.judge_maps(np.arange(N), maps).values != Verdict.UNASKED).sum() <= 10
    assert book.boxes(np.arange(N)).answered.sum() == 10
    book, _ = book_of(Budget(questions=20), [MAP, BOX])
    book.reserve(BOX, 3)
    book.judge_maps(np.arange(N), maps)
    assert book.boxes(np.arange(N)).answered.sum() == 3
    book, _ = book_of(Budget(questions=20), [MAP, BOX])
    book.reserve(BOX, 100)  # an equal share at most: the other kind is not starved
    book.judge_maps(np.arange(N), maps)
    assert book.boxes(np.arange(N)).answered.sum() == 10
    book, _ = book_of(Budget(questions=20), [MAP, BOX])
    book.judge_maps(np.arange(4), maps[:4])
    assert book.boxes(np.arange(N)).answered.sum() == 16


def test_a_method_cannot_reserve_its_way_past_the_budget():
    book, _ = book_of(Budget(questions=5), [BOX, MASK])
    book.reserve(MASK, -100)
    assert book.boxes(np.arange(N)).answered.sum() == 5
    assert book.relevant_masks(np.arange(N)).answered.sum() == 0


def test_able_is_what_could_be_answered_and_asks_nothing():
    for budget in (None, Budget(questions=2)):
        oracle = EveryQuestion(EveryQuestion.Parameters(), seed=0, cannot=[3, 4])
        book, _ = book_of(budget, [BOX], oracle=oracle)
        assert book.able(BOX, [9, 3, 0, 4]).tolist() == [9, 0]
        assert close_ledger(book).total == 0 and oracle.asked == []


def test_a_share_is_of_each_kind():
    book, _ = book_of(Budget(share=0.25), [NEURON, BOX])
    verdicts = book.judge_neurons(patches(40))
    assert book.boxes(np.arange(N)).answered.sum() == 8
    assert (verdicts.values != Verdict.UNASKED).sum() <= 10


def test_balanced_asks_as_often_about_each_predicted_class():
    probabilities = np.eye(3, dtype=np.float32)[[0] * 24 + [1] * 6 + [2] * 2]
    book, oracle = book_of(Budget(questions=9), [BOX], "balanced", probabilities=probabilities)
    book.boxes(np.arange(N))
    assert np.bincount(probabilities[oracle.asked].argmax(1)).tolist() == [4, 3, 2]


def test_uncertain_asks_where_the_margin_is_smallest():
    p = np.random.RandomState(0).dirichlet([1, 1, 1], N).astype(np.float32)
    book, oracle = book_of(Budget(questions=7), [BOX], "uncertain", probabilities=p)
    book.boxes(np.arange(N))
    two = np.sort(p, axis=1)[:, -2:]
    assert set(oracle.asked) == set(np.argsort(two[:, 1] - two[:, 0])[:7].tolist())


@pytest.mark.parametrize("strategy", ["balanced", "uncertain"])
def test_neurons_have_no_predicted_class(strategy):
    book, _ = book_of(Budget(questions=7), [NEURON], strategy, probabilities=np.ones((N, 2), np.float32))
    assert 0 < (book.judge_neurons(patches(20)).values != Verdict.UNASKED).sum() <= 7
    assert any("at random" in warning for warning in close_ledger(book).warnings)


def test_a_strategy_that_gives_no_ranking_is_named():
    class Lazy(QueryStrategy):
        name, title, summary = "lazy", "lazy", "ranks some"

        def rank(self, pool):
            return np.zeros(len(pool), np.int64)

    allowance = Allowance(Budget(questions=3), [BOX], Lazy(seed=0), Pool(N, lambda: None))
    with pytest.raises(ValueError, match="strategy 'lazy'"):
        allowance.pick(BOX, np.arange(N), np.ones(N, bool))


def test_boxes_on_the_grid_are_their_masks_on_the_grid():
    random = np.random.RandomState(1)
    low, high = np.sort(random.randint(0, 20, (2, 50, 2)), axis=0)
    boxes = np.concatenate([low, high + 1], axis=1)
    masks = np.zeros((50, 21, 21), bool)
    for mask, (top, left, bottom, right) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    ours = boxes_to_grid(torch.from_numpy(boxes), (21, 21), (5, 4))
    assert torch.allclose(ours, to_grid(torch.from_numpy(masks), (5, 4)), atol=1e-6)


def records(store="crayon-runs"):
    found = [Record.model_validate_json(file.read_bytes()) for file in Path(store).glob("runs/*/record.json")]
    return {(r.method, r.budget): r for r in found}


def test_runs_under_budgets(cli):
    arguments = [
        "run",
        "--dataset",
        "decoymnist",
        *TINY,
        "--seeds",
        "1",
        "--methods",
        "original,train-more,rrr,crayon-attention",
    ]
    assert cli(*arguments, "--budget", "7,10%,all").code == 0
    found = records()
    assert set(found) == {
        ("original", None), ("train-more", None),  # what asks nothing is the same under every budget
        *[(method, budget) for method in ("rrr", "crayon-attention") for budget in ("7", "10%", None)],
    }  # fmt: skip
    assert len({r.key for r in found.values()}) == len(found) and len({r.setting for r in found.values()}) == 1
    n = found["rrr", None].feedback.total
    assert n > 100
    for method in ("rrr", "crayon-attention"):
        assert found[method, "7"].feedback.total == 7
        assert found[method, "10%"].feedback.total == -(-n // 10)
    again = cli(*arguments, "--budget", "7,10%,all", "--dry-run")
    assert "0 to do" in again.out and " 10% " in again.out


def test_the_strategy_is_part_of_the_key_and_of_the_name(cli):
    run = ["run", "--dataset", "decoymnist", *TINY, "--seeds", "1", "--methods", "rrr", "--budget", "9"]
    for strategy in ("random", "uncertain", "balanced"):
        assert cli(*run, "--strategy", strategy).code == 0
    assert set(records()) == {("rrr", "9"), ("rrr", "9 uncertain"), ("rrr", "9 balanced")}
    wrong = cli(*run, "--strategy", "uncertian")
    assert wrong.code == 2 and "did you mean 'uncertain'" in wrong.err
    assert cli(*run[:-2], "--strategy", "uncertian").err == wrong.err  # without a budget too


def test_a_budget_of_nothing_is_plain_training(cli):
    run = [
        "run",
        "--dataset",
        "decoymnist",
        *TINY,
        "--seeds",
        "1",
        "--methods",
        "train-more,rrr,energy,crayon-attention",
    ]
    assert cli(*run, "--budget", "0").code == 0
    found = records()
    scores = {method: r.metrics["sample_accuracy"].value for (method, _), r in found.items()}
    assert len(scores) == 4 and len(set(scores.values())) == 1, scores
    assert found["rrr", "0"].feedback.total == 0


def on_feature_maps(methods, budgets=(None,), sets=()):
    """Run methods on the tiny set with a small CNN; return the records by method and budget."""
    registry = Registry()
    registry.add(Kind.DATASET, TinySet)
    wanted = [Budget.parse(text) if text else None for text in budgets]
    plan = make_plan(Options(["tiny"], methods, [0], protocol="small-cnn", budgets=wanted, sets=sets), registry)
    store = Store.create(Path("tiny-runs"))
    found = [perform(request, store, registry) for request in plan.requests]
    assert [r.reason for r in found if r.reason] == []
    return {(r.method, r.budget): r for r in found}


def test_every_method_keeps_to_its_budget_on_feature_maps():
    methods = ["crayon-attention", "crayon-pruning", "crayon-attention-pruning", "random-pruning", "rrr", "gradia"]
    found = on_feature_maps([*methods, "energy", "res"], ["20", "25%"])
    for (method, budget), r in found.items():
        used = r.feedback
        if method == "random-pruning":
            assert used.total == 0 < used.lent["neuron_verdict"] <= 20
        elif budget == "20":
            # GradIA asks for masks only where the map was judged unreasonable, and may need fewer than it is allowed.
            assert used.total == 20 or (method == "gradia" and 10 <= used.total <= 20), (method, used)
        elif method in ("crayon-attention", "rrr", "energy"):
            assert used.total == 8
        elif method == "res":
            assert used.by_kind == {"relevant_mask": 8, "irrelevant_mask": 8}
        else:
            assert used.total > 0
    for budget in ("20", "25%"):
        assert found["random-pruning", budget].feedback.lent == found["crayon-pruning", budget].feedback.by_kind


@pytest.mark.parametrize(
    ("what", "kind", "label"), [("box", "box", "Yes-No, Bounding box"), ("mask", "relevant_mask", "Yes-No, Map")]
)
def test_a_few_boxes_or_masks_on_top_of_verdicts(what, kind, label):
    methods = ["crayon-attention", "crayon-attention-pruning"]
    plain = on_feature_maps(methods)
    sets = [f"{method}.extra={what}:6" for method in methods]
    mixed = on_feature_maps(methods, [None, "20"], sets)
    for method in methods:
        before, after = plain[method, None], mixed[method, None]
        # A parameter that came later changes no older key.
        assert "extra" not in before.coordinates["method"]["parameters"]
        assert after.feedback.by_kind == {**before.feedback.by_kind, kind: 6}
        assert after.attention != before.attention
        limited = mixed[method, "20"].feedback
        assert limited.by_kind[kind] == 6 and limited.total == 20
    assert mixed["crayon-attention", None].feedback.label == label


def test_boxes_go_first_to_images_whose_maps_were_judged_irrelevant():
    N, verdicts = 12, np.array([1, 0, -1, 2, -1, 1, 0, 2, -1, -1, 1, 0], np.int8)
    torch.manual_seed(0)
    network = ConvNet(CNNSpec(name="small-cnn", weights="none"), (3, 32, 32), 2, 0).eval()
    images = torch.randint(0, 256, (N, 3, 32, 32), dtype=torch.uint8)
    masks, boxes, _ = evidence(0, N, (32, 32))
    for number in (3, 4, 7):
        asked = []

        class Listening(Answers):
            def boxes(self, examples):
                asked.extend(examples.tolist())  # noqa: B023
                return super().boxes(examples)

        oracle = Listening(verdicts, masks, boxes, np.ones(N, bool))
        parameters = {"alpha": 2.0, "beta": 3.0, "gamma": 5.0, "extra": f"box:{number}"}
        labels = torch.arange(N) % 2
        _, feedback, job = capture("crayon-attention", parameters, network, images, labels, oracle)
        assert len(asked) == number and (verdicts[asked[:4]] == -1).all() and (verdicts[asked[4:]] == 0).all()
        # By hand: α (1 − M) where judged relevant, β M where irrelevant, and γ (1 − S) where there is a box.
        M = job.original_maps()
        alive = (M.amax((1, 2)) > 0).float()[:, None, None]
        answers = torch.from_numpy(verdicts)[:, None, None]
        wanted = alive * (2.0 * (1 - M) * (answers == 1) + 3.0 * M * (answers == -1))
        S = to_grid(torch.from_numpy(masks), M.shape[1:])
        wanted[asked] += 5.0 * (1 - S[asked])
        assert torch.allclose(feedback["weight"], wanted, atol=1e-5)


def test_under_a_budget_too_boxes_go_first_to_images_whose_maps_were_judged_irrelevant(monkeypatch):
    asked = []
    boxes = SimulatedOracle.boxes
    monkeypatch.setattr(SimulatedOracle, "boxes", lambda self, e, v: asked.append(e.tolist()) or boxes(self, e, v))
    verdicts = {}
    judge = SimulatedOracle.judge_maps

    def listening(self, examples, maps, truth):
        given = judge(self, examples, maps, truth)
        verdicts.update(zip(examples.tolist(), given.values.tolist(), strict=True))
        return given

    monkeypatch.setattr(SimulatedOracle, "judge_maps", listening)
    sets = ["crayon-attention.extra=box:30"]  # more than the budget's half
    found = on_feature_maps(["crayon-attention"], ["16"], sets)
    assert found["crayon-attention", "16"].feedback.by_kind == {"map_verdict": 8, "box": 8}
    no = {example for example, verdict in verdicts.items() if verdict == -1}
    assert len(no) > 0 and (no <= set(asked[0]) or set(asked[0]) <= no)


def test_what_cannot_be_answered_is_not_asked_for_as_an_extra(cli):
    run = ["run", "--dataset", "decoymnist", *TINY, "--seeds", "1", "--methods", "crayon-attention"]
    assert cli(*run, "--set", "crayon-attention.extra=mask:5").code == 0
    assert "pixels" in records()["crayon-attention", None].reason


def test_a_record_with_a_budget_that_is_none_is_damaged(cli):
    run = ["run", "--dataset", "decoymnist", *TINY, "--seeds", "1", "--methods", "rrr", "--budget", "9"]
    assert cli(*run).code == 0
    (file,) = Path("crayon-runs").glob("runs/*/record.json")
    raw = json.loads(file.read_text())
    for budget in (
        7,
        {},
        {"questions": -1, "strategy": {"name": "random"}},
        {"share": 2.0, "strategy": {"name": "random"}},
        {"questions": 7},
    ):
        c = {**raw["coordinates"], "budget": budget}
        with pytest.raises(ValueError, match="budget"):
            Record.model_validate({**raw, "coordinates": c, "key": digest(c), "setting": setting_of(c)})


def test_settings_are_those_of_records_from_before_there_were_budgets():
    assert setting_of({"a": 1, "method": 2, "seed": 3}) == digest({"a": 1})
    assert (
        setting_of({"a": 1, "budget": None})
        == setting_of({"a": 1, "budget": {"questions": 5}})
        == digest({"a": 1, "budget": None})
    )
