"""Runs with their predictions, by cell: read from a store, or from a baseline file.

A *cell* is what the gate compares: all coordinates of a run except its seed and except versions. A version is what says
which code ran, not what was asked of it: the record's schema, the core's numerics, and of every plugin its ``version``
and the hash of its ``--plugin`` file. The environment (crayon_bench, torch, hardware) is no coordinate to begin with.

A baseline file is JSON: settings once, and for each cell and seed one bit per test example (right or wrong), in base64.
Examples are in order of group and name; their names themselves are kept as a digest.
"""

import base64
import binascii
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from crayon_bench.errors import UserError
from crayon_bench.parameters import validated
from crayon_bench.store.atomic import read_json, write_file
from crayon_bench.store.records import Record, Status, digest, folder_name
from crayon_bench.store.store import Store

FORMAT = "crayon-bench baseline"
SCHEMA = 1
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
    budget = record.budget
    return record.title["method"] if budget is None else f"{record.title['method']}, budget {budget}"


def read_cells(path: Path) -> dict[str, Cell]:
    """Return the cells of a store or of a baseline file. Raises UserError."""
    if path.is_dir():
        return cells_of(Store.open(path))
    if not path.exists():
        raise UserError(
            f"--baseline {path}: there is no such file", "make it with crayon-bench check --update-baseline"
        )
    return _load(path)


def cells_of(store: Store) -> dict[str, Cell]:
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
        own.runs[record.seed] = _run(store, record)
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


def _run(store: Store, record: Record) -> Run:
    if record.status is not Status.OK:
        return Run(None, None, f"{record.status.value}{f': {record.reason}' if record.reason else ''}")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(store.runs / record.folder / "predictions.parquet")
        names = [str(name) for name in table["example"].to_pylist()]
        no_groups = not record.groups and table["group"].null_count == len(names)
        columns = ("label", "predicted", *([] if no_groups else ["group"]))
        labels, predicted, *rest = (np.asarray(table[column].to_numpy(), dtype=np.int64) for column in columns)
        groups = rest[0] if rest else np.zeros(len(names), dtype=np.int64)
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        return Run(None, None, f"its predictions cannot be read: {' '.join(str(error).split())[:100]}")
    known = [("", len(names))] if no_groups else [(group.name, group.total) for group in record.groups]
    sizes = np.bincount(groups[groups >= 0], minlength=len(known))
    if sizes.tolist() != [total for _, total in known]:
        return Run(None, None, "its predictions do not belong to its record")
    order = sorted(range(len(names)), key=lambda n: (int(groups[n]), names[n]))
    tests = Examples(
        groups=tuple(known),
        examples=digest([[int(groups[n]), names[n]] for n in order]),
    )
    return Run(tests, (labels == predicted)[order])


# ---------------------------------------------------------------------------------------------------------------------
# the file


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Group(_Part):
    name: StrictStr
    total: Annotated[int, Field(ge=0, lt=2**40)]


class _Tests(_Part):
    groups: list[_Group]
    examples: StrictStr


class _Cell(_Part):
    setting: StrictStr
    method: dict[str, Any]
    title: StrictStr
    tests: StrictStr
    right: dict[Annotated[int, Field(ge=0)], StrictStr]
    """Seed → one bit per test example, the first one highest, in base64."""


class _File(_Part):
    format: Literal["crayon-bench baseline"]
    schema_: Literal[1] = Field(alias="schema")
    made_with: dict[str, Any]
    settings: dict[str, dict[str, Any]]
    tests: dict[str, _Tests]
    cells: list[_Cell]
    sha256: StrictStr
    """Digest of all the rest."""


