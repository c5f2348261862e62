"""From a sentence to formulas: a tokenizer that knows numbers, names, units and prose.

    tokenize("so the area = 6 cm * 4 cm")  ->  word so, word the, name area, = , 6, unit cm, *, 4, unit cm
    formulas("Pythagoras: AC^2 = 6^2 + 8^2 = 100.", ...)  ->  one chain: AC^2 | 6^2 + 8^2 | 100

A word is a name where it stands like one: operators, relations or ends on both sides. Everything else that is no
number, function or unit is prose and ends a formula. No sympy here, nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from regard.apps.tutor.latex import plain

MAX_TOKENS = 160  # of one formula
FUNCTIONS = ("sqrt", "root", "sin", "cos", "tan", "asin", "acos", "atan", "arcsin", "arccos", "arctan", "log", "ln",
             "exp", "abs")  # fmt: skip
# Units that are words of their own; those of one letter only behind a number, and if no variable has that name.
_UNIT_WORDS = (
    "mm cm dm m km mg g kg t ms s sec min h hr hour hours minute minutes second seconds day days ml mL cl dl l L "
    "liter liters litre litres N J kJ W kW kWh V A Pa Hz ft yd mi inch inches meter meters metre metres centimeter "
    "centimeters centimetre centimetres kilometer kilometers kilometre kilometres dollars euros euro EUR USD cents "
    "mph kmh degrees degree deg units unit"
)
UNITS = frozenset(_UNIT_WORDS.split())
_SQUARED = {"square": 2, "sq": 2, "cubic": 3}
_RELATION_WORDS = {"equals": "=", "is": "=", "gives": "=", "makes": "="}
_OPERATOR_WORDS = {"times": "*", "plus": "+", "minus": "-", "over": "/"}

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,])|\d+(?:\.\d+)?|\.\d+)
    |(?P<upright>`[^`]*`)
    |(?P<word>[A-Za-z\u0391-\u03c9][A-Za-z\u0391-\u03c9]*(?:_[A-Za-z0-9]+)?\d*'*)
    |(?P<relation><=|>=|!=|==|:=|=|~|<|>)
    |(?P<operator>[-+*/^()|!%,\u00b0\u00b1\[\]$\u20ac])
    |(?P<end>[;.?\n:])
    |(?P<other>.)""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Token:
    """One token. kind: number, name, function, unit, operator, relation, end, prose."""

    kind: str
    text: str
    is_spaced: bool = False  # whether white space stands before it


@dataclass(frozen=True)
class Formula:
    """A chain like a = b = c: `sides` are lists of tokens, `relations` stand between them."""

    sides: tuple[tuple[Token, ...], ...]
    relations: tuple[str, ...]

    @property
    def text(self) -> str:
        """As it would be written again."""
        pieces = [written(self.sides[0])]
        for relation, side in zip(self.relations, self.sides[1:], strict=True):
            pieces += ["\u2248" if relation == "~" else relation, written(side)]
        return " ".join(pieces)


def written(tokens: Sequence[Token]) -> str:
    """Tokens as text."""
    text = "".join((" " if token.is_spaced and index else "") + token.text for index, token in enumerate(tokens))
    return text.replace("`", "").strip()


def tokenize(text: str, variables: Iterable[str] = ()) -> list[Token]:
    """Tokens of a text. `variables`: names that are known, and so are no units."""
    known = frozenset(variables)
    tokens = _words_joined(_raw(plain(text)))
    return _sorted_out(tokens, known)


def _raw(text: str) -> list[Token]:
    tokens: list[Token] = []
    is_spaced = False
    for found in _TOKEN.finditer(text):
        kind = str(found.lastgroup)
        if kind == "space":
            is_spaced = True
            continue
        value = found[0]
        if kind == "number":
            value = value.replace(",", "")
        elif kind == "relation":
            value = "=" if value in ("==", ":=") else value
        elif (
            kind == "end" and value == "." and not is_spaced and found.end() < len(text) and text[found.end()].isalnum()
        ):
            kind = "other"
        elif kind == "upright":
            kind, value = "upright", value.strip("` ")
        elif kind == "operator" and value in "[]":
            value = "(" if value == "[" else ")"
        tokens.append(Token(kind, value, is_spaced))
        is_spaced = False
    return tokens


def _words_joined(tokens: list[Token]) -> list[Token]:
    """'angle' and the corner's letters become one word."""
    joined: list[Token] = []
    for token in tokens:
        last = joined[-1] if joined else None
        if (
            token.kind == "word"
            and token.text.isupper()
            and last
            and last.kind == "word"
            and last.text.lower() == "angle"
        ):
            joined[-1] = replace(last, text=f"angle {token.text}")
        else:
            joined.append(token)
    return joined


