"""A face, part by part, from the background to the hat."""

import numpy as np
from numpy.typing import NDArray

from crayon_bench_plugins.standins.canvas import CHUNK, Array, Canvas, Draws, Integers, cover, to_bytes
from crayon_bench_plugins.standins.faces.around import hair_shapes, hair_strands, paint_background, paint_body
from crayon_bench_plugins.standins.faces.features import (
    LOOKS,
    Look,
    paint_beard,
    paint_eyes,
    paint_head,
    paint_mouth,
    paint_nose,
)
from crayon_bench_plugins.standins.faces.sample import MOUTH_BOX, SIZE, Faces
from crayon_bench_plugins.standins.faces.stickers import DRAWS as STICKER_DRAWS, paint_stickers
from crayon_bench_plugins.standins.faces.worn import paint_glasses, paint_hat

_KNOTS = (8, 7)
_DRAWS = 96
"""Random numbers for each image, besides its background's noise and its grain."""

_SKIN = np.array(
    [(0.98, 0.82, 0.72), (0.93, 0.74, 0.60), (0.80, 0.60, 0.45), (0.62, 0.43, 0.31), (0.43, 0.29, 0.21)], np.float32
)
_HAIR = np.array([(0.10, 0.085, 0.085), (0.87, 0.71, 0.40)], np.float32)
_SHINE = np.array([(0.30, 0.29, 0.32), (1.0, 0.92, 0.68)], np.float32)
_DEEP = np.array((0.10, 0.08, 0.075), np.float32)

_LIGHT = np.array([(-1, 0, 1), (1, 0, 1), (0, -1, 1.03), (0, -0.25, 0.74)], np.float32)
"""Where the light comes from, right and down, and how bright it is: from the left, the right, above, and dim."""


MOVED = (6, 8)
"""How far a face is moved down and across at most, in pixels, in the second edition."""


def draw_faces(
    faces: Faces, random: np.random.RandomState, stickers: Integers | None = None, look: Look | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return images (N, 3, 56, 48) and masks (N, 56, 48) of the mouth, a rectangle inside MOUTH_BOX.

    How many random numbers an image takes does not depend on what it shows. From the same state of *random*, two faces
    that differ only in ``smiling`` differ only inside the mask, and two that differ only in ``blond`` only outside
    MOUTH_BOX.

    stickers: (N,) positions in :data:`~crayon_bench_plugins.standins.faces.stickers.KINDS`, for the second edition:
    faces are moved by up to MOVED, the mouth and its box with them, and two that differ only in the sticker are the
    same inside the mask. look: how much a smile shows, in place of the edition's own.
    """
    look = look or LOOKS[stickers is not None]
    more = 0 if stickers is None else 2 + STICKER_DRAWS
    height, width = SIZE
    n = len(faces.blond)
    images = np.empty((n, 3, height, width), dtype=np.uint8)
    masks = np.empty((n, height, width), dtype=np.bool_)
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        some = Faces(**{name: values[part] for name, values in vars(faces).items()})
        # A row of numbers for each image: an image does not depend on how many are drawn after it.
        grid = 3 * _KNOTS[0] * _KNOTS[1]
        draws = random.random_sample((len(some.blond), _DRAWS + grid + height * width + more)).astype(np.float32)
        noise = draws[:, _DRAWS : _DRAWS + grid].reshape(-1, 3, *_KNOTS)
        grain = draws[:, _DRAWS + grid : _DRAWS + grid + height * width].reshape(-1, height, width)
        canvas, frame = Canvas.blank(len(some.blond), height, width), None
        if stickers is not None:
            last = Draws(draws[:, draws.shape[1] - more :])
            down, across = (np.rint(last.between(-far, far)) for far in MOVED)
            frame, canvas = canvas, canvas.moved(down, across, MOVED)
        masks[part] = _paint(canvas, some, Draws(draws[:, :_DRAWS]), noise, grain, look)
        if frame is not None and stickers is not None:
            paint_stickers(frame, stickers[part], last, masks[part])
        canvas.image[...] += ((grain - np.float32(0.5)) * np.float32(0.035))[:, None]
        images[part] = to_bytes(canvas.image)
    return images, masks


def _paint(canvas: Canvas, faces: Faces, random: Draws, noise: Array, grain: Array, look: Look) -> NDArray[np.bool_]:
    n = len(faces.blond)
    x = 24 + random.between(-0.6, 0.6)
    y = random.between(-0.6, 0.6)
    wide = random.between(13.0, 14.4)
    chin = 49.2 + y + random.between(-0.9, 0.9)
    light = _LIGHT[faces.light]
    skin = _SKIN[faces.skin] * random.between(0.95, 1.04)[:, None]
    skin = skin * np.stack([np.ones(n, np.float32), random.between(0.97, 1.03), random.between(0.94, 1.05)], 1)
    tint = np.stack([random.between(0.92, 1.06), random.between(0.94, 1.04), random.between(0.85, 1.1)], 1)
    hair = _HAIR[faces.blond] * tint
    shine = _SHINE[faces.blond]

    paint_background(canvas, faces, random, noise)
    strands = hair_strands(canvas, random, x, y)
    outline, opening = hair_shapes(canvas, faces, random, x, y, wide, noise)
    tones = hair[:, :, None, None] + (shine - hair)[:, :, None, None] * strands[:, None]
    # Behind the neck all hair is in deep shadow: the mouth box's lower corners look the same whatever its colour.
    top, left, _, right = MOUTH_BOX
    beside = np.clip((np.abs(canvas.x - (left + right) / 2) - (right - left - 1) / 2) / 2, 0, 1)
    lit = np.maximum(beside, np.clip(top - canvas.y, 0, 1))[:, None]
    behind = tones * (lit * np.float32(0.72)) + _DEEP[None, :, None, None] * (1 - lit)
    canvas.paint(cover(outline, 1.4), behind)
    paint_body(canvas, random, skin, x, y, chin)
    head = paint_head(canvas, random, skin, light, x, y, wide, chin)
    paint_nose(canvas, skin, random, light, x, y)
    paint_beard(canvas, faces, random, head, grain, x, y)
    paint_eyes(canvas, random, skin, hair, x, y)
    mask = paint_mouth(canvas, faces, random, skin, x, y, look)
    canvas.paint(cover(np.maximum(outline, -opening), 1.2), tones)
    # The hair's shadow on the forehead.
    where = (10, 8, 26, 40)
    fringe = canvas.window(*where)
    near = np.clip(1 + canvas.cut(opening, *where) / 2.5, 0, 1) * cover(canvas.cut(opening, *where))
    fringe.shade(1 - np.float32(0.22) * near * cover(canvas.cut(head, *where)))
    paint_glasses(canvas, faces, random, x, y)
    paint_hat(canvas, faces, random, x, y)

    across, down = (canvas.x - 24) / 24, (canvas.y - 28) / 28
    fall = light[:, 0, None, None] * across * np.float32(0.16) + light[:, 1, None, None] * down * np.float32(0.14)
    canvas.shade((1 + fall) * light[:, 2, None, None])
    return mask
