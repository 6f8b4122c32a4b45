"""Hostile data sets: lists, images, idx files, archives: see :mod:`hostile`."""

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import shutil
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from conftest import idx, write_mnist
from crayon_bench.data.image_cache import open_picture
from crayon_bench.data.importing import import_files
from crayon_bench.data.roots import cache_root
from crayon_bench.data.trees import tar, tree
from crayon_bench.data.trees.opening import open_tree
from crayon_bench.dataset import Source
from crayon_bench.errors import UserError
from crayon_bench_plugins.datasets.celeba.dataset import CelebA
from crayon_bench_plugins.datasets.celeba.published import ATTRIBUTES, IMAGES, PARTITION
from crayon_bench_plugins.datasets.decoymnist import DecoyMNIST, read_idx
from crayon_bench_plugins.datasets.waterbirds.build import build
from crayon_bench_plugins.datasets.waterbirds.dataset import Waterbirds
from crayon_bench_plugins.datasets.waterbirds.published import PICTURES, SEGMENTATIONS
from hostile import attempt, cases, examples, mutated, mutated_text, mutated_value, texts

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _no_memory_of_earlier_scans():
    tree._scans.clear()


def picture(width=20, height=24, mode="RGB", form="PNG", seed=0) -> bytes:
    pixels = np.random.RandomState(seed).randint(0, 256, (height, width, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, form)
    return out.getvalue()


# ---------------------------------------------------------------------------------------------------------------------
# Waterbirds: metadata.csv

COLUMNS = "img_id,img_filename,y,split,place,place_filename"
BIRDS = [(f"{n:03d}.Bird/b{n}.jpg", n % 2, n % 3, n // 2 % 2) for n in range(1, 9)]


def metadata() -> str:
    rows = [f"{n},{name},{y},{split},{place},/o/ocean/{n}.jpg" for n, (name, y, split, place) in enumerate(BIRDS, 1)]
    return "\n".join([COLUMNS, *rows]) + "\n"


@pytest.fixture(scope="module")
def birds(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("birds")
    for name, *_ in BIRDS:
        for file, content in (
            (root / PICTURES.name / name, picture(form="JPEG")),
            ((root / SEGMENTATIONS.name / name).with_suffix(".png"), picture(mode="L")),
        ):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    return root


def find_and_load(dataset, root: Path, **parameters):
    tree._scans.clear()
    found = dataset.find(root, Source.REAL, strict=False)
    data = dataset(dataset.Parameters(**parameters)).load(found)
    for split in (data.train, data.test, data.validation):
        assert split is None or (np.asarray(split.images).dtype == np.uint8 and len(split.images) == len(split.ids))
    assert found.verified is False
    return data


def check_metadata(kind: str, birds: Path, content: bytes) -> None:
    (birds / PICTURES.name / "metadata.csv").write_bytes(content)
    data = attempt(kind, lambda: find_and_load(Waterbirds, birds, size=16))
    if data is not None:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
        for number, split in enumerate((data.train, data.validation, data.test)):
            mine = [row for row in rows if int(row["split"]) == number]
            assert [*(split.ids if split else [])] == [row["img_filename"] for row in mine]
            assert [] if split is None else split.groups.tolist() == [2 * int(r["y"]) + int(r["place"]) for r in mine]


def test_metadata(birds):
    for rng in cases("metadata", 900):
        check_metadata("metadata.csv", birds, mutated_text(rng, metadata()))


@examples(200)
@given(
    cells=st.lists(
        texts([name for name, *_ in BIRDS] + ["001.Bird/b1.png", "001.Bird/", ".", "a"]), min_size=5, max_size=7
    )
)
def test_metadata_with_a_row_of_anything(birds, cells):
    out = io.StringIO(newline="")
    csv.writer(out).writerow(cells)
    check_metadata("metadata.csv: a row", birds, (metadata() + out.getvalue()).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"{'9' * 5000},009.Bird/b9.jpg,0,0,0,x", "line 10: img_id"),
        ("9,001.Bird/b1.png,0,0,0,x", "line 10: 001.Bird/b1.png has the segmentation of line 2"),
        ("9,../b1.jpg,0,0,0,x", "is no path inside the set"),
        ("9,009.Bird/\x00.jpg,0,0,0,x", "is no path inside the set"),
    ],
)
def test_a_hostile_row_is_one_line_that_names_it(cli, birds, row, message):
    shutil.copy(birds / PICTURES.name / BIRDS[0][0], birds / PICTURES.name / "001.Bird" / "b1.png")
    (birds / PICTURES.name / "metadata.csv").write_text(metadata() + row + "\n")
    result = cli("data", "verify", "waterbirds", "--data-root", birds)
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert message in result.err


# ---------------------------------------------------------------------------------------------------------------------
# CUB's lists

CUB = {
    "images.txt": "".join(f"{n} {n % 3 + 1:03d}.Rock_Wren/w{n}.jpg\n" for n in range(1, 10)),
    "train_test_split.txt": "".join(f"{n} {int(n % 3 > 0)}\n" for n in range(1, 10)),
    "image_class_labels.txt": "".join(f"{n} {n % 3 + 1}\n" for n in range(1, 10)),
    "classes.txt": "".join(f"{n} {n:03d}.Rock_Wren\n" for n in range(1, 4)),
}


@pytest.fixture(scope="module")
def cub(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("cub")
    for n in range(1, 10):
        for file, content in (
            (root / "CUB_200_2011" / "images" / f"{n % 3 + 1:03d}.Rock_Wren" / f"w{n}.jpg", picture(form="JPEG")),
            (root / "segmentations" / f"{n % 3 + 1:03d}.Rock_Wren" / f"w{n}.png", picture(mode="L")),
        ):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    for folder in ("bamboo_forest", "ocean"):
        (root / "places" / folder).mkdir(parents=True)
        for n in range(3):
            (root / "places" / folder / f"{n}.jpg").write_bytes(picture(30, 20, form="JPEG"))
    return root, root / "places"


def lists(root: Path, **changes: bytes) -> None:
    for name, text in CUB.items():
        (root / "CUB_200_2011" / name).write_bytes(changes.get(name, text.encode()))


def check_build(kind: str, cub: tuple[Path, Path], output: Path) -> None:
    before = sorted(path.name for path in output.parent.iterdir())
    made = attempt(kind, lambda: build(*cub, output, 0, lambda text: None) or True)
    if made:
        find_and_load(Waterbirds, output, size=16)
        shutil.rmtree(output)
    assert sorted(path.name for path in output.parent.iterdir()) == before


def test_cub_lists(cub, tmp_path):
    for rng in cases("cub", 500):
        name = rng.choice(list(CUB))
        lists(cub[0], **{name: mutated_text(rng, CUB[name])})
        check_build("CUB lists", cub, tmp_path / "out")
    lists(cub[0])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("² 001.Rock_Wren/w3.jpg", "is not NUMBER.Species/IMAGE.jpg"),
        ("9" * 500 + " 001.Rock_Wren/w3.jpg", "is not NUMBER.Species/IMAGE.jpg"),
        ("10 001.Rock_Wren/w3.jpg", "is there twice"),
    ],
)
def test_a_hostile_list_is_one_line(cli, cub, tmp_path, line, message):
    number = line.split()[0]
    changes = {"images.txt": line, "train_test_split.txt": f"{number} 1", "image_class_labels.txt": f"{number} 1"}
    lists(cub[0], **{name: f"{CUB[name]}{text}\n".encode() for name, text in changes.items()})
    result = cli("data", "build", "waterbirds", "--cub", cub[0], "--places", cub[1], "--output", tmp_path / "out")
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert message in result.err
    assert list(tmp_path.iterdir()) == []
    lists(cub[0])


# ---------------------------------------------------------------------------------------------------------------------
# CelebA

FACES = [(f"{n:06d}.jpg", n % 4, n // 4 % 3) for n in range(1, 25)]
"""Name, group, partition."""


def attributes() -> str:
    rows = [f"{name} {1 - 2 * (g // 2):2d} {2 * (g // 2) - 1:2d} {2 * (g % 2) - 1:2d}" for name, g, _ in FACES]
    return "\r\n".join([str(len(FACES)), "Black_Hair Blond_Hair Smiling ", *rows]) + "\r\n"


def partition() -> str:
    return "".join(f"{name} {part}\n" for name, _, part in FACES)


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("faces")
    (root / IMAGES.name).mkdir()
    for n, (name, *_) in enumerate(FACES):
        (root / IMAGES.name / name).write_bytes(picture(89, 109, form="JPEG", seed=n))
    return root


def check_faces(kind: str, root: Path, attribute_list: bytes, partition_list: bytes) -> None:
    (root / ATTRIBUTES.name).write_bytes(attribute_list)
    (root / PARTITION.name).write_bytes(partition_list)
    data = attempt(kind, lambda: find_and_load(CelebA, root, majority=1, minority=1, test=1, size=16))
    if data is not None:
        parts = dict(line.split() for line in partition_list.decode().splitlines() if line.split())
        values = {line.split()[0]: line.split() for line in attribute_list.decode().splitlines() if line.split()}
        order = attribute_list.decode().splitlines()[1].split()
        black, blond, smiling = (order.index(name) + 1 for name in ("Black_Hair", "Blond_Hair", "Smiling"))
        for split, allowed in ((data.train, "0"), (data.test, "12")):
            for name, group in zip(split.ids, split.groups, strict=True):
                assert parts[name] in allowed
                bits = {key: values[name][key] == "1" for key in (black, blond, smiling)}
                assert bits[black] != bits[blond]
                assert group == 2 * bits[blond] + bits[smiling]


def test_celeba_lists(faces):
    for rng in cases("celeba", 900):
        lists = [attributes().encode(), partition().encode()]
        which = rng.randrange(2)
        lists[which] = mutated_text(rng, lists[which].decode())
        check_faces(f"CelebA: {('attributes', 'partition')[which]}", faces, *lists)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (attributes().replace("24", "9" * 5000, 1), "line 1 must be the number of images"),
        (attributes().replace("000001.jpg", "../../etc/passwd"), "missing"),
        (attributes().replace("000001.jpg", "a\0.jpg"), "missing"),
    ],
    ids=["number", "path", "zero"],
)
def test_a_hostile_attribute_list_is_one_line(cli, faces, text, message):
    (faces / ATTRIBUTES.name).write_text(text)
    (faces / PARTITION.name).write_text(partition())
    result = cli("data", "verify", "celeba", "--data-root", faces)
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert message in result.err


def test_lists_with_line_ends_of_an_old_mac_mean_the_same(cli, faces):
    (faces / ATTRIBUTES.name).write_bytes(attributes().replace("\r\n", "\r").encode())
    (faces / PARTITION.name).write_bytes(partition().replace("\n", "\r").encode())
    assert cli("data", "verify", "celeba", "--data-root", faces).code == 1  # read, and not the published ones


# ---------------------------------------------------------------------------------------------------------------------
# idx files

DIGITS = {3: np.random.RandomState(0).randint(0, 256, (7, 28, 28), np.uint8), 1: np.arange(7, dtype=np.uint8)}


def test_idx_files(tmp_path):
    for rng in cases("idx", 1000):
        dimensions = rng.choice((1, 3))
        plain = idx(DIGITS[dimensions])
        file = tmp_path / rng.choice(("x-idx", "x-idx.gz"))
        content = gzip.compress(plain, mtime=0) if file.suffix else plain
        content = mutated(rng, content, gzip.compress(idx(DIGITS[3]), mtime=0))
        file.write_bytes(content)
        array = attempt(f"idx{file.suffix}", lambda file=file, dimensions=dimensions: read_idx(file, dimensions))
        if array is not None:
            raw = gzip.decompress(content) if file.suffix else content
            assert raw == idx(array)


def test_mnist_folders(tmp_path):
    write_mnist(tmp_path / "good", train=12, test=12)
    files = sorted((tmp_path / "good").iterdir())
    for rng in cases("mnist", 200):
        shutil.rmtree(tmp_path / "mnist", ignore_errors=True)
        shutil.copytree(tmp_path / "good", tmp_path / "mnist")
        changed = tmp_path / "mnist" / rng.choice(files).name
        plain = mutated(rng, gzip.decompress(changed.read_bytes()), gzip.decompress(rng.choice(files).read_bytes()))
        changed.write_bytes(gzip.compress(plain))
        data = attempt("MNIST", lambda: find_and_load(DecoyMNIST, tmp_path))
        assert data is None or (data.train.labels.max() <= 9 and len(data.test) == len(data.test.labels))


def test_an_idx_file_of_more_than_it_promises_is_not_read_to_its_end(tmp_path, monkeypatch):
    read = []
    original = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, n=-1: read.append(n) or original(self, n))
    file = tmp_path / "x.gz"
    file.write_bytes(gzip.compress(idx(DIGITS[1]) + bytes(30 << 20), 1))
    with pytest.raises(UserError, match="too long"):
        read_idx(file, 1, header_only=True)
    assert len(read) < 5


