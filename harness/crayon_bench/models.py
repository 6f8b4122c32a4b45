"""The networks that methods refine, behind one interface: logits and saliency from ONE forward pass.

Convolutional networks are in :mod:`crayon_bench.convnets`.

Shapes may have leading dimensions: with parameters stacked as (S, …) and images as (S, B, C, H, W), S networks (the
seeds of one cell) are computed at once. Without stacking, the leading dimensions are empty.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from crayon_bench.protocol import MLPSpec, ModelSpec


class Forward(ABC):
    """One forward pass. ``logits``: (…, B, classes)."""

    logits: Tensor

    @abstractmethod
    def map_of(self, seed: Tensor) -> Tensor:
        """Return the map of the combination ⟨seed, logits⟩, with *seed* (…, B, classes): (…, B, H, W), differentiable.

        Grad-CAM before its ReLU for convolutional networks, so that it may be negative; |input gradient| for MLPs.
        """

    def seeds(self, labels: Tensor) -> Tensor:
        """Return the combination of logits that the labels' maps are of: (…, B, classes). Here the label's logit."""
        return nn.functional.one_hot(labels, self.logits.shape[-1]).to(self.logits.dtype)

    def signed(self, labels: Tensor) -> Tensor:
        """Return the labels' maps, which may be negative: (…, B, H, W), differentiable."""
        return self.map_of(self.seeds(labels))

    def saliency(self, labels: Tensor) -> Tensor:
        """Return the labels' maps before normalisation: (…, B, H, W) ≥ 0, differentiable."""
        return self.signed(labels).relu()

    def contrast(self, labels: Tensor) -> Tensor:
        """Return the map of the label's logit less the mean of the other logits: (…, B, H, W) ≥ 0.

        A vector added to the weights of all logits changes the logit's map, but neither predictions nor this map.
        """
        return self.map_of(contrast_seeds(labels, self.logits)).relu()

    def input_gradient(self, seed: Tensor) -> Tensor:
        """Return ∂⟨seed, logits⟩/∂x with *seed* (…, B, classes) held fixed: (…, B, C, H, W) in the units of x.

        Differentiable in the parameters, and in *seed*. Raises TypeError where there is no closed form.
        """
        raise TypeError("this network's input gradient has no closed form; use map_of or saliency")


def contrast_seeds(labels: Tensor, logits: Tensor) -> Tensor:
    """Return 1 for the label and −1/(classes − 1) for the others: (…, B, classes)."""
    one_hot = nn.functional.one_hot(labels, logits.shape[-1]).to(logits.dtype)
    return one_hot - (1 - one_hot) / max(1, logits.shape[-1] - 1)


class Classifier(nn.Module, ABC):
    """A network that a method can refine."""

    @abstractmethod
    def run(self, images: Tensor) -> Forward:
        """Compute one forward pass over uint8 *images* (…, B, C, H, W)."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (…, B, classes)."""
        return self.run(images).logits

    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of its maps of images of *height* × *width* pixels."""
        return height, width


class MLP(Classifier):
    """A multilayer perceptron with ReLU on the flattened image, in the units of :class:`MLPSpec`'s ``pixels``.

    Initial weights and biases are normal with mean 0 and standard deviation ``init_std``, drawn from *seed*.
    """

    def __init__(self, spec: MLPSpec, shape: tuple[int, int, int], classes: int, seed: int) -> None:
        super().__init__()
        self.shape = shape
        self.scale = 1.0 if spec.pixels == "raw" else 1.0 / 255.0
        widths = [shape[0] * shape[1] * shape[2], *spec.hidden, classes]
        generator = torch.Generator().manual_seed(seed)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for inputs, outputs in pairwise(widths):
            self.weights.append(torch.randn(outputs, inputs, generator=generator) * spec.init_std)
            self.biases.append(torch.randn(outputs, generator=generator) * spec.init_std)

    def run(self, images: Tensor) -> "MLPForward":
        """Compute one forward pass, keeping which hidden units are on."""
        x = images.flatten(-3).to(self.weights[0].dtype)
        if self.scale != 1.0:
            x = x * self.scale
        gates: list[Tensor] = []
        weights, biases = list(self.weights), list(self.biases)
        for W, b in zip(weights[:-1], biases[:-1], strict=True):
            z = _affine(x, W, b)
            gates.append(z > 0)
            x = z.relu()
        return MLPForward(_affine(x, weights[-1], biases[-1]), gates, weights, self.shape)


def _affine(x: Tensor, W: Tensor, b: Tensor) -> Tensor:
    if W.ndim == 2:
        return nn.functional.linear(x, W, b)
    return torch.baddbmm(b.unsqueeze(-2), x, W.mT)


@dataclass
class MLPForward(Forward):
    """A forward pass of :class:`MLP`. ``gates``: which units of each hidden layer are on, bool (…, B, width)."""

    logits: Tensor
    gates: Sequence[Tensor]
    weights: Sequence[Tensor]
    shape: tuple[int, int, int]

    def input_gradient(self, seed: Tensor) -> Tensor:
        """Closed form: u ← (u W)⊙1(z>0) from the last layer to the first.

        Equal to double backward for values and for gradients with respect to every weight, because the gates are
        piecewise constant. x is in the model's own units: on ``pixels = "unit"`` gradients are 255 times as large.
        """
        u = seed
        for W, gate in zip(reversed(self.weights[1:]), reversed(self.gates), strict=True):
            u = (u @ W) * gate
        gradient = u @ self.weights[0]
        return gradient.view(*gradient.shape[:-1], *self.shape)

    def map_of(self, seed: Tensor) -> Tensor:
        """|input gradient| of ⟨seed, logits⟩ (Baehrens et al. 2010), summed over channels."""
        magnitude = self.input_gradient(seed).abs()
        return magnitude.squeeze(-3) if self.shape[0] == 1 else magnitude.sum(-3)

    def saliency(self, labels: Tensor) -> Tensor:
        """|input gradient| of the labels' logits; nowhere negative as it is."""
        return self.signed(labels)


def build_model(spec: ModelSpec, shape: tuple[int, int, int], classes: int, seed: int) -> Classifier:
    """Return a new network for images of *shape* (C, H, W); its initial parameters depend on *seed* alone."""
    if isinstance(spec, MLPSpec):
        return MLP(spec, shape, classes, seed)
    from crayon_bench.convnets import ConvNet  # here, because torchvision takes a second to import

    return ConvNet(spec, shape, classes, seed)


def batch_for_maps(shape: Sequence[int]) -> int:
    """Return how many images of *shape* (C, H, W) are computed at once outside training: bounded memory."""
    pixels = 1
    for size in shape:
        pixels *= size
    return max(1, min(1024, 2**23 // pixels))
