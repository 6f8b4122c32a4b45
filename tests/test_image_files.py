"""What image, mask and box files say is read as people see it: palettes, lossy masks, EXIF, deep pixels, orders of boxes."""

import io
import json
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from crayon_bench.data.image_cache import look_at, open_mask, open_picture, picture_size
from crayon_bench.data.masks import mask_in
from crayon_bench.data.pixels import placed
from crayon_bench.dataset import Source
from crayon_bench.errors import UserError
from crayon_bench.plugins.registry import Registry
from crayon_bench_plugins.datasets.folder.dataset import Folder
from crayon_bench_plugins.datasets.folder.pixels import FolderParameters
from test_folder import ONCE, write

WIDE, HIGH = 64, 48


def saved(picture: Image.Image, form: str, **how: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **how)
    return out.getvalue()


def disc(side: int = 120) -> np.ndarray:
    """A disc a little off the middle, about a fifth of the image."""
    y, x = np.mgrid[:side, :side]
    return (y - 0.4 * side) ** 2 + (x - 0.55 * side) ** 2 < (0.256 * side) ** 2


def grey(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8) * 255)


# ---------------------------------------------------------------------------------------------------------------------
# masks: what a file says

D = disc()


DISC = D.astype(np.uint8)


def palette(colours: list[tuple[int, int, int]], numbers: np.ndarray = DISC) -> Image.Image:
    picture = Image.fromarray(numbers)
    picture.putpalette([channel for colour in colours for channel in colour])
    return picture


def numbers(*values: int) -> Image.Image:
    """The disc in the last value, a dot in each of the others beside the first, which is the ground."""
    pixels = np.where(D, values[-1], values[0]).astype(np.uint16 if max(values) > 255 else np.uint8)
    for n, value in enumerate(values[1:-1]):
        pixels[2:4, 3 * n : 3 * n + 2] = value
    return Image.fromarray(pixels)


PLAIN = {
    "L": grey(D),
    "1": grey(D).convert("1"),
    "0 and 1": Image.fromarray(D.astype(np.uint8)),
    "0 and 1 of 16 bits": Image.fromarray(D.astype(np.uint16)),
    "16 bits": Image.fromarray(D.astype(np.uint16) * 65535),
    "12 bits in 16": Image.fromarray(D.astype(np.uint16) * 4095),
    "RGB": grey(D).convert("RGB"),
    "quantised": grey(D).convert("RGB").quantize(2),
    "adaptive": grey(D).convert("P", palette=Image.Palette.ADAPTIVE, colors=2),
    "bright first": palette([(255, 255, 255), (0, 0, 0)], (~D).astype(np.uint8)),
    "dark first": palette([(0, 0, 0), (255, 255, 255)]),
    "not quite": palette([(250, 251, 250), (4, 4, 5)], (~D).astype(np.uint8)),
    "opaque": Image.merge("LA", [grey(D), Image.new("L", D.shape, 255)]),
    "clear ground": Image.merge("LA", [grey(D), grey(D)]),
}


KEPT = [
    (name, form)
    for name, picture in PLAIN.items()
    for form in ("PNG", "GIF", "BMP", "WEBP")
    if form == "PNG" or picture.mode in ("1", "L", "P", "RGB")
]


@pytest.mark.parametrize(("name", "form"), KEPT)
def test_a_mask_of_two_values_is_the_same_in_every_format(name, form):
    picture = PLAIN[name]
    how = {"lossless": True} if form == "WEBP" else {}
    if form == "WEBP":
        picture = picture.convert("RGB")
    if (name, form) == ("dark first", "BMP"):  # Pillow takes its bytes for bits
        for opener in (open_mask, open_picture, picture_size):
            with pytest.raises(UserError, match="m: a BMP of 8 bits with a palette that is misread — save it as PNG"):
                opener(saved(picture, form), "m")
        return
    mask = open_mask(saved(picture, form, **how), "m")
    assert np.array_equal(mask.relevant, D)
    assert (mask.grey, mask.found) == (0, "")


@pytest.mark.parametrize(
    ("form", "how"),
    [("WEBP", {"quality": 20}), ("JPEG", {"quality": 60}), ("JPEG", {"quality": 95}), ("GIF", {}), ("PNG", {})],
)
def test_shades_at_edges_are_split_in_the_middle_and_counted_in_every_format(form, how):
    smooth = grey(disc(480)).resize(D.shape, Image.Resampling.BOX)
    mask = open_mask(saved(smooth, form, **how), "m")
    assert (mask.relevant != D).mean() < 0.005  # 0.331 for 0.206, it was
    assert 0 < mask.grey < 0.08


