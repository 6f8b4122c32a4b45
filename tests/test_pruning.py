"""Pruning: the head trained on pooled features, and the control that prunes as many channels without knowing which."""

import numpy as np
import pytest
import torch
from torch import nn

from crayon_bench.dataset import Evidence
from crayon_bench.feedback import Verdict
from crayon_bench.ledger.metered import close_ledger, open_ledger
from crayon_bench.method import Job
from crayon_bench.networks.convnets import ConvNet
from crayon_bench.networks.specification import CNNSpec, Recipe
from crayon_bench.networks.training import epoch_order
from crayon_bench.oracle import FeedbackOracle, Verdicts
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.seeds import derive_seed

K = 64
RECIPE = Recipe(epochs=3, batch=4, lr=0.05, lr_decay=0.5, weight_decay=0.01)


def networks(seed: int, dtype: torch.dtype, dead: int = 0) -> tuple[ConvNet, ConvNet]:
    """An original model, *dead* of whose channels nothing activates, and a copy to refine."""
    pair = []
    for _ in range(2):
        model = ConvNet(CNNSpec(name="small-cnn", weights="none"), (3, 18, 22), 3, seed).to(dtype)
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_(0, 0.1, generator=torch.Generator().manual_seed(seed))
                    module.bias.fill_(0.3)
            model.body[-2].bias[:dead] = -50.0
        pair.append(model.eval())
    return pair[0], pair[1]


def job_of(original: ConvNet, model: ConvNet, n: int, oracle=None, parameters=None, recipe=RECIPE) -> Job:
    g = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (n, 3, 18, 22), generator=g, dtype=torch.uint8)
    return Job(
        model=model, original=original, images=images, labels=torch.randint(0, 3, (n,), generator=g), classes=3,
        oracle=oracle, recipe=recipe, parameters=parameters, device="cpu", report=lambda text: None, base_seed=8,
        on_epoch=lambda *a: None, share=lambda name, make: make(),
    )  # fmt: skip


def train_with_the_whole_body(job: Job, model: ConvNet) -> None:
    """Train the last layer with a forward pass of the frozen body in every step."""
    model.eval()
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[job.recipe.optimizer]
    optimizer = kind(model.head.parameters(), lr=RECIPE.lr, weight_decay=RECIPE.weight_decay)
    for epoch in range(1, RECIPE.epochs + 1):
        optimizer.param_groups[0]["lr"] = RECIPE.lr * RECIPE.lr_decay ** (epoch - 1)
        for index in torch.split(epoch_order(derive_seed(8, "order"), epoch, len(job.images)), RECIPE.batch):
            optimizer.zero_grad()
            logits = model(job.images[index])
            nn.functional.cross_entropy(logits, job.labels[index], reduction=job.recipe.reduction).backward()
            optimizer.step()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("number", [0, 20])
@pytest.mark.parametrize("changes", [{}, {"reduction": "sum"}, {"reduction": "sum", "optimizer": "sgd"}], ids=str)
def test_training_on_pooled_features_equals_training_with_the_whole_body(dtype, tolerance, number, changes):
    original, model = networks(1, dtype)
    before, _ = networks(1, dtype)
    reference, _ = networks(1, dtype)
    recipe = RECIPE.model_copy(update=changes)
    job = job_of(original, model, n=10, recipe=recipe)  # three steps an epoch, the last of two images
    pruned = torch.zeros(K, dtype=torch.bool)
    pruned[torch.randperm(K, generator=torch.Generator().manual_seed(2))[:number]] = True
    model.prune(pruned)
    reference.prune(pruned)
    # What the store keeps is in float32.
    pooled = job.neurons(3).pooled if dtype == torch.float32 else original.features(job.images).mean((2, 3)).detach()
    assert job.fit_head(pooled) is model
    train_with_the_whole_body(job, reference)
    for name, value in reference.state_dict().items():
        ours = model.state_dict()[name]
        assert torch.allclose(ours, value, atol=tolerance, rtol=0), name
        if name.startswith("body."):
            assert torch.equal(ours, before.state_dict()[name])
    assert float((model.head.weight - before.head.weight).detach().abs().max()) > 0.05
    assert not model.training


# ---------------------------------------------------------------------------------------------------------------------
# the control

CASES = {
    # answers by channel in turn, channels that nothing activates
    "half": ((Verdict.YES, Verdict.NO), 0),
    "half, some dead": ((Verdict.YES, Verdict.NO), 7),
    "some unanswered": ((Verdict.YES, Verdict.NO, Verdict.UNASKED), 0),
    "some unanswered, some dead": ((Verdict.UNASKED, Verdict.NO, Verdict.YES, Verdict.MAYBE), 7),
    "all no": ((Verdict.NO,), 0),
    "all no, some dead": ((Verdict.NO,), 7),
    "all unanswered": ((Verdict.UNASKED,), 0),
    "all unanswered, some dead": ((Verdict.UNASKED,), 7),
    "all yes, some dead": ((Verdict.YES,), 7),
    "all dead": ((Verdict.YES,), K),
}


class ByChannel(FeedbackOracle):
    name, title, summary = "by-channel", "by channel", "for a test"
    turn: tuple[Verdict, ...]

    def judge_maps(self, examples, maps, evidence):
        raise NotImplementedError

    def judge_neurons(self, patches, evidence):
        return Verdicts(np.array([self.turn[k % len(self.turn)] for k in patches.neurons], np.int8))


def kept_after(method: str, turn: tuple[Verdict, ...], dead: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which channels a method leaves, and which nothing activates."""
    cls = Registry().load(Kind.METHOD, method)
    oracle = ByChannel(FeedbackOracle.Parameters(), seed=0)
    oracle.turn = turn
    asks = frozenset(cls.asks)
    ledger = open_ledger(oracle, Evidence(), groups=lambda e: e, asks=asks, size=10, control=cls.control)
    original, model = networks(3, torch.float32, dead)
    job = job_of(original, model, n=10, oracle=ledger, parameters=cls.Parameters(patches=3))
    cls().refine(job)
    close_ledger(ledger)
    return model.kept.bool(), job.neurons(3).dead


@pytest.mark.parametrize("case", CASES)
def test_random_pruning_prunes_as_many_channels_as_crayon_pruning(case):
    turn, off = CASES[case]
    ours, dead = kept_after("crayon-pruning", turn, off)
    random, _ = kept_after("random-pruning", turn, off)
    no = torch.tensor([turn[k % len(turn)] == Verdict.NO for k in range(K)])
    expected = no | dead
    if expected.all():
        expected[:] = False
    assert off <= int(dead.sum()) < (K if off < K else K + 1)
    assert torch.equal(~ours, expected)
    assert int(random.sum()) == int(ours.sum())
    if 0 < int(expected.sum()) < K:
        assert not torch.equal(random, ours)
