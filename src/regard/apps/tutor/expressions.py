"""Tokens to SymPy expressions, by a parser of our own: no text of a model ever reaches `eval` or `sympify`.

    expr   = term (("+" | "-") term)*
    term   = factor (("*" | "/" | nothing) factor)*
    factor = ("+" | "-" | "+-") factor | power
    power  = postfix ("^" factor)?
    postfix= primary ("!" | "%" | degree)* unit*
    primary= number | name | pi | function argument | "(" expr ("," expr)* ")" | "|" expr "|"

Numbers are exact rationals. Units become powers of base units (6 cm = 6/100 * metre), degrees a symbol that
trigonometry takes for pi/180 and the rest for 1. What could grow without end (9^9^9, 1000!) is refused while it is
parsed; everything else has a time limit outside (`checker`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import sympy

from regard.apps.tutor.tokens import Token

MAX_DEPTH = 40
MAX_DIGITS = 40  # of a number as written
MAX_EXPONENT = 64
MAX_RESULT_DIGITS = 400
MAX_FACTORIAL = 60

METRE, _KILOGRAM, _SECOND, _AMPERE, _MONEY = (
    sympy.Symbol(name, positive=True)
    for name in ("unit metre", "unit kilogram", "unit second", "unit ampere", "unit money")
)
UNIT_SYMBOLS = (METRE, _KILOGRAM, _SECOND, _AMPERE, _MONEY)
DEGREE = sympy.Symbol("unit degree", positive=True)


def _scaled(symbol: Any, **factors: str) -> dict[str, Any]:
    return {name: sympy.Rational(Fraction(factor)) * symbol for name, factor in factors.items()}


_NEWTON = _KILOGRAM * METRE / _SECOND**2
_VOLT = _NEWTON * METRE / (_AMPERE * _SECOND)
_UNITS: dict[str, Any] = {
    **_scaled(METRE, mm="1/1000", cm="1/100", dm="1/10", m="1", km="1000", ft="0.3048", yd="0.9144", mi="1609.344"),
    **_scaled(METRE, inch="0.0254", inches="0.0254", meter="1", meters="1", metre="1", metres="1"),
    **_scaled(METRE, centimeter="1/100", centimeters="1/100", centimetre="1/100", centimetres="1/100"),
    **_scaled(METRE, kilometer="1000", kilometers="1000", kilometre="1000", kilometres="1000"),
    **_scaled(_KILOGRAM, mg="1/1000000", g="1/1000", kg="1", t="1000"),
    **_scaled(_SECOND, ms="1/1000", s="1", sec="1", second="1", seconds="1", min="60", minute="60", minutes="60"),
    **_scaled(_SECOND, h="3600", hr="3600", hour="3600", hours="3600", day="86400", days="86400"),
    **_scaled(METRE**3, ml="1/1000000", mL="1/1000000", cl="1/100000", dl="1/10000", l="1/1000", L="1/1000"),
    **_scaled(METRE**3, liter="1/1000", liters="1/1000", litre="1/1000", litres="1/1000"),
    **_scaled(METRE / _SECOND, mph="0.44704", kmh="5/18"),
    **_scaled(_MONEY, dollars="1", euros="1", euro="1", EUR="1", USD="1", cents="1/100"),
    "$": _MONEY, "\u20ac": _MONEY, "N": _NEWTON, "J": _NEWTON * METRE, "kJ": 1000 * _NEWTON * METRE,
    "W": _NEWTON * METRE / _SECOND, "kW": 1000 * _NEWTON * METRE / _SECOND,
    "kWh": 3600000 * _NEWTON * METRE, "V": _VOLT, "A": _AMPERE, "Pa": _NEWTON / METRE**2, "Hz": 1 / _SECOND,
    "degrees": DEGREE, "degree": DEGREE, "deg": DEGREE, "units": sympy.Integer(1), "unit": sympy.Integer(1),
}  # fmt: skip
_TRIGONOMETRIC = {"sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan}
_INVERSE = {"asin": sympy.asin, "acos": sympy.acos, "atan": sympy.atan, "arcsin": sympy.asin, "arccos": sympy.acos,
            "arctan": sympy.atan}  # fmt: skip


class NotMathematicsError(Exception):
    """The tokens are no expression, or one that is too large to compute; the message says which."""


def symbol(name: str) -> Any:
    """The symbol of a name. Reals, so that roots and absolute values behave as in school."""
    return sympy.Symbol(name, real=True)


def parse(tokens: Sequence[Token], *, in_degrees: bool = False, with_units: bool = False) -> list[Any]:
    """The expressions that the tokens stand for: one, or two where there is a plus-minus; a point is a Tuple.

    `in_degrees`: bare numbers under sin, cos and tan are degrees. `with_units`: units become base units, else 1.
    Errors: NotMathematicsError.
    """
    if not tokens:
        raise NotMathematicsError("nothing is written there")
    num_signs = sum(token.text == "\u00b1" for token in tokens)
    if num_signs > 2:
        raise NotMathematicsError("too many plus-minus signs")
    found = []
    for signs in product((1, -1), repeat=num_signs):
        found.append(_Parser(list(tokens), list(signs), in_degrees, with_units).read_all())
    return found


def values_within(tokens: Sequence[Token], *, with_units: bool = False) -> list[Any]:
    """Every value without names that comes up while the tokens are computed, parts and whole; [] if they are none."""
    if sum(token.text == "\u00b1" for token in tokens) > 0:
        tokens = [token for token in tokens if token.text != "\u00b1"]
    parser = _Parser(list(tokens), [], False, with_units)
    with contextlib.suppress(NotMathematicsError):  # what came up before the mistake still counts
        parser.read_all()
    return parser.seen


def has_one_unit_each(units: Iterable[str]) -> bool:
    """Whether these units measure each quantity in one way (cm; km, h), so that numbers may be taken as written."""
    names_of: dict[Any, set[str]] = {}
    for unit in units:
        for base in _UNITS[unit].free_symbols if unit in _UNITS else ():
            names_of.setdefault(base, set()).add(unit)
    return all(len(names) == 1 for names in names_of.values())


def has_trigonometry(tokens: Sequence[Token]) -> bool:
    """Whether it matters how angles are measured."""
    return any(token.kind == "function" and token.text in (*_TRIGONOMETRIC, *_INVERSE) for token in tokens)


class _Parser:
    def __init__(self, tokens: list[Token], signs: list[int], in_degrees: bool, with_units: bool) -> None:
        self._tokens, self._signs, self._in_degrees, self._with_units = tokens, signs, in_degrees, with_units
        self._at = 0
        self.seen: list[Any] = []  # values of parts, newest last

    def _see(self, value: Any) -> Any:
        if len(self.seen) < 400:
            self.seen += value.args if isinstance(value, sympy.Tuple) else (value,)
        return value

    def read_all(self) -> Any:
        expression = self._expression(0)
        if self._at < len(self._tokens):
            raise NotMathematicsError(f"{self._tokens[self._at].text!r} is not understood there")
        return expression

    def _peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _takes(self, *texts: str) -> str | None:
        token = self._peek()
        if token is not None and token.kind == "operator" and token.text in texts:
            self._at += 1
            return token.text
        return None

    def _expression(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise NotMathematicsError("it is nested too deeply")
        value = self._term(depth)
        while sign := self._takes("+", "-"):
            other = _scalar(self._term(depth))
            value = self._see(_sound(_scalar(value) + other if sign == "+" else _scalar(value) - other))
        return value

    def _term(self, depth: int) -> Any:
        value = self._factor(depth)
        while True:
            sign = self._takes("*", "/")
            if sign == "/":
                divisor = _scalar(self._factor(depth))
                if divisor.is_zero:
                    raise NotMathematicsError("it divides by zero")
                value = self._see(_sound(_scalar(value) / divisor))
            elif sign == "*" or self._begins_factor():
                value = self._see(_sound(_scalar(value) * _scalar(self._factor(depth))))
            else:
                return value

    def _begins_factor(self) -> bool:
        """Whether a factor follows without a sign between: 2x, 3(4 + 1), 2 sqrt(5)."""
        token = self._peek()
        if token is None:
            return False
        if token.kind == "number":
            return self._at > 0 and self._tokens[self._at - 1].text == ")"
        if token.kind == "name" and self._tokens[self._at - 1].kind == "name":
            return len(token.text) == 1 or len(self._tokens[self._at - 1].text) == 1
        return token.kind in ("name", "function", "constant", "unit", "count") or (
            token.kind == "operator" and token.text == "("
        )

    def _factor(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise NotMathematicsError("it is nested too deeply")
        sign = self._takes("+", "-", "\u00b1")
        if sign == "\u00b1":
            return self._signs.pop(0) * _scalar(self._factor(depth + 1))
        if sign is not None:
            value = _scalar(self._factor(depth + 1))
            return -value if sign == "-" else value
        return self._power(depth)

    def _power(self, depth: int) -> Any:
        base = self._postfix(depth)
        if self._takes("^"):
            base = _power(base, self._factor(depth + 1))
        # 6 cm / 2 cm: a unit belongs to its number before anything is divided.
        while (token := self._peek()) is not None and token.kind in ("unit", "count", "power"):
            self._at += 1
            if token.kind == "power":
                base = _scalar(base) * self._unit(power=int(token.text))
            elif token.kind == "unit":
                self._at -= 1
                base = _scalar(base) * self._unit()
        return self._see(_sound(base))

    def _unit(self, power: int = 1) -> Any:
        token = self._peek()
        if token is None or token.text not in _UNITS:
            raise NotMathematicsError("a unit is not understood")
        self._at += 1
        value = _UNITS[token.text] if self._with_units else sympy.Integer(1)
        if power == 1 and self._takes("^"):
            return _power(value, self._factor(MAX_DEPTH - 4))
        return value**power

    def _postfix(self, depth: int) -> Any:
        value = self._primary(depth)
        while sign := self._takes("!", "%", "\u00b0"):
            value = _scalar(value)
            if sign == "!":
                if not (value.is_Integer and 0 <= value <= MAX_FACTORIAL):
                    raise NotMathematicsError("the factorial is too large to compute, or of no whole number")
                value = sympy.factorial(value)
            else:
                value = value * DEGREE if sign == "\u00b0" else value / 100
        return value

    def _primary(self, depth: int) -> Any:
        token = self._peek()
        if token is None:
            raise NotMathematicsError("it breaks off")
        self._at += 1
        if token.kind == "number":
            if len(token.text) > MAX_DIGITS:
                raise NotMathematicsError("a number is too long to compute")
            return sympy.Rational(Fraction(token.text if not token.text.startswith(".") else "0" + token.text))
        if token.kind == "name":
            return symbol(token.text)
        if token.kind == "constant":
            return sympy.pi
        if token.kind == "unit":
            self._at -= 1
            return self._unit()
        if token.kind == "function":
            return self._function(token.text, depth)
        if token.text == "(":
            values = [self._expression(depth + 1)]
            while self._takes(","):
                values.append(self._expression(depth + 1))
            if not self._takes(")"):
                raise NotMathematicsError("a bracket is not closed")
            return values[0] if len(values) == 1 else sympy.Tuple(*values)
        if token.text == "|":
            value = self._expression(depth + 1)
            if not self._takes("|"):
                raise NotMathematicsError("a bar is not closed")
            return sympy.Abs(_scalar(value))
        raise NotMathematicsError(f"{token.text!r} is not understood there")

    def _function(self, name: str, depth: int) -> Any:
        exponent = self._factor(MAX_DEPTH - 4) if self._takes("^") else None  # sin^2(x)
        value = self._argument(depth)
        if name in ("sqrt", "root"):
            degree = sympy.Integer(2)
            if isinstance(value, sympy.Tuple):
                value, degree = value[0], value[1] if len(value) == 2 else sympy.Integer(0)
            if not (degree.is_Integer and 2 <= degree <= 12):
                raise NotMathematicsError("the root is of no small whole degree")
            result = sympy.root(value, degree)
        elif isinstance(value, sympy.Tuple):
            raise NotMathematicsError(f"{name} takes one number")
        elif name in _TRIGONOMETRIC:
            if value.has(DEGREE):
                value = value.subs(DEGREE, sympy.pi / 180)
            elif self._in_degrees:
                value = value * sympy.pi / 180
            result = _TRIGONOMETRIC[name](value)
        elif name in _INVERSE:
            result = _INVERSE[name](value) * (180 / sympy.pi if self._in_degrees else 1)
        elif name == "abs":
            result = sympy.Abs(value)
        elif name == "exp":
            result = _power(sympy.E, value)
        else:
            if value.is_zero:
                raise NotMathematicsError("the logarithm of zero")
            result = sympy.log(value) if name == "ln" else sympy.log(value, 10)
        return _sound(result if exponent is None else _power(result, exponent))

    def _argument(self, depth: int) -> Any:
        token = self._peek()
        if token is not None and token.text == "(":
            return self._primary(depth + 1)
        value = self._postfix(depth + 1)
        following = self._peek()
        if following is not None and following.kind == "name" and not following.is_spaced:
            value = _scalar(value) * _scalar(self._postfix(depth + 1))  # sin 2x
        return value


def _power(base: Any, exponent: Any) -> Any:
    """base ** exponent where the result stays small."""
    if isinstance(base, sympy.Tuple) or isinstance(exponent, sympy.Tuple):
        raise NotMathematicsError("a point has no powers")
    if exponent.is_number:
        size = abs(float(exponent)) if exponent.is_real else float("inf")
        if size > MAX_EXPONENT:
            raise NotMathematicsError("the power is too large to compute")
        if base.is_Rational and size * max(len(str(base.p)), len(str(base.q))) > MAX_RESULT_DIGITS:
            raise NotMathematicsError("the power is too large to compute")
        if base.is_zero and exponent.is_negative:
            raise NotMathematicsError("it divides by zero")
    return _sound(base**exponent)


def _scalar(value: Any) -> Any:
    if isinstance(value, sympy.Tuple):
        raise NotMathematicsError("a point is no number")
    return value


def _sound(value: Any) -> Any:
    """The value, unless it is infinite or undefined."""
    if value.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
        raise NotMathematicsError("it has no finite value")
    return value
