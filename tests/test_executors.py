"""Executors: the same records whatever carries the runs out, and the same behaviour when something goes wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conftest import TINY
from helpers import method
from warm import Command

RUN = ["run", "--dataset", "decoymnist"]
FEW = ["--source", "standin", "--set", "original.epochs=3", "--set", "refine.epochs=3"]

no_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed (crayon-bench[ray])")
no_slurm = pytest.mark.skipif(find_spec("submitit") is None, reason="submitit is not installed (crayon-bench[slurm])")

EXECUTORS = {
    "serial": ["--executor", "serial"],
    "processes": ["--executor", "processes", "--workers", "2"],
    "ray": ["--executor", "ray", "--workers", "2"],
    "slurm": ["--executor", "slurm", "--slurm-cluster", "local", "--workers", "2"],
}
slow = pytest.mark.slow
MARKS = {"ray": (no_ray, slow), "slurm": (no_slurm, slow)}
ELSEWHERE = [pytest.param(name, marks=MARKS.get(name, ())) for name in EXECUTORS if name != "serial"]
HERE_QUICK = ["serial", pytest.param("processes", marks=slow)]
"""Where every worker is a process to be started: what they do otherwise than `serial` is tested once in the quick tests."""


def content(store: Path) -> dict[str, tuple]:
    """Everything of a run but times, memory and where it was; predictions with every bit of their confidence."""
    found = {}
    for folder in sorted((store / "runs").iterdir()):
        if folder.name.startswith("."):
            continue
        record = json.loads((folder / "record.json").read_text())
        for name in ("started", "finished", "seconds", "memory", "environment"):
            record.pop(name)
        predictions = folder / "predictions.parquet"
        found[folder.name] = record, pq.read_table(predictions).to_pydict() if predictions.exists() else None
    return found


def plain(found: dict[str, tuple]) -> str:
    """As text: two long results that differ are compared faster, and shown shorter."""
    return json.dumps(found, sort_keys=True)


def statuses(store: Path) -> dict[str, str]:
    return {name.rsplit(".", 1)[0].removeprefix("decoymnist."): r["status"] for name, (r, _) in content(store).items()}


def reason(store: Path, name: str) -> str:
    (found,) = [record["reason"] for folder, (record, _) in content(store).items() if f".{name}." in folder]
    return found


def wait_until(condition, timeout: float = 300) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers_of(pid: int) -> list[int]:
    """The worker processes of a process; Linux only."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


METHODS = "original,crayon-attention,rrr,gradia"
SWEEP = [*RUN, "--methods", METHODS, "--seeds", "2", *FEW]


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """Records of the serial executor."""
    from crayon_bench.cli import invoke

    store = tmp_path_factory.mktemp("serial") / "store"
    assert invoke([*SWEEP, "--store", str(store), *EXECUTORS["serial"]]) == 0
    return content(store)


def run_in_process(store: Path, name: str, *more: str) -> str:
    process = Command([*SWEEP, "--store", store, *EXECUTORS[name], *more])
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return err


@slow
@pytest.mark.parametrize("name", ELSEWHERE)
def test_records_do_not_depend_on_the_executor(name, serial, tmp_path, capsys):
    """Bit for bit; also what is said, but for order and times."""
    from crayon_bench.cli import invoke

    store, expected = tmp_path / "store", serial
    if name == "processes":
        assert invoke([*SWEEP, "--store", str(store), *EXECUTORS[name]]) == 0
        err = capsys.readouterr().err
    else:  # where a run is a process, or nearly so, one seed
        err = run_in_process(store, name, "--seeds", "1")
        expected = {key: found for key, found in serial.items() if ".s0." in key}
    assert len(expected) == (8 if name == "processes" else 4)
    assert {record["status"] for record, _ in expected.values()} == {"ok", "skipped"}
    assert plain(content(store)) == plain(expected)
    lines = [line for line in err.splitlines() if line.startswith(("[", "decoymnist "))]
    ends = Counter(re.sub(r"\[.*?\] |; [\d.]+ s(; about .* left)?$", "", line) for line in lines)
    assert sum("Acc" in line for line in ends) == len(expected) * 3 // 4
    assert sum("skipped" in line for line in ends) == 1
    assert not list(store.glob(".sweep.*"))
    assert "Traceback" not in err


