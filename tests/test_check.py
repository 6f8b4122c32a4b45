"""The gate: what it compares, what it says, and that it is never green on nothing."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crayon_bench.store.records import Record, digest, setting_of
from crayon_bench.store.store import Store
from crayon_bench_leaderboards.cells import Cell, Examples, Run
from crayon_bench_leaderboards.check import check

GROUPS = {"black": 100, "blond": 50}


def save(
    store: str | Path,
    *,
    method: str = "rrr",
    seed: int = 0,
    right: dict[str, float] | np.ndarray | None = None,
    status: str = "ok",
    reason: str | None = None,
    numerics: int = 2,
    version: int = 1,
    parameters: dict | None = None,
    groups: dict[str, int] | None = None,
    order: np.ndarray | None = None,
    finished: str = "2026-01-01T00:00:00+00:00",
    prefix: str = "test",
    environment: dict | None = None,
    budget: dict | None = None,
    no_groups: bool = False,
    dataset: str = "faces",
    more: dict | None = None,
) -> None:
    """Save a run whose predictions are right as often as *right* says of each group, or as its bits say."""
    groups = groups or GROUPS
    coordinates = {
        "schema": 1,
        "numerics": numerics,
        "dataset": {"name": dataset, "version": version, "source": "standin", "content": "c", "parameters": {}},
        "protocol": {"name": "quick", "threads": 1},
        "oracle": {"name": "simulated", "version": version, "parameters": {}},
        "method": {"name": method, "version": version, "parameters": parameters or {"lambda": 1}, "recipe": None},
        "budget": budget,
        "seed": seed,
        **(more or {}),
    }
    of = np.repeat(np.arange(len(groups)), list(groups.values()))
    if not isinstance(right, np.ndarray):
        share = right or {}
        right = np.concatenate([np.arange(n) < round(share.get(g, 0.95) * n) for g, n in groups.items()])
    counts = [{"name": g, "total": n, "right": int(right[of == i].sum())} for i, (g, n) in enumerate(groups.items())]
    counts = [] if no_groups else counts
    record = Record.model_validate({
        "key": digest(coordinates), "setting": setting_of(coordinates), "status": status, "reason": reason,
        "coordinates": coordinates, "source": "standin", "verified": True, "finished": finished, "groups": counts,
        "title": {"method": "A|B<I>" if method == "odd" else method.upper(), "dataset": "Faces", "oracle": "simulated", "feedback": "Map"},
        "environment": environment or {"crayon_bench": "0.1.0", "torch": "2.6", "device": "cpu"},
    })  # fmt: skip
    order = np.arange(len(of)) if order is None else order
    table = pa.table({
        "example": [f"{prefix}-{i:03d}" for i in order],
        "label": np.zeros(len(of), np.int32),
        "predicted": (~right[order]).astype(np.int32),
        "group": pa.nulls(len(of), pa.int32()) if no_groups else of[order].astype(np.int32),
        "confidence": np.ones(len(of), np.float32),
    })  # fmt: skip
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    Store.create(Path(store)).save(record, sink.getvalue().to_pybytes() if status == "ok" else None, "")


def fill(store: str, share: float = 0.8, seeds: int = 3, **more) -> None:
    for seed in range(seeds):
        save(store, seed=seed, right={"blond": share}, **more)


def gate(cli, *arguments, store: str = "new", baseline: str = "old"):
    return cli("check", "--baseline", baseline, "--store", store, *arguments)


def cells(result) -> list[dict]:
    return json.loads(result.out)["cells"]


def test_equal_runs_hold_and_a_drop_regresses(cli):
    fill("old")
    fill("new")
    held = gate(cli)
    assert held.code == 0, held.out
    assert "RRR: holds" in held.out
    assert "95 % interval [+0.00, +0.00] (3 paired seeds)" in held.out
    assert (
        "worst group now, by its mean over seeds: black (100 test examples)" in held.out
        or "blond (50 test examples)" in held.out
    )
    fill("worse", 0.5)
    fallen = gate(cli, store="worse")
    assert fallen.code == 1
    assert "80.00 then, 50.00 now: -30.00" in fallen.out
    assert "worst group now, by its mean over seeds: blond (50 test examples), 80.00 then, 50.00 now" in fallen.out
    assert fallen.out.rstrip().splitlines()[-1].startswith("REGRESSED")
    better = gate(cli, store="old", baseline="worse")
    assert better.code == 0


def test_the_verdict_follows_from_interval_and_margin(cli):
    fill("old")
    fill("new", 0.7)
    [cell] = cells(gate(cli, "--format", "json", "--margin", "0"))
    interval = cell["measured"]["difference"]
    assert interval["estimate"] == pytest.approx(-10)
    assert interval["low"] < -10 < interval["high"] < 0
    for margin, verdict, code in (
        (0, "regressed", 1),
        (-interval["high"] * 0.9, "regressed", 1),
        (10, "undecided", 2),
        (-interval["low"] * 1.01, "holds", 0),
    ):
        result = gate(cli, "--format", "json", "--margin", margin)
        assert (cells(result)[0]["verdict"], result.code) == (verdict, code), margin
    smallest = cells(gate(cli, "--format", "json", "--margin", "3"))[0]["measured"]["smallest"]
    assert smallest == pytest.approx(3 + interval["high"] - interval["estimate"])
    # Equal predictions have an interval without width; one example of the worst group is still the finest step.
    [same] = cells(gate(cli, "--format", "json", "--margin", "3", store="old"))
    assert same["measured"]["smallest"] == pytest.approx(3 + 100 / same["measured"]["worst_group"]["total"])


def test_other_metrics_are_compared_by_their_names(cli):
    fill("old")
    fill("new", 0.5)
    for name, drop in (("wga", -30), ("group_mean_accuracy", -15), ("acc", -10)):
        [cell] = cells(gate(cli, "--format", "json", "--metric", name))
        assert cell["measured"]["difference"]["estimate"] == pytest.approx(drop)
    assert gate(cli, "--metric", "speed").code == 2
    assert "did you mean" in gate(cli, "--metric", "worst_group").err


def test_examples_are_paired_by_name_and_not_by_place(cli):
    random = np.random.default_rng(0)
    bits = random.random(150) < 0.7
    for seed in range(3):
        save("old", seed=seed, right=bits)
        save("new", seed=seed, right=bits, order=random.permutation(150))
    [cell] = cells(gate(cli, "--format", "json"))
    assert (cell["measured"]["difference"]["low"], cell["measured"]["difference"]["high"]) == (0, 0)
    for seed in range(3):
        save("others", seed=seed, right=bits, prefix="elsewhere")
    result = gate(cli, store="others")
    assert result.code == 2
    assert "the test examples are not the same" in result.out


def test_versions_do_not_stand_in_the_way_and_are_named(cli):
    fill("old")
    fill("new", version=2, numerics=3, environment={"crayon_bench": "0.2.0", "torch": "2.6", "device": "cpu"})
    result = gate(cli)
    assert result.code == 0
    for line in ("numerics 2 → 3", "dataset.version 1 → 2", "method.version (rrr) 1 → 2", "crayon_bench 0.1.0 → 0.2.0"):
        assert f"Changed since the baseline: {line}" in result.out
    # Of two versions in one store, the one that finished last is meant.
    fill("new", 0.2, version=3, finished="2026-01-02T00:00:00+00:00")
    assert gate(cli).code == 1
    fill("new", 0.8, version=4, finished="2026-01-03T00:00:00+00:00")
    assert gate(cli).code == 0


def test_nothing_comparable_is_never_green(cli):
    fill("old")
    fill("new", parameters={"lambda": 7})
    result = gate(cli)
    assert result.code == 3
    assert "nearest: method.parameters.lambda 1 then, 7 now" in result.out
    assert "NOTHING COMPARABLE" in result.out
    Store.create(Path("empty"))
    assert gate(cli, store="empty").code == 3
    assert gate(cli, store="old", baseline="empty").code == 3
    junit = ElementTree.fromstring(gate(cli, "--format", "junit", store="old", baseline="empty").out)
    assert (junit.get("tests"), junit.get("errors")) == ("1", "1")


def test_a_cell_that_is_missing_or_failed_is_not_green(cli):
    fill("old")
    fill("old", method="energy")
    fill("new")
    missing = gate(cli)
    assert missing.code == 2
    assert "ENERGY: not comparable: not run" in missing.out
    assert gate(cli, "--methods", "rrr").code == 0
    assert gate(cli, "--methods", "rr").code == 2
    for seed in range(2):
        save("new", method="energy", seed=seed)
    save("new", method="energy", seed=2, status="failed", reason="TrainingError: the loss is no number")
    failed = gate(cli)
    assert failed.code == 2
    assert "ENERGY: not measured: seed 2: failed: TrainingError" in failed.out
    fill("new", 0.2)
    assert gate(cli).code == 1  # a regression is the graver news


def test_predictions_that_cannot_be_read_are_not_measured(cli):
    fill("old")
    fill("new")
    (folder,) = Path("new/runs").glob("faces.rrr.s1.*")
    file = folder / "predictions.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:4] + bytes(len(whole)) + whole[-4:])
    result = gate(cli)
    assert result.code == 2
    assert (
        "not measured: seed 1: its record is damaged (predictions.parquet: the checksum does not match)" in result.out
    )
    (folder / "SHA256SUMS").unlink()  # as in a record of an earlier version
    result = gate(cli)
    assert result.code == 2
    assert "not measured: seed 1: its predictions cannot be read" in result.out


DAMAGE = {
    "predictions cut off": lambda folder: os.truncate(folder / "predictions.parquet", 40),
    "predictions gone": lambda folder: (folder / "predictions.parquet").unlink(),
    "a bit of the record": lambda folder: _flip(folder / "record.json", b'"seed": 1', b'"seed": 3'),
    "record emptied": lambda folder: (folder / "record.json").write_bytes(b""),
    "record gone": lambda folder: (folder / "record.json").unlink(),
    "sums": lambda folder: _flip(folder / "SHA256SUMS", b"  record.json", b"  recodd.json"),
}


def _flip(file: Path, old: bytes, new: bytes) -> None:
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new))


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_record_is_never_green(cli, how):
    """On either side; also where it was the only one of its cell; and whatever else holds."""
    for store in ("old", "new"):
        fill(store)
        fill(store, method="energy")
        save(store, method="alone")
    assert gate(cli).code == 0
    for store in ("old", "new"):
        for name, verdict in (("rrr.s1", "RRR: not measured"), ("alone.s0", "not measured")):
            shutil.copytree(store, "kept")
            (folder,) = Path(store, "runs").glob(f"faces.{name}.*")
            if name == "alone.s0" and how == "a bit of the record":
                _flip(folder / "record.json", b'"seed": 0', b'"seed": 3')
            else:
                DAMAGE[how](folder)
            result = gate(cli)
            assert result.code == 2, (store, name, result.out)
            assert verdict in result.out
            assert f"{'baseline: ' if store == 'old' else ''}seed {name[-1]}: its record is damaged" in result.out
            assert "ENERGY: holds" in result.out
            assert not result.err.count("Traceback")
            shutil.rmtree(store)
            Path("kept").rename(store)
    # Another version of the run does not stand in for it.
    fill("new", version=2, finished="2026-01-02T00:00:00+00:00")
    (folder, *_) = sorted(Path("new/runs").glob("faces.rrr.s1.*"))
    DAMAGE[how](folder)
    assert gate(cli).code == 2
    shutil.rmtree(folder)
    assert gate(cli).code == 0


def test_a_baseline_file_names_what_is_damaged(cli):
    fill("old")
    (folder,) = Path("old/runs").glob("faces.rrr.s1.*")
    (folder / "record.json").unlink()
    result = make(cli)
    assert result.code == 0
    assert "2 runs; 1 left out, without predictions" in result.err


def test_seeds_are_paired_where_they_are_common(cli):
    fill("old", seeds=5)
    fill("new", seeds=3)
    [cell] = cells(gate(cli, "--format", "json"))
    assert cell["measured"]["seeds_new"] == [0, 1, 2]
    save("one", seed=0)
    assert "one seed: the interval says nothing of other seeds" in gate(cli, store="one").out
    for seed in (7, 8):
        save("others", seed=seed)
    refused = gate(cli, store="others")
    assert refused.code == 3
    assert "no seed in common (0, 1, 2, 3, 4 then, 7, 8 now); see --any-seeds" in refused.out
    allowed = gate(cli, "--any-seeds", store="others")
    assert allowed.code == 0
    assert "unpaired: 5 seeds then, 2 others now" in allowed.out


# ---------------------------------------------------------------------------------------------------------------------
# near 0, nothing can fall


def at_floor(store: str, black: float, blond: float, seeds: int = 3) -> None:
    for seed in range(seeds):
        save(store, seed=seed, right={"black": black, "blond": blond})


def test_a_collapse_beside_a_worst_group_at_0_has_regressed(cli):
    """From 66.7 to 6.7 % accuracy, with a worst group that had been at 0 and cannot fall."""
    at_floor("old", 1.0, 0.0)
    at_floor("new", 0.1, 0.0)
    result = gate(cli)
    assert result.code == 1
    assert "RRR: regressed: MA and Acc fell by more than the margin; WGA was 0.00 and cannot fall" in result.out
    assert "Acc 66.67 then, 6.67 now: -60.00" in result.out
    assert "could have been seen" not in result.out
    [cell] = cells(gate(cli, "--format", "json"))
    assert cell["verdict"] == "regressed" and cell["measured"]["smallest"] is None
    assert {other["metric"]: other["fell"] for other in cell["measured"]["others"]} == {
        "group_mean_accuracy": True, "sample_accuracy": True,
    }  # fmt: skip
    suite = ElementTree.fromstring(gate(cli, "--format", "junit").out)
    assert (suite.get("failures"), suite.get("errors")) == ("1", "0")
    assert "✗ regressed: MA and Acc fell" in gate(cli, "--format", "markdown").out


def test_a_score_near_0_that_did_not_fall_is_undecided_and_not_green(cli):
    at_floor("old", 0.9, 0.0)
    at_floor("new", 0.9, 0.0)
    result = gate(cli)
    assert result.code == 2
    assert "RRR: undecided: WGA was 0.00 and cannot fall by more than the margin" in result.out
    assert result.out.rstrip().splitlines()[-1].startswith("UNDECIDED")
    assert "could have been seen" not in result.out
    suite = ElementTree.fromstring(gate(cli, "--format", "junit").out)
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")
    markdown = gate(cli, "--format", "markdown").out
    assert "? undecided: WGA was 0.00" in markdown and "| nothing " in markdown
    assert gate(cli, "--metric", "ma").code == 0  # another metric can be held
    # Above the margin, and still less than the smallest drop that could be seen: 2 points and one of 50 examples.
    at_floor("low", 0.9, 0.04)
    shown = gate(cli, store="low", baseline="low").out
    assert "undecided: WGA was 4.00, and no fall of less than 4.00 points could be seen: take more seeds" in shown
    at_floor("high", 0.9, 0.06)
    assert gate(cli, store="high", baseline="high").code == 0


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.6, 1.0])
def test_no_drop_is_said_to_be_seen_of_a_score_that_is_smaller(cli, share):
    random = np.random.default_rng(int(100 * share))
    for store in ("old", "new"):
        for seed in range(2):
            save(store, seed=seed, right=random.random(150) < share)
    for metric in ("wga", "ma", "acc"):
        [cell] = cells(gate(cli, "--format", "json", "--metric", metric))
        smallest = cell["measured"]["smallest"]
        assert smallest is None or smallest < cell["measured"]["old"]


def test_the_metric_is_that_of_the_data_sets_board(cli):
    """DecoyMNIST's worst of a hundred groups is at 0 by chance; its board has accuracy."""
    for store, share in (("old", 0.8), ("new", 0.1)):
        for seed in range(3):
            save(store, seed=seed, right={"black": share, "blond": 0.0}, dataset="decoymnist")
            save(store, seed=seed, right={"black": 0.9, "blond": 0.9}, dataset="celeba")
    found = {cell["dataset"]: cell for cell in cells(gate(cli, "--format", "json"))}
    assert found["decoymnist"]["measured"]["metric"] == "sample_accuracy"
    assert found["celeba"]["measured"]["metric"] == "worst_group_accuracy"
    result = gate(cli)
    assert result.code == 1
    assert "points of worst_group_accuracy (WGA), sample_accuracy (Acc))" in result.out


