"""One solution being checked, step by step: what the figure says, what each step says, whether the answer fits.

This is the part that runs in the worker process; it takes and gives plain strings (`worker.py`). Text of a model is
only ever tokenized and parsed by our own parser (`expressions.py`).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

import sympy

from regard.apps.tutor.expressions import METRE, NotMathematicsError, has_one_unit_each, parse, symbol
from regard.apps.tutor.relations import Finding, Knowledge
from regard.apps.tutor.tokens import Formula, Token, formulas, names_in, runs, tokenize

Verdict = dict[str, Any]  # {"verdict": "checked" | "wrong" | "not checkable", "note": str}
MAX_TEXTS = 60
_MAX_FORMULAS = 12  # of one step
_LENGTH = re.compile(r"perimeter|circumference|radius|diameter|length|height|distance|^[A-Z]{2}$")
_OR = re.compile(r"\bor\b")


class Session:
    """The state of one check: known names and `Knowledge`."""

    def __init__(self, given: Sequence[str], asked: str, texts: Sequence[str]) -> None:
        """`texts`: everything that is written in the solution, to tell variables from units."""
        everything = [*given, asked, *texts][:MAX_TEXTS]
        self.variables = set().union(*map(names_in, everything))
        units = {t.text for text in everything for t in tokenize(text, self.variables) if t.kind == "unit"}
        self.knowledge = Knowledge(is_uniform=has_one_unit_each(units))
        self.asked = asked
        self._last: Any = None
        for text in given[:MAX_TEXTS]:
            for formula in formulas(text, self.variables):
                self.knowledge.take(formula)
        for fact in figure_facts(self.variables, given, asked):
            self.knowledge.add(fact)

    def step(self, text: str) -> Verdict:
        """Judge one step: wrong if any relation is false, checked if any is true."""
        found = formulas(text, self.variables)[:_MAX_FORMULAS]
        if len(found) > 1 and _OR.search(text):
            # "x = 2 or x = 3": each for itself, and none of them is known from now on.
            findings = [finding for formula in found for finding in copy.deepcopy(self.knowledge).take(formula)]
        else:
            findings = [finding for formula in found for finding in self.knowledge.take(formula)]
        if found:
            self._last = self._value(found[-1].sides[-1])
        return _verdict(findings)

    def answer(self, text: str) -> Verdict:
        """Compare the answer with what the asked name came to, or with the last step's result."""
        wanted, is_asked = self._wanted()
        said = self._said(text)
        if said is None:
            return {"verdict": "not checkable", "note": "the answer is no number"}
        if not wanted:
            return {"verdict": "not checkable", "note": "no step determines it"}
        unit_note = self._wrong_unit(text)
        if unit_note:
            return {"verdict": "wrong", "note": unit_note}
        if any(_same(said, value, self.knowledge.is_rounded) for value in wanted):
            return {"verdict": "checked", "note": ""}
        verdict = "wrong" if is_asked else "not checkable"
        return {"verdict": verdict, "note": f"the steps come to {_text(wanted[0])}"}

    def _wanted(self) -> tuple[tuple[Any, ...], bool]:
        """Values that the answer should have, and whether they are what was asked or only the last result."""
        for run in runs(tokenize(self.asked, self.variables)):
            for token in run:
                if token.kind == "name" and (values := self.knowledge.value_of(token.text)):
                    return values, True
        pair = [self.knowledge.value_of(name) for name in ("x", "y")]
        if "point" in self.asked or "(" in self.asked:
            return ((sympy.Tuple(pair[0][0], pair[1][0]),), True) if all(pair) else ((), True)
        return ((), False) if self._last is None else ((self._last,), False)

    def _wrong_unit(self, text: str) -> str:
        """In words, if an area is told in cm or a length in cm^2."""
        power = 2 if "area" in self.asked else 3 if "volume" in self.asked else 1 if _LENGTH.search(self.asked) else 0
        for run in runs(tokenize(text, self.variables)):
            try:
                value = parse(run, with_units=True)[0]
            except NotMathematicsError:
                continue
            has = sympy.degree(value, METRE) if value.has(METRE) and value.is_polynomial(METRE) else 0
            if power and has and has != power and value.free_symbols == {METRE}:
                return f"the unit has the power {has}, and {self.asked} takes {power}"
        return ""

    def _said(self, text: str) -> Any:
        """The value of an answer like "10 cm", "AC = 10 cm", "(3, 4)", "10 pi"."""
        found = formulas(text, self.variables)
        stretches: list[Sequence[Token]] = [found[-1].sides[-1]] if found else []
        stretches += runs(tokenize(text, self.variables))
        for stretch in stretches:
            value = self._value(stretch)
            if value is not None:
                return value
        return None

    def _value(self, tokens: Sequence[Token]) -> Any:
        try:
            value = parse(tokens, with_units=not self.knowledge.is_uniform)[0]
        except NotMathematicsError:
            return None
        value = value.subs(sympy.Symbol("unit degree", positive=True), 1)
        parts = value.args if isinstance(value, sympy.Tuple) else (value,)
        return value if all(not _variables(part) for part in parts) else None


def _variables(value: Any) -> list[Any]:
    return [s for s in value.free_symbols if not str(s).startswith("unit ")]


