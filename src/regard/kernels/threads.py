"""PyTorch's OpenMP threads: where their library is, and letting go of those that a thread has started.

Every Python thread that runs a parallel operator gets a pool of its own, which waits for it for ever. libgomp counts
them all: once there are more than CPUs, waiting threads no longer spin but sleep at once, and each parallel operator of
*every* thread pays for waking them. On two cores, decoding with regard-nano then took three times as long.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch

_HARD = 2  # omp_pause_hard of OpenMP 5.0: the pool's threads end; a later parallel operator starts new ones


@functools.cache
def openmp_library() -> Path | None:
    """The libgomp that PyTorch brings, or None where it has none or uses another OpenMP."""
    lib = Path(torch.__file__).parent / "lib"
    found = [path for folder in (lib, lib.parents[1] / "torch.libs") for path in sorted(folder.glob("libgomp*.so*"))]
    return found[0] if found else None


def release_threads() -> None:
    """End the worker threads that belong to the calling thread, which has no parallel work to do for some time."""
    pause = _pause()
    if pause is not None:
        pause(_HARD)


@functools.cache
def _pause() -> ctypes._NamedFuncPointer | None:
    path = openmp_library()
    try:
        # Loaded already: this is the same library, and so the same threads.
        return ctypes.CDLL(str(path)).omp_pause_resource_all if path is not None else None
    except (OSError, AttributeError):
        return None
