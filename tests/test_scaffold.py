"""`plugins new`: what it writes works at once, and nothing is overwritten."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from warm import Command

KINDS = ["method", "metric", "oracle", "dataset"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_of_a_new_package_pass(cli, kind):
    result = cli("plugins", "new", kind, "my-own")
    assert result.code == 0, result.err
    folder = Path("crayon-bench-my-own")
    assert f'[project.entry-points."crayon_bench.{kind}s"]' in (folder / "pyproject.toml").read_text()
    assert all("$" not in file.read_text().replace("$ ", "") for file in folder.rglob("*") if file.is_file())
    tests = Command(["-q", "-p", "no:cacheprovider"], cwd=folder, module="pytest")
    said, _ = tests.communicate()
    assert tests.returncode == 0, said
    assert "passed" in said and "failed" not in said and "skipped" not in said
    lint = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E,F", "--line-length", "120", str(folder)]
    assert subprocess.run(lint, capture_output=True, check=False).returncode == 0 or not _has_ruff()


def _has_ruff() -> bool:
    return subprocess.run([sys.executable, "-m", "ruff", "--version"], capture_output=True, check=False).returncode == 0


def test_nothing_is_overwritten(cli, tmp_path):
    (tmp_path / "crayon-bench-mine").mkdir()
    (tmp_path / "crayon-bench-mine" / "notes").write_text("keep me")
    result = cli("plugins", "new", "method", "mine", "--output", tmp_path)
    assert result.code == 2
    assert "nothing is overwritten" in result.err
    assert [file.name for file in tmp_path.rglob("*")] == ["crayon-bench-mine", "notes"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["method", "rrr"], "there is a method 'rrr' already"),
        (["method", "plugins"], "there is a package crayon_bench_plugins already"),
        (["method", "../evil"], "is no name for a method"),
        (["method", "all"], "is no name for a method"),
        (["method", "Mine"], "is no name for a method"),
        (["method", "3d"], "is no name for a method"),
        (["executor", "mine"], "is not one of"),
        (["method", "mine", "--output", "nowhere"], "does not exist"),
    ],
)
def test_what_cannot_be_written(cli, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = cli("plugins", "new", *arguments)
    assert result.code == 2
    assert message in result.err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(cli, tmp_path):
    tmp_path.chmod(0o500)
    result = cli("plugins", "new", "method", "mine", "--output", tmp_path)
    assert result.code == 2
    assert result.err.count("\n") == 1