def test_a_worst_group_that_holds_while_another_metric_collapses_is_undecided(cli):
    at_floor("old", 1.0, 0.3)
    at_floor("new", 0.75, 0.3)
    result = gate(cli)
    assert result.code == 2
    assert "undecided: WGA holds, and MA and Acc fell by more than the margin" in result.out
    assert re.search(r"Acc 76.67 then, 60.00 now: -16.67, .*: fell by more than the margin", result.out)


def test_an_empty_group_is_not_measured(cli):
    fill("old", groups={"black": 10, "blond": 0})
    fill("new", groups={"black": 10, "blond": 0})
    result = gate(cli)
    assert result.code == 2
    assert "no test examples in group 'blond'" in result.out


def test_without_groups_accuracy_is_compared_and_nothing_else_is_lost(cli):
    """Of a folder without attributes: null groups, in a baseline with the cells of other data."""
    for store, share in (("old", 0.9), ("new", 0.5)):
        for seed in range(3):
            save(store, method="bare", seed=seed, right=np.arange(150) < share * 150, groups={"": 150}, no_groups=True)
            save(store, seed=seed)
    assert make(cli).err == "baseline.json: 6 runs\n"
    for baseline in ("old", "baseline.json"):
        bare, other = cells(gate(cli, "--metric", "wga", "--format", "json", baseline=baseline))
        assert (bare["verdict"], bare["reason"]) == ("not measured", "there are no groups; --metric acc needs none")
        assert other["verdict"] == "holds"
        bare, other = cells(gate(cli, "--format", "json", baseline=baseline))
        assert [cell["measured"]["metric"] for cell in (bare, other)] == ["sample_accuracy", "worst_group_accuracy"]
        result = gate(cli, "--metric", "acc", baseline=baseline)
        assert result.code == 1 and "90.00 then, 50.00 now" in result.out
        assert result.out.count("worst group now") == 1  # the other data's
        for form in ("markdown", "junit"):
            assert "50.00" in gate(cli, "--metric", "acc", "--format", form, baseline=baseline).out


