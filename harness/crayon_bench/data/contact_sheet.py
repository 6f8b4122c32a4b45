"""A contact sheet: the first images of every group, or class, training on the left, test on the right."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from crayon_bench.dataset import Found, LoadedData, Source, Split

_MARGIN, _HEAD, _GAP = 8, 40, 24
_FEW = 8
"""Up to so many groups have a row each; where there are more, classes have."""


def draw(title: str, found: Found, data: LoadedData, per_row: int) -> bytes:
    """Return the sheet as PNG bytes: *per_row* images of each split in a row, at least 48 pixels wide, colour 96."""
    channels, height, width = data.train.images.shape[1:]
    scale = max(1, -(-(48 if channels == 1 else 96) // width))
    cell_w, cell_h = width * scale + 4, height * scale + 4
    by_group = 0 < len(data.group_names) <= _FEW and bool((data.train.groups >= 0).all())
    names = data.group_names if by_group else tuple(f"class {name}" for name in data.class_names)
    font = ImageFont.load_default()
    label_w = max(70, *(int(font.getlength(name)) + 12 for name in names))
    block = per_row * cell_w
    size = (_MARGIN * 2 + label_w + 2 * block + _GAP, _HEAD + len(names) * cell_h + _MARGIN)
    sheet = Image.new("RGB", size, "#bcd0e6")
    pen = ImageDraw.Draw(sheet)
    kind = (
        "STAND-IN data" if found.source is Source.STANDIN else "real data" + ("" if found.verified else ", UNVERIFIED")
    )
    pen.text((_MARGIN, 4), f"{title}, {kind}", fill="black", font=font)
    for number, (split_name, split) in enumerate((("training", data.train), ("test", data.test))):
        left = _MARGIN + label_w + number * (block + _GAP)
        pen.text((left, 20), split_name, fill="black", font=font)
        for row, name in enumerate(names):
            top = _HEAD + row * cell_h
            if number == 0:
                pen.text((_MARGIN, top + cell_h // 2 - 6), name, fill="black", font=font)
            members = np.flatnonzero((split.groups if by_group else split.labels) == row)[:per_row]
            for column, position in enumerate(members):
                picture = _picture(split, int(position)).resize(
                    (width * scale, height * scale), Image.Resampling.NEAREST
                )
                sheet.paste(picture, (left + column * cell_w, top))
    out = io.BytesIO()
    sheet.save(out, format="PNG")
    return out.getvalue()


def _picture(split: Split, position: int) -> Image.Image:
    pixels = split.images[position]
    if len(pixels) == 1:
        return Image.fromarray(pixels[0]).convert("RGB")
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
