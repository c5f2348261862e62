"""native.c compiled for this machine, and its functions on tensors.

The compiler that the system has (`cc`, or $CC) is run once, for less than a second; the library lies in the user's
cache folder under a name that tells source, flags, CPU and torch apart. Without a compiler, or where anything else
than a CPU computes, `library()` is None and PyTorch's own operators do the work: `why_not()` says so, and so does
`regard doctor`.

Threads are OpenMP's, in the same pool as PyTorch's: two pools would wait for each other on few cores.
Shape letters: M rows of x, K inputs, N outputs; R rows, H query heads, J key heads, D head_dim, S slots.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from regard.kernels.machine import cache_file, machine_name
from regard.kernels.threads import openmp_library

SOURCE = Path(__file__).with_name("native.c")
KINDS = {torch.float32: 0, torch.bfloat16: 1}
MAX_ROWS = 8  # above, PyTorch's products have enough to do
COMPILE_TIMEOUT_S = 60
# No -ffast-math: linked into a library, it would have the whole process flush denormal numbers.
_FLAGS = (
    *("-std=gnu11", "-O3", "-fopenmp", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math"),
    *("-fno-signed-zeros", "-fassociative-math", "-freciprocal-math"),
)
_TUNED = {"x86_64": ("-march=native", "-mprefer-vector-width=512"), "aarch64": ("-mcpu=native",)}
_P, _I, _F = ctypes.c_void_p, ctypes.c_long, ctypes.c_float
_SIGNATURES = {
    "linear_f32": (_P, _P, _P, _P, _P, _I, _I, _I, ctypes.c_int, ctypes.c_int),
    "linear_bf16": (_P, _P, _P, _P, _P, _I, _I, _I, ctypes.c_int, ctypes.c_int),
    "linear_int8": (_P, _P, _P, _P, _P, _I, _I, _I, ctypes.c_int, ctypes.c_int),
    "linear_int4": (_P, _P, _P, _P, _P, _P, _I, _I, _I, _I, ctypes.c_int, ctypes.c_int),
    "rms_norm": (_P, _P, _P, _I, _I, _F, ctypes.c_int),
    "store_rows": (*(_P,) * 11, *(_I,) * 5, _F, ctypes.c_int),
    "attend_rows": (*(_P,) * 7, *(_I,) * 5, ctypes.c_int, ctypes.c_int),
}


def library() -> ctypes.CDLL | None:
    """The compiled functions, or None (`why_not`)."""
    return _built()[0]


def why_not() -> str:
    """Why there is no library; empty if there is one."""
    return _built()[1]


@functools.cache
def _built() -> tuple[ctypes.CDLL | None, str]:
    compiler = shutil.which(os.environ.get("CC") or "cc")
    if sys.platform != "linux" or compiler is None:
        return None, "no C compiler was found" if sys.platform == "linux" else f"not tried on {sys.platform}"
    command = [compiler, *_FLAGS, *_TUNED.get(platform.machine(), ()), str(SOURCE)]
    command += [str(path) for path in [openmp_library()] if path is not None] + ["-lm"]
    try:
        path = _compiled(command)
        loaded = ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"{compiler} failed ({type(error).__name__})"
    for name, types in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = types, None
    return loaded, ""


def _compiled(command: list[str]) -> Path:
    """The library's file; made if it is not there, complete or not at all."""
    text = "\n".join([SOURCE.read_text(), *command, machine_name()])
    path = cache_file().with_name(f"native-{hashlib.sha256(text.encode()).hexdigest()[:16]}.so")
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        subprocess.run([*command, "-o", str(made)], check=True, capture_output=True, timeout=COMPILE_TIMEOUT_S)
        os.replace(made, path)
    return path


