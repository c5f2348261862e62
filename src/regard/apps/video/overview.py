"""A stretch as a whole: its summary, its chapters, and what is written on the picture."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from regard.apps.result import Progress, TimeSpan, clock
from regard.apps.video import prompts, timeline
from regard.apps.video.answers import spread
from regard.apps.video.changes import CUT_SHARE, Change, Place
from regard.apps.video.looks import Eyes, Look, look_size
from regard.apps.video.purse import CHARS_PER_TOKEN, Purse
from regard.apps.video.result import Chapter, ScreenText, VideoEvent
from regard.apps.video.second_look import change_at, with_end

SECONDS_PER_CHAPTER, MAX_CHAPTERS = 300.0, 15
SUMMARY_TOKENS, TITLE_TOKENS, TEXT_TOKENS = 512, 32, 512
READ_PX = 1280 * 736  # of a whole picture that a wide context reads
_LINE_PX, _LONGEST_LINE_PX = 32, 256  # of a cut-out word, as small models know lines
_MARGIN = 0.12
_TOLD_ONE_BY_ONE = 12
_NO_TEXT = re.compile(r"(?:there is )?(?:no|not any|none)\b.{0,40}(?:text|words?)?\W*|\W*", re.IGNORECASE)
_WHOLE: Place = (0.0, 0.0, 1.0, 1.0)

OnProgress = Callable[[Progress], None]


def summary(
    eyes: Eyes, purse: Purse, start_s: float, end_s: float, *, on_progress: OnProgress | None
) -> tuple[str, list[VideoEvent], int]:
    """(text, all events, changes nobody looked at)."""
    line = timeline.tell(eyes, purse, start_s, end_s, on_progress=on_progress)
    events = list(line.events)
    text = None
    if eyes.numbers.is_wide:
        look = _overview_look(eyes, start_s, end_s, eyes.numbers.num_frames // 2)
        prompt = prompts.SUMMARY.format(**_told(eyes, events), start=clock(start_s), end=clock(end_s))
        text = purse.ask(look, prompt, max_tokens=SUMMARY_TOKENS)
    return text or composed(events, start_s, end_s), events, line.num_unseen


def composed(events: Sequence[VideoEvent], start_s: float, end_s: float) -> str:
    """A summary without a model: every event if there are few, else how many of each kind, the first and the last."""
    stretch = f"From {clock(start_s)} to {clock(end_s)}"
    if not events:
        return f"{stretch} nothing changes that could be named."
    told = [f"at {clock(event.span.start_s)} {event.text}" for event in events]
    if len(told) <= _TOLD_ONE_BY_ONE:
        return f"{stretch}: {', '.join(told)}."
    kinds = Counter(next((verb for verb in _VERBS if verb in event.text), "happens") for event in events)
    counts = ", ".join(f"{count} times something {verb}" for verb, count in kinds.most_common())
    return f"{stretch} there are {len(events)} events: {counts}. First, {told[0]}; last, {told[-1]}."


_VERBS = ("disappears", "appears", "turns", "becomes", "moves", "changes")


def chapters(
    eyes: Eyes, purse: Purse, start_s: float, end_s: float, *, on_progress: OnProgress | None
) -> tuple[list[Chapter], int]:
    """(chapters in order of time without gaps, changes nobody looked at)."""
    line = timeline.tell(eyes, purse, start_s, end_s, on_progress=on_progress)
    borders = [start_s, *boundaries(eyes.index.changes, start_s, end_s), end_s]
    found = []
    for first_s, last_s in zip(borders, borders[1:], strict=False):
        inside = [event for event in line.events if first_s <= event.span.start_s < last_s]
        span = TimeSpan(start_s=first_s, end_s=last_s)
        text = composed(inside, first_s, last_s)
        found.append(Chapter(span=span, title=_title(eyes, purse, line.events, inside, span), summary=text))
    return found, line.num_unseen


def boundaries(changes: Sequence[Change], start_s: float, end_s: float) -> list[float]:
    """Where chapters end: at the largest changes that are far enough apart, ascending."""
    length_s = end_s - start_s
    wanted = min(MAX_CHAPTERS, max(2, round(length_s / SECONDS_PER_CHAPTER)))
    apart_s = length_s / wanted / 2
    found: list[float] = []
    ranked = sorted(changes, key=lambda change: (change.share < CUT_SHARE, -change.share))
    for change in ranked:
        if len(found) >= wanted - 1:
            break
        is_apart = all(abs(change.time_s - other) >= apart_s for other in (start_s, end_s, *found))
        if is_apart and start_s < change.time_s < end_s:
            found.append(change.time_s)
    return sorted(found)


def _title(eyes: Eyes, purse: Purse, events: Sequence[VideoEvent], inside: Sequence[VideoEvent], span: TimeSpan) -> str:
    end_s = span.end_s if span.end_s is not None else span.start_s
    if eyes.numbers.is_wide:
        look = _overview_look(eyes, span.start_s, end_s, 16)
        prompt = prompts.TITLE.format(**_told(eyes, events), start=clock(span.start_s), end=clock(end_s))
        answer = purse.ask(look, prompt, max_tokens=TITLE_TOKENS)
    elif inside:
        answer = _things(inside)
    else:
        answer = purse.ask(
            _overview_look(eyes, span.start_s, end_s, eyes.numbers.num_frames), prompts.BRIEF, max_tokens=TITLE_TOKENS
        )
    lines = (answer or "").strip().splitlines()
    return (
        lines[0].strip(" #*\"'.")[:120] if lines and lines[0].strip(" #*\"'.") else f"Part from {clock(span.start_s)}"
    )


def _things(events: Sequence[VideoEvent]) -> str:
    """The first three things that events speak of."""
    things = [re.sub(r"^(?:an?|the) | (?:appears|disappears|turns .*|becomes .*)$", "", event.text) for event in events]
    different = list(dict.fromkeys(things))
    more = f" and {len(different) - 3} more" if len(different) > 3 else ""
    told = ", ".join(different[:3]) + more
    return told[:1].upper() + told[1:]


def texts(
    eyes: Eyes, purse: Purse, start_s: float, end_s: float, *, on_progress: OnProgress | None
) -> tuple[list[ScreenText], int]:
    """(texts in order of time, changes nobody looked at). Of equal texts behind each other one span is made."""
    looks, num_unseen = _reading_looks(eyes, purse, start_s, end_s, on_progress)
    asked = [(look, prompts.READ, f"read {place}") for look, _, place in looks]
    answers = purse.ask_many(asked, max_tokens=TEXT_TOKENS)
    found: list[ScreenText] = []
    for (_, span, _), answer in zip(looks, answers, strict=True):
        if answer is None:
            num_unseen += 1
            continue
        if _NO_TEXT.fullmatch(answer.strip()):
            continue
        last = found[-1] if found else None
        if last is not None and _plain(last.text) == _plain(answer):
            joined = TimeSpan(start_s=last.span.start_s, end_s=max(last.span.end_s or 0.0, span.end_s or 0.0))
            found[-1] = ScreenText(span=joined, text=last.text)
        else:
            found.append(ScreenText(span=span, text=answer.strip()))
    return found, num_unseen


def _reading_looks(
    eyes: Eyes, purse: Purse, start_s: float, end_s: float, on_progress: OnProgress | None
) -> tuple[list[tuple[Look, TimeSpan, Place]], int]:
    """The pictures that may hold text: whole ones between changes, or cut-out words for a small context."""
    facts = eyes.index.facts
    there = [change for change in eyes.index.changes if start_s <= change.time_s < end_s]
    found: list[tuple[Look, TimeSpan, Place]] = []
    num_unseen = 0
    if eyes.numbers.is_wide:
        size = look_size(facts.width, facts.height, min(READ_PX, facts.width * facts.height * 2))
        begins = [start_s, *(change.time_s for change in there if change.time_s > start_s + 0.5)]
        for first_s, last_s in zip(begins, [*begins[1:], end_s], strict=True):
            look = eyes.still(min(first_s + 0.2, (first_s + last_s) / 2), _WHOLE, size)
            if look is not None:
                found.append((look, TimeSpan(start_s=first_s, end_s=last_s), _WHOLE))
        return found, 0
    line = timeline.tell(eyes, purse, start_s, end_s, on_progress=on_progress)
    num_unseen = line.num_unseen
    for event in line.events:
        change = change_at(eyes, event.span.start_s)
        if change is None or change.kind == "disappears" or not re.search(r"\b(?:word|text|scene)\b", event.text):
            continue
        place = _WHOLE if change.kind == "cut" else _widened(change.place)
        width, height = (place[2] - place[0]) * facts.width, (place[3] - place[1]) * facts.height
        size = look_size(width, height, 448 * 256)
        if width > 1.5 * height and change.kind != "cut":
            size = (min(_LONGEST_LINE_PX, max(32, round(width / height) * 32)), _LINE_PX)
        look = eyes.still(change.time_s + 0.2, place, size)
        if look is not None:
            found.append((look, with_end(eyes, event, end_s).span, place))
    return found, num_unseen


def _widened(place: Place) -> Place:
    x, y = (place[2] - place[0]) * _MARGIN, (place[3] - place[1]) * _MARGIN
    return max(0.0, place[0] - x), max(0.0, place[1] - y), min(1.0, place[2] + x), min(1.0, place[3] + y)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _overview_look(eyes: Eyes, start_s: float, end_s: float, num_frames: int) -> Look:
    """Frames of the index, evenly over a stretch, at the rate that they have on average."""
    there = [n for n, time_s in enumerate(eyes.index.times_s) if start_s <= time_s < end_s]
    chosen = spread(there or [eyes.index.nearest(start_s)], max(2, num_frames))
    return eyes.coarse(chosen)


def _told(eyes: Eyes, events: Sequence[VideoEvent]) -> dict[str, str]:
    text = timeline.listed(events, max_chars=int(eyes.numbers.context / 4 * CHARS_PER_TOKEN))
    return {"length": clock(eyes.index.facts.duration_s), "events": text or "(none)"}
