"""Which output of a model from ``--weights`` is which class: told by the user, said by the file, or assumed and said."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from crayon_bench.networks.convnets import ConvNet
from crayon_bench.networks.specification import CNNSpec
from crayon_bench.store.records import Record
from crayon_bench.texts import in_order

LABELS = [str(number) for number in range(12)]
AS_TEXT = sorted(LABELS)
"""As torchvision's ImageFolder has them: 0, 1, 10, 11, 2 …"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["10", "2", "1", "2"], ["1", "2", "10"]),
        (["1", "0", "-1"], ["-1", "0", "1"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["1.5", "10", "9"], ["1.5", "10", "9"]),
        (["01", "1", "0"], ["0", "01", "1"]),
        (["²", "10", "9"], ["10", "9", "²"]),
        (["b", "a"], ["a", "b"]),
    ],
)
def test_names_that_are_all_whole_numbers_are_ordered_as_numbers(given, expected):
    assert in_order(given) == expected


@pytest.fixture
def twelve(tmp_path) -> Path:
    """Images of noise with the labels 0 to 11, each once for training and three times for the test."""
    rng = np.random.RandomState(5)
    folder = tmp_path / "twelve"
    folder.mkdir()
    rows = [("path", "label", "split")]
    for split, each in (("train", 1), ("test", 3)):
        for number in range(12 * each):
            ground = rng.randint(0, 256, 3)
            pixels = np.clip(ground + rng.randint(-60, 60, (16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{split}-{number}.png")
            rows.append((f"{split}-{number}.png", str(number % 12), split))
    with (folder / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def pixels_of(folder: Path, names: list[str]) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.array(Image.open(folder / name)) for name in names]).transpose(0, 3, 1, 2))


@pytest.fixture
def model(twelve) -> ConvNet:
    """A network that predicts many of the twelve outputs."""
    net = ConvNet(CNNSpec(name="small-cnn", weights="none"), (3, 16, 16), 12, seed=3).eval()
    with torch.no_grad():
        A = net.features(pixels_of(twelve, [f"test-{n}.png" for n in range(36)])).mean((-2, -1))
        net.head.weight.copy_(
            torch.randn(12, 64, generator=torch.Generator().manual_seed(1)) / A.std(0).clamp(min=1e-3)
        )
        net.head.bias.copy_(-(net.head.weight @ A.mean(0)))
    return net


def save(model: ConvNet, file: Path, **metadata: str) -> None:
    tensors = {name.removeprefix("body."): value for name, value in model.state_dict().items() if name != "kept"}
    if file.suffix == ".pth":
        torch.save(tensors, file)
    else:
        save_file({name: value.contiguous() for name, value in tensors.items()}, file, {"scaling": "unit", **metadata})


@pytest.fixture
def run(cli, twelve, tmp_path):
    """Return a function that runs the original model alone."""

    def call(file: str, *sets: str, dry: bool = False):
        arguments = ["--dataset", f"folder:{twelve}", "--protocol", "quick", "--methods", "original", "--seeds", "1"]
        arguments += ["--set", "model.name=small-cnn", "--set", "dataset.size=16", "--set", "model.scaling=unit"]
        arguments += ["--set", "dataset.validation=false"]
        for one in sets:
            arguments += ["--set", one]
        arguments += ["--dry-run"] if dry else []
        return cli("run", *arguments, "--weights", tmp_path / file, "--store", tmp_path / "store")

    return call


def record_in(store: Path) -> Record:
    (file,) = store.glob("runs/[!.]*/record.json")
    return Record.model_validate_json(file.read_text())


ASSUMED = (
    "its outputs are taken in the order of the labels: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11; the file does not say"
)


@pytest.mark.parametrize(
    ("order", "file", "metadata", "told"),
    [
        (LABELS, "m.pth", {}, None),
        (LABELS, "m.safetensors", {}, None),
        (AS_TEXT, "m.safetensors", {"classes": json.dumps(AS_TEXT)}, None),
        (AS_TEXT, "m.pth", {}, json.dumps(AS_TEXT)),
        (AS_TEXT, "m.pth", {}, str([int(name) for name in AS_TEXT])),
        (AS_TEXT, "m.pth", {}, "\n".join(AS_TEXT) + "\n"),
        (AS_TEXT, "m.pth", {}, {"classes.json": AS_TEXT}),
        (AS_TEXT, "m.pth", {}, {"class_to_idx.json": {name: n for n, name in enumerate(AS_TEXT)}}),
        (AS_TEXT, "m.pth", {}, {"id2label.json": {str(n): name for n, name in enumerate(AS_TEXT)}}),
        (AS_TEXT, "m.safetensors", {"classes": json.dumps([f"c{n}" for n in range(12)])}, json.dumps(AS_TEXT)),
    ],
)  # fmt: skip
def test_every_output_is_taken_for_its_class(run, twelve, model, tmp_path, order, file, metadata, told):
    save(model, tmp_path / file, **metadata)
    sets = []
    if isinstance(told, dict):
        ((name, content),) = told.items()
        (tmp_path / name).write_text(json.dumps(content))
        sets = [f"model.classes={tmp_path / name}"]
    elif told is not None and "\n" in told:
        (tmp_path / "classes.txt").write_text(told)
        sets = [f"model.classes={tmp_path / 'classes.txt'}"]
    elif told is not None:
        sets = [f"model.classes={told}"]
    result = run(file, *sets)
    assert result.code == 0, result.err
    record = record_in(tmp_path / "store")
    table = pq.read_table(tmp_path / "store" / "runs" / record.folder / "predictions.parquet").to_pydict()
    with torch.no_grad():
        outputs = model(pixels_of(twelve, table["example"])).argmax(-1).tolist()
    assert len(set(outputs)) > 5  # else it would show little
    assert [LABELS[label] for label in table["predicted"]] == [order[output] for output in outputs]
    assumed = told is None and not metadata
    assert any(ASSUMED in note for note in record.notes) is assumed
    assert (ASSUMED in " ".join(result.out.split())) is assumed  # under the table


def test_of_two_classes_the_assumed_order_is_told_before_the_run_alone(run, twelve, tmp_path):
    text = (twelve / "metadata.csv").read_text().splitlines()
    rows = [line for line in text if line.split(",")[1] in ("label", "0", "1")]
    (twelve / "metadata.csv").write_text("\n".join(rows))
    save(ConvNet(CNNSpec(name="small-cnn", weights="none"), (3, 16, 16), 2, seed=3), tmp_path / "m.pth")
    result = run("m.pth")
    assert "in the order of the labels: 0, 1; the file does not say" in result.err
    assert "the file does not say" not in result.out


WRONG = {
    "no file": ("nowhere.txt", "'nowhere.txt': there is no such file"),
    "too few": ('["0", "1"]', "2 names, and the data have 12 classes"),
    "strange": (json.dumps([*LABELS[:-1], "twelve"]), "'twelve' is no label of the data, and '11' is not in it"),
    "twice": (json.dumps([*LABELS[:-1], "0"]), "'0' is in it twice"),
    "empty name": (json.dumps([*LABELS[:-1], " "]), "a name is empty"),
    "no list": ("{a = 1}", "model.classes"),
    "numbers that leave one out": ({"a": 0, "b": 2}, "its numbers are not 0 to 1"),
    "lists in a list": ([["a"], ["b"]], "a class is no text"),
    "cut off": ('["0", ', "neither a list nor an object"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_order_that_cannot_be_is_one_line(run, model, tmp_path, case):
    given, message = WRONG[case]
    save(model, tmp_path / "m.pth")
    if not isinstance(given, str) or case == "cut off":
        (tmp_path / "classes.json").write_text(given if isinstance(given, str) else json.dumps(given))
        given = str(tmp_path / "classes.json")
    result = run("m.pth", f"model.classes={given}", dry=True)
    assert result.code == 2, result.out
    assert message in result.err
    assert len([line for line in result.err.splitlines() if line.startswith("Error")]) == 1


def test_an_order_that_contradicts_the_file_or_has_no_outputs_is_refused(run, model, tmp_path, cli, twelve):
    save(model, tmp_path / "m.safetensors", classes=json.dumps(LABELS))
    told = f"model.classes={json.dumps(AS_TEXT)}"
    assert "the file says that its outputs are 0, 1, 2" in run("m.safetensors", told, dry=True).err
    assert "model.head = new leaves its outputs out" in run("m.safetensors", told, "model.head=new", dry=True).err
    body = {name: value for name, value in model.state_dict().items() if name.startswith("body.")}
    torch.save(body, tmp_path / "body.pth")
    assert "no classifier of these 12 classes: it has no last layer" in run("body.pth", told, dry=True).err
    without = ["--dataset", f"folder:{twelve}", "--protocol", "quick", "--methods", "original", "--dry-run"]
    assert "there is no --weights FILE" in cli("run", *without, "--set", told).err


def test_what_was_told_is_part_of_the_key_and_what_is_assumed_is_not(run, model, tmp_path):
    save(model, tmp_path / "m.pth")

    def keys(*sets: str) -> set[str]:
        return {line.split()[4] for line in run("m.pth", *sets, dry=True).out.splitlines() if line.startswith("folder")}

    told = [keys(f"model.classes={json.dumps(order)}") for order in (AS_TEXT, LABELS)]
    assert len(keys().union(*told)) == 3
