"""A folder as a tree."""

import hashlib
import os
import stat
import zlib
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

from crayon_bench.data.preparing import Preparing, in_threads
from crayon_bench.data.trees.scans import Member, Scan, kept_or_made
from crayon_bench.data.trees.tree import CHUNK, Tree
from crayon_bench.errors import UserError


class FolderTree(Tree):
    """A folder; links to files are followed, links to folders are not."""

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """See :meth:`Tree.contents`."""
        for name in names:
            # Most files lie where their names say, and the folder need not be walked.
            path: str | None = os.path.join(self.path, name)  # noqa: PTH118
            if self.member_name(name) != name or not os.path.isfile(str(path)):  # noqa: PTH113
                self._scan()
                path = self._files.get(name)
            if path is not None:
                with self._errors(name):
                    self._bound(name, Path(path).stat().st_size)
                    content = Path(path).read_bytes()
                yield name, content

    def _signature(self) -> str:
        # Plain strings and not Path objects: there may be 200,000 files, and this is done for every plan.
        self._files: dict[str, str] = {}
        found: list[str] = []
        folders = [str(self.path)]
        while folders:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    # A link to a folder is not followed: one above would have no end. Links to files are.
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                        continue
                    info = entry.stat()
                    if not stat.S_ISREG(info.st_mode):
                        continue
                    relative = os.path.relpath(entry.path, self.path) if os.sep != "/" else entry.path[self._offset :]
                    name = self.member_name(relative.replace(os.sep, "/"))
                    if name is not None:
                        found.append(f"{name}\t{info.st_size}\t{info.st_mtime_ns}")
                        self._files[name] = entry.path
        if len(self._files) != len(found):
            raise UserError(
                f"{self.path}: the same file is in it twice, in folders called {self.names[0]} in one another"
            )
        return hashlib.sha256("\n".join(sorted(found)).encode(errors="surrogateescape")).hexdigest()

    @property
    def _offset(self) -> int:
        return len(str(self.path)) + 1 if str(self.path) != "/" else 1

    def _kept_scan(self, here: tuple[str, str], signature: str) -> Scan:
        return kept_or_made(here, signature, lambda: super(FolderTree, self)._kept_scan(here, signature))

    def _make_scan(self) -> Scan:
        names = sorted(self._files)
        scan = Scan()
        with (
            Preparing(f"{self.path.name}: checksums", len(names)) as progress,
            closing(in_threads(self._member, names)) as results,
        ):
            for name, member in zip(names, results, strict=True):
                scan.members[name] = member
                progress.step()
        return scan

    def _member(self, name: str) -> Member:
        size = crc32 = 0
        with self._errors(name), Path(self._files[name]).open("rb") as stream:
            while chunk := stream.read(CHUNK):
                size += len(chunk)
                crc32 = zlib.crc32(chunk, crc32)
        return Member(size, crc32)
