"""HTML that a model wrote as a tree: read whatever it is, take out what a page may not do, write it cleanly.

    tree = parse(text)                 # cut output is closed, end tags may be missing
    removed = clean(tree)              # ("a script", "2 pictures from elsewhere", ...)
    text = to_html(tree)

A page from a picture needs no scripts, no frames, no other files: `clean` removes them, event attributes, addresses
that are not http(s), mailto or a place on the page, and whatever CSS would load. It is the page that people keep, so
it does not rely on the sandbox in which `render` draws it.

The tree is smaller than what a browser makes: no foster parents of tables, no adoption of misplaced formatting. Where
that differs, the page that is written is simply read by the browser as it stands.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser

VOID = frozenset(["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"])
RAW = frozenset(("style", "script", "textarea", "title", "pre"))
INLINE = frozenset(
    [
        "a",
        "abbr",
        "b",
        "bdi",
        "bdo",
        "br",
        "cite",
        "code",
        "data",
        "dfn",
        "em",
        "i",
        "img",
        "input",
        "kbd",
        "label",
        "mark",
        "option",
        "q",
        "s",
        "samp",
        "select",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
        "time",
        "u",
        "var",
        "wbr",
        "button",
        "textarea",
        "svg",
        "path",
    ]
)
# A start tag on the left ends an open element on the right (HTML, "optional tags").
_ENDS: dict[str, frozenset[str]] = {
    "li": frozenset(("li",)),
    "option": frozenset(("option",)),
    "td": frozenset(("td", "th")),
    "th": frozenset(("td", "th")),
    "tr": frozenset(("tr", "td", "th")),
    "thead": frozenset(("tr", "td", "th")),
    "tbody": frozenset(("thead", "tbody", "tr", "td", "th")),
    "tfoot": frozenset(("tbody", "tr", "td", "th")),
    "dt": frozenset(("dt", "dd")),
    "dd": frozenset(("dt", "dd")),
    "body": frozenset(("head",)),
}
_ENDS |= dict.fromkeys(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "div",
        "dl",
        "fieldset",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "ul",
    ],
    frozenset(("p",)),
)
_WALLS = frozenset(("table", "ul", "ol", "select", "dl", "body", "html", "section", "article", "div", "main", "form"))
FORBIDDEN = {
    "script": "scripts", "noscript": "scripts", "iframe": "frames", "frame": "frames", "frameset": "frames",
    "object": "plug-ins", "embed": "plug-ins", "applet": "plug-ins", "portal": "frames", "base": "base addresses",
    "link": "files from elsewhere", "audio": "media", "video": "media", "source": "media", "track": "media",
    "foreignobject": "foreign objects", "animate": "animations", "set": "animations",
}  # fmt: skip
_ADDRESSES = frozenset(("src", "srcset", "poster", "background", "data", "xlink:href", "cite", "longdesc", "ping"))
_KEPT_LINK = re.compile(r"(#|https?://|mailto:|[\w./-]*$)", re.IGNORECASE)
_CSS_LOAD = re.compile(
    r"@import[^;]*;?|url\(\s*(?!['\"]?(?:data:|#|assets/))[^)]*\)|expression\([^)]*\)|javascript:", re.I
)
_CSS_ESCAPE = re.compile(r"\\([0-9a-fA-F]{1,6})\s?")
MAX_DEPTH = 200


@dataclass
class Node:
    """An element with its attributes and children; text stands between them as plain strings."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Node | str] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """This element and all below it, in document order."""
        waiting: list[Node] = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += [child for child in reversed(node.children) if isinstance(child, Node)]

    def find(self, tag: str) -> Node | None:
        """The first element of that name."""
        return next((node for node in self.walk() if node.tag == tag), None)

    def all(self, *tags: str) -> list[Node]:
        """All elements of those names, in document order."""
        return [node for node in self.walk() if node.tag in tags]

    @property
    def text(self) -> str:
        """All text below, blanks joined, styles and scripts left out."""
        return " ".join("".join(_texts(self)).split())

    @property
    def classes(self) -> list[str]:
        """The names in `class`."""
        return self.attributes.get("class", "").split()


def _texts(node: Node) -> Iterator[str]:
    if node.tag in ("style", "script", "title"):
        return
    for child in node.children:
        if isinstance(child, str):
            yield child
        else:
            yield from _texts(child)
            if child.tag not in INLINE or child.tag == "br":
                yield " "


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("html")
        self.open = [self.root]
        self.num_unclosed = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs if re.fullmatch(r"[\w:.@-]+", name)}
        if tag in ("html", "body", "head"):
            existing = self.root if tag == "html" else self.root.find(tag)
            if existing is not None:
                existing.attributes.update(attributes)
                if tag == "body":
                    self.open = [self.root, existing]
                return
        ends = _ENDS.get(tag, frozenset())
        for depth in range(len(self.open) - 1, 0, -1):
            name = self.open[depth].tag
            if name in ends:
                del self.open[depth:]
            elif name in _WALLS:
                break
        node = Node(tag, attributes)
        self.open[-1].children.append(node)
        if tag not in VOID and len(self.open) < MAX_DEPTH:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID and self.open[-1].tag == tag and tag in ("path", "circle", "rect", "line", "use", "polygon"):
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        for depth in range(len(self.open) - 1, 0, -1):
            if self.open[depth].tag == tag:
                del self.open[depth:]
                return

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(text: str) -> Node:
    """Read HTML of any quality into a whole page: an `html` element with `head` and `body`."""
    reader = _Reader()
    reader.feed(text.replace("\0", ""))
    reader.close()
    root = reader.root
    head, body = root.find("head") or Node("head"), root.find("body") or Node("body")
    loose = [child for child in root.children if child is not head and child is not body]
    for child in loose:
        is_of_head = isinstance(child, Node) and child.tag in ("title", "style", "meta", "link", "script", "base")
        (head if is_of_head else body).children.append(child)
    root.children = [head, body]
    return root


def clean(root: Node) -> tuple[str, ...]:
    """Take out, in place, what a page made from a picture must not have; return what it was, in words."""
    removed: Counter[str] = Counter()
    for node in list(root.walk()):
        kept: list[Node | str] = []
        for child in node.children:
            if isinstance(child, Node) and child.tag in FORBIDDEN:
                removed[FORBIDDEN[child.tag]] += 1
            elif isinstance(child, Node) and child.tag == "meta" and "http-equiv" in child.attributes:
                removed["instructions to the browser"] += 1
            else:
                kept.append(child)
        node.children = kept
        for name, value in list(node.attributes.items()):
            what = _refused(node.tag, name, value)
            if what:
                removed[what] += 1
                del node.attributes[name]
        if node.tag == "style":
            node.children = [_css("".join(c for c in node.children if isinstance(c, str)), removed)]
        if "style" in node.attributes:
            node.attributes["style"] = _css(node.attributes["style"], removed)
    return tuple(f"{count} {what}" for what, count in removed.items())


def _refused(tag: str, name: str, value: str) -> str:
    address = re.sub(r"[\s\x00-\x1f]", "", value).lower()
    if name.startswith("on") or name in ("srcdoc", "action", "formaction", "target", "autofocus"):
        return "attributes that act"
    if name in _ADDRESSES and not address.startswith(("assets/", "data:image/", "#")):
        return "pictures from elsewhere" if tag == "img" else "files from elsewhere"
    if name == "href" and (not _KEPT_LINK.match(address) or (tag != "a" and not address.startswith("#"))):
        return "links that act"
    return ""


def _css(text: str, removed: Counter[str]) -> str:
    plain = _CSS_ESCAPE.sub(_unescaped, text).replace("\\", "").replace("</", "< /")
    mended, count = _CSS_LOAD.subn("none", plain)
    if count:
        removed["files from elsewhere"] += count
    return mended


def _unescaped(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return chr(code) if 0x20 <= code < 0x110000 and not 0xD800 <= code < 0xE000 else ""


def to_html(root: Node) -> str:
    """Write a page, indented by two blanks, with the doctype."""
    out: list[str] = []
    _write(root, 0, out)
    return "<!DOCTYPE html>\n" + "\n".join(out) + "\n"


def _write(node: Node, depth: int, out: list[str]) -> None:
    pad = "  " * max(depth - 1, 0)  # html, head and body all begin at the left
    if node.tag in VOID:
        out.append(pad + _start(node))
        return
    if node.tag == "style":
        body = "".join(child for child in node.children if isinstance(child, str)).strip("\n")
        out += [pad + _start(node), body, pad + "</style>"]
        return
    if not any(isinstance(child, Node) and child.tag not in INLINE for child in node.children):
        out.append(pad + _inline(node).strip())
        return
    out.append(pad + _start(node))
    run: list[Node | str] = []
    for child in [*node.children, None]:
        if isinstance(child, str) or (child is not None and child.tag in INLINE):
            run.append(child)
            continue
        _write_run(run, depth + 1, out)
        run = []
        if child is not None:
            _write(child, depth + 1, out)
    out.append(f"{pad}</{node.tag}>")


def _write_run(run: list[Node | str], depth: int, out: list[str]) -> None:
    text = "".join(escape(child, quote=False) if isinstance(child, str) else _inline(child) for child in run)
    if text.strip():
        out.append("  " * max(depth - 1, 0) + " ".join(text.split()))


def _inline(node: Node) -> str:
    if node.tag in VOID:
        return _start(node)
    inner = "".join(escape(child, quote=False) if isinstance(child, str) else _inline(child) for child in node.children)
    if node.tag not in ("pre", "textarea"):
        inner = re.sub(r"\s+", " ", inner)
    if node.tag not in INLINE:
        inner = inner.strip()
    return f"{_start(node)}{inner}</{node.tag}>"


def _start(node: Node) -> str:
    attributes = "".join(
        f" {name}" if value == "" and name not in ("alt", "value", "class") else f' {name}="{escape(value)}"'
        for name, value in node.attributes.items()
    )
    return f"<{node.tag}{attributes}>"
