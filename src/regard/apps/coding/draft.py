"""One version of the page: its tree, where its parts belong, its styles; and the same as one HTML text.

Every element that can be moved has an id m0, m1, ...; in the page that is handed over only those that a style names
keep theirs. Pictures are files beside the page; while it is drawn they stand in it as `data:` addresses.
"""

from __future__ import annotations

import base64
import copy
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image
from scipy.optimize import linear_sum_assignment

from regard.apps.coding import fit
from regard.apps.coding.compare import Comparison
from regard.apps.coding.fit import Styles, Target
from regard.apps.coding.markup import Node, clean, parse, to_html
from regard.apps.coding.parts import font_px_of
from regard.apps.coding.render import Rendered
from regard.apps.coding.sight import Region, Sight

FOLDER = "assets"
_OWN_CSS = re.compile(r"[^{}]+\{[^{}]*:[^{}]*\}")
_NOT_MOVED = frozenset(("head", "style", "title", "meta", "link", "script", "br", "option", "path", "html", "body"))


@dataclass(frozen=True)
class Draft:
    """A version. `source`: "answer", "elements", "segmentation" or "revision"; `removed`: what `clean` took out."""

    root: Node
    source: str
    css: str
    variables: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[int, Target] = field(default_factory=dict)
    styles: Styles = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    has_own_css: bool = False

    def html(self, assets: Mapping[str, Image.Image], *, is_final: bool = False, title: str = "") -> str:
        """The whole page. While it is measured, pictures are inside it and every id is kept."""
        root = copy.deepcopy(self.root)
        styled = {f"m{number}" for number, style in self.styles.items() if style}
        for node in root.walk():
            name = node.attributes.get("id", "")
            if is_final and re.fullmatch(r"m\d+", name) and name not in styled:
                del node.attributes["id"]
            node.attributes.pop("data-bbox", None) if is_final else None
            source = node.attributes.get("src", "")
            if not is_final and source in assets:
                node.attributes["src"] = data_address(assets[source])
        head = root.find("head") or Node("head")
        head.children = [
            child for child in head.children if isinstance(child, Node) and child.tag in ("style", "title")
        ]
        if not any(isinstance(child, Node) and child.tag == "title" for child in head.children):
            head.children.insert(0, Node("title", {}, [title or _title(root)]))
        meta = [Node("meta", {"charset": "utf-8"}),
                Node("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"})]  # fmt: skip
        named = "".join(f" --{name}: {value};" for name, value in self.variables.items())
        css = [self.css.strip(), f":root {{{named} }}" if named else "", fit.rules(self.styles)]
        text = "\n".join(part for part in css if part)
        own = [Node("style", {}, [text])] if text else []
        # The measured styles come last; a base for pages without styles comes first, which is the same place here.
        head.children = [*meta, *head.children, *own]
        root.attributes.setdefault("lang", "en")
        return to_html(root)


def data_address(picture: Image.Image) -> str:
    """A picture as a `data:` address."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def stylesheet(name: str) -> str:
    """`page.css` for pages that a small model wrote, `layout.css` for pages put together from parts."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def draft_of_answer(html: str, source: str, variables: Mapping[str, str]) -> Draft:
    """A draft of HTML that a model wrote; a page without any style of its own gets ours and the measured colours."""
    root = parse(html)
    removed = clean(root)
    styles = root.all("style")
    text = "".join(child for style in styles for child in style.children if isinstance(child, str))
    has_own = bool(_OWN_CSS.search(text)) or sum("style" in node.attributes for node in root.walk()) > 2
    number = 0
    for node in root.walk():
        if node.tag not in _NOT_MOVED:
            if re.fullmatch(r"m\d+", node.attributes.get("id", "")) or "id" not in node.attributes:
                node.attributes["id"] = f"m{number}"
            number += 1
    if has_own:
        return Draft(root, source, "img { max-width: 100%; }", removed=removed, has_own_css=True)
    return Draft(root, source, stylesheet("page.css"), dict(variables), removed=removed)


