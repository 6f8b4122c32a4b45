"""The stand-ins of celeba and waterbirds: their shortcut is real, and feedback repairs it."""

import hashlib
import json
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from conftest import TINY
from crayon_bench import load_results
from crayon_bench.networks.convnets import ConvNet
from crayon_bench.networks.specification import CNNSpec
from crayon_bench_plugins.datasets.celeba.dataset import CelebA
from crayon_bench_plugins.datasets.waterbirds.dataset import Waterbirds
from crayon_bench_plugins.standins.pretrain import pretrain

PUBLISHED = Path(__file__).resolve().parents[1] / "leaderboards" / "published"
REPAIRS = ("crayon-attention", "crayon-pruning", "crayon-attention-pruning", "rrr", "gradia", "energy", "res")
BALANCED = {
    "celeba": ["dataset.majority=302", "dataset.minority=302"],
    "waterbirds": ["dataset.standin_rare=300"],
}


def wga(board: dict, method: str) -> float:
    return next(row for row in board["rows"] if row["method"] == method)["metrics"]["worst_group_accuracy"]["mean"]


@pytest.mark.parametrize("dataset", ["celeba", "waterbirds"])
def test_the_published_stand_in_leaderboards_hold_what_is_promised(dataset):
    board = json.loads((PUBLISHED / f"table1-standin-{dataset}.json").read_text(encoding="utf-8"))
    assert board["source"] == {dataset: "standin"}
    assert board["title"].startswith("STAND-IN DATA")
    assert len(board["seeds"][dataset]) >= 3
    original, more, random = (wga(board, method) for method in ("original", "train-more", "random-pruning"))
    assert original <= 45
    assert more - original < 5
    assert random - original < 5
    assert sum(wga(board, method) >= max(more, random) + 10 for method in REPAIRS) >= 5
    assert all(row["published"] is None for row in board["rows"])


@pytest.mark.slow
def test_true_answers_repair_the_birds_and_shuffled_ones_do_not(cli):
    """One seed that no weight was chosen by."""
    common = ["--dataset", "waterbirds", "--source", "standin", "--seeds", "4", "--quiet", "--executor", "serial"]
    methods = ["--methods", "original,train-more,crayon-attention", "--control", "shuffled"]
    assert cli("run", *common, *methods, "--store", "birds").code == 0
    score = {
        (record.coordinates["method"]["name"], record.coordinates.get("control")): record.metrics[
            "worst_group_accuracy"
        ]
        for record in load_results("birds")
    }
    true, shuffled = score["crayon-attention", None], score["crayon-attention", "shuffled"]
    assert score["original", None] <= 0.45
    assert true >= 0.6 and true >= score["train-more", None] + 0.1
    assert true >= shuffled + 0.3


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["celeba", "waterbirds"])
def test_the_shortcut_is_there_and_feedback_repairs_it(cli, dataset):
    """One seed of what the published tables show with five, and the same network on group-balanced data."""
    common = ["run", "--dataset", dataset, "--source", "standin", "--seeds", "1", "--quiet"]
    assert cli(*common, "--methods", "original,train-more,energy,rrr", "--store", "biased").code == 0
    sets = [part for value in BALANCED[dataset] for part in ("--set", value)]
    assert cli(*common, "--methods", "original", "--store", "balanced", *sets).code == 0
    board = json.loads(cli("leaderboard", "--store", "biased", "--format", "json").out)
    balanced = json.loads(cli("leaderboard", "--store", "balanced", "--format", "json").out)
    assert wga(board, "original") <= 45
    assert wga(balanced, "original") >= wga(board, "original") + 25
    assert wga(board, "energy") >= wga(board, "train-more") + 10
    assert wga(board, "rrr") >= wga(board, "train-more") + 10


@pytest.mark.slow
def test_one_command_runs_all_data_sets_and_makes_both_tables(cli):
    datasets = ("celeba", "waterbirds", "decoymnist")
    result = cli("run", "--methods", "original,train-more", "--dataset", ",".join(datasets), "--seeds", "1", *TINY)
    assert result.code == 0, result.err
    for title in ("Table 1: Biased CelebA and Waterbirds", "Table 2: accuracy on DecoyMNIST"):
        assert result.out.count(f"STAND-IN DATA — {title}\n") == 1
    for board, shown in (("table1", datasets[:2]), ("table2", datasets[2:])):
        rows = json.loads(cli("leaderboard", "--board", board, "--format", "json").out)["rows"]
        done = {(row["dataset"], row["method"]) for row in rows if row["status"] == "ok"}
        assert done == {(dataset, method) for dataset in shown for method in ("original", "train-more")}


@pytest.mark.parametrize(("kind", "dataset"), [("faces", CelebA), ("birds", Waterbirds)])
def test_the_shipped_weights_are_what_their_script_makes(kind, dataset):
    """Names, shapes and types; the values took minutes, and their last bits depend on the machine."""
    shipped = dataset.pretrained["standin"]
    file = Path(str(shipped.file))
    assert file.name == f"{kind}.safetensors"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == shipped.sha256
    assert file.stat().st_size < 1_000_000
    with safe_open(file, "pt") as opened:
        assert opened.metadata()["scaling"] == "symmetric"
    kept = {name: (tuple(value.shape), value.dtype) for name, value in load_file(file).items()}
    body = ConvNet(CNNSpec(name="small-cnn", weights="none"), (3, 48, 48), 2, seed=0).body.state_dict()
    assert kept == {name: (tuple(value.shape), value.dtype) for name, value in body.items()}
    made = pretrain(kind, n=40, epochs=1, batch=20)
    assert kept == {name: (tuple(value.shape), value.dtype) for name, value in made.items()}
    assert not made["0.weight"].equal(body["0.weight"])
