"""Waterbirds: sets that the test builds from a small CUB and a few places, as folders and as archives."""

import csv
import io
import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import SHARED
from crayon_bench.data.fetching import prepare
from crayon_bench.data.importing import import_files
from crayon_bench.data.trees.opening import open_tree
from crayon_bench.dataset import Source
from crayon_bench.errors import UserError
from crayon_bench.feedback import FeedbackKind
from crayon_bench_plugins.datasets.waterbirds import metadata as metadata_module
from crayon_bench_plugins.datasets.waterbirds.build import build, compose
from crayon_bench_plugins.datasets.waterbirds.dataset import Waterbirds, WaterbirdsParameters
from crayon_bench_plugins.datasets.waterbirds.evidence import bird_mask
from crayon_bench_plugins.datasets.waterbirds.metadata import group_sizes, read_metadata
from crayon_bench_plugins.datasets.waterbirds.published import BUILD_NOTE, PICTURES, SEGMENTATIONS

SPECIES = ("001.Laysan_Albatross", "002.House_Sparrow", "003.Eastern_Towhee", "004.Arctic_Tern", "005.Rock_Wren")
"""By the published rule 1, 3 and 4 are waterbirds."""


def write_cub(root: Path, each: int = 24) -> Path:
    """Write a folder in CUB's format: *each* birds of a species, two thirds of them for training."""
    cub = root / "CUB_200_2011"
    cub.mkdir(parents=True)
    images, split, classes = [], [], []
    random = np.random.RandomState(3)
    for kind, species in enumerate(SPECIES):
        (cub / "images" / species).mkdir(parents=True)
        (root / "segmentations" / species).mkdir(parents=True)
        for i in range(each):
            number = len(images) + 1
            stem = f"{species.partition('.')[2]}_{i:04d}"
            images.append(f"{number} {species}/{stem}.jpg")
            split.append(f"{number} {int(i % 3 > 0)}")
            classes.append(f"{number} {kind + 1}")
            width, height = random.randint(60, 90, 2)
            mask = np.zeros((height, width), np.uint8)
            mask[20:40, 15:45] = 255
            mask[40:42, 15:45] = 102  # two of five annotators
            Image.fromarray(mask).save(root / "segmentations" / species / f"{stem}.png")
            bird = np.full((height, width, 3), (250, 0, 250), np.uint8)
            Image.fromarray(bird).save(cub / "images" / species / f"{stem}.jpg", quality=95)
    for name, lines in (("images", images), ("train_test_split", split), ("image_class_labels", classes)):
        (cub / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (cub / "classes.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(SPECIES, start=1)))
    return cub


def write_places(root: Path, number: int = 70) -> Path:
    """Write bamboo_forest and o/ocean: photographs where there are some, else green and blue pictures."""
    for folder, kind, colour in (("bamboo_forest", "forest", (20, 120, 20)), ("o/ocean", "sea", (20, 40, 180))):
        (root / folder).mkdir(parents=True)
        photographs = sorted((SHARED / "scenes" / kind).glob("*.jpg"))[:number]
        for path in photographs:
            shutil.copy(path, root / folder)
        for i in range(number - len(photographs)):
            Image.new("RGB", (100, 80 + i), colour).save(root / folder / f"{i:04d}.jpg")
    return root


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    return write_cub(folder / "cub"), write_places(folder / "places")


@pytest.fixture
def root(sources, tmp_path):
    """A root with a built set without its note: a set of unknown origin."""
    build(*sources, tmp_path / "root", 0, lambda text: None)
    (tmp_path / "root" / PICTURES.name / BUILD_NOTE).unlink()
    return tmp_path / "root"


def find(root: Path, *, strict: bool = False):
    return Waterbirds.find(root, Source.REAL, strict=strict)


def load(root: Path, **parameters):
    return Waterbirds(WaterbirdsParameters(**{"size": 48, **parameters})).load(find(root))


def metadata(root: Path) -> Path:
    return root / PICTURES.name / "metadata.csv"


def rows(root: Path) -> list[dict[str, str]]:
    with metadata(root).open() as stream:
        return list(csv.DictReader(stream))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---------------------------------------------------------------------------------------------------------------------
# building


def test_a_set_is_built_by_the_recipe(sources, tmp_path):
    said = []
    build(*sources, tmp_path / "a", 5, said.append)
    table = rows(tmp_path / "a")
    assert len(table) == 120
    assert [row["img_filename"] for row in table] == [
        line.split()[1] for line in (sources[0] / "images.txt").read_text().splitlines()
    ]
    split = np.array([int(row["split"]) for row in table])
    y, place = (np.array([int(row[key]) for row in table]) for key in ("y", "place"))
    assert [int((split == s).sum()) for s in range(3)] == [64, 16, 40]
    assert y.tolist() == np.repeat([1, 0, 1, 1, 0], 24).tolist()
    for number, bias in ((0, 0.95), (1, 0.5), (2, 0.5)):
        for label in (0, 1):
            here = (split == number) & (y == label)
            share = bias if label else 1 - bias
            assert int(place[here].sum()) == round(share * int(here.sum()))
    assert all(row["place_filename"].startswith(("/b/bamboo_forest/", "/o/ocean/")[int(row["place"])]) for row in table)
    assert len({row["place_filename"] for row in table}) == 120
    assert [line.partition(":")[0] for line in said] == ["training", "validation", "test"]
    assert json.loads((tmp_path / "a" / PICTURES.name / BUILD_NOTE).read_text())["seed"] == 5


def test_the_same_seed_gives_the_same_bytes(sources, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        build(*sources, tmp_path / name, seed, lambda text: None)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert metadata(tmp_path / "a").read_bytes() != metadata(tmp_path / "c").read_bytes()


def test_the_bird_is_on_the_place(sources, tmp_path):
    build(*sources, tmp_path / "a", 0, lambda text: None)
    for row in rows(tmp_path / "a")[::17]:
        picture = np.asarray(Image.open(tmp_path / "a" / PICTURES.name / row["img_filename"])).astype(int)
        original = Image.open(sources[0] / "images" / row["img_filename"])
        assert picture.shape[:2] == original.size[::-1]
        assert np.abs(picture[24:36, 19:41].mean((0, 1)) - (250, 0, 250)).max() < 8
        assert np.abs(picture[:16].mean((0, 1)) - (250, 0, 250)).max() > 40


def test_the_place_covers_and_is_cropped_at_its_centre():
    ramp = np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (50, 1, 3))
    result = np.asarray(compose(Image.new("RGB", (40, 40)), Image.new("L", (40, 40)), Image.fromarray(ramp)))
    assert result.shape == (40, 40, 3)
    assert abs(int(result[20, 0, 0]) - 75) <= 2
    assert abs(int(result[20, -1, 0]) - 124) <= 2
    half = compose(Image.new("RGB", (8, 8), "white"), Image.new("L", (8, 8), 51), Image.new("RGB", (99, 9), "black"))
    assert set(np.asarray(half).ravel()) == {51}


def test_few_places_are_used_again_and_it_is_said(sources, tmp_path):
    said = []
    build(sources[0], write_places(tmp_path / "few", 20), tmp_path / "a", 0, said.append)
    assert sum("used more than once" in line for line in said) == 2
    for place in "01":
        used = [row["place_filename"] for row in rows(tmp_path / "a") if row["place"] == place]
        assert len(set(used)) == 20
        assert max(used.count(name) for name in used) - min(used.count(name) for name in used) <= 1


@pytest.mark.parametrize("layout", ["ocean", "data_large/l/lake/natural", "lake/natural"])
def test_places_may_lie_in_several_ways(sources, tmp_path, layout):
    write_places(tmp_path / "p")
    (tmp_path / "p" / layout).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "p" / "o" / "ocean").rename(tmp_path / "p" / layout)
    build(sources[0], tmp_path / "p", tmp_path / "a", 0, lambda text: None)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda cub, places: shutil.rmtree(places / "o"), "no pictures of water"),
        (lambda cub, places: shutil.rmtree(cub.parent / "segmentations"), "segmentations in it or beside it"),
        (lambda cub, places: (cub / "images.txt").unlink(), "no images.txt"),
        (lambda cub, places: (cub / "classes.txt").write_text("1 other\n"), "is not its class"),
        (lambda cub, places: (cub / "train_test_split.txt").write_text("1 2\n"), "image 1 is not 0 or 1"),
        (lambda cub, places: (cub / "images.txt").write_text("1 ../../x.jpg\n"), "is not NUMBER.Species"),
        (lambda cub, places: (cub / "images.txt").write_text("1\n"), "line 1: two values expected"),
        (lambda cub, places: next((cub / "images").rglob("*.jpg")).unlink(), "missing, which"),
        (lambda cub, places: next((cub / "images").rglob("*.jpg")).write_bytes(b"x"), "not an image"),
        (lambda cub, places: [p.write_bytes(b"x") for p in (places / "o" / "ocean").iterdir()], "not an image"),
        (lambda cub, places: Image.new("L", (5, 5)).save(next(cub.parent.rglob("*.png"))), "its size is not"),
    ],
)
def test_a_wrong_input_is_one_line_and_leaves_nothing(tmp_path, spoil, message):
    cub, places = write_cub(tmp_path / "cub", 3), write_places(tmp_path / "places", 20)
    spoil(cub, places)
    with pytest.raises(UserError, match=message):
        build(cub, places, tmp_path / "out" / "a", 0, lambda text: None)
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_the_command_line_builds_what_it_then_uses(cli, sources, tmp_path):
    out = tmp_path / "birds"
    result = cli("data", "build", "waterbirds", "--cub", sources[0].parent, f"--places={sources[1]}", "--output", out)
    assert result.code == 0, result.err
    assert f"--data-root {out}" in result.out
    assert "UNVERIFIED" in cli("data", "list", "--data-root", out).out
    verify = cli("data", "verify", "waterbirds", "--data-root", out)
    assert verify.code == 1
    assert "made by crayon-bench data build (seed 0)" in verify.out
    result = cli("data", "show", "waterbirds", "--data-root", out, "--output", "birds.png", "--set", "dataset.size=32")
    assert result.code == 0, result.err
    before = contents(out)
    again = cli("data", "build", "waterbirds", "--cub", sources[0], "--places", sources[1], "--output", out)
    assert again.code == 2
    assert "nothing is overwritten" in again.err
    assert contents(out) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("decoymnist", "--cub", "."), "is not one that can be built"),
        (("waterbirds", "--cub", "."), "--places DIR (Places"),
        (("waterbirds", "--cub", ".", "--place", "."), "did you mean 'places'?"),
        (("waterbirds", "--cub", "."), "is missing"),
        (("waterbirds", "--places", ".", "--cub"), "--cub needs a folder"),
        (("waterbirds", "--places", ".", "--cub", "nowhere"), "--cub nowhere: there is no such folder"),
        (("waterbirds", "x"), "there is no option 'x'"),
    ],
)
def test_wrong_options_of_build_are_one_line(cli, arguments, message):
    result = cli("data", "build", *arguments, "--output", "out")
    assert result.code == 2
    assert message in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not Path("out").exists()


