"""Where the refined model looks in test images, against where the truth lies; the model learned nothing of it.

A map is enlarged to its image bilinearly, and negative parts of it count as zero. A map that is zero everywhere counts
as a miss, 0, so that all models are judged by the same images. Images of which nothing or everything is relevant are
left out: they tell nothing. Chance is the value of a map of equal values, or of a point anywhere, on the same images.
"""

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from crayon_bench import Direction, Metric, MetricError, Predictions

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
_TIE = 1e-9
"""Values that differ by no more than this share are equal: enlarging rounds."""


class AttentionMetric(Metric):
    """Mean over test images of a number in [0, 1] about each one's map, in percent."""

    columns = "attention"

    def applies(self, predictions: Predictions) -> bool:
        """Return whether maps and evidence are there."""
        return predictions.attention is not None

    def compute(self, predictions: Predictions) -> float:
        """Return percent. Raises MetricError where no image tells anything."""
        values = [self.of_map(M, S) if M.max() > 0 else 0.0 for M, S in _told(predictions)]
        return 100.0 * float(np.mean(_some(values)))

    def chance(self, predictions: Predictions) -> float | None:
        """Return percent; None where it is not defined."""
        values = [self.by_chance(float(S.mean())) for S in _masks(predictions)]
        return 100.0 * float(np.mean(values)) if values else None

    @abstractmethod
    def of_map(self, M: Array, S: Bools) -> float:
        """Return the number for a map M ≥ 0, (H, W), somewhere positive, and the relevant pixels S."""

    @abstractmethod
    def by_chance(self, area: float) -> float:
        """Return what it is for a map of equal values, if this share of the image is relevant."""


class EnergyPointingGame(AttentionMetric):
    """EPG: the share of a map's total that lies on relevant pixels, Σ_S M / Σ M (Wang et al. 2020, Score-CAM, §4.3)."""

    name = "energy_pointing_game"
    short = "EPG"
    summary = "mean over test images of the share of the map's positive total that is on relevant pixels, in percent"

    def of_map(self, M: Array, S: Bools) -> float:
        """Return Σ_S M / Σ M."""
        return float(M[S].sum() / M.sum())

    def by_chance(self, area: float) -> float:
        """Return the area."""
        return area


class PointingGame(AttentionMetric):
    """PG: whether a map's maximum is on a relevant pixel, without a tolerance (Zhang et al. 2018, Excitation Backprop).

    Of several pixels that have the maximum, the one nearest to their middle is taken; of several as near, the first.
    Chance is that of a pixel taken at random.
    """

    name = "pointing_game"
    short = "PG"
    summary = "test images whose map has its maximum on a relevant pixel / test images, in percent"

    def of_map(self, M: Array, S: Bools) -> float:
        """Return 1 for a hit, else 0."""
        highest = M.max() * (1 - _TIE)
        rows, columns = np.nonzero(highest <= M)
        away = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
        nearest = int(np.flatnonzero(away <= away.min() + _TIE)[0])
        return float(S[rows[nearest], columns[nearest]])

    def by_chance(self, area: float) -> float:
        """Return the area."""
        return area


class AttentionIoU(AttentionMetric):
    """IoU: overlap of the relevant pixels with as many pixels of the map, its highest ones.

    With k relevant pixels, B the k highest of the map and I = |B ∩ S|, it is I / (2k − I). Pixels that are equal at the
    threshold are each taken in the same part, so that they are k together; for a map of equal values and a share a of
    relevant pixels, that gives a / (2 − a).
    """

    name = "attention_iou"
    short = "IoU"
    summary = (
        "mean over test images of |B ∩ S| / |B ∪ S|, S the relevant pixels, B as many, the map's highest, in percent"
    )

    def of_map(self, M: Array, S: Bools) -> float:
        """Return I / (2k − I)."""
        k = int(S.sum())
        threshold = np.partition(M, M.size - k, axis=None)[M.size - k]
        low, high = threshold * (1 - _TIE), threshold * (1 + _TIE)
        above = high < M
        tied = ~above & (low <= M)
        inside = above[S].sum() + tied[S].sum() * (k - above.sum()) / tied.sum()
        return float(inside / (2 * k - inside))

    def by_chance(self, area: float) -> float:
        """Return a / (2 − a)."""
        return area / (2 - area)


class DeadMaps(Metric):
    """Dead: test images whose map is zero everywhere; the other metrics of attention count them as misses."""

    name = "dead_maps"
    short = "Dead"
    summary = "test images whose map is zero everywhere / test images, in percent"
    direction = Direction.LOWER
    columns = "attention"

    def applies(self, predictions: Predictions) -> bool:
        """Return whether maps and evidence are there."""
        return predictions.attention is not None

    def compute(self, predictions: Predictions) -> float:
        """Return percent. Raises MetricError where no image tells anything."""
        return 100.0 * float(np.mean(_some([float(M.max() <= 0) for M, _ in _told(predictions)])))


def _told(predictions: Predictions) -> Iterator[tuple[Array, Bools]]:
    """Give map, enlarged, and relevant pixels of each image that tells something."""
    attention = predictions.attention
    if attention is None:
        raise MetricError("nothing is known of where the truth lies in test images")
    if not np.isfinite(attention.maps).all():
        raise MetricError("the model's maps are not all finite")
    cells, weights = attention.maps.shape[1:], None
    for examples, masks in attention.parts():
        if weights is None:
            weights = [_bilinear(n, pixels) for n, pixels in zip(cells, masks.shape[1:], strict=True)]
        for M, S in zip(attention.maps[examples], masks, strict=True):
            if S.any() and not S.all():
                yield weights[0] @ np.maximum(M, 0).astype(np.float64) @ weights[1].T, S


def _masks(predictions: Predictions) -> Iterator[Bools]:
    for _, masks in predictions.attention.parts() if predictions.attention is not None else ():
        yield from (S for S in masks if S.any() and not S.all())


def _some(values: list[float]) -> list[float]:
    if not values:
        raise MetricError("in no test image a part alone is relevant")
    return values


def _bilinear(cells: int, pixels: int) -> Array:
    """Return the weights (pixels, cells) of bilinear enlarging along one side; its rows sum to 1."""
    centres = ((np.arange(pixels) + 0.5) * cells / pixels - 0.5).clip(0, cells - 1)
    weights: Array = np.maximum(0.0, 1.0 - np.abs(centres[:, None] - np.arange(cells)))
    return weights
