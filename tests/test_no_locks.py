"""A file system without locks, as a cluster's often is: it is named, with the remedy, and nothing is half-written."""

import errno
import fcntl
import os
from pathlib import Path

import filelock
import pytest
from PIL import Image

from conftest import TINY
from crayon_bench.data.image_cache import decoded
from crayon_bench.errors import UserError
from crayon_bench.store.artifacts import Artifacts

RUN = ["run", "--dataset", "decoymnist", "--methods", "original", "--seeds", "1", *TINY]
NONE = [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS]


@pytest.fixture
def no_locks(monkeypatch):
    """Return a function after which files with a part of a name in their path cannot be locked."""
    flock = fcntl.flock

    def forbid(part: str, number: int) -> None:
        def fail(file, how):
            descriptor = file if isinstance(file, int) else file.fileno()
            if part in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
                raise OSError(number, os.strerror(number))
            return flock(file, how)

        monkeypatch.setattr(fcntl, "flock", fail)

    return forbid


def one_line_of(result) -> str:
    assert result.code == 2, result.out
    (line,) = [line for line in result.err.splitlines() if line.startswith("Error")]
    assert "standard output" not in line
    assert "Traceback" not in result.err
    return line


@pytest.mark.parametrize("number", NONE)
def test_a_store_without_locks_is_named_with_the_remedy(cli, no_locks, number):
    no_locks("/mine/.in-use", number)
    line = one_line_of(cli(*RUN, "--store", "mine"))
    assert f"store mine: its file system has no locks ({os.strerror(number)})" in line
    assert "--store DIR" in line
    assert not list(Path("mine/runs").iterdir())


@pytest.mark.parametrize("where", ["/.claims/", "/artifacts/"])
@pytest.mark.parametrize("number", NONE[:2])
def test_folders_of_a_store_that_lie_elsewhere_end_the_sweep(cli, no_locks, where, number):
    """A link may lead to another file system. Not a failed run: the same command continues."""
    no_locks(where, number)
    line = one_line_of(cli(*RUN, "--store", "mine"))
    assert "mine: its file system has no locks" in line
    assert not list(Path("mine/runs").iterdir())


def test_prune_says_it_too(cli, no_locks):
    assert cli(*RUN, "--store", "mine").code == 0
    no_locks("/mine/.in-use", errno.ENOLCK)
    assert "store mine: its file system has no locks" in one_line_of(cli("runs", "prune", "--store", "mine"))


def test_a_store_is_read_without_locks(cli, no_locks):
    assert cli(*RUN, "--store", "mine").code == 0
    no_locks("/", errno.ENOLCK)
    for command in (["leaderboard"], ["runs", "list"]):
        assert cli(*command, "--store", "mine").code == 0


@pytest.mark.parametrize("number", NONE[:2])
def test_a_cache_without_locks_is_named_with_the_remedy(cli, no_locks, number):
    no_locks("/decoded/", number)
    Path("x").mkdir()
    for name in "abcd":
        Image.new("RGB", (8, 8)).save(f"x/{name}.png")
    Path("x/metadata.csv").write_text("path,label,split\na.png,0,train\nb.png,1,train\nc.png,0,test\nd.png,1,test\n")
    line = one_line_of(cli("data", "verify", "folder:x"))
    assert "/decoded: its file system has no locks" in line
    assert "CRAYON_BENCH_CACHE" in line


@pytest.mark.parametrize("number", NONE[:2])
def test_answers_without_locks_are_named_with_the_remedy(cli, no_locks, number):
    no_locks("/answers/", number)
    arguments = ["annotate", "serve", "--dataset", "decoymnist", "--task", "maps", "--port", "0", *TINY[:4]]
    line = one_line_of(cli(*arguments, "--store", "mine"))
    assert "--answers answers: its file system has no locks" in line
    assert "another file system" in line


def test_what_older_versions_of_filelock_raise_is_understood(monkeypatch, tmp_path):
    def fail(*arguments, **keywords):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(filelock.FileLock, "acquire", fail)
    with pytest.raises(UserError, match="no locks"):
        Artifacts(tmp_path / "artifacts").get_or_make("x", {}, dict)
    with pytest.raises(UserError, match="no locks"):
        decoded("x", {}, (1, 1, 1, 1), lambda: [], lambda item: item)
