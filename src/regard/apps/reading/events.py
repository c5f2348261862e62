"""What happens when: lists, objects keyed by time, and prose, as events with seconds.

Times are read in every spelling the family writes: `mm:ss.ff` (also above an hour, as in 75:30), `hh:mm:ss`,
`00:01:02,500`, `3.0 seconds`, `<3.0 seconds>`, `1h 2m 3s`, plain seconds. Ends before their start are swapped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from regard.apps.reading.objects import read_items
from regard.apps.reading.read import Read, outside

_START_KEYS = ("start_time", "start", "begin", "begin_time", "from", "start_s", "start_seconds", "start_timestamp")
_END_KEYS = ("end_time", "end", "stop", "to", "end_s", "end_seconds", "end_timestamp", "until")
_SPAN_KEYS = ("time", "timestamp", "time_range", "timestamps", "interval", "segment", "span", "range", "time_span", "t")
_TEXT_KEYS = ("description", "event", "text", "caption", "label", "activity", "action", "title", "summary", "sentence",
              "content", "name", "answer")  # fmt: skip
_MAX_S = 1e7

_CLOCK = r"\d{1,5}:\d{1,2}(?::\d{1,2})?(?:[.,]\d{1,6})?"
_WORDY = (
    r"(?:\d{1,4}\s*(?:hours?|hrs?|h)\s*)?(?:\d{1,5}\s*(?:minutes?|mins?|m)\s*)?"
    r"\d{1,8}(?:\.\d{1,6})?\s*(?:seconds?|secs?|s)\b"
)
_COARSE = r"\d{1,4}\s*(?:hours?|hrs?|h)(?:\s*\d{1,5}\s*(?:minutes?|mins?|m))?\b|\d{1,5}\s*(?:minutes?|mins?)\b"
_PLAIN = r"\d{1,8}(?:\.\d{1,6})?"
_TIME = rf"(?:{_CLOCK}|{_WORDY}|{_COARSE})"
_JOIN = r"\s*>?\s*(?:-+>?|\u2013|\u2014|~|\u2192|\u81f3|\u5230|to|until|till|and|through)\s*<?\s*"
_RANGE = re.compile(rf"(?P<start>{_TIME}|{_PLAIN})>?{_JOIN}(?P<end>{_TIME})", re.IGNORECASE)
_PLAIN_RANGE = re.compile(
    rf"\s*[\[(<]?\s*(?P<start>{_PLAIN})\s*s?{_JOIN}(?P<end>{_PLAIN})\s*s?\s*[\])>]?\s*", re.IGNORECASE
)
_MOMENT = re.compile(_TIME, re.IGNORECASE)
_CLOCK_PARTS = re.compile(r"(\d{1,5}):(\d{1,2})(?::(\d{1,2}))?(?:[.,](\d{1,6}))?")
_WORDY_PARTS = re.compile(
    r"(?:(\d{1,4})\s*(?:hours?|hrs?|h)\s*)?(?:(\d{1,5})\s*(?:minutes?|mins?|m)\s*)?"
    r"(?:(\d{1,8}(?:\.\d{1,6})?)\s*(?:seconds?|secs?|s)?)?",
    re.IGNORECASE,
)
_EDGE = ' \t\r*#>-\u2013\u2014:;,.|[]()<\u3001\uff1a"'
_HANGING = re.compile(
    r"\b(?:(?:happens|occurs|takes place|is seen|is shown|lasts|starts|begins)\s+)?(?:from|between|at|in|during)$"
)
_MAX_LINE = 4000


@dataclass(frozen=True)
class RawEvent:
    """Something that happens from `start_s` to `end_s` (None: at a moment), in seconds as the model counts them."""

    start_s: float
    end_s: float | None
    text: str
    extra: dict[str, Any] = field(default_factory=dict)


def parse_clock(value: Any) -> float | None:
    """A time in any of the spellings, in seconds; None if it is none, or beyond a hundred days."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if 0 <= value <= _MAX_S else None
    if not isinstance(value, str) or len(value) > 60:
        return None
    text = value.strip().strip("<>[]() \t\"'").strip()
    if clock := _CLOCK_PARTS.fullmatch(text):
        fields = [int(part) for part in clock.groups()[:3] if part is not None]
        seconds = 0.0
        for part in fields:
            seconds = seconds * 60 + part
        seconds += float(f"0.{clock[4]}") if clock[4] else 0.0
        return seconds if seconds <= _MAX_S else None
    wordy = _WORDY_PARTS.fullmatch(text)
    if wordy is None or not any(wordy.groups()):
        return None
    seconds = 3600 * int(wordy[1] or 0) + 60 * int(wordy[2] or 0) + float(wordy[3] or 0)
    return seconds if seconds <= _MAX_S else None


