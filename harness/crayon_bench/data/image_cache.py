"""Decoded images: made once, kept as a memory-mapped uint8 array, keyed by content and size.

They lie in ``decoded/`` of the cache folder (``$CRAYON_BENCH_CACHE``, or the user's cache folder), one ``.npy`` file
each with a small ``.json`` beside it. The folder may be deleted whenever no run is in progress.

A file is noticed as damaged if its length is wrong, or if one of 64 blocks of 64 KiB spread evenly over it, the first
and the last among them, differs from what was written: that takes milliseconds however large the file is. Truncation,
lost pages and overwritten stretches of more than a 64th are found; a single flipped bit between two blocks is not.
"""

import errno
import hashlib
import io
import json
import os
import re
import shutil
import sys
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import PIL
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from crayon_bench.data.kinds import is_picture, kind_of
from crayon_bench.data.masks import Mask, mask_in
from crayon_bench.data.pixels import Deep, check_bits, deep_of, eight_bits, highest_of, orientation_of, placed
from crayon_bench.data.preparing import Preparing, in_threads
from crayon_bench.data.roots import cache_root
from crayon_bench.errors import UserError
from crayon_bench.store.atomic import read_json, set_aside, write_file
from crayon_bench.store.locks import locking

MOST = 0.999
"""Share of a deep picture's pixels; the rest may be hot pixels of a sensor, or writing."""
_BLOCKS, _BLOCK = 64, 1 << 16
MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded, because a bomb would fill memory; see :func:`most_pixels`."""

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # our limit is named instead

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""What Pillow may try. It knows some fifty more; one of them starts Ghostscript on the file."""

DECODER = 2
"""Part of every key: raise it when the same file leads to other pixels. 2: EXIF orientation, depth, masks."""

_EXIF_IN_PNG = (b"eXIf", b"Raw profile type exif")

T = TypeVar("T")


def decoded(
    name: str,
    key: Mapping[str, Any],
    shape: tuple[int, int, int, int],
    items: Callable[[], Iterable[tuple[int, T]]],
    decode: Callable[[T], NDArray[np.uint8]],
    *,
    what: str | None = None,
    workers: int | None = None,
) -> NDArray[np.uint8]:
    """Return a read-only memory-mapped array of *shape* (N, C, H, W), decoding what is not in the cache yet.

    name: beginning of the file's name. key: everything that the content depends on, as JSON values; Pillow's version
    and :data:`DECODER` are added, because another decoder gives other pixels. items: called only if it must be made;
    yields each position in [0, N) once, in any order, with what *decode* (called in *workers* threads) makes an array
    (C, H, W) of. what: for the progress display.

    Who comes second while it is being made waits, and reads. A damaged file is set aside with a warning and remade.
    Interrupted or failed, nothing stays. Raises UserError if the disk is full or the folder cannot be written, and
    whatever *items* and *decode* raise; ValueError if they do not fill the array.
    """
    if shape[0] == 0:
        return np.zeros(shape, dtype=np.uint8)
    folder = cache_root() / "decoded"
    wanted: dict[str, Any] = json.loads(
        json.dumps({**key, "shape": shape, "pillow": PIL.__version__, "decoder": DECODER})
    )
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    path = folder / f"{name}-{digest[:24]}.npy"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as lock:
            with locking(f"decoded images {folder}", _ELSEWHERE):
                lock.enter_context(FileLock(folder / f".{path.stem}.lock"))
            array = _read(path, wanted)
            if array is None:
                _make(path, wanted, shape, items, decode, what or name, workers)
                array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return array


def open_picture(
    content: bytes, what: str, mode: str = "RGB", *, turned: bool = True, depth: int | None = None
) -> Image.Image:
    """Return an image file's pixels in 8 bits a value, converted to *mode*.

    turned: upright, as its EXIF orientation says; else as they are stored. depth: bits of a value where there are more
    than 8; see :func:`crayon_bench.data.pixels.eight_bits`. Raises UserError that begins with *what* if it is broken.
    """
    with _opened(content, what) as picture:
        deep = deep_of(picture)
        return eight_bits(placed(picture, turned=turned), deep, depth, what).convert(mode)


