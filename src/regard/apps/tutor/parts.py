"""Which parts of a figure a solution speaks of, and the picture with them marked.

Named are corners (from sides like AB and angles like "angle B"), a circle's centre and radius, bars by their labels.
Where both ends of a side were found, the side itself is drawn: given ones in one colour, the asked one in another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from regard.apps.result import Point2D
from regard.apps.tutor.result import Line, Review, Solution
from regard.draw import draw
from regard.reply import Reply

MAX_PARTS = 8
VERDICT_COLOURS = {"checked": (20, 150, 60), "wrong": (230, 25, 75), "not checkable": (130, 130, 130)}
MARKS = {"checked": "OK", "wrong": "X", "not checkable": "?"}  # Pillow's own font has no check mark
GIVEN_COLOUR, ASKED_COLOUR = (0, 110, 220), (230, 25, 75)
_SIDE = re.compile(r"(?<![A-Za-z])([A-Z])([A-Z])(?![A-Za-z])")
_POINT = re.compile(r"(?<![A-Za-z])([A-Z])(?![A-Za-z])\s*=\s*\(")
_ANGLE = re.compile(r"(?:angle|\u2220)\s*([A-Z]{1,3})(?![A-Za-z])")
_LABEL = re.compile(r"^([A-Za-z][A-Za-z ]{2,18}?)\s*=")
_QUANTITY_WORDS = (
    "area perimeter radius diameter circumference height width length base side sides angle mean total slope"
)
_QUANTITIES = frozenset(_QUANTITY_WORDS.split())


def parts_of(given: Sequence[str], asked: str) -> list[str]:
    """Names to look for in the figure, most important first; [] if the solution names none."""
    text = " , ".join((*given, asked))
    letters: dict[str, None] = {}
    for side in _SIDE.finditer(text):
        letters |= dict.fromkeys(side.groups())
    for angle in _ANGLE.finditer(text):
        letters |= dict.fromkeys(angle[1])
    for point in _POINT.finditer(text):
        letters[point[1]] = None
    if letters:
        return sorted(letters)[:MAX_PARTS]
    if re.search(r"(?<![A-Za-z])(?:r|d|radius|diameter)\s*=", text):
        name = "diameter" if re.search(r"(?<![A-Za-z])(?:d|diameter)\s*=", text) else "radius"
        return ["the centre", f"the {name}"]
    labels = [found[1].strip() for item in given if (found := _LABEL.match(item))]
    bars = [label for label in labels if label.lower() not in _QUANTITIES]
    return [f"the bar of {label}" for label in bars][:MAX_PARTS] if len(bars) > 1 else []


def points_from(reply: Reply, names: Sequence[str]) -> tuple[Point2D, ...]:
    """The points of a reply that bear the asked names, each once; without labels, in the order of the names."""
    found = [Point2D.of(point) for point in reply.points]
    found += [
        Point2D(x=(box.x1 + box.x2) / 2, y=(box.y1 + box.y2) / 2, label=box.label, confidence=box.confidence)
        for box in reply.boxes
    ]
    if found and len(found) == len(names) and not any(point.label for point in found):
        return tuple(point.model_copy(update={"label": name}) for point, name in zip(found, names, strict=True))
    chosen: dict[str, Point2D] = {}
    for point in found:
        name = next((n for n in names if _same_name(n, point.label)), None)
        if name is not None and name not in chosen:
            chosen[name] = point.model_copy(update={"label": name})
    return tuple(chosen[name] for name in names if name in chosen)


def _same_name(name: str, label: str) -> bool:
    label = re.sub(r"^(?:the\s+)?(?:point|corner|vertex|angle|bar of|bar)\s+", "", label.strip(), flags=re.IGNORECASE)
    short = name.removeprefix("the bar of ").removeprefix("the ")
    return label == short if len(short) == 1 else label.lower().removeprefix("the ") == short.lower()


def lines_between(points: Sequence[Point2D], given: Sequence[str], asked: str) -> tuple[Line, ...]:
    """The sides whose both ends were found."""
    place = {point.label: point for point in points}
    lines: dict[str, Line] = {}
    for text, is_asked in (*((item, False) for item in given), (asked, True)):
        for a, b in (found.groups() for found in _SIDE.finditer(text)):
            if a in place and b in place and a != b:
                lines.setdefault(a + b, Line(name=a + b, start=place[a], end=place[b], is_asked=is_asked))
    return tuple(lines.values())


def marked(picture: PILImage.Image, solution: Solution) -> PILImage.Image:
    """A copy of the picture with sides and points on it, in RGB."""
    canvas = picture.convert("RGB")
    pen = ImageDraw.Draw(canvas)
    width = max(2, round(min(canvas.size) / 120))
    for line in solution.lines:
        ends = [(line.start.x, line.start.y), (line.end.x, line.end.y)]
        pen.line(ends, fill=(255, 255, 255), width=width + 2)
        pen.line(ends, fill=ASKED_COLOUR if line.is_asked else GIVEN_COLOUR, width=width)
    return draw(canvas, points=[point.to_point() for point in solution.points])


def reviewed(picture: PILImage.Image, review: Review) -> PILImage.Image:
    """A copy of a student's photo, in RGB: true lines green, false ones red, others grey, each with its mark."""
    canvas = picture.convert("RGB")
    pen = ImageDraw.Draw(canvas)
    width = max(2, round(min(canvas.size) / 150))
    text_px = max(14, round(min(canvas.size) / 14))
    font = ImageFont.load_default(text_px)
    for line in review.lines:
        colour = VERDICT_COLOURS[line.verdict]
        x1, y1, x2, y2 = line.box.x1, line.box.y1, line.box.x2, line.box.y2
        pen.rectangle((x1 - 4, y1 - 4, x2 + 4, y2 + 4), outline=colour, width=width)
        place = (min(x2 + 10, canvas.width - text_px), (y1 + y2) / 2)
        pen.text(place, MARKS[line.verdict], fill=colour, font=font, anchor="lm", stroke_width=1, stroke_fill="white")
    return canvas
