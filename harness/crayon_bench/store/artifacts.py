"""Artifacts: what several runs share, such as the original model. Made once, kept as safetensors."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors, save as dump_tensors
from torch import Tensor

from crayon_bench.errors import StoreError, one_line
from crayon_bench.store.atomic import check_sums, read_json, set_aside, with_sums, write_folder
from crayon_bench.store.locks import locking
from crayon_bench.store.records import digest


class Artifacts:
    """The folder of artifacts in a store: ``KIND.KEY/`` with ``tensors.safetensors`` and ``meta.json``."""

    def __init__(self, root: Path, waiting: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """*waiting*: entered while this process waits for what another one makes."""
        self.root = root
        self.waiting = waiting

    @staticmethod
    def name(kind: str, coordinates: Mapping[str, Any]) -> str:
        """Return the folder's name; it depends on everything that the content depends on."""
        return f"{kind}.{digest(dict(coordinates))[:24]}"

    def get_or_make(
        self, kind: str, coordinates: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]
    ) -> tuple[dict[str, Tensor], str, bool]:
        """Return (tensors, name, made): read the artifact, or *make* and keep it.

        Who comes second while it is being made waits, and reads. A damaged one is set aside with a warning and remade.
        Raises StoreError if it cannot be kept.
        """
        name = self.name(kind, coordinates)
        with ExitStack() as lock:
            with self._kept(), self.waiting():
                self.root.mkdir(parents=True, exist_ok=True)
                with locking(f"store {self.root.parent}"):
                    lock.enter_context(FileLock(self.root / f".{name}.lock"))
            if (tensors := self._read(self.root / name)) is not None:
                return tensors, name, False
            start = time.perf_counter()
            made = make()
            return self._write(name, coordinates, made, time.perf_counter() - start), name, True

    def seconds(self, name: str) -> float:
        """Return how long it took to make the artifact *name*; 0 where that was not noted, or is no time."""
        seconds = read_json(self.root / name / "meta.json").get("seconds")
        return float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < 1e9 else 0.0

    def _write(
        self, name: str, coordinates: Mapping[str, Any], made: dict[str, Tensor], seconds: float
    ) -> dict[str, Tensor]:
        tensors = {key: value.detach().cpu().contiguous() for key, value in made.items()}
        content = dump_tensors(tensors)
        meta = {
            "coordinates": dict(coordinates),
            "sha256": hashlib.sha256(content).hexdigest(),
            "seconds": round(seconds, 3),
        }
        with self._kept():
            files = {"tensors.safetensors": content, "meta.json": json.dumps(meta, indent=1).encode()}
            write_folder(self.root / name, with_sums(files))
        return tensors

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = error.strerror or error
            raise StoreError(f"store {self.root.parent}: artifacts cannot be written: {why}") from None

    @staticmethod
    def _read(folder: Path) -> dict[str, Tensor] | None:
        if not folder.is_dir():
            return None
        try:
            content = (folder / "tensors.safetensors").read_bytes()
            meta = read_json(folder / "meta.json")
            if hashlib.sha256(content).hexdigest() != meta["sha256"]:
                raise ValueError("the checksum does not match")
            if not folder.name.endswith(f".{digest(meta['coordinates'])[:24]}"):
                raise ValueError("it belongs to other coordinates")
            check_sums(folder, ["meta.json"])
            return load_tensors(content)
        except (FileNotFoundError, IsADirectoryError, ValueError, KeyError, TypeError, SafetensorError) as error:
            kept = set_aside(folder)
            text = f"Warning: artifact {folder.name} is damaged ({error}); kept as {kept.name}, remade"
            print(one_line(text), file=sys.stderr)
            return None
