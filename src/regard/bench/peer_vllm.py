"""vLLM's CPU build as a system under test. WRITTEN FROM ITS DOCUMENTATION AND NEVER RUN: see `SystemSpec.remark`.

`LLM.chat` with a list of conversations, which it batches. Times to the first token are those that it writes into
`RequestOutput.metrics` when statistics are on, and are missing where a version does not. The context is as long as the
largest case needs, not the checkpoint's, because vLLM fills its largest batch once while it starts.
Clips are left out: it would choose frames by itself, so that the prompts would differ.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import PIL.Image

from regard.bench.requests import Answered, LoadOptions, Request, Unsupported, WaveResult

MAX_PICTURES = 20


class Vllm:
    """A loaded engine."""

    def __init__(self, options: LoadOptions, variant: str) -> None:
        import vllm

        self._vllm = vllm
        self._llm = vllm.LLM(
            model=options.folder,
            dtype=options.dtype,
            max_model_len=options.num_context_tokens,
            max_num_seqs=options.max_concurrent,
            limit_mm_per_prompt={"image": MAX_PICTURES, "video": 0},
            disable_log_stats=False,
            seed=0,
        )

    def facts(self) -> dict[str, Any]:
        """What was loaded."""
        return {"dtype": str(self._llm.llm_engine.model_config.dtype).removeprefix("torch.")}

    def answer(self, requests: Sequence[Request]) -> WaveResult:
        """One call for all of them."""
        if any(request.frames for request in requests):
            raise Unsupported("this comparison gives vLLM no clips")
        start_s = time.perf_counter()
        params = [
            self._vllm.SamplingParams(temperature=0.0, max_tokens=request.max_tokens, ignore_eos=True)
            for request in requests
        ]
        outputs = self._llm.chat([_conversation(request) for request in requests], params, use_tqdm=False)
        wall_s = time.perf_counter() - start_s
        answers = [
            Answered(
                num_prompt_tokens=len(output.prompt_token_ids),
                num_output_tokens=len(output.outputs[0].token_ids),
                total_s=wall_s,
                ttft_s=_first_token_s(output, wall_s),
                text=output.outputs[0].text,
            )
            for output in outputs
        ]
        return WaveResult(wall_s, tuple(answers))


def _first_token_s(output: Any, wall_s: float) -> float | None:
    """An answer of one token is its first token; of longer ones the engine has to tell."""
    if len(output.outputs[0].token_ids) == 1:
        return wall_s
    latency = getattr(output.metrics, "first_token_latency", None)
    return float(latency) if latency else None


def _conversation(request: Request) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [
        {"type": "image_pil", "image_pil": PIL.Image.open(path).convert("RGB")} for path in request.pictures
    ]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": request.text}]}]
