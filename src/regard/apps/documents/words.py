"""Text and the words of the ink it was read from: which is where.

A line's ink falls into words; what a model read of it is text. Where both have as many words they are matched one to
one. Where they have not (a word was missed, or two were read as one), each word of the text gets its share of the
line's ink by the widths of its letters, moved to the nearest gap if one is near.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from regard.apps.documents.result import Word

Rect = tuple[float, float, float, float]

_NARROW, _WIDE = set("iljtfrI.,:;'|!()[]-\"`"), set("mwMW%@&")


def place_words(text: str, boxes: Sequence[Rect]) -> tuple[Word, ...]:
    """The words of a line of text at the places of its ink's words. All have the line's height."""
    words = text.split()
    if not words or not boxes:
        return ()
    top, bottom = min(box[1] for box in boxes), max(box[3] for box in boxes)
    spans = _spans(words, [(box[0], box[2]) for box in boxes])
    return tuple(
        Word(text=word, box=(round(x1, 1), round(top, 1), round(x2, 1), round(bottom, 1)))
        for word, (x1, x2) in zip(words, spans, strict=True)
    )


def _spans(words: Sequence[str], ink: list[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(words) == len(ink):
        return ink
    # Places along the ink, gaps left out: a word's share of the letters is its share of the ink.
    total = sum(end - start for start, end in ink)
    widths = [width_of(word) for word in words]
    ends, at = [], 0.0
    for width in widths:
        at += width / sum(widths) * total
        ends.append(at)
    gaps, at = [], 0.0
    for start, end in ink:
        at += end - start
        gaps.append(at)
    near = 0.35 * total / max(len(words), 1)
    cuts: list[float] = []
    for end in ends[:-1]:
        gap = min(gaps, key=lambda gap: abs(gap - end))
        cuts.append(gap if abs(gap - end) <= near and (not cuts or gap > cuts[-1]) else end)
    spans = []
    for low, high in zip([0.0, *cuts], [*cuts, total], strict=True):
        high = max(high, low)
        spans.append((_place(ink, low, is_start=True), _place(ink, high, is_start=False)))
    return [(min(a, b), max(a, b)) for a, b in spans]


def _place(ink: Sequence[tuple[float, float]], at: float, *, is_start: bool) -> float:
    """Where a place along the ink is on the line; at a gap, a start is behind it and an end before it."""
    for start, end in ink:
        width = end - start
        if at < width - 1e-6 or (not is_start and at <= width + 1e-6):
            return start + at
        at -= width
    return ink[-1][1]


def width_of(word: str) -> float:
    """About how wide a word is, in ems."""
    wide = sum(1.0 if letter > "\u2e7f" else 0.3 if letter in _NARROW else 0.85 if letter in _WIDE else
               0.65 if letter.isupper() else 0.5 for letter in word)  # fmt: skip
    return max(wide, 0.2)


SKIP_WORD, SKIP_INK = 0.7, 0.5  # what it costs to leave one without a partner; a word of twice the width costs 0.7
BAND = 80  # words that text and ink may have drifted apart


def align(words: Sequence[str], ink: Sequence[Rect], ems: Sequence[float]) -> list[tuple[str, Rect]]:
    """Words of running text at the words of the ink, in order; those without ink share their neighbour's place.

    `ems` are the sizes of the letters of each word of the ink, in pixels.
    """
    if not words or not ink:
        return []
    if len(words) == len(ink):
        return list(zip(words, ink, strict=True))
    partner = _partners(words, ink, ems)
    groups: list[tuple[int, list[str]]] = []
    for word, place in zip(words, partner, strict=True):
        if place is not None and groups and groups[0][0] < 0:
            groups[0] = (place, [*groups[0][1], word])
        elif place is not None or not groups:
            groups.append((-1 if place is None else place, [word]))
        else:
            groups[-1][1].append(word)
    placed: list[tuple[str, Rect]] = []
    for place, some in groups:
        x1, y1, x2, y2 = ink[max(place, 0)]
        total, at = sum(map(width_of, some)), x1
        for word in some:
            end = at + (x2 - x1) * width_of(word) / total
            placed.append((word, (at, y1, end, y2)))
            at = end
    return placed


def _partners(words: Sequence[str], ink: Sequence[Rect], ems: Sequence[float]) -> list[int | None]:
    """For each word the number of its ink: the cheapest way through both in order."""
    want = [width_of(word) for word in words]
    have = [max((box[2] - box[0]) / max(em, 1.0), 0.1) for box, em in zip(ink, ems, strict=True)]
    far = 1e18
    slope = len(ink) / len(words)
    band = BAND + abs(len(ink) - len(words))
    before = [number * SKIP_INK for number in range(len(ink) + 1)]
    steps: list[dict[int, int]] = []
    for row, width in enumerate(want):
        low, high = max(0, int(row * slope) - band), min(len(ink), int(row * slope) + band)
        costs, step = [far] * (len(ink) + 1), {}
        for column in range(low, high + 1):
            best, choice = before[column] + SKIP_WORD, 0
            if column > low and costs[column - 1] + SKIP_INK < best:
                best, choice = costs[column - 1] + SKIP_INK, 1
            if column > 0:
                matched = before[column - 1] + min(abs(math.log(width / have[column - 1])), 1.5)
                if matched < best:
                    best, choice = matched, 2
            costs[column], step[column] = best, choice
        steps.append(step)
        before = costs
    partner: list[int | None] = [None] * len(words)
    row, column = len(words), min(range(len(ink) + 1), key=lambda n: before[n] + (len(ink) - n) * SKIP_INK)
    while row > 0:
        choice = steps[row - 1].get(column, 0)
        if choice == 2:
            partner[row - 1] = column - 1
        row, column = row - (choice != 1), column - (choice != 0)
    return partner


_HYPHEN = re.compile(r"(?<=[^\W\d_]{2})[-\u2010\u00ad]$")


def joined(lines: Sequence[str]) -> str:
    """Lines of a paragraph as running text; a word that was divided at the end of a line is put together."""
    text = ""
    for line in (line.strip() for line in lines):
        if not line:
            continue
        if text and _HYPHEN.search(text) and line[0].islower():
            text = text[:-1] + line
        elif text and text[-1] > "\u2e7f" and line[0] > "\u2e7f":
            text += line  # Chinese and Japanese are written without spaces
        else:
            text = f"{text} {line}" if text else line
    return text
