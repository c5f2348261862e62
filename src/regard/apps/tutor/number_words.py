"""English number words as digits: "twenty-five" -> 25, "two and a half" -> 2.5, "half of ten" -> (1/2) * 10."""

from __future__ import annotations

import re

_SMALL_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: value for value, word in enumerate(_SMALL_WORDS.split())} | {"nought": 0, "dozen": 12}
_TENS = {word: 10 * value for value, word in enumerate(_TENS_WORDS.split(), start=2)} | {"fourty": 40}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6}
_WORDS = "|".join((*_SMALL, *_TENS, *_SCALES))
_NUMBER = re.compile(
    rf"\b(?:a(?=\s+(?:hundred|thousand|million|dozen)\b)|{_WORDS})(?:(?:[\s-]+and[\s-]+|[\s-]+)(?:{_WORDS}))*\b"
)
_NO_NUMBER = re.compile(r"\bone\s+(?:by\s+one|after\s+(?:another|the\s+other)|at\s+a\s+time)\b")
_POINT = re.compile(r"(\d+)\s+point((?:\s+\d+)+)\b")
_PHRASES = (
    (re.compile(r"(\d+)\s+and\s+a\s+half\b"), r"\1.5"),
    (re.compile(r"(\d+)\s+and\s+a\s+quarter\b"), r"\1.25"),
    (re.compile(r"(\d+)\s+and\s+(?:three|3)\s+quarters\b"), r"\1.75"),
    (re.compile(r"\b(?:three|3)\s+quarters?\b"), "0.75"),
    (re.compile(r"\b(?:the\s+)?square\s+root\s+of\s+"), " sqrt "),
    (re.compile(r"\b(?:the\s+)?cube\s+of\s+(\d+(?:\.\d+)?)"), r"\1^3"),
    (re.compile(r"\b(?:the\s+)?square\s+of\s+(\d+(?:\.\d+)?)"), r"\1^2"),
    (re.compile(r"(\d)\s+squared\b"), r"\1^2"),
    (re.compile(r"(\d)\s+cubed\b"), r"\1^3"),
    (re.compile(r"\bdivided\s+by\b"), "/"),
    (re.compile(r"\bmultiplied\s+by\b"), "*"),
    (re.compile(r"\b(?:one\s+|a\s+)?half\s+(?:of\s+)?(?=\d)"), " (1/2) * "),
    (re.compile(r"\b(?:twice|double)\s+(?:of\s+)?(?=\d)"), " 2 * "),
    (re.compile(r"\b(?:the\s+)?sum\s+of\s+(\d+(?:\.\d+)?)\s+and\s+(\d+(?:\.\d+)?)"), r" \1 + \2 "),
    (re.compile(r"\b(?:the\s+)?product\s+of\s+(\d+(?:\.\d+)?)\s+and\s+(\d+(?:\.\d+)?)"), r" \1 * \2 "),
    (re.compile(r"\b(?:the\s+)?difference\s+(?:of|between)\s+(\d+(?:\.\d+)?)\s+and\s+(\d+(?:\.\d+)?)"), r" \1 - \2 "),
)


def digits_for_words(text: str) -> str:
    """The text with number words as digits, followed by the text itself, since a phrase may be read in two ways."""
    readings = [text]
    lowered = _NO_NUMBER.sub("in turn", text.lower())
    lowered = _NUMBER.sub(lambda found: f" {_value(found[0])} ", lowered)
    lowered = re.sub(r"[ \t]+", " ", lowered)
    lowered = _POINT.sub(lambda found: f"{found[1]}.{re.sub(' ', '', found[2])}", lowered)
    for pattern, replacement in _PHRASES:
        lowered = pattern.sub(replacement, lowered)
    readings.append(lowered)
    return " ; ".join(readings)


def _value(words: str) -> int:
    """'one hundred and five' -> 105; 'nine six' (digits said one by one) -> 96."""
    parts = [word for word in re.split(r"[\s-]+", words) if word not in ("and", "a")]
    if len(parts) > 1 and all(part in _SMALL and _SMALL[part] < 10 for part in parts):
        return int("".join(str(_SMALL[part]) for part in parts[:9]))
    total = current = 0
    if words.startswith("a "):
        current = 1
    for part in parts:
        if part == "dozen":
            current = max(current, 1) * 12
        elif part in _SMALL:
            current += _SMALL[part]
        elif part in _TENS:
            current += _TENS[part]
        elif part == "hundred":
            current = max(current, 1) * 100
        else:
            total += max(current, 1) * _SCALES[part]
            current = 0
    return min(total + current, 10**12)
