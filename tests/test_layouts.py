"""The data sets in the layouts that Kaggle, WILDS and others give them, and advice where they lie elsewhere."""

import gzip
import re
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from conftest import write_mnist
from crayon_bench.data.files import locate
from crayon_bench.dataset import Dataset, LoadedData, Source
from crayon_bench.errors import UserError
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench_plugins.datasets.celeba.dataset import CelebA
from crayon_bench_plugins.datasets.celeba.draw import CelebAParameters
from crayon_bench_plugins.datasets.celeba.published import ATTRIBUTES, IMAGES, PARTITION
from crayon_bench_plugins.datasets.decoymnist import DecoyMNIST, DecoyParameters
from crayon_bench_plugins.datasets.waterbirds.build import build
from crayon_bench_plugins.datasets.waterbirds.dataset import Waterbirds, WaterbirdsParameters
from crayon_bench_plugins.datasets.waterbirds.published import BUILD_NOTE, PICTURES, SEGMENTATIONS
from test_celeba import SMALL, write_celeba
from test_waterbirds import write_cub, write_places

PARAMETERS = {
    CelebA: CelebAParameters(**SMALL),
    DecoyMNIST: DecoyParameters(),
    Waterbirds: WaterbirdsParameters(size=32),
}


def find(dataset: type[Dataset], root: Path):
    return dataset.find(root, Source.REAL, strict=False)


def load(dataset: type[Dataset], root: Path) -> LoadedData:
    return dataset(PARAMETERS[dataset]).load(find(dataset, root))


def expect_same(first: LoadedData, second: LoadedData) -> None:
    for name in ("train", "test"):
        one, two = getattr(first, name), getattr(second, name)
        assert one.ids == two.ids
        for values in ("images", "labels", "groups"):
            assert np.array_equal(getattr(one, values), getattr(two, values))


# ---------------------------------------------------------------------------------------------------------------------
# CelebA


@pytest.fixture
def faces(tmp_path) -> Path:
    write_celeba(tmp_path / "faces")
    return tmp_path / "faces"


def to_csv(folder: Path, no: str = "-1") -> None:
    """Write the two texts as Kaggle has them, and the files beside them that are not read."""
    names, *rows = (folder / ATTRIBUTES.name).read_text().split("\n")[1:-1]
    lines = [["image_id", *names.split()], *(row.split() for row in rows)]
    text = "\n".join(",".join([cells[0], *(no if cell == "-1" else cell for cell in cells[1:])]) for cells in lines)
    (folder / "list_attr_celeba.csv").write_text(text + "\n")
    parts = (folder / PARTITION.name).read_text().replace(" ", ",")
    (folder / "list_eval_partition.csv").write_text(f"image_id,partition\n{parts}")
    (folder / "list_landmarks_align_celeba.csv").write_text("image_id,lefteye_x\n000001.jpg,69\n")
    for file in (ATTRIBUTES, PARTITION):
        (folder / file.name).unlink()


