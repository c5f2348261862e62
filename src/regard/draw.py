"""Boxes and points on a picture, readable on any background.

Every stroke is drawn twice, wide in black or white and then narrower in its colour, so that it is seen on light
and dark alike; labels are text on a filled tab in the box's colour, moved inside where they would fall off the
picture. Line width and text size follow the picture's size. Colours repeat after eight.

Letters come from Pillow's own font; for a label that it cannot write (Chinese, say) common system fonts are
tried by name, and without one the label is drawn as it is. Nothing here decides what to draw: that is the
reply's boxes and points, in pixels of this picture.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from regard.reply import Box, Point

Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

COLORS: tuple[Color, ...] = (
    (230, 25, 75),
    (0, 110, 220),
    (20, 150, 60),
    (240, 130, 20),
    (145, 30, 180),
    (0, 150, 160),
    (200, 30, 160),
    (130, 90, 30),
)
WIDE_FONTS = ("NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf", "msyh.ttc")
MAX_LABEL_CHARS = 60


def draw(picture: Image.Image, boxes: Sequence[Box] = (), points: Sequence[Point] = ()) -> Image.Image:
    """Return a copy of the picture with boxes and points on it, in RGB. Their `image` numbers are not looked at."""
    canvas = picture.convert("RGB")
    pen = ImageDraw.Draw(canvas)
    line_px = max(2, round(min(canvas.size) / 250))
    text_px = max(12, round(min(canvas.size) / 35))
    for number, box in enumerate(boxes):
        _draw_box(pen, box, COLORS[number % len(COLORS)], line_px)
    for number, point in enumerate(points):
        _draw_point(pen, point, COLORS[(len(boxes) + number) % len(COLORS)], line_px)
    # Labels last: no later outline may cross one.
    for number, box in enumerate(boxes):
        corner = (min(box.x1, box.x2) - line_px, min(box.y1, box.y2) - line_px)
        _draw_label(pen, canvas.size, corner, box.label, COLORS[number % len(COLORS)], text_px)
    for number, point in enumerate(points):
        corner = (point.x + 6 * line_px, point.y - 4 * line_px)
        _draw_label(pen, canvas.size, corner, point.label, COLORS[(len(boxes) + number) % len(COLORS)], text_px)
    return canvas


def draw_lines(
    picture: Image.Image, things: Sequence[tuple[str, Sequence[tuple[float, float, float, float]]]]
) -> Image.Image:
    """Return a copy of the picture with things of lines (x1, y1, x2, y2) on it, each labelled at its upper left."""
    canvas = picture.convert("RGB")
    pen = ImageDraw.Draw(canvas)
    line_px = max(2, round(min(canvas.size) / 300))
    text_px = max(12, round(min(canvas.size) / 35))
    for number, (_, lines) in enumerate(things):
        for ink, width in (((255, 255, 255), line_px + 2), (COLORS[number % len(COLORS)], line_px)):
            for line in lines:
                pen.line(line, fill=ink, width=width)
    for number, (label, lines) in enumerate(things):
        if lines:
            corner = (min(min(line[::2]) for line in lines), min(min(line[1::2]) for line in lines))
            _draw_label(pen, canvas.size, corner, label, COLORS[number % len(COLORS)], text_px)
    return canvas


def _draw_box(pen: ImageDraw.ImageDraw, box: Box, color: Color, line_px: int) -> None:
    left, right = sorted((box.x1, box.x2))
    top, bottom = sorted((box.y1, box.y2))
    # The coloured line lies just outside the box, between two thin halos: what is boxed stays visible.
    for grow, ink, width in ((line_px + 1, (255, 255, 255), line_px + 2), (line_px, color, line_px)):
        pen.rectangle((left - grow, top - grow, right + grow, bottom + grow), outline=ink, width=width)


def _draw_point(pen: ImageDraw.ImageDraw, point: Point, color: Color, line_px: int) -> None:
    radius = 5 * line_px
    for ink, width in (((255, 255, 255), line_px + 2), ((0, 0, 0), line_px + 1), (color, line_px)):
        corners = (point.x - radius, point.y - radius, point.x + radius, point.y + radius)
        pen.ellipse(corners, outline=ink, width=width)
    dot = max(1, line_px // 2)
    pen.ellipse((point.x - dot - 1, point.y - dot - 1, point.x + dot + 1, point.y + dot + 1), fill=(255, 255, 255))
    pen.ellipse((point.x - dot, point.y - dot, point.x + dot, point.y + dot), fill=color)


def _draw_label(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], corner: tuple[float, float], label: str, color: Color, text_px: int
) -> None:
    """Put the label's tab above `corner`; moved so that all of it lies on the picture, if it can."""
    if not label:
        return
    text = label if len(label) <= MAX_LABEL_CHARS else label[: MAX_LABEL_CHARS - 3] + "..."
    font = _font(text, text_px)
    pad = max(2, text_px // 5)
    width = pen.textlength(text, font=font) + 2 * pad
    height = text_px * 1.25 + 2 * pad
    x = max(0.0, min(corner[0], size[0] - width))
    y = corner[1] - height
    if y < 0:
        y = min(max(0.0, corner[1]), max(0.0, size[1] - height))
    pen.rectangle((x, y, x + width, y + height), fill=color, outline=(255, 255, 255))
    pen.text((x + pad, y + pad), text, font=font, fill=(255, 255, 255))


def _font(text: str, size_px: int) -> Font:
    if max(map(ord, text)) > 0xFF:
        for name in WIDE_FONTS:
            try:
                return ImageFont.truetype(name, size_px)
            except OSError:
                continue  # this machine does not have it
    return ImageFont.load_default(size_px)