def test_every_format_says_the_same(cli, tmp_path):
    for method, share in (("held", 0.8), ("fallen", 0.3), ("odd", 0.8)):
        fill("old", method=method)
        fill("new", share, method=method)
    fill("old", method="gone")
    fill("new", method="fresh")
    markdown = gate(cli, "--format", "markdown")
    assert markdown.code == 1
    assert "✗ regressed" in markdown.out
    assert r"A\|B\<I\>" in markdown.out
    assert "Not in the baseline: faces: FRESH" in markdown.out
    found = json.loads(gate(cli, "--format", "json").out)
    assert (found["exit_code"], found["metric"], found["margin"]) == (1, None, 2.0)
    assert {c["method"]: c["verdict"] for c in found["cells"]} == {
        "held": "holds", "fallen": "regressed", "odd": "holds", "gone": "not comparable",
    }  # fmt: skip
    suite = ElementTree.fromstring(gate(cli, "--format", "junit").out)
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "1")
    [failure] = suite.iter("failure")
    assert "-50.00" in failure.get("message")
    target = tmp_path / "report.xml"
    written = gate(cli, "--format", "junit", "--output", target)
    assert written.code == 1
    assert target.read_text() == gate(cli, "--format", "junit").out
    assert "REGRESSED" in written.err


