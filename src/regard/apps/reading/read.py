"""The value that all readers return, and the fences of Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_FENCE = re.compile(r"(?:^|(?<=\n)|(?<=[^`]))(```+|~~~+)[ \t]*([\w+#.-]*)[^\S\n]*")


@dataclass(frozen=True)
class Read(Generic[T]):
    """What was understood, and in words what had to be mended for it; no repairs: it was written as it should be."""

    value: T
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fence:
    """A fenced block: the word behind its fence in lower case, what it holds, and whether it was closed."""

    language: str
    body: str
    is_closed: bool


def fences(text: str) -> list[Fence]:
    """All fenced blocks; the last may be open. A fence ends at a line that begins with it, or at any if on one line."""
    blocks: list[Fence] = []
    position = 0
    no_line: set[str] = set()  # fences that from here on begin no line
    while opening := _FENCE.search(text, position):
        mark, start = opening[1], opening.end()
        if text[start : start + 1] == "\n":
            start += 1
        end = -1 if mark in no_line else text.find("\n" + mark, start - 1)
        if end < 0:
            no_line.add(mark)
            end = text.find(mark, start)  # closed at the end of a line
        is_closed = end >= 0
        end = len(text) if end < 0 else end
        blocks.append(Fence(opening[2].lower(), text[start:end], is_closed))
        if not is_closed:
            break
        after = text.find(mark, end) + len(mark)
        position = after
    return blocks


def outside(text: str) -> str:
    """The text without thinking, which some servers leave in it."""
    _, closing, answer = text.rpartition("</think>")
    return answer if closing else text
