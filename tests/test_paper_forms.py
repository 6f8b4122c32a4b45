"""Forms that a paper and its public code may have: sums or means, what a map is divided by, one draw for all seeds."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import TINY
from crayon_bench.networks.mlp import MLP
from crayon_bench.networks.saliency import saliency_maps
from crayon_bench.networks.specification import MLPSpec, Recipe
from crayon_bench.networks.training import epoch_order, fit

SHAPE, CLASSES, N = (1, 5, 4), 3, 24
RNG = np.random.RandomState(5)
IMAGES = torch.from_numpy(RNG.randint(0, 256, (N, *SHAPE)).astype(np.uint8))
LABELS = torch.from_numpy(RNG.randint(0, CLASSES, N))


def mlp(**changes) -> MLP:
    spec = MLPSpec(**{"hidden": [24, 20], "pixels": "unit", "init_std": 0.5, **changes})
    return MLP(spec, SHAPE, CLASSES, seed=3).double()


def by_autograd(model: MLP, images, labels):
    """g, with the graph: (B, H, W)."""
    x = (images.double() / 255).requires_grad_()
    z = x.flatten(1)
    for W, b in zip(model.weights, model.biases, strict=True):
        z = z @ W.T + b
        if W is not model.weights[-1]:
            z = z.relu()
    (g,) = torch.autograd.grad(z.gather(1, labels[:, None]).sum(), x, create_graph=True)
    return g.squeeze(1)


@pytest.mark.parametrize("peak", ["absolute", "signed"])
def test_maps_are_divided_by_the_peak_that_is_named_in_value_and_gradient(peak):
    model = mlp(peak=peak)
    g = by_autograd(model, IMAGES, LABELS)
    highest = (g if peak == "signed" else g.abs()).amax((-2, -1), keepdim=True)
    assert (highest > 0).all()
    expected = (g / highest).abs()
    weight = torch.from_numpy(RNG.rand(N, *SHAPE[1:]))
    found = model.run(IMAGES).normalised(LABELS)
    assert torch.allclose(found, expected, atol=1e-10)
    for a, b in zip(
        torch.autograd.grad((found * weight).sum(), list(model.weights)),
        torch.autograd.grad((expected * weight).sum(), list(model.weights)),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-10)
    assert torch.allclose(saliency_maps(model, IMAGES, LABELS, batch=7)[0], expected)
    if peak == "signed":
        assert (expected > 1).any(), "where the largest value is negative"


def test_a_map_without_a_positive_gradient_is_dead_under_a_signed_peak():
    model = mlp(peak="signed", hidden=[2])
    with torch.no_grad():
        model.weights[0].copy_(torch.ones_like(model.weights[0]))
        model.biases[0].fill_(1)
        model.weights[1].fill_(-1)
    dead = []
    maps = model.run(IMAGES).normalised(LABELS, dead.append)
    assert dead[0].all()
    assert not maps.any()


def test_one_draw_for_all_seeds_is_numpys_first_of_seed_0():
    spec = MLPSpec(hidden=[5, 4], init_std=0.1, init="fixed")
    stream = np.random.RandomState(0)
    expected = []
    for inputs, outputs in ((20, 5), (5, 4), (4, 3)):
        expected += [stream.normal(0, 0.1, (inputs, outputs)).T, stream.normal(0, 0.1, outputs)]
    for seed in (0, 9):
        model = MLP(spec, SHAPE, CLASSES, seed)
        found = [t for pair in zip(model.weights, model.biases, strict=True) for t in pair]
        for a, b in zip(found, expected, strict=True):
            assert np.allclose(a.detach().numpy(), b, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_step_takes_the_reduction_and_the_optimizer_that_the_recipe_names(reduction, optimizer):
    """By hand, with a weight decay that tells the reductions apart to Adam too."""
    recipe = Recipe(epochs=1, batch=N, lr=1e-2, weight_decay=0.1, reduction=reduction, optimizer=optimizer)
    model, other = mlp(), mlp()
    fit(model, IMAGES, LABELS, recipe, order_seed=1)
    order = epoch_order(1, 1, N)
    losses = torch.nn.functional.cross_entropy(other(IMAGES[order]), LABELS[order], reduction="none")
    (losses.sum() if reduction == "sum" else losses.mean()).backward()
    for trained, p in zip(model.parameters(), other.parameters(), strict=True):
        g = p.grad + 0.1 * p.detach()
        direction = g / (g.abs() + 1e-8) if optimizer == "adam" else g
        assert torch.allclose(trained, p.detach() - 1e-2 * direction, atol=1e-9)


def test_choices_that_are_not_made_change_no_older_key():
    assert not {"reduction", "optimizer", "bn_momentum"} & set(Recipe(epochs=1, batch=1, lr=1).to_dict())
    made = {"optimizer": "sgd", "bn_momentum": 0.19}
    assert Recipe(epochs=1, batch=1, lr=1, **made).to_dict().items() >= made.items()
    assert not {"init", "peak"} & set(MLPSpec().to_dict())
    assert Recipe(epochs=1, batch=1, lr=1, reduction="sum").to_dict()["reduction"] == "sum"
    assert MLPSpec(init="fixed", peak="signed").to_dict().items() >= {"init": "fixed", "peak": "signed"}.items()


def test_a_curve_is_kept_on_demand_and_changes_nothing_but_the_table(cli):
    run = ["run", "--dataset", "decoymnist", "--methods", "crayon-attention,train-more", "--seeds", "1", *TINY]
    run += ["--set", "refine.epochs=3", "--executor", "serial"]
    assert cli(*run, "--store", "plain").code == 0
    result = cli(*run, "--set", "protocol.curve=true", "--store", "curve")
    assert result.code == 0
    assert "the test accuracy of every epoch was kept" in " ".join(result.out.split())
    found = {}
    for store in ("plain", "curve"):
        for file in Path(store).glob("runs/*/record.json"):
            record = json.loads(file.read_text())
            found[store, record["coordinates"]["method"]["name"]] = record
    for method in ("crayon-attention", "train-more"):
        plain, kept = found["plain", method], found["curve", method]
        assert plain["metrics"] == kept["metrics"]
        assert plain["curve"] == []
        assert [row["epoch"] for row in kept["curve"]] == [1, 2, 3]
        assert kept["curve"][-1]["accuracy"] == pytest.approx(kept["metrics"]["sample_accuracy"]["value"], abs=1e-4)
        assert all(0 < row["live_units"] <= 100 for row in kept["curve"])
        assert ("dead_maps" in kept["curve"][0]) == (method == "crayon-attention")
        assert plain["setting"] != kept["setting"]
