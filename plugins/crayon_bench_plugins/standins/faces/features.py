"""Head, nose, eyes, mouth and beard."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crayon_bench_plugins.standins.canvas import Array, Canvas, Draws, cover, join, per_image
from crayon_bench_plugins.standins.faces.sample import MOUTH_BOX, Faces

_BEARD = np.array([(0.16, 0.11, 0.09), (0.34, 0.22, 0.14), (0.42, 0.39, 0.37)], np.float32)
_IRIS = np.array([(0.22, 0.13, 0.08), (0.30, 0.42, 0.22), (0.22, 0.40, 0.62), (0.34, 0.24, 0.14)], np.float32)


@dataclass(frozen=True)
class Look:
    """How much a smile differs from a serious mouth: bends in pixels, and the shares of mouths that are open."""

    smile: tuple[float, float]
    serious: tuple[float, float]
    open_smile: float
    open_serious: float


LOOKS = Look((-3.4, -1.9), (-0.8, 0.8), 0.65, 0.3), Look((-4.6, -3.0), (-0.2, 2.4), 0.9, 0.1)
"""Of the first edition; of the second, where the face moves and a smile is harder to find."""


def paint_head(
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


def paint_nose(canvas: Canvas, skin: Array, random: Draws, light: Array, x: Array, y: Array) -> None:
    """Paint the nose, as the light falls on it."""
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


def paint_beard(canvas: Canvas, faces: Faces, random: Draws, head: Array, grain: Array, x: Array, y: Array) -> None:
    """Paint the beard of those who have one, inside the outline of the *head*."""
    tone = random.one_of(_BEARD)
    full = per_image(random.between(0.55, 0.95) * faces.beard.astype(np.float32))
    where = (26, 7, 54, 41)
    part = canvas.window(*where)
    inside = cover(canvas.cut(head, *where) + np.float32(0.2))
    hollow = part.ellipse(x, 28.5 + y, 12.2, 9.0)
    lips = part.ellipse(x, 40.8 + y, 7.2, 2.8)
    area = np.minimum(cover(-hollow, 2.5), cover(-lips, 1.5)) * inside
    texture = np.float32(0.84) + np.float32(0.32) * canvas.cut(grain, *where)
    part.paint(area * full, tone[:, :, None, None] * texture[:, None])
    moustache = part.arc(x, 36.2 + y, 7.0, 1.5, 1.0)
    part.paint(cover(moustache, 1.2) * full * np.float32(0.9), tone)


def paint_eyes(canvas: Canvas, random: Draws, skin: Array, hair: Array, x: Array, y: Array) -> None:
    """Paint eyes and brows, the brows in a shade of the *hair*."""
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


def paint_mouth(
    canvas: Canvas, faces: Faces, random: Draws, skin: Array, x: Array, y: Array, look: Look
) -> NDArray[np.bool_]:
    """Paint the mouth; return its mask, which is the same whether it smiles or not."""
    smiling = faces.smiling == 1
    middle = x + random.between(-0.3, 0.3)
    level = 40.3 + y + random.between(-0.3, 0.3)
    rows = np.abs(canvas.y - np.floor(per_image(level)) - np.float32(0.5)) < 5.6
    columns = np.abs(canvas.x - np.floor(per_image(middle)) - np.float32(0.5)) < 9.6
    mask: NDArray[np.bool_] = rows & columns

    def chosen(if_smiling: Array, if_not: Array) -> Array:
        return np.where(smiling, if_smiling, if_not)

    half = chosen(random.between(6.7, 7.9), random.between(5.7, 7.2))
    # The lips part along two parabolas; a bend is how far the corners lie below the middle.
    bend = chosen(random.between(*look.smile), random.between(*look.serious))
    parted = random.between(0, 1)
    height = chosen(
        np.where(parted < look.open_smile, random.between(2.0, 3.6), np.float32(0)),
        np.where(parted < look.open_serious, random.between(0.8, 2.2), np.float32(0)),
    )
    teeth = chosen(np.ones_like(height), (random.between(0, 1) < 0.5).astype(np.float32))
    full = random.between(0.9, 1.35)
    stick = random.one_of(np.array([(0.80, 0.12, 0.20), (0.70, 0.10, 0.34), (0.85, 0.30, 0.30)], np.float32))
    natural = skin * np.array((0.84, 0.58, 0.57), np.float32)
    lips = np.where((faces.lipstick == 1)[:, None], stick * np.float32(0.6) + natural * np.float32(0.4), natural)

    part = canvas.window(*MOUTH_BOX)
    here = canvas.cut(mask, *MOUTH_BOX).astype(np.float32)
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
