"""Wanted shares of answers: the cut-offs that give them, found for each original model, recorded and printed."""

import json
import re
import shlex
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from conftest import TINY
from crayon_bench.errors import UserError
from crayon_bench.feedback import Verdict
from crayon_bench.oracle import Evidence
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench_plugins.oracles.shares import Shares, cut_offs

FACES = ["--dataset", "celeba", "--source", "standin", "--store", "store"]
SIZES = ("dataset.majority=30", "dataset.minority=4", "dataset.test=4", "dataset.validation=0", "original.epochs=1")
SMALL = [part for pair in SIZES for part in ("--set", pair)]
WANTED = "yes=.25,maybe=.25,no=.5"


def records() -> list[dict]:
    return [json.loads(file.read_text()) for file in sorted(Path("store/runs").glob("*/record.json"))]


@pytest.mark.parametrize("seed", range(60))
def test_no_other_cut_offs_come_nearer_to_the_shares(seed):
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 25))
    scores = np.round(random.random(n), 1 + seed % 3)  # with ties, zeros and ones
    scores[random.random(n) < 0.15 * (seed % 2)] = np.nan  # maps that tell nothing
    wanted = Shares(*(np.eye(3)[seed % 3] if seed % 5 == 0 else random.dirichlet([1, 1, 1])))
    known = scores[~np.isnan(scores)]

    def off(low: float, high: float) -> float:
        return abs((known < low).sum() / n - wanted.no) + abs((known > high).sum() / n - wanted.yes)

    low, high = cut_offs(scores, wanted, highest=1.0)
    assert 0 <= low <= high <= 1
    everywhere = np.unique(np.concatenate([known - 1e-4, known + 1e-4, [0.0, 1.0]]).clip(0, 1))
    best = min(off(a, b) for a, b in product(everywhere, repeat=2) if a <= b)
    # Where more maps tell nothing than are wanted to be maybe, the loss is shared between yes and no.
    spare = len(known) / n - wanted.no - wanted.yes
    assert off(low, high) <= best + (1 / n if spare < 0 else 1e-9)


def test_cut_offs_are_short_decimals_well_between_two_maps():
    scores = np.random.default_rng(0).random(20_200) * 0.15
    wanted = Shares(5207 / 20200, 4779 / 20200, 10214 / 20200)
    low, high = cut_offs(scores, wanted, highest=1.0)
    assert (int((scores > high).sum()), int((scores < low).sum())) == (5207, 10214)
    assert len(str(low)) <= 10 and len(str(high)) <= 10
    assert np.abs(scores - low).min() > 1e-9 and np.abs(scores - high).min() > 1e-9


class Square(Evidence):
    """The same quarter of every image of 4×4 pixels is relevant."""

    def relevant_masks(self, examples):
        mask = np.zeros((4, 4), bool)
        mask[:2, :2] = True
        return np.broadcast_to(mask, (len(examples), 4, 4))


class Corners(Evidence):
    """A quarter of every image is irrelevant, and nothing else is known."""

    def irrelevant_masks(self, examples):
        return Square().relevant_masks(examples)


def oracle(**parameters):
    cls = Registry().load(Kind.ORACLE, "simulated")
    return cls(cls.Parameters(**parameters), seed=0)


MAPS = np.random.default_rng(1).random((40, 4, 4)).astype(np.float32) ** 3


@pytest.mark.parametrize("rule", ["share", "enrichment"])
def test_what_one_map_is_answered_does_not_depend_on_which_others_are_asked_about(rule):
    asked = oracle(shares=WANTED, rule=rule)
    asked.begin(lambda: MAPS, Square())
    whole = asked.judge_maps(np.arange(40), MAPS, Square()).values
    assert [int((whole == v).sum()) for v in (Verdict.YES, Verdict.MAYBE, Verdict.NO)] == [10, 10, 20]
    some = np.random.default_rng(2).permutation(40)[:7]
    assert (asked.judge_maps(some, MAPS[some], Square()).values == whole[some]).all()
    assert (asked.judge_maps(some[::-1], MAPS[some[::-1]], Square()).values == whole[some[::-1]]).all()
    # The cut-offs, given, are the same answers; by either rule, since the relevant part has one size.
    given = oracle(rule=rule, **asked.calibrated)
    assert (given.judge_maps(np.arange(40), MAPS, Square()).values == whole).all()
    other = oracle(shares=WANTED)
    other.begin(lambda: MAPS, Square())
    assert (other.judge_maps(np.arange(40), MAPS, Square()).values == whole).all()


