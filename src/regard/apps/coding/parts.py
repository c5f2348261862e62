"""The parts of a screen: headings, buttons, fields, cards, ..., and what is inside what.

Two ways to find them:

    parts_of_sight(sight, texts)        from grounds and lines found in the pixels; a ground with one line in its
                                        middle is a button, one with a line at its left or none a field, and so on
    parts_of_list(items, size)          from a list of elements with boxes that a model wrote

Both end in `nested`: a part lies within the smallest card, bar or column that holds it.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from regard.apps.coding.likeness import color_difference, lab
from regard.apps.coding.sight import Color, InkLine, IntBox, Region, Sight

Kind = Literal[
    "heading", "text", "link", "button", "text field", "text area", "dropdown", "checkbox", "radio button", "switch",
    "picture", "card", "header", "footer", "column", "rule",
]  # fmt: skip
HOLDERS = frozenset(("card", "header", "footer", "column"))
HEADING = 1.16  # letters larger than those of the middle line by this factor are a heading
FIELDS = frozenset(("text field", "text area", "dropdown"))
CHECKS = frozenset(("checkbox", "radio button", "switch"))
_NAMES: dict[str, Kind] = {
    "title": "heading", "h1": "heading", "h2": "heading", "paragraph": "text", "label": "text", "list item": "text",
    "tab": "link", "menu item": "link", "input": "text field", "input field": "text field", "field": "text field",
    "textarea": "text area", "select": "dropdown", "check box": "checkbox", "radio": "radio button", "toggle": "switch",
    "image": "picture", "icon": "picture", "logo": "picture", "photo": "picture", "chart": "picture",
    "dialog": "card", "panel": "card", "bar": "header", "sidebar": "column", "navigation": "header",
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One part. `box` is in pixels; for text it is that of the ink. `font_px` is an estimate, 0 if not known."""

    kind: Kind
    box: IntBox
    text: str = ""
    color: Color | None = None
    ground: Color | None = None
    border: Color | None = None
    radius: int = 0
    font_px: float = 0.0
    is_on: bool = False
    is_filled: bool = False
    num_lines: int = 1
    children: tuple[Part, ...] = ()


def font_px_of(text: str, ink_height: float) -> float:
    """Letter size of a line from the height of its ink and which letters it has."""
    has_low = any(c in "gjpqy,;()[]{}|Q@$" for c in text)
    has_high = any(c.isupper() or c.isdigit() or c in "bdfhklt()[]{}|/!?'\"$%@" for c in text) or not text
    has_dot = any(c in "ij" for c in text)
    share = (0.73 if has_high else 0.70 if has_dot else 0.53) + (0.20 if has_low else 0.0)
    return ink_height / share


