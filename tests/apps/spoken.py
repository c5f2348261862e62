"""A `Chat` whose answers are given, and which remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regard.errors import ConfigError
from regard.messages import ToolCall
from regard.reply import Event, FinishReason, Reply, Usage


def reply(text: str, finish_reason: FinishReason = "stop", calls: Sequence[ToolCall] = ()) -> Reply:
    """A reply that says `text`."""
    return Reply(text, text, None, tuple(calls), (), (), finish_reason, Usage(1, len(text), 1, 0.0, 0.0, 0.0), ())


@dataclass
class SpokenChat:
    """Answers one after the other (the last for ever), or what a function of the question gives."""

    answers: Sequence[str | Reply] | Callable[[Any], str | Reply]
    name: str = "spoken"
    is_thinking: bool = False
    reports_media: bool = False
    takes_grammar: bool = True
    asked: list[dict[str, Any]] = field(default_factory=list)

    def chat(self, what: Any, *, preset: str | None = None, tools: Any = None, **options: Any) -> Reply:
        if callable(self.answers):
            answer = self.answers(what)
        else:
            answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append({"what": what, "preset": preset, "tools": tools, **options})
        return answer if isinstance(answer, Reply) else reply(answer)

    def stream(self, what: Any, **options: Any) -> Iterator[Event]:
        done = self.chat(what, **options)
        yield Event("text", done.text)
        yield Event("done", reply=done)

    def chat_many(self, whats: Sequence[Any], **options: Any) -> list[Reply]:
        return [self.chat(what, **options) for what in whats]

    def check_options(self, preset: str | None = None, **options: Any) -> None:
        if "structure" in options and not self.takes_grammar:
            raise ConfigError("structure cannot be honoured")

    def close(self) -> None:
        """Nothing to let go of."""

    @property
    def questions(self) -> list[str]:
        """The words of every question, in order."""
        return [asked["what"][-1].text for asked in self.asked]

    def pictures(self, number: int) -> list[Any]:
        """The pictures of a question."""
        from regard.messages import Image

        parts = [part for message in self.asked[number]["what"] for part in message.parts]
        return [part.source for part in parts if isinstance(part, Image)]


def told(mapping: Mapping[str, str], otherwise: str = "[]") -> Callable[[Any], str]:
    """Answers by a word of the question."""

    def answer(what: Any) -> str:
        return next((text for word, text in mapping.items() if word in what[-1].text), otherwise)

    return answer