@slow
@pytest.mark.parametrize("workers", [1, 3])
def test_records_do_not_depend_on_the_number_of_workers(workers, serial, tmp_path):
    run_in_process(tmp_path / "store", "processes", "--workers", str(workers))
    assert plain(content(tmp_path / "store")) == plain(serial)


@slow
def test_runs_that_make_original_models_come_first_and_each_is_made_once(cli, tmp_path):
    """Workers that would all need the same model at once; one method alone, too, which waits for its own."""
    from crayon_bench.dataset import Source
    from crayon_bench.plugins.registry import Registry
    from crayon_bench.runs.plan import Options, make_plan
    from crayon_bench.runs.sweep import makers_first

    file = tmp_path / "mine.py"
    file.write_text(
        "\n".join(method(name, "return job.fit()").replace("Mine", name.title()) for name in ("one", "two"))
    )
    registry = Registry([file])
    options = Options(["decoymnist"], ["original", "one", "two"], range(3), source=Source.STANDIN)
    requests = makers_first(make_plan(options, registry).requests)
    assert [request.method for request in requests] == ["original"] * 3 + ["one", "two"] * 3
    options = Options(["decoymnist"], ["one", "two"], range(3), source=Source.STANDIN)
    requests = makers_first(make_plan(options, registry).requests)
    assert [(request.method, request.seed) for request in requests] == [
        ("one", 0), ("one", 1), ("one", 2), ("two", 0), ("two", 1), ("two", 2)
    ]  # fmt: skip

    names = [f"m{number}" for number in range(4)]
    file.write_text("\n".join(method(name, "return job.model").replace("Mine", name.title()) for name in names))
    run = [*RUN, "--methods", ",".join(names), "--seeds", "1", "--plugin", file, *TINY]
    assert cli(*run, "--executor", "processes", "--workers", "2").code == 0
    logs = [(folder / "log.txt").read_text() for folder in Path("crayon-runs/runs").iterdir()]
    assert sorted("reused" in log for log in logs) == [False] + [True] * 3


def test_the_default_number_of_workers_shares_out_the_cpus(capsys, monkeypatch):
    from crayon_bench.dataset import Source
    from crayon_bench.plugins.registry import Registry
    from crayon_bench.runs.plan import Options, make_plan
    from crayon_bench_plugins.executors import processes

    monkeypatch.setattr(processes, "_cpus", lambda: 8)
    monkeypatch.setattr(processes, "_gpus", lambda requests: [])
    for threads, expected in ((1, 8), (3, 2), (16, 1)):
        sets = [f"protocol.threads={threads}"]
        options = Options(["decoymnist"], ["original", "rrr"], range(5), source=Source.STANDIN, sets=sets)
        requests = make_plan(options, Registry()).requests
        assert processes.ProcessesExecutor().at_once(requests) == expected
        assert capsys.readouterr().err == ""
    assert processes.ProcessesExecutor(workers=4).at_once(requests) == 4
    assert "4 × 16 threads are more than the 8 CPUs" in capsys.readouterr().err
    monkeypatch.setattr(processes, "_gpus", lambda requests: ["0", "1", "2"])
    assert processes.ProcessesExecutor().at_once(requests) == 3


# ---------------------------------------------------------------------------------------------------------------------
# auto

PROBE = "import os\njob.report('in process', os.getpid())\nreturn job.fit()"


def pids(store: Path) -> set[int]:
    """The processes in which the runs of a store were carried out."""
    logs = [file.read_text() for file in store.glob("runs/*.probe.*/log.txt")]
    return {int(pid) for log in logs for pid in re.findall(r"in process (\d+)", log)}


