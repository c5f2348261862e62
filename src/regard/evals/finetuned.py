"""A fine-tune looked at: its losses as curves, and held-out conversations answered before and after.

Of each conversation the last answer is asked for again. Measured: answers that are wanted word for word, the share of
characters that are right, and where places are wanted, how many boxes overlap by half (points: lie within a twentieth
of the picture's width). The report is one HTML file with pictures: wanted, before, after.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as PILImage
from PIL import ImageDraw

from regard.evals.answers import char_error, intersection_over_union
from regard.evals.curves import line_plot
from regard.evals.pictures import ANSWERED_COLOUR, WANTED_COLOUR
from regard.evals.report import STYLE, css, data_url, percent
from regard.html_page import page
from regard.messages import Image, Message
from regard.processing.coordinates import find_boxes_and_points
from regard.processing.image import load_image

BEFORE_COLOUR = (120, 120, 120)
NEAR = 0.05
_MAX_SIDE_PX = 640


@dataclass(frozen=True)
class Answered:
    """One held-out conversation: its messages up to the last answer, that answer, and what the two models say."""

    asked: tuple[Message, ...]
    wanted: str
    before: str
    after: str


@dataclass(frozen=True)
class Figures:
    """Means over the conversations; `places` is None where none wants a place. All 0 to 1."""

    exact: float
    characters: float
    places: float | None

    def to_json(self) -> dict[str, float | None]:
        """For the last line of the log."""
        return {"exact": self.exact, "characters": self.characters, "places": self.places}


def figures(rows: Sequence[tuple[str, str]]) -> Figures:
    """Of (wanted, given) pairs."""
    if not rows:
        raise ValueError("there is nothing to measure")
    exact = [" ".join(wanted.split()) == " ".join(given.split()) for wanted, given in rows]
    characters = [max(0.0, 1 - char_error(given, wanted)) for wanted, given in rows]
    places = [share for wanted, given in rows if (share := places_found(wanted, given)) is not None]
    return Figures(sum(exact) / len(rows), sum(characters) / len(rows), sum(places) / len(places) if places else None)


def places_found(wanted: str, given: str) -> float | None:
    """The share of the wanted boxes and points that the answer has, each once; None if no place is wanted."""
    true_boxes, true_points = find_boxes_and_points(wanted, ((1000, 1000),))
    given_boxes, given_points = find_boxes_and_points(given, ((1000, 1000),))
    boxes, points = list(given_boxes), list(given_points)
    if not true_boxes and not true_points:
        return None
    found = 0
    for box in true_boxes:
        wanted_box = (box.x1, box.y1, box.x2, box.y2)
        near = [one for one in boxes if intersection_over_union(wanted_box, (one.x1, one.y1, one.x2, one.y2)) >= 0.5]
        if near:
            found += 1
            boxes.remove(near[0])
    for point in true_points:
        close = [one for one in points if math.hypot(one.x - point.x, one.y - point.y) <= 1000 * NEAR]
        if close:
            found += 1
            points.remove(close[0])
    return found / (len(true_boxes) + len(true_points))


def write_report(
    path: Path, *, title: str, facts: str, log: Sequence[dict[str, Any]], rows: Sequence[Answered]
) -> None:
    """`facts`: a sentence about the run; `log`: its records, with `loss` and, now and then, `held_out_loss`."""
    parts = [f"<p>{html.escape(facts)}</p>", loss_plot(log)]
    if rows:
        before = figures([(row.wanted, row.before) for row in rows])
        after = figures([(row.wanted, row.after) for row in rows])
        parts += [f"<h2>{len(rows)} held-out conversations</h2>", _table(before, after)]
        parts += ['<p>In the pictures: <span class="wanted">wanted</span>, <span class="before">before</span>, ']
        parts += ['<span class="answered">after</span>.</p><div class="examples">', *map(_figure, rows), "</div>"]
    colours = {"wanted": WANTED_COLOUR, "answered": ANSWERED_COLOUR, "before": BEFORE_COLOUR}
    style = STYLE + "\n".join(f".{name} {{ color: {css(colour)}; }}" for name, colour in colours.items())
    path.write_text(page(html.escape(title), "\n".join(parts), style), encoding="utf-8")


def _table(before: Figures, after: Figures) -> str:
    lines = ["<table><tr><th>measure</th><th>before</th><th>after</th></tr>"]
    names = {"exact": "answers word for word", "characters": "characters right", "places": "places found"}
    for name, title in names.items():
        values = [getattr(one, name) for one in (before, after)]
        if None not in values:
            cells = "".join(f'<td class="number">{percent(value)}</td>' for value in values)
            lines.append(f"<tr><td>{title}</td>{cells}</tr>")
    return "\n".join([*lines, "</table>"])


def loss_plot(log: Sequence[dict[str, Any]]) -> str:
    """The losses over the steps as SVG: every step's, and the held-out one's."""
    curves = {
        title: [(record["step"], record[name]) for record in log if name in record]
        for title, name in (("loss", "loss"), ("held-out loss", "held_out_loss"))
    }
    return line_plot(curves, (BEFORE_COLOUR, ANSWERED_COLOUR))


def _figure(row: Answered) -> str:
    picture = illustrate(row)
    image = f'<img src="{data_url(picture)}" alt="" width="{picture.width}">' if picture is not None else ""
    said = (
        ("", row.asked[-1].text), ("wanted", row.wanted), ("before", row.before), ("answered", row.after),
    )  # fmt: skip
    lines = "".join(f'<span class="{kind}">{html.escape(text)}</span>' for kind, text in said)
    return f"<figure>{image}<figcaption>{lines}</figcaption></figure>"


def illustrate(row: Answered) -> PILImage.Image | None:
    """The last picture with the places that were wanted and answered; None without a picture."""
    sources = [part.source for message in row.asked for part in message.parts if isinstance(part, Image)]
    if not sources:
        return None
    canvas = load_image(sources[-1]).convert("RGB")
    canvas.thumbnail((_MAX_SIDE_PX, _MAX_SIDE_PX))
    draw = ImageDraw.Draw(canvas)
    for text, colour, line_px in (
        (row.wanted, WANTED_COLOUR, 3), (row.before, BEFORE_COLOUR, 1), (row.after, ANSWERED_COLOUR, 2),
    ):  # fmt: skip
        boxes, points = find_boxes_and_points(text, (canvas.size,))
        for box in boxes:
            corners = (*sorted((box.x1, box.x2)), *sorted((box.y1, box.y2)))
            draw.rectangle((corners[0], corners[2], corners[1], corners[3]), outline=colour, width=line_px)
        for point in points:
            draw.ellipse((point.x - 4, point.y - 4, point.x + 4, point.y + 4), outline=colour, width=line_px)
    return canvas
