"""The scenes behind the birds: land and water, four variants each."""

import numpy as np

from crayon_bench_plugins.standins.birds.sample import SIZE
from crayon_bench_plugins.standins.canvas import Array, Canvas, Draws, cover, per_image, spread, wave


def paint_water(canvas: Canvas, variant: int, random: Draws, noise: Array, streaks: Array) -> None:
    """Paint a scene on water: 0 sea, 1 lake, 2 beach, 3 sunset."""
    height, width = SIZE
    smooth = [spread(noise[:, i], height, width) for i in range(3)]
    horizon = random.between(10, 24) if variant != 0 else random.between(-8, 24)
    sunset = variant == 3
    high = _tinted(random, (0.42, 0.40, 0.58) if sunset else (0.42, 0.62, 0.88))
    low = _tinted(random, (0.98, 0.66, 0.38) if sunset else (0.80, 0.88, 0.95), 0.05)
    _gradient(canvas, high, low, canvas.y / per_image(np.maximum(horizon, 4)))
    puffs = np.clip((smooth[0] * np.float32(0.6) + smooth[1] * np.float32(0.4) - np.float32(0.45)) * 4, 0, 1)
    canvas.paint(puffs * per_image(random.between(0.2, 0.9)), (0.98, 0.78, 0.68) if sunset else (0.97, 0.98, 1.0))
    sun = canvas.ellipse(random.between(8, 48), horizon - random.between(0, 6), 3.4, 3.4)
    if sunset:
        canvas.paint(cover(sun, 10), (1.0, 0.82, 0.5))
        canvas.paint(cover(sun), (1.0, 0.95, 0.78))
    # Hills and trees on a lake's far shore.
    if variant == 1:
        ridge = per_image(horizon) - 2 - smooth[2][:, 20:21] * per_image(random.between(4, 10))
        canvas.paint(cover(ridge - canvas.y, 1.5), _tinted(random, (0.40, 0.52, 0.55)))
        trees = per_image(horizon) - np.float32(1) - wave(canvas.x * np.float32(0.27) + smooth[1] * 2) * 3
        canvas.paint(cover(trees - canvas.y), _tinted(random, (0.16, 0.32, 0.22)))
    # Water: darker towards the viewer, rippled in strips that widen towards the viewer.
    depth = np.maximum(canvas.y - per_image(horizon), 0)
    far = _tinted(random, (0.80, 0.56, 0.46) if sunset else (0.46, 0.68, 0.78))
    near = _tinted(
        random, (0.24, 0.22, 0.38) if sunset else ((0.16, 0.36, 0.40) if variant == 1 else (0.08, 0.30, 0.50))
    )
    wet = cover(per_image(horizon) - canvas.y)
    share = np.clip(depth / 34, 0, 1)
    colour = far[:, :, None, None] + (near - far)[:, :, None, None] * share[:, None]
    ripple = spread(streaks, height, width) - np.float32(0.5)
    swell = wave(depth * per_image(random.between(0.10, 0.22)) + smooth[2] * np.float32(1.6))
    colour = colour * (1 + ripple * np.float32(0.45) + (swell - np.float32(0.5)) * np.float32(0.22))[:, None]
    canvas.paint(wet, colour)
    crests = np.clip((ripple + swell * np.float32(0.4) - np.float32(0.42)) * 5, 0, 1)
    canvas.paint(crests * wet * np.float32(0.6), (1.0, 0.86, 0.62) if sunset else (0.88, 0.95, 0.97))
    if variant == 1:
        mirror = cover(depth - 7 - ripple * 8, 6)
        canvas.paint(mirror * wet * np.float32(0.55), (0.18, 0.32, 0.26))
        reeds = random.between(0, 1) < 0.6
        for _ in range(4):
            foot = np.where(random.between(0, 1) < 0.5, random.between(0, 9), random.between(47, 56))
            reed = canvas.stroke(foot, 57.0, foot + random.between(-4, 4), random.between(24, 40), 0.8, 0.3)
            canvas.paint(cover(reed) * reeds[:, None, None], (0.42, 0.52, 0.24))
    if sunset:
        glitter = cover(np.abs(canvas.x - 28) - np.float32(3) - depth * np.float32(0.2), 8) * np.clip(ripple * 5, 0, 1)
        canvas.paint(glitter * wet * np.float32(0.7), (1.0, 0.88, 0.6))
    if variant == 2:
        shore = per_image(random.between(38, 48)) + canvas.x * per_image(random.between(-0.12, 0.12)) + smooth[1] * 5
        sand = cover(shore - canvas.y, 2)
        canvas.paint(cover(np.abs(shore - canvas.y) - np.float32(1.6), 2), (0.95, 0.97, 0.97))
        beach = _tinted(random, (0.84, 0.74, 0.56))
        grains = np.float32(0.88) + smooth[0] * np.float32(0.14) + ripple * np.float32(0.10)
        canvas.paint(sand, beach[:, :, None, None] * grains[:, None])


