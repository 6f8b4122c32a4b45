"""A contact sheet: the first images of every class, training on the left, test on the right."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from crayon_bench.dataset import Found, LoadedData, Source, Split

_MARGIN, _HEAD, _LABEL, _GAP = 8, 40, 70, 24


def draw(title: str, found: Found, data: LoadedData, per_class: int) -> bytes:
    """Return the sheet as PNG bytes: a row per class, *per_class* images of each split, at least 48 pixels wide."""
    height, width = data.train.images.shape[2:]
    scale = max(1, -(-48 // width))
    cell_w, cell_h = width * scale + 4, height * scale + 4
    block = per_class * cell_w
    classes = len(data.class_names)
    sheet = Image.new("RGB", (_MARGIN * 2 + _LABEL + 2 * block + _GAP, _HEAD + classes * cell_h + _MARGIN), "#bcd0e6")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    kind = (
        "STAND-IN data" if found.source is Source.STANDIN else "real data" + ("" if found.verified else ", UNVERIFIED")
    )
    pen.text((_MARGIN, 4), f"{title}, {kind}", fill="black", font=font)
    for number, (name, split) in enumerate((("training", data.train), ("test", data.test))):
        left = _MARGIN + _LABEL + number * (block + _GAP)
        pen.text((left, 20), name, fill="black", font=font)
        for label, class_name in enumerate(data.class_names):
            top = _HEAD + label * cell_h
            if number == 0:
                pen.text((_MARGIN, top + cell_h // 2 - 6), f"class {class_name}", fill="black", font=font)
            for column, position in enumerate(np.flatnonzero(split.labels == label)[:per_class]):
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
