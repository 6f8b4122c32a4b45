"""A small anti-aliased canvas: signed distance functions, painted onto a batch of images at once.

A shape is the signed distance of every pixel centre to its outline, in pixels and negative inside. All arrays are
float32. Only operations that IEEE 754 rounds exactly are used: no sines, no exponentials, and no sums over arrays,
whose order is the library's choice.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

CHUNK = 96
"""Images drawn at once: few enough for the processor's cache."""

Integers = NDArray[np.int64]
Array = NDArray[np.floating]
"""Always float32; NumPy's type hints lose that in products with Python numbers."""
Value = float | Array
"""One number for the whole batch, or (N,) numbers, one for each image."""
Colour = tuple[float, float, float] | Array
"""Red, green and blue in 0–1: three numbers, (N, 3), or (N, 3, h, w)."""


def per_image(value: Value) -> Value:
    """Return (N,) numbers as (N, 1, 1), and anything else as it is."""
    return value[:, None, None] if isinstance(value, np.ndarray) and value.ndim == 1 else value


def _per_channel(colour: Colour) -> Array:
    array = np.asarray(colour, dtype=np.float32)
    if array.ndim == 1:
        return array[None, :, None, None]
    return array[:, :, None, None] if array.ndim == 2 else array


@dataclass(frozen=True)
class Canvas:
    """A batch of images, or a window of it that shares its memory."""

    image: Array
    """(N, 3, h, w), red, green and blue in 0–1."""
    x: Array
    """(1 or N, 1, w): the pixel centres' horizontal places, in pixels from the frame's left edge."""
    y: Array
    """(1 or N, h, 1): the same from the top edge."""
    margin: tuple[int, int] = (0, 0)
    """How far down and across, in pixels, what is painted may have been moved: windows are that much larger."""

    @classmethod
    def blank(cls, n: int, height: int, width: int) -> Self:
        """Return *n* black images."""
        return cls(
            np.zeros((n, 3, height, width), dtype=np.float32),
            (np.arange(width, dtype=np.float32) + np.float32(0.5))[None, None, :],
            (np.arange(height, dtype=np.float32) + np.float32(0.5))[None, :, None],
        )

    def moved(self, down: Array, across: Array, margin: tuple[int, int]) -> Self:
        """Return the same images with what is painted from now on moved by *down* and *across*, (N,) whole pixels.

        margin: the largest of both, whatever these images have.
        """
        return type(self)(self.image, self.x - per_image(across), self.y - per_image(down), margin)

    def window(self, top: int, left: int, bottom: int, right: int) -> Self:
        """Return the window of rows *top* to *bottom* and columns *left* to *right*, ends excluded."""
        rows, columns = self._window(top, left, bottom, right)
        return type(self)(self.image[:, :, rows, columns], self.x[:, :, columns], self.y[:, rows], self.margin)

    def cut(self, values: NDArray[Any], top: int, left: int, bottom: int, right: int) -> NDArray[Any]:
        """Return the same window of *values* (N, h, w)."""
        rows, columns = self._window(top, left, bottom, right)
        return values[:, rows, columns]

    def _window(self, top: int, left: int, bottom: int, right: int) -> tuple[slice, slice]:
        down, across = self.margin
        return slice(max(top - down, 0), bottom + down), slice(max(left - across, 0), right + across)

    def paint(self, cover: Array, colour: Colour) -> None:
        """Lay *colour* over the images; *cover* (N or 1, h, w) in 0–1 is its opacity."""
        change = _per_channel(colour) - self.image
        change *= cover[:, None]
        self.image[...] += change

    def shade(self, factor: Array) -> None:
        """Multiply the images by *factor* (N or 1, h, w)."""
        self.image[...] *= factor[:, None]

    # -----------------------------------------------------------------------------------------------------------------
    # shapes

    def ellipse(self, x: Value, y: Value, a: Value, b: Value) -> Array:
        """Return the distance to an upright ellipse of half axes *a*, *b*: exact on its outline, close to it nearby."""
        return ellipse(self.x - per_image(x), self.y - per_image(y), a, b)

    def stroke(self, x0: Value, y0: Value, x1: Value, y1: Value, r0: Value, r1: Value | None = None) -> Array:
        """Return the distance to a line with round ends, of radius *r0* at its start and *r1* at its end."""
        return stroke(self.x, self.y, x0, y0, x1, y1, r0, r0 if r1 is None else r1)

    def box(self, x: Value, y: Value, a: Value, b: Value, radius: Value) -> Array:
        """Return the distance to a rectangle of half sides *a*, *b* with corners rounded by *radius*."""
        r = per_image(radius)
        u = np.abs(self.x - per_image(x)) - (per_image(a) - r)
        v = np.abs(self.y - per_image(y)) - (per_image(b) - r)
        over_u, over_v = np.maximum(u, 0), np.maximum(v, 0)
        distance: Array = np.sqrt(over_u * over_u + over_v * over_v) + np.minimum(np.maximum(u, v), 0) - r
        return distance

    def arc(self, x: Value, y: Value, a: Value, bend: Value, radius: Value) -> Array:
        """Return the distance to a parabola's arc of half width *a* whose ends lie *bend* below its middle.

        Its half thickness is *radius* in the middle and a third of that at the ends.
        """
        half = per_image(a)
        t = (self.x - per_image(x)) / half
        middle = per_image(y) + per_image(bend) * t * t
        slope = 2 * per_image(bend) * t / half
        thick = per_image(radius) * np.maximum(1 - t * t * np.float32(0.67), np.float32(0.33))
        across = np.abs(self.y - middle) / np.sqrt(1 + slope * slope) - thick
        distance: Array = np.maximum(across, (np.abs(t) - 1) * half)
        return distance


