"""Folders that transformers itself has written load like the official ones, with the same logits.

Its MoE files hold the experts output first under the official names, and its config.json is rewritten
(`rope_parameters`, other model types of the towers). Where 2I = H or I = H a single tensor does not tell its
orientation; the reference reads its own files back wrongly from the official layout there, so the model under
test is made in its memory and written from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from regard.parity.reference import import_transformers
from regard.weights.checkpoint import load_model
from tests.tiny import tiny_config

pytest.importorskip("transformers", reason="the reference")

HIDDEN = 32
TOLERANCE = 1e-4


def reference_model(config: dict[str, Any]) -> Any:
    """The reference with random weights wide enough that a turned expert cannot go unnoticed."""
    transformers = import_transformers()
    prefix = "Qwen3VLMoe" if config["model_type"] == "qwen3_vl_moe" else "Qwen3VL"
    made = getattr(transformers, f"{prefix}Config")(**config)
    model = getattr(transformers, f"{prefix}ForConditionalGeneration")(made).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(0.15 * torch.randn(parameter.shape, generator=generator))
    return model


@torch.no_grad()
def assert_same_logits(folder: Path, reference: Any) -> None:
    ids = torch.arange(3, 19)[None]
    positions = torch.arange(16).expand(3, 1, 16)
    expected: Tensor = reference(input_ids=ids, position_ids=positions).logits
    assert expected.abs().max() > 0.5
    torch.testing.assert_close(load_model(folder, dtype="float32")(ids, positions), expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("width", [24, HIDDEN // 2, HIDDEN], ids=["no square", "2I = H", "I = H"])
def test_experts_written_by_transformers_are_read_the_right_way_round(tmp_path: Path, width: int) -> None:
    config = tiny_config(moe=True)
    assert config["text_config"]["hidden_size"] == HIDDEN
    config["text_config"]["moe_intermediate_size"] = width
    reference = reference_model(config)
    reference.save_pretrained(tmp_path)
    assert_same_logits(tmp_path, reference)


@pytest.mark.parametrize("tied", [True, False])
def test_dense_models_written_by_transformers_in_shards_are_read(tmp_path: Path, tied: bool) -> None:
    reference = reference_model(tiny_config(tied=tied))
    reference.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert_same_logits(tmp_path, reference)