# ---------------------------------------------------------------------------------------------------------------------
# reading


def test_splits_and_groups_are_those_of_the_table(root):
    data, table = load(root), rows(root)
    for split, number in ((data.train, 0), (data.validation, 1), (data.test, 2)):
        mine = [row for row in table if row["split"] == str(number)]
        assert list(split.ids) == [row["img_filename"] for row in mine]
        assert split.labels.tolist() == [int(row["y"]) for row in mine]
        assert split.groups.tolist() == [2 * int(row["y"]) + int(row["place"]) for row in mine]
    assert data.train.images.shape == (64, 3, 48, 48)
    assert load(root, validation=False).validation is None
    for name, pixels in list(zip(data.test.ids, data.test.images, strict=True))[::7]:
        picture = Image.open(root / PICTURES.name / name).resize((48, 48), Image.Resampling.BILINEAR)
        assert (np.asarray(picture).transpose(2, 0, 1) == pixels).all()


def test_corrected_labels_make_the_three_species_landbirds(root):
    published, right = load(root), load(root, labels="corrected")
    towhee = np.array(["Towhee" in name for name in published.train.ids])
    assert published.train.labels[towhee].all()
    assert not right.train.labels[towhee].any()
    assert (right.train.groups[towhee] == published.train.groups[towhee] - 2).all()
    assert (right.train.labels[~towhee] == published.train.labels[~towhee]).all()
    assert right.train.labels[["Arctic_Tern" in name for name in right.train.ids]].all()


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_evidence_is_the_bird(root, split):
    data = load(root)
    evidence, ids = (data.evidence, data.train.ids) if split == "train" else (data.test_evidence, data.test.ids)
    some = np.array([5, 0, 0, 9 % len(ids)])
    masks, boxes = evidence.relevant_masks(some), evidence.boxes(some)
    assert (masks ^ evidence.irrelevant_masks(some)).all()
    for position, mask, (top, left, bottom, right) in zip(some, masks, boxes, strict=True):
        width, height = Image.open(root / PICTURES.name / ids[position]).size
        expected = np.array([20 / height, 15 / width, 40 / height, 45 / width]) * 48
        assert np.abs(np.array([top, left, bottom, right]) - expected).max() <= 0.5 + 1e-6
        assert mask.sum() == mask[top:bottom, left:right].sum()
        assert (bottom - top) * (right - left) - mask.sum() in range(5)  # less than half of a corner's area may be bird
    assert data.evidence.boxes(np.array([], np.int64)).shape == (0, 4)
    assert set(Waterbirds.evidence) == set(FeedbackKind)


