"""The published leaderboards belong to the built-in protocols as they are now."""

import json
from pathlib import Path

import pytest

from conftest import SHARED
from crayon_bench.dataset import Source
from crayon_bench.plan import Options, make_plan
from crayon_bench.plugins import Registry

FILES = sorted((Path(__file__).resolve().parents[1] / "leaderboards" / "published").glob("*.json"))
WEIGHTS = SHARED / "weights" / "mobilenet_v2_imagenet.pth"
STANDINS = {"table1-standin-celeba": "celeba", "table1-standin-waterbirds": "waterbirds"}


def test_there_are_tables_of_the_stand_ins_with_protocol_quick_and_five_seeds():
    boards = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in FILES}
    for name, dataset in STANDINS.items():
        board = boards[name]
        assert (board["source"], board["protocol"]) == ({dataset: "standin"}, {dataset: "quick"})
        assert board["seeds"] == {dataset: [0, 1, 2, 3, 4]}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_plan_made_now_has_the_setting_of_the_published_table(file):
    """What a default, a data set's content or the core's numerics changed shows here: the table is to be made anew."""
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
        now = {request.setting for request in plan.requests}
        assert now == {published}, f"{file.name} is of another setting than `run --dataset {dataset}` has now"
