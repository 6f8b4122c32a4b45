"""Drawn birds that stand in for Waterbirds: the label is the kind of bird, the shortcut is the scene behind it.

As in Waterbirds, birds are cut out and laid on scenes: which pixels are bird, and their colours, do not depend on the
scene. Water birds and land birds come in the same colours and differ in the shapes of body, neck, bill, tail and feet.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crayon_bench_plugins.standins.canvas import Array, Canvas, Draws, cover, join, per_image, spread, to_bytes, wave

SIZE = (56, 56)
"""Height and width in pixels."""
SPECIES = (("sparrow", "parrot", "owl", "woodpecker", "wren"), ("duck", "gull", "cormorant", "heron", "goose"))
"""The species of land birds and of water birds."""
VARIANTS = (("trunks", "bamboo", "meadow", "autumn"), ("sea", "lake", "beach", "sunset"))
"""The variants of scenes on land and on water."""

Integers = NDArray[np.int64]

_CHUNK = 96
"""Images drawn at once: few enough for the processor's cache."""
_DRAWS = 144
"""Random numbers for each image, besides its scene's noise and its grain."""
_KNOTS = 10
_STREAKS = (26, 6)

# Places are in pixels of a bird of middle size that faces right, from the middle of its body, y down. Each pair of a
# name ending in 0 and one ending in 1 is a line with round ends and a radius at each end.
_PARTS = {
    #             sparrow  parrot     owl  woodp.    wren    duck    gull   corm.   heron   goose
    "body_x0":  (   -3.0,   -3.0,   -0.5,   -4.0,   -1.5,   -8.0,   -8.5,   -8.0,   -8.0,   -8.0),
    "body_y0":  (    3.0,    6.5,    5.0,    4.5,    2.5,    1.5,    0.5,    2.5,    2.5,    1.5),
    "body_r0":  (    4.6,    4.3,    6.2,    4.1,    5.8,    5.3,    3.9,    4.3,    3.6,    5.5),
    "body_x1":  (    2.5,    2.0,    0.5,    3.0,    2.0,    5.0,    6.0,    3.0,    4.0,    5.5),
    "body_y1":  (   -2.0,   -3.0,   -2.0,   -3.0,   -1.5,    2.0,    1.0,    0.5,   -0.5,    1.5),
    "body_r1":  (    6.0,    5.4,    6.8,    4.9,    6.2,    5.8,    5.3,    5.0,    4.6,    6.2),
    "neck_x0":  (    3.5,    2.5,    1.0,    3.5,    3.0,    7.5,    7.5,    6.0,    5.5,    8.5),
    "neck_y0":  (   -4.0,   -6.0,   -6.0,   -5.5,   -3.5,   -2.0,   -1.5,   -2.5,   -2.5,   -2.5),
    "neck_r0":  (    4.8,    4.8,    6.0,    4.2,    5.2,    3.9,    4.0,    3.2,    2.7,    3.1),
    "neck_x1":  (    4.5,    3.3,    1.2,    4.5,    4.0,    9.5,    9.0,    9.6,   10.0,   10.6),
    "neck_y1":  (   -7.0,   -8.5,   -8.0,   -7.5,   -6.0,   -6.8,   -4.3,   -8.0,   -8.0,  -10.0),
    "neck_r1":  (    4.5,    4.5,    6.0,    3.8,    4.7,    3.0,    3.7,    2.2,    1.6,    2.0),
    "head_x":   (    5.0,    4.0,    1.6,    5.6,    4.6,   10.4,   10.3,    8.6,    7.6,   11.0),
    "head_y":   (   -8.8,  -10.5,  -10.0,   -9.8,   -8.0,  -11.0,   -7.0,  -14.0,  -15.3,  -16.0),
    "head_r":   (    4.6,    4.7,    6.2,    4.2,    4.5,    4.1,    3.8,    3.0,    2.5,    3.1),
    "bill_x":   (    6.6,    5.8,    6.4,    7.0,    6.4,   11.0,   10.0,    9.8,   11.6,    9.6),
    "bill_y":   (    0.8,    1.2,    1.8,    0.9,    0.5,    2.0,    1.1,   -0.3,    1.0,    1.9),
    "bill_r0":  (    2.0,    2.2,    1.3,    1.4,    1.3,    1.7,    1.5,    1.4,    1.5,    1.8),
    "bill_r1":  (    0.5,    1.1,    0.5,    0.5,    0.5,    1.6,    1.0,    0.9,    0.5,    1.4),
    "hook":     (    0.0,    2.4,    1.8,    0.0,    0.0,    0.0,    1.5,    1.7,    0.0,    0.0),
    "tail_x0":  (   -5.5,   -4.0,   -2.0,   -5.5,   -5.5,  -11.5,  -11.0,  -11.0,  -10.0,  -12.0),
    "tail_y0":  (    5.0,    9.0,   10.0,    7.0,   -2.0,   -0.5,    0.5,    3.5,    3.5,   -0.5),
    "tail_r0":  (    2.3,    2.7,    3.2,    2.4,    2.0,    2.9,    2.2,    2.2,    2.3,    3.0),
    "tail_x1":  (  -11.5,   -9.5,   -4.5,  -12.0,  -10.5,  -16.5,  -17.0,  -17.0,  -14.5,  -16.0),
    "tail_y1":  (   11.0,   19.0,   15.5,   15.5,  -10.5,   -3.5,    0.8,    6.0,    5.5,   -2.5),
    "tail_r1":  (    1.8,    0.8,    2.3,    0.9,    1.5,    0.9,    1.5,    1.5,    1.0,    1.2),
    "wing_x0":  (    0.5,    0.5,   -1.5,    0.5,    0.0,    2.5,    3.0,    1.5,    1.0,    2.5),
    "wing_y0":  (   -1.5,   -2.0,   -1.0,   -1.5,   -0.5,    0.0,   -0.8,    0.5,   -0.3,   -0.2),
    "wing_r0":  (    3.9,    3.7,    4.3,    3.5,    4.2,    4.2,    3.9,    3.6,    3.4,    4.6),
    "wing_x1":  (   -7.0,   -6.0,   -5.0,   -7.0,   -7.0,  -12.0,  -18.5,  -11.0,  -11.5,  -12.5),
    "wing_y1":  (    6.0,   11.0,    9.5,    8.5,    1.5,   -0.6,   -1.0,    3.0,    3.5,   -0.5),
    "wing_r1":  (    1.2,    1.1,    1.5,    1.0,    1.5,    1.3,    0.8,    1.2,    1.0,    1.6),
    "leg_x":    (    0.5,    0.0,    0.5,    0.0,    1.0,    0.0,    0.5,   -1.5,   -1.5,   -0.5),
    "leg_y0":   (    6.0,    8.0,    9.5,    4.5,    6.0,    6.0,    4.5,    5.0,    3.0,    6.0),
    "leg_y1":   (   11.0,   13.0,   13.8,   12.0,   12.0,   11.3,   12.0,   11.5,   17.5,   12.5),
    "leg_r":    (   0.62,    0.9,    1.3,    0.7,   0.62,    0.9,    0.7,   0.95,   0.65,    1.0),
    "web":      (    0.0,    0.0,    0.0,    0.0,    0.0,    1.0,    1.0,    1.0,   0.35,    1.0),
    "eye":      (    1.0,   0.95,    1.9,   0.95,    1.0,   0.95,   0.95,    0.8,    0.8,    0.8),
}  # fmt: skip
_TABLE = {name: np.array(row, np.float32) for name, row in _PARTS.items()}

