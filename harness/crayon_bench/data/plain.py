"""A file's plain content: a ``.gz`` is unpacked."""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import IO, cast

from crayon_bench.errors import UserError

CHUNK = 1 << 20


@contextmanager
def open_plain(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacking ``.gz``. Whatever is wrong with it becomes a UserError."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            yield cast("IO[bytes]", stream)
    except EOFError:
        raise UserError(f"{path}: truncated: it ends too early", "fetch it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: corrupt: {error}", "fetch it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def content_sha256(path: Path) -> str:
    """Return the sha256 of a file's plain content (``.gz`` is unpacked). Raises UserError if it cannot be read."""
    return digests(path)[0]


def digests(path: Path, limit: float = inf) -> tuple[str, str]:
    """Return sha256 and md5 of the plain content. Raises UserError if it is larger than *limit* bytes, or broken."""
    size = 0
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with open_plain(path) as stream:
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            if size > limit:  # a small .gz may unpack to terabytes
                raise UserError(f"{path}: larger than {limit} bytes, twice the published file")
            sha256.update(chunk)
            md5.update(chunk)
    return sha256.hexdigest(), md5.hexdigest()
