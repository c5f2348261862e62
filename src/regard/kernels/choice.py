"""Which of several ways to multiply is the fastest on this machine: measured once, then read from a file.

    kernels of one format (`int8.py`, `int4.py`, `bf16.py`), the preferred first, one that runs anywhere last
      -> `Measurements.times(...)`: microseconds of each for 1, 4, 16, 64 and 256 rows of x
      -> `choose_linear`: one kernel for each of these numbers of rows, with the reason
      -> `LinearProduct`: the weight packed for the kernels chosen; calling it multiplies

A kernel is a pair of functions: `pack` lays a weight out once, `multiply` uses it. One whose result is wrong on this
machine (an int8 product that saturates, say) or that its own `obstacle` rules out is not considered. Kernels stand in
the order of preference: for one row the first is taken that the fastest does not beat by `MIN_GAIN`, and that one also
for more rows, except where another is so much faster; then one that needs no copy of the weight, or else the fastest.

A weight is measured by its first rows, so that one measurement is short. In a large model each weight is read from
memory, and which kernel reads fastest is not which computes fastest on what a cache holds: for one row of x
the caches are emptied before every call, by reading the model's largest tensor. Those of a small model come from the
outermost cache: there as much is read as empties the inner ones.

The file is kernels.json in the user's cache folder. Its first key is the machine: CPU, instruction sets, torch's
version, thread count. A file that cannot be read or written costs another measurement and is never an error. Measuring
stops after `MAX_MEASURING_S`; on a busy machine, where times say little, nothing is written.
Shape letters: M rows of x, K inputs, N outputs.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from regard.kernels.machine import cache_file, is_busy, machine_name

ROWS = (1, 4, 16, 64, 256)
MIN_GAIN = 1.25
# Bounds of one measurement: values of the weight, and multiplications of the product.
MAX_VALUES, MAX_PRODUCTS = 4_000_000, 250_000_000
MIN_OUTPUTS = 128
# A tensor that is larger than what a CPU's caches keep for one program.
EVICTING_BYTES = 2**28
INNER_CACHE_BYTES = 2**24
COLD_REPEATS, CACHE_LINE = 2, 64
# A busy machine takes the CPU away for longer than a call lasts: the shortest of at least three calls counts.
MIN_REPEATS, MAX_REPEATS, MAX_REPEAT_S = 3, 7, 0.01
HOPELESS = 4.0
# One that is so much slower for a single row is a reference implementation: more rows would take seconds. (oneDNN has
# no other for 8-bit codes on CPUs with AVX-512 of AMD.) It is not tried again for weights of the same kind.
UNUSABLE = 30.0
# Relative error of a product whose activations need no rounding: bfloat16 costs 0.003, saturation more.
MAX_ERROR = 0.01
# Of one process; what is not measured by then is measured by the next one.
MAX_MEASURING_S = 4.0


class StoredWeight(Protocol):
    """A weight as a file holds it."""

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K)."""

    def first_rows(self, num_outputs: int) -> Self:
        """The part that computes the first outputs."""

    def widened(self) -> Tensor:
        """The values that are meant, (N, K) float32."""


W = TypeVar("W", bound=StoredWeight)
LinearTimes = dict[int, dict[str, float]]  # microseconds by number of rows and kernel's name


@dataclass(frozen=True)
class LinearKernel(Generic[W]):
    """A way to compute x @ weight.T + bias.

    pack:      the weight -> whatever `multiply` wants; may keep references to the weight's tensors.
    multiply:  (x (M, K), packed, bias (N,) or None) -> (M, N) in the dtype of x.
    obstacle:  why it cannot take this weight; empty if it can.
    max_error: how far its result may be from that of the exact product, relative, when x needs no rounding.
    is_view:   what `pack` returns is the weight itself, not a copy.
    """

    name: str
    pack: Callable[[W], Any]
    multiply: Callable[[Tensor, Any, Tensor | None], Tensor]
    obstacle: Callable[[W], str] = lambda weight: ""
    max_error: float = MAX_ERROR
    is_view: bool = False


