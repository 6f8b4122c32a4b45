"""Drawn faces that stand in for CelebA: the label is the smile, the shortcut is the colour of the hair.

Faces are aligned as CelebA's are: eyes, nose and mouth lie in the same place in every image, up to a pixel. Everything
but the label and the shortcut is drawn independently of both.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crayon_bench_plugins.standins.canvas import Array, Canvas, Draws, cover, join, per_image, spread, to_bytes, wave

SIZE = (56, 48)
"""Height and width in pixels, in the proportions of CelebA's aligned images."""
MOUTH_BOX = (34, 13, 47, 35)
"""Top, left, bottom and right (ends excluded) of the rectangle that contains the mouth in every image."""

Integers = NDArray[np.int64]

_CHUNK = 96
"""Images drawn at once: few enough for the processor's cache."""
_KNOTS = (8, 7)
_DRAWS = 96
"""Random numbers for each image, besides its background's noise and its grain."""

_SKIN = np.array(
    [(0.98, 0.82, 0.72), (0.93, 0.74, 0.60), (0.80, 0.60, 0.45), (0.62, 0.43, 0.31), (0.43, 0.29, 0.21)], np.float32
)
_HAIR = np.array([(0.10, 0.085, 0.085), (0.87, 0.71, 0.40)], np.float32)
_SHINE = np.array([(0.30, 0.29, 0.32), (1.0, 0.92, 0.68)], np.float32)
_DEEP = np.array((0.10, 0.08, 0.075), np.float32)
_BEARD = np.array([(0.16, 0.11, 0.09), (0.34, 0.22, 0.14), (0.42, 0.39, 0.37)], np.float32)
_IRIS = np.array([(0.22, 0.13, 0.08), (0.30, 0.42, 0.22), (0.22, 0.40, 0.62), (0.34, 0.24, 0.14)], np.float32)
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
_LIGHT = np.array([(-1, 0, 1), (1, 0, 1), (0, -1, 1.03), (0, -0.25, 0.74)], np.float32)
"""Where the light comes from, right and down, and how bright it is: from the left, the right, above, and dim."""
_HAIR_END = np.array([27, 42, 58, 35, 26], np.float32)
"""Where the hair ends, for short, bob, long, curly, and tied up."""
_HAIR_WIDTH = np.array([15.8, 17.2, 17.6, 18.6, 15.4], np.float32)


@dataclass(frozen=True)
class Faces:
    """What N faces show; every field is (N,) whole numbers."""

    blond: Integers
    """0 black hair, 1 blond hair: the shortcut."""
    smiling: Integers
    """0 or 1: the label."""
    glasses: Integers
    """0 or 1."""
    hat: Integers
    """0 or 1."""
    beard: Integers
    """0 or 1."""
    lipstick: Integers
    """0 or 1."""
    style: Integers
    """0 short hair, 1 bob, 2 long, 3 curly, 4 tied up."""
    skin: Integers
    """0 palest to 4 darkest."""
    background: Integers
    """0 studio, 1 leaves, 2 sky and grass, 3 panelled wall, 4 room, 5 stage."""
    light: Integers
    """0 from the left, 1 from the right, 2 from above, 3 dim."""


def sample_faces(blond: Integers, smiling: Integers, random: np.random.RandomState) -> Faces:
    """Return faces with this hair and these smiles, (N,) each of 0 or 1, everything else drawn at random."""
    blond, smiling = np.asarray(blond, dtype=np.int64), np.asarray(smiling, dtype=np.int64)
    if blond.ndim != 1 or blond.shape != smiling.shape:
        raise ValueError(f"blond and smiling must be (N,) each, not {blond.shape} and {smiling.shape}")
    draw = random.random_sample((len(blond), 8))

    def chance(column: int, probability: float) -> Integers:
        return (draw[:, column] < probability).astype(np.int64)

    def one_of(column: int, kinds: int) -> Integers:
        return np.floor(draw[:, column] * kinds).astype(np.int64)

    return Faces(
        blond=blond,
        smiling=smiling,
        glasses=chance(0, 0.25),
        hat=chance(1, 0.2),
        beard=chance(2, 0.2),
        lipstick=chance(3, 0.35),
        style=one_of(4, 5),
        skin=one_of(5, 5),
        background=one_of(6, 6),
        light=one_of(7, 4),
    )


