"""What ``crayon-bench --version --verbose`` says of a machine: all that a report of a fault needs, in one paste."""

import os
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from crayon_bench._version import commit
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.plugins.rows import PluginError, PluginRow, error_line

_OPTIONAL = ("ray", "slurm", "annotate")
"""Extras whose packages a run may use; those of tests and lint are left out."""


def about() -> Iterator[str]:
    """Yield the lines, each when it is known: what comes last may take long, or end the process."""
    yield _line("commit", commit() or "none: not a checkout")
    yield _line("Python", f"{platform.python_version()} ({platform.python_implementation()})")
    yield _line("platform", platform.platform())
    yield _line("CPUs", _cpus())
    for package in _packages():
        yield _line(package, _version(package))
    yield _line("device", _device())
    registry = Registry()
    foreign = [row for row in registry.rows() if row.package != "crayon-bench" or row.error is not None]
    yield _line("plugins", "of this package alone, none broken" if not foreign else "")
    for row in foreign:
        yield f"  {row.kind} {row.name}: {row.package} {_version(row.package)}, {row.target}, {_state(registry, row)}"


def _line(name: str, value: str) -> str:
    return f"{name + ':':<20} {value}".rstrip()


def _cpus() -> str:
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return f"{os.cpu_count()}" if ours in (None, os.cpu_count()) else f"{os.cpu_count()}, {ours} for this process"


def _packages() -> Iterator[str]:
    """Yield what the package needs, and what its extras need for runs, as its own metadata say."""
    try:
        lines = requires("crayon-bench") or []
    except PackageNotFoundError:
        lines = []
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra == ['\"](\w+)['\"]", line)
        if name is not None and (extra is None or extra[1] in _OPTIONAL):
            yield name[0]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _device() -> str:
    try:
        import torch

        if not torch.cuda.is_available():
            return "cpu"
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return f"{names} (CUDA {torch.version.cuda})"
    except Exception as error:
        return f"unknown: {error_line(error)}"


def _state(registry: Registry, row: PluginRow) -> str:
    """Return whether a plugin works: only an import shows it, so it is imported."""
    if row.error is not None:
        return f"broken: {row.error}"
    if row.kind not in list(Kind):  # hooks, which are imported at every start
        return "ok"
    try:
        registry.load(Kind(row.kind), row.name)
    except PluginError as error:
        return f"broken: {error_line(error)}"
    return "ok"