# ---------------------------------------------------------------------------------------------------------------------
# what may differ


WEIGHTS = {"weights": {"source": "file", "sha256": "ab" * 32, "scaling": "none"}}


def test_what_is_allowed_to_differ_is_compared_and_named(cli):
    fill("old", more={"weights": None})
    fill("new", 0.5, more=WEIGHTS, parameters={"lambda": 7})
    refused = gate(cli)
    assert refused.code == 3
    assert "may it differ? --allow" in refused.out
    assert gate(cli, "--allow", "weights").code == 3  # the parameter differs as well
    result = gate(cli, "--allow", "weights,method.parameters")
    assert result.code == 1
    assert "regressed; differs: method.parameters.lambda 1 → 7, weights.source – → file" in result.out
    assert "allowed to differ: weights, method.parameters)" in result.out.splitlines()[-1]
    assert "Changed since the baseline" not in result.out
    fill("good", 0.8, more=WEIGHTS, parameters={"lambda": 7})
    make(cli)
    for baseline in ("old", "baseline.json"):
        held = gate(cli, "--allow", "weights,method.parameters.lambda", store="good", baseline=baseline)
        assert held.code == 0 and "method.parameters.lambda 1 → 7" in held.out
    found = json.loads(gate(cli, "--allow", "weights,method", "--format", "json", store="good").out or "{}")
    assert not found  # a method never may
    [cell] = cells(gate(cli, "--allow", "weights,method.parameters", "--format", "json", store="good"))
    assert cell["differs"]["method.parameters.lambda"] == ["1", "7"]
    suite = ElementTree.fromstring(
        gate(cli, "--allow", "weights,method.parameters", "--format", "junit", store="good").out
    )
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")
    assert "lambda 1 → 7" in suite.find("testcase/system-out").text
    assert "lambda 1 → 7" in gate(cli, "--allow", "weights,method.parameters", "--format", "markdown", store="good").out


