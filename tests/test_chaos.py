"""Workers, drivers and machines killed at random moments: what comes out is what an unbroken sweep gives.

Each test makes a few trials; ``CRAYON_BENCH_CHAOS=100`` (``nox -s chaos``) makes a hundred in all. The counts of trials,
and of those that met a run in hand, are printed (``pytest -s``).
"""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from test_executors import EXECUTORS, alive, content, no_ray, plain, wait_until, workers_of
from warm import Command

TRIALS = int(os.environ.get("CRAYON_BENCH_CHAOS", "5"))
SWEEP = [
    "run",
    "--dataset",
    "decoymnist",
    "--methods",
    "original,rrr,train-more",
    "--seeds",
    "3",
    "--source",
    "standin",
]
SWEEP += ["--set", "original.epochs=20", "--set", "refine.epochs=10"]
DEFAULT = ["--executor", "auto", "--workers", "2"]
"""What ``run`` does on two cores without these words."""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")]


def share(percent: int) -> int:
    return max(1, TRIALS * percent // 100)


def start(store: Path, *extra: str) -> Command:
    return Command([*SWEEP, "--store", store, *extra])


def finish(process: Command) -> str:
    _, err = process.communicate(timeout=3600)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return err


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The result of an unbroken sweep."""
    store = tmp_path_factory.mktemp("whole") / "store"
    finish(start(store, *EXECUTORS["serial"]))
    return content(store)


@pytest.fixture
def chance():
    seed = random.SystemRandom().randrange(10**6)
    print("\nmoments drawn with seed", seed)
    return random.Random(seed)


def logs(store: Path) -> str:
    return "".join(file.read_text() for file in store.glob("runs/*/log.txt"))


def test_workers_killed(whole, tmp_path, chance):
    met = 0
    for trial in range(share(40)):
        store = tmp_path / str(trial)
        kill_a_worker(store, chance, late=bool(trial % 2))
        assert plain(content(store)) == plain(whole)
        met += "died" in logs(store)
        print(f"worker {trial}", end=" ", flush=True)
    print(f"workers: {share(40)} trials, {met} met a run in hand")


def kill_a_worker(store: Path, chance: random.Random, *, late: bool) -> None:
    process = start(store, *DEFAULT)
    wait_until(lambda: process.poll() is not None or workers_of(process.pid))
    if late:
        wait_until(lambda: process.poll() is not None or list(store.glob("runs/*")))
    time.sleep(chance.uniform(0, 1 if late else 4))
    if workers := workers_of(process.pid):
        os.kill(chance.choice(workers), signal.SIGKILL)
    finish(process)


def test_drivers_killed(whole, tmp_path, chance):
    cut = parts = 0
    for trial in range(share(40)):
        store = tmp_path / str(trial)
        extra = DEFAULT if trial % 2 else EXECUTORS["serial"]
        cut += kill_the_driver(store, chance, extra, late=trial % 4 > 1)
        done = {folder: (folder / "record.json").stat().st_mtime_ns for folder in store.glob("runs/[!.]*")}
        parts += 0 < len(done) < len(whole)
        finish(start(store, *extra))
        assert plain(content(store)) == plain(whole)
        assert all((folder / "record.json").stat().st_mtime_ns == stamp for folder, stamp in done.items())
        print(f"driver {trial}", end=" ", flush=True)
    print(f"drivers: {share(40)} trials, {cut} cut short, {parts} of them with some of the runs done")
    assert cut


def kill_the_driver(store: Path, chance: random.Random, extra: list[str], *, late: bool) -> bool:
    process = start(store, *extra)
    wait_until(lambda: process.poll() is not None or list(store.glob("runs/*" if late else "runs")))
    time.sleep(chance.uniform(0, 1 if late else 6 if extra is DEFAULT else 2.5))
    workers = workers_of(process.pid)
    process.kill()
    process.communicate()
    wait_until(lambda: not any(map(alive, workers)))
    return process.returncode == -signal.SIGKILL


@no_ray
def test_machines_of_a_ray_cluster_killed(whole, tmp_path, chance, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    met = 0
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
    try:
        for trial in range(share(20)):
            store = tmp_path / str(trial)
            met += kill_a_machine(cluster, store, chance)
            assert plain(content(store)) == plain(whole)
            print(f"machine {trial}", end=" ", flush=True)
    finally:
        cluster.shutdown()
    print(f"machines: {share(20)} trials, {met} while the sweep ran")


def patiently(begin: Callable[[], Any]) -> Any:
    """Ray gives a node thirty seconds to begin, which a busy machine may not keep."""
    for _ in range(4):
        with suppress(Exception):
            return begin()
    return begin()


def kill_a_machine(cluster: Any, store: Path, chance: random.Random) -> bool:
    node = patiently(lambda: cluster.add_node(num_cpus=1))
    process = start(store, "--executor", "ray", "--ray-address", cluster.address, "--workers", "2")
    wait_until(lambda: process.poll() is not None or list(store.glob(".sweep.*/*.jsonl")))
    time.sleep(chance.uniform(0, 4))
    running = process.poll() is None
    cluster.remove_node(node, allow_graceful=False)
    finish(process)
    return running
