"""QwenVL HTML, as the models write it for the prompt `qwenvl html`, to blocks.

    <html><body><h2 data-bbox="60 40 520 110">Price list</h2>
    <div class="text" data-bbox="104 29 455 75">...</div><div class="table" data-bbox="..."><table>...</table></div>

Boxes are four whole numbers in the model's units. Both generations are read: classes of `div` (Qwen3-VL), and `p`,
`h1`-`h6`, `div.image` with an inner `img` of the same box, `ol` and `ul` with items that have boxes (Qwen2.5-VL). Text
without a box is kept, as a block without one. Nothing raises, whatever the text holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from regard.apps.documents.result import Block, Kind, Rect
from regard.apps.documents.tables import table_of_html
from regard.apps.reading import Read, read_html
from regard.processing.coordinates import Units

_KINDS: tuple[tuple[str, Kind], ...] = (
    ("caption", "caption"),
    ("formula", "formula"),
    ("chemical", "figure"),
    ("music", "figure"),
    ("chart", "figure"),
    ("image", "figure"),
    ("figure", "figure"),
    ("table", "table"),
    ("title", "heading"),
    ("header", "text"),
    ("text", "text"),
)
_NUMBERS = re.compile(r"-?\d+(?:\.\d+)?")
_BREAKING = {"br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section"}
_VOID = {"br", "img", "hr", "input", "meta", "link", "col"}
_SILENT = {"style", "script", "head", "title"}


@dataclass
class _Open:
    """An element that is open: its tag, and the block that it makes, if any."""

    tag: str
    block: _Draft | None = None


@dataclass
class _Draft:
    kind: Kind
    box: Rect | None
    level: int = 0
    text: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)  # of a table


class _Parser(HTMLParser):
    def __init__(self, units: Units) -> None:
        super().__init__(convert_charrefs=True)
        self.units = units
        self.drafts: list[_Draft] = []
        self.open: list[_Open] = []

    @property
    def now(self) -> _Draft | None:
        return next((element.block for element in reversed(self.open) if element.block is not None), None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        outer = self.now
        if outer is not None and outer.kind == "table":
            spans = "".join(
                f' {name}="{known[name]}"' for name in ("colspan", "rowspan") if known.get(name, "").isdigit()
            )
            outer.source.append(f"<{tag}{spans}>")
            self._push(tag, None)
            return
        box = self._box(known.get("data-bbox") or known.get("bbox") or "")
        draft = self._draft(tag, known.get("class", ""), box)
        if tag == "img" and outer is not None and outer.kind == "figure":
            draft = None  # the older generation's picture in a picture
        if draft is not None:
            self.drafts.append(draft)
            if draft.kind == "table" and tag == "table":
                draft.source.append("<table>")
        elif outer is not None and tag in _BREAKING:
            outer.text.append("\n")
        self._push(tag, draft)

    def _push(self, tag: str, draft: _Draft | None) -> None:
        if tag not in _VOID:
            self.open.append(_Open(tag, draft))

    def _draft(self, tag: str, classes: str, box: Rect | None) -> _Draft | None:
        if re.fullmatch(r"h[1-6]", tag):
            return _Draft("heading", box, int(tag[1]))
        if tag == "table":
            return _Draft("table", box)
        if tag in ("img", "figure", "svg"):
            return _Draft("figure", box)
        kind = next((kind for word, kind in _KINDS if word in classes), None)
        if tag in ("ol", "ul") or (kind is None and box is None and tag not in ("p", "li")):
            return None
        if tag == "li":
            return _Draft("list", box)
        return _Draft(kind or "text", box, 2 if kind == "heading" else 0)

    def _box(self, text: str) -> Rect | None:
        numbers = [float(number) for number in _NUMBERS.findall(text)]
        if len(numbers) < 4:
            return None
        return self.units.box_px(numbers[0], numbers[1], numbers[2], numbers[3])

    def handle_endtag(self, tag: str) -> None:
        outer = self.now
        if outer is not None and outer.kind == "table":
            outer.source.append(f"</{tag}>")
        for number in range(len(self.open) - 1, -1, -1):
            if self.open[number].tag == tag:
                del self.open[number:]
                return

    def handle_data(self, data: str) -> None:
        if any(element.tag in _SILENT for element in self.open):
            return
        now = self.now
        if now is None:
            if not data.strip():
                return
            now = _Draft("text", None)
            self.drafts.append(now)
        if now.kind == "table":
            now.source.append(data.replace("&", "&amp;").replace("<", "&lt;"))
        now.text.append(data)


def read_qwenvl_html(text: str, units: Units) -> Read[tuple[Block, ...] | None]:
    """The blocks of an answer, in its order; None if it holds no tag. Units: boxes in pixels of the picture."""
    found = read_html(text)
    if not found.value:
        return Read(None, found.repairs)
    parser = _Parser(units)
    parser.feed(found.value)
    parser.close()
    blocks = [block for block in map(_block, parser.drafts) if block is not None]
    return Read(_without_repeats(blocks), found.repairs)


def _block(draft: _Draft) -> Block | None:
    if draft.kind == "table":
        table = table_of_html("".join(draft.source)) or table_of_html(f"<table>{''.join(draft.source)}</table>")
        if table is not None:
            text = "\n".join("\t".join(row) for row in table.grid())
            return Block(kind="table", box=draft.box, text=text, table=table)
        draft.kind = "text"
    lines = [" ".join(line.split()) for line in "".join(draft.text).split("\n")]
    text = "\n".join(line for line in lines if line)
    if draft.kind == "figure":
        return Block(kind="figure", box=draft.box, text=text)
    return Block(kind=draft.kind, box=draft.box, text=text, level=draft.level) if text else None


def _without_repeats(blocks: list[Block]) -> tuple[Block, ...]:
    """Blocks without those that a looping answer wrote again: same kind, box and text."""
    kept: list[Block] = []
    seen: set[tuple[str, Rect | None, str]] = set()
    for block in blocks:
        key = (block.kind, block.box, block.text)
        if block.box is None or key not in seen:
            kept.append(block)
        seen.add(key)
    return tuple(kept)
