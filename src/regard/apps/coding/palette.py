"""The colours of a mock-up as variables of a stylesheet: `--page`, `--ink`, `--accent`, ..."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from regard.apps.coding.fit import css_color
from regard.apps.coding.likeness import color_difference, lab
from regard.apps.coding.parts import FIELDS, Part
from regard.apps.coding.sight import Color, Sight

VISIBLE = 15  # CIEDE2000 from the page's ground: words on bars and buttons have other grounds


def palette(sight: Sight, parts: Sequence[Part]) -> dict[str, str]:
    """Names without the dashes and CSS colours; only what the mock-up shows."""
    every = list(_walk(parts))
    words = [part for part in every if part.kind in ("text", "heading") and part.color is not None]
    found: dict[str, Color] = {"page": sight.page}
    inks = Counter(
        part.color for part in words if part.color is not None and color_difference(part.color, sight.page) > VISIBLE
    )
    if inks:
        found["ink"] = inks.most_common(1)[0][0]
        ink_gap = color_difference(found["ink"], sight.page)
        pale = [
            color for color in inks if 15 < color_difference(color, sight.page) < 0.75 * ink_gap and _chroma(color) < 25
        ]
        if pale:
            found["muted"] = max(pale, key=lambda color: inks[color])
    buttons = [part for part in every if part.kind == "button" and part.is_filled and part.ground is not None]
    links = [part.color for part in every if part.kind == "link" and part.color is not None]
    if buttons:
        best = max(buttons, key=lambda part: _chroma(part.ground or (0, 0, 0)))
        found["accent"] = best.ground or (0, 0, 0)
        found["on-accent"] = best.color or (255, 255, 255)
    elif links:
        found["accent"] = links[0]
    for part in every:
        if part.kind == "header" and part.ground is not None:
            found["bar"] = part.ground
            inner = [
                child.color for child in part.children if child.color is not None and child.kind in ("text", "link")
            ]
            if inner:
                found["on-bar"] = inner[0]
        if part.kind in FIELDS and part.ground is not None:
            found["field"] = part.ground
        if part.kind == "card" and part.ground is not None:
            found["panel"] = part.ground
    borders = [part.border for part in every if part.border is not None]
    if borders:
        found["line"] = Counter(borders).most_common(1)[0][0]
    return {name: css_color(color) for name, color in found.items()}


def _chroma(color: Color) -> float:
    _, a, b = lab(color)
    return float((a * a + b * b) ** 0.5)


def _walk(parts: Sequence[Part]) -> list[Part]:
    return [found for part in parts for found in (part, *_walk(part.children))]
