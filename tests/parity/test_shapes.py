"""On the meta device, names and shapes of every public size equal the reference's, and bytes the official files'.

The reference keeps experts output first in memory, [E, 2I, H] and [E, H, I], and turns them when it reads the
official files; ours keeps the files' own orientation, so those two are compared transposed.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from regard.model.qwen3_vl import Qwen3VL
from regard.parity.reference import import_transformers
from regard.weights.family import hf_config, public_models
from regard.weights.hub import NANO_FOLDER

pytest.importorskip("transformers", reason="the reference")

SIZES = [model.size for model in public_models() if model.precision == "bf16"]
# Parameters, bytes in bfloat16 and tensors in the file; 4B, 8B and 30B-A3B are the official indexes' own numbers.
FACTS = {
    "2B": (2_127_532_032, 4_255_064_064, 625),
    "4B": (4_437_815_808, 8_875_631_616, 713),
    "8B": (8_767_123_696, 17_534_247_392, 750),
    "32B": (33_357_390_064, 66_714_780_128, 1058),
    "30B-A3B": (31_070_754_032, 62_141_508_064, 882),
    "235B-A22B": (235_670_022_896, 471_340_045_792, 1388),
}


def full_config(size: str) -> dict[str, Any]:
    family = json.loads((NANO_FOLDER.parent / "family.json").read_text())
    return hf_config(family, size, "bf16")


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Parameters by name; a tied head is listed once, under the embedding's name."""
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def reference_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """What `transformers` builds, with its experts turned to the files' orientation."""
    transformers = import_transformers()
    is_moe = config["model_type"] == "qwen3_vl_moe"
    prefix = "Qwen3VLMoe" if is_moe else "Qwen3VL"
    made = getattr(transformers, f"{prefix}Config")(**config)
    with torch.device("meta"):
        model = getattr(transformers, f"{prefix}ForConditionalGeneration")._from_config(made)
    if config["tie_word_embeddings"]:
        model.tie_weights()
    return {
        name: (shape[0], shape[2], shape[1]) if ".mlp.experts." in name else shape
        for name, shape in shapes_of(model).items()
    }


@pytest.mark.parametrize("size", SIZES)
def test_names_and_shapes_equal_the_references(size: str) -> None:
    config = next(m.config for m in public_models() if (m.size, m.precision) == (size, "bf16"))
    with torch.device("meta"):
        ours = shapes_of(Qwen3VL(config))
    theirs = reference_shapes(full_config(size))
    assert ours.keys() == theirs.keys()
    assert ours == theirs


@pytest.mark.parametrize("size", SIZES)
def test_parameters_bytes_and_tensors_equal_the_official_files(size: str) -> None:
    config = next(m.config for m in public_models() if (m.size, m.precision) == (size, "bf16"))
    with torch.device("meta"):
        parameters = [p for _, p in Qwen3VL(config).named_parameters()]
    num_parameters = sum(p.numel() for p in parameters)
    assert (num_parameters, 2 * num_parameters, len(parameters)) == FACTS[size]
