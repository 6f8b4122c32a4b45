"""Person-hours: what answers cost, and what was gained for it."""

import csv
import io
import json
import re

import pytest

from crayon_bench.errors import UserError
from crayon_bench.feedback import FeedbackKind
from crayon_bench.store.records import Feedback
from crayon_bench_leaderboards.boards import load_board
from crayon_bench_leaderboards.fill import make_tables
from crayon_bench_leaderboards.price import load_price
from test_boards import METHODS, faces, grids, record, save

PRICES = """
schema = 1
title = "my prices"
[answers.map_verdict]
seconds = 3.6
source = "a pilot"
where = "its table 1"
[answers.irrelevant_mask]
seconds = 36
source = "somebody"
assumed = true
"""


def paid(method: str, seed: int, wga: float, number: int = 0, **more):
    """A record of table 1 whose method got *number* answers of each of its kinds."""
    _, label, _, kinds = METHODS[method]
    by_kind = dict.fromkeys(kinds, number)
    feedback = {"total": number * len(kinds), "by_kind": by_kind, "label": label, **more.pop("times", {})}
    return faces(method, seed, 90.0, wga, feedback=feedback, **more)


def some(seeds: int = 2) -> list:
    """Original at 30 and 31 % with CRAYON-Attention 20, RRR 40 and Train More 1 point above it."""
    found = []
    for seed in range(seeds):
        found += [paid("original", seed, 30.0 + seed), paid("train-more", seed, 31.0 + seed)]
        found += [paid("crayon-attention", seed, 50.0 + seed, 1000), paid("rrr", seed, 70.0 + seed, 1000)]
    return found


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(PRICES)
    return file


def priced(records, price) -> dict:
    [table] = make_tables(load_board("table1"), records, price=load_price(str(price)))
    return {row.method: row for row in table.sections[0].rows}


def test_hours_are_answers_times_seconds_and_gains_are_above_original(cli, mine):
    save(some())
    board = json.loads(cli("leaderboard", "--format", "json", "--price", mine).out)
    assert board["price"]["title"] == "my prices"
    assert board["price"]["answers"]["map_verdict"]["seconds"] == 3.6
    found = {row["method"]: (row["person_hours"], row["gained_per_hour"]) for row in board["rows"]}
    assert found["crayon-attention"] == pytest.approx((1.0, 20.0))
    assert found["rrr"] == pytest.approx((10.0, 4.0))
    assert found["train-more"] == (0.0, None)
    assert found["original"] == (0.0, None)

    main = grids(cli("leaderboard", "--format", "markdown", "--price", mine).out)[0]
    assert main[0][-2:] == ["person-hours", "WGA gained per person-hour"]
    lines = {re.sub(" <.*", "", row[0]): row[-2:] for row in main}
    assert lines["CRAYON-Attention"] == ["1", "+20"]
    assert lines["RRR"] == ["10", "+4"]
    assert lines["Train More"] == ["0", "–"]
    assert lines["Original"] == ["–", "–"]
    rows = {
        row["method"]: row
        for row in csv.DictReader(io.StringIO(cli("leaderboard", "--format", "csv", "--price", mine).out))
    }
    assert (float(rows["rrr"]["person_hours"]), float(rows["rrr"]["gained_per_hour"])) == pytest.approx((10.0, 4.0))
    assert rows["train-more"]["gained_per_hour"] == ""
    assert rows["rrr"]["price"] == str(mine)
    for form in ("terminal", "latex"):
        text = cli("leaderboard", "--format", form, "--price", mine).out
        for word in ("person-hours", "WGA gained", "per person-hour", "+20"):
            assert word in text


def test_prices_and_sources_stand_under_the_table(cli, mine):
    save(some())
    for form in ("terminal", "markdown", "latex", "csv"):
        text = " ".join(
            cli("leaderboard", "--explain", "--format", form, "--price", mine).out.replace("\\", "").split()
        )
        assert "my prices: map_verdict 3.6 s (a pilot, its table 1); irrelevant_mask 36 s (ASSUMED, somebody)" in text
    remarks = json.loads(cli("leaderboard", "--format", "json", "--price", "published").out)["remarks"]
    [line] = [remark for remark in remarks if remark.startswith("person-hours: ")]
    assert "map_verdict 1.6 s (Papadopoulos et al., CVPR 2016" in line
    assert "box" not in line.replace("of a box", "")  # no box was asked for


def test_without_a_price_nothing_is_said_of_hours(cli):
    save(some())
    for form in ("terminal", "markdown", "latex", "csv", "json"):
        assert "hour" not in cli("leaderboard", "--format", form).out


def test_a_board_without_the_worst_group_says_what_was_gained_of_its_own_metric(cli, mine):
    save([record(m, s, a, feedback={"total": n, "by_kind": {"map_verdict": n} if n else {}}) for s in range(2) for m, a, n in (("original", 50.0, 0), ("crayon-attention", 60.0, 1000))])  # fmt: skip
    main = grids(cli("leaderboard", "--format", "markdown", "--price", mine).out)[0]
    assert main[0][-1] == "Acc gained per person-hour"
    assert main[3][-2:] == ["1", "+10"]


