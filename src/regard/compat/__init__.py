"""Drop-in: the usual Transformers and vLLM programs for this family, over our engine; only the import line changes.

    from regard.compat import AutoProcessor, Qwen3VLForConditionalGeneration          # instead of transformers
    from regard.compat import LLM, SamplingParams, AutoProcessor, process_vision_info  # instead of vllm, qwen_vl_utils

Names, arguments and results are those of transformers 5.23, vllm 0.11 and qwen-vl-utils 0.0.14; pixels, ids and
grids are compared with the reference's (tests/compat). An option is honoured, or refused with a sentence; options
that only say how the other library should compute, and change nothing here, are accepted (docs/compat.md lists them).

Nothing of those libraries is imported. Every name loads on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regard.compat.features import BatchFeature as BatchFeature
    from regard.compat.generation import GenerationConfig as GenerationConfig
    from regard.compat.generation import set_seed as set_seed
    from regard.compat.model import AutoModelForImageTextToText as AutoModelForImageTextToText
    from regard.compat.model import Qwen3VLForConditionalGeneration as Qwen3VLForConditionalGeneration
    from regard.compat.model import Qwen3VLMoeForConditionalGeneration as Qwen3VLMoeForConditionalGeneration
    from regard.compat.processor import AutoProcessor as AutoProcessor
    from regard.compat.processor import Qwen3VLProcessor as Qwen3VLProcessor
    from regard.compat.streamers import TextIteratorStreamer as TextIteratorStreamer
    from regard.compat.streamers import TextStreamer as TextStreamer
    from regard.compat.video_processor import VideoMetadata as VideoMetadata
    from regard.compat.vision_info import process_vision_info as process_vision_info
    from regard.compat.vllm import LLM as LLM
    from regard.compat.vllm_params import SamplingParams as SamplingParams
    from regard.compat.vllm_params import StructuredOutputsParams as StructuredOutputsParams

_HOMES = {
    "AutoModelForImageTextToText": "model",
    "AutoProcessor": "processor",
    "BatchFeature": "features",
    "GenerationConfig": "generation",
    "LLM": "vllm",
    "Qwen3VLForConditionalGeneration": "model",
    "Qwen3VLMoeForConditionalGeneration": "model",
    "Qwen3VLProcessor": "processor",
    "SamplingParams": "vllm_params",
    "StructuredOutputsParams": "vllm_params",
    "TextIteratorStreamer": "streamers",
    "TextStreamer": "streamers",
    "VideoMetadata": "video_processor",
    "process_vision_info": "vision_info",
    "set_seed": "generation",
}

__all__ = [
    "LLM",
    "AutoModelForImageTextToText",
    "AutoProcessor",
    "BatchFeature",
    "GenerationConfig",
    "Qwen3VLForConditionalGeneration",
    "Qwen3VLMoeForConditionalGeneration",
    "Qwen3VLProcessor",
    "SamplingParams",
    "StructuredOutputsParams",
    "TextIteratorStreamer",
    "TextStreamer",
    "VideoMetadata",
    "process_vision_info",
    "set_seed",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(
            f"module 'regard.compat' has no attribute {name!r}; it has {', '.join(__all__)}, and for anything else "
            "the original library is the place"
        )
    return getattr(import_module(f"regard.compat.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
