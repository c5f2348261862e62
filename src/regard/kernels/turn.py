"""Norm and rotation of queries and keys, in one pass where bfloat16 is computed on a CPU.

PyTorch's operators need a dozen passes forward and twice as many backward, each over a tensor as large as the queries:
in training, and in a long prompt, they took more time than the products that made the queries. In native.c all steps
are in float32 and the result is rounded once.

Shape letters: M rows (tokens or patches), N heads, D head_dim.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regard.kernels import native


def turn(x_MND: Tensor, gain_D: Tensor | None, cos_MD: Tensor, sin_MD: Tensor, eps: float = 0.0) -> Tensor:
    """Heads over the root of their mean square times `gain` (unless None), rotated. Needs `native.can_turn`."""
    gain_D = None if gain_D is None else gain_D.float().contiguous()
    cos_MD, sin_MD = cos_MD.float().contiguous(), sin_MD.float().contiguous()
    turned: Tensor = _Turned.apply(x_MND, gain_D, cos_MD, sin_MD, eps)  # type: ignore[no-untyped-call]
    return turned


class _Turned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_MND: Tensor, gain_D: Tensor | None, cos_MD: Tensor, sin_MD: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(x_MND, gain_D, cos_MD, sin_MD)
        ctx.eps = eps
        return native.turn_rows(x_MND, gain_D, cos_MD, sin_MD, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_MND: Tensor) -> tuple[Tensor | None, ...]:
        x_MND, gain_D, cos_MD, sin_MD = ctx.saved_tensors
        grads = native.turn_rows_backward(x_MND, gain_D, cos_MD, sin_MD, grad_MND.contiguous(), ctx.eps)
        return *grads, None, None, None
