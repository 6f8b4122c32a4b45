"""Grad-CAM methods against references that share no code with them: autograd with create_graph, brute force, captum."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from crayon_bench.networks.convnets import ConvNet
from crayon_bench.networks.neurons import find_neurons
from crayon_bench.networks.saliency import saliency_maps
from crayon_bench.networks.specification import CNNSpec, Scaling
from crayon_bench.networks.training import Batch
from penalties import Answers, capture, evidence

SHAPE = (3, 18, 22)
CLASSES = 3


def network(seed: int, name: str = "small-cnn", classes: int = CLASSES, **spec) -> ConvNet:
    model = ConvNet(CNNSpec(name=name, weights="none", scaling="symmetric", **spec), SHAPE, classes, seed)
    with torch.no_grad():
        for module in model.modules():  # running statistics of a network that was trained on something
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1, generator=torch.Generator().manual_seed(seed))
                module.bias.normal_(0, 0.3, generator=torch.Generator().manual_seed(seed + 1))
    model = model.double()
    model._scale.fill_(1 / 127.5)  # at double precision
    return model


def batch(seed: int, n: int = 6, shape=SHAPE, classes: int = CLASSES):
    g = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, *shape), generator=g, dtype=torch.uint8)
    return images, torch.randint(0, classes, (n,), generator=g)


def logits_and_gradcam(model: ConvNet, images, labels, maps="logit", pruned=()):
    """Grad-CAM as its paper has it: α_k = mean_hw ∂s/∂A_k by autograd, map = Σ_k α_k A_k; before the ReLU.

    s is the label's logit, or that less the mean of the others. Channels that are *pruned* are cut out altogether.
    """
    left = [channel for channel in range(model.channels) if channel not in pruned] if pruned else slice(None)
    A = model.body(images.double() / 127.5 - 1)[:, left]
    logits = nn.functional.linear(A.mean((2, 3)), model.head.weight[:, left], model.head.bias)
    score = 0
    for row, label in zip(logits, labels.tolist(), strict=True):
        others = [row[c] for c in range(len(row)) if c != label]
        score = score + row[label] - (sum(others) / len(others) if maps == "contrast" else 0)
    (gradient,) = torch.autograd.grad(score, A, create_graph=True)
    return logits, (gradient.mean((2, 3), keepdim=True) * A).sum(1)


def gradients(loss, model, *, bias=True):
    parameters = [p for p in model.parameters() if bias or p is not model.head.bias]  # the bias is in no map
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, retain_graph=True)])


def close(a, b, tolerance=1e-10):
    scale = max(1e-12, float(b.detach().abs().max()))
    assert float((a - b).detach().abs().max()) <= tolerance * scale


LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in ("resnet18", "resnet50", "mobilenet_v2")]


@pytest.mark.parametrize("name", ["small-cnn", *LARGE])
@pytest.mark.parametrize("training", [True, False])
def test_closed_form_gradcam_equals_autograd_for_values_and_every_parameters_gradient(name, training):
    model = network(1, name).train(training)
    images, labels = batch(2, n=4)
    images = torch.nn.functional.interpolate(images.double(), size=(40, 70)).byte()
    ours = model.run(images).saliency(labels)
    close(*_both(model, images, labels))
    assert (ours > 0).any()


def _both(model, images, labels):
    """Gradients of one random function of the maps, ours and the reference's, after comparing the maps themselves."""
    twin = copy.deepcopy(model)
    ours = model.run(images).saliency(labels)
    _, cam = logits_and_gradcam(twin, images, labels)
    reference = cam.relu() * (cam.shape[-1] * cam.shape[-2])  # the closed form leaves the factor 1/(HW) out
    close(ours, reference)
    weight = torch.rand(ours.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    peak = ours.amax((1, 2), keepdim=True), reference.amax((1, 2), keepdim=True)
    return (
        gradients((ours / peak[0].clamp_min(1e-9) * weight).square().sum(), model, bias=False),
        gradients((reference / peak[1].clamp_min(1e-9) * weight).square().sum(), twin, bias=False),
    )


def test_gradcam_equals_captum():
    captum = pytest.importorskip("captum.attr")
    model = network(4).eval()
    images, labels = batch(5)

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = model.body, model.head

        def forward(self, x):
            return self.head(self.body(x).mean((2, 3)))

    wrapped = Wrapped()
    x = (images.double() / 127.5 - 1).requires_grad_(True)
    theirs = captum.LayerGradCam(wrapped, wrapped.body).attribute(x, target=labels, relu_attributions=True)
    ours = model.run(images).saliency(labels)
    close(ours / ours.amax(), theirs[:, 0] / theirs.amax())


def test_the_contrast_map_does_not_see_what_does_not_change_predictions():
    model = network(6).eval()
    images, labels = batch(7)
    with torch.no_grad():
        before = model.run(images)
        saliency, contrast, p = before.saliency(labels), before.contrast(labels), before.logits.softmax(-1)
        model.head.weight += torch.rand(1, model.channels, dtype=torch.float64)
        after = model.run(images)
        close(after.contrast(labels), contrast)
        close(after.logits.softmax(-1), p)
        assert float((after.saliency(labels) - saliency).abs().max()) > 1e-3


# ---------------------------------------------------------------------------------------------------------------------
# what each method adds to the loss


def pooled(mask, grid):
    """Share of each cell that is covered, by definition: cells as adaptive average pooling cuts them."""
    height, width = mask.shape
    out = torch.zeros(grid, dtype=torch.float64)
    for i, j in itertools.product(range(grid[0]), range(grid[1])):
        rows = slice(i * height // grid[0], -(-(i + 1) * height // grid[0]))
        columns = slice(j * width // grid[1], -(-(j + 1) * width // grid[1]))
        out[i, j] = float(mask[rows, columns].mean())
    return out


def blurred(map_, sigma=0.8):
    """3×3 Gaussian with reflected borders, cell by cell."""
    h, w = map_.shape
    weights = {d: np.exp(-(d**2) / (2 * sigma**2)) for d in (-1, 0, 1)}
    total = sum(weights.values())
    mirror = lambda i, n: -i if i < 0 else 2 * (n - 1) - i if i >= n else i  # noqa: E731
    out = torch.zeros(h, w, dtype=torch.float64)
    for i, j in itertools.product(range(h), range(w)):
        for di, dj in itertools.product((-1, 0, 1), (-1, 0, 1)):
            out[i, j] += weights[di] * weights[dj] / total**2 * map_[mirror(i + di, h), mirror(j + dj, w)]
    return out


BOTH = pytest.mark.parametrize("maps", ["logit", "contrast"])
"""``model.maps``: what the maps are of."""


def compare(method, parameters, reference_loss, seed, maps, *, tolerance=1e-10, off=0, neurons=None):
    """The step's loss and its gradients, ours and the reference's, in train mode, for a batch out of order.

    off: number of channels that the original model's images do not activate. neurons: answers by channel.
    """
    original, model = network(seed + 40, maps=maps), network(seed, maps=maps)
    with torch.no_grad():
        original.body[-2].bias[:off] = -50.0
    images, labels = batch(seed + 80, n=9)
    masks, boxes, answered = evidence(seed, len(images), SHAPE[1:])
    random = np.random.RandomState(seed)
    verdicts = random.choice([-1, 0, 1, 2], len(images)).astype(np.int8)
    verdicts[:3] = -1, 0, 1
    original.eval()
    oracle = Answers(verdicts, masks, boxes, answered, neurons)
    penalty, feedback, _ = capture(method, parameters, original, images, labels, oracle, model)
    pruned = set() if neurons is None else channels_to_prune(original, images, neurons)

    index = torch.from_numpy(random.permutation(len(images)))[:7]
    model.train()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    forward = model.run(images[index])
    ce = nn.functional.cross_entropy(forward.logits, labels[index], reduction="none")
    ours = (ce + penalty(forward, Batch(labels[index], index, feedback))).mean()
    ours_gradient = gradients(ours, model)
    model.load_state_dict(state)
    logits, cam = logits_and_gradcam(model, images[index], labels[index], maps, pruned)
    start_logits, start_cam = (t.detach() for t in logits_and_gradcam(original, images, labels, maps))
    case = {
        "n": index.numpy(), "logits": logits, "cam": cam, "labels": labels[index], "verdicts": verdicts[index.numpy()],
        "masks": masks[index.numpy()], "boxes": boxes[index.numpy()], "answered": answered[index.numpy()],
        "start_cam": start_cam[index], "wrong": (start_logits.argmax(-1) != labels)[index],
    }  # fmt: skip
    loss = reference_loss(**case)
    assert abs(float((ours - loss).detach())) <= tolerance * max(1.0, abs(float(loss.detach())))
    close(ours_gradient, gradients(loss, model), tolerance)
    plain = nn.functional.cross_entropy(logits, labels[index])
    assert abs(float((loss - plain).detach())) > 1e-3  # the penalty is there
    return pruned


def channels_to_prune(original, images, neurons):
    """Those that were judged irrelevant, and those that no image activates."""
    with torch.no_grad():
        peak = original.body(images.double() / 127.5 - 1).amax((0, 2, 3))
    return {c for c in range(len(peak)) if peak[c] <= 0 or neurons[c] == -1}


def ce_of(logits, labels, i):
    return -logits[i].log_softmax(-1)[labels[i]]


def papers_equations(alpha, beta):
    """Eq. 1 to 4 of the CRAYON paper, image by image."""

    def reference(logits, cam, labels, verdicts, start_cam, **_):
        total = 0
        for i in range(len(labels)):
            M_, M = cam[i].relu(), start_cam[i].relu()
            M_, M = (m / m.max() if m.max() > 0 else m for m in (M_, M))
            total = total + ce_of(logits, labels, i)
            if verdicts[i] == 1 and M.max() > 0:  # in a dead map there is nothing to keep
                total = total + alpha * (M_ * (1 - M)).sum()
            if verdicts[i] == -1:
                total = total + beta * (M_ * M).sum()
        return total / len(labels)

    return reference


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_crayon_attention_equals_the_papers_equations_on_feature_maps(seed, maps):
    compare("crayon-attention", {"alpha": 2.5, "beta": 0.7}, papers_equations(2.5, 0.7), seed, maps)


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_crayon_attention_pruning_equals_the_same_equations_without_the_pruned_channels(seed, maps):
    """M is of the whole original model; M′, forward pass and gradients know nothing of what was pruned."""
    neurons = np.random.RandomState(seed).choice([-1, 0, 1, 2], 64).astype(np.int8)
    neurons[:4] = 1  # three of which nothing activates: pruned whatever would be answered
    parameters = {"alpha": 2.5, "beta": 0.7, "patches": 2}
    reference = papers_equations(2.5, 0.7)
    pruned = compare("crayon-attention-pruning", parameters, reference, seed, maps, off=3, neurons=neurons)
    assert {0, 1, 2} <= pruned
    assert 10 < len(pruned) < 54


@BOTH
def test_crayon_attention_shares_weights_among_answers_and_normalises_as_the_later_code(maps):
    verdicts_all = np.random.RandomState(1).choice([-1, 0, 1, 2], 9).astype(np.int8)
    verdicts_all[:3] = -1, 0, 1
    yes, no = int((verdicts_all == 1).sum()), int((verdicts_all == -1).sum())

    def reference(logits, cam, labels, verdicts, start_cam, **_):
        total = 0
        for i in range(len(labels)):
            M_, M = cam[i].relu(), start_cam[i].relu()
            M_, M = (m / m.max() if m.max() > 0 else m for m in (M_, M))
            total = total + ce_of(logits, labels, i)
            if verdicts[i] == 1 and M.max() > 0:
                total = total + 50 / yes * (M_ * (1 - M)).sum() / (1 - M).sum()
            if verdicts[i] == -1:
                total = total + 20 / no * (M_ * M).sum() / M.sum().clamp_min(1e-6)
        return total / len(labels)

    compare("crayon-attention", {"alpha": 50.0, "beta": 20.0, "share": True, "normalise": True}, reference, 1, maps)


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_rrr_on_feature_maps(seed, maps):
    def reference(logits, cam, labels, masks, answered, **_):
        total = 0
        for i in range(len(labels)):
            M_ = cam[i].relu()
            M_ = M_ / M_.max()
            A = pooled(~masks[i] & answered[i], cam.shape[1:])
            total = total + ce_of(logits, labels, i) + 3.0 * (A * M_).square().sum()
        return total / len(labels)

    compare("rrr", {"lambda": 3.0}, reference, seed, maps, tolerance=2e-6)  # masks are pooled in float32


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_energy_on_the_upsampled_map(seed, maps):
    def reference(logits, cam, labels, boxes, answered, **_):
        total = 0
        for i in range(len(labels)):
            total = total + ce_of(logits, labels, i)
            large = nn.functional.interpolate(cam[i].relu()[None, None], size=SHAPE[1:], mode="bilinear")[0, 0]
            top, left, bottom, right = boxes[i]
            if answered[i]:
                total = total + 4.0 * (1 - large[top:bottom, left:right].sum() / large.sum())
        return total / len(labels)

    compare("energy", {"lambda": 4.0}, reference, seed, maps, tolerance=2e-6)  # U is in float32


def scaled(cam, how):
    low = cam.min() if how == "min-max" else 0
    cam = cam if how == "min-max" else cam.relu()
    return (cam - low) / (cam.max() - low)


@BOTH
@pytest.mark.parametrize("scaling", ["min-max", "max"])
@pytest.mark.parametrize("seed", range(6))
def test_gradia_equals_its_four_quadrants(seed, scaling, maps):
    def reference(logits, cam, labels, verdicts, masks, answered, wrong, **_):
        first, second, number = 0, 0, 0
        for i in range(len(labels)):
            quadrant = (verdicts[i] == -1, bool(wrong[i]))
            p, a = {(True, True): (1, 1), (True, False): (0.4, 1.6), (False, True): (0.8, 0.2)}.get(quadrant, (1, 0))
            first = first + p * ce_of(logits, labels, i)
            if a and answered[i]:
                T = blurred(pooled(masks[i], cam.shape[1:]))
                T = T / T.max()
                M_ = scaled(cam[i], scaling)
                second, number = second + 5 * a * (M_ - T).abs().mean(), number + 1
        return first / len(labels) + second / max(1, number)

    compare("gradia", {"weight": 5.0, "scaling": scaling}, reference, seed, maps, tolerance=2e-6)


@BOTH
@pytest.mark.parametrize("scaling", ["min-max", "max"])
@pytest.mark.parametrize("seed", range(6))
def test_res_equals_its_definition_with_the_threshold_searched_by_trying_all(seed, scaling, maps):
    def reference(logits, cam, labels, masks, answered, **_):
        h, w = cam.shape[1:]
        Y = torch.zeros(len(labels), h, w)
        targets, maps, ce = [], [], 0
        for i in range(len(labels)):
            ce = ce + ce_of(logits, labels, i)
            share, other = pooled(masks[i], (h, w)), pooled(~masks[i] & answered[i], (h, w))
            for r, c in itertools.product(range(h), range(w)):
                if share[r, c] > 0 and (share[r, c] >= 0.5 or share[r, c] >= share.max()):
                    Y[i, r, c] = 1
                elif other[r, c] >= 0.5:
                    Y[i, r, c] = -1
            T = blurred((Y[i] > 0).double())
            targets.append(T / T.max() if T.max() > 0 else T)
            maps.append(scaled(cam[i], scaling))
        M_ = torch.stack(maps)
        a = brute_force_threshold(M_.detach(), Y)
        judged = Y != 0
        wrong = ((torch.tanh(5 * (M_ - a)) - Y).abs() * judged).sum() / judged.sum()
        known = [i for i in range(len(labels)) if answered[i]]
        apart = sum((M_[i] - targets[i]).abs().mean() for i in known) / len(known)
        return ce / len(labels) + 0.6 * ((wrong - 0.1).relu() + apart)

    compare("res", {"lambda": 0.6, "scaling": scaling}, reference, seed, maps, tolerance=2e-6)


def brute_force_threshold(M, Y):
    """Try every candidate against every cell; the least of equals."""
    low, high = M[Y < 0].tolist(), M[Y > 0].tolist()
    best, found = -1.0, 0.5
    for a in sorted([v + 1e-4 for v in low] + high):
        score = sum(v < a for v in low) / max(1, len(low)) + sum(v >= a for v in high) / max(1, len(high))
        if score > best + 1e-12:
            best, found = score, a
    return found


@pytest.mark.parametrize("seed", range(60))
def test_res_threshold_equals_brute_force_with_ties(seed):
    from crayon_bench_plugins.methods.res import threshold

    random = np.random.RandomState(seed)
    n = random.randint(1, 60)
    levels = random.randint(2, 12)  # few values: many ties
    M = torch.from_numpy(random.randint(0, levels, n) / (levels - 1))
    Y = torch.from_numpy(random.choice([-1, 0, 1], n, p=random.dirichlet([1, 1, 1])))
    assert float(threshold(M, Y)) == pytest.approx(brute_force_threshold(M, Y), abs=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# neurons


def neurons_by_definition(model, images, k):
    with torch.no_grad():
        A = model.body(images.double() / 127.5 - 1)
    peak = A.flatten(2).max(-1)
    found = []
    for channel in range(A.shape[1]):
        order = sorted(range(len(images)), key=lambda i: (-float(peak.values[i, channel].float()), i))[:k]
        found.append([i if peak.values[i, channel] > 0 else -1 for i in order])
    return A, peak.indices, found


@pytest.mark.parametrize("size", [1, 4, 100])
def test_neurons_are_found_in_one_pass_whatever_the_batch(size):
    model = network(9).eval()
    with torch.no_grad():
        model.body[-2].bias[:5] = -50.0  # five channels that nothing activates
    images, _ = batch(10, n=13)
    images[7] = images[3]  # a tie
    A, cells, expected = neurons_by_definition(model, images, 4)
    got = find_neurons(model, images, 4, "cpu", batch=size)
    assert got.examples.tolist() == expected
    assert got.dead.tolist() == [found[0] < 0 for found in expected]
    assert 5 <= int(got.dead.sum()) < model.channels / 2
    close(got.pooled, A.mean((2, 3)).float(), 1e-5)
    for channel in range(5, model.channels):
        for slot, example in enumerate(expected[channel]):
            if example >= 0:
                cell = int(cells[example, channel])
                assert (int(got.rows[channel, slot]), int(got.columns[channel, slot])) == divmod(cell, got.grid[1])


def test_patches_are_the_cells_around_the_maximum_clipped_to_the_image():
    model = network(11).eval()
    images, _ = batch(12, n=8)
    neurons = find_neurons(model, images, 3, "cpu")
    height, width = SHAPE[1:]
    h, w = neurons.grid
    for radius in (0, 1, 99):
        patches = neurons.patches(height, width, radius)
        for row, channel in enumerate(patches.neurons):
            for slot in range(3):
                r, c = int(neurons.rows[channel, slot]), int(neurons.columns[channel, slot])
                rows = range(max(0, r - radius), min(h, r + radius + 1))
                columns = range(max(0, c - radius), min(w, c + radius + 1))
                expected = [
                    rows[0] * height // h,
                    columns[0] * width // w,
                    int(np.ceil((rows[-1] + 1) * height / h)),
                    int(np.ceil((columns[-1] + 1) * width / w)),
                ]
                assert patches.boxes[row, slot].tolist() == expected
    assert patches.boxes[0, 0].tolist() == [0, 0, height, width]


def test_pruned_channels_are_zero_in_forward_pass_and_map():
    model = network(13).eval()
    images, labels = batch(14)
    pruned = torch.zeros(model.channels, dtype=torch.bool)
    pruned[::2] = True
    A = model.features(images)
    model.prune(pruned)
    forward = model.run(images)
    W = model.head.weight * ~pruned
    close(forward.logits, A.mean((2, 3)) @ W.T + model.head.bias)
    close(forward.saliency(labels), torch.einsum("bk,bkhw->bhw", W[labels], A).relu())


# ---------------------------------------------------------------------------------------------------------------------
# networks


@pytest.mark.parametrize(
    ("name", "stride", "size", "grid"),
    [
        ("resnet50", None, (274, 224), (9, 7)),
        ("resnet50", None, (224, 224), (7, 7)),
        ("resnet18", None, (274, 224), (9, 7)),
        ("mobilenet_v2", None, (274, 224), (9, 7)),
        ("mobilenet_v2", 16, (137, 112), (9, 7)),
        ("resnet50", 16, (137, 112), (9, 7)),
        ("mobilenet_v2", 8, (64, 64), (8, 8)),
    ],
)
def test_grids_of_maps(name, stride, size, grid):
    model = ConvNet(CNNSpec(name=name, weights="none", output_stride=stride), (3, *size), 2, seed=0)
    assert model.map_size(*size) == grid


@pytest.mark.parametrize(
    ("cut", "grid", "channels", "field"),
    [(4, (28, 23), 144, 19), (7, (14, 12), 192, 59), (14, (7, 6), 576, 267)],
)
def test_a_network_that_is_cut_has_the_grid_channels_and_receptive_field_that_the_docs_name(cut, grid, channels, field):
    model = network(17, "mobilenet_v2", cut=cut).eval()
    assert model.channels == channels
    assert model.map_size(109, 89) == grid
    size = field // 16 * 16 + 32
    x = torch.rand((1, 3, size, size), dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 255
    A = model.features(x.requires_grad_())
    row, column = A.shape[2] // 2, A.shape[3] // 2
    (gradient,) = torch.autograd.grad(A[0, :, row, column].sum(), x)
    for seen in (gradient.abs().amax((0, 1, 3)), gradient.abs().amax((0, 1, 2))):
        pixels = torch.nonzero(seen).flatten()
        assert int(pixels[0]) > 0
        assert int(pixels[-1]) < len(seen) - 1  # the border does not cut it off
        assert int(pixels[-1] - pixels[0]) + 1 == field


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50"])
def test_a_finer_grid_computes_the_same_function_at_the_coarse_grids_cells(name):
    """Strides turned into dilations: every second cell of the fine grid is a cell of the coarse one."""
    coarse = network(15, name).eval()
    fine = network(15, name, output_stride=16).eval()
    fine.load_state_dict(coarse.state_dict())
    images = torch.randint(0, 256, (2, 3, 65, 97), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    A, B = coarse.features(images), fine.features(images)
    assert B.shape[-1] == 2 * A.shape[-1] - 1
    close(B[..., ::2, ::2], A)


@pytest.mark.parametrize("scaling", list(Scaling))
def test_input_scaling(scaling):
    model = ConvNet(CNNSpec(name="small-cnn", weights="none", scaling=scaling.value), SHAPE, 2, seed=0).double().eval()
    images, _ = batch(0)
    x = images.double()
    expected = {
        Scaling.UNIT: x / 255,
        Scaling.SYMMETRIC: x / 127.5 - 1,
        Scaling.IMAGENET: (x / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1).double())
        / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1).double(),
    }[scaling]
    close(model.features(images), model.body(expected), 1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# hard cases


STEERED = {
    "crayon-attention": {},
    "crayon-attention-pruning": {},
    "rrr": {"lambda": 1.0},
    # its factors on cross-entropy are 1, so that what is left is the map's
    "gradia": {"p_unreasonable_right": 1.0, "p_reasonable_wrong": 1.0},
    "energy": {},
    "res": {},
}


@BOTH
@pytest.mark.parametrize("case", ["dead", "unanswered", "neither"])
@pytest.mark.parametrize("method", STEERED)
def test_a_dead_map_or_a_missing_answer_adds_nothing_to_the_gradients_of_cross_entropy(method, case, maps):
    """Of a batch whose maps are all dead, or for which nothing was answered; and where neither is so, it does."""
    original, model = network(20, maps=maps).eval(), network(21, maps=maps)
    images, _ = batch(22, n=12)
    labels, index = torch.tensor([0] * 6 + [1, 2] * 3), torch.arange(6)
    masks, boxes, answered = evidence(3, len(images), SHAPE[1:])
    masks[:], boxes[:], answered[:] = masks[answered][0], boxes[answered][0], True
    verdicts = np.array([1, -1] * 6, np.int8)
    if case == "unanswered":
        answered[:6], verdicts[:6], masks[:6], boxes[:6] = False, 2, False, 0
    if case == "dead":
        with torch.no_grad():  # features are alive, and with them the gradients of cross-entropy
            if method in ("gradia", "res"):  # their maps have a sign: those that are flat are dead
                W = model.head.weight.copy_((256 * model.head.weight).round() / 256)  # so that halves are exact
                W[0] = (W[1] + W[2]) / 2 if maps == "contrast" else 0
            else:
                model.head.weight[0] = -1.0 - model.head.weight.abs().max()
    oracle = Answers(verdicts, masks, boxes, answered, np.ones(model.channels, np.int8))
    penalty, feedback, job = capture(method, STEERED[method], original, images, labels, oracle, model)
    model.train()
    forward = model.run(images[index])
    ce = nn.functional.cross_entropy(forward.logits, labels[index], reduction="none")
    steered = (ce + penalty(forward, Batch(labels[index], index, feedback))).mean()
    assert torch.isfinite(steered)
    alone, both = gradients(ce.mean(), model), gradients(steered, model)
    assert alone[: len(alone) // 2].abs().max() > 1e-6
    if case == "neither":
        assert float((both - alone).abs().max()) > 1e-3 * float(alone.abs().max())
    else:
        close(both, alone, 1e-12)
    assert int(job._dead) == (len(index) if case == "dead" else 0)


def test_maps_of_a_dead_model_are_zero_and_counted():
    model = network(23).eval()
    with torch.no_grad():
        model.head.weight.fill_(-1.0)
    images, labels = batch(24)
    maps, dead = saliency_maps(model, images, labels)
    assert dead == len(images)
    assert not maps.any()
