"""Messages in, events out: joins processing, the model and generation.

    vl = regard.load("nano")
    reply = vl.chat(["shot.png", "Where is the Save button?"])
    for event in vl.stream(messages, max_tokens=256): ...

A request: `normalize` -> the preset and the options -> `Processor` -> the engine -> `Answer` (ids become characters,
stop strings, thinking, text and tool calls apart) -> events; the last event carries the whole `Reply`.
What is given is checked before the first event: `stream` raises at once, not when it is first iterated.

Sampling options come from the preset, or without one from the checkpoint's generation_config.json (greedy
where it says do_sample false); options of the call beat both. What keeps an answer from hanging is on unless the call
says otherwise: `repetition_guard` (off where `ignore_eos` asks for tokens to the limit), and `answer_reserve`, the
tokens that thinking leaves for the answer: min(max_tokens / 4, MAX_RESERVE), or as few as can be beside a
`thinking_budget`.

Calls may come from many threads: the engine answers them together. History is the caller's list of messages; what is
remembered between calls is only what makes them faster (the engine's prefix and vision caches).
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import torch

from regard import presets
from regard.answer import Answer
from regard.conversation import normalize, within
from regard.device import Choice, available_memory_bytes, choose_device, choose_dtype, use_allowed_cpus
from regard.engine.engine import DEFAULT_ENGINE, Engine, EngineConfig, Output, Tokens
from regard.engine.loop import EngineLoop, Stream
from regard.errors import CapacityError, ConfigError
from regard.inputs import ModelInputs
from regard.model.qwen3_vl import Qwen3VL
from regard.processing.decode import Decode, decode
from regard.processing.fetch_policy import DEFAULT_POLICY, FetchPolicy
from regard.processing.image import ResizeBackend
from regard.processing.processor import Processor, VideoDialect
from regard.reply import Event, Reply
from regard.sampling_params import SamplingParams, Structure
from regard.weights.checkpoint import load_model, read_config
from regard.weights.hub import resolve_model
from regard.weights.integer import Precision, check_precision, use_precision
from regard.weights.memory import count_parameters

if TYPE_CHECKING:
    from regard.engine.structured import Constraint, Grammar, Vocabulary

MAX_GRAMMARS = 32  # compiled structures that are kept
# Without a preset: long enough for an answer, and for a Thinking edition to finish thinking (its card's length).
DEFAULT_MAX_TOKENS = {"instruct": 2048, "thinking": 40960}
MAX_RESERVE = 1024  # tokens kept for the answer where no budget of thinking is given


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
    n: int
    logit_bias: Mapping[int, float]
    num_logprobs: int | None
    thinking_budget: int | None
    answer_reserve: int
    repetition_guard: bool
    structure: Structure | None
    ignore_eos: bool
    min_tokens: int
    stop_token_ids: Sequence[int]


@dataclass(frozen=True)
class Prepared:
    """A question that the engine can take. Times in seconds, `start_s` by `time.perf_counter`."""

    inputs: ModelInputs
    params: SamplingParams
    start_s: float
    preprocess_s: float


class LLM:
    """A loaded checkpoint that answers. `device` and `dtype` are choices with their reasons."""

    def __init__(
        self,
        name: str,
        model: Qwen3VL,
        processor: Processor,
        device: Choice,
        dtype: Choice,
        engine_config: EngineConfig = DEFAULT_ENGINE,
    ) -> None:
        self.name = name
        self.model = model
        self.processor = processor
        self.device = device
        self.dtype = dtype
        self._vocabulary: Vocabulary | None = None  # made when structured output is first asked for
        self._grammars: dict[Structure, Grammar] = {}
        self.engine = EngineLoop(lambda: Engine(model, known_tokens(processor), engine_config))
        weakref.finalize(self, self.engine.close)  # its thread holds the weights

    @classmethod
    def load(
        cls,
        name: str = "nano",
        *,
        device: str = "auto",
        dtype: str = "auto",
        precision: Precision = "auto",
        video_dialect: VideoDialect = "authors",
        resize_backend: ResizeBackend = "torch",
        offline: bool = False,
        engine: EngineConfig = DEFAULT_ENGINE,
        policy: FetchPolicy = DEFAULT_POLICY,
        decode: Decode = decode,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> LLM:
        """Load "nano", a folder or a hub id.

        `precision` "int8" or "int4" quantises the weights while loading, for CPUs. `video_dialect` is "authors" or
        "transformers"; `policy` says which media may be fetched, and `decode` decodes them, here or in a `DecodePool`;
        `on_progress` hears (bytes done, bytes in all).
        Errors: CheckpointError, ConfigError, CapacityError in one sentence.
        """
        use_allowed_cpus()
        folder = resolve_model(name, offline=offline)
        config = read_config(folder)
        check_precision(precision, config.quantization)
        processor = Processor.from_folder(
            folder, video_dialect=video_dialect, resize_backend=resize_backend, policy=policy, decode=decode
        )
        is_stored_as_integers = config.quantization is not None and config.quantization.method != "fp8"
        if device == "auto" and (precision != "auto" or is_stored_as_integers):
            chosen_device = Choice("cpu", "8-bit and 4-bit weights are computed on CPUs")
        else:
            chosen_device = choose_device(device)
        chosen_dtype = choose_dtype(chosen_device.value, config.dtype, count_parameters(config), dtype)
        try:
            model = load_model(folder, device=chosen_device.value, dtype=chosen_dtype.value, on_progress=on_progress)
            free_bytes = available_memory_bytes()
            use_precision(model, precision, max_bytes=None if free_bytes is None else free_bytes // 2)
        except torch.OutOfMemoryError as error:
            raise CapacityError(
                f"{chosen_device.value} has no memory left for the weights; use a smaller model, or run with device cpu"
            ) from error
        return cls(name, model, processor, chosen_device, chosen_dtype, engine)

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
        return _last(self.stream(what, preset=preset, tools=tools, add_vision_id=add_vision_id, **options))

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
        if options.get("n", 1) != 1:
            raise ConfigError(f"n is {options['n']}; a stream or a chat has one answer, `answers` gives several")
        return self.answers(what, preset=preset, tools=tools, add_vision_id=add_vision_id, **options)[0]

    def prepare(
        self,
        what: Any,
        *,
        preset: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_vision_id: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> Prepared:
        """Check and look at what is asked, all that can be done before the engine. Errors: as `stream`."""
        start_s = time.perf_counter()
        messages = normalize(what)
        if preset is not None:
            row = presets.find(preset, thinking=self.is_thinking)
            messages = within(messages, row.min_pixels, row.max_pixels)
        params = self.sampling_params(preset, **options)
        inputs = self.processor(messages, tools=tools, add_vision_id=add_vision_id)
        return Prepared(inputs, params, start_s, time.perf_counter() - start_s)

    def answers(
        self,
        what: Any,
        *,
        preset: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_vision_id: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> list[Iterator[Event]]:
        """Ask once and return a stream of events for each of the `n` answers; they are made at the same time.

        Errors: as `stream`.
        """
        prepared = self.prepare(what, preset=preset, tools=tools, add_vision_id=add_vision_id, **options)
        return [
            self._events(Making(self.processor, prepared, stream))
            for stream in self.submit(prepared.inputs, prepared.params)
        ]

    def submit(
        self, inputs: ModelInputs, params: SamplingParams, *, starts_in_thinking: bool | None = None
    ) -> list[Stream]:
        """Queue a prompt that is ready; returns a stream of ids for each of its answers. Stop strings are not seen to.

        `starts_in_thinking`: whether the prompt opens a block of thinking; None: as the template does.
        Errors: ConfigError for a structure that cannot be used, CapacityError for a prompt that does not fit.
        """
        is_thinking = self.is_thinking if starts_in_thinking is None else starts_in_thinking
        constraints = self._constraints(params, is_thinking=is_thinking)
        return self.engine.submit(inputs, params, starts_in_thinking=is_thinking, constraints=constraints)

    def chat_many(
        self, whats: Sequence[Any], *, preset: str | None = None, **options: Unpack[SamplingOptions]
    ) -> list[Reply]:
        """Return the answers to several independent questions, worked on together."""
        streams = [self.stream(what, preset=preset, **options) for what in whats]
        return [_last(stream) for stream in streams]

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
        if "stop_token_ids" in given:
            given["stop_token_ids"] = tuple(given["stop_token_ids"])
        params = replace(base, **given)
        reserve = 1 if params.thinking_budget is not None else max(1, min(params.max_tokens // 4, MAX_RESERVE))
        return replace(
            params,
            answer_reserve=given.get("answer_reserve", reserve),
            repetition_guard=given.get("repetition_guard", not params.ignore_eos),
        )

    def _constraints(self, params: SamplingParams, *, is_thinking: bool) -> list[Constraint]:
        """One for each answer, if the output is structured. Errors: ConfigError for a structure that cannot be used."""
        if params.structure is None:
            return []
        from regard.engine.structured import Constraint, Grammar, Vocabulary

        tokenizer = self.processor.tokenizer
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(
                tokenizer.to_json(), num_token_ids=tokenizer.vocab_size, end_ids=sorted(tokenizer.eos_token_ids)
            )
        grammar = self._grammars.get(params.structure) or Grammar(self._vocabulary, params.structure)
        self._grammars = {**dict(list(self._grammars.items())[-MAX_GRAMMARS:]), params.structure: grammar}
        shortest = None if grammar.shortest is None else grammar.shortest + is_thinking  # with its </think>
        if shortest is not None and shortest > params.max_tokens:
            raise ConfigError(
                f"max_tokens is {params.max_tokens} and the shortest answer with this structure has {shortest} "
                "tokens; raise max_tokens"
            )
        end_think_id = tokenizer.find_token("</think>") if is_thinking else None
        return [Constraint(grammar, end_think_id=end_think_id) for _ in range(params.n)]

    @staticmethod
    def _events(making: Making) -> Iterator[Event]:
        try:
            for output in making.stream:
                yield from making.take(output)
                if making.is_over:
                    break
        finally:
            making.stream.close()  # also when the caller stops listening
        yield from making.finish()


class Making:
    """One answer being made: what the engine gives for a sequence, as events. `rules` are further ones of `Answer`."""

    def __init__(self, processor: Processor, prepared: Prepared, stream: Stream, **rules: Any) -> None:
        self.stream = stream
        self._answer = Answer(
            prepared.inputs,
            processor,
            prepared.params,
            start_s=prepared.start_s,
            preprocess_s=prepared.preprocess_s,
            **rules,
        )

    @property
    def is_over(self) -> bool:
        """Whether the text ended the answer, so that the engine may stop."""
        return self._answer.is_over

    def take(self, output: Output) -> Iterator[Event]:
        """The events of one step."""
        for sampled in output.sampled:
            yield from self._answer.push(sampled.token_id, sampled.logprob, sampled.alternatives)
            if self._answer.is_over:
                break

    def finish(self) -> Iterator[Event]:
        """The last events; the stream must have ended or be closed."""
        sequence = self.stream.sequence
        reason = sequence.finish_reason
        yield from self._answer.finish(
            # Else it ended itself, or a stop string did.
            reason if reason == "length" or reason == "repetition" else "stop",
            cache_hits=sequence.cache_hits(),
            num_cached_tokens=sequence.num_cached,
        )


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


def known_tokens(processor: Processor) -> Tokens:
    """Return the ids that the engine has to know by their meaning."""
    tokenizer = processor.tokenizer
    return Tokens(
        eos=frozenset(tokenizer.eos_token_ids),
        num_token_ids=tokenizer.vocab_size,
        start_thinking=tokenizer.find_token("<think>"),
        end_thinking=tokenizer.find_token("</think>"),
        close_thinking=tuple(tokenizer.encode("\n</think>\n\n")),
    )


def _last(events: Iterator[Event]) -> Reply:
    *_, done = events
    assert done.reply is not None
    return done.reply
