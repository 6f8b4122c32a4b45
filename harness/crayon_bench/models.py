"""The networks that methods refine, behind one interface: logits and saliency from ONE forward pass.

Convolutional networks are in :mod:`crayon_bench.convnets`.

Shapes may have leading dimensions: with parameters stacked as (S, …) and images as (S, B, C, H, W), S networks (the
seeds of one cell) are computed at once. Without stacking, the leading dimensions are empty.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn

from crayon_bench.fused import Work, layers, peak_sum, pixels_of, product, share_of, softmax
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

    def probabilities(self) -> Tensor:
        """Return the predicted probabilities of the classes: (…, B, classes)."""
        return self.logits.softmax(-1)

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

    def peak_sum(self, labels: Tensor, weight: Tensor, count_dead: Callable[[Tensor], None] | None = None) -> Tensor:
        """Return Σ_hw weight · M / max M, with M the labels' maps and *weight* (…, B, H, W): (…, B).

        As with :func:`~crayon_bench.saliency.max_normalise`, gradient flows through the maximum, and a dead map gives
        zero and is counted. Faster than to write it out: an MLP keeps no map.
        """
        from crayon_bench.saliency import max_normalise  # here, because it needs this module

        return (max_normalise(self.saliency(labels), count_dead) * weight).sum((-2, -1))

    def share_of(self, labels: Tensor, part: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ_hw part · M / Σ_hw whole · M, (…, B), with M the labels' maps, and which maps are dead, bool (…, B).

        part: (…, B, H, W). whole: (H, W). The share of a map without anything in *whole* is zero. Faster than to write
        it out, see :meth:`peak_sum`.
        """
        M = self.saliency(labels).clamp_min(0)
        total = (M * whole).sum((-2, -1))
        dead = total <= 0
        return (M * part).sum((-2, -1)) / total.masked_fill(dead, torch.inf), dead

    def input_gradient(self, seed: Tensor, pixels: Tensor | None = None) -> Tensor:
        """Return ∂⟨seed, logits⟩/∂x with *seed* (…, B, classes) held fixed: (…, B, C, H, W) in the units of x.

        pixels: int64 (k,), positions in the flattened image without repetition, for these alone: (…, B, k).
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
        weights, biases = list(self.weights), list(self.biases)
        gates: list[Tensor] = []
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
    """A forward pass of :class:`MLP`.

    gates: which units of each hidden layer are on, (…, B, width), bool or 1 and 0. work: where the sums over maps are
    computed.
    """

    logits: Tensor
    gates: Sequence[Tensor]
    weights: Sequence[Tensor]
    shape: tuple[int, int, int]
    work: Work = field(default_factory=Work)

    @classmethod
    def in_training(
        cls, model: MLP, x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], work: Work
    ) -> "MLPForward":
        """Compute a step's forward pass of S networks like *model* over pixels x (S, B, P) of any type."""
        logits, gates = layers(x, weights, biases, model.scale, work)
        return cls(logits, gates, weights, model.shape, work)

    def only(self) -> "MLPForward":
        """Return the forward pass of a stack of one without the stack's dimension."""
        gates, weights = [gate.squeeze(0) for gate in self.gates], [W.squeeze(0) for W in self.weights]
        return MLPForward(self.logits.squeeze(0), gates, weights, self.shape, self.work)

    def probabilities(self) -> Tensor:
        """See :meth:`Forward.probabilities`."""
        return softmax(self.logits)

    def _at_first_layer(self, seed: Tensor) -> Tensor:
        """Return ∂⟨seed, logits⟩/∂z of the first layer's sums z: (…, B, width)."""
        u = seed
        for W, gate in zip(reversed(self.weights[1:]), reversed(self.gates), strict=True):
            u = product(u, W) * gate
        return u

    def input_gradient(self, seed: Tensor, pixels: Tensor | None = None) -> Tensor:
        """Closed form: u ← (u W)⊙1(z>0) from the last layer to the first.

        Equal to double backward for values and for gradients with respect to every weight, because the gates are
        piecewise constant. x is in the model's own units: on ``pixels = "unit"`` gradients are 255 times as large.
        """
        u, W = self._at_first_layer(seed), self.weights[0]
        if pixels is not None:
            chosen = pixels_of(u.view(-1, *u.shape[-2:]), W.view(-1, *W.shape[-2:]), pixels, self.work)
            return chosen.view(*u.shape[:-1], len(pixels))
        gradient = product(u, W)
        return gradient.view(*gradient.shape[:-1], *self.shape)

    def map_of(self, seed: Tensor) -> Tensor:
        """|input gradient| of ⟨seed, logits⟩ (Baehrens et al. 2010), summed over channels."""
        magnitude = self.input_gradient(seed).abs()
        return magnitude.squeeze(-3) if self.shape[0] == 1 else magnitude.sum(-3)

    def saliency(self, labels: Tensor) -> Tensor:
        """|input gradient| of the labels' logits; nowhere negative as it is."""
        return self.signed(labels)

    def peak_sum(self, labels: Tensor, weight: Tensor, count_dead: Callable[[Tensor], None] | None = None) -> Tensor:
        """See :meth:`Forward.peak_sum`. Pixels whose maps are equally high: the first counts as the peak."""
        if not self._can_fuse:
            return super().peak_sum(labels, weight, count_dead)
        u, W, weight = self._stacked(labels, weight)
        value, dead = peak_sum(u, W, weight, self.work)
        if count_dead is not None:
            count_dead(dead.view(labels.shape))
        return value.view(labels.shape)

    def share_of(self, labels: Tensor, part: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Forward.share_of`."""
        if not self._can_fuse or not (whole == 1).all():
            return super().share_of(labels, part, whole)
        value, dead = share_of(*self._stacked(labels, part), self.work)
        return value.view(labels.shape), dead.view(labels.shape)

    @property
    def _can_fuse(self) -> bool:
        return self.shape[0] == 1 and self.logits.dtype in (torch.float32, torch.float64)

    def _stacked(self, labels: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return u, W and a weight of pixels with exactly one leading dimension."""
        u, W = self._at_first_layer(self.seeds(labels)), self.weights[0]
        S = W.shape[0] if W.ndim == 3 else 1
        weight = weight.to(u.dtype).expand(*labels.shape, *self.shape[1:])
        return u.view(S, -1, u.shape[-1]), W.view(S, *W.shape[-2:]), weight.flatten(-2).view(S, labels.shape[-1], -1)


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


def state_hash(model: nn.Module) -> str:
    """Return the sha256 of a network's parameters and buffers: names, types, shapes and values."""
    sums = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        sums.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        sums.update(value.detach().cpu().contiguous().numpy().tobytes())
    return sums.hexdigest()
