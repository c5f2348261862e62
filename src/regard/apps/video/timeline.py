"""From the changes of the picture to events with words: what happened, and when.

Two ways, and how small things would be in a look decides between them (`Eyes.is_small`):

    windows   a model with a wide context is shown the whole stretch, window after window, and lists its events (the
              family's prompt); their times are moved to the changes of the picture close by, which are exact
    looks     a change that no window told of, and every one that is small, is cut out and asked about: "What appears
              at 2.0 seconds?". Something that disappears is shown backwards; what turns into something else is asked
              twice, each time with the other state painted over. So one question names everything

The answers are kept in the index. Changes that the budget has no room for are counted, the largest are looked at first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from regard.apps.reading import read_events
from regard.apps.result import Progress, TimeSpan, clock
from regard.apps.video import prompts, words
from regard.apps.video.changes import Change
from regard.apps.video.looks import Eyes, Look, painted_over
from regard.apps.video.purse import Purse
from regard.apps.video.result import Checked, VideoEvent

SNAP_S = 3.0  # so far a window's time may be from the change that it means
NAME_TOKENS, EVENTS_TOKENS = 24, 1024
_PART_FOR_WINDOWS = 0.5  # of the budget
_MAX_NAME_CHARS = 200
_SAME_S = 2.0

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Timeline:
    """The events of a stretch in order of time, and how many changes were not looked at."""

    events: tuple[VideoEvent, ...]
    num_unseen: int


def tell(eyes: Eyes, purse: Purse, start_s: float, end_s: float, *, on_progress: OnProgress | None = None) -> Timeline:
    """The events from `start_s` to `end_s`, as far as the budget goes."""
    there = [change for change in eyes.index.changes if start_s <= change.time_s < end_s]
    found: list[VideoEvent] = []
    if eyes.numbers.is_wide:
        found = _windows(eyes, purse, start_s, end_s, on_progress)
    taken: set[int] = set()
    snapped = [_snapped(event, there, taken) for event in found]
    rest = [change for number, change in enumerate(there) if number not in taken]
    named, num_unseen = _looks(eyes, purse, rest, on_progress)
    events = sorted([*snapped, *named], key=lambda event: event.span.start_s)
    return Timeline(tuple(_without_doubles(events)), num_unseen)


# --- windows --------------------------------------------------------------------------------------------------------


def _windows(
    eyes: Eyes, purse: Purse, start_s: float, end_s: float, on_progress: OnProgress | None
) -> list[VideoEvent]:
    """What the model lists, window after window, from frames of the index as dense as half of the budget allows."""
    numbers = [n for n, time_s in enumerate(eyes.index.times_s) if start_s - 1e-6 <= time_s < end_s]
    if not numbers:
        numbers = [eyes.index.nearest(start_s)]
    affordable = int(purse.budget * _PART_FOR_WINDOWS / (eyes.numbers.tokens_per_frame * 1.3))
    step = max(1, -(-len(numbers) // max(2, affordable)))
    numbers = numbers[::step]
    size = eyes.numbers.num_frames
    starts = range(0, max(1, len(numbers) - 1), size - 2)  # two frames of each window are the next one's too
    found: list[VideoEvent] = []
    for done, first in enumerate(starts):
        if on_progress is not None:
            on_progress(Progress(done, len(starts), "watching"))
        window = numbers[first : first + size]
        look = eyes.coarse(window if len(window) > 1 else window * 2, fps=_rate(eyes, window))
        answer = purse.ask(look, prompts.EVENTS, max_tokens=EVENTS_TOKENS)
        if answer is not None:
            found += _events_of(answer, look)
    return found


def _rate(eyes: Eyes, window: Sequence[int]) -> float:
    """The rate that a window's frames have on average: the model's seconds are then close to the clip's."""
    span_s = eyes.index.times_s[window[-1]] - eyes.index.times_s[window[0]]
    return round((len(window) - 1) / span_s, 3) if len(window) > 1 and span_s > 0 else 1.0


def _events_of(answer: str, look: Look) -> list[VideoEvent]:
    found = []
    for event in read_events(answer).value:
        if not event.text:
            continue
        start_s = look.true_s(event.start_s)
        end_s = None if event.end_s is None else look.true_s(event.end_s)
        found.append(VideoEvent(span=TimeSpan(start_s=start_s, end_s=end_s), text=event.text[:2000]))
    return found


def _snapped(event: VideoEvent, changes: Sequence[Change], taken: set[int]) -> VideoEvent:
    """The event at the closest change that no other event has, if one is near."""
    near = [
        (abs(change.time_s - event.span.start_s), number)
        for number, change in enumerate(changes)
        if number not in taken and abs(change.time_s - event.span.start_s) <= SNAP_S
    ]
    if not near:
        return event
    number = min(near)[1]
    taken.add(number)
    change = changes[number]
    end_s = event.span.end_s
    span = TimeSpan(start_s=change.time_s, end_s=None if end_s is None else max(end_s, change.time_s))
    return event.model_copy(update={"span": span, "checked": _by_pixels(change)})


