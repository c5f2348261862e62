"""The chunks of one chat completion become events and at last a `Reply`.

    answer = HttpAnswer(content, url=..., starts_in_thinking=...)
    for chunk in chunks: yield from answer.push(chunk)
    yield from answer.finish()

Servers write the same things in several places. Thinking comes as `reasoning_content`, as `reasoning`, or between
<think> tags in the text, where the opening tag is missing when the template wrote it. Tool calls come as deltas with
their arguments in pieces, or as <tool_call> tags in the text. All of it is put together as the model wrote it and read
by `processing.reply_parser`, the one that a local answer goes through; the rules are therefore the same.

Calls that come as deltas are events when the answer is finished, since servers may send pieces of several by turns.

Boxes and points are read here, from the text and the sizes of the pictures that were sent, so they do not depend on
the server. Token counts are the server's (0 where it does not tell), times are measured here, and what the model saw
is told by our server only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from regard.client import failures
from regard.client.content import Content
from regard.errors import ServerError
from regard.processing.coordinates import find_boxes_and_points
from regard.processing.reply_parser import CALL, END_CALL, END_THINK, THINK, ReplyParser
from regard.reply import Event, FinishReason, MediaReport, Reply, Usage

_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "repetition": "repetition",
}


@dataclass
class _CallPieces:
    """A tool call as far as it came."""

    name: str = ""
    arguments: str = ""


class HttpAnswer:
    """Collects one answer. Times count from `start_s` (`time.perf_counter`); `url` is what errors call the server.

    `starts_in_thinking`: thinking that is not told apart begins without its opening tag.
    """

    def __init__(
        self, content: Content, *, url: str, starts_in_thinking: bool, start_s: float, preprocess_s: float
    ) -> None:
        self._content, self._url = content, url
        self._start_s, self._preprocess_s = start_s, preprocess_s
        self._starts_in_thinking = starts_in_thinking
        self._parser = ReplyParser(starts_in_thinking=starts_in_thinking)
        self._is_reasoning = False  # inside a block that the server told apart
        self._raw: list[str] = []
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: dict[int, _CallPieces] = {}
        self._finish_reason: FinishReason | None = None
        self._stop: str | None = None
        self._usage: Mapping[str, Any] = {}
        self._media: Any = None
        self._ttft_s = 0.0

    def push(self, chunk: Any) -> Iterator[Event]:
        """Take one chunk, or a whole completion; yields what can be shown now.

        Errors: ServerError if it is an error, or not shaped like a chunk.
        """
        if not isinstance(chunk, Mapping):
            raise self._malformed(chunk)
        if chunk.get("error") or chunk.get("object") == "error":
            raise ServerError(f"{self._url} failed while answering: {failures.words_of(chunk) or 'without a reason'}")
        self._usage = chunk.get("usage") or self._usage
        self._media = chunk.get("media") or self._media
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or choice.get("message") or {} if isinstance(choice, Mapping) else None
            if not isinstance(delta, Mapping):
                raise self._malformed(chunk)
            if choice.get("index", 0) == 0:
                yield from self._push_delta(delta)
                if choice.get("finish_reason"):
                    self._finish_reason = self._known_reason(choice["finish_reason"])
                    met = choice.get("stop_reason") or choice.get("matched_stop")  # a token's id, or our string
                    self._stop = met if isinstance(met, str) else None

    def finish(self) -> Iterator[Event]:
        """Yield what was kept back and the last event. Errors: ServerError if the answer broke off."""
        if self._finish_reason is None:
            num = sum(map(len, self._text))
            raise ServerError(
                f"{self._url} broke off before the answer was finished ({num} characters came); ask again"
            )
        if self._calls and self._is_reasoning:
            yield from self._take("", is_reasoning=False)
        for call in self._calls.values():
            yield from self._show(("\n" if self._raw else "") + _written(call))
        for kind, piece in self._parser.finish():
            yield self._event(kind, piece)
        calls = tuple(self._parser.tool_calls)
        text = "".join(self._text)
        boxes, points = find_boxes_and_points(text, self._content.image_sizes)
        yield Event(
            "done",
            reply=Reply(
                text=text,
                raw="".join(self._raw),
                thinking="".join(self._thinking) if self._parser.has_thinking else None,
                tool_calls=calls,
                boxes=boxes,
                points=points,
                finish_reason="tool_calls" if calls else self._finish_reason,
                usage=self._measured(),
                media=self._reports(),
                stop=self._stop,
            ),
        )

    def _push_delta(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        content, calls = delta.get("content"), delta.get("tool_calls")
        for piece in (reasoning, content):
            if piece is not None and not isinstance(piece, str):
                raise self._malformed(delta)
        if (reasoning or content or calls) and not self._ttft_s:
            self._ttft_s = time.perf_counter() - self._start_s
        if reasoning:
            yield from self._take(reasoning, is_reasoning=True)
        if content:
            yield from self._take(content, is_reasoning=False)
        for position, call in enumerate(calls or ()):
            if not isinstance(call, Mapping) or not isinstance(call.get("function") or {}, Mapping):
                raise self._malformed(delta)
            self._push_call(call, position)

    def _push_call(self, call: Mapping[str, Any], position: int) -> None:
        index = call.get("index")
        if not isinstance(index, int):  # a whole call at once, or a further piece of the last
            index = len(self._calls) if call.get("id") else max(len(self._calls) - 1, position)
        pieces = self._calls.setdefault(index, _CallPieces())
        function = call.get("function") or {}
        pieces.name = pieces.name or str(function.get("name") or "")
        arguments = function.get("arguments") or ""
        pieces.arguments += arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)

    def _take(self, piece: str, *, is_reasoning: bool) -> Iterator[Event]:
        if is_reasoning and not self._is_reasoning:
            if self._raw:  # thinking again, after text: shown, and kept with the rest
                yield self._event("thinking", piece)
                return
            self._is_reasoning = True
            if not self._starts_in_thinking:
                yield from self._show(f"{THINK}\n")
        elif self._is_reasoning and not is_reasoning:
            self._is_reasoning = False
            yield from self._show(f"\n{END_THINK}\n\n")
        yield from self._show(piece)

    def _show(self, text: str) -> Iterator[Event]:
        self._raw.append(text)
        for kind, piece in self._parser.push(text):
            yield self._event(kind, piece)

    def _event(self, kind: Any, piece: str) -> Event:
        if kind in ("text", "thinking"):
            (self._text if kind == "text" else self._thinking).append(piece)
        return Event(kind, piece)

    def _known_reason(self, reason: Any) -> FinishReason:
        if reason == "content_filter":
            raise ServerError(f"{self._url} withholds the answer (finish_reason content_filter); ask differently")
        if reason not in _FINISH_REASONS:
            raise ServerError(f"{self._url} ended the answer with finish_reason {reason!r}; look into its log")
        return _FINISH_REASONS[reason]

    def _measured(self) -> Usage:
        details = self._usage.get("prompt_tokens_details") or {}
        written = self._usage.get("completion_tokens_details") or {}
        visual = sum(details.get(key) or 0 for key in ("image_tokens", "video_tokens"))
        return Usage(
            num_prompt_tokens=self._usage.get("prompt_tokens") or 0,
            num_output_tokens=self._usage.get("completion_tokens") or 0,
            num_visual_tokens=sum(report.num_visual_tokens for report in self._reports()) or visual,
            preprocess_s=self._preprocess_s,
            ttft_s=self._ttft_s,
            total_s=time.perf_counter() - self._start_s,
            num_thinking_tokens=written.get("reasoning_tokens") or 0,
            num_cached_tokens=details.get("cached_tokens") or 0,
        )

    def _reports(self) -> tuple[MediaReport, ...]:
        """What our server tells, with the names that the user knows instead of those of data URLs."""
        if not self._media:
            return ()
        try:
            told = [_media_report(report) for report in self._media]
        except (TypeError, AttributeError):
            raise self._malformed(self._media) from None
        sent = self._content.media
        if len(told) != len(sent):
            return tuple(told)
        return tuple(
            replace(report, name=own.name, page=own.page, kind="page" if own.page is not None else report.kind)
            for report, own in zip(told, sent, strict=True)
        )

    def _malformed(self, value: Any) -> ServerError:
        shown = repr(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        return ServerError(
            f"{self._url} sends {shown}, which is no chat completion; is it an OpenAI-compatible server?"
        )


def _media_report(told: Mapping[str, Any]) -> MediaReport:
    """A report from JSON; what newer servers add is left out."""
    known = {field.name for field in fields(MediaReport)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in told.items() if key in known
    }
    return MediaReport(**values)


def _written(call: _CallPieces) -> str:
    """A call as the family's models write it; arguments that are not JSON stay as they came."""
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError:
        arguments = call.arguments
    body = json.dumps({"name": call.name, "arguments": arguments}, ensure_ascii=False)
    return f"{CALL}\n{body}\n{END_CALL}"
