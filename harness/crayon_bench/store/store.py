"""The store: a folder of records. One folder per run, each written whole or not at all.

::

    STORE/store.json                        the schema
    STORE/runs/DATASET.METHOD.sSEED.KEY/    record.json, predictions.parquet, log.txt, SHA256SUMS;
                                            model.safetensors where the refined model was to be kept
    STORE/artifacts/KIND.KEY/               tensors.safetensors, meta.json

Two stores merge by copying one over the other. Names that begin with a dot are unfinished or set aside; delete them
at will while nothing runs.
"""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from pydantic import ValidationError

from crayon_bench.errors import StoreError, UserError, one_line
from crayon_bench.store.atomic import check_sums, read_json, set_aside, with_sums, write_file, write_folder
from crayon_bench.store.locks import locking
from crayon_bench.store.records import SCHEMA, Record, Status, folder_name

if TYPE_CHECKING:
    import pyarrow as pa

MODEL = "model.safetensors"
"""In a run's folder: the refined model, if it was kept."""
PREDICTIONS = "predictions.parquet"
_COLUMNS = {"example": "string", "label": "int32", "predicted": "int32", "group": "int32", "confidence": "float32"}
"""Of the predictions, with their types in Arrow."""
_CLAIMS = ".claims"
"""Folder of locks, one for each run in hand."""


