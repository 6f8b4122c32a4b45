"""Where a run was carried out: versions, commit, device."""

import os
import platform
import re
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


def one_gpu(device: str, *, elsewhere: bool = False) -> str:
    """Return ``cuda`` for ``cuda:N``, having this process and its workers see that GPU alone; else *device* itself.

    GPUs are counted as $CUDA_VISIBLE_DEVICES has them. *elsewhere*: on other machines, whose executor shares GPUs out.
    Raises UserError if there is none of that number, or if it is too late to choose.
    """
    number = re.fullmatch(r"cuda:([0-9]{1,4})", device)
    if number is None:
        return device
    if elsewhere:
        raise UserError(f"--device {device}: this executor shares out the GPUs of its machines", "use --device cuda")
    global _seen
    if _seen is None:
        named = os.environ.get(_VISIBLE)
        count = torch.cuda.device_count()
        _seen = [name.strip() for name in named.split(",")][:count] if named else [str(n) for n in range(count)]
    if int(number[1]) >= len(_seen):
        there = f"cuda:0 to cuda:{len(_seen) - 1}" if len(_seen) > 1 else "cuda:0 alone" if _seen else "none"
        raise UserError(f"--device {device}: there is no such GPU", f"there is {there}")
    wanted = _seen[int(number[1])]
    if torch.cuda.is_initialized() and os.environ.get(_VISIBLE) != wanted:  # type: ignore[no-untyped-call]
        raise UserError(f"--device {device}: this process uses its GPUs already", "choose in a new one")
    os.environ[_VISIBLE] = wanted
    return "cuda"


_VISIBLE = "CUDA_VISIBLE_DEVICES"
_seen: list[str] | None = None
"""The GPUs that this process might use before one was chosen."""


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
