"""What is worn: glasses, a hat, and cloth of any colour."""

import numpy as np

from crayon_bench_plugins.standins.canvas import Array, Canvas, Draws, cover, per_image, wave
from crayon_bench_plugins.standins.faces.sample import Faces


def paint_glasses(canvas: Canvas, faces: Faces, random: Draws, x: Array, y: Array) -> None:
    """Paint the glasses of those who wear some."""
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


def paint_hat(canvas: Canvas, faces: Faces, random: Draws, x: Array, y: Array) -> None:
    """Paint the hat of those who wear one: of straw, with a peak, or of wool."""
    part = canvas.window(0, 3, 20, 45)
    worn = faces.hat.astype(np.float32)[:, None, None]
    colour, band = cloth_colour(random), cloth_colour(random)
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


def cloth_colour(random: Draws) -> Array:
    """Return (N, 3): a muted colour."""
    grey = random.between(0.1, 0.85)
    colour = np.stack([random.between(0.0, 1.0), random.between(0.0, 1.0), random.between(0.0, 1.0)], 1)
    mixed: Array = grey[:, None] * np.float32(0.55) + colour * np.float32(0.42)
    return mixed
