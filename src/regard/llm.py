"""Messages in, events out: joins processing, the model and generation.

    vl = regard.load("nano")
    reply = vl.chat(["shot.png", "Where is the Save button?"])
    for event in vl.stream(messages, max_tokens=256): ...

A request: `normalize` -> the preset and the options -> `Processor` -> `generate` -> ids become characters ->
stop strings -> thinking, text and tool calls apart -> events; the last event carries the whole `Reply`.
What is given is checked before the first event: `stream` raises at once, not when it is first iterated.

Sampling options come from the preset, or without one from the checkpoint's generation_config.json (greedy
where it says do_sample false); options of the call beat both.

One request runs at a time; batching belongs to an engine. Nothing is remembered between calls: history is the
caller's list of messages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch

from regard import presets
from regard.conversation import normalize, within
from regard.device import Choice, choose_device, choose_dtype, use_allowed_cpus
from regard.errors import CapacityError, ConfigError
from regard.generate import generate
from regard.inputs import ModelInputs
from regard.model.qwen3_vl import Qwen3VL
from regard.processing.coordinates import find_boxes_and_points
from regard.processing.image import ResizeBackend
from regard.processing.processor import Processor, VideoDialect
from regard.processing.reply_parser import ReplyParser, parse_reply
from regard.processing.tokenizer import IncrementalDecoder
from regard.reply import Event, FinishReason, Reply, Usage
from regard.sampling_params import SamplingParams
from regard.weights.checkpoint import load_model, read_config
from regard.weights.hub import resolve_model
from regard.weights.memory import count_parameters

# Without a preset: long enough for an answer, and for a Thinking edition to finish thinking (its card's length).
DEFAULT_MAX_TOKENS = {"instruct": 2048, "thinking": 40960}


class SamplingOptions(TypedDict, total=False):
    """The options of one call that beat the preset's; the fields of `SamplingParams`."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    seed: int | None
    stop: str | Sequence[str]
    max_tokens: int


