"""What one run of an application is given and hands back, and how it is stopped.

    def run(job: Job, options: LocateOptions) -> Made: ...        job.chat, job.inputs, job.folder, job.on_progress

It runs in a thread of its own, so it may block. When its client hangs up, `job.chat` and `job.on_progress` raise
`Stopped` at their next call, and an answer that is just being written is ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from regard.apps.result import Progress, Result
from regard.client import LocalChat
from regard.llm import LLM
from regard.reply import Event, Reply
from regard.server.settings import Settings


class Stopped(BaseException):  # no Exception, so that no application takes it for a failure of the model and goes on
    """Nobody waits for the result any more."""


class Options(BaseModel):
    """What people may choose of an application. Unknown options are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=4000)


@dataclass(frozen=True)
class Job:
    """One run. `inputs` are files that may be read, `folder` is an empty one of its own, gone after the run."""

    chat: StoppableChat
    inputs: tuple[Path, ...]
    folder: Path
    on_progress: Callable[[Progress], None]


@dataclass(frozen=True)
class Made:
    """The result, and files below `Job.folder` that are to be kept for its client, the most important first."""

    result: Result
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class App:
    """An application as the server offers it.

    takes         kinds of inputs: image, video, document
    num_inputs    fewest and most
    is_allowed    whether this server's operator wants it; `how_to_allow` says how, if not
    """

    title: str
    takes: tuple[str, ...]
    num_inputs: tuple[int, int]
    options: type[Options]
    run: Callable[[Job, Any], Made]
    is_allowed: Callable[[Settings], bool] = lambda settings: True
    how_to_allow: str = ""


class StoppableChat(LocalChat):
    """The server's model for one run; `name` as it is served, which is no folder's path."""

    def __init__(self, llm: LLM, name: str, stopped: threading.Event) -> None:
        super().__init__(llm)
        self._name, self._stopped = name, stopped

    @property
    def name(self) -> str:
        """The name that is told."""
        return self._name

    def check(self) -> None:
        """Errors: Stopped if nobody waits any more."""
        if self._stopped.is_set():
            raise Stopped

    def chat(self, what: Any, **options: Any) -> Reply:
        """As `LocalChat.chat`; ended between two tokens."""
        return next(event.reply for event in self.stream(what, **options) if event.reply is not None)

    def stream(self, what: Any, **options: Any) -> Iterator[Event]:
        """As `LocalChat.stream`; ended between two tokens."""
        self.check()
        return self._watched(super().stream(what, **options))

    def chat_many(self, whats: Sequence[Any], **options: Any) -> list[Reply]:
        """As `LocalChat.chat_many`; a stop is seen before and after."""
        self.check()
        replies = super().chat_many(whats, **options)
        self.check()
        return replies

    def close(self) -> None:
        """Nothing: the model is the server's."""

    def _watched(self, events: Iterator[Event]) -> Iterator[Event]:
        try:
            for event in events:
                self.check()
                yield event
        finally:
            getattr(events, "close", lambda: None)()
