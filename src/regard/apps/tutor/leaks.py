"""Whether a text gives an answer away: its numbers in any form, or its words.

Found are digits of any script, number words ("twenty-five", "two and a half"), everything that a calculation in the
text comes to on its way ("6 * 8 / 2" for 24, "sqrt(100)" and "the square root of a hundred" for 10), other units
("0.1 m" for 10 cm), roundings of a long decimal, and equations that need no more than a subtraction ("x + 2 = 12").
Allowed is what still has to be worked out, like "AC^2 = 6^2 + 8^2" for 10. In doubt it says yes: a hint that is
withheld is replaced, one that tells too much cannot be taken back.

Not found: other languages' number words, Roman numerals, riddles.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy

from regard.apps.tutor.expressions import DEGREE, UNIT_SYMBOLS, NotMathematicsError, parse, values_within
from regard.apps.tutor.number_words import digits_for_words
from regard.apps.tutor.tokens import Formula, Token, formulas, names_in, runs, tokenize

_CLOSE = 1e-9
_ROUNDED = 0.005  # relative: "about 14.1" for 14.142
_SCIENTIFIC = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([+-]?\d{1,2})(?!\w)")
MAX_CHARS = 2000


@dataclass(frozen=True)
class Secret:
    """What must not be told: the answer as written (in every form that is known), and the problem it belongs to."""

    answers: tuple[str, ...]
    given: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "answers", tuple(self.answers))
        object.__setattr__(self, "given", tuple(self.given))


def leaks(text: str, secret: Secret) -> bool:
    """Whether the text tells a number or word of an answer. Errors: none; a text too long to check tells it."""
    if len(text) > MAX_CHARS:
        return True
    variables = set().union(*map(names_in, (*secret.given, *secret.answers)), ())
    numbers = [value for answer in secret.answers for value in _secret_numbers(answer, variables)]
    if not numbers:
        return any(_mentions(text, answer) for answer in secret.answers if answer.strip())
    readable = digits_for_words(_plain_digits(text))
    if any(_told(value, numbers) for value in _numbers_in(readable, variables)):
        return True
    stated = [d for given in secret.given for formula in formulas(given, variables) for d in _differences(formula)]
    return any(_is_solved_by(formula, numbers, stated) for formula in formulas(readable, variables))


def _secret_numbers(answer: str, variables: set[str]) -> list[Any]:
    """The answer's value and each number that is written in it, exponents of units left out."""
    tokens = tokenize(answer, variables)
    kept: list[Token] = []
    for token in tokens:
        is_exponent = len(kept) >= 2 and kept[-1].text == "^" and kept[-2].kind == "unit"
        if token.kind == "number" and is_exponent:
            continue
        kept.append(token)
    numbers = [sympy.Rational(token.text) for token in kept if token.kind == "number"]
    for run in runs(tokens):
        side: list[Token] = []
        for token in run:
            side = [] if token.kind == "relation" else [*side, token]
        numbers += [v for v in values_within(side) if _is_plain(v)][-1:]
        numbers += [v for v in values_within(side, with_units=True) if _is_quantity(v)][-1:]
    if "%" in answer:
        numbers += [100 * value for value in numbers if _is_plain(value)]
    return numbers


def _numbers_in(text: str, variables: set[str]) -> list[Any]:
    """Every value that a text holds, with and without its units."""
    tokens = tokenize(text, variables)
    found: list[Any] = [sympy.Rational(t.text) for t in tokens if t.kind == "number" and len(t.text) < 40]
    found += [-value for value in found]
    for run in runs(tokens):
        side: list[Token] = []
        for token in (*run, Token("relation", "")):
            if token.kind != "relation":
                side.append(token)
                continue
            for with_units in (False, True) if any(t.kind == "unit" for t in side) else (False,):
                found += values_within(side[:80], with_units=with_units)
            side = []
    return found


def _told(value: Any, numbers: Sequence[Any]) -> bool:
    value = value.subs(DEGREE, 1)
    return any(_equal(value, number.subs(DEGREE, 1)) for number in numbers)


def _equal(one: Any, other: Any) -> bool:
    if _is_plain(one) and _is_plain(other):
        a, b = _float(one), _float(other)
    elif _is_quantity(one) and _is_quantity(other):
        ratio = one / other if not other.is_zero else one
        if ratio.free_symbols:
            return False
        a, b = _float(ratio), 1.0
        return a is not None and abs(a - b) <= _CLOSE
    else:
        return False
    if a is None or b is None:
        return False
    if abs(a - b) <= _CLOSE * max(1.0, abs(b)):
        return True
    if float(b).is_integer():
        return False
    return abs(a - b) <= _ROUNDED * abs(b) or any(a == round(b, places) for places in range(4) if round(b, places))


def _is_plain(value: Any) -> bool:
    return bool(value.is_number) and not value.free_symbols


def _is_quantity(value: Any) -> bool:
    return bool(value.free_symbols) and value.free_symbols <= set(UNIT_SYMBOLS)


def _float(value: Any) -> float | None:
    found = sympy.N(value, 25)
    return float(found) if found.is_real else None


def _differences(formula: Formula) -> list[Any]:
    """Left minus right of each relation that can be computed."""
    found = []
    for left, right in zip(formula.sides, formula.sides[1:], strict=False):
        with contextlib.suppress(NotMathematicsError, TypeError):
            found.append(parse(left)[0] - parse(right)[0])
    return found


def _is_solved_by(formula: Formula, numbers: Sequence[Any], stated: Sequence[Any]) -> bool:
    """Whether it is "x + 2 = 12" for 10: one unknown, once, with no factor. The given equation itself is no secret."""
    for difference in _differences(formula):
        names = list(difference.free_symbols)
        if len(names) != 1 or not difference.is_polynomial(names[0]):
            continue
        polynomial = sympy.Poly(difference, names[0])
        if any((difference - other).is_zero or (difference + other).is_zero for other in stated):
            continue
        if polynomial.degree() == 1 and abs(polynomial.LC()) == 1:
            solution = -polynomial.nth(0) / polynomial.LC()
            if _told(solution, numbers):
                return True
    return False


def _mentions(text: str, answer: str) -> bool:
    """An answer in words: as whole words; one capital letter only as it is."""
    said, wanted = " ".join(text.split()), " ".join(answer.strip(" .`*$").split())
    flags = 0 if len(wanted) == 1 else re.IGNORECASE
    return bool(wanted) and re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", said, flags) is not None


def _plain_digits(text: str) -> str:
    """Digits of every script as 0-9, and digits set apart ("1 0") joined."""
    text = "".join(
        str(unicodedata.digit(c)) if c.isdigit() and not c.isascii() and unicodedata.category(c) == "Nd" else c
        for c in text
    )
    text = _SCIENTIFIC.sub(lambda found: f"({found[1]}*10^({found[2]}))", text)
    text = re.sub(r"\b0[xX]([0-9a-fA-F]{1,12})\b", lambda found: str(int(found[1], 16)), text)
    spaced = re.findall(r"(?<![\d.])\d(?:[ \u00a0_-]\d)+(?![\d.])", text)
    return text + "".join(" ; " + re.sub(r"\D", "", one) for one in spaced)
