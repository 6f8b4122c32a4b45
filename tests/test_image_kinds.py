"""Which files are read as images, and what is said of those that are not."""

import io

import numpy as np
import pytest
from PIL import Image

from crayon_bench.data.image_cache import open_mask, open_picture, picture_size
from crayon_bench.errors import UserError
from test_folder import draw, load, read, write

PIXELS = np.random.RandomState(0).randint(0, 256, (5, 7, 3), np.uint8)


def saved(picture: Image.Image, form: str, **how: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **how)
    return out.getvalue()


@pytest.mark.parametrize("packed", [None, "tiff_lzw", "tiff_deflate", "packbits", "tiff_adobe_deflate"])
def test_tiff_is_read(packed):
    content = saved(Image.fromarray(PIXELS), "TIFF", compression=packed)
    assert np.array_equal(np.asarray(open_picture(content, "x")), PIXELS)
    assert picture_size(content, "x") == (7, 5)
    grey = saved(Image.fromarray(PIXELS[..., 0]), "TIFF", compression=packed)
    assert np.array_equal(np.asarray(open_picture(grey, "x"))[..., 1], PIXELS[..., 0])


def test_a_folder_of_tiffs_is_the_folder_of_pngs(tmp_path):
    folder = draw(tmp_path / "few", {"train": 4, "test": 4})
    pngs = load(folder)
    rows = read(folder)
    for row in rows[1:]:
        for column in (0, 4):
            name = row[column]
            row[column] = f"{name}.tiff"
            Image.open(folder / name).save(folder / row[column])
            (folder / name).unlink()
    write(folder, rows)
    tiffs = load(folder)
    every = np.arange(4)
    assert np.array_equal(tiffs.train.images, pngs.train.images)
    assert np.array_equal(tiffs.evidence.relevant_masks(every), pngs.evidence.relevant_masks(every))


def test_a_tiff_that_nothing_says_how_to_read_is_refused():
    pages = saved(Image.fromarray(PIXELS), "TIFF", save_all=True, append_images=[Image.fromarray(PIXELS // 2)])
    numbers = saved(Image.fromarray(PIXELS[..., 0].astype(np.float32) / 255), "TIFF")
    for content, message in ((pages, "a TIFF of several pages"), (numbers, "floating-point numbers")):
        for reader in (open_picture, picture_size):
            with pytest.raises(UserError, match=f"^x: .*{message}"):
                reader(content, "x")


FTYP = b"\0\0\0\x18ftyp"
OTHERS = {
    "PDF": b"%PDF-1.7\n",
    "Photoshop": b"8BPS\0\1",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "HEIC": FTYP + b"heic\0\0\0\0",
    "AVIF": FTYP + b"avif\0\0\0\0",
    "a film": FTYP + b"mp42\0\0\0\0",
    "JPEG XL": b"\xff\x0a\0\0",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "DICOM": bytes(128) + b"DICM" + bytes(20),
    "NumPy": b"\x93NUMPY\1\0",
    "SVG": b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>",
    "web page": b"\n<!DOCTYPE html><html>quota exceeded</html>",
    "zip": b"PK\x03\x04....",
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
    "an empty file": b"",
    "nothing but zeros": bytes(500),
    "portable pixmap": b"P6 2 2 255\n" + bytes(12),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_are_named_as_what_they_are(kind):
    for reader in (open_picture, open_mask, picture_size):
        with pytest.raises(UserError) as error:
            reader(OTHERS[kind], "x.png")
        assert str(error.value).startswith(
            "x.png: not an image that can be read (BMP, GIF, JPEG, PNG, TIFF, WEBP), but "
        )
        assert kind in str(error.value)


def test_a_file_that_is_like_nothing_may_be_damaged():
    with pytest.raises(UserError, match=r"not an image .*, or its beginning is damaged"):
        open_picture(b"\x01\x02\x03 anything", "x")


@pytest.fixture(scope="module")
def large() -> bytes:
    return saved(Image.new("1", (10_000, 10_000)), "PNG")


def test_the_pixel_limit_names_itself_and_how_to_raise_it(large, monkeypatch):
    with pytest.raises(UserError) as error:
        picture_size(large, "x.png")
    said = "x.png: 10000×10000 are 100,000,000 pixels, and the limit is 64,000,000"
    assert str(error.value) == f"{said} — make it smaller, or set CRAYON_BENCH_MAX_PIXELS=100000000"
    monkeypatch.setenv("CRAYON_BENCH_MAX_PIXELS", "100000000")
    assert picture_size(large, "x.png") == (10_000, 10_000)
    monkeypatch.setenv("CRAYON_BENCH_MAX_PIXELS", "34")
    with pytest.raises(UserError, match="are 35 pixels, and the limit is 34"):
        open_picture(saved(Image.fromarray(PIXELS), "PNG"), "x.png")
    for wrong in ("many", "-1", "0", "1e9"):
        monkeypatch.setenv("CRAYON_BENCH_MAX_PIXELS", wrong)
        with pytest.raises(UserError, match="expected a number of pixels, such as 64000000"):
            picture_size(large, "x.png")


def test_what_pillow_itself_refuses_is_not_called_broken():
    with pytest.raises(
        UserError, match="x: more than 178,956,970 pixels, which Pillow does not open — make it smaller"
    ):
        picture_size(saved(Image.new("1", (20_000, 20_000)), "PNG"), "x")
