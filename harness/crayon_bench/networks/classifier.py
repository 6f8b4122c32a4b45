"""The networks that methods refine, behind one interface: logits and saliency from ONE forward pass.

:mod:`crayon_bench.networks.mlp` and :mod:`crayon_bench.networks.convnets` implement it.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from crayon_bench.networks.maps import contrast_seeds, max_normalise


class Forward(ABC):
    """One forward pass. ``logits``: (B, classes)."""

    logits: Tensor

    @abstractmethod
    def map_of(self, seed: Tensor) -> Tensor:
        """Return the map of the combination ⟨seed, logits⟩, with *seed* (B, classes): (B, H, W), differentiable.

        Grad-CAM before its ReLU for convolutional networks, so that it may be negative; |input gradient| for MLPs.
        """

    def seeds(self, labels: Tensor) -> Tensor:
        """Return the combination of logits that the labels' maps are of: (B, classes). Here the label's logit."""
        return nn.functional.one_hot(labels, self.logits.shape[-1]).to(self.logits.dtype)

    def signed(self, labels: Tensor) -> Tensor:
        """Return the labels' maps, which may be negative: (B, H, W), differentiable."""
        return self.map_of(self.seeds(labels))

    def saliency(self, labels: Tensor) -> Tensor:
        """Return the labels' maps before normalisation: (B, H, W) ≥ 0, differentiable."""
        return self.signed(labels).relu()

    def normalised(self, labels: Tensor, count_dead: Callable[[Tensor], None] | None = None) -> Tensor:
        """Return the labels' maps, each divided by its maximum: (B, H, W) ≥ 0, differentiable.

        A dead map stays all zeros; *count_dead*: see :func:`max_normalise`.
        """
        return max_normalise(self.saliency(labels), count_dead)

    def contrast(self, labels: Tensor) -> Tensor:
        """Return the map of the label's logit less the mean of the other logits: (B, H, W) ≥ 0.

        A vector added to the weights of all logits changes the logit's map, but neither predictions nor this map.
        """
        return self.map_of(contrast_seeds(labels, self.logits)).relu()

    def input_gradient(self, seed: Tensor, pixels: Tensor | None = None) -> Tensor:
        """Return ∂⟨seed, logits⟩/∂x with *seed* (B, classes) held fixed: (B, C, H, W) in the units of x.

        pixels: int64 (k,), positions in the flattened image without repetition, for these alone: (B, k).
        Differentiable in the parameters, and in *seed*. Raises TypeError where there is no closed form.
        """
        raise TypeError("this network's input gradient has no closed form; use map_of or saliency")


class Classifier(nn.Module, ABC):
    """A network that a method can refine."""

    @abstractmethod
    def run(self, images: Tensor) -> Forward:
        """Compute one forward pass over uint8 *images* (B, C, H, W)."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        return self.run(images).logits

    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of its maps of images of *height* × *width* pixels."""
        return height, width


def batch_for_maps(shape: Sequence[int]) -> int:
    """Return how many images of *shape* (C, H, W) are computed at once outside training: bounded memory."""
    pixels = 1
    for size in shape:
        pixels *= size
    return max(1, min(1024, 2**23 // pixels))


def state_hash(model: nn.Module) -> str:
    """Return the sha256 of a network's parameters and buffers: names, types, shapes and values."""
    sums = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        sums.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        sums.update(value.detach().cpu().contiguous().numpy().tobytes())
    return sums.hexdigest()
