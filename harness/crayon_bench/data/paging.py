"""Reading a memory map of any size within bounded resident memory.

Pages of a file that were read through a map stay resident until memory is short, and count as the process's own: one
epoch over 20,200 faces makes 3.7 GB. :class:`Rows` takes them out of the process whenever a gigabyte has come together;
the system keeps them in its cache, and they come back without being read from the disk.
"""

import ctypes
import mmap
import sys
from pathlib import Path

import numpy as np
from torch import Tensor

BUDGET = 1 << 30
"""Bytes of mapped files that may become resident before they are given back."""
_DONTNEED = 4
_PRESENT, _SWAPPED, _OF_A_FILE = (np.uint64(1 << bit) for bit in (63, 62, 61))
_STRETCH = 1 << 17
"""Pages that are looked at together."""


class Rows:
    """The rows of a tensor: ``Rows(images)[index]`` is ``images[index]``, and a map's pages are given back in between.

    Rows of a slice are a view, to be used before the next ones are taken: otherwise their pages are read again.
    """

    def __init__(self, values: Tensor) -> None:
        self._values = values
        # What fits into the budget as a whole need not be looked after; a device's memory has no pages here.
        self._looked_after = values.device.type == "cpu" and values.nbytes > BUDGET
        self._start = _resident() if self._looked_after else 0

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        # Asked of the system and not counted here: it may map 2 MB around a byte that is read.
        if self._looked_after and _resident() > self._start + BUDGET:
            self._looked_after = give_back(self._values) > 0
            self._start = _resident()
        return self._values[index]


def _resident() -> int:
    """Return how many bytes of mapped files are resident in this process; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[2]) * mmap.PAGESIZE
    except (OSError, IndexError, ValueError):
        return 0


def give_back(values: Tensor) -> int:
    """Take the pages of a mapped file that *values* (contiguous) lies on out of this process; return how many.

    Nothing is lost: a page of a private map that was written to is no longer the file's, and stays, as does all memory
    that is not of a file. On systems that do not tell which pages are whose, nothing happens. No other thread may
    write into *values* meanwhile.
    """
    if sys.platform != "linux" or not values.is_contiguous():
        return 0
    first, last = -(-values.data_ptr() // mmap.PAGESIZE), (values.data_ptr() + values.nbytes) // mmap.PAGESIZE
    given = 0
    try:
        madvise = ctypes.CDLL(None).madvise
        with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
            for start in range(first, last, _STRETCH):
                pagemap.seek(start * 8)  # an entry of 64 bits for each page
                entries = np.frombuffer(pagemap.read((min(last, start + _STRETCH) - start) * 8), dtype=np.uint64)
                here = entries & (_PRESENT | _SWAPPED) != 0
                clean = (entries & _PRESENT != 0) & (entries & _OF_A_FILE != 0)
                # From one page that must stay to the next; what is not here between them does not mind.
                edges = np.flatnonzero(np.concatenate(([True], here & ~clean, [True])))
                for before, after in zip(edges[:-1].tolist(), (edges[1:] - 1).tolist(), strict=True):
                    address = ctypes.c_void_p((start + before) * mmap.PAGESIZE)
                    length = ctypes.c_size_t((after - before) * mmap.PAGESIZE)
                    number = int(clean[before:after].sum())
                    if number and madvise(address, length, _DONTNEED) == 0:
                        given += number
    except (OSError, AttributeError):  # no such file or function here, or no right to it
        return given
    return given
