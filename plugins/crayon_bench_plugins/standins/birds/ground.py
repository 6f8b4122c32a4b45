"""Open ground, and what may stand or lie on it: a bush or a pond."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crayon_bench_plugins.standins.birds.sample import SIZE
from crayon_bench_plugins.standins.canvas import Array, Canvas, Draws, cover, join, per_image, spread, wave

PLACES = 12
"""How many places are tried for a bush or a pond."""
GAP = 6
"""Pixels that a bush or a pond is away from the bird, if one of the places is: what a neuron of the small CNN sees of
one then has nothing of the other."""

BUSH = (6.6, 8.4), (3.4, 4.4)
POND = (6.8, 8.8), (3.2, 4.2)
"""Half widths and half heights, in pixels, from the least to the largest."""

_HIGH = np.array([(0.74, 0.77, 0.81), (0.83, 0.81, 0.77), (0.72, 0.72, 0.76), (0.84, 0.82, 0.78)], np.float32)
_LOW = np.array([(0.87, 0.87, 0.88), (0.92, 0.87, 0.78), (0.86, 0.80, 0.78), (0.92, 0.88, 0.78)], np.float32)
"""The sky at the top and at the horizon: overcast, for blue is the pond's."""
_FAR = np.array([(0.85, 0.86, 0.88), (0.84, 0.74, 0.58), (0.60, 0.51, 0.52), (0.79, 0.71, 0.51)], np.float32)
_NEAR = np.array([(0.93, 0.93, 0.94), (0.78, 0.66, 0.48), (0.46, 0.37, 0.38), (0.66, 0.56, 0.35)], np.float32)
"""The ground at the horizon and at the lower edge: snow, sand, heath, steppe."""
_ROUGH = np.array([0.07, 0.12, 0.30, 0.24], np.float32)


def paint_ground(canvas: Canvas, ground: NDArray[np.int64], random: Draws, noise: Array, streaks: Array) -> Array:
    """Paint sky and ground over the whole image, (N,) of the GROUNDS each; return the horizon, (N,) in pixels."""
    height, width = SIZE
    smooth = [spread(noise[:, i], height, width) - np.float32(0.5) for i in range(3)]
    horizon = random.between(11, 17)
    tint = np.stack([random.between(0.94, 1.06) for _ in range(3)], 1)
    down = np.clip(canvas.y / per_image(horizon), 0, 1)[:, None]
    high, low = _HIGH[ground][:, :, None, None], _LOW[ground][:, :, None, None]
    canvas.image[...] = high + (low - high) * down + (smooth[0] * np.float32(0.10))[:, None]
    # Far hills in the ground's colour, paler.
    ridge = per_image(horizon) - 1 - (smooth[1][:, 20:21] + np.float32(0.5)) * per_image(random.between(2, 6))
    hills = (_FAR[ground] * np.float32(0.55) + _HIGH[ground] * np.float32(0.38)) * tint
    canvas.paint(cover(ridge - canvas.y, 1.5), hills)
    depth = np.clip((canvas.y - per_image(horizon)) / 40, 0, 1)[:, None]
    far, near = (_FAR[ground] * tint)[:, :, None, None], (_NEAR[ground] * tint)[:, :, None, None]
    colour = far + (near - far) * depth
    drift = spread(streaks, height, width) - np.float32(0.5)
    tufts = wave(canvas.x * np.float32(0.27) + smooth[1] * 3) * wave(canvas.y * np.float32(0.21) + smooth[2] * 3)
    rough = per_image(_ROUGH[ground])
    tone = 1 + (drift + smooth[0] + (tufts - np.float32(0.25)) * np.float32(0.8)) * rough
    canvas.paint(cover(per_image(horizon) + smooth[2] * 2 - canvas.y, 1.5), colour * tone[:, None])
    return horizon