@pytest.mark.parametrize("no", ["-1", "0"])
@pytest.mark.parametrize("nested", [False, True])
def test_kaggles_celeba(cli, faces, tmp_path, no, nested):
    official = load(CelebA, faces)
    to_csv(faces, no)
    if nested:
        (faces / IMAGES.name).rename(tmp_path / "inner")
        (faces / IMAGES.name).mkdir()
        (tmp_path / "inner").rename(faces / IMAGES.name / IMAGES.name)
    expect_same(load(CelebA, faces), official)
    found = find(CelebA, faces)
    assert not found.verified
    assert any("list_attr_celeba.csv is not the published file" in note for note in found.notes)
    refused = cli("data", "import", "celeba", faces)
    assert refused.code == 2
    assert "--accept-unverified" in refused.err
    imported = cli("data", "import", "celeba", faces, "--accept-unverified")
    assert imported.code == 0, imported.err
    where = Path(cli("data", "where", "celeba").out.strip())
    assert {path.name for path in where.iterdir()} == {
        "img_align_celeba", "list_attr_celeba.csv", "list_eval_partition.csv", "accepted-unverified.json"
    }  # fmt: skip
    expect_same(CelebA(PARAMETERS[CelebA]).load(CelebA.find(where.parent, Source.REAL, strict=True)), official)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("list_attr_celeba.csv", r"000003.jpg,-1,(-?)1", r"000003.jpg,-1,0", "line 4: values are neither all 1 and -1 nor"),
        ("list_attr_celeba.csv", "000003.jpg,-1", "000003.jpg", "line 4: 4 values instead of 5"),
        ("list_attr_celeba.csv", "Smiling", "Grinning", "must name the attribute Smiling once"),
        ("list_attr_celeba.csv", "000003", '"000003', "line "),
        ("list_eval_partition.csv", r"000003.jpg,\d", "000003.jpg,3", "line 4: expected an image's name and 0, 1 or 2"),
        ("list_eval_partition.csv", "000003", "900003", "000003.jpg is missing, which list_attr_celeba.csv lists"),
    ],
)  # fmt: skip
def test_a_malformed_csv_is_one_line(faces, file, old, new, message):
    to_csv(faces)
    text, changes = re.subn(old, new, (faces / file).read_text(), count=1)
    assert changes == 1
    (faces / file).write_text(text)
    with pytest.raises(UserError) as error:
        find(CelebA, faces)
    assert message in str(error.value)
    assert str(faces / file) in str(error.value)


def test_values_of_two_kinds_are_refused_wherever_they_stand(faces):
    path = faces / ATTRIBUTES.name
    lines = path.read_text().split("\n")
    lines[-20:] = [line.replace("-1", " 0") for line in lines[-20:]]
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match="neither all 1 and -1 nor all 1 and 0"):
        find(CelebA, faces)


def test_the_advice_for_a_nested_folder_is_not_to_fetch_it_again(faces, tmp_path):
    (faces / IMAGES.name).rename(tmp_path / "images")
    (faces / IMAGES.name).mkdir()
    (tmp_path / "images").rename(faces / IMAGES.name / "images")
    with pytest.raises(UserError) as error:
        find(CelebA, faces)
    assert str(error.value).endswith(
        "it lies in images there: move the images from that folder to img_align_celeba itself"
    )
    shutil.rmtree(faces / IMAGES.name)
    (faces / IMAGES.name).mkdir()
    with pytest.raises(UserError, match="fetch the images again"):
        find(CelebA, faces)


def test_an_archive_of_all_is_to_be_unpacked(cli, faces, tmp_path):
    to_csv(faces)
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as bundle:
        for path in faces.rglob("*"):
            bundle.write(path, path.relative_to(faces))
    result = cli("data", "import", "celeba", tmp_path / "archive.zip", "--accept-unverified")
    assert result.code == 2
    assert "nothing was imported; unpack it, and import the folder that comes out" in result.err


