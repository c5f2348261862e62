"""Seconds spent inside one module of a torch model, and the most memory that this process held.

`ModuleClock(tower)` counts from now on; `take()` returns the seconds since the last `take()`. It works through torch's
hooks and changes nothing else, so it measures a peer's vision tower as it does ours.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class ModuleClock:
    """Wall time of a module's calls; nested or concurrent calls of it would be counted twice."""

    def __init__(self, module: nn.Module) -> None:
        self._start_s = self._total_s = 0.0
        module.register_forward_pre_hook(lambda *_: self._start())
        module.register_forward_hook(lambda *_: self._stop())

    def take(self) -> float:
        """Seconds since the last call of this."""
        total_s, self._total_s = self._total_s, 0.0
        return total_s

    def _start(self) -> None:
        self._start_s = time.perf_counter()

    def _stop(self) -> None:
        self._total_s += time.perf_counter() - self._start_s


def peak_memory_bytes() -> int:
    """The most that this process held resident since it started, or since `forget_peak_memory` (Linux)."""
    if _STATUS.is_file():
        return int(_STATUS.read_text().split("VmHWM:")[1].split()[0]) * 1024
    import resource
    import sys

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak_memory() -> None:
    """Count the peak from now on; where the system cannot, it stays that of the whole process."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return
