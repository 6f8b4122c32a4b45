"""Where a model looks in test images: against loops written down plainly, on data of every kind, and on no others."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import TINY
from crayon_bench import Attention, MetricError, Predictions, load_model
from crayon_bench.errors import GuardError
from crayon_bench.guard import method_running
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.runs.loading import load_data
from crayon_bench.runs.plan import Options, make_plan
from test_folder import draw, read, write

NAMES = ("energy_pointing_game", "pointing_game", "attention_iou", "dead_maps")
FACES = ("dataset.majority=20", "dataset.minority=4", "dataset.test=4", "dataset.validation=4")


def metric(name):
    return Registry().load(Kind.METRIC, name)()


def predictions(maps, masks) -> Predictions:
    n = len(maps)
    nothing = np.zeros(n, np.int64)
    looks = Attention(np.asarray(maps, np.float32), lambda examples: masks[examples])
    return Predictions(nothing, nothing, nothing, np.ones((n, 1), np.float32), ("g",), attention=looks)


def brute_force(maps, masks):
    """Values of EPG, PG, IoU and dead maps, in percent, by loops over pixels; enlarged by torch in float64."""
    found = []
    for M, S in zip(maps, masks, strict=True):
        height, width = S.shape
        area = int(S.sum())
        if area in (0, height * width):
            continue
        big = torch.nn.functional.interpolate(
            torch.from_numpy(M.astype(np.float64))[None, None].clamp_min(0), size=(height, width), mode="bilinear"
        )[0, 0].tolist()
        pixels = [(r, c) for r in range(height) for c in range(width)]
        total = sum(big[r][c] for r, c in pixels)
        if total <= 0:
            found.append((0.0, 0.0, 0.0, 1.0))
            continue
        energy = sum(big[r][c] for r, c in pixels if S[r, c]) / total
        peak = max(big[r][c] for r, c in pixels)
        tied = [(r, c) for r, c in pixels if abs(big[r][c] - peak) < 1e-9 * peak]
        middle = [sum(p[k] for p in tied) / len(tied) for k in (0, 1)]
        row, column = min(tied, key=lambda p: (round((p[0] - middle[0]) ** 2 + (p[1] - middle[1]) ** 2, 6), p))
        order = sorted((big[r][c] for r, c in pixels), reverse=True)
        line = order[area - 1]
        above = [p for p in pixels if big[p[0]][p[1]] > line * (1 + 1e-9)]
        level = [p for p in pixels if abs(big[p[0]][p[1]] - line) <= 1e-9 * line]
        part = (area - len(above)) / len(level)
        taken = {**dict.fromkeys(above, 1.0), **dict.fromkeys(level, part)}
        both = sum(min(taken.get(p, 0.0), float(S[p])) for p in pixels)
        either = sum(max(taken.get(p, 0.0), float(S[p])) for p in pixels)
        found.append((energy, float(S[row, column]), both / either, 0.0))
    return 100 * np.mean(found, axis=0)


@pytest.mark.parametrize("seed", range(25))
def test_against_loops_over_pixels(seed):
    random = np.random.default_rng(seed)
    n, (h, w) = 12, random.integers(1, 6, 2)
    height, width = h * random.integers(1, 5) + random.integers(0, 3), w * random.integers(1, 5) + random.integers(0, 3)
    maps = random.random((n, h, w)) ** 3
    if seed % 2:
        maps = np.round(maps * 3)  # ties, and zeros
    maps[0] = 0
    masks = random.random((n, height, width)) < 0.3
    masks[1], masks[2] = False, True  # they tell nothing
    masks[0, 0, 0], masks[0, -1, -1] = True, height * width == 1
    given = predictions(maps, masks)
    expected = brute_force(maps.astype(np.float32), masks)
    assert [metric(name).compute(given) for name in NAMES] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("area", [1, 7, 20, 34])
def test_a_map_of_equal_values_has_what_is_called_chance(area):
    masks = np.zeros((3, 35), bool)
    for row in masks:
        row[np.random.default_rng(area).permutation(35)[:area]] = True
    given = predictions(np.ones((3, 5, 7)), masks.reshape(3, 5, 7))
    for name in ("energy_pointing_game", "attention_iou"):
        assert metric(name).compute(given) == pytest.approx(metric(name).chance(given), abs=1e-9)
    pointing = metric("pointing_game")
    assert pointing.chance(given) == pytest.approx(100 * area / 35)
    # A maximum at every place in turn is a hit as often as chance says.
    everywhere = predictions(np.eye(35).reshape(35, 5, 7), np.repeat(masks[:1], 35, 0).reshape(35, 5, 7))
    assert pointing.compute(everywhere) == pytest.approx(pointing.chance(everywhere))
    assert metric("dead_maps").chance(given) is None


def test_the_best_map_has_all_and_the_worst_nothing():
    masks = np.zeros((2, 6, 6), bool)
    masks[:, 1:4, 2:5] = True
    for maps, value in ((masks, 100.0), (~masks, 0.0)):
        assert [metric(name).compute(predictions(maps, masks)) for name in NAMES[:2]] == [value, value]
    assert metric("attention_iou").compute(predictions(masks, masks)) == 100.0
    assert metric("dead_maps").compute(predictions(masks * 0, masks)) == 100.0
    for name in NAMES[:3]:
        assert metric(name).compute(predictions(masks * 0, masks)) == 0.0


def test_no_number_is_made_up():
    nothing, whole = np.zeros((2, 4, 4), bool), np.ones((2, 4, 4), bool)
    for name in NAMES:
        for masks in (nothing, whole):
            with pytest.raises(MetricError, match="in no test image"):
                metric(name).compute(predictions(np.ones((2, 2, 2)), masks))
        broken = predictions(np.full((2, 2, 2), np.inf), np.eye(4, dtype=bool)[None].repeat(2, 0))
        with pytest.raises(MetricError, match="not all finite"):
            metric(name).compute(broken)
        assert not metric(name).applies(Predictions(*[np.zeros(0, np.int64)] * 3, np.zeros((0, 1), np.float32), ()))


def adjusted(right, total, training):
    groups = np.repeat(np.arange(len(total)), total)
    hits = np.concatenate([np.arange(n) < r for r, n in zip(right, total, strict=True)]).astype(bool)
    labels = np.zeros(len(groups), np.int64)
    names = tuple(f"g{i}" for i in range(len(total)))
    training = None if training is None else np.array(training)
    return metric("adjusted_accuracy").compute(
        Predictions(
            labels, np.where(hits, 0, 1), groups, np.ones((len(groups), 2), np.float32), names, training=training
        )
    )


@pytest.mark.parametrize("seed", range(10))
def test_adjusted_accuracy_is_that_of_a_test_split_with_the_training_splits_groups(seed):
    random = np.random.default_rng(seed)
    total = random.integers(1, 30, 5)
    right, training = (total * random.random(5)).astype(int), random.integers(1, 50, 5)
    drawn = [r / n for r, n, times in zip(right, total, training, strict=True) for _ in range(times)]
    assert adjusted(right, total, training) == pytest.approx(100 * sum(drawn) / len(drawn), abs=1e-9)


def test_the_example_of_the_foot_guns_page():
    assert adjusted([99, 80, 60, 95], [100] * 4, [3498, 184, 56, 1057]) == pytest.approx(96.9, abs=0.05)


def test_adjusted_accuracy_needs_every_group_that_is_in_training():
    assert adjusted([1, 0], [2, 0], [5, 0]) == 50.0
    with pytest.raises(MetricError, match="no test examples in group 'g1'"):
        adjusted([1, 0], [2, 0], [5, 1])
    with pytest.raises(MetricError, match="not known"):
        adjusted([1, 0], [2, 1], None)


# ---------------------------------------------------------------------------------------------------------------------
# runs


def run(cli, dataset, *sets, store="store", methods="original"):
    words = [word for text in ("original.epochs=1", "refine.epochs=1", *sets) for word in ("--set", text)]
    source = [] if ":" in str(dataset) else TINY[:2]
    done = cli(
        "run", "--dataset", dataset, *source, *words, "--methods", methods, "--seeds", "1", "--store", store,
        "--keep-models",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = [(file.parent, json.loads(file.read_text())) for file in Path(store).glob("runs/[!.]*/record.json")]
    return {record["coordinates"]["method"]["name"]: (folder, record) for folder, record in found}


def data_of(dataset, *sets):
    registry = Registry()
    options = Options(datasets=[dataset], methods=["original"], seeds=[0], source="standin", sets=sets)
    return load_data(make_plan(options, registry).requests[0], registry)


def test_digits_are_judged_by_the_square_that_holds_them(cli):
    folder, record = run(cli, "decoymnist")["original"]
    model, data = load_model(folder / "model.safetensors"), data_of("decoymnist")
    x = torch.from_numpy(data.test.images).float().requires_grad_()
    logits = model(x)
    logits.gather(1, torch.from_numpy(data.test.labels)[:, None]).sum().backward()
    maps = x.grad.abs().sum(1).numpy()
    square = np.zeros((len(maps), 28, 28), bool)
    square[:, 4:24, 4:24] = True
    expected = brute_force(maps, square)
    assert [record["metrics"][name]["value"] for name in NAMES] == pytest.approx(expected, abs=1e-3)
    assert record["metrics"]["pointing_game"]["chance"] == pytest.approx(100 * 400 / 784)
    own = {g["name"]: 100 * g["right"] / g["total"] for g in record["groups"] if g["total"]}
    share = np.bincount(data.train.labels) / len(data.train)
    weighted = sum(share[digit] * own[f"digit {digit}, grey {255 - 25 * digit}"] for digit in range(10))
    assert record["metrics"]["adjusted_accuracy"]["value"] == pytest.approx(weighted)


def test_drawn_faces_are_judged_by_the_masks_of_the_test_images(cli):
    _, record = run(cli, "celeba", *FACES)["original"]
    evidence = data_of("celeba", *FACES).test_evidence
    area = evidence.relevant_masks(np.arange(16)).mean((1, 2))
    chance = {name: record["metrics"][name]["chance"] for name in NAMES}
    assert chance["energy_pointing_game"] == chance["pointing_game"] == pytest.approx(100 * area.mean())
    assert chance["attention_iou"] == pytest.approx(100 * (area / (2 - area)).mean()) and chance["dead_maps"] is None
    with method_running(), pytest.raises(GuardError, match="evidence"):
        evidence.relevant_masks(np.arange(2))
    assert set(record["validation"]) >= {"adjusted_accuracy"} and not set(record["validation"]) & set(NAMES)


def test_they_are_columns_on_request_alone(cli):
    run(cli, "celeba", *FACES)
    plain = cli("leaderboard", "--store", "store", "--format", "markdown").out
    assert "EPG" not in plain and "AdjAcc" not in plain and "EPG" not in cli("runs", "list", "--store", "store").out
    asked = cli(
        "leaderboard", "--store", "store", "--format", "markdown", "--columns", "attention,adjusted_accuracy"
    ).out
    assert all(f"{short} (%)" in asked for short in ("EPG", "PG", "IoU", "Dead", "AdjAcc")) and "By chance" in asked
    table = json.loads(cli("leaderboard", "--store", "store", "--format", "json", "--columns", "adjusted").out)
    assert list(table["rows"][0]["metrics"]) == ["group_mean_accuracy", "worst_group_accuracy", "adjusted_accuracy"]
    (key,) = [json.loads(f.read_text())["key"] for f in Path("store").glob("runs/*/record.json")]
    assert "(chance 7.7" in cli("runs", "show", key, "--store", "store").out
    wrong = cli("leaderboard", "--store", "store", "--columns", "atention")
    assert (wrong.code, wrong.err) == (
        2,
        "Error: --columns atention: no run has such metrics — did you mean 'attention'?\n",
    )
    curve = cli("leaderboard", "--store", "store", "--columns", "attention", "--board", "curve")
    assert curve.code == 2 and "--board curve has one score" in curve.err


@pytest.mark.parametrize("what", ["masks", "boxes", "training masks alone"])
def test_ones_own_images_are_judged_where_every_test_image_has_a_mask_or_a_box(cli, tmp_path, what):
    root = draw(tmp_path / "few", {"train": 8, "val": 4, "test": 8})
    header, *rows = read(root)
    if what == "boxes":
        header.append("box")
        rows = [[*row[:4], "", "8 8 24 24"] for row in rows]
    elif what != "masks":
        rows = [row if row[2] == "train" else [*row[:4], ""] for row in rows]
    write(root, [header, *rows])
    _, record = run(cli, f"folder:{root}", "dataset.size=32", "model.name=small-cnn", "model.weights=none")["original"]
    if what == "training masks alone":
        assert not set(record["metrics"]) & set(NAMES) and record["attention"]
        return
    if what == "boxes":
        assert record["metrics"]["energy_pointing_game"]["chance"] == pytest.approx(25.0)
    assert 0 <= record["metrics"]["attention_iou"]["value"] <= 100


def test_a_broken_mask_of_a_test_image_is_told(cli, tmp_path):
    root = draw(tmp_path / "few", {"train": 8, "val": 4, "test": 8})
    (root / "masks" / "test-3.png").write_bytes(b"no picture")
    told = cli("data", "verify", f"folder:{root}")
    assert told.code and "masks/test-3.png" in told.out + told.err
    done = cli("run", "--dataset", f"folder:{root}", "--methods", "original", "--seeds", "1", "--protocol", "quick")
    assert done.code == 2 and "masks/test-3.png" in done.err


def test_csv_of_a_board_has_the_columns(cli):
    run(cli, "decoymnist")
    lines = list(
        csv.DictReader(
            cli("leaderboard", "--store", "store", "--format", "csv", "--columns", "attention").out.splitlines()
        )
    )
    assert float(lines[0]["energy_pointing_game_mean"]) > 0
