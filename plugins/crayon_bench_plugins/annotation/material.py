"""What one task asks about, and what is needed to show it. Light: the server needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crayon_bench import Patches
from crayon_bench_plugins.annotation.answers.manifest import Manifest
from crayon_bench_plugins.annotation.answers.shown import image_hash, map_hash, neuron_id, patches_hash
from crayon_bench_plugins.annotation.answers.tasks import Task


@dataclass(frozen=True)
class Material:
    """What one task asks about, and what is needed to show it.

    title: of the data set. standin: whether the data are a stand-in. ids: names of the N training examples.
    labels: int64 (N,). images: uint8 (N, C, H, W). dataset: its coordinates. seed: of the original model.

    Of maps and neurons alone: model: hash of the original model's parameters; predicted: int64 (N,).
    Of maps alone: maps: float32 (N, h, w) ≥ 0; kind: ``logit`` or ``contrast``.
    Of neurons alone: patches; shown: how many there are for each, and their radius.
    """

    task: Task
    title: str
    standin: bool
    ids: Sequence[str]
    labels: NDArray[np.int64]
    class_names: Sequence[str]
    images: NDArray[np.uint8]
    dataset: Mapping[str, Any]
    protocol: str
    seed: int
    model: str | None = None
    predicted: NDArray[np.int64] | None = None
    maps: NDArray[np.float32] | None = None
    kind: str | None = None
    patches: Patches | None = None
    shown: tuple[int, int] | None = None

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.patches) if self.patches is not None else len(self.ids)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.images.shape[2], self.images.shape[3]

    def manifest(self) -> Manifest:
        """Return the questions as they are recorded: ids, and hashes of what is shown."""
        content = str(self.dataset["content"])
        if self.maps is not None:
            asked = [(name, map_hash(one)) for name, one in zip(self.ids, self.maps, strict=True)]
        elif self.patches is not None:
            asked = []
            for number, examples, boxes in zip(
                self.patches.neurons.tolist(), self.patches.examples, self.patches.boxes, strict=True
            ):
                there = examples >= 0
                names = [self.ids[example] for example in examples[there]]
                asked.append((neuron_id(number), patches_hash(names, boxes[there])))
        else:
            asked = [(name, image_hash(content, name)) for name in self.ids]
        k, radius = self.shown or (None, None)
        return Manifest(
            task=self.task,
            dataset=dict(self.dataset),
            protocol=self.protocol if self.model is not None else None,
            seed=self.seed if self.model is not None else None,
            model=self.model,
            maps=self.kind,
            patches=k,
            radius=radius,
            class_names=list(self.class_names),
            image_size=self.image_size,
            questions=asked,
        )