def draw_faces(faces: Faces, random: np.random.RandomState) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return images (N, 3, 56, 48) and masks (N, 56, 48) of the mouth, a rectangle inside MOUTH_BOX.

    How many random numbers an image takes does not depend on what it shows. From the same state of *random*, two faces
    that differ only in ``smiling`` differ only inside the mask, and two that differ only in ``blond`` only outside
    MOUTH_BOX.
    """
    height, width = SIZE
    n = len(faces.blond)
    images = np.empty((n, 3, height, width), dtype=np.uint8)
    masks = np.empty((n, height, width), dtype=np.bool_)
    for start in range(0, n, _CHUNK):
        part = slice(start, start + _CHUNK)
        some = Faces(**{name: values[part] for name, values in vars(faces).items()})
        # A row of numbers for each image: an image does not depend on how many are drawn after it.
        grid = 3 * _KNOTS[0] * _KNOTS[1]
        draws = random.random_sample((len(some.blond), _DRAWS + grid + height * width)).astype(np.float32)
        noise = draws[:, _DRAWS : _DRAWS + grid].reshape(-1, 3, *_KNOTS)
        grain = draws[:, _DRAWS + grid :].reshape(-1, height, width)
        images[part], masks[part] = _draw(some, draws[:, :_DRAWS], noise, grain)
    return images, masks


def _draw(faces: Faces, draws: Array, noise: Array, grain: Array) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    height, width = SIZE
    n = len(faces.blond)
    canvas = Canvas.blank(n, height, width)
    random = Draws(draws)
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

    _background(canvas, faces, random, noise)
    strands = _strands(canvas, random, x, y)
    outline, opening = _hair_shapes(canvas, faces, random, x, y, wide, noise)
    tones = hair[:, :, None, None] + (shine - hair)[:, :, None, None] * strands[:, None]
    # Behind the neck all hair is in deep shadow: the mouth box's lower corners look the same whatever its colour.
    top, left, _, right = MOUTH_BOX
    beside = np.clip((np.abs(canvas.x - (left + right) / 2) - (right - left - 1) / 2) / 2, 0, 1)
    lit = np.maximum(beside, np.clip(top - canvas.y, 0, 1))[:, None]
    behind = tones * (lit * np.float32(0.72)) + _DEEP[None, :, None, None] * (1 - lit)
    canvas.paint(cover(outline, 1.4), behind)
    _body(canvas, random, skin, x, y, chin)
    head = _head(canvas, random, skin, light, x, y, wide, chin)
    _nose(canvas, skin, random, light, x, y)
    _beard(canvas, faces, random, head, grain, x, y)
    _eyes(canvas, random, skin, hair, x, y)
    mask = _mouth(canvas, faces, random, skin, x, y)
    canvas.paint(cover(np.maximum(outline, -opening), 1.2), tones)
    # The hair's shadow on the forehead.
    fringe = canvas.window(10, 8, 26, 40)
    near = np.clip(1 + opening[:, 10:26, 8:40] / 2.5, 0, 1) * cover(opening)[:, 10:26, 8:40]
    fringe.shade(1 - np.float32(0.22) * near * cover(head[:, 10:26, 8:40]))
    _glasses(canvas, faces, random, x, y)
    _hat(canvas, faces, random, x, y)

    across, down = (canvas.x - 24) / 24, (canvas.y - 28) / 28
    fall = light[:, 0, None, None] * across * np.float32(0.16) + light[:, 1, None, None] * down * np.float32(0.14)
    canvas.shade((1 + fall) * light[:, 2, None, None])
    canvas.image[...] += ((grain - np.float32(0.5)) * np.float32(0.035))[:, None]
    return to_bytes(canvas.image), mask


def _background(canvas: Canvas, faces: Faces, random: Draws, noise: Array) -> None:
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


def _strands(canvas: Canvas, random: Draws, x: Array, y: Array) -> Array:
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


def _hair_shapes(
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


def _body(canvas: Canvas, random: Draws, skin: Array, x: Array, y: Array, chin: Array) -> None:
    low = canvas.window(38, 0, 56, 48)
    neck = low.box(x, 52.0, random.between(6.6, 8.2), 16, 3)
    shade = np.clip((low.y - per_image(chin) - 1) / 7, 0, 1) * np.float32(0.2) + np.float32(0.66)
    low.paint(cover(neck), skin[:, :, None, None] * shade[:, None])
    shirt = _cloth(random)
    shoulders = low.ellipse(x, random.between(61.5, 64.5) + y, random.between(21, 25), 13.2)
    collar = low.ellipse(x, 50.0 + y, random.between(6.5, 9.0), random.between(2.5, 5.0))
    cloth = np.maximum(shoulders, -collar)
    folds = np.float32(0.86) + np.float32(0.16) * wave(low.x * np.float32(0.13) + low.y * np.float32(0.05))
    low.paint(cover(cloth), shirt[:, :, None, None] * folds[:, None])
    low.paint(
        cover(np.abs(np.maximum(collar, shoulders)) - np.float32(0.45)) * np.float32(0.7), shirt * np.float32(0.6)
    )


def _cloth(random: Draws) -> Array:
    """Return (N, 3): a muted colour."""
    grey = random.between(0.1, 0.85)
    colour = np.stack([random.between(0.0, 1.0), random.between(0.0, 1.0), random.between(0.0, 1.0)], 1)
    mixed: Array = grey[:, None] * np.float32(0.55) + colour * np.float32(0.42)
    return mixed


def _head(
    canvas: Canvas, random: Draws, skin: Array, light: Array, x: Array, y: Array, wide: Array, chin: Array
) -> Array:
    """Paint the ears and the face; return the distance to the face's outline."""
    sides = canvas.window(20, 4, 40, 44)
    for side in (-1, 1):
        ear = sides.ellipse(x + side * (wide + 0.5), 29.5 + y, 2.3, 4.2)
        sides.paint(cover(ear), skin * np.float32(0.86))
        sides.paint(cover(ear + np.float32(1.3)) * np.float32(0.5), skin * np.float32(0.62))
    skull = canvas.ellipse(x, 25.5 + y, wide, 18.5)
    jaw = canvas.ellipse(x, chin - 13, wide * random.between(0.84, 0.95), 13.0)
    head = join(skull, jaw, 4)
    u, v = (canvas.x - per_image(x)) / per_image(wide + 1), (canvas.y - per_image(y) - 28) / 23
    facing = np.sqrt(np.maximum(1 - u * u - v * v * np.float32(0.8), np.float32(0.03)))
    lit = u * light[:, 0, None, None] + v * light[:, 1, None, None]
    tone = np.float32(0.70) + facing * np.float32(0.32) + lit * np.float32(0.20)
    colour = skin[:, :, None, None] * tone[:, None]
    # Shadows are redder than lit skin.
    colour[:, 1:] *= (np.float32(0.9) + np.float32(0.1) * np.minimum(tone, 1))[:, None]
    canvas.paint(cover(head), colour)
    # Cheeks, forehead, and the hollow of the eyes.
    middle = canvas.window(12, 8, 46, 40)
    blush = random.between(0.05, 0.22)
    for side in (-1, 1):
        cheek = cover(middle.ellipse(x + side * 8.3, 34.5 + y, 4.6, 3.4), 4) * per_image(blush)
        middle.paint(cheek, skin * np.array((1.0, 0.62, 0.58), np.float32))
        socket = cover(middle.ellipse(x + side * 6.3, 25.6 + y, 4.6, 3.0), 4)
        middle.shade(1 - np.float32(0.16) * socket)
    glow = cover(middle.ellipse(x + light[:, 0] * 3, 17.5 + y, 6.0, 2.6), 4)
    middle.shade(1 + np.float32(0.07) * glow)
    below = cover(middle.ellipse(x, 46.0 + y, 4.5, 1.2), 3)
    middle.shade(1 - np.float32(0.06) * below)
    return head