def paint_bush(canvas: Canvas, bird: NDArray[np.bool_], horizon: Array, random: Draws, noise: Array) -> None:
    """Paint a low bush on the ground, at a place away from the *bird* if there is one."""
    wide, high = random.between(*BUSH[0]), random.between(*BUSH[1])
    places = [(random.between(5, 51), horizon + random.between(6, 38)) for _ in range(PLACES)]
    x, y = _free_place(canvas, bird, places, wide, high)
    foot = y + high * 0.7
    canvas.shade(1 - np.float32(0.30) * cover(canvas.ellipse(x, foot, wide * 1.05, 1.6), 2))
    crown = canvas.ellipse(x, y, wide * 0.6, high * 1.15)
    for side in (-1, 1):
        bulge = canvas.ellipse(
            x + side * wide * 0.5, y + random.between(0.0, 1.4), wide * 0.5, high * random.between(0.75, 0.95)
        )
        crown = join(crown, bulge, 1.5)
    crown = np.maximum(crown, canvas.y - per_image(foot + 0.8))
    smooth = [spread(noise[:, i], *SIZE) for i in range(2)]
    leaves = wave(canvas.x * np.float32(0.29) + smooth[0] * 3) * wave(canvas.y * np.float32(0.31) + smooth[1] * 3)
    light = np.clip(1 - (canvas.y - per_image(y)) / per_image(high) * np.float32(0.25), 0.65, 1.3)
    tone = (np.float32(0.74) + leaves * np.float32(0.62)) * light
    green = _tinted(random, (0.24, 0.50, 0.16))
    canvas.paint(cover(crown, 1.2), green[:, :, None, None] * tone[:, None])


def paint_pond(canvas: Canvas, bird: NDArray[np.bool_], horizon: Array, random: Draws, streaks: Array) -> None:
    """Paint a pond in the ground, at a place away from the *bird* if there is one."""
    wide, deep = random.between(*POND[0]), random.between(*POND[1])
    places = [(random.between(5, 51), horizon + random.between(7, 36)) for _ in range(PLACES)]
    x, y = _free_place(canvas, bird, places, wide, deep)
    smooth = wave(canvas.x * np.float32(0.07) + per_image(random.between(0, 1))) - np.float32(0.5)
    shore = canvas.ellipse(x, y, wide, deep) + smooth * np.float32(0.9)
    canvas.shade(1 - np.float32(0.30) * cover(shore - np.float32(1.2), 2))
    share = np.clip((canvas.y - per_image(y)) / per_image(deep) * np.float32(0.5) + np.float32(0.5), 0, 1)
    far, near = _tinted(random, (0.46, 0.70, 0.84)), _tinted(random, (0.10, 0.34, 0.56))
    colour = far[:, :, None, None] + (near - far)[:, :, None, None] * share[:, None]
    ripple = spread(streaks, *SIZE) - np.float32(0.5)
    canvas.paint(cover(shore, 1.2), colour * (1 + ripple * np.float32(0.6))[:, None])
    crests = np.clip((ripple + wave(canvas.y * np.float32(0.24)) * np.float32(0.3) - np.float32(0.35)) * 5, 0, 1)
    canvas.paint(crests * cover(shore + np.float32(0.8)) * np.float32(0.7), (0.90, 0.96, 0.98))


def _free_place(
    canvas: Canvas, bird: NDArray[np.bool_], places: Sequence[tuple[Array, Array]], a: Array, b: Array
) -> tuple[Array, Array]:
    """Return the first of the *places* whose ellipse of half axes *a*, *b*, with the gap, has fewest pixels of *bird*.

    places: x and y, (N,) each.
    """
    touched = np.stack([((canvas.ellipse(x, y, a + GAP, b + GAP) < 0) & bird).sum((1, 2)) for x, y in places])
    first, rows = touched.argmin(0), np.arange(len(bird))
    across, down = (np.stack(column)[first, rows] for column in zip(*places, strict=True))
    return across, down


def _tinted(random: Draws, colour: tuple[float, float, float]) -> Array:
    """Return (N, 3): *colour*, a little different in each image."""
    return np.stack([random.between(value * 0.9, value * 1.1) for value in colour], 1)
