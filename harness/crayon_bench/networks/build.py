"""From a specification to a network."""

from crayon_bench.networks.classifier import Classifier
from crayon_bench.networks.convnets import ConvNet
from crayon_bench.networks.mlp import MLP
from crayon_bench.networks.specification import MLPSpec, ModelSpec


def build_model(spec: ModelSpec, shape: tuple[int, int, int], classes: int, seed: int) -> Classifier:
    """Return a new network for images of *shape* (C, H, W); its initial parameters depend on *seed* alone."""
    if isinstance(spec, MLPSpec):
        return MLP(spec, shape, classes, seed)
    return ConvNet(spec, shape, classes, seed)
