"""What the model wrote, split into thinking, visible text and tool calls, as it streams.

    parser = ReplyParser(starts_in_thinking=True)
    parser.push("easy\n</think>\n\nTwo.")     # [("thinking", "easy"), ("text", "Two.")]
    parser.finish()                           # what was held back
    parser.tool_calls                         # complete calls so far

Rules, the same for every way the text is cut into pieces:

- Thinking runs to the first </think>. It is open from the start when the prompt opened it; a <think> that
  is the first thing in a reply opens it too. Elsewhere the tags are plain text.
- <tool_call> ... </tool_call> in visible text is a call: first its name ("call"), then its arguments in pieces, as
  they come if the call is written as usual (`tool_calls.CallReader`). The last one may lack its closing tag. A body
  that is no call stays in the text as it was written; one whose arguments break off cannot, for they were shown. Both
  are listed in `malformed_calls`.
- Line breaks next to thinking and next to calls belong to the format: thinking is shown without them, and
  the texts around calls are joined by one.

With `reads_calls` off, calls are text like any other; with `reads_tags` off, everything is text.

It never raises on what a model writes, and it does not remove special tokens: decoding does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from regard.messages import ToolCall
from regard.processing.tool_calls import CallReader

Kind = Literal["text", "thinking", "call", "arguments"]

THINK, END_THINK, CALL, END_CALL = "<think>", "</think>", "<tool_call>", "</tool_call>"


@dataclass(frozen=True)
class ParsedReply:
    """A whole reply. `thinking` is None if there was none; `malformed_calls` are bodies that stayed in `text`."""

    text: str
    thinking: str | None
    tool_calls: tuple[ToolCall, ...]
    malformed_calls: tuple[str, ...] = ()


def parse_reply(
    raw: str, *, starts_in_thinking: bool, reads_calls: bool = True, reads_tags: bool = True
) -> ParsedReply:
    """Split a whole reply; equals pushing it in any pieces."""
    parser = ReplyParser(starts_in_thinking=starts_in_thinking, reads_calls=reads_calls, reads_tags=reads_tags)
    shown = [*parser.push(raw), *parser.finish()]
    return ParsedReply(
        text="".join(text for kind, text in shown if kind == "text"),
        thinking="".join(text for kind, text in shown if kind == "thinking") if parser.has_thinking else None,
        tool_calls=tuple(parser.tool_calls),
        malformed_calls=tuple(parser.malformed_calls),
    )


class ReplyParser:
    """Fed with text as it is decoded; gives back what may be shown."""

    def __init__(self, *, starts_in_thinking: bool, reads_calls: bool = True, reads_tags: bool = True) -> None:
        self.tool_calls: list[ToolCall] = []
        self.malformed_calls: list[str] = []
        self._reads_calls, self._reads_tags = reads_calls, reads_tags
        self._call = CallReader()  # the open one
        self.has_thinking = starts_in_thinking
        self._mode: Literal["text", "thinking", "call"] = "thinking" if starts_in_thinking else "text"
        self._unread = ""  # the end of what was pushed, if a tag may begin with it
        self._line_breaks = ""  # read, but shown only if more follows
        self._drops_line_breaks = starts_in_thinking  # until something else follows
        self._joiner = ""  # shown before the next text: one line break when a call stands between two texts
        self._is_at_start = True  # nothing but line breaks so far
        self._has_text = False

    @property
    def is_thinking(self) -> bool:
        """Whether what comes next is thinking, as far as is known."""
        return self._mode == "thinking"

    def push(self, text: str) -> list[tuple[Kind, str]]:
        """The pieces that became certain, in order."""
        self._unread += text
        shown: list[tuple[Kind, str]] = []
        while (found := self._next_tag()) is not None:
            position, tag = found
            before, self._unread = self._unread[:position], self._unread[position + len(tag) :]
            self._read(before, tag, shown)
        num_certain = len(self._unread) - self._num_held_back()
        certain, self._unread = self._unread[:num_certain], self._unread[num_certain:]
        self._take(certain, shown)
        return shown

    def finish(self) -> list[tuple[Kind, str]]:
        """The rest, when no more text comes; a call that lacks only its closing tag is accepted."""
        shown: list[tuple[Kind, str]] = []
        rest, self._unread = self._unread, ""
        self._take(rest, shown)
        if self._mode == "call":
            self._end_call("", shown)
        if self._mode == "text" and self._line_breaks:
            shown.append(("text", self._line_breaks))
        self._line_breaks = ""
        return shown

    def _tags(self) -> tuple[str, ...]:
        """The tags that mean something in this mode."""
        if self._mode == "call":
            return (END_CALL,)
        if not self._reads_tags:
            return ()
        start = (THINK,) if self._is_at_start else ()
        if self._mode == "thinking":
            return (END_THINK, *start)
        return (CALL, *start) if self._reads_calls else start

    def _next_tag(self) -> tuple[int, str] | None:
        """The first tag and where it begins; <think> counts only with nothing but line breaks before it."""
        found = [(position, tag) for tag in self._tags() if (position := self._unread.find(tag)) >= 0]
        return min(
            (item for item in found if item[1] != THINK or not self._unread[: item[0]].strip("\n")), default=None
        )

    def _num_held_back(self) -> int:
        """Length of the longest end of the unread text with which a tag may begin."""
        tags = self._tags()
        for length in range(min(max(map(len, tags), default=1) - 1, len(self._unread)), 0, -1):
            if any(tag.startswith(self._unread[-length:]) for tag in tags):
                return length
        return 0

    def _read(self, before: str, tag: str, shown: list[tuple[Kind, str]]) -> None:
        """Take the text before a tag, then the tag."""
        self._take(before, shown)
        if tag == END_CALL:
            self._end_call(tag, shown)
            return
        self._is_at_start = False
        if tag == CALL:
            self._mode, self._call = "call", CallReader()
            return
        self._mode = "thinking" if tag == THINK else "text"
        self.has_thinking = True
        self._line_breaks, self._drops_line_breaks = "", True

    def _take(self, text: str, shown: list[tuple[Kind, str]]) -> None:
        """Take text without tags, as a part of a call's body or to be shown."""
        if self._mode != "call":
            self._show(text, shown)
            return
        was_named = self._call.name is not None
        piece = self._call.push(text)
        if self._call.name is not None and not was_named:
            shown.append(("call", self._call.name))
        if piece:
            shown.append(("arguments", piece))

    def _end_call(self, end_tag: str, shown: list[tuple[Kind, str]]) -> None:
        self._mode = "text"
        body, was_shown, call = self._call.body, self._call.name is not None, self._call.finish()
        if call is None:
            self.malformed_calls.append(body)
            if not was_shown:
                self._show(CALL + body + end_tag, shown)
                return
        else:
            self.tool_calls.append(call)
            if not was_shown:
                shown += [("call", call.name), ("arguments", json.dumps(call.arguments, ensure_ascii=False))]
        self._line_breaks, self._drops_line_breaks = "", True
        self._joiner = "\n" if self._has_text else ""

    def _show(self, text: str, shown: list[tuple[Kind, str]]) -> None:
        """Show text of the current mode, all but the line breaks at its end."""
        text = self._line_breaks + text
        if self._drops_line_breaks:
            text = text.lstrip("\n")
        core = text.rstrip("\n")
        self._line_breaks = text[len(core) :]
        if not core:
            return
        self._is_at_start = self._drops_line_breaks = False
        if self._mode == "thinking":
            shown.append(("thinking", core))
        else:
            shown.append(("text", self._joiner + core))
            self._joiner, self._has_text = "", True
