"""A multilayer perceptron whose input gradient has a closed form.

With u the derivative of a combination of logits with respect to a layer's sums, u ← (u W)⊙1(z>0) leads from the last
layer to the first. That equals double backward, in values and in gradients with respect to every weight, because the
gates 1(z>0) are piecewise constant. tests/test_gradients.py compares the two in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from crayon_bench.networks.classifier import Classifier, Forward
from crayon_bench.networks.specification import MLPSpec


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
        x = images.flatten(1).to(self.weights[0].dtype)
        if self.scale != 1.0:
            x = x * self.scale
        weights, biases = list(self.weights), list(self.biases)
        gates: list[Tensor] = []
        for W, b in zip(weights[:-1], biases[:-1], strict=True):
            x = nn.functional.linear(x, W, b).relu()
            gates.append(x > 0)
        return MLPForward(nn.functional.linear(x, weights[-1], biases[-1]), gates, weights, self.shape)


@dataclass
class MLPForward(Forward):
    """A forward pass of :class:`MLP`. gates: which units of each hidden layer are on, bool (B, width)."""

    logits: Tensor
    gates: Sequence[Tensor]
    weights: Sequence[Tensor]
    shape: tuple[int, int, int]

    def _at_first_layer(self, seed: Tensor) -> Tensor:
        """Return ∂⟨seed, logits⟩/∂z of the first layer's sums z: (B, width)."""
        u = seed
        for W, gate in zip(reversed(self.weights[1:]), reversed(self.gates), strict=True):
            u = u @ W * gate
        return u

    def input_gradient(self, seed: Tensor, pixels: Tensor | None = None) -> Tensor:
        """Closed form; x is in the model's own units: on ``pixels = "unit"`` gradients are 255 times as large."""
        u, W = self._at_first_layer(seed), self.weights[0]
        return (u @ W).view(-1, *self.shape) if pixels is None else u @ W[:, pixels]

    def map_of(self, seed: Tensor) -> Tensor:
        """|input gradient| of ⟨seed, logits⟩ (Baehrens et al. 2010), summed over channels."""
        magnitude = self.input_gradient(seed).abs()
        return magnitude.squeeze(1) if self.shape[0] == 1 else magnitude.sum(1)

    def saliency(self, labels: Tensor) -> Tensor:
        """|input gradient| of the labels' logits; nowhere negative as it is."""
        return self.signed(labels)
