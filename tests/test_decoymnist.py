"""DecoyMNIST: the decoys, the files, the stand-in."""

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from conftest import idx, write_mnist
from crayon_bench.dataset import Source
from crayon_bench.errors import UserError
from crayon_bench_plugins.datasets.decoymnist import CORNERS, DecoyMNIST

FILES = [file.name for file in DecoyMNIST.files]


def load(root: Path, source: Source = Source.AUTO, **parameters):
    found = DecoyMNIST.find(root, source, strict=False)
    return found, DecoyMNIST(DecoyMNIST.Parameters(**parameters)).load(found)


def decoys(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corner and grey of each image's square; fails unless there is exactly one."""
    squares = np.stack([images[:, 0, t : t + 4, l : l + 4].reshape(len(images), 16) for t, l in CORNERS], 1)
    lit = squares.max(2) > 0
    assert (lit.sum(1) == 1).all()
    corner = lit.argmax(1)
    square = squares[np.arange(len(images)), corner]
    assert (square == square[:, :1]).all()
    return corner, square[:, 0].astype(int)


@pytest.mark.parametrize("source", [Source.REAL, Source.STANDIN])
def test_decoys_are_as_the_paper_describes(mnist, source):
    _, data = load(mnist, source)
    corner, grey = decoys(data.train.images)
    assert (grey == 255 - 25 * data.train.labels).all()
    test_corner, test_grey = decoys(data.test.images)
    digit_of_grey = (255 - test_grey) // 25
    assert set(test_grey) == {255 - 25 * digit for digit in range(10)}
    assert (data.test.groups == data.test.labels * 10 + digit_of_grey).all()
    assert (data.train.groups == data.train.labels * 11).all()
    n = len(data.test)
    agree = (digit_of_grey == data.test.labels).mean()  # right by chance: a tenth, within five standard errors
    assert abs(agree - 0.1) < 5 * np.sqrt(0.09 / n)
    for share in np.bincount(test_corner, minlength=4) / n:
        assert abs(share - 0.25) < 5 * np.sqrt(0.1875 / n)
    assert data.group_names[37] == "digit 3, grey 80"
    assert len(data.group_names) == 100


def test_decoys_change_nothing_else(mnist):
    _, data = load(mnist)
    random = np.random.RandomState(7)
    inner = random.randint(0, 256, (40, 20, 20))
    assert (data.train.images[:, 0, 4:24, 4:24] == inner).all()


def test_decoys_are_a_function_of_the_seed(mnist):
    a, b, c = (load(mnist, seed=seed)[1] for seed in (0, 0, 1))
    assert (a.train.images == b.train.images).all()
    assert (a.test.images == b.test.images).all()
    assert (a.test.images != c.test.images).any()
    assert (a.train.labels == c.train.labels).all()


def test_packed_and_plain_files_are_the_same_data(tmp_path):
    write_mnist(tmp_path / "a" / "MNIST" / "raw", packed=True)
    write_mnist(tmp_path / "b", packed=False)
    (found_a, a), (found_b, b) = load(tmp_path / "a"), load(tmp_path / "b")
    assert found_a.content == found_b.content
    assert (a.test.images == b.test.images).all()
    assert a.test.ids == b.test.ids


def test_other_content_is_another_hash(tmp_path):
    write_mnist(tmp_path / "a", packed=False)
    before = load(tmp_path / "a")[0].content
    file = tmp_path / "a" / FILES[0]
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    assert load(tmp_path / "a")[0].content != before


def test_evidence_is_the_corners_and_the_centre(mnist):
    _, data = load(mnist)
    mask = data.evidence.irrelevant_masks(np.arange(3))
    assert mask.shape == (3, 28, 28)
    assert mask.sum() == 3 * 4 * 16
    assert all(mask[:, t : t + 4, l : l + 4].all() for t, l in CORNERS)
    top, left, bottom, right = data.evidence.boxes(np.arange(1))[0]
    inside = np.zeros((28, 28), bool)
    inside[top:bottom, left:right] = True
    assert inside.sum() == 400
    assert not (inside & mask[0]).any()


def test_validation_is_held_out_of_training(mnist):
    _, whole = load(mnist)
    _, data = load(mnist, validation=15)
    assert (len(data.train), len(data.validation), len(whole.train)) == (25, 15, 40)
    assert set(data.train.ids) | set(data.validation.ids) == set(whole.train.ids)
    by_id = dict(zip(whole.train.ids, whole.train.images, strict=True))
    assert all((by_id[i] == image).all() for i, image in zip(data.validation.ids, data.validation.images, strict=True))
    with pytest.raises(UserError, match="only 40 training images"):
        load(mnist, validation=40)


def test_no_files_means_the_stand_in_or_an_error(tmp_path):
    found = DecoyMNIST.find(tmp_path, Source.AUTO, strict=False)
    assert found.source is Source.STANDIN
    with pytest.raises(UserError, match="no DecoyMNIST files found"):
        DecoyMNIST.find(tmp_path, Source.REAL, strict=False)


def test_unpublished_files_are_noted_where_the_user_named_the_folder_and_refused_elsewhere(mnist):
    found = DecoyMNIST.find(mnist, Source.AUTO, strict=False)
    assert not found.verified
    assert len(found.notes) == 4
    assert all("UNVERIFIED" in note for note in found.notes)
    with pytest.raises(UserError, match="not the published file"):
        DecoyMNIST.find(mnist, Source.AUTO, strict=True)


def replace(root: Path, name: str, content: bytes) -> None:
    (root / "MNIST" / "raw" / f"{name}.gz").write_bytes(content)


BROKEN = {
    "truncated gzip": (0, lambda old: old[: len(old) // 2], "truncated"),
    "corrupt gzip": (0, lambda old: old[:200] + b"\xff\x00\xff" + old[203:], "corrupt|truncated"),
    "not gzip": (1, lambda old: b"<html>not here</html>", "corrupt"),
    "empty": (1, lambda old: b"", "truncated"),
    "wrong magic": (
        1,
        lambda old: gzip.compress(idx(np.zeros((40, 1), np.uint8))),
        "wrong magic number 2050, expected 2049",
    ),
    "too few items": (1, lambda old: gzip.compress(gzip.decompress(old)[:-3]), "truncated: 37 bytes of data"),
    "too many items": (1, lambda old: gzip.compress(gzip.decompress(old) + b"x"), "too long"),
    "wrong size": (0, lambda old: gzip.compress(idx(np.zeros((40, 8, 8), np.uint8))), "8×8"),
    "other number": (1, lambda old: gzip.compress(idx(np.zeros(39, np.uint8))), "39 labels for 40 images"),
    "absurd header": (0, lambda old: gzip.compress(b"\x00\x00\x08\x03" + b"\xff" * 12), "not MNIST"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_the_users_mistake(mnist, cli, case):
    number, damage, message = BROKEN[case]
    file = mnist / "MNIST" / "raw" / f"{FILES[number]}.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match=message):
        DecoyMNIST.find(mnist, Source.AUTO, strict=False)
    result = cli("run", "--dataset", "decoymnist", "--data-root", mnist)
    assert result.code == 2
    assert len(result.err.strip().splitlines()) == 1
    assert str(file) in result.err
    assert not Path("crayon-runs").exists()


def test_verify_lists_every_broken_file(mnist, cli):
    for number, damage in ((0, BROKEN["truncated gzip"]), (1, BROKEN["wrong magic"]), (3, BROKEN["empty"])):
        file = mnist / "MNIST" / "raw" / f"{FILES[number]}.gz"
        file.write_bytes(damage[1](file.read_bytes()))
    result = cli("data", "verify", "decoymnist", "--data-root", mnist, "--format", "json")
    assert result.code == 2
    assert [one["file"] for one in json.loads(result.out)["broken"]] == [FILES[0], FILES[1], FILES[3]]
    replace(mnist, FILES[0], gzip.compress(idx(np.zeros((40, 28, 28), np.uint8))))
    replace(mnist, FILES[3], gzip.compress(idx(np.full(20, 11, np.uint8))))
    result = cli("data", "verify", "decoymnist", "--data-root", mnist)
    assert result.code == 2
    assert "label 11 is not a digit" in result.out
    assert "2 files cannot be read, as listed." in result.out


def test_a_label_that_is_no_digit_is_reported(mnist):
    replace(mnist, FILES[1], gzip.compress(idx(np.full(40, 10, np.uint8))))
    with pytest.raises(UserError, match="label 10 is not a digit"):
        load(mnist)


def test_a_missing_file_is_named(mnist):
    (mnist / "MNIST" / "raw" / f"{FILES[3]}.gz").unlink()
    with pytest.raises(UserError, match=r"incomplete: t10k-labels-idx1-ubyte.gz is missing"):
        DecoyMNIST.find(mnist, Source.AUTO, strict=False)


def test_the_stand_in_is_real_handwriting_in_the_same_frame(tmp_path):
    _, data = load(tmp_path, Source.STANDIN)
    assert (len(data.train), len(data.test)) == (1197, 600)
    assert np.bincount(data.test.groups, minlength=100).min() > 0
    border = data.train.images.copy()
    border[:, :, 4:24, 4:24] = 0
    for t, l in CORNERS:
        border[:, :, t : t + 4, l : l + 4] = 0
    assert border.max() == 0
    # Pinned: the stand-in is part of the records' meaning. Raise DecoyMNIST.version if it has to change.
    digest = hashlib.sha256(data.train.images.tobytes() + data.test.images.tobytes()).hexdigest()
    assert digest == "95c1b6c97413ffe3689d14f70a3aa4c67e934f2f86f13552a4a0eb62afef9b37"


def test_the_real_files(real_mnist):
    found, data = load(real_mnist)
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
    assert not found.verified  # the train images lie there in another order
    assert [note for note in found.notes if "train-images" in note] == list(found.notes)
    assert np.bincount(data.test.groups, minlength=100).min() > 50
