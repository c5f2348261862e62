"""regard as a system under test: requests go to the engine together, as `LLM.chat_many` gives them.

Guessing of tokens ahead (speculation) is off: random weights repeat themselves, and guesses would come true too often.
Requests of a wave are prepared one after the other while the engine works on those before. The time to a first token is
told for requests that are alone; the others' tokens wait in a queue until they are read.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

from regard.bench.clock import ModuleClock
from regard.bench.requests import FRAMES_PER_SECOND, Answered, LoadOptions, Request, WaveResult
from regard.engine.engine import EngineConfig
from regard.engine.loop import Stream
from regard.llm import LLM
from regard.messages import Image, Message, Part, Text, Video
from regard.sampling_params import SamplingParams
from regard.weights.integer import Precision


class Ours:
    """A loaded `LLM` on the CPU."""

    def __init__(self, options: LoadOptions, variant: str) -> None:
        self._llm = LLM.load(
            options.folder,
            device="cpu",
            dtype=options.dtype,
            precision=cast("Precision", variant),
            engine=EngineConfig(use_speculation=False),
        )
        self._vision = ModuleClock(self._llm.model.model.visual)

    def facts(self) -> dict[str, Any]:
        """What was loaded."""
        return {"dtype": self._llm.dtype.value}

    def answer(self, requests: Sequence[Request]) -> WaveResult:
        """Submit all, then collect."""
        start_s = time.perf_counter()
        self._vision.take()
        streams: list[tuple[Request, Stream, float, float]] = []
        for request in requests:
            given_s = time.perf_counter()
            inputs = self._llm.processor([_message(request)])
            preprocess_s = time.perf_counter() - given_s
            params = SamplingParams(temperature=0.0, max_tokens=request.max_tokens, ignore_eos=True)
            (stream,) = self._llm.engine.submit(inputs, params)
            streams.append((request, stream, given_s, preprocess_s))
        answers = [self._collect(*given, is_alone=len(requests) == 1) for given in streams]
        return WaveResult(time.perf_counter() - start_s, tuple(answers))

    def _collect(
        self, request: Request, stream: Stream, given_s: float, preprocess_s: float, *, is_alone: bool
    ) -> Answered:
        token_ids: list[int] = []
        ttft_s = 0.0
        for output in stream:
            ttft_s = ttft_s or time.perf_counter() - given_s
            token_ids += [sampled.token_id for sampled in output.sampled]
        total_s = time.perf_counter() - given_s
        return Answered(
            num_prompt_tokens=len(stream.sequence.inputs.input_ids),
            num_output_tokens=len(token_ids),
            total_s=total_s,
            ttft_s=ttft_s if is_alone else None,
            preprocess_s=preprocess_s,
            vision_s=self._vision.take() if is_alone else None,
            text=self._llm.processor.tokenizer.decode(token_ids),
        )


def _message(request: Request) -> Message:
    parts: list[Part] = [Image(path) for path in request.pictures]
    if request.frames:
        num_frames = len(request.frames)  # all of them
        frames = list(request.frames)
        parts.append(Video(frames, sample_fps=FRAMES_PER_SECOND, num_frames=num_frames, max_frames=num_frames))
    return Message("user", (*parts, Text(request.text)))
