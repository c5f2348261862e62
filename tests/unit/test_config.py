"""config.json as it is found in the wild, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from regard.errors import ConfigError
from regard.model.config import ModelConfig
from tests.tiny import tiny_config


def with_text(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A copy with keys of text_config set, or removed where the value is None."""
    config = copy.deepcopy(config)
    for key, value in changes.items():
        config["text_config"][key] = value
        if value is None:
            del config["text_config"][key]
    return config


def test_one_rope_parameters_object_means_the_same_as_theta_and_scaling() -> None:
    original = tiny_config()
    rope = original["text_config"]["rope_scaling"] | {"rope_theta": original["text_config"]["rope_theta"]}
    resaved = with_text(original, rope_theta=None, rope_scaling=None, rope_parameters=rope)
    assert ModelConfig.from_hf(resaved) == ModelConfig.from_hf(original)


def test_the_number_of_experts_has_two_names() -> None:
    original = tiny_config(moe=True)
    renamed = with_text(original, num_experts=None, num_local_experts=4)
    assert ModelConfig.from_hf(renamed) == ModelConfig.from_hf(original)


def test_a_missing_rope_theta_is_refused_rather_than_guessed() -> None:
    with pytest.raises(ConfigError, match="rope_theta"):
        ModelConfig.from_hf(with_text(tiny_config(), rope_theta=None))


def test_a_missing_number_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError, match="num_hidden_layers is None"):
        ModelConfig.from_hf(with_text(tiny_config(), num_hidden_layers=None))


def test_another_family_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigError, match="'qwen2_vl'"):
        ModelConfig.from_hf(tiny_config() | {"model_type": "qwen2_vl"})


def test_yarn_as_the_readme_writes_it_is_read() -> None:
    scaling = {
        "rope_type": "yarn",
        "factor": 3.0,
        "original_max_position_embeddings": 262144,
        "mrope_section": [4, 2, 2],
        "mrope_interleaved": True,
    }
    rope = ModelConfig.from_hf(with_text(tiny_config(), rope_scaling=scaling)).text.rope
    assert (rope.kind, rope.factor, rope.original_max_position_embeddings) == ("yarn", 3.0, 262144)


def test_an_unknown_rope_type_is_refused() -> None:
    scaling = {"rope_type": "longrope", "mrope_section": [4, 2, 2]}
    with pytest.raises(ConfigError, match="longrope"):
        ModelConfig.from_hf(with_text(tiny_config(), rope_scaling=scaling))


def test_the_top_level_decides_whether_the_head_is_tied() -> None:
    """Original MoE files say nothing in text_config, and that library's own default there is True."""
    config = tiny_config(moe=True)
    assert "tie_word_embeddings" not in config["text_config"]
    assert not ModelConfig.from_hf(config).tie_word_embeddings


def test_the_dtype_is_found_where_the_original_files_put_it() -> None:
    assert ModelConfig.from_hf(with_text(tiny_config(), dtype="bfloat16")).dtype == "bfloat16"
    assert ModelConfig.from_hf(with_text(tiny_config(), dtype=None) | {"torch_dtype": "float16"}).dtype == "float16"


@pytest.mark.parametrize("key", ["ignored_layers", "modules_to_not_convert"])
def test_layers_kept_out_of_fp8_have_two_names(key: str) -> None:
    quantization = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128], key: ["lm_head"]}
    read = ModelConfig.from_hf(tiny_config() | {"quantization_config": quantization}).quantization
    assert read is not None
    assert (read.weight_block_size, read.ignored_layers) == ((128, 128), ("lm_head",))


def test_other_quantizations_are_refused_by_their_name() -> None:
    with pytest.raises(ConfigError, match="'awq'"):
        ModelConfig.from_hf(tiny_config() | {"quantization_config": {"quant_method": "awq", "bits": 4}})
