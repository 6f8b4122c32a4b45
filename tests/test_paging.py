"""Memory maps larger than what may be resident."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from crayon_bench.data import paging
from crayon_bench.data.paging import Rows, give_back
from crayon_bench.runs.loading import own_images

linux = pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="pages are told on Linux only")


def resident() -> int:
    """Bytes of files that are resident in this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile:"))


@pytest.fixture
def images(tmp_path):
    """A run's own tensor on a file of 64 MiB, and the file's content."""
    content = np.random.RandomState(0).randint(0, 256, (512, 1, 256, 512), np.uint8)
    np.save(tmp_path / "images.npy", content)
    return own_images(np.load(tmp_path / "images.npy", mmap_mode="r"), "cpu"), content


@linux
def test_what_is_given_back_is_not_resident_and_what_was_written_stays(images):
    values, content = images
    content = torch.from_numpy(content)
    values[3, 0, 7, 100:200] = 9
    values[400:403] = 7
    assert int(values.sum()) != int(content.sum())
    before = resident()
    assert give_back(values) > 15_000
    assert before - resident() > 55 << 20
    content[3, 0, 7, 100:200] = 9
    content[400:403] = 7
    assert torch.equal(values, content)


@linux
def test_rows_are_those_of_the_tensor_and_few_stay_resident(images, monkeypatch):
    values, content = images
    monkeypatch.setattr(paging, "BUDGET", 8 << 20)
    rows, before, peak = Rows(values), resident(), 0
    for index in torch.randperm(len(values), generator=torch.Generator().manual_seed(0)).split(16):
        assert torch.equal(rows[index], torch.from_numpy(content[index.numpy()]))
        peak = max(peak, resident() - before)
    for start in range(0, len(values), 16):
        assert torch.equal(rows[start : start + 16], torch.from_numpy(content[start : start + 16]))
        peak = max(peak, resident() - before)
    # The system may map 2 MB around a byte that is read, and what is between two looks comes on top.
    assert peak < (8 << 20) + 16 * (2 << 20)


@linux
def test_memory_that_is_not_of_a_file_is_left_alone(monkeypatch):
    monkeypatch.setattr(paging, "BUDGET", 1 << 20)
    values = torch.randint(0, 256, (64, 1 << 16), dtype=torch.uint8)
    before, rows = values.clone(), Rows(values)
    rows._start = -(1 << 60)  # as if much had become resident
    for _ in range(2):
        assert torch.equal(rows[torch.arange(64)], before)
    assert not rows._looked_after
    assert give_back(values) == 0
    assert give_back(values.T) == 0  # not contiguous
    assert torch.equal(values, before)


def test_a_system_without_such_files_reads_all_the_same(images, monkeypatch):
    values, content = images
    monkeypatch.setattr(paging, "BUDGET", 1 << 20)
    rows = Rows(values)
    monkeypatch.setattr(paging.Path, "open", lambda *a, **k: (_ for _ in ()).throw(PermissionError()))
    assert give_back(values) == 0
    for _ in range(2):
        assert torch.equal(rows[torch.arange(512)], torch.from_numpy(content))
    assert paging._resident() == 0


PROGRAM = """
import sys
from pathlib import Path
import numpy as np, torch
from crayon_bench.networks.classifier import Classifier
from crayon_bench.networks.convnets import HeadForward
from crayon_bench.networks.specification import Recipe
from crayon_bench.networks.training import fit, predict
from crayon_bench.runs.loading import own_images

class Tiny(Classifier):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(1, 2)
    def run(self, images):
        return HeadForward(self.head(images[:, 0, 0, :1].float()))

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))

images = own_images(np.load(sys.argv[1], mmap_mode="r"), "cpu")
labels = torch.zeros(len(images), dtype=torch.long)
before = status("VmRSS:")
fit(Tiny(), images, labels, Recipe(epochs=1, batch=64, lr=0.1), order_seed=0)
predict(Tiny(), images)
print(before, status("VmHWM:"))
"""


@pytest.mark.slow
@linux
def test_training_on_a_large_map_stays_small(tmp_path):
    """2.6 GB of images; docs/performance.md has the size of the paper's CelebA."""
    with (tmp_path / "images.npy").open("wb") as out:  # sparse: it takes no room, and is read like any file
        shape = (14000, 3, 274, 224)
        np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
        out.truncate(out.tell() + int(np.prod(shape)))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "images.npy")]
    before, peak = map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert peak - before < 1600
