"""The training loop: the last step of an epoch."""

import numpy as np
import pytest
import torch

from crayon_bench.errors import TrainingError
from crayon_bench.feedback import Verdict
from crayon_bench.method import Job
from crayon_bench.networks.convnets import ConvNet, Head
from crayon_bench.networks.mlp import MLP
from crayon_bench.networks.specification import CNNSpec, MLPSpec, Recipe
from crayon_bench.networks.training import epoch_order, fit
from crayon_bench.plugins.registry import Kind, Registry
from penalties import Answers, evidence

SIZE = 4
"""Pixels of a side: the small CNN's grid is 1×1, so that batch normalisation has no statistics of one image."""


def steps_of(model, images, batch: int, epochs: int = 2) -> list[list[int]]:
    """Train, and return the examples of each step."""
    seen = []

    def penalty(forward, batch):
        seen.append(batch.index.flatten().tolist())
        return 0 * forward.logits.sum(-1)

    labels = torch.arange(len(images)) % 2
    fit(model, images, labels, Recipe(epochs=epochs, batch=batch, lr=0.01), order_seed=3, penalty=penalty)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    return seen


def test_what_a_step_gives_to_a_penalty_is_of_its_examples_and_may_be_kept():
    images = torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8)
    labels, weight, kept = torch.arange(20) % 3, torch.rand(20, 2), []

    def penalty(forward, batch):
        kept.append((batch.index, batch.labels, batch["weight"], forward.logits.detach()))
        return batch["weight"].sum(-1) * 0

    model = MLP(MLPSpec(hidden=[4], pixels="unit"), (1, 4, 4), 3, seed=0)
    recipe = Recipe(epochs=2, batch=6, lr=0.01)
    fit(model, images, labels, recipe, order_seed=0, penalty=penalty, feedback={"weight": weight})
    assert [len(index) for index, *_ in kept] == [6, 6, 6, 2] * 2
    for index, of_step, given, logits in kept:
        assert torch.equal(weight[index], given)
        assert torch.equal(labels[index], of_step)
        assert logits.shape == (len(index), 3)


@pytest.mark.parametrize("momentum", [None, 0.19])
def test_running_statistics_move_by_the_recipes_momentum_and_two_forwards_at_a_tenth_are_one_at_19_hundredths(momentum):
    images, model, twin = images_of(8), cnn().double(), cnn().double()
    moved = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    moved[0].momentum = 0.05  # a network's own
    recipe = Recipe(epochs=1, batch=8, lr=0.01, bn_momentum=momentum)
    fit(model, images, torch.arange(8) % 2, recipe, order_seed=3)
    twin.train()
    expected = [m for m in twin.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    expected[0].momentum = 0.1 if momentum else 0.05
    for _ in range(2 if momentum else 1):
        twin.run(images)
    for a, b in zip(moved, expected, strict=True):
        assert torch.allclose(a.running_mean, b.running_mean, atol=1e-12)
        assert torch.allclose(a.running_var, b.running_var, atol=1e-12)
    assert [m.momentum for m in moved] == [0.05] + [0.1] * (len(moved) - 1)


def test_a_training_that_fails_leaves_the_networks_own_momentum():
    model = cnn()
    with pytest.raises(TrainingError):
        recipe = Recipe(epochs=1, batch=8, lr=0.01, bn_momentum=0.5)
        fit(model, images_of(8), torch.arange(8) % 2, recipe, order_seed=3, penalty=lambda f, b: f.logits.sum(-1) / 0)
    assert {m.momentum for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.1}


TRAIN = [name for name in Registry().names(Kind.METHOD) if Registry().load(Kind.METHOD, name).trains]


@pytest.mark.parametrize("name", TRAIN)
def test_every_method_obeys_the_recipes_reduction_and_optimizer(name):
    """To plain steps a sum over four examples is a mean at four times the rate; to Adam it would not be."""
    method, n, shape = Registry().load(Kind.METHOD, name), 8, (18, 22)
    masks, boxes, answered = evidence(2, n, shape)
    images = torch.randint(0, 256, (n, 3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    verdicts = np.array([Verdict.YES, Verdict.NO] * (n // 2), np.int8)

    def refined(**changes):
        original, model = (ConvNet(CNNSpec(name="small-cnn", weights="none"), (3, *shape), 2, 0) for _ in range(2))
        before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
        oracle = Answers(verdicts, masks, boxes, answered | True, np.array([Verdict.YES, Verdict.NO] * 32, np.int8))
        oracle.tally_neurons = lambda patches: {"no": 32}
        job = Job(
            model=model, original=original.eval(), images=images, labels=torch.arange(n) % 2, classes=2, oracle=oracle,
            recipe=Recipe(epochs=2, batch=4, **changes), parameters=method.Parameters(), device="cpu",
            report=print, base_seed=0, on_epoch=lambda *a: None, share=lambda name, make: make(),
        )  # fmt: skip
        after = method().refine(job)
        return torch.cat([p.detach().flatten() for p in after.parameters()]) - before

    by_sum = refined(lr=1e-5, optimizer="sgd", reduction="sum")
    by_mean = refined(lr=4e-5, optimizer="sgd", reduction="mean")
    largest = float(by_sum.abs().max())
    assert largest > 1e-6
    assert torch.allclose(by_sum, by_mean, atol=1e-2 * largest)


def images_of(n: int):
    return torch.randint(0, 256, (n, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def cnn() -> ConvNet:
    model = ConvNet(CNNSpec(name="small-cnn", weights="none"), (3, SIZE, SIZE), 2, seed=0)
    assert model.map_size(SIZE, SIZE) == (1, 1)
    return model


def expected_steps(n: int, sizes: list[int]) -> list[list[int]]:
    return [part.tolist() for epoch in (1, 2) for part in torch.split(epoch_order(3, epoch, n), sizes)]


@pytest.mark.parametrize(
    ("n", "batch", "sizes"), [(9, 4, [4, 5]), (10, 4, [4, 4, 2]), (8, 4, [4, 4]), (5, 4, [5]), (3, 4, [3])]
)
def test_with_batch_normalisation_a_last_step_of_one_is_joined_to_the_one_before(n, batch, sizes):
    assert steps_of(cnn(), images_of(n), batch) == expected_steps(n, sizes)


def test_one_example_alone_has_no_statistics():
    """So that the test above can fail."""
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        cnn().train().run(images_of(1))


@pytest.mark.parametrize("kind", ["mlp", "head"])
def test_without_batch_normalisation_it_stays_a_step_of_its_own(kind):
    if kind == "mlp":
        model, inputs = MLP(MLPSpec(hidden=[5]), (3, SIZE, SIZE), 2, seed=0), images_of(9)
    else:
        model, inputs = Head(torch.nn.Linear(6, 2)), torch.rand(9, 6)
    assert steps_of(model, inputs, 4) == expected_steps(9, [4, 4, 1])
