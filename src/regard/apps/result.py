"""What the results of all applications have in common: frozen pydantic models that become JSON.

    result.to_json()            plain JSON types
    result.save("out.json")     written whole or not at all

Places are pixels of the user's picture, times seconds of the user's clip.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from regard.errors import InputError
from regard.reply import Box, Point


@dataclass(frozen=True)
class Progress:
    """How far an application has come: `done` of `total` steps (0: not known), and what it does, in words."""

    done: int
    total: int
    text: str = ""


class Result(BaseModel):
    """A value that cannot be changed, refuses fields that it does not know, and becomes JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON types."""
        return self.model_dump(mode="json")

    def save(self, path: str | Path) -> None:
        """Write it as JSON, whole or not at all. Errors: InputError if the file cannot be written."""
        write_whole(Path(path), (json.dumps(self.to_json(), ensure_ascii=False, indent=2) + "\n").encode())


class Box2D(Result):
    """A box in pixels of the user's picture; `extra` is what else was told of it (a colour, a role)."""

    x1: float
    y1: float
    x2: float
    y2: float
    label: str = ""
    confidence: float | None = None
    extra: dict[str, Any] = {}

    @classmethod
    def of(cls, box: Box, **extra: Any) -> Box2D:
        """The same box as a reply has it."""
        return cls(x1=box.x1, y1=box.y1, x2=box.x2, y2=box.y2, label=box.label, confidence=box.confidence, extra=extra)

    @property
    def width(self) -> float:
        """Pixels."""
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        """Pixels."""
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.width * self.height

    @property
    def center(self) -> tuple[float, float]:
        """Pixels."""
        return (self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2

    def to_box(self) -> Box:
        """The same box for `draw.draw`."""
        return Box(self.x1, self.y1, self.x2, self.y2, self.label, 0, self.confidence)


class Point2D(Result):
    """A point in pixels of the user's picture; `extra` as that of a box."""

    x: float
    y: float
    label: str = ""
    confidence: float | None = None
    extra: dict[str, Any] = {}

    @classmethod
    def of(cls, point: Point, **extra: Any) -> Point2D:
        """The same point as a reply has it."""
        return cls(x=point.x, y=point.y, label=point.label, confidence=point.confidence, extra=extra)

    def to_point(self) -> Point:
        """The same point for `draw.draw`."""
        return Point(self.x, self.y, self.label, 0, self.confidence)


class TimeSpan(Result):
    """A stretch of a clip in seconds from its beginning; `end_s` None: a moment."""

    start_s: float
    end_s: float | None = None

    @property
    def text(self) -> str:
        """As people write it: 1:02:03.5 - 1:02:07."""
        start = clock(self.start_s)
        return start if self.end_s is None else f"{start} - {clock(self.end_s)}"


def clock(seconds: float, *, digits: int = 1) -> str:
    """Seconds as m:ss.f or h:mm:ss.f, without a fraction that is zero."""
    ticks = round(max(seconds, 0.0) * 10**digits) if math.isfinite(seconds) else 0
    whole, fraction = divmod(ticks, 10**digits)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
    return text + f".{fraction:0{digits}}".rstrip("0") if fraction else text


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or as it was. Errors: InputError if it cannot be written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written ({error.strerror}); name another file") from None
