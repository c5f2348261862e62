"""A cited time is looked at again, finer and apart from everything else, before it is told."""

from __future__ import annotations

from collections.abc import Sequence

from regard.apps.result import TimeSpan
from regard.apps.video import prompts, words
from regard.apps.video.changes import Change, Place
from regard.apps.video.looks import Eyes, Look
from regard.apps.video.purse import Purse
from regard.apps.video.result import VideoEvent

AGREES_S = 1.0  # so close must the second look's time be
_TOKENS = 32
_BEFORE, _AFTER = 6, 6  # frames to each side; the event stands elsewhere than in the first look
_NEAR_S = 0.6
_SAME_PLACE = 0.3  # of the smaller of two places lies in the other


def checked(eyes: Eyes, purse: Purse, event: VideoEvent, question: str = "") -> VideoEvent:
    """The event marked "looked" if a second look finds it (or the answer to `question`) at its time, else as it was."""
    question = question or words.action_question(event.text) or prompts.QUERY.format(query=event.text.rstrip("."))
    key = f"second {purse.model} {event.span.start_s:.3f} {question}"
    if eyes.index.recall(key):  # known before a frame is decoded
        return event.model_copy(update={"checked": "looked"})
    look = look_around(eyes, event.span.start_s)
    answer = purse.ask(look, question, max_tokens=_TOKENS, key="second")
    if answer is None:
        return event
    times = [look.true_s(told_s) for told_s in words.times_of(answer)]
    if any(abs(time_s - event.span.start_s) <= AGREES_S for time_s in times):
        eyes.index.keep(key, True)
        return event.model_copy(update={"checked": "looked"})
    return event


def look_around(eyes: Eyes, time_s: float, *, before: int = _BEFORE, after: int = _AFTER) -> Look:
    """Fine frames around a time, cut to what changes there, if something does."""
    change = change_at(eyes, time_s)
    place: Place = (0.0, 0.0, 1.0, 1.0) if change is None else eyes.place_of(change)
    fps = eyes.numbers.fps
    last_s = eyes.index.facts.duration_s - 1 / eyes.index.facts.fps
    times = [time_s + number / fps for number in range(-before, after)]
    times = [one for one in times if -1e-6 <= one <= last_s + 1e-6] or [min(max(time_s, 0.0), last_s)]
    return eyes.fine([max(0.0, one) for one in times], place)


def change_at(eyes: Eyes, time_s: float, within_s: float = _NEAR_S) -> Change | None:
    """The change of the picture that is closest to a time."""
    near = [change for change in eyes.index.changes if abs(change.time_s - time_s) <= within_s]
    return min(near, key=lambda change: abs(change.time_s - time_s), default=None)


def with_end(eyes: Eyes, event: VideoEvent, stretch_end_s: float) -> VideoEvent:
    """How long what began can be seen: until the picture changes at the same place again, or the stretch ends."""
    begun = change_at(eyes, event.span.start_s)
    if event.span.end_s is not None or begun is None or begun.kind == "disappears":
        return event
    later = (change for change in eyes.index.changes if change.time_s > begun.time_s + 1e-6)
    end_s = next((one.time_s for one in later if _same_place(begun.place, one.place)), stretch_end_s)
    span = TimeSpan(start_s=event.span.start_s, end_s=max(end_s, event.span.start_s))
    return event.model_copy(update={"span": span})


def without_ends(events: Sequence[VideoEvent], query: str) -> list[VideoEvent]:
    """For a query that names no action, what begins: the end of a thing is its interval's end."""
    if {"appear", "disappear", "turn"} & set(words.stems(query)):
        return list(events)
    begins = [event for event in events if "disappear" not in words.stems(event.text)]
    return begins or list(events)


def _same_place(one: Place, other: Place) -> bool:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return False
    smaller = min((place[2] - place[0]) * (place[3] - place[1]) for place in (one, other))
    return width * height >= _SAME_PLACE * smaller