def paint_land(canvas: Canvas, variant: int, random: Draws, noise: Array, streaks: Array) -> None:
    """Paint a scene on land: 0 trunks, 1 bamboo, 2 meadow, 3 autumn."""
    height, width = SIZE
    smooth = [spread(noise[:, i], height, width) for i in range(4)]
    bark = np.swapaxes(spread(streaks, width, height), 1, 2) - np.float32(0.5)
    floor = random.between(36, 48)
    ground = cover(per_image(floor) + (smooth[3] - np.float32(0.5)) * 6 - canvas.y, 2)
    if variant == 2:
        _paint_meadow(canvas, random, smooth, bark)
        return
    top, bottom = ((0.34, 0.46, 0.30), (0.16, 0.26, 0.15))
    if variant == 1:
        top, bottom = (0.62, 0.74, 0.42), (0.26, 0.42, 0.18)
    if variant == 3:
        top, bottom = (0.80, 0.62, 0.34), (0.42, 0.26, 0.14)
    _gradient(canvas, _tinted(random, top), _tinted(random, bottom), canvas.y / 50)
    dapple = np.clip((smooth[0] * np.float32(0.5) + smooth[1] * np.float32(0.5) - np.float32(0.42)) * 3, 0, 1)
    canvas.paint(dapple * np.float32(0.55), (0.96, 0.84, 0.50) if variant == 3 else (0.74, 0.82, 0.48))
    canvas.shade(np.float32(0.7) + smooth[2] * np.float32(0.55))
    soil = _tinted(random, ((0.34, 0.27, 0.16), (0.40, 0.38, 0.18), (0, 0, 0), (0.52, 0.30, 0.14))[variant])
    litter = np.float32(0.7) + smooth[1] * wave(canvas.x * np.float32(0.17) + smooth[0] * 2) * wave(
        canvas.y * np.float32(0.31) + smooth[2] * 2
    )
    canvas.paint(ground, soil[:, :, None, None] * litter[:, None])
    stems = {0: 5, 1: 8, 3: 4}[variant]
    for stem in range(stems):
        foot = random.between(0, 56 / stems) + np.float32(56 / stems * stem)
        lean = random.between(-0.06, 0.06)
        half = random.between(1.0, 2.1) if variant == 1 else random.between(1.4, 4.2)
        near = random.between(0.55, 1.1)
        u = canvas.x - per_image(foot) - (canvas.y - 28) * per_image(lean)
        trunk = np.maximum(np.abs(u) - per_image(half), canvas.y - per_image(floor + near * 5))
        colour = ((0.36, 0.27, 0.19), (0.46, 0.60, 0.24), (0, 0, 0), (0.78, 0.75, 0.68))[variant]
        turn = np.clip(u / per_image(half), -1, 1)
        tone = (np.float32(0.95) - turn * turn * np.float32(0.35) - turn * np.float32(0.15)) * per_image(near)
        if variant == 1:
            knot = np.abs(wave(canvas.y * np.float32(0.07) + per_image(random.between(0, 1))) - np.float32(0.5))
            tone = tone * np.where(knot < np.float32(0.06), np.float32(0.62), np.float32(1))
        elif variant == 3:
            marks = wave(canvas.y * np.float32(0.11) + per_image(random.between(0, 1)) + smooth[stem % 4] * 2)
            tone = tone * np.where(
                (marks > np.float32(0.82)) & (turn < np.float32(0.3)), np.float32(0.45), np.float32(1)
            )
        else:
            tone = tone * (1 + bark * np.float32(0.7))
        canvas.paint(cover(trunk), np.array(colour, np.float32)[None, :, None, None] * tone[:, None])
    # Leaves in front.
    leaf = _tinted(random, ((0.20, 0.38, 0.14), (0.50, 0.68, 0.24), (0, 0, 0), (0.82, 0.46, 0.14))[variant], 0.2)
    for _ in range(6):
        x, y = random.between(0, 56), random.between(0, 20)
        blade = canvas.stroke(x, y, x + random.between(-4, 4), y + random.between(1, 4), 1.1, 0.3)
        canvas.paint(cover(blade) * np.float32(0.85), leaf)


