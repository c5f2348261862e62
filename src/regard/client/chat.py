"""What every place where a model runs has in common, and the place that is this process.

`Chat` is all that commands, evaluation and applications may know of a model. `LocalChat` is the model loaded here;
`http_chat.HttpChat` is one behind a URL. Both take the same arguments and give the same `Reply` and `Event` values.

An answer that is no longer wanted is ended by closing its iterator; `close` ends all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Unpack

from regard.reply import Event, Reply

if TYPE_CHECKING:
    from regard.llm import LLM, SamplingOptions


class Chat(Protocol):
    """A model that answers."""

    @property
    def name(self) -> str:
        """What the model is called where it runs."""

    @property
    def is_thinking(self) -> bool:
        """Whether it is a Thinking edition, whose answers begin with a block of thinking."""

    @property
    def reports_media(self) -> bool:
        """Whether replies say what the model really saw (`Reply.media`)."""

    def chat(
        self,
        what: Any,
        *,
        preset: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_vision_id: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> Reply:
        """Return the whole answer to `what` (see `conversation.normalize`)."""

    def stream(
        self,
        what: Any,
        *,
        preset: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_vision_id: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> Iterator[Event]:
        """Yield pieces as they come, and at last an event with the `Reply`; closing the iterator ends the answer.

        Errors: whatever is wrong with the question is raised at once, before anything is yielded.
        """

    def chat_many(
        self, whats: Sequence[Any], *, preset: str | None = None, **options: Unpack[SamplingOptions]
    ) -> list[Reply]:
        """Return the answers to several independent questions, worked on together."""

    def check_options(self, preset: str | None = None, **options: Unpack[SamplingOptions]) -> None:
        """Refuse a preset or option that could not be honoured. Errors: ConfigError."""

    def close(self) -> None:
        """End what is still being answered and let go of the model or the connections."""


class LocalChat:
    """A model loaded in this process."""

    reports_media = True

    def __init__(self, llm: LLM) -> None:
        self.llm = llm

    @classmethod
    def load(cls, name: str = "nano", **options: Any) -> LocalChat:
        """Load "nano", a folder or a hub id; the options are those of `LLM.load`."""
        from regard.llm import LLM

        return cls(LLM.load(name, **options))

    @property
    def name(self) -> str:
        """The name, folder or hub id that was loaded."""
        return self.llm.name

    @property
    def is_thinking(self) -> bool:
        """Whether it is a Thinking edition."""
        return self.llm.is_thinking

    def chat(
        self,
        what: Any,
        *,
        preset: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_vision_id: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> Reply:
        """Return the whole answer to `what`."""
        return self.llm.chat(what, preset=preset, tools=tools, add_vision_id=add_vision_id, **options)

    def stream(
        self,
        what: Any,
        *,
        preset: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_vision_id: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> Iterator[Event]:
        """Yield pieces as they come, and at last an event with the `Reply`."""
        return self.llm.stream(what, preset=preset, tools=tools, add_vision_id=add_vision_id, **options)

    def chat_many(
        self, whats: Sequence[Any], *, preset: str | None = None, **options: Unpack[SamplingOptions]
    ) -> list[Reply]:
        """Return the answers to several independent questions, computed together."""
        return self.llm.chat_many(whats, preset=preset, **options)

    def check_options(self, preset: str | None = None, **options: Unpack[SamplingOptions]) -> None:
        """Refuse a preset or option that could not be honoured. Errors: ConfigError."""
        self.llm.sampling_params(preset, **options)

    def close(self) -> None:
        """End the engine; unfinished answers get an error."""
        self.llm.engine.close()
