"""The architecture's numbers, read from a checkpoint's config.json. Torch-free.

`ModelConfig.from_hf(dict)` accepts what is found in the wild: the original files (`rope_theta` plus
`rope_scaling`), files re-saved by transformers 5 (one `rope_parameters` dict, `num_local_experts`),
dense and MoE. Nothing falls back to a class default of another library: a key that decides a shape must
be in the file. Values that the family keeps in code and never in files are constants here.

It does not read files (`weights/`) and does not know processing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from regard.errors import ConfigError

VISION_ROPE_THETA = 10000.0
VISION_NORM_EPS = 1e-6

DENSE, MOE = "qwen3_vl", "qwen3_vl_moe"
# In front of model_type and quant_method in the config.json of our own formats, which no other program can read.
OWN = "regard_"


@dataclass(frozen=True)
class RopeConfig:
    """Rotary embedding of the text decoder. `mrope_section` counts frequencies for (time, height, width)."""

    theta: float
    mrope_section: tuple[int, int, int]
    kind: Literal["default", "yarn"] = "default"
    factor: float = 1.0
    original_max_position_embeddings: int = 0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True


@dataclass(frozen=True)
class MoeConfig:
    """Sparse feed-forward. Layers in `mlp_only_layers` stay dense."""

    num_experts: int
    num_experts_per_tok: int
    moe_intermediate_size: int
    decoder_sparse_step: int
    mlp_only_layers: tuple[int, ...]


@dataclass(frozen=True)
class TextConfig:
    """The decoder. `head_dim` is independent of `hidden_size`."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    max_position_embeddings: int
    rope: RopeConfig
    moe: MoeConfig | None = None
    attention_bias: bool = False

    def is_sparse(self, layer: int) -> bool:
        """Whether decoder layer `layer` uses experts."""
        moe = self.moe
        return moe is not None and layer not in moe.mlp_only_layers and (layer + 1) % moe.decoder_sparse_step == 0


@dataclass(frozen=True)
class VisionConfig:
    """The vision tower. `num_position_embeddings` is the square of the learned grid's side."""

    depth: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    out_hidden_size: int
    patch_size: int
    temporal_patch_size: int
    spatial_merge_size: int
    in_channels: int
    num_position_embeddings: int
    deepstack_visual_indexes: tuple[int, ...]

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.hidden_size // self.num_heads

    @property
    def patch_dim(self) -> int:
        """Values in one flattened patch: channels, temporal slots, height, width."""
        return self.in_channels * self.temporal_patch_size * self.patch_size**2


@dataclass(frozen=True)
class QuantizationConfig:
    """How weights are stored: block-scaled FP8, or our own 8-bit and 4-bit integers (`weights/integer.py`).

    `ignored_layers` are module names kept in the checkpoint's own dtype, `int8_layers` those that a 4-bit checkpoint
    keeps in 8 bits; `group_size` counts inputs that share a 4-bit scale.
    """

    weight_block_size: tuple[int, int] = (128, 128)
    ignored_layers: tuple[str, ...] = ()
    method: Literal["fp8", "int8", "int4"] = "fp8"
    group_size: int = 128
    int8_layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelConfig:
    """A whole checkpoint's architecture."""

    text: TextConfig
    vision: VisionConfig
    image_token_id: int
    video_token_id: int
    vision_start_token_id: int
    vision_end_token_id: int
    tie_word_embeddings: bool
    dtype: str
    quantization: QuantizationConfig | None = None

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> ModelConfig:
        """Build from the parsed config.json. Raises ConfigError naming the key that is wrong."""
        quantization = _quantization(config.get("quantization_config"))
        model_type = config.get("model_type")
        if quantization is not None and quantization.method != "fp8":
            model_type = str(model_type).removeprefix(OWN)
        if model_type not in (DENSE, MOE):
            raise ConfigError(
                f"config.json says model_type {model_type!r}; this package runs {DENSE!r} and {MOE!r} checkpoints"
            )
        text = _section(config, "text_config")
        vision = _section(config, "vision_config")
        tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
        made = cls(
            text=_text(text, is_moe=model_type == MOE),
            vision=_vision(vision),
            image_token_id=int(config.get("image_token_id", 151655)),
            video_token_id=int(config.get("video_token_id", 151656)),
            vision_start_token_id=int(config.get("vision_start_token_id", 151652)),
            vision_end_token_id=int(config.get("vision_end_token_id", 151653)),
            tie_word_embeddings=bool(tied),
            dtype=_dtype(config, text),
            quantization=quantization,
        )
        _check(made)
        return made


def _section(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = config.get(key)
    if not isinstance(section, Mapping):
        raise ConfigError(f"config.json has no {key!r} object; a Qwen3-VL config must have one")
    return section


def _need(section: Mapping[str, Any], key: str) -> int:
    value = section.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"config.json: {key} is {value!r}; it must be a whole number")
    return value


def _text(text: Mapping[str, Any], *, is_moe: bool) -> TextConfig:
    return TextConfig(
        vocab_size=_need(text, "vocab_size"),
        hidden_size=_need(text, "hidden_size"),
        intermediate_size=_need(text, "intermediate_size"),
        num_hidden_layers=_need(text, "num_hidden_layers"),
        num_attention_heads=_need(text, "num_attention_heads"),
        num_key_value_heads=_need(text, "num_key_value_heads"),
        head_dim=_need(text, "head_dim"),
        rms_norm_eps=float(text.get("rms_norm_eps", 1e-6)),
        max_position_embeddings=_need(text, "max_position_embeddings"),
        rope=_rope(text),
        moe=_moe(text) if is_moe else None,
        attention_bias=bool(text.get("attention_bias", False)),
    )


