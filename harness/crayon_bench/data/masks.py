"""What a mask's file says, whatever its format, and the geometry of masks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crayon_bench.errors import UserError

MOST_GREY = 0.2
"""Share of a mask's pixels that may be neither dark nor bright."""
_FEW = 16
"""Up to so many values are levels or labels; more are shades."""
_NAMED = 64
"""Up to so many colours are labels, and numbers below it."""


@dataclass(frozen=True)
class Mask:
    """What a mask's file says.

    relevant: bool (H, W). levels: how bright it is, uint8 (H, W). grey: share of the pixels, 0 to 1, that are neither
    dark nor bright. found: its values or colours, for people, where they are not just two shades of grey.
    """

    relevant: NDArray[np.bool_]
    levels: NDArray[np.uint8]
    grey: float = 0.0
    found: str = ""


def mask_in(picture: Image.Image, what: str, *, shares: bool = False) -> Mask:
    """Return what a picture says as a mask: what is bright, or coloured on black, or not 0 among small numbers.

    Colours count, and never their numbers in a palette. Two values: the brighter one is relevant if the other is 0,
    or dark (below an eighth of white) and itself above the middle. More values: those above the middle, if few pixels
    are neither dark nor bright (above seven eighths); without any bright ones, 0 and a few numbers are labels, and what
    is not 0 is relevant. shares: greys are meant (how many people saw it there); above the middle is relevant.

    Raises UserError, which begins with *what*, where that is ambiguous, and says what was found.
    """
    if picture.mode == "F" or picture.mode.startswith("I"):
        values = _numbers(picture, what)
        mask = _of_grey(values, what, shares=shares)
    else:
        _check_palette(picture, what)
        alpha = "A" in picture.getbands() or "transparency" in picture.info
        pixels = np.asarray(picture.convert("RGBA" if alpha else "RGB"))
        mask = _of_colours(pixels[..., :3], what, shares=shares)
        if alpha and not shares:
            _check_alpha(pixels[..., 3] < 128, mask, what)
    return mask


def _numbers(picture: Image.Image, what: str) -> NDArray[np.int64]:
    values = np.asarray(picture)
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int64)
    if (whole != values).any() or (whole < 0).any():
        raise UserError(f"{what}: a mask with values that are not whole numbers from 0", _MEND)
    return whole


def _check_palette(picture: Image.Image, what: str) -> None:
    """Raise UserError if colours do not tell apart what the numbers of a palette do."""
    if picture.mode != "P":
        return
    used = np.flatnonzero(picture.histogram())
    row = Image.fromarray(used.astype(np.uint8)[None])
    row.putpalette(picture.getpalette() or [0, 0, 0])
    colours = [tuple(colour) for colour in np.asarray(row.convert("RGB"))[0].tolist()]
    if len(used) > 1 and (len(set(colours)) == 1 or colours.count((0, 0, 0)) > 1):
        numbers = ", ".join(str(n) for n, colour in zip(used, colours, strict=True) if colours.count(colour) > 1)
        raise UserError(f"{what}: a mask whose palette gives the numbers {numbers} one and the same colour", _MEND)


def _check_alpha(hidden: NDArray[np.bool_], mask: Mask, what: str) -> None:
    if (mask.relevant & hidden).any():
        raise UserError(f"{what}: a mask that is transparent where it is not black", _MEND)
    if hidden.any() and not hidden.all() and not mask.relevant.any():
        raise UserError(f"{what}: a mask that is black all over, and transparent in parts", _MEND)