def test_of_two_that_could_be_meant_none_is_chosen(cli):
    """The equal one would be green, whatever became of the new one."""
    fill("old")
    fill("new")
    fill("new", 0.1, parameters={"lambda": 7})
    assert gate(cli).code == 0
    result = gate(cli, "--allow", "method.parameters")
    assert result.code == 3
    assert "2 cells of the store could be meant, which differ in method.parameters.lambda" in result.out


@pytest.mark.parametrize(
    ("allow", "message"),
    [
        ("method.paramters", "did you mean 'method.parameters'?"),
        ("method.parameters,", "expected names separated by commas"),
        ("seed", "see --any-seeds"),
        ("method.name", "another method is another cell"),
        ("dataset", "scores on other data are not compared"),
        ("dataset.source", "a stand-in is never compared with real data"),
        ("dataset.version", "no run has such a coordinate"),
        ("rrr.lambda", "no run has such a coordinate — did you mean 'method.parameters.lambda'?"),
        ("zzzz", "no run has such a coordinate — runs diff names them, such as method.parameters, "),
    ],
)
def test_what_cannot_be_allowed_is_one_line(cli, allow, message):
    fill("old", seeds=1)
    result = gate(cli, "--allow", allow, store="old")
    assert result.code == 2
    assert message in result.err and result.err.count("\n") == 1