@pytest.fixture
def probe(cli, tmp_path, monkeypatch):
    """A function that runs a method which tells its process; this machine has two CPUs and much memory."""
    from crayon_bench.cli import invoke

    monkeypatch.setattr("crayon_bench_plugins.executors.processes._cpus", lambda: 2)
    monkeypatch.setattr("crayon_bench_plugins.executors.processes._room", lambda: 100)
    file = tmp_path / "probe.py"
    file.write_text(method("probe", PROBE))

    def call(store: str, *arguments: str) -> set[int]:
        assert invoke([*RUN, "--plugin", str(file), *TINY, "--store", store, *arguments]) == 0
        return pids(Path(store))

    return call


def test_by_default_several_runs_are_carried_out_by_worker_processes_to_the_same_bits(probe):
    """No executor is named: `auto` is the default."""
    several = ["--methods", "probe,train-more", "--seeds", "2"]
    workers = probe("auto", *several)
    assert len(workers) in (1, 2)  # of two workers, one may do both
    assert os.getpid() not in workers
    assert probe("serial", *several, "--executor", "serial") == {os.getpid()}
    assert len(content(Path("serial"))) == 4
    assert plain(content(Path("auto"))) == plain(content(Path("serial")))


ONE_IS_ENOUGH = {
    "one run": ["--methods", "probe", "--seeds", "1"],
    "one run that applies": ["--methods", "probe,gradia,crayon-pruning", "--seeds", "1"],
    "one worker": ["--methods", "probe", "--seeds", "2", "--executor", "auto", "--workers", "1"],
    "one CPU": ["--methods", "probe", "--seeds", "2"],
    "no room": ["--methods", "probe", "--seeds", "2"],
}


@pytest.mark.parametrize("case", ONE_IS_ENOUGH)
def test_where_one_worker_is_enough_it_is_this_process(case, probe, monkeypatch):
    if case == "one CPU":
        monkeypatch.setattr("crayon_bench_plugins.executors.processes._cpus", lambda: 1)
    if case == "no room":
        monkeypatch.setattr("crayon_bench_plugins.executors.processes._room", lambda: 0)
    assert probe("store", *ONE_IS_ENOUGH[case]) == {os.getpid()}


SCRIPT = """
from pathlib import Path
from crayon_bench.cli import invoke
with Path("begun").open("a") as file:
    file.write("x")
run = ["run", "--dataset", "decoymnist", "--methods", "original,train-more", "--seeds", "1", *OPTIONS]
code = invoke([*run, "--executor", "processes", "--workers", "1"])
Path("code").write_text(str(code))
"""


@slow
def test_a_script_without_a_guard_is_not_begun_again_by_the_workers():
    Path("script.py").write_text(f"OPTIONS = {TINY}\n{SCRIPT}")
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (Path("code").read_text(), Path("begun").read_text()) == ("0", "x")
    assert statuses(Path("crayon-runs")) == {"original.s0": "ok", "train-more.s0": "ok"}


# ---------------------------------------------------------------------------------------------------------------------
# workers that die

DEADLY = "import os, signal\nif job.base_seed == 0:\n    {}\nreturn job.fit()"


@pytest.mark.parametrize("name", ELSEWHERE[1:])
def test_a_worker_that_dies_fails_its_run_and_the_rest_goes_on(name, cli, tmp_path):
    """See below for `processes`."""
    file = tmp_path / "deadly.py"
    file.write_text(method("deadly", DEADLY.format("os.kill(os.getpid(), signal.SIGKILL)")))
    run = [*RUN, "--methods", "deadly,train-more", "--seeds", "2", "--plugin", file, *TINY]
    result = cli(*run, *EXECUTORS[name])
    assert result.code == 1, result.err
    assert "Traceback" not in result.err + result.out
    found = statuses(Path("crayon-runs"))
    assert {key: status for key, status in found.items() if status != "ok"} == {"deadly.s0": "failed"}
    assert len(found) == 4
    assert "2 times" in reason(Path("crayon-runs"), "deadly.s0")
    expected = {"ray": "its worker died", "slurm": "ended without a result"}
    assert expected[name] in reason(Path("crayon-runs"), "deadly.s0")
    assert "FAILED decoymnist deadly seed 0" in result.err


