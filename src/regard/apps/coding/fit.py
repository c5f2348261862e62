"""Move and size what is on a drawn page to where the mock-up has it: by measuring, without the model.

    styles = sizes(targets, styles, drawn)      # letters, boxes, colours
    styles = places(targets, styles, drawn)     # margins

A page is a flow, so nothing is put at coordinates: an element that is too high gets a larger margin above, and
whatever follows in the same column moves with it, which is taken into account from the outside in. Letters of one
size stay of one size: elements are corrected in groups, by the middle of what their widths and heights say.

Numbers are what measuring gives; whether the page is better for them is for `compare` to say.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from regard.apps.coding.compare import ink_of
from regard.apps.coding.render import Element, Line, Rect, Rendered
from regard.apps.coding.sight import Color

Styles = dict[int, dict[str, str]]  # number of the element -> CSS properties
_FIXED_HEIGHT = frozenset(("button", "input", "select", "textarea", "img", "header"))
_LEFT_ALONE = frozenset(("table", "tbody", "thead", "tr", "td", "th", "ul", "li", "option"))
MAX_MARGIN_PX = 2000
STEP = 0.02  # letters are not changed by less


@dataclass(frozen=True)
class Target:
    """What the mock-up shows for an element, in pixels of the mock-up: the box of its ink or of itself, its colours.

    `style` is set as it is; `is_fluid`: the element's width follows its place.
    """

    ink: Rect | None = None
    box: Rect | None = None
    color: Color | None = None
    ground: Color | None = None
    border: Color | None = None
    radius: int = 0
    font_px: float = 0.0
    num_lines: int = 1
    is_fluid: bool = False
    style: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """An element with a number as it was drawn, and the lines of text in it."""

    index: int
    element: Element
    lines: tuple[Line, ...]


def found_on(drawn: Rendered) -> dict[int, Found]:
    """The elements with ids m0, m1, ... by their numbers."""
    lines: dict[int, list[Line]] = {}
    for line in drawn.lines:
        lines.setdefault(line.element, []).append(line)
    return {
        int(name[1:]): Found(index, element, tuple(lines.get(index, ())))
        for index, element in enumerate(drawn.elements)
        if (name := element.attributes.get("id", "")).startswith("m") and name[1:].isdigit()
    }


def start(targets: Mapping[int, Target], scale: float) -> Styles:
    """The first styles: estimated letters, measured boxes and colours."""
    styles: Styles = {}
    for number, target in targets.items():
        style = dict(target.style)
        if target.font_px:
            style["font-size"] = f"{target.font_px / scale:.1f}px"
        if target.color is not None:
            style["color"] = css_color(target.color)
        styles[number] = style
    return styles


def sizes(targets: Mapping[int, Target], styles: Styles, drawn: Rendered, scale: float) -> Styles:
    """Styles with letters and boxes corrected by what was drawn."""
    found = found_on(drawn)
    result = {number: dict(style) for number, style in styles.items()}
    groups: dict[tuple[str, float, bool], list[tuple[int, float, float]]] = {}
    for number, target in targets.items():
        if number not in found:
            continue
        seen, style = found[number], result.setdefault(number, {})
        if target.box is not None:
            style |= _box_style(seen.element.tag, target, scale)
        ratio = _letter_ratio(target, seen, drawn)
        if ratio is not None:
            key = (seen.element.tag, round(target.font_px / 2.5), target.num_lines > 1)
            groups.setdefault(key, []).append((number, ratio, seen.lines[0].font_px))
        if target.ink is not None and target.num_lines > 1:
            style["width"] = f"{(target.ink[2] - target.ink[0] + 0.5 * target.font_px) / scale:.0f}px"
            style["max-width"] = "100%"
    for members in groups.values():
        font = statistics.median(ratio * now for _, ratio, now in members)
        for number, _, now in members:
            if abs(font - now) > STEP * now:
                result[number]["font-size"] = f"{font / scale:.1f}px"
    return result


def _letter_ratio(target: Target, seen: Found, drawn: Rendered) -> float | None:
    """By how much the letters should be larger; None where nothing can be compared."""
    if target.ink is None or not seen.lines or not target.font_px:
        return None
    wanted_width, wanted_height = target.ink[2] - target.ink[0], target.ink[3] - target.ink[1]
    boxes = [ink_of(drawn.image, line.box)[0] for line in seen.lines]
    if target.num_lines > 1 or len(boxes) > 1:
        total = sum(box[2] - box[0] for box in boxes)
        lines = max(1, target.num_lines)
        wide = wanted_width * (lines - 0.35) / total if total else 1.0
        return min(max(wide, 0.85), 1.15)
    width, height = boxes[0][2] - boxes[0][0], boxes[0][3] - boxes[0][1]
    if width < 2 or height < 2:
        return None
    wide, high = wanted_width / width, wanted_height / height
    # Words that were misread have another width, letters another height: what both say is believed.
    return min(max(wide if 0.8 < wide / high < 1.25 else high, 0.6), 1.7)


def _box_style(tag: str, target: Target, scale: float) -> dict[str, str]:
    x1, y1, x2, y2 = target.box or (0.0, 0.0, 0.0, 0.0)
    width, height = (x2 - x1) / scale, (y2 - y1) / scale
    # The ground was measured inside its border.
    grown = 2 / scale if target.border is not None and tag != "header" else 0.0
    style: dict[str, str] = {}
    if tag in ("header", "footer"):
        style["min-height"] = f"{height:.0f}px"
    elif tag == "aside":
        style |= {"flex": f"0 0 {width:.0f}px", "min-height": f"{height:.0f}px"}
    elif tag == "hr":
        return {"width": f"{width:.0f}px"}
    elif not target.is_fluid:
        style |= {"width": f"{width + grown:.0f}px", "max-width": "100%"}
    if tag in _FIXED_HEIGHT and tag != "header":
        style["height"] = f"{height + grown:.0f}px"
    elif tag == "section":
        style["min-height"] = f"{height + grown:.0f}px"
    if target.ground is not None and tag not in ("img",):
        style["background"] = css_color(target.ground)
        if tag not in ("header", "footer", "aside"):
            line = css_color(target.border) if target.border is not None else ""
            style["border"] = f"1px solid {line}" if line else "0"
            style["border-radius"] = f"{target.radius / scale:.0f}px"
    return style


def places(targets: Mapping[int, Target], styles: Styles, drawn: Rendered, scale: float) -> Styles:
    """Styles with margins that move what was drawn to its place."""
    result = {number: dict(style) for number, style in styles.items()}
    children: dict[int, list[int]] = {}
    for index, element in enumerate(drawn.elements):
        children.setdefault(element.parent, []).append(index)
    numbers = {seen.index: number for number, seen in found_on(drawn).items()}
    lines: dict[int, list[Line]] = {}
    for line in drawn.lines:
        lines.setdefault(line.element, []).append(line)
    shifts: dict[int, tuple[float, float] | None] = {}
    for index in range(len(drawn.elements) - 1, -1, -1):  # inner elements stand behind outer ones
        own = _own_shift(index, numbers, targets, drawn, lines)
        inner = [(shifts[child], drawn.elements[child].box) for child in children.get(index, ())]
        known = [(shift, box) for shift, box in inner if shift is not None]
        if own is None and known:
            top = min(known, key=lambda pair: pair[1][1] + pair[0][1])
            left = min(known, key=lambda pair: pair[1][0] + pair[0][0])
            own = (left[0][0], top[0][1])
        shifts[index] = own

    def move(container: int, dx: float, dy: float) -> None:
        element = drawn.elements[container]
        is_row = "flex" in element.display and not element.direction.startswith("column")
        if element.tag in _LEFT_ALONE:
            return
        x, y = dx, dy
        for child in children.get(container, ()):
            shift = shifts[child]
            if shift is None:
                move(child, x if is_row else dx, dy if is_row else y)
                continue
            classes = drawn.elements[child].attributes.get("class", "").split()
            is_free = not {"push", "middle"} & set(classes) and element.display != "grid"
            step_x = shift[0] - (x if is_row else dx) if is_free else 0.0
            step_y = (
                shift[1] - (dy if is_row else y)
                if element.display != "grid" or child == children[container][0]
                else 0.0
            )
            if child in numbers:
                style = result.setdefault(numbers[child], {})
                _add(style, "margin-left", step_x / scale, -30)
                _add(style, "margin-top", step_y / scale, -40)
                x, y = (x + step_x, y) if is_row else (x, y + step_y)
            move(child, x if is_row else dx + step_x, dy + step_y if is_row else y)

    for root in children.get(-1, ()):
        move(root, 0.0, 0.0)
    return result


def _own_shift(
    index: int,
    numbers: Mapping[int, int],
    targets: Mapping[int, Target],
    drawn: Rendered,
    lines: Mapping[int, list[Line]],
) -> tuple[float, float] | None:
    """How far an element with a target is from its place, in pixels."""
    target = targets.get(numbers.get(index, -1))
    element = drawn.elements[index]
    if target is None:
        return None
    if target.box is not None:
        grown = 1 if target.border is not None and element.tag not in ("header", "footer", "aside") else 0
        return target.box[0] - grown - element.box[0], target.box[1] - grown - element.box[1]
    if target.ink is not None and lines.get(index):
        boxes = [ink_of(drawn.image, line.box)[0] for line in lines[index]]
        if target.num_lines == 1:
            height = boxes[0][3] - boxes[0][1] - (target.ink[3] - target.ink[1])
            return target.ink[0] - boxes[0][0], target.ink[1] - boxes[0][1] - height / 2
        return target.ink[0] - min(box[0] for box in boxes), target.ink[1] - boxes[0][1]
    return None


def _add(style: dict[str, str], name: str, pixels: float, least: float) -> None:
    now = float(style.get(name, "0px").removesuffix("px"))
    if abs(pixels) >= 0.4:
        style[name] = f"{min(max(now + pixels, least), MAX_MARGIN_PX):.1f}px"


def css_color(color: Color) -> str:
    """#rrggbb."""
    return "#" + "".join(f"{min(max(value, 0), 255):02x}" for value in color)


def rules(styles: Styles) -> str:
    """The styles as CSS, elements of equal style together."""
    same: dict[str, list[int]] = {}
    for number, style in styles.items():
        text = "; ".join(f"{name}: {_short(value)}" for name, value in sorted(style.items()) if value not in ("0.0px",))
        if text:
            same.setdefault(text, []).append(number)
    return "\n".join(f"{', '.join(f'#m{n}' for n in numbers)} {{ {text}; }}" for text, numbers in same.items())


def _short(value: str) -> str:
    return value.replace(".0px", "px")
