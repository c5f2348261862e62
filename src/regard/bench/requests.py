"""What a system under test is asked and what it answers: values that travel as JSON between two processes.

A wave is a list of requests that are there at the same time. Each is one user turn: pictures first, then frames of
one clip, then words. Answers are greedy and exactly `max_tokens` long, so that every system does the same work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

FRAMES_PER_SECOND = 2.0  # of the frames of a request


@dataclass(frozen=True)
class Request:
    """`pictures` and `frames` are paths of PNG files."""

    text: str
    max_tokens: int
    pictures: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Request:
        """The inverse of `dataclasses.asdict`, after a journey as JSON."""
        return cls(value["text"], value["max_tokens"], tuple(value["pictures"]), tuple(value["frames"]))


@dataclass(frozen=True)
class Answered:
    """One answer. Times in seconds from the moment the request was given; None where the system does not tell."""

    num_prompt_tokens: int
    num_output_tokens: int
    total_s: float
    ttft_s: float | None = None
    preprocess_s: float | None = None
    vision_s: float | None = None
    text: str = ""


@dataclass(frozen=True)
class WaveResult:
    """From the first request given to the last answer finished, in seconds, and the answers in the requests' order."""

    wall_s: float
    answers: tuple[Answered, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WaveResult:
        """The inverse of `to_json`."""
        return cls(value["wall_s"], tuple(Answered(**answer) for answer in value["answers"]))


class Unsupported(Exception):
    """The system cannot do what a request asks; the message is a sentence for the report."""


class System(Protocol):
    """A loaded model of ours or of a peer's."""

    def facts(self) -> dict[str, Any]:
        """Version, dtype and what else the report should tell, once loaded."""

    def answer(self, requests: Sequence[Request]) -> WaveResult:
        """Answer requests that are there at the same time. Errors: Unsupported, and whatever the system raises."""


@dataclass(frozen=True)
class LoadOptions:
    """How a child loads: the same for all systems, those that do not need a field ignore it.

    num_threads:          for every product
    max_concurrent:       requests of the largest wave
    num_context_tokens:   of all requests of the largest wave together, an upper estimate
    gguf_folder:          where the files of `gguf_files.py` lie
    """

    folder: str
    dtype: str
    num_threads: int
    max_concurrent: int
    num_context_tokens: int
    gguf_folder: str = ""
