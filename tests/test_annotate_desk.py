"""Who is asked what: shares, leases, order, progress; and 20 annotators at once get through, each question once."""

import asyncio
import sys
from pathlib import Path

import pytest

from annotation_site import Client, Site, material
from crayon_bench_plugins.annotation import desk as module
from crayon_bench_plugins.annotation.answers.events import Via
from crayon_bench_plugins.annotation.answers.folder import Answers
from crayon_bench_plugins.annotation.answers.tasks import Task
from crayon_bench_plugins.annotation.desk import Desk, Seat

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))


def open_desk(folder: Path, n: int = 40, **options) -> Desk:
    return Desk(Answers(folder / "answers"), material("maps", n).manifest(), **options)


def give(desk: Desk, seat: Seat, place: int, answer: str = "yes") -> None:
    asyncio.run(desk.answer(seat, place, answer, seconds=1, via=Via.KEY))


def undo(desk: Desk, seat: Seat):
    return asyncio.run(desk.undo(seat, Via.KEY))


def work(desk: Desk, name: str, number: int, answer: str = "yes") -> list[str]:
    seat, done = desk.seat(name), []
    for _ in range(number):
        places = desk.hand_out(seat)
        if not places:
            break
        give(desk, seat, places[0], answer)
        done.append(desk.ids[places[0]])
    return done


