"""A folder of one's own images: metadata.csv, training, refining, export, and the exported weights in plain torchvision."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torchvision
from hypothesis import given, strategies as st
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from crayon_bench import load_model
from crayon_bench.dataset import Source
from crayon_bench.errors import UserError
from crayon_bench.feedback import FeedbackKind
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.store.records import Record
from crayon_bench_plugins.datasets.folder.dataset import Folder
from crayon_bench_plugins.datasets.folder.pixels import FolderParameters
from hostile import attempt, cases, examples, mutated, mutated_text, texts

HEADER = ("path", "label", "split", "attribute", "mask")
MASKED = {FeedbackKind.RELEVANT_MASK, FeedbackKind.IRRELEVANT_MASK}
VERDICTS = {FeedbackKind.MAP_VERDICT, FeedbackKind.NEURON_VERDICT}


def draw(folder: Path, sizes: dict[str, int], agree: float = 0.97, side: int = 32) -> Path:
    """Write striped balls, across or upright, on a ground whose colour gives the stripes away in training."""
    rng = np.random.RandomState(1)
    rows = []
    for split, number in sizes.items():
        for n in range(number):
            label = ("across", "upright")[n % 2]
            other = rng.rand() >= agree if split == "train" else n // 2 % 2
            ground = ("warm", "cool")[(n % 2) ^ int(other)]
            colour = tuple(
                int(c) for c in rng.randint(-25, 25, 3) + {"warm": (200, 120, 80), "cool": (80, 120, 200)}[ground]
            )
            image, mask = Image.new("RGB", (side, side), colour), Image.new("L", (side, side))
            left, top = rng.randint(0, side // 2, 2)
            ImageDraw.Draw(mask).ellipse((left, top, left + side // 2 - 1, top + side // 2 - 1), fill=255)
            stripes = Image.new("RGB", (side, side), (230, 230, 230))
            for at in range(int(rng.randint(0, 6)), side, 6):
                line = (0, at, side, at) if label == "across" else (at, 0, at, side)
                ImageDraw.Draw(stripes).line(line, fill=(60, 60, 60), width=2)
            image.paste(stripes, mask=mask)
            for name, picture in (("images", image), ("masks", mask)):
                (folder / name).mkdir(parents=True, exist_ok=True)
                picture.save(folder / name / f"{split}-{n}.png")
            rows.append((f"images/{split}-{n}.png", label, split, ground, f"masks/{split}-{n}.png"))
    write(folder, [HEADER, *rows])
    return folder


def write(folder: Path, rows: list[tuple[object, ...]]) -> None:
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def read(folder: Path) -> list[list[str]]:
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def find(root: Path):
    return Folder.find(root, Source.AUTO, strict=False)


def load(root: Path, **parameters: object):
    return Folder(FolderParameters(**{"size": 32, **parameters})).load(find(root))


def records(store: Path) -> dict[str, Record]:
    found = [Record.model_validate_json(file.read_text()) for file in store.glob("runs/[!.]*/record.json")]
    return {record.method: record for record in found}


RESNET = ["--protocol", "quick", "--set", "model.name=resnet18", "--set", "dataset.size=32", "--seeds", "1", "--quiet"]
ONCE = ["--set", "original.epochs=1", "--set", "refine.epochs=1"]


@pytest.fixture(scope="module")
def balls(tmp_path_factory) -> Path:
    """240 images; not to be changed."""
    return draw(tmp_path_factory.mktemp("data") / "balls", {"train": 120, "val": 20, "test": 100})


@pytest.fixture
def few(tmp_path) -> Path:
    return draw(tmp_path / "few", {"train": 8, "val": 4, "test": 8})


# ---------------------------------------------------------------------------------------------------------------------
# from images to exported weights


@pytest.mark.slow
def test_train_refine_export_and_reload_in_plain_torchvision(cli, balls, tmp_path):
    """Item 6 of what issue 5 asks to be shown."""
    store, output = tmp_path / "store", tmp_path / "refined.safetensors"
    arguments = ["--dataset", f"folder:{balls}", *RESNET, "--set", "original.epochs=3", "--set", "refine.epochs=3"]
    arguments += ["--store", store]
    result = cli("run", *arguments, "--methods", "crayon-attention", "--keep-models")
    assert result.code == 0, result.err
    assert "balls (real data), protocol quick, 1 seed" in result.out
    run = records(store)["crayon-attention"]
    assert run.feedback.by_kind == {"map_verdict": 120}
    assert cli("runs", "export", run.folder, "--store", store, "--output", output).code == 0

    # The card's own code, on every test image.
    card = output.with_suffix(".md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", card, re.S)[1]
    assert "crayon_bench" not in code
    table = pq.read_table(store / "runs" / run.folder / "predictions.parquet").to_pydict()
    model = torchvision.models.resnet18(num_classes=2)
    model.load_state_dict(load_file(output))
    model.eval()
    for number, (name, predicted, confidence) in enumerate(
        zip(table["example"], table["predicted"], table["confidence"], strict=True)
    ):
        pixels = torch.from_numpy(np.array(Image.open(balls / name))).permute(2, 0, 1)
        with torch.no_grad():
            p = model(pixels[None] / 255).softmax(-1)[0]
        assert int(p.argmax()) == predicted
        assert float(p[predicted]) == pytest.approx(confidence, abs=1e-4)
        if number < 3:
            shutil.copy(balls / name, "image.png")
            shutil.copy(output, "refined.safetensors")
            said: list[str] = []
            exec(code, {"print": said.append})
            assert said == [("across", "upright")[predicted]]
    assert len(set(table["predicted"])) == 2  # or else it would show nothing

    right = sum(a == b for a, b in zip(table["label"], table["predicted"], strict=True))
    assert f"| all | {right} of 100 | {right:.2f} % |" in card
    for expected in ("CRAYON-Attention on folder ", "120 map\\_verdict", "simulated: yes\\_above", "| seed | 0 |"):
        assert expected.replace("\\_", "_") in card.replace("\\_", "_")
    assert "STAND-IN" not in card

    # Fed back, the exported model is the original one: nothing is trained, and it predicts the same.
    again = cli("run", *arguments, "--methods", "original", "--weights", output)
    assert again.code == 0
    assert re.search(
        r"original model: the user's, refined.safetensors \(sha256 [0-9a-f]{12}…\), not trained", again.out
    )
    records_now = [r for r in store.glob("runs/*/record.json") if '"head": true' in r.read_text()]
    assert len(records_now) == 1
    now = pq.read_table(records_now[0].with_name("predictions.parquet")).to_pydict()
    assert now["predicted"] == table["predicted"]
    assert now["confidence"] == pytest.approx(table["confidence"], abs=1e-5)


def test_the_shortcut_is_learned_and_mended(cli, balls, tmp_path):
    result = cli("run", "--dataset", f"folder:{balls}", "--protocol", "quick", "--set", "dataset.size=32", "--seeds", "1",
                 "--methods", "original,crayon-attention,energy", "--store", tmp_path / "s", "--quiet")  # fmt: skip
    assert result.code == 0, result.err
    wga = {name: r.metrics["worst_group_accuracy"].value for name, r in records(tmp_path / "s").items()}
    assert wga["original"] < 40
    assert wga["crayon-attention"] > wga["original"] + 20
    assert wga["energy"] > wga["original"] + 20


@pytest.mark.slow
def test_a_run_without_kept_weights_is_carried_out_again_for_its_export(cli, few, tmp_path, monkeypatch):
    store = tmp_path / "store"
    arguments = [
        "--dataset",
        f"folder:{few}",
        "--protocol",
        "quick",
        *ONCE,
        "--seeds",
        "1",
        "--store",
        store,
        "--quiet",
    ]
    assert cli("run", *arguments, "--methods", "crayon-pruning,gradia,rrr").code == 0
    run = records(store)["crayon-pruning"]
    before = sorted(path.name for path in (store / "runs").iterdir())

    def export(name: str, *more: object):
        return cli("runs", "export", run.key[:10], "--store", store, "--output", tmp_path / name, *more)

    assert "its data are a folder of your own — add --dataset folder:PATH" in export("a.safetensors").err
    remade = export("a.safetensors", "--dataset", f"folder:{few}")
    assert remade.code == 0, remade.err
    assert "it is carried out again" in remade.err
    assert sorted(path.name for path in (store / "runs").iterdir()) == before  # the store is not touched
    assert "is there already" in export("a.safetensors", "--dataset", f"folder:{few}").err

    # What --keep-models keeps is the same file, byte for byte, whoever carries the run out.
    more = ["--methods", "crayon-pruning", "--keep-models", "--executor", "processes", "--workers", "1"]
    assert cli("run", *arguments, *more).code == 0
    assert (store / "runs" / run.folder / "model.safetensors").read_bytes() == (tmp_path / "a.safetensors").read_bytes()
    assert export("b.safetensors").code == 0
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "a.safetensors").read_bytes()
    assert export("b.safetensors", "--force").code == 0
    assert cli("run", *arguments, *more, "--dry-run").out.count("in the store: ok") == 1
    assert "model.safetensors" in (store / "runs" / run.folder / "SHA256SUMS").read_text()
    assert cli("runs", "prune", "--yes", "--store", store).code == 0
    assert export("c.safetensors").code == 0

    # Pruned channels are zero columns, and crayon-bench loads what torchvision has not.
    model = load_model(tmp_path / "a.safetensors")
    assert run.feedback.verdicts["neuron_verdict"].get("no", 0) > 0
    assert int((model.head.weight == 0).all(dim=0).sum()) >= run.feedback.verdicts["neuron_verdict"]["no"]
    table = pq.read_table(store / "runs" / run.folder / "predictions.parquet").to_pydict()
    images = np.stack([np.array(Image.open(few / name).resize((64, 64), 2)) for name in table["example"]])
    assert model(torch.from_numpy(images).permute(0, 3, 1, 2)).argmax(-1).tolist() == table["predicted"]

    # Damage, and data that are other data, are one line.
    (store / "runs" / run.folder / "model.safetensors").write_bytes(b"x" * 100)
    assert "damaged (model.safetensors: the checksum does not match)" in export("d.safetensors").err
    (store / "runs" / run.folder / "model.safetensors").unlink()
    rows = read(few)
    write(few, [*rows[:-1], [*rows[-1][:3], "cool" if rows[-1][3] == "warm" else "warm", rows[-1][4]]])
    monkeypatch.setattr("crayon_bench.runs.loading._loaded", None)  # as in a new process
    assert "the data changed after the plan was made" in export("d.safetensors", "--dataset", f"folder:{few}").err
    assert not (tmp_path / "d.safetensors").exists()
    assert not (tmp_path / "d.md").exists()


def test_a_model_that_does_not_come_out_the_same_is_not_exported(cli, few, tmp_path):
    store = tmp_path / "store"
    arguments = [
        "--dataset",
        f"folder:{few}",
        "--protocol",
        "quick",
        *ONCE,
        "--seeds",
        "1",
        "--store",
        store,
        "--quiet",
    ]
    assert cli("run", *arguments, "--methods", "train-more").code == 0
    run = records(store)["train-more"]
    folder = store / "runs" / run.folder
    table = pq.read_table(folder / "predictions.parquet")
    other = table.set_column(2, "predicted", [1 - table["predicted"].combine_chunks().to_numpy()])
    pq.write_table(other, folder / "predictions.parquet")
    (folder / "SHA256SUMS").unlink()
    result = cli("runs", "export", run.key, "--store", store, "--output", tmp_path / "m.safetensors",
                 "--dataset", f"folder:{few}")  # fmt: skip
    assert result.code == 2
    assert "8 of 8 predictions differ" in result.err
    assert not list(tmp_path.glob("m.*"))


def test_export_refuses_what_has_no_model(cli, few, tmp_path):
    store = tmp_path / "store"
    write(few, [row[:3] for row in read(few)])
    arguments = [
        "--dataset",
        f"folder:{few}",
        "--protocol",
        "quick",
        *ONCE,
        "--seeds",
        "1",
        "--store",
        store,
        "--quiet",
    ]
    assert cli("run", *arguments, "--methods", "original,rrr").code == 0
    run = records(store)["rrr"]
    result = cli("runs", "export", run.key, "--store", store, "--output", tmp_path / "m.safetensors")
    assert result.code == 2
    assert f"run {run.folder} skipped: metadata.csv has no masks — it has no refined model" in result.err
    assert (
        "expected a file NAME.safetensors" in cli("runs", "export", run.key, "--store", store, "--output", "m.pt").err
    )
    run = records(store)["original"]
    where = ["--store", store, "--output", tmp_path / "nowhere" / "m.safetensors", "--dataset", f"folder:{few}"]
    assert "cannot be written: No such file or directory" in cli("runs", "export", run.key, *where).err


def test_the_card_of_a_stand_in_says_so_and_every_seed_keeps_its_model(cli, tmp_path):
    arguments = ["--dataset", "decoymnist", "--source", "standin", *ONCE, "--methods", "train-more", "--keep-models"]
    assert cli("run", *arguments, "--seeds", "2", "--store", tmp_path / "s", "--quiet").code == 0
    kept = [Record.model_validate_json(f.read_text()) for f in tmp_path.glob("s/runs/*/record.json")]
    assert {record.seed for record in kept} == {0, 1}
    for record in kept:
        output = tmp_path / f"{record.seed}.safetensors"
        assert cli("runs", "export", record.folder, "--store", tmp_path / "s", "--output", output).code == 0
        card = output.with_suffix(".md").read_text()
        assert "> **STAND-IN.**" in card
        assert "from crayon_bench import load_model" in card
        assert load_model(output)(torch.zeros(1, 1, 28, 28, dtype=torch.uint8)).shape == (1, 10)
    assert (tmp_path / "0.safetensors").read_bytes() != (tmp_path / "1.safetensors").read_bytes()


# ---------------------------------------------------------------------------------------------------------------------
# --weights: whose original model


def whole(seed: int = 3, outputs: int = 2) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = torchvision.models.resnet18(num_classes=outputs).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # buffers as a trained network has them
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


def outputs_of(model: torch.nn.Module, few: Path, names: list[str]) -> list[int]:
    images = np.stack([np.array(Image.open(few / name)) for name in names])
    with torch.no_grad():
        return model(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).argmax(-1).tolist()


@pytest.mark.parametrize("said", [None, ["across", "upright"], ["upright", "across"]])
def test_a_whole_classifier_is_the_original_model(cli, few, tmp_path, said):
    model = whole()
    # Between the classes, so that both are predicted.
    names = [row[0] for row in read(few)[1:] if row[2] == "test"]
    images = torch.from_numpy(np.stack([np.array(Image.open(few / name)) for name in names])).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        logits = model(images)
        model.fc.bias += torch.tensor([0.0, float((logits[:, 0] - logits[:, 1]).quantile(0.5))])
    metadata = {"scaling": "unit", **({"classes": json.dumps(said)} if said else {})}
    save_file(model.state_dict(), tmp_path / "mine.safetensors", metadata)
    arguments = ["--dataset", f"folder:{few}", *RESNET[:-1], *ONCE, "--store", tmp_path / "s", "--methods", "original"]
    result = cli("run", *arguments, "--weights", tmp_path / "mine.safetensors")
    assert result.code == 0, result.err
    order = "the order of the labels: across, upright; the file does not say"
    assert (order if said is None else f"its outputs: {', '.join(said)}") in result.err
    run = records(tmp_path / "s")["original"]
    assert run.coordinates["weights"]["head"] is True
    assert any(note.startswith("original model: the user's, mine.safetensors (sha256 ") for note in run.notes)
    table = pq.read_table(tmp_path / "s" / "runs" / run.folder / "predictions.parquet").to_pydict()
    expected = outputs_of(model, few, table["example"])
    assert table["predicted"] == ([1 - p for p in expected] if said == ["upright", "across"] else expected)
    assert set(expected) == {0, 1}


@pytest.mark.slow
def test_what_is_no_classifier_of_these_classes_is_initial_weights(cli, few, tmp_path):
    arguments = ["--dataset", f"folder:{few}", *RESNET[:-1], "--methods", "original", "--dry-run", "--weights"]

    def plan(name: str, state, *more: str, **metadata: str):
        save_file(state, tmp_path / name, {"scaling": "unit", **metadata})
        return cli("run", *arguments, tmp_path / name, *more)

    fits = whole().state_dict()
    of_others = {"classes": json.dumps(["cat", "dog"])}
    body = {name: value for name, value in fits.items() if not name.startswith("fc.")}
    hidden = {**body, "fc.0.weight": torch.zeros(9, 512), "fc.2.weight": torch.zeros(2, 9)}
    for result, why in (
        (plan("a.safetensors", whole(outputs=1000).state_dict()), "its last layer is (1000, 512), not (2, 512)"),
        (plan("b.safetensors", body), "it has no last layer"),
        (plan("c.safetensors", hidden), "its last layer is not one linear layer, but fc.0.weight, fc.2.weight"),
        (plan("d.safetensors", fits, **of_others), "its classes are cat, dog"),
        (plan("e.safetensors", fits, "--set", "model.head=new"), "model.head = new"),
    ):
        assert result.code == 0, result.err
        assert "the last layer is new, and the original model is trained" in result.err
        assert why in result.err
    refused = plan("f.safetensors", body, "--set", "model.head=file")
    assert refused.code == 2
    assert "no classifier of these 2 classes: it has no last layer" in refused.err
    assert "classes = '[1, 1]'" in plan("g.safetensors", fits, classes="[1, 1]").err
    assert "fc.weight is not finite" in plan("h.safetensors", {**fits, "fc.weight": fits["fc.weight"] * torch.nan}).err
    del fits["bn1.running_mean"]
    assert "lacks bn1.running_mean" in plan("i.safetensors", fits).err


def test_keys_differ_by_whose_model_it_is_and_older_keys_stay(few, tmp_path):
    from crayon_bench.runs.plan import Options, make_plan

    save_file(whole().state_dict(), tmp_path / "w.safetensors", {"scaling": "unit"})

    def coordinates(*sets: str):
        options = Options(datasets=[f"folder:{few}"], methods=["original"], seeds=[0], protocol="quick",
                          sets=["model.name=resnet18", *sets], weights=tmp_path / "w.safetensors")  # fmt: skip
        return make_plan(options, Registry()).requests[0].coordinates

    own, new = coordinates(), coordinates("model.head=new")
    assert new["weights"].keys() == {"source", "sha256", "scaling"}
    assert own == {**new, "weights": {**new["weights"], "head": True}}


# ---------------------------------------------------------------------------------------------------------------------
# what is read


def test_splits_groups_masks_and_boxes(few):
    data = load(few)
    rows = [dict(zip(HEADER, row, strict=True)) for row in read(few)[1:]]
    assert data.class_names == ("across", "upright")
    assert data.group_names == ("across, cool", "across, warm", "upright, cool", "upright, warm")
    for split, name in ((data.train, "train"), (data.validation, "val"), (data.test, "test")):
        mine = [row for row in rows if row["split"] == name]
        assert list(split.ids) == [row["path"] for row in mine]
        names = [data.group_names[group] for group in split.groups]
        assert names == [f"{row['label']}, {row['attribute']}" for row in mine]
        for image, row in zip(split.images, mine, strict=True):
            assert np.array_equal(image, np.array(Image.open(few / row["path"])).transpose(2, 0, 1))
    every = np.arange(8)
    masks = np.stack([np.array(Image.open(few / row["mask"])) > 0 for row in rows if row["split"] == "train"])
    assert np.array_equal(data.evidence.relevant_masks(every), masks)
    assert np.array_equal(data.evidence.irrelevant_masks(every), ~masks)
    top, left, bottom, right = data.evidence.boxes(every)[3]
    assert (
        masks[3, top:bottom, left:right].sum() == masks[3].sum() == masks[3][masks[3].any(1)][:, masks[3].any(0)].sum()
    )
    assert find(few).unable == {}


def test_geometry_follows_the_images(few):
    """A white rectangle in an image of another aspect: its mask and its box end up where it does."""
    rows = []
    for name, split, label in (("a", "train", "x"), ("b", "train", "y"), ("c", "test", "x")):
        picture, mask = Image.new("L", (120, 60)), Image.new("1", (120, 60))
        for one in (picture, mask):
            ImageDraw.Draw(one).rectangle((50, 15, 79, 44), fill=255)
        picture.save(few / f"{name}.png")
        mask.save(few / f"{name}-mask.png")
        rows.append((f"{name}.png", label, split, f"{name}-mask.png", "15 50 45 80"))
    write(few, [("path", "label", "split", "mask", "box"), *rows])
    for parameters, box in (({}, (8, 13, 24, 22)), ({"fit": "crop"}, (8, 10, 24, 27)),
                            ({"fit": "crop", "short_side": 64}, (0, 5, 32, 32))):  # fmt: skip
        data = load(few, **parameters)
        assert data.train.images.shape == (2, 3, 32, 32)  # grey became RGB
        assert data.evidence.boxes(np.array([0])).tolist() == [list(box)]
        white = data.train.images[0, 0] > 127
        assert (white == data.evidence.relevant_masks(np.array([0]))[0]).mean() > 0.97  # a pixel is cut by the edge
    with pytest.raises(UserError, match="short_side = 32: only with"):
        from crayon_bench.parameters import validated

        validated(FolderParameters, {"size": 64, "fit": "crop", "short_side": 32}, "dataset")


def test_crop_is_torchvisions(few):
    from torchvision.transforms import v2

    picture = Image.fromarray(np.random.RandomState(0).randint(0, 255, (93, 57, 3), np.uint8))
    rows = read(few)
    picture.save(few / rows[1][0])
    write(few, [row[:4] for row in rows])
    theirs = v2.Compose([v2.Resize(40), v2.CenterCrop(32)])(picture)
    ours = load(few, fit="crop", short_side=40).train.images[0]
    assert np.array_equal(ours, np.array(theirs).transpose(2, 0, 1))


def test_masks_of_many_kinds(few):
    rows = read(few)
    solid = np.zeros((32, 32), np.uint8)
    solid[8:16, 8:24] = 1  # non-zero, and almost black
    made = {
        "L": Image.fromarray(solid),
        "1": Image.fromarray(solid * 255).convert("1"),
        "16": Image.fromarray(solid.astype(np.uint16)),
        "RGB": Image.merge("RGB", [Image.new("L", (32, 32)), Image.new("L", (32, 32)), Image.fromarray(solid)]),
        "RGBA": Image.merge(
            "RGBA", [Image.new("L", (32, 32))] * 2 + [Image.fromarray(solid), Image.new("L", (32, 32), 255)]
        ),
    }
    palette = Image.fromarray(1 - solid)  # the brighter colour has the number 0
    palette.putpalette([200, 200, 200, 9, 9, 9])
    made["P"] = palette
    thin = np.zeros((320, 320), np.uint8)
    thin[100, 50:250] = 255
    Image.new("RGB", (320, 320)).save(few / rows[8][0])
    made["empty"], made["thin"] = Image.new("L", (32, 32)), Image.fromarray(thin)
    for row, (name, mask) in zip(rows[1:9], made.items(), strict=True):
        mask.save(few / f"{name}.png")
        row[4] = f"{name}.png"
    write(few, rows)
    masks = load(few).evidence.relevant_masks(np.arange(8))
    for mask in masks[:6]:
        assert np.array_equal(mask, solid == 1)
    assert masks[6].all()  # nothing is known
    assert 15 <= masks[7].sum() <= 25
    assert masks[7][10, 5:25].all()


@pytest.mark.parametrize(
    ("columns", "unable"),
    [
        (("mask",), {}),
        ((), dict.fromkeys([*MASKED], "no masks") | dict.fromkeys([*VERDICTS], "no masks and no boxes") | {FeedbackKind.BOX: "no boxes"}),
        (("box",), dict.fromkeys(MASKED, "no masks")),
        (("some",), dict.fromkeys([*MASKED, *VERDICTS], "has masks for 1 of 8 training images") | {FeedbackKind.BOX: "no boxes"}),
    ],
)  # fmt: skip
def test_which_questions_the_folder_can_answer(few, columns, unable):
    rows = [(*row[:4], "1 2 30 31", row[4], row[4] if number == 1 else "") for number, row in enumerate(read(few))]
    at = {"box": 4, "mask": 5, "some": 6}
    header = ("path", "label", "split", "attribute", *("mask" if name == "some" else name for name in columns))
    write(few, [header, *((*row[:4], *(row[at[name]] for name in columns)) for row in rows[1:])])
    found = find(few)
    assert found.unable.keys() == unable.keys()
    for kind, why in unable.items():
        assert found.unable[kind].startswith("metadata.csv has ")
        assert found.unable[kind].endswith(why)
    evidence = load(few).evidence
    can = {FeedbackKind.RELEVANT_MASK: evidence.irrelevant_masks, FeedbackKind.BOX: evidence.boxes}
    for kind, ask in can.items():
        if kind not in unable:
            ask(np.arange(3))
    if columns == ("box",):
        assert evidence.boxes(np.array([2])).tolist() == [[1, 2, 30, 31]]
        assert evidence.relevant_masks(np.array([2])).sum() == 29 * 29
        assert evidence.has("relevant_masks") and not evidence.has("irrelevant_masks")


def test_without_attributes_tables_say_so_and_give_what_can_be(cli, few, tmp_path):
    write(few, [row[:3] for row in read(few)])
    arguments = ["--dataset", f"folder:{few}", "--protocol", "quick", *ONCE, "--seeds", "1", "--store", tmp_path / "s"]
    result = cli("run", *arguments, "--methods", "original,crayon-attention,train-more")
    assert result.code == 0, result.err
    lines = cli("leaderboard", "--explain", "--store", tmp_path / "s").out.splitlines()
    why = "metadata.csv has no attributes, and without them there are no groups"
    (original,) = [line for line in lines if line.startswith(" Original")]
    assert original.count("n/a") == 2
    assert sum(f"no WGA: {why}" in line for line in lines) == 1  # once, not for every row
    assert any("does not apply: metadata.csv has no masks and no boxes" in line for line in lines)
    run = records(tmp_path / "s")["original"]
    assert run.metrics["sample_accuracy"].value is not None
    assert run.metrics["worst_group_accuracy"].value is None
    assert run.metrics["worst_group_accuracy"].reason == why
    assert run.groups == []
    assert set(pq.read_table(tmp_path / "s" / "runs" / run.folder / "predictions.parquet")["group"].to_pylist()) == {
        None
    }
    selected = cli("run", *arguments, "--methods", "original", "--set", "protocol.selection=val_wga")
    assert selected.code == 2
    assert f"selection 'val_wga': {why}" in selected.err


def test_a_group_without_test_images_is_named_before_and_after(cli, few, tmp_path):
    rows = read(few)
    write(few, [row for row in rows if row[2] != "test" or row[1] == "across" or row[3] == "cool"])
    arguments = ["--dataset", f"folder:{few}", "--protocol", "quick", *ONCE, "--seeds", "1", "--store", tmp_path / "s"]
    result = cli("run", *arguments, "--methods", "original")
    assert "metadata.csv has no test images of the group 'upright, warm'" in result.err
    assert "no WGA: no test examples in group 'upright, warm'" in result.out


def test_test_images_among_the_training_images_are_noted(few):
    rows = read(few)
    shutil.copy(few / rows[1][0], few / rows[-1][0])
    assert f"1 of the test images are training images too, such as {rows[-1][0]}" in find(few).notes


def test_the_content_hash_is_of_what_is_read_and_of_nothing_else(few, tmp_path):
    first = find(few).content
    copied = shutil.copytree(few, tmp_path / "copy")
    rows = read(copied)
    (copied / "notes.txt").write_text("not read")
    write(copied, [(*HEADER, "photographer"), *((*row, "me") for row in rows[1:])])
    assert find(copied).content == first
    path = copied / rows[1][0]
    Image.new("RGB", (32, 32), (1, 2, 3)).save(path)
    second = find(copied).content
    assert second != first
    write(copied, [rows[0], *rows[2:], rows[1]])
    assert find(copied).content not in (first, second)  # the order of the images is that of their rows
    assert find(few).content == first


# ---------------------------------------------------------------------------------------------------------------------
# the command line


@pytest.mark.parametrize(
    ("dataset", "line"),
    [
        ("folder", "dataset 'folder' is a folder of your own, and none is named — write folder:PATH"),
        ("folder:", "dataset 'folder' is a folder of your own, and none is named"),
        ("folder:nowhere", "dataset folder:nowhere: there is no such folder"),
        ("folder:file", "dataset folder:file: not a folder"),
        (
            "folder:.",
            "there is no metadata.csv in it — its columns: path, label, split; optional: attribute, mask, box",
        ),
        ("decoymnist:.", "dataset decoymnist:.: 'decoymnist' takes no path — write decoymnist --data-root DIR"),
        ("foldr:.", "there is no dataset 'foldr' — did you mean 'folder'?"),
    ],
)
def test_names_and_paths(cli, dataset, line):
    Path("file").write_text("")
    verbs = [("run", "--dry-run", "--dataset"), ("oracle", "stats", "--dataset"), ("data", "show", "--output", "x.png"),
             ("data", "verify"), ("data", "where")]  # fmt: skip
    for verb in verbs:
        result = cli(*verb, dataset)
        if verb == ("data", "where") and dataset == "folder:.":
            assert result.out == ".\n"
            continue
        assert result.code == 2, (verb, result.out)
        assert line in result.err
        assert len(result.err.strip().splitlines()) == 1
    assert not Path("crayon-runs").exists() or not list(Path("crayon-runs/runs").iterdir())


def test_every_verb_takes_a_folder(cli, few, tmp_path):
    name = f"folder:{few}"
    assert "your own" in cli("data", "list").out
    assert cli("data", "where", name).out == f"{few}\n"
    verified = cli("data", "verify", name)
    assert verified.code == 0
    assert "8 training, 4 validation, 8 test images, all readable; classes: across, upright" in verified.out
    assert "few, real data" in cli("data", "show", name, "--output", tmp_path / "sheet.png").out
    assert Image.open(tmp_path / "sheet.png").width > 300
    assert "nothing to prepare" in cli("data", "prepare", "folder").err
    assert "has no stand-in" in cli("run", "--dataset", name, "--source", "standin", "--dry-run").err
    stats = cli("oracle", "stats", "--dataset", name, "--protocol", "quick", *ONCE, "--store", tmp_path / "s")
    assert stats.code == 0, stats.err
    assert "few, seed 0" in stats.out
    twice = cli(
        "run",
        "--dataset",
        f"{name},{name}/.",
        "--protocol",
        "quick",
        "--methods",
        "original",
        "--seeds",
        "1",
        "--dry-run",
    )
    assert "1 to do" in twice.out
    both = cli(
        "run",
        "--dataset",
        f"{name},decoymnist",
        "--methods",
        "original",
        "--protocol",
        "quick",
        "--source",
        "auto",
        "--dry-run",
    )
    assert both.code == 0, both.err


def test_the_default_protocol_is_one_of_the_folders_own(cli, few, monkeypatch, tmp_path):
    save_file(whole().state_dict(), tmp_path / "w.safetensors", {"scaling": "imagenet"})
    result = cli(
        "run", "--dataset", f"folder:{few}", "--weights", tmp_path / "w.safetensors", "--dry-run", "--seeds", "1"
    )
    assert result.code == 0, result.err
    assert "finetune" in result.out
    for name in Registry().names(Kind.DATASET):
        assert Registry().load(Kind.DATASET, name).default_protocol == ("finetune" if name == "folder" else "paper")


# ---------------------------------------------------------------------------------------------------------------------
# mistakes in metadata.csv

MISTAKES = {
    "no column": ("path,split", None, "line 1: the column label is missing — expected: path, label, split"),
    "semicolons": ("path;label;split", None, "line 2: one cell for 3 columns — the first line separates columns by semicolons"),
    "column twice": ("path,label,split,label", None, "line 1: the column label is there twice"),
    "split": (None, "x.png,across,training", "line 3: split is 'training' — did you mean 'train'?"),
    "validation": (None, "x.png,across,validation", "line 3: split is 'validation' — did you mean 'val'?"),
    "no label": (None, "x.png,,train", "line 3: label is empty"),
    "cells": (None, "x.png,across,train,warm,,too,many", "line 3: it has more cells than the first line"),
    "twice": (None, "./images/train-0.png,across,train,warm", "line 3: path images/train-0.png is in line 2 already"),
    "outside": (None, "../x.png,across,train,warm", "line 3: path '../x.png' leaves the folder"),
    "absolute": (None, "/etc/passwd,across,train,warm", "line 3: path '/etc/passwd' leaves the folder"),
    "drive": (None, "C:x.png,across,train,warm", "line 3: path 'C:x.png' leaves the folder"),
    "backslash": (None, "images\\x.png,across,train,warm", "has a backslash — write / between folders"),
    "mask outside": (None, "x.png,across,train,warm,a/../../x.png", "line 3: mask 'a/../../x.png' leaves the folder"),
    "missing image": (None, "images/none.png,across,train,warm", "line 3: path images/none.png: there is no such file"),
    "a folder": (None, "images,across,train,warm", "line 3: path images: there is no such file"),
    "missing mask": (None, "images/val-0.png,across,train,warm,masks/none.png", "mask masks/none.png: there is no such"),
    "unknown label": (None, "x.png,acros,test,warm", "line 3: no training image has the label 'acros' — did you mean 'across'"),
    "attribute": (None, "images/val-0.png,across,test,", "line 3: attribute is empty, and other images have one"),
    "quotes": (None, '"x.png,across,train', "save it as CSV"),
    "control": (None, "x.png,acr\x1boss,train,warm", "label is 'acr\\x1boss' — expected at most 100 plain characters"),
    "NUL": (None, "x\0.png,across,train,warm", "line 3"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_metadata_is_one_line_with_its_place(cli, few, name):
    header, row, message = MISTAKES[name]
    lines = ["path,label,split,attribute,mask", "images/train-0.png,across,train,warm", "images/train-1.png,upright,train,cool",
             "images/test-0.png,across,test,warm", "images/test-1.png,upright,test,cool"]  # fmt: skip
    if header:
        lines[0] = header
    if row:
        lines.insert(2, row)
    (few / "metadata.csv").write_text("\n".join(lines) + "\n")
    result = cli("run", "--dataset", f"folder:{few}", "--dry-run", "--protocol", "quick")
    assert result.code == 2
    (line,) = result.err.strip().splitlines()
    assert line.startswith(f"Error: {few / 'metadata.csv'}, line ")
    assert message in line


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "it has no rows with split train"),
        ([("a.png", "x", "train")], "it has no rows with split test"),
        ([("a.png", "x", "test")], "it has no rows with split train"),
        ([("a.png", "x", "train"), ("b.png", "x", "test")], "all training images have the label 'x' — two are needed"),
        ([(f"{n}.png", f"{n}", "train") for n in range(1001)] + [("b.png", "1", "test")], "1,001 labels"),
    ],
)
def test_rows_that_together_are_no_data_set(tmp_path, rows, message):
    write(tmp_path, [("path", "label", "split"), *rows])
    with pytest.raises(UserError, match=re.escape(message)):
        find(tmp_path)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("1 2 3", "box is '1 2 3' — expected four numbers, such as: top left bottom right"),
        ("1 2 3 nan", "expected four numbers"),
        ("-1 2 3 4", "the box '-1 2 3 4' leaves the image"),
        ("5 2 5 9", "the box '5 2 5 9' is empty"),
        ("0 0 33 32", "the box '0 0 33 32' leaves the image, which is 32 wide and 32 high"),
        ("0 0 32 32.5", "the box '0 0 32 32.5' has numbers that are not whole"),
    ],
)
def test_boxes_that_are_none(few, box, message):
    write(few, [("path", "label", "split", "box"), *((*row[:3], box) for row in read(few)[1:])])
    with pytest.raises(UserError, match=re.escape(message)) as error:
        load(few)
    assert f"{few / 'metadata.csv'}, line 2: " in str(error.value)


def test_images_and_masks_that_are_none(cli, few):
    path, mask = (few / name for name in read(few)[1][::4])
    right = path.read_bytes(), mask.read_bytes()

    def refused(file: Path, content: bytes) -> str:
        path.write_bytes(right[0]), mask.write_bytes(right[1])
        file.write_bytes(content)
        result = cli("data", "verify", f"folder:{few}")
        assert result.code == 2
        (line,) = [line for line in result.err.strip().splitlines() if line.startswith("Error")]
        assert line.startswith(f"Error: {few / 'metadata.csv'}, line 2: ")
        assert result.out == ""
        return line

    def saved(picture: Image.Image, form: str) -> bytes:
        out = io.BytesIO()
        picture.save(out, form)
        return out.getvalue()

    assert "not an image" in refused(path, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert "replace it, or take its line out of metadata.csv" in refused(path, right[0][:60])
    assert "33×32 pixels, its image 32×32" in refused(mask, saved(Image.new("L", (33, 32)), "PNG"))
    grey = Image.linear_gradient("L").resize((32, 32))
    assert "a mask with 7" in refused(mask, saved(grey, "JPEG"))
    assert "which is too long" in refused(path, saved(Image.new("1", (40_000, 1)), "PNG"))
    assert not list(Path().iterdir())


# ---------------------------------------------------------------------------------------------------------------------
# hostile files: see tests/hostile.py


@pytest.fixture(scope="module")
def eight(tmp_path_factory) -> Path:
    return draw(tmp_path_factory.mktemp("hostile") / "eight", {"train": 4, "test": 4}, side=16)


def check(kind: str, folder: Path, content: bytes) -> None:
    (folder / "metadata.csv").write_bytes(content)
    data = attempt(kind, lambda: load(folder, size=16))
    if data is not None:
        for split in (data.train, data.test):
            assert split.images.shape[1:] == (3, 16, 16)
            assert split.labels.max() < len(data.class_names)
            assert split.groups.max() < max(1, len(data.group_names))
        every = np.arange(len(data.train))
        for what in ("relevant_masks", "irrelevant_masks", "boxes"):
            if data.evidence.has(what):
                assert len(getattr(data.evidence, what)(every)) == len(every)


def base(folder: Path) -> str:
    paths = [f"images/{split}-{n}.png" for split in ("train", "test") for n in range(4)]
    rows = [
        f"{p},{'ab'[i % 2]},{p[7:-6]},{'cd'[i // 2 % 2]},{p.replace('images', 'masks')},1 2 {9 + i} 14"
        for i, p in enumerate(paths)
    ]
    return "\n".join(["path,label,split,attribute,mask,box", *rows]) + "\n"


def test_hostile_metadata(eight):
    for rng in cases("folder: metadata.csv", 800):
        check("folder: metadata.csv", eight, mutated_text(rng, base(eight)))


@examples(400)
@given(
    cells=st.lists(
        texts(["images/train-0.png", "images", "train", "a", "1 2 3 4", "masks/train-0.png"]), min_size=3, max_size=7
    )
)
def test_hostile_rows(eight, cells):
    out = io.StringIO(newline="")
    csv.writer(out).writerow(cells)
    check("folder: a row", eight, (base(eight) + out.getvalue()).encode("utf-8", "surrogatepass"))


def test_hostile_images_and_masks(eight):
    for which in ("images", "masks"):
        path = eight / which / "train-1.png"
        right = path.read_bytes()
        for rng in cases(f"folder: {which}", 200):
            path.write_bytes(mutated(rng, right))
            check(f"folder: {which}", eight, base(eight).encode())
        path.write_bytes(right)


def test_a_kept_list_of_checksums_that_is_damaged_is_made_again(few):
    from crayon_bench.data.roots import cache_root

    first = find(few).content
    (kept,) = (cache_root() / "folders").iterdir()
    for content in (b"", b"[]", b"{", b'{"a": 1}', b'{"images/train-0.png": [1, 2, "x"]}', b"[" * 5000):
        kept.write_bytes(content)
        assert find(few).content == first
