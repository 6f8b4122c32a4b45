"""Standard output and standard error that are full, closed, gone or of another encoding."""

import contextlib
import errno
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import TINY, serial
from crayon_bench.store.store import Store
from test_check import fill

slow = pytest.mark.slow

RUN = ["run", "--dataset", "decoymnist", "--methods", "original,train-more", "--seeds", "2", *TINY]


def shell(command: str, **env: str) -> subprocess.CompletedProcess:
    command = command.replace("CB", f"{sys.executable} -m crayon_bench")
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, **env},
        check=False,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    from crayon_bench.cli import invoke

    folder = tmp_path_factory.mktemp("made") / "crayon-runs"
    assert invoke([*serial(RUN), "--store", str(folder)]) == 0
    return folder


@pytest.fixture
def store(made):
    shutil.copytree(made, "crayon-runs")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", ["leaderboard", "leaderboard --format csv", "plugins list", "--help"])
def test_a_full_output_is_one_line(store, command):
    done = shell(f"CB {command} > /dev/full")
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@slow
@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no /dev/full here")
def test_output_never_replaces_a_device(store):
    done = shell("CB leaderboard --output /dev/full")
    assert done.returncode == 2
    assert Path("/dev/full").is_char_device()
    os.mkfifo("pipe")
    done = shell("cat pipe > got & CB leaderboard --format csv --output pipe; wait")
    assert Path("got").read_text().startswith("board,")
    Path("target").write_text("old")
    Path("link").symlink_to("target")
    shell("CB leaderboard --format csv --output link")
    assert Path("link").is_symlink()
    assert Path("target").read_text() == Path("got").read_text()


@slow
def test_a_table_that_could_not_be_shown_is_not_success(store):
    assert shell(f"CB {' '.join(serial(RUN))} > /dev/full").returncode != 0


@pytest.mark.parametrize("command", ["leaderboard", "plugins list", "runs list"])
def test_a_closed_output(store, command):
    done = shell(f"CB {command} >&-")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_output_of_another_encoding(store, encoding):
    done = shell("CB leaderboard", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "Train More" in done.stdout


@slow
def test_a_reader_of_the_progress_that_goes_away_does_not_end_the_sweep():
    shell(f"CB {' '.join(serial(RUN))} 2>&1 | head -1")
    assert len(list(Path("crayon-runs/runs").glob("*/record.json"))) == 4


def piped(command: str, reader: str, **env: str) -> tuple[int, str]:
    """The exit code of a command whose reader goes away, and what it said on standard error."""
    done = shell(f"CB {command} | {reader}; exit ${{PIPESTATUS[0]}}", **env)
    return done.returncode, done.stderr


GONE = ["leaderboard", "runs list", "plugins list"]
GONE_TOO = [
    "leaderboard --format csv", "leaderboard --statistics", "runs list --format json", "runs show decoymnist.original.s0",
    "runs show decoymnist.original.s0 --log", "runs diff decoymnist.original.s0 decoymnist.original.s1", "runs prune",
    "data list", "data where", "data where decoymnist", "plugins info rrr", "plugins check sample_accuracy", "--version",
    "--version --verbose", "--help", "run --help", " ".join(serial(RUN)), f"{' '.join(serial(RUN))} --dry-run",
    "oracle stats --dataset decoymnist --source standin --set original.epochs=1",
]  # fmt: skip


@pytest.mark.parametrize("command", [*GONE, *(pytest.param(one, marks=slow) for one in GONE_TOO)])
def test_a_reader_that_goes_away_is_no_failure(store, command):
    code, said = piped(command, "head -0")
    assert code == 0, said
    assert "Error" not in said
    assert "Traceback" not in said


def test_the_first_line_is_read_and_the_rest_dropped(store):
    done = shell("CB leaderboard | grep -q Train; echo ${PIPESTATUS[*]}; CB runs list | head -1", PYTHONUNBUFFERED="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0 0\nkey")


@pytest.mark.parametrize(
    ("case", "expected"), [("holds", 0), ("regressed", 1), ("not measured", 2), ("nothing to compare", 3)]
)
def test_a_verdict_has_its_own_exit_code_whoever_reads_it(cli, case, expected):
    parameters = {"lambda": 7} if case == "nothing to compare" else None
    fill("now", 0.5 if case == "regressed" else 0.8, parameters=parameters)
    fill("then", 0.8)
    if case == "not measured":
        fill("then", 0.8, method="energy")
    arguments = ["check", "--store", "now", "--baseline", "then"]
    assert cli(*arguments).code == expected
    code, said = piped(" ".join(arguments), "head -0")
    assert code == expected, said
    assert "Error" not in said


def test_an_error_that_is_not_the_outputs_is_not_blamed_on_it(cli, monkeypatch):
    def fail(*arguments, **keywords):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Store, "open", fail)
    result = cli("runs", "list")
    assert result.code == 2
    assert "standard output" not in result.err
    assert "Error: OSError in test_streams.py, line " in result.err
    assert "Input/output error" in result.err


def test_a_pipe_to_a_process_that_has_gone_is_an_error(cli, monkeypatch):
    def fail(*arguments, **keywords):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(Store, "open", fail)
    result = cli("runs", "list")
    assert result.code == 2
    assert "Error: BrokenPipeError in test_streams.py, line " in result.err


def test_no_verb_shows_the_help(cli):
    for command in ([], ["data"], ["runs"], ["plugins"]):
        result = cli(*command)
        assert result.code == 0
        assert len(result.out.splitlines()) > 5


def on_terminal(command: str, columns: int) -> tuple[int, str]:
    """Return the exit code, and what stands on a terminal of so many columns that gets standard error alone."""
    pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    words = [sys.executable, "-m", "crayon_bench", *command.split()]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=theirs, env=env) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while chunk := os.read(ours, 4096):
                shown += chunk
    os.close(ours)
    return process.returncode, shown.decode().replace("\r\n", "\n")


LONG = [
    "run --dataset decoymnits --methods all",
    "check --baseline nowhere --store nowhere",
    "annotate agreement --answers a-folder-with-a-rather-long-name/that-does-not-lie-anywhere",
    "run --dataset decoymnist --set refine.epoch=3 --set protocol.threads=2",
    "run --dataset decoymnist --plugin a-file-with-a-rather-long-name-that-does-not-lie-anywhere.py",
]


@pytest.mark.parametrize("command", [*LONG[:3], *(pytest.param(one, marks=slow) for one in LONG[3:])])
def test_an_error_fits_a_terminal_between_words_and_is_one_line_elsewhere(command, process):
    line = process(*command.split(), env={"COLUMNS": "50"}).err
    assert line.count("\n") == 1
    code, shown = on_terminal(command, 50)
    assert code == 2
    assert shown.split() == line.split()
    assert len(shown.splitlines()) > 1
    for each in shown.splitlines():
        assert len(each) <= 50 or len(each.split()) == 1  # a word is not broken


def test_warnings_and_lists_on_standard_error_fit_a_terminal_too(store):
    found = on_terminal("runs show decoymnist", 44)[1]
    assert max(map(len, found.splitlines())) <= 44
    assert "key" in found
    assert "4 runs begin with 'decoymnist'" in " ".join(found.split())
