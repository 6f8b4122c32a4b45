"""Hard cases through the whole runner with the small CNN: dead maps and neurons, missing and one-sided answers."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from crayon_bench.networks.convnets import ConvNet
from crayon_bench.networks.specification import CNNSpec
from crayon_bench_leaderboards.remarks import warned
from crayon_bench_leaderboards.table import Warned

PLUGIN = """
import numpy as np
from pydantic import Field
from crayon_bench import (
    Dataset, Evidence, FeedbackKind, FeedbackOracle, Found, LoadedData, Parameters, Source, Split, Verdict
)
from crayon_bench.oracle import Boxes, Masks, Verdicts

class Left(Evidence):
    def __init__(self, empty):
        self.empty = empty
    def relevant_masks(self, examples):
        masks = np.zeros((len(examples), 24, 16), bool)
        masks[:, 4:16, :8] = True
        masks[examples < self.empty] = False
        return masks
    def irrelevant_masks(self, examples):
        return ~self.relevant_masks(examples)
    def boxes(self, examples):
        return np.array([[0, 0, 0, 0] if n < self.empty else [4, 0, 16, 8] for n in examples], np.int64)

class Size(Parameters):
    each: int = Field(default=6, description="images of a group")
    black: int = Field(default=0, description="images that are black")
    empty: int = Field(default=0, description="images of which nothing is relevant")

class Tiny(Dataset):
    name, title, summary = "tiny", "Tiny", "for a test"
    image_shape, classes = (3, 24, 16), 2
    evidence = dict.fromkeys(FeedbackKind, "")
    Parameters = Size

    @classmethod
    def find(cls, root, source, *, strict):
        return Found(Source.STANDIN, "v1", "made in a test")

    def load(self, found):
        def split(name, each, seed):
            groups = np.repeat(np.arange(4), each)
            images = np.random.RandomState(seed).randint(0, 256, (len(groups), 3, 24, 16)).astype(np.uint8)
            images[groups % 2 == 1, :, 4:16, :8] //= 4
            return Split(images, groups % 2, groups, [f"{name}{i}" for i in range(len(groups))])
        train = split("a", self.parameters.each, 0)
        train.images[: self.parameters.black] = 0
        return LoadedData(train, split("b", 5, 1), ("no", "yes"), ("g0", "g1", "g2", "g3"), Left(self.parameters.empty))

class How(Parameters):
    mode: str = "half"