def _nose(canvas: Canvas, skin: Array, random: Draws, light: Array, x: Array, y: Array) -> None:
    part = canvas.window(22, 17, 38, 31)
    wing = random.between(2.3, 3.0)
    tip = 33.2 + y + random.between(-0.5, 0.5)
    away = np.where(light[:, 0] > 0, np.float32(-1), np.float32(1))
    side = part.stroke(x + away * 1.2, 25 + y, x + away * 2.4, tip - 0.6, 0.4, 0.9)
    part.shade(1 - np.float32(0.17) * cover(side, 1.6))
    ridge = part.stroke(x - away * 0.3, 25.5 + y, x - away * 0.2, tip - 1.2, 0.5, 1.0)
    part.shade(1 + np.float32(0.11) * cover(ridge, 1.6))
    under = part.arc(x, tip + 1.2, wing + 0.4, -0.9, 0.7)
    part.shade(1 - np.float32(0.26) * cover(under, 1.4))
    for sign in (-1, 1):
        part.shade(1 - np.float32(0.42) * cover(part.ellipse(x + sign * (wing - 1.0), tip + 0.7, 0.85, 0.55)))


def _beard(canvas: Canvas, faces: Faces, random: Draws, head: Array, grain: Array, x: Array, y: Array) -> None:
    tone = random.one_of(_BEARD)
    full = per_image(random.between(0.55, 0.95) * faces.beard.astype(np.float32))
    part = canvas.window(26, 7, 54, 41)
    inside = cover(head[:, 26:54, 7:41] + np.float32(0.2))
    hollow = part.ellipse(x, 28.5 + y, 12.2, 9.0)
    lips = part.ellipse(x, 40.8 + y, 7.2, 2.8)
    area = np.minimum(cover(-hollow, 2.5), cover(-lips, 1.5)) * inside
    texture = np.float32(0.84) + np.float32(0.32) * grain[:, 26:54, 7:41]
    part.paint(area * full, tone[:, :, None, None] * texture[:, None])
    moustache = part.arc(x, 36.2 + y, 7.0, 1.5, 1.0)
    part.paint(cover(moustache, 1.2) * full * np.float32(0.9), tone)