def test_memory_is_not_reserved_for_what_an_idx_file_promises(tmp_path):
    (tmp_path / "x").write_bytes(struct.pack(">2I", 0x0801, 3 << 30) + b"few")
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="truncated"):
            read_idx(tmp_path / "x", 1)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_a_bomb_among_the_files_is_one_line(cli, tmp_path):
    write_mnist(tmp_path / "mnist")
    file = tmp_path / "mnist" / "train-labels-idx1-ubyte.gz"
    file.write_bytes(gzip.compress(bytes(4 << 20), 1))
    source = ("import", "decoymnist", tmp_path / "mnist", "--accept-unverified")
    for command in (("verify", "decoymnist", "--data-root", tmp_path), source):
        result = cli("data", *command)
        assert result.code == 2
        assert "larger than" in result.err.splitlines()[-1]


# ---------------------------------------------------------------------------------------------------------------------
# images

FORMS = [
    *(("RGB", form) for form in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "TGA", "ICO", "PCX", "EPS", "SGI")),
    *((mode, "PNG") for mode in ("1", "L", "LA", "P", "RGBA", "I;16")),
    *(("CMYK", form) for form in ("JPEG", "TIFF")), ("L", "JPEG"), ("F", "TIFF"), ("I;16", "TIFF"),
]  # fmt: skip


