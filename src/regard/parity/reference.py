"""The reference: transformers' Qwen3-VL, loaded by its own loaders, asked in its own words.

`Reference.from_folder(folder)` loads model and processor in float32 on the CPU. Its methods take our messages and
answer with plain tensors: the inputs that its processor makes of them, vision features, logits, greedy tokens.

transformers' image code imports torchvision. Beside a torch that it was not compiled for (a CPU build, say),
torchvision's compiled library does not load, and its import fails because its Python part registers fake versions
of two of the library's operators, `torchvision::nms` and `torchvision::qnms`. Resizing needs neither: it is
torch's own `interpolate`. So `import_torchvision` declares the two names when, and only when, they are what is
missing. Where torchvision fits torch, nothing is declared.

A clip's file is decoded by the reference's PyAV reader, its frames chosen by the reference's video processor.
It does not compare (`compare.py`) and nothing outside this room and the tests imports it: transformers is
never needed to run a model.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.errors import MissingDependencyError
from regard.messages import Image, Message, Video
from regard.processing.chat_template import to_template_dict

_OPERATORS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision() -> None:
    """Import torchvision, declaring the two operators that its import asks for if its library cannot bring them.

    Errors: MissingDependencyError if it is not installed.
    """
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError:
        raise _missing("torchvision", "pip install --no-deps torchvision") from None
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in _OPERATORS:
            if not hasattr(torch.ops.torchvision, name):
                torch.library.define(f"torchvision::{name}", _SIGNATURE)
        importlib.import_module("torchvision")


def import_transformers() -> Any:
    """The reference library, quiet and able to read pictures. Errors: MissingDependencyError."""
    try:
        import transformers
    except ModuleNotFoundError:
        raise _missing("transformers", "pip install 'regard[dev]'") from None
    import_torchvision()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def versions() -> dict[str, str]:
    """The versions that decide the numbers; a package that is not installed is left out."""
    found = {}
    for name in ("regard", "torch", "transformers", "torchvision", "tokenizers", "numpy", "pillow", "av"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _missing(package: str, command: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"parity compares with the reference, and {package} is not installed; it comes with the extra 'dev': {command}"
    )


class Reference:
    """transformers' model and processor for one folder, float32, on the CPU."""

    def __init__(self, transformers: Any, model: Any, processor: Any) -> None:
        self._transformers = transformers
        self.model = model
        self.processor = processor

    @classmethod
    def from_folder(cls, folder: Path) -> Reference:
        """Load as a user of transformers would. Errors: MissingDependencyError; whatever its loaders raise."""
        transformers = import_transformers()
        model = transformers.AutoModelForImageTextToText.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True
        )
        processor = transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)
        return cls(transformers, model.eval(), processor)

    def inputs(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_vision_id: bool = False,
    ) -> dict[str, Tensor]:
        """What its processor makes of a batch: ids padded on the left, mask, pixel values, grids, token types."""
        prompts = [
            self.processor.apply_chat_template(
                [to_template_dict(message) for message in messages],
                tools=tools,
                add_generation_prompt=True,
                add_vision_id=add_vision_id,
                tokenize=False,
            )
            for messages in conversations
        ]
        parts = [part for messages in conversations for message in messages for part in message.parts]
        pictures = [part.source for part in parts if isinstance(part, Image)]
        clips = [self._clip(part) for part in parts if isinstance(part, Video)]
        made = self.processor(
            text=prompts,
            images=pictures or None,
            videos=[frames for frames, _ in clips] or None,
            video_metadata=[metadata for _, metadata in clips] or None,
            do_sample_frames=False,
            cap_pixels_per_frame=False,
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        return dict(made)

    def _clip(self, video: Video) -> tuple[Any, Any]:
        """Frames (n, H, W, 3) uint8 and what is known about them."""
        from transformers.video_utils import VideoMetadata, load_video

        if isinstance(video.source, str | os.PathLike):
            sample = partial(self.processor.video_processor.sample_frames, fps=video.fps, num_frames=video.num_frames)
            return load_video(os.fspath(video.source), backend="pyav", sample_indices_fn=sample)
        frames = np.stack([np.asarray(frame) for frame in video.source])
        indices = list(range(len(frames)))
        return frames, VideoMetadata(total_num_frames=len(frames), fps=video.sample_fps, frames_indices=indices)

    @torch.inference_mode()
    def vision(self, pixel_values: Tensor, grid_thw: Tensor) -> tuple[Tensor, ...]:
        """The merged rows of all items, then each DeepStack feature. Shapes: (V, D) each."""
        out = self.model.model.visual(pixel_values, grid_thw=grid_thw)
        return (out.pooler_output, *out.deepstack_features)

    def positions(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Position ids (3, B, T) and rope_delta (B,)."""
        names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "video_grid_thw", "attention_mask")
        position_ids, deltas = self.model.model.get_rope_index(**{name: inputs.get(name) for name in names})
        return position_ids, deltas.flatten()

    @torch.inference_mode()
    def logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits of every position. Shapes: returns (B, T, vocab)."""
        return self.model(**inputs, use_cache=False).logits

    def greedy(
        self, inputs: Mapping[str, Tensor], num_tokens: int, *, eos_token_ids: Sequence[int] = ()
    ) -> list[list[int]]:
        """Up to `num_tokens` greedy tokens for each row of the batch; by default nothing ends a turn."""
        # The checkpoint's own settings are left aside: its end tokens, and sampling values that would warn.
        self.model.generation_config = self._transformers.GenerationConfig(
            pad_token_id=0, eos_token_id=list(eos_token_ids) or None
        )
        out = self.model.generate(**inputs, max_new_tokens=num_tokens, do_sample=False)
        return out[:, inputs["input_ids"].shape[1] :].tolist()
