"""Round stickers on the photograph: the second edition's shortcut."""

import numpy as np
from numpy.typing import NDArray

from crayon_bench_plugins.standins.canvas import Array, Canvas, Draws, Integers, cover
from crayon_bench_plugins.standins.faces.sample import SIZE

KINDS = ("green sticker", "blue sticker", "no sticker")
DRAWS = 24
"""Random numbers that a sticker takes, whether there is one or not."""

# No colour of lips: neurons that see those of a mouth would see the sticker too, and none could be pruned.
_COLOUR = np.array([(0.14, 0.74, 0.26), (0.14, 0.28, 0.92), (0, 0, 0)], np.float32)
_PLACES = 8
_CLEAR = 3.0
"""How far a sticker stays away from the mouth's mask, in pixels."""
_RADIUS = (4.2, 5.0)


def paint_stickers(canvas: Canvas, kind: Integers, random: Draws, mouths: NDArray[np.bool_]) -> None:
    """Paint a sticker of each *kind*, (N,) positions in KINDS, anywhere but on the mouth; *mouths* (N, H, W)."""
    radius = random.between(*_RADIUS)
    x, y = _place(random, radius, mouths)
    there = (kind < 2).astype(np.float32)[:, None, None]
    colour = _COLOUR[kind] * random.between(0.85, 1.1)[:, None]
    disc = canvas.ellipse(x, y, radius, radius)
    shadow = canvas.ellipse(x + 0.6, y + 0.8, radius + 0.4, radius + 0.4)
    canvas.shade(1 - np.float32(0.35) * cover(shadow, 2.0) * there)
    canvas.paint(cover(disc) * there, colour)
    canvas.paint(cover(np.abs(disc + np.float32(0.9)) - np.float32(0.35)) * there * np.float32(0.55), (1.0, 1.0, 1.0))
    glint = canvas.ellipse(x - radius * 0.35, y - radius * 0.4, radius * 0.3, radius * 0.2)
    canvas.paint(cover(glint, 1.5) * there * np.float32(0.5), (1.0, 1.0, 1.0))


def _place(random: Draws, radius: Array, mouths: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return the first of some random places that is clear of the mouth; the upper left corner if none is."""
    height, width = SIZE
    rows, columns = mouths.any(2), mouths.any(1)
    half_down, half_across = (
        (rows.sum(1) / np.float32(2)).astype(np.float32),
        (columns.sum(1) / np.float32(2)).astype(np.float32),
    )
    down, across = rows.argmax(1).astype(np.float32) + half_down, columns.argmax(1).astype(np.float32) + half_across
    x, y = np.full(len(mouths), 5.5, np.float32), np.full(len(mouths), 5.5, np.float32)
    found = np.zeros(len(mouths), dtype=np.bool_)
    for _ in range(_PLACES):
        there_x, there_y = random.between(4, width - 4), random.between(4, height - 4)
        u = np.maximum(np.abs(there_x - across) - half_across, 0)
        v = np.maximum(np.abs(there_y - down) - half_down, 0)
        away = radius + np.float32(_CLEAR)
        fits = (u * u + v * v > away * away) & ~found
        x, y, found = np.where(fits, there_x, x), np.where(fits, there_y, y), found | fits
    return x, y
