"""The board ``curve``: a score against answers and person-hours, as a table and as a picture."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from conftest import TINY
from crayon_bench_leaderboards.curve import curve_tables, curves_of
from crayon_bench_leaderboards.price import load_price
from crayon_bench_leaderboards.render.plot import draw_curve
from test_boards import asked, faces, grids, limit, record, save, swept

CURVE = ("leaderboard", "--board", "curve")


def drawn_faces(**more) -> list:
    """Table 1's records with budgets, of which only the worst group's accuracy depends on the budget."""
    return swept("celeba", lambda m, seed, value, **changes: faces(m, seed, 90.0, value, **{**changes, **more}))


def table_of(records, metric=None, price="published"):
    [table] = curve_tables(records, metric, load_price(price))
    return table


def test_the_table_has_a_row_for_each_budget_with_answers_hours_score_and_seeds(cli):
    save(drawn_faces())
    text = cli(*CURVE, "--format", "markdown").out
    assert text.startswith("### WGA against feedback and its price\n")
    [main] = grids(text)
    assert main[0] == [
        "Method", "Budget", "Feedback", "#FB", "WGA (%)", "person-hours", "WGA gained per person-hour", "Seeds",
    ]  # fmt: skip
    assert main[2:] == [
        ["Original", "-", "-", "-", "51.00 ± 1.00", "–", "–", "3"],
        ["CRAYON-Attention", "500", "Yes-No", "500", "61.00 ± 1.00", "0.222", "+45", "3"],
        ["CRAYON-Attention", "1%", "Yes-No", "600", "63.00 ± 1.00", "0.267", "+45", "3"],
        ["CRAYON-Attention", "10%", "Yes-No", "6,000", "*71.00 ± 1.00*", "2.67", "+7.5", "3"],
        ["CRAYON-Attention", "all", "Yes-No", "60,000", "**81.00 ± 1.00**", "26.7", "+1.12", "3"],
        ["Train More", "-", "None", "0", "52.00 ± 1.00", "0", "–", "3"],
    ]
    assert "published times: map_verdict 1.6 s" in text.replace("\\", "")
    lines = list(csv.DictReader(io.StringIO(cli(*CURVE, "--format", "csv").out)))
    assert [line["budget"] for line in lines] == ["", "500", "1%", "10%", "", ""]
    assert "Published" not in text  # no numbers of others


def test_the_score_is_that_of_the_data_sets_own_board_or_the_one_asked_for(cli):
    save(swept() + drawn_faces())
    board = json.loads(cli(*CURVE, "--format", "json").out)
    both = {next(iter(t["source"])): list(t["rows"][0]["metrics"]) for t in (board, *board["also"])}
    assert both == {"decoymnist": ["sample_accuracy"], "celeba": ["worst_group_accuracy"]}
    board = json.loads(cli(*CURVE, "--format", "json", "--metric", "ma").out)
    both = {next(iter(t["source"])): t["rows"][0]["metrics"] for t in (board, *board["also"])}
    assert both["celeba"]["group_mean_accuracy"]["mean"] == 90.0
    assert both["decoymnist"]["group_mean_accuracy"]["mean"] is None
    wrong = cli(*CURVE, "--metric", "worst_group")
    assert (wrong.code, wrong.out) == (2, "")
    assert "there is no metric 'worst_group'" in wrong.err


def test_without_groups_the_score_is_accuracy():
    """Of images of one's own without attributes: WGA is asked for by nobody, and nobody could see a curve of it."""

    def bare(m, seed, value, **changes):
        wga = {"value": None, "short": "WGA", "direction": "higher", "unit": "%", "reason": "no groups"}
        acc = {"value": value, "short": "Acc", "direction": "higher", "unit": "%"}
        return record(m, seed, value, metrics={"worst_group_accuracy": wga, "sample_accuracy": acc}, **changes)

    table = table_of(swept("folder", bare))
    assert table.board.metrics == ["sample_accuracy"] and draw_curve(table, "png")
    assert all(row.metrics["sample_accuracy"].mean is not None for row in table.sections[0].rows)
    assert table_of(swept("folder", bare), "wga").board.metrics == ["worst_group_accuracy"]


def test_settings_never_share_a_table_or_a_picture(cli):
    save([*swept(), record("original", 0, 40.0, oracle="noisy"), *drawn_faces(source="standin", protocol="quick")])
    save([record("rrr", 0, 60.0, oracle="noisy", **asked("rrr", 60, budget=limit(60)))])
    text = cli(*CURVE, "--format", "markdown").out
    methods = [[row[0].partition(" <")[0] for row in grid[2:]] for grid in grids(text)]
    assert sorted(len(names) for names in methods) == [2, 6, 6]
    assert ["Original", "RRR"] in methods  # what only another setting has is not missing here
    result = cli(*CURVE, "--plot", "c.svg")
    assert result.code == 0
    names = sorted(path.name for path in Path().glob("*.svg"))
    assert len(names) == 3
    assert all(re.fullmatch(r"c-(celeba|decoymnist)-[0-9a-f]{8}\.svg", name) for name in names)
    # matplotlib leaves the text of what it draws in comments.
    texts = {name: Path(name).read_text() for name in names}
    assert ["STAND-IN DATA" in text for text in texts.values()] == [True, False, False]
    standin = next(text for name, text in texts.items() if "celeba" in name)
    assert "<!-- STAND-IN DATA — WGA against feedback and its price -->" in standin
    assert sorted("85.33" in text for text in texts.values()) == [False] * 3