def samples() -> list[bytes]:
    found = []
    for mode, form in FORMS:
        if mode in ("I;16", "F"):
            grey = np.random.RandomState(1).randint(0, 65536, (24, 20))
            image = Image.fromarray(grey.astype(np.uint16 if mode == "I;16" else np.float32))
        else:
            image = Image.open(io.BytesIO(picture())).convert(mode)
        out = io.BytesIO()
        image.save(out, form)
        found.append(out.getvalue())
    return found


def test_images():
    base = samples()
    for rng in cases("images", 2500):
        content = mutated(rng, rng.choice(base), rng.choice(base))
        mode = rng.choice(("RGB", "L"))
        image = attempt("image", lambda content=content, mode=mode: open_picture(content, "x.jpg", mode))
        if image is not None:
            assert image.mode == mode
            assert np.asarray(image).dtype == np.uint8


@examples(300)
@given(
    content=st.binary(max_size=300),
    start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"RIFF"]),
)
def test_bytes_that_are_no_image(content, start):
    attempt("image: bytes", lambda: open_picture(start + content, "x.jpg"))


def png(width: int, height: int, depth: int = 8, colour: int = 2, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, png(0, 0), png(2**31 - 1, 2**31 - 1), png(60_000, 60_000), png(30_000, 30_000), png(4, 4, 16), png(4, 4, 99, 7),
     b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n"],
    ids=["empty", "zeros", "no size", "huge", "large", "a bomb to Pillow", "no pixels", "odd", "a program"],
)  # fmt: skip
def test_a_hostile_image_is_one_line(content):
    with pytest.raises(UserError, match=r"^x\.jpg: ") as caught:
        open_picture(content, "x.jpg")
    assert str(caught.value).isprintable()


