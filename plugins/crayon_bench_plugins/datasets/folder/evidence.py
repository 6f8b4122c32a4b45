"""What metadata.csv says about where the truth lies."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from crayon_bench import Evidence, FeedbackKind
from crayon_bench.data.masks import silent_masks, tight_boxes
from crayon_bench_plugins.datasets.folder.metadata import Row, group_names
from crayon_bench_plugins.datasets.folder.sheet import LIST


class FolderEvidence(Evidence):
    """What metadata.csv says of the training images. masks: uint8 (N, size, size); boxes: int64 (N, 4); or None."""

    def __init__(self, masks: NDArray[np.uint8] | None, boxes: NDArray[np.int64] | None, size: int) -> None:
        self._masks, self._boxes, self._size = masks, boxes, size

    def notes(self) -> Iterator[str]:
        """Yield what stands under every table: of how many images the masks tell nothing."""
        if self._masks is not None and (silent := int(self._masks.all(axis=(1, 2)).sum())):
            yield silent_masks(silent, len(self._masks))

    def has(self, what: str) -> bool:
        """Return whether there are masks; inside of boxes is relevant too, but outside of them is not irrelevant."""
        return self._masks is not None or (what != "irrelevant_masks" and self._boxes is not None)

    def relevant_masks(self, examples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return the masks, or else what lies inside of the boxes."""
        if self._masks is not None:
            masks: NDArray[np.bool_] = self._masks[examples] != 0
            return masks
        if self._boxes is None:
            return super().relevant_masks(examples)
        pixel = np.arange(self._size)
        top, left, bottom, right = self._boxes[examples].T[..., None]
        rows, columns = (pixel >= top) & (pixel < bottom), (pixel >= left) & (pixel < right)
        return np.asarray(rows[:, :, None] & columns[:, None, :])

    def irrelevant_masks(self, examples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return everything but the masks."""
        if self._masks is None:
            return super().irrelevant_masks(examples)
        return ~self.relevant_masks(examples)

    def boxes(self, examples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the boxes, or else those round the masks."""
        if self._boxes is not None:
            boxes: NDArray[np.int64] = self._boxes[examples]
            return boxes
        if self._masks is None:
            return super().boxes(examples)
        return tight_boxes(self.relevant_masks(examples))


def unable_to_answer(rows: Sequence[Row]) -> dict[FeedbackKind, str]:
    """Return the kinds of question that an oracle cannot answer about these *rows*, each with the reason."""
    train = [row for row in rows if row.split == "train"]
    no_masks = _lacking("masks", sum(bool(row.mask) for row in train), len(train))
    no_boxes = _lacking("boxes", sum(row.box is not None for row in train), len(train))
    no_groups = _lacking("attributes", sum(bool(row.attribute) for row in train), len(train))
    unable = {FeedbackKind.GROUP: no_groups if group_names(rows) else f"{LIST} has no attributes"}
    unable |= dict.fromkeys((FeedbackKind.RELEVANT_MASK, FeedbackKind.IRRELEVANT_MASK), no_masks)
    if no_masks:
        neither = f"{no_masks} and no boxes" if no_masks.endswith("no masks") and "has no" in no_boxes else no_masks
        verdicts = (FeedbackKind.MAP_VERDICT, FeedbackKind.NEURON_VERDICT)
        unable |= dict.fromkeys(verdicts, neither if no_boxes else "") | {FeedbackKind.BOX: no_boxes}
    return {kind: why for kind, why in unable.items() if why}


def _lacking(what: str, there: int, wanted: int) -> str:
    if there == wanted:
        return ""
    if there:
        return f"{LIST} has {what} for {there:,} of {wanted:,} training images"
    return f"{LIST} has no {what}" + (" of training images" if what == "attributes" else "")
