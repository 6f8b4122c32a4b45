"""A multilayer perceptron whose input gradient has a closed form.

With u the derivative of a combination of logits with respect to a layer's sums, u ← (u W)⊙1(z>0) leads from the last
layer to the first. That equals double backward, in values and in gradients with respect to every weight, because the
gates 1(z>0) are piecewise constant. tests/test_gradients.py compares the two in float64.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from crayon_bench.networks.classifier import Classifier, Forward
from crayon_bench.networks.maps import max_normalise
from crayon_bench.networks.specification import MLPSpec


class MLP(Classifier):
    """A multilayer perceptron with ReLU on the flattened image, in the units of :class:`MLPSpec`'s ``pixels``.

    Initial weights and biases are normal with mean 0 and standard deviation ``init_std``, drawn from *seed*; or the
    same whatever the seed, see :class:`MLPSpec`'s ``init``.
    """

    def __init__(self, spec: MLPSpec, shape: tuple[int, int, int], classes: int, seed: int) -> None:
        super().__init__()
        self.shape = shape
        self.scale = 1.0 if spec.pixels == "raw" else 1.0 / 255.0
        widths = [shape[0] * shape[1] * shape[2], *spec.hidden, classes]
        self.signed_peak = spec.peak == "signed"
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        draw = _fixed_draw() if spec.init == "fixed" else _draw(seed)
        for inputs, outputs in pairwise(widths):
            self.weights.append(draw(outputs, inputs) * spec.init_std)
            self.biases.append(draw(outputs) * spec.init_std)

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
        logits = nn.functional.linear(x, weights[-1], biases[-1])
        return MLPForward(logits, gates, weights, self.shape, self.signed_peak)


def _draw(seed: int) -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator)


def _fixed_draw() -> Callable[..., Tensor]:
    """Return the draws of NumPy's stream of seed 0: of each layer the weights, inputs first, then the biases."""
    stream = np.random.RandomState(0)
    return lambda *shape: torch.from_numpy(stream.standard_normal(shape[::-1]).T.astype(np.float32).copy())


@dataclass
class MLPForward(Forward):
    """A forward pass of :class:`MLP`. gates: which units of each hidden layer are on, bool (B, width).

    signed_peak: whether maps are divided by the maximum of the gradient, in place of that of its absolute value.
    """

    logits: Tensor
    gates: Sequence[Tensor]
    weights: Sequence[Tensor]
    shape: tuple[int, int, int]
    signed_peak: bool = False

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

    def normalised(self, labels: Tensor, count_dead: Callable[[Tensor], None] | None = None) -> Tensor:
        """Return |g| / max |g|, with g the input gradient of the labels' logits; |g / max g| with ``signed_peak``.

        The latter may pass 1, where g has its largest value below 0; a map without a positive g is dead. Channels are
        summed first.
        """
        if not self.signed_peak:
            return super().normalised(labels, count_dead)
        gradient = self.input_gradient(self.seeds(labels))
        return max_normalise(gradient.squeeze(1) if self.shape[0] == 1 else gradient.sum(1), count_dead).abs()

    def saliency(self, labels: Tensor) -> Tensor:
        """|input gradient| of the labels' logits; nowhere negative as it is."""
        return self.signed(labels)