# ---------------------------------------------------------------------------------------------------------------------
# Waterbirds


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Not to be changed."""
    folder = tmp_path_factory.mktemp("birds")
    build(write_cub(folder / "cub", each=6), write_places(folder / "places", 20), folder / "root", 0, lambda text: None)
    (folder / "root" / PICTURES.name / BUILD_NOTE).unlink()
    return folder / "root"


@pytest.mark.parametrize("packed", [False, True])
def test_waterbirds_of_wilds(built, tmp_path, packed):
    root = tmp_path / "data"
    shutil.copytree(built, root)
    (root / PICTURES.name).rename(root / "waterbirds_v1.0")
    (root / "waterbirds_v1.0" / "RELEASE_v1.0.txt").write_text("")
    if packed:
        with tarfile.open(root / "waterbirds_v1.0.tar.gz", "w:gz") as bundle:
            bundle.add(root / "waterbirds_v1.0", "waterbirds_v1.0")
        shutil.rmtree(root / "waterbirds_v1.0")
    assert find(Waterbirds, root).content == find(Waterbirds, built).content
    expect_same(load(Waterbirds, root), load(Waterbirds, built))
    if not packed:
        with pytest.raises(UserError, match=re.escape(f"name the folder that it is in: --data-root {root}")):
            find(Waterbirds, root / "waterbirds_v1.0")


def test_waterbirds_in_one_folder_more(built, tmp_path):
    inner = tmp_path / "data" / PICTURES.name / PICTURES.name
    shutil.copytree(built / PICTURES.name, inner)
    shutil.copytree(built / SEGMENTATIONS.name, tmp_path / "data" / SEGMENTATIONS.name)
    assert find(Waterbirds, tmp_path / "data").content == find(Waterbirds, built).content
    inner.rename(inner.with_name("pictures"))
    with pytest.raises(UserError, match=f"lies in pictures there: move what is in that folder up to {PICTURES.name}"):
        find(Waterbirds, tmp_path / "data")


# ---------------------------------------------------------------------------------------------------------------------
# MNIST

DOTTED = {file.name: file.name.replace("-idx", ".idx") for file in DecoyMNIST.files}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
def test_mnist_under_other_names_and_in_folders_of_its_own(cli, tmp_path, packed, own, dotted):
    write_mnist(tmp_path / "official" / "mnist", test=50)
    root = tmp_path / "data"
    for file in DecoyMNIST.files:
        name = DOTTED[file.name] if dotted else file.name
        content = gzip.decompress((tmp_path / "official" / "mnist" / file.packed).read_bytes())
        path = root / name / name if own else root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.with_name(f"{name}.gz") if packed else path).write_bytes(gzip.compress(content) if packed else content)
    found = find(DecoyMNIST, root)
    assert found.content == find(DecoyMNIST, tmp_path / "official").content
    assert found.where == str(root)
    assert cli("data", "where", "decoymnist", "--data-root", root).out == f"{root}\n"
    expect_same(load(DecoyMNIST, root), load(DecoyMNIST, tmp_path / "official"))
    first = locate(DecoyMNIST, root)[DecoyMNIST.files[0].name]
    for source in (root, first, first.parent):
        result = cli("data", "import", "decoymnist", source, "--accept-unverified")
        if own and source == first:  # one of the files names its folder, which holds no other
            assert "is not in it" in result.err
            continue
        assert result.code == 0, result.err
        where = Path(cli("data", "where", "decoymnist").out.strip())
        assert find(DecoyMNIST, where).content == found.content
        shutil.rmtree(where)


# ---------------------------------------------------------------------------------------------------------------------
# files that lie elsewhere


def test_files_that_lie_deeper_are_pointed_at(cli, tmp_path):
    write_mnist(tmp_path / "data" / "downloads" / "archive", test=50)
    there = tmp_path / "data" / "downloads" / "archive"
    advice = f"its files are in {there}: --data-root {there}"
    with pytest.raises(UserError, match=re.escape(advice)):
        find(DecoyMNIST, tmp_path / "data")
    run = ["run", "--dataset", "decoymnist", "--methods", "original", "--dry-run", "--data-root"]
    standin = cli(*run, tmp_path / "data")
    assert "STAND-IN" in standin.err
    assert advice in standin.err
    assert advice in cli("data", "verify", "decoymnist", "--data-root", tmp_path / "data").err
    assert "its files are in" not in cli(*run, there).err
    assert cli(*run, there, "--source", "real").code == 0
    (tmp_path / "data" / "mnist").mkdir()
    shutil.copy(there / DecoyMNIST.files[0].packed, tmp_path / "data" / "mnist")
    incomplete = cli(*run, tmp_path / "data")
    assert "incomplete" in incomplete.err


def test_every_built_in_data_set_brings_its_protocols():
    for name in ("celeba", "waterbirds", "decoymnist", "folder"):
        folder = Registry().load(Kind.DATASET, name).protocols()
        assert folder is not None
        assert (folder / "quick.toml").is_file()
