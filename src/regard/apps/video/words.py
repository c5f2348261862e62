"""Words of questions and events: which events a question speaks of, and which times it names.

This is what a model with a small context is spared: it is never handed a list of events, the events whose words fit
are looked at again. Matching is by stems of English words, colours and names; it knows no synonyms. Words in capitals
were read off the picture, perhaps wrong: those that are alike fit in part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Literal

from regard.apps.reading import parse_clock

QuestionKind = Literal["when", "count", "order", "other"]

_STOP = frozenset(
    re.findall(
        r"\w+",
        "a an the is are was were be been do does did at in on of to from for by with and or it its this that there "
        "here when what which who where how many much time times second seconds minute minutes hour moment video clip "
        "first last show shown see seen can could tell me describe after before during into up out off then than as i "
        "you we they happen happens happened occur occurs word picture scene come comes",
    )
)
_APPEAR = ("appear", "shows", "visible", "arrive", "enter", "emerge")
_DISAPPEAR = ("disappear", "vanish", "gone", "leave", "remove")
_ANYTHING = frozenset({"shape", "thing", "object", "event", "item", "new", "appear", "different"})
_AT = re.compile(
    r"(?:\b(?:at|around|near|from)\s+)?(?:(?:second|minute)s?\s+)?"
    r"(\d{1,3}:\d{2}:\d{2}(?:\.\d+)?|\d{1,4}:\d{2}(?:\.\d+)?|(?:\d+\s*h(?:ours?)?\s*)?(?:\d+\s*m(?:in(?:utes?)?)?\s*)?"
    r"\d+(?:\.\d+)?\s*s(?:ec(?:onds?)?)?\b)",
    re.IGNORECASE,
)
_TIME_IN_ANSWER = re.compile(
    r"\d{1,5}:\d{2}(?::\d{2})?(?:\.\d+)?|\d+(?:\.\d+)?(?=\s*(?:s|sec|secs|second|seconds)\b)", re.IGNORECASE
)

_CAPITALS = re.compile(r"\b[^\W\da-z_]{2,}\b")
_ALIKE = 0.6  # of a word's letters, where it was read off the picture


def kind_of(question: str) -> QuestionKind:
    """What sort of answer is wanted."""
    text = question.lower()
    if re.search(r"\bhow many\b|\bcount\b|\bnumber of\b", text):
        return "count"
    if re.search(r"\b(first|earlier|before|sooner)\b", text) and re.search(r"\bor\b", text):
        return "order"
    if re.search(r"\bwhen\b|\b(?:at )?(?:which|what) (?:second|minute|time|moment)\b|\bhow many seconds\b", text):
        return "when"
    return "other"


def time_in(question: str) -> tuple[float, tuple[int, int]] | None:
    """The first time that a question names, in seconds, and where in the text it stands; None if it names none."""
    found = _AT.search(question)
    if found is None:
        return None
    time_s = parse_clock(found[1])
    return None if time_s is None else (time_s, found.span(1))


def times_of(answer: str) -> list[float]:
    """The times that an answer tells, in seconds, as the model counts them."""
    times = [parse_clock(found[0]) for found in _TIME_IN_ANSWER.finditer(answer)]
    return [time_s for time_s in times if time_s is not None]


def stems(text: str) -> list[str]:
    """The words that mean something, in lower case and without endings; words in capitals always mean something."""
    found = []
    for written in re.findall(r"[^\W_]+", text):
        word = written.lower()
        if written.isupper() and len(written) > 1:
            found.append(word)
            continue
        if word in _STOP:
            continue
        if word.startswith(_DISAPPEAR):
            word = "disappear"
        elif word.startswith(_APPEAR):
            word = "appear"
        elif word in ("turns", "turned", "turning", "become", "becomes", "change", "changes"):
            word = "turn"
        found.append(_stem(word))
    return found


def _stem(word: str) -> str:
    for ending in ("ing", "ies", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word.removesuffix("e") if len(word) > 4 else word


def fit(question: str, event: str) -> float:
    """How much of what a question speaks of an event speaks of too, 0 to 1; the names of things count twice."""
    wanted, told = stems(question), set(stems(event))
    if not wanted:
        return 0.0
    actions = {"appear", "disappear", "turn", "mov"}
    weights = [1.0 if word in actions else 2.0 for word in wanted]
    read = [word.lower() for word in _CAPITALS.findall(event)]
    asked = {word.lower() for word in _CAPITALS.findall(question)}

    def found(word: str) -> float:
        alike = [SequenceMatcher(None, word, other).ratio() for other in read] if word in asked else []
        return 1.0 if word in told else max((ratio for ratio in alike if ratio >= _ALIKE), default=0.0)

    return sum(weight * found(word) for word, weight in zip(wanted, weights, strict=True)) / sum(weights)


def fits(question: str, events: Sequence[str], *, at_least: float = 0.5) -> list[tuple[int, float]]:
    """(number, fit) of the events that a question speaks of, the best first, in order of time among equals."""
    scored = [(number, fit(question, event)) for number, event in enumerate(events)]
    return sorted(((n, s) for n, s in scored if s >= at_least), key=lambda pair: -pair[1])


def counted(question: str, events: Sequence[str]) -> list[int]:
    """The events that "how many ..." counts: all that appear for a general word, else those with all its words."""
    wanted = set(stems(question))
    special = wanted - {_stem(word) for word in _ANYTHING} - {"appear", "disappear", "turn"}
    actions = wanted & {"appear", "disappear", "turn"} or {"appear"}
    return [
        number
        for number, event in enumerate(events)
        if actions & set(stems(event)) and special <= set(stems(event))
        and not ("shape" in wanted and re.search(r"\bword\b", event))
    ]  # fmt: skip


def halves(question: str) -> tuple[str, str] | None:
    """The two things of "which appears first, a or b?", None if it does not ask so."""
    found = re.search(
        r"(?:,|:|\bdoes\b|\bdid\b)?\s*((?:the |an? )?[\w' -]+?)\s+or\s+((?:the |an? )?[\w' -]+)", question
    )
    if found is None:
        return None
    first = re.sub(r"^.*\b(?:first|earlier|sooner|does|did)\b", "", found[1]).strip(" ,")
    second = re.sub(r"\b(?:appears?|comes?|shows?|first|earlier|sooner)\b.*$", "", found[2]).strip(" ,")
    return (first, second) if first and second else None


def action_question(event: str) -> str | None:
    """ "a red circle appears" -> "When does the red circle appear?"; None for sentences of another kind."""
    found = re.fullmatch(r"(?:an?|the) (.+?) (appears|disappears|turns (\w+))\.?", event.strip())
    if found is None:
        return None
    verb = {"appears": "appear", "disappears": "disappear"}.get(found[2], f"turn {found[3]}")
    thing = f"{found[3]} {found[1].split()[-1]}" if found[3] else found[1]
    return f"When does the {thing} {verb}?"


def told(name: str, kind: str, before: str = "") -> str:
    """What a change is called: the thing that a model named, and what became of it."""
    name, before = _bare(name), _bare(before)
    if kind == "disappears":
        return f"{_with_the(name)} disappears"
    if kind == "appears" or not before:
        return f"{name} appears"
    if name == before:
        return f"{_with_the(name)} changes"
    if name.split()[-1] == before.split()[-1] and len(name.split()) == 3:
        return f"{_with_the(before)} turns {name.split()[1]}"
    return f"{_with_the(before)} becomes {name}"


def _bare(name: str) -> str:
    return name.strip().rstrip(".").removesuffix(" appears").strip()


def _with_the(name: str) -> str:
    return re.sub(r"^an? ", "the ", name)
