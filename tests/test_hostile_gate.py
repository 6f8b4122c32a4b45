"""Hostile baselines and predictions, as ``check`` reads them: see :mod:`hostile`."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from crayon_bench.store.records import digest
from crayon_bench.store.store import Store
from crayon_bench_leaderboards.baseline import read_cells, to_bytes
from crayon_bench_leaderboards.cells import gate_cells
from crayon_bench_leaderboards.check import check
from crayon_bench_leaderboards.render.report import report_text
from hostile import attempt, cases, mutated, mutated_value
from test_check import fill

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path) -> Path:
    fill(tmp_path / "store", seeds=2)
    return tmp_path / "store"


def compare(file: Path, store: Path) -> object:
    """What ``check`` does, in every format."""
    report = check(read_cells(file), read_cells(store), metric="worst_group_accuracy", margin=5.0)
    for form in ("terminal", "markdown", "json", "junit"):
        report_text(report, form).encode()
    return report


def test_baselines_of_damaged_bytes(store, tmp_path):
    content = to_bytes(gate_cells(Store.open(store)).values())
    file = tmp_path / "baseline.json"
    for rng in cases("baseline bytes", 700):
        damaged = mutated(rng, content)
        file.write_bytes(damaged)
        found = attempt("baseline: bytes", lambda: compare(file, store))
        # Other bytes that say the same (a space more) are no damage; anything else breaks the digest.
        assert found is None or json.loads(damaged) == json.loads(content)


def test_baselines_with_other_values(store, tmp_path):
    """Sealed with the digest that belongs to them, as somebody would who means harm."""
    raw = json.loads(to_bytes(gate_cells(Store.open(store)).values()))
    file = tmp_path / "baseline.json"
    for rng in cases("baseline values", 1200):
        other = mutated_value(rng, raw)
        if isinstance(other, dict):
            content = {name: value for name, value in other.items() if name != "sha256"}
            with suppress(ValueError, RecursionError, TypeError):  # what has no digest cannot be sealed
                other = {**content, "sha256": digest(content)}
        file.write_text(json.dumps(other), encoding="utf-8")
        attempt("baseline: values", lambda: compare(file, store))


def test_predictions_of_damaged_bytes(store, tmp_path):
    """Without checksums, as earlier versions wrote them. The other seed is compared all the same, or nothing is."""
    baseline = tmp_path / "baseline.json"
    baseline.write_bytes(to_bytes(gate_cells(Store.open(store)).values()))
    for folder in store.glob("runs/*"):
        (folder / "SHA256SUMS").unlink()
    one, other = sorted(store.glob("runs/*/predictions.parquet"))
    whole, spare = one.read_bytes(), other.read_bytes()
    kept = tmp_path / "kept"
    shutil.copytree(store, kept)
    for rng in cases("predictions", 700):
        one.write_bytes(mutated(rng, whole, spare))
        attempt(
            "predictions",
            lambda: compare(baseline, store),
            remade=lambda: any(path.name.endswith(".damaged") for path in (store / "runs").iterdir()),
        )
        shutil.rmtree(store)
        shutil.copytree(kept, store)