def test_where_only_irrelevant_pixels_are_known_there_is_one_line_and_no_yes():
    asked = oracle(shares="maybe=.4,no=.6")
    asked.begin(lambda: MAPS, Corners())
    values = asked.judge_maps(np.arange(40), MAPS, Corners()).values
    assert (int((values == Verdict.NO).sum()), int((values == Verdict.YES).sum())) == (24, 0)
    assert list(asked.calibrated) == ["no_above"]
    with pytest.raises(UserError, match=r"yes=0.25: only irrelevant pixels are known"):
        oracle(shares=WANTED).begin(lambda: MAPS, Corners())


def test_equal_maps_and_maps_of_zeros_are_told_where_they_keep_the_shares_away():
    alike = oracle(shares=WANTED)
    alike.begin(lambda: np.ones_like(MAPS), Square())
    assert [text for text in alike.warnings if "too many maps are alike, or zero everywhere" in text]
    dead = oracle(shares=WANTED)
    dead.begin(lambda: np.where(np.arange(40)[:, None, None] < 20, 0, MAPS).astype(np.float32), Square())
    assert dead.warnings
    values = dead.judge_maps(np.arange(20, 40), MAPS[20:], Square()).values
    assert (int((values == Verdict.YES).sum()), int((values == Verdict.NO).sum())) == (7, 13)  # in their proportion
    fine = oracle(shares=WANTED)
    fine.begin(lambda: MAPS, Square())
    assert fine.warnings == {}


def test_a_run_finds_the_cut_offs_of_its_original_model_and_records_them(cli):
    run = ["run", *FACES, *SMALL, "--set", "refine.epochs=1", "--set", f"oracle.shares={WANTED}"]
    assert cli(*run, "--methods", "crayon-attention,rrr", "--seeds", "2").code == 0
    assert cli(*run, "--methods", "crayon-attention", "--seeds", "2", "--budget", "30%").code == 0
    seen = {
        (r["coordinates"]["method"]["name"], r["coordinates"]["seed"], bool(r["coordinates"]["budget"])): r
        for r in records()
    }
    own = [seen["crayon-attention", seed, False] for seed in (0, 1)]
    for record in own:
        tally = record["feedback"]["verdicts"]["map_verdict"]
        dead = record["warnings"].get("dead maps of the original model", 0)
        assert dead or tally == {"yes": 17, "maybe": 17, "no": 34}
        assert set(record["calibrated"]) == {"yes_above", "no_below"}
        assert record["coordinates"]["oracle"]["parameters"]["shares"] == "yes=0.25,maybe=0.25,no=0.5"
        assert "yes_above" not in record["coordinates"]["oracle"]["parameters"]
    assert own[0]["calibrated"] != own[1]["calibrated"] and own[0]["setting"] == own[1]["setting"]
    # Under a budget fewer are asked about, and the cut-offs are the same.
    assert [seen["crayon-attention", seed, True]["calibrated"] for seed in (0, 1)] == [r["calibrated"] for r in own]
    assert seen["rrr", 0, False]["calibrated"] == {}
    key = own[0]["key"]
    assert re.search(r"yes_above +[\d.]+|yes_above [\d.]+", cli("runs", "show", key, "--store", "store").out)

    # What calibrate prints, given in place of the shares, is the same run.
    told = cli("oracle", "calibrate", *FACES, *SMALL, "--seeds", "0,", "--shares", WANTED)
    assert told.code == 0, told.err
    options = shlex.split(next(line for line in told.out.splitlines() if line.startswith("--set oracle.")))
    plain = [*run[: run.index("--set", len(run) - 2)], *options]
    assert cli(*plain, "--methods", "crayon-attention", "--seeds", "0,").code == 0
    (again,) = [
        r
        for r in records()
        if r["coordinates"]["oracle"]["parameters"].get("yes_above") == own[0]["calibrated"]["yes_above"]
    ]
    assert again["metrics"] == own[0]["metrics"] and again["feedback"] == own[0]["feedback"]
    stats = cli("oracle", "stats", *FACES, *SMALL, "--seeds", "0,", "--set", f"oracle.shares={WANTED}").out
    assert f"yes_above {own[0]['calibrated']['yes_above']:g}" in stats


