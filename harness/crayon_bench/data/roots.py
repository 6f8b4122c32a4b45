"""The folders of this machine: where data lie, and where what can be made again is kept."""

import os
from pathlib import Path

import platformdirs

from crayon_bench.texts import expanded


def default_root() -> Path:
    """Return the data root that is used without ``--data-root``: ``$CRAYON_BENCH_DATA`` or the user's data folder."""
    chosen = os.environ.get("CRAYON_BENCH_DATA")
    return expanded(Path(chosen)) if chosen else platformdirs.user_data_path("crayon-bench", appauthor=False)


def cache_root() -> Path:
    """Return the folder of things that can be made again: ``$CRAYON_BENCH_CACHE`` or the user's cache folder."""
    chosen = os.environ.get("CRAYON_BENCH_CACHE")
    return expanded(Path(chosen)) if chosen else platformdirs.user_cache_path("crayon-bench", appauthor=False)
