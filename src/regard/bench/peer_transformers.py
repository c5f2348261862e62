"""transformers as a system under test, called as its documentation says: its processor, then `generate`.

    generate   one request after the other
    batch      requests of words: `generate_batch`, its continuous batching; with pictures, which that refuses:
               one call of `generate` with prompts padded on the left

The dtype is the one that ours computes in, on the CPU, with the library's own choice of attention. `generate_batch`
gets a cache of the size that the largest case needs: left alone it takes nine tenths of the memory, again in each call.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from regard.bench.clock import ModuleClock
from regard.bench.requests import FRAMES_PER_SECOND, Answered, LoadOptions, Request, Unsupported, WaveResult
from regard.parity.reference import import_transformers

_PAGE_TOKENS, _STEP_TOKENS = 64, 512


class Transformers:
    """A loaded model and processor."""

    def __init__(self, options: LoadOptions, variant: str) -> None:
        self._transformers = import_transformers()
        folder, dtype = Path(options.folder), getattr(torch, options.dtype)
        self._model = self._transformers.AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, local_files_only=True
        ).eval()
        self._processor = self._transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)
        self._pad_id = self._processor.tokenizer.pad_token_id
        # The checkpoint's own settings would end answers early and sample.
        self._model.generation_config = self._transformers.GenerationConfig(pad_token_id=self._pad_id)
        self._vision = ModuleClock(self._model.model.visual)
        self._is_batched = variant == "batch"
        self._batching = self._transformers.ContinuousBatchingConfig(
            page_size=_PAGE_TOKENS,
            num_blocks=options.num_context_tokens // _PAGE_TOKENS + 2 * options.max_concurrent,
            max_batch_tokens=_STEP_TOKENS,
            max_requests_per_batch=options.max_concurrent,
        )

    def facts(self) -> dict[str, Any]:
        """What was loaded."""
        config = self._model.config
        return {"dtype": str(self._model.dtype).removeprefix("torch."), "attention": config._attn_implementation}

    def answer(self, requests: Sequence[Request]) -> WaveResult:
        """Answer one after the other, or in one batch."""
        start_s = time.perf_counter()
        if not self._is_batched or len(requests) == 1:
            answers = [self._answer_one(request) for request in requests]
        elif any(request.pictures or request.frames for request in requests):
            answers = self._answer_padded(requests, start_s)
        else:
            answers = self._answer_continuously(requests, start_s)
        return WaveResult(time.perf_counter() - start_s, tuple(answers))

    def _answer_one(self, request: Request) -> Answered:
        start_s = time.perf_counter()
        self._vision.take()
        inputs = self._inputs([request])
        preprocess_s = time.perf_counter() - start_s
        first = _FirstToken()
        out = self._model.generate(**inputs, max_new_tokens=request.max_tokens, streamer=first)
        num_prompt = inputs["input_ids"].shape[1]
        token_ids = out[0, num_prompt:].tolist()
        return Answered(
            num_prompt_tokens=num_prompt,
            num_output_tokens=len(token_ids),
            total_s=time.perf_counter() - start_s,
            ttft_s=first.at_s - start_s,
            preprocess_s=preprocess_s,
            vision_s=self._vision.take(),
            text=self._processor.tokenizer.decode(token_ids, skip_special_tokens=True),
        )

    def _answer_padded(self, requests: Sequence[Request], start_s: float) -> list[Answered]:
        inputs = self._inputs(requests)
        num_new = max(request.max_tokens for request in requests)
        out = self._model.generate(**inputs, max_new_tokens=num_new)
        total_s = time.perf_counter() - start_s
        rows = out[:, inputs["input_ids"].shape[1] :].tolist()
        texts = self._processor.tokenizer.batch_decode(rows, skip_special_tokens=True)
        lengths = inputs["attention_mask"].sum(1).tolist()
        return [
            Answered(length, len(row), total_s, text=text)
            for length, row, text in zip(lengths, rows, texts, strict=True)
        ]

    def _answer_continuously(self, requests: Sequence[Request], start_s: float) -> list[Answered]:
        prompts = [self._inputs([request])["input_ids"][0].tolist() for request in requests]
        num_new = max(request.max_tokens for request in requests)
        settings = self._transformers.GenerationConfig(
            max_new_tokens=num_new, do_sample=False, pad_token_id=self._pad_id, eos_token_id=-1
        )
        found = self._model.generate_batch(
            inputs=prompts,
            generation_config=settings,
            continuous_batching_config=self._batching,
            persistent_manager=True,
            warmup=False,
        )
        total_s = time.perf_counter() - start_s
        outputs = sorted(found.values(), key=lambda output: int(output.request_id.rpartition("_")[2]))
        problems = [str(output.error) for output in outputs if output.error]
        if problems or len(outputs) != len(prompts):
            raise Unsupported(
                f"generate_batch answered {len(outputs) - len(problems)} of {len(prompts)} {problems[:1]}"
            )
        decode = self._processor.tokenizer.decode
        return [
            Answered(
                len(output.prompt_ids),
                len(output.generated_tokens),
                total_s,
                text=decode(output.generated_tokens, skip_special_tokens=True),
            )
            for output in outputs
        ]

    def _inputs(self, requests: Sequence[Request]) -> dict[str, torch.Tensor]:
        prompts = [
            self._processor.apply_chat_template([_turn(request)], add_generation_prompt=True, tokenize=False)
            for request in requests
        ]
        pictures = [PIL.Image.open(path) for request in requests for path in request.pictures]
        clips = [_clip(request.frames) for request in requests if request.frames]
        made = self._processor(
            text=prompts,
            images=pictures or None,
            videos=[frames for frames, _ in clips] or None,
            video_metadata=[metadata for _, metadata in clips] or None,
            do_sample_frames=False,
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        return dict(made)


class _FirstToken:
    """What `generate` wants of a streamer; remembers when the first token came."""

    def __init__(self) -> None:
        self.at_s = 0.0
        self._has_prompt = False

    def put(self, token_ids: torch.Tensor) -> None:
        """Called with the prompt, then with each token."""
        if self._has_prompt:
            self.at_s = self.at_s or time.perf_counter()
        self._has_prompt = True

    def end(self) -> None:
        """Called after the last token."""


def _turn(request: Request) -> dict[str, Any]:
    parts: list[dict[str, str]] = [{"type": "image"} for _ in request.pictures]
    parts += [{"type": "video"}] if request.frames else []
    return {"role": "user", "content": [*parts, {"type": "text", "text": request.text}]}


def _clip(paths: Sequence[str]) -> tuple[Any, Any]:
    """Frames (n, H, W, 3) uint8 and what is known about them."""
    from transformers.video_utils import VideoMetadata

    frames = np.stack([np.asarray(PIL.Image.open(path).convert("RGB")) for path in paths])
    indices = list(range(len(frames)))
    return frames, VideoMetadata(total_num_frames=len(frames), fps=FRAMES_PER_SECOND, frames_indices=indices)
