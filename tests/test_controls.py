"""Controls: the same questions, as many answers, and less in them."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import crayon_bench as cb
from conftest import TINY
from crayon_bench.dataset import Evidence
from crayon_bench.feedback import Control, FeedbackKind, Verdict
from crayon_bench.ledger.controls import weakened
from crayon_bench.ledger.metered import close_ledger, open_ledger
from crayon_bench.oracle import Boxes, FeedbackOracle, Groups, Masks, Patches, Verdicts
from crayon_bench.store.store import Store

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


@pytest.mark.parametrize("control", list(Control))
@pytest.mark.parametrize("kind", ["relevant_mask", "irrelevant_mask"])
def test_masks_that_are_asked_for_in_parts_are_weakened_as_if_at_once(kind, control):
    """The parts are of one class each, as files often lie: in a part alone, masks would stay in their part."""
    whole, paid = ask(kind, control)
    book = open_ledger(
        Everyone(FeedbackOracle.Parameters(), seed=0), Evidence(), groups=lambda e: e % 5, asks=frozenset(FeedbackKind),
        size=N, weakened=weakened(control, LABELS, 0),
    )  # fmt: skip
    order = np.argsort(LABELS, kind="stable")
    parts = [getattr(book, f"{kind}s")(part) for part in np.array_split(order, 9)]
    cost = close_ledger(book)
    values, answered = (np.concatenate([getattr(part, name) for part in parts]) for name in ("values", "answered"))
    assert np.array_equal(values, whole.values[order])
    assert np.array_equal(answered, whole.answered[order])
    assert cost.by_kind == paid.by_kind
    assert not values[~answered].any()


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


# ---------------------------------------------------------------------------------------------------------------------
# what the answers add, in every table


def right_of(record) -> np.ndarray:
    """Right or wrong of each test example, group after group, read without the code that is tested."""
    table = Store.open(SWEPT[0]).predictions(record).to_pandas().sort_values(["group", "example"])
    return (table["label"] == table["predicted"]).to_numpy()


SWEPT: list[Path] = []


@pytest.fixture
def results(sweep):
    SWEPT[:] = [sweep]
    return cb.load_results(sweep)


def test_answers_add_is_the_paired_difference_over_seeds_in_all_formats(results, tmp_path):
    board = results.filter(budget="all").leaderboard("table2")
    found = json.loads(board.save(tmp_path / "t.json").read_text())["rows"]
    rows = {(row["method"], row["control"]): row for row in found}
    assert set(rows) == {("original", None)} | {(m, c) for m in ("rrr", "crayon-attention") for c in (None, *Control)}
    assert "answers_add" not in rows["original", None]
    lines = pd.read_csv(board.save(tmp_path / "t.csv"), keep_default_na=False, na_values=[""])
    lines = lines.set_index(["method", lines["control"].fillna("")])
    cells = results.filter(budget="all").to_frame("cell")
    cells = cells[cells["metric"] == "sample_accuracy"].set_index(["method", "control"])
    for method in ("rrr", "crayon-attention"):
        added = rows[method, None]["answers_add"]
        assert set(added) == set(Control)
        for control in Control:
            assert "answers_add" not in rows[method, control]
            pairs = [
                (results.filter(method=method, budget="all", seed=seed, control=which).records)
                for seed in (0, 1) for which in ("", control)
            ]  # fmt: skip
            true, weak = pairs[0] + pairs[2], pairs[1] + pairs[3]
            one = added[control]["sample_accuracy"]
            by_hand = 100 * np.mean([right_of(t).mean() - right_of(w).mean() for t, w in zip(true, weak, strict=True)])
            assert one["n"] == 2
            assert one["mean"] == pytest.approx(by_hand, abs=1e-9)
            assert one["low"] <= one["mean"] <= one["high"]
            assert rows[method, control]["metrics"]["sample_accuracy"]["mark"] is None
            # In flat tables the method's own row tells of the first control; a further one has its own.
            place = "" if control == "shuffled" else control
            for frame in (lines, cells):
                line = frame.loc[(method, place)]
                assert line["answers_add"] == pytest.approx(one["mean"])
                assert (line["answers_add_low"], line["answers_add_high"]) == pytest.approx((one["low"], one["high"]))
        assert np.isnan(lines.loc[(method, "shuffled")]["answers_add"])
    assert np.isnan(lines.loc[("original", "")]["answers_add"])


def test_the_interval_is_that_of_the_gate(results, tmp_path, cli):
    """The gate compares then with now: the control's runs as the baseline of the true ones."""
    import shutil

    stores = {}
    for name, control in (("then", "shuffled"), ("now", "")):
        stores[name] = tmp_path / name
        kept = results.filter(method="rrr", budget="all", control=control)
        (stores[name] / "runs").mkdir(parents=True)
        shutil.copy(SWEPT[0] / "store.json", stores[name])
        for record in kept:
            shutil.copytree(SWEPT[0] / "runs" / record.folder, stores[name] / "runs" / record.folder)
    out = cli(
        "check", "--baseline", stores["then"], "--store", stores["now"], "--allow", "control", "--format", "json"
    ).out
    difference = json.loads(out)["cells"][0]["measured"]["difference"]
    board = results.filter(method="rrr", budget="all", control=["", "shuffled"]).leaderboard("table2")
    [row] = [r for r in json.loads(board.save(tmp_path / "t.json").read_text())["rows"] if "answers_add" in r]
    added = row["answers_add"]["shuffled"]["sample_accuracy"]
    assert (added["mean"], added["low"], added["high"]) == pytest.approx(
        (difference["estimate"], difference["low"], difference["high"])
    )


