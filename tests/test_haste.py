"""Answers that were given without looking are told: on the page, at the end, in the agreement and under tables."""

import random
from datetime import timedelta

import numpy as np
import pytest

from annotation_site import Client, Site
from crayon_bench_plugins.annotation.answers.events import Event, to_text
from crayon_bench_plugins.annotation.answers.haste import signs
from recorded import BEGIN, manifest, record


def events(answers: list[object], seconds: float | list[float] = 2.0) -> list[Event]:
    times = seconds if isinstance(seconds, list) else [seconds] * len(answers)
    at = to_text(BEGIN)
    return [
        Event(n + 1, f"image-{n}", answer, at, to_text(BEGIN + timedelta(seconds=took)), "key")
        for n, (answer, took) in enumerate(zip(answers, times, strict=True))
    ]


def chance(share_of_yes: float, n: int, seed: int) -> list[object]:
    draw = random.Random(seed)
    return ["yes" if draw.random() < share_of_yes else "no" for _ in range(n)]


BOX, OTHER = (0, 0, 8, 10), (1, 1, 4, 4)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (["yes"] * 30, ["the same answer, yes, 30 times in a row"]),
        (["no"] * 3 + ["yes"] * 25 + ["no"] * 3, ["the same answer, yes, 25 times in a row"]),
        (["yes", "no"] * 15, ["yes and no in turn, 30 times in a row"]),
        (["maybe", *["yes", "no"] * 10, "maybe"], ["yes and no in turn, 20 times in a row"]),
        (["yes"] * 10 + ["skip"] * 30 + ["no"] * 8, []),  # skips are no answers
        (["yes", "skip"] * 25, ["the same answer, yes, 25 times in a row"]),
        ([BOX] * 25, ["the same answer, a box, 25 times in a row"]),
        (["a" * 64] * 25, ["the same answer, a mask, 25 times in a row"]),
        ([(0, 0, i + 1, i + 1) for i in range(8)] * 4, []),
        (["yes"] * 19, []),
        (["yes", "no"] * 5 + ["yes"], []),
        ([], []),
        (["yes"], []),
    ],
)
def test_rows_of_one_answer_and_of_two_in_turn_are_told(answers, told):
    assert signs(reversed(events(answers))) == told


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95, 0.05])
def test_honest_answers_are_not_suspected_however_skewed_they_are(share):
    suspected = sum(bool(signs(events(chance(share, 400, seed)))) for seed in range(100))
    assert suspected <= 8


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        ([0.3] * 30, "30 of 30 answers came within 0.5 s of the question"),
        ([0.49] * 3 + [2.0] * 27, "3 of 30 answers came within 0.5 s of the question"),
        ([0.3] * 2 + [2.0] * 28, None),  # a slip of the finger
        ([0.5] * 30, None),
    ],
)
def test_answers_that_are_too_fast_to_have_looked_are_told(seconds, told):
    assert signs(events(chance(0.5, 30, 1), seconds)) == ([told] if told else [])


def test_the_agreement_and_the_run_name_who_did_not_look(cli, tmp_path):
    questions = manifest(n=30)
    ids = list(questions.shown)
    record(tmp_path / "answers", questions, "Ada", dict.fromkeys(ids, "yes"), took=0.2)
    honest = dict(zip(ids, chance(0.5, 30, 3), strict=True))
    record(tmp_path / "answers", questions, "Bo", honest)
    told = cli("annotate", "agreement", "--answers", tmp_path / "answers")
    assert told.code == 0
    warned = [line for line in told.out.splitlines() if line.startswith("Warning")]
    assert warned == [
        "Warning: Ada: 30 of 30 answers came within 0.5 s of the question; the same answer, yes, 30 times in a row."
        " Was it looked at?"
    ]

    from crayon_bench_plugins.oracles.human import HumanOracle, HumanParameters

    oracle = HumanOracle(HumanParameters(), seed=0)
    oracle.answers = tmp_path / "answers"

    class Situation:
        ids = tuple(questions.shown)
        dataset = questions.dataset
        model = questions.model

    oracle.situation = Situation
    oracle.judge_maps(np.arange(30), np.stack([np.full((2, 2), i) for i in range(30)]), None)
    assert oracle.warnings == {"answers about maps that came within 0.5 s of the question": 30}


def test_the_page_asks_whoever_presses_the_same_key_whether_they_look(tmp_path):
    site = Site(tmp_path, "maps", 60)
    try:
        ada = Client(site, "Ada")
        told = []
        for _ in range(25):
            place = ada.ask("next")["questions"][0]["place"]
            told.append(ada.answer(place, "yes")["signs"])
        assert told[0] == [] and "the same answer, yes, 25 times in a row" in told[-1]
        assert any("came within 0.5 s" in sign for sign in told[-1])
        page = ada.call("GET", "/agreement").decode()
        assert "yes, 25 times in a row. Was it looked at?" in page
    finally:
        site.close()
