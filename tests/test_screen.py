"""What is printed fits the screen: tables, lists and reports, at 80 columns and fewer, and without signs of its own."""

import json

import pytest

from crayon_bench.screen import cells, list_text
from test_boards import faces, full, record, save, table1  # noqa: F401
from test_check import fill

WORDS = "does-not-apply: the method asks for maps, and nobody can be asked for one"


def fits(text: str, width: int) -> list[str]:
    return [line for line in text.splitlines() if cells(line.rstrip()) > width]


@pytest.mark.parametrize("width", [80, 70])
def test_every_list_fits(cli, monkeypatch, width):
    commands = [
        ["data", "list"],
        ["plugins", "list"],
        ["run", "--dataset", "decoymnist,waterbirds", "--budget", "10,10%,all", "--seeds", "2", "--dry-run"],
    ]
    wide = [cli(*command).out for command in commands]
    monkeypatch.setenv("COLUMNS", str(width))
    for command, whole in zip(commands, wide, strict=True):
        shown = cli(*command).out
        assert not fits(shown, width)
        kept = shown.partition("\nLeft out, for the width:")[0].replace("-", " ")
        assert set(kept.split()) <= set(whole.replace("-", " ").split())  # no word is broken


@pytest.mark.parametrize("width", [80, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize("more", [[], ["--price", "published"], ["--statistics"], ["--board", "curve"]])
def test_every_table_fits_and_loses_no_number(cli, monkeypatch, width, more):
    save(
        table1("celeba")
        + [faces("energy", s, 80, 60 + s, budget={"share": 0.1, "strategy": {"name": "random", "version": 1}}) for s in range(3)]
        + table1("waterbirds", 3)
        + [faces("rrr", s, 60, 40, source="standin", protocol="quick") for s in range(3)]
    )  # fmt: skip
    whole = cli("leaderboard", *more).out
    monkeypatch.setenv("COLUMNS", str(width))
    result = cli("leaderboard", *more)
    assert result.code == 0 and not fits(result.out, width)
    for number in ("71.00 ± 1.00", "49.00 ± 1.00", "80.00 ± 0.00", "61.00 ± 1.00"):
        assert (number in whole) == (number in result.out), number


def test_reports_of_the_gate_fit(cli, monkeypatch):
    fill("old")
    fill("old", method="energy")
    fill("new", 0.5, parameters={"lambda": 7})
    monkeypatch.setenv("COLUMNS", "80")
    for more in ([], ["--allow", "method.parameters"]):
        result = cli("check", "--baseline", "old", "--store", "new", *more)
        assert result.out and not fits(result.out, 80)
    written = cli("check", "--baseline", "old", "--store", "new", "--format", "json").out
    assert json.loads(written)["cells"]


@pytest.mark.slow
def test_a_screen_without_the_signs_has_others(process, full, tmp_path):  # noqa: F811
    save(full, tmp_path / "s")
    command = ["leaderboard", "--store", tmp_path / "s"]
    shown = process(*command, env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}).out
    assert "?" not in shown
    assert "96.30 ~ 0.26 *" in shown and "* best, + second best" in shown
    same = process(*command, env={"PYTHONIOENCODING": "utf-8"}).out
    assert [len(line) for line in shown.splitlines()] == [len(line) for line in same.splitlines()]


def test_a_list_leaves_columns_out_in_order_and_says_so(monkeypatch):
    monkeypatch.setenv("COLUMNS", "24")
    text = list_text(["a", "b", "c"], [["x" * 10, "y" * 10, WORDS], ["猫猫猫", "y", "z"]], drop=["b", "a"])
    assert "Left out, for the width: b, a." in text
    monkeypatch.setenv("COLUMNS", "30")
    text = list_text(["a", "b", "c"], [["x" * 10, "y" * 10, "one two three"], ["猫猫猫", "y", "z"]], drop=["b", "a"])
    assert "Left out" not in text and not fits(text, 30)


def test_what_a_plugin_says_of_itself_is_filled_anew_by_paragraphs(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    faces, res = (cli("plugins", "info", name).out for name in ("celeba", "res"))
    assert max(map(len, (faces + res).splitlines())) <= 80
    # A paragraph, an entry of a list with what it goes on with, and a formula, whose lines stay.
    assert "part. No random draw is made. In the order of list_attr_celeba.txt, each group\ngives\n\n* to" in faces
    assert "\n  fewer (the official one has some 1,100 that are blond and not smiling), the\n" in faces
    assert "\n    a* = argmax_a " in res and "\n    L  = mean CE" in res
    monkeypatch.delenv("COLUMNS")
    for name, told in (("celeba", faces), ("res", res)):
        assert cli("plugins", "info", name).out.split() == told.split()