_BACK = np.array(
    [
        (0.45, 0.32, 0.22), (0.16, 0.16, 0.19), (0.55, 0.57, 0.60), (0.92, 0.91, 0.88),
        (0.26, 0.36, 0.58), (0.58, 0.26, 0.18), (0.68, 0.55, 0.32), (0.30, 0.38, 0.30),
    ],
    np.float32,
)  # fmt: skip
_BREAST = np.array(
    [
        (0.80, 0.70, 0.56), (0.26, 0.25, 0.27), (0.94, 0.93, 0.92), (0.96, 0.95, 0.93),
        (0.86, 0.55, 0.36), (0.84, 0.62, 0.44), (0.90, 0.82, 0.56), (0.72, 0.74, 0.60),
    ],
    np.float32,
)  # fmt: skip
_HEAD = np.array(
    [
        (0.34, 0.22, 0.15), (0.12, 0.12, 0.14), (0.92, 0.92, 0.92), (0.95, 0.94, 0.92),
        (0.14, 0.32, 0.26), (0.72, 0.20, 0.14), (0.30, 0.28, 0.28), (0.86, 0.76, 0.40),
    ],
    np.float32,
)  # fmt: skip
_BILL = np.array([(0.88, 0.60, 0.18), (0.28, 0.27, 0.28), (0.82, 0.36, 0.20), (0.72, 0.66, 0.52)], np.float32)
_LEG = np.array([(0.84, 0.48, 0.18), (0.30, 0.27, 0.26), (0.74, 0.42, 0.40), (0.62, 0.58, 0.32)], np.float32)
_HAZE = np.array([(0.52, 0.56, 0.42), (0.52, 0.62, 0.70)], np.float32)
"""The colour of the air on land and on water."""
_LIGHT = np.array([(1.04, 1.04, 1.04), (0.74, 0.75, 0.78), (1.06, 0.97, 0.84), (0.90, 0.96, 1.04)], np.float32)


