"""What an answer looks like in OpenAI's Responses API: output items, and the events by which they grow.

    response.created, response.in_progress
      output_item.added                                     reasoning
        content_part.added, reasoning_text.delta..., reasoning_text.done, content_part.done
      output_item.done
      output_item.added                                     message
        content_part.added, output_text.delta..., output_text.done, content_part.done
      output_item.done
      output_item.added                                     function_call
        function_call_arguments.delta..., function_call_arguments.done
      output_item.done
    response.completed     or response.incomplete (a limit, a loop), or response.failed (an error)

An answer that is not streamed is the response in the last event, so the two cannot differ. Text before and after a call
makes a message each; a call that breaks off stays, with the status "incomplete". Every event has a `sequence_number`.
Beside OpenAI's fields a finished response has `media`, and with coordinates `boxes` and `points` (`extras`).

It only shapes values: no model, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from regard.reply import Event, Reply
from regard.server.asking import Coordinates
from regard.server.extras import media_json, places_json

Json = dict[str, Any]
INCOMPLETE = {"length": "max_output_tokens", "repetition": "repetition"}  # the second is ours
PREFIX = {"reasoning": "rs", "message": "msg", "function_call": "fc"}
TEXT_EVENT = {"reasoning": "response.reasoning_text", "message": "response.output_text"}


class ResponseEvents:
    """One response in the making. `shell` has the fields that do not change; `make_id("msg")` makes a new id."""

    def __init__(
        self, shell: Mapping[str, Any], make_id: Callable[[str], str], *, coordinates: Coordinates | None = None
    ) -> None:
        self._shell, self._make_id, self._coordinates = dict(shell), make_id, coordinates
        self._number = 0
        self._output: list[Json] = []  # the last one grows if `_is_open`
        self._is_open = False
        self.response = self._response("in_progress")

    def begin(self) -> list[Json]:
        """The first two events."""
        names = ("response.created", "response.in_progress")
        return [self._event(name, response=deepcopy(self.response)) for name in names]

    def push(self, event: Event) -> list[Json]:
        """The events for one of the answer's; after its last, `response` is whole."""
        if event.reply is not None:
            return self._finish(event.reply)
        if event.kind == "call":
            return [*self._close(), self._open_call(event.text)]
        if event.kind == "arguments":
            self._output[-1]["arguments"] += event.text
            return [self._event("response.function_call_arguments.delta", **self._place(), delta=event.text)]
        kind = "reasoning" if event.kind == "thinking" else "message"
        made = [] if self._is_open and self._output[-1]["type"] == kind else [*self._close(), *self._open_text(kind)]
        self._output[-1]["content"][0]["text"] += event.text
        return [*made, self._text_event(kind, "delta", delta=event.text)]

    @property
    def call_ids(self) -> tuple[str, ...]:
        """The ids of the calls that the answer makes, in order, what broke off left out."""
        calls = (item for item in self._output if item["type"] == "function_call")
        return tuple(item["call_id"] for item in calls if item["status"] == "completed")

    @property
    def _num_calls(self) -> int:
        return sum(item["type"] == "function_call" for item in self._output)

    def fail(self, message: str) -> list[Json]:
        """The events of an answer that an error ended."""
        made = self._close("incomplete")
        self.response = self._response("failed", error={"code": "server_error", "message": message})
        return [*made, self._event("response.failed", response=self.response)]

    def _finish(self, reply: Reply) -> list[Json]:
        reason = INCOMPLETE.get(reply.finish_reason)
        status = "completed" if reason is None else "incomplete"
        is_broken = self._num_calls > len(reply.tool_calls)  # the last call broke off
        made = self._close("incomplete" if is_broken else status)
        self.response = self._response(
            status,
            incomplete_details=None if reason is None else {"reason": reason},
            usage=usage_json(reply),
            media=media_json(reply),
            **places_json(reply, self._coordinates),
        )
        return [*made, self._event(f"response.{status}", response=self.response)]

    def _open(self, kind: str, **fields: Any) -> Json:
        item = {"id": self._make_id(PREFIX[kind]), "type": kind, "status": "in_progress", **fields}
        self._output.append(item)
        self._is_open = True
        place = {"output_index": len(self._output) - 1}
        return self._event("response.output_item.added", **place, item=deepcopy(item))

    def _open_text(self, kind: str) -> list[Json]:
        fields: Json = {"summary": []} if kind == "reasoning" else {"role": "assistant"}
        added = self._open(kind, **fields, content=[])
        item = self._output[-1]
        part: Json = {"type": "reasoning_text", "text": ""}
        if kind == "message":
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        item["content"].append(part)
        return [added, self._event("response.content_part.added", **self._place(), content_index=0, part=dict(part))]

    def _open_call(self, name: str) -> Json:
        return self._open("function_call", call_id=self._make_id("call"), name=name, arguments="")

    def _close(self, status: str = "completed") -> list[Json]:
        """The events that end the item which grows, if one does."""
        if not self._is_open:
            return []
        self._is_open = False
        item = self._output[-1]
        item["status"] = status
        place = self._place()
        if item["type"] == "function_call":
            named = {"name": item["name"], "arguments": item["arguments"]}
            made = [self._event("response.function_call_arguments.done", **place, **named)]
        else:
            part = item["content"][0]
            made = [
                self._text_event(item["type"], "done", text=part["text"]),
                self._event("response.content_part.done", **place, content_index=0, part=dict(part)),
            ]
        index = place["output_index"]
        return [*made, self._event("response.output_item.done", output_index=index, item=deepcopy(item))]

    def _text_event(self, kind: str, what: str, **fields: Any) -> Json:
        extra: Json = {"logprobs": []} if kind == "message" else {}
        return self._event(f"{TEXT_EVENT[kind]}.{what}", **self._place(), content_index=0, **fields, **extra)

    def _place(self) -> Json:
        return {"item_id": self._output[-1]["id"], "output_index": len(self._output) - 1}

    def _event(self, kind: str, **fields: Any) -> Json:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **fields}

    def _response(self, status: str, **fields: Any) -> Json:
        varying = {"error": None, "incomplete_details": None, "usage": None, **fields}
        return {**self._shell, "status": status, **varying, "output": deepcopy(self._output)}


def usage_json(reply: Reply) -> Json:
    """Token counts in the API's names."""
    usage = reply.usage
    return {
        "input_tokens": usage.num_prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.num_cached_tokens},
        "output_tokens": usage.num_output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.num_thinking_tokens},
        "total_tokens": usage.num_prompt_tokens + usage.num_output_tokens,
    }