def test_masks_at_the_edges():
    grey = np.zeros((40, 40), np.uint8)
    grey[10:20, 10:20] = 127
    assert bird_mask(grey, 40).sum() == 100  # no majority anywhere: the most that was seen
    grey[10:20, 10:20] = 128
    assert bird_mask(grey, 20).sum() == 25
    thin = np.zeros((40, 40), np.uint8)
    thin[7, :] = 255
    assert bird_mask(thin, 10).sum() == 10  # a quarter of each area, and yet the bird
    assert bird_mask(np.zeros((40, 40), np.uint8), 10).all()
    half = np.zeros((4, 4), np.uint8)
    half[:, 1:] = 255
    assert bird_mask(half, 2).tolist() == [[False, True]] * 2  # exactly half is not more than half
    assert bird_mask(np.full((3, 5), 255, np.uint8), 16).all()


@pytest.mark.parametrize(("size", "resize"), [(24, 32), (16, 32), (32, 32), (17, 32)])
def test_images_masks_and_boxes_are_of_the_square_in_the_middle(root, size, resize):
    random = np.random.RandomState(size)
    before = load(root)
    for split in (before.train, before.test):
        for name in split.ids[:3]:
            # Whole multiples, of which Pillow's box filter takes exact means.
            height, width = resize * random.randint(1, 5, 2)
            picture = random.randint(0, 256, (height, width, 3)).astype(np.uint8)
            Image.fromarray(picture).save(root / PICTURES.name / name, "PNG")
            mask = np.zeros((height, width), np.uint8)
            top, left = (random.random_sample(2) * (height, width) / 2).astype(int)
            mask[top : top + 2 * height // 3, left : left + 2 * width // 3] = random.choice([90, 255])
            Image.fromarray(mask).save((root / SEGMENTATIONS.name / name).with_suffix(".png"))
    data = load(root, size=size, resize=resize)
    start = round((resize - size) / 2)
    part = (start, start, start + size, start + size)
    for split, evidence in ((data.train, data.evidence), (data.test, data.test_evidence)):
        found, boxes = evidence.relevant_masks(np.arange(3)), evidence.boxes(np.arange(3))
        for i, name in enumerate(split.ids[:3]):
            picture = Image.open(root / PICTURES.name / name).resize((resize, resize), Image.Resampling.BILINEAR)
            assert (np.asarray(picture.crop(part)).transpose(2, 0, 1) == split.images[i]).all()
            grey = np.asarray(Image.open((root / SEGMENTATIONS.name / name).with_suffix(".png")))
            seen = Image.fromarray((grey > (127 if grey.max() == 255 else 45)).astype(np.float32))
            mask = np.asarray(seen.resize((resize, resize), Image.Resampling.BOX).crop(part)) > 0.5
            assert (found[i] == mask).all()
            down, across = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert boxes[i].tolist() == [down[0], across[0], down[-1] + 1, across[-1] + 1]


def test_a_bird_that_is_cut_off_altogether_is_told_and_claims_nothing(root):
    name = load(root).train.ids[2]
    file = root / "segmentations" / Path(name).with_suffix(".png")
    corner = np.zeros(Image.open(file).size[::-1], np.uint8)
    corner[:9, :9] = 255
    Image.fromarray(corner).save(file)
    assert not load(root).notes
    data = load(root, size=32, resize=48)
    assert [note for note in data.notes if note.startswith("1 of 64 masks of training images tell nothing")]
    assert data.evidence.relevant_masks(np.array([2])).all()
    assert data.evidence.boxes(np.array([2])).tolist() == [[0, 0, 32, 32]]


def test_without_resize_images_keys_and_kept_arrays_are_what_they_were(root, cli):
    assert "resize" not in WaterbirdsParameters().to_dict()
    assert WaterbirdsParameters(resize=256).to_dict()["resize"] == 256
    plain, same, cut = load(root), load(root, resize=48), load(root, resize=64)
    assert plain.train.images.filename == same.train.images.filename != cut.train.images.filename
    common = ("data", "show", "waterbirds", "--data-root", root, "--output", "birds.png", "--set", "dataset.size=64")
    small = cli(*common, "--set", "dataset.resize=48")
    assert (small.code, len(small.err.splitlines())) == (2, 1)
    assert "resize = 48: not below size, 64" in small.err
    drawn = cli("data", "show", "waterbirds", "--source", "standin", "--output", "a.png", "--set", "dataset.resize=64")
    assert (drawn.code, len(drawn.err.splitlines())) == (2, 1)
    assert "the stand-in's images are drawn at 56 pixels a side" in drawn.err


def test_a_black_segmentation_claims_nothing(root, capsys):
    name = load(root).train.ids[2]
    file = root / "segmentations" / Path(name).with_suffix(".png")
    Image.new("L", Image.open(file).size).save(file)
    data = load(root)
    assert any("masks of training images tell nothing" in note for note in data.notes)
    here = np.array([2])
    assert data.evidence.relevant_masks(here).all()
    assert not data.evidence.irrelevant_masks(here).any()
    assert data.evidence.boxes(here).tolist() == [[0, 0, 48, 48]]


def test_segmentations_with_a_palette_or_of_a_lossy_kind_show_the_same_bird(root):
    before = load(root).evidence.relevant_masks(np.arange(3))
    for position, name in enumerate(load(root).train.ids[:3]):
        file = (root / "segmentations" / name).with_suffix(".png")
        grey = Image.open(file)
        out = io.BytesIO()
        if position == 0:  # the brighter colour has the number 0
            bird = np.asarray(grey) > 127
            palette = Image.fromarray((~bird).astype(np.uint8))
            palette.putpalette([255, 255, 255, 0, 0, 0])
            palette.save(out, "PNG")
        else:
            grey.convert("RGB").save(out, "WEBP" if position == 1 else "JPEG", quality=80)
        file.write_bytes(out.getvalue())
    after = load(root).evidence.relevant_masks(np.arange(3))
    assert (after[0] == before[0]).all()
    assert (after != before).mean() < 0.01


def test_pixels_of_a_set_that_is_built_are_those_that_are_stored_and_images_read_from_it_are_upright(tmp_path, root):
    cub, places = write_cub(tmp_path / "cub", 3), write_places(tmp_path / "places", 20)
    for file in sorted((cub / "images").rglob("*.jpg")):
        Image.open(file).save(file, exif=turned_by(6), quality=95)
    build(cub, places, tmp_path / "out", 0, lambda text: None)  # the segmentations fit, which are of stored pixels
    name = load(root).test.ids[0]
    file = root / PICTURES.name / name
    before = load(root).test.images[0]
    Image.open(file).transpose(Image.Transpose.ROTATE_180).save(file, exif=turned_by(3), quality=95)
    assert np.abs(load(root).test.images[0].astype(int) - before).mean() < 4


def turned_by(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return exif.tobytes()


def pack(root: Path, target: Path, top: str = "") -> Path:
    target.mkdir(parents=True)
    for folder, archive in ((PICTURES.name, PICTURES.packed), (SEGMENTATIONS.name, SEGMENTATIONS.packed)):
        with tarfile.open(target / archive, "w:gz") as bundle:
            bundle.add(root / folder, f"{top}{folder}")
    return target


@pytest.mark.parametrize("top", ["", "data/"])
def test_archives_are_read_in_place(root, tmp_path, top):
    packed = pack(root, tmp_path / "packed" / "waterbirds", top).parent
    assert find(packed).content == find(root).content
    mine, theirs = load(packed), load(root)
    assert (mine.train.images == theirs.train.images).all()
    assert (mine.evidence.relevant_masks(np.arange(9)) == theirs.evidence.relevant_masks(np.arange(9))).all()
    assert sorted(p.name for p in packed.rglob("*")) == [
        "segmentations.tgz",
        "waterbird_complete95_forest2water2.tar.gz",
        "waterbirds",
    ]


def test_another_picture_or_mask_is_another_content(root):
    first = find(root).content
    name = next((root / "segmentations").rglob("*.png"))
    Image.new("L", (9, 9), 255).save(name)
    second = find(root).content
    shutil.copy(*list((root / PICTURES.name).rglob("*.jpg"))[:2])
    assert len({first, second, find(root).content}) == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("place,", "where,", "the column place is missing"),
        ("y,split", "y,y", "the column y is there twice"),
        ("\n3,", "\nthree,", "line 4: img_id is 'three', expected a whole number"),
        ("\n3,", "\n2,", "line 4: img_id 2 is in line 3 already"),
        ("Albatross_0002.jpg,1", "Albatross_0002.jpg,2", "line 4: y is '2', expected 0 or 1"),
        ("Albatross_0002.jpg,1,", "Albatross_0002.jpg,1,7", "line 4: split is '7"),
        ("Albatross_0002.jpg", "Albatross_0001.jpg", "line 4: img_filename"),
        (
            "001.Laysan_Albatross/Laysan_Albatross_0002.jpg",
            "../x.jpg",
            "line 4: img_filename '../x.jpg' is no path inside",
        ),
        ("001.Laysan_Albatross/Laysan_Albatross_0002.jpg", "/etc/x.jpg", "is no path inside"),
        ("Albatross_0002.jpg", "Albatross_9.jpg", "Albatross_9.jpg is missing, of metadata.csv line 4"),
        ("Albatross_0002.jpg", 'Albatross_"0002.jpg', "Albatross"),
        ("img_id", "\xff", "column img_id is missing"),
    ],
)
def test_a_malformed_table_is_one_line_that_names_the_line(root, old, new, message):
    text = metadata(root).read_text()
    assert old in text
    metadata(root).write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as error:
        find(root)
    assert message in str(error.value)
    assert str(root) in str(error.value)


