"""What an answer looks like as a chat completion, whole and in chunks. It shapes values: no model, no I/O.

A chunk is made of one event. The whole answer is put together from the same events, so the two cannot differ:

    text -> content, thinking -> reasoning_content, call and arguments -> tool_calls

Beside OpenAI's fields: `stop_reason` of a choice is the stop string that ended it; with coordinates, `boxes` and
`points` of a choice are where the text points, and `media` beside the choices says what the model saw of each picture,
page and clip. In a stream, boxes and points come with the chunk that has the finish_reason, and so does `media`.
A finish_reason "repetition" is ours: the answer went round in circles and was ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from regard.reply import Event, Reply, TokenLogprob
from regard.server.asking import Coordinates
from regard.server.extras import media_json, places_json

Json = dict[str, Any]
MIN_LOGPROB = -9999.0  # JSON has no infinity


class TokenTexts(Protocol):
    """What is needed of a tokenizer."""

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that one id stands for."""


class ChatAnswer:
    """One completion of `n` choices in the making. `make_id("call")` makes a new id."""

    def __init__(
        self,
        model: str,
        n: int,
        make_id: Callable[[str], str],
        tokenizer: TokenTexts,
        *,
        coordinates: Coordinates | None = None,
        wants_logprobs: bool = False,
        created_s: float | None = None,
    ) -> None:
        self._model, self._make_id, self._tokenizer = model, make_id, tokenizer
        self._coordinates, self._wants_logprobs = coordinates, wants_logprobs
        self._id, self._created = make_id("chatcmpl"), int(time.time() if created_s is None else created_s)
        self._messages: list[Json] = [{"content": "", "reasoning_content": "", "tool_calls": []} for _ in range(n)]
        self._logprobs: list[list[Json]] = [[] for _ in range(n)]
        self._replies: list[Reply | None] = [None] * n

    def begin(self, index: int) -> Json:
        """The first chunk of a choice."""
        return self._chunk(index, {"role": "assistant", "content": ""}, None, [])

    def push(self, index: int, event: Event) -> Json:
        """The chunk for an event of a choice."""
        logprobs = [self._token(one) for one in event.logprobs] if self._wants_logprobs else []
        self._logprobs[index] += logprobs
        message = self._messages[index]
        if event.reply is not None:
            self._replies[index] = event.reply
            end = {**self._chunk(index, {}, event.reply.finish_reason, logprobs), "media": media_json(event.reply)}
            end["choices"][0] |= self._extras(event.reply)
            return end
        if event.kind in ("call", "arguments"):
            return self._chunk(index, {"tool_calls": [self._call(message["tool_calls"], event)]}, None, logprobs)
        name = "reasoning_content" if event.kind == "thinking" else "content"
        message[name] += event.text
        return self._chunk(index, {name: event.text}, None, logprobs)

    def usage(self) -> Json:
        """The chunk that ends a stream which includes its usage."""
        return {**self._shell("chat.completion.chunk"), "choices": [], "usage": self._usage()}

    def whole(self) -> Json:
        """The completion, when every answer is finished."""
        choices = []
        for index, reply in enumerate(self._replies):
            finished = _finished(reply)
            choice: Json = {
                "index": index,
                "message": self._message(index),
                "logprobs": self._content_logprobs(self._logprobs[index]),
                "finish_reason": finished.finish_reason,
            }
            choices.append(choice | self._extras(finished))
        media = media_json(_finished(self._replies[0]))
        return {**self._shell("chat.completion"), "choices": choices, "usage": self._usage(), "media": media}

    def _message(self, index: int) -> Json:
        built = self._messages[index]
        message: Json = {"role": "assistant", "content": built["content"], "refusal": None}
        if built["reasoning_content"]:
            message["reasoning_content"] = built["reasoning_content"]
        if built["tool_calls"]:
            message["tool_calls"] = built["tool_calls"]
            message["content"] = built["content"] or None
        return message

    def _call(self, calls: list[Json], event: Event) -> Json:
        """Add to the calls of a message; returns the delta."""
        if event.kind == "arguments":
            calls[-1]["function"]["arguments"] += event.text
            return {"index": len(calls) - 1, "function": {"arguments": event.text}}
        function = {"name": event.text, "arguments": ""}
        calls.append({"id": self._make_id("call"), "type": "function", "function": function})
        return {"index": len(calls) - 1, **calls[-1], "function": dict(function)}

    def _chunk(self, index: int, delta: Json, finish_reason: str | None, logprobs: list[Json]) -> Json:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": self._content_logprobs(logprobs) if logprobs else None,
            "finish_reason": finish_reason,
        }
        return {**self._shell("chat.completion.chunk"), "choices": [choice]}

    def _shell(self, kind: str) -> Json:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}

    def _content_logprobs(self, logprobs: list[Json]) -> Json | None:
        return {"content": logprobs, "refusal": None} if self._wants_logprobs else None

    def _token(self, one: TokenLogprob) -> Json:
        alternatives = [self._scored(token_id, logprob) for token_id, logprob in one.alternatives]
        return {**self._scored(one.token_id, one.logprob), "top_logprobs": alternatives}

    def _scored(self, token_id: int, logprob: float) -> Json:
        data = self._tokenizer.token_bytes(token_id)
        return {"token": data.decode(errors="replace"), "logprob": max(logprob, MIN_LOGPROB), "bytes": list(data)}

    def _extras(self, reply: Reply) -> Json:
        return {"stop_reason": reply.stop, **places_json(reply, self._coordinates)}

    def _usage(self) -> Json:
        replies = [_finished(reply) for reply in self._replies]
        return usage_json(replies)


def usage_json(replies: list[Reply]) -> Json:
    """The tokens of the answers to one prompt, in OpenAI's names; `image_tokens` are all visual ones."""
    first = replies[0].usage
    num_output = sum(reply.usage.num_output_tokens for reply in replies)
    return {
        "prompt_tokens": first.num_prompt_tokens,
        "completion_tokens": num_output,
        "total_tokens": first.num_prompt_tokens + num_output,
        "prompt_tokens_details": {"cached_tokens": first.num_cached_tokens, "image_tokens": first.num_visual_tokens},
        "completion_tokens_details": {"reasoning_tokens": sum(reply.usage.num_thinking_tokens for reply in replies)},
    }


def _finished(reply: Reply | None) -> Reply:
    if reply is None:
        raise ValueError("an answer is not finished")
    return reply