class Draws:
    """Random numbers (N, K), handed out column by column."""

    def __init__(self, numbers: Array) -> None:
        self.numbers = numbers
        self.used = 0

    def between(self, low: float, high: float) -> Array:
        """Return (N,) numbers between *low* and *high*."""
        self.used += 1
        column: Array = np.float32(low) + np.float32(high - low) * self.numbers[:, self.used - 1]
        return column

    def one_of(self, table: Array) -> Array:
        """Return (N, …): a random row of *table* for each image."""
        rows: Array = table[np.floor(self.between(0, len(table))).astype(np.int64) % len(table)]
        return rows


def ellipse(u: Array, v: Array, a: Value, b: Value) -> Array:
    """Return the distance of points (*u*, *v*) to an ellipse about the origin with half axes *a*, *b*."""
    p, q = u / per_image(a), v / per_image(b)
    level = np.sqrt(p * p + q * q)
    p, q = p / per_image(a), q / per_image(b)
    distance: Array = level * (level - 1) / np.maximum(np.sqrt(p * p + q * q), np.float32(1e-4))
    return distance


def stroke(u: Array, v: Array, x0: Value, y0: Value, x1: Value, y1: Value, r0: Value, r1: Value) -> Array:
    """Return the distance of points (*u*, *v*) to a line with round ends of radii *r0* and *r1*."""
    dx, dy = per_image(x1) - per_image(x0), per_image(y1) - per_image(y0)
    p, q = u - per_image(x0), v - per_image(y0)
    t = np.clip((p * dx + q * dy) / np.maximum(dx * dx + dy * dy, np.float32(1e-4)), 0, 1)
    p, q = p - t * dx, q - t * dy
    distance: Array = np.sqrt(p * p + q * q) - (per_image(r0) + (per_image(r1) - per_image(r0)) * t)
    return distance


def cover(distance: Array, softness: float = 1.0) -> Array:
    """Return the opacity in 0–1 of a shape: the share of a pixel inside it, or an edge *softness* pixels wide."""
    opacity: Array = np.clip(np.float32(0.5) - distance * np.float32(1 / softness), 0, 1)
    return opacity


def join(first: Array, second: Array, blend: float) -> Array:
    """Return the union of two shapes, its inner corners filled over about *blend* pixels."""
    h = np.clip(np.float32(0.5) + (second - first) * np.float32(0.5 / blend), 0, 1)
    distance: Array = second + (first - second) * h - np.float32(blend) * h * (1 - h)
    return distance


def wave(value: Array) -> Array:
    """Return a triangle wave of period 1: 0 at whole numbers, 1 half-way between them."""
    result: Array = 1 - np.abs(2 * (value - np.floor(value)) - 1)
    return result


def spread(grid: Array, height: int, width: int) -> Array:
    """Return smooth noise (N, *height*, *width*): the values of *grid* (N, a, b) with straight lines in between."""

    def between(length: int, knots: int) -> tuple[NDArray[np.int64], Array]:
        place = (np.arange(length, dtype=np.float32) + np.float32(0.5)) * np.float32((knots - 1) / length)
        below = np.floor(place)
        return below.astype(np.int64), place - below

    row, down = between(height, grid.shape[1])
    rows = grid[:, row] + (grid[:, row + 1] - grid[:, row]) * down[None, :, None]
    column, along = between(width, grid.shape[2])
    result: Array = rows[:, :, column] + (rows[:, :, column + 1] - rows[:, :, column]) * along[None, None, :]
    return result


def to_bytes(image: Array) -> NDArray[np.uint8]:
    """Return images in 0–1 as bytes, rounded."""
    rounded: NDArray[np.uint8] = np.rint(np.clip(image, 0, 1) * np.float32(255)).astype(np.uint8)
    return rounded