ENDS = {
    "os.kill(os.getpid(), signal.SIGKILL)": "was killed by SIGKILL",
    "os._exit(0)": "exit code 0",
    "os._exit(7)": "exit code 7",
    "os.abort()": "SIGABRT",
}


@slow
def test_workers_that_die_fail_their_runs_or_are_carried_out_again_and_the_rest_goes_on(cli, tmp_path):
    """One sweep: a seed for every end, one whose first worker dies and whose second does not, and one that is well."""
    flag, last = tmp_path / "flag", len(ENDS)
    body = "import os, pathlib, signal\n"
    body += "".join(f"if job.base_seed == {seed}:\n    {end}\n" for seed, end in enumerate(ENDS))
    body += f"flag = pathlib.Path({str(flag)!r})\nif job.base_seed == {last} and not flag.exists():\n"
    body += "    flag.touch()\n    os._exit(1)\nreturn job.model"
    file = tmp_path / "deadly.py"
    file.write_text(method("deadly", body))
    run = [*RUN, "--methods", "deadly", "--seeds", str(last + 2), "--plugin", file, *TINY, *EXECUTORS["processes"]]
    result = cli(*run)
    assert result.code == 1, result.err
    assert "Traceback" not in result.err + result.out
    expected = {f"deadly.s{seed}": "failed" if seed < last else "ok" for seed in range(last + 2)}
    assert statuses(Path("crayon-runs")) == expected
    for seed, how in enumerate(ENDS.values()):
        assert how in reason(Path("crayon-runs"), f"deadly.s{seed}")
        assert "2 times" in reason(Path("crayon-runs"), f"deadly.s{seed}")
        assert f"FAILED decoymnist deadly seed {seed}" in result.err
    again = [
        log.parent.name for log in Path("crayon-runs/runs").glob("*/log.txt") if "Carried out again" in log.read_text()
    ]
    assert [name.split(".")[2] for name in again] == [f"s{last}"]


@slow
def test_a_worker_whose_run_failed_leaves_nothing_to_the_next(cli, tmp_path):
    """One worker: what a failed plugin did to its process is gone with the process."""
    file = tmp_path / "messy.py"
    body = "import sys\nprint('seen', hasattr(sys, 'mess'))\nsys.mess = True\nraise ValueError('x')"
    file.write_text(method("messy", body))
    run = [*RUN, "--methods", "messy", "--seeds", "2", "--plugin", file, *TINY]
    assert cli(*run, "--executor", "processes", "--workers", "1").code == 1
    logs = [log.read_text() for log in Path("crayon-runs/runs").glob("*/log.txt")]
    assert ["seen False" in log for log in logs] == [True, True]


@pytest.mark.parametrize("name", HERE_QUICK)
def test_garbage_on_standard_output_is_not_in_the_table(name, warm, tmp_path):
    file = tmp_path / "loud.py"
    body = "import os, sys\nprint('garbage1')\nos.write(1, b'garbage2')\nos.system('echo garbage3')\nsys.__stdout__.write('garbage4')"
    file.write_text(method("loud", body + "\nsys.__stdout__.flush()\nreturn job.model"))
    run = [*RUN, "--methods", "loud,train-more", "--seeds", "1", "--plugin", file, *TINY, "--quiet"]
    result = warm(*run, *EXECUTORS[name], *(["--workers", "1"] if name == "processes" else []))
    assert result.code == 0
    assert "garbage" not in result.out
    (log,) = Path("crayon-runs/runs").glob("*.loud.*/log.txt")
    assert "garbage1" in log.read_text()


