"""Stands for a model in the tutor's tests: answers by a script, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image as PILImage

from regard.conversation import normalize
from regard.messages import Message
from regard.processing.coordinates import find_boxes_and_points
from regard.reply import Event, Reply, Usage

SIZE = (256, 192)


class ScriptedChat:
    """Answers with what `script` makes of the last user turn's text; a string is always the answer."""

    name, is_thinking, reports_media = "scripted", False, False

    def __init__(self, script: Callable[[str, list[Message]], str] | str) -> None:
        self._script = script
        self.prompts: list[str] = []
        self.histories: list[list[Message]] = []
        self.options: list[dict[str, Any]] = []

    def chat(self, what: Any, **options: Any) -> Reply:
        messages = list(normalize(what))
        self.prompts.append(messages[-1].text)
        self.histories.append(messages)
        self.options.append(options)
        text = self._script if isinstance(self._script, str) else self._script(messages[-1].text, messages)
        boxes, points = find_boxes_and_points(text, (SIZE,))
        return Reply(text, text, None, (), boxes, points, "stop", Usage(0, 0, 0, 0.0, 0.0, 0.0), ())

    def stream(self, what: Any, **options: Any) -> Iterator[Event]:
        yield Event("done", reply=self.chat(what, **options))

    def chat_many(self, whats: Any, **options: Any) -> list[Reply]:
        return [self.chat(what, **options) for what in whats]

    def check_options(self, preset: str | None = None, **options: Any) -> None:
        pass

    def close(self) -> None:
        pass


def figure() -> PILImage.Image:
    """A picture of the size that the scripted places are meant for."""
    return PILImage.new("RGB", SIZE, "white")