def _paint_meadow(canvas: Canvas, random: Draws, smooth: list[Array], bark: Array) -> None:
    _gradient(canvas, _tinted(random, (0.46, 0.66, 0.90)), _tinted(random, (0.84, 0.90, 0.94), 0.05), canvas.y / 26)
    canvas.paint(np.clip((smooth[0] - np.float32(0.5)) * 3, 0, 1) * np.float32(0.7), (0.97, 0.98, 1.0))
    for line, colour in (
        (random.between(12, 22), (0.36, 0.50, 0.36)),
        (random.between(20, 30), (0.26, 0.44, 0.20)),
    ):
        bushes = per_image(line) + (smooth[1 if colour[0] > 0.3 else 2][:, 28:29] - np.float32(0.5)) * 9
        bushes = bushes - wave(canvas.x * per_image(random.between(0.08, 0.16)) + per_image(random.between(0, 1))) * 3
        leaves = np.float32(0.75) + smooth[3] * np.float32(0.6) * wave(
            canvas.x * np.float32(0.21) + smooth[1] * 4
        ) * wave(canvas.y * np.float32(0.24) + smooth[0] * 4)
        canvas.paint(cover(bushes - canvas.y, 1.5), _tinted(random, colour)[:, :, None, None] * leaves[:, None])
    meadow = per_image(random.between(28, 38)) + smooth[0] * 3
    grass = _tinted(random, (0.48, 0.62, 0.24))
    blades = (
        np.float32(0.80)
        + bark * np.float32(0.4)
        + wave(canvas.x * np.float32(0.29) + canvas.y * np.float32(0.09)) * np.float32(0.18)
    )
    canvas.paint(cover(meadow - canvas.y, 2), grass[:, :, None, None] * blades[:, None])
    petals = _tinted(random, (0.9, 0.7, 0.5), 0.3)
    for _ in range(5):
        flower = canvas.ellipse(random.between(2, 54), random.between(40, 55), 0.9, 0.8)
        canvas.paint(cover(flower), petals)


def _gradient(canvas: Canvas, top: Array, bottom: Array, share: Array) -> None:
    canvas.image[...] = top[:, :, None, None] + (bottom - top)[:, :, None, None] * np.clip(share, 0, 1)[:, None]


def _tinted(random: Draws, colour: tuple[float, float, float], spread_: float = 0.1) -> Array:
    """Return (N, 3): *colour*, a little different in each image."""
    channels = [random.between(value * (1 - spread_), value * (1 + spread_)) for value in colour]
    return np.stack(channels, 1)
