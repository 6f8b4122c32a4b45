"""Convolutional networks: a body, global average pooling and one linear layer, with Grad-CAM in closed form.

With A the last feature map after its ReLU, (B, K, H, W), and logits s = W·GAP(A) + b, the Grad-CAM map of logit c
(Selvaraju et al. 2017) is ReLU(Σ_k W_ck A_k)/(HW); the factor vanishes under normalisation. It costs one product on top
of the forward pass that the loss needs anyway, and its gradient reaches W and the body without double backward.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from crayon_bench.networks.classifier import Classifier, Forward
from crayon_bench.networks.maps import contrast_seeds
from crayon_bench.networks.specification import CNNSpec, Scaling

if TYPE_CHECKING:
    from torchvision.models import MobileNetV2, ResNet

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass
class ConvForward(Forward):
    """A forward pass of :class:`ConvNet`. ``features``: A, (B, K, H, W) ≥ 0. ``weight``: W, (classes, K).

    contrasted: whether maps are of the label's logit less the mean of the others, or of the logit alone.
    """

    logits: Tensor
    features: Tensor
    weight: Tensor
    contrasted: bool = False

    def seeds(self, labels: Tensor) -> Tensor:
        """Return the label's logit, or its contrast to the others."""
        return contrast_seeds(labels, self.logits) if self.contrasted else super().seeds(labels)

    def map_of(self, seed: Tensor) -> Tensor:
        """Grad-CAM of ⟨seed, logits⟩ before its ReLU: Σ_k (seed·W)_k A_k."""
        B, _, H, W = self.features.shape
        channels = (seed.to(self.weight.dtype) @ self.weight).unsqueeze(-1)  # (B, K, 1)
        # Features are stored with channels last, so that this view costs nothing.
        return torch.bmm(self.features.permute(0, 2, 3, 1).reshape(B, H * W, -1), channels).view(B, H, W)


