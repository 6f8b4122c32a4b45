"""Where a run was carried out: versions, commit, device."""

import os
import platform
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from crayon_bench._version import __version__, commit
from crayon_bench.errors import UserError


def resolve_device(name: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``. Raises UserError if there is no such device."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("--device cuda: PyTorch finds no CUDA device here", "use --device cpu or auto")
    return ("cuda" if available else "cpu") if name == "auto" else name


@cache
def environment(device: str, threads: int) -> dict[str, Any]:
    """Return what a record says of where it was made."""
    device = resolve_device(device)
    return {
        "crayon_bench": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pillow": version("pillow"),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "cpus": os.cpu_count(),
        "threads": threads,
    }