def open_mask(content: bytes, what: str, *, turned: bool = True, shares: bool = False) -> Mask:
    """Return what an image file says as a mask; see :func:`crayon_bench.data.masks.mask_in`.

    Raises UserError that begins with *what* if it is broken, or if what it says is ambiguous.
    """
    with _opened(content, what) as picture:
        if deep_of(picture) == "colour":
            hint = "save it with 8 bits a value"
            raise UserError(f"{what}: a mask with 16 bits a colour, of which only the upper 8 can be read", hint)
        return mask_in(placed(picture, turned=turned), what, shares=shares)


@dataclass(frozen=True)
class Look:
    """What a file says of its image. width, height: as they are stored. orientation: of EXIF, 1 to 8; 1 is upright.

    deep: whether a value has more than 8 bits. highest: the highest value of a deep one, 0 to 65535; most: what
    :data:`MOST` of its pixels do not exceed.
    """

    width: int
    height: int
    orientation: int
    deep: Deep = ""
    highest: int = 0
    most: int = 0

    def size(self, *, turned: bool) -> tuple[int, int]:
        """Return width and height, upright (*turned*) or as they are stored."""
        return (self.height, self.width) if turned and self.orientation > 4 else (self.width, self.height)


def look_at(content: bytes, what: str, *, deep: bool = True) -> Look:
    """Return what a file says of its image, reading no more than its header unless it is *deep*. Raises UserError."""
    with _opened(content, what) as picture:
        # Of a PNG, Pillow looks for EXIF behind the pixels too, and reads them all for it.
        silent = picture.format == "PNG" and not any(word in content for word in _EXIF_IN_PNG)
        how = 1 if silent else orientation_of(picture)
        width, height = picture.size
        if picture.format == "TIFF" and how > 4:  # Pillow has turned them
            width, height = height, width
        kind = deep_of(picture) if deep else ""
        highest, most = (highest_of(picture, kind, what, share) if kind else 0 for share in (1.0, MOST))
        return Look(width, height, how, kind, highest, most)


def picture_size(content: bytes, what: str, *, turned: bool = True) -> tuple[int, int]:
    """Return an image file's width and height, upright or as they are stored. Raises UserError."""
    return look_at(content, what, deep=False).size(turned=turned)


def most_pixels() -> int:
    """Return how many pixels an image may have: ``$CRAYON_BENCH_MAX_PIXELS``, or :data:`MAX_PIXELS`."""
    chosen = os.environ.get("CRAYON_BENCH_MAX_PIXELS") or str(MAX_PIXELS)
    if not re.fullmatch(r"[1-9][0-9_]{0,17}", chosen, re.ASCII):
        raise UserError(f"CRAYON_BENCH_MAX_PIXELS={chosen}: expected a number of pixels, such as {MAX_PIXELS}")
    return int(chosen)


def _check(picture: Image.Image, what: str) -> None:
    """Raise UserError for a picture that is too large, or of which nothing says what is meant."""
    pixels, most = picture.width * picture.height, most_pixels()
    if pixels > most:
        raise UserError(
            f"{what}: {picture.width}×{picture.height} are {pixels:,} pixels, and the limit is {most:,}",
            f"make it smaller, or set CRAYON_BENCH_MAX_PIXELS={pixels}",
        )
    if picture.mode == "F":
        hint = "save it with 8 bits a value"
        raise UserError(f"{what}: its pixels are floating-point numbers, whose black and white nothing says", hint)
    if picture.format == "TIFF":
        with suppress(EOFError):
            picture.seek(1)
            if not picture.tag_v2.get(254, 0) & 1:  # type: ignore[attr-defined] # a thumbnail is no second page
                raise UserError(f"{what}: a TIFF of several pages", "save the one that is meant on its own")
        picture.seek(0)
    elif picture.format in ("GIF", "PNG", "WEBP") and getattr(picture, "n_frames", 1) > 1:
        raise UserError(f"{what}: {picture.n_frames} pictures in one file", "save the one that is meant on its own")  # type: ignore[attr-defined]


@contextmanager
def _opened(content: bytes, what: str) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            _check(picture, what)
            check_bits(picture, content, what)
            yield picture
    except UserError:
        raise
    except UnidentifiedImageError:
        known = ", ".join(FORMATS)
        if kind := kind_of(content):
            hint = "save it as PNG" if is_picture(kind) else "fetch it again"
            raise UserError(f"{what}: not an image that can be read ({known}), but {kind}", hint) from None
        raise UserError(f"{what}: not an image ({known}), or its beginning is damaged", "fetch it again") from None
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise UserError(f"{what}: more than {most:,} pixels, which Pillow does not open", "make it smaller") from None
    except Exception as error:  # Pillow's plugins raise anything at a broken file: KeyError, struct.error, …
        raise UserError(f"{what}: broken image: {error}", "fetch it again") from None


