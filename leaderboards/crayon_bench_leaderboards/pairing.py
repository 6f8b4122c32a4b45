"""Which cell of now is compared with which of the baseline: an equal one, but for what may differ."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from crayon_bench.errors import UserError, did_you_mean
from crayon_bench.store.records import differences, digest
from crayon_bench_leaderboards.cells import Cell, without_versions

_NEVER = {
    "seed": "seeds are paired by number; see --any-seeds",
    **dict.fromkeys(("method", "method.name"), "another method is another cell"),
    **dict.fromkeys(("dataset", "dataset.name"), "scores on other data are not compared; dataset.content may differ"),
    "dataset.source": "a stand-in is never compared with real data",
}


_USUAL = ("weights", "method.parameters", "method.recipe", "oracle", "original", "model")
"""What people change before they ask whether it still holds."""


def check_allowed(allow: Sequence[str], cells: Iterable[Cell]) -> None:
    """Raise UserError for a coordinate that no cell has, or that may never differ."""
    known = {
        ".".join(parts[:n])
        for cell in cells
        for path in differences(without_versions(cell.coordinates), {})
        for parts in [path.split(".")]
        for n in range(1, len(parts) + 1)
    }
    for path in allow:
        if path in _NEVER:
            raise UserError(f"--allow {path}: {_NEVER[path]}")
        if known and path not in known:
            hint = did_you_mean(path, known)
            if not hint.startswith("did"):
                hint = f"runs diff names them, such as {', '.join(name for name in _USUAL if name in known)}"
            raise UserError(f"--allow {path}: no run has such a coordinate", hint)


def partners(
    baseline: Mapping[str, Cell], now: Mapping[str, Cell], allow: Sequence[str]
) -> dict[str, list[tuple[str, Cell]]]:
    """Return, for each key of *baseline*, the keys and cells of *now* that differ from it in nothing but *allow*."""
    alike = defaultdict(list)
    for key, cell in now.items():
        alike[_reduced(key, cell, allow)].append((key, cell))
    return {key: alike.get(_reduced(key, cell, allow), []) for key, cell in baseline.items()}


def _reduced(key: str, cell: Cell, allow: Sequence[str]) -> str:
    kept: Any = without_versions(cell.coordinates)
    for path in allow:
        kept = _without(kept, path.split("."))
    return digest(kept) if allow else key


def _without(part: Any, path: Sequence[str]) -> Any:
    if not isinstance(part, dict) or path[0] not in part:
        return part
    if len(path) == 1:
        return {key: value for key, value in part.items() if key != path[0]}
    return {**part, path[0]: _without(part[path[0]], path[1:])}


def differing(old: Cell, new: Cell) -> dict[str, tuple[str, str]]:
    """Return the coordinates that differ, versions aside: dotted path → then, now."""
    found = differences(without_versions(old.coordinates), without_versions(new.coordinates))
    texts = {path: (str(then), str(now)) for path, (then, now) in found.items()}
    # None in place of a table: what is in the table says more.
    return {path: both for path, both in texts.items() if not set(both) <= {"None", "–"}}


def to_allow(paths: Iterable[str]) -> list[str]:
    """Return what ``--allow`` would have to say for cells that differ in *paths*; nothing if it cannot."""
    words = []
    for path in paths:
        first, *rest = path.split(".")
        words.append(f"{first}.{rest[0]}" if rest and first in ("method", "dataset", "oracle") else first)
    return [] if any(word in _NEVER for word in words) else list(dict.fromkeys(words))


def titles(cells: Mapping[str, Cell]) -> dict[str, str]:
    """Return a title for each cell; those that have the same in the same place are told apart by what differs."""
    namesakes = defaultdict(list)
    for key, cell in cells.items():
        place = [cell.coordinates["dataset"].get("source"), cell.coordinates["protocol"]["name"]]
        namesakes[digest([cell.dataset, place, cell.title])].append(key)
    found = {}
    for keys in namesakes.values():
        first = cells[keys[0]]
        paths = list(dict.fromkeys(path for key in keys for path in differing(first, cells[key])))
        for key in keys:
            # Against nothing, all of a cell's coordinates differ.
            values = differences(without_versions(cells[key].coordinates), {})
            own = [f"{path.rpartition('.')[2]}={short(values[path][0])}" for path in paths if path in values]
            found[key] = cells[key].title + (f" ({', '.join(own)})" if own else "")
    return found


def short(value: object) -> str:
    """Return a value as text, and the beginning of one that is long, such as a checksum."""
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"