def test_missing_parts_say_where_to_get_them(root):
    broken = load(root).train.ids[1]
    file = root / PICTURES.name / broken
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"broken image.*fetch") as error:
        load(root)
    assert f"{broken} (metadata.csv, line" in str(error.value)
    file.write_bytes(whole)
    mask = root / "segmentations" / Path(broken).with_suffix(".png")
    mask.unlink()
    with pytest.raises(UserError, match=r"is missing, of metadata.csv line \d+ — get the segmentations from CUB"):
        find(root)
    shutil.rmtree(root / "segmentations")
    with pytest.raises(
        UserError, match=r"segmentations.tgz \(or the folder segmentations\) is missing — add it, from CUB"
    ):
        find(root)
    metadata(root).unlink()
    shutil.rmtree(root / PICTURES.name)
    with pytest.raises(UserError, match="no Waterbirds files found"):
        find(root)
    assert Waterbirds.find(root, Source.AUTO, strict=True).source is Source.STANDIN


def test_a_set_with_other_counts_is_named_and_refused_in_the_managed_folder(root, monkeypatch):
    found = find(root)
    assert not found.verified
    assert any("images by group training" in note and "(published 3498/184/56/1057)" in note for note in found.notes)
    with pytest.raises(UserError, match="--accept-unverified"):
        find(root, strict=True)
    declare_published(root, monkeypatch)
    assert find(root, strict=True).verified
    (root / PICTURES.name / BUILD_NOTE).write_text('{"seed": 3}')
    assert find(root).notes == (
        "UNVERIFIED data: not the published set, but one made by crayon-bench data build (seed 3)",
    )


