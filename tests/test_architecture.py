"""The building: floors, what may be imported where, what is public, and what must not be waited for."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import crayon_bench
from conftest import TINY

ROOT = Path(__file__).resolve().parents[1]
WINGS = ("harness", "plugins", "leaderboards")
HARNESS = ROOT / "harness" / "crayon_bench"


def lint_imports(root: Path) -> tuple[int, set[str], set[str], str]:
    """Check the contracts on the packages in *root*; return the exit code, which are kept, which broken, and the report."""
    pytest.importorskip("importlinter")
    path = os.pathsep.join(str(root / wing) for wing in WINGS)
    code = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--config", str(ROOT / "pyproject.toml")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    lines = done.stdout.splitlines()
    kept = {line.removesuffix(" KEPT") for line in lines if line.endswith(" KEPT")}
    broken = {line.removesuffix(" BROKEN") for line in lines if line.endswith(" BROKEN")}
    assert kept | broken, done.stdout + done.stderr
    return done.returncode, kept, broken, done.stdout


def test_no_import_crosses_a_floor_it_should_not():
    code, kept, broken, report = lint_imports(ROOT)
    assert (code, broken) == (0, set()), report
    assert len(kept) == 7


WRONG = {
    "Arrows in the harness run downwards": ("harness/crayon_bench/store/store.py", "crayon_bench.runs.sweep"),
    "No circles, on any floor": (
        "plugins/crayon_bench_plugins/methods/crayon_attention.py",
        "crayon_bench_plugins.methods.pruning",
    ),
    "The harness knows neither plugins nor leaderboards, but for its roof": (
        "harness/crayon_bench/seeds.py",
        "crayon_bench_leaderboards.boards",
    ),
    "The roof knows no plugin": ("harness/crayon_bench/api.py", "crayon_bench_plugins.methods.rrr"),
    "Leaderboards never import torch, nor a plugin, nor what runs are made with": (
        "leaderboards/crayon_bench_leaderboards/price.py",
        "torch",
    ),
    "Built-in plugins know neither the command line, nor the kit, nor leaderboards": (
        "plugins/crayon_bench_plugins/metrics/accuracy.py",
        "crayon_bench.cli.run",
    ),
    "Built-in plugins of one kind know no other kind but through the harness": (
        "plugins/crayon_bench_plugins/oracles/noisy.py",
        "crayon_bench_plugins.methods.rrr",
    ),
}


def test_a_wrong_import_breaks_the_contract_it_is_against(tmp_path):
    """One for each contract, all in one copy; inside a function and for type checking alone they count too."""
    for wing in WINGS:
        shutil.copytree(ROOT / wing, tmp_path / wing, ignore=shutil.ignore_patterns("__pycache__", "published"))
    shapes = (
        "import {}",
        "def _later():\n    import {}",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import {}",
    )
    for number, (file, module) in enumerate(WRONG.values()):
        with (tmp_path / file).open("a") as source:
            source.write("\n\n" + shapes[number % len(shapes)].format(module) + "\n")
    code, _, broken, report = lint_imports(tmp_path)
    assert code == 1
    assert broken == set(WRONG)
    assert "No cycles are allowed in crayon_bench_plugins.methods." in report


def imports(file: Path) -> list[str]:
    """Return the names of all modules that a file imports, wherever in it."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


def test_no_module_of_the_harness_imports_the_front_door():
    """`crayon_bench` itself is for users and plugins, and for the checks that see a plugin as its author does."""
    files = [file for file in HARNESS.rglob("*.py") if file.relative_to(HARNESS).parts[0] != "testing"]
    assert len(files) > 50
    assert [file for file in files if "crayon_bench" in imports(file)] == []
    assert any("crayon_bench" in imports(file) for file in (HARNESS / "testing").glob("*.py"))  # so that it can fail


def test_what_is_public_is_what_dir_shows_and_all_of_it_is_there():
    assert dir(crayon_bench) == sorted(crayon_bench.__all__)
    assert len(set(crayon_bench.__all__)) == len(crayon_bench.__all__)
    assert [name for name in crayon_bench.__all__ if getattr(crayon_bench, name, None) is None] == []
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        crayon_bench.nothing  # noqa: B018


LIGHT = """
import sys
heavy = {"torch", "torchvision", "numpy", "pandas", "scipy", "sklearn", "pydantic", "pyarrow", "matplotlib", "PIL"}
def check(what):
    assert not heavy & set(sys.modules), (what, heavy & set(sys.modules))
import crayon_bench
check("import")
from crayon_bench.cli import invoke
for arguments in (["--version"], ["--help"], ["run", "--help"], ["data", "--help"], ["plugins", "list"]):
    assert invoke(arguments) == 0
    check(arguments)
crayon_bench.Method, crayon_bench.Source, crayon_bench.Verdict
assert "torch" not in sys.modules
import torch, pydantic
assert heavy & set(sys.modules)  # so that it can fail
"""


def test_nothing_heavy_is_waited_for_by_the_front_door_the_help_or_the_list():
    subprocess.run([sys.executable, "-c", LIGHT], check=True, stdout=subprocess.DEVNULL)


def test_a_run_does_not_wait_for_what_it_does_not_use(tmp_path):
    """torch's compiler, torchvision (which imports it) and scikit-learn cost every worker process seconds before its first step."""
    store = ["--executor", "serial", "--store", str(tmp_path / "store")]
    run = ["run", "--methods", "original", "--seeds", "1", *TINY, *store]
    few = [word for name in ("majority", "test", "validation") for word in ("--set", f"dataset.{name}=8")]
    code = (
        "import sys; from crayon_bench.cli import invoke\n"
        f"assert invoke({[*run, '--dataset', 'decoymnist']}) == 0\n"
        f"assert invoke({[*run, '--dataset', 'celeba', *few]}) == 0\n"
        "heavy = {'torch._dynamo', 'torchvision', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("store/runs/*/record.json"))) == 2
