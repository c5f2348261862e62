"""Sparse feed-forward: a float32 router picks experts per token, their outputs are mixed.

    router logits (model dtype) -> softmax in float32 over ALL experts -> top k -> divided by their sum
    expert(x) = (silu(x @ gate) * (x @ up)) @ down, scaled by its router weight after `down`

Experts are stored as the official files store them, input first (y = x @ W): gate_up_proj [E, H, 2I] with
gate in the first half of the last axis, down_proj [E, I, H]. Tokens are sorted by expert so that each
expert that is used runs one matrix product; newer NVIDIA GPUs run those of all experts at once, without the host
knowing how many tokens each has. Load balancing losses are training matters and left out.
Shape letters: T tokens, H hidden size, E experts, I moe_intermediate_size, K experts per token, J = T * K.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regard.model.config import MoeConfig


class Experts(nn.Module):
    """All experts of one layer, fused."""

    def __init__(self, hidden_size: int, config: MoeConfig) -> None:
        super().__init__()
        num_experts, width = config.num_experts, config.moe_intermediate_size
        self.gate_up_proj = nn.Parameter(torch.empty(num_experts, hidden_size, 2 * width))
        self.down_proj = nn.Parameter(torch.empty(num_experts, width, hidden_size))

    def gate_up(self, x: Tensor, expert: int) -> Tensor:
        """Gate and up of one expert, side by side. Shapes: x (N, H); returns (N, 2I)."""
        return x @ self.gate_up_proj[expert]

    def down(self, x: Tensor, expert: int) -> Tensor:
        """Back to the hidden size. Shapes: x (N, I); returns (N, H)."""
        return x @ self.down_proj[expert]

    def forward(self, x_TH: Tensor, topk_ids_TK: Tensor, topk_weights_TK: Tensor) -> Tensor:
        if type(self) is Experts and _has_grouped_product(x_TH):
            return self.at_once(x_TH, topk_ids_TK, topk_weights_TK)
        out_TH = torch.zeros_like(x_TH)
        for expert in topk_ids_TK.unique().tolist():
            token, slot = (topk_ids_TK == expert).nonzero(as_tuple=True)
            gate, up = self.gate_up(x_TH[token], expert).chunk(2, dim=-1)
            y = self.down(F.silu(gate) * up, expert)
            out_TH.index_add_(0, token, y * topk_weights_TK[token, slot, None])
        return out_TH

    def at_once(self, x_TH: Tensor, topk_ids_TK: Tensor, topk_weights_TK: Tensor) -> Tensor:
        """The same with one grouped product for all experts."""
        ids_J = topk_ids_TK.flatten()
        order_J = ids_J.argsort(stable=True)
        experts_E = torch.arange(len(self.down_proj), device=ids_J.device)
        ends_E = (ids_J[:, None] <= experts_E).sum(0, dtype=torch.int32)
        x_JH = x_TH[order_J // topk_ids_TK.shape[1]]
        gate, up = F.grouped_mm(x_JH, self.gate_up_proj, offs=ends_E).chunk(2, dim=-1)
        y_JH = torch.empty_like(x_JH)
        y_JH[order_J] = F.grouped_mm(F.silu(gate) * up, self.down_proj, offs=ends_E)
        return (y_JH.view(*topk_ids_TK.shape, -1) * topk_weights_TK[..., None]).sum(1)


def _has_grouped_product(x: Tensor) -> bool:
    """Whether PyTorch has a kernel of its own for it, where others loop over the experts."""
    if x.device.type != "cuda" or x.dtype != torch.bfloat16 or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(x.device)[0] >= 9


class SparseMLP(nn.Module):
    """Router and experts; parameter names equal the checkpoint's `mlp.gate` and `mlp.experts`."""

    def __init__(self, hidden_size: int, config: MoeConfig) -> None:
        super().__init__()
        self.num_experts_per_tok = config.num_experts_per_tok
        self.gate = nn.Linear(hidden_size, config.num_experts, bias=False)
        self.experts = Experts(hidden_size, config)

    def forward(self, x_BTH: Tensor) -> Tensor:
        x_TH = x_BTH.flatten(0, -2)
        router_logits_TE = self.gate(x_TH)
        probabilities_TE = router_logits_TE.softmax(dim=-1, dtype=torch.float32)
        topk_weights_TK, topk_ids_TK = probabilities_TE.topk(self.num_experts_per_tok, dim=-1)
        topk_weights_TK = topk_weights_TK / topk_weights_TK.sum(dim=-1, keepdim=True)
        out_TH = self.experts(x_TH, topk_ids_TK, topk_weights_TK.to(x_TH.dtype))
        return out_TH.view_as(x_BTH)