def test_images_of_other_kinds_mean_the_same():
    """16 bits, a palette, CMYK, alpha, one pixel and a wrong ending are read as what they are."""
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    deep = io.BytesIO()
    Image.fromarray(grey.astype(np.uint16) * 257).save(deep, "PNG")
    for mode in ("L", "RGB"):
        read = np.asarray(open_picture(deep.getvalue(), "x.png", mode))
        assert (read == (grey if mode == "L" else grey[..., None])).all()
    colour = Image.open(io.BytesIO(picture()))
    flat = colour.quantize(8)
    for image, form, right in (
        (flat, "PNG", flat.convert("RGB")),
        (flat, "GIF", flat.convert("RGB")),
        (colour, "BMP", colour),
    ):
        out = io.BytesIO()
        image.save(out, form)
        assert (np.asarray(open_picture(out.getvalue(), "x.jpg")) == np.asarray(right)).all()
    out = io.BytesIO()
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(out, "JPEG")
    red = np.asarray(open_picture(out.getvalue(), "x.jpg"))
    assert red[..., 0].min() > 240
    assert red[..., 1:].max() < 30
    assert open_picture(picture(1, 1), "x.png").size == (1, 1)


def test_a_set_with_images_of_one_pixel_and_others_is_read(birds, tmp_path):
    shutil.copytree(birds, tmp_path / "set")
    (tmp_path / "set" / PICTURES.name / "metadata.csv").write_text(metadata())
    for n, (name, *_) in enumerate(BIRDS):
        size = ((1, 1), (1, 300), (300, 1))[n % 3]
        (tmp_path / "set" / PICTURES.name / name).write_bytes(picture(*size))
        (tmp_path / "set" / SEGMENTATIONS.name / name).with_suffix(".png").write_bytes(picture(*size, mode="L"))
    data = find_and_load(Waterbirds, tmp_path / "set", size=16)
    assert data.evidence.relevant_masks(np.arange(len(data.train))).any(axis=(1, 2)).all()


