"""What the model wrote, split into thinking, visible text and tool calls, as it streams.

    parser = ReplyParser(starts_in_thinking=True)
    parser.push("easy\n</think>\n\nTwo.")     # [("thinking", "easy"), ("text", "Two.")]
    parser.finish()                           # what was held back
    parser.tool_calls                         # complete calls so far

Rules, the same for every way the text is cut into pieces:

- Thinking runs to the first </think>. It is open from the start when the prompt opened it; a <think> that
  is the first thing in a reply opens it too. Elsewhere the tags are plain text.
- <tool_call> ... </tool_call> in visible text is a call. One that is not valid stays in the text as it was
  written, and its body is listed in `malformed_calls`. The last one may lack its closing tag.
- Line breaks next to thinking and next to calls belong to the format: thinking is shown without them, and
  the texts around calls are joined by one.

It never raises on what a model writes, and it does not remove special tokens: decoding does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regard.messages import ToolCall
from regard.processing.tool_calls import parse_tool_call

Kind = Literal["text", "thinking"]

THINK, END_THINK, CALL, END_CALL = "<think>", "</think>", "<tool_call>", "</tool_call>"


@dataclass(frozen=True)
class ParsedReply:
    """A whole reply. `thinking` is None if there was none; `malformed_calls` are bodies that stayed in `text`."""

    text: str
    thinking: str | None
    tool_calls: tuple[ToolCall, ...]
    malformed_calls: tuple[str, ...] = ()


def parse_reply(raw: str, *, starts_in_thinking: bool) -> ParsedReply:
    """Split a whole reply; equals pushing it in any pieces."""
    parser = ReplyParser(starts_in_thinking=starts_in_thinking)
    shown = [*parser.push(raw), *parser.finish()]
    return ParsedReply(
        text="".join(text for kind, text in shown if kind == "text"),
        thinking="".join(text for kind, text in shown if kind == "thinking") if parser.has_thinking else None,
        tool_calls=tuple(parser.tool_calls),
        malformed_calls=tuple(parser.malformed_calls),
    )


class ReplyParser:
    """Fed with text as it is decoded; gives back what may be shown."""

    def __init__(self, *, starts_in_thinking: bool) -> None:
        self.tool_calls: list[ToolCall] = []
        self.malformed_calls: list[str] = []
        self.has_thinking = starts_in_thinking
        self._mode: Literal["text", "thinking", "call"] = "thinking" if starts_in_thinking else "text"
        self._unread = ""  # the end of what was pushed, if a tag may begin with it; the whole body of an open call
        self._line_breaks = ""  # read, but shown only if more follows
        self._drops_line_breaks = starts_in_thinking  # until something else follows
        self._joiner = ""  # shown before the next text: one line break when a call stands between two texts
        self._is_at_start = True  # nothing but line breaks so far
        self._has_text = False

    def push(self, text: str) -> list[tuple[Kind, str]]:
        """The pieces that became certain, in order."""
        self._unread += text
        shown: list[tuple[Kind, str]] = []
        while (found := self._next_tag()) is not None:
            position, tag = found
            before, self._unread = self._unread[:position], self._unread[position + len(tag) :]
            self._read(before, tag, shown)
        if self._mode != "call":
            num_certain = len(self._unread) - self._num_held_back()
            certain, self._unread = self._unread[:num_certain], self._unread[num_certain:]
            self._show(certain, shown)
        return shown

    def finish(self) -> list[tuple[Kind, str]]:
        """The rest, when no more text comes; a call that lacks only its closing tag is accepted."""
        shown: list[tuple[Kind, str]] = []
        rest, self._unread = self._unread, ""
        if self._mode == "call":
            self._end_call(rest, "", shown)
        else:
            self._show(rest, shown)
        if self._mode == "text" and self._line_breaks:
            shown.append(("text", self._line_breaks))
        self._line_breaks = ""
        return shown

    def _tags(self) -> tuple[str, ...]:
        """The tags that mean something in this mode."""
        if self._mode == "call":
            return (END_CALL,)
        end = END_THINK if self._mode == "thinking" else CALL
        return (end, THINK) if self._is_at_start else (end,)

    def _next_tag(self) -> tuple[int, str] | None:
        """The first tag and where it begins; <think> counts only with nothing but line breaks before it."""
        found = [(position, tag) for tag in self._tags() if (position := self._unread.find(tag)) >= 0]
        return min(
            (item for item in found if item[1] != THINK or not self._unread[: item[0]].strip("\n")), default=None
        )

    def _num_held_back(self) -> int:
        """Length of the longest end of the unread text with which a tag may begin."""
        tags = self._tags()
        for length in range(min(max(map(len, tags)) - 1, len(self._unread)), 0, -1):
            if any(tag.startswith(self._unread[-length:]) for tag in tags):
                return length
        return 0

    def _read(self, before: str, tag: str, shown: list[tuple[Kind, str]]) -> None:
        """Take the text before a tag, then the tag."""
        if tag == END_CALL:
            self._end_call(before, tag, shown)
            return
        self._show(before, shown)
        self._is_at_start = False
        if tag == CALL:
            self._mode = "call"
            return
        self._mode = "thinking" if tag == THINK else "text"
        self.has_thinking = True
        self._line_breaks, self._drops_line_breaks = "", True

    def _end_call(self, body: str, end_tag: str, shown: list[tuple[Kind, str]]) -> None:
        self._mode = "text"
        call = parse_tool_call(body)
        if call is None:
            self.malformed_calls.append(body)
            self._show(CALL + body + end_tag, shown)
            return
        self.tool_calls.append(call)
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
