"""Protocols: the recipe of an experiment, read from TOML and validated.

A protocol names everything that a result depends on beside data, method code and seed. ``--set SECTION.KEY=VALUE``
changes one value; what was changed is recorded and shown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.files import parse_toml
from crayon_bench.parameters import Parameters, validated


class Selection(StrEnum):
    """Which epoch's model is judged. None of them sees the test set."""

    LAST = "last"
    VAL_WGA = "val_wga"
    VAL_ACCURACY = "val_accuracy"


class Recipe(Parameters):
    """How a network is trained, by Adam on the mean cross-entropy of a batch."""

    epochs: int = Field(ge=0, le=100_000, description="passes over the training set")
    batch: int = Field(
        ge=1,
        le=1_000_000,
        description="examples per step; with batch normalisation, a last step of one example is joined to the one"
        " before it",
    )
    lr: float = Field(gt=0, le=10, description="learning rate of Adam")
    lr_decay: float = Field(default=1.0, gt=0, le=1, description="factor on lr after every epoch, or see milestones")
    milestones: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=list,
        max_length=100,
        description="epochs after which lr_decay is applied; empty: after every one",
    )
    weight_decay: float = Field(
        default=0.0, ge=0, le=1, description="L2 coefficient added to the gradient, as Adam has it"
    )

    def lr_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 1."""
        drops = sum(epoch > milestone for milestone in self.milestones) if self.milestones else epoch - 1
        return self.lr * self.lr_decay**drops


class MLPSpec(Parameters):
    """A multilayer perceptron."""

    name: Literal["mlp"] = Field(default="mlp", description="kind of network")
    hidden: list[Annotated[int, Field(ge=1, le=65_536)]] = Field(
        default_factory=lambda: [50, 30], min_length=1, max_length=8, description="widths of the hidden layers"
    )
    pixels: Literal["raw", "unit"] = Field(default="raw", description="input: raw 0–255 or unit 0–1")
    init_std: float = Field(
        default=0.1, gt=0, le=10, description="standard deviation of the normal initial weights and biases"
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
        description="initial weights of the body: imagenet (torchvision's), a name that the data set ships, file"
        " (--weights FILE is required) or none (random initial weights); --weights FILE takes the place of all of them",
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

    def to_dict(self) -> dict[str, Any]:
        """Return the values without those that are None: an option that is added later changes no older key.

        Nor does ``head``: what comes of it stands in the coordinates of the weights.
        """
        return {name: value for name, value in super().to_dict().items() if value is not None and name != "head"}

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


class _File(Parameters):
    schema_: Literal[1] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=60)
    dataset: str
    summary: str = ""
    source: str = ""
    note: str = Field(default="", max_length=300)
    selection: str = Selection.LAST.value
    threads: int = Field(default=1, ge=1, le=1024)
    dataset_parameters: dict[str, Any] = Field(default_factory=dict)
    oracle: dict[str, dict[str, Any]] = Field(default_factory=dict)
    model: dict[str, Any]
    original: Recipe
    refine: Recipe
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """A validated protocol.

    threads: CPU threads of one run; fixed here because the number changes the last bits of a sum.
    note: what stands under every table made by it, about its oracle.
    oracle, methods: parameters by plugin name, validated against the plugin when it is used.
    overrides: what ``--set`` changed, dotted key → value.
    """

    name: str
    dataset: str
    summary: str
    source: str
    note: str
    selection: Selection
    threads: int
    dataset_parameters: Mapping[str, Any]
    oracle: Mapping[str, Mapping[str, Any]]
    model: ModelSpec
    original: Recipe
    refine: Recipe
    methods: Mapping[str, Mapping[str, Any]]
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def for_method(self, name: str, own: type[Parameters], *, trains: bool) -> tuple[Recipe, dict[str, Any]]:
        """Return a method's recipe and its own parameters.

        Its table in the protocol holds both: keys that the method does not declare itself and that a recipe has
        (``epochs``, ``lr`` …) change ``[refine]`` for this method alone; one that does not train has no such keys.
        """
        table = dict(self.methods.get(name, {}))
        mine = own.names()
        recipe_keys = [key for key in Recipe.names() if key not in mine] if trains else []
        changes = {key: table.pop(key) for key in list(table) if key in recipe_keys}
        unknown = [key for key in table if key not in mine]
        if unknown:
            raise UserError(
                f"{name}.{unknown[0]}: there is no such parameter", did_you_mean(unknown[0], [*mine, *recipe_keys])
            )
        recipe = validated(Recipe, {**self.refine.to_dict(), **changes}, name) if changes else self.refine
        return recipe, table


def load_protocol(path: Any, sets: Iterable[tuple[str, str]] = (), *, oracle: str = "simulated") -> Protocol:
    """Read and validate a protocol file, then apply ``--set`` pairs.

    *oracle* is the name that the section ``oracle.`` of ``--set`` stands for. Raises UserError with the key's path.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"protocol {path}: cannot be read: {error}") from None
    try:
        raw = parse_toml(content)
    except ValueError as error:
        raise UserError(f"protocol {path}: not valid TOML: {error}") from None
    where = f"protocol {Path(str(path)).name}: "
    try:
        model_spec(validated(_File, raw, "").model)
    except UserError as error:
        raise UserError(where + error.message, error.hint) from None
    overrides = {}
    for key, text in sets:
        value = parse_value(text)
        if _apply(raw, key, value, oracle):
            overrides[key] = value
    try:
        file = validated(_File, raw, "")
    except UserError as error:  # the file itself is valid: it is what was set
        section = "protocol." if error.message.startswith(("threads", "selection")) else ""
        raise UserError(f"--set {section}{error.message}", error.hint) from None
    if file.selection not in list(Selection):
        raise UserError(f"{where}selection = '{file.selection}'", did_you_mean(file.selection, list(Selection)))
    return Protocol(
        name=file.name,
        dataset=file.dataset,
        summary=file.summary,
        source=file.source,
        note=file.note,
        selection=Selection(file.selection),
        threads=file.threads,
        dataset_parameters=file.dataset_parameters,
        oracle=file.oracle,
        model=model_spec(file.model),
        original=file.original,
        refine=file.refine,
        methods=file.methods,
        overrides=overrides,
    )


