"""What `locate` found: places in pixels of the user's picture, how the answer was mended, pictures and exports."""

from __future__ import annotations

from typing import Any, Literal

from PIL import Image as Pillow
from pydantic import PrivateAttr

from regard.apps.result import Box2D, Point2D, Result
from regard.apps.spatial import export
from regard.apps.spatial.camera import Camera, clip_to_picture
from regard.apps.spatial.relations import Relation, depth_relations, relations
from regard.draw import draw, draw_lines
from regard.errors import InputError
from regard.processing.coordinates import Box3D
from regard.processing.image import load_image

Corner = tuple[float, float]


class Count(Result):
    """How many of a category were found, and how many the model says there are when asked directly."""

    label: str
    found: int
    told: int | None = None

    @property
    def agrees(self) -> bool | None:
        """Whether both numbers are the same; None if the model told none."""
        return None if self.told is None else self.told == self.found


class SpaceBox(Result):
    """A box in space: metres in the camera's frame (x right, y down, z forward), radians about x, y and z in turn.

    `edges` are those before the camera, and `box` what is seen of them, in pixels of the user's picture.
    """

    center: tuple[float, float, float]
    size: tuple[float, float, float]
    angles: tuple[float, float, float]
    label: str = ""
    edges: tuple[tuple[float, float, float, float], ...] = ()
    box: tuple[float, float, float, float] | None = None

    @classmethod
    def of(cls, box: Box3D, camera: Camera, size: tuple[int, int]) -> SpaceBox:
        """The box as a camera sees it on a picture of (width, height)."""
        return cls(
            center=box.center,
            size=box.size,
            angles=box.angles,
            label=box.label,
            edges=tuple(camera.edges_px(box)),
            box=camera.box_px(box, *size),
        )

    def to_box(self) -> Box3D:
        """The same box as `camera` takes it."""
        return Box3D(self.center, self.size, self.angles, self.label)


class Occlusion(Result):
    """Box number `front` covers a part of box number `behind`, 0 to 1 of its area."""

    front: int
    behind: int
    covered: float


class Located(Result):
    """Where things are on one picture. `repairs` says in words what was mended in the model's answers."""

    image: str
    width: int
    height: int
    what: tuple[str, ...]
    boxes: tuple[Box2D, ...] = ()
    points: tuple[Point2D, ...] = ()
    space_boxes: tuple[SpaceBox, ...] = ()
    camera: Camera | None = None
    counts: tuple[Count, ...] = ()
    relations: tuple[Relation, ...] = ()
    occlusions: tuple[Occlusion, ...] = ()
    num_views: int = 1
    num_questions: int = 1
    repairs: tuple[str, ...] = ()
    model: str = ""

    _picture: Any = PrivateAttr(default=None)

    def count(self, label: str) -> int:
        """How many places of a label there are; "" counts all."""
        labels = [*(box.label for box in self.boxes), *(point.label for point in self.points)]
        labels += [space.label for space in self.space_boxes]
        return sum(label in ("", told) for told in labels)

    def related(self) -> tuple[Relation, ...]:
        """How the things lie to each other: of boxes on the picture, or of boxes in space."""
        if self.space_boxes:
            return tuple(depth_relations([box.to_box() for box in self.space_boxes]))
        return tuple(relations(self.boxes))

    def draw(self, picture: Any = None) -> Pillow.Image:
        """Everything found, on the picture that was looked at, or on `picture`. Errors: InputError without one."""
        source = self._picture if picture is None else picture
        if source is None:
            raise InputError("there is no picture to draw on; give one: located.draw('desk.jpg')")
        canvas = draw(
            load_image(source), [box.to_box() for box in self.boxes], [point.to_point() for point in self.points]
        )
        things = []
        for box in self.space_boxes:
            pieces = [piece for edge in box.edges if (piece := clip_to_picture(edge, *canvas.size)) is not None]
            things.append((f"{box.label} {box.center[2]:.1f} m".strip(), pieces))
        return draw_lines(canvas, things) if things else canvas

    def to_coco(self) -> dict[str, Any]:
        """A COCO dataset of one picture: boxes as annotations, points as key points."""
        return export.to_coco(self)

    def to_yolo(self) -> str:
        """Lines `class cx cy width height`, relative to the picture; classes number `yolo_names`."""
        return export.to_yolo(self)

    def yolo_names(self) -> tuple[str, ...]:
        """The classes of `to_yolo`, by number: those asked for first, then what else was found."""
        return export.labels(self)

    def to_csv(self) -> str:
        """One line for each place, with a heading."""
        return export.to_csv(self)

    def text(self, form: Literal["json", "coco", "yolo", "csv"]) -> str:
        """The result in one of the export formats."""
        return export.to_text(self, form)