def _sorted_out(tokens: list[Token], known: frozenset[str]) -> list[Token]:
    """Decide for every word what it is, from its neighbours."""
    result: list[Token] = []
    for index, token in enumerate(tokens):
        before = result[-1] if result else None
        after = tokens[index + 1] if index + 1 < len(tokens) else None
        if token.kind == "upright":
            result += _upright(token, before)
        elif token.kind == "word" and _is_compound(tokens, index):
            result.append(replace(token, kind="unit"))
        elif token.kind == "word" and _is_product(token.text, known):
            result += [Token("name", letter, token.is_spaced and not i) for i, letter in enumerate(token.text)]
        elif token.kind == "word":
            is_divisor = len(result) > 1 and result[-1].text == "/" and result[-2].kind == "unit"
            result.append(
                replace(token, kind="unit")
                if is_divisor and token.text in UNITS
                else _word(token, before, after, known)
            )
        elif token.kind == "operator" and token.text in "$\u20ac":
            result.append(replace(token, kind="unit"))
        elif token.kind == "other":
            result.append(replace(token, kind="prose"))
        else:
            result.append(token)
    return result


def _upright(token: Token, before: Token | None) -> list[Token]:
    """What LaTeX marked as text: a unit behind a number, else prose."""
    inner = _raw(token.text)
    is_unit = before is not None and all(t.text in UNITS or t.kind in ("operator", "number") for t in inner) and inner
    if is_unit:
        return [replace(t, kind="unit") if t.kind == "word" else t for t in inner]
    return [Token("prose", token.text, True)] if inner and not (before and before.kind == "number") else []


def _word(token: Token, before: Token | None, after: Token | None, known: frozenset[str]) -> Token:
    text, lower = token.text, token.text.lower()
    follows_value = before is not None and _ends_value(before) and before.kind not in ("name", "constant", "count")
    if lower in FUNCTIONS and text not in known:
        return replace(token, kind="function", text=lower)
    if lower == "pi":
        return replace(token, kind="constant", text="pi")
    if text in UNITS and text not in known and (follows_value or _is_factor_sign(before, text)):
        return replace(token, kind="unit")
    if lower in _SQUARED and follows_value and after is not None and after.text in UNITS:
        return replace(token, kind="power", text=str(_SQUARED[lower]))
    if lower in _RELATION_WORDS and before is not None and before.kind != "prose" and _begins_value(after):
        return replace(token, kind="relation", text=_RELATION_WORDS[lower])
    if lower in _OPERATOR_WORDS and before is not None and _ends_value(before) and _begins_value(after):
        return replace(token, kind="operator", text=_OPERATOR_WORDS[lower])
    if lower == "of" and before is not None and (before.text == "%" or before.text == ")"):
        return replace(token, kind="operator", text="*")
    if text in known or _is_short_name(text):
        return replace(token, kind="name") if _stands_as_name(before, after, text) else replace(token, kind="prose")
    if before is not None and before.kind == "number" and (after is None or after.kind != "word"):
        return replace(token, kind="count")  # 5 apples
    starts = before is None or before.kind in ("operator", "relation", "end", "prose")
    is_followed = after is not None and (
        after.kind == "relation" or (after.kind == "operator" and after.text in "+-*/^")
    )
    starts = starts and (before is None or before.text != ")")
    ends_formula = before is not None and before.kind in ("operator", "relation") and before.text not in (")", ",")
    if starts and is_followed:
        return replace(token, kind="name")
    if ends_formula and (after is None or after.kind in ("end", "operator")):
        return replace(token, kind="name")
    return replace(token, kind="prose")


def _is_factor_sign(before: Token | None, text: str) -> bool:
    return before is not None and (before.text == "/" or (before.text in ("*", "^") and len(text) > 1))