VOC = palette([(0, 0, 0), (128, 0, 0), (224, 224, 192)])
MEANT = {
    "labels": (numbers(0, 1, 2, 15), "values 0, 1, 2, 15"),
    "labels of 16 bits": (numbers(0, 1000, 2001), "values 0, 1000, 2001"),
    "colours on black": (VOC, "colours (0 0 0), (128 0 0)"),
    "colours of RGB": (VOC.convert("RGB"), "colours (0 0 0), (128 0 0)"),
    "a class and its border": (numbers(0, 15, 255), "values 0, 15, 255"),
}


@pytest.mark.parametrize("name", MEANT)
def test_labels_and_colours_are_relevant_and_said(name):
    picture, found = MEANT[name]
    mask = open_mask(saved(picture, "PNG"), "m")
    assert mask.found == found
    assert mask.relevant[D].all()
    assert mask.relevant.mean() - D.mean() < 0.002


both = np.stack([np.full(D.shape, 255, np.uint8), D.astype(np.uint8) * 255], axis=-1)
REFUSED = {
    "one colour for two numbers": (palette([(0, 0, 0)] * 256), "gives the numbers 0, 1 one and the same colour"),
    "two blacks": (palette([(0, 0, 0), (9, 200, 3), (0, 0, 0)], np.arange(14400).reshape(120, 120).astype(np.uint8) % 3),
                   "gives the numbers 0, 2 one and the same colour"),
    "colours without black": (palette([(128, 64, 128), (220, 20, 60)]), "colours (128 64 128), (220 20 60), none of"),
    "white and red": (palette([(255, 255, 255), (255, 0, 0)]), "none of which is black"),
    "1 and 2": (Image.fromarray(D.astype(np.uint8) + 1), "the values 1, 2, which are not dark and bright"),
    "trimap": (numbers(2, 3, 1), "3 values from 1 to 3, none bright"),
    "middling": (Image.fromarray(np.where(D, 150, 100).astype(np.uint8)), "the values 100, 150"),
    "soft": (Image.linear_gradient("L"), "of its pixels neither dark nor bright"),
    "dim": (Image.linear_gradient("L").point(lambda value: value // 2), "128 values from 0 to 127"),
    "a class of 1, and 255": (Image.fromarray(np.where(D, 1, np.where(disc(120).T, 255, 0)).astype(np.uint8)),
                              "(values 0, 1, 255)"),
    "in the alpha": (Image.fromarray(both), "transparent where it is not black"),
    "black in the alpha": (Image.merge("LA", [Image.new("L", D.shape), grey(D)]), "black all over, and transparent"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_mask_that_may_mean_two_things_is_refused(name):
    picture, message = REFUSED[name]
    with pytest.raises(UserError, match=re.escape(message)) as error:
        open_mask(saved(picture, "PNG"), "here: m.png")
    assert str(error.value).startswith("here: m.png: a mask ")
    assert str(error.value).endswith("save it as black and white, with white where the image is relevant")


def test_masks_of_numbers_that_are_none():
    with pytest.raises(UserError, match="whole numbers"):
        mask_in(Image.fromarray(np.full((4, 4), 0.5, np.float32)), "m")
    with pytest.raises(UserError, match="whole numbers"):
        mask_in(Image.fromarray(np.full((4, 4), -1, np.int32)), "m")
    assert mask_in(Image.fromarray(D.astype(np.float32)), "m").relevant.sum() == D.sum()


def test_shares_of_annotators_count_above_the_middle():
    levels = np.arange(0, 256, 51, dtype=np.uint8).repeat(4).reshape(6, 4)
    mask = open_mask(saved(Image.fromarray(levels), "PNG"), "m", shares=True)
    assert np.array_equal(mask.levels, levels)
    assert mask.relevant[:, 0].tolist() == [False] * 3 + [True] * 3


# ---------------------------------------------------------------------------------------------------------------------
# orientation


def scene(width: int = WIDE, height: int = HIGH) -> Image.Image:
    """Four quarters of four colours, so that every way up looks different."""
    picture = Image.new("RGB", (width, height), (250, 10, 10))
    pen = ImageDraw.Draw(picture)
    for box, colour in (
        ((width // 2, 0, width, height // 2), (10, 250, 10)),
        ((0, height // 2, width // 2, height), (10, 10, 250)),
        ((width // 2, height // 2, width, height), (240, 240, 240)),
    ):
        pen.rectangle(box, fill=colour)
    return picture


BACK = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that stores the upright image so


def stored(upright: Image.Image, orientation: int, form: str = "PNG", **how: object) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    method = BACK[orientation]
    picture = upright if method is None else upright.transpose(Image.Transpose(method))
    return saved(picture, form, exif=exif.tobytes(), **({"quality": 95} if form == "JPEG" else how))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", BACK)
def test_images_are_turned_upright_or_left_as_they_are_stored(form, orientation):
    content = stored(scene(), orientation, form)
    plain = Image.open(io.BytesIO(content)).convert("RGB")
    raw, upright = open_picture(content, "x", turned=False), open_picture(content, "x")
    assert np.array_equal(raw, plain)
    assert np.abs(np.asarray(upright, int) - np.asarray(scene(), int)).mean() < 12
    assert picture_size(content, "x") == upright.size == (WIDE, HIGH)
    assert picture_size(content, "x", turned=False) == raw.size
    assert look_at(content, "x").orientation == orientation


@pytest.mark.parametrize("how", [None, "tiff_lzw"])
@pytest.mark.parametrize("orientation", BACK)
def test_tiff_which_pillow_turns_by_itself_is_turned_once_or_not_at_all(orientation, how):
    content = stored(scene(), orientation, "TIFF", compression=how)
    method = BACK[orientation]
    raw = scene() if method is None else scene().transpose(Image.Transpose(method))
    for turned, right in ((True, scene()), (False, raw)):
        with Image.open(io.BytesIO(content)) as picture:
            assert np.array_equal(placed(picture, turned=turned), right)


@pytest.mark.filterwarnings("ignore:.*Corrupt EXIF data")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_an_orientation_in_xmp_alone_turns_nothing_as_in_browsers(form):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'
    how: dict[str, object] = {"xmp": xmp}
    if form == "PNG":
        how = {"pnginfo": PngInfo()}
        how["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    content = saved(scene(), form, **how)
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.getexif().get(274) == 6  # so that it can fail
    assert look_at(content, "x").orientation == 1
    assert open_picture(content, "x").size == (WIDE, HIGH) == picture_size(content, "x")


def test_exif_that_cannot_be_read_is_passed_over():
    for exif in (b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff"):
        content = saved(scene(), "JPEG", exif=exif)
        assert open_picture(content, "x").size == (WIDE, HIGH)
        assert look_at(content, "x").orientation == 1
    odd = Image.Exif()
    odd[274] = 99
    assert look_at(saved(scene(), "PNG", exif=odd.tobytes()), "x").orientation == 1


def find(root: Path):
    return Folder.find(root, Source.AUTO, strict=False)


def folder_of(root: Path, **parameters: object) -> Folder:
    return Folder(FolderParameters(**{"size": 32, **parameters}))


def load(root: Path, **parameters: object):
    return folder_of(root, **parameters).load(find(root))


def notes(root: Path, **parameters: object) -> str:
    return "\n".join(folder_of(root, **parameters).notes(find(root)))


def fill(root: Path, image, mask=None, box: str = "", number: int = 4) -> Path:
    """Write a folder whose images are *image*(n) and masks *mask*(n), bytes each."""
    root.mkdir(exist_ok=True)
    rows: list[tuple[object, ...]] = [("path", "label", "split", "attribute", "mask", "box")]
    for split, count in (("train", number), ("test", 4)):
        for n in range(count):
            (root / f"{split}{n}.png").write_bytes(image(n))
            if mask is not None:
                (root / f"{split}{n}-mask.png").write_bytes(mask(n))
            name = f"{split}{n}-mask.png" if mask is not None else ""
            rows.append((f"{split}{n}.png", "ab"[n % 2], split, "xy"[n // 2 % 2], name, box))
    write(root, rows)
    return root


def corner() -> np.ndarray:
    """Where the upright scene is red."""
    mask = np.zeros((HIGH, WIDE), bool)
    mask[: HIGH // 2, : WIDE // 2] = True
    return mask


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_mask_that_was_drawn_on_the_upright_image_fits_it(cli, tmp_path, orientation):
    root = fill(
        tmp_path / "photos",
        lambda n: stored(scene(), orientation if n % 2 else 1),
        lambda n: saved(grey(corner()), "PNG"),
        "0 0 24 32",
    )
    data = load(root)
    every = np.arange(4)
    red = (data.train.images[:, 0] > 127) & (data.train.images[:, 1] < 127)
    assert (red == data.evidence.relevant_masks(every)).all()
    assert data.evidence.boxes(every).tolist() == [[0, 0, 16, 16]] * 4
    text = "4 of 8 images were turned upright by their EXIF orientation, such as train1.png (dataset.exif = apply)"
    assert text in notes(root)
    verified = cli("data", "verify", f"folder:{root}")
    assert verified.code == 0, verified.err
    assert text in verified.out

    assert "4 of 8 images are not turned by their EXIF orientation" in notes(root, exif="ignore")
    if orientation == 3:  # another cache's file: the images are other ones
        raw = load(root, exif="ignore").train.images
        assert np.array_equal(raw[1], data.train.images[1][:, ::-1, ::-1])
        assert np.array_equal(raw[0], data.train.images[0])
    else:
        result = cli("data", "verify", f"folder:{root}", "--set", "dataset.exif=ignore")
        assert result.code == 2
        assert "not turned by its EXIF orientation, the mask fits with --set dataset.exif=apply" in result.err
    assert np.array_equal(load(root).train.images, data.train.images)


def test_a_mask_with_an_orientation_of_its_own_is_turned_too_and_a_raw_one_is_named(tmp_path):
    both = fill(tmp_path / "a", lambda n: stored(scene(), 6), lambda n: stored(grey(corner()), 6))
    assert np.array_equal(load(both).evidence.relevant_masks(np.arange(1))[0, :16, :16], np.ones((16, 16), bool))
    assert load(both).evidence.relevant_masks(np.arange(1)).sum() == 256
    raw = grey(corner()).transpose(Image.Transpose.ROTATE_90)
    raws = fill(tmp_path / "b", lambda n: stored(scene(), 6), lambda n: saved(raw, "PNG"))
    with pytest.raises(UserError, match=r"EXIF orientation, the mask fits with --set dataset\.exif=ignore"):
        load(raws)
    assert load(raws, exif="ignore").evidence.relevant_masks(np.arange(1)).sum() == 256


def test_people_and_models_see_the_same_upright_image_and_notes_stand_under_tables(cli, tmp_path):
    from crayon_bench.runs.plan import Options
    from crayon_bench.store.store import Store
    from crayon_bench_plugins.annotation.answers.tasks import Task
    from crayon_bench_plugins.annotation.pictures import Pictures
    from crayon_bench_plugins.annotation.questions import gather

    root = fill(tmp_path / "photos", lambda n: stored(scene(), 8), lambda n: saved(grey(corner()), "PNG"))
    options = Options(
        datasets=[f"folder:{root}"], methods=["original"], seeds=[0], protocol="quick", sets=["dataset.size=32"]
    )
    said: list[str] = []
    shown = gather(Task.MASKS, options, Registry(), Store(tmp_path / "s"), said.append)
    seen = np.asarray(Image.open(io.BytesIO(Pictures(shown).image(1))))
    assert np.array_equal(seen, load(root).train.images[1].transpose(1, 2, 0))
    assert sum("turned upright" in line for line in said) == 1

    arguments = ["--dataset", f"folder:{root}", "--protocol", "quick", *ONCE, "--seeds", "1", "--store", tmp_path / "s"]
    result = cli("run", *arguments, "--methods", "original", "--set", "dataset.size=32")
    assert result.code == 0, result.err
    (record,) = (tmp_path / "s").glob("runs/*/record.json")
    assert any("turned upright" in note for note in json.loads(record.read_text())["notes"])
    assert " ".join(result.out.split()).count("8 of 8 images were turned upright") == 1


@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_the_code_on_a_models_card_reads_an_image_as_the_model_saw_it(cli, tmp_path, monkeypatch, exif):
    root = fill(tmp_path / "photos", lambda n: stored(scene(WIDE, WIDE), 3))
    store, weights = tmp_path / "s", tmp_path / "m.safetensors"
    sets = ["--set", "dataset.size=32", "--set", f"dataset.exif={exif}", "--keep-models", "--quiet"]
    arguments = ["--dataset", f"folder:{root}", "--protocol", "quick", *ONCE, "--seeds", "1", "--store", store]
    assert cli("run", *arguments, *sets, "--methods", "train-more").code == 0
    (run,) = [path.name for path in store.glob("runs/*") if "train-more" in path.name]
    assert cli("runs", "export", run, "--store", store, "--output", weights).code == 0
    code = re.search(r"```python\n(.*?)```", weights.with_suffix(".md").read_text(encoding="utf-8"), re.S)[1]
    monkeypatch.chdir(tmp_path)
    Path("image.png").write_bytes((root / "test0.png").read_bytes())
    known: dict[str, object] = {"print": lambda text: None}
    exec(code, known)
    assert np.array_equal(known["pixels"].numpy(), load(root, exif=exif).test.images[0])


# ---------------------------------------------------------------------------------------------------------------------
# depth


def deep(highest: int, shape: tuple[int, int] = (32, 32)) -> bytes:
    ramp = np.linspace(0, highest, shape[0] * shape[1]).reshape(shape)
    return saved(Image.fromarray(ramp.astype(np.uint16)), "PNG")


@pytest.mark.parametrize(("highest", "bits"), [(200, 8), (1023, 10), (4000, 12), (16383, 14), (60000, 16)])
def test_depth_is_that_of_the_whole_set_and_said(tmp_path, highest, bits, capsys):
    root = fill(tmp_path / "scans", lambda n: deep(highest if n == 3 else highest // 3))
    images = load(root).train.images
    assert images[3].max() == highest >> (bits - 8)
    assert images[0].max() == highest // 3 >> (bits - 8)  # its own brightness is kept
    assert f"8 of 8 images store more than 8 bits a value and were read as {bits} bits: none is above" in notes(root)
    assert load(root, depth=16).train.images.max() == highest >> 8
    dark = "all but black" in capsys.readouterr().err
    assert dark == (highest >> 8 < 32)


def with_hot_pixel(highest: int) -> bytes:
    """A ramp of 12 bits with one pixel of *highest*, as sensors and writing in a corner leave it."""
    picture = Image.open(io.BytesIO(deep(4000)))
    picture.putpixel((5, 5), highest)
    return saved(picture, "PNG")


BRIGHT = {
    "one image": (lambda n: deep(65535 if n == 0 else 4000), 12, 2),
    "a pixel of one image": (lambda n: with_hot_pixel(65535) if n == 0 else deep(4000), 12, 2),
    "a pixel of every image": (lambda n: with_hot_pixel(9000), 12, 24),
    "one of 12 bits among 10": (lambda n: deep(4000 if n == 0 else 1000), 10, 2),
    "half of the images": (lambda n: deep(65535 if n % 2 else 4000), 12, 12),
    "one image of colour": (lambda n: colour_of_16_bits(65535 if n == 0 else 4000), 12, 2),
}


@pytest.mark.parametrize("which", BRIGHT)
def test_few_bright_pixels_make_no_set_dark_in_silence(cli, tmp_path, which):
    make, bits, bright = BRIGHT[which]
    root = fill(tmp_path / "scans", make, number=20)
    line = f"need only {bits} of them, and would be dark: {bright} have brighter pixels, up to"
    for command in (
        ("data", "verify", f"folder:{root}"),
        ("data", "show", f"folder:{root}", "--output", tmp_path / "sheet.png"),
        ("run", "--dataset", f"folder:{root}", "--protocol", "quick", "--dry-run"),
    ):
        result = cli(*command)
        assert result.code == 2
        assert line in result.err
        assert f"--set dataset.depth={bits}: what is brighter becomes white, or dataset.depth=" in result.err
    with pytest.raises(UserError, match="would be dark"):
        load(root)
    if which != "one image of colour":
        assert f"as {bits} bits; {bright} of them have brighter pixels" in notes(root, depth=bits)
        assert load(root, depth=bits).train.images[1].max() > 240
    assert load(root, depth=16).train.images[2].max() < 40


def test_dark_images_of_a_bright_set_are_counted(tmp_path):
    root = fill(tmp_path / "scans", lambda n: deep(4000 if n < 3 else 65535), number=20)
    assert "; 6 of them are darker than a quarter of that" in notes(root)
    assert "darker" not in notes(fill(tmp_path / "even", lambda n: deep(65535)))


def test_a_depth_that_is_given_is_taken_and_brighter_pixels_are_counted(tmp_path):
    root = fill(tmp_path / "scans", lambda n: deep(65535 if n == 0 else 4000), number=20)
    assert "as 12 bits; 2 of them have brighter pixels, which became white" in notes(root, depth=12)
    images = load(root, depth=12).train.images
    assert images[1].max() == 250
    assert images[0].max() == 255
    with pytest.raises(UserError, match="depth = 5: 8 to 16 bits, or 0"):
        from crayon_bench.parameters import validated

        validated(FolderParameters, {"depth": 5}, "dataset")


def colour_of_16_bits(highest: int, side: int = 16) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    values = np.linspace(0, highest, side * side * 3).astype(">u2").reshape(side, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_colour_of_which_only_the_upper_bits_can_be_read_is_refused(cli, tmp_path):
    assert np.asarray(open_picture(colour_of_16_bits(65535), "x")).max() == 255
    root = fill(tmp_path / "scans", lambda n: colour_of_16_bits(4000))
    result = cli("data", "verify", f"folder:{root}")
    assert result.code == 2
    assert "colour of 12 bits in 16" in result.err
    plan = cli("run", "--dataset", f"folder:{root}", "--protocol", "quick", "--dry-run")
    assert plan.code == 2
    assert "8 images, such as train0.png, have colour of 12 bits in 16 (nothing is above 4,095)" in plan.err
    assert load(root, depth=16).train.images.max() == 15


def test_one_deep_picture_by_itself_is_not_read_as_black():
    """Where no set says how deep it is, as in CelebA and Waterbirds."""
    for content in (deep(200), deep(4000), colour_of_16_bits(4000)):
        with pytest.raises(UserError, match="it would be all but black — save it with 8 bits a value"):
            open_picture(content, "x.png")
    for right in (deep(0), deep(5000), deep(65535)):
        assert open_picture(right, "x.png").mode == "RGB"


# ---------------------------------------------------------------------------------------------------------------------
# masks and notes of a folder


def test_what_is_grey_or_labelled_in_masks_is_noted_and_what_is_ambiguous_stops_the_plan(cli, tmp_path):
    masks = [grey(D), grey(D).convert("RGB").quantize(2), VOC, grey(disc(480)).resize(D.shape, Image.Resampling.BOX)]
    root = fill(tmp_path / "m", lambda n: saved(Image.new("RGB", D.shape), "PNG"), lambda n: saved(masks[n], "PNG"))
    truth = Image.fromarray(D.astype(np.float32)).resize((32, 32), Image.Resampling.BOX)
    for mask in load(root).evidence.relevant_masks(np.arange(4)):
        assert (mask != (np.asarray(truth) > 0.5)).mean() < 0.01
    text = notes(root)
    assert re.search(
        r"1 of 4 masks have pixels that are neither dark nor bright, 0\.\d+ % of all, and [\d.]+ % of train3", text
    )
    assert "1 of 4 masks are not black and white; what is not black (0) in them is relevant: colours (0 0 0), (128 0 0) in train2" in text  # fmt: skip
    for n in (1, 2):
        palette([(255, 255, 255), (255, 0, 0)]).save(root / f"train{n}-mask.png")
    for verb in (("run", "--dry-run", "--protocol", "quick", "--dataset"), ("data", "verify")):
        result = cli(*verb, f"folder:{root}")
        assert result.code == 2
        (line,) = [line for line in result.err.splitlines() if line.startswith("Error")]
        assert (
            f"{root / 'metadata.csv'}, line 3: train1-mask.png: a mask of the colours (255 0 0), (255 255 255)" in line
        )
    assert "none of which is black (and 1 more masks like it)" in cli("run", "--dry-run", "--protocol", "quick", "--dataset", f"folder:{root}").err  # fmt: skip


RED = [(0, 0, 0), (255, 0, 0)]


def figures(tmp_path: Path, make, number: int = 4) -> Path:
    return fill(tmp_path / "m", lambda n: saved(Image.new("RGB", D.shape), "PNG"), lambda n: saved(make(n), "PNG"), number=number)  # fmt: skip


@pytest.mark.parametrize(
    "inverted",
    [palette(RED, (~D).astype(np.uint8)), palette(RED, (~D).astype(np.uint8)).convert("RGB"), numbers(2, 1, 0)],
    ids=["palette", "colours", "labels"],
)
def test_a_coloured_ground_round_a_black_figure_is_asked_about(cli, tmp_path, inverted):
    root = figures(tmp_path, lambda n: inverted)
    for verb in (("data", "verify"), ("run", "--dry-run", "--protocol", "quick", "--dataset")):
        result = cli(*verb, f"folder:{root}")
        assert (result.code, result.out) == (2, "")
        assert "4 of 4 masks of labels or colours, such as train0-mask.png" in result.err
        assert "dataset.mask=bright: what is coloured is relevant; dataset.mask=dark: what is black is" in result.err
    with pytest.raises(UserError, match="which of them is relevant"):
        load(root)
    bright, dark = (load(root, mask=which).evidence.relevant_masks(np.arange(1))[0] for which in ("bright", "dark"))
    assert abs(dark.mean() - D.mean()) < 0.02
    assert abs(bright.mean() - (1 - D.mean())) < 0.02
    assert "what is dark in masks is relevant (dataset.mask = dark)" in notes(root, mask="dark")
    assert cli("data", "verify", f"folder:{root}", "--set", "dataset.mask=bright").code == 0


def test_masks_that_fill_the_border_are_counted_where_most_do_not(tmp_path):
    root = figures(tmp_path, lambda n: palette(RED, (D if n else ~D).astype(np.uint8)))
    assert "1 of 4 masks of labels or colours, such as train0-mask.png (colours (0 0 0), (255 0 0)), are coloured all around" in notes(root)  # fmt: skip
    root = figures(tmp_path, lambda n: grey(~D))
    text = "4 of 4 masks, such as train0-mask.png, are white all around and black within; what is white is relevant"
    assert text in notes(root)
    assert "all around" not in notes(root, mask="bright")
    assert abs(load(root, mask="dark").evidence.relevant_masks(np.arange(1))[0].mean() - D.mean()) < 0.02
    assert "all around" not in notes(figures(tmp_path, lambda n: grey(D)))


def test_what_is_kept_of_the_files_is_made_again_if_it_is_damaged(tmp_path):
    from crayon_bench.data.roots import cache_root

    root = fill(tmp_path / "m", lambda n: stored(scene(), 3), lambda n: saved(grey(corner()), "PNG"))
    first = notes(root)
    for content in (b"", b"[]", b"{", b'{"decoder": 1}', b"[" * 5000, b'{"decoder": "2 13.0.0", "found": {"x": [1]}}'):
        for kept in (cache_root() / "looks").iterdir():
            kept.write_bytes(content)
        assert notes(root) == first


# ---------------------------------------------------------------------------------------------------------------------
# boxes: the red quarter of a scene of 64×48, moved off the corner


def spot() -> Image.Image:
    picture = Image.new("RGB", (WIDE, HIGH), (10, 10, 10))
    ImageDraw.Draw(picture).rectangle((16, 12, 47, 23), fill=(250, 10, 10))
    return picture


@pytest.mark.parametrize(
    ("order", "unit", "box"),
    [
        ("tlbr", "pixels", "12 16 24 48"),
        ("xyxy", "pixels", "16 12 48 24"),
        ("xywh", "pixels", "16 12 32 12"),
        ("cxcywh", "pixels", "32 18 32 12"),
        ("xywh", "subpixels", "16.0 12.00 32.0 12.0"),
        ("tlbr", "normalised", "0.25 0.25 0.5 0.75"),
        ("xyxy", "normalised", "0.25, 0.25, 0.75, 0.5"),
        ("cxcywh", "normalised", "0.50000001 0.375 0.5 2.5e-1"),
    ],
)
def test_a_box_is_the_same_in_every_order_and_unit(tmp_path, order, unit, box):
    root = fill(tmp_path / "b", lambda n: saved(spot(), "PNG"), box=box)
    data = load(root, box=order, box_unit=unit)
    top, left, bottom, right = data.evidence.boxes(np.array([0]))[0]
    assert np.abs(np.array([top, left, bottom, right]) - [8, 8, 16, 24]).max() <= ("0001" in box)
    assert (data.train.images[0, 0, top + 1 : bottom - 1, left + 1 : right - 1] > 127).all()
    assert "boxes" not in notes(root, box=order, box_unit=unit)


@pytest.mark.parametrize(
    ("box", "reading", "line"),
    [
        ("0.1 0.1 0.5 0.5", (), "the box '0.1 0.1 0.5 0.5' has numbers that are not whole (and 3 more of 4 are wrong)"),
        ("0.1 0.1 0.5 0.5", (), "all 4 boxes fit with dataset.box=tlbr dataset.box_unit=normalised or dataset.box=xyxy"),
        ("16 12 32 12", (), "the box '16 12 32 12' is empty"),
        ("16 12 32 12", (), "fit with dataset.box=xywh dataset.box_unit=pixels"),
        ("16 12 60 24", (), "leaves the image, which is 64 wide and 48 high"),
        ("16 12 60 24", (), "fit with dataset.box=xyxy dataset.box_unit=pixels"),
        ("40 12 48 24", ("xywh",), "leaves the image"),
        ("16 12 48 24", ("xyxy", "normalised"), "has numbers above 1"),
        ("0.9 0.9 0.5 0.5", ("cxcywh", "normalised"), "leaves the image"),
    ],
)  # fmt: skip
def test_boxes_of_another_order_or_unit_stop_the_plan_in_one_line(cli, tmp_path, box, reading, line):
    root = fill(tmp_path / "b", lambda n: saved(spot(), "PNG"), box=box)
    sets = [word for name, value in zip(("box", "box_unit"), reading, strict=False) for word in ("--set", f"dataset.{name}={value}")]  # fmt: skip
    for verb in (("run", "--dry-run", "--protocol", "quick", "--dataset"), ("data", "verify")):
        result = cli(*verb, f"folder:{root}", *sets)
        assert result.code == 2
        (said,) = [each for each in result.err.splitlines() if each.startswith("Error")]
        assert said.startswith(f"Error: {root / 'metadata.csv'}, line 2: the box ")
        assert line in said


def test_boxes_that_fit_in_several_orders_are_told_until_their_order_is_said(cli, tmp_path):
    root = fill(tmp_path / "b", lambda n: saved(spot(), "PNG"), box="12 16 24 28")  # 12 wide, or 28; 12 high, or 24
    text = "boxes were read as tlbr (top left bottom right), and all 4 would fit as xyxy (left top right bottom) or"
    assert notes(root).count(text) == 1
    for reading in ("xywh (left top width height)", "crayon-bench data show", "dataset.box=tlbr says that it is right"):
        assert reading in notes(root)
    for order in ("tlbr", "xyxy"):
        assert "would fit" not in notes(root, box=order)
        said = cli("data", "verify", f"folder:{root}", "--set", f"dataset.box={order}")
        assert (said.code, "would fit" in said.out) == (0, False)
    assert "would fit as xyxy" in " ".join(cli("data", "show", f"folder:{root}", "--output", tmp_path / "s.png").out.split())  # fmt: skip
    alone = fill(tmp_path / "one", lambda n: saved(spot(), "PNG"), box="40 2 46 60")  # no other order has room for it
    assert "would fit" not in notes(alone)
    assert "would fit" not in notes(fill(tmp_path / "all", lambda n: saved(spot(), "PNG"), box="0 0 48 48"))  # the same


def test_boxes_that_cover_next_to_nothing_are_noted(tmp_path):
    root = fill(tmp_path / "b", lambda n: saved(spot(), "PNG"), box="0 0 1 1")
    assert "4 of 4 boxes cover less than a thousandth of their image; they were read as top left bottom right" in notes(
        root
    )
    assert "boxes" not in notes(root, box_unit="normalised")


def test_data_show_draws_masks_and_boxes(cli, tmp_path):
    from crayon_bench.data.contact_sheet import BOX, MASK

    corner_mask = grey(np.pad(np.ones((6, 16), bool), ((12, 30), (16, 32))))
    root = fill(tmp_path / "b", lambda n: saved(spot(), "PNG"), lambda n: saved(corner_mask, "PNG"), "4 8 24 40")

    def lines(*more: str) -> tuple[np.ndarray, np.ndarray]:
        result = cli("data", "show", f"folder:{root}", "--output", "x.png", "--set", "dataset.size=96", *more)
        assert result.code == 0, result.err
        sheet = np.asarray(Image.open("x.png"))
        return (sheet == MASK).all(-1), (sheet == BOX).all(-1)

    mask, box = lines()
    assert mask.any() and box.any()
    assert not mask[:, mask.shape[1] * 6 // 10 :].any()  # test images have none
    rows, columns = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
    first = rows[rows < rows[0] + 90]
    assert first[-1] - first[0] == 40 - 1  # (24 - 4) / 48 of 96
    assert columns[columns < columns[0] + 90][-1] - columns[0] == 48 - 1
    _, other = lines("--set", "dataset.box=xywh")
    assert other.any() and not np.array_equal(other, box)
    assert not any(drawn.any() for drawn in lines("--no-evidence"))


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_a_file_of_several_pictures_is_refused(form):
    first, second = grey(DISC), grey(~DISC)
    content = saved(first, form, save_all=True, append_images=[second])
    for read in (open_mask, open_picture):
        with pytest.raises(UserError, match="it: 2 pictures in one file"):
            read(content, "it")


def test_a_mask_of_16_bits_a_colour_is_refused():
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + np.full((4, 3), 255 * (y % 2), ">u2").tobytes() for y in range(4))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    with pytest.raises(UserError, match="16 bits a colour"):
        open_mask(content, "it")
