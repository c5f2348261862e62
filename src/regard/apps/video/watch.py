"""Questions about a clip of any length.

    with Watch(chat, "lecture.mp4") as watch:
        watch.ask("When does the red circle appear?").answer     # "a red circle appears at 1:02:03.5"
        watch.summary(3600, 7200)                                # the second hour
        watch.find("a blue star")                                # intervals
        watch.chapters(), watch.text()

The clip is read once into an index (`scan`), changes of the picture become events with words (`timeline`), and a
question is answered from the events that its words fit and from a finer look at them; times that are cited are looked
at a second time. A model with a wide context is handed the list of events beside the frames; for a small one, counting
and ordering are done here. All of one call stays within `budget` tokens; what was found stays in the index.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from regard.apps.result import Progress, TimeSpan, clock
from regard.apps.video import answers, overview
from regard.apps.video.index import Index, default_folder
from regard.apps.video.looks import Eyes, cell_px_of, context_of, numbers_for
from regard.apps.video.purse import Purse
from regard.apps.video.result import Chapter, ScreenText, Spent, VideoEvent, VideoReport
from regard.apps.video.scan import scan
from regard.client import Chat
from regard.errors import ConfigError, InputError
from regard.processing.fetch import local_path, source_name

DEFAULT_BUDGET = 200_000
MIN_BUDGET = 200

Task = Literal["question", "summary", "find", "chapters", "text"]
OnProgress = Callable[[Progress], None]


class Watch:
    """One clip and one model; a context manager.

    `budget`: tokens, prompts and answers together, of each call of a method. `context`: the model's, found out if None.
    `options` and `preset` are those of `Chat.chat`. Errors: InputError for a clip that is missing, damaged or no
    video; ConfigError for a budget that is too small for a single look.
    """

    def __init__(
        self,
        chat: Chat,
        clip: str | Path,
        *,
        folder: Path | None = None,
        budget: int = DEFAULT_BUDGET,
        context: int | None = None,
        preset: str | None = None,
        on_progress: OnProgress | None = None,
        **options: Any,
    ) -> None:
        if budget < MIN_BUDGET:
            raise ConfigError(f"the budget is {budget} tokens; a single look needs about {MIN_BUDGET}, give more")
        path = local_path(clip)
        if path is None:
            raise InputError(f"{source_name(clip)} is no file; save the clip first and give its name")
        self.chat, self.clip = chat, path
        self._budget, self._preset, self._options = budget, preset, options
        self._on_progress = on_progress
        self.index: Index = scan(path, folder or default_folder(), on_progress=on_progress)
        self.eyes = Eyes(path, self.index, numbers_for(context or context_of(chat), cell_px_of(chat)))

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the clip and its index."""
        self.eyes.__exit__()
        self.index.close()

    @property
    def duration_s(self) -> float:
        """How long the clip is."""
        return self.index.facts.duration_s

    def ask(self, question: str, start_s: float = 0.0, end_s: float | None = None) -> VideoReport:
        """Answer a question about a stretch. Errors: InputError for a stretch outside the clip, an empty question."""
        if not question.strip():
            raise InputError("the question is empty; ask something about the clip")
        run = self._run("question", start_s, end_s, question)
        found = answers.answer(self.eyes, run.purse, question, *run.stretch, on_progress=self._on_progress)
        return run.report(answer=found.text, events=found.events, num_unseen=found.num_unseen)

    def find(self, query: str, start_s: float = 0.0, end_s: float | None = None) -> VideoReport:
        """Find the intervals in which something happens, the best first."""
        if not query.strip():
            raise InputError("there is nothing to find; say what, as in --find 'a red circle appears'")
        run = self._run("find", start_s, end_s, query)
        found = answers.find(self.eyes, run.purse, query, *run.stretch, on_progress=self._on_progress)
        return run.report(answer=found.text, events=found.events, num_unseen=found.num_unseen)

    def summary(self, start_s: float = 0.0, end_s: float | None = None) -> VideoReport:
        """Sum up a stretch; the events are all that were found in it."""
        run = self._run("summary", start_s, end_s)
        text, events, num_unseen = overview.summary(self.eyes, run.purse, *run.stretch, on_progress=self._on_progress)
        return run.report(answer=text, events=events, num_unseen=num_unseen)

    def chapters(self, start_s: float = 0.0, end_s: float | None = None) -> VideoReport:
        """Divide a stretch where the picture changes most, and give each part a title."""
        run = self._run("chapters", start_s, end_s)
        parts, num_unseen = overview.chapters(self.eyes, run.purse, *run.stretch, on_progress=self._on_progress)
        text = "\n".join(f"{clock(chapter.span.start_s)} {chapter.title}" for chapter in parts)
        return run.report(answer=text, chapters=parts, num_unseen=num_unseen)

    def text(self, start_s: float = 0.0, end_s: float | None = None) -> VideoReport:
        """Read what is written on the picture, and how long it stands there."""
        run = self._run("text", start_s, end_s)
        texts, num_unseen = overview.texts(self.eyes, run.purse, *run.stretch, on_progress=self._on_progress)
        told = "\n".join(f"{text.span.text} {text.text}" for text in texts)
        return run.report(answer=told, texts=texts, num_unseen=num_unseen)

    def _run(self, task: Task, start_s: float, end_s: float | None, question: str = "") -> _Run:
        last_s = self.duration_s
        if start_s >= last_s:
            raise InputError(f"the stretch begins at {clock(start_s)}, the clip ends at {clock(last_s)}; begin earlier")
        if end_s is not None and end_s <= start_s:
            raise InputError(f"the stretch ends at {clock(end_s)} and begins at {clock(start_s)}; swap or widen them")
        stretch = (max(0.0, start_s), last_s if end_s is None else min(end_s, last_s))
        purse = Purse(self.chat, self.index, self._budget, self._preset, self._options)
        return _Run(self, task, question, stretch, purse)


class _Run:
    """One call: what it may spend, and the report at its end."""

    def __init__(self, watch: Watch, task: Task, question: str, stretch: tuple[float, float], purse: Purse) -> None:
        self._watch, self._task, self._question = watch, task, question
        self.stretch, self.purse = stretch, purse
        self._began = time.perf_counter()

    def report(
        self,
        *,
        answer: str,
        events: list[VideoEvent] | None = None,
        chapters: list[Chapter] | None = None,
        texts: list[ScreenText] | None = None,
        num_unseen: int = 0,
    ) -> VideoReport:
        spent = Spent(
            tokens=self.purse.tokens,
            budget=self.purse.budget,
            calls=self.purse.calls,
            seconds=round(time.perf_counter() - self._began, 3),
            unseen=num_unseen,
        )
        return VideoReport(
            source=self._watch.clip.name,
            model=self._watch.chat.name,
            task=self._task,
            question=self._question,
            stretch=TimeSpan(start_s=self.stretch[0], end_s=self.stretch[1]),
            answer=answer,
            events=events or [],
            chapters=chapters or [],
            texts=texts or [],
            spent=spent,
        )