def to_bytes(cells: Iterable[Cell]) -> bytes:
    """Return a baseline file of the runs that have predictions: equal runs give equal bytes."""
    settings: dict[str, Any] = {}
    tests: dict[str, Any] = {}
    made_with: dict[str, set[str]] = {}
    rows = []
    for cell in sorted(cells, key=lambda cell: (cell.dataset, cell.method, digest(cell.coordinates))):
        shared = {name: value for name, value in cell.coordinates.items() if name != "method"}
        by_tests: dict[str, dict[str, str]] = {}
        for seed, run in sorted(cell.runs.items()):
            if run.tests is not None and run.right is not None:
                described = {
                    "groups": [{"name": name, "total": total} for name, total in run.tests.groups],
                    "examples": run.tests.examples,
                }
                key = digest(described)[:16]
                tests[key] = described
                packed = base64.b64encode(np.packbits(run.right).tobytes()).decode()
                by_tests.setdefault(key, {})[str(seed)] = packed
        for key, right in by_tests.items():
            setting = digest(shared)[:16]
            settings[setting] = shared
            method = cell.coordinates["method"]
            rows.append({"setting": setting, "method": method, "title": cell.title, "tests": key, "right": right})
        for name in ("crayon_bench", "torch", "device"):
            made_with.setdefault(name, set()).add(str(cell.environment.get(name, "?")))
    content = {
        "format": FORMAT,
        "schema": SCHEMA,
        "made_with": {name: ", ".join(sorted(values)) for name, values in made_with.items()},
        "settings": dict(sorted(settings.items())),
        "tests": dict(sorted(tests.items())),
        "cells": rows,
    }
    return (json.dumps({**content, "sha256": digest(content)}, indent=1, ensure_ascii=False) + "\n").encode()


def write_baseline(path: Path, cells: Iterable[Cell]) -> None:
    """Write a baseline file, whole or not at all. Raises UserError."""
    if path.is_dir():
        raise UserError(f"--baseline {path}: is a folder", "name a file to write")
    try:
        write_file(path, to_bytes(cells))
    except OSError as error:
        raise UserError(f"--baseline {path}: cannot be written: {error.strerror or error}") from None


def _load(path: Path) -> dict[str, Cell]:
    where = f"--baseline {path}"
    try:
        raw = read_json(path)
        found = raw.get("format"), raw.get("schema")
    except OSError as error:
        raise UserError(f"{where}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError, AttributeError):
        found = None, None
    if found[0] != FORMAT:
        raise UserError(f"{where}: this is no baseline file", "make one with crayon-bench check --update-baseline")
    if isinstance(found[1], int) and found[1] > SCHEMA:
        raise UserError(f"{where}: its schema is {found[1]}, this version reads up to {SCHEMA}", "upgrade crayon-bench")
    try:
        content = {name: value for name, value in raw.items() if name != "sha256"}
        if digest(content) != raw.get("sha256"):
            raise ValueError("its content and its sha256 do not belong together")
        return _cells(validated(_File, raw, ""))
    except (UserError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise UserError(
            f"{where}: is damaged: {what}", "restore it, or make it anew with crayon-bench check --update-baseline"
        ) from None


def _cells(file: _File) -> dict[str, Cell]:
    tests = {
        key: Examples(tuple((group.name, group.total) for group in one.groups), one.examples)
        for key, one in file.tests.items()
    }
    cells: dict[str, Cell] = {}
    for row in file.cells:
        coordinates = {**file.settings[row.setting], "method": row.method}
        for part in ("dataset", "method", "protocol"):
            if not isinstance(coordinates[part]["name"], str):
                raise ValueError(f"{part}.name is no text")
        cell = cells.setdefault(
            digest(without_versions(coordinates)), Cell(coordinates, row.title, dict(file.made_with))
        )
        for seed, text in row.right.items():
            cell.runs[seed] = Run(tests[row.tests], _unpack(text, tests[row.tests]))
    return cells


def _unpack(text: str, tests: Examples) -> NDArray[np.bool_]:
    count = sum(size for _, size in tests.groups)
    try:
        packed = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"predictions: {error}") from None
    if len(packed) != (count + 7) // 8:
        raise ValueError(f"predictions of {count} examples have {len(packed)} bytes")
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=count).astype(np.bool_)