def declare_published(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(metadata_module, "PUBLISHED", group_sizes(read_metadata(open_tree(root / PICTURES.name, ""))))
    monkeypatch.setattr(Waterbirds, "files", (replace(PICTURES, urls=()), replace(SEGMENTATIONS, members=120, urls=())))


def test_prepare_judges_the_archive_without_a_checksum_by_its_table(root, tmp_path, server, monkeypatch):
    import hashlib

    declare_published(root, monkeypatch)
    packed = pack(root, tmp_path / "packed")
    sha256 = hashlib.sha256((packed / SEGMENTATIONS.packed).read_bytes()).hexdigest()
    monkeypatch.setattr(Waterbirds, "files", (Waterbirds.files[0], replace(Waterbirds.files[1], packed_sha256=sha256)))
    other = tmp_path / "other"
    shutil.copytree(packed, other)
    with tarfile.open(other / PICTURES.packed, "w:gz") as bundle:
        info = tarfile.TarInfo(f"{PICTURES.name}/metadata.csv")
        content = "".join(metadata(root).read_text().splitlines(keepends=True)[:-1]).encode()
        info.size = len(content)
        bundle.addfile(info, io.BytesIO(content))
    target, said = tmp_path / "target", []
    with pytest.raises(UserError, match="not the published set: images by group"):
        prepare(Waterbirds, target, [server(other)], said.append)
    assert not list((target / "waterbirds").iterdir())
    prepare(Waterbirds, target, [server(packed)], said.append)
    assert find(target, strict=True).verified
    prepare(Waterbirds, target, [], said.append)
    assert sum("there already" in line for line in said) == 2


def test_import_takes_archives_and_folders(root, tmp_path):
    packed = pack(root, tmp_path / "packed")
    for source, number in ((root, 2), (packed, 2)):
        target = tmp_path / f"to-{source.name}"
        with pytest.raises(UserError, match="--accept-unverified"):
            import_files(Waterbirds, source, target, accept_unverified=False, say=str)
        import_files(Waterbirds, source, target, accept_unverified=True, say=str)
        found = find(target, strict=True)
        assert found.content == find(root).content
        assert len(found.notes) == number
    shutil.copy(*list((tmp_path / "to-root" / "waterbirds" / PICTURES.name).rglob("*.jpg"))[:2])
    with pytest.raises(UserError, match="UNVERIFIED data"):  # not what was accepted any more
        find(tmp_path / "to-root", strict=True)


@pytest.mark.parametrize("form", ["terminal", "json"])
def test_verify_lists_every_broken_image_and_segmentation(cli, root, form):
    images = [row["img_filename"] for row in rows(root)]
    masks = [str(Path(name).with_suffix(".png")) for name in images]
    (root / PICTURES.name / images[0]).write_bytes(b"%PDF-1.7\n")
    (root / PICTURES.name / images[-1]).unlink()
    (root / "segmentations" / masks[1]).write_bytes(b"")
    (root / "segmentations" / masks[2]).unlink()
    result = cli("data", "verify", "waterbirds", "--data-root", root, "--format", form)
    assert result.code == 2
    assert len([line for line in result.err.splitlines() if line.startswith("Error: ")]) == 1
    broken = {images[0]: "a PDF", images[-1]: "is missing", masks[1]: "an empty file", masks[2]: "is missing"}
    if form == "json":
        found = [(one["file"], one["problem"]) for one in json.loads(result.out)["broken"]]
    else:
        *lines, count = result.out.splitlines()
        assert count == "4 files cannot be read, as listed."
        found = list(zip(broken, lines, strict=True))
    for (name, problem), (wanted, what) in zip(found, broken.items(), strict=True):
        assert name == wanted
        assert name in problem
        assert what in problem
        assert "metadata.csv" in problem


def test_verify_reads_what_nothing_says_is_missing(cli, root):
    mask = root / "segmentations" / Path(rows(root)[5]["img_filename"]).with_suffix(".png")
    mask.write_bytes(mask.read_bytes()[:50])
    result = cli("data", "verify", "waterbirds", "--data-root", root)
    assert result.code == 2
    assert f"{mask.name} (metadata.csv, line" in result.err