def test_a_gain_needs_original_with_the_same_seeds_and_knows_its_direction(mine):
    assert priced(some(3)[:-4] + [r for r in some(3)[-4:] if r.method != "original"], mine)["rrr"].gain is None
    # Seed 1 is above Original by more: a mean of paired differences, over the mean of the hours.
    records = [paid("original", 0, 30.0), paid("original", 1, 40.0)]
    records += [paid("crayon-attention", 0, 50.0, 1000), paid("crayon-attention", 1, 80.0, 3000)]
    row = priced(records, mine)["crayon-attention"]
    assert (row.hours, row.gain) == pytest.approx((2.0, 15.0))
    for r in records:
        r.metrics["worst_group_accuracy"].direction = "lower"
    assert priced(records, mine)["crayon-attention"].gain == pytest.approx(-15.0)
    assert priced([r for r in records if r.method != "original"], mine)["crayon-attention"].gain is None


def test_all_kinds_of_answers_of_a_run_are_paid():
    published = load_price("published")
    both = Feedback(total=3600, by_kind={"map_verdict": 1800, "box": 1800})
    assert published.hours(both) == pytest.approx((1.6 + 7.0) / 2)
    assert published.hours(Feedback()) == 0.0
    assert published.hours(Feedback(total=1, by_kind={"telepathy": 1})) is None
    assert published.hours(Feedback(total=0, by_kind={"telepathy": 0})) == 0.0  # asked for, and not answered


def test_the_published_prices_are_complete_and_say_where_they_are_from():
    answers = load_price("published").prices.answers
    assert set(answers) == set(FeedbackKind)
    assert {kind for kind, answer in answers.items() if answer.assumed} == {"neuron_verdict", "group"}
    assert all(answer.source and answer.note for answer in answers.values())
    seconds = {kind: answer.seconds for kind, answer in answers.items()}
    assert (
        1.6
        <= seconds["map_verdict"]
        <= 2
        < seconds["box"]
        < seconds["irrelevant_mask"]
        == seconds["relevant_mask"]
        == 79
    )


def test_recorded_times_are_those_that_people_took(cli):
    times = {"times": {"seconds": {"map_verdict": 7200.0}}}
    records = [r for r in some() if r.method != "crayon-attention"]
    records += [paid("crayon-attention", s, 50.0 + s, 1000, **times) for s in range(2)]
    save(records)
    text = cli("leaderboard", "--format", "markdown", "--price", "recorded").out
    lines = {re.sub(" <.*", "", row[0]): row[-2:] for row in grids(text)[0]}
    assert lines["CRAYON-Attention"] == ["2", "+10"]
    assert lines["RRR"] == ["–", "–"]
    assert lines["Train More"] == ["0", "–"]
    assert "person-hours are not known, because no times were recorded, for: RRR." in text
    # One seed of two: a mean over the other would be another number.
    records = [*records[:-1], paid("crayon-attention", 1, 51.0, 1000)]
    assert priced(records, "recorded")["crayon-attention"].hours is None


def test_a_kind_that_a_file_does_not_price_is_said(cli, mine):
    save([*some(), *(paid("energy", s, 60.0, 10) for s in range(2))])
    text = cli("leaderboard", "--format", "markdown", "--price", mine).out
    assert {re.sub(" <.*", "", row[0]): row[-2] for row in grids(text)[0]}["Energy loss"] == "–"
    assert "because the prices lack a kind of answer, for: Energy loss." in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PRICES.replace("schema = 1", "schema = 2"), "schema"),
        (PRICES.replace("schema = 1", ""), "schema"),
        (PRICES.replace("seconds = 3.6", "seconds = 0"), "answers.map_verdict.seconds"),
        (PRICES.replace("seconds = 3.6", "seconds = nan"), "answers.map_verdict.seconds"),
        (PRICES.replace("seconds = 3.6", 'seconds = "soon"'), "answers.map_verdict.seconds"),
        (PRICES.replace("map_verdict", "map_vedict"), "map_vedict"),
        (PRICES.replace('source = "a pilot"', ""), "answers.map_verdict.source"),
        (PRICES.replace("where", "page"), "answers.map_verdict.page"),
        (PRICES + "[answers", "not valid TOML"),
        ("\x00", "not valid TOML"),
    ],
)
def test_mistakes_in_a_price_file_are_named(cli, mine, text, message):
    save(some())
    mine.write_text(text)
    result = cli("leaderboard", "--price", mine)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"Error: --price {mine}: ")
    assert message in result.err
    assert result.err.count("\n") == 1


def test_an_unknown_price_is_a_mistake():
    with pytest.raises(UserError, match="--price publishd: there is no such price — did you mean 'published'"):
        load_price("publishd")
    with pytest.raises(UserError, match=r"--price nowhere\.toml: cannot be read"):
        load_price("nowhere.toml")
