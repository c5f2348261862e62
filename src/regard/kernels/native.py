"""native.c compiled for this machine, and its functions on tensors.

The compiler that the system has (`cc`, or $CC) is run once, for less than a second; the library lies in the user's
cache folder under a name that tells source, flags, CPU and torch apart. Without a compiler, or where anything else
than a CPU computes, `library()` is None and PyTorch's own operators do the work: `why_not()` says so, and so does
`regard doctor`.

Threads are OpenMP's, in the same pool as PyTorch's: two pools would wait for each other on few cores.
Shape letters: M rows of x, K inputs, N outputs; R rows, H query heads, J key heads, D head_dim, S slots. Attention of
many rows: B batch, N query heads, K key heads, T queries, S keys.
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
_SOURCES = (SOURCE, Path(__file__).with_name("native_attention.c"))
KINDS = {torch.float32: 0, torch.bfloat16: 1}
MAX_ROWS = 8  # above, PyTorch's products have enough to do
MIN_QUERIES = 16  # of attend_tiles; below, laying out the keys costs more than it saves
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
    "rms_norm": (_P, _P, _P, _I, _I, _F, ctypes.c_int, ctypes.c_int),
    "silu_rows": (_P, _P, _I, _I, ctypes.c_int, ctypes.c_int),
    "store_rows": (*(_P,) * 11, *(_I,) * 5, _F, ctypes.c_int),
    "attend_rows": (*(_P,) * 7, *(_I,) * 5, ctypes.c_int, ctypes.c_int),
    "quantise_rows": (_P, _P, _P, _I, _I, ctypes.c_int, ctypes.c_int),
    "gelu_rows": (_P, _I, _I, ctypes.c_int, ctypes.c_int),
    "finish_rows": (*(_P,) * 5, _I, _I, ctypes.c_int, ctypes.c_int),
    "turn_rows": (*(_P,) * 5, *(_I,) * 4, _F, ctypes.c_int),
    "turn_rows_backward": (*(_P,) * 7, *(_I,) * 4, _F, ctypes.c_int),
    "attend_tiles": (*(_P,) * 8, *(_I,) * 6, ctypes.c_int, ctypes.c_int),
    "attend_tiles_backward": (*(_P,) * 14, *(_I,) * 6, ctypes.c_int, ctypes.c_int),
    "has_attend_tiles": (),
}
_RETURNING = ("attend_tiles", "attend_tiles_backward", "has_attend_tiles")


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
        function.argtypes, function.restype = types, ctypes.c_int if name in _RETURNING else None
    return loaded, ""


def _compiled(command: list[str]) -> Path:
    """The library's file; made if it is not there, complete or not at all."""
    text = "\n".join([*(source.read_text() for source in _SOURCES), *command, machine_name()])
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


def quantise_rows(x_MK: Tensor) -> tuple[Tensor, Tensor]:
    """Codes and a scale for each row of a float32 or bfloat16 x. Returns (M, K) int8 and (M, 1) float32."""
    functions = library()
    assert functions is not None
    x_MK = x_MK.contiguous()
    codes_MK, scale_M1 = torch.empty(x_MK.shape, dtype=torch.int8), torch.empty(x_MK.shape[0], 1)
    pointers = (x_MK.data_ptr(), codes_MK.data_ptr(), scale_M1.data_ptr())
    functions.quantise_rows(*pointers, *x_MK.shape, KINDS[x_MK.dtype], torch.get_num_threads())
    return codes_MK, scale_M1