@dataclass(frozen=True)
class Birds:
    """What N images show; every field is (N,) whole numbers."""

    water_bird: Integers
    """0 land bird, 1 water bird: the label."""
    water_scene: Integers
    """0 land, 1 water: the shortcut."""
    species: Integers
    """0–4: which of the label's SPECIES."""
    variant: Integers
    """0–3: which of the scene's VARIANTS."""
    back: Integers
    """0–7: the colour of back, wings and tail."""
    breast: Integers
    """0–7: the colour of the underside."""
    head: Integers
    """0–8: the colour of the head, 8 that of the back."""
    bill: Integers
    """0–3: the bill's colour."""
    legs: Integers
    """0–3: the legs' colour."""
    size: Integers
    """0 small, 1 middle, 2 large."""
    across: Integers
    """−3 to 3: pixels right of the frame's middle."""
    down: Integers
    """−2 to 2: pixels below it."""
    left: Integers
    """1 if it faces left, 0 if right."""
    light: Integers
    """0 bright, 1 dim, 2 warm, 3 cool."""


def sample_birds(water_bird: Integers, water_scene: Integers, random: np.random.RandomState) -> Birds:
    """Return birds of these kinds in these scenes, (N,) each of 0 or 1, everything else drawn at random."""
    water_bird, water_scene = np.asarray(water_bird, dtype=np.int64), np.asarray(water_scene, dtype=np.int64)
    if water_bird.ndim != 1 or water_bird.shape != water_scene.shape:
        raise ValueError(
            f"water_bird and water_scene must be (N,) each, not {water_bird.shape} and {water_scene.shape}"
        )
    draw = random.random_sample((len(water_bird), 12))

    def one_of(column: int, kinds: int) -> Integers:
        return np.floor(draw[:, column] * kinds).astype(np.int64)

    return Birds(
        water_bird=water_bird,
        water_scene=water_scene,
        species=one_of(0, 5),
        variant=one_of(1, 4),
        back=one_of(2, 8),
        breast=one_of(3, 8),
        head=one_of(4, 9),
        bill=one_of(5, 4),
        legs=one_of(6, 4),
        size=one_of(7, 3),
        across=one_of(8, 7) - 3,
        down=one_of(9, 5) - 2,
        left=one_of(10, 2),
        light=one_of(11, 4),
    )


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
    for start in range(0, n, _CHUNK):
        part = slice(start, start + _CHUNK)
        some = Birds(**{name: values[part] for name, values in vars(birds).items()})
        # A row of numbers for each image: an image does not depend on how many are drawn after it.
        numbers = random.random_sample((len(some.left), _DRAWS + grid + streak + height * width)).astype(np.float32)
        draws, noise, streaks, grain = np.split(numbers, np.cumsum([_DRAWS, grid, streak]), axis=1)
        scene = Canvas.blank(len(some.left), height, width)
        noise = noise.reshape(-1, 4, _KNOTS, _KNOTS)
        streaks = streaks.reshape(-1, *_STREAKS)
        for water, paint in enumerate((_land, _water)):
            for variant in range(4):
                here = np.flatnonzero((some.water_scene == water) & (some.variant == variant))
                if len(here):
                    canvas = Canvas(scene.image[here], scene.x, scene.y)
                    paint(canvas, variant, Draws(draws[here, :104]), noise[here], streaks[here])
                    scene.image[here] = canvas.image
        bird, mask = _bird(some, Draws(draws[:, 104:]), noise)
        # Air between the bird and what is behind it.
        scene.image[...] += (_HAZE[some.water_scene][:, :, None, None] - scene.image) * np.float32(0.22)
        image = np.where(mask[:, None], bird, scene.image) * _LIGHT[some.light][:, :, None, None]
        image += ((grain.reshape(-1, 1, height, width)) - np.float32(0.5)) * np.float32(0.035)
        images[part], masks[part] = to_bytes(image), mask
    return images, masks


