"""Images, overlays and strips of patches as PNG, drawn when they are first asked for and kept while there is room."""

import io
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crayon_bench_plugins.annotation.material import Material

_STOPS = np.array(
    [
        (0, 0, 4),
        (33, 12, 74),
        (87, 16, 110),
        (138, 34, 106),
        (188, 55, 84),
        (228, 90, 49),
        (249, 140, 10),
        (249, 203, 53),
        (252, 255, 164),
    ],
    dtype=np.float64,
)
"""The colour map "inferno" (Smith and van der Walt, CC0) at nine even steps: lightness grows evenly with the value."""

_OPAQUE_FROM = 0.8
"""From this value on the overlay hides as much of the image as it ever does; below, in proportion."""


def colours(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the overlay's colours, RGBA uint8 (…, 4), for map values in [0, 1]."""
    place = np.clip(values.astype(np.float64), 0, 1) * (len(_STOPS) - 1)
    low = np.minimum(place.astype(np.int64), len(_STOPS) - 2)
    part = (place - low)[..., None]
    rgb = _STOPS[low] * (1 - part) + _STOPS[low + 1] * part
    alpha = np.clip(values / _OPAQUE_FROM, 0, 1) * 255
    return np.concatenate([rgb, alpha[..., None]], axis=-1).round().astype(np.uint8)


def enlarged(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return a map (h, w) at *size* (height, width), bilinearly, as Grad-CAM is shown."""
    if values.shape == size:
        return values
    picture = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR), dtype=np.float32)


def to_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return uint8 (H, W), (H, W, 3) or (H, W, 4) as PNG."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, format="PNG", compress_level=3)
    return out.getvalue()


class Pictures:
    """The pictures of a task's questions, by their positions. Safe to be used from several threads."""

    def __init__(self, material: Material, room: int = 64 << 20) -> None:
        """*room*: bytes of PNG that are kept."""
        self.material = material
        self._room, self._used = room, 0
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def image(self, number: int) -> bytes:
        """Return the image of an example."""
        return self._get("image", number, lambda: to_png(self._pixels(number)))

    def overlay(self, number: int) -> bytes:
        """Return the saliency map of an example, in colour and transparent where it is low, at the image's size."""
        maps = self.material.maps
        assert maps is not None
        return self._get("overlay", number, lambda: to_png(colours(enlarged(maps[number], self.material.image_size))))

    def strip(self, number: int) -> bytes:
        """Return the whole images of a neuron's patches, side by side; black where it has fewer."""
        patches = self.material.patches
        assert patches is not None
        examples = patches.examples[number]
        height, width = self.material.image_size
        blank = np.zeros((height, width, 3), np.uint8)
        rows = [self._pixels(int(e), colour=True) if e >= 0 else blank for e in examples]
        return self._get("strip", number, lambda: to_png(np.concatenate(rows, axis=1)))

    def _pixels(self, number: int, *, colour: bool = False) -> NDArray[np.uint8]:
        pixels = np.asarray(self.material.images[number])
        if len(pixels) == 1:
            return np.repeat(pixels[0][..., None], 3, axis=-1) if colour else pixels[0]
        return pixels.transpose(1, 2, 0)

    def _get(self, kind: str, number: int, draw: Callable[[], bytes]) -> bytes:
        key = (kind, number)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        png = draw()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = png
                self._used += len(png)
                while self._used > self._room and len(self._kept) > 1:
                    self._used -= len(self._kept.popitem(last=False)[1])
        return png
