"""What is bird and what is not: CUB's segmentations."""

import numpy as np
from numpy.typing import NDArray

from crayon_bench import Evidence
from crayon_bench.data.masks import tight_boxes


class BirdEvidence(Evidence):
    """The birds' masks: uint8 (N, 1, H, W), 1 on the bird; all 1 where nothing is known."""

    def __init__(self, masks: NDArray[np.uint8]) -> None:
        self._masks = masks

    def relevant_masks(self, examples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return the birds."""
        masks: NDArray[np.bool_] = self._masks[examples, 0] != 0
        return masks

    def irrelevant_masks(self, examples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return everything but the birds."""
        return ~self.relevant_masks(examples)

    def boxes(self, examples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tight boxes round the birds."""
        return tight_boxes(self.relevant_masks(examples))


def bird_mask(grey: NDArray[np.uint8], size: int) -> NDArray[np.bool_]:
    """Return where the bird is in a segmentation (H, W), as a mask (size, size); see ``Waterbirds``."""
    if not grey.any():
        return np.ones((size, size), dtype=np.bool_)
    down, across = _area_weights(grey.shape[0], size), _area_weights(grey.shape[1], size)
    # The margin keeps exact halves out on every machine, however its matrix product rounds.
    mask: NDArray[np.bool_] = down @ (grey > 127).astype(np.float64) @ across.T > 0.5 + 1e-9
    if not mask.any():
        mean = down @ grey.astype(np.float64) @ across.T
        mask = mean > mean.max() / 2
    return mask


def _area_weights(length: int, size: int) -> NDArray[np.float64]:
    """Return a matrix (size, length) that averages *length* pixels over *size* equal stretches."""
    edges = np.arange(size + 1) * (length / size)
    pixel = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    weights: NDArray[np.float64] = np.maximum(overlap, 0.0) * (size / length)
    return weights