def _rope(text: Mapping[str, Any]) -> RopeConfig:
    """Merge the two spellings: `rope_theta` + `rope_scaling`, or one `rope_parameters`."""
    rope = dict(text.get("rope_scaling") or {}) | dict(text.get("rope_parameters") or {})
    kind = rope.get("rope_type", rope.get("type", "default"))
    kind = "default" if kind == "mrope" else kind
    if kind not in ("default", "yarn"):
        raise ConfigError(f"config.json: rope_type is {kind!r}; only 'default' and 'yarn' are known, so it is refused")
    theta = rope.get("rope_theta", text.get("rope_theta"))
    if theta is None:
        raise ConfigError("config.json has no rope_theta; it decides every position, so no default is assumed")
    section = tuple(int(n) for n in rope.get("mrope_section", (24, 20, 20)))
    if len(section) != 3 or 2 * sum(section) != text["head_dim"]:
        raise ConfigError(f"config.json: mrope_section {list(section)} must hold three counts summing to head_dim / 2")
    if not rope.get("mrope_interleaved", True):
        raise ConfigError("config.json: mrope_interleaved is false; Qwen3-VL interleaves, a sectioned model is another")
    if kind == "default":
        return RopeConfig(theta=float(theta), mrope_section=section)
    return RopeConfig(
        theta=float(theta),
        mrope_section=section,
        kind="yarn",
        factor=float(rope["factor"]),
        original_max_position_embeddings=int(
            rope.get("original_max_position_embeddings", text["max_position_embeddings"])
        ),
        beta_fast=float(rope.get("beta_fast") or 32.0),
        beta_slow=float(rope.get("beta_slow") or 1.0),
        attention_factor=rope.get("attention_factor"),
        mscale=rope.get("mscale"),
        mscale_all_dim=rope.get("mscale_all_dim"),
        truncate=bool(rope.get("truncate", True)),
    )


def _moe(text: Mapping[str, Any]) -> MoeConfig:
    experts_key = "num_experts" if "num_experts" in text else "num_local_experts"
    return MoeConfig(
        num_experts=_need(text, experts_key),
        num_experts_per_tok=_need(text, "num_experts_per_tok"),
        moe_intermediate_size=_need(text, "moe_intermediate_size"),
        decoder_sparse_step=int(text.get("decoder_sparse_step", 1)),
        mlp_only_layers=tuple(text.get("mlp_only_layers") or ()),
    )


def _vision(vision: Mapping[str, Any]) -> VisionConfig:
    return VisionConfig(
        depth=_need(vision, "depth"),
        hidden_size=_need(vision, "hidden_size"),
        intermediate_size=_need(vision, "intermediate_size"),
        num_heads=_need(vision, "num_heads"),
        out_hidden_size=_need(vision, "out_hidden_size"),
        patch_size=_need(vision, "patch_size"),
        temporal_patch_size=_need(vision, "temporal_patch_size"),
        spatial_merge_size=_need(vision, "spatial_merge_size"),
        in_channels=int(vision.get("in_channels", 3)),
        num_position_embeddings=_need(vision, "num_position_embeddings"),
        deepstack_visual_indexes=tuple(int(i) for i in vision.get("deepstack_visual_indexes", ())),
    )


def _dtype(config: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    for section in (config, text):
        for key in ("dtype", "torch_dtype"):
            if section.get(key):
                return str(section[key]).removeprefix("torch.")
    return "bfloat16"


def _quantization(quantization: Mapping[str, Any] | None) -> QuantizationConfig | None:
    if not quantization:
        return None
    method, fmt = quantization.get("quant_method"), quantization.get("fmt", "e4m3")
    ignored = (*(quantization.get("ignored_layers") or ()), *(quantization.get("modules_to_not_convert") or ()))
    if method == f"{OWN}int8":
        return QuantizationConfig(method="int8", ignored_layers=ignored)
    if method == f"{OWN}int4":
        group_size, int8_layers = _need(quantization, "group_size"), tuple(quantization.get("int8_layers") or ())
        return QuantizationConfig(method="int4", ignored_layers=ignored, group_size=group_size, int8_layers=int8_layers)
    if method != "fp8" or fmt != "e4m3":
        raise ConfigError(
            f"config.json: quantization is {method!r} with format {fmt!r}; known are 'fp8' with 'e4m3', "
            f"'{OWN}int8' and '{OWN}int4'"
        )
    block = quantization.get("weight_block_size")
    if not isinstance(block, list | tuple) or len(block) != 2:
        raise ConfigError(f"config.json: weight_block_size is {block!r}; it must be two numbers such as [128, 128]")
    return QuantizationConfig(weight_block_size=(int(block[0]), int(block[1])), ignored_layers=ignored)


def _check(config: ModelConfig) -> None:
    text, vision = config.text, config.vision
    if text.num_attention_heads % text.num_key_value_heads:
        raise ConfigError(
            f"config.json: {text.num_attention_heads} attention heads cannot share {text.num_key_value_heads} key heads"
        )
    if vision.hidden_size % vision.num_heads or vision.head_dim % 4:
        raise ConfigError(f"config.json: vision hidden_size {vision.hidden_size} over {vision.num_heads} heads is odd")
    if vision.out_hidden_size != text.hidden_size:
        raise ConfigError(
            f"config.json: vision out_hidden_size {vision.out_hidden_size} must equal "
            f"text hidden_size {text.hidden_size}"
        )
    if round(vision.num_position_embeddings**0.5) ** 2 != vision.num_position_embeddings:
        raise ConfigError(f"config.json: num_position_embeddings {vision.num_position_embeddings} is not a square")
    if any(not 0 <= i < vision.depth for i in vision.deepstack_visual_indexes):
        raise ConfigError(f"config.json: deepstack_visual_indexes must lie below depth {vision.depth}")
