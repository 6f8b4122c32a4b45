"""The built wheel works from an empty folder: boards, protocols and published numbers travel in it."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*pip, str(ROOT)], check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """A new environment with the wheel in it, which borrows its dependencies from this one."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    with zipfile.ZipFile(wheel) as bundle:
        bundle.extractall(site)
    # Listed in a .pth file, a folder comes after the environment's own; its own .pth files (our editable install) are
    # not read, so that the only crayon_bench to be found is the wheel's.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def test_what_is_in_the_wheel(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "crayon_bench/py.typed",
        "crayon_bench_plugins/protocols/decoymnist/paper.toml",
        "crayon_bench_plugins/protocols/decoymnist/quick.toml",
        "crayon_bench_leaderboards/boards/table2.toml",
        "crayon_bench_leaderboards/boards/table1.toml",
        "crayon_bench_leaderboards/reference/crayon.toml",
        "crayon_bench_leaderboards/reference/crayon-final.toml",
    ):
        assert name in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "crayon_bench",
        "crayon_bench_plugins",
        "crayon_bench_leaderboards",
    }


def test_the_wheel_runs_from_an_empty_folder(python, tmp_path):
    def call(*arguments: str) -> str:
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            [str(python), "-m", "crayon_bench", *arguments],
            cwd=tmp_path, capture_output=True, text=True, env=clean, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    code = "import crayon_bench, crayon_bench_leaderboards; print(crayon_bench.__file__, crayon_bench_leaderboards.__file__)"
    where = subprocess.run([str(python), "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert str(ROOT) not in where
    assert " ok " in call("plugins", "list")
    short = ["--set", "original.epochs=1", "--set", "refine.epochs=1"]
    out = call("run", "--dataset", "decoymnist", "--methods", "all", "--seeds", "1", *short)
    assert "STAND-IN DATA" in out
    board = json.loads(call("leaderboard", "--board", "table2", "--format", "json"))
    assert len(board["rows"]) == 10
    assert call("runs", "list")
