"""What comes out of a clip: events, chapters and texts with their times, and answers that cite them.

Times are seconds from the clip's first frame. `checked` says who stands for a time: "looked" (a second, finer look of
the model agrees), "pixels" (the picture changes exactly there), "no" (neither).
"""

from __future__ import annotations

from typing import Literal

from regard.apps.result import Result, TimeSpan

Checked = Literal["looked", "pixels", "no"]


class VideoEvent(Result):
    """Something that happens. `confidence`: how well it fits what was searched for, 0 to 1; 1 where nothing was."""

    span: TimeSpan
    text: str
    checked: Checked = "no"
    confidence: float = 1.0


class Chapter(Result):
    """A stretch that belongs together, with a title and what happens in it."""

    span: TimeSpan
    title: str
    summary: str = ""


class ScreenText(Result):
    """Text on the picture and how long it can be read."""

    span: TimeSpan
    text: str


class Spent(Result):
    """What an answer cost. `unseen`: how many changes of the picture nobody looked at, for want of tokens."""

    tokens: int
    budget: int
    calls: int
    seconds: float
    unseen: int = 0


class VideoReport(Result):
    """The answer to one question about one clip; which lists are filled depends on what was asked.

    `source` is the clip's name, `stretch` the part that was looked at. `events` are those that the answer rests on.
    """

    source: str
    model: str
    task: Literal["question", "summary", "find", "chapters", "text"]
    question: str = ""
    stretch: TimeSpan
    answer: str = ""
    events: list[VideoEvent] = []
    chapters: list[Chapter] = []
    texts: list[ScreenText] = []
    spent: Spent

    def cues(self) -> list[tuple[TimeSpan, str]]:
        """What subtitles show: chapters, texts or events, in order of time."""
        if self.task == "chapters":
            return [(chapter.span, chapter.title) for chapter in self.chapters]
        if self.task == "text":
            return [(text.span, text.text) for text in self.texts]
        return [(event.span, event.text) for event in sorted(self.events, key=lambda event: event.span.start_s)]