# ---------------------------------------------------------------------------------------------------------------------
# the bird


def _bird(birds: Birds, random: Draws, noise: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return (N, 3, H, W) colours and (N, H, W) where they are bird."""
    height, width = SIZE
    n = len(birds.left)
    blank = Canvas.blank(n, height, width)
    scale = np.array([1.0, 1.1, 1.2], np.float32)[birds.size] * random.between(0.97, 1.03)
    facing = np.where(birds.left == 1, np.float32(-1), np.float32(1))
    x = 28 + birds.across.astype(np.float32) + random.between(-0.5, 0.5)
    y = 28 + birds.down.astype(np.float32) + random.between(-0.5, 0.5)
    kind = birds.species + 5 * birds.water_bird
    p = {name: row[kind] for name, row in _TABLE.items()}
    # The middle of the frame is half-way between bill and tail.
    middle = (p["head_x"] + p["bill_x"] + np.minimum(p["tail_x1"], p["wing_x1"])) * np.float32(0.5)
    canvas = Canvas(
        blank.image,
        (blank.x - per_image(x)) * per_image(facing / scale) + per_image(middle),
        (blank.y - per_image(y)) / per_image(scale),
    )
    # No two birds of a species are alike.
    for name in ("head_x", "head_y", "neck_x1", "tail_x1", "tail_y1"):
        p[name] = p[name] + random.between(-0.7, 0.7)
    p["bill_x"] = p["head_x"] + p["bill_x"] * random.between(0.92, 1.08)
    p["bill_y"] = p["head_y"] + p["bill_y"] + random.between(-0.4, 0.4)
    plump = random.between(0.92, 1.08)
    for name in ("body_r0", "body_r1"):
        p[name] = p[name] * plump
    back, breast = _BACK[birds.back] * random.between(0.9, 1.1)[:, None], _BREAST[birds.breast]
    crown = np.where((birds.head == 8)[:, None], back, _HEAD[np.minimum(birds.head, 7)])
    bill, leg = _BILL[birds.bill], _LEG[birds.legs]
    # Where a pixel on the outline is only partly bird, it is mixed with a shadow, never with the scene.
    canvas.paint(np.ones((1, 1, 1), np.float32), back * np.float32(0.5))
    whole = np.full((n, height, width), np.float32(9))

    def add(shape: Array, colour: Array) -> None:
        canvas.paint(cover(shape), colour)
        np.minimum(whole, shape, out=whole)

    def limb(name: str) -> Array:
        x0, y0, x1, y1 = (p[name + suffix] for suffix in ("_x0", "_y0", "_x1", "_y1"))
        return canvas.stroke(x0, y0, x1, y1, p[name + "_r0"], p[name + "_r1"])

    for offset, dark in ((2.6, 0.62), (-0.6, 1.0)):
        foot_x, foot_y = p["leg_x"] + offset, p["leg_y1"] + (dark - 1) * 1.5
        shank = canvas.stroke(p["leg_x"] + offset * 0.4, p["leg_y0"] - 1.0, foot_x, foot_y, p["leg_r"])
        toes = canvas.stroke(
            foot_x - 0.6, foot_y, foot_x + 2.4 + p["web"] * 1.6, foot_y + 0.5, 0.55, 0.5 + p["web"] * 0.8
        )
        add(np.minimum(shank, toes), leg * np.float32(dark))

    tail = limb("tail")
    add(tail, back * np.float32(0.78))
    body = join(limb("body"), limb("neck"), 2.5)
    head_shape = join(
        canvas.stroke(p["neck_x1"], p["neck_y1"], p["head_x"], p["head_y"], p["neck_r1"], p["head_r"] * 0.9),
        canvas.ellipse(p["head_x"], p["head_y"], p["head_r"] * 1.06, p["head_r"]),
        0.8,
    )
    figure = join(body, head_shape, 1.6)
    beak = canvas.stroke(
        p["head_x"] + p["head_r"] * 0.6, p["head_y"] + 0.6, p["bill_x"], p["bill_y"], p["bill_r0"], p["bill_r1"]
    )
    hook = canvas.stroke(
        p["bill_x"], p["bill_y"], p["bill_x"] - p["hook"] * 0.15, p["bill_y"] + p["hook"], p["bill_r1"], 0.5
    )
    hooked = np.where((p["hook"] > 0)[:, None, None], np.minimum(beak, hook), beak)
    add(hooked, bill)
    gape = canvas.stroke(p["head_x"] + p["head_r"] * 0.7, p["head_y"] + 0.9, p["bill_x"], p["bill_y"] + 0.25, 0.22)
    canvas.paint(cover(gape) * cover(hooked) * np.float32(0.6), bill * np.float32(0.4))
    # A crest, ear tufts for the owl.
    crest = canvas.stroke(
        p["head_x"] - 0.5,
        p["head_y"] - p["head_r"] * 0.7,
        p["head_x"] - p["head_r"] - 1.6,
        p["head_y"] - p["head_r"] - 0.8,
        1.5,
        0.3,
    )
    crested = (random.between(0, 1) < 0.22)[:, None, None]
    add(np.where(crested, crest, np.float32(9)), crown)
    add(figure, back)
    inside = cover(figure)
    # The breast begins below a line from the tail to the throat.
    rise = np.clip(
        (canvas.y - per_image((p["body_y0"] + p["body_y1"]) * 0.5) + canvas.x * np.float32(0.28)) * np.float32(0.4),
        0,
        1,
    )
    front = np.clip((canvas.x - per_image(p["body_x1"] - 1.5)) * np.float32(0.35), 0, 1)
    canvas.paint(np.maximum(rise, front) * inside, breast)
    canvas.paint(cover(head_shape, 1.4) * inside, crown)
    collar = canvas.stroke(p["neck_x1"] - 4, p["neck_y1"] + 0.6, p["neck_x1"] + 4, p["neck_y1"] + 1.2, 0.6)
    ringed = (random.between(0, 1) < 0.25).astype(np.float32)[:, None, None]
    canvas.paint(cover(collar) * inside * ringed, (0.95, 0.95, 0.93))
    # Volume: lit from above, darker towards the outline; down in soft spots.
    depth = np.clip(-figure / 3.5, 0, 1)
    lit = np.clip(np.float32(0.98) - canvas.y * np.float32(0.016), 0.7, 1.15)
    down = wave(canvas.x * np.float32(0.31) + wave(canvas.y * np.float32(0.23)) * np.float32(0.5))
    speckles = per_image(random.between(0.0, 0.22))
    canvas.shade(1 + (((np.float32(0.70) + np.float32(0.30) * depth) * lit - 1) - speckles * down * depth) * inside)

    wing = limb("wing")
    on = cover(wing)
    dx, dy = p["wing_x1"] - p["wing_x0"], p["wing_y1"] - p["wing_y0"]
    length = np.sqrt(dx * dx + dy * dy)
    along = (canvas.x - per_image(p["wing_x0"])) * per_image(dx / length) + (
        canvas.y - per_image(p["wing_y0"])
    ) * per_image(dy / length)
    aside = (canvas.y - per_image(p["wing_y0"])) * per_image(dx / length) - (
        canvas.x - per_image(p["wing_x0"])
    ) * per_image(dy / length)
    share = along / per_image(length)
    feathers = wave(aside * np.float32(0.30) + along * np.float32(0.06)) * np.clip(share * 2, 0, 1)
    scales = wave(along * np.float32(0.36)) * np.clip(1 - share * 2, 0, 1)
    tone = np.float32(0.80) + feathers * np.float32(0.28) + scales * np.float32(0.18)
    tips = np.clip((share - np.float32(0.55)) * 2, 0, 1) * per_image(random.between(0.0, 0.8))
    colour = back[:, :, None, None] * (tone * (1 - tips * np.float32(0.7)))[:, None]
    np.minimum(whole, wing, out=whole)
    canvas.shade(1 - np.float32(0.35) * cover(wing - np.float32(0.8), 1.5) * (1 - on) * np.maximum(inside, cover(tail)))
    canvas.paint(on, colour)
    bar = np.maximum(np.abs(along - per_image(length * 0.42)) - np.float32(0.7), wing + np.float32(0.6))
    barred = (random.between(0, 1) < 0.4).astype(np.float32)[:, None, None]
    canvas.paint(cover(bar) * barred * np.float32(0.6), breast)

    eye_x, eye_y = p["head_x"] + p["head_r"] * 0.30, p["head_y"] - p["head_r"] * 0.18
    owl = (kind == 2).astype(np.float32)[:, None, None]
    disc = canvas.ellipse(p["head_x"] + 1.6, p["head_y"] + 0.4, 4.6, 4.7)
    canvas.paint(cover(disc, 1.5) * owl, breast * np.float32(0.5) + np.float32(0.42))
    canvas.paint(cover(np.abs(disc) - np.float32(0.4)) * owl * np.float32(0.5), back * np.float32(0.5))
    canvas.paint(
        cover(canvas.stroke(eye_x + 1.3, p["head_y"] + 0.8, eye_x + 2.0, p["head_y"] + 2.6, 0.9, 0.3)) * owl, bill
    )
    striped = (random.between(0, 1) < 0.3).astype(np.float32)[:, None, None] * (1 - owl)
    brow = canvas.stroke(eye_x - 3.0, eye_y + 0.4, eye_x + 1.5, eye_y - 0.2, 0.6)
    canvas.paint(cover(brow) * striped * inside, (0.12, 0.11, 0.12))
    second = canvas.ellipse(eye_x - 3.6, eye_y, p["eye"] * 0.85, p["eye"] * 0.9)
    rim = random.one_of(np.array([(0.93, 0.72, 0.2), (0.95, 0.94, 0.9), (0.75, 0.24, 0.15)], np.float32))
    ball = canvas.ellipse(eye_x, eye_y, p["eye"], p["eye"])
    for eye, shown in ((ball, np.float32(1)), (second, owl)):
        canvas.paint(cover(eye - np.float32(0.55)) * shown, rim)
        canvas.paint(cover(eye + 0.45 * owl) * shown, (0.03, 0.03, 0.04))
    canvas.paint(cover(canvas.ellipse(eye_x + 0.4, eye_y - 0.45, 0.42, 0.42)), (1.0, 1.0, 1.0))
    return canvas.image, whole < 0


# ---------------------------------------------------------------------------------------------------------------------
# the scenes


def _gradient(canvas: Canvas, top: Array, bottom: Array, share: Array) -> None:
    canvas.image[...] = top[:, :, None, None] + (bottom - top)[:, :, None, None] * np.clip(share, 0, 1)[:, None]


def _tinted(random: Draws, colour: tuple[float, float, float], spread_: float = 0.1) -> Array:
    """Return (N, 3): *colour*, a little different in each image."""
    channels = [random.between(value * (1 - spread_), value * (1 + spread_)) for value in colour]
    return np.stack(channels, 1)


def _water(canvas: Canvas, variant: int, random: Draws, noise: Array, streaks: Array) -> None:
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


def _land(canvas: Canvas, variant: int, random: Draws, noise: Array, streaks: Array) -> None:
    height, width = SIZE
    smooth = [spread(noise[:, i], height, width) for i in range(4)]
    bark = np.swapaxes(spread(streaks, width, height), 1, 2) - np.float32(0.5)
    floor = random.between(36, 48)
    ground = cover(per_image(floor) + (smooth[3] - np.float32(0.5)) * 6 - canvas.y, 2)
    if variant == 2:
        _gradient(canvas, _tinted(random, (0.46, 0.66, 0.90)), _tinted(random, (0.84, 0.90, 0.94), 0.05), canvas.y / 26)
        canvas.paint(np.clip((smooth[0] - np.float32(0.5)) * 3, 0, 1) * np.float32(0.7), (0.97, 0.98, 1.0))
        for line, colour in (
            (random.between(12, 22), (0.36, 0.50, 0.36)),
            (random.between(20, 30), (0.26, 0.44, 0.20)),
        ):
            bushes = per_image(line) + (smooth[1 if colour[0] > 0.3 else 2][:, 28:29] - np.float32(0.5)) * 9
            bushes = (
                bushes - wave(canvas.x * per_image(random.between(0.08, 0.16)) + per_image(random.between(0, 1))) * 3
            )
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
