"""What is shown while runs are carried out: which run it is, of how many that will be done, and how long it takes."""

import re
import sys
from types import SimpleNamespace

import pytest

from crayon_bench_plugins.displays import progress
from crayon_bench_plugins.displays.remaining import Remaining

FACES = ["--dataset", "celeba", "--source", "standin", "--executor", "serial"]
SIZES = ("dataset.majority=20", "dataset.minority=4", "dataset.test=4", "dataset.validation=4", "original.epochs=2")
SMALL = [part for pair in (*SIZES, "refine.epochs=2") for part in ("--set", pair)]


def request(key: str, seed: int = 0, skip: str | None = None, original: int = 10, refine: int | None = 10):
    recipe = None if refine is None else {"epochs": refine}
    c = {"method": {"recipe": recipe}, "original": {"epochs": original}, "dataset": {"name": "x"}, "seed": seed}
    return SimpleNamespace(key=key, coordinates=c, skip=skip, label=f"x {key} seed {seed}", dataset="x", method=key)


def record(status: str = "ok"):
    known = {"status": SimpleNamespace(value=status), "metrics": {}, "reason": "it does not apply", "dataset": "x"}
    return SimpleNamespace(**known, method="m", feedback=SimpleNamespace(total=0), seconds={"total": 1.0})


def test_the_lines_number_what_is_done_and_name_budget_and_oracle(cli):
    methods = ["--methods", "original,crayon-attention,rrr"]
    told = cli(
        "run",
        *FACES,
        *SMALL,
        *methods,
        "--budget",
        "10,all",
        "--seeds",
        "1",
        "--oracle",
        "noisy",
        "--control",
        "shuffled",
    )
    assert told.code == 0, told.err
    numbered = re.findall(r"^\[(\d+)/(\d+)\] (.*?): (?!original|refine)", told.err, re.M)
    assert [(a, b) for a, b, _ in numbered] == [(str(n), "9") for n in range(1, 10)]
    assert [name for _, _, name in numbered] == [
        "celeba original seed 0 noisy answers",
        *(
            f"celeba {method} seed 0{budget} noisy answers{control}"
            for method in ("crayon-attention", "rrr") for budget in (" budget 10", "") for control in ("", " control shuffled")
        ),
    ]  # fmt: skip


def test_what_does_not_apply_is_told_without_a_number(cli):
    sets = ["--set", "original.epochs=1", "--set", "refine.epochs=1"]
    run = ["run", "--dataset", "decoymnist", "--source", "standin", "--executor", "serial", *sets, "--seeds", "2"]
    told = cli(*run, "--methods", "original,gradia,train-more")
    assert re.search(r"^decoymnist gradia seed 0: skipped: ", told.err, re.M)
    assert re.findall(r"^\[(\d/\d)\]", told.err, re.M)[-1] == "4/4"
    again = cli(*run, "--methods", "original,train-more,rrr")
    assert set(re.findall(r"^\[\d/(\d)\]", again.err, re.M)) == {"2"}  # the others are in the store


def test_the_time_that_is_left_is_known_after_two_epochs_and_right_for_even_ones():
    clock = [0.0]
    runs = [request("original", refine=None), request("a"), request("b"), request("skipped", skip="no")]
    left = Remaining(runs, lambda: clock[0])
    assert str(left) == ""
    for epoch in range(1, 11):  # of the original model, which all share
        clock[0] += 3
        left.epoch(runs[0], "original", epoch, 10)
        assert left.seconds == (None if epoch == 1 else pytest.approx(3 * (10 - epoch + 20)))
    left.end(runs[0])
    assert left.seconds == pytest.approx(60) and str(left) == "about 1 min left"
    for epoch in range(1, 11):
        clock[0] += 3
        left.epoch(runs[1], "refine", epoch, 10)
    left.end(runs[1])
    assert left.seconds == pytest.approx(30) and str(left) == "about 30 s left"
    left.end(runs[2])  # it failed at once
    assert str(left) == ""


def test_an_original_model_that_is_in_the_store_is_not_counted():
    clock = [0.0]
    left = Remaining([request("a")], lambda: clock[0])
    for epoch in (1, 2):
        clock[0] += 1
        left.epoch(request("a"), "refine", epoch, 10)
    assert left.seconds == pytest.approx(8)


def test_the_lines_tell_early_what_is_left(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    runs = [request("a"), request("b")]
    lines = progress._Plain(runs)
    lines.left = Remaining(runs, lambda: clock[0])
    lines.start(runs[0])
    for epoch in (1, 2, 3):
        clock[0] += 6
        lines.epoch(runs[0], "original", epoch, 10, 0.5)
    assert capsys.readouterr().err == "[1/2] x a seed 0: original, epoch 2 of 10, loss 0.5; about 3 min left\n"


@pytest.mark.parametrize("columns", ["80", "120"])
def test_no_bar_stands_at_an_unknown_total_and_lines_fit(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: False, write=len, flush=lambda: None))
    runs = [request("a"), request("b"), request("c", skip="no")]

    class Quiet(progress._Bars):
        def _begin(self) -> None:
            pass

    bars = Quiet(runs)
    console = bars.progress.console

    def drawn() -> list[str]:
        with console.capture() as drawing:
            console.print(bars.progress.get_renderable())
        return drawing.get().splitlines()

    bars.start(runs[0])
    assert not any("?" in line for line in drawn()) and "0/2" in drawn()[0]
    for epoch in (1, 2, 3):
        bars.epoch(runs[0], "original", epoch, 10, 0.123456)
    assert len(drawn()) == 2 and max(map(len, drawn())) <= int(columns)
    assert "left" in drawn()[0] and " 3/10" in drawn()[1] and ("loss 0.123" in drawn()[1]) == (columns == "120")
    bars.end(runs[0], record())
    bars.start(runs[2])
    bars.end(runs[2], record("skipped"))
    assert "1/2" in drawn()[0] and len(drawn()) == 1
    bars.start(runs[1])
    bars.end(runs[1], record())
    assert "2/2" in drawn()[0]


def test_a_notebook_shows_the_same_bars(monkeypatch):
    shown = []
    output = SimpleNamespace(update=lambda content, raw: shown.append(content["text/plain"]))
    display = SimpleNamespace(display=lambda *a, **k: output)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(progress, "_REDRAW", 0.0)
    runs = [request("a"), request("b")]
    bars = progress._Notebook(runs)
    bars.start(runs[0])
    for epoch in (1, 2, 3):
        bars.epoch(runs[0], "refine", epoch, 10, 0.5)
    assert "?" not in shown[-1] and "x a seed 0: refine, loss 0.5" in shown[-1]
    assert re.search(r"runs, about \d+ s left", shown[-1])
    bars.end(runs[0], record())
    bars.close()
    assert shown[-1].startswith("x a seed 0: ")
