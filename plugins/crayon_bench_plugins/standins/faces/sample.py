"""What drawn faces show, and drawing lots for it."""

from dataclasses import dataclass

import numpy as np

from crayon_bench_plugins.standins.canvas import Integers

SIZE = (56, 48)
"""Height and width in pixels, in the proportions of CelebA's aligned images."""
MOUTH_BOX = (34, 13, 47, 35)
"""Top, left, bottom and right (ends excluded) of the rectangle that contains the mouth in every image."""


@dataclass(frozen=True)
class Faces:
    """What N faces show; every field is (N,) whole numbers."""

    blond: Integers
    """0 black hair, 1 blond hair: the shortcut."""
    smiling: Integers
    """0 or 1: the label."""
    glasses: Integers
    """0 or 1."""
    hat: Integers
    """0 or 1."""
    beard: Integers
    """0 or 1."""
    lipstick: Integers
    """0 or 1."""
    style: Integers
    """0 short hair, 1 bob, 2 long, 3 curly, 4 tied up."""
    skin: Integers
    """0 palest to 4 darkest."""
    background: Integers
    """0 studio, 1 leaves, 2 sky and grass, 3 panelled wall, 4 room, 5 stage."""
    light: Integers
    """0 from the left, 1 from the right, 2 from above, 3 dim."""


def sample_faces(blond: Integers, smiling: Integers, random: np.random.RandomState) -> Faces:
    """Return faces with this hair and these smiles, (N,) each of 0 or 1, everything else drawn at random."""
    blond, smiling = np.asarray(blond, dtype=np.int64), np.asarray(smiling, dtype=np.int64)
    if blond.ndim != 1 or blond.shape != smiling.shape:
        raise ValueError(f"blond and smiling must be (N,) each, not {blond.shape} and {smiling.shape}")
    draw = random.random_sample((len(blond), 8))

    def chance(column: int, probability: float) -> Integers:
        return (draw[:, column] < probability).astype(np.int64)

    def one_of(column: int, kinds: int) -> Integers:
        return np.floor(draw[:, column] * kinds).astype(np.int64)

    return Faces(
        blond=blond,
        smiling=smiling,
        glasses=chance(0, 0.25),
        hat=chance(1, 0.2),
        beard=chance(2, 0.2),
        lipstick=chance(3, 0.35),
        style=one_of(4, 5),
        skin=one_of(5, 5),
        background=one_of(6, 6),
        light=one_of(7, 4),
    )
