"""What annotators are told: by the guide, in the words of whoever asks them, and in the terminal."""

import asyncio
import time
from pathlib import Path

import pytest

from annotation_site import Client, Site, material
from crayon_bench.errors import UserError
from crayon_bench_plugins.annotation.answers.events import Via
from crayon_bench_plugins.annotation.answers.folder import Answers
from crayon_bench_plugins.annotation.desk import Desk
from crayon_bench_plugins.annotation.instructions import read_instructions
from crayon_bench_plugins.annotation.telling import line_of, telling


def page_of(folder: Path, task: str, **options: object) -> tuple[str, list[int]]:
    site = Site(folder, task, 12, **options)
    try:
        client = Client(site, "Ada")
        page = client.call("GET", "/").decode()
        guide = page.partition('id="help"')[2]
        sizes = []
        for part in guide.split('<img src="')[1:]:
            client.call("GET", part.partition('"')[0])
            sizes.append(client.status)
        assert site.log == ""
        return guide, sizes
    finally:
        site.close()


def test_the_guide_shows_maps_of_ones_own_two_high_and_two_low(tmp_path):
    guide, loaded = page_of(tmp_path, "maps")
    assert loaded == [200] * 8  # four images with their maps
    assert guide.count("bright in few places") == 2 and guide.count("bright in many places") == 2
    assert "&lt;script&gt;" in guide and "<script>" not in guide  # the classes' names, escaped
    assert "bird" not in guide


@pytest.mark.parametrize("task", ["neurons", "boxes", "masks"])
def test_the_other_guides_name_the_classes(tmp_path, task):
    guide, loaded = page_of(tmp_path, task)
    assert "<q>plain</q>" in guide and guide.count('class="example') >= 2 and loaded == []


def test_the_high_examples_are_more_concentrated_than_the_low_ones(tmp_path):
    from crayon_bench_plugins.annotation.pictures import Pictures
    from crayon_bench_plugins.annotation.view import View

    asked = material("maps", 30)
    asked.maps[3] = 0.0  # a dead map is no example
    desk = Desk(Answers(tmp_path), asked.manifest())
    view = View(asked, desk, Pictures(asked))
    peak = asked.maps.max((1, 2)) / asked.maps.sum((1, 2)).clip(1e-9)
    shown = {one["high"]: [] for one in view.examples()}
    for one in view.examples():
        shown[one["high"]].append(desk.positions[one["place"]])
    assert len(shown[True]) == len(shown[False]) == 2 and 3 not in shown[True] + shown[False]
    assert min(peak[shown[True]]) > max(peak[shown[False]])
    assert {int(asked.labels[p]) for p in shown[True]} == {0, 1}
    desk.close()


HOSTILE = """# Look *closely*

<script>alert(1)</script> <img src="http://evil.example/a.png" onerror=alert(1)>

![a picture](http://evil.example/b.png) [bad](javascript:alert(1)) [good](https://good.example)

- one
- two
"""


def test_instructions_of_ones_own_take_the_guides_place_and_nothing_in_them_runs(tmp_path):
    file = tmp_path / "own.md"
    file.write_text(HOSTILE)
    guide, loaded = page_of(tmp_path, "maps", instructions=file)
    assert "<h1>Look <em>closely</em></h1>" in guide and "<li>one</li>" in guide
    assert "<script>" not in guide and "&lt;script&gt;alert(1)" in guide
    assert 'src="http' not in guide and 'href="javascript' not in guide and 'href="https://good.example"' in guide
    assert "The bright part is where" not in guide and loaded == [200] * 8  # the maps stay
    other = tmp_path / "boxes"
    other.mkdir()
    guide, _ = page_of(other, "boxes", instructions=file)
    assert "Drag a rectangle around" not in guide and "Look <em>closely</em>" in guide


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), (b"\xff\xfe\x00", "UTF-8"), (b" \n", "nothing in it"), (b"x" * 70000, "64 KiB")],
)
def test_instructions_that_cannot_be_read_are_one_line(tmp_path, cli, content, said):
    file = tmp_path / "own.md"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_instructions(file)
    told = cli("annotate", "serve", "--dataset", "celeba", "--task", "maps", "--instructions", file)
    assert told.code == 2 and said in told.err and told.err.count("\n") == 1


def test_the_terminal_tells_how_far_people_are(tmp_path):
    desk = Desk(Answers(tmp_path), material("maps", 3).manifest())
    told: list[str] = []

    def give(name: str, answer: str = "yes") -> None:
        seat = desk.seat(name)
        asyncio.run(desk.answer(seat, desk.hand_out(seat, 1)[0], answer, seconds=1, via=Via.KEY))

    def wait() -> str:
        until = time.monotonic() + 10
        while (not told or told[-1] != line_of(desk)) and time.monotonic() < until:
            time.sleep(0.01)
        return told[-1]

    with telling(desk, told.append, 0.01):
        desk.seat("Ada")  # who only looks in has not answered
        give("Ada")
        assert wait() == "1 of 3 questions answered, by 1 annotator"
        give("Bo")
        assert wait() == "2 of 3 questions answered, by 2 annotators"
        give("Bo", "skip")
        give("Ada")
        assert wait().startswith("3 of 3 questions answered, by 2 annotators. All done: Ctrl-C ends")
    assert len(told) <= 4  # nothing twice
    desk.close()
