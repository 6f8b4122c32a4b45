"""The built-in protocol `paper` of CelebA and Waterbirds, on a few images in files of the official format.

ResNet-50 and the paper's image sizes, one step of every method: what is checked is that everything fits together, and
what is counted.
"""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.models import resnet50

import crayon_bench_plugins
from crayon_bench.dataset import Source
from crayon_bench.plugins.registry import Registry
from crayon_bench.runs.plan import Options, make_plan
from crayon_bench.runs.protocol import load_protocol
from crayon_bench_plugins.datasets.waterbirds.published import PICTURES, SEGMENTATIONS
from test_celeba import write_celeba

pytestmark = pytest.mark.slow

DEAD = 40
"""Channels of the network below that nothing can activate."""


@pytest.fixture(scope="module")
def state():
    """A random ResNet-50 in torchvision's layout, some of whose last channels are off."""
    torch.manual_seed(0)
    net = resnet50(weights=None)
    with torch.no_grad():
        net.layer4[2].bn3.bias[:DEAD] = -1e6
    return net.state_dict()


def write_waterbirds(root: Path) -> None:
    """Two training images of the first group and one of the others, one for validation, one of each for the test."""
    rows, random = [], np.random.RandomState(0)
    for split, each in ((0, (2, 1, 1, 1)), (1, (1, 0, 0, 0)), (2, (1, 1, 1, 1))):
        for (y, place), number in zip(((0, 0), (0, 1), (1, 0), (1, 1)), each, strict=True):
            for i in range(number):
                name = f"{len(rows) + 1:03d}.Bird/Bird_{split}{y}{place}{i}.jpg"
                rows.append([len(rows) + 1, name, y, split, place, "x.jpg"])
                picture, mask = random.randint(0, 256, (90, 120, 3), np.uint8), np.zeros((90, 120), np.uint8)
                mask[20:60, 30:90] = 255
                for folder, kind, pixels in ((PICTURES.name, "jpg", picture), (SEGMENTATIONS.name, "png", mask)):
                    path = root / folder / Path(name).with_suffix(f".{kind}")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(path)
    with (root / PICTURES.name / "metadata.csv").open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["img_id", "img_filename", "y", "split", "place", "place_filename"])
        table.writerows(rows)


CASES = {
    # training images, grid, how the weights are saved, what --set changes, methods. Of the second data set a few: together
    # they ask every kind of question; a step of ResNet-50 takes seconds.
    "celeba": (4, (9, 7), "weights.pth", ["dataset.scale=0.0001"], "all"),
    "waterbirds": (5, (7, 7), "weights.safetensors", [], "original,crayon-attention-pruning,gradia,energy,res"),
}


@pytest.mark.parametrize("dataset", CASES)
def test_one_step_of_each_method(cli, tmp_path, state, dataset):
    N, grid, file, sets, methods = CASES[dataset]
    if dataset == "celeba":
        write_celeba(tmp_path / "root" / "celeba", per=(2, 1, 1), size=(178, 218))
        torch.save(state, file)
    else:
        write_waterbirds(tmp_path / "root" / "waterbirds")
        save_file(state, file)
    sets = [*sets, "original.epochs=1", "refine.epochs=1", "protocol.threads=1"]
    arguments = [word for text in sets for word in ("--set", text)]
    where = ["--dataset", dataset, "--data-root", tmp_path / "root", "--protocol", "paper", "--weights", file]
    result = cli("run", *where, "--methods", methods, "--seeds", "1", *arguments)
    assert result.code == 0, result.err

    folders = [folder for folder in Path("crayon-runs/runs").iterdir() if not folder.name.startswith(".")]
    records = {
        record["coordinates"]["method"]["name"]: record
        for record in (json.loads((folder / "record.json").read_text()) for folder in folders)
    }
    assert len(records) == (10 if methods == "all" else methods.count(",") + 1)
    for name, record in records.items():
        c = record["coordinates"]
        assert record["status"] == "ok", (name, record["reason"])
        sha256 = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        assert c["weights"] == {"source": "file", "sha256": sha256, "scaling": "unit"}
        assert (c["protocol"]["name"], c["model"]["name"]) == ("paper", "resnet50")
        assert sum(group["total"] for group in record["groups"]) == 4
        assert all(np.isfinite(metric["value"]) for metric in record["metrics"].values())
        assert 0 <= record["attention"]["saliency"] <= 1

    shared = [load_file(path) for path in Path("crayon-runs/artifacts").glob("shared.*/tensors.safetensors")]
    (maps,) = (tensors["maps"] for tensors in shared if "maps" in tensors)
    assert tuple(maps.shape) == (N, *grid)
    (neurons,) = (tensors for tensors in shared if "pooled" in tensors)
    assert tuple(neurons["pooled"].shape) == (N, 2048)
    dead = int((neurons["pooled"] == 0).all(0).sum())
    assert DEAD <= dead < 1024

    counts = {name: record["feedback"]["total"] for name, record in records.items()}
    asked_for = records["gradia"]["feedback"]["by_kind"]
    assert asked_for["map_verdict"] == N
    assert 0 <= asked_for.get("relevant_mask", 0) <= N
    asked = {
        "original": 0, "train-more": 0, "random-pruning": 0,
        "crayon-attention": N, "crayon-pruning": 2048 - dead, "crayon-attention-pruning": N + 2048 - dead,
        "rrr": N, "energy": N, "res": 2 * N, "gradia": N + asked_for.get("relevant_mask", 0),
    }  # fmt: skip
    assert counts == {name: asked[name] for name in records}
    if "random-pruning" in records:
        assert sum(records["random-pruning"]["feedback"]["lent"].values()) == 2048 - dead
    for name in records.keys() & {"crayon-pruning", "crayon-attention-pruning"}:
        assert records[name]["warnings"]["neurons that no training image activates, pruned unasked"] == dead


