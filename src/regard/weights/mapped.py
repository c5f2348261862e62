"""Letting go of the pages of a mapped checkpoint once a layer has a copy of its own.

A quantised or repacked layer no longer reads its source, but pages that were read count as this process's memory
for as long as the file is mapped. Elsewhere than on Linux nothing is released.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence
from pathlib import Path


def mapped_files(suffix: str) -> tuple[range, ...]:
    """Addresses at which files of this kind are mapped (Linux; else none)."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return ()
    ends = (line.split()[0].split("-") for line in lines if line.endswith(suffix))
    return tuple(range(int(start, 16), int(end, 16)) for start, end in ends)


def release_pages(address: int, num_bytes: int, mapped: Sequence[range]) -> None:
    """Take a part of a mapped file out of this process's memory; it is read again if it is needed after all.

    Only whole pages that lie in `mapped` (see `mapped_files`): other memory would lose its content.
    """
    start, end = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE, (address + num_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if start < end and any(start in file and end - 1 in file for file in mapped):
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)
