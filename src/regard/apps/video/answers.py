"""Answers to questions, from the timeline and a finer look: see `watch`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from regard.apps.result import Progress, TimeSpan, clock
from regard.apps.video import prompts, timeline, words
from regard.apps.video.looks import Eyes, Look
from regard.apps.video.purse import CHARS_PER_TOKEN, Purse
from regard.apps.video.result import VideoEvent
from regard.apps.video.second_look import change_at, checked, look_around, with_end, without_ends

ANSWER_TOKENS, LONG_ANSWER_TOKENS = 48, 1024
MAX_CHECKED = 10  # events of a search that get a second look
_TRIED = 3  # events that a question may mean
_CITED_S = 2.0
_AT_S = 2.0
_DIGEST_FRAMES = 2  # before and after each event

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Found:
    """An answer, the events it rests on, and how many changes nobody looked at."""

    text: str
    events: list[VideoEvent]
    num_unseen: int = 0


def answer(
    eyes: Eyes, purse: Purse, question: str, start_s: float, end_s: float, *, on_progress: OnProgress | None
) -> Found:
    """Answer a question about the stretch from `start_s` to `end_s`."""
    kind = words.kind_of(question)
    named = words.time_in(question)
    if named is not None and kind != "when" and start_s <= named[0] < end_s and not eyes.numbers.is_wide:
        return _at(eyes, purse, question, *named)
    line = timeline.tell(eyes, purse, start_s, end_s, on_progress=on_progress)
    if eyes.numbers.is_wide:
        return _wide(eyes, purse, question, line, start_s, end_s)
    texts = [event.text for event in line.events]
    if kind == "count":
        counted = [line.events[number] for number in words.counted(question, texts)]
        return Found(str(len(counted)), counted, line.num_unseen)
    if kind == "order" and (found := _order(question, line.events)) is not None:
        return replace(found, num_unseen=line.num_unseen)
    fitting = [line.events[number] for number, _ in words.fits(question, texts)]
    if kind == "when" and fitting:
        return replace(_when(eyes, purse, question, fitting), num_unseen=line.num_unseen)
    return replace(_digest(eyes, purse, question, fitting, start_s, end_s), num_unseen=line.num_unseen)


def find(
    eyes: Eyes, purse: Purse, query: str, start_s: float, end_s: float, *, on_progress: OnProgress | None
) -> Found:
    """The intervals of a stretch in which something happens, the best first."""
    line = timeline.tell(eyes, purse, start_s, end_s, on_progress=on_progress)
    scored = words.fits(query, [event.text for event in line.events])
    best = scored[0][1] if scored else 0.0
    hits = [
        line.events[number].model_copy(update={"confidence": round(score, 3)})
        for number, score in scored
        if score >= 0.75 * best
    ]
    hits = [with_end(eyes, event, end_s) for event in without_ends(hits, query)]
    done = [checked(eyes, purse, event) for event in hits[:MAX_CHECKED]] + hits[MAX_CHECKED:]
    text = "\n".join(f"{event.span.text} {event.text}" for event in done) or f"nothing fits {query!r}"
    return Found(text, done, line.num_unseen)


def _when(eyes: Eyes, purse: Purse, question: str, fitting: Sequence[VideoEvent]) -> Found:
    """The event that fits best, and among equals one that a second look confirms."""
    fitting = [_its_end(eyes, question, event) for event in fitting]
    best = max(words.fit(question, event.text) for event in fitting)
    tried = [event for event in fitting if words.fit(question, event.text) >= best - 1e-6][:_TRIED]
    looked = [checked(eyes, purse, event, question) for event in tried]
    event = next((one for one in looked if one.checked == "looked"), looked[0])
    return Found(f"at {clock(event.span.start_s)}: {event.text}", [event])


def _its_end(eyes: Eyes, question: str, event: VideoEvent) -> VideoEvent:
    """For a question about disappearing, the end of what was only named when it appeared: the next change there."""
    verbs = set(words.stems(event.text)) & {"appear", "disappear"}
    if "disappear" not in words.stems(question) or verbs != {"appear"}:
        return event
    last_s = eyes.index.facts.duration_s
    end_s = with_end(eyes, event, last_s).span.end_s
    if end_s is None or end_s >= last_s:
        return event
    text = words.told(event.text.removesuffix(" appears"), "disappears")
    return event.model_copy(update={"span": TimeSpan(start_s=end_s), "text": text, "checked": "pixels"})


def _at(eyes: Eyes, purse: Purse, question: str, time_s: float, place: tuple[int, int]) -> Found:
    """A question that names a time: what changes there is named, anything else is asked about the frames there."""
    change = change_at(eyes, time_s, _AT_S)
    asks_what_happens = set(words.stems(question[: place[0]] + question[place[1] :])) <= {"appear", "disappear", "turn"}
    if change is not None and asks_what_happens:
        line = timeline.tell(eyes, purse, change.time_s, change.time_s + 1e-3)
        if line.events:
            return Found(line.events[0].text, [checked(eyes, purse, line.events[0])])
    look = look_around(eyes, time_s)
    told = f"{look.told_s(time_s):.1f}"
    rest = question[place[1] :]
    unit = "" if rest.lstrip().lower().startswith(("s ", "sec", "s?")) or question[place[1] - 1] == "s" else " seconds"
    asked = question[: place[0]] + told + unit + rest
    text = purse.ask(look, asked, max_tokens=ANSWER_TOKENS, key="at")
    return _with_times(look, text, time_s)


def _order(question: str, events: Sequence[VideoEvent]) -> Found | None:
    """Which of two things comes first."""
    halves = words.halves(question)
    if halves is None:
        return None
    found = []
    for half in halves:
        scored = words.fits(f"{half} appears", [event.text for event in events], at_least=0.75)
        if not scored:
            return None
        found.append((events[scored[0][0]], half))
    first = min(found, key=lambda pair: pair[0].span.start_s)
    return Found(first[1], [event for event, _ in found])


def _digest(
    eyes: Eyes, purse: Purse, question: str, fitting: Sequence[VideoEvent], start_s: float, end_s: float
) -> Found:
    """Ask about few frames: before and after the events that fit, or else spread over the stretch."""
    size = eyes.numbers.num_frames
    chosen = sorted(fitting[: size // (2 * _DIGEST_FRAMES)], key=lambda event: event.span.start_s)
    times: list[float] = []
    for event in chosen:
        at_s = event.span.start_s
        times += [max(0.0, at_s - 1.0), max(0.0, at_s - 0.5), at_s, min(at_s + 0.5, eyes.index.facts.duration_s)]
    if times:
        look = eyes.fine(sorted(times), fps=1.0)
    else:
        there = [n for n, time_s in enumerate(eyes.index.times_s) if start_s <= time_s < end_s]
        there = there or [eyes.index.nearest(start_s)] * 2
        look = eyes.coarse(spread(there, size))
    text = purse.ask(look, question, max_tokens=ANSWER_TOKENS, key="digest")
    found = _with_times(look, text, None)
    return replace(found, events=found.events or list(chosen))


def _wide(eyes: Eyes, purse: Purse, question: str, line: timeline.Timeline, start_s: float, end_s: float) -> Found:
    """Ask with the list of events and dated frames; what is cited is looked at again."""
    named = words.time_in(question)
    fitting = [line.events[number] for number, _ in words.fits(question, [e.text for e in line.events], at_least=0.3)]
    times = [event.span.start_s for event in fitting]
    if named is not None and start_s <= named[0] < end_s:
        times.insert(0, named[0])
    num_frames = max(4, eyes.numbers.num_frames // 4)  # a dated picture costs twice a clip's
    if times:
        last_s = eyes.index.facts.duration_s
        near = sorted({min(max(0.0, t + d), last_s) for t in times[: num_frames // 4] for d in (-1.0, 0.0, 1.0, 2.0)})
        look = eyes.fine(near)
    else:
        there = [n for n, time_s in enumerate(eyes.index.times_s) if start_s <= time_s < end_s]
        look = eyes.coarse(spread(there or [eyes.index.nearest(start_s)], num_frames))
    events = timeline.listed(line.events, max_chars=int(eyes.numbers.context / 4 * CHARS_PER_TOKEN))
    prompt = prompts.QUESTION.format(
        length=clock(eyes.index.facts.duration_s), events=events or "(none)", question=question
    )
    text = purse.ask(replace(look, is_dated=True), prompt, max_tokens=LONG_ANSWER_TOKENS)
    if text is None:
        return Found(_no_budget(purse), [], line.num_unseen)
    cited = [time_s for time_s in words.times_of(text) if start_s - _CITED_S <= time_s <= end_s + _CITED_S]
    events_cited: list[VideoEvent] = []
    for time_s in dict.fromkeys(cited):
        near_events = [event for event in line.events if abs(event.span.start_s - time_s) <= _CITED_S]
        event = min(near_events, key=lambda one: abs(one.span.start_s - time_s), default=None)
        event = event or VideoEvent(span=TimeSpan(start_s=time_s), text=question)
        if event.span not in [other.span for other in events_cited]:
            events_cited.append(checked(eyes, purse, event) if len(events_cited) < MAX_CHECKED else event)
    return Found(text, events_cited, line.num_unseen)


def _with_times(look: Look, text: str | None, time_s: float | None) -> Found:
    """An answer with its seconds turned into the clip's."""
    if text is None:
        return Found("not asked: the budget was used up before", [])
    times = [look.true_s(told_s) for told_s in words.times_of(text)]
    if not times:
        events = [] if time_s is None else [VideoEvent(span=TimeSpan(start_s=time_s), text=text)]
        return Found(text, events)
    told = ", ".join(clock(one) for one in times)
    return Found(f"at {told}", [VideoEvent(span=TimeSpan(start_s=one), text=text) for one in times])


def _no_budget(purse: Purse) -> str:
    return f"not answered: {purse.tokens} of {purse.budget} tokens were used before the question could be asked"


def spread(numbers: Sequence[int], count: int) -> list[int]:
    """At most `count` of the numbers, evenly, the first and the last among them."""
    if len(numbers) <= count:
        return list(numbers)
    return [numbers[round(i * (len(numbers) - 1) / max(1, count - 1))] for i in range(count)]
