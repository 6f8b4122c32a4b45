"""Full disks, damage, clocks, plugins that change what is everybody's: nothing is lost, and it is said."""

import json
import os
import random
import subprocess
import sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from conftest import TINY
from helpers import method
from test_executors import EXECUTORS, HERE_QUICK, content, plain, slow, wait_until
from warm import Command

RUN = ["run", "--dataset", "decoymnist", "--methods", "original,rrr", "--seeds", "2", *TINY]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The result of an unbroken sweep."""
    from crayon_bench.cli import invoke

    store = tmp_path_factory.mktemp("whole") / "store"
    assert invoke([*RUN, *EXECUTORS["serial"], "--store", str(store)]) == 0
    return content(store)


COUNTS = """
import os, time
from pathlib import Path
from crayon_bench import Method
class Counts(Method):
    name = "counts"
    title = "Counts"
    summary = "writes down each time that it is carried out, and waits for a file"
    def refine(self, job):
        with Path({folder!r}, "calls").open("a") as file:
            file.write(f"{{job.base_seed}} {{os.getpid()}}\\n")
        while not Path({folder!r}, "go").exists():
            time.sleep(0.02)
        return job.fit()
"""


@pytest.mark.parametrize("other", ["serial", pytest.param("processes", marks=slow)])
def test_two_sweeps_on_one_store_share_the_runs(other, cli, tmp_path):
    """The second begins while the first has a run in hand; each takes from its end."""
    plugin, store, calls = tmp_path / "counts.py", tmp_path / "store", tmp_path / "calls"
    plugin.write_text(COUNTS.format(folder=str(tmp_path)))
    run = ["run", "--dataset", "decoymnist", "--methods", "original,counts", "--seeds", "4", "--plugin", str(plugin)]
    run += TINY

    def begin(name: str) -> Command:
        return Command([*run, "--store", store, *EXECUTORS[name]])

    def called() -> list[str]:
        return [line.split()[0] for line in calls.read_text().splitlines()] if calls.exists() else []

    in_hand = {"serial": "3", "processes": "32"}
    first = begin("serial")
    wait_until(lambda: called() == ["0"] or first.poll() is not None)
    second = begin(other)
    wait_until(lambda: set(called()) == {"0", *in_hand[other]} or second.poll() is not None)
    (tmp_path / "go").touch()
    tables = []
    for process, another in ((first, False), (second, True)):
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert ("Another sweep is at work" in err) is another
        assert "8 runs: 8 ok" in err
        tables.append(out.split(" Details\n")[0])
    assert tables[0] == tables[1]
    assert sorted(called()) == ["0", "1", "2", "3"]
    trained = ["trained, kept" in file.read_text() for file in store.glob("runs/[!.]*/log.txt")]
    assert (len(trained), sum(trained)) == (8, 4)
    assert not list(store.glob("**/.*.tmp"))
    assert cli(*run, "--store", "alone").code == 0
    assert plain(content(store)) == plain(content(Path("alone")))


@slow
def test_a_sweep_that_waits_takes_over_what_the_other_leaves(tmp_path):
    """The first is killed with a run in hand that the second waits for: nobody carried it out, so the second does."""
    plugin, store, calls = tmp_path / "counts.py", tmp_path / "store", tmp_path / "calls"
    plugin.write_text(COUNTS.format(folder=str(tmp_path)))
    command = ["run", "--dataset", "decoymnist", "--methods", "counts", "--seeds", "1", "--plugin", plugin]
    command += [*TINY, *EXECUTORS["serial"], "--store", store]
    first = Command(command)
    wait_until(lambda: calls.exists() or first.poll() is not None)
    second = Command(command)
    wait_until(lambda: "Another sweep is at work" in second.said(1) or second.poll() is not None)
    assert "Another sweep is at work" in second.said(1)
    first.kill()
    first.wait()
    (tmp_path / "go").touch()
    _, err = second.communicate(timeout=300)
    assert second.returncode == 0, err
    assert "1 runs: 1 ok" in err
    assert len(calls.read_text().splitlines()) == 2


# ---------------------------------------------------------------------------------------------------------------------
# disks


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a disk of a few KiB, or makes it larger, or read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("a small disk cannot be mounted here: needs root on Linux")
        return folder

    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a small disk cannot be mounted here: needs root on Linux")
    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


@pytest.mark.parametrize("name", HERE_QUICK)
@pytest.mark.parametrize("size", [0, 64, 400])
def test_a_full_disk_is_one_line_and_the_same_command_continues(size, name, whole, small_disk, cli):
    """Full at once; when the original model is kept; and later."""
    disk = small_disk("size=1m")
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * ((1024 - size) << 10) if size else b"")
    if not size:
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"x" * 4096)
    result = cli(*RUN, *EXECUTORS[name], "--quiet", "--store", disk / "store")
    assert result.code == 2
    lines = [line for line in result.err.splitlines() if "STAND-IN" not in line]
    assert len(lines) == 1, lines
    assert "No space left" in lines[0]
    assert "disk" in lines[0]
    for folder in disk.glob("store/runs/[!.]*"):
        assert json.loads((folder / "record.json").read_text())["status"] in ("ok", "interrupted")
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
    assert cli(*RUN, "--store", disk / "store").code == 0  # by whatever executor: here the one that starts no processes
    assert plain(content(disk / "store")) == plain(whole)


def test_a_read_only_store_is_one_line(small_disk, cli):
    disk = small_disk("size=64m")
    assert cli(*RUN, "--store", disk / "store").code == 0
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for command in ([*RUN, "--quiet"], [*RUN, "--quiet", "--rerun", "all"]):
        result = cli(*command, "--store", disk / "store")
        assert result.code == 2
        lines = [line for line in result.err.splitlines() if "STAND-IN" not in line]
        assert len(lines) == 1, lines
        assert "Read-only file system" in lines[0] or "cannot be written" in lines[0]
    assert cli("runs", "list", "--store", disk / "store").code == 0  # reading works
    assert cli("leaderboard", "--store", disk / "store").code == 0


# ---------------------------------------------------------------------------------------------------------------------
# damage


@slow
@pytest.mark.parametrize(
    "name", ["record.json", "predictions.parquet", "SHA256SUMS", "tensors.safetensors", "meta.json"]
)
def test_a_flipped_bit_or_a_lost_end_anywhere_is_noticed_and_mended(name, whole, cli):
    """Bits at random places of every kind of file: a digit of a metric that became another is no less damaged."""
    assert cli(*RUN).code == 0
    store = Path("crayon-runs")
    seed = random.SystemRandom().randrange(10**6)
    print("places drawn with seed", seed)
    chance = random.Random(seed)
    for trial in range(3):
        file = chance.choice(sorted(store.glob(f"*/[!.]*/{name}")))
        if name == "SHA256SUMS":  # but for the line of the log, which is no reason to do a run again
            file.write_text("".join(line for line in file.open() if "log.txt" not in line and "tensors" not in line))
        before = content_of_folder(file.parent)
        damaged = bytearray(file.read_bytes())
        if trial == 2:
            damaged = damaged[: chance.randrange(len(damaged))]
        else:
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        file.write_bytes(bytes(damaged))
        result = cli(*RUN, *(["--rerun", "all"] if "artifacts" in file.parts else []))
        assert result.code == 0, result.err
        assert "is damaged" in result.err, (trial, bytes(damaged)[:80])
        assert list(store.glob("*/.*.damaged"))
        assert set(content_of_folder(file.parent)) == set(before)
        assert plain(content(store)) == plain(whole)
        assert "damaged" not in cli(*RUN).err


def content_of_folder(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_record_of_an_earlier_version_has_no_checksums_and_is_read(cli):
    cli(*RUN)
    for file in Path("crayon-runs").glob("runs/*/SHA256SUMS"):
        file.unlink()
    assert "damaged" not in cli("runs", "list").err
    assert len(json.loads(cli("runs", "list", "--format", "json").out)) == 4


def test_a_clock_that_goes_backwards(cli, monkeypatch):
    """Records tell the times as they were; nothing else depends on them."""
    times = count(10**6, -7)
    monkeypatch.setattr("crayon_bench.runs.run.now", lambda: datetime.fromtimestamp(next(times), UTC).isoformat())
    monkeypatch.setattr("time.time", lambda: float(next(times)))
    first = cli(*RUN)
    assert first.code == 0
    assert cli(*RUN).out == first.out
    assert cli(*RUN, "--rerun", "all").code == 0
    records = json.loads(cli("runs", "list", "--format", "json").out)
    assert all(record["finished"] < record["started"] for record in records)
    assert all(seconds >= 0 for record in records for seconds in record["seconds"].values())


# ---------------------------------------------------------------------------------------------------------------------
# what is everybody's

CHANGES = {
    "global random state of Python": "import random\nrandom.seed(1)",
    "global random state of NumPy": "import numpy\nnumpy.random.rand(3)",
    "global random state of PyTorch": "torch.rand(3)",
    "number of threads": "torch.set_num_threads(3)",
    "default dtype": "torch.set_default_dtype(torch.float64)",
    "grad mode": "torch.set_grad_enabled(False)",
    "current folder": "import os\nos.mkdir('inside')\nos.chdir('inside')",
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_plugin_that_changes_what_is_everybodys_is_named_in_its_record(what, cli, tmp_path):
    file = tmp_path / "careless.py"
    file.write_text(method("careless", CHANGES[what] + "\nreturn job.model"))
    run = ["run", "--dataset", "decoymnist", "--methods", "careless,rrr", "--seeds", "1", "--plugin", file, *TINY]
    assert cli(*run).code == 0
    warnings = {record["method"]["name"]: found for record, found in of_records("warnings")}
    assert warnings["careless"] == {f"{what} changed": 1}
    assert warnings["rrr"] == {}


@slow
def test_what_a_method_draws_does_not_depend_on_what_its_process_did_before(process, cli, tmp_path):
    """The first run of a process imports things that draw when they are imported."""
    file = tmp_path / "draws.py"
    file.write_text(method("draws", "import random\njob.report('drawn', random.random())\nreturn job.model"))
    run = ["run", "--dataset", "decoymnist", "--seeds", "1", "--plugin", file, *TINY]
    assert process(*run, "--methods", "draws", "--store", "alone").code == 0
    assert cli(*run, "--methods", "original,draws", "--store", "second").code == 0
    logs = [next(Path(store).glob("runs/*.draws.*/log.txt")).read_text() for store in ("alone", "second")]
    drawn = [line for log in logs for line in log.splitlines() if line.startswith("drawn")]
    assert len(drawn) == 2
    assert len(set(drawn)) == 1
    records = [json.loads(file.read_text()) for file in Path().glob("*/runs/*.original.*/record.json")]
    assert [record["warnings"] for record in records] == [{}]


def of_records(field: str) -> list[tuple]:
    records = [json.loads(file.read_text()) for file in Path("crayon-runs").glob("runs/[!.]*/record.json")]
    return [(record["coordinates"], record[field]) for record in records]


def test_what_a_penalty_draws_does_not_depend_on_the_runs_before(cli, tmp_path):
    file = tmp_path / "draws.py"
    body = "return job.fit(lambda forward, batch: torch.rand(()) * forward.logits.square().sum(-1))"
    file.write_text(method("draws", body))
    run = ["run", "--dataset", "decoymnist", "--methods", "draws", "--plugin", file, *TINY]
    assert cli(*run, "--seeds", "2", "--store", "two").code == 0
    assert cli(*run, "--seeds", "1,", "--store", "one").code == 0
    one, two = content(Path("one")), content(Path("two"))
    assert one
    assert all(plain({name: two[name]}) == plain({name: one[name]}) for name in one)


# ---------------------------------------------------------------------------------------------------------------------
# prune


def test_prune_deletes_what_no_record_needs_and_nothing_else(cli):
    assert cli(*RUN).code == 0
    assert cli("oracle", "stats", "--dataset", "decoymnist", "--seeds", "7,", *TINY, "--store", "crayon-runs").code == 0
    store = Path("crayon-runs")
    record = next(store.glob("runs/*.rrr.*/record.json"))
    record.write_text("x")
    cli(*RUN)
    (store / "artifacts" / ".old.12345678.tmp").mkdir()
    (store / ".sweep.12345678").mkdir()
    needed = {name for _, names in of_records("artifacts") for name in names}
    before = sorted(store.glob("**/*"))
    shown = cli("runs", "prune")
    assert shown.code == 0
    assert "would be deleted" in shown.err
    assert sorted(store.glob("**/*")) == before
    done = cli("runs", "prune", "--yes")
    assert done.code == 0
    assert done.out == shown.out
    assert {folder.name for folder in store.glob("artifacts/[!.]*")} == needed
    assert len(needed) == 2
    assert not [
        path for path in store.glob("**/.*") if path.name.endswith((".tmp", ".damaged")) or "sweep" in path.name
    ]
    again = cli(*RUN)
    assert "[1/" not in again.err  # nothing is run again
    assert cli("runs", "prune").out == ""


@pytest.mark.skipif(os.name == "nt", reason="there is no such lock there")
def test_prune_is_refused_while_runs_are_carried_out(cli):
    from crayon_bench.store.store import Store

    cli(*RUN)
    with Store(Path("crayon-runs")).in_use(), Store(Path("crayon-runs")).in_use():
        result = cli("runs", "prune", "--yes")
    assert result.code == 2
    assert "runs are being carried out" in result.err
    assert cli("runs", "prune", "--yes").code == 0
