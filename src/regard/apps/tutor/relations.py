"""What is known so far in a solution, and whether the next relation is true, false or beyond checking.

A step is a chain a = b = c. For each pair, with everything known put in:

    both sides are numbers      compared exactly; units too; a decimal counts as rounded to the places it shows
    the same for all values     an identity
    one unknown is left         if it was determined before: true for its value, for one of its values, or false;
                                otherwise the pair is a new fact (a set-up), kept and not judged

Values come from the given quantities, from earlier steps, and from the figure itself (`figure_facts`), so that a wrong
set-up is seen too: with a right angle at B, "AC^2 = 6^2 - 8^2" is false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sympy

from regard.apps.tutor.expressions import DEGREE, UNIT_SYMBOLS, NotMathematicsError, has_trigonometry, parse, symbol
from regard.apps.tutor.tokens import Formula, Token, written

Outcome = Literal["true", "false", "new", "unknown"]
MAX_VALUES = 4
MAX_EQUATIONS = 12
_NO_DIMENSION = ("degrees", "degree", "deg", "units", "unit")
_TOLERANCE = 1e-20
_PI_ROUNDED = 0.002  # relative
_LOOSE = 0.006  # relative, once a rounded value was used further
_POINTS = (sympy.Rational(7, 3), sympy.Rational(13, 5), sympy.Rational(29, 11), sympy.Rational(17, 7))


@dataclass(frozen=True)
class Finding:
    """What is to be said of one relation."""

    outcome: Outcome
    text: str
    note: str = ""


@dataclass
class Knowledge:
    """Values of names (several where an equation has several solutions), and equations not yet solved."""

    values: dict[Any, tuple[Any, ...]] = field(default_factory=dict)
    equations: list[Any] = field(default_factory=list)
    is_uniform: bool = True  # each quantity is measured in one unit, which then can be left out
    is_rounded: bool = False

    def take(self, formula: Formula) -> list[Finding]:
        """Judge a chain and learn from it."""
        findings = []
        for left, relation, right in zip(formula.sides, formula.relations, formula.sides[1:], strict=False):
            text = f"{written(left)} {relation.replace('~', chr(0x2248))} {written(right)}"
            findings.append(self._pair(left, relation, right, text))
        # a = b = c tells a = c as well: "AC^2 = 6^2 + 8^2 = 100".
        if all(relation in ("=", "~") for relation in formula.relations) and all(
            f.outcome != "false" for f in findings
        ):
            for side in formula.sides[1:]:
                self._learn(formula.sides[0], side)
        return findings

    # --- judging ----------------------------------------------------------------------------------------------------

    def _pair(self, left: Sequence[Token], relation: str, right: Sequence[Token], text: str) -> Finding:
        try:
            verdicts = []
            ways = (False, True) if has_trigonometry((*left, *right)) else (False,)
            for in_degrees in ways:
                verdicts.append(self._judge(left, relation, right, text, in_degrees))
        except NotMathematicsError as error:
            return Finding("unknown", text, str(error))
        if verdicts[-1].outcome == "false" and _has_units(left) != _has_units(right) and _is_ambiguous((*left, *right)):
            return Finding("unknown", text, "a letter behind a number may be a unit or a variable")
        # Bare numbers under sin may be degrees or radians: right in one way is right.
        return next((finding for finding in verdicts if finding.outcome == "true"), verdicts[-1])

    def _judge(
        self, left: Sequence[Token], relation: str, right: Sequence[Token], text: str, in_degrees: bool
    ) -> Finding:
        with_units = self._takes_units(left, right)
        lefts = [_no_degrees(v) for v in parse(left, in_degrees=in_degrees, with_units=with_units)]
        rights = [_no_degrees(v) for v in parse(right, in_degrees=in_degrees, with_units=with_units)]
        outcomes: list[Finding] = []
        pairs = [(lefts[i % len(lefts)], rights[i % len(rights)]) for i in range(max(len(lefts), len(rights)))]
        for one, other in pairs:
            places = _places(right, relation)
            if isinstance(one, sympy.Tuple) or isinstance(other, sympy.Tuple):
                outcomes.append(self._points(one, other, text))
            else:
                outcomes.append(self._numbers(one, relation, other, text, places))
        return next((o for o in outcomes if o.outcome == "false"), outcomes[0])

    def _points(self, one: Any, other: Any, text: str) -> Finding:
        if isinstance(one, sympy.Tuple) and isinstance(other, sympy.Tuple) and len(one) == len(other):
            parts = [self._numbers(a, "=", b, text, None) for a, b in zip(one, other, strict=True)]
            return next((p for p in parts if p.outcome != "true"), parts[0])
        return Finding("new", text)

    def _numbers(self, one: Any, relation: str, other: Any, text: str, places: int | None) -> Finding:
        one, other = _units_matched(one, other)
        if one is None:
            return Finding("false", text, "the units of both sides differ")
        difference = one - other
        if relation in ("=", "~") and (difference.is_zero or _vanishes(difference)):
            return Finding("true", text)
        names = _names(difference)
        known = [name for name in names if name in self.values]
        if names and len(known) < len(names):
            return self._open(one, relation, other, text)
        results = []
        for values in _choices(known, self.values):
            # The sides are put in separately: what is rounded is one side, not the difference.
            results.append(_compare(one.subs(values), relation, other.subs(values), places, self.is_rounded))
            if one.has(sympy.pi) != other.has(sympy.pi) or any(v.has(sympy.pi) for v in values.values()):
                # 3.14 for pi is what people are taught to write.
                near = _compare(one.subs(values), relation, other.subs(values), places, True, _PI_ROUNDED)
                results[-1] = results[-1] if results[-1][0] else near
        true = [is_true for is_true, _ in results]
        if any(true):
            rounded = any(is_rounded for is_true, is_rounded in results if is_true)
            self.is_rounded = self.is_rounded or rounded
            note = "rounded" if rounded else "one of the solutions" if not all(true) else ""
            return Finding("true", text, note)
        return Finding("false", text, self._what_is_right(one, other, known, relation))

    def _what_is_right(self, one: Any, other: Any, known: list[Any], relation: str) -> str:
        """In words what the sides really are."""
        if relation not in ("=", "~"):
            return f"{_shown(one)} and {_shown(other)} are not so"
        values = next(iter(_choices(known, self.values)), {})
        return f"the left side is {_shown(one.subs(values))}, the right side {_shown(other.subs(values))}"

    def _open(self, one: Any, relation: str, other: Any, text: str) -> Finding:
        """A relation with an unknown: equivalent to an earlier equation, or new."""
        if relation not in ("=", "~"):
            return Finding("unknown", text, "an inequality with an unknown")
        difference = self._put_in(one - other)
        for equation in self.equations:
            if _is_multiple(difference, equation):
                return Finding("true", text)
        return Finding("new", text)

    def _takes_units(self, left: Sequence[Token], right: Sequence[Token]) -> bool:
        """Whether a relation is judged in base units: where both sides are quantities, or units are mixed."""
        left_has, right_has = _has_units(left), _has_units(right)
        if left_has and right_has and not any(token.kind == "name" for token in (*left, *right)):
            return True
        if not self.is_uniform and left_has != right_has and not any(t.kind == "name" for t in (*left, *right)):
            raise NotMathematicsError("one side has a unit, the other has none, and the units are mixed")
        return not self.is_uniform

    # --- learning ---------------------------------------------------------------------------------------------------

    def _learn(self, left: Sequence[Token], right: Sequence[Token]) -> None:
        try:
            with_units = not self.is_uniform
            one, other = (_no_degrees(parse(side, with_units=with_units)[0]) for side in (left, right))
            if isinstance(one, sympy.Tuple) or isinstance(other, sympy.Tuple):
                return
            one, other = _units_matched(one, other)
        except NotMathematicsError:
            return
        if one is not None:
            self.add(one - other)

    def add(self, difference: Any) -> None:
        """Learn that an expression is zero, and what follows for single unknowns."""
        names = _names(difference)
        if len(names) == 1 and names[0] in self.values and len(self.values[names[0]]) > 1:
            (name,) = names
            kept = tuple(v for v in self.values[name] if _is_close(difference.subs(name, v), 0, self.is_rounded))
            self.values[name] = kept or self.values[name]
            return
        difference = self._put_in(difference)
        if not _names(difference) or len(self.equations) >= MAX_EQUATIONS:
            return
        self.equations.append(difference)
        self._solve()

    def _put_in(self, expression: Any) -> Any:
        """The expression with every value that is certain."""
        certain = {name: values[0] for name, values in self.values.items() if len(values) == 1}
        return expression.subs(certain)

    def _solve(self) -> None:
        """Solve equations with one unknown, and linear ones together, until nothing new comes out."""
        for _ in range(MAX_EQUATIONS):
            open_ones = [e for e in map(self._put_in, self.equations) if _names(e)]
            single = next((e for e in open_ones if len(_names(e)) == 1 and _names(e)[0] not in self.values), None)
            if single is not None:
                (name,) = _names(single)
                found = _solutions(single, name)
                if found:
                    self.values[name] = found
                    continue
                self.equations = [e for e in self.equations if self._put_in(e) != single] + [single]
                break
            unknown = sorted({n for e in open_ones for n in _names(e) if n not in self.values}, key=str)
            linear = [e for e in open_ones if all(n not in self.values for n in _names(e))]
            if not unknown or len(linear) < 2 or not self._solve_linear(linear, unknown):
                break

    def _solve_linear(self, equations: list[Any], unknown: list[Any]) -> bool:
        if any(not equation.is_polynomial(*unknown) or sympy.Poly(equation, *unknown).total_degree() > 1
               for equation in equations):  # fmt: skip
            return False
        solved = sympy.solve(equations, unknown, dict=True)
        if len(solved) != 1:
            return False
        found = {name: value for name, value in solved[0].items() if value.is_number}
        self.values.update({name: (value,) for name, value in found.items()})
        return bool(found)

    def value_of(self, name: str) -> tuple[Any, ...]:
        """What a name stands for; positive values first, none if it is unknown."""
        values = self.values.get(symbol(name), ())
        return tuple(sorted(values, key=lambda value: not value.is_positive))


def _solutions(equation: Any, name: Any) -> tuple[Any, ...]:
    """Real solutions, at most MAX_VALUES; none where there are others or it takes other means than school's."""
    numerator = sympy.numer(sympy.together(equation))
    if numerator.is_polynomial(name) and sympy.Poly(numerator, name).degree() <= 4:
        found = sympy.roots(sympy.Poly(numerator, name), filter="R")
        real = list(found)
    elif sympy.count_ops(equation) < 20:
        real = [value for value in sympy.solve(equation, name) if value.is_real]
    else:
        return ()
    fine = [value for value in real if _is_close(equation.subs(name, value), 0, False)]
    if _is_measure(str(name)) and any(value.is_positive for value in fine):
        fine = [value for value in fine if value.is_positive]
    return tuple(fine) if len(fine) <= MAX_VALUES else ()