def parts_of_sight(sight: Sight, texts: Sequence[str]) -> tuple[Part, ...]:
    """The parts of a screen, nested, in reading order."""
    lines = [(line, text) for line, text in zip(sight.lines, texts, strict=True) if _is_text(line, text, sight)]
    body = statistics.median([font_px_of(text, line.box[3] - line.box[1]) for line, text in lines] or [16.0])
    inks = sorted((line.color for line, _ in lines), key=lambda color: sum(color))
    ink = inks[len(inks) // 2] if inks else (0, 0, 0)
    flat: list[Part] = []
    used: set[int] = set()
    for number, region in enumerate(sight.regions):
        own = [n for n, (line, _) in enumerate(lines) if line.region == number]
        has_regions = any(r.parent == number for r in sight.regions)
        has_pictures = any(_holds(region.box, picture) for picture in sight.pictures)
        part = _part_of_region(region, [lines[n] for n in own], sight, has_regions or has_pictures)
        if part is not None:
            flat.append(part)
            if part.kind not in HOLDERS:
                used |= set(own)
    flat += [Part("picture", picture) for picture in sight.pictures]
    flat += [Part("rule", rule) for rule in sight.rules if rule[2] - rule[0] > 24]
    loose = [_part_of_line(line, text, body, ink) for n, (line, text) in enumerate(lines) if n not in used]
    words = [part for part in loose if part.kind != "checkbox"]
    return nested([*flat, *(part for part in loose if part.kind == "checkbox"), *_paragraphs(words)])


def _is_text(line: InkLine, text: str, sight: Sight) -> bool:
    width, height = line.box[2] - line.box[0], line.box[3] - line.box[1]
    if not text or (line.num_glyphs == 1 and (height < 7 or width < 4)):
        return False
    return not any(
        other is not line and other.num_glyphs > line.num_glyphs and _holds(other.box, line.box)
        for other in sight.lines
    )


def _part_of_region(region: Region, lines: list[tuple[InkLine, str]], sight: Sight, has_inner: bool) -> Part | None:
    width, height = region.width, region.height
    x1, y1, x2, y2 = region.box
    parent = sight.regions[region.parent].color if region.parent >= 0 else sight.page
    is_filled = color_difference(region.color, parent) > 12
    part = Part("card", region.box, "", None, region.color, region.border if region.has_border else None, region.radius,
                is_filled=is_filled)  # fmt: skip
    glyphs = sum(line.num_glyphs for line, _ in lines)
    if max(width, height) <= 28 and 0.7 < width / height < 1.4 and glyphs <= 2 and not has_inner:
        return replace(part, kind="checkbox", is_on=is_filled or bool(lines))
    if width >= 0.94 * sight.width and height <= 0.35 * sight.height + 20:
        if y1 <= 4:
            return replace(part, kind="header")
        if y2 >= sight.height - 4:
            return replace(part, kind="footer")
    if height >= 0.8 * sight.height and width <= 0.4 * sight.width and (x1 <= 4 or x2 >= sight.width - 4):
        return replace(part, kind="column")
    if has_inner or height > 240:
        return part
    arrows = [line for line, _ in lines if _is_mark(line) and line.box[0] > x2 - 30 and width >= 100]
    grips = [line for line in arrows if line.box[3] > y2 - 8 and height > 40]  # of a text area, at its corner
    texts = [(line, text) for line, text in lines if line not in arrows]
    said = " ".join(text for _, text in texts)
    color = texts[0][0].color if texts else None
    font = max((font_px_of(text, line.box[3] - line.box[1]) for line, text in texts), default=0.0)
    part = replace(part, text=said, color=color, font_px=font)
    if len(texts) == len(lines) == 1 and 16 <= height <= 76 and width <= 0.97 * sight.width:
        line = lines[0][0]
        left, right = line.box[0] - x1, x2 - line.box[2]
        if abs(left - right) <= max(10, 0.12 * width) and abs((line.box[1] + line.box[3]) - (y1 + y2)) <= 0.4 * height:
            return replace(part, kind="button")
    fonts = [font_px_of(text, line.box[3] - line.box[1]) for line, text in texts]
    is_left = not texts or min(line.box[0] for line, _ in texts) - x1 <= 28
    is_even = not fonts or max(fonts) < 1.25 * min(fonts)
    if width >= 60 and is_left and is_even and (region.has_border or is_filled or not lines):
        is_one_row = all(abs(line.box[3] - texts[0][0].box[3]) < 0.6 * fonts[0] for line, _ in texts)
        if height <= 60 and is_one_row:
            return replace(part, kind="dropdown" if arrows and texts else "text field")
        if grips or region.has_border and len(texts) <= 6 and (not texts or texts[0][0].box[1] - y1 < 0.35 * height):
            return replace(part, kind="text area")
    if not lines:
        return replace(part, kind="picture") if is_filled and min(width, height) >= 20 else None
    return part


def _is_mark(line: InkLine) -> bool:
    """Whether ink may be an arrow or a corner's grip instead of a word."""
    width, height = line.box[2] - line.box[0], line.box[3] - line.box[1]
    return line.num_glyphs <= 2 and width <= min(20, 2.2 * height)


def _part_of_line(line: InkLine, text: str, body: float, ink: Color) -> Part:
    font = font_px_of(text, line.box[3] - line.box[1])
    wide, tall = line.box[2] - line.box[0], line.box[3] - line.box[1]
    if line.num_glyphs <= 2 and 11 <= tall <= 26 and abs(wide - tall) <= 2 and line.fill > 0.6:
        return Part("checkbox", line.box, color=line.color, is_on=True)
    part = Part("text", line.box, text, line.color, font_px=font)
    _, a, b = lab(line.color)
    _, ink_a, ink_b = lab(ink)
    is_accent = (a * a + b * b) > 30**2 and (ink_a * ink_a + ink_b * ink_b) < 25**2
    if font > HEADING * body and 2 < len(text) < 60:
        return replace(part, kind="heading")
    return replace(part, kind="link") if line.is_underlined or is_accent else part


def _paragraphs(parts: list[Part]) -> list[Part]:
    """Lines of one paragraph as one part: same left edge, size and colour, close to each other, the upper one full."""
    result: list[Part] = []
    for part in sorted(parts, key=lambda p: (p.box[1], p.box[0])):
        for index, above in enumerate(result):
            first = above.box
            tall = (first[3] - first[1]) / above.num_lines
            pitch = part.box[1] - first[3]
            is_same = part.kind == above.kind and abs(part.font_px - above.font_px) < 0.25 * above.font_px
            is_full = first[2] - first[0] > 12 * above.font_px and part.box[2] <= first[2] + 0.12 * (
                first[2] - first[0]
            )
            if not (is_same and is_full and abs(part.box[0] - first[0]) <= 4 and -2 <= pitch <= 0.95 * tall):
                continue
            if part.color is not None and above.color is not None and color_difference(part.color, above.color) > 15:
                continue
            box = (first[0], first[1], max(first[2], part.box[2]), part.box[3])
            result[index] = replace(above, box=box, text=f"{above.text} {part.text}", num_lines=above.num_lines + 1)
            break
        else:
            result.append(part)
    return result


def parts_of_list(items: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> tuple[Part, ...]:
    """The parts that a model listed: objects with `box` (pixels), `label` (the kind) and `text_content`.

    What has no usable box or kind is left out.
    """
    parts = []
    for item in items:
        label = str(item.get("label", "")).strip().lower()
        kind = _NAMES.get(label, label)
        box = item.get("box")
        if kind not in Kind.__args__ or box is None:  # type: ignore[attr-defined]
            continue
        x1, x2 = sorted((min(max(box[0], 0), size[0]), min(max(box[2], 0), size[0])))
        y1, y2 = sorted((min(max(box[1], 0), size[1]), min(max(box[3], 0), size[1])))
        if x2 - x1 < 3 or y2 - y1 < 3:
            continue
        text = " ".join(str(item.get("text_content") or item.get("text") or "").split())
        tall = y2 - y1
        font = min(font_px_of(text, tall), 40.0) if kind in ("heading", "text", "link") else min(0.45 * tall, 18.0)
        parts.append(Part(kind, (round(x1), round(y1), round(x2), round(y2)), text, font_px=font))  # type: ignore[arg-type]
    return nested(parts)


def nested(flat: Sequence[Part]) -> tuple[Part, ...]:
    """Put each part into the smallest holder around it."""
    holders = sorted((p for p in flat if p.kind in HOLDERS), key=lambda p: _size(p.box))
    inside: dict[int, list[Part]] = {id(holder): [] for holder in holders}
    finished: dict[int, Part] = {}
    top: list[Part] = []

    def place(part: Part, own: int) -> None:
        for holder in holders:
            if id(holder) != own and _size(holder.box) > _size(part.box) and _holds(holder.box, part.box):
                inside[id(holder)].append(part)
                return
        top.append(part)

    for part in flat:
        if part.kind not in HOLDERS:
            place(part, -1)
    for holder in holders:  # from the smallest, so that its content is complete when it is placed
        filled = replace(holder, children=_reading_order(inside[id(holder)]))
        finished[id(holder)] = filled
        if filled.children or holder.kind != "card":
            place(filled, id(holder))
    return _reading_order(top)


def _reading_order(parts: Sequence[Part]) -> tuple[Part, ...]:
    return tuple(sorted(parts, key=lambda p: (p.box[1], p.box[0])))


def _holds(outer: IntBox, inner: IntBox, slack: int = 3) -> bool:
    return (
        inner[0] >= outer[0] - slack and inner[1] >= outer[1] - slack
        and inner[2] <= outer[2] + slack and inner[3] <= outer[3] + slack
    )  # fmt: skip


def _size(box: IntBox) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