def test_cells_of_one_name_are_told_apart(cli):
    for value in (1, 7):
        fill("old", parameters={"lambda": value, "beta": 3})
    out = gate(cli, store="old").out
    assert "RRR (lambda=1): holds" in out and "RRR (lambda=7): holds" in out


# ---------------------------------------------------------------------------------------------------------------------
# baseline files


def make(cli, file: str = "baseline.json", store: str = "old"):
    return cli("check", "--update-baseline", "--baseline", file, "--store", store)


def test_a_baseline_file_says_what_its_store_says(cli):
    random = np.random.default_rng(1)
    for seed in range(3):
        old = random.random(150) < 0.8
        save("old", seed=seed, right=old)
        save("new", seed=seed, right=old & (random.random(150) < 0.97), order=random.permutation(150))
    assert make(cli).code == 0
    first = Path("baseline.json").read_bytes()
    assert gate(cli, "--format", "json").out == gate(cli, "--format", "json", baseline="baseline.json").out
    assert make(cli).code == 0
    assert Path("baseline.json").read_bytes() == first
    assert not list(Path().glob(".*tmp"))
    assert b"/" + Path.cwd().name.encode() not in first


def test_a_baseline_file_is_small(cli):
    random = np.random.default_rng(2)
    for method in range(10):
        for seed in range(5):
            bits = random.random(1000) < 0.8
            save("old", method=f"m{method}", seed=seed, right=bits, groups={"a": 500, "b": 300, "c": 150, "d": 50})
    assert make(cli).code == 0
    assert Path("baseline.json").stat().st_size < 40_000