# ---------------------------------------------------------------------------------------------------------------------
# interruption


BEGUN: list[Command] = []


@pytest.fixture(autouse=True)
def _nothing_is_left_running():
    yield
    for process in BEGUN:
        if process.poll() is None:
            process.kill()
            process.wait()
    BEGUN.clear()


def begin(store: Path, name: str, *more: str, group: bool = False) -> Command:
    command = [*RUN, "--methods", "original,train-more", "--seeds", "2", "--source", "standin"]
    command += ["--set", "original.epochs=2", "--set", "refine.epochs=1500", "--store", store, *EXECUTORS[name], *more]
    BEGUN.append(Command(command, group=group))
    return BEGUN[-1]


CTRL_C = [("serial", False)]
CTRL_C += [
    pytest.param(name, group, marks=(*MARKS.get(name, ()), slow))
    for name in EXECUTORS
    for group in (False, True)
    if (name, group) not in CTRL_C
]


BATCH = [
    pytest.param(name, group, marks=(*MARKS.get(name, ()), *(() if name == "serial" else (slow,))))
    for name, group in (("serial", False), ("processes", False), ("processes", True), ("ray", False), ("slurm", False))
]


@pytest.mark.parametrize(("name", "group"), BATCH)
def test_the_end_of_a_jobs_time_is_an_interruption(name, group, tmp_path):
    """SIGTERM, to the driver alone or to all processes of a job: one line, and the exit code that a shell expects."""
    check_interruption(name, group, tmp_path / "store", signal.SIGTERM, 143, "Ended by SIGTERM. What was finished")


@pytest.mark.parametrize(("name", "group"), CTRL_C)
def test_ctrl_c_looks_the_same_everywhere(name, group, tmp_path):
    """Sent to the driver alone, and as a terminal does, to all processes of the group."""
    check_interruption(name, group, tmp_path / "store", signal.SIGINT, 130, "Interrupted. What was finished")


def check_interruption(name: str, group: bool, store: Path, number: int, code: int, words: str) -> None:
    alone = name == "serial" or (name in ("ray", "slurm") and not group)
    process = begin(store, name, *(["--workers", "1"] if alone and name != "serial" else []), group=True)
    made = ["original.s0"] if alone else ["original.s0", "original.s1"]  # several workers begin with these
    wait_until(lambda: len(list(store.glob("runs/*.original.*"))) == len(made) or process.poll() is not None)
    if name != "serial":  # a job of a queue takes seconds to begin, and one that has not begun leaves no record
        events = lambda: [file.read_bytes() for file in store.glob(".sweep.*/*.jsonl")]  # noqa: E731
        wait_until(lambda: any(b'"refine"' in text for text in events()) or process.poll() is not None)
    time.sleep(1.5)
    workers = workers_of(process.pid)
    os.killpg(process.pid, number) if group else process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert "Traceback" not in out + err
    (line,) = [line for line in err.splitlines() if "the same command continues" in line]
    assert line.startswith(words)
    found = statuses(store)
    assert [key for key, status in sorted(found.items()) if status == "ok"] == made
    assert "interrupted" in found.values()
    assert set(found.values()) == {"ok", "interrupted"}
    assert not any(map(alive, workers))
    assert not list(store.glob(".sweep.*"))


@slow
def test_workers_end_with_their_driver(tmp_path):
    process = begin(tmp_path / "store", "processes")
    wait_until(lambda: len(workers_of(process.pid)) == 2)
    wait_until(lambda: list((tmp_path / "store").glob("runs/*.original.*")))
    workers = workers_of(process.pid)
    process.kill()
    process.communicate()
    wait_until(lambda: not any(map(alive, workers)), timeout=30)


# ---------------------------------------------------------------------------------------------------------------------
# limits

