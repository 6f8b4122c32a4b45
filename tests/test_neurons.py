"""What shows a neuron: its strongest images and cells, where a ceiling such as ReLU6's makes many of them equal."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from crayon_bench.networks.convnets import ConvNet
from crayon_bench.networks.neurons import find_neurons
from crayon_bench.networks.specification import CNNSpec


def of_maps(A: torch.Tensor) -> tuple[SimpleNamespace, torch.Tensor]:
    """A network whose last feature maps for image i are A[i], and its images."""
    images = torch.zeros(len(A), 3, 1, 1, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(len(A))
    return SimpleNamespace(channels=A.shape[1], features=lambda x: A[x[:, 0, 0, 0].long()]), images


def by_sorting(A: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Examples (K, k), cells (K, k) and the ties, from the definition, one channel at a time."""
    n, K, H, W = A.shape
    examples, cells, ties = np.full((K, k), -1), np.zeros((K, k), int), [0] * K
    for c in range(K):
        maxima = [A[i, c].max() for i in range(n)]
        order = sorted(range(n), key=lambda i: (-maxima[i], -A[i, c].mean(), i))[:k]
        for j, i in enumerate(order):
            if maxima[i] <= 0:
                continue
            at = np.argwhere(A[i, c] == maxima[i])
            far = ((at - at.mean(0)) ** 2).sum(1)
            row, column = at[np.flatnonzero(np.isclose(far, far.min()))[0]]
            examples[c, j], cells[c, j] = i, row * W + column
            ties[c] += len(at) > 1 or maxima.count(maxima[i]) > 1
    return examples, cells, ties


@pytest.mark.parametrize("batch", [1, 4, 23])
@pytest.mark.parametrize("k", [1, 5, 23, 40])
def test_ties_are_broken_by_the_mean_and_the_middle(k, batch):
    A = torch.randint(0, 5, (23, 7, 4, 5), generator=torch.Generator().manual_seed(k)).float()
    A[:, 5] = 0  # nothing activates it
    A[4:, 6] = 0  # four images do
    model, images = of_maps(A)
    found = find_neurons(model, images, k, "cpu", batch)
    k = min(k, 23)
    examples, cells, ties = by_sorting(A.numpy().astype(float), k)
    assert np.array_equal(found.examples.numpy(), examples)
    shown = examples >= 0
    assert np.array_equal((found.rows * 5 + found.columns).numpy()[shown], cells[shown])
    assert found.tied.tolist() == ties
    assert found.dead.tolist() == [False] * 5 + [True, False]


def test_what_is_shown_of_a_network_with_a_ceiling_does_not_follow_the_order_of_the_files():
    """MobileNetV2's last maps end with ReLU6: with large weights most maxima are exactly 6."""
    model = ConvNet(CNNSpec(name="mobilenet_v2", weights="none", cut=4), (3, 32, 32), 2, 0).eval()
    with torch.no_grad():
        model.body.features[-1].conv[0][1].bias.fill_(5.0)
        model.body.features[-1].conv[0][1].weight.fill_(1000.0)
    images = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        A = model.features(images)
    assert float((A.amax((-2, -1)) == 6).float().mean()) > 0.5
    there, back = find_neurons(model, images, 3, "cpu"), find_neurons(model, images.flip(0), 3, "cpu")
    assert torch.equal(there.examples, 11 - back.examples)
    assert torch.equal(there.rows, back.rows)
    assert torch.equal(there.columns, back.columns)
    assert int(there.tied.sum()) > 100


def test_a_network_without_a_ceiling_has_no_ties_and_a_run_says_how_many_there_were():
    from test_pruning import job_of, networks

    original, model = networks(3, torch.float32)
    job = job_of(original, model, n=10)
    assert int(job.neurons(4).tied.sum()) == 0
    assert job.warnings == {}
    original.body.append(torch.nn.Hardtanh(0.0, 0.01))
    tied = int(job.neurons(4).tied.sum())
    assert tied > 0
    job.neurons(4)
    assert list(job.warnings.values()) == [tied]
