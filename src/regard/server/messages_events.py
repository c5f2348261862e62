"""What an answer looks like in Anthropic's Messages API: content blocks, and the events by which they grow.

    message_start, ping
      content_block_start, thinking_delta..., signature_delta, content_block_stop      thinking
      content_block_start, text_delta..., content_block_stop                           text
      content_block_start, input_json_delta..., content_block_stop                     tool_use
    message_delta (stop_reason, usage, media, boxes, points), message_stop

An answer that is not streamed is the message that these events build, so the two cannot differ; only a call that breaks
off, which a stream cannot take back, is left out there. The signature of thinking is empty: we sign nothing. An answer
that was ended for its repetition has that word as its stop_reason. `media`, and with coordinates `boxes` and `points`
(`extras`), are ours: fields of the message, and in a stream of message_delta, beside its usage.

It only shapes values: no model, no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from regard.reply import Event, Reply
from regard.server.asking import Coordinates
from regard.server.extras import media_json, places_json

Json = dict[str, Any]
STOP_REASONS = {"length": "max_tokens", "tool_calls": "tool_use", "repetition": "repetition"}


class MessageEvents:
    """One message in the making. `make_id("msg")` makes a new id."""

    def __init__(self, model: str, make_id: Callable[[str], str], *, coordinates: Coordinates | None = None) -> None:
        self._make_id, self._coordinates = make_id, coordinates
        self._is_open = False
        self._arguments = ""  # of the newest call
        self.message: Json = {
            "id": make_id("msg"),
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage(0, 0, 0),
        }

    def begin(self, num_prompt_tokens: int) -> list[Json]:
        """The first events."""
        self.message["usage"] = _usage(num_prompt_tokens, 0, 0)
        return [{"type": "message_start", "message": {**self.message, "content": []}}, ping()]

    def push(self, event: Event) -> list[Json]:
        """The events for one of the answer's; after its last, `message` is whole."""
        if event.reply is not None:
            return self._finish(event.reply)
        if event.kind == "call":
            self._arguments = ""
            return [*self._close(), self._open(self._call(event.text))]
        if event.kind == "arguments":
            self._arguments += event.text
            return [self._delta("input_json_delta", partial_json=event.text)]
        kind = "thinking" if event.kind == "thinking" else "text"
        made: list[Json] = []
        if not self._is_open or self._block["type"] != kind:
            new: Json = {"type": "text", "text": ""}
            if kind == "thinking":
                new = {"type": "thinking", "thinking": "", "signature": ""}
            made = [*self._close(), self._open(new)]
        self._block[kind] += event.text
        return [*made, self._delta(f"{kind}_delta", **{kind: event.text})]

    def _finish(self, reply: Reply) -> list[Json]:
        made = self._close()
        usage = reply.usage
        reason = "stop_sequence" if reply.stop is not None else STOP_REASONS.get(reply.finish_reason, "end_turn")
        ended = {"stop_reason": reason, "stop_sequence": reply.stop}
        extras = {"media": media_json(reply), **places_json(reply, self._coordinates)}
        self.message |= ended | extras
        self.message["usage"] = _usage(usage.num_prompt_tokens, usage.num_cached_tokens, usage.num_output_tokens)
        return [
            *made,
            {"type": "message_delta", "delta": ended, "usage": self.message["usage"], **extras},
            {"type": "message_stop"},
        ]

    def _call(self, name: str) -> Json:
        return {"type": "tool_use", "id": self._make_id("toolu"), "name": name, "input": {}}

    @property
    def _block(self) -> Json:
        block: Json = self.message["content"][-1]
        return block

    def _open(self, block: Json) -> Json:
        self.message["content"].append(block)
        self._is_open = True
        return {"type": "content_block_start", "index": self._index, "content_block": dict(block)}

    def _close(self) -> list[Json]:
        """The events that end the block which grows, if one does."""
        if not self._is_open:
            return []
        self._is_open = False
        made = [self._delta("signature_delta", signature="")] if self._block["type"] == "thinking" else []
        made.append({"type": "content_block_stop", "index": self._index})
        if self._block["type"] == "tool_use":
            self._take_input()
        return made

    def _take_input(self) -> None:
        """Give the newest call its input, or leave it out if that broke off."""
        try:
            self._block["input"] = json.loads(self._arguments or "{}")
        except ValueError:
            del self.message["content"][-1]

    def _delta(self, kind: str, **fields: Any) -> Json:
        return {"type": "content_block_delta", "index": self._index, "delta": {"type": kind, **fields}}

    @property
    def _index(self) -> int:
        return len(self.message["content"]) - 1


def ping() -> Json:
    """What is sent while nothing happens."""
    return {"type": "ping"}


def _usage(num_prompt: int, num_cached: int, num_output: int) -> Json:
    """Anthropic's input_tokens are those that were not read from a cache."""
    return {
        "input_tokens": num_prompt - num_cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": num_cached,
        "output_tokens": num_output,
    }
