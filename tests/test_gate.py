"""The gate on real runs: three regressions of the code are caught, and CI's baseline is of today's settings."""

from pathlib import Path

import pytest

from conftest import serial
from crayon_bench.method import Job
from crayon_bench.networks.specification import Recipe

BASELINE = Path(__file__).resolve().parents[1] / "leaderboards/baselines/standins.json"
SMALL = ["--dataset", "decoymnist", "--source", "standin", "--methods", "rrr", "--seeds", "5", "--quiet"]
SMALL += ["--set", "original.epochs=10", "--set", "refine.epochs=15"]


def flip_the_penaltys_sign(monkeypatch):
    fit = Job.fit

    def flipped(self, penalty=None, feedback=None):
        return fit(self, penalty and (lambda forward, batch: -penalty(forward, batch)), feedback)

    monkeypatch.setattr(Job, "fit", flipped)


def learn_a_hundred_times_as_fast(monkeypatch):
    lr_at = Recipe.lr_at
    monkeypatch.setattr(Recipe, "lr_at", lambda self, epoch: 100 * lr_at(self, epoch))


def swap_one_groups_labels(monkeypatch):
    from crayon_bench.runs import prepared

    to_device = prepared.to_device

    def swapped(split, device):
        images, labels = to_device(split, device)
        labels[split.groups == 0] = 1
        return images, labels

    monkeypatch.setattr(prepared, "to_device", swapped)


@pytest.mark.slow
@pytest.mark.parametrize("regression", [flip_the_penaltys_sign, learn_a_hundred_times_as_fast, swap_one_groups_labels])
def test_a_regression_of_the_code_is_caught(cli, monkeypatch, before, regression):
    regression(monkeypatch)
    assert cli("run", *SMALL, "--store", "after").code == 0
    result = cli("check", "--baseline", before, "--store", "after", "--margin", "10", "--metric", "wga")
    assert result.code == 1, result.out


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    from crayon_bench.cli import invoke

    folder = tmp_path_factory.mktemp("before")
    assert invoke(serial(["run", *SMALL, "--store", str(folder / "store")])) == 0
    update = ["check", "--update-baseline", "--baseline", str(folder / "b.json"), "--store", str(folder / "store")]
    assert invoke(update) == 0
    return folder / "b.json"


def test_the_baseline_of_ci_is_of_todays_settings():
    """No run: the cells of the file are those that the plan of `.ci/run` would make, so the gate is not out of date."""
    from crayon_bench.dataset import Source
    from crayon_bench.plugins.registry import Registry
    from crayon_bench.runs.plan import Options, make_plan
    from crayon_bench.store.records import digest
    from crayon_bench_leaderboards.baseline import read_cells
    from crayon_bench_leaderboards.cells import without_versions

    options = Options(
        ["celeba", "waterbirds"],
        ["original", "crayon-attention", "rrr", "energy"],
        range(6),
        "quick",
        source=Source.STANDIN,
    )
    wanted = {digest(without_versions(request.coordinates)) for request in make_plan(options, Registry()).requests}
    cells = read_cells(BASELINE)
    assert len(wanted) == 8
    assert wanted == set(cells)
    assert all(set(cell.runs) == set(range(6)) for cell in cells.values())
    assert BASELINE.stat().st_size < 40_000