def _eyes(canvas: Canvas, random: Draws, skin: Array, hair: Array, x: Array, y: Array) -> None:
    part = canvas.window(17, 8, 32, 40)
    iris = random.one_of(_IRIS)
    brow = hair * np.float32(0.45) + skin * np.float32(0.2)
    gap = random.between(6.0, 6.6)
    open_ = random.between(1.55, 2.15)
    look = random.between(-0.5, 0.5)
    raised = random.between(-0.7, 0.5)
    slant = random.between(-0.15, 0.04)
    thick = random.between(0.6, 1.0)
    level = 26.6 + y
    for side in (-1, 1):
        centre = x + side * gap
        white = part.ellipse(centre, level, 3.2, open_)
        part.paint(cover(white), (0.95, 0.94, 0.93))
        eye = cover(white)
        part.paint(np.minimum(cover(part.ellipse(centre + look, level - 0.1, 1.75, 1.75)), eye), iris)
        part.paint(np.minimum(cover(part.ellipse(centre + look, level - 0.1, 0.8, 0.8)), eye), (0.03, 0.03, 0.04))
        part.paint(cover(part.ellipse(centre + look + 0.6, level - 0.8, 0.5, 0.5)), (1.0, 1.0, 1.0))
        lid = part.arc(centre, level - open_, 3.5, open_ * 0.85, 0.62)
        part.paint(cover(lid) * np.float32(0.85), (0.10, 0.07, 0.06))
        lower = part.arc(centre, level + open_ + 0.3, 3.0, open_ * -0.7, 0.4)
        part.shade(1 - np.float32(0.25) * cover(lower))
        part.paint(
            cover(
                part.stroke(
                    centre - side * 3.2, 22.0 + y + raised + slant * 6, centre + side * 0.8, 20.9 + y + raised, thick
                )
            )
            * np.float32(0.9),
            brow,
        )
        part.paint(
            cover(
                part.stroke(
                    centre + side * 0.8, 20.9 + y + raised, centre + side * 4.0, 22.2 + y + raised, thick, thick * 0.4
                )
            )
            * np.float32(0.9),
            brow,
        )