PAPER = {
    # data set: original epochs, batch, lr; refine epochs, lr; α, β; patches, misses (§4.2 and §4.3 of the CRAYON paper)
    "celeba": (5, 64, 1e-4, 7, 1e-4, 1e4, 1e2, 20, 0),
    "waterbirds": (50, 128, 1e-3, 4, 1e-4, 2000.0, 20.0, 10, 1),
}
FINAL = {
    # refine epochs, lr; α and β shared among the answers; normalised
    "celeba": (10, 1e-5, 5e7, 1e6, False),
    "waterbirds": (10, 5e-5, 1e7, 2e5, True),
}


@pytest.mark.parametrize("dataset", PAPER)
def test_the_protocols_have_the_published_values(dataset):
    folder = Path(crayon_bench_plugins.__file__).parent / "protocols" / dataset
    paper = load_protocol(folder / "paper.toml")
    attention, pruning = paper.methods["crayon-attention"], paper.methods["crayon-pruning"]
    assert PAPER[dataset] == (
        *(paper.original.epochs, paper.original.batch, paper.original.lr, paper.refine.epochs, paper.refine.lr),
        *(attention["alpha"], attention["beta"]),
        *(pruning["patches"], paper.oracle["simulated"]["patch_misses"]),
    )
    assert (paper.model.name, paper.model.weights, paper.model.maps) == ("resnet50", "imagenet", "logit")
    assert pruning["epochs"] == 10
    assert paper.refine.batch == paper.original.batch
    assert paper.refine.weight_decay == paper.original.weight_decay == 1e-4
    assert (paper.original.reduction, paper.refine.reduction) == ("mean", "sum")

    final = load_protocol(folder / "paper-final.toml")
    shared = final.methods["crayon-attention"]
    assert FINAL[dataset] == (
        *(final.refine.epochs, final.refine.lr),
        *(shared["alpha"], shared["beta"], shared["normalise"]),
    )
    assert shared["share"]
    assert final.original == paper.original
    assert final.refine.reduction == "sum"


@pytest.mark.parametrize("dataset", PAPER)
@pytest.mark.parametrize("name", ["paper", "paper-final", "quick"])
def test_every_parameter_of_the_built_in_protocols_is_known(cli, dataset, name):
    sets = ["--set", "model.weights=none"] if name != "quick" else []
    told = cli(
        "run", "--dataset", dataset, "--source", "standin", "--protocol", name, "--methods", "all", *sets, "--dry-run"
    )
    assert told.code == 0, told.err


def test_a_protocols_note_about_its_oracle_is_gone_when_the_oracle_is_set_otherwise():
    def notes(*sets):
        options = Options(
            datasets=["celeba"], methods=["original"], seeds=[0], protocol="paper", source=Source.STANDIN,
            sets=["model.weights=none", *sets],
        )  # fmt: skip
        return [note for request in make_plan(options, Registry()).requests for note in request.notes]

    assert [note for note in notes() if "the authors released" in note]
    assert not [note for note in notes("oracle.shares=none") if "the authors released" in note]
