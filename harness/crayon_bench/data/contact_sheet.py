"""A contact sheet: the first images of every group, or class, training on the left, test on the right."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from crayon_bench.dataset import Evidence, Found, LoadedData, Source, Split

_MARGIN, _HEAD, _GAP = 8, 40, 24
_FEW = 8
"""Up to so many groups have a row each; where there are more, classes have."""


MASK, BOX = (255, 212, 0), (0, 224, 255)
"""Colours of what lies over training images: yellow round masks, cyan round boxes."""


def draw(title: str, found: Found, data: LoadedData, per_row: int, *, evidence: bool = True) -> bytes:
    """Return the sheet as PNG bytes: *per_row* images of each split in a row, at least 48 pixels wide, colour 96.

    evidence: outline the masks and boxes of the training images.
    """
    channels, height, width = data.train.images.shape[1:]
    scale = max(1, -(-(48 if channels == 1 else 96) // width))
    cell_w, cell_h = width * scale + 4, height * scale + 4
    by_group = 0 < len(data.group_names) <= _FEW and bool((data.train.groups >= 0).all())
    names = data.group_names if by_group else tuple(f"class {name}" for name in data.class_names)
    # What can be read beside small images cannot beside large ones.
    letters = max(10, min(32, cell_h // 8))
    font = ImageFont.load_default(size=letters)
    head = _HEAD + 2 * (letters - 10)
    label_w = max(70, *(int(font.getlength(name)) + 12 for name in names))
    block = per_row * cell_w
    size = (_MARGIN * 2 + label_w + 2 * block + _GAP, head + len(names) * cell_h + _MARGIN)
    sheet = Image.new("RGB", size, "#bcd0e6")
    pen = ImageDraw.Draw(sheet)
    kind = (
        "STAND-IN data" if found.source is Source.STANDIN else "real data" + ("" if found.verified else ", UNVERIFIED")
    )
    there = [text for what, text in _DRAWN.items() if evidence and data.evidence.has(what)]
    shown = f" ({', '.join(there)})" if there else ""
    pen.text((_MARGIN, 4), f"{title}, {kind}", fill="black", font=font)
    for number, (split_name, split) in enumerate((("training", data.train), ("test", data.test))):
        left = _MARGIN + label_w + number * (block + _GAP)
        text = split_name + (shown if split is data.train else "")
        pen.text((left, head // 2), text, fill="black", font=font)
        for row, name in enumerate(names):
            top = head + row * cell_h
            if number == 0:
                pen.text((_MARGIN, top + (cell_h - letters) // 2), name, fill="black", font=font)
            members = np.flatnonzero((split.groups if by_group else split.labels) == row)[:per_row]
            for column, position in enumerate(members):
                picture = _picture(split, int(position)).resize(
                    (width * scale, height * scale), Image.Resampling.NEAREST
                )
                if evidence and split is data.train:
                    picture = _outlined(picture, data.evidence, int(position), scale)
                sheet.paste(picture, (left + column * cell_w, top))
    out = io.BytesIO()
    sheet.save(out, format="PNG")
    return out.getvalue()


_DRAWN = {"relevant_masks": "yellow: relevant", "boxes": "cyan: box"}


def _outlined(picture: Image.Image, evidence: Evidence, position: int, scale: int) -> Image.Image:
    """Return a training image, enlarged by *scale*, with a line round what is relevant and round its box."""
    pixels = np.array(picture)
    here = np.array([position])
    if evidence.has("relevant_masks"):
        mask = evidence.relevant_masks(here)[0].repeat(scale, axis=0).repeat(scale, axis=1)
        framed = np.pad(mask, 1)
        inner = framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
        pixels[mask & ~inner] = MASK
    picture = Image.fromarray(pixels)
    if evidence.has("boxes"):
        top, left, bottom, right = (int(side) * scale for side in evidence.boxes(here)[0])
        ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), outline=BOX)
    return picture


def _picture(split: Split, position: int) -> Image.Image:
    pixels = split.images[position]
    if len(pixels) == 1:
        return Image.fromarray(pixels[0]).convert("RGB")
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