def _mouth(canvas: Canvas, faces: Faces, random: Draws, skin: Array, x: Array, y: Array) -> NDArray[np.bool_]:
    """Paint the mouth; return its mask, which is the same whether it smiles or not."""
    smiling = faces.smiling == 1
    middle = x + random.between(-0.3, 0.3)
    level = 40.3 + y + random.between(-0.3, 0.3)
    top, left, bottom, right = MOUTH_BOX
    rows = np.abs(canvas.y - np.floor(per_image(level)) - np.float32(0.5)) < 5.6
    columns = np.abs(canvas.x - np.floor(per_image(middle)) - np.float32(0.5)) < 9.6
    mask: NDArray[np.bool_] = rows & columns

    def chosen(if_smiling: Array, if_not: Array) -> Array:
        return np.where(smiling, if_smiling, if_not)

    half = chosen(random.between(6.7, 7.9), random.between(5.7, 7.2))
    # The lips part along two parabolas; a bend is how far the corners lie below the middle.
    bend = chosen(random.between(-3.4, -1.9), random.between(-0.8, 0.8))
    parted = random.between(0, 1)
    height = chosen(
        np.where(parted < 0.65, random.between(2.0, 3.6), np.float32(0)),
        np.where(parted < 0.3, random.between(0.8, 2.2), np.float32(0)),
    )
    teeth = chosen(np.ones_like(height), (random.between(0, 1) < 0.5).astype(np.float32))
    full = random.between(0.9, 1.35)
    stick = random.one_of(np.array([(0.80, 0.12, 0.20), (0.70, 0.10, 0.34), (0.85, 0.30, 0.30)], np.float32))
    natural = skin * np.array((0.84, 0.58, 0.57), np.float32)
    lips = np.where((faces.lipstick == 1)[:, None], stick * np.float32(0.6) + natural * np.float32(0.4), natural)

    part = canvas.window(top, left, bottom, right)
    here = mask[:, top:bottom, left:right].astype(np.float32)
    # The upper lip's edge bends less than the lower one's when the mouth is open.
    upper_bend = bend + height * 0.62
    upper = level - bend * 0.55 - height * 0.55
    lower = upper + height
    corner = upper + upper_bend
    lower_bend = corner - lower
    part.paint(
        cover(part.arc(middle, upper - full * 0.7, half, upper_bend + full * 0.6, full), 1.2) * here,
        lips * np.float32(0.88),
    )
    part.paint(
        cover(part.arc(middle, lower + full * 0.9, half * 0.88, lower_bend * 0.9 - full * 0.5, full * 1.1), 1.2) * here,
        lips,
    )
    part.paint(
        cover(part.arc(middle, lower + full * 1.0, half * 0.4, lower_bend * 0.16, 0.45), 1.4) * here * np.float32(0.3),
        (1.0, 0.92, 0.9),
    )
    t = (part.x - per_image(middle)) / per_image(half)
    above = (per_image(upper) + per_image(upper_bend) * t * t) - part.y
    under = part.y - (per_image(lower) + per_image(lower_bend) * t * t)
    gap = np.maximum(np.maximum(above, under), (np.abs(t) - 1) * per_image(half))
    wide_open = (height > 0).astype(np.float32)[:, None, None]
    part.paint(cover(gap) * here * wide_open, (0.26, 0.07, 0.08))
    bite = np.maximum(gap, part.y - per_image(upper + np.maximum(height * 0.72, 1)) - per_image(upper_bend) * t * t)
    part.paint(cover(np.maximum(bite, np.abs(t) * 8 - 7)) * here * wide_open * per_image(teeth), (0.97, 0.96, 0.93))
    line = part.arc(middle, upper, half, upper_bend, 0.5)
    part.paint(cover(line) * here * (1 - wide_open * np.float32(0.6)) * np.float32(0.8), lips * np.float32(0.38))
    # Corners, and the creases beside a smile.
    for side in (-1, 1):
        dot = part.ellipse(middle + side * half, corner, 0.9, 0.7)
        part.shade(1 - np.float32(0.4) * cover(dot, 1.3) * here)
        crease = part.stroke(middle + side * (half + 0.6), level - 3.6, middle + side * (half + 1.3), level - 0.2, 0.35)
        part.shade(1 - np.float32(0.2) * cover(crease, 1.3) * here * smiling[:, None, None])
    return mask