def has_content(html: str) -> bool:
    """Whether a page shows anything: some text, a field or a picture."""
    root = parse(html)
    clean(root)
    body = root.find("body")
    return body is not None and (len(body.text) > 1 or bool(body.all("input", "img", "svg", "textarea")))


def with_pictures(draft: Draft, drawn: Rendered, sight: Sight, names: Sequence[str]) -> Draft:
    """Give the page's pictures without a file those of the mock-up: the nearest first."""
    root = copy.deepcopy(draft.root)
    used = {node.attributes.get("src") for node in root.all("img")}
    free = [(name, box) for name, box in zip(names, sight.pictures, strict=True) if name not in used]
    empty = {
        node.attributes.get("id", ""): node
        for node in root.all("img")
        if not node.attributes.get("src", "").startswith(("data:", f"{FOLDER}/"))
    }
    places = [(e.attributes["id"], e.box) for e in drawn.elements if e.tag == "img" and e.attributes.get("id") in empty]
    if not free or not places:
        return replace(draft, root=root)
    size = drawn.image.size
    costs = [[_away(box, picture, size) for _, picture in free] for _, box in places]
    targets = dict(draft.targets)
    rows, columns = linear_sum_assignment(costs)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        name, picture = free[column]
        node = empty[places[row][0]]
        node.attributes["src"] = name
        node.attributes.setdefault("alt", "picture")
        if places[row][0][1:].isdigit():
            targets[int(places[row][0][1:])] = Target(box=picture)
    return replace(draft, root=root, targets=targets)


def _away(a: Sequence[float], b: Sequence[float], size: tuple[int, int]) -> float:
    return abs(a[0] + a[2] - b[0] - b[2]) / size[0] + abs(a[1] + a[3] - b[1] - b[3]) / size[1]


def with_targets(draft: Draft, drawn: Rendered, comparison: Comparison, sight: Sight) -> Draft:
    """Where the mock-up has what the page shows: from the pairs of equal texts, and the grounds around those."""
    targets = {number: target for number, target in draft.targets.items() if target.ink is None}
    for pair in comparison.pairs:
        if not 0 <= pair.found.element < len(drawn.elements):
            continue
        element = drawn.elements[pair.found.element]
        name = element.attributes.get("id", "")
        if not re.fullmatch(r"m\d+", name):
            continue
        number, box = int(name[1:]), pair.wanted.box
        font = font_px_of(pair.wanted.text, box[3] - box[1])
        if element.tag in ("button", "input", "select", "textarea"):
            region = _around(sight, box, 200 if element.tag == "textarea" else 80)
            if region is not None:
                border = region.border if region.has_border else None
                targets[number] = Target(box=region.box, color=pair.wanted.color, ground=region.color, border=border,
                                         radius=region.radius, font_px=font)  # fmt: skip
            continue
        if element.tag in ("option", "label"):
            continue
        other = targets.get(number)
        if other is not None and other.ink is not None:
            ink = other.ink
            box = (min(ink[0], box[0]), min(ink[1], box[1]), max(ink[2], box[2]), max(ink[3], box[3]))
            targets[number] = replace(other, ink=box, num_lines=other.num_lines + 1)
        else:
            targets[number] = Target(ink=box, color=pair.wanted.color, font_px=font)
    styles = {number: dict(style) for number, style in draft.styles.items()}
    for number, target in targets.items():
        if target.color is not None and not draft.has_own_css:
            styles.setdefault(number, {})["color"] = fit.css_color(target.color)
    return replace(draft, targets=targets, styles=styles)


def _around(sight: Sight, box: Sequence[float], most: int) -> Region | None:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    around = [r for r in sight.regions if r.box[0] <= x <= r.box[2] and r.box[1] <= y <= r.box[3] and r.height <= most]
    return min(around, key=lambda r: r.width * r.height, default=None)


def _title(root: Node) -> str:
    first = root.find("h1") or root.find("h2") or root.find("b")
    return first.text[:80] if first is not None and first.text else "Page"
