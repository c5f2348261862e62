"""Which of the offered answers a model chose.

It comes as the whole answer ("B", "B. plant", "plant"), in a box or in bold, behind "Answer:", on the last line, or
somewhere in a sentence; the clearest place wins. A letter means the choice at its place in the list, unless the choices
have letters of their own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from regard.apps.reading.read import Read, outside

_OWN_LETTER = re.compile(r"\s*\(?([A-Z])\s*[.):]\s*(\S.*)", re.DOTALL)
_PLACES = (
    re.compile(r"\\boxed\s{0,9}\{([^{}\n]{1,200})\}"),
    re.compile(r"<answer>([^<]{1,200})"),
    re.compile(
        r"(?:answer|choice|option|\u7b54\u6848)\s{0,9}(?:is|are|\u662f)?[\s*]{0,9}[:\uff1a]?[\s*]{0,9}([^\n*]{1,200})",
        re.IGNORECASE,
    ),
    re.compile(r"\*\*([^*\n]{1,200})\*\*"),
)
_LETTER = re.compile(r"(?:option|choice)?\s*\(?([A-Za-z])(?:[.):\s,]|\Z)", re.IGNORECASE)
_TRIM = " \t\r\n\"'`*_.,:;!()[]{}$"


def read_choice(text: str, choices: Sequence[str]) -> Read[str | None]:
    """The choice, as it stands in `choices`; None if none or more than one is meant."""
    text = outside(text).strip()
    if not text or not choices:
        return Read(None)
    letters = _letters(choices)
    whole = _match(text, letters, choices)
    if whole is not None:
        return Read(whole)
    for pattern in _PLACES:
        for found in reversed(list(pattern.finditer(text))):
            chosen = _match(found[1], letters, choices)
            if chosen is not None:
                return Read(chosen, ("left out the text around the choice",))
    lines = [line for line in text.splitlines() if line.strip()]
    for line in (lines[-1], lines[0]):
        chosen = _match(line, letters, choices)
        if chosen is not None:
            return Read(chosen, ("left out the text around the choice",))
    named = [choice for choice in choices if _names(text, _words(choice))]
    longest = [
        choice for choice in named if not any(choice != other and _words(choice) in _words(other) for other in named)
    ]
    if len(longest) == 1:
        return Read(longest[0], ("took the only choice that the answer names",))
    return Read(None)


def _letters(choices: Sequence[str]) -> dict[str, str]:
    own = [_OWN_LETTER.fullmatch(choice) for choice in choices]
    if all(found is not None for found in own):
        return {found[1]: choice for found, choice in zip(own, choices, strict=True) if found is not None}
    return {chr(ord("A") + number): choice for number, choice in enumerate(choices[:26])}


def _words(choice: str) -> str:
    own = _OWN_LETTER.fullmatch(choice)
    return (own[2] if own else choice).strip(_TRIM).lower()


def _match(piece: str, letters: dict[str, str], choices: Sequence[str]) -> str | None:
    """The choice that a short piece of text is, by its words or its letter."""
    bare = piece.strip(_TRIM)
    same = [choice for choice in choices if bare.lower() in (choice.strip(_TRIM).lower(), _words(choice))]
    if len(same) == 1:
        return same[0]
    if len(bare) == 1 and not same:
        return letters.get(bare.upper())
    start = piece.strip().lstrip("*\"'`[ ")
    letter = _LETTER.match(start)
    if (
        letter is None
        or letter[1].upper() not in letters
        or not (letter[1].isupper() or start[letter.end(1) :][:1] in ".)")
    ):
        return None
    chosen = letters[letter[1].upper()]
    rest = start[letter.end() :].strip(_TRIM).lower()
    # "A cat" is no letter A: behind a letter stands its choice, its letter again, or nothing.
    is_marked = start[letter.end(1) : letter.end(1) + 1] in (".", ")", ":")
    is_told = rest.startswith(_words(chosen)) if is_marked else rest == _words(chosen)
    return chosen if not rest or rest == letter[1].lower() or is_told else None


def _names(text: str, words: str) -> bool:
    return bool(words) and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text.lower()) is not None
