"""One training or evaluation sample: a conversation, its truth, and dense truth about the picture.

A generator is a function `make(rng, *, held_out) -> Sample`. The last message is the assistant's answer.
Text that has to be read off the picture stands between two marker characters in the answer
(`verbatim`): the trainer spells it character by character, which a small model learns much faster than
subwords, and everyone else removes the markers with `plain`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from PIL.Image import Image as PILImage

from regard.messages import Image, Message

VERBATIM_START, VERBATIM_END = "\u0001", "\u0002"


@dataclass(frozen=True)
class Item:
    """One thing in the picture: class name, box in pixels (x1, y1, x2, y2), visible text or ''."""

    kind: str
    box: tuple[float, float, float, float]
    text: str = ""


@dataclass(frozen=True)
class Char:
    """One visible character and the centre of its glyph in pixels."""

    char: str
    x: float
    y: float


@dataclass(frozen=True)
class DenseTruth:
    """What lies where in the picture; supervises the vision tower cell by cell."""

    items: tuple[Item, ...] = ()
    chars: tuple[Char, ...] = ()


@dataclass(frozen=True)
class Area:
    """A place in the picture, in 0-1 of its width and height, or in a temporal group (two frames) of the clip."""

    box: tuple[float, float, float, float]
    group: int = 0


@dataclass(frozen=True)
class Clue:
    """What a part of an answer is about: `said` as it stands in the answer, and where that is to be seen.

    `names` are the words of the question that lead there, each with the areas of what it names.
    """

    said: str
    areas: tuple[Area, ...] = ()
    names: tuple[tuple[str, tuple[Area, ...]], ...] = ()


@dataclass(frozen=True)
class Sample:
    """A conversation whose last message is the wanted answer; `truth` is what the scorer needs (JSON types).

    `clues`: those of each answer, in the order in which they are said, or none at all.
    """

    task: str
    messages: tuple[Message, ...]
    truth: dict[str, Any] = field(default_factory=dict)
    dense: DenseTruth | None = None
    clues: tuple[tuple[Clue, ...], ...] = ()

    @property
    def answer(self) -> str:
        """The wanted answer as a user would read it."""
        return plain(self.messages[-1].text)

    @property
    def prompt(self) -> tuple[Message, ...]:
        """What comes before the first answer: a system message or none, and the first question."""
        first = next(index for index, message in enumerate(self.messages) if message.role == "assistant")
        return self.messages[:first]

    @property
    def picture(self) -> PILImage:
        """The first picture of the first question, as it was rendered."""
        source: PILImage = next(part for part in self.prompt[-1].parts if isinstance(part, Image)).source
        return source

    @property
    def question(self) -> str:
        """The text of the first question."""
        return self.prompt[-1].text


def verbatim(text: str) -> str:
    """Mark text that must be read off the picture."""
    return f"{VERBATIM_START}{text}{VERBATIM_END}"


def plain(text: str) -> str:
    """Remove the markers of `verbatim`."""
    return text.replace(VERBATIM_START, "").replace(VERBATIM_END, "")