def test_the_order_is_that_of_the_seed_and_not_that_of_the_data(tmp_path):
    first, again, other = (open_desk(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert first.ids == again.ids != other.ids
    assert sorted(first.ids) == sorted(other.ids) != first.ids
    assert open_desk(tmp_path / "d", seed=1, limit=7).ids == first.ids[:7]


@pytest.mark.parametrize(("overlap", "shared"), [(0.0, 0), (0.25, 10), (0.1, 4), (1.0, 40)])
def test_a_share_is_for_everyone_and_the_rest_is_divided(tmp_path, overlap, shared):
    desk = open_desk(tmp_path, overlap=overlap)
    given: dict[str, list[str]] = {"Ada": [], "Bo": [], "Cy": []}
    while True:
        now = {name: work(desk, name, 3) for name in given}
        for name, done in now.items():
            given[name] += done
        if not any(now.values()):
            break
    everyone = set.intersection(*map(set, given.values()))
    assert len(everyone) == shared
    rest = [example for done in given.values() for example in done if example not in everyone]
    assert len(rest) == len(set(rest)) == 40 - shared
    assert all(desk.progress(desk.seat(name)).total == len(given[name]) for name in given)
    desk.close()


def test_two_at_once_never_have_the_same_question_in_hand_until_it_is_given_back(tmp_path, monkeypatch):
    desk = open_desk(tmp_path)
    ada, bo = desk.seat("Ada"), desk.seat("Bo")
    hers = desk.hand_out(ada)
    assert hers == desk.hand_out(ada) == [0, 1, 2, 3]  # the same after a reload
    assert desk.hand_out(bo) == [4, 5, 6, 7]
    assert desk.elsewhere(bo) == 4
    give(desk, ada, 0)
    assert desk.hand_out(ada) == [1, 2, 3, 8]
    now = module.time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.LENT + 1)
    desk.hand_out(bo)  # Bo is there, Ada has gone
    cy = desk.seat("Cy")
    assert desk.hand_out(cy) == [1, 2, 3, 8]
    give(desk, cy, 1)
    assert 1 not in desk.hand_out(ada)
    give(desk, ada, 2, "no")  # she had it on display all the time: an answer is an answer
    assert desk.progress(ada).given == 2
    desk.close()


def test_what_is_skipped_is_offered_to_others_and_to_oneself_no_more(tmp_path):
    desk = open_desk(tmp_path, n=5)
    ada, bo = desk.seat("Ada"), desk.seat("Bo")
    for place in desk.hand_out(ada, 8):
        give(desk, ada, place, "skip")
    assert desk.hand_out(ada) == []
    assert (desk.progress(ada).given, desk.progress(ada).total, desk.answered) == (5, 5, 0)
    assert desk.hand_out(bo, 8) == [0, 1, 2, 3, 4]
    give(desk, bo, 0, "maybe")
    assert desk.answered == 1 and desk.progress(bo).total == 5
    desk.close()


def test_undo_goes_back_any_number_of_steps_and_reopens_the_question(tmp_path):
    desk = open_desk(tmp_path, n=6)
    ada, bo = desk.seat("Ada"), desk.seat("Bo")
    done = work(desk, "Ada", 4, "no")
    for example in reversed(done):
        place, event = undo(desk, ada)
        assert (event.example, event.answer) == (example, "no")
        assert desk.hand_out(ada)[0] == place
    assert undo(desk, ada) is None
    assert desk.progress(ada).given == desk.answered == 0
    # One that is undone is Ada's again, not Bo's.
    assert not set(desk.hand_out(ada, 6)) & set(desk.hand_out(bo, 6))
    # Another answer to the same question takes the first one's place, and an undo brings that back.
    give(desk, ada, 0, "yes")
    give(desk, ada, 0, "no")
    give(desk, ada, 0, "no")  # sent again: nothing new
    assert ada.history.current[desk.ids[0]].answer == "no"
    undo(desk, ada)
    assert ada.history.current[desk.ids[0]].answer == "yes" and desk.progress(ada).given == 1
    desk.close()


def test_a_new_desk_goes_on_where_the_last_one_ended(tmp_path):
    desk = open_desk(tmp_path, overlap=0.5)
    done = work(desk, "Ada", 9) + work(desk, "Bo", 5)
    nexts = {name: desk.hand_out(desk.seat(name))[0] for name in ("Ada", "Bo")}
    progress = desk.progress(desk.seat("Ada"))
    desk.close()
    again = open_desk(tmp_path, overlap=0.5)
    assert again.hand_out(again.seat("Ada"))[0] == nexts["Ada"]
    assert again.progress(again.seat("Ada")) == progress
    assert again.answered == len(set(done))
    again.close()
    # With other questions, or shown otherwise, the answers are not gone on with.
    with pytest.raises(Exception, match="choose another folder"):
        open_desk(tmp_path, n=41)


def test_the_time_is_the_page_s_word_within_the_server_s_bounds(tmp_path):
    desk = open_desk(tmp_path)
    ada = desk.seat("Ada")
    places = desk.hand_out(ada)
    asyncio.run(desk.answer(ada, places[0], "yes", seconds=3600, via=Via.TOUCH))
    assert ada.history.last.seconds < 60  # it was handed out just now
    assert ada.history.last.via == "touch"
    desk.close()


def test_twenty_at_once_answer_every_question_once(tmp_path):
    from annotation_load import load

    site = Site(tmp_path, "maps", 200, overlap=0.05)
    try:
        times = load(site, 20)
        votes: dict[str, int] = {}
        for history in Answers(site.answers).histories(Task.MAPS)[0]:
            for example in history.current:
                votes[example] = votes.get(example, 0) + 1
        assert len(times) == sum(votes.values()) == 190 + 20 * 10
        assert sorted(votes.values()) == [1] * 190 + [20] * 10
        page = Client(site, "annotator 01").call("GET", "/agreement").decode()
        assert "10 questions have two answers or more" in page and "100.0 %" in page
        assert site.log == ""
    finally:
        site.close()


def test_what_others_said_is_not_shown_to_whoever_is_still_to_be_asked(tmp_path):
    site = Site(tmp_path, "maps", 8, overlap=1.0)
    try:
        ada, bob, cy = (Client(site, name) for name in ("Ada", "Bob", "Cy"))
        first = ada.ask("next")["questions"][0]
        ada.answer(first["place"], "yes")
        bob.answer(first["place"], "no")
        other = ada.ask("next")["questions"][0]
        cy.answer(other["place"], "maybe")
        pages = {name: client.call("GET", "/agreement").decode() for name, client in (("Ada", ada), ("Cy", cy))}
        assert first["id"] in pages["Ada"] and "not answered yet" not in pages["Ada"]
        assert first["id"] not in pages["Cy"] and "1 question that you have not answered yet" in pages["Cy"]
        watching = Client(site, "Di").call("GET", "/agreement").decode()  # who answers nothing may look on
        assert first["id"] in watching
        assert site.log == ""
    finally:
        site.close()