@dataclass(frozen=True)
class LinearChoice(Generic[W]):
    """The kernel for `rows` rows of x and up to the next entry of ROWS, and why."""

    rows: int
    kernel: LinearKernel[W]
    reason: str


class LinearProduct(Generic[W]):
    """A weight, packed for each kernel that was chosen."""

    def __init__(self, weight: W, choices: Sequence[LinearChoice[W]]) -> None:
        packed: dict[str, Any] = {}
        for choice in choices:
            if choice.kernel.name not in packed:
                packed[choice.kernel.name] = choice.kernel.pack(weight)
        self.num_outputs = weight.shape[0]
        self.needs_weight = any(choice.kernel.is_view for choice in choices)
        self._rows = [choice.rows for choice in choices]
        self._steps = [(choice.kernel.multiply, packed[choice.kernel.name]) for choice in choices]

    def __call__(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """x @ weight.T + bias. Shapes: x (..., K); returns (..., N) in the dtype of x."""
        is_flat = x.dim() == 2
        x_MK = x if is_flat else x.reshape(-1, x.shape[-1])
        num_rows = x_MK.shape[0]
        if not num_rows:
            return x.new_empty(*x.shape[:-1], self.num_outputs)
        multiply, packed = self._steps[bisect_right(self._rows, num_rows) - 1]
        out_MN = multiply(x_MK, packed, bias)
        return out_MN if is_flat else out_MN.view(*x.shape[:-1], self.num_outputs)


class Measurements:
    """Microseconds of every kernel measured on this machine, by weight and number of rows."""

    def __init__(
        self, file: Path | None = None, budget_s: float = MAX_MEASURING_S, largest: Tensor | None = None
    ) -> None:
        """`largest`: the largest tensor of the model, contiguous."""
        self._file = file or cache_file()
        is_large = largest is not None and largest.nbytes >= EVICTING_BYTES
        self._largest = largest if is_large else None
        self._machine = machine_name()
        self._products = _read(self._file).get(self._machine, {})
        self._budget_s = budget_s
        self._sound: dict[str, str] = {}  # names of kernels that were tried but not measured
        self._unusable: set[tuple[str, str]] = set()  # kind and name
        self._last: dict[str, tuple[str, LinearTimes]] = {}  # by kind: what was measured and its times

    def times(self, kernels: Sequence[LinearKernel[W]], weight: W, dtype: torch.dtype, kind: str) -> LinearTimes | None:
        """Microseconds by number of rows and kernel's name; a kernel that cannot be used has none.

        `kind` tells formats apart ("int8", "int4, groups of 128"). None once the time for measuring is used up.
        """
        key = _key(weight, dtype, kind)
        usable = [kernel for kernel in kernels if not kernel.obstacle(weight)]
        known = _as_times(self._products.get(key))
        if known is not None and all(set(times) <= {kernel.name for kernel in usable} for times in known.values()):
            self._last[kind] = key, known
            return known
        usable = [kernel for kernel in usable if (kind, kernel.name) not in self._unusable]
        if self._budget_s <= 0:
            return None
        start_s = time.perf_counter()
        if self._largest is None:
            self._largest = torch.ones(
                INNER_CACHE_BYTES, dtype=torch.uint8
            )  # written, or it would be one page of zeros
        measured = _measure(usable, weight, dtype, self._largest, deadline_s=start_s + self._budget_s)
        self._budget_s -= time.perf_counter() - start_s
        if measured is not None:
            self._unusable |= {(kind, name) for name in measured[ROWS[0]] if name not in measured[ROWS[-1]]}
            self._products[key] = {str(rows): times for rows, times in measured.items()}
            self._last[kind] = key, measured
            self._write()
        return measured

    def similar(self, kernels: Sequence[LinearKernel[W]], weight: W, kind: str) -> tuple[str, LinearTimes] | None:
        """Of another weight of this kind: what it is and its times, with kernels that can take this weight, too."""
        if kind not in self._last:
            return None
        key, times = self._last[kind]
        able = {kernel.name for kernel in kernels if not kernel.obstacle(weight)}
        left = {rows: {name: us for name, us in found.items() if name in able} for rows, found in times.items()}
        return (key, left) if all(left.values()) else None

    def first_sound(
        self, kernels: Sequence[LinearKernel[W]], weight: W, dtype: torch.dtype, kind: str
    ) -> LinearKernel[W]:
        """The first kernel that is right here, however fast; each product is tried once."""
        key = _key(weight, dtype, kind)
        if key not in self._sound:
            part = _part(weight, ROWS[-1])
            found = (k.name for k in kernels if not k.obstacle(weight) and is_sound(k, part, dtype))
            self._sound[key] = next(found, kernels[-1].name)
        return next(kernel for kernel in kernels if kernel.name == self._sound[key])

    def _write(self) -> None:
        """Join what other processes have written meanwhile; a folder that cannot be written is left alone."""
        if is_busy():
            return  # what is measured beside others' work serves this process only
        machines = _read(self._file)
        machines[self._machine] = machines.get(self._machine, {}) | self._products
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            handle, partial = tempfile.mkstemp(dir=self._file.parent, prefix=self._file.name)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(machines, file, indent=1)
            os.replace(partial, self._file)


def _key(weight: StoredWeight, dtype: torch.dtype, kind: str) -> str:
    return f"{kind} {weight.shape[1]} -> {weight.shape[0]}, {str(dtype).removeprefix('torch.')}"


def choose_linear(
    kernels: Sequence[LinearKernel[W]], weight: W, dtype: torch.dtype, kind: str, measurements: Measurements
) -> tuple[LinearChoice[W], ...]:
    """One kernel for each of ROWS. The last of `kernels` must be one that can take every weight."""
    times = measurements.times(kernels, weight, dtype, kind)
    known_of = ""
    if times is None:
        similar = measurements.similar(kernels, weight, kind)
        if similar is None:
            sound = measurements.first_sound(kernels, weight, dtype, kind)
            return (LinearChoice(ROWS[0], sound, f"not measured: the {MAX_MEASURING_S:.0f} s for it are used up"),)
        known_of, times = f"as {similar[0]}: ", similar[1]
    for_one = times[ROWS[0]]
    usual = next(k.name for k in kernels if for_one.get(k.name, math.inf) < MIN_GAIN * min(for_one.values()))
    by_name = {kernel.name: kernel for kernel in kernels}
    choices = []
    for rows in ROWS:
        found = times[rows]
        good = [name for name, time_us in found.items() if time_us < MIN_GAIN * min(found.values())]
        name = usual if usual in good else min(good, key=lambda name: (not by_name[name].is_view, found[name]))
        choices.append(LinearChoice(rows, by_name[name], known_of + _reason(found, kernels, weight)))
    return tuple(choices)


def _reason(times: Mapping[str, float], kernels: Sequence[LinearKernel[W]], weight: W) -> str:
    """'onednn 506 us, int_mm 831 us; int8pack: needs 64 inputs or a multiple'."""
    measured = ", ".join(f"{name} {times[name]:.0f} us" for name in sorted(times, key=times.__getitem__))
    obstacles = {kernel.name: kernel.obstacle(weight) for kernel in kernels if kernel.name not in times}
    return "; ".join(
        [measured, *(f"{name}: {why or 'wrong, not there or a reference'}" for name, why in obstacles.items())]
    )


def _measure(
    kernels: Sequence[LinearKernel[W]], weight: W, dtype: torch.dtype, largest: Tensor, *, deadline_s: float
) -> LinearTimes | None:
    """As `Measurements.times`; None if the deadline, a reading of the clock, passes before all is measured."""
    generator = torch.Generator().manual_seed(0)
    parts = {rows: _part(weight, rows) for rows in ROWS}
    sound = [kernel for kernel in kernels if is_sound(kernel, parts[ROWS[-1]], dtype)]
    found: LinearTimes = {rows: {} for rows in ROWS}
    for kernel in sound or kernels[-1:]:
        packed: dict[int, Any] = {}
        for rows, part in parts.items():
            if time.perf_counter() > deadline_s:
                return None
            if part.shape[0] not in packed:
                packed[part.shape[0]] = kernel.pack(part)
            x_MK = torch.randn(rows, weight.shape[1], generator=generator).to(dtype)
            best_s = min(found[rows].values(), default=math.inf) / 1e6
            if rows == 1:
                shortest_s = _cold_s(
                    kernel, x_MK, packed[part.shape[0]], kernel.pack(weight.first_rows(MIN_OUTPUTS)), largest
                )
            else:
                shortest_s = _shortest_s(kernel, x_MK, packed[part.shape[0]], best_s)
            found[rows][kernel.name] = round(1e6 * shortest_s, 1)
            if rows == 1 and shortest_s > UNUSABLE * best_s:
                break
    return found


def _part(weight: W, rows: int) -> W:
    """As many of the first outputs as one measurement with so many rows of x may take."""
    limit = min(MAX_VALUES, MAX_PRODUCTS // rows) // weight.shape[1]
    return weight.first_rows(min(weight.shape[0], max(MIN_OUTPUTS, limit // MIN_OUTPUTS * MIN_OUTPUTS)))


def _cold_s(kernel: LinearKernel[W], x_MK: Tensor, packed: Any, packed_small: Any, largest: Tensor) -> float:
    """The shortest of a few calls whose weight, and nothing else that they need, is out of the caches."""
    shortest_s = math.inf
    kernel.multiply(x_MK, packed, None)
    for _ in range(COLD_REPEATS):
        largest.view(-1)[:: CACHE_LINE // largest.itemsize].sum()
        kernel.multiply(x_MK, packed_small, None)
        start_s = time.perf_counter()
        kernel.multiply(x_MK, packed, None)
        shortest_s = min(shortest_s, time.perf_counter() - start_s)
    return shortest_s


def _shortest_s(kernel: LinearKernel[W], x_MK: Tensor, packed: Any, best_s: float) -> float:
    """The shortest of a few calls; the first, which may build things, only where it is far behind the best so far."""
    shortest_s, spent_s = math.inf, 0.0
    for repeat in range(-1, MAX_REPEATS):
        start_s = time.perf_counter()
        kernel.multiply(x_MK, packed, None)
        elapsed_s = time.perf_counter() - start_s
        if elapsed_s < HOPELESS * best_s and repeat < 0:
            continue
        shortest_s, spent_s = min(shortest_s, elapsed_s), spent_s + elapsed_s
        is_hopeless = shortest_s > HOPELESS * best_s and repeat >= 0
        if is_hopeless or (repeat + 1 >= MIN_REPEATS and spent_s > MAX_REPEAT_S):
            break
    return shortest_s


def is_sound(kernel: LinearKernel[W], weight: W, dtype: torch.dtype) -> bool:
    """Whether a kernel exists here and is right, for the largest int8 codes too.

    The rows of x are multiples of 1/128, so that neither 8-bit codes nor bfloat16 round them.
    """
    generator = torch.Generator().manual_seed(0)
    codes_MK = torch.randint(-127, 128, (3, weight.shape[1]), generator=generator)
    codes_MK[0], codes_MK[1, ::2], codes_MK[1, 1::2], codes_MK[2, 0] = 127, 127, -127, 127
    x_MK, weight_NK = codes_MK / 128, weight.widened()
    expected = x_MK @ weight_NK.t()
    size = torch.hypot(expected, (x_MK.square() @ weight_NK.square().t()).sqrt())
    try:
        found = kernel.multiply(x_MK.to(dtype), kernel.pack(weight), None).float()
    except (RuntimeError, AttributeError):  # the operator is missing, or has no implementation for this CPU
        return False
    return bool(((found - expected).norm(dim=1) <= kernel.max_error * size.norm(dim=1)).all())


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """The file's products by machine; empty if it is missing or damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {machine: products for machine, products in found.items() if isinstance(products, dict)}


def _as_times(record: Any) -> LinearTimes | None:
    """A record of the file, or None if it is not what `_write` writes."""
    if not isinstance(record, dict) or record.keys() != {str(rows) for rows in ROWS}:
        return None
    times = {int(rows): found for rows, found in record.items()}
    for found in times.values():
        if not isinstance(found, dict) or not found:
            return None
        if not all(isinstance(value, int | float) and value > 0 for value in found.values()):
            return None
    return times
