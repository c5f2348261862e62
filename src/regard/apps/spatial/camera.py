"""A pinhole camera, and boxes in space on its picture.

Space is the camera's frame: x to the right, y down, z forward, metres. A point (X, Y, Z) is seen at
u = fx * X / Z + cx, v = fy * Y / Z + cy. What lies behind the near plane is cut off there, edge by edge, so that a box
that is partly behind the camera is drawn as far as it is seen. Lenses are not corrected.

Without intrinsics the family's own guess is taken: 60 degrees on both axes, whatever the picture's shape
(3d_grounding notebook of QwenLM/Qwen3-VL at 9658872). The model is not told the intrinsics; they only place its boxes.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from regard.apps.result import Result
from regard.errors import InputError
from regard.processing.coordinates import Box3D

Array = npt.NDArray[np.float64]
Segment = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels

NEAR_M = 0.05
FOV_DEG = 60.0
_SIGNS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))  # corner i: x, y, z by the bits of i
EDGES = tuple((a, b) for a, b in itertools.combinations(range(8), 2) if bin(a ^ b).count("1") == 1)


class Camera(Result):
    """Intrinsics in pixels of the user's picture; `is_estimated` if nobody measured them."""

    fx: float
    fy: float
    cx: float
    cy: float
    is_estimated: bool = False

    @classmethod
    def estimated(cls, width: int, height: int) -> Camera:
        """The family's guess for a picture of this size in pixels."""
        tangent = 2 * math.tan(math.radians(FOV_DEG / 2))
        return cls(fx=width / tangent, fy=height / tangent, cx=width / 2, cy=height / 2, is_estimated=True)

    @classmethod
    def of_fov(cls, degrees: float, width: int, height: int) -> Camera:
        """A camera with square pixels that sees `degrees` from left to right. Errors: InputError outside 1 to 179."""
        if not 1 <= degrees <= 179:
            raise InputError(f"the field of view is {degrees:g} degrees; it must be from 1 to 179")
        focal = width / (2 * math.tan(math.radians(degrees / 2)))
        return cls(fx=focal, fy=focal, cx=width / 2, cy=height / 2)

    @classmethod
    def parse(cls, text: str, width: int, height: int) -> Camera:
        """`fx,fy,cx,cy` in pixels, or one number: the horizontal field of view in degrees.

        Errors: InputError for anything else.
        """
        try:
            numbers = [float(piece) for piece in text.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) == 1:
            return cls.of_fov(numbers[0], width, height)
        if len(numbers) != 4 or not all(map(math.isfinite, numbers)) or min(numbers[:2]) <= 0:
            raise InputError(
                f"the camera is {text[:60]!r}; write fx,fy,cx,cy in pixels, or the field of view in degrees"
            )
        return cls(fx=numbers[0], fy=numbers[1], cx=numbers[2], cy=numbers[3])

    def project(self, points_P3: Array) -> Array:
        """Points in metres as pixels. Shapes: (P, 3) to (P, 2); NaN for what is behind the near plane."""
        x, y, z = points_P3.T
        seen = z >= NEAR_M
        z = np.where(seen, z, np.nan)
        return np.stack((self.fx * x / z + self.cx, self.fy * y / z + self.cy), axis=1)

    def edges_px(self, box: Box3D) -> list[Segment]:
        """The edges of a box as far as they are before the near plane; they may lie outside the picture."""
        corners = corners_m(box)
        segments = []
        for a, b in EDGES:
            clipped = _before_near(corners[a], corners[b])
            if clipped is not None:
                (x1, y1), (x2, y2) = self.project(clipped)
                segments.append((float(x1), float(y1), float(x2), float(y2)))
        return segments

    def box_px(self, box: Box3D, width: int, height: int) -> tuple[float, float, float, float] | None:
        """The smallest box on the picture around what is seen of it; None if nothing is."""
        pieces = [piece for edge in self.edges_px(box) if (piece := clip_to_picture(edge, width, height)) is not None]
        if not pieces:
            return None
        xs = [x for piece in pieces for x in piece[::2]]
        ys = [y for piece in pieces for y in piece[1::2]]
        return min(xs), min(ys), max(xs), max(ys)


def rotation(angles_rad: tuple[float, float, float]) -> Array:
    """The matrix that turns about x, then about y, then about z. Shape: (3, 3)."""
    (ca, cb, cc), (sa, sb, sc) = np.cos(angles_rad), np.sin(angles_rad)
    about_x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    about_y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    about_z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    turned: Array = about_z @ about_y @ about_x
    return turned


def corners_m(box: Box3D) -> Array:
    """The eight corners in metres. Shape: (8, 3); the bits of a corner's number say on which side it lies."""
    local = _SIGNS * np.array(box.size) / 2
    corners: Array = local @ rotation(box.angles).T + np.array(box.center)
    return corners


def _before_near(a: Array, b: Array) -> Array | None:
    """The part of a segment before the near plane. Shape: (2, 3)."""
    if a[2] < NEAR_M and b[2] < NEAR_M:
        return None
    if a[2] >= NEAR_M and b[2] >= NEAR_M:
        return np.stack((a, b))
    at = a + (b - a) * (NEAR_M - a[2]) / (b[2] - a[2])
    at[2] = NEAR_M  # exactly, whatever rounding did
    return np.stack((at, b) if a[2] < NEAR_M else (a, at))


def clip_to_picture(segment: Segment, width: int, height: int) -> Segment | None:
    """The part of a segment that lies on the picture (Liang-Barsky); None if none does."""
    x1, y1, x2, y2 = segment
    dx, dy = x2 - x1, y2 - y1
    first, last = 0.0, 1.0
    for step, room in ((-dx, x1), (dx, width - x1), (-dy, y1), (dy, height - y1)):
        if step == 0:
            if room < 0:
                return None
            continue
        at = room / step
        if step < 0:
            first = max(first, at)
        else:
            last = min(last, at)
    if first > last:
        return None
    return x1 + first * dx, y1 + first * dy, x1 + last * dx, y1 + last * dy