class ConvNet(Classifier):
    """ResNet-18, ResNet-50, MobileNetV2 or the small CNN.

    ``body``: the convolutions; ``head``: the linear layer, initialised by *seed*; ``kept``: (K,), 1 for channels that
    count and 0 for pruned ones, which are zero in forward pass and maps alike.
    """

    kept: Tensor

    def __init__(self, spec: CNNSpec, shape: tuple[int, int, int], classes: int, seed: int) -> None:
        super().__init__()
        if shape[0] != 3:
            raise ValueError(f"{spec.title} takes images with 3 channels, not {shape[0]}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body: nn.Module = _BODIES[spec.name](spec)
            channels = _CHANNELS[spec.name] if spec.cut is None else _CUT_CHANNELS[spec.cut]
            self.head = nn.Linear(channels, classes)
        self.contrasted = spec.maps == "contrast"
        self.register_buffer("kept", torch.ones(channels))
        scale, shift = _scaling(Scaling.UNIT if spec.scaling == "auto" else Scaling(spec.scaling))
        self.register_buffer("_scale", torch.tensor(scale).view(3, 1, 1), persistent=False)
        self.register_buffer("_shift", torch.tensor(shift).view(3, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)

    @property
    def channels(self) -> int:
        """K, the number of channels of the last feature map."""
        return self.head.in_features

    def features(self, images: Tensor) -> Tensor:
        """Return A for uint8 *images* (B, 3, height, width): (B, K, H, W) ≥ 0."""
        x = images.to(self.head.weight.dtype).contiguous(memory_format=torch.channels_last)
        A: Tensor = self.body(torch.addcmul(self._shift, x, self._scale))  # type: ignore[arg-type]
        # Multiplied always, pruned or not: it is cheap, and a condition on values would wait for the device.
        return A * self.kept.view(-1, 1, 1)

    def run(self, images: Tensor) -> ConvForward:
        """Compute one forward pass."""
        A = self.features(images)
        return ConvForward(self.head(A.mean((-2, -1))), A, self.head.weight, self.contrasted)

    def prune(self, channels: Tensor) -> None:
        """Set channels to zero for good. *channels*: bool (K,), True for those to prune."""
        self.kept.masked_fill_(channels.to(self.kept.device), 0.0)

    @torch.no_grad()
    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the last feature map for images of *height* × *width* pixels."""
        training = self.training
        self.eval()
        A = self.features(torch.zeros(1, 3, height, width, dtype=torch.uint8, device=self.head.weight.device))
        self.train(training)
        return A.shape[-2], A.shape[-1]

    def published_name(self, name: str) -> str | None:
        """Return the name under which torchvision's state_dict has the body's tensor *name*; None for other tensors."""
        return name.removeprefix("body.") if name.startswith("body.") else None


class Head(Classifier):
    """The last layer of a :class:`ConvNet` by itself, fed with pooled features (B, K) in place of images."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = head

    def run(self, images: Tensor) -> "HeadForward":
        """Compute logits from pooled features."""
        return HeadForward(self.head(images))


@dataclass
class HeadForward(Forward):
    """Logits alone; there is no map."""

    logits: Tensor

    def map_of(self, seed: Tensor) -> Tensor:
        """Raise TypeError: pooled features have no positions."""
        raise TypeError("pooled features have no map")


def _scaling(scaling: Scaling) -> tuple[list[float], list[float]]:
    """Return scale and shift of the three channels: input = pixel · scale + shift."""
    if scaling is Scaling.UNIT:
        return [1 / 255] * 3, [0.0] * 3
    if scaling is Scaling.SYMMETRIC:
        return [1 / 127.5] * 3, [-1.0] * 3
    scale = [1 / (255 * std) for std in IMAGENET_STD]
    return scale, [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]


# ---------------------------------------------------------------------------------------------------------------------
# bodies


class _ResNetBody(nn.Module):
    """torchvision's ResNet up to its last block, under the same names."""

    def __init__(self, net: "ResNet") -> None:
        super().__init__()
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            setattr(self, name, getattr(net, name))

    def forward(self, x: Tensor) -> Tensor:
        for module in self.children():
            x = module(x)
        return x


class _MobileNetBody(nn.Module):
    """torchvision's MobileNetV2 without its classifier, under the same names; see ``cut`` in the specification."""

    def __init__(self, net: "MobileNetV2", output_stride: int | None, cut: int | None) -> None:
        super().__init__()
        self.features = net.features
        if cut is not None:
            # A block's output is linear; its expansion, a 1×1 convolution to more channels, ends with a ReLU.
            self.features = nn.Sequential(*net.features[:cut], _Expansion(net.features[cut]))
        stride, dilation = 1, 1
        for module in self.features.modules():
            if isinstance(module, nn.Conv2d):
                if module.stride == (2, 2):
                    if stride >= (output_stride or 32):
                        module.stride, skipped = (1, 1), 2
                    else:
                        stride, skipped = stride * 2, 1
                else:
                    skipped = 1
                if module.kernel_size == (3, 3):
                    # The one whose stride is dropped still sees its old neighbours; later ones see every second.
                    module.dilation = (dilation, dilation)
                    module.padding = (dilation, dilation)
                dilation *= skipped

    def forward(self, x: Tensor) -> Tensor:
        A: Tensor = self.features(x)
        return A


class _Expansion(nn.Module):
    """The first convolution of an inverted residual, under the same name."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Sequential(next(block.conv.children()))  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        A: Tensor = self.conv(x)
        return A


class _SmallBody(nn.Sequential):
    """Four 3×3 convolutions with batch normalisation: 64 channels on a grid of a quarter of the image's size."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs, stride in ((3, 16, 2), (16, 32, 2), (32, 48, 1), (48, 64, 1)):
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


def _resnet(spec: CNNSpec) -> nn.Module:
    from torchvision.models import get_model_builder  # here: it takes seconds to import, and the small CNN needs it not

    make: Callable[..., ResNet] = get_model_builder(spec.name)
    dropped = 0 if spec.output_stride is None else int(math.log2(32 // spec.output_stride))
    return _ResNetBody(
        make(weights=None, replace_stride_with_dilation=[False, dropped >= 2, dropped >= 1])
        if dropped
        else make(weights=None)
    )


def _mobilenet(spec: CNNSpec) -> nn.Module:
    from torchvision.models import mobilenet_v2

    return _MobileNetBody(mobilenet_v2(weights=None), spec.output_stride, spec.cut)


_BODIES: dict[str, Callable[[CNNSpec], nn.Module]] = {
    "resnet18": _resnet,
    "resnet50": _resnet,
    "mobilenet_v2": _mobilenet,
    "small-cnn": lambda spec: _SmallBody(),
}
_CHANNELS = {"resnet18": 512, "resnet50": 2048, "mobilenet_v2": 1280, "small-cnn": 64}
_CUT_CHANNELS = {4: 144, 7: 192, 14: 576}
