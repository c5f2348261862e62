"""JSON as models write it: a scanner that reads on where a parser would stop, and says what it had to mend.

    scanner = Scanner("Sure: [{'label': 'cup', bbox_2d: [1, 2, 3, 4,]")
    scanner.position = scanner.text.find("[")
    plain(scanner.read_value()), scanner.repair_texts()

It takes single, curly and missing quotes, Python's words and tuples, comments, missing, trailing and full-width
commas, doubled or extra braces, brackets that were forgotten or closed in the wrong order, quotes inside strings, raw
line breaks, LaTeX with single backslashes, and text that ends anywhere. What was cut is marked `is_cut`: of a string
the written part is kept, of a number or a key nothing, since the last digit may be missing.

An object whose keys come again, or that holds objects without keys, was several objects; they become a list.

Every number and string knows where in the text it stands. Time is linear in the length of the text; nothing raises.
It does not look for JSON in prose, fences or tags: that is the caller's.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

from regard.processing.json_values import NOTHING, NUMBER, List, Object, String, number_at, string_at

MAX_DEPTH = 32

_CLOSING = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019"}
# A quote ends a string only where a string may end, so that "the "Save" button" and 'it's' are one each.
_AFTER_STRING = re.compile(
    r"\s*+(?:[:\uff1a}\])]|\Z|//|```"
    r"|[,\uff0c]\s*+(?:[\"'\u201c{\[(\-\d}\])]|[A-Za-z_]\w{0,60}+\s*+[:\uff1a]|(?:true|false|null|None|True|False)\b|//|\Z)"
    r"|[\"'\u201c][^\"'\u201d\n]{1,60}+[\"'\u201d]\s*+[:\uff1a])"
    r"|[ \t\r]*+\n\s*+[\"'\u201c{]"
)
_AFTER_KEY = re.compile(r"\s*+[\"'\d\[{-]")  # where its colon is missing
_CUT_ESCAPE = re.compile(r"(?<!\\)\\(?:u[0-9a-fA-F]{0,3})?\Z")
_QUOTE_OR_ESCAPE = {close: re.compile(rf"\\.|{close}", re.DOTALL) for close in _CLOSING.values()}
_LATEX = (
    "bar|begin|beta|big|binom|bmod|boxed|bot|bullet|forall|frac|nabla|ne|neg|neq|ni|nu|not|notin|nmid|rangle|rceil|"
    "rfloor|rho|right|rightarrow|tan|tanh|tau|text|textbf|textit|textrm|tfrac|therefore|theta|tilde|times|to|top|"
    "triangle|underline|unit|upsilon|uparrow"
)
_ESCAPE = re.compile(rf"\\(?:(?P<latex>(?:{_LATEX})(?![a-z]))|u(?P<hex>[0-9a-fA-F]{{4}})|(?P<char>.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\", "/": "/", "'": "'", "\n": "\n"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_GAP = re.compile(r"(?:\s++|//[^\n]*+|#\s[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z))*+")
_BARE = re.compile(r"[^,;:\uff0c\uff1a\[\]{}()\"'\u201c\u201d\n]++")
_CLOCK = r"\d{1,4}(?::\d{1,2}){1,3}(?:[.]\d+)?"
_BARE_TIME = re.compile(rf"{_CLOCK}(?:\s*(?:-+>?|to|~|\u2013|\u2014)\s*{_CLOCK})?")
_NUMBERS = re.compile(rf"{NUMBER.pattern}(?:\s+{NUMBER.pattern})+")
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_NOTHING = {"undefined", "nan", "NaN", "Infinity", "-Infinity", "N/A"}


_REPAIRS = {  # once, and where they are worth counting: several times
    "closed": ("closed 1 open bracket", "closed {} open brackets"),
    "cut string": ("closed a string that was cut",),
    "cut end": ("left out a piece that was cut",),
    "quotes": ("took other quotes for double quotes",),
    "inner quotes": ("kept quotes inside a string",),
    "bare": ("put quotes around a bare word", "put quotes around {} bare words"),
    "words": ("took Python's words for JSON's",),
    "numbers": ("took a word that is no number for null",),
    "mixed": ("took one kind of bracket for another",),
    "line break": ("took a raw line break in a string",),
    "tuple": ("took parentheses for brackets",),
    "comment": ("left out comments",),
    "trailing comma": ("left out an extra comma", "left out {} extra commas"),
    "missing comma": ("added a missing comma", "added {} missing commas"),
    "missing colon": ("added a missing colon", "added {} missing colons"),
    "missing value": ("took a missing value for null", "took {} missing values for null"),
    "missing bracket": ("added a missing closing bracket", "added {} missing closing brackets"),
    "wide": ("took full-width punctuation for plain",),
    "doubled": ("took doubled braces for single ones",),
    "split": ("split an object that was several",),
    "stray": ("left out stray characters",),
    "latex": ("kept LaTeX's backslashes",),
    "deep": ("left out what was nested too deeply",),
}


class Scanner:
    """Reads values at `position`. `objects` are all objects met, in the order of their opening braces."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.objects: list[Object] = []
        self.repairs: Counter[str] = Counter()
        self._open: list[str] = []
        self._no_end: dict[str, int] = {}  # closing quote -> from here on none ends a string

    def repair_texts(self) -> tuple[str, ...]:
        """What was mended, in words."""
        return tuple(
            _REPAIRS[kind][-1 if count > 1 else 0].format(count) for kind, count in self.repairs.items() if count
        )

    def read_value(self) -> Any:
        """An Object, List, String, Number, bool or None; `NOTHING` where no value stands."""
        start = self._peek()
        if start in ("{", "[", "("):
            if len(self._open) >= MAX_DEPTH:
                self.repairs["deep"] += 1
                return NOTHING
            return self._read_object() if start == "{" else self._read_list(start)
        if start in _CLOSING:
            return self._read_string(start)
        return self._read_bare()

    def _read_object(self) -> Any:
        self.position += 1
        self._open.append("{")
        made = [self._new_object()]
        loose: list[Any] = []
        strays: list[Any] = []
        is_cut = True
        while self._skip_commas("}"):
            start = self._peek()
            if start == "}":
                self.position += 1
                is_cut = False
                break
            if start in "])" and "[" in self._open:
                self.repairs["missing bracket"] += 1
                is_cut = False
                break
            if start in "{[(":
                before = self.position
                stray = self.read_value()
                strays += stray if isinstance(stray, List) and stray.is_several else [stray]
                if stray is NOTHING and self.position == before:
                    self._skip()
                continue
            key = self._read_key(start)
            if key is None:
                self._skip()
            elif self._takes_colon(key):
                if key in made[-1]:
                    made.append(self._new_object())
                self._read_pair(made[-1], str(key))
            else:
                loose.append(key)
        self._open.pop()
        made[0].is_cut = made[-1].is_cut = is_cut
        return self._finished(made, strays, loose)

    def _read_pair(self, pairs: Object, key: str) -> None:
        """Read the value of a key; what is not there is null, or left out at the end of the text."""
        value = self.read_value()
        if value is not NOTHING:
            pairs[key] = value
        elif self._peek() == "":
            self.repairs["cut end"] += 1
        elif self._peek() not in "{[(":  # else it was nested too deeply
            self.repairs["missing value"] += 1
            pairs[key] = None

    def _finished(self, made: list[Object], strays: list[Any], loose: list[Any]) -> Any:
        """One object, or the several that stood between one pair of braces."""
        strays = [stray for stray in strays if isinstance(stray, Object | List)]
        if not made[0] and strays:
            self.repairs["doubled"] += 1
            made = []
        elif strays or len(made) > 1:
            self.repairs["split"] += 1
        if loose and made[:1] != [{}]:
            self.repairs["stray"] += 1
        several = List([*made, *strays])
        several.is_several = True
        if len(several) == 1:
            if loose and not several[0] and not all(getattr(one, "is_bare", False) for one in loose):
                return List(loose)  # a Python set
            return several[0]
        several.is_cut = any(getattr(one, "is_cut", False) for one in several)
        return several

    def _new_object(self) -> Object:
        pairs = Object()
        self.objects.append(pairs)
        return pairs

    def _read_key(self, start: str) -> String | None:
        if start in _CLOSING:
            key = self._read_string(start, is_key=True)
            return None if key.is_cut else key
        found = _BARE_TIME.match(self.text, self.position) or _BARE.match(self.text, self.position)
        if found is None:
            return None
        self.position = found.end()
        if self.position == len(self.text):
            self.repairs["cut end"] += 1
        key = string_at(found[0].strip(), found.span())
        key.is_bare = True
        return key

    def _takes_colon(self, key: String) -> bool:
        """Whether a value follows the key."""
        if self._takes(":") or self._takes("\uff1a", "wide"):
            if key.is_bare:
                self.repairs["bare"] += 1
            return True
        following = self._peek()
        if key.is_bare or not following or not (following in '"{[' or following.isdigit()):
            return False
        self.repairs["missing colon"] += 1
        return True

    def _read_list(self, opening: str) -> List:
        if opening == "(":
            self.repairs["tuple"] += 1
        self.position += 1
        self._open.append("[")
        items = List()
        while self._skip_commas("])"):
            start = self._peek()
            if start in "])":
                self.repairs["mixed"] += (start == ")") != (opening == "(")
                self.position += 1
                break
            if start == "}" and "{" in self._open:
                self.repairs["missing bracket"] += 1
                break
            if start in ":\uff1a" and "{" in self._open and len(items) > 1 and isinstance(items[-1], String):
                key = items.pop()  # of the object around
                self.position = key.span[0] - (not key.is_bare)
                self.repairs["missing bracket"] += 1
                break
            before = self.position
            item = self.read_value()
            if item is NOTHING:
                if self._peek() != "" and self.position == before:
                    self._skip()
            elif isinstance(item, List) and item.is_several:
                items += item
            elif isinstance(item, String) and item.is_bare and _NUMBERS.fullmatch(item):
                self.repairs["missing comma"] += 1
                at = item.span[0]
                items += [number_at(n[0], (at + n.start(), at + n.end())) for n in NUMBER.finditer(item)]
            else:
                items.append(item)
        else:
            items.is_cut = True
        self._open.pop()
        return items

    def _read_string(self, opening: str, *, is_key: bool = False) -> String:
        closing = _CLOSING[opening]
        if opening != '"':
            self.repairs["quotes"] += 1
        start = self.position + 1
        is_hopeless = start >= self._no_end.get(closing, len(self.text) + 1)
        first: int | None = None
        end: int | None = None
        for found in _QUOTE_OR_ESCAPE[closing].finditer(self.text, start):
            if found[0] != closing:
                continue
            first = found.start() if first is None else first
            if is_hopeless:
                break
            if _AFTER_STRING.match(self.text, found.end()) or (is_key and _AFTER_KEY.match(self.text, found.end())):
                end = found.start()
                break
        if end is None:
            self._no_end[closing] = min(start, self._no_end.get(closing, start))
            end = first
        elif first != end:
            self.repairs["inner quotes"] += 1
        is_cut = end is None
        stop = len(self.text) if end is None else end
        self.position = min(stop + 1, len(self.text))
        raw = self.text[start:stop]
        self.repairs["line break"] += "\n" in raw
        string = string_at(self._unescaped(_CUT_ESCAPE.sub("", raw) if is_cut else raw), (start, stop))
        string.is_cut = is_cut
        if is_cut:
            self.repairs["cut string"] += 1
        return string

    def _unescaped(self, raw: str) -> str:
        if "\\" in raw:
            raw = _ESCAPE.sub(self._escape, raw)
        if _SURROGATE.search(raw):
            raw = raw.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return raw

    def _escape(self, found: re.Match[str]) -> str:
        if found["hex"]:
            return chr(int(found["hex"], 16))
        if not found["latex"] and found["char"] in _ESCAPED:
            return _ESCAPED[found["char"]]
        self.repairs["latex"] += 1
        return found[0]

    def _read_bare(self) -> Any:
        found = _BARE_TIME.match(self.text, self.position) or _BARE.match(self.text, self.position)
        if found is None:
            return NOTHING
        self.position = found.end()
        word = found[0].rstrip()
        span = (found.start(), found.start() + len(word))
        if found.end() == len(self.text) and word not in _WORDS:
            self.repairs["cut end"] += 1
            return NOTHING
        if NUMBER.fullmatch(word):
            number = number_at(word, span)
            return number if math.isfinite(number) else None
        if word in _WORDS:
            if word[0].isupper():
                self.repairs["words"] += 1
            return _WORDS[word]
        if word in _NOTHING:
            self.repairs["numbers"] += 1
            return None
        string = string_at(word, span)
        string.is_bare = True
        if not _NUMBERS.fullmatch(word):
            self.repairs["bare"] += 1
        return string

    def _skip(self) -> None:
        self.position += 1
        self.repairs["stray"] += 1

    def _skip_commas(self, closings: str) -> bool:
        """Pass over what separates two items; False at the end of the text."""
        num, before = 0, self.text[self.position - 1 : self.position]
        while self._takes(",") or self._takes("\uff0c", "wide") or self._takes(";"):
            num += 1
        following = self._peek()
        if num > 1 or (num and following and following in closings):
            self.repairs["trailing comma"] += 1
        elif not num and following and following not in closings and (before in "}])\"'\u201d" or before.isalnum()):
            self.repairs["missing comma"] += 1
        if following == "":
            self.repairs["closed"] += 1
            return False
        return True

    def _peek(self) -> str:
        """The next character that is no space or comment; "" at the end."""
        found = _GAP.match(self.text, self.position)
        if found is not None and found.end() > self.position:
            if "/" in found[0] or "#" in found[0]:
                self.repairs["comment"] += 1
            self.position = found.end()
        return self.text[self.position : self.position + 1]

    def _takes(self, char: str, repair: str | None = None) -> bool:
        if self._peek() != char:
            return False
        self.position += 1
        if repair is not None:
            self.repairs[repair] += 1
        return True
