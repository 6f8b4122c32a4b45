"""``--version`` alone is one line; with ``--verbose`` it is what a report of a fault needs, whatever is broken."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from crayon_bench import __version__

FIRST = f"crayon-bench, version {__version__}"
HOOKS = "[crayon_bench.hooks]\nloud = loud\n"


@pytest.fixture
def site(tmp_path):
    """Return a function that puts modules, and a package's entry points, into a folder of Python's path."""

    def add(modules: dict[str, str], entry_points: str = "") -> dict[str, str]:
        for name, source in modules.items():
            (tmp_path / name).write_text(source)
        if entry_points:
            info = tmp_path / "theirs-1.5.dist-info"
            info.mkdir()
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.5\n")
            (info / "entry_points.txt").write_text(entry_points)
        return {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}

    return add


def facts(out: str) -> dict[str, str]:
    """Name → what is said of it."""
    lines = [line.partition(":") for line in out.splitlines()[1:] if not line.startswith(" ")]
    return {name: said.strip() for name, _, said in lines}


def test_version_alone_is_one_line(cli):
    assert cli("--version").out == FIRST + "\n"


@pytest.mark.parametrize("arguments", [["--version", "--verbose"], ["--verbose", "--version"]])
def test_verbose_names_what_a_report_needs_in_either_order(cli, arguments):
    result = cli(*arguments)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[0] == FIRST
    said = facts(result.out)
    assert said["Python"].startswith(platform.python_version())
    assert said["platform"] == platform.platform()
    assert said["CPUs"].startswith(str(os.cpu_count()))
    for package in ("torch", "torchvision", "numpy", "pandas", "pyarrow", "pillow", "click", "rich", "pydantic"):
        assert said[package] == version(package)
    assert {"ray", "submitit", "starlette", "device", "plugins"} <= set(said)
    assert not {"pytest", "ruff", "mypy"} & set(said)
    if (Path(__file__).resolve().parents[1] / ".git").exists():
        assert len(said["commit"]) == 40


def test_verbose_alone_is_a_mistake(cli):
    for rest in ([], ["run"], ["plugins", "list"]):
        result = cli("--verbose", *rest)
        assert (result.code, result.out) == (2, "")
        assert result.err.splitlines() == [
            "Error: --verbose says more about the version — use --version --verbose",
        ]


@pytest.mark.slow
def test_plugins_of_others_are_named_with_package_and_version_and_what_is_wrong(process, site):
    methods = "[crayon_bench.methods]\nfine = fine:Fine\nbad = nowhere:Mine\nloaded = raises:Mine\n"
    metrics = "[crayon_bench.metrics]\nworst_group_accuracy = fine:Fine\n"
    modules = {
        "fine.py": (
            "from crayon_bench import Method\n\nprint('imported')\n\n\nclass Fine(Method):\n    name = 'fine'\n"
            "    title = 'Fine'\n    summary = 'fine'\n\n    def refine(self, job):\n        return job.model\n"
        ),
        "raises.py": "raise SystemExit('no\\nlicence')\nMine = 1\n",
        "loud.py": "1 / 0\n",
    }
    result = process("--version", "--verbose", env=site(modules, methods + metrics + HOOKS))
    assert result.code == 0
    rows = {line.split(":")[0]: line for line in result.out.splitlines() if line.startswith("  ")}
    assert rows["  method fine"] == "  method fine: theirs 1.5, fine:Fine, ok"
    assert "broken: ModuleNotFoundError: No module named 'nowhere'" in rows["  method bad"]
    assert "SystemExit: no licence" in rows["  method loaded"]
    assert "the name is taken by crayon_bench_plugins" in rows["  metric worst_group_accuracy"]
    assert "broken: ZeroDivisionError: division by zero" in rows["  hooks loud"]
    assert len(rows) == 5
    assert "imported" not in result.out


def test_a_torch_that_cannot_be_imported_is_said_and_nothing_else_is_lost(process, site):
    result = process("--version", "--verbose", env=site({"torch.py": "raise OSError('libcudart is missing')\n"}))
    assert result.code == 0
    said = facts(result.out)
    assert said["device"] == "unknown: OSError: libcudart is missing"
    assert said["plugins"] == "of this package alone, none broken"


def test_gpus_are_named_with_the_version_of_cuda(cli, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", "GPU {}".format)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert facts(cli("--version", "--verbose").out)["device"] == "GPU 0, GPU 1 (CUDA 12.8)"


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], []])
def test_nothing_heavy_is_imported_for_a_line(arguments):
    code = (
        "import sys\nfrom crayon_bench.cli import invoke\n"
        f"assert invoke({arguments!r}) == 0\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'pandas', 'pyarrow', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
