"""A contact sheet: the frames that an answer cites, each with its time and what happens, on one picture."""

from __future__ import annotations

import math

import PIL.Image
from PIL import ImageDraw, ImageFont

from regard.apps.result import TimeSpan
from regard.apps.video.looks import Eyes
from regard.apps.video.result import VideoReport
from regard.apps.video.second_look import change_at
from regard.draw import draw
from regard.reply import Box

MAX_FRAMES = 24
_WIDTH_PX, _GAP_PX, _CAPTION_PX = 320, 12, 40
_INK, _PAPER, _GREY = (25, 25, 25), (255, 255, 255), (110, 110, 110)
_MARKS = {"looked": "seen twice", "pixels": "time exact", "no": "not checked"}


def sheet(eyes: Eyes, report: VideoReport) -> PIL.Image.Image:
    """The cited frames in order of time, at most 24, spread evenly; where something changed there is a box."""
    cited = _cited(report)
    if not cited:
        cited = [(TimeSpan(start_s=report.stretch.start_s), "nothing is cited", "")]
    if len(cited) > MAX_FRAMES:
        cited = [cited[round(i * (len(cited) - 1) / (MAX_FRAMES - 1))] for i in range(MAX_FRAMES)]
    facts = eyes.index.facts
    height_px = max(60, min(round(_WIDTH_PX * facts.height / facts.width), 2 * _WIDTH_PX))
    columns = min(4, max(1, math.ceil(math.sqrt(len(cited)))))
    rows = math.ceil(len(cited) / columns)
    cell = (_WIDTH_PX + _GAP_PX, height_px + _CAPTION_PX + _GAP_PX)
    paper = PIL.Image.new("RGB", (columns * cell[0] + _GAP_PX, rows * cell[1] + _GAP_PX), _PAPER)
    pen = ImageDraw.Draw(paper)
    frames = dict(eyes.full(sorted({_shown_s(eyes, span) for span, _, _ in cited})))
    for number, (span, text, mark) in enumerate(cited):
        x, y = _GAP_PX + number % columns * cell[0], _GAP_PX + number // columns * cell[1]
        if (frame := frames.get(_shown_s(eyes, span))) is not None:
            paper.paste(_marked(eyes, frame, span).resize((_WIDTH_PX, height_px)), (x, y))
        pen.text((x, y + height_px + 3), span.text + (f"  ({mark})" if mark else ""), fill=_GREY, font=_font(13))
        pen.text((x, y + height_px + 20), _fitting(pen, text), fill=_INK, font=_font(14))
    return paper


def _cited(report: VideoReport) -> list[tuple[TimeSpan, str, str]]:
    if report.task == "question" or report.task == "find" or report.task == "summary":
        events = sorted(report.events, key=lambda event: event.span.start_s)
        return [(event.span, event.text, _MARKS[event.checked]) for event in events]
    return [(span, text, "") for span, text in report.cues()]


def _shown_s(eyes: Eyes, span: TimeSpan) -> float:
    """A frame in which the change is there, and that lies within the clip."""
    last_s = eyes.index.facts.duration_s - 1 / eyes.index.facts.fps
    change = change_at(eyes, span.start_s, within_s=0.05)
    before = change is not None and change.kind == "disappears"
    return min(max(0.0, span.start_s - 0.1 if before else span.start_s + 0.04), last_s)


def _marked(eyes: Eyes, frame: PIL.Image.Image, span: TimeSpan) -> PIL.Image.Image:
    change = change_at(eyes, span.start_s, within_s=0.05)
    if change is None or change.kind == "cut":
        return frame
    width, height = frame.size
    x1, y1, x2, y2 = change.place
    return draw(frame, [Box(x1 * width, y1 * height, x2 * width, y2 * height)])


def _fitting(pen: ImageDraw.ImageDraw, text: str) -> str:
    text = " ".join(text.split())
    while text and pen.textlength(text, font=_font(14)) > _WIDTH_PX:
        text = text[:-2].rstrip() + "\u2026"
        if len(text) < 4:
            break
    return text


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)
