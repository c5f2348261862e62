"""Measurements that are given instead of made: tests that depend on a choice of kernels do not depend on a clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from regard.kernels.choice import ROWS, LinearKernel, Measurements, W


def fixed_times(microseconds: Callable[[str, int], float | None] = lambda name, rows: 1.0) -> Measurements:
    """Measurements that say what `microseconds(kernel, rows)` says; None leaves a kernel out, unless it is the last."""
    return _Fixed(microseconds)


def only(kernel_name: str) -> Measurements:
    """Measurements that leave one kernel."""
    return fixed_times(lambda name, rows: 1.0 if name == kernel_name else None)


class _Fixed(Measurements):
    def __init__(self, microseconds: Callable[[str, int], float | None]) -> None:
        self._microseconds = microseconds

    def times(
        self, kernels: Sequence[LinearKernel[W]], weight: W, dtype: torch.dtype, kind: str
    ) -> dict[int, dict[str, float]]:
        names = [kernel.name for kernel in kernels if not kernel.obstacle(weight)]
        asked = {rows: {name: self._microseconds(name, rows) for name in names} for rows in ROWS}
        given = {rows: {name: us for name, us in row.items() if us is not None} for rows, row in asked.items()}
        return {rows: row or {names[-1]: 1.0} for rows, row in given.items()}
