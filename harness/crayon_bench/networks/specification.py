"""What a network is and how it is trained, as a protocol's tables say it: validated, and light to import."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.parameters import Parameters, validated


class Recipe(Parameters):
    """How a network is trained, step by step on the loss of a batch."""

    later: ClassVar[tuple[str, ...]] = ("reduction", "optimizer", "bn_momentum")

    epochs: int = Field(ge=0, le=100_000, description="passes over the training set")
    batch: int = Field(
        ge=1,
        le=1_000_000,
        description="examples per step; with batch normalisation, a last step of one example is joined to the one"
        " before it",
    )
    lr: float = Field(gt=0, le=10, description="learning rate of the optimizer")
    lr_decay: float = Field(default=1.0, gt=0, le=1, description="factor on lr after every epoch, or see milestones")
    milestones: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=list,
        max_length=100,
        description="epochs after which lr_decay is applied; empty: after every one",
    )
    weight_decay: float = Field(
        default=0.0, ge=0, le=1, description="L2 coefficient added to the gradient, as torch's Adam and SGD have it"
    )
    reduction: Literal["mean", "sum"] = Field(
        default="mean",
        description="the loss of a batch is the mean or the sum over its examples; to Adam the same, but that beside a"
        " mean the weight decay weighs as much more as there are examples",
    )
    optimizer: Literal["adam", "sgd"] = Field(
        default="adam",
        description="adam, or sgd: plain steps down the gradient, without momentum, to which a sum is as many times a"
        " mean as there are examples",
    )
    bn_momentum: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="how much of its running statistics batch normalisation replaces by each batch's while it is"
        " trained; unset: the network's own, which is 0.1 in torchvision's. Two forward passes of a batch at 0.1 do"
        " what one does at 0.19",
    )

    def lr_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 1."""
        drops = sum(epoch > milestone for milestone in self.milestones) if self.milestones else epoch - 1
        return self.lr * self.lr_decay**drops


class MLPSpec(Parameters):
    """A multilayer perceptron."""

    later: ClassVar[tuple[str, ...]] = ("init", "peak")

    name: Literal["mlp"] = Field(default="mlp", description="kind of network")
    hidden: list[Annotated[int, Field(ge=1, le=65_536)]] = Field(
        default_factory=lambda: [50, 30], min_length=1, max_length=8, description="widths of the hidden layers"
    )
    pixels: Literal["raw", "unit"] = Field(default="raw", description="input: raw 0–255 or unit 0–1")
    init_std: float = Field(
        default=0.1, gt=0, le=10, description="standard deviation of the normal initial weights and biases"
    )
    init: Literal["seed", "fixed"] = Field(
        default="seed",
        description="initial weights: a draw for each seed of the run, or one that is the same for all, the first of"
        " NumPy's stream of seed 0, as in the public code of the CRAYON paper",
    )
    peak: Literal["absolute", "signed"] = Field(
        default="absolute",
        description="what a map is divided by where its maximum is to be 1: absolute is max |g| of the input gradient"
        " g; signed is max g, and the absolute value is taken of the quotient, as in that code",
    )

    @property
    def has_feature_maps(self) -> bool:
        """Whether it has convolutional channels."""
        return False

    @property
    def title(self) -> str:
        """As in a sentence: "the MLP …"."""
        return "the MLP"


class Scaling(StrEnum):
    """What a network is fed, computed from the pixels 0–255 of each channel."""

    UNIT = "unit"
    """x/255"""
    SYMMETRIC = "symmetric"
    """x/127.5 − 1"""
    IMAGENET = "imagenet"
    """(x/255 − mean)/std with the mean and the standard deviation of ImageNet's channels"""


class CNNSpec(Parameters):
    """A convolutional network whose last feature map is averaged over positions and followed by one linear layer."""

    name: Literal["small-cnn", "mobilenet_v2", "resnet18", "resnet50"] = Field(description="kind of network")
    weights: str = Field(
        default="imagenet",
        description="initial weights of the body: imagenet (torchvision's IMAGENET1K_V1), imagenet-v2 (its"
        " IMAGENET1K_V2, for resnet50 and mobilenet_v2), a name that the data set ships, file (--weights FILE is"
        " required) or none (random initial weights); --weights FILE takes the place of all of them",
    )
    scaling: Literal["auto", "unit", "symmetric", "imagenet"] = Field(
        default="auto", description="input scaling; auto is that with which the weights were trained"
    )
    maps: Literal["logit", "contrast"] = Field(
        default="logit",
        description="what the maps that methods ask about and steer are of: the label's logit, as the papers have it,"
        " or the label's logit less the mean of the others, which alone decides the prediction",
    )
    output_stride: Literal[8, 16, 32] | None = Field(
        default=None,
        description="input pixels per cell of the last feature map; less than the network's own turns strides into"
        " dilations: the same weights on a finer grid (mobilenet_v2 and resnet50)",
    )

    cut: Literal[4, 7, 14] | None = Field(
        default=None,
        description="mobilenet_v2 alone: the last feature map is the expansion of this block, of 17, in place of the"
        " whole network's: stride 4, 8 or 16 and a receptive field of 19, 59 or 267 pixels",
    )

    head: Literal["new", "file"] | None = Field(
        default=None,
        description="the last layer, where --weights FILE has one with as many outputs as there are classes. Unset: it"
        " is taken, the whole network is the original model, and nothing is trained for it; new: it is left, and the"
        " original model is trained; file: as unset, but a file without such a layer is an error",
    )

    classes: str | Annotated[list[str | int], Field(min_length=1, max_length=10_000)] | None = Field(
        default=None,
        description="which output of --weights FILE is which class: the labels in the order of the outputs, as a list"
        " or as a file that has them (a line each, or JSON); such a file of weights must be a whole classifier",
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the values without those that are None: an option that is added later changes no older key.

        Nor do ``head`` and ``classes``: what comes of them stands in the coordinates of the weights.
        """
        own = {name: value for name, value in super().to_dict().items() if name not in ("head", "classes")}
        return {name: value for name, value in own.items() if value is not None}

    @property
    def has_feature_maps(self) -> bool:
        """Whether it has convolutional channels."""
        return True

    @property
    def title(self) -> str:
        """As in a sentence."""
        return _TITLES[self.name]


_TITLES = {
    "small-cnn": "the small CNN",
    "mobilenet_v2": "MobileNetV2",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
}


CNN_NAMES = tuple(_TITLES)
"""Of the convolutional networks."""

ModelSpec = MLPSpec | CNNSpec
"""The network of a protocol."""


def model_spec(values: Mapping[str, Any], where: str = "model") -> ModelSpec:
    """Return the specification in a table ``[model]``. Raises UserError."""
    name = values.get("name", "mlp")
    known = ["mlp", *_TITLES]
    if name not in known:
        raise UserError(f"{where}.name = {name!r}: there is no such network", did_you_mean(str(name), known))
    if name == "mlp":
        return validated(MLPSpec, dict(values), where)
    spec = validated(CNNSpec, dict(values), where)
    if spec.output_stride is not None and (
        spec.name == "small-cnn" or (spec.name == "resnet18" and spec.output_stride != 32)
    ):
        raise UserError(f"{where}.output_stride = {spec.output_stride}: {spec.title}'s own cannot be changed")
    if spec.cut is not None and (spec.name != "mobilenet_v2" or spec.output_stride is not None):
        raise UserError(f"{where}.cut = {spec.cut}: this is for mobilenet_v2 with its own strides alone")
    return spec
