"""Closed forms and penalties against references that share no code with them, in float64, on random inputs."""

import numpy as np
import pytest
import torch
from torch import nn

from crayon_bench.networks.maps import max_normalise
from crayon_bench.networks.mlp import MLP
from crayon_bench.networks.saliency import saliency_maps
from crayon_bench.networks.specification import MLPSpec, Recipe
from crayon_bench.networks.training import Batch, fit, predict

SHAPE = (1, 7, 6)
CLASSES = 5


def networks(seed: int, hidden=(9, 8), pixels="unit", shape=SHAPE) -> tuple[MLP, nn.Sequential]:
    """The network under test, and plain torch layers with the same parameters."""
    spec = MLPSpec(hidden=list(hidden), pixels=pixels, init_std=0.5)
    ours = MLP(spec, shape, CLASSES, seed).double()
    layers: list[nn.Module] = [nn.Flatten()]
    for number, (w, b) in enumerate(zip(ours.weights, ours.biases, strict=True)):
        layer = nn.Linear(w.shape[1], w.shape[0], dtype=torch.float64)
        layer.weight.data, layer.bias.data = w.data.clone(), b.data.clone()
        layers += [layer, nn.ReLU()] if number < len(ours.weights) - 1 else [layer]
    return ours, nn.Sequential(*layers)


def batch(seed: int, n: int = 11, shape=SHAPE) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return (
        torch.randint(0, 256, (n, *shape), generator=g, dtype=torch.uint8),
        torch.randint(0, CLASSES, (n,), generator=g),
    )


