"""Code and pages that a model wrote, out of their fences; a page that was cut is closed.

Of several fenced blocks the last of the language is meant: models write a draft first, and the family's own notebook
takes the last one too.
"""

from __future__ import annotations

import re

from regard.apps.reading.read import Fence, Read, fences, outside

_ALIASES = {
    "python": {"python", "py", "python3"},
    "html": {"html", "htm", "xhtml", "vue"},
    "javascript": {"javascript", "js", "jsx"},
    "typescript": {"typescript", "ts", "tsx"},
    "markdown": {"markdown", "md"},
    "shell": {"sh", "bash", "shell", "console"},
    "cpp": {"cpp", "c++", "cc"},
    "yaml": {"yaml", "yml"},
}
_PAGE_START = re.compile(r"<!doctype\s+html|<html\b|<body\b", re.IGNORECASE)
_PAGE_END = re.compile(r"</html\s*>", re.IGNORECASE)
_FIRST_TAG = re.compile(r"<[a-zA-Z!][^<>]{0,4000}>")
_TAG = re.compile(r"<(/?)([a-zA-Z][\w-]*+)([^<>]*+)>|<!--(?:[^-]|-(?!->))*+(?:-->|\Z)")
_CUT_TAG = re.compile(r"<[/!a-zA-Z][^<>]*+\Z|<\Z")
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_OPTIONAL = {"p", "li", "td", "th", "tr", "dt", "dd", "option", "thead", "tbody", "tfoot", "colgroup"}
_RAW = {"script", "style", "textarea", "title"}
_MAX_OPEN = 2000


def read_code(text: str, language: str) -> Read[str]:
    """The last fenced block of a language, else the last one at all, else the whole answer; "" if it is empty."""
    text = outside(text)
    names = _ALIASES.get(language.lower(), {language.lower()})
    blocks = [block for block in fences(text) if block.body.strip()]
    own = [block for block in blocks if block.language in names]
    if own:
        return _of_block(own[-1], ())
    plain = [block for block in blocks if not block.language] or blocks
    if plain:
        told = plain[-1].language or "nothing"
        return _of_block(plain[-1], (f"took a block that is marked as {told} for {language}",))
    body = text.strip().strip("`").strip()
    if "html" in names and (start := _PAGE_START.search(body)):
        ends = list(_PAGE_END.finditer(body, start.start()))
        body = body[start.start() : ends[-1].end() if ends else len(body)]
    return Read(body, ("took the whole answer, which has no fence",) if body else ())


def _of_block(block: Fence, repairs: tuple[str, ...]) -> Read[str]:
    body = block.body.strip("\n").rstrip()
    return Read(body, repairs if block.is_closed else (*repairs, "closed a fence that was open"))


def read_html(text: str) -> Read[str]:
    """QwenVL HTML or any page: without fence and prose, and closed where it was cut; "" if there is no tag."""
    text = outside(text)
    repairs: list[str] = []
    blocks = [block for block in fences(text) if _FIRST_TAG.search(block.body)]
    body = blocks[-1].body if blocks else text
    start = _PAGE_START.search(body) or _FIRST_TAG.search(body)
    if start is None:
        return Read("")
    body = body[start.start() :].rstrip().rstrip("`").rstrip()
    ends = list(_PAGE_END.finditer(body))
    if ends:
        body = body[: ends[-1].end()]
    cut = _CUT_TAG.search(body, max(body.rfind("<"), 0))
    if cut is not None:
        body = body[: cut.start()].rstrip()
        repairs.append("left out a tag that was cut")
    missing = _still_open(body)
    if missing:
        body += "".join(f"</{name}>" for name in reversed(missing))
        if any(name not in _OPTIONAL for name in missing):
            repairs.append(f"closed {len(missing)} open tag{'s' * (len(missing) > 1)}")
    return Read(body, tuple(repairs))


def _still_open(html: str) -> list[str]:
    """The names of elements that have no end, outermost first."""
    names: list[str] = []
    counts: dict[str, int] = {}
    raw: str | None = None
    for tag in _TAG.finditer(html):
        if not tag[2]:
            continue
        name = tag[2].lower()
        if raw is not None and not (tag[1] and name == raw):
            continue
        raw = None
        if tag[1]:
            if counts.get(name, 0):
                while names:
                    last = names.pop()
                    counts[last] -= 1
                    if last == name:
                        break
        elif name not in _VOID and not tag[3].endswith("/"):
            if len(names) < _MAX_OPEN:
                names.append(name)
                counts[name] = counts.get(name, 0) + 1
            raw = name if name in _RAW else None
    return names