HANGS = {
    "sleeps": ("import time\ntime.sleep(1000)", "longer than 1 s"),
    "computes": ("while True:\n    torch.ones(10).sum()", "longer than 1 s"),
    "catches exceptions": (
        "while True:\n    try:\n        torch.ones(10).sum()\n    except Exception:\n        pass",
        "longer than 1 s",
    ),
}


def hanging(file: Path, cases: dict[str, tuple[str, str]]) -> list[str]:
    """Write a method for each case; return their names."""
    names = [f"hangs{number}" for number in range(len(cases))]
    bodies = zip(names, cases.values(), strict=True)
    file.write_text("\n".join(method(name, body).replace("Mine", name.title()) for name, (body, _) in bodies))
    return names


@pytest.mark.parametrize("name", HERE_QUICK)
def test_a_run_that_hangs_passes_its_limit_and_the_next_is_begun(name, cli, tmp_path):
    names = hanging(tmp_path / "hangs.py", HANGS)
    run = [*RUN, "--methods", ",".join(names), "--seeds", "1", "--plugin", tmp_path / "hangs.py", *TINY]
    result = cli(*run, "--time-limit", "1", *EXECUTORS[name])
    assert result.code == 1
    assert result.err.count("time limit") >= len(names)
    assert "Traceback" not in result.err
    assert statuses(Path("crayon-runs")) == {f"{one}.s0": "failed" for one in names}
    for one, (_, message) in zip(names, HANGS.values(), strict=True):
        assert message in reason(Path("crayon-runs"), f"{one}.s0")
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


STUBBORN = {
    "catches everything": (
        "import time\nwhile True:\n    try:\n        time.sleep(1000)\n    except BaseException:\n        pass",
        "longer than 15 s",
    ),
    "is in C code that keeps the interpreter": ("sum(range(10**15))", "did not give"),
}


@slow
def test_workers_that_do_not_end_are_ended_and_replaced(cli, tmp_path):
    file = tmp_path / "hangs.py"
    names = hanging(file, STUBBORN)
    file.write_text("import crayon_bench.runs.limits\ncrayon_bench.runs.limits.GRACE = 0.5\n" + file.read_text())
    # Enough for the data to be read on a busy machine: the limit is to be passed in the plugin.
    run = [*RUN, "--methods", ",".join([*names, "train-more"]), "--seeds", "1", "--plugin", file, *TINY]
    result = cli(*run, "--time-limit", "15", *EXECUTORS["processes"])
    assert result.code == 1, result.err
    assert statuses(Path("crayon-runs")) == {**{f"{one}.s0": "failed" for one in names}, "train-more.s0": "ok"}
    for one, (_, message) in zip(names, STUBBORN.values(), strict=True):
        found = reason(Path("crayon-runs"), f"{one}.s0")
        assert "time limit" in found
        assert message in found


def test_waiting_for_anothers_model_is_not_counted(tmp_path):
    from threading import Event, Thread

    from filelock import FileLock

    from crayon_bench.runs.limits import LimitError, Limits, limited
    from crayon_bench.runs.originals import shared_artifacts
    from crayon_bench.store.artifacts import Artifacts

    held = Event()

    def other():
        with FileLock(tmp_path / f".{Artifacts.name('kind', {})}.lock"):
            held.set()
            time.sleep(2.0)

    Thread(target=other).start()
    held.wait()
    with limited(Limits(seconds=1.8)):  # for all but waiting, on a busy machine
        shared_artifacts(tmp_path).get_or_make("kind", {}, dict)
    with pytest.raises(LimitError, match=re.escape("0.6 s")), limited(Limits(seconds=0.6)):
        time.sleep(5)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell a process's memory")