class Weight:
    """A weight as a function of native.c wants it; the tensors are held, not copied.

    `scale` is float32 and may be missing; `group` is how many inputs share a scale in `linear_int4`.
    """

    def __init__(
        self,
        function: str,
        tensors: tuple[Tensor, ...],
        scale: Tensor | None,
        num_outputs: int,
        num_inputs: int,
        group: int | None = None,
    ) -> None:
        self.call = getattr(library(), function)
        self.held = (*tensors, scale)
        self.pointers = [tensor.data_ptr() for tensor in tensors]
        if group is None:
            self.pointers.append(0 if scale is None else scale.data_ptr())
        self.sizes = (num_outputs, num_inputs) if group is None else (num_outputs, num_inputs, group)


def multiply(x_MK: Tensor, weight: Weight, bias: Tensor | None) -> Tensor:
    """x @ weight.T + bias in the dtype of x. Returns (M, N)."""
    if x_MK.dtype not in KINDS:
        return multiply(x_MK.float(), weight, bias).to(x_MK.dtype)
    x_MK = x_MK.contiguous()
    num_rows = x_MK.shape[0]
    out_MN = x_MK.new_empty(num_rows, weight.sizes[0])
    wide = None if bias is None else bias.float()
    weight.call(
        x_MK.data_ptr(),
        *weight.pointers,
        0 if wide is None else wide.data_ptr(),
        out_MN.data_ptr(),
        num_rows,
        *weight.sizes,
        KINDS[x_MK.dtype],
        torch.get_num_threads(),
    )
    return out_MN


def rms_norm(x_MK: Tensor, gain_K: Tensor, eps: float) -> Tensor:
    """Rows over the root of their mean square, times a float32 gain. Both contiguous."""
    out_MK = torch.empty_like(x_MK)
    num_rows, size = x_MK.shape
    _built()[0].rms_norm(  # type: ignore[union-attr]
        x_MK.data_ptr(), gain_K.data_ptr(), out_MK.data_ptr(), num_rows, size, eps, KINDS[x_MK.dtype]
    )
    return out_MK


@dataclass(frozen=True)
class RowRuns:
    """What each row sees: row r the slots of runs first[r] .. first[r + 1] - 1; `start` and `length` of a run.

    Shapes: slots (R,), first (R + 1,), start and length (runs,), all int64.
    """

    slots: Tensor
    first: Tensor
    start: Tensor
    length: Tensor


@dataclass(frozen=True)
class Turn:
    """How queries and keys are normalised and rotated. Shapes: gains (D,), cos and sin (R, D), all float32."""

    q_gain_D: Tensor
    k_gain_D: Tensor
    cos_RD: Tensor
    sin_RD: Tensor
    eps: float


def attend(
    q_RQ: Tensor, k_RP: Tensor, v_RP: Tensor, keys_JSD: Tensor, values_JSD: Tensor, runs: RowRuns, turn: Turn
) -> Tensor:
    """Normalise and rotate queries and keys, store keys and values in their slots, attend.

    Shapes: q (R, H * D), k and v (R, J * D), contiguous; returns (R, H * D).
    """
    functions, kind = library(), KINDS[q_RQ.dtype]
    assert functions is not None
    num_key_heads, num_slots, head_dim = keys_JSD.shape
    sizes = (q_RQ.shape[0], q_RQ.shape[1] // head_dim, num_key_heads, head_dim, num_slots)
    turned_RQ = torch.empty(q_RQ.shape)
    out_RQ = torch.empty_like(q_RQ)
    given = (q_RQ, k_RP, v_RP, turn.q_gain_D, turn.k_gain_D, turn.cos_RD, turn.sin_RD, runs.slots, turned_RQ)
    stored = (keys_JSD.data_ptr(), values_JSD.data_ptr())
    functions.store_rows(*(tensor.data_ptr() for tensor in given), *stored, *sizes, turn.eps, kind)
    seen = (runs.first.data_ptr(), runs.start.data_ptr(), runs.length.data_ptr())
    functions.attend_rows(
        turned_RQ.data_ptr(), *stored, *seen, out_RQ.data_ptr(), *sizes, kind, torch.get_num_threads()
    )
    return out_RQ
