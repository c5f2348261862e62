"""Pictures of examples for a report: what was wanted in green, what was answered in magenta.

Pictures get boxes and points; clips become a sheet of their frames with the time under each.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from regard.evals.answers import first_time_s
from regard.messages import Image, Video
from regard.processing.coordinates import find_boxes_and_points
from regard.train.world.sample import Sample

WANTED_COLOUR, ANSWERED_COLOUR = (0, 150, 60), (215, 0, 130)
_PAPER, _INK = (255, 255, 255), (60, 60, 60)
_FRAMES_PER_ROW = 8
_GAP_PX, _CAPTION_PX = 6, 16


def illustrate(sample: Sample, answer: str) -> PILImage.Image:
    """The sample's picture or clip with the true and the answered places or times."""
    media = next(part for part in sample.prompt[-1].parts if isinstance(part, Image | Video))
    if isinstance(media, Image):
        return _with_boxes(media.source, sample, answer)
    answered_s = first_time_s(answer) if "time_s" in sample.truth else None
    return contact_sheet(media.source, media.sample_fps or 2.0, sample.truth.get("time_s"), answered_s)


def _with_boxes(picture: PILImage.Image, sample: Sample, answer: str) -> PILImage.Image:
    canvas = picture.convert("RGB")
    draw = ImageDraw.Draw(canvas)
    for box in _true_boxes(sample, canvas.size):
        draw.rectangle(box, outline=WANTED_COLOUR, width=2)
    boxes, points = find_boxes_and_points(answer, (canvas.size,))
    for found in boxes:
        draw.rectangle((found.x1, found.y1, found.x2, found.y2), outline=ANSWERED_COLOUR, width=1)
    for point in points:
        draw.ellipse((point.x - 4, point.y - 4, point.x + 4, point.y + 4), outline=ANSWERED_COLOUR, width=2)
    return canvas


def _true_boxes(sample: Sample, size: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    """In pixels: screens have one box in pixels, scenes several in thousandths."""
    if "box" in sample.truth:
        x1, y1, x2, y2 = sample.truth["box"]
        return [(x1, y1, x2, y2)]
    width, height = size
    boxes = sample.truth.get("boxes", [])
    return [(x1 * width / 1000, y1 * height / 1000, x2 * width / 1000, y2 * height / 1000) for x1, y1, x2, y2 in boxes]


def contact_sheet(
    frames: Sequence[PILImage.Image], fps: float, wanted_s: float | None, answered_s: float | None
) -> PILImage.Image:
    """All frames in rows of eight; the frames shown at the two times are framed in their colours."""
    width, height = frames[0].size
    step_x, step_y = width + _GAP_PX, height + _GAP_PX + _CAPTION_PX
    num_columns = min(len(frames), _FRAMES_PER_ROW)
    num_rows = -(-len(frames) // num_columns)
    sheet = PILImage.new("RGB", (num_columns * step_x + _GAP_PX, num_rows * step_y + _GAP_PX), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(11)
    for index, frame in enumerate(frames):
        x = _GAP_PX + index % num_columns * step_x
        y = _GAP_PX + index // num_columns * step_y
        sheet.paste(frame, (x, y))
        draw.text((x, y + height + 1), f"{index / fps:.1f} s", fill=_INK, font=font)
        for time_s, colour, grow in ((wanted_s, WANTED_COLOUR, 1), (answered_s, ANSWERED_COLOUR, 3)):
            if time_s is not None and index == min(round(time_s * fps), len(frames) - 1):
                draw.rectangle(
                    (x - grow, y - grow, x + width + grow - 1, y + height + grow - 1), outline=colour, width=2
                )
    return sheet