# ---------------------------------------------------------------------------------------------------------------------
# archives

FILES = {"a/1.jpg": b"one" * 50, "a/2.jpg": b"two" * 300, "meta.csv": b"x,y\n1,2\n"}
HOWS = ("zip", "zip-deflated", "zip-lzma", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar-pax")


def archive(how: str, files=FILES) -> bytes:
    out = io.BytesIO()
    if how.startswith("zip"):
        method = {"zip-deflated": zipfile.ZIP_DEFLATED, "zip-lzma": zipfile.ZIP_LZMA}.get(how, zipfile.ZIP_STORED)
        with zipfile.ZipFile(out, "w", method) as bundle:
            for name, content in files.items():
                bundle.writestr(f"set/{name}", content)
        return out.getvalue()
    form = tarfile.PAX_FORMAT if how == "tar-pax" else tarfile.GNU_FORMAT
    with tarfile.open(fileobj=out, mode="w", format=form) as bundle:
        for name, content in files.items():
            info = tarfile.TarInfo(f"set/{name}")
            info.size = len(content)
            if how == "tar-pax":
                info.pax_headers = {"comment": "ä" * 60, "mtime": "1.5"}
            bundle.addfile(info, io.BytesIO(content))
    pack = {"tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress}.get(how, bytes)
    return pack(out.getvalue())


def read_all(path: Path) -> dict[str, bytes]:
    tree = open_tree(path, "set")
    members = dict(tree.members)
    tree.digest()
    read = dict(tree.contents(list(members)))
    assert {name: len(content) for name, content in read.items()} == {
        name: member.size for name, member in members.items()
    }
    assert all(zlib.crc32(read[name]) == member.crc32 for name, member in members.items())
    for name in members:
        assert not name.startswith("/")
        assert ".." not in name.split("/")
    return read


def test_archives_of_damaged_bytes(tmp_path):
    base = {how: archive(how) for how in HOWS}
    for number, rng in enumerate(cases("archive", 2000)):
        how = rng.choice(HOWS)
        content = mutated(rng, base[how], base[rng.choice(HOWS)])
        if (
            how in ("tar.gz", "tar.bz2", "tar.xz") and rng.random() < 0.5
        ):  # the damage is inside a packing that is whole
            inner = mutated(rng, base["tar-pax"])
            content = {"tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress}[how](inner)
        path = tmp_path / f"{number}"
        path.write_bytes(content)
        attempt(f"archive: {how}", lambda path=path: read_all(path))
        path.unlink()
    assert list(tmp_path.iterdir()) == []


NAMES = ["x.jpg", "set/x.jpg", "set/set/x.jpg", "../x", "/x", "a/../../x", "a\\x", "C:/x", "", ".", "./x", "a//b", "x\n", "\x1b[31m",
         "nul", "ä.jpg", "x" * 300, "set", "set/", "__MACOSX/x", "\u202ex", "metadata.csv"]  # fmt: skip


def hostile_tar(rng: random.Random) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))) as bundle:
        for _ in range(rng.randrange(1, 5)):
            info = tarfile.TarInfo(rng.choice(NAMES))
            kinds = (
                tarfile.REGTYPE,
                tarfile.SYMTYPE,
                tarfile.LNKTYPE,
                tarfile.CHRTYPE,
                tarfile.FIFOTYPE,
                tarfile.DIRTYPE,
                b"9",
            )
            info.type = rng.choice((*kinds[:1] * 6, *kinds))
            info.linkname = rng.choice(("/etc/passwd", "x.jpg", "../..", ""))
            info.mode = rng.choice((0o644, 0o4777, 0))
            if rng.random() < 0.2:
                key = rng.choice(
                    ("path", "size", "GNU.sparse.map", "GNU.sparse.major", "hdrcharset", "linkpath", "GNU.sparse.size")
                )
                info.pax_headers = {key: rng.choice(("-1", "-512", "x", "1", "99999999999", "0,1", "BINARY", "../x"))}
            content = rng.randbytes(rng.choice((0, 3, 600))) if info.type == tarfile.REGTYPE else b""
            info.size = len(content)
            bundle.addfile(info, io.BytesIO(content))
    content = bytearray(out.getvalue())
    if rng.random() < 0.3:  # a name that is no UTF-8, with a checksum that is right
        content[0] = 0xFF
        content[148:156] = b" " * 8
        content[148:156] = b"%06o\0 " % sum(content[:512])
    return bytes(content)


