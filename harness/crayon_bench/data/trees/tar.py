"""A tar archive as a tree, packed or not."""

import tarfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import suppress

from crayon_bench.data.preparing import Preparing
from crayon_bench.data.trees.archives import open_tar
from crayon_bench.data.trees.scans import Member, Scan, kept_or_made
from crayon_bench.data.trees.tree import CHUNK, Tree, file_signature
from crayon_bench.errors import UserError

_TIMES, _ROOM = 20, 1 << 30
"""A tar archive may unpack to so many times its size and so many bytes more. Images hardly shrink by packing."""

_SMALL = 16 << 20
"""Largest text of a tar archive that a scan keeps, in bytes."""
_TEXTS = (".csv", ".json", ".txt")


class TarTree(Tree):
    """A tar archive, packed or not; read once from end to end to know what is in it."""

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """See :meth:`Tree.contents`."""
        wanted = set(names)
        known = self._scan()
        for name in [name for name in names if name in known.texts]:
            wanted.discard(name)
            yield name, known.texts[name].encode()
        if not wanted:
            return
        with self._errors(), self.path.open("rb") as raw, open_tar(raw) as bundle:
            for name, info in self._infos(bundle):
                if name in wanted:
                    self._bound(name, info.size)
                    stream = bundle.extractfile(info)
                    content = b"" if stream is None else stream.read()
                    if zlib.crc32(content) != known.members[name].crc32:
                        raise UserError(f"{self.path}: {name} changed while it was read")
                    yield name, content

    def _signature(self) -> str:
        return file_signature(self.path)

    def _kept_scan(self, here: tuple[str, str], signature: str) -> Scan:
        return kept_or_made(here, signature, lambda: super(TarTree, self)._kept_scan(here, signature))

    def _make_scan(self) -> Scan:
        scan = Scan()
        total = self.path.stat().st_size
        with (
            Preparing(f"{self.path.name}: checksums, MB", total >> 20) as progress,
            self.path.open("rb") as raw,
            open_tar(raw) as bundle,
        ):
            for name, info in self._infos(bundle):
                stream = bundle.extractfile(info)
                size = crc32 = 0
                kept: list[bytes] | None = [] if name.endswith(_TEXTS) and info.size <= _SMALL else None
                while stream is not None and (chunk := stream.read(CHUNK)):
                    size += len(chunk)
                    crc32 = zlib.crc32(chunk, crc32)
                    if kept is not None:
                        kept.append(chunk)
                if size != info.size:
                    raise EOFError
                self._put(scan, name, Member(size, crc32))
                if kept is not None:
                    with suppress(UnicodeDecodeError):  # then it is read from the archive when it is wanted
                        scan.texts[name] = b"".join(kept).decode()
                progress.step(max(0, (raw.tell() >> 20) - progress.done))
            # A tar ends before its packing does, and only there stands the checksum of a .gz.
            rest = 0
            while bundle.fileobj is not None and (chunk := bundle.fileobj.read(CHUNK)):
                rest += len(chunk)
                self._no_bomb(rest)
        return scan

    def _no_bomb(self, unpacked: int) -> None:
        if unpacked > _TIMES * self.path.stat().st_size + _ROOM:
            raise UserError(f"{self.path}: it unpacks to more than {_TIMES} times its size: no archive of images does")

    def _infos(self, bundle: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
        total = 0
        for info in bundle:
            total += tarfile.BLOCKSIZE + info.size
            self._no_bomb(total)
            if info.isdir() or (name := self.member_name(info.name)) is None:
                continue
            if not info.isfile() or info.issparse():
                what = "a link" if info.issym() or info.islnk() else "sparse" if info.issparse() else "a device"
                raise UserError(f"{self.path}: its member {name} is {what}, which is not followed")
            yield name, info