def _is_measure(name: str) -> bool:
    """Names of lengths, angles and areas, which are never negative; x, y and m may be."""
    return name in ("r", "d") or len(name.split("_")[0].rstrip("'")) > 1


def _names(expression: Any) -> list[Any]:
    return sorted((s for s in expression.free_symbols if s not in UNIT_SYMBOLS and s != DEGREE), key=str)


def _no_degrees(value: Any) -> Any:
    """Outside of trigonometry 50 degrees are the number 50."""
    return value.subs(DEGREE, 1)


def _choices(names: list[Any], values: dict[Any, tuple[Any, ...]]) -> list[dict[Any, Any]]:
    """All ways to put in values, at most 16."""
    ways: list[dict[Any, Any]] = [{}]
    for name in names:
        ways = [way | {name: value} for way in ways for value in values[name]][:16]
    return ways


def _units_matched(one: Any, other: Any) -> tuple[Any, Any]:
    """Quantities as numbers of base units; (None, None) if their dimensions differ."""
    units = set(UNIT_SYMBOLS)
    if not (one.free_symbols | other.free_symbols) & units or _names(one) or _names(other):
        return one, other
    ratio = sympy.simplify(one / other) if not other.is_zero else one
    if ratio.free_symbols & units:
        return None, None
    in_base = dict.fromkeys(UNIT_SYMBOLS, 1)
    return one.subs(in_base), other.subs(in_base)