def _of_colours(pixels: NDArray[np.uint8], what: str, *, shares: bool) -> Mask:
    brightest = pixels.max(axis=2)
    if shares or int((brightest - pixels.min(axis=2)).max(initial=0)) <= 16:
        return _of_grey(brightest.astype(np.int64), what, shares=shares)
    packed = pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    colours = np.unique(packed)
    if len(colours) > _NAMED or 0 < min(max(_channels(c)) for c in colours if c) < 32:  # shades, of a lossy format
        return _of_grey(brightest.astype(np.int64), what, shares=False)
    names = _listed([f"({' '.join(map(str, _channels(colour)))})" for colour in colours])
    if colours[0] != 0:
        raise UserError(f"{what}: a mask of the colours {names}, none of which is black", _MEND)
    return Mask(packed != 0, brightest, found=f"colours {names}")


def _channels(colour: int) -> tuple[int, int, int]:
    return int(colour) >> 16, int(colour) >> 8 & 255, int(colour) & 255


def _of_grey(values: NDArray[np.int64], what: str, *, shares: bool) -> Mask:
    found, counts = np.unique(values, return_counts=True)
    white = 255 if not len(found) or found[-1] <= 255 else 65_535
    levels = np.minimum(values * 255 // white, 255).astype(np.uint8)
    if shares:
        return Mask(levels > 127, levels)
    if len(found) < 2:
        return Mask(values > 0, levels)
    dark, bright = found <= white // 8, found >= white * 7 / 8
    listed = _listed([str(value) for value in found])
    if len(found) == 2:
        if found[0] == 0 or (dark[0] and found[1] > white // 2):
            return Mask(values == found[1], levels)
        raise UserError(f"{what}: a mask of the values {listed}, which are not dark and bright", _MEND)
    if not bright.any():
        few = len(found) <= (_FEW if white == 255 else 256)
        if found[0] == 0 and (few or found[-1] < _NAMED):
            return Mask(values > 0, levels, found=f"values {listed}")
        raise UserError(f"{what}: a mask of {len(found)} values from {found[0]} to {found[-1]}, none bright", _MEND)
    # Among few values a small one may be the number of a class: it is not passed over as a shade of black.
    between = ~bright & (found > found[0] if len(found) <= _FEW else ~dark)
    grey = float(counts[between].sum() / counts.sum())
    if grey > MOST_GREY or counts[between].sum() > counts[bright].sum():
        values_are = f" (values {listed})" if len(found) <= _FEW else ""
        share = f"{100 * grey:.2g} %"
        raise UserError(f"{what}: a mask with {share} of its pixels neither dark nor bright{values_are}", _MEND)
    return Mask(values > white // 2, levels, grey, f"values {listed}" if grey and len(found) <= _FEW else "")


def _listed(names: list[str]) -> str:
    return ", ".join(names if len(names) <= 6 else [*names[:5], f"… ({len(names)} in all)"])


_MEND = "save it as black and white, with white where the image is relevant"


def border_share(relevant: NDArray[np.bool_]) -> float:
    """Return the share of an image's outermost pixels that are *relevant* (H, W); 0 if all or none of its pixels are.

    Of a mask that shows a figure on a ground it is small, and large if figure and ground changed places.
    """
    if relevant.all() or not relevant.any():
        return 0.0
    edges = [relevant[0], relevant[-1], relevant[1:-1, 0], relevant[1:-1, -1]]
    return float(np.concatenate(edges).mean())


def tight_boxes(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the boxes round what is set in *masks* (n, H, W), int64 (n, 4). Round an empty one: the whole image."""
    sides = []
    for axis in (2, 1):  # any column set → rows that count; any row set → columns
        line: NDArray[np.bool_] = np.any(masks, axis=axis)
        sides.append((line.argmax(axis=1), line.shape[1] - line[:, ::-1].argmax(axis=1)))
    (top, bottom), (left, right) = sides
    return np.stack([top, left, bottom, right], axis=1).astype(np.int64).reshape(-1, 4)


def silent_masks(silent: int, number: int) -> str:
    """Return the note that stands under a table if *silent* of *number* masks of training images tell nothing."""
    what = f"all {number:,} masks" if silent == number else f"{silent:,} of {number:,} masks"
    return f"{what} of training images tell nothing (empty, cropped away, or all of the image): all of it is relevant"