class Fixed(FeedbackOracle):
    name, title, summary = "fixed", "fixed", "for a test"
    Parameters = How

    def answered(self, examples):
        if self.parameters.mode == "one":
            return examples == 3
        return np.full(len(examples), self.parameters.mode != "nobody")

    def judge_maps(self, examples, maps, evidence):
        mode = self.parameters.mode
        values = np.where(examples % 2 == 0, Verdict.YES, Verdict.NO)
        if mode == "maybe":
            values[:] = Verdict.MAYBE
        if mode == "one class":  # images 6 to 11 and 18 to 23 are of class 1
            values = np.where(examples // 6 % 2 == 1, Verdict.YES, Verdict.MAYBE)
        return Verdicts(np.where(self.answered(examples), values, Verdict.UNASKED).astype(np.int8))

    def judge_neurons(self, patches, evidence):
        mode, neurons = self.parameters.mode, patches.neurons
        values = np.where(neurons % 2 == 0, Verdict.YES, Verdict.NO)
        if mode == "maybe":
            values[:] = Verdict.MAYBE
        if mode == "none relevant":
            values[:] = Verdict.NO
        values = np.where(mode == "nobody", Verdict.UNASKED, values)
        return Verdicts(values.astype(np.int8))

    def relevant_masks(self, examples, evidence):
        return Masks(evidence.relevant_masks(examples), self.answered(examples))

    def irrelevant_masks(self, examples, evidence):
        return Masks(evidence.irrelevant_masks(examples), self.answered(examples))

    def boxes(self, examples, evidence):
        return Boxes(evidence.boxes(examples), self.answered(examples))
"""

PROTOCOL = """
schema = 1
name = "p"
dataset = "tiny"
[model]
name = "small-cnn"
weights = "none"
[original]
epochs = {epochs}
batch = 5
lr = 1e-3
[refine]
epochs = 2
batch = 5
lr = 1e-3
[methods.crayon-attention]
alpha = 10.0
beta = 10.0
"""


@pytest.fixture
def run(cli, tmp_path):
    """Return a function that runs all methods and returns their records, after what holds for every case."""
    (tmp_path / "tiny.py").write_text(PLUGIN)

    def call(mode: str | None = "half", *arguments: object, epochs: int = 2, **dataset: int):
        (tmp_path / "p.toml").write_text(PROTOCOL.format(epochs=epochs))
        sets = [f"dataset.{key}={value}" for key, value in dataset.items()]
        sets += [] if mode is None else [f"oracle.mode={mode}"]
        where = ["--dataset", "tiny", "--plugin", tmp_path / "tiny.py", "--protocol", tmp_path / "p.toml"]
        options = [word for text in sets for word in ("--set", text)]
        oracle = "simulated" if mode is None else "fixed"
        result = cli("run", *where, "--oracle", oracle, "--methods", "all", "--seeds", "1", *options, *arguments)
        assert result.code == 0, result.err
        assert "Warning" not in result.err  # of numpy and torch, one a step
        records = {}
        for folder in Path("crayon-runs/runs").iterdir():
            if folder.name.startswith("."):
                continue
            record = json.loads((folder / "record.json").read_text())
            assert record["status"] == "ok", (folder.name, record["reason"])
            assert "Warning" not in (folder / "log.txt").read_text()
            record["rows"] = pq.read_table(folder / "predictions.parquet").to_pydict()
            assert np.isfinite(record["rows"]["confidence"]).all()
            assert all(np.isfinite(metric["value"]) for metric in record["metrics"].values())
            name = record["coordinates"]["method"]["name"]
            records[name] = record
        assert len(records) == 10
        shown = " ".join(cli("leaderboard", "--explain").out.split())
        for record in records.values():  # each warning stands once under the table, with its count
            for what, times in record["warnings"].items():
                row = re.escape(record["title"]["method"]) + r"( \(batch=\d\))?"
                said = re.escape(warned(what, Warned(times, 1), 1))
                assert len(re.findall(f"{row}: {said}", shown)) == 1
        assert shown.count(": warning: ") == sum(len(record["warnings"]) for record in records.values())
        return records

    return call


def write_weights(file: str, off: slice) -> None:
    """Weights under which a black image gives zeros in eval mode, and channels *off* are off whatever they see."""
    body = ConvNet(CNNSpec(name="small-cnn", weights="none"), (3, 24, 16), 2, seed=0).body
    with torch.no_grad():
        body[-2].bias[off] = -1e6
    save_file({name: value.contiguous() for name, value in body.state_dict().items()}, file)


def warnings(records) -> dict[str, dict[str, int]]:
    """Those of each run, but for what the answers of so few images leak: that is in test_oracle_stats."""
    found = {}
    for name, record in records.items():
        found[name] = {what: n for what, n in record["warnings"].items() if not what.endswith("oracle stats")}
    return {name: told for name, told in found.items() if told}


def counts(records) -> dict[str, int]:
    return {name: record["feedback"]["total"] for name, record in records.items()}


UNIT = ("--weights", "weights.safetensors", "--set", "model.scaling=unit")
GRAD_CAM = ("crayon-attention", "crayon-attention-pruning", "rrr", "gradia", "energy", "res")
ORIGINAL, TRAINING = "dead maps of the original model", "dead maps in training"
NEURONS = "neurons that no training image activates, pruned unasked"
PLAIN = "no map was judged yes or no with a positive weight: this is plain training"
NO_RELEVANT = "no neuron was judged relevant: nothing was pruned"


def test_without_a_hard_case_nothing_is_warned_about(run):
    assert warnings(run()) == {}


def test_dead_maps_of_the_original(run):
    write_weights("weights.safetensors", slice(0))
    records = run("half", *UNIT, epochs=0, black=5)
    for name in ("crayon-attention", "crayon-attention-pruning", "gradia"):
        assert 5 <= records[name]["warnings"][ORIGINAL] < 24
    assert set(warnings(records)) <= set(GRAD_CAM)


def test_a_network_that_is_dead_as_a_whole(run):
    write_weights("weights.safetensors", slice(None))
    records = run("half", *UNIT)
    steered = ("crayon-attention", "crayon-attention-pruning")
    for name in set(GRAD_CAM) - set(steered):
        assert records[name]["warnings"][TRAINING] == 2 * 24  # epochs × images
    for name in steered:  # whatever was answered, there is nothing to keep in a dead map or to leave
        assert records[name]["warnings"][PLAIN] == 1
    for name in ("crayon-attention", "crayon-attention-pruning", "gradia"):
        assert records[name]["warnings"][ORIGINAL] == 24
    for name in ("crayon-pruning", "crayon-attention-pruning"):
        assert records[name]["warnings"][NEURONS] == 64
        assert records[name]["warnings"][NO_RELEVANT] == 1
    assert counts(records)["crayon-pruning"] == 0


def test_dead_neurons_are_pruned_unasked_and_not_counted(run):
    write_weights("weights.safetensors", slice(10, 17))
    records = run("half", *UNIT)
    shared = [load_file(path) for path in Path("crayon-runs/artifacts").glob("shared.*/tensors.safetensors")]
    (pooled,) = (tensors["pooled"] for tensors in shared if "pooled" in tensors)
    off = (pooled == 0).all(0)  # these, and perhaps a few that training has put out
    dead = int(off.sum())
    assert off[10:17].all()
    assert dead < 32
    for name in ("crayon-pruning", "crayon-attention-pruning"):
        assert records[name]["warnings"][NEURONS] == dead
    assert counts(records)["crayon-pruning"] == 64 - dead
    assert counts(records)["crayon-attention-pruning"] == 24 + 64 - dead
    assert records["random-pruning"]["feedback"]["lent"] == {"neuron_verdict": 64 - dead}


def test_a_class_without_yes(run):
    records = run("one class")
    assert warnings(records) == {}
    assert records["crayon-attention"]["feedback"]["verdicts"]["map_verdict"] == {"yes": 12, "no": 0, "maybe": 12}


def test_batches_without_feedback(run):
    records = run("one")
    assert warnings(records) == {}
    expected = {"original": 0, "train-more": 0, "random-pruning": 0, "crayon-pruning": 64}
    assert {name: number for name, number in counts(records).items() if name in expected} == expected
    assert counts(records)["crayon-attention"] == counts(records)["rrr"] == counts(records)["energy"] == 1
    assert counts(records)["res"] == 2
    for name in ("crayon-attention", "rrr", "energy", "res"):  # the one answer has an effect
        assert records[name]["rows"]["confidence"] != records["train-more"]["rows"]["confidence"]


@pytest.mark.parametrize(("mode", "asked"), [("maybe", 24), ("nobody", 0)])
def test_answers_that_say_nothing_are_plain_training(run, mode, asked):
    records = run(mode)
    plain = ["crayon-attention", "crayon-attention-pruning"]
    if mode == "nobody":
        plain += ["rrr", "energy", "res", "gradia"]
    assert warnings(records) == {name: {PLAIN: 1} for name in ("crayon-attention", "crayon-attention-pruning")}
    assert counts(records)["crayon-attention"] == asked
    for name in plain:
        assert records[name]["rows"]["predicted"] == records["train-more"]["rows"]["predicted"]
        assert np.allclose(records[name]["rows"]["confidence"], records["train-more"]["rows"]["confidence"], atol=1e-6)


def test_no_neuron_is_relevant(run):
    records = run("none relevant")
    assert warnings(records) == {name: {NO_RELEVANT: 1} for name in ("crayon-pruning", "crayon-attention-pruning")}


@pytest.mark.parametrize("batch", [5, 3, 1])
def test_one_image_per_group(run, batch):
    """Four images in batches of five, of three (the last one joins them) and of one (the last two are joined)."""
    records = run("half", "--set", f"original.batch={batch}", "--set", f"refine.batch={batch}", each=1)
    assert counts(records)["crayon-attention"] == counts(records)["rrr"] == counts(records)["energy"] == 4
    assert counts(records)["res"] == 8


def test_images_of_which_nothing_is_relevant(run):
    """Asked through the built-in oracle, which judges their maps no; an empty box holds nothing."""
    records = run(None, empty=3)
    assert set(warnings(records)) <= {"crayon-pruning", "crayon-attention-pruning"}  # that no neuron is relevant
    told = records["crayon-attention"]["feedback"]["verdicts"]["map_verdict"]
    assert told["no"] >= 3
    assert sum(told.values()) == counts(records)["rrr"] == counts(records)["energy"] == 24
    assert counts(records)["res"] == 48
