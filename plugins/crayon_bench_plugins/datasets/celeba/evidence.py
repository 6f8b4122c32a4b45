"""Where the truth lies: the mouth."""

import numpy as np
from numpy.typing import NDArray

from crayon_bench import Evidence
from crayon_bench_plugins.datasets.celeba.published import HEIGHT, MOUTH, WIDTH


class MouthEvidence(Evidence):
    """The mouth box of aligned faces, in images of *height* × *width* pixels."""

    def __init__(self, height: int, width: int) -> None:
        self.shape = height, width
        top, left, bottom, right = MOUTH
        self.box = (
            round(top * height / HEIGHT),
            round(left * width / WIDTH),
            round(bottom * height / HEIGHT),
            round(right * width / WIDTH),
        )

    def relevant_masks(self, examples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return the mouth box."""
        mask = np.zeros(self.shape, dtype=np.bool_)
        top, left, bottom, right = self.box
        mask[top:bottom, left:right] = True
        return np.broadcast_to(mask, (len(examples), *self.shape))

    def irrelevant_masks(self, examples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return everything but the mouth box."""
        return ~self.relevant_masks(examples)

    def boxes(self, examples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the mouth box."""
        return np.broadcast_to(np.array(self.box, dtype=np.int64), (len(examples), 4))