class Store:
    """The store at *path*."""

    def __init__(self, path: Path, *, mend: bool = False) -> None:
        """*mend*: set damaged records aside; otherwise they are only left out."""
        self.path = path
        self.mend = mend
        self.runs = path / "runs"
        self.artifacts = path / "artifacts"
        self.damaged: dict[str, str] = {}
        """Folders of records that were left out, and what is wrong with each; after a call of ``records``."""

    @classmethod
    def create(cls, path: Path) -> "Store":
        """Open the store at *path* for writing, making it if needed. Raises UserError if that cannot be."""
        store = cls(path, mend=True)
        try:
            store.runs.mkdir(parents=True, exist_ok=True)
            store.artifacts.mkdir(exist_ok=True)
            store._check_schema()
            if not (path / "store.json").exists():
                write_file(path / "store.json", json.dumps({"schema": SCHEMA}).encode() + b"\n")
            for folder in (path, store.runs, store.artifacts):
                if not os.access(folder, os.W_OK):
                    raise PermissionError(13, "Permission denied", str(folder))
        except OSError as error:
            raise UserError(
                f"store {path}: cannot be written: {error.strerror or error}", "choose another with --store DIR"
            ) from None
        return store

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Open an existing store for reading. Raises UserError if there is none or its schema is newer."""
        store = cls(path)
        if not store.runs.is_dir():
            raise UserError(
                f"store {path}: there is none", "make one with crayon-bench run, or name one with --store DIR"
            )
        store._check_schema()
        return store

    def _check_schema(self) -> None:
        file = self.path / "store.json"
        if not file.exists():
            return
        try:
            schema = int(read_json(file)["schema"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise UserError(f"store {self.path}: {file.name} is damaged ({error})", "delete that file") from None
        if schema > SCHEMA:
            raise UserError(
                f"store {self.path}: its schema is {schema}, this version reads up to {SCHEMA}",
                "upgrade crayon-bench, or choose another with --store DIR",
            )

    @contextmanager
    def in_use(self, *, alone: bool = False) -> Iterator[bool]:
        """Say that runs are being carried out, as others may; give whether one is the first to do so.

        *alone*: raise UserError if somebody does.
        """
        if sys.platform == "win32":  # there is no such lock there
            yield True
            return
        import fcntl

        with (self.path / ".in-use").open("a") as file, (self.path / ".first-in-use").open("a") as sweeping:
            if alone:
                try:
                    with locking(f"store {self.path}"):
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise UserError(
                        f"store {self.path}: runs are being carried out", "try again when they are over"
                    ) from None
                yield True
                return
            with locking(f"store {self.path}"):
                fcntl.flock(file, fcntl.LOCK_SH)
            try:
                with locking(f"store {self.path}"):
                    fcntl.flock(sweeping, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of several sweeps, the first has it
                first = True
            except BlockingIOError:
                first = False
            yield first

    @contextmanager
    def claimed(self, key: str) -> Iterator[None]:
        """Have the run *key* to oneself: of two sweeps, the second waits here until the first is done with it."""
        folder = self.path / _CLAIMS
        try:
            folder.mkdir(exist_ok=True)
            claim = FileLock(folder / key[:24])
            with locking(f"store {self.path}"):
                claim.acquire()
        except OSError as error:
            raise StoreError(f"store {self.path}: cannot be written: {error.strerror or error}") from None
        try:
            yield
        finally:
            claim.release()

    def stamp(self, coordinates: dict[str, object], key: str) -> str:
        """Return what changes whenever the record of *key* is written; empty while there is none."""
        try:
            found = (self.runs / folder_name(coordinates, key) / "record.json").stat()
        except OSError:
            return ""
        return f"{found.st_ino}-{found.st_mtime_ns}"

    def find(self, coordinates: dict[str, object], key: str) -> Record | None:
        """Return the record of *key*, or None. Reads one file."""
        record = self._read(self.runs / folder_name(coordinates, key))
        return record if record is not None and record.key == key else None

    def records(self) -> list[Record]:
        """Return all records, by folder name. A damaged one is set aside with a warning."""
        folders = sorted(f for f in self.runs.iterdir() if f.is_dir() and not f.name.startswith("."))
        return [record for record in map(self._read, folders) if record is not None]

    def unneeded(self) -> list[Path]:
        """Return artifacts that no record names, and what is unfinished or set aside; call it while nothing runs."""
        named = {name for record in self.records() for name in record.artifacts}
        found = [
            path
            for folder in (self.artifacts, self.runs, self.path)
            if folder.is_dir()
            for path in sorted(folder.iterdir())
            if (folder == self.artifacts and path.is_dir() and not path.name.startswith(".") and path.name not in named)
            or (path.name.startswith(".") and path.name.endswith((".damaged", ".tmp")))
            or (folder == self.path and (path.name.startswith(".sweep.") or path.name == _CLAIMS))
        ]
        locks = (path for path in sorted(self.artifacts.glob(".*.lock")))
        return found + [path for path in locks if path.name[1:-5] not in named]

    def save(self, record: Record, predictions: bytes | None, log: str, model: bytes | None = None) -> None:
        """Write a run's folder; one that is there already is replaced. Raises StoreError if it cannot be written."""
        files = {"record.json": record.to_json().encode(), "log.txt": log.encode()}
        if predictions is not None:
            files[PREDICTIONS] = predictions
        if model is not None:
            files[MODEL] = model
        try:
            write_folder(self.runs / record.folder, with_sums(files))
        except OSError as error:
            why = error.strerror or error
            raise StoreError(f"store {self.path}: run {record.folder} cannot be written: {why}") from None

    def has_model(self, record: Record) -> bool:
        """Return whether the run's refined model was kept."""
        return (self.runs / record.folder / MODEL).is_file()

    def model(self, record: Record) -> bytes:
        """Return the run's refined model, as :mod:`crayon_bench.networks.exported` wrote it.

        Raises UserError if it is damaged.
        """
        folder = self.runs / record.folder
        try:
            check_sums(folder, [MODEL])
            return (folder / MODEL).read_bytes()
        except (OSError, ValueError) as error:
            hint = "delete that file, or run it again with --keep-models --rerun all"
            raise UserError(f"{folder / MODEL}: damaged ({getattr(error, 'strerror', None) or error})", hint) from None

    def predictions(self, record: Record) -> "pa.Table":
        """Return what the run predicted, a row per test example (docs/reference/records.md).

        ``group`` is null throughout where there are no groups; nothing else is null. Raises UserError if the run has
        no predictions, or if they are damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = self.runs / record.folder
        try:
            check_sums(folder, [PREDICTIONS])
            found = pq.read_table(io.BytesIO((folder / PREDICTIONS).read_bytes())).select(list(_COLUMNS))
            table = found.cast(pa.schema([(name, pa.type_for_alias(kind)) for name, kind in _COLUMNS.items()]))
            table.validate(full=True)
            for name in _COLUMNS:
                if table[name].null_count not in ({0, len(table)} if name == "group" else {0}):
                    raise ValueError(f"column '{name}' lacks values")
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            why = " ".join(str(getattr(error, "strerror", None) or error).split())[:100]
            raise UserError(
                f"run {record.folder}: its predictions cannot be read: {why}", "run it again with --rerun all"
            ) from None
        return table

    def log(self, record: Record) -> str:
        """Return the log of a run; empty if there is none."""
        try:
            return (self.runs / record.folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _read(self, folder: Path) -> Record | None:
        try:
            return self._read_once(folder)
        except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
            pass  # another process may have replaced the folder in the middle of it
        try:
            return self._read_once(folder)
        except (FileNotFoundError, NotADirectoryError) as error:
            if folder.is_dir() and folder.name.count(".") == 3:  # named as a record is
                self._damaged(folder, ValueError(f"{Path(str(error.filename)).name} is missing"))
        except (ValueError, RecursionError) as error:
            self._damaged(folder, error)
        return None

    def _read_once(self, folder: Path) -> Record:
        file = folder / "record.json"
        try:
            raw = read_json(file)
            schema = raw.get("schema") if isinstance(raw, dict) else None
            if isinstance(schema, int) and schema > SCHEMA:
                raise UserError(
                    f"{file}: its schema is {schema}, this version reads up to {SCHEMA}", "upgrade crayon-bench"
                )
            record = Record.model_validate(raw)
            if record.status is Status.OK:
                _check_whole(folder / PREDICTIONS)
            check_sums(folder, ["record.json", *([PREDICTIONS] if record.status is Status.OK else [])])
            return record
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None

    def _damaged(self, folder: Path, error: Exception) -> None:
        what = next(iter(str(error).splitlines()), type(error).__name__)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            what = f"{'.'.join(map(str, first['loc']))} {first['msg']}".strip()
        kept = "left out"
        if self.mend:
            try:
                kept = f"set aside as {set_aside(folder).name}"
            except FileNotFoundError:  # by another process, at the same moment
                return
        self.damaged[folder.name] = what
        text = f"Warning: record {folder.name} is damaged ({what}); {kept}, the run counts as missing"
        print(one_line(text), file=sys.stderr)


def _check_whole(parquet: Path) -> None:
    """Raise ValueError if a parquet file does not end as one does."""
    with parquet.open("rb") as stream:
        if stream.seek(0, 2) < 12:
            raise ValueError("its predictions are empty")
        stream.seek(-4, 2)
        if stream.read() != b"PAR1":
            raise ValueError("its predictions are cut off")
