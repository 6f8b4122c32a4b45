"""A baseline file: the runs of cells, with their predictions, in JSON.

It has the settings once, and for each cell and seed one bit per test example (right or wrong), in base64. Examples are
in order of group and name; their names themselves are kept as a digest.
"""

import base64
import binascii
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from crayon_bench.errors import UserError
from crayon_bench.parameters import validated
from crayon_bench.store.atomic import read_json, write_file
from crayon_bench.store.records import digest
from crayon_bench.store.store import Store
from crayon_bench_leaderboards.cells import Cell, Examples, Run, gate_cells, without_versions

FORMAT = "crayon-bench baseline"
SCHEMA = 1


def read_cells(path: Path) -> dict[str, Cell]:
    """Return the cells of a store or of a baseline file. Raises UserError."""
    if path.is_dir():
        return gate_cells(Store.open(path))
    if not path.exists():
        raise UserError(
            f"--baseline {path}: there is no such file", "make it with crayon-bench check --update-baseline"
        )
    return _load(path)


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
