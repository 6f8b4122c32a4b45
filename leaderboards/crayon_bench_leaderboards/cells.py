"""Runs with their predictions, by cell, as the gate compares them.

A *cell* is what the gate compares: all coordinates of a run except its seed and except versions. A version is what says
which code ran, not what was asked of it: the record's schema, the core's numerics, and of every plugin its ``version``
and the hash of its ``--plugin`` file. The environment (crayon_bench, torch, hardware) is no coordinate to begin with.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crayon_bench.errors import UserError
from crayon_bench.feedback import control_label
from crayon_bench.store.atomic import read_json
from crayon_bench.store.records import Record, Status, digest, folder_name
from crayon_bench.store.store import Store
from crayon_bench_leaderboards.frames import examples_frame

_VERSIONS = ("version", "file")


@dataclass(frozen=True)
class Examples:
    """Test examples: how many each group has, and a digest of their groups and names.

    Where there are no groups, all are in one without a name.
    """

    groups: tuple[tuple[str, int], ...]
    examples: str

    @property
    def grouped(self) -> bool:
        """Whether there are groups."""
        return bool(self.groups) and self.groups[0][0] != ""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of examples of each group."""
        return np.array([size for _, size in self.groups], dtype=np.int64)


@dataclass(frozen=True)
class Run:
    """One run: right or wrong of each test example, in order of group and name.

    reason: why there are none. damaged: the record is not what was written.
    """

    tests: Examples | None
    right: NDArray[np.bool_] | None
    reason: str | None = None
    damaged: bool = False


@dataclass
class Cell:
    """The runs of one cell by seed. coordinates: those of its newest run, without the seed.

    lost: nothing is known but the names of data set and method; its records are damaged.
    """

    coordinates: dict[str, Any]
    title: str
    environment: dict[str, Any]
    runs: dict[int, Run] = field(default_factory=dict)
    lost: bool = False

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return str(self.coordinates["dataset"]["name"])

    @property
    def method(self) -> str:
        """The method's name."""
        return str(self.coordinates["method"]["name"])


def without_versions(coordinates: dict[str, Any]) -> dict[str, Any]:
    """Return *coordinates* without seed and versions: equal for runs of one cell."""
    kept = {
        name: _unversioned(part) if name in ("dataset", "method", "oracle") else part
        for name, part in coordinates.items()
        if name not in ("seed", "schema", "numerics")
    }
    budget = coordinates.get("budget")
    if isinstance(budget, dict) and "strategy" in budget:
        kept["budget"] = {**budget, "strategy": _unversioned(budget["strategy"])}
    return kept


def _unversioned(part: Any) -> Any:
    return {key: value for key, value in part.items() if key not in _VERSIONS} if isinstance(part, dict) else part


def _title(record: Record) -> str:
    control = "" if record.control is None else f", {control_label(record.control)}"
    budget = "" if record.budget is None else f", budget {record.budget}"
    return f"{record.title['method']}{control}{budget}"


def gate_cells(store: Store) -> dict[str, Cell]:
    """Return the cells of *store*. Of several versions of a run the one that finished last counts.

    A damaged record counts as a run of its cell without predictions, whatever other versions there are. If its
    coordinates are damaged too, it counts so in every cell of its data set and method; if there is none, in a lost one.
    """
    cells: dict[str, Cell] = {}
    for record in sorted(store.records(), key=lambda r: (r.finished, r.key)):
        coordinates = {name: value for name, value in record.coordinates.items() if name != "seed"}
        own = cells.setdefault(
            digest(without_versions(record.coordinates)),
            Cell(coordinates, _title(record), record.environment),
        )
        own.coordinates, own.title, own.environment = coordinates, _title(record), record.environment
        own.runs[record.seed] = run_of(record, store.predictions)
    for folder, what in store.damaged.items():
        _add_damaged(cells, store.runs / folder, what)
    return cells


def _add_damaged(cells: dict[str, Cell], folder: Path, what: str) -> None:
    dataset, method, seed, key = (folder.name.split(".") + [""] * 4)[:4]
    run = Run(None, None, f"its record is damaged ({what}); carry it out again, or delete {folder}", damaged=True)
    number = int(seed[1:]) if seed[1:].isdecimal() else -1
    coordinates: dict[str, Any] = {"dataset": {"name": dataset}, "method": {"name": method}, "protocol": {"name": "?"}}
    own = [name for name, cell in cells.items() if (cell.dataset, cell.method) == (dataset, method)]
    lost = not own
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        found = read_json(folder / "record.json")["coordinates"]
        if digest(found)[:16] == key and folder_name(found, key) == folder.name and found["protocol"]["name"]:
            coordinates = {name: value for name, value in found.items() if name != "seed"}
            own, lost = [digest(without_versions(found))], False
    for name in own or [digest(folder.name)]:
        cells.setdefault(name, Cell(coordinates, method, {}, lost=lost)).runs[number] = run


def run_of(record: Record, read: Callable[[Record], Any]) -> Run:
    """Return the run of *record*. *read* returns its predictions, see :func:`examples_frame`."""
    if record.status is not Status.OK:
        return Run(None, None, f"{record.status.value}{f': {record.reason}' if record.reason else ''}")
    try:
        found = examples_frame([record], read)
    except UserError as error:
        return Run(None, None, error.message.removeprefix(f"run {record.folder}: "))
    groups = [(group.name, group.total) for group in record.groups]
    if not groups and found["group"].isna().all():
        groups = [("", len(found))]
        found["group"] = ""
    sizes = found["group"].value_counts(dropna=False).to_dict()
    if sizes != {name: total for name, total in groups if total}:
        return Run(None, None, "its predictions do not belong to its record")
    found["group"] = found["group"].map({name: number for number, (name, _) in enumerate(groups)})
    found = found.sort_values(["group", "example"])
    examples = digest(found[["group", "example"]].to_numpy(dtype=object).tolist())
    return Run(Examples(tuple(groups), examples), found["right"].to_numpy(dtype=bool))
