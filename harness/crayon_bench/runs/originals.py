"""Original models: made once per data set, recipe and seed, and shared by every method."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from crayon_bench.dataset import LoadedData
from crayon_bench.networks.build import build_model
from crayon_bench.networks.classifier import Classifier
from crayon_bench.networks.exported import effective_spec
from crayon_bench.networks.specification import CNNSpec, Recipe
from crayon_bench.networks.training import fit
from crayon_bench.networks.weights import load_into
from crayon_bench.runs.limits import not_counted
from crayon_bench.runs.run import Run
from crayon_bench.seeds import derive_seed
from crayon_bench.store.artifacts import Artifacts
from crayon_bench.store.request import RunRequest
from crayon_bench.store.store import Store


def original_model(
    run: Run,
    store: Store,
    data: LoadedData,
    images: Tensor,
    labels: Tensor,
    device: str,
    select: Callable[[nn.Module], float] | None,
    on_epoch: Callable[[int, int, float], None],
    report: Callable[[str], None],
) -> Classifier:
    """Return the run's original model, frozen, in eval mode: read from the store, or trained and kept there."""
    c = run.request.coordinates
    whole = is_users_model(c)

    def make() -> dict[str, Tensor]:
        model = new_model(run.request, data, pretrained=True).to(device)
        if whole:
            return model.state_dict()
        recipe = Recipe.model_validate(c["original"])
        order = derive_seed(run.request.seed, "original order")
        fit(model, images, labels, recipe, order_seed=order, on_epoch=on_epoch, select=select)
        return model.state_dict()

    state, name, made = shared_artifacts(store.artifacts).get_or_make(ORIGINAL, original_depends_on(c), make)
    run.record.artifacts.append(name)
    how = "the user's, not trained, kept as" if whole else "trained, kept as"
    report(f"original model: {how if made else 'reused'} artifact {name}")
    model = new_model(run.request, data)
    model.load_state_dict(state)
    model.to(device).eval().requires_grad_(False)
    return model


ORIGINAL = "original-model"


def shared_artifacts(root: Path) -> Artifacts:
    """Return the store's artifacts; to wait for one that another run makes does not count as this run's time."""
    return Artifacts(root, not_counted)


def is_users_model(c: dict[str, Any]) -> bool:
    """Return whether the original model is a whole one from ``--weights``, which is not trained."""
    return bool((c["weights"] or {}).get("head"))


def original_depends_on(c: dict[str, Any]) -> dict[str, Any]:
    """Return the coordinates of the original model."""
    keys = ("numerics", "dataset", "model", "weights", "original", "selection", "seed")
    depends = {**{key: c[key] for key in keys}, "threads": c["protocol"]["threads"]}
    if is_users_model(c):  # the same for every seed, however others would be trained
        depends = {key: c[key] for key in ("numerics", "dataset", "model", "weights")}
    # Which maps are looked at, and what they are divided by, changes nothing in the original model.
    return {**depends, "model": {key: value for key, value in c["model"].items() if key not in ("maps", "peak")}}


def new_model(request: RunRequest, data: LoadedData, *, pretrained: bool = False) -> Classifier:
    """Return the network with its initial parameters."""
    c = request.coordinates
    channels, height, width = data.train.images.shape[1:]
    spec = effective_spec(c)
    model = build_model(spec, (channels, height, width), len(data.class_names), derive_seed(c["seed"], "init"))
    if pretrained and isinstance(spec, CNNSpec) and request.weights is not None:
        load_into(model, spec, c["weights"], Path(request.weights), data.class_names)
    return model


def copy_of(original: Classifier, request: RunRequest, data: LoadedData, device: str) -> Classifier:
    """Return the copy of the *original* model that a method refines."""
    model = new_model(request, data)
    model.load_state_dict(original.state_dict())
    return model.to(device)
