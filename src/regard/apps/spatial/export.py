"""A result as COCO, YOLO, CSV or JSON text.

COCO: one picture, its annotations (x, y, width, height in pixels) and categories, as pycocotools loads them. Points are
annotations with one key point and a box of one pixel. Boxes in space go by the box that is seen of them.
YOLO has no points; they are refused.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from regard.apps.result import Box2D, Point2D
from regard.errors import InputError

if TYPE_CHECKING:
    from regard.apps.spatial.located import Located

FORMATS = ("json", "coco", "yolo", "csv")


def labels(found: Located) -> tuple[str, ...]:
    """All labels: those asked for first, then the others in the order found."""
    told = [*(box.label for box in found.boxes), *(point.label for point in found.points)]
    told += [space.label for space in found.space_boxes]
    return tuple(dict.fromkeys((*found.what, *(label for label in told if label))))


def flat_boxes(found: Located) -> list[Box2D]:
    """The boxes, and of boxes in space what is seen of them."""
    seen = [(space, space.box) for space in found.space_boxes if space.box is not None]
    return [
        *found.boxes,
        *(Box2D(x1=box[0], y1=box[1], x2=box[2], y2=box[3], label=space.label) for space, box in seen),
    ]


def to_coco(found: Located) -> dict[str, Any]:
    """A COCO dataset of one picture."""
    names = labels(found)
    numbers = {name: number for number, name in enumerate(names, start=1)}
    annotations: list[dict[str, Any]] = []

    def add(place: Box2D | Point2D, box: tuple[float, float, float, float], more: dict[str, Any]) -> None:
        annotation = {
            "id": len(annotations) + 1,
            "image_id": 1,
            "category_id": numbers.get(place.label, 1),
            "bbox": [box[0], box[1], box[2], box[3]],
            "area": box[2] * box[3],
            "iscrowd": 0,
            "segmentation": [],
            **more,
        }
        if place.confidence is not None:
            annotation["score"] = place.confidence
        if place.extra:
            annotation["attributes"] = place.extra
        annotations.append(annotation)

    for box in flat_boxes(found):
        add(box, (box.x1, box.y1, box.width, box.height), {})
    for point in found.points:
        add(point, (point.x - 0.5, point.y - 0.5, 1, 1), {"keypoints": [point.x, point.y, 2], "num_keypoints": 1})
    pointed: dict[str, Any] = {"keypoints": ["point"], "skeleton": []} if found.points else {}
    return {
        "info": {"description": f"found by {found.model} with regard"},
        "licenses": [],
        "images": [{"id": 1, "file_name": found.image, "width": found.width, "height": found.height}],
        "annotations": annotations,
        "categories": [{"id": numbers[name], "name": name, "supercategory": "", **pointed} for name in names],
    }


def to_yolo(found: Located) -> str:
    """Lines of YOLO. Errors: InputError if there are points and no boxes."""
    if found.points and not found.boxes:
        raise InputError(
            "YOLO's format holds boxes, and these are points; use json, coco or csv, or leave out --points"
        )
    numbers = {name: number for number, name in enumerate(labels(found))}
    lines = []
    for box in flat_boxes(found):
        (x, y), width, height = box.center, found.width, found.height
        places = (x / width, y / height, box.width / width, box.height / height)
        lines.append(f"{numbers.get(box.label, 0)} " + " ".join(f"{place:.6f}" for place in places))
    return "".join(f"{line}\n" for line in lines)


def to_csv(found: Located) -> str:
    """A table: kind, label, the numbers, the confidence, and each attribute in a column."""
    places: list[Box2D | Point2D] = [*flat_boxes(found), *found.points]
    extras = list(dict.fromkeys(key for place in places for key in place.extra))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image", "kind", "label", "x1", "y1", "x2", "y2", "confidence", *extras])
    for place in places:
        if isinstance(place, Box2D):
            kind, numbers = "box", [place.x1, place.y1, place.x2, place.y2]
        else:
            kind, numbers = "point", [place.x, place.y, place.x, place.y]
        sure = "" if place.confidence is None else f"{place.confidence:.4f}"
        more = [_plain(place.extra.get(key)) for key in extras]
        table.writerow([found.image, kind, place.label, *(f"{number:.2f}" for number in numbers), sure, *more])
    return text.getvalue()


def to_text(found: Located, form: str) -> str:
    """The result in a format by its name. Errors: InputError for another name."""
    if form == "json":
        return json.dumps(found.to_json(), ensure_ascii=False, indent=2) + "\n"
    if form == "coco":
        return json.dumps(to_coco(found), ensure_ascii=False, indent=2) + "\n"
    if form == "yolo":
        return to_yolo(found)
    if form == "csv":
        return to_csv(found)
    raise InputError(f"the format is {form[:40]!r}; it must be one of {', '.join(FORMATS)}")


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else "" if value is None else json.dumps(value)