def finish_rows(
    product_MN: Tensor, row_scale_M1: Tensor, scale_N: Tensor, bias_N: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """An int32 product times both scales plus bias, in float32 or bfloat16. All contiguous; returns (M, N)."""
    functions = library()
    assert functions is not None
    wide = None if bias_N is None else bias_N.float()
    out_MN = torch.empty(product_MN.shape, dtype=dtype)
    given = (product_MN.data_ptr(), row_scale_M1.data_ptr(), scale_N.data_ptr(), 0 if wide is None else wide.data_ptr())
    functions.finish_rows(*given, out_MN.data_ptr(), *out_MN.shape, KINDS[dtype], torch.get_num_threads())
    return out_MN


def gelu_(x_MK: Tensor) -> Tensor:
    """GELU in its tanh form, written over a dense float32 or bfloat16 x."""
    functions = library()
    assert functions is not None
    num_rows, size = x_MK.shape
    functions.gelu_rows(x_MK.data_ptr(), num_rows, size, KINDS[x_MK.dtype], torch.get_num_threads())
    return x_MK


@functools.cache
def why_no_attend_tiles() -> str:
    """Why PyTorch's kernel attends many rows in bfloat16; empty where `attend_tiles` does."""
    functions = library()
    if functions is None:
        return why_not()
    if not functions.has_attend_tiles():
        return "this CPU has no AVX-512 dot product of bfloat16"
    return "with AMX it multiplies in bfloat16, too" if "amx" in machine_name() else ""


def can_attend_tiles(q_BNTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor) -> bool:
    """Whether `attend_tiles` takes these: bfloat16 on a CPU, many queries, dense heads."""
    num_queries = q_BNTD.shape[2]
    return (
        q_BNTD.dtype == k_BKSD.dtype == v_BKSD.dtype == torch.bfloat16
        and q_BNTD.device.type == "cpu"
        and MIN_QUERIES <= num_queries <= k_BKSD.shape[2]
        and all(tensor.stride(-1) == 1 for tensor in (q_BNTD, k_BKSD, v_BKSD))
        and not why_no_attend_tiles()
    )


def attend_tiles(q_BNTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, *, is_causal: bool) -> tuple[Tensor, Tensor]:
    """Softmax attention, scaled by D ** -0.5; if `is_causal`, the last query sees all keys, the one before it one less.

    Shapes:  returns (B, N, T, D), dense as (B, T, N, D), and the scores' log-sum-exp (B, N, T) float32.
    Errors:  MemoryError.
    """
    functions = library()
    assert functions is not None
    batch, num_heads, num_queries, head_dim = q_BNTD.shape
    num_key_heads, num_keys = k_BKSD.shape[1:3]
    out_BTND = q_BNTD.new_empty(batch, num_queries, num_heads, head_dim)
    log_sum_BNT = torch.empty(batch, num_heads, num_queries)
    tensors = (q_BNTD, k_BKSD, v_BKSD)
    steps = [(ctypes.c_int64 * 3)(*tensor.stride()[:3]) for tensor in tensors]
    sizes = (batch, num_heads, num_key_heads, num_queries, num_keys, head_dim)
    pointers = [tensor.data_ptr() for tensor in (*tensors, out_BTND, log_sum_BNT)]
    if not functions.attend_tiles(*pointers, *steps, *sizes, is_causal, torch.get_num_threads()):
        raise MemoryError(f"no room to lay out {num_keys} keys for attention")
    return out_BTND.transpose(1, 2), log_sum_BNT


def attend_tiles_backward(
    q_BNTD: Tensor,
    k_BKSD: Tensor,
    v_BKSD: Tensor,
    out_BNTD: Tensor,
    log_sum_BNT: Tensor,
    grad_BNTD: Tensor,
    *,
    is_causal: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v from that of `attend_tiles`' output; each dense with its heads behind its tokens.

    Errors:  MemoryError.
    """
    functions = library()
    assert functions is not None
    batch, num_heads, num_queries, head_dim = q_BNTD.shape
    num_key_heads, num_keys = k_BKSD.shape[1:3]
    made = [q_BNTD.new_empty(batch, num_queries, num_heads, head_dim)]
    made += [k_BKSD.new_empty(batch, num_keys, num_key_heads, head_dim) for _ in range(2)]
    given = (q_BNTD, k_BKSD, v_BKSD, out_BNTD, grad_BNTD)
    steps = [(ctypes.c_int64 * 3)(*tensor.stride()[:3]) for tensor in given]
    pointers = [tensor.data_ptr() for tensor in (*given, log_sum_BNT, *made)]
    sizes = (batch, num_heads, num_key_heads, num_queries, num_keys, head_dim)
    if not functions.attend_tiles_backward(*pointers, *steps, *sizes, is_causal, torch.get_num_threads()):
        raise MemoryError(f"no room to lay out {num_keys} keys for the gradient of attention")
    grad_q, grad_k, grad_v = (tensor.transpose(1, 2) for tensor in made)
    return grad_q, grad_k, grad_v


def can_turn(x_MND: Tensor) -> bool:
    """Whether `turn_rows` takes these: bfloat16 on a CPU, dense heads, rows that `MIN_QUERIES` make worth a call."""
    return (
        x_MND.dtype == torch.bfloat16
        and x_MND.device.type == "cpu"
        and x_MND.shape[0] >= MIN_QUERIES
        and x_MND.stride()[1:] == (x_MND.shape[2], 1)
        and library() is not None
    )


def turn_rows(x_MND: Tensor, gain_D: Tensor | None, cos_MD: Tensor, sin_MD: Tensor, eps: float) -> Tensor:
    """Heads normalised (given a gain) and rotated. gain, cos and sin dense float32; returns (M, N, D) dense."""
    functions = library()
    assert functions is not None
    out_MND = x_MND.new_empty(x_MND.shape)
    gain = None if gain_D is None else gain_D.data_ptr()
    pointers = (x_MND.data_ptr(), gain, cos_MD.data_ptr(), sin_MD.data_ptr(), out_MND.data_ptr())
    functions.turn_rows(*pointers, *x_MND.shape, x_MND.stride(0), eps, torch.get_num_threads())
    return out_MND


def turn_rows_backward(
    x_MND: Tensor, gain_D: Tensor | None, cos_MD: Tensor, sin_MD: Tensor, grad_MND: Tensor, eps: float
) -> tuple[Tensor, Tensor | None]:
    """Gradients of x and of the gain (float32) from that of `turn_rows`' output, which is dense."""
    functions = library()
    assert functions is not None
    made_MND = x_MND.new_empty(x_MND.shape)
    made_D = None if gain_D is None else torch.zeros_like(gain_D)
    given = (x_MND, gain_D, cos_MD, sin_MD, grad_MND, made_MND, made_D)
    pointers = [None if tensor is None else tensor.data_ptr() for tensor in given]
    functions.turn_rows_backward(*pointers, *x_MND.shape, x_MND.stride(0), eps, torch.get_num_threads())
    return made_MND, made_D


def silu_mul_(gate_MK: Tensor, up_MK: Tensor) -> Tensor:
    """silu(gate) * up, written over gate. Both dense, float32 or bfloat16."""
    functions = library()
    assert functions is not None
    pointers = (gate_MK.data_ptr(), up_MK.data_ptr())
    functions.silu_rows(*pointers, *gate_MK.shape, KINDS[gate_MK.dtype], torch.get_num_threads())
    return gate_MK


def rms_norm(x_MK: Tensor, gain_K: Tensor, eps: float) -> Tensor:
    """Rows over the root of their mean square, times a float32 gain. Both contiguous."""
    out_MK = torch.empty_like(x_MK)
    pointers = (x_MK.data_ptr(), gain_K.data_ptr(), out_MK.data_ptr())
    _built()[0].rms_norm(  # type: ignore[union-attr]
        *pointers, *x_MK.shape, eps, KINDS[x_MK.dtype], torch.get_num_threads()
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
