"""The interface: many files under one name."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from crayon_bench.data.preparing import Preparing
from crayon_bench.data.trees.archives import BROKEN
from crayon_bench.data.trees.scans import Member, Scan, digest_of
from crayon_bench.errors import UserError

LARGEST = 256 << 20
"""Largest file that is read into memory, in bytes. None of these data sets has one; a bomb would fill memory."""

CHUNK = 1 << 20

_scans: dict[tuple[str, str], tuple[str, Scan]] = {}
"""Scans of this process, by path and name: (signature, scan)."""


class Tree(ABC):
    """Many files under one name, as ``open_tree`` gives them. Whatever is wrong with them becomes a UserError."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path, self.names = path, tuple(names)
        self._known: Scan | None = None

    @property
    def members(self) -> Mapping[str, Member]:
        """Every file: name → size and crc32.

        A zip's own directory is believed. Folders and tar archives are read once; the result is kept in the cache
        folder and holds until a name, size or modification time changes. Not noticed: a change that keeps all three.
        """
        return self._scan().members

    def nested(self, name: str) -> str:
        """Return the folder in which *name* lies, where it is not where it should be; ``""`` if it is nowhere."""
        return next((member[: -len(name) - 1] for member in self.members if member.endswith(f"/{name}")), "")

    def digest(self) -> str:
        """Return a sha256 of names, sizes and crc32s: the same however the tree is packed."""
        return digest_of(self.members, sorted(self.members))

    def missing(self, names: Collection[str]) -> list[str]:
        """Return those of *names* that the tree has not."""
        members = self.members
        return [name for name in names if name not in members]

    def check(self) -> None:
        """Read every file. Raises UserError at the first that does not fit the checksum that its archive has of it."""
        names = self.members
        with Preparing(f"{self.path.name}: reading", len(names)) as progress:
            for _ in self.contents(names):
                progress.step()

    def read(self, name: str) -> bytes:
        """Return one file's content. Raises UserError if there is none of that *name*."""
        for _, content in self.contents([name]):
            return content
        raise UserError(f"{self.path}: there is no {name} in it")

    @abstractmethod
    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of those *names* that there are, once each, in an order that is quick to read."""

    @abstractmethod
    def _signature(self) -> str:
        """Return something cheap that changes when the content does."""

    @abstractmethod
    def _make_scan(self) -> Scan: ...

    def _scan(self) -> Scan:
        if self._known is None:
            here = (str(self.path.resolve()), "|".join(self.names))
            with self._errors():
                signature = self._signature()
            known = _scans.get(here)
            if known is None or known[0] != signature:
                known = signature, self._kept_scan(here, signature)
                _scans[here] = known
            self._known = known[1]
        return self._known

    def _kept_scan(self, here: tuple[str, str], signature: str) -> Scan:
        with self._errors():
            return self._make_scan()

    def member_name(self, name: str) -> str | None:
        """Return a packed file's name below the tree's own folder; None for a packer's litter.

        Raises UserError if the name leads outside.
        """
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or "\\" in name or "\0" in name or ".." in parts or ":" in (parts or [""])[0]:
            raise UserError(
                f"{self.path}: the name of its member {name!r} leads outside the archive", "do not trust it"
            )
        if not parts or "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1] in (".DS_Store", "Thumbs.db"):
            return None
        own = max((at for at, part in enumerate(parts[:-1], start=1) if part in self.names), default=0)
        return "/".join(parts[own:])

    def _bound(self, name: str, size: int) -> None:
        if size > LARGEST:
            raise UserError(f"{self.path}: {name}: larger than {LARGEST >> 20} MiB, which no file here is")

    def _put(self, scan: Scan, name: str, member: Member) -> None:
        if name in scan.members:
            raise UserError(f"{self.path}: {name} is in it twice")
        scan.members[name] = member

    @contextmanager
    def _errors(self, name: str = "") -> Iterator[None]:
        where = f"{self.path}: {name}" if name else str(self.path)
        try:
            yield
        except EOFError:
            raise UserError(f"{where}: truncated: it ends too early", "fetch it again") from None
        except BROKEN as error:
            raise UserError(f"{where}: broken: {error}", "fetch it again") from None
        except FileNotFoundError:
            raise UserError(f"{where}: not there (any more)") from None
        except OSError as error:
            raise UserError(f"{where}: cannot be read: {error.strerror or error}") from None


def file_signature(path: Path) -> str:
    """Return what changes when an archive does: its size and time of modification. Raises OSError."""
    info = path.stat()
    return f"{info.st_size} {info.st_mtime_ns}"
