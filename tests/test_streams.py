"""Standard output and standard error that are full, closed, gone or of another encoding."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import TINY, serial

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


@pytest.fixture
def store(cli):
    assert cli(*RUN).code == 0


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", ["leaderboard", "leaderboard --format csv", "plugins list", "--help"])
def test_a_full_output_is_one_line(store, command):
    done = shell(f"CB {command} > /dev/full")
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


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


def test_a_reader_of_the_progress_that_goes_away_does_not_end_the_sweep():
    shell(f"CB {' '.join(serial(RUN))} 2>&1 | head -1")
    assert len(list(Path("crayon-runs/runs").glob("*/record.json"))) == 4


def test_no_verb_shows_the_help(cli):
    for command in ([], ["data"], ["runs"], ["plugins"]):
        result = cli(*command)
        assert result.code == 0
        assert len(result.out.splitlines()) > 5