@pytest.mark.parametrize("name", HERE_QUICK)
def test_a_run_that_leaks_passes_its_limit_and_the_next_does_not(name, cli, tmp_path):
    """It leaks into the process, too: in a serial sweep the next run begins with a process that is large already."""
    file = tmp_path / "leaks.py"
    body = "import sys, time\nsys.leak = kept = []\nwhile True:\n    kept.append(bytearray(8 << 20))\n    time.sleep(0.002)"
    file.write_text(method("leaks", body))
    run = [*RUN, "--methods", "leaks,train-more", "--seeds", "1", "--plugin", file, *TINY, "--memory-limit", "600"]
    try:
        result = cli(*run, *EXECUTORS[name])
    finally:
        vars(sys).pop("leak", None)
    assert result.code == 1
    assert statuses(Path("crayon-runs")) == {"leaks.s0": "failed", "train-more.s0": "ok"}
    assert "memory limit: it took more than 600 MiB" in reason(Path("crayon-runs"), "leaks.s0")


# ---------------------------------------------------------------------------------------------------------------------
# the door

THREADS = """
from concurrent.futures import ThreadPoolExecutor
from pydantic import Field
from crayon_bench import Executor, Parameters
class Greeting(Parameters):
    greeting: str = Field("hello", description="what to say")
class Threads(Executor):
    name = "threads"
    summary = "for a test"
    Parameters = Greeting
    def execute(self, requests, perform):
        print("GREETING", self.parameters.greeting, self.workers)
        for request in requests:
            yield perform(request)
class Forgets(Executor):
    name = "forgets"
    summary = "for a test"
    def execute(self, requests, perform):
        yield perform(requests[0])
"""


def test_an_executor_of_somebody_else_with_options_of_its_own(cli):
    Path("threads.py").write_text(THREADS)
    run = [*RUN, "--methods", "original,rrr", "--seeds", "1", *TINY, "--plugin", "threads.py"]
    result = cli(*run, "--executor", "threads", "--threads-greeting", "good day", "--workers", "3")
    assert result.code == 0, result.err
    assert "GREETING good day 3" in result.out
    result = cli(*run, "--executor=threads", "--threads-greeting=x", "--rerun", "all")
    assert "GREETING x None" in result.out
    result = cli(*run, "--executor", "forgets", "--store", "other")
    assert result.code == 2
    assert "executor 'forgets' returned no record of 1 runs" in result.err
    assert "greeting = 'hello'  what to say" in cli("plugins", "info", "threads", "--plugin", "threads.py").out


MISTAKES = {
    "unknown": (["--executor", "ray", "--ray-adress", "x"], "address"),
    "another's": (["--executor", "processes", "--ray-address", "x"], "--ray-address"),
    "value": (["--executor", "slurm", "--slurm-minutes", "0"], "greater than or equal to 1"),
    "choice": (["--executor", "slurm", "--slurm-cluster", "pbs"], "cluster = 'pbs'"),
    "no value": (["--executor", "slurm", "--slurm-minutes"], "requires an argument"),
    "workers": (["--executor", "processes", "--workers", "0"], "--workers"),
    "time": (["--time-limit", "0"], "--time-limit"),
    "memory": (["--memory-limit", "-3"], "--memory-limit"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_line(case, cli):
    arguments, message = MISTAKES[case]
    result = cli(*RUN, *TINY, *arguments)
    assert result.code == 2
    assert message in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not Path("crayon-runs").exists()


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_without_its_extra_an_executor_says_how_to_get_it(name, package, cli, monkeypatch):
    module = __import__(f"crayon_bench_plugins.executors.{name}", fromlist=["find_spec"])
    monkeypatch.setattr(module, "find_spec", lambda wanted: None)
    result = cli(*RUN, *TINY, "--executor", name)
    assert result.code == 2
    assert f"the package {package} is not installed — pip install {package}\n" in result.err


@no_slurm
def test_without_slurm_here_it_is_one_line(cli, monkeypatch):
    monkeypatch.setenv("PATH", "")
    result = cli(*RUN, *TINY, "--executor", "slurm", "--methods", "original", "--seeds", "1")
    assert result.code == 2
    assert "--slurm-cluster local" in result.err
    assert "Traceback" not in result.err