def _is_compound(tokens: Sequence[Token], index: int) -> bool:
    """Whether a unit over another begins here: m/s, km/h. Their letters are units even where m is also a mass."""
    following = [token.text for token in tokens[index : index + 3]]
    is_quotient = len(following) == 3 and following[1] == "/" and {following[0], following[2]} <= UNITS
    is_close = is_quotient and not tokens[index + 1].is_spaced and not tokens[index + 2].is_spaced
    return is_close and (index == 0 or tokens[index - 1].kind in ("number", "word") and tokens[index].is_spaced)


def _is_product(text: str, known: frozenset[str]) -> bool:
    """Whether letters written together are several variables: ab in (a + b)^2 = a^2 + 2ab + b^2."""
    return 1 < len(text) < 4 and text.islower() and text not in known and all(letter in known for letter in text)


def _is_short_name(text: str) -> bool:
    """x, r, AB, ABC, x_1, angle B, theta."""
    stem = text.split("_")[0].rstrip("'").rstrip("0123456789")
    return len(stem) == 1 or "_" in text or text.startswith("angle ") or (stem.isupper() and len(stem) <= 3) or any(
        ord(c) > 0x390 for c in stem
    )  # fmt: skip


def _stands_as_name(before: Token | None, after: Token | None, text: str) -> bool:
    """'A right triangle' and 'I see' begin with words, 'A = 5' with a name."""
    if text not in ("A", "I", "a"):
        return True
    return after is None or after.kind in ("operator", "relation", "end") or (
        before is not None and before.kind in ("number", "operator", "relation")
    )  # fmt: skip


def _begins_value(token: Token | None) -> bool:
    return token is not None and (
        token.kind == "number" or token.text in ("(", "-", "\u00b1", "$", "\u20ac")
        or (token.kind == "word" and (_is_short_name(token.text) or token.text.lower() in (*FUNCTIONS, "pi")))
    )  # fmt: skip


def _ends_value(token: Token) -> bool:
    return token.kind in ("number", "name", "unit", "constant", "count") or token.text in (")", "%", "\u00b0", "!")


def formulas(text: str, variables: Iterable[str] = ()) -> list[Formula]:
    """The chains of relations in a text, in order; a text without any has none."""
    known = frozenset(variables)
    found: list[Formula] = []
    for run in runs(tokenize(text, known)):
        sides: list[tuple[Token, ...]] = []
        relations: list[str] = []
        side: list[Token] = []
        for token in (*run, Token("relation", "")):
            if token.kind == "relation":
                sides.append(tuple(side))
                relations.append(token.text)
                side = []
            else:
                side.append(token)
        if len(sides) > 1 and all(sides) and len(run) <= MAX_TOKENS:
            found.append(Formula(tuple(sides), tuple(relations[:-1])))
    return found


def runs(tokens: Sequence[Token]) -> list[list[Token]]:
    """Stretches of mathematics: cut at prose, ends, and at commas that are in no brackets."""
    result: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.kind == "operator" and token.text == "(":
            depth += 1
        elif token.kind == "operator" and token.text == ")":
            if depth == 0:
                result.append([])
                continue
            depth -= 1
        if token.kind in ("prose", "end") or (token.text == "," and depth == 0):
            result.append([])
            depth = 0
        else:
            result[-1].append(token)
    return [balanced for run in result if (balanced := _balanced(run))]


def _balanced(run: list[Token]) -> list[Token]:
    """The run without a bracket that prose left open, as in "AC = 10 (the root of ..."."""
    open_at: list[int] = []
    for index, token in enumerate(run):
        if token.kind == "operator" and token.text == "(":
            open_at.append(index)
        elif token.kind == "operator" and token.text == ")" and open_at:
            open_at.pop()
    return run[: open_at[0]] if open_at else run


def names_in(text: str) -> set[str]:
    """Names that stand alone on the left of a relation or beside operators: the variables of a solution."""
    names: set[str] = set()
    for run in runs(tokenize(text)):
        for index, token in enumerate(run):
            is_bare = index == 0 or run[index - 1].kind in ("operator", "relation")
            if token.kind == "name" and (is_bare or len(token.text) > 1):
                names.add(token.text)
    return names
