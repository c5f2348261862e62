"""Parts with boxes as semantic HTML: rows and columns are found by cutting where nothing is.

    page = assemble(parts, (width, height), picture_names)
    page.root, page.targets

A holder's parts are cut by horizontal gaps into bands, a band by vertical gaps into columns, and so on. Bands with the
same columns are a table, or a list if there are two and the second ends at the right; equal cards beside each other
are a grid; a text above a field is its label, one beside a box its label too. Texts in a header are the name and the
links of a `nav`.

Nothing is placed by coordinates: `fit` turns the wanted places (`targets`, by the number in each element's id) into
margins and sizes, so the page flows and wraps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from regard.apps.coding.fit import Target
from regard.apps.coding.likeness import color_difference
from regard.apps.coding.markup import Node
from regard.apps.coding.parts import CHECKS, FIELDS, Part
from regard.apps.coding.sight import IntBox

_WORDS = frozenset(("text", "heading", "link"))
MAX_COLUMNS = 4  # of a page that are filled from top to bottom
MIN_ROWS = 3  # of a table or list
ALIGNED_PX = 8


@dataclass
class Page:
    """A page whose elements have ids m0, m1, ...; `targets` says where the mock-up has them."""

    root: Node
    targets: dict[int, Target] = field(default_factory=dict)


@dataclass(frozen=True)
class _Group:
    """Parts that make one thing: a label with its field or box."""

    kind: str
    parts: tuple[Part, ...]

    @property
    def box(self) -> IntBox:
        return _around(self.parts)


@dataclass(frozen=True)
class _Whole:
    """A column, where only its box matters."""

    box: IntBox


_Item = Part | _Group


def assemble(parts: Sequence[Part], size: tuple[int, int], picture_names: Sequence[str] = ()) -> Page:
    """Make a page of nested parts; the pictures are named in reading order."""
    return _Assembly(size, list(picture_names)).page(parts)


class _Assembly:
    def __init__(self, size: tuple[int, int], picture_names: list[str]) -> None:
        self._width, self._height = size
        self._names = picture_names
        self._targets: dict[int, Target] = {}
        self._number = 0
        self._has_h1 = False
        self._largest = 0.0

    def page(self, parts: Sequence[Part]) -> Page:
        self._largest = max((p.font_px for p in _walk(parts) if p.kind == "heading"), default=0.0)
        heads = [part for part in parts if part.kind == "header"]
        feet = [part for part in parts if part.kind == "footer"]
        sides = [part for part in parts if part.kind == "column"]
        rest = [part for part in parts if part not in heads and part not in feet and part not in sides]
        main = self._node("main", children=self._stack(rest))
        body = Node("body")
        body.children += [self._leaf(part) for part in heads]
        if sides:
            left = [self._leaf(part) for part in sides if part.box[0] <= self._width / 2]
            right = [self._leaf(part) for part in sides if part.box[0] > self._width / 2]
            main = Node("div", {"class": "sides"}, [*left, main, *right])
        body.children += [main, *(self._leaf(part) for part in feet)]
        root = Node("html", {"lang": "en"}, [Node("head"), body])
        return Page(root, self._targets)

    def _node(
        self, tag: str, target: Target | None = None, children: Sequence[Node | str] = (), **attributes: str
    ) -> Node:
        named = {"class" if name == "cls" else name: value for name, value in attributes.items() if value is not None}
        named["id"] = f"m{self._number}"
        if target is not None:
            self._targets[self._number] = target
        self._number += 1
        return Node(tag, named, list(children))

    def _stack(self, parts: Sequence[Part]) -> list[Node | str]:
        """The bands of a holder, one below the other."""
        items = _grouped(parts)
        bands = _cut(items, axis=1)
        columns = _cut(items, axis=0)
        if len(bands) > 1 and 2 <= len(columns) <= MAX_COLUMNS and any(_is_uneven(band) for band in bands):
            return [self._node("div", children=self._line(columns), cls="line")]
        nodes: list[Node | str] = []
        number = 0
        while number < len(bands):
            rows = _rows_from(bands[number:])
            if len(rows) >= MIN_ROWS:
                nodes.append(self._table(bands[number : number + rows[-1][0] + 1], rows))
                number += rows[-1][0] + 1
                if number < len(bands) and _is_rule(bands[number]):
                    number += 1
                continue
            nodes.append(self._band(bands[number]))
            number += 1
        return nodes

    def _band(self, items: list[_Item]) -> Node:
        if len(items) == 1:
            return self._item(items[0])
        columns = _cut(items, axis=0)
        if len(columns) == 1:
            return self._node("div", children=[self._item(item) for item in _by_top(items)], cls="stack")
        cards = [column[0] for column in columns if len(column) == 1 and isinstance(column[0], Part)]
        widths = [card.box[2] - card.box[0] for card in cards if card.kind == "card"]
        if len(widths) == len(columns) and max(widths) - min(widths) <= 0.1 * max(widths):
            gap = max(min(b.box[0] - a.box[2] for a, b in zip(cards, cards[1:], strict=False)), 0)
            inner = [self._leaf(card, is_even=True) for card in cards]
            box = _around(cards)
            target = Target(box=box, style={"gap": f"{gap}px", "grid-template-columns": _columns(min(widths), gap)})
            return self._node("div", target, inner, cls="even")
        return self._node("div", children=self._line(columns), cls="line")

    def _line(self, columns: list[list[_Item]]) -> list[Node | str]:
        nodes: list[Node | str] = []
        for column in columns:
            inner = _cut(column, axis=1)
            if len(column) == 1:
                nodes.append(self._item(column[0]))
            else:
                flat = [part for item in column for part in (item.parts if isinstance(item, _Group) else (item,))]
                box = _around(column)
                style = {"width": f"{box[2] - box[0] + 4}px", "max-width": "100%"} if len(inner) > 1 else {}
                nodes.append(self._node("div", Target(style=style), self._stack(flat), cls="stack"))
        self._spread([node for node in nodes if isinstance(node, Node)], [_Whole(_around(c)) for c in columns])
        return nodes

    def _spread(self, nodes: Sequence[Node], items: Sequence[_Item | _Whole]) -> None:
        """Begin with the gaps between the items of a row, so that it is laid out much as it will be."""
        for node, before, item in zip(nodes[1:], items, items[1:], strict=False):
            number = int(node.attributes["id"][1:])
            target = self._targets.get(number, Target())
            gap = max(item.box[0] - before.box[2], 0)
            self._targets[number] = replace(target, style={**target.style, "margin-left": f"{gap:.1f}px"})

    def _item(self, item: _Item) -> Node:
        if isinstance(item, Part):
            return self._leaf(item)
        first, second = item.parts
        if item.kind == "field":
            return self._node("label", children=[self._words(first, "span"), self._leaf(second)])
        return self._node("label", children=[self._leaf(first), self._words(second, "span")], cls="check")

    def _words(self, part: Part, tag: str) -> Node:
        target = Target(ink=part.box, color=part.color, font_px=part.font_px, num_lines=part.num_lines)
        return self._node(tag, target, [part.text], cls="middle" if self._is_centred(part) else None)  # type: ignore[arg-type]

    def _is_centred(self, part: Part) -> bool:
        middle = (part.box[0] + part.box[2]) / 2
        return abs(middle - self._width / 2) < 0.012 * self._width and part.box[0] > 0.12 * self._width

    def _leaf(self, part: Part, *, is_even: bool = False) -> Node:
        box = Target(box=part.box, color=part.color, ground=part.ground, border=part.border, radius=part.radius,
                     font_px=part.font_px)  # fmt: skip
        match part.kind:
            case "header" | "footer":
                return self._bar(part, box)
            case "column":
                return self._node("aside", box, self._stack(part.children))
            case "card":
                return self._node("section", replace(box, is_fluid=is_even), self._stack(part.children), cls="card")
            case "heading":
                tag = "h2" if self._has_h1 or part.font_px < 0.95 * self._largest else "h1"
                self._has_h1 = self._has_h1 or tag == "h1"
                return self._words(part, tag)
            case "text":
                return self._words(part, "p")
            case "link":
                return self._words(part, "a")
            case "rule":
                return self._node("hr", Target(box=part.box, is_fluid=True))
            case "button":
                kind = "primary" if part.is_filled else None
                kind = f"{kind or ''} middle".strip() if self._is_centred(part) else kind
                return self._node("button", box, [part.text], type="button", cls=kind)  # type: ignore[arg-type]
            case "picture":
                name = self._names.pop(0) if self._names else ""
                return self._node("img", box, alt="picture", **({"src": name} if name else {}))
            case "text area":
                return self._node("textarea", box, [part.text])
            case "dropdown":
                return self._node("select", box, [Node("option", {}, [part.text])])
            case "text field":
                return self._node("input", box, type="text", **self._content(part))
        kind = "radio" if part.kind == "radio button" else "checkbox"
        return self._node("input", box, type=kind, **({"checked": ""} if part.is_on else {}))

    def _content(self, part: Part) -> dict[str, str]:
        """A field's text as a hint if it is pale, else as its content; dots are a password's."""
        if not part.text:
            return {}
        if set(part.text) <= set("\u2022*."):
            return {"type": "password", "value": "password"[: len(part.text)]}
        is_pale = part.color and part.ground and color_difference(part.color, part.ground) < 55
        return {"placeholder" if is_pale else "value": part.text}

    def _bar(self, part: Part, target: Target) -> Node:
        """A header: its first text is the name, texts beside each other the links."""
        items = [child for child in part.children if child.kind != "rule"]
        columns = _cut(list(items), axis=0)
        if not columns or any(len(column) > 1 for column in columns):
            children = self._stack(items)
            return self._node(part.kind, target, [self._node("div", children=children, cls="stack")])
        singles = [column[0] for column in columns if isinstance(column[0], Part)]
        nodes: list[Node | str] = []
        links: list[Part] = []
        for number, item in enumerate(singles):
            is_link = item.kind in _WORDS and part.kind == "header" and (number > 0 or len(singles) > 4)
            if is_link:
                links.append(item)
            if links and (not is_link or number == len(singles) - 1):
                inner = [self._words(link, "a") for link in links]
                self._spread(inner, links)
                nodes.append(self._node("nav", children=inner, cls="line"))
                links = []
            if not is_link:
                is_name = item.kind in _WORDS and part.kind == "header"
                nodes.append(self._words(item, "b" if is_name else "span") if item.kind in _WORDS else self._leaf(item))
        return self._node(part.kind, target, nodes)

    def _table(self, bands: list[list[_Item]], rows: list[tuple[int, list[Part]]]) -> Node:
        cells = [row for _, row in rows]
        first, box = cells[0], _around([cell for row in cells for cell in row])
        is_ruled = any(_is_rule(band) for band in bands)
        rules = [item.box for band in bands for item in band if isinstance(item, Part) and item.kind == "rule"]
        right = max([box[2], *(rule[2] for rule in rules)])
        middles = [(_around(row)[1] + _around(row)[3]) / 2 for row in cells]
        pitch = (middles[-1] - middles[0]) / (len(cells) - 1)
        cls = "ruled" if is_ruled else None
        if len(first) == 2 and all(abs(row[1].box[2] - first[1].box[2]) <= ALIGNED_PX for row in cells):
            items = []
            for row in cells:
                pair: list[Node | str] = [
                    self._words(cell, "span") if cell.kind in _WORDS else self._leaf(cell) for cell in row
                ]
                items.append(self._node("li", Target(style={"height": f"{pitch:.1f}px"}), pair))
            target = Target(style={"width": f"{right - box[0]}px"})
            return self._node("ul", target, items, cls=cls)  # type: ignore[arg-type]
        lefts = [min(row[n].box[0] for row in cells) for n in range(len(first))]
        widths = [b - a for a, b in zip(lefts, [*lefts[1:], right], strict=True)]
        has_head = not any(c.isdigit() for cell in first for c in cell.text) and any(
            c.isdigit() for row in cells[1:] for cell in row for c in cell.text
        )
        lines: list[Node | str] = []
        for number, row in enumerate(cells):
            tag = "th" if number == 0 and has_head else "td"
            made: list[Node | str] = []
            for cell, width in zip(row, widths, strict=True):
                target = Target(ink=cell.box, color=cell.color, font_px=cell.font_px, style={"width": f"{width}px"})
                made.append(self._node(tag, target, [cell.text]))
            lines.append(self._node("tr", Target(style={"height": f"{pitch:.1f}px"}), made))
        return self._node("table", Target(style={"width": f"{right - box[0]}px"}), lines, cls=cls)  # type: ignore[arg-type]


def _walk(parts: Sequence[Part]) -> list[Part]:
    return [found for part in parts for found in (part, *_walk(part.children))]


def _grouped(parts: Sequence[Part]) -> list[_Item]:
    """Labels joined with the fields below or beside them and with boxes at their left."""
    free = list(parts)
    items: list[_Item] = []
    for part in parts:
        if part.kind not in FIELDS and part.kind not in CHECKS:
            continue
        label = _label_of(part, [other for other in free if other.kind == "text"])
        if label is not None:
            free.remove(label)
            free.remove(part)
            is_field = part.kind in FIELDS
            items.append(_Group("field" if is_field else "check", (label, part) if is_field else (part, label)))
    return [*items, *free]


def _label_of(part: Part, texts: list[Part]) -> Part | None:
    x1, y1, x2, y2 = part.box
    if part.kind in FIELDS:
        near = [t for t in texts if abs(t.box[0] - x1) <= 10 and 0 <= y1 - t.box[3] <= 20 and t.num_lines == 1]
        return max(near, key=lambda t: t.box[3], default=None)
    near = [t for t in texts if 0 <= t.box[0] - x2 <= 24 and t.box[1] < y2 and y1 < t.box[3]]
    return min(near, key=lambda t: t.box[0], default=None)


def _cut(items: Sequence[_Item], *, axis: int) -> list[list[_Item]]:
    """Groups of items between which a straight cut is free; axis 0 cuts from top to bottom, 1 from left to right."""
    groups: list[list[_Item]] = []
    end = -1.0
    for item in sorted(items, key=lambda i: (i.box[axis], i.box[1 - axis])):
        if groups and item.box[axis] < end:
            groups[-1].append(item)
        else:
            groups.append([item])
        end = max(end, item.box[axis + 2]) if len(groups[-1]) > 1 else item.box[axis + 2]
    return groups


def _rows_from(bands: list[list[_Item]]) -> list[tuple[int, list[Part]]]:
    """From the first band on, the rows of a table: (number of the band, cells); rules between them are passed over."""
    rows: list[tuple[int, list[Part]]] = []
    for number, band in enumerate(bands):
        if _is_rule(band):
            if not rows:
                return []
            continue
        columns = _cut(band, axis=0)
        cells = [column[0] for column in columns if len(column) == 1 and isinstance(column[0], Part)]
        is_row = len(cells) == len(columns) >= 2 and all(c.kind in _WORDS or c.kind in CHECKS for c in cells)
        if not is_row or (rows and not _fits(rows[0][1], cells)):
            break
        rows.append((number, cells))
    return rows


def _fits(first: list[Part], cells: list[Part]) -> bool:
    return len(first) == len(cells) and all(
        abs(a.box[0] - b.box[0]) <= ALIGNED_PX or abs(a.box[2] - b.box[2]) <= ALIGNED_PX
        for a, b in zip(first, cells, strict=True)
    )


def _is_uneven(band: list[_Item]) -> bool:
    """Whether things beside each other are at different heights: they belong to columns, not to a row."""
    columns = _cut(band, axis=0)
    if len(columns) < 2:
        return False
    boxes = [_around(column) for column in columns]
    middles = [(box[1] + box[3]) / 2 for box in boxes]
    return max(middles) - min(middles) > 0.5 * min(box[3] - box[1] for box in boxes)


def _is_rule(band: list[_Item]) -> bool:
    return all(isinstance(item, Part) and item.kind == "rule" for item in band)


def _columns(width: int, gap: int) -> str:
    return f"repeat(auto-fit, minmax(min(100%, {max(round(0.75 * width), 60)}px), 1fr))"


def _by_top(items: list[_Item]) -> list[_Item]:
    return sorted(items, key=lambda item: item.box[1])


def _around(items: Sequence[_Item]) -> IntBox:
    boxes = [item.box for item in items]
    return min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)
