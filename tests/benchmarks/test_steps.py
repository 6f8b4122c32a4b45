"""A training step of every Grad-CAM method against the plain one, and against the forms that were published.

In CPU time of the one thread that computes, so that other work on the machine counts as little as may be.
"""

import copy
from dataclasses import dataclass
from time import process_time

import numpy as np
import pytest
import torch
from torch import nn

from crayon_bench.networks.convnets import ConvNet
from crayon_bench.networks.maps import max_normalise
from crayon_bench.networks.specification import CNNSpec, Recipe
from crayon_bench.networks.training import fit
from penalties import Answers, capture, evidence
from timing import note, one_thread, ratios  # noqa: F401

METHODS = {
    "crayon-attention": {},
    "crayon-attention-pruning": {"patches": 2},
    "rrr": {"lambda": 1.0},
    "gradia": {},
    "energy": {},
    "res": {},
}
TARGET = {name: 1.15 if name == "res" else 1.10 for name in METHODS}


@dataclass(frozen=True)
class Case:
    """A network, its images, and how many steps are timed at once how often."""

    name: str
    shape: tuple[int, int, int]
    batch: int
    steps: int
    rounds: int


CASES = [
    Case("small-cnn", (3, 56, 48), 32, steps=20, rounds=9),
    Case("mobilenet_v2", (3, 160, 160), 16, steps=1, rounds=7),
    Case("resnet50", (3, 160, 160), 8, steps=1, rounds=5),
]


class Bench:
    """One model and its data; every contestant trains a copy of its own."""

    def __init__(self, case: Case) -> None:
        self.case, n = case, case.batch * case.steps
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(0, 256, (n, *case.shape), generator=generator, dtype=torch.uint8)
        self.labels = torch.randint(0, 2, (n,), generator=generator)
        self.recipe = Recipe(epochs=1, batch=case.batch, lr=1e-4, weight_decay=1e-4)
        self.original = ConvNet(CNNSpec(name=case.name, weights="none"), case.shape, 2, seed=0)
        with torch.no_grad():  # random networks give maps that are dead for one class; these are not
            self.original.head.weight.abs_()
        self.original.eval()

    def answers(self) -> Answers:
        n, random = len(self.images), np.random.RandomState(1)
        masks, boxes, answered = evidence(2, n, self.case.shape[1:])
        verdicts = random.choice([-1, 0, 1], n).astype(np.int8)
        neurons = random.choice([-1, 1], self.original.channels).astype(np.int8)
        return Answers(verdicts, masks, boxes, answered, neurons)

    def ours(self, method: str | None):
        model, penalty, feedback = copy.deepcopy(self.original), None, {}
        if method is not None:
            arguments = (method, METHODS[method], self.original, self.images, self.labels, self.answers())
            penalty, feedback, _ = capture(*arguments, model)
        return lambda: fit(
            model, self.images, self.labels, self.recipe, order_seed=0, penalty=penalty, feedback=feedback
        )

    def loop(self, loss):
        """Return a loop around loss(model, images, labels, index) with the same optimizer."""
        model = copy.deepcopy(self.original).train()
        adam = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-4, fused=True)

        def run() -> None:
            for index in torch.randperm(len(self.images)).split(self.case.batch):
                adam.zero_grad()
                loss(model, self.images[index], self.labels[index], index).backward()
                adam.step()

        return run

    def second_forward(self):
        """CRAYON-Attention as it is published: maps from a forward pass of their own, differentiated twice."""
        _, feedback, _ = capture("crayon-attention", {}, self.original, self.images, self.labels, self.answers())

        def loss(model, images, labels, index):
            ce = nn.functional.cross_entropy(model(images), labels)
            A = model.features(images)
            score = model.head(A.mean((-2, -1))).gather(1, labels[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, A, create_graph=True)
            M_ = max_normalise((gradient.mean((-2, -1), keepdim=True) * A).sum(1).relu())
            return ce + (M_ * feedback["weight"][index]).sum((-2, -1)).mean()

        return self.loop(loss)

    def input_gradient(self):
        """RRR as it is published: the gradient with respect to the pixels, differentiated again."""
        wrong = torch.from_numpy(~evidence(2, len(self.images), self.case.shape[1:])[0])

        def loss(model, images, labels, index):
            x = images.float().requires_grad_(True)
            logits = model(x)
            (gradient,) = torch.autograd.grad(logits.log_softmax(-1).sum(), x, create_graph=True)
            penalty = (wrong[index][:, None] * gradient).square().sum((1, 2, 3)).mean()
            return nn.functional.cross_entropy(logits, labels) + penalty

        return self.loop(loss)


@pytest.mark.benchmark(group="training step, Grad-CAM")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_step_of_every_method(benchmark, case):
    bench = Bench(case)
    plain = bench.ours(None)
    benchmark.pedantic(plain, rounds=3, warmup_rounds=1)
    found = ratios([bench.ours(method) for method in METHODS], plain, case.rounds, clock=process_time)
    published = ratios([bench.second_forward(), bench.input_gradient()], plain, min(case.rounds, 3), clock=process_time)
    values = {f"{name} / plain (target {TARGET[name]:.2f})": value for name, value in zip(METHODS, found, strict=True)}
    note(
        benchmark,
        **values,
        **{"published: maps by a second forward / plain": published[0]},
        **{"published: RRR by double backward / plain": published[1]},
        step_ms=benchmark.stats.stats.median / case.steps * 1000,
    )
