"""Which device and dtype to compute with, and why: every choice is a value with its reason.

    device   cuda if there is one, else mps, else cpu; "cuda:1" and the like are taken as they are
    dtype    on a GPU the checkpoint's own, or float16 where the GPU has no bfloat16
             on a CPU float32 for small models; for others the checkpoint's own dtype, unless a measured matrix
             product says that this CPU only imitates it and float32 weights fit into the free memory
    threads  as many as the CPUs that this process may use, not as many as the machine has

It does not load anything and sets nothing but torch's thread count, and that only in `use_allowed_cpus`.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from regard.errors import ConfigError

DTYPES = ("float32", "bfloat16", "float16")
# Up to here float32 costs nothing that anyone would notice: 400 MB of weights.
MAX_SMALL_PARAMETERS = 100_000_000
# A dtype is imitated, not computed, when its product is this many times slower than float32's. Decoding is
# bound by memory traffic, where two-byte weights win by two, so a product half as fast is no reason to widen.
IMITATION_FACTOR = 4.0
MEASURED_SIDE, MEASURED_TIMES = 512, 9  # short, so that one run fits between two slices of a busy machine
BYTES_PER_GIB = 1024**3


@dataclass(frozen=True)
class Choice:
    """A decision and its reason, for people."""

    value: str
    reason: str


def choose_device(asked: str = "auto") -> Choice:
    """Return the device to use. Errors: ConfigError if `asked` names one that this machine does not have."""
    import torch

    if asked == "auto":
        if torch.cuda.is_available():
            return Choice("cuda", f"a CUDA device is there: {torch.cuda.get_device_name()}")
        if torch.backends.mps.is_available():
            return Choice("mps", "Apple's GPU is there and no CUDA device is")
        return Choice("cpu", "no GPU that this PyTorch can use")
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise ConfigError(f"there is no device {asked!r}; the choices are auto, cuda, cuda:N, mps and cpu") from None
    num_cuda = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= num_cuda:
        raise ConfigError(f"device {asked!r} was asked for and PyTorch sees {num_cuda} CUDA devices; use cpu or auto")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device 'mps' was asked for and PyTorch sees no Apple GPU; use cpu or auto")
    return Choice(asked, "asked for")


def choose_dtype(device: str, checkpoint_dtype: str, num_parameters: int, asked: str = "auto") -> Choice:
    """Return the dtype to compute with.

    Errors: ConfigError if `asked` is not "auto" or one of `DTYPES`.
    Cost:   for a large model on a CPU two short matrix products, about 0.1 s.
    """
    if asked != "auto":
        if asked not in DTYPES:
            raise ConfigError(f"dtype is {asked!r}; the choices are auto, {', '.join(DTYPES)}")
        return Choice(asked, "asked for")
    own = checkpoint_dtype if checkpoint_dtype in DTYPES else "bfloat16"
    if device != "cpu":
        return _gpu_dtype(device, own)
    if own == "float32":
        return Choice("float32", "the checkpoint's own dtype")
    if num_parameters <= MAX_SMALL_PARAMETERS:
        return Choice("float32", f"a small model ({num_parameters / 1e6:.1f} M parameters): exact and fast on a CPU")
    needed = 4 * num_parameters
    rates = {name: measure_matmul(name) for name in ("float32", own)}
    measured = f"measured {rates['float32']:.0f} GFLOP/s in float32 and {rates[own]:.0f} in {own}"
    if rates["float32"] < IMITATION_FACTOR * rates[own]:
        return Choice(own, f"the checkpoint's own dtype; {measured}, and half the bytes make decoding faster")
    free = available_memory_bytes()
    if free is not None and needed > 0.8 * free:
        gib = needed / BYTES_PER_GIB
        return Choice(own, f"{measured}, but float32 weights need {gib:.1f} GiB of {free / BYTES_PER_GIB:.1f} free")
    return Choice("float32", f"{measured}: this CPU imitates {own}")


def _gpu_dtype(device: str, own: str) -> Choice:
    import torch

    if device.startswith("cuda") and own == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return Choice("float16", "the checkpoint is bfloat16 and this GPU has no bfloat16 arithmetic")
    return Choice(own, "the checkpoint's own dtype")


def measure_matmul(dtype: str, side: int = MEASURED_SIDE) -> float:
    """Return the rate of a square matrix product on the CPU in GFLOP/s, the best of `MEASURED_TIMES`."""
    import torch

    left = torch.ones(side, side, dtype=getattr(torch, dtype))
    best_s = float("inf")
    for _ in range(MEASURED_TIMES):
        start_s = time.perf_counter()
        torch.mm(left, left)
        best_s = min(best_s, time.perf_counter() - start_s)
    return 2 * side**3 / best_s / 1e9


def allowed_cpus() -> int:
    """Return how many CPUs this process may use, by its affinity mask."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_allowed_cpus() -> int:
    """Set torch's thread count to the allowed CPUs, or to OMP_NUM_THREADS where the user set it; return it."""
    import torch

    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(allowed_cpus())
    return torch.get_num_threads()


def available_memory_bytes() -> int | None:
    """Return the memory that a new allocation can have, container limits included; None where unknown."""
    found = [value for value in (_meminfo_available(), _cgroup_available()) if value is not None]
    return min(found, default=None)


def resident_memory_bytes() -> int:
    """Return what this process holds in memory now (where the system does not say: the most it ever held)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def unread_bytes(suffix: str) -> int:
    """Bytes of mapped files of this kind that are not in memory yet, but will be once they are read (Linux; else 0).

    A checkpoint is mapped when it is loaded and read when it is first computed with.
    """
    try:
        lines = Path("/proc/self/smaps").read_text().splitlines()
    except OSError:
        return 0
    unread, is_wanted = 0, False
    for line in lines:
        first, _, rest = line.partition(" ")
        if not first.endswith(":"):  # the head of a mapping: addresses, and at the end the file
            is_wanted = rest.endswith(suffix)
        elif is_wanted and first in ("Size:", "Rss:"):
            unread += (1 if first == "Size:" else -1) * int(rest.split()[0]) * 1024
    return unread


def total_memory_bytes() -> int | None:
    """Return the machine's memory, None where unknown."""
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _meminfo_available() -> int | None:
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return total_memory_bytes()
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup_available() -> int | None:
    """Control group version 2: the limit less what is in use and cannot be dropped."""
    root = Path("/sys/fs/cgroup")
    try:
        limit, used = (root / "memory.max").read_text().strip(), int((root / "memory.current").read_text())
        statistics = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None  # no such limit here
    if limit == "max":
        return None
    return max(0, int(limit) - used + int(statistics.get("inactive_file", 0)))
