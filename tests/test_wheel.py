"""The built wheel works from an empty folder: boards, protocols and published numbers travel in it."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import click
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "docs" / "examples" / "crayon-bench-masktune"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


def build(source: Path, folder: Path) -> Path:
    """Build the wheel of *source* into the empty *folder* and return it."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*pip, str(source)], check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """A new environment with this wheel and that of a third party's example in it, which borrows its dependencies from this one."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    own = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    # Without its build products, which an author's checkout may hold.
    example = tmp_path_factory.mktemp("example") / "masktune"
    shutil.copytree(EXAMPLE, example, ignore=shutil.ignore_patterns("build", "dist", "__pycache__"))
    wheels = [str(wheel), str(build(example, tmp_path_factory.mktemp("wheel of masktune")))]
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(own), "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, *wheels], check=True, capture_output=True)
    # Listed in a .pth file, a folder comes after the environment's own; its own .pth files (our editable install) are
    # not read, so that the only crayon_bench to be found is the wheel's.
    (site / "borrowed.pth").write_text(f"{Path(click.__file__).parents[1]}\n")
    return own


def test_what_is_in_the_wheel(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "crayon_bench/py.typed",
        "crayon_bench/testing/protocols/mlp.toml",
        "crayon_bench/plugins/templates/method.py.txt",
        "crayon_bench_plugins/protocols/decoymnist/paper.toml",
        "crayon_bench_plugins/protocols/decoymnist/quick.toml",
        "crayon_bench_plugins/annotation/static/page.js",
        "crayon_bench_plugins/annotation/static/annotate.css",
        "crayon_bench_plugins/annotation/templates/work.html",
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
            [str(python.with_name("crayon-bench")), *arguments],
            cwd=tmp_path, capture_output=True, text=True, env=clean, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    code = "import crayon_bench, crayon_bench_leaderboards; print(crayon_bench.__file__, crayon_bench_leaderboards.__file__)"
    where = subprocess.run([str(python), "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert str(ROOT) not in where
    (masktune,) = [line for line in call("plugins", "list").splitlines() if " masktune " in line]
    assert "crayon-bench-masktune" in masktune and " ok " in masktune
    assert "13 checks: 13 ok" in call("plugins", "check", "masktune")
    short = ["--set", "original.epochs=1", "--set", "refine.epochs=1"]
    out = call("run", "--dataset", "decoymnist", "--methods", "all", "--seeds", "1", *short)
    assert "STAND-IN DATA" in out
    board = json.loads(call("leaderboard", "--board", "table2", "--format", "json"))
    rows = {row["method"]: row for row in board["rows"]}
    assert len(rows) == 11
    assert rows["masktune"]["status"] == "ok"
    assert rows["masktune"]["feedback_count"]["total"] == 0
    assert call("runs", "list")
