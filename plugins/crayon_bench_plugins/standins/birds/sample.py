"""What drawn birds show, and drawing lots for it."""

from dataclasses import dataclass

import numpy as np

from crayon_bench_plugins.standins.canvas import Integers

SIZE = (56, 56)
"""Height and width in pixels."""
SPECIES = (("sparrow", "parrot", "owl", "woodpecker", "wren"), ("duck", "gull", "cormorant", "heron", "goose"))
"""The species of land birds and of water birds."""
VARIANTS = (("trunks", "bamboo", "meadow", "autumn"), ("sea", "lake", "beach", "sunset"))
"""The variants of scenes on land and on water."""


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
