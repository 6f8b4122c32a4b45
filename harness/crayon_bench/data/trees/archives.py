"""Archives whose headers are looked at before they are believed."""

import struct
import tarfile
import zipfile
import zlib
from lzma import LZMAError
from pathlib import Path
from typing import IO, Any

BROKEN = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, struct.error),
    *(RuntimeError, ValueError, ArithmeticError, LookupError),
)
"""What zipfile and tarfile raise at archives that are broken, beside OSError."""

_HEADER = 1 << 20
"""Largest header of a tar's member, such as its long name."""


def is_zip(path: Path) -> bool:
    """Return whether *path* begins, or ends, as a zip archive does. Raises OSError."""
    try:
        return zipfile.is_zipfile(path)
    except BROKEN:
        return False


def is_tar(path: Path) -> bool:
    """Return whether *path* begins as a tar archive does, packed or not. Raises OSError."""
    try:
        with path.open("rb") as stream, open_tar(stream):
            return True
    except BROKEN:
        return False


def open_member(bundle: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """Open a zip's member, to be read piece by piece: only so does zipfile unpack no more than is asked for."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others it unpacks at once
        raise zipfile.BadZipFile(f"{info.filename} is packed by a method other than deflate")
    return bundle.open(info)


def open_tar(stream: IO[bytes]) -> tarfile.TarFile:
    """Open a tar archive whose headers are looked at before they are believed."""
    return tarfile.open(fileobj=stream, tarinfo=_Info)


class _Info(tarfile.TarInfo):
    """A member that cannot lead tarfile back to where it was, nor have it read a header of gigabytes."""

    def _block(self, count: int) -> int:
        if count < 0:  # CVE-2025-8194
            raise tarfile.HeaderError("a member has a negative size")
        return super()._block(count)  # type: ignore[misc,no-any-return]

    def _proc_member(self, tar: tarfile.TarFile) -> Any:
        names = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        if self.type in (*names, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE) and self.size > _HEADER:
            raise tarfile.HeaderError(f"a header of {self.size} bytes")
        return super()._proc_member(tar)  # type: ignore[misc]
