"""Artifacts: what several runs share, such as the original model. Made once, kept as safetensors."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from crayon_bench.errors import StoreError, one_line
from crayon_bench.files import check_sums, read_json, set_aside, with_sums, write_folder
from crayon_bench.limits import not_counted
from crayon_bench.records import digest


class Artifacts:
    """The folder of artifacts in a store: ``KIND.KEY/`` with ``tensors.safetensors`` and ``meta.json``."""

    def __init__(self, root: Path) -> None:
        self.root = root

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
        return self.get_or_make_all(kind, [coordinates], lambda _: [make()])[0]

    def get_or_make_all(
        self,
        kind: str,
        coordinates: Sequence[Mapping[str, Any]],
        make: Callable[[list[int]], list[dict[str, Tensor]]],
    ) -> list[tuple[dict[str, Tensor], str, bool]]:
        """Do the same for several: *make* is called once, with the positions of those that are missing."""
        names = [self.name(kind, own) for own in coordinates]
        with ExitStack() as locks:
            with self._kept(), not_counted():
                self.root.mkdir(parents=True, exist_ok=True)
                for name in sorted(set(names)):  # in one order everywhere, so that no two wait for each other
                    locks.enter_context(FileLock(self.root / f".{name}.lock"))
            found = [self._read(self.root / name) for name in names]
            missing = [number for number, tensors in enumerate(found) if tensors is None]
            start = time.perf_counter()
            made = dict(zip(missing, make(missing) if missing else [], strict=True))
            seconds = (time.perf_counter() - start) / max(1, len(missing))
            return [
                (self._write(names[number], coordinates[number], made[number], seconds), names[number], True)
                if tensors is None
                else (tensors, names[number], False)
                for number, tensors in enumerate(found)
            ]

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
