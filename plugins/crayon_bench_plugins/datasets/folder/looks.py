"""What the files themselves say before they are decoded for good: orientation, depth, shades of masks."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import PIL

from crayon_bench import UserError
from crayon_bench.data.image_cache import DECODER, Look, look_at, open_mask
from crayon_bench.data.masks import border_share
from crayon_bench.data.preparing import Preparing, in_threads
from crayon_bench.data.roots import cache_root
from crayon_bench.store.atomic import read_json, write_file
from crayon_bench_plugins.datasets.folder.files import opened
from crayon_bench_plugins.datasets.folder.metadata import Row

Shades = tuple[float, str, float]
"""Of a mask: the share of its pixels that are neither dark nor bright, its values where they are not just two, and the
share of its border that is bright."""


def looks_of(root: Path, rows: Sequence[Row], sums: Mapping[str, str]) -> dict[str, Look]:
    """Return what is known of each row's image, by path; nothing of one that cannot be opened."""

    def look(row: Row) -> list[Any]:
        seen = opened(root, row, row.path, look_at)
        return [seen.width, seen.height, seen.orientation, seen.deep, seen.highest, seen.most]

    found, _ = _known("images", root, {row.path: row for row in rows}, sums, look, [int, int, int, str, int, int])
    return {name: Look(*values) for name, values in found.items()}


def shades_of(root: Path, rows: Sequence[Row], sums: Mapping[str, str]) -> dict[str, Shades]:
    """Return the shades of each row's mask, by its path. Raises UserError for the first that says nothing certain."""

    def look(row: Row) -> list[Any]:
        mask = opened(root, row, row.mask, open_mask)
        return [mask.grey, mask.found, border_share(mask.relevant)]

    found, wrong = _known("masks", root, {row.mask: row for row in rows}, sums, look, [float, str, float])
    if wrong:
        more = f" (and {len(wrong) - 1:,} more masks like it)" if len(wrong) > 1 else ""
        raise UserError(wrong[0].message + more, wrong[0].hint)
    return {name: (grey, values, border) for name, (grey, values, border) in found.items()}


def _known(
    what: str,
    root: Path,
    rows: Mapping[str, Row],
    sums: Mapping[str, str],
    look: Callable[[Row], list[Any]],
    types: list[type],
) -> tuple[dict[str, list[Any]], list[UserError]]:
    """Return what *look* gives of each file, and what it raised. What is known of a content is kept in the cache."""
    kept_in = cache_root() / "looks" / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:24]}-{what}.json"
    decoder = f"{DECODER} {PIL.__version__}"
    known = _kept(kept_in, decoder, types)
    stale = [name for name in rows if sums[name] not in known]

    def make(name: str) -> list[Any] | UserError:
        try:
            return look(rows[name])
        except UserError as error:
            return error

    wrong = []
    with Preparing(f"{root.name}: looking at {what}", len(stale)) as progress, closing(in_threads(make, stale)) as done:
        for name, values in zip(stale, done, strict=True):
            if isinstance(values, UserError):
                wrong.append(values)
            else:
                known[sums[name]] = values
            progress.step()
    found = {name: known[sums[name]] for name in rows if sums[name] in known}
    if stale:
        with suppress(OSError):  # a cache that cannot be kept is done without
            kept_in.parent.mkdir(parents=True, exist_ok=True)
            kept = {"decoder": decoder, "found": {sums[name]: values for name, values in found.items()}}
            write_file(kept_in, json.dumps(kept).encode())
    return found, wrong


def _kept(file: Path, decoder: str, types: list[type]) -> dict[str, list[Any]]:
    try:
        content = read_json(file)
        if content["decoder"] == decoder and all(
            [type(part) for part in values] == types for values in content["found"].values()
        ):
            return dict(content["found"])
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        pass
    return {}
