"""What answers carry beside the fields of the API that was called, the same for chat, responses and messages.

    media              what the model saw of each picture, page and clip of the prompt; always
    boxes, points      where the text points, if `coordinates` of the request said in which unit

In pixels of the picture as it was given ("pixel"), or in thousandths of its width and height ("relative"), as the model
itself counts. It shapes values: no model, no I/O.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, cast

from regard.reply import Box, Point, Reply
from regard.server.asking import Coordinates
from regard.server.fields import Fields

Json = dict[str, Any]
MAX_RELATIVE = 1000.0


def read_coordinates(fields: Fields) -> Coordinates | None:
    """The field `coordinates` of a request."""
    return cast("Coordinates | None", fields.choice("coordinates", "pixel", "relative"))


def media_json(reply: Reply) -> list[Json]:
    """What the model saw, one entry for each picture, page and clip of the prompt."""
    return [asdict(report) for report in reply.media]


def places_json(reply: Reply, coordinates: Coordinates | None) -> Json:
    """The fields `boxes` and `points`; none if nobody asked for them."""
    if coordinates is None:
        return {}
    boxes, points = list(reply.boxes), list(reply.points)
    if coordinates == "relative":
        sizes = [(report.width, report.height) for report in reply.media if report.kind != "video"]
        boxes, points = [_relative_box(one, sizes) for one in boxes], [_relative_point(one, sizes) for one in points]
    return {"boxes": [asdict(box) for box in boxes], "points": [asdict(point) for point in points]}


def _relative_box(box: Box, sizes: list[tuple[int, int]]) -> Box:
    x, y = (MAX_RELATIVE / size for size in sizes[box.image])
    return replace(box, x1=box.x1 * x, y1=box.y1 * y, x2=box.x2 * x, y2=box.y2 * y)


def _relative_point(point: Point, sizes: list[tuple[int, int]]) -> Point:
    x, y = (MAX_RELATIVE / size for size in sizes[point.image])
    return replace(point, x=point.x * x, y=point.y * y)