def _by_pixels(change: Change) -> Checked:
    return "pixels" if change.slack_s <= 1.0 else "no"


# --- looks ----------------------------------------------------------------------------------------------------------


def _looks(
    eyes: Eyes, purse: Purse, changes: Sequence[Change], on_progress: OnProgress | None
) -> tuple[list[VideoEvent], int]:
    """Name each change by a look of its own, the largest first; returns how many were left for want of tokens too."""
    ranked = sorted(changes, key=lambda change: -change.share)
    found: list[VideoEvent] = []
    num_unseen = 0
    group = 8
    for first in range(0, len(ranked), group):
        if on_progress is not None:
            on_progress(Progress(first, len(ranked), "naming what changes"))
        batch = ranked[first : first + group]
        names = _names(eyes, purse, sorted(batch, key=lambda change: change.time_s))
        for change, text in names:
            if text is None:
                num_unseen += 1
                continue
            span = TimeSpan(start_s=change.time_s)
            found.append(VideoEvent(span=span, text=text, checked=_by_pixels(change)))
    return found, num_unseen


def _names(eyes: Eyes, purse: Purse, changes: Sequence[Change]) -> list[tuple[Change, str | None]]:
    """What happens at each change, None where the budget ended."""
    remembered = {change: eyes.index.recall(_key(purse, change)) for change in changes}
    new = [change for change in changes if remembered[change] is None]
    asked: list[tuple[Look | None, str, str]] = []
    owners: list[tuple[Change, str]] = []
    for change in new:
        for state, (look, told_s) in views(eyes, change).items():
            asked.append((look, prompts.APPEARS.format(time=f"{told_s:.1f}"), f"{state} {eyes.place_of(change)}"))
            owners.append((change, state))
    answers: dict[tuple[Change, str], str | None] = dict(
        zip(owners, purse.ask_many(asked, max_tokens=NAME_TOKENS), strict=True)
    )
    found: list[tuple[Change, str | None]] = []
    for change in changes:
        text = remembered[change]
        if text is None:
            name = _clean(answers[change, "after" if (change, "after") in answers else "before"])
            before = _clean(answers.get((change, "before"))) if change.kind == "changes" else ""
            text = words.told(name, change.kind, before) if name else None
            if change.kind == "cut" and name:
                text = f"the scene changes: {name}"
            if text is not None:
                eyes.index.keep(_key(purse, change), text)
        found.append((change, text))
    return found


def views(eyes: Eyes, change: Change, *, num_frames: int = 8) -> dict[str, tuple[Look, float]]:
    """The looks in which the change's thing appears, by the state it shows, and at which told second it does."""
    place, fps = eyes.place_of(change), eyes.numbers.fps
    times = eyes.around(change, num_frames=num_frames)
    look = eyes.fine(times, place)
    num_before = sum(time_s < change.time_s - 1e-6 for time_s in look.times_s)
    num_after = len(look.times_s) - num_before
    if num_before == 0 or num_after == 0:
        return {"after": (look, 0.0)}
    if change.kind == "disappears":
        backwards = replace(look, pictures=look.pictures[::-1], times_s=look.times_s[::-1])
        return {"before": (backwards, num_after / fps)}
    if change.kind != "changes":
        return {"after": (look, num_before / fps)}
    before = [painted_over(picture, change.place, place) for picture in look.pictures[:num_before]]
    after = look.pictures[num_before:]
    undone = [painted_over(picture, change.place, place) for picture in after[::-1]]
    return {
        "after": (replace(look, pictures=(*before, *after)), num_before / fps),
        "before": (
            replace(look, pictures=(*undone, *look.pictures[:num_before][::-1]), times_s=look.times_s[::-1]),
            num_after / fps,
        ),
    }


def _clean(answer: str | None) -> str:
    """The first line of an answer, without what could not be part of a sentence."""
    if not answer or not answer.strip():
        return ""
    return answer.strip().splitlines()[0][:_MAX_NAME_CHARS].strip().rstrip(".")


def _key(purse: Purse, change: Change) -> str:
    return f"name {purse.model} {change.time_s:.3f} {change.place}"


def _without_doubles(events: Sequence[VideoEvent]) -> list[VideoEvent]:
    """Overlapping windows tell some things twice."""
    kept: list[VideoEvent] = []
    for event in events:
        near = [other for other in kept[-6:] if event.span.start_s - other.span.start_s <= _SAME_S]
        if not any(other.text.lower() == event.text.lower() for other in near):
            kept.append(event)
    return kept


def listed(events: Sequence[VideoEvent], *, max_chars: int) -> str:
    """Events as lines for a prompt; where there are too many, every second, third, ... is left out."""
    lines = [f"{clock(event.span.start_s)} {event.text}" for event in events]
    step = 1
    while sum(len(line) + 1 for line in lines[::step]) > max_chars and step < len(lines):
        step += 1
    return "\n".join(lines[::step])