class LLM:
    """A loaded checkpoint that answers. `device` and `dtype` are choices with their reasons."""

    def __init__(self, name: str, model: Qwen3VL, processor: Processor, device: Choice, dtype: Choice) -> None:
        self.name = name
        self.model = model
        self.processor = processor
        self.device = device
        self.dtype = dtype

    @classmethod
    def load(
        cls,
        name: str = "nano",
        *,
        device: str = "auto",
        dtype: str = "auto",
        video_dialect: VideoDialect = "authors",
        resize_backend: ResizeBackend = "torch",
        offline: bool = False,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> LLM:
        """Load "nano", a folder or a hub id.

        `video_dialect` is "authors" or "transformers"; `on_progress` hears (bytes done, bytes in all).
        Errors: CheckpointError, ConfigError, CapacityError in one sentence.
        """
        use_allowed_cpus()
        folder = resolve_model(name, offline=offline)
        config = read_config(folder)
        processor = Processor.from_folder(folder, video_dialect=video_dialect, resize_backend=resize_backend)
        chosen_device = choose_device(device)
        chosen_dtype = choose_dtype(chosen_device.value, config.dtype, count_parameters(config), dtype)
        try:
            model = load_model(folder, device=chosen_device.value, dtype=chosen_dtype.value, on_progress=on_progress)
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(chosen_device, "the weights") from error
        return cls(name, model, processor, chosen_device, chosen_dtype)

    @property
    def is_thinking(self) -> bool:
        """Whether this is a Thinking edition: its template opens the answer with a block of thinking."""
        return self.processor.starts_in_thinking

    def chat(
        self,
        what: Any,
        *,
        preset: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_vision_id: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> Reply:
        """Return the whole answer to `what` (see `conversation.normalize`)."""
        events = self.stream(what, preset=preset, tools=tools, add_vision_id=add_vision_id, **options)
        *_, done = events
        assert done.reply is not None
        return done.reply

    def stream(
        self,
        what: Any,
        *,
        preset: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_vision_id: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> Iterator[Event]:
        """Yield pieces of text and thinking as they come, and at last an event with the `Reply`.

        Errors: InputError, ConfigError and CapacityError at once, before anything is yielded.
        """
        start_s = time.perf_counter()
        messages = normalize(what)
        if preset is not None:
            row = presets.find(preset, thinking=self.is_thinking)
            messages = within(messages, row.min_pixels, row.max_pixels)
        params = self.sampling_params(preset, **options)
        inputs = self.processor(messages, tools=tools, add_vision_id=add_vision_id)
        return self._answer(inputs, params, start_s, time.perf_counter() - start_s)

    def sampling_params(self, preset: str | None = None, **options: Unpack[SamplingOptions]) -> SamplingParams:
        """Return what a call with this preset and these options samples with."""
        if preset is None:
            base = checkpoint_sampling(self.processor.generation_config, thinking=self.is_thinking)
        else:
            base = presets.find(preset, thinking=self.is_thinking).sampling
        known = {field.name for field in fields(SamplingParams)}
        if unknown := sorted(set(options) - known):
            raise ConfigError(f"there is no option {unknown[0]!r}; the options are {', '.join(sorted(known))}")
        given: dict[str, Any] = dict(options)
        if "stop" in given:
            stop = given["stop"]
            given["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
        return replace(base, **given)

    def _answer(
        self, inputs: ModelInputs, params: SamplingParams, start_s: float, preprocess_s: float
    ) -> Iterator[Event]:
        tokenizer = self.processor.tokenizer
        decoder = IncrementalDecoder(tokenizer)
        stops = StopStrings(params.stop)
        parser = ReplyParser(starts_in_thinking=self.is_thinking)
        token_ids: list[int] = []
        raw: list[str] = []
        ttft_s = 0.0
        finish_reason: FinishReason = "length"

        def events_of(text: str) -> Iterator[Event]:
            raw.append(text)
            for kind, piece in parser.push(text):
                yield Event(kind, piece)

        try:
            for token in generate(
                self.model,
                inputs,
                params,
                eos_token_ids=tokenizer.eos_token_ids,
                num_token_ids=tokenizer.vocab_size,
            ):
                token_ids.append(token)
                ttft_s = ttft_s or time.perf_counter() - start_s
                if token in tokenizer.eos_token_ids:
                    finish_reason = "stop"
                    break
                yield from events_of(stops.push(decoder.push(token)))
                if stops.is_hit:
                    finish_reason = "stop"
                    break
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(self.device, f"{len(inputs.input_ids)} prompt tokens") from error
        yield from events_of(stops.push(decoder.flush()) + stops.flush())
        for kind, piece in parser.finish():
            yield Event(kind, piece)
        usage = Usage(
            num_prompt_tokens=len(inputs.input_ids),
            num_output_tokens=len(token_ids),
            num_visual_tokens=sum(report.num_visual_tokens for report in inputs.media),
            preprocess_s=preprocess_s,
            ttft_s=ttft_s,
            total_s=time.perf_counter() - start_s,
        )
        yield Event("done", reply=self._reply("".join(raw), tuple(token_ids), finish_reason, inputs, usage))

    def _reply(
        self, raw: str, token_ids: tuple[int, ...], finish_reason: FinishReason, inputs: ModelInputs, usage: Usage
    ) -> Reply:
        parsed = parse_reply(raw, starts_in_thinking=self.is_thinking)
        sizes = [(report.width, report.height) for report in inputs.media if report.kind != "video"]
        boxes, points = find_boxes_and_points(parsed.text, sizes)
        return Reply(
            text=parsed.text,
            raw=raw,
            thinking=parsed.thinking,
            tool_calls=parsed.tool_calls,
            boxes=boxes,
            points=points,
            finish_reason="tool_calls" if parsed.tool_calls else finish_reason,
            usage=usage,
            media=inputs.media,
            token_ids=token_ids,
        )


class StopStrings:
    """Ends text before the first stop string, and never lets a part of one through.

    Text that could be the beginning of a stop string waits until more is known:
    with stop "END", "the E" gives "the " and keeps "E"; "a" then gives "Ea", "ND" would have ended it.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._kept = ""
        self.is_hit = False

    def push(self, text: str) -> str:
        """Return the text that is certain now."""
        if self.is_hit:
            return ""
        text = self._kept + text
        # The stop that is complete first wins, as if the text came character by character.
        found = [(start + len(stop), start) for stop in self._stops if (start := text.find(stop)) >= 0]
        if found:
            self.is_hit = True
            self._kept = ""
            return text[: min(found)[1]]
        num_kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._kept = text[len(text) - num_kept :]
        return text[: len(text) - num_kept]

    def flush(self) -> str:
        """Return what was kept back, once it is known that nothing follows."""
        kept, self._kept = self._kept, ""
        return kept


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`, shorter than `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


def checkpoint_sampling(generation_config: Mapping[str, Any], *, thinking: bool) -> SamplingParams:
    """Return the sampling that a checkpoint's generation_config.json asks for; greedy if it does not sample."""
    max_tokens = DEFAULT_MAX_TOKENS["thinking" if thinking else "instruct"]
    repetition_penalty = float(generation_config.get("repetition_penalty") or 1.0)
    if not generation_config.get("do_sample", False):
        return SamplingParams(repetition_penalty=repetition_penalty, max_tokens=max_tokens)
    return SamplingParams(
        temperature=float(generation_config.get("temperature", 1.0)),
        top_p=float(generation_config.get("top_p", 1.0)),
        top_k=int(generation_config.get("top_k", 0)),
        min_p=float(generation_config.get("min_p") or 0.0),
        repetition_penalty=repetition_penalty,
        max_tokens=max_tokens,
    )


def _out_of_memory(device: Choice, what: str) -> CapacityError:
    return CapacityError(
        f"{device.value} has no memory left for {what}; "
        "use a smaller model, lower max_tokens or max_pixels, or run with device cpu"
    )


def load(name: str | Path = "nano", **options: Any) -> LLM:
    """Load a model by name, folder or hub id; the options are those of `LLM.load`."""
    return LLM.load(str(name), **options)
