"""Reading answers: what a reply says, when it may say it in its own words.

A small model answers "left"; a large one "The red circle is to the left of the blue square.". Both are read the
same way: the first mention counts, so that a reply that lists everything gains nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rapidfuzz.distance import Levenshtein

_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NONE_WORDS = ("no", "none")
_CLOCK = re.compile(r"\b(?:(\d+):)?(\d{1,2}):(\d{2}(?:\.\d+)?)\b")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")

Box = Sequence[float]  # x1, y1, x2, y2


def char_error(text: str, truth: str) -> float:
    """Edits (insert, delete, replace) per true character; above 1 if the reply is far too long.

    White space at the ends does not count, and a run of white space counts as one blank.
    """
    wanted, given = " ".join(truth.split()), " ".join(text.split())
    return Levenshtein.distance(given, wanted) / max(len(wanted), 1)


def first_mention(text: str, choices: Iterable[str]) -> str | None:
    """The choice that is named first, as whole words in any case; the longer one where two start together."""
    found: list[tuple[int, int, str]] = []
    for choice in choices:
        match = re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", text, re.IGNORECASE)
        if match is not None:
            found.append((match.start(), -len(choice), choice))
    return min(found)[2] if found else None


def first_count(text: str) -> int | None:
    """The first whole number, as digits or as a word up to ten; 'no' and 'none' are 0."""
    digits = re.search(r"(?<![\w.])\d+(?![\w]|\.\d)", text)
    word = first_mention(text, (*_NUMBER_WORDS, *_NONE_WORDS))
    if word is None:
        return int(digits[0]) if digits else None
    if digits and digits.start() < text.lower().index(word):
        return int(digits[0])
    return 0 if word in _NONE_WORDS else _NUMBER_WORDS.index(word)


def first_time_s(text: str) -> float | None:
    """The first moment: seconds ('3.5', '3.5 seconds') or a clock ('0:03.5', '1:02:03')."""
    clock, number = _CLOCK.search(text), _NUMBER.search(text)
    if clock and (number is None or clock.start() <= number.start()):
        return int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + float(clock[3])
    return float(number[0]) if number else None


def is_inside(x: float, y: float, box: Box) -> bool:
    """Whether a point lies in a box, borders included."""
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def intersection_over_union(a: Box, b: Box) -> float:
    """Shared area of two boxes over the area of both; 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def f1(num_right: int, num_given: int, num_wanted: int) -> float:
    """Harmonic mean of precision and recall; 1 if nothing was wanted and nothing given."""
    return 2 * num_right / (num_given + num_wanted) if num_given + num_wanted else 1.0