def _make(
    path: Path,
    wanted: dict[str, Any],
    shape: tuple[int, int, int, int],
    items: Callable[[], Iterable[tuple[int, T]]],
    decode: Callable[[T], NDArray[np.uint8]],
    what: str,
    workers: int | None,
) -> None:
    for stale in path.parent.glob(f".{path.name}.*.tmp"):  # of a process that was killed: we hold the lock
        stale.unlink(missing_ok=True)
    each = int(np.prod(shape[1:]))
    free, needed = shutil.disk_usage(path.parent).free, shape[0] * each
    if free < needed + (16 << 20):
        raise UserError(
            f"{path.parent}: the disk has {free / 1e9:.1f} GB free, decoding {what} takes {needed / 1e9:.1f} GB", _ROOM
        )
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    seen = np.zeros(shape[0], dtype=np.bool_)

    def one(item: tuple[int, T]) -> tuple[int, NDArray[np.uint8]]:
        return item[0], decode(item[1])

    try:
        # Written with write() and not through a map: on a full disk a map kills the process, write() raises.
        with (
            temporary.open("w+b") as out,
            Preparing(f"{what}: decoding", shape[0]) as progress,
            closing(in_threads(one, items(), workers)) as results,
        ):
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(out, header)
            start = out.tell()
            for position, pixels in results:
                if pixels.shape != shape[1:] or pixels.dtype != np.uint8:
                    raise ValueError(f"decoded {pixels.dtype} {pixels.shape}, expected uint8 {shape[1:]}")
                if not 0 <= position < shape[0] or seen[position]:
                    raise ValueError(f"position {position} is given twice, or is none of {shape[0]}")
                seen[position] = True
                out.seek(start + position * each)
                out.write(np.ascontiguousarray(pixels).data)
                progress.step()
            if not seen.all():
                raise ValueError(f"{int((~seen).sum())} of {shape[0]} positions were not given")
            out.flush()
            os.fsync(out.fileno())
            size = out.seek(0, os.SEEK_END)
            meta = {"key": wanted, "bytes": size, "sample": _sample(out, size)}
        write_file(path.with_suffix(".json"), json.dumps(meta, indent=1).encode() + b"\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path, wanted: dict[str, Any]) -> NDArray[np.uint8] | None:
    if not path.exists():
        return None
    try:
        meta = read_json(path.with_suffix(".json"))
        if meta["key"] != wanted:
            raise ValueError("it belongs to other data")
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            if size != meta["bytes"]:
                raise ValueError(f"{size} bytes instead of {meta['bytes']}")
            if _sample(stream, size) != meta["sample"]:
                raise ValueError("its content changed")
        array: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
        if list(array.shape) != wanted["shape"] or array.dtype != np.uint8:
            raise ValueError("it has another shape")
    except (FileNotFoundError, ValueError, KeyError, TypeError, EOFError) as error:
        for old in path.parent.glob(f".{path.name}.*.damaged"):  # one is enough to look at; they are large
            with suppress(OSError):
                old.unlink()
        kept = set_aside(path)
        print(f"Warning: decoded images {path} are damaged ({error}); kept as {kept.name}, remade", file=sys.stderr)
        return None
    return array


def _sample(stream: IO[bytes], size: int) -> str:
    hasher = hashlib.sha256()
    last = max(0, size - _BLOCK)
    for start in sorted({last * number // (_BLOCKS - 1) for number in range(_BLOCKS)}):
        stream.seek(start)
        hasher.update(stream.read(_BLOCK))
    return hasher.hexdigest()


_ELSEWHERE = "set CRAYON_BENCH_CACHE to another folder"
_ROOM = "make room, or set CRAYON_BENCH_CACHE to a folder on another disk"


def _unwritable(folder: Path, error: OSError) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"{folder}: no room left for decoded images", _ROOM)
    return UserError(
        f"{folder}: decoded images cannot be kept: {error.strerror or error}",
        _ELSEWHERE,
    )