def parse_set(text: str) -> tuple[str, str]:
    """Split ``SECTION.KEY=VALUE``; raises UserError if it is not of that form."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UserError(f"--set {text}: not text in the terminal's encoding")
    key, equals, value = text.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name and value.strip()):
        raise UserError(f"--set {text}: expected SECTION.KEY=VALUE, for example --set rrr.lambda=10")
    return key.strip(), value.strip()


def parse_value(text: str) -> Any:
    """Read a value as TOML would (``3``, ``1e-3``, ``true``, ``[1, 2]``); anything else, dates too, is a string."""
    try:
        content = parse_toml(f"value = {text}")
    except ValueError:
        return text
    value = content.pop("value")
    return text if content or isinstance(value, date | time) else value


def _apply(raw: dict[str, Any], key: str, value: Any, oracle: str) -> bool:
    """Set one value; return whether that changed it."""
    section, _, name = key.partition(".")
    if section == "dataset":
        table = raw.setdefault("dataset_parameters", {})
    elif section == "oracle":
        table = raw.setdefault("oracle", {}).setdefault(oracle, {})
    elif section in ("model", "original", "refine"):
        # `original` is a method too, and its parameters are the recipe of the original model: one and the same.
        table = raw.setdefault(section, {})
    elif section == "protocol":
        if name not in ("selection", "threads"):
            raise UserError(f"--set {key}: there is no such parameter", did_you_mean(name, ("selection", "threads")))
        table = raw
    else:
        table = raw.setdefault("methods", {}).setdefault(section, {})
    changed = name not in table or type(table[name]) is bool or table[name] != value
    table[name] = value
    return changed
