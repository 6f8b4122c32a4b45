"""A zip archive as a tree."""

import stat
import zipfile
from collections.abc import Collection, Iterator

from crayon_bench.data.trees.archives import open_member
from crayon_bench.data.trees.scans import Member, Scan
from crayon_bench.data.trees.tree import Tree, file_signature
from crayon_bench.errors import UserError


class ZipTree(Tree):
    """A zip archive, whose own directory is believed."""

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """See :meth:`Tree.contents`."""
        wanted = set(names)
        with self._errors(), zipfile.ZipFile(self.path) as bundle:
            for info in bundle.infolist():
                name = None if info.is_dir() else self.member_name(info.filename)
                if name in wanted:
                    self._bound(name, info.file_size)
                    with self._errors(name), open_member(bundle, info) as stream:
                        content = stream.read(info.file_size + 1)
                        if len(content) != info.file_size:
                            raise EOFError
                    yield name, content

    def _signature(self) -> str:
        return file_signature(self.path)

    def _make_scan(self) -> Scan:
        scan = Scan()
        with zipfile.ZipFile(self.path) as bundle:
            for info in bundle.infolist():
                if info.is_dir() or (name := self.member_name(info.filename)) is None:
                    continue
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise UserError(f"{self.path}: its member {name} is a link, which is not followed")
                self._put(scan, name, Member(info.file_size, info.CRC))
        return scan