def reference_gradient(net: nn.Module, x: torch.Tensor, scalar_of_logits) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and input gradient by double backward."""
    x = x.clone().requires_grad_(True)
    logits = net(x)
    (g,) = torch.autograd.grad(scalar_of_logits(logits), x, create_graph=True)
    return logits, g


def parameters_gradient(loss: torch.Tensor, parameters) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(parameters))])


def ours_in_order(model: MLP) -> list[nn.Parameter]:
    return [p for pair in zip(model.weights, model.biases, strict=True) for p in pair]


@pytest.mark.parametrize("hidden", [(9, 8), (12,), (7, 6, 5)])
@pytest.mark.parametrize("pixels", ["unit", "raw"])
@pytest.mark.parametrize("shape", [SHAPE, (3, 4, 5)])
@pytest.mark.parametrize("seed", range(3))
def test_rrr_loss_and_gradients_equal_double_backward(hidden, pixels, shape, seed):
    ours, reference = networks(seed, hidden, pixels, shape)
    images, labels = batch(seed + 10, shape=shape)
    A = torch.rand(len(images), *shape[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) > 0.5
    x = images.double() / (255 if pixels == "unit" else 1)

    forward = ours.run(images)
    p = forward.logits.softmax(-1)
    ours_penalty = (A.unsqueeze(-3) * forward.input_gradient(1 - CLASSES * p)).square().sum()
    ours_loss = nn.functional.cross_entropy(forward.logits, labels, reduction="sum") + ours_penalty

    logits, g = reference_gradient(reference, x, lambda s: s.log_softmax(-1).sum())
    penalty = (A.unsqueeze(1) * g).square().sum()
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum") + penalty

    assert penalty > 0
    scale = max(1.0, float(loss.detach()))
    assert abs(float((ours_loss - loss).detach())) <= 1e-10 * scale
    a, b = parameters_gradient(ours_loss, ours_in_order(ours)), parameters_gradient(loss, reference.parameters())
    assert torch.allclose(a, b, rtol=1e-10, atol=1e-10 * float(b.abs().max()))


def crayon_reference(net, x, labels, M, verdict, alpha, beta):
    """Eq. 1–4, one example at a time."""
    logits, g = reference_gradient(net, x, lambda s: s[torch.arange(len(s)), labels].sum())
    loss = torch.zeros((), dtype=torch.float64)
    for n in range(len(x)):
        m = g[n].abs().sum(0)
        m = m / m.max()
        if verdict[n] == 1:
            loss = loss + alpha * (m * (1 - M[n])).sum()
        elif verdict[n] == -1:
            loss = loss + beta * (m * M[n]).sum()
    return loss + nn.functional.cross_entropy(logits, labels, reduction="sum")


def capture_penalty(method_name: str, parameters: dict, images, labels, *, original: MLP, oracle):
    """Return what a method hands to ``job.fit``: its penalty and its feedback."""
    from crayon_bench.method import Job
    from crayon_bench.plugins.registry import Kind, Registry

    cls = Registry().load(Kind.METHOD, method_name)
    seen = {}

    class Spy(Job):
        def fit(self, penalty=None, feedback=None):
            seen.update(penalty=penalty, feedback=feedback or {})
            return self.model

    job = Spy(
        model=original, original=original, images=images, labels=labels, classes=CLASSES, oracle=oracle,
        recipe=Recipe(epochs=1, batch=4, lr=0.1), parameters=cls.Parameters(**parameters), device="cpu",
        report=print, base_seed=0, on_epoch=lambda *a: None, share=lambda name, make: make(),
    )  # fmt: skip
    cls().refine(job)
    return seen["penalty"], seen["feedback"], job


class Answers:
    """An oracle with fixed answers."""

    def __init__(self, verdicts=None, masks=None, boxes=None, answered=None):
        self.verdicts, self.masks, self.box, self.answered = verdicts, masks, boxes, answered

    def judge_maps(self, examples, maps):
        from crayon_bench.oracle import Verdicts

        return Verdicts(self.verdicts)

    def irrelevant_masks(self, examples):
        from crayon_bench.oracle import Masks

        return Masks(self.masks, self.answered)

    def boxes(self, examples):
        from crayon_bench.oracle import Boxes

        return Boxes(self.box, self.answered)


@pytest.mark.parametrize("seed", range(5))
def test_crayon_attention_equals_the_papers_equations(seed):
    original, _ = networks(seed + 50)
    ours, reference = networks(seed)
    images, labels = batch(seed)
    verdict = np.random.RandomState(seed).choice([1, -1, 0, 2], len(images)).astype(np.int8)
    verdict[:4] = (1, -1, 0, 2)
    penalty, feedback, job = capture_penalty(
        "crayon-attention", {"alpha": 3.0, "beta": 0.7}, images, labels, original=original, oracle=Answers(verdict)
    )
    M = job.original_maps()
    # The reference recomputes M too.
    _, g0 = reference_gradient(networks(seed + 50)[1], images.double() / 255, lambda s: s[range(len(s)), labels].sum())
    expected_M = torch.stack([m / m.max() for m in g0.detach().abs().sum(1)])
    assert torch.allclose(M, expected_M, rtol=1e-12, atol=1e-14)

    forward = ours.run(images)
    terms = penalty(forward, Batch(labels, torch.arange(len(labels)), feedback))
    assert terms.shape == labels.shape
    assert (terms[2:4] == 0).all()  # maybe and unasked
    loss = terms.sum() + nn.functional.cross_entropy(forward.logits, labels, reduction="sum")
    expected = crayon_reference(reference, images.double() / 255, labels, M, verdict, 3.0, 0.7)
    assert abs(float((loss - expected).detach())) < 1e-10 * float(expected.detach())
    a, b = parameters_gradient(loss, ours_in_order(ours)), parameters_gradient(expected, reference.parameters())
    assert torch.allclose(a, b, rtol=1e-10, atol=1e-10 * float(b.abs().max()))


@pytest.mark.parametrize("seed", range(5))
def test_true_logit_map_and_its_gradients_equal_double_backward(seed):
    ours, reference = networks(seed)
    images, labels = batch(seed)
    weight = torch.rand(len(images), *SHAPE[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    loss = (max_normalise(ours.run(images).saliency(labels)) * weight).sum()
    _, g = reference_gradient(reference, images.double() / 255, lambda s: s[range(len(s)), labels].sum())
    m = g.abs().sum(1)
    expected = (m / m.flatten(1).max(1).values[:, None, None] * weight).sum()
    assert abs(float((loss - expected).detach())) < 1e-10
    # The last bias and the hidden biases have no gradient in either form: the gates are constant.
    weights = list(ours.weights)
    theirs = [p for name, p in reference.named_parameters() if name.endswith("weight")]
    a, b = parameters_gradient(loss, weights), parameters_gradient(expected, theirs)
    assert torch.allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_energy_equals_its_definition(seed):
    ours, reference = networks(seed)
    images, labels = batch(seed)
    random = np.random.RandomState(seed)
    top, left = random.randint(0, 3, len(images)), random.randint(0, 3, len(images))
    boxes = np.stack(
        [top, left, top + 1 + random.randint(0, 4, len(images)), left + 1 + random.randint(0, 3, len(images))], 1
    )
    answered = random.rand(len(images)) > 0.3
    penalty, feedback, _ = capture_penalty(
        "energy", {"lambda": 2.5}, images, labels, original=ours, oracle=Answers(boxes=boxes, answered=answered)
    )
    terms = penalty(ours.run(images), Batch(labels, torch.arange(len(labels)), feedback))
    _, g = reference_gradient(reference, images.double() / 255, lambda s: s[range(len(s)), labels].sum())
    expected = []
    for n, (t, l, b, r) in enumerate(boxes):
        m = g[n].abs().sum(0)
        expected.append(2.5 * (1 - m[t:b, l:r].sum() / m.sum()) * bool(answered[n]))
    assert torch.allclose(terms, torch.stack(expected), rtol=1e-10, atol=1e-12)
    a = parameters_gradient(terms.sum(), ours.weights)
    b = parameters_gradient(
        torch.stack(expected).sum(), [p for k, p in reference.named_parameters() if k.endswith("weight")]
    )
    assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)


def test_rrr_penalty_ignores_images_without_an_answer():
    ours, reference = networks(3)
    images, labels = batch(3)
    masks = np.random.RandomState(0).rand(len(images), *SHAPE[1:]) > 0.5
    answered = np.arange(len(images)) % 2 == 0
    penalty, feedback, _ = capture_penalty(
        "rrr", {"lambda": 10.0}, images, labels, original=ours, oracle=Answers(masks=masks, answered=answered)
    )
    terms = penalty(ours.run(images), Batch(labels, torch.arange(len(labels)), feedback))
    _, g = reference_gradient(reference, images.double() / 255, lambda s: s.log_softmax(-1).sum())
    expected = [10 * (g[n] * torch.from_numpy(masks[n])).square().sum() * bool(answered[n]) for n in range(len(images))]
    assert torch.allclose(terms, torch.stack(expected), rtol=1e-10)


def test_dead_maps_are_zero_have_no_gradient_and_are_counted():
    maps = torch.rand(4, 3, 3, dtype=torch.float64)
    maps[1] = 0
    maps.requires_grad_(True)
    normal = max_normalise(maps)
    assert (normal[1] == 0).all()
    assert torch.allclose(normal[[0, 2, 3]].amax((-2, -1)), torch.ones(3, dtype=torch.float64))
    normal.sum().backward()
    assert torch.isfinite(maps.grad).all()
    assert (maps.grad[1] == 0).all()

    model, _ = networks(0)
    model = model.float()
    with torch.no_grad():
        model.weights[-1].zero_()
    images, labels = batch(0)
    maps, dead = saliency_maps(model, images, labels)
    assert dead == len(images)
    assert (maps == 0).all()


def test_half_precision_maps_are_normalised_in_float32():
    maps = torch.full((1, 2, 2), 1e-7, dtype=torch.float16)
    assert max_normalise(maps).dtype == torch.float32


# ---------------------------------------------------------------------------------------------------------------------
# the loop


def test_fit_equals_a_plain_loop_with_double_backward():
    """Two epochs of RRR: same order, same Adam, gradients by double backward."""
    from crayon_bench.seeds import derive_seed

    ours, reference = networks(1)
    images, labels = batch(1, n=30)
    recipe = Recipe(epochs=2, batch=8, lr=0.01, lr_decay=0.5, weight_decay=0.1)
    A = torch.rand(30, *SHAPE[1:], generator=torch.Generator().manual_seed(5)) > 0.5

    def penalty(forward, batch):
        p = forward.logits.softmax(-1)
        return 3 * (batch["A"].unsqueeze(-3) * forward.input_gradient(1 - CLASSES * p)).square().sum((-3, -2, -1))

    fit(ours, images, labels, recipe, order_seed=9, penalty=penalty, feedback={"A": A})

    adam = torch.optim.Adam(reference.parameters(), lr=0.01, weight_decay=0.1)
    for epoch in (1, 2):
        adam.param_groups[0]["lr"] = 0.01 * 0.5 ** (epoch - 1)
        order = torch.randperm(30, generator=torch.Generator().manual_seed(derive_seed(9, f"epoch {epoch}")))
        for start in range(0, 30, 8):
            index = order[start : start + 8]
            logits, g = reference_gradient(reference, images[index].double() / 255, lambda s: s.log_softmax(-1).sum())
            loss = nn.functional.cross_entropy(logits, labels[index])
            loss = loss + 3 * (A[index].unsqueeze(1) * g).square().sum() / len(index)
            adam.zero_grad()
            loss.backward()
            adam.step()
    for a, b in zip(ours_in_order(ours), reference.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-10)


def test_selection_keeps_the_earliest_best_epoch():
    images, labels = batch(4, n=20)
    scores = iter([0.2, 0.9, 0.9, 0.1])
    states = []
    model = MLP(MLPSpec(hidden=[4], pixels="unit"), SHAPE, CLASSES, seed=0)

    def select(m):
        states.append(predict(m, images).clone())
        return next(scores)

    fit(model, images, labels, Recipe(epochs=4, batch=5, lr=0.01), order_seed=0, select=select)
    assert torch.equal(predict(model, images), states[1])


def test_a_loss_that_is_not_finite_stops_training():
    from crayon_bench.errors import TrainingError

    images, labels = batch(4)
    model = MLP(MLPSpec(hidden=[4]), SHAPE, CLASSES, seed=0)
    with pytest.raises(TrainingError, match="epoch 1 of 5"):
        fit(
            model, images, labels, Recipe(epochs=5, batch=4, lr=0.1), order_seed=0,
            penalty=lambda forward, batch: forward.logits.sum(-1) * float("nan"),
        )  # fmt: skip