def hostile_zip(rng: random.Random) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as bundle:
        for n in range(rng.randrange(1, 5)):
            info = zipfile.ZipInfo(rng.choice(NAMES) or f"n{n}")
            info.external_attr = rng.choice((0o100644, 0o120777, 0o060644, 0o010644, 0)) << 16
            if info.filename not in bundle.namelist():
                bundle.writestr(info, rng.randbytes(rng.choice((0, 3, 600))))
    content = out.getvalue()
    if rng.random() < 0.3:
        content = content.replace("ä".encode(), b"\xff\xfe")
    if rng.random() < 0.2:  # the same name twice
        content = content.replace(b"set/x.jpg", b"metadata_")
    return content


def test_archives_that_mean_harm(tmp_path):
    for number, rng in enumerate(cases("harm", 1500)):
        path = tmp_path / f"{number}"
        kind = rng.choice(("zip", "tar", "tar.gz"))
        content = hostile_zip(rng) if kind == "zip" else hostile_tar(rng)
        path.write_bytes(gzip.compress(content) if kind == "tar.gz" else content)
        attempt(f"archive that means harm: {kind}", lambda path=path: read_all(path))
        path.unlink()


def test_archives_to_import(tmp_path):
    write_mnist(tmp_path / "mnist", train=12, test=12)
    files = {path.name: path.read_bytes() for path in (tmp_path / "mnist").iterdir()}
    base = {how: archive(how, files) for how in HOWS}
    for number, rng in enumerate(cases("import", 300)):
        path = tmp_path / f"{number}"
        how = rng.choice(HOWS)
        content = mutated(rng, base[how])
        path.write_bytes(hostile_tar(rng) if rng.random() < 0.2 else content)
        root = tmp_path / "root"

        def read(path=path, root=root):
            return import_files(DecoyMNIST, path, root, accept_unverified=True, say=lambda text: None)

        folder = attempt("archive to import", read)
        if folder is None:
            assert not root.exists() or not any(p.is_file() for p in root.rglob("*"))
        else:
            assert {p.name for p in folder.iterdir()} == {*files, "accepted-unverified.json"}
        shutil.rmtree(root, ignore_errors=True)
        path.unlink()


def bomb(how: str, size: int) -> bytes:
    return archive(how, {"a.jpg": bytes(size), "meta.csv": b""})