def test_failed_runs_are_not_written_and_nothing_is_written_for_nothing(cli):
    fill("old")
    save("old", seed=9, status="failed", reason="x")
    result = make(cli)
    assert "3 runs; 1 left out, without predictions" in result.err
    save("bad", status="failed", reason="x")
    refused = make(cli, "none.json", "bad")
    assert refused.code == 2
    assert not Path("none.json").exists()
    assert make(cli, "old").code == 2  # a store is not overwritten by a file
    assert gate(cli, baseline="none.json").code == 2


def test_a_damaged_or_foreign_file_is_one_line(cli):
    fill("old")
    make(cli)
    good = Path("baseline.json").read_bytes()
    raw = json.loads(good)
    newer = json.dumps({**raw, "schema": 99}).encode()
    texts = {
        "foreign": (b'{"a": 1}', "no baseline file"), "empty": (b"", "no baseline file"), "list": (b"[1]", "no baseline file"),
        "binary": (b"\xff\xfe\x00", "no baseline file"), "deep": (b"[" * 100_000, "no baseline file"),
        "cut": (good[: len(good) // 2], "no baseline file"), "newer": (newer, "its schema is 99"),
        "flipped": (good.replace(b'"lambda": 1', b'"lambda": 2'), "is damaged"),
    }  # fmt: skip
    for name, (content, message) in texts.items():
        Path(f"{name}.json").write_bytes(content)
        result = gate(cli, store="old", baseline=f"{name}.json")
        assert result.code == 2, name
        assert message in result.err, (name, result.err)
        assert result.err.count("\n") == 1
    # Also with a digest that fits: what is inside must make sense.
    seed = raw["cells"][0]["right"]["0"]
    for change in (
        lambda r: r["cells"][0]["right"].update({"0": seed[:-8]}),
        lambda r: r["cells"][0]["right"].update({"0": "not base64"}),
        lambda r: r["cells"][0].update(tests="gone"),
        lambda r: r["cells"][0].update(method={}),
        lambda r: r["tests"][raw["cells"][0]["tests"]]["groups"][0].update(total=2**39),
        lambda r: r["tests"][raw["cells"][0]["tests"]]["groups"][0].update(total=-1),
        lambda r: r.update(cells={}),
        lambda r: r["settings"].update({raw["cells"][0]["setting"]: {}}),
    ):
        crafted = json.loads(good)
        change(crafted)
        crafted["sha256"] = digest({k: v for k, v in crafted.items() if k != "sha256"})
        Path("crafted.json").write_text(json.dumps(crafted))
        result = gate(cli, store="old", baseline="crafted.json")
        assert (result.code, "is damaged" in result.err) == (2, True), result.err


@pytest.mark.parametrize("arguments", [["--margin", "-1"], ["--margin", "nan"], ["--margin", "x"], ["--format", "csv"]])
def test_mistakes_are_exit_code_2(cli, arguments):
    fill("old")
    assert gate(cli, *arguments, store="old").code == 2


def test_the_gate_never_imports_torch():
    fill("old")
    code = (
        "import sys\nfrom crayon_bench.cli import invoke\n"
        "assert invoke(['check', '--update-baseline', '--baseline', 'b.json', '--store', 'old']) == 0\n"
        "assert invoke(['check', '--baseline', 'b.json', '--store', 'old', '--format', 'junit']) == 0\n"
        "assert 'torch' not in sys.modules, 'torch'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# ---------------------------------------------------------------------------------------------------------------------
# how often it is wrong


def cell_of(accuracy: float, seeds: int, random: np.random.Generator, first: int = 0) -> Cell:
    """Return runs whose worst group varies by 4 points between seeds, on examples that differ in difficulty."""
    ease = np.random.default_rng(99).normal(0, 0.15, 150)
    tests = Examples((("black", 100), ("blond", 50)), "digest")
    runs = {}
    for seed in range(first, first + seeds):
        level = np.repeat([0.9, accuracy + random.normal(0, 0.04)], [100, 50])
        runs[seed] = Run(tests, random.random(150) < np.clip(level + ease, 0, 1))
    named = {"name": "x"}
    return Cell({"dataset": named, "method": named, "protocol": named}, "X", {}, runs)


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("seeds", "least"), [(3, 0), (5, 18)])
def test_false_alarms_are_rare_and_real_drops_are_seen(paired, seeds, least):
    """Thirty re-runs without any change, at margin 0, where most false alarms are to be expected."""
    random = np.random.default_rng(3)
    alarms = seen = 0
    for _ in range(30):
        first = 0 if paired else 100
        old = {"x": cell_of(0.7, seeds, random)}
        again = check(old, {"x": cell_of(0.7, seeds, random, first)}, "worst_group_accuracy", 0, any_seeds=True)
        worse = check(old, {"x": cell_of(0.45, seeds, random, first)}, "worst_group_accuracy", 0, any_seeds=True)
        alarms += again.exit_code == 1
        seen += worse.exit_code == 1
    assert alarms <= 3  # more have a probability of 1 % at the promised rate of 2.5 %
    assert seen >= least  # three seeds that differ among themselves show little: docs/reference/statistics.md


def test_cells_with_equal_budgets_are_compared_whatever_the_strategys_version(cli):
    def tenth(version: int = 1, name: str = "random") -> dict:
        return {"share": 0.1, "strategy": {"name": name, "version": version}}

    fill("old")
    fill("old", 0.5, budget=tenth())
    fill("new", 0.5, budget=tenth(version=2))
    result = gate(cli)
    assert "RRR, budget 10%: holds" in result.out
    assert "RRR: not comparable: not run with the same settings; nearest: budget" in result.out
    fill("other", 0.5, budget=tenth(name="uncertain"))
    fill("other")
    both = {cell["title"]: cell["verdict"] for cell in cells(gate(cli, "--format", "json", store="other"))}
    assert both == {"RRR": "holds", "RRR, budget 10%": "not comparable"}
    assert cli("check", "--update-baseline", "--baseline", "b.json", "--store", "old").code == 0
    assert "RRR, budget 10%: holds" in gate(cli, baseline="b.json").out
