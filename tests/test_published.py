"""The published leaderboards belong to the built-in protocols as they are now."""

import json
from pathlib import Path

import numpy as np
import pytest

from conftest import SHARED
from crayon_bench.dataset import Source
from crayon_bench.plugins.registry import Registry
from crayon_bench.runs.plan import Options, make_plan
from crayon_bench.store.records import NUMERICS, setting_of

PUBLISHED = Path(__file__).resolve().parents[1] / "leaderboards" / "published"
FILES = sorted([*PUBLISHED.glob("table*.json"), *PUBLISHED.glob("curve*.json")])
WEIGHTS = SHARED / "weights" / "mobilenet_v2_imagenet.pth"
MADE_WITH_NUMERICS = {
    **dict.fromkeys((file.stem for file in FILES), 3),
    **dict.fromkeys(("table2-decoymnist", "curve-decoymnist"), 2),
}
"""Of the core that made each table. Whoever makes one anew writes here with which: older tables stay what they are."""
STANDINS = {"table1-standin-celeba": "celeba", "table1-standin-waterbirds": "waterbirds"}


def test_there_are_tables_of_the_stand_ins_with_protocol_quick_and_controls():
    boards = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in FILES}
    for name, dataset in STANDINS.items():
        board = boards[name]
        assert (board["source"], board["protocol"]) == ({dataset: "standin"}, {dataset: "quick"})
        assert board["seeds"][dataset] == list(range(8))
        added = {row["method"]: set(row["answers_add"]) for row in board["rows"] if "answers_add" in row}
        assert {"crayon-attention", "energy", "rrr"} <= set(added)
        assert all("shuffled" in controls for controls in added.values())


def rows_of_readme() -> list[list[str]]:
    """Return the cells of all tables in the README, without emphasis."""
    text = (PUBLISHED / "README.md").read_text(encoding="utf-8").replace("*", "")
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_the_readme_tells_the_search_as_it_was_written_down():
    search = json.loads((PUBLISHED / "celeba-half-search.json").read_text(encoding="utf-8"))
    told = [
        [
            one["method"],
            ", ".join(f"{name}={value:g}" for name, value in one["trial"].items()),
            str(one["seeds"]),
            *(f"{one[name]:.1f}" for name in ("wga", "ma", "mouth")),
        ]
        for one in search
    ]
    assert len(told) == 54
    assert [row for row in rows_of_readme() if len(row) == 6] == [
        ["method", "trial", "seeds", "validation WGA", "validation MA", "maps on the mouth (%)"],
        ["---", "---", "---:", "---:", "---:", "---:"],
        *told,
    ]


def test_the_readme_tells_what_a_last_layer_can_do_with_some_of_the_neurons():
    told = json.loads((PUBLISHED / "neurons-standins.json").read_text(encoding="utf-8"))
    assert {len(values) for rows in told.values() for values in rows.values()} == {8}

    def text(values: list) -> str:
        means = np.mean(values, 0)
        return f"{means:.1f}" if np.ndim(means) == 0 else f"WGA {means[0]:.1f}, MA {means[1]:.1f}"

    rows = [[row, *(text(told[dataset][row]) for dataset in ("celeba", "waterbirds"))] for row in told["celeba"]]
    assert [row for row in rows_of_readme() if row[0] in told["celeba"]] == rows
    gained = [
        np.mean(rows["on the best 5, by groups"], 0)[0] - np.mean(rows["on 5 at random"], 0)[0]
        for rows in (told["celeba"], told["waterbirds"])
    ]
    page = " ".join((PUBLISHED / "README.md").read_text(encoding="utf-8").split())
    assert "bring {:.0f} points of WGA (faces) and {:.0f} (birds) over five at random".format(*gained) in page


def test_the_readme_tells_the_table_of_half_size_faces():
    rows = json.loads((PUBLISHED / "table1-celeba-half.json").read_text(encoding="utf-8"))["rows"]
    scores = {row["label"]: row["metrics"] for row in rows if row.get("control") is None}
    more = scores["Train More"]["worst_group_accuracy"]["mean"]
    told = {row[0]: row[1:4] for row in rows_of_readme() if len(row) == 5 and row[0] in scores}
    assert set(told) == set(scores)
    for label, (wga, ma, over) in told.items():
        worst, mean = scores[label]["worst_group_accuracy"], scores[label]["group_mean_accuracy"]
        assert (wga, ma) == (f"{worst['mean']:.1f} ± {worst['std']:.1f}", f"{mean['mean']:.1f}")
        assert over == ("" if label == "Train More" else f"{round(worst['mean'], 1) - round(more, 1):+.1f}")


def curve(name: str, metric: str, digits: int = 1) -> dict[tuple[str, str | None], str]:
    """Return (label, budget) → mean ± std of a published curve."""
    rows = json.loads((PUBLISHED / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    cells = {(row["label"], row["budget"]): row["metrics"][metric] for row in rows}
    return {key: f"{cell['mean']:.{digits}f} ± {cell['std']:.{digits}f}" for key, cell in cells.items()}


def test_the_readme_tells_the_curves():
    text = (PUBLISHED / "README.md").read_text(encoding="utf-8")
    digits = curve("curve-decoymnist", "sample_accuracy")
    for key in (
        ("CRAYON-Attention", "10%"),
        ("CRAYON-Attention", None),
        ("CRAYON-Attention", "1%"),
        ("Energy loss", "10%"),
    ):
        assert digits[key] in text
    for label, told in (
        ("RRR", "96.6 with 600 masks, 96.9 with 60,000"),
        ("Energy loss", "96.0 with 18,000, 96.5 with all"),
    ):
        first, last = (
            digits[label, budget].partition(" ")[0] for budget in (("1%" if label == "RRR" else "30%"), None)
        )
        assert told.startswith(first) and last in told and told in text


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_plan_made_now_has_the_setting_of_the_published_table(file):
    """What a default or a data set's content changed shows here: the table is to be made anew.

    Everything but the core's numerics, which a table keeps of the core that made it; see MADE_WITH_NUMERICS.
    """
    made_with = MADE_WITH_NUMERICS[file.stem]
    assert made_with <= NUMERICS
    board = json.loads(file.read_text(encoding="utf-8"))
    assert board["setting"]
    for dataset, published in board["setting"].items():
        real = board["source"][dataset] == "real"
        if real and not SHARED.is_dir():
            pytest.skip("the real data are not here (../shared/data)")
        weights = WEIGHTS if board["protocol"][dataset] == "celeba-half" else None
        if weights is not None and not weights.is_file():
            pytest.skip("the weights are not here (../shared/data/weights)")
        options = Options(
            datasets=[dataset],
            methods=["original"],
            seeds=board["seeds"][dataset],
            protocol=board["protocol"][dataset],
            data_root=SHARED if real else None,
            source=Source(board["source"][dataset]),
            weights=weights,
        )
        plan = make_plan(options, Registry())
        assert not plan.problems
        assert {request.coordinates["numerics"] for request in plan.requests} == {NUMERICS}
        assert {setting_of(request.coordinates) for request in plan.requests} == {plan.requests[0].setting}
        now = {setting_of({**request.coordinates, "numerics": made_with}) for request in plan.requests}
        assert now == {published}, f"{file.name} is of another setting than `run --dataset {dataset}` has now"
