"""What is round a face: the background, the body and the hair's outline."""

import numpy as np

from crayon_bench_plugins.standins.canvas import Array, Canvas, Draws, cover, join, per_image, spread, wave
from crayon_bench_plugins.standins.faces.sample import SIZE, Faces
from crayon_bench_plugins.standins.faces.worn import cloth_colour

_TOP = np.array(
    [
        (0.62, 0.68, 0.74),
        (0.30, 0.42, 0.30),
        (0.55, 0.74, 0.93),
        (0.80, 0.72, 0.62),
        (0.48, 0.32, 0.26),
        (0.12, 0.12, 0.20),
    ],
    np.float32,
)
_BOTTOM = np.array(
    [
        (0.80, 0.82, 0.84),
        (0.52, 0.60, 0.38),
        (0.46, 0.58, 0.36),
        (0.66, 0.56, 0.48),
        (0.70, 0.52, 0.38),
        (0.32, 0.16, 0.26),
    ],
    np.float32,
)
_NOISE = np.array([0.06, 0.6, 0.2, 0.08, 0.25, 0.6], np.float32)
_STRIPES = np.array([0, 0, 0, 0.14, 0, 0], np.float32)

_HAIR_END = np.array([27, 42, 58, 35, 26], np.float32)
"""Where the hair ends, for short, bob, long, curly, and tied up."""
_HAIR_WIDTH = np.array([15.8, 17.2, 17.6, 18.6, 15.4], np.float32)


def paint_background(canvas: Canvas, faces: Faces, random: Draws, noise: Array) -> None:
    """Paint what is behind the person, over the whole image."""
    height, width = SIZE
    kind = faces.background
    tint = np.stack([random.between(0.85, 1.15), random.between(0.88, 1.12), random.between(0.85, 1.15)], 1)
    top, bottom = _TOP[kind] * tint, _BOTTOM[kind] * tint
    # A straight change of colour from top to bottom, or a horizon where sky meets grass.
    down = canvas.y / height
    horizon = cover((per_image(random.between(26, 40)) - canvas.y), 3)
    share = np.where((kind == 2)[:, None, None], horizon, down)
    for channel in range(3):
        smooth = spread(noise[:, channel], height, width) - np.float32(0.5)
        base = top[:, channel, None, None] + (bottom - top)[:, channel, None, None] * share
        canvas.image[:, channel] = base + smooth * (_NOISE[kind] * np.float32(0.3))[:, None, None]
    common = spread(noise[:, 0] * noise[:, 1], height, width) - np.float32(0.25)
    stripes = np.maximum(wave(canvas.x * per_image(random.between(0.09, 0.14)) + per_image(random.between(0, 1))), 0.25)
    canvas.shade(
        1 + common * (_NOISE[kind] * np.float32(1.8))[:, None, None] + (stripes - 1) * _STRIPES[kind][:, None, None]
    )
    # A window or a picture on the room's wall.
    left = np.where(random.between(0, 1) < 0.5, np.float32(5), np.float32(43))
    frame = canvas.box(left, random.between(10, 18), random.between(5, 8), random.between(7, 10), 0.5)
    room = (kind == 4).astype(np.float32)[:, None, None]
    canvas.paint(cover(frame - 1) * room, (0.34, 0.24, 0.18))
    canvas.paint(
        cover(frame) * room,
        np.stack([random.between(0.5, 0.95), random.between(0.6, 0.9), random.between(0.6, 0.9)], 1),
    )


def hair_strands(canvas: Canvas, random: Draws, x: Array, y: Array) -> Array:
    """Return (N, H, W) in 0–1: how much the hair shines, in strands that fan out from the parting."""
    u, v = canvas.x - per_image(x), canvas.y - per_image(y)
    fan = u / np.sqrt(np.float32(30) + np.maximum(v - 2, 0) * 9)
    fine = wave(fan * per_image(random.between(4.2, 5.5)) + per_image(random.between(0, 1)) + v * np.float32(0.012))
    coarse = wave(fan * per_image(random.between(1.5, 2.2)) + per_image(random.between(0, 1)))
    level = np.sqrt(u * u + (v - 24) * (v - 24) * np.float32(0.75))
    band = np.clip(1 - np.abs(level - per_image(random.between(13.5, 15.5))) * np.float32(0.4), 0, 1)
    # Parentheses fix the order of the additions.
    result: Array = (fine * np.float32(0.24) + coarse * np.float32(0.22)) + band * (
        np.float32(0.25) + fine * np.float32(0.25)
    )
    return result


def hair_shapes(
    canvas: Canvas, faces: Faces, random: Draws, x: Array, y: Array, wide: Array, noise: Array
) -> tuple[Array, Array]:
    """Return the distances to the hair's outline and to the opening in which the face shows."""
    style = faces.style
    half = _HAIR_WIDTH[style] + random.between(-0.6, 0.6)
    crown = 4.2 + y + random.between(-0.8, 0.8)
    end = _HAIR_END[style] + y + random.between(-1.5, 1.5)
    lobe = canvas.ellipse(x, crown + 17.5, half, 17.5)
    fall = canvas.box(x, (crown + 16 + end) / 2, half, np.maximum((end - crown - 16) / 2, 4), 4)
    outline = join(lobe, fall, 2)
    knot = canvas.ellipse(x + random.between(-2, 2), crown - 0.2, 5.5, 4.5)
    outline = np.where((style == 4)[:, None, None], join(outline, knot, 1.5), outline)
    bumps = wave(canvas.x * np.float32(0.17) + per_image(random.between(0, 1))) + wave(
        canvas.y * np.float32(0.16) + per_image(random.between(0, 1))
    )
    outline = outline + (style == 3)[:, None, None] * (bumps - 1) * np.float32(1.6)
    # Half an ellipse above the eyes, a strip below; the parting tilts it, a fringe lowers it.
    hairline = y + random.between(12.6, 14.6) + np.where(random.between(0, 1) < 0.25, np.float32(3), np.float32(0))
    tilt = random.between(-0.22, 0.22)
    u = canvas.x - per_image(x)
    v = np.minimum(canvas.y - 30 + u * per_image(tilt), 0)
    a, b = wide - random.between(0.2, 1.2), 30 - hairline
    p, q = u / per_image(a), v / per_image(b)
    level = np.sqrt(p * p * p * p + q * q * q * q)
    opening: Array = (np.sqrt(level) - 1) * 13
    return outline, opening


def paint_body(canvas: Canvas, random: Draws, skin: Array, x: Array, y: Array, chin: Array) -> None:
    """Paint neck and clothes."""
    low = canvas.window(38, 0, 56, 48)
    neck = low.box(x, 52.0, random.between(6.6, 8.2), 16, 3)
    shade = np.clip((low.y - per_image(chin) - 1) / 7, 0, 1) * np.float32(0.2) + np.float32(0.66)
    low.paint(cover(neck), skin[:, :, None, None] * shade[:, None])
    shirt = cloth_colour(random)
    shoulders = low.ellipse(x, random.between(61.5, 64.5) + y, random.between(21, 25), 13.2)
    collar = low.ellipse(x, 50.0 + y, random.between(6.5, 9.0), random.between(2.5, 5.0))
    cloth = np.maximum(shoulders, -collar)
    folds = np.float32(0.86) + np.float32(0.16) * wave(low.x * np.float32(0.13) + low.y * np.float32(0.05))
    low.paint(cover(cloth), shirt[:, :, None, None] * folds[:, None])
    low.paint(
        cover(np.abs(np.maximum(collar, shoulders)) - np.float32(0.45)) * np.float32(0.7), shirt * np.float32(0.6)
    )
