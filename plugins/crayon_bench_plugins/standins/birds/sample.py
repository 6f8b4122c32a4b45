"""What drawn birds show, and drawing lots for it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crayon_bench_plugins.standins.canvas import Integers

SIZE = (56, 56)
"""Height and width in pixels."""
SPECIES = (("sparrow", "parrot", "owl", "woodpecker", "wren"), ("duck", "gull", "cormorant", "heron", "goose"))
"""The species of land birds and of water birds."""
VARIANTS = (("trunks", "bamboo", "meadow", "autumn"), ("sea", "lake", "beach", "sunset"))
"""The variants of scenes on land and on water."""
GROUNDS = ("snow", "sand", "heath", "steppe")
"""Open ground, on which birds of both kinds are seen."""


@dataclass(frozen=True)
class Figures:
    """What N birds look like; every field is (N,) whole numbers."""

    water_bird: Integers
    """0 land bird, 1 water bird: the label."""
    species: Integers
    """0–4: which of the label's SPECIES."""
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
    """Pixels right of the frame's middle: −3 to 3 on scenes, −14 to 14 on open ground."""
    down: Integers
    """Pixels below it: −2 to 2 on scenes, −4 to 12 on open ground."""
    left: Integers
    """1 if it faces left, 0 if right."""
    light: Integers
    """0 bright, 1 dim, 2 warm, 3 cool."""


@dataclass(frozen=True)
class Birds(Figures):
    """Birds on scenes of land or water, the first edition."""

    water_scene: Integers
    """0 land, 1 water: the shortcut."""
    variant: Integers
    """0–3: which of the scene's VARIANTS."""


@dataclass(frozen=True)
class BirdsOutside(Figures):
    """Birds on open ground, some of them beside a bush or a pond: the second edition."""

    beside: Integers
    """0 a bush, 1 a pond, 2 nothing: the shortcut."""
    ground: Integers
    """0–3: which of the GROUNDS."""


def sample_birds(water_bird: Integers, water_scene: Integers, random: np.random.RandomState) -> Birds:
    """Return birds of these kinds in these scenes, (N,) each of 0 or 1, everything else drawn at random."""
    water_bird, water_scene = np.asarray(water_bird, dtype=np.int64), np.asarray(water_scene, dtype=np.int64)
    if water_bird.ndim != 1 or water_bird.shape != water_scene.shape:
        raise ValueError(
            f"water_bird and water_scene must be (N,) each, not {water_bird.shape} and {water_scene.shape}"
        )
    draw = random.random_sample((len(water_bird), 12))
    return Birds(
        water_bird=water_bird,
        water_scene=water_scene,
        variant=_one_of(draw[:, 1], 4),
        across=_one_of(draw[:, 8], 7) - 3,
        down=_one_of(draw[:, 9], 5) - 2,
        **_looks(draw),
    )


def sample_birds_outside(water_bird: Integers, beside: Integers, random: np.random.RandomState) -> BirdsOutside:
    """Return birds of these kinds, (N,) of 0 or 1, beside these things, (N,) of 0, 1 or 2; all else drawn at random."""
    water_bird, beside = np.asarray(water_bird, dtype=np.int64), np.asarray(beside, dtype=np.int64)
    if water_bird.ndim != 1 or water_bird.shape != beside.shape:
        raise ValueError(f"water_bird and beside must be (N,) each, not {water_bird.shape} and {beside.shape}")
    draw = random.random_sample((len(water_bird), 12))
    return BirdsOutside(
        water_bird=water_bird,
        beside=beside,
        ground=_one_of(draw[:, 1], 4),
        across=_one_of(draw[:, 8], 29) - 14,
        down=_one_of(draw[:, 9], 17) - 4,
        **_looks(draw),
    )


def _one_of(draw: NDArray[np.float64], kinds: int) -> Integers:
    return np.floor(draw * kinds).astype(np.int64)


def _looks(draw: NDArray[np.float64]) -> dict[str, Integers]:
    """Return what all birds have, drawn independently of each other."""
    columns = {
        "species": (0, 5),
        "back": (2, 8),
        "breast": (3, 8),
        "head": (4, 9),
        "bill": (5, 4),
        "legs": (6, 4),
        "size": (7, 3),
        "left": (10, 2),
        "light": (11, 4),
    }
    return {name: _one_of(draw[:, column], kinds) for name, (column, kinds) in columns.items()}
