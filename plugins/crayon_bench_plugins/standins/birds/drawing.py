"""Birds laid on scenes."""

import numpy as np
from numpy.typing import NDArray

from crayon_bench_plugins.standins.birds.figure import draw_figure
from crayon_bench_plugins.standins.birds.sample import SIZE, Birds
from crayon_bench_plugins.standins.birds.scenes import paint_land, paint_water
from crayon_bench_plugins.standins.canvas import CHUNK, Canvas, Draws, to_bytes

_DRAWS = 144
"""Random numbers for each image, besides its scene's noise and its grain."""
_KNOTS = 10
_STREAKS = (26, 6)

_HAZE = np.array([(0.52, 0.56, 0.42), (0.52, 0.62, 0.70)], np.float32)
"""The colour of the air on land and on water."""
_LIGHT = np.array([(1.04, 1.04, 1.04), (0.74, 0.75, 0.78), (1.06, 0.97, 0.84), (0.90, 0.96, 1.04)], np.float32)


def draw_birds(birds: Birds, random: np.random.RandomState) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return images (N, 3, 56, 56) and masks (N, 56, 56) of the birds, bill and legs included.

    How many random numbers an image takes does not depend on what it shows. From the same state of *random*, two images
    that differ only in the scene have the same mask and the same pixels inside it, and two that differ only in the bird
    have the same pixels outside both masks.
    """
    height, width = SIZE
    n = len(birds.water_bird)
    images = np.empty((n, 3, height, width), dtype=np.uint8)
    masks = np.empty((n, height, width), dtype=np.bool_)
    grid, streak = 4 * _KNOTS * _KNOTS, _STREAKS[0] * _STREAKS[1]
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        some = Birds(**{name: values[part] for name, values in vars(birds).items()})
        # A row of numbers for each image: an image does not depend on how many are drawn after it.
        numbers = random.random_sample((len(some.left), _DRAWS + grid + streak + height * width)).astype(np.float32)
        draws, noise, streaks, grain = np.split(numbers, np.cumsum([_DRAWS, grid, streak]), axis=1)
        scene = Canvas.blank(len(some.left), height, width)
        noise = noise.reshape(-1, 4, _KNOTS, _KNOTS)
        streaks = streaks.reshape(-1, *_STREAKS)
        for water, paint in enumerate((paint_land, paint_water)):
            for variant in range(4):
                here = np.flatnonzero((some.water_scene == water) & (some.variant == variant))
                if len(here):
                    canvas = Canvas(scene.image[here], scene.x, scene.y)
                    paint(canvas, variant, Draws(draws[here, :104]), noise[here], streaks[here])
                    scene.image[here] = canvas.image
        bird, mask = draw_figure(some, np.ones(len(some.left), np.float32), Draws(draws[:, 104:]))
        # Air between the bird and what is behind it.
        scene.image[...] += (_HAZE[some.water_scene][:, :, None, None] - scene.image) * np.float32(0.22)
        image = np.where(mask[:, None], bird, scene.image) * _LIGHT[some.light][:, :, None, None]
        image += ((grain.reshape(-1, 1, height, width)) - np.float32(0.5)) * np.float32(0.035)
        images[part], masks[part] = to_bytes(image), mask
    return images, masks
