"""What a picture's pixels are: which way up, how deep, and how eight bits are made of more."""

import re
import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import ExifTags, Image

from crayon_bench.errors import UserError

DEPTHS = (8, 10, 12, 14, 16)
"""Bits that a value of a deep picture may have, however many it is stored in."""

# Pillow warns of damaged EXIF data for the files' author; here they are passed over.
warnings.filterwarnings("ignore", message="(?s).*Corrupt EXIF data")

_TURN = Image.Transpose
_TURNS = {
    2: _TURN.FLIP_LEFT_RIGHT,
    3: _TURN.ROTATE_180,
    4: _TURN.FLIP_TOP_BOTTOM,
    5: _TURN.TRANSPOSE,
    6: _TURN.ROTATE_270,
    7: _TURN.TRANSVERSE,
    8: _TURN.ROTATE_90,
}
_BACK = {_TURN.ROTATE_270: _TURN.ROTATE_90, _TURN.ROTATE_90: _TURN.ROTATE_270}

Deep = Literal["", "grey", "colour"]
"""Whether a picture has more than 8 bits a value. Of colour (and of grey with alpha) Pillow gives the upper 8 alone."""


def check_bits(picture: Image.Image, content: bytes, what: str) -> None:
    """Raise UserError for a BMP that Pillow misreads: whose palette makes 8 or 4 bits a pixel look like 1, or 4 like 8.

    That is a palette of black and white alone, or of the first shades of grey.
    """
    if picture.format == "BMP" and picture.mode in ("1", "L"):
        at = 24 if content[14] == 12 else 28  # how long the header is says which one it is
        bits = int.from_bytes(content[at : at + 2], "little")
        if bits != (1 if picture.mode == "1" else 8):
            raise UserError(f"{what}: a BMP of {bits} bits with a palette that is misread", "save it as PNG")


def orientation_of(picture: Image.Image) -> int:
    """Return the orientation in a picture's EXIF data, 2 to 8; 1 if it is upright, or if they are damaged."""
    try:
        if picture.format == "TIFF":
            tags = getattr(picture, "tag_v2", None)
        else:
            if picture.format == "PNG":
                picture.load()  # EXIF may stand behind the pixels
            for key in ("XML:com.adobe.xmp", "xmp"):  # Pillow takes an orientation from XMP too, and browsers do not
                picture.info.pop(key, None)
            tags = picture.getexif()
        value = tags.get(ExifTags.Base.Orientation) if tags is not None else None
    except Exception:  # what is not understood is passed over, as browsers do
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def placed(picture: Image.Image, *, turned: bool) -> Image.Image:
    """Return a picture that was just opened with its pixels: *turned* upright, or as they are stored."""
    by_itself = picture.format == "TIFF"  # Pillow turns those, and no others, when they are read
    if not by_itself:
        picture.load()
    how = _TURNS.get(orientation_of(picture))
    picture.load()
    if how is None or turned == by_itself:
        return picture
    return picture.transpose(how if turned else _BACK.get(how, how))


def deep_of(picture: Image.Image) -> Deep:
    """Return how a picture that was just opened, and not read yet, has more than 8 bits a value; ``""`` if not."""
    if picture.mode.startswith("I"):
        return "grey"
    for tile in getattr(picture, "tile", ()):
        words = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        if any(isinstance(word, str) and re.match(r"(LA|RGB|RGBA|RGBX|RGBa|CMYK);16", word) for word in words):
            return "colour"
    return ""


def highest_of(picture: Image.Image, deep: Deep, what: str, share: float = 1.0) -> int:
    """Return the value that a *share* of a *deep* picture's pixels do not exceed, 0 to 65535; by default the highest.

    Of colour, it is the highest that its upper 8 bits allow. Raises UserError, which begins with *what*, for values
    that are no brightness of 16 bits.
    """
    pixels = np.asarray(picture if deep == "grey" or picture.mode == "RGB" else picture.convert("RGB"))
    if pixels.size and (pixels.min() < 0 or pixels.max() > 65_535):
        raise UserError(f"{what}: pixels from {pixels.min()} to {pixels.max()}, which no 16 bits hold", _EIGHT)
    highest = int(np.quantile(pixels, share, method="lower")) if pixels.size else 0
    return highest if deep == "grey" else highest << 8 | (255 if highest else 0)


def depth_of(highest: int) -> int:
    """Return the fewest of :data:`DEPTHS` that a set needs in which no value is above *highest*."""
    return next((depth for depth in DEPTHS if highest < 1 << depth), DEPTHS[-1])


def eight_bits(picture: Image.Image, deep: Deep, depth: int | None, what: str) -> Image.Image:
    """Return a picture with its pixels in 8 bits a value.

    depth: bits that a value of a *deep* picture has; what is above becomes white. None: 16, and a picture that is dark
    because it has fewer is refused: one picture does not tell how many. Raises UserError that begins with *what*.
    """
    if picture.mode == "F":
        raise UserError(f"{what}: its pixels are floating-point numbers, whose black and white nothing says", _EIGHT)
    if not deep:
        return picture
    highest = highest_of(picture, deep, what)
    if depth is None:
        if highest and depth_of(highest) <= 12:
            raise UserError(f"{what}: 16 bits a value, and none above {highest:,}: it would be all but black", _EIGHT)
        depth = 16
    if deep == "colour":
        if depth < 16:
            raise UserError(f"{what}: colour of {depth} bits in 16, of which only the upper 8 can be read", _EIGHT)
        return picture
    scaled = np.minimum(np.asarray(picture).astype(np.int64) >> (depth - 8), 255)
    return Image.fromarray(scaled.astype(np.uint8))


def usual_depth(highest: Sequence[int]) -> int:
    """Return the depth that every second of a set's pictures does with, by the *highest* value of each."""
    return depth_of(int(np.quantile(highest, 0.5, method="lower")))


_EIGHT = "save it with 8 bits a value"