def _glasses(canvas: Canvas, faces: Faces, random: Draws, x: Array, y: Array) -> None:
    part = canvas.window(19, 6, 35, 42)
    worn = faces.glasses.astype(np.float32)[:, None, None]
    frame = np.stack([random.between(0.05, 0.5), random.between(0.04, 0.25), random.between(0.04, 0.3)], 1)
    a, b = random.between(4.3, 5.1), random.between(3.2, 4.2)
    corner = np.minimum(random.between(1.5, 4.5), b)
    thick = per_image(random.between(0.4, 0.75))
    tinted = per_image(random.between(0.0, 0.28))
    for side in (-1, 1):
        lens = part.box(x + side * 6.4, 27.0 + y, a, b, corner)
        part.paint(cover(lens) * worn * tinted, (0.25, 0.3, 0.36))
        glint = part.stroke(x + side * 6.4 + 0.8, 28.6 + y, x + side * 6.4 + 2.6, 25.6 + y, 0.35)
        part.paint(cover(glint) * worn * np.float32(0.35), (1.0, 1.0, 1.0))
        part.paint(cover(np.abs(lens) - thick) * worn, frame)
        part.paint(cover(part.stroke(x + side * (6.4 + a), 26.0 + y, x + side * 14.6, 26.2 + y, 0.5)) * worn, frame)
    bridge = part.arc(x, 25.6 + y, 6.6 - a + 0.3, 0.8, 0.6)
    part.paint(cover(bridge) * worn, frame)


def _hat(canvas: Canvas, faces: Faces, random: Draws, x: Array, y: Array) -> None:
    part = canvas.window(0, 3, 20, 45)
    worn = faces.hat.astype(np.float32)[:, None, None]
    colour, band = _cloth(random), _cloth(random)
    kind = random.between(0, 1)
    edge = 11.5 + y
    dome = np.maximum(part.ellipse(x, edge, 15.8, random.between(9.6, 11.2)), part.y - per_image(edge))
    # A straw hat and a peaked cap have a brim, a woollen hat a turned-up edge.
    woollen = (kind < 0.4)[:, None, None]
    ribs = np.where(woollen, np.float32(0.8) + np.float32(0.3) * wave(part.x * np.float32(0.31)), np.float32(1.0))
    u = (part.x - per_image(x)) / 17
    curve = np.float32(1.05) - u * u * np.float32(0.35) + (per_image(edge) - part.y) * np.float32(0.012)
    part.paint(cover(dome) * worn, colour[:, :, None, None] * (ribs * curve)[:, None])
    rim = np.where(
        woollen, part.box(x, edge, 16.4, 2.2, 1.5), part.stroke(x - 18.5, edge + 1.2, x + 18.5, edge + 1.2, 1.2)
    )
    part.paint(cover(rim) * worn, band[:, :, None, None] * (ribs * curve)[:, None])
    under = part.box(x, edge + 3.0, 13.0, 0.6, 0.5)
    part.shade(1 - np.float32(0.3) * cover(under, 1.5) * worn)
