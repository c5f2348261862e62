"""What measured times and compiled code depend on, and where they lie: the CPU, torch, and the user's cache folder."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import torch

_VERSION = 3  # of the kernels: times measured with others are not used
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "i8mm")


def is_busy() -> bool:
    """Whether more wants to run on this machine than it has CPUs."""
    if not hasattr(os, "getloadavg"):
        return False
    return os.getloadavg()[0] > (os.cpu_count() or 1)


def machine_name() -> str:
    """What the measured times depend on: the CPU and its instruction sets, torch's version, the thread count."""
    fields = _cpu_fields()
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    model = " ".join(fields.get(key, "") for key in ("model name", "model", "stepping")).strip()
    parts = [
        model or platform.processor() or platform.machine(),
        " ".join(flag for flag in _FLAGS if flag in flags) or platform.machine(),
        f"torch {torch.__version__}",
        f"kernels {_VERSION}",
        f"{torch.get_num_threads()} threads",
    ]
    return ", ".join(parts)


def cache_file() -> Path:
    """kernels.json in the user's cache folder; XDG_CACHE_HOME is honoured everywhere."""
    if os.environ.get("XDG_CACHE_HOME"):
        base = Path(os.environ["XDG_CACHE_HOME"])
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path.home() / ".cache"
    return base / "regard" / "kernels.json"


def _cpu_fields() -> dict[str, str]:
    """The first CPU's fields of /proc/cpuinfo; empty where there is none."""
    file = Path("/proc/cpuinfo")
    if not file.is_file():
        return {}
    first_cpu = file.read_text(errors="replace").split("\n\n")[0]
    pairs = (line.partition(":") for line in first_cpu.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
