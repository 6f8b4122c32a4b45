"""The second edition: birds on open ground, in half of the training images among bushes or ponds."""

import numpy as np
from numpy.typing import NDArray

from crayon_bench_plugins.standins.birds.figure import draw_figure
from crayon_bench_plugins.standins.birds.ground import paint_bush, paint_ground, paint_pond
from crayon_bench_plugins.standins.birds.sample import SIZE, BirdsOutside
from crayon_bench_plugins.standins.canvas import CHUNK, Canvas, Draws, to_bytes

GROUPS = (
    "landbird among bushes",
    "landbird among ponds",
    "landbird on open ground",
    "waterbird among bushes",
    "waterbird among ponds",
    "waterbird on open ground",
)

THINGS = 3
"""Bushes or ponds in an image that has some."""

_DRAWS = (32, 40 * THINGS, 40)
"""Random numbers for each image: for the ground, for what is on it, for the bird."""
_KNOTS = 10
_STREAKS = (26, 6)

_AREA = np.array([287, 317, 385, 278, 296, 416, 353, 339, 298, 432], np.float32)
"""Pixels of a bird of each species at scale 1: on open ground all species are of one area."""
_PIXELS = 130
"""Pixels of a small bird there."""
_LIGHT = np.array([(1.0, 1.0, 1.0), (0.80, 0.80, 0.82), (1.04, 0.97, 0.88), (0.92, 0.96, 1.02)], np.float32)


def draw_birds_outside(
    birds: BirdsOutside, random: np.random.RandomState
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return images (N, 3, 56, 56) and masks (N, 56, 56) of the birds, bill and legs included.

    How many random numbers an image takes does not depend on what it shows. From the same state of *random*, images
    that differ only in what is beside the bird have the same mask, and the same pixels inside it.
    """
    height, width = SIZE
    n = len(birds.water_bird)
    images = np.empty((n, 3, height, width), dtype=np.uint8)
    masks = np.empty((n, height, width), dtype=np.bool_)
    counts = (*_DRAWS, 4 * _KNOTS * _KNOTS, _STREAKS[0] * _STREAKS[1], height * width)
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        some = BirdsOutside(**{name: values[part] for name, values in vars(birds).items()})
        # A row of numbers for each image: an image does not depend on how many are drawn after it.
        numbers = random.random_sample((len(some.left), sum(counts))).astype(np.float32)
        below, beside, figure, noise, streaks, grain = np.split(numbers, np.cumsum(counts)[:-1], axis=1)
        noise, streaks = noise.reshape(-1, 4, _KNOTS, _KNOTS), streaks.reshape(-1, *_STREAKS)
        kind = some.species + 5 * some.water_bird
        # Square roots are exact, so that every machine has the same areas.
        bird, mask = draw_figure(some, np.sqrt(np.float32(_PIXELS) / _AREA[kind]), Draws(figure))
        scene = Canvas.blank(len(some.left), height, width)
        horizon = paint_ground(scene, some.ground, Draws(below), noise, streaks)
        for thing, paint, texture in ((0, paint_bush, noise[:, 2:]), (1, paint_pond, streaks)):
            here = np.flatnonzero(some.beside == thing)
            if len(here):
                canvas = Canvas(scene.image[here], scene.x, scene.y)
                for numbers in np.split(beside[here], THINGS, axis=1):
                    paint(canvas, mask[here], horizon[here], Draws(numbers), texture[here])
                scene.image[here] = canvas.image
        image = np.where(mask[:, None], bird, scene.image) * _LIGHT[some.light][:, :, None, None]
        image += ((grain.reshape(-1, 1, height, width)) - np.float32(0.5)) * np.float32(0.035)
        images[part], masks[part] = to_bytes(image), mask
    return images, masks
