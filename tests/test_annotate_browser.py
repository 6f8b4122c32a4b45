"""The annotation page in a real browser: what is answered there is what lies on the disk, and nothing else.

Debian's Chromium, driven by Playwright. It is installed if that is possible, otherwise these tests are skipped. With
``CRAYON_BENCH_SCREENSHOTS=DIR`` the screenshots are kept.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from annotation_site import SIZE, Client, Site
from crayon_bench_plugins.annotation.answers.folder import Answers
from crayon_bench_plugins.annotation.answers.tasks import Task
from warm import Command

pytestmark = pytest.mark.slow

api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (pip install playwright)")

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
FACES = ["--dataset", "celeba", "--source", "standin"]
SIZES = ("dataset.majority=56", "dataset.minority=8", "dataset.test=4", "dataset.validation=4", "original.epochs=1")
SMALL = [part for pair in SIZES for part in ("--set", pair)]


def installed() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        with FileLock(Path(tempfile.gettempdir()) / "crayon-bench-chromium.lock"):  # several workers may want it
            if shutil.which("chromium") is None:
                for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]):
                    subprocess.run(command, capture_output=True, timeout=300, check=False)
        found = shutil.which("chromium")
    return found or pytest.skip("there is no Chromium here, and it could not be installed (apt-get install chromium)")


@pytest.fixture(scope="module")
def browser():
    path = installed()
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def screenshots(tmp_path):
    folder = Path(os.environ.get("CRAYON_BENCH_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def page_of(browser, url: str, name: str | None, size=DESKTOP, failing: str = "-", route=None, **more):
    """A page of an annotator; fails if the console has an error, or anything comes from elsewhere, but for *failing*."""
    context = browser.new_context(viewport=size, **more)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda m: wrong.append(f"{m.text} {m.location}") if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("response", lambda response: wrong.append(response.url) if response.status >= 400 else None)
    if route is not None:
        page.route(f"**{failing}", route)  # from the start: one that comes later is passed by now and then
    page.goto(url)
    if name is not None:
        page.fill("#name", name)
        page.click("text=Start")
    yield page
    assert len(requests) > 5  # Chromium did tell
    wrong += [address for address in requests if not address.startswith(url)]
    assert [text for text in wrong if failing not in text] == []
    context.close()


def begin(page) -> None:
    page.wait_for_selector("dialog[open]")
    assert page.locator("dialog .example").count() in (2, 4)  # two worked examples, or four maps of one's own
    page.keyboard.press("Enter")


def ready(page) -> str:
    """Wait for the next question to be on display, and return its id."""
    page.wait_for_selector("[data-answer=skip]:enabled")
    return page.get_attribute("#work", "data-example")


def saved(page, number: int) -> None:
    page.wait_for_selector(f"#work[data-saved='{number}'][data-unsaved='0']")
    assert page.inner_text("#status").startswith("Saved")


def on_disk(folder: Path, task: str) -> dict[str, dict[str, object]]:
    """annotator → question → answer."""
    histories, remarks = Answers(folder).histories(Task(task))
    assert remarks == []
    return {h.annotator: {name: event.answer for name, event in h.current.items()} for h in histories}


WORDS = {"y": "yes", "n": "no", "m": "maybe", "s": "skip"}


@contextmanager
def served(*options: str):
    """``crayon-bench annotate serve``, ended by Ctrl-C; gives (url, what it printed at the end)."""
    process = Command(["annotate", "serve", *FACES, *SMALL, *options, "--port", "0"])
    said: list[str] = []
    try:
        line = process.first_line()
        assert line.startswith("Open http://127.0.0.1:"), process.said(1)
        yield line.split()[1].rstrip("/"), said
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        said += [out, err]
        assert process.returncode == 0, err
        assert "Traceback" not in err
    finally:
        if process.poll() is None:
            process.kill()


def test_a_hundred_maps_by_keyboard_are_what_a_run_is_told(browser, screenshots, cli):
    given: dict[str, dict[str, str]] = {"Anna": {}, "Bo": {}}
    options = ["--task", "maps", "--overlap", "0.1", "--store", "store", "--answers", "answers"]
    with served(*options) as (url, said):  # noqa: SIM117
        with page_of(browser, url, "Anna") as anna, page_of(browser, url, "Bo", PHONE) as bo:
            anna.wait_for_selector("dialog[open]")
            anna.screenshot(path=screenshots / "annotate-guide.png")
            begin(anna)
            begin(bo)
            ready(anna)
            anna.screenshot(path=screenshots / "annotate-maps.png")

            def answer(page, who: str, key: str) -> None:
                given[who][ready(page)] = WORDS[key]
                page.keyboard.press(key)

            keys = "ynnmynsnny"
            for i in range(103):  # three of them will be undone
                answer(anna, "Anna", keys[i % len(keys)])
                if i % 10 == 0:
                    answer(bo, "Bo", keys[i // 10 % len(keys)])
                if i == 40:
                    before = list(given["Anna"])
                    for example in (before[-1], before[-2], before[-3]):
                        anna.keyboard.press("z")
                        anna.wait_for_selector(f"#work[data-example='{example}']")
                        assert ready(anna) == example
                        del given["Anna"][example]
                if i == 60:
                    current = ready(anna)
                    saved(anna, 61)
                    assert re.fullmatch(r"Question 59 of \d+", anna.inner_text("#count"))
                    assert "a minute" in anna.inner_text("#pace") and "left" in anna.inner_text("#pace")
                    anna.reload()  # goes on exactly there, and does not show the guide again
                    assert ready(anna) == current
                    assert anna.locator("dialog[open]").count() == 0
            saved(anna, 42)
            saved(bo, 11)
            assert bo.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
            bo.screenshot(path=screenshots / "annotate-phone.png")
            anna.keyboard.press("o")  # the overlay is a picture of its own
            assert anna.eval_on_selector(".over", "image => image.style.opacity") == "0"
            anna.goto(f"{url}/agreement")
            assert anna.inner_text("h1") == "How far annotators agree about maps"
            anna.screenshot(path=screenshots / "annotate-agreement.png", full_page=True)
    assert len(given["Anna"]) == 100
    assert on_disk(Path("answers"), "maps") == given
    manifest = json.loads(Path("answers/maps/questions.json").read_text())
    both = set(given["Anna"]) & set(given["Bo"])
    assert 0 < len(both) < 30  # of a tenth of the questions, for everyone; the others were divided
    lines = [json.loads(line) for line in Path("answers/maps").glob("anna-*.jsonl").__next__().read_text().splitlines()]
    assert [line["op"] for line in lines].count("undo") == 3
    assert {line["via"] for line in lines} == {"key"}
    shown = [(line["shown_at"], line["answered_at"]) for line in lines if line["op"] == "answer"]
    assert all(start <= end for start, end in shown)
    assert "100 answers" not in said[0] and "111 answers of 2 annotators" in said[0]

    # The maps that were shown are the ones that a run asks about: the command that it suggests runs.
    command = shlex.split(said[0].partition("Next: crayon-bench ")[2])
    assert command[-4:] == ["--oracle", "human", "--answers", "answers"]
    done = cli(*command, "--set", "refine.epochs=1")
    assert done.code == 0, done.err
    _, record = [
        json.loads(file.read_text()) for file in sorted(Path("store/runs").glob("*/record.json"), reverse=True)
    ]
    votes: dict[str, list[str]] = {}
    for each in given.values():
        for example, word in each.items():
            votes.setdefault(example, []).append(word)
    asked = sum(set(words) != {"skip"} for words in votes.values())
    assert record["feedback"]["by_kind"] == {"map_verdict": asked}
    assert not any("another model" in warning for warning in record["warnings"])
    assert len(manifest["questions"]) == 128


def test_when_all_is_done_the_page_shows_nothing_dead_and_says_what_comes_next(browser, screenshots, tmp_path):
    site = Site(tmp_path, "maps", 4)
    try:
        with page_of(browser, site.url, "Ada") as ada:
            ada.wait_for_selector("dialog[open]")
            ada.wait_for_function(
                "[...document.querySelectorAll('dialog img')].every(i => i.complete && i.naturalWidth)"
            )
            ada.screenshot(path=screenshots / "guide-own.png")
            begin(ada)
            for key in "ynmy":
                ready(ada)
                ada.keyboard.press(key)
            saved(ada, 4)
            ada.wait_for_selector("#work[data-finished=yes]")
            assert "All done" in ada.inner_text("#stage") and "Ctrl-C" in ada.inner_text("#stage")
            ada.screenshot(path=screenshots / "done.png")
            seen = ada.locator("#work button:visible, #work input:visible, #work dd:visible").all_inner_texts()
            assert [text.split()[0] for text in seen] == ["Undo"]
            ada.keyboard.press("z")  # the one that is left does what it says
            ready(ada)
            assert ada.locator("[data-answer=yes]").is_visible()
            ada.keyboard.press("y")
            ada.wait_for_selector("#work[data-finished=yes]")
        with page_of(browser, site.url, "Bo") as bo:
            bo.wait_for_selector("#work[data-finished='by others']")
            assert bo.locator("dialog[open]").count() == 0
            assert "all 4 questions are answered, by others" in bo.inner_text("#stage")
            assert bo.locator("#work button:visible").count() == 0
            bo.screenshot(path=screenshots / "second.png")
    finally:
        site.close()


def test_a_save_that_fails_brings_the_question_back(browser, tmp_path):
    site = Site(tmp_path, "maps", 20)
    try:
        full = False

        def pass_on(route):
            if full:
                route.fulfill(status=503, json={"error": "the disk is full"})
            else:
                route.continue_()

        with page_of(browser, site.url, "Ada", failing="/api/answer", route=pass_on) as page:
            begin(page)
            first = ready(page)
            page.keyboard.press("y")
            saved(page, 1)
            second = ready(page)
            full = True
            page.keyboard.press("n")
            page.wait_for_selector("#problem:not([hidden])")
            assert "Not saved: the disk is full" in page.inner_text("#problem")
            assert not page.inner_text("#status").startswith("Saved")
            assert ready(page) == second
            assert on_disk(site.answers, "maps") == {"Ada": {first: "yes"}}
            full = False
            page.keyboard.press("m")
            saved(page, 2)
            assert page.is_hidden("#problem")
            assert on_disk(site.answers, "maps") == {"Ada": {first: "yes", second: "maybe"}}
            page.focus("[data-answer=no]")  # without letters, too: the button keeps the focus
            third = ready(page)
            page.keyboard.press("Enter")
            saved(page, 3)
            fourth = ready(page)
            page.keyboard.press("Enter")
            saved(page, 4)
            said = {first: "yes", second: "maybe", third: "no", fourth: "no"}
            assert on_disk(site.answers, "maps") == {"Ada": said}
    finally:
        site.close()


def at(page, row: float, column: float) -> tuple[float, float]:
    """Where the pixel (row, column) of the image is on the screen."""
    area = page.locator(".frame").bounding_box()
    return area["x"] + area["width"] * column / SIZE[1], area["y"] + area["height"] * row / SIZE[0]


def drag(page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*at(page, *start))
    page.mouse.down()
    page.mouse.move(*at(page, *end), steps=6)
    page.mouse.up()


def test_boxes_are_drawn_adjusted_and_saved(browser, screenshots, tmp_path):
    site = Site(tmp_path, "boxes", 6)
    given = {}
    try:
        with page_of(browser, site.url, "Ada") as page:
            begin(page)
            name = ready(page)
            assert page.is_disabled("[data-answer=draw]")  # nothing is drawn yet
            drag(page, (3.5, 2.5), (11.5, 9.5))
            page.screenshot(path=screenshots / "boxes.png")
            page.keyboard.press("Enter")
            given[name] = (3, 2, 12, 10)

            name = ready(page)  # drawn from the lower right, then a corner dragged, then moved and resized by keys
            drag(page, (11.5, 9.5), (3.5, 2.5))
            drag(page, (12, 10), (15, 13))
            for key in ("ArrowDown", "ArrowLeft", "Shift+ArrowRight", "Shift+ArrowRight"):
                page.keyboard.press(key)
            page.keyboard.press("y")
            given[name] = (4, 1, 16, 14)

            name = ready(page)  # without a mouse
            page.keyboard.press("ArrowUp")
            page.keyboard.press("y")
            given[name] = (5, 4, 15, 12)
            saved(page, 3)

            page.keyboard.press("z")  # comes back as it was drawn
            page.wait_for_selector(f"#work[data-example='{name}']")
            ready(page)
            page.keyboard.press("ArrowUp")
            page.keyboard.press("y")
            given[name] = (4, 4, 14, 12)
            given[ready(page)] = "skip"
            page.click("[data-answer=skip]")
            saved(page, 5)
    finally:
        site.close()
    assert on_disk(site.answers, "boxes") == {"Ada": given}
    assert "pointer" in next(site.answers.glob("boxes/ada-*.jsonl")).read_text()


def test_masks_are_painted_erased_and_saved(browser, screenshots, tmp_path):
    site = Site(tmp_path, "masks", 4)
    try:
        with page_of(browser, site.url, "Ada", PHONE, has_touch=True) as page:
            begin(page)
            first = ready(page)
            page.fill("#brush", "2")
            drag(page, (5.5, 4.5), (5.5, 11.5))
            page.keyboard.press("e")
            drag(page, (5.5, 11.5), (5.5, 11.6))
            drag(page, (15.5, 3.5), (15.5, 9.5))  # erases nothing, and is taken back
            page.keyboard.press("z")
            page.screenshot(path=screenshots / "masks.png")
            painted = page.evaluate(
                "() => [...document.querySelector('canvas.paint').getContext('2d').getImageData(0, 0, 16, 20).data]"
                ".filter((_, i) => i % 4 === 3)"
            )
            page.tap("[data-answer=draw]")
            second = ready(page)
            page.keyboard.press("p")  # a polygon, which Enter closes
            for corner in ((4, 3), (4, 11), (12, 11), (12, 3)):
                page.mouse.click(*at(page, *corner))
            page.keyboard.press("Enter")
            page.keyboard.press("Enter")
            saved(page, 2)
            third = ready(page)
            page.tap("[data-answer=maybe]")
            saved(page, 3)
            assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    finally:
        site.close()
    said = on_disk(site.answers, "masks")["Ada"]
    assert said[third] == "maybe"
    folder = Answers(site.answers)
    mask = folder.read_mask("Ada", said[first], SIZE)
    assert (mask == (np.array(painted).reshape(SIZE) > 0)).all()
    assert mask[5, 4:9].all() and not mask[5, 11] and not mask[12:].any()
    square = np.zeros(SIZE, bool)
    square[4:12, 3:11] = True
    assert (folder.read_mask("Ada", said[second], SIZE) == square).all()
    via = [json.loads(line)["via"] for line in next(site.answers.glob("masks/ada-*.jsonl")).read_text().splitlines()]
    assert via == ["touch", "key", "touch"]


def test_neurons_are_what_a_run_is_told(browser, screenshots, cli):
    given = {}
    options = ["--task", "neurons", "--annotator", "Ada", "--store", "store", "--answers", "a", "--limit", "12"]
    with served(*options) as (url, _):  # noqa: SIM117
        with page_of(browser, url, None) as page:  # the page does not ask who it is
            begin(page)
            for key in "ynmynn":
                given[ready(page)] = WORDS[key]
                if len(given) == 1:
                    page.screenshot(path=screenshots / "annotate-neurons.png")
                    assert page.locator(".patches canvas").count() % 2 == 0
                page.keyboard.press(key)
            saved(page, 6)
            assert page.inner_text("#count") == "Question 7 of 12"
    assert on_disk(Path("a"), "neurons") == {"Ada": given}
    options = ["--methods", "crayon-pruning", "--seeds", "0,", "--store", "store", "--set", "refine.epochs=1"]
    done = cli("run", *FACES, *SMALL, *options, "--oracle", "human", "--answers", "a")
    assert done.code == 0, done.err
    (record,) = [json.loads(file.read_text()) for file in Path("store/runs").glob("*/record.json")]
    assert record["feedback"]["by_kind"] == {"neuron_verdict": 6}
    assert record["feedback"]["verdicts"]["neuron_verdict"] == {"yes": 2, "no": 3, "maybe": 1}


def test_two_tabs_and_the_end(browser, tmp_path):
    """The same name twice: the same answer given twice is recorded once, and both tabs come to the end."""
    site = Site(tmp_path, "maps", 7)
    try:
        with page_of(browser, site.url, "Ada") as page:
            begin(page)
            ready(page)
            other = page.context.new_page()
            other.goto(site.url)
            begin(other)
            presses = 0
            while presses < 20 and not page.get_attribute("#work", "data-finished"):
                for tab in (page, other):
                    tab.wait_for_selector("#work[data-finished], [data-answer=skip]:enabled", state="attached")
                    if not tab.get_attribute("#work", "data-finished"):
                        presses += 1
                        tab.keyboard.press("n")
                        tab.wait_for_selector("#work[data-unsaved='0']")
            page.wait_for_selector("text=All done")
        assert list(on_disk(site.answers, "maps")["Ada"].values()) == ["no"] * 7
        assert len(next(site.answers.glob("maps/ada-*.jsonl")).read_text().splitlines()) == 7
        client = Client(site, "Ada")
        assert client.ask("next", want=2)["questions"] == []
    finally:
        site.close()