def read_events(text: str) -> Read[list[RawEvent]]:
    """All events of an answer, in its order; empty if no time is told."""
    found = read_items(text)
    repairs = list(found.repairs)
    events = [event for item in found.value if (event := _of_object(item)) is not None]
    if not events:
        repairs = []
        events = [event for line in outside(text).splitlines() for event in _of_line(line[:_MAX_LINE])]
        if events:
            repairs.append("read the times out of prose")
    ordered = [
        event if event.end_s is None or event.end_s >= event.start_s
        else RawEvent(event.end_s, event.start_s, event.text, event.extra)
        for event in events
    ]  # fmt: skip
    num_swapped = sum(old is not new for old, new in zip(events, ordered, strict=True))
    if num_swapped:
        repairs.append(f"swapped start and end of {num_swapped} event{'s' * (num_swapped > 1)}")
    return Read(ordered, tuple(repairs))


def _of_object(item: dict[str, Any]) -> RawEvent | None:
    keys = {key.lower().replace(" ", "_"): key for key in item}
    start_key = next((keys[key] for key in _START_KEYS if key in keys), None)
    end_key = next((keys[key] for key in _END_KEYS if key in keys), None)
    span_key = next((keys[key] for key in _SPAN_KEYS if key in keys), None)
    text_key = next((keys[key] for key in _TEXT_KEYS if key in keys and isinstance(item[keys[key]], str)), None)
    start, end = (parse_clock(item[key]) if key else None for key in (start_key, end_key))
    used = {start_key, end_key, text_key}
    if start is None and span_key is not None:
        start, end = _span(item[span_key])
        used.add(span_key)
    elif start is None and start_key is not None:
        start, end = _span(item[start_key])
    if start is None:
        return None
    extra = {key: value for key, value in item.items() if key not in used}
    return RawEvent(start, end, str(item[text_key]).strip() if text_key else "", extra)


def _span(value: Any) -> tuple[float | None, float | None]:
    """Start and end of "a - b", [a, b], {"start": a, "end": b} or a moment."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        times = [parse_clock(one) for one in value[:2]]
        return (times[0] if times else None), (times[1] if len(times) > 1 else None)
    if isinstance(value, str):
        found = _PLAIN_RANGE.fullmatch(value[:200]) or _RANGE.search(value[:200])
        if found:
            return parse_clock(found["start"]), parse_clock(found["end"])
    return parse_clock(value), None


def _of_line(line: str) -> list[RawEvent]:
    """The events of a line of prose: what is left of it when the times are taken out is their text."""
    ranges = list(_RANGE.finditer(line))
    if not ranges:
        moments = [moment for moment in _MOMENT.finditer(line) if parse_clock(moment[0]) is not None]
        if len(moments) > 1 and not line[: moments[0].start()].strip(_EDGE):
            moments = moments[:1]
        return [RawEvent(parse_clock(m[0]) or 0.0, None, _without(line, m.start(), m.end())) for m in moments]
    events = []
    for number, found in enumerate(ranges):
        start, end = parse_clock(found["start"]), parse_clock(found["end"])
        if start is None or end is None:
            continue
        text = _without(line, found.start(), found.end())
        if len(ranges) > 1:
            following = ranges[number + 1].start() if number + 1 < len(ranges) else len(line)
            text = line[found.end() : following].strip(_EDGE) or text
        events.append(RawEvent(start, end, text))
    return events


def _without(line: str, start: int, end: int) -> str:
    before, after = line[:start].strip(_EDGE), line[end:].strip(_EDGE)
    before = before if len(before) > 500 else _HANGING.sub("", before, count=1).strip(_EDGE)
    if not before or before.isdigit() or before.lower() in ("from", "between", "at", "in"):
        return after
    return f"{before} {after}".strip() if after else before
