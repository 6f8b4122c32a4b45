"""Speed, as ratios of two things timed in one run. ``nox -s benchmarks``; see docs/performance.md."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from crayon_bench.networks.maps import max_normalise
from crayon_bench.networks.mlp import MLP
from crayon_bench.networks.specification import MLPSpec, Recipe
from crayon_bench.networks.training import fit
from timing import note, one_thread, ratio  # noqa: F401

SHAPE, CLASSES, N = (1, 28, 28), 10, 256 * 40


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (N, *SHAPE), generator=generator, dtype=torch.uint8)
    return images, torch.randint(0, CLASSES, (N,), generator=generator)


def train(penalty=None, feedback=None) -> None:
    images, labels = data()
    model = MLP(MLPSpec(), SHAPE, CLASSES, seed=0)
    recipe = Recipe(epochs=1, batch=256, lr=1e-3, weight_decay=1e-4)
    fit(model, images, labels, recipe, order_seed=0, penalty=penalty, feedback=feedback or {})


MAPS = torch.rand(N, *SHAPE[1:], generator=torch.Generator().manual_seed(1))


def attention(forward, batch):
    return (max_normalise(forward.saliency(batch.labels)) * batch["M"]).sum((-2, -1))


def rrr(forward, batch):
    p = forward.logits.softmax(-1)
    return (batch["M"].unsqueeze(-3) * forward.input_gradient(1 - CLASSES * p)).square().sum((-3, -2, -1))


def rrr_by_double_backward() -> None:
    """The published form: the input gradient by autograd, differentiated again."""
    images, labels = data()
    model = MLP(MLPSpec(), SHAPE, CLASSES, seed=0)
    net = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 30), nn.ReLU(), nn.Linear(30, 10))
    for layer, weight, bias in zip([net[0], net[2], net[4]], model.weights, model.biases, strict=True):
        layer.weight.data, layer.bias.data = weight.data.clone(), bias.data.clone()
    adam = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    for index in torch.randperm(N).split(256):
        x = images[index].flatten(1).float().requires_grad_(True)
        logits = net(x)
        (g,) = torch.autograd.grad(logits.log_softmax(-1).sum(), x, create_graph=True)
        loss = nn.functional.cross_entropy(logits, labels[index])
        loss = loss + (MAPS[index].flatten(1) * g).square().sum(-1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()


def bare_loop() -> None:
    """Cross-entropy training written down without the harness."""
    images, labels = data()
    model = MLP(MLPSpec(), SHAPE, CLASSES, seed=0)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    for index in torch.randperm(N).split(256):
        loss = nn.functional.cross_entropy(model(images[index]), labels[index])
        adam.zero_grad()
        loss.backward()
        adam.step()


@pytest.mark.benchmark(group="training step, MLP")
def test_rrr_closed_form_against_double_backward(benchmark):
    benchmark.pedantic(lambda: train(rrr, {"M": MAPS}), rounds=3, warmup_rounds=1)
    note(benchmark, double_backward_over_closed_form=ratio(rrr_by_double_backward, lambda: train(rrr, {"M": MAPS})))


@pytest.mark.benchmark(group="training step, MLP")
def test_attention_against_plain_training(benchmark):
    benchmark.pedantic(lambda: train(attention, {"M": MAPS}), rounds=3, warmup_rounds=1)
    note(benchmark, attention_over_plain=ratio(lambda: train(attention, {"M": MAPS}), train))


@pytest.mark.benchmark(group="training step, MLP")
def test_the_loop_against_a_bare_one(benchmark):
    benchmark.pedantic(train, rounds=3, warmup_rounds=1)
    note(benchmark, loop_over_bare_loop=ratio(train, bare_loop, rounds=9))


@pytest.mark.benchmark(group="denormals")
def test_flushing_denormals(benchmark):
    """Adam on weights and gradients that have decayed towards zero, as those of pixels that are always black do."""
    weight = nn.Parameter(torch.full((1_000_000,), 1e-39))
    weight.grad = torch.full_like(weight, 1e-21)
    adam = torch.optim.Adam([weight], lr=1e-3, weight_decay=1e-4, fused=True)

    def work(flush: bool) -> Callable[[], None]:
        def run() -> None:
            with torch.no_grad():
                weight.fill_(1e-39)
            torch.set_flush_denormal(flush)
            adam.step()

        return run

    benchmark.pedantic(work(True), rounds=5, warmup_rounds=1)
    note(benchmark, adam_without_flush_over_with=ratio(work(False), work(True)))


@pytest.mark.benchmark(group="command line")
@pytest.mark.parametrize("arguments", [["--help"], ["plugins", "list"]])
def test_start_of_the_command_line(benchmark, arguments):
    def run(*command: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, *command], check=True, capture_output=True)

    benchmark.pedantic(run("-m", "crayon_bench", *arguments), rounds=5, warmup_rounds=1)
    note(benchmark, command_over_import_torch=ratio(run("-m", "crayon_bench", *arguments), run("-c", "import torch")))
