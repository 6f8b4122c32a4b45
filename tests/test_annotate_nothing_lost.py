"""The annotation server is killed at random moments: what it acknowledged is on the disk, and it goes on from there."""

import http.client
import os
import random
import threading
import time
from pathlib import Path

import pytest

from annotation_site import Client, Site
from crayon_bench_plugins.annotation.answers.folder import Answers
from crayon_bench_plugins.annotation.answers.tasks import Task

KILLS = 50 if os.environ.get("CRAYON_BENCH_FUZZ") == "full" else 6
ANNOTATORS = ("Ada", "Bo", "Cy", "Di")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="kill -9 is for POSIX")]


class Worker(threading.Thread):
    """Answers, and undoes now and then, until the server is gone. ``before``: what was acknowledged; ``after``: what it
    is if the last thing asked for, which was not acknowledged, was done all the same."""

    def __init__(self, site: Site, name: str, standing: list[tuple[str, str]], seed: int) -> None:
        super().__init__()
        self.site, self.annotator, self.random = site, name, random.Random(seed)
        self.before = self.after = standing
        self.acknowledged = 0
        self.wrong: BaseException | None = None

    def run(self) -> None:
        try:
            client = Client(self.site, self.annotator)
            while True:
                self.step(client)
        except (OSError, http.client.HTTPException, ValueError):
            pass  # the server was killed, perhaps within a response
        except BaseException as error:
            self.wrong = error

    def step(self, client: Client) -> None:
        questions = client.ask("next", want=2)["questions"]
        if self.before and self.random.random() < 0.2:
            self.after = self.before[:-1]
            reply = client.ask("undo", via="key")
            assert client.status == 200 and reply["undone"]["id"] == self.before[-1][0], reply
        elif questions:
            question, answer = questions[0], self.random.choice(["yes", "no", "maybe", "skip"])
            self.after = [*self.before, (question["id"], answer)]
            reply = client.answer(question["place"], answer)
            assert client.status == 200 and reply["saved"] == question["place"], reply
        self.before = self.after
        self.acknowledged += 1


def recorded(folder: Path) -> dict[str, list[tuple[str, str]]]:
    histories, _ = Answers(folder).histories(Task.MAPS)
    return {h.annotator: [(event.example, str(event.answer)) for event in h.standing.values()] for h in histories}


def test_killed_at_random_moments(tmp_path):
    site = Site(tmp_path, "maps", 5000, overlap=0.5)
    dice = random.Random(5)
    standing: dict[str, list[tuple[str, str]]] = {name: [] for name in ANNOTATORS}
    acknowledged = torn = 0
    try:
        for kill in range(KILLS):
            workers = [Worker(site, name, standing[name], 100 * kill + i) for i, name in enumerate(ANNOTATORS)]
            for worker in workers:
                worker.start()
            some, end = dice.randint(2, 80), time.monotonic() + 10
            while sum(worker.acknowledged for worker in workers) < some and time.monotonic() < end:
                time.sleep(0.001)
            time.sleep(dice.uniform(0, 0.01))
            site.kill()
            for worker in workers:
                worker.join()
                assert worker.wrong is None, worker.wrong
            found = recorded(site.answers)
            for worker in workers:
                assert found.get(worker.annotator, []) in (worker.before, worker.after)
                standing[worker.annotator] = found.get(worker.annotator, [])
                acknowledged += worker.acknowledged
            if kill % 3 == 1:  # and as if the power had failed in the middle of a line
                file = dice.choice(sorted(site.answers.glob("maps/[!.]*.jsonl")))
                with file.open("ab") as end:
                    end.write(file.read_bytes().splitlines()[-1][: dice.randint(1, 60)])
                torn += 1
            site.start()
        assert recorded(site.answers) == {name: said for name, said in standing.items() if said}
        assert site.log.count("Traceback") == 0
        print(f"{KILLS} kills, {acknowledged} acknowledged, none lost; {torn} torn lines")
    finally:
        site.close()
    assert acknowledged > 2 * KILLS


def test_a_torn_line_is_set_aside_and_everybody_goes_on(tmp_path):
    site = Site(tmp_path, "maps", 9)
    try:
        client = Client(site, "Ada")
        first = client.ask("next", want=1)["questions"][0]
        client.answer(first["place"], "no")
        site.kill()
        (file,) = site.answers.glob("maps/[!.]*.jsonl")
        whole = file.read_bytes()
        file.write_bytes(whole + b'{"n": 2, "op": "ans')
        site.start()
        client = Client(site, "Ada")
        questions = client.ask("next", want=1)["questions"]
        assert questions[0]["place"] == first["place"] + 1
        client.answer(questions[0]["place"], "yes")
        assert client.status == 200
        lines = file.read_bytes().splitlines(keepends=True)
        assert lines[0] == whole and len(lines) == 2
        (aside,) = site.answers.glob("maps/.*.damaged")
        assert aside.read_bytes() == b'{"n": 2, "op": "ans'
        assert [answer for _, answer in recorded(site.answers)["Ada"]] == ["no", "yes"]
    finally:
        site.close()


def test_ctrl_c_ends_cleanly_and_a_second_server_on_the_same_answers_is_told(tmp_path):
    site = Site(tmp_path, "maps", 5)
    try:
        client = Client(site, "Ada")
        client.answer(0, "yes")
        other = Site(tmp_path, "maps", 5)
        try:
            late = Client(other, "Ada")
            reply = late.answer(1, "no")
            assert late.status == 503 and "another process is recording these answers" in reply["error"]
        finally:
            other.close()
        assert "ended" in site.stop()
        assert site.process.returncode == 0
        assert [answer for _, answer in recorded(site.answers)["Ada"]] == ["yes"]
    finally:
        site.close()
