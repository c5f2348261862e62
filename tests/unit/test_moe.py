"""All experts at once say what one after the other says."""

from __future__ import annotations

import pytest
import torch

from regard.model.config import MoeConfig
from regard.model.moe import Experts


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=str)
@pytest.mark.parametrize("num_tokens", [1, 37])
def test_a_grouped_product_of_all_experts_equals_the_loop_over_them(
    dtype: torch.dtype, tolerance: float, num_tokens: int
) -> None:
    torch.manual_seed(0)
    experts = Experts(
        32,
        MoeConfig(
            num_experts=8, num_experts_per_tok=3, moe_intermediate_size=16, decoder_sparse_step=1, mlp_only_layers=()
        ),
    ).to(dtype)
    with torch.no_grad():
        for weight in experts.parameters():
            weight.normal_(std=0.3)
        x = torch.randn(num_tokens, 32).to(dtype)
        scores = torch.randn(num_tokens, 8)
        scores[:, 5] = -torch.inf  # an expert that nobody chooses
        weights, ids = scores.softmax(-1).topk(3)
        expected = experts(x, ids, weights.to(dtype))
        made = experts.at_once(x, ids, weights.to(dtype))
    assert expected.abs().max() > 0.1
    assert (made - expected).abs().max() <= tolerance * expected.abs().max()