def _has_units(tokens: Sequence[Token]) -> bool:
    return any(token.kind == "unit" and token.text not in _NO_DIMENSION for token in tokens)


def _is_ambiguous(tokens: Sequence[Token]) -> bool:
    """Whether a unit is one letter directly behind its number: 4s may be four seconds or four times s."""
    return any(token.kind == "unit" and len(token.text) == 1 and not token.is_spaced for token in tokens)


def _places(right: Sequence[Token], relation: str) -> int | None:
    """Decimal places that a rounded right side shows, negative for tens; None if it was not rounded."""
    unit_at = next((i for i, token in enumerate(right) if token.kind in ("unit", "count")), len(right))
    numbers = [token for token in right[:unit_at] if token.kind == "number"]
    if len(numbers) != 1 or any(token.kind in ("name", "function", "constant") for token in right):
        return None
    whole, _, decimals = numbers[0].text.partition(".")
    if relation == "~" and not decimals:
        return len(whole.rstrip("0")) - len(whole)  # about 150: rounded to tens
    return len(decimals) or None


def _compare(
    one: Any, relation: str, other: Any, places: int | None, is_loose: bool, slack: float = _LOOSE
) -> tuple[bool, bool]:
    """Whether it is true, and whether only as a rounding."""
    left, right = _number(one), _number(other)
    if left is None or right is None:
        raise NotMathematicsError("a value is no real number")
    is_equal = _is_equal(one, other, max(1.0, abs(left), abs(right)))
    if relation in ("=", "~"):
        if is_equal:
            return True, False
        if places is not None and abs(left - right) <= 0.5000001 * 10.0 ** -min(places, 30):
            return True, True
        is_loose = is_loose or (relation == "~" and places is None)
        return (is_loose and abs(left - right) <= slack * max(abs(left), abs(right))), True
    is_true = {
        "!=": not is_equal,
        "<": left < right and not is_equal,
        ">": left > right and not is_equal,
        "<=": left <= right or is_equal,
        ">=": left >= right or is_equal,
    }[relation]
    return is_true, False


