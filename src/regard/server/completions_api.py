"""POST /v1/completions: going on with a text, without the chat template.

The prompt is text or token ids; several prompts become several choices, each `n` times. Nothing in the answers is taken
for thinking, calls or boxes. It has no place for pictures: those belong to conversations.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from regard.errors import CapacityError, ConfigError, InputError, RegardError
from regard.inputs import ModelInputs
from regard.llm import LLM, Prepared, SamplingOptions
from regard.processing.positions import mrope_positions
from regard.reply import Event, Reply, TokenLogprob
from regard.server.asking import Asking
from regard.server.body import read_body
from regard.server.chat_answer import MIN_LOGPROB, usage_json
from regard.server.chat_request import WITHOUT_EFFECT, read_options
from regard.server.desk import new_id
from regard.server.errors import error_event
from regard.server.fields import Fields, shown
from regard.server.service import Service
from regard.server.sse import COMMENT, DONE, EventStream, event_bytes, with_silences

DEFAULT_MAX_TOKENS = 16  # OpenAI's
MAX_PROMPTS = 64
MAX_LOGPROBS = 5  # OpenAI's, of this API
Json = dict[str, Any]
Prompt = str | list[int]


@dataclass(frozen=True)
class CompletionRequest:
    """A request that was read."""

    prompts: tuple[Prompt, ...]
    options: SamplingOptions
    preset: str | None
    model: str
    is_stream: bool
    includes_usage: bool
    is_echo: bool


def completions_router(service: Service) -> APIRouter:
    """The route; errors are raised for the server to shape."""
    router = APIRouter()

    @router.post("/v1/completions")
    async def create(request: Request) -> Response:
        asked = read_request(await read_body(request), service)
        askings: list[Asking] = []
        try:
            for prompt in asked.prompts:
                askings.append(await service.complete(_preparer(service.llm, prompt, asked)))
        except BaseException:
            for asking in askings:
                asking.close()
            raise
        answer = _Completion(service.llm, asked, askings)
        if asked.is_stream:
            return EventStream(answer.chunks())
        return JSONResponse(await answer.whole())

    return router


def read_request(body: Any, service: Service) -> CompletionRequest:
    """Read a body. Errors: RegardError naming what is wrong or cannot be honoured."""
    fields = Fields(body, "the request")
    model = service.served_name(fields.text("model"))
    fields.skip(*WITHOUT_EFFECT)
    fields.only("suffix", "")
    prompts = _prompts(fields.needed("prompt", fields.raw("prompt")))
    options = read_options(fields)
    options.setdefault("max_tokens", DEFAULT_MAX_TOKENS)
    fields.only("best_of", options.get("n", 1))
    num_logprobs = fields.whole("logprobs")
    if num_logprobs is not None:
        if not 0 <= num_logprobs <= MAX_LOGPROBS:
            raise ConfigError(f"logprobs is {num_logprobs}; it must be from 0 to {MAX_LOGPROBS}")
        options["num_logprobs"] = num_logprobs
    is_stream, is_echo = fields.flag("stream", default=False), fields.flag("echo", default=False)
    if is_echo and num_logprobs is not None:
        raise ConfigError("echo cannot be combined with logprobs, for those of the prompt are not kept; drop one")
    stream_options = fields.object("stream_options")
    includes_usage = False
    if stream_options is not None:
        includes_usage = stream_options.flag("include_usage", default=False)
        stream_options.end()
    preset = fields.text("preset")
    fields.end()
    return CompletionRequest(prompts, options, preset, model, is_stream, includes_usage, is_echo)


def _prompts(value: Any) -> tuple[Prompt, ...]:
    if isinstance(value, str) or (isinstance(value, list) and value and all(_is_id(one) for one in value)):
        return (value,)
    if isinstance(value, list) and 0 < len(value) <= MAX_PROMPTS:
        if all(isinstance(one, str) for one in value):
            return tuple(value)
        if all(isinstance(one, list) and one and all(_is_id(each) for each in one) for one in value):
            return tuple(value)
    raise InputError(
        f"prompt of the request is {shown(value)}; it must be text, token ids, or a list of at most {MAX_PROMPTS} such"
    )


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _preparer(llm: LLM, prompt: Prompt, asked: CompletionRequest) -> Callable[[], Prepared]:
    def prepare() -> Prepared:
        start_s = time.perf_counter()
        params = llm.sampling_params(asked.preset, **asked.options)
        inputs = text_inputs(llm, prompt)
        return Prepared(inputs, params, start_s, time.perf_counter() - start_s)

    return prepare


def text_inputs(llm: LLM, prompt: Prompt) -> ModelInputs:
    """A prompt of plain text or ids. Errors: InputError for ids that mean pictures or nothing, CapacityError."""
    config, tokenizer = llm.model.config, llm.processor.tokenizer
    ids = tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
    if not ids:
        raise InputError("the prompt is empty; give at least one token")
    pads = (config.image_token_id, config.video_token_id)
    for token_id in ids:
        if not 0 <= token_id < tokenizer.vocab_size:
            raise InputError(f"the prompt has the token {token_id}, and ids go from 0 to {tokenizer.vocab_size - 1}")
        if token_id in pads:
            raise InputError("the prompt holds a picture's token, and this API takes no pictures; use chat completions")
    limit = config.text.max_position_embeddings
    if len(ids) >= limit:
        raise CapacityError(f"the prompt has {len(ids)} tokens, the model's context holds {limit}; shorten it")
    input_ids = np.array(ids, dtype=np.int64)
    position_ids, rope_delta = mrope_positions(input_ids, [], config)
    return ModelInputs(input_ids, position_ids, rope_delta, prompt=tokenizer.decode(ids, skip_special=False))


class _Completion:
    """The choices of one request: prompt p, answer a is choice p * n + a."""

    def __init__(self, llm: LLM, asked: CompletionRequest, askings: list[Asking]) -> None:
        self._asked, self._askings = asked, askings
        self._tokenizer = llm.processor.tokenizer
        self._n = askings[0].prepared.params.n
        self._id, self._created = new_id("cmpl"), int(time.time())
        num = self._n * len(askings)
        self._texts = [
            askings[index // self._n].prepared.inputs.prompt if asked.is_echo else "" for index in range(num)
        ]
        self._replies: list[Reply | None] = [None] * num

    async def whole(self) -> Json:
        """The completion when every answer is finished."""
        async with aclosing(self._events()) as events:
            async for index, event in events:
                self._push(index, event)
        choices = []
        for index, reply in enumerate(self._done()):
            logprobs = self._logprobs(reply.logprobs)
            choices.append(self._choice(index, self._texts[index], reply, logprobs))
        return {**self._shell(), "choices": choices, "usage": self._usage()}

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The stream. An error after its beginning is told in it, and ends it."""
        extra = {"usage": None} if self._asked.includes_usage else {}
        for index, text in enumerate(self._texts):
            if text:
                yield event_bytes({**self._shell(), "choices": [self._choice(index, text, None, None)], **extra})
        try:
            async with aclosing(with_silences(self._events())) as events:
                async for item in events:
                    if item is None:
                        yield COMMENT
                        continue
                    index, event = item
                    self._push(index, event)
                    choice = self._choice(index, event.text, event.reply, self._logprobs(event.logprobs))
                    yield event_bytes({**self._shell(), "choices": [choice], **extra})
        except RegardError as error:
            yield error_event(error)
            return
        if self._asked.includes_usage:
            yield event_bytes({**self._shell(), "choices": [], "usage": self._usage()})
        yield DONE

    async def _events(self) -> AsyncGenerator[tuple[int, Event]]:
        """The events of one prompt after the other; the engine works on all of them."""
        try:
            for place, asking in enumerate(self._askings):
                async with aclosing(asking.events()) as events:
                    async for index, event in events:
                        yield place * self._n + index, event
        finally:
            for asking in self._askings:
                asking.close()

    def _push(self, index: int, event: Event) -> None:
        self._texts[index] += event.text
        if event.reply is not None:
            self._replies[index] = event.reply

    def _done(self) -> list[Reply]:
        return [reply for reply in self._replies if reply is not None]

    def _usage(self) -> Json:
        replies = self._done()
        usages = [usage_json(replies[start : start + self._n]) for start in range(0, len(replies), self._n)]
        total = {name: sum(usage[name] for usage in usages) for name in usages[0] if name.endswith("_tokens")}
        cached = sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages)
        return {**total, "prompt_tokens_details": {"cached_tokens": cached}}

    def _shell(self) -> Json:
        return {"id": self._id, "object": "text_completion", "created": self._created, "model": self._asked.model}

    def _choice(self, index: int, text: str, reply: Reply | None, logprobs: Json | None) -> Json:
        reason = None if reply is None else reply.finish_reason
        stop = None if reply is None else reply.stop
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason, "stop_reason": stop}

    def _logprobs(self, tokens: tuple[TokenLogprob, ...]) -> Json | None:
        if self._asked.options.get("num_logprobs") is None:
            return None
        texts = [self._text(one.token_id) for one in tokens]
        top = [{self._text(i): max(logprob, MIN_LOGPROB) for i, logprob in one.alternatives} for one in tokens]
        offsets = [sum(map(len, texts[:place])) for place in range(len(texts))]
        return {
            "tokens": texts,
            "token_logprobs": [max(one.logprob, MIN_LOGPROB) for one in tokens],
            "top_logprobs": top,
            "text_offset": offsets,
        }

    def _text(self, token_id: int) -> str:
        return self._tokenizer.token_bytes(token_id).decode(errors="replace")
