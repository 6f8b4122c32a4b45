"""A bird, and which pixels are bird."""

import numpy as np
from numpy.typing import NDArray

from crayon_bench_plugins.standins.birds.sample import SIZE, Figures
from crayon_bench_plugins.standins.canvas import Array, Canvas, Draws, cover, join, per_image, wave

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


def draw_figure(birds: Figures, scale: Array, random: Draws) -> tuple[Array, NDArray[np.bool_]]:
    """Return (N, 3, H, W) colours and (N, H, W) where they are bird. scale: (N,), 1 for those of the first edition."""
    figure = _Figure(birds, scale, random)
    figure.paint_legs()
    figure.paint_tail()
    figure.paint_beak()
    figure.paint_crest()
    figure.paint_plumage()
    figure.paint_wing()
    figure.paint_face()
    return figure.canvas.image, figure.whole < 0


class _Figure:
    """N birds in the making; their parts are painted in the order of :func:`draw_figure`, each over those before.

    p: places and radii by name, (N,) each. whole: (N, H, W), the distance to what is bird so far. body, head, tail: the
    distances to these parts, body with head and neck. inside: how far a pixel lies in the body, 0–1.
    """

    def __init__(self, birds: Figures, scale: Array, random: Draws) -> None:
        self.random = random
        height, width = SIZE
        n = len(birds.left)
        blank = Canvas.blank(n, height, width)
        scale = scale * np.array([1.0, 1.1, 1.2], np.float32)[birds.size] * random.between(0.97, 1.03)
        facing = np.where(birds.left == 1, np.float32(-1), np.float32(1))
        x = 28 + birds.across.astype(np.float32) + random.between(-0.5, 0.5)
        y = 28 + birds.down.astype(np.float32) + random.between(-0.5, 0.5)
        self.kind = kind = birds.species + 5 * birds.water_bird
        p = self.p = {name: row[kind] for name, row in _TABLE.items()}
        # The middle of the frame is half-way between bill and tail.
        middle = (p["head_x"] + p["bill_x"] + np.minimum(p["tail_x1"], p["wing_x1"])) * np.float32(0.5)
        canvas = self.canvas = Canvas(
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
        self.back, self.breast = _BACK[birds.back] * random.between(0.9, 1.1)[:, None], _BREAST[birds.breast]
        self.crown = np.where((birds.head == 8)[:, None], self.back, _HEAD[np.minimum(birds.head, 7)])
        self.bill, self.leg = _BILL[birds.bill], _LEG[birds.legs]
        # Where a pixel on the outline is only partly bird, it is mixed with a shadow, never with the scene.
        canvas.paint(np.ones((1, 1, 1), np.float32), self.back * np.float32(0.5))
        self.whole = np.full((n, height, width), np.float32(9))
        self.tail = self._limb("tail")
        trunk = join(self._limb("body"), self._limb("neck"), 2.5)
        self.head = join(
            canvas.stroke(p["neck_x1"], p["neck_y1"], p["head_x"], p["head_y"], p["neck_r1"], p["head_r"] * 0.9),
            canvas.ellipse(p["head_x"], p["head_y"], p["head_r"] * 1.06, p["head_r"]),
            0.8,
        )
        self.body = join(trunk, self.head, 1.6)
        self.inside = cover(self.body)

    def _limb(self, name: str) -> Array:
        p = self.p
        x0, y0, x1, y1 = (p[name + suffix] for suffix in ("_x0", "_y0", "_x1", "_y1"))
        return self.canvas.stroke(x0, y0, x1, y1, p[name + "_r0"], p[name + "_r1"])

    def _add(self, shape: Array, colour: Array) -> None:
        self.canvas.paint(cover(shape), colour)
        np.minimum(self.whole, shape, out=self.whole)

    def paint_legs(self) -> None:
        """Paint legs and toes; the farther leg is darker."""
        canvas, p = self.canvas, self.p
        for offset, dark in ((2.6, 0.62), (-0.6, 1.0)):
            foot_x, foot_y = p["leg_x"] + offset, p["leg_y1"] + (dark - 1) * 1.5
            shank = canvas.stroke(p["leg_x"] + offset * 0.4, p["leg_y0"] - 1.0, foot_x, foot_y, p["leg_r"])
            toes = canvas.stroke(
                foot_x - 0.6, foot_y, foot_x + 2.4 + p["web"] * 1.6, foot_y + 0.5, 0.55, 0.5 + p["web"] * 0.8
            )
            self._add(np.minimum(shank, toes), self.leg * np.float32(dark))

    def paint_tail(self) -> None:
        """Paint the tail, in a darker shade of the back."""
        self._add(self.tail, self.back * np.float32(0.78))

    def paint_beak(self) -> None:
        """Paint the bill, hooked or not."""
        canvas, p = self.canvas, self.p
        beak = canvas.stroke(
            p["head_x"] + p["head_r"] * 0.6, p["head_y"] + 0.6, p["bill_x"], p["bill_y"], p["bill_r0"], p["bill_r1"]
        )
        hook = canvas.stroke(
            p["bill_x"], p["bill_y"], p["bill_x"] - p["hook"] * 0.15, p["bill_y"] + p["hook"], p["bill_r1"], 0.5
        )
        hooked = np.where((p["hook"] > 0)[:, None, None], np.minimum(beak, hook), beak)
        self._add(hooked, self.bill)
        gape = canvas.stroke(p["head_x"] + p["head_r"] * 0.7, p["head_y"] + 0.9, p["bill_x"], p["bill_y"] + 0.25, 0.22)
        canvas.paint(cover(gape) * cover(hooked) * np.float32(0.6), self.bill * np.float32(0.4))

    def paint_crest(self) -> None:
        """Paint a crest on some, ear tufts on the owl."""
        canvas, p, random = self.canvas, self.p, self.random
        crest = canvas.stroke(
            p["head_x"] - 0.5,
            p["head_y"] - p["head_r"] * 0.7,
            p["head_x"] - p["head_r"] - 1.6,
            p["head_y"] - p["head_r"] - 0.8,
            1.5,
            0.3,
        )
        crested = (random.between(0, 1) < 0.22)[:, None, None]
        self._add(np.where(crested, crest, np.float32(9)), self.crown)

    def paint_plumage(self) -> None:
        """Paint body, neck and head: back, breast, crown and collar, and their volume."""
        canvas, p, random = self.canvas, self.p, self.random
        self._add(self.body, self.back)
        # The breast begins below a line from the tail to the throat.
        rise = np.clip(
            (canvas.y - per_image((p["body_y0"] + p["body_y1"]) * 0.5) + canvas.x * np.float32(0.28)) * np.float32(0.4),
            0,
            1,
        )
        front = np.clip((canvas.x - per_image(p["body_x1"] - 1.5)) * np.float32(0.35), 0, 1)
        canvas.paint(np.maximum(rise, front) * self.inside, self.breast)
        canvas.paint(cover(self.head, 1.4) * self.inside, self.crown)
        collar = canvas.stroke(p["neck_x1"] - 4, p["neck_y1"] + 0.6, p["neck_x1"] + 4, p["neck_y1"] + 1.2, 0.6)
        ringed = (random.between(0, 1) < 0.25).astype(np.float32)[:, None, None]
        canvas.paint(cover(collar) * self.inside * ringed, (0.95, 0.95, 0.93))
        # Volume: lit from above, darker towards the outline; down in soft spots.
        depth = np.clip(-self.body / 3.5, 0, 1)
        lit = np.clip(np.float32(0.98) - canvas.y * np.float32(0.016), 0.7, 1.15)
        down = wave(canvas.x * np.float32(0.31) + wave(canvas.y * np.float32(0.23)) * np.float32(0.5))
        speckles = per_image(random.between(0.0, 0.22))
        canvas.shade(
            1 + (((np.float32(0.70) + np.float32(0.30) * depth) * lit - 1) - speckles * down * depth) * self.inside
        )

    def paint_wing(self) -> None:
        """Paint the wing and its shadow."""
        canvas, p, random = self.canvas, self.p, self.random
        wing = self._limb("wing")
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
        colour = self.back[:, :, None, None] * (tone * (1 - tips * np.float32(0.7)))[:, None]
        np.minimum(self.whole, wing, out=self.whole)
        canvas.shade(
            1
            - np.float32(0.35)
            * cover(wing - np.float32(0.8), 1.5)
            * (1 - on)
            * np.maximum(self.inside, cover(self.tail))
        )
        canvas.paint(on, colour)
        bar = np.maximum(np.abs(along - per_image(length * 0.42)) - np.float32(0.7), wing + np.float32(0.6))
        barred = (random.between(0, 1) < 0.4).astype(np.float32)[:, None, None]
        canvas.paint(cover(bar) * barred * np.float32(0.6), self.breast)

    def paint_face(self) -> None:
        """Paint the eyes; the owl's disc, the others' stripe."""
        canvas, p, random = self.canvas, self.p, self.random
        eye_x, eye_y = p["head_x"] + p["head_r"] * 0.30, p["head_y"] - p["head_r"] * 0.18
        owl = (self.kind == 2).astype(np.float32)[:, None, None]
        disc = canvas.ellipse(p["head_x"] + 1.6, p["head_y"] + 0.4, 4.6, 4.7)
        canvas.paint(cover(disc, 1.5) * owl, self.breast * np.float32(0.5) + np.float32(0.42))
        canvas.paint(cover(np.abs(disc) - np.float32(0.4)) * owl * np.float32(0.5), self.back * np.float32(0.5))
        canvas.paint(
            cover(canvas.stroke(eye_x + 1.3, p["head_y"] + 0.8, eye_x + 2.0, p["head_y"] + 2.6, 0.9, 0.3)) * owl,
            self.bill,
        )
        striped = (random.between(0, 1) < 0.3).astype(np.float32)[:, None, None] * (1 - owl)
        brow = canvas.stroke(eye_x - 3.0, eye_y + 0.4, eye_x + 1.5, eye_y - 0.2, 0.6)
        canvas.paint(cover(brow) * striped * self.inside, (0.12, 0.11, 0.12))
        second = canvas.ellipse(eye_x - 3.6, eye_y, p["eye"] * 0.85, p["eye"] * 0.9)
        rim = random.one_of(np.array([(0.93, 0.72, 0.2), (0.95, 0.94, 0.9), (0.75, 0.24, 0.15)], np.float32))
        ball = canvas.ellipse(eye_x, eye_y, p["eye"], p["eye"])
        for eye, shown in ((ball, np.float32(1)), (second, owl)):
            canvas.paint(cover(eye - np.float32(0.55)) * shown, rim)
            canvas.paint(cover(eye + 0.45 * owl) * shown, (0.03, 0.03, 0.04))
        canvas.paint(cover(canvas.ellipse(eye_x + 0.4, eye_y - 0.45, 0.42, 0.42)), (1.0, 1.0, 1.0))
