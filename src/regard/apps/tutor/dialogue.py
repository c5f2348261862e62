"""Words of the dialogue that need no model: hints of ours, tidying the model's, telling an answer from a question."""

from __future__ import annotations

import re
from collections.abc import Iterator

from regard.apps.reading import Read
from regard.apps.tutor.result import Solution
from regard.apps.tutor.tokens import formulas, runs, tokenize, written
from regard.reply import Reply

MAX_HINT_CHARS = 400
MAX_MISTAKES = 5
_BULLET = re.compile(r"^\s*(?:[-*\u2022]+|\d{1,2}[.)])\s*")
_HINT_LABEL = re.compile(r"^\s*(?:\**\s*hint\s*\d*(?:\s*of\s*\d+)?\s*[:.)-]*\s*\**)\s*", re.IGNORECASE)
_FILLER = re.compile(
    r"^\W*(?:(?:so|maybe|perhaps|ok|okay|well|i think|i guess|i get|i got|i have|is it|is that|it is|it's|its|is|"
    r"is the answer|the answer is|my answer is|answer|the result is|then|would it be|it must be|must be)\b[\s:,=]*)*",
    re.IGNORECASE,
)
_GENERAL = (
    "Write down what is given and what is asked.",
    "Which rule joins what is given with what is asked?",
    "Write the rule down with the names of the figure, then put in what is given.",
)


def ladder(solution: Solution, number: int) -> Iterator[str]:
    """Hints made of the solution without its numbers, the best first; the last ones say nothing of it at all."""
    if number == 1:
        names = list(dict.fromkeys(name for item in solution.given for name in _names(item)))
        if names and solution.asked:
            yield f"Look at what is given: {', '.join(names)}. Asked is {solution.asked}."
        if names:
            yield f"Look at what is given: {', '.join(names)}."
    reasons = list(dict.fromkeys(step.reason for step in solution.steps if step.reason))
    if number == 2:
        for reason in reasons:
            yield f"Think of this: {reason}."
    if number == 3 and solution.steps:
        found = formulas(solution.steps[0].text)
        if found:
            yield f"Begin with {written(found[0].sides[0])}."
        for reason in reasons[1:]:
            yield f"Think of this: {reason}."
    yield _GENERAL[number - 1]
    yield from _GENERAL


def _names(item: str) -> list[str]:
    return [token.text for token in tokenize(item) if token.kind == "name"]


def tidy_hint(text: str) -> str:
    """A hint without its label, as one paragraph of bounded length."""
    text = " ".join(_HINT_LABEL.sub("", text.strip()).split())
    if len(text) <= MAX_HINT_CHARS:
        return text
    end = text.rfind(". ", 0, MAX_HINT_CHARS)
    return text[: end + 1] if end > 0 else ""


def read_mistakes(reply: Reply) -> Read[tuple[str, ...]] | None:
    """One mistake a line, with or without bullets; None if there is none."""
    lines = [_BULLET.sub("", line).replace("**", "").strip() for line in reply.text.splitlines()]
    found = tuple(dict.fromkeys(line for line in lines if len(line) > 3 and not line.endswith(":")))
    return Read(found[:MAX_MISTAKES]) if found else None


def looks_like_attempt(text: str) -> bool:
    """Whether a message is nothing but a value, perhaps with its name: "10", "is it 10 cm?", "AC = 10", "Tue?"."""
    rest = _FILLER.sub("", text.strip()).strip().rstrip("?.! ")
    if not rest or len(rest) > 60 or text.strip().startswith("/"):
        return False
    tokens = tokenize(rest)
    if any(token.kind == "number" or token.text == "pi" for token in tokens):
        stretches = runs(tokens)
        is_value = len(stretches) == 1 and all(token.kind not in ("prose", "end") for token in tokens)
        if not is_value:
            return False
        chain = formulas(rest)
        # "6^2 + 8^2 = 100" is a calculation; "AC = 10" and "6 * 4" are answers.
        return not chain or (len(chain[0].sides) == 2 and len(chain[0].sides[0]) == 1)
    return rest != text.strip().rstrip("?.! ") and len(rest.split()) <= 2 and text.strip().endswith("?")