def test_a_picture_is_the_same_for_the_same_records():
    records = drawn_faces()
    first, second = (draw_curve(table_of(list(some)), "svg") for some in (records, reversed(records)))
    assert first == second
    assert b"<dc:date>" not in first
    assert b"matplotlib.org" not in first.partition(b"<defs>")[0].partition(b"<metadata>")[2]
    png = draw_curve(table_of(records), "png")
    assert png == draw_curve(table_of(records), "png")
    image = Image.open(io.BytesIO(png))
    assert image.size == (1650, 720)
    image.load()


def test_the_picture_names_what_it_shows():
    text = draw_curve(table_of(drawn_faces()), "svg").decode()
    for words in (
        "WGA against feedback and its price",
        "Biased CelebA (real data), protocol paper, 3 seeds, oracle simulated",
        "worst-group accuracy (%)",
        "answers (#FB), log scale",
        "person-hours (prices: published times), log scale",
        "CRAYON-Attention",
        "Original",
        "Train More",
        "bands: ± sample standard deviation",
    ):
        assert f"<!-- {words}" in text or words in text, words


def test_the_picture_of_unverified_data_says_so():
    records = drawn_faces()
    assert b"UNVERIFIED" not in draw_curve(table_of(records), "svg")
    for r in records:
        r.notes = ["UNVERIFIED data: x is not the published file"]
    assert b"UNVERIFIED data: see the table." in draw_curve(table_of(records), "svg")


def test_a_strategy_is_a_curve_of_its_own_that_ends_in_the_same_point():
    other = [
        faces("crayon-attention", s, 90.0, 75.0, **asked("crayon-attention", 6000, budget=limit(0.1, "uncertain")))
        for s in range(3)
    ]
    section = table_of(drawn_faces() + other).sections[0]
    curves, levels = curves_of(section, "worst_group_accuracy")
    assert [(c.label, [row.feedback_total for row in c.rows]) for c in curves] == [
        ("CRAYON-Attention", [500, 600, 6000, 60000]),
        ("CRAYON-Attention, uncertain", [6000, 60000]),
    ]
    assert [row.label for row in levels] == ["Original", "Train More"]


def test_a_method_with_one_budget_is_a_point():
    section = table_of([r for r in drawn_faces() if r.budget is None]).sections[0]
    [curve], _ = curves_of(section, "worst_group_accuracy")
    assert (curve.label, len(curve.rows)) == ("CRAYON-Attention", 1)


@pytest.mark.parametrize("price", ["published", "recorded"])
def test_odd_rows_are_drawn_too(price):
    """A seed that is missing, no hours, a budget of nothing, and names that a plotting library has its own idea of."""
    records = [r for r in drawn_faces() if not (r.budget == "10%" and r.seed == 2)]
    records += [
        faces("crayon-attention", s, 90.0, 50.0, **asked("crayon-attention", 0, budget=limit(0))) for s in range(3)
    ]
    for r in records:
        if r.method == "crayon-attention":
            r.title["method"] = "_a $\\nosuch{$ <b> & " + "long " * 9
    text = draw_curve(table_of(records, price=price), "svg").decode()
    assert "White dot: fewer seeds" in text
    assert ("<!-- not known -->" in text) == (price == "recorded")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--plot", "c.pdf"], "--plot c.pdf: expected a file name that ends with .png or .svg"),
        (["--plot", "c"], "--plot c: expected a file name"),
        (["--plot", "nowhere/c.png"], "--plot nowhere/c.png: cannot be written: No such file or directory"),
        (["--board", "table2", "--plot", "c.png"], "--plot c.png: is for --board curve alone"),
        (["--board", "table2", "--metric", "wga"], "--metric wga: is for --board curve alone"),
        (["--source", "standin"], "there are no such runs"),
        (["--board", "curv"], "did you mean 'curve'"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_file(cli, options, message):
    save(swept())
    result = cli(*CURVE, *options)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1
    assert not [path for path in Path().iterdir() if path.suffix in (".png", ".svg", ".pdf")]


def test_without_answers_there_is_nothing_to_draw(cli):
    save([r for r in swept() if r.method != "crayon-attention"])
    result = cli(*CURVE, "--plot", "c.png")
    assert (result.code, result.out) == (2, "")
    assert "--plot c.png: there is nothing to draw" in result.err
    assert cli(*CURVE).code == 0


def test_neither_torch_nor_without_a_plot_matplotlib_is_imported(tmp_path):
    save(swept(), tmp_path / "s")
    code = (
        "import sys\nfrom crayon_bench.cli import invoke\n"
        f"run = ['leaderboard', '--board', 'curve', '--store', {str(tmp_path / 's')!r}]\n"
        "assert invoke(run) == 0\nassert 'matplotlib' not in sys.modules, 'matplotlib'\n"
        f"assert invoke([*run, '--plot', {str(tmp_path / 'c.png')!r}]) == 0\n"
        "assert 'torch' not in sys.modules, 'torch'\nassert 'matplotlib.pyplot' not in sys.modules, 'pyplot'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_a_sweep_of_budgets_gives_a_board_and_a_curve(cli):
    run = ["run", "--dataset", "decoymnist", "--methods", "original,train-more,rrr", "--seeds", "2", *TINY]
    shown = cli(*run, "--budget", "10%,100,all")
    assert shown.code == 0, shown.err
    assert re.search(r"RRR.* 10% +Map +120 ", shown.out)
    result = cli(*CURVE, "--format", "json", "--plot", "c.svg")
    assert result.code == 0, result.err
    rows = json.loads(result.out)["rows"]
    assert [(row["method"], row["budget"]) for row in rows] == [
        ("original", None), ("rrr", "100"), ("rrr", "10%"), ("rrr", None), ("train-more", None),
    ]  # fmt: skip
    assert rows[1]["feedback_count"]["total"] == 100
    assert rows[1]["person_hours"] == pytest.approx(100 * 79 / 3600)
    assert Path("c.svg").read_text().count("STAND-IN DATA") == 1
