r"""LaTeX and typographic mathematics as plain text, so that one tokenizer reads them all.

    \frac{1}{2} \cdot \sqrt{16}\,\text{cm}   ->   ((1)/(2)) * sqrt(16) `cm`
    6\u00b2 \u00d7 \u03c0                    ->   6^2 * pi

Back quotes mark what LaTeX says is upright: a unit or a word, never a variable. What is not known keeps its name
without the backslash. Linear in the text's length; nothing is evaluated and nothing raises.
"""

from __future__ import annotations

import re
import unicodedata

MAX_CHARS = 4000  # of one text; the rest is not looked at
_MAX_DEPTH = 24

_SIGNS = str.maketrans(
    {
        "\u00d7": "*", "\u00b7": "*", "\u22c5": "*", "\u2219": "*", "\u2217": "*", "\u00f7": "/", "\u2212": "-",
        "\u2013": "-", "\u2014": "-", "\u2215": "/", "\u2044": "/", "\u2236": ":", "\u00ba": "\u00b0",
        "\u2248": "~", "\u2245": "~", "\u2264": " <= ", "\u2265": " >= ", "\u2260": " != ", "\u21d2": " ; ",
        "\u2192": " ; ", "\u27f9": " ; ", "\u2234": " ; ", "\u21d4": " ; ", "\u2220": " angle ", "\u25b3": " triangle ",
        "\u03c0": " pi ", "\u221a": " sqrt ", "\u00bd": "(1/2)", "\u00bc": "(1/4)", "\u00be": "(3/4)",
        "\u2153": "(1/3)", "\u2154": "(2/3)", "\u2032": "'", "\u00a0": " ", "\u2009": " ", "\u202f": " ",
        "\u200b": "", "\u2061": "", "\u2062": "*",
    }
)  # fmt: skip
_RAISED = {c: str(n) for n, c in enumerate("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")} | {
    "\u207b": "-", "\u207a": "+"
}  # fmt: skip
_RAISED_RUN = re.compile("[" + "".join(_RAISED) + "]+")
_LOWERED = {chr(0x2080 + n): str(n) for n in range(10)}
_LOWERED_RUN = re.compile("[" + "".join(_LOWERED) + "]+")

_SYMBOLS = {
    "cdot": "*", "times": "*", "ast": "*", "div": "/", "pm": " \u00b1 ", "mp": " \u00b1 ", "approx": " ~ ",
    "simeq": " ~ ", "cong": " ~ ", "le": " <= ", "leq": " <= ", "ge": " >= ", "geq": " >= ", "ne": " != ",
    "neq": " != ", "lt": " < ", "gt": " > ", "Rightarrow": " ; ", "implies": " ; ", "rightarrow": " ; ", "to": " ; ",
    "Longrightarrow": " ; ", "Leftrightarrow": " ; ", "iff": " ; ", "therefore": " ; ", "circ": "\u00b0",
    "degree": "\u00b0", "angle": " angle ", "triangle": " triangle ", "pi": " pi ", "quad": " ; ", "qquad": " ; ",
    "left": "", "right": "", "big": "", "Big": "", "bigl": "", "bigr": "", "displaystyle": "", "limits": "",
    "percent": "%", "lvert": "|", "rvert": "|", "vert": "|", "ldots": "...", "dots": "...",
}  # fmt: skip
_UPRIGHT = ("text", "mathrm", "textrm", "operatorname", "unit", "si", "textbf", "mbox")
_PASSED = ("boxed", "mathbf", "mathit", "overline", "bar", "vec", "underline", "fbox", "overrightarrow", "ensuremath",
           "textit", "boldsymbol", "hat", "tag", "color")  # fmt: skip
_FRACTIONS = ("frac", "dfrac", "tfrac", "cfrac")
_COMMAND = re.compile(r"\\([A-Za-z]+|.)\s*", re.DOTALL)


def plain(text: str) -> str:
    """The same mathematics without LaTeX and typographic signs."""
    text = text[:MAX_CHARS]
    text = _RAISED_RUN.sub(lambda run: "^(" + "".join(_RAISED[c] for c in run[0]) + ")", text)
    text = _LOWERED_RUN.sub(lambda run: "_" + "".join(_LOWERED[c] for c in run[0]), text)
    text = unicodedata.normalize("NFKC", text.translate(_SIGNS)).translate(_SIGNS)
    text = text.replace("**", "^")
    if not any(sign in text for sign in "\\$^_"):
        return text
    return _Reader(text).read_all()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def read_all(self) -> str:
        pieces = []
        while self._at < len(self._text):
            pieces.append(self._piece(0))
        return "".join(pieces)

    def _piece(self, depth: int) -> str:
        """What begins here: a command, a group, a raised or lowered part, or one character."""
        char = self._text[self._at]
        if char == "\\":
            return self._command(depth)
        if char == "{":
            return self._group(depth)
        self._at += 1
        if char == "^" and self._next() == "{":
            inner = self._group(depth)
            return inner if inner.strip() == "\u00b0" else f"^({inner})"
        if char == "^" and self._text.startswith("\\circ", self._at):
            return self._command(depth)
        if char == "_" and self._next() == "{":
            return "_" + "".join(c for c in self._group(depth) if c.isalnum())
        return "" if char in "$}" else char

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _group(self, depth: int) -> str:
        """What stands between braces, or the next piece if there are none."""
        while self._next().isspace():
            self._at += 1
        if self._next() != "{":
            return self._piece(depth + 1) if self._at < len(self._text) and depth < _MAX_DEPTH else ""
        self._at += 1
        if depth >= _MAX_DEPTH:
            return ""
        pieces = []
        while self._at < len(self._text) and self._next() != "}":
            pieces.append(self._piece(depth + 1))
        self._at += 1
        return "".join(pieces)

    def _command(self, depth: int) -> str:
        found = _COMMAND.match(self._text, self._at)
        if found is None:  # a backslash at the very end
            self._at += 1
            return ""
        self._at, name = found.end(), found[1]
        if name in _FRACTIONS:
            return f"(({self._group(depth)})/({self._group(depth)}))"
        if name == "sqrt":
            if self._next() != "[":
                return f" sqrt({self._group(depth)})"
            end = self._text.find("]", self._at)
            degree = self._text[self._at + 1 : end] if end > 0 else "2"
            self._at = end + 1 if end > 0 else len(self._text)
            return f" root({self._group(depth)}, {degree})"
        if name in _UPRIGHT:
            inner = self._group(depth).strip().replace("`", "")
            return f" `{inner}` " if re.fullmatch(r"[A-Za-z\u00b0/^0-9() ]{1,24}", inner) else f" {inner} "
        if name in _PASSED:
            return self._group(depth)
        if name in ("begin", "end"):
            self._group(depth)
            return " ; "
        if name == "\\":
            return " ; "
        if name in (",", ";", ":", "!", " "):
            return " "
        if not name.isalpha():
            return name if name in "%$#&_|" and name != "$" else " "
        return _SYMBOLS.get(name, f" {name} ")
