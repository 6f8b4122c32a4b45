"""Five seeds trained together, against five trainings by double backward as the published codes have them.

Both do the same work: 40 steps of 256 images for each of five seeds, one thread. The double-backward forms are given
what they need for nothing (masks and maps lie in memory as they are wanted) and Adam's fused kernel.
"""

from collections.abc import Callable

import pytest
import torch
from crayon_bench.stacking import Training, train
from torch import nn

from crayon_bench.networks.mlp import MLP
from crayon_bench.networks.specification import MLPSpec, Recipe
from test_speed import CLASSES, MAPS, SHAPE, N, data
from timing import note, one_thread, ratio  # noqa: F401

SEEDS = 5

CORNERS = torch.zeros(SHAPE[1:], dtype=torch.bool)
for _rows in (slice(0, 4), slice(24, 28)):
    for _columns in (slice(0, 4), slice(24, 28)):
        CORNERS[_rows, _columns] = True
A = CORNERS.expand(N, *SHAPE[1:]).contiguous()
BOX = torch.zeros(N, *SHAPE[1:])
BOX[:, 4:24, 4:24] = 1


# -- as published: the input gradient by autograd, differentiated again


def rrr_published(x: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    (g,) = torch.autograd.grad(logits.log_softmax(-1).sum(), x, create_graph=True)
    return 1000 * (A[index].flatten(1) * g).square().sum(-1)


def _map(x: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    (g,) = torch.autograd.grad(logits.gather(1, labels[:, None]).sum(), x, create_graph=True)
    return g.abs()


def attention_published(
    x: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, index: torch.Tensor
) -> torch.Tensor:
    m = _map(x, logits, labels)
    return (m / (m.amax(-1, keepdim=True) + 1e-8) * MAPS[index].flatten(1)).sum(-1)


def energy_published(x: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    m = _map(x, logits, labels)
    return 10 * (1 - (m * BOX[index].flatten(1)).sum(-1) / (m.sum(-1) + 1e-8))


def published(penalty: Callable[..., torch.Tensor], seed: int) -> None:
    images, labels = data()
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 30), nn.ReLU(), nn.Linear(30, CLASSES))
    ours = MLP(MLPSpec(), SHAPE, CLASSES, seed)
    for layer, weight, bias in zip([net[0], net[2], net[4]], ours.weights, ours.biases, strict=True):
        layer.weight.data, layer.bias.data = weight.data.clone(), bias.data.clone()
    adam = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    for index in torch.randperm(N).split(256):
        x = images[index].flatten(1).float().requires_grad_(True)
        logits = net(x)
        loss = nn.functional.cross_entropy(logits, labels[index]) + penalty(x, logits, labels[index], index).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()


# -- as the methods of this project have them

_pixels = torch.nonzero(CORNERS.flatten()).squeeze(-1)
_whole = torch.ones(SHAPE[1:])


def rrr(forward, batch):
    g = forward.input_gradient(1 - CLASSES * forward.probabilities(), _pixels)
    return 1000 * (batch["A"] * g).square().sum(-1)


def attention(forward, batch):
    return forward.peak_sum(batch.labels, batch["M"])


def energy(forward, batch):
    share, dead = forward.share_of(batch.labels, batch["box"], _whole)
    return 10 * (1 - share) * ~dead


METHODS = {
    "RRR": (rrr_published, rrr, {"A": A.flatten(1)[:, _pixels].float()}),
    "CRAYON-Attention": (attention_published, attention, {"M": MAPS}),
    "Energy": (energy_published, energy, {"box": BOX}),
}


def ours(name: str, *seeds: int) -> None:
    images, labels = data()
    _, penalty, feedback = METHODS[name]
    recipe = Recipe(epochs=1, batch=256, lr=1e-3, weight_decay=1e-4)
    train(
        [
            Training(MLP(MLPSpec(), SHAPE, CLASSES, seed), images, labels, recipe, seed, penalty, feedback)
            for seed in seeds
        ]
    )


@pytest.mark.benchmark(group="five seeds, MLP")
@pytest.mark.parametrize("name", METHODS)
def test_five_seeds_together_against_five_double_backwards(benchmark, name):
    def together() -> None:
        ours(name, *range(SEEDS))

    def one_by_one() -> None:
        for seed in range(SEEDS):
            ours(name, seed)

    def double_backward() -> None:
        for seed in range(SEEDS):
            published(METHODS[name][0], seed)

    benchmark.pedantic(together, rounds=2, warmup_rounds=1)
    note(
        benchmark,
        double_backward_over_together=ratio(double_backward, together),
        one_by_one_over_together=ratio(one_by_one, together),
    )