@pytest.mark.parametrize("how", ["zip-deflated", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_bomb_is_refused_before_it_fills_memory_or_time(tmp_path, monkeypatch, how):
    monkeypatch.setattr(tree, "LARGEST", 1 << 20)
    monkeypatch.setattr(tar, "_ROOM", 1 << 20)
    (tmp_path / "x").write_bytes(bomb(how, 3 << 20))
    with pytest.raises(UserError, match=r"x: .*(larger than|times its size)"):
        read_all(tmp_path / "x")


def test_a_zip_packed_by_what_cannot_be_unpacked_piece_by_piece_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(archive("zip-lzma"))
    with pytest.raises(UserError, match="by a method other than deflate"):
        read_all(tmp_path / "x")


def test_a_zip_that_lies_about_its_size_is_not_unpacked_whole(tmp_path):
    content = archive("zip-deflated", {"a.jpg": bytes(60 << 20)})
    (tmp_path / "x").write_bytes(content.replace(struct.pack("<I", 60 << 20), struct.pack("<I", 1000)))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"set/a\.jpg|a\.jpg"):
            read_all(tmp_path / "x")
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_a_large_file_of_a_folder_is_refused(tmp_path):
    (tmp_path / "set").mkdir()
    with (tmp_path / "set" / "a.jpg").open("wb") as file:
        file.truncate(tree.LARGEST + 1)
    with pytest.raises(UserError, match=r"a\.jpg: larger than"):
        dict(open_tree(tmp_path / "set", "set").contents(["a.jpg"]))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_header_that_is_a_bomb_is_refused(tmp_path, kind):
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 1 << 40
    (tmp_path / "x").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
    attempt("tar header", lambda: read_all(tmp_path / "x"))
    with pytest.raises(UserError):
        read_all(tmp_path / "x")


def test_a_tar_that_leads_back_to_itself_ends(tmp_path):
    """CVE-2025-8194: a negative size makes tarfile read the same members for ever."""
    info = tarfile.TarInfo("set/a.jpg")
    info.pax_headers = {"size": "-1024"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as bundle:
        bundle.addfile(info)
    (tmp_path / "x").write_bytes(out.getvalue())
    attempt("tar header", lambda: read_all(tmp_path / "x"))
    with pytest.raises(UserError):
        read_all(tmp_path / "x")


@pytest.mark.parametrize("how", ["tar", "tar.gz", "folder"])
def test_names_that_are_no_text_are_members_like_others(tmp_path, how):
    if how == "folder":
        (tmp_path / "x").mkdir()
        Path(str(tmp_path / "x") + "/\udcff.jpg").write_bytes(b"one")
    else:
        (tmp_path / "x").write_bytes(archive(how, {"\udcff.jpg": b"one"}))
    assert read_all(tmp_path / "x") == {"\udcff.jpg": b"one"}


def test_a_zip_whose_name_is_no_text_is_one_line(tmp_path):
    (tmp_path / "x").write_bytes(archive("zip", {"ä": b"1"}).replace("ä".encode(), b"\xff\xfe"))
    with pytest.raises(UserError, match="broken"):
        read_all(tmp_path / "x")


def test_kept_scans(tmp_path, capsys):
    """What a scan left in the cache folder is taken only if it is as it was written."""
    path = tmp_path / "set.tar"
    path.write_bytes(archive("tar"))
    right = read_all(path)
    digest = open_tree(path, "set").digest()
    file = next((cache_root() / "trees").iterdir())
    whole = file.read_bytes()
    checksum, _, body = whole.partition(b"\n")
    for rng in cases("kept scan", 500):
        tree._scans.clear()
        other = json.dumps(mutated_value(rng, json.loads(body))).encode()
        file.write_bytes(mutated(rng, whole) if rng.random() < 0.5 else checksum + b"\n" + other)
        assert attempt("kept scan", lambda: read_all(path), remade=lambda: file.read_bytes() == whole) == right
        assert open_tree(path, "set").digest() == digest


def test_accepted_files(tmp_path):
    write_mnist(tmp_path / "mnist", train=12, test=12)
    for rng in cases("accepted", 100):
        content = mutated_text(rng, json.dumps({"train-images-idx3-ubyte": "0" * 64}))
        (tmp_path / "mnist" / "accepted-unverified.json").write_bytes(rng.choice((content, b"[" * 100_000)))
        attempt("accepted-unverified.json", lambda: DecoyMNIST.find(tmp_path, Source.REAL, strict=False))