def test_a_table_shows_controls_under_their_method_and_says_what_adds_nothing(sweep, cli):
    text = cli("leaderboard", "--store", sweep, "--board", "table2", "--explain").out
    lines = [line.strip() for line in text.splitlines()]
    at = next(n for n, line in enumerate(lines) if line.startswith("RRR") and " all " in line)
    assert [line.split("  ")[0].split(" [")[0] for line in lines[at + 1 : at + 4]] == [
        "… answers shuffled", "… answers shuffled over classes", "… one answer for all",
    ]  # fmt: skip
    assert "Answers add (against answers shuffled; paired, 95 % interval)" in " ".join(lines)
    assert "No control was run" not in text
    for form in ("markdown", "latex"):
        text = cli("leaderboard", "--store", sweep, "--board", "table2", "--format", form).out
        assert text.count("answers shuffled") >= 4
    curve = cli("leaderboard", "--store", sweep, "--board", "curve", "--plot", "c.svg")
    assert curve.code == 0, curve.err
    assert "<!-- RRR (epochs=1), answers -->" in Path("c.svg").read_text()


def test_without_a_control_one_line_says_so_where_somebody_was_asked(results):
    assert str(results.filter(control="").leaderboard("table2")).count("No control was run") == 1
    assert "No control was run" not in str(results.filter(method="original").leaderboard("table2"))


def test_marks_and_statistics_leave_controls_out(results):
    table = results.leaderboard("table2", statistics=True)
    assert all(not row.metrics["sample_accuracy"].mark for row in table.tables[0].sections[0].rows if row.control)
    assert "shuffled" not in json.dumps(json.loads(table._as("json"))["statistics"])


def test_what_has_no_predictions_has_no_interval(results):
    from crayon_bench_leaderboards.boards import load_board
    from crayon_bench_leaderboards.fill import make_tables
    from crayon_bench_leaderboards.render import to_terminal

    [table] = make_tables(load_board("table2"), results.filter(budget="all").records)
    text = to_terminal(table)
    assert "[?]" in text
    assert "not known how surely for" in text


def test_lists_and_shown_runs_name_the_control_and_how_to_repeat_it(sweep, cli):
    assert " constant " in cli("runs", "list", "--store", sweep).out
    key = next(k["key"] for (m, c, s), k in records(sweep).items() if (m, c, s) == ("rrr", "shuffled", 1))
    text = cli("runs", "show", key, "--store", sweep).out
    assert "shuffled: answers shuffled" in text
    assert "--control shuffled" in text