def _verdict(findings: Sequence[Finding]) -> Verdict:
    wrong = [f for f in findings if f.outcome == "false"]
    if wrong:
        return {"verdict": "wrong", "note": f"{wrong[0].text} is false: {wrong[0].note}".removesuffix(": ")}
    if any(f.outcome == "true" for f in findings):
        notes = dict.fromkeys(f.note for f in findings if f.outcome == "true" and f.note)
        set_up = [f.text for f in findings if f.outcome == "new"]
        said = [*notes, *(f"set-up not proved: {text}" for text in set_up[:1])]
        return {"verdict": "checked", "note": "; ".join(said)}
    unknown = [f.note for f in findings if f.note]
    if any(f.outcome == "new" for f in findings):
        return {"verdict": "not checkable", "note": "a set-up, not proved"}
    return {"verdict": "not checkable", "note": unknown[0] if unknown else "no calculation"}


def _same(one: Any, other: Any, is_rounded: bool) -> bool:
    """Whether two values agree; an answer may be rounded to three digits."""
    if isinstance(one, sympy.Tuple) or isinstance(other, sympy.Tuple):
        if not (isinstance(one, sympy.Tuple) and isinstance(other, sympy.Tuple) and len(one) == len(other)):
            return False
        return all(_same(a, b, is_rounded) for a, b in zip(one, other, strict=True))
    ratio = one if other.is_zero else one / other
    if ratio.free_symbols:
        return False
    try:
        distance = abs(complex(sympy.N(ratio, 20)) - (0 if other.is_zero else 1))
    except (TypeError, ValueError, OverflowError):
        return False
    is_exact = bool(one.is_Rational and other.is_Rational and one.is_Integer)
    return distance <= (0.006 if is_rounded or not is_exact else 1e-12)


def _text(value: Any) -> str:
    if isinstance(value, sympy.Tuple):
        return "(" + ", ".join(map(_text, value)) + ")"
    return f"{float(value):.6g}" if value.is_number and value.is_real else str(value).replace("**", "^")


# --- what the figure says -------------------------------------------------------------------------------------------

_ANGLE = re.compile(r"angle ([A-Z]{1,3})$")
_SIDE = re.compile(r"[A-Z]{2}$")


def figure_facts(variables: set[str], given: Sequence[str], asked: str) -> list[Any]:
    """Equations that hold in every triangle and circle, for the names that the solution uses, each as "= 0"."""
    stated = names_in(asked).union(*map(names_in, given)) if given else names_in(asked)
    corners = {c for name in stated for c in (_ANGLE.match(name) or [""])[0].removeprefix("angle ") if c.isupper()}
    corners |= {c for name in stated if _SIDE.match(name) for c in name}
    facts: list[Any] = []
    if len(corners) == 3:
        facts += _triangle_facts(sorted(corners), variables, given)
    elif not corners and stated & {"r", "d", "radius", "diameter", "circumference", "C"}:
        facts += _circle_facts(variables, asked)
    return facts


def _triangle_facts(corners: list[str], variables: set[str], given: Sequence[str]) -> list[Any]:
    facts: list[Any] = []
    angle = {c: symbol(f"angle {c}") for c in corners}
    if sum(f"angle {c}" in variables for c in corners) >= 2:
        facts.append(sum(angle.values()) - 180)
    for first, second in _equal_sides(given):
        shared = set(first) & set(second)
        if len(shared) == 1 and set(first + second) == set(corners):
            (one,), (other,) = set(first) - shared, set(second) - shared
            facts.append(angle[one] - angle[other])
    right = _right_angle(corners, given)
    if right is not None:
        a, b = (c for c in corners if c != right)
        names = [_known_side(one, other, variables) for one, other in ((right, a), (right, b), (a, b))]
        leg, other_leg, longest = map(symbol, names)
        facts.append(leg**2 + other_leg**2 - longest**2)
    return facts


def _known_side(one: str, other: str, variables: set[str]) -> str:
    return other + one if other + one in variables else one + other


def _equal_sides(given: Sequence[str]) -> list[tuple[str, str]]:
    pairs = re.findall(r"\b([A-Z]{2})\s*=\s*([A-Z]{2})\b", " , ".join(given))
    return [(one, other) for one, other in pairs]


def _right_angle(corners: list[str], given: Sequence[str]) -> str | None:
    """The corner with the right angle: "angle B = 90", "right angle at B"."""
    for text in given:
        for formula in formulas(text):
            name = _right_angle_name(formula)
            if name is not None and name in corners:
                return name
        found = re.search(r"right(?:-angled)?\s+(?:angle\s+)?at\s+([A-Z])\b", text)
        if found and found[1] in corners:
            return found[1]
    return None


def _right_angle_name(formula: Formula) -> str | None:
    found = _ANGLE.match(formula.sides[0][0].text)
    value = "".join(token.text for token in formula.sides[-1]).rstrip("\u00b0").removesuffix("degrees")
    if found is None or value != "90":
        return None
    return found[1] if len(found[1]) == 1 else found[1][1] if len(found[1]) == 3 else None


def _circle_facts(variables: set[str], asked: str) -> list[Any]:
    """Radius, diameter, circumference and area, under the names that the solution uses."""
    radius, facts = symbol("r"), []
    if "radius" in variables:
        facts.append(symbol("radius") - radius)
    facts += [symbol(name) - 2 * radius for name in ("d", "diameter") if name in variables or name in asked]
    if "circumference" in asked or "circumference" in variables:
        facts += [symbol(name) - 2 * sympy.pi * radius for name in ("C", "circumference") if name in variables]
    if "area" in asked or "area" in variables:
        facts += [symbol(name) - sympy.pi * radius**2 for name in ("A", "area") if name in variables]
    return facts