def _is_equal(one: Any, other: Any, size: float) -> bool:
    """Exactly for fractions; for roots and pi to twenty digits."""
    if one.is_Rational and other.is_Rational:
        return bool(one == other)
    distance = _number(one - other)
    return distance is not None and abs(distance) <= _TOLERANCE * size


def _number(value: Any) -> float | None:
    """The real number as a float of at least 15 digits; None if it is none."""
    if not value.is_number:
        return None
    found = sympy.N(value, 30)
    if not found.is_real:
        real, imaginary = found.as_real_imag()
        if abs(float(imaginary)) > _TOLERANCE:
            return None
        found = real
    result = float(found)
    return result if abs(result) != float("inf") else None


def _is_close(one: Any, other: Any, is_loose: bool) -> bool:
    left, right = _number(sympy.sympify(one)), float(other)
    return left is not None and abs(left - right) <= (0.05 if is_loose else 1e-9)


def _vanishes(difference: Any) -> bool:
    """Whether it is zero whatever its names stand for: tried at points that no accident hits."""
    names = _names(difference)
    if not names:
        return False
    for shift in range(3):
        point = {name: _POINTS[(index + shift) % len(_POINTS)] + 3 * index for index, name in enumerate(names)}
        value = _number(difference.subs(point | dict.fromkeys(UNIT_SYMBOLS, 1)))
        if value is None or abs(value) > 1e-9:
            return False
    return True


def _is_multiple(one: Any, other: Any) -> bool:
    """Whether two equations' left sides differ only by a constant factor."""
    names = _names(one)
    if not names or names != _names(other):
        return False
    ratios = []
    for shift in range(3):
        point = {name: _POINTS[(index + shift) % len(_POINTS)] + 3 * index for index, name in enumerate(names)}
        left, right = _number(one.subs(point)), _number(other.subs(point))
        if left is None or right is None or abs(right) < 1e-9:
            return False
        ratios.append(left / right)
    return abs(ratios[0]) > 1e-9 and all(abs(ratio - ratios[0]) < 1e-9 * abs(ratios[0]) for ratio in ratios)


def _shown(value: Any) -> str:
    """A number for people."""
    number = _number(value)
    if number is None:
        return str(value).replace("**", "^")
    return f"{round(number, 6):g}" if abs(number) < 1e6 else f"{number:.10g}"
