"""What the machine can do, measured in the same run as the systems, and what it is.

    read       bytes per second of adding up a tensor too large for the caches, with all threads
    float32,   operations per second of a square matrix product; int8 is the product of 8-bit integers into 32 bits
    bfloat16, int8

The best of a few repetitions counts: on a shared machine the others' load only ever makes a rate smaller.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regard.device import allowed_cpus, available_memory_bytes, total_memory_bytes

SIDE, REPEATS = 2048, 5
MIN_READ_BYTES = 1024**3
CACHE_FACTOR = 3  # how many times the last cache is read over
MEMORY_SHARE = 0.25


def measure_rates() -> dict[str, float]:
    """Bytes or operations per second by name; about a second on two cores."""
    import torch

    left = torch.randn(SIDE, SIDE)
    codes = torch.randint(-127, 128, (SIDE, SIDE), dtype=torch.int8)
    halves = left.bfloat16()
    rates = {"read": _read_rate()}
    operations = 2 * SIDE**3
    rates["float32"] = operations / _best_s(lambda: torch.mm(left, left))
    rates["bfloat16"] = operations / _best_s(lambda: torch.mm(halves, halves))
    rates["int8"] = operations / _best_s(lambda: torch._int_mm(codes, codes))
    return rates


def describe(num_threads: int) -> dict[str, Any]:
    """The machine and the versions that decide the numbers. JSON types only."""
    import importlib.metadata

    return {
        "cpu": cpu_field("model name") or platform.machine(),
        "cpus": {"allowed": allowed_cpus(), "all": os.cpu_count()},
        "instructions": [name for name in _INSTRUCTIONS if name in cpu_field("flags", "Features").split()],
        "threads": num_threads,
        "memory_bytes": total_memory_bytes(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
    }


def load_average() -> list[float] | None:
    """Of the last 1, 5 and 15 minutes, where the system tells."""
    return [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None


def cpu_field(*names: str) -> str:
    """A field of the first CPU in /proc/cpuinfo; empty where there is no such file or field."""
    file = Path("/proc/cpuinfo")
    if file.is_file():
        for line in file.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in names:
                return value.strip()
    return ""


_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")


def _read_rate() -> float:
    import torch

    available = available_memory_bytes() or 4 * MIN_READ_BYTES
    num_bytes = min(max(MIN_READ_BYTES, CACHE_FACTOR * _last_cache_bytes()), int(MEMORY_SHARE * available))
    values = torch.ones(num_bytes // 4)
    return values.nbytes / _best_s(values.sum)


def _last_cache_bytes() -> int:
    """Of the largest cache of the first CPU; 0 where the system does not tell."""
    sizes = [0]
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = file.read_text().strip()
        sizes.append(int(text[:-1]) * {"K": 1024, "M": 1024**2}.get(text[-1], 1))
    return max(sizes)


def _best_s(call: Callable[[], object]) -> float:
    best_s = float("inf")
    for _ in range(REPEATS):
        start_s = time.perf_counter()
        call()
        best_s = min(best_s, time.perf_counter() - start_s)
    return best_s