def test_the_lines_that_calibrate_prints_are_a_table_of_a_protocol(cli):
    import tomllib

    told = cli(
        "oracle", "calibrate", *FACES, *SMALL, "--seeds", "0,", "--shares", WANTED, "--set", "oracle.rule=enrichment"
    )
    block = told.out.partition("In a protocol:\n")[2].partition("\n\n")[0]
    table = tomllib.loads(block)["oracle"]["simulated"]
    assert set(table) == {"rule", "yes_above_chance", "no_below_chance"} and table["rule"] == "enrichment"
    last = told.out.strip().splitlines()[-1]
    assert tomllib.loads(last) == {"shares": "yes=0.25,maybe=0.25,no=0.5"}


@pytest.mark.parametrize(
    ("shares", "why"),
    [
        ("yes=.2", "the shares add up to 0.2, expected 1"),
        ("yes=.5,no=.52", "the shares add up to 1.02, expected 1"),
        ("yse=1", "there is no answer 'yse'; did you mean 'yes'?"),
        ("yes=1,yes=0", "yes is given twice"),
        ("yes=26,maybe=24,no=50", "yes = 26 is no share: expected 0 to 1"),
        ("yes=1.5,no=-.5", "yes = 1.5 is no share: expected 0 to 1"),
        ("yes=nan,no=1", "yes = nan is no share: expected 0 to 1"),
        ("yes=many", "yes = many is no number"),
        ("yes=", "expected yes=A,maybe=B,no=C"),
    ],
)  # fmt: skip
def test_shares_that_cannot_be_are_a_mistake_in_one_line(cli, shares, why):
    told = cli("oracle", "calibrate", *FACES, *SMALL, "--shares", shares)
    assert told.code == 2 and not told.out
    assert told.err.splitlines()[-1] == f"Error: oracle.shares = '{shares}': {why}"
    assert not list(Path("store").glob("artifacts/*"))


@pytest.mark.parametrize("shares", ["half", "none", ""])
def test_calibrate_wants_shares(cli, shares):
    told = cli("oracle", "calibrate", *FACES, "--shares", shares)
    assert (told.code, told.err) == (2, f"Error: --shares {shares}: expected yes=A,maybe=B,no=C\n")


@pytest.mark.parametrize(
    ("sets", "why"),
    [
        ([f"oracle.shares={WANTED}", "oracle.yes_above=0.3"], "oracle.yes_above=0.3: changes nothing: shares = yes=0.25"),
        (["oracle.rule=enrichment", "oracle.no_below=0.1"], "oracle.no_below=0.1: changes nothing: rule = enrichment"),
        (["oracle.no_below_chance=1.0"], "oracle.no_below_chance=1.0: changes nothing: rule = share"),
        (["crayon-attention.gamma=2.0"], "crayon-attention.gamma=2.0: changes nothing: extra = none"),
    ],
)  # fmt: skip
def test_what_is_set_and_does_not_count_is_refused(cli, sets, why):
    words = [word for text in sets for word in ("--set", text)]
    told = cli("run", *FACES, "--methods", "crayon-attention", *words, "--dry-run")
    assert told.code == 2 and f"Error: --set {why}" in told.err


def test_older_keys_stay(cli):
    parameters = Registry().load(Kind.ORACLE, "simulated").Parameters
    assert list(parameters().to_dict()) == ["yes_above", "no_below", "no_above", "patch_share", "patch_misses"]


@pytest.mark.parametrize(("dataset", "counts"), [("celeba", (5207, 4779, 10214)), ("waterbirds", (3414, 1229, 152))])
@pytest.mark.parametrize("name", ["paper", "paper-final"])
def test_the_papers_protocols_ask_for_the_shares_that_the_authors_released(cli, dataset, counts, name):
    import crayon_bench_plugins
    from crayon_bench.runs.protocol import load_protocol

    file = Path(crayon_bench_plugins.__file__).parent / "protocols" / dataset / f"{name}.toml"
    table = load_protocol(file).oracle["simulated"]
    assert [round(share * sum(counts)) for share in Shares.parse(table["shares"])] == list(counts)
    assert "yes_above" not in table and "no_below" not in table


def test_data_that_nothing_is_known_of_cannot_be_calibrated(cli):
    told = cli(
        "oracle", "calibrate", "--dataset", "decoymnist", *TINY[:2], "--shares", WANTED, "--set", "original.epochs=1"
    )
    assert told.code == 2 and "only irrelevant pixels are known of these data" in told.err
