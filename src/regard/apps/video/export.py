"""Reports as WebVTT and SRT: chapters, texts or events as cues that players show and jump to.

Cues are in order of time and last at least `SHORTEST_S`; a moment lasts until the next cue, `LONGEST_S` at most.
"""

from __future__ import annotations

import re

from regard.apps.video.result import VideoReport

SHORTEST_S, LONGEST_S = 0.5, 3.0


def to_vtt(report: VideoReport) -> str:
    """The report as WebVTT. Source: W3C WebVTT, Candidate Recommendation of 2019."""
    lines = ["WEBVTT", ""]
    for number, (start_s, end_s, text) in enumerate(_cues(report), start=1):
        lines += [str(number), f"{_stamp(start_s, '.')} --> {_stamp(end_s, '.')}", _escaped(text), ""]
    return "\n".join(lines)


def to_srt(report: VideoReport) -> str:
    """The report as SubRip."""
    lines = []
    for number, (start_s, end_s, text) in enumerate(_cues(report), start=1):
        lines += [str(number), f"{_stamp(start_s, ',')} --> {_stamp(end_s, ',')}", _one_block(text), ""]
    return "\n".join(lines)


def _cues(report: VideoReport) -> list[tuple[float, float, str]]:
    """(start, end, text) in seconds, in order, each with an end."""
    cues = sorted(report.cues(), key=lambda cue: cue[0].start_s)
    found = []
    for number, (span, text) in enumerate(cues):
        end_s = span.end_s
        if end_s is None:
            next_s = cues[number + 1][0].start_s if number + 1 < len(cues) else span.start_s + LONGEST_S
            end_s = min(next_s, span.start_s + LONGEST_S)
        found.append((span.start_s, max(end_s, span.start_s + SHORTEST_S), text))
    return found


def _stamp(seconds: float, point: str) -> str:
    """hh:mm:ss and milliseconds."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{point}{milliseconds:03d}"


def _one_block(text: str) -> str:
    """Without empty lines, which would end the cue, and without a line that looks like a time."""
    lines = [line.strip().replace("-->", "->") for line in text.splitlines() if line.strip()]
    return "\n".join(re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", line) for line in lines) or "-"


def _escaped(text: str) -> str:
    return _one_block(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
