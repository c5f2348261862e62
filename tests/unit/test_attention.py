"""Attention: both ways agree, and no picture is so large that its N x N matrix is ever built."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from regard.kernels.attention import attention, plain_attention

# Sums in another order; everything else is the same arithmetic.
TOLERANCE = 2e-6

SIXTEEN_MEGAPIXELS = """
import resource, torch
from regard.model.config import VisionConfig
from regard.model.vision import VisionModel

# 65,536 patches as in a 4096x4096 picture, in the narrowest tower: its N x N matrix would take 17 GB.
config = VisionConfig(depth=1, hidden_size=16, intermediate_size=16, num_heads=1, out_hidden_size=16, patch_size=2,
    temporal_patch_size=2, spatial_merge_size=2, in_channels=3, num_position_embeddings=2304,
    deepstack_visual_indexes=())
tower, pixel_values = VisionModel(config), torch.zeros(256 * 256, config.patch_dim)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.inference_mode():
    features = tower(pixel_values, [(1, 256, 256)])
print(features.embeds.shape[0], (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("num_key_heads", [1, 2, 4])
def test_plain_products_equal_the_fused_kernel_with_shared_key_heads(num_key_heads: int, is_causal: bool) -> None:
    torch.manual_seed(0)
    q = torch.randn(3, 4, 7, 8, requires_grad=True)
    k, v = (torch.randn(3, num_key_heads, 7, 8, requires_grad=True) for _ in range(2))
    plain = plain_attention(q, k, v, is_causal=is_causal)
    repeated = (t.repeat_interleave(4 // num_key_heads, dim=1) for t in (k, v))
    fused = F.scaled_dot_product_attention(q, *repeated, is_causal=is_causal)
    assert (plain - fused).abs().max() < TOLERANCE
    gradients = [torch.autograd.grad(out.square().sum(), (q, k, v)) for out in (plain, fused)]
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours - theirs).abs().max() < 10 * TOLERANCE


def test_only_training_takes_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bool] = []
    monkeypatch.setattr(
        "regard.kernels.attention.plain_attention", lambda q, k, v, *, is_causal: taken.append(is_causal)
    )
    q = torch.randn(1, 2, 5, 8)
    attention(q, q, q, is_causal=True)
    with torch.no_grad():
        attention(q.clone().requires_grad_(), q, q)
    assert taken == []
    attention(q.requires_grad_(), q, q, is_causal=True)
    assert taken == [True]


def test_a_picture_of_16_megapixels_needs_no_matrix_of_all_pairs() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", SIXTEEN_MEGAPIXELS], capture_output=True, text=True, check=True
    ).stdout.split()
    num_visual_tokens, megabytes = map(int, printed)
    assert num_visual_tokens == 128 * 128
    assert megabytes < 500
