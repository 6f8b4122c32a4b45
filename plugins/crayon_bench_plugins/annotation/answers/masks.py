"""Painted masks as files: PNG of 1 bit a pixel."""

import io

import numpy as np

from crayon_bench import UserError
from crayon_bench_plugins.annotation.answers.tasks import Bools


def mask_bytes(mask: Bools) -> bytes:
    """Return a mask, bool (H, W), as a PNG of 1 bit a pixel; the same mask gives the same bytes."""
    from PIL import Image

    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"a mask must be bool (H, W), not {mask.dtype} {mask.shape}")
    height, width = mask.shape
    sink = io.BytesIO()
    Image.frombytes("1", (width, height), np.packbits(mask, axis=1).tobytes()).save(sink, "PNG")
    return sink.getvalue()


def parse_mask(content: bytes, image_size: tuple[int, int], where: str) -> Bools:
    """Return the mask in a PNG, bool (H, W). Raises UserError, naming *where*, unless it is 1-bit and of that size."""
    from PIL import Image

    height, width = image_size
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.mode != "1" or image.size != (width, height):
                raise ValueError(
                    f"expected {width} x {height} pixels of 1 bit, not {image.size[0]} x {image.size[1]} '{image.mode}'"
                )
            image.load()
            return np.array(image, dtype=np.bool_)
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise UserError(f"{where}: not a mask: {error or type(error).__name__}") from None
