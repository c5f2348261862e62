"""Numbers of `regard locate`: units and back, views, merging, the camera, relations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from regard.apps.result import Box2D
from regard.apps.spatial import merging
from regard.apps.spatial.camera import NEAR_M, Camera, clip_to_picture, corners_m
from regard.apps.spatial.relations import depth_relations, relations
from regard.apps.spatial.views import View, around, tiles_of, whole
from regard.errors import InputError
from regard.processing.coordinates import Box3D, Scale, Units, boxes, boxes_3d, scale_of

SIZES = [(1380, 245), (3840, 2160), (1080, 2340)]  # very wide, large, a portrait phone
FRACTION = st.floats(0, 1, allow_nan=False)


def box(x1: float, y1: float, x2: float, y2: float, label: str = "a", confidence: float | None = None) -> Box2D:
    return Box2D(x1=x1, y1=y1, x2=x2, y2=y2, label=label, confidence=confidence)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SIZES), FRACTION, FRACTION, st.sampled_from(["norm1000", "norm999", "pixel"]))
def test_pixels_to_units_and_back_are_the_same_pixels(
    size: tuple[int, int], fx: float, fy: float, scale: Scale
) -> None:
    units = Units(size, scale, (size[0] // 28 * 28, size[1] // 28 * 28))
    x, y = fx * size[0], fy * size[1]
    back = units.point_px(*units.point_units(x, y))
    assert max(abs(back[0] - x), abs(back[1] - y)) < 1e-6


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SIZES), st.tuples(FRACTION, FRACTION, FRACTION, FRACTION))
def test_whole_numbers_come_back_within_half_a_unit(size: tuple[int, int], corners: tuple[float, ...]) -> None:
    """A unit of a picture of 3840 pixels is 3.84 pixels wide: no model that writes whole thousandths can do better."""
    x1, x2 = sorted((corners[0] * size[0], corners[2] * size[0]))
    y1, y2 = sorted((corners[1] * size[1], corners[3] * size[1]))
    units = Units(size)
    back = units.box_px(*units.box_units(x1, y1, x2, y2))
    for told, true, side in zip(back, (x1, y1, x2, y2), (*size, *size), strict=True):
        assert abs(told - true) <= side / 2000 + 1e-6


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SIZES), FRACTION, FRACTION, st.floats(0.002, 0.15), st.floats(0.002, 0.15))
def test_a_closer_look_brings_whole_numbers_within_a_pixel_on_every_picture(
    size: tuple[int, int], fx: float, fy: float, fw: float, fh: float
) -> None:
    """The way of `zoom`: cut, ask in thousandths of the part, add the part's place."""
    x1, y1 = fx * size[0] * (1 - fw), fy * size[1] * (1 - fh)
    true = (x1, y1, min(x1 + fw * size[0], size[0]), min(y1 + fh * size[1], size[1]))
    view = around(true, size)
    assert view.left <= x1 and view.top <= y1 and view.right >= true[2] and view.bottom >= true[3]
    inside = [c - origin for c, origin in zip(true, (view.left, view.top) * 2, strict=True)]
    units = Units(view.size)
    back = units.box_px(*units.box_units(*inside))
    found = [c + origin for c, origin in zip(back, (view.left, view.top) * 2, strict=True)]
    assert max(abs(told - wanted) for told, wanted in zip(found, true, strict=True)) <= 1


def test_the_older_models_speak_pixels_of_what_they_saw() -> None:
    assert scale_of("Qwen/Qwen2.5-VL-7B-Instruct") == "pixel"
    assert {scale_of(name) for name in ("Qwen/Qwen3-VL-4B-Instruct", "nano", "/models/qwen3vl")} == {"norm1000"}
    (found,) = boxes([{"bbox_2d": [70, 70, 140, 280]}], (1000, 500), "pixel", seen_size=(280, 280))
    assert (found.x1, found.y1, found.x2, found.y2) == (250, 125, 500, 500)


def test_ordinary_pictures_are_one_view_and_long_ones_overlapping_tiles() -> None:
    assert tiles_of((1920, 1080)) == [whole((1920, 1080))] and tiles_of((1380, 245), "off") == [View(0, 0, 1380, 245)]
    for size in ((1380, 245), (245, 1380), (20_000, 40), (3, 900)):
        tiles = tiles_of(size)
        long = 0 if size[0] > size[1] else 1
        starts = [(t.left, t.top)[long] for t in tiles]
        ends = [(t.right, t.bottom)[long] for t in tiles]
        assert len(tiles) > 1 and starts[0] == 0 and ends[-1] == max(size)
        assert all(later < end for later, end in zip(starts[1:], ends, strict=False)), "neighbours overlap"
    assert len(tiles_of((640, 480), "3x2")) == 6
    for wrong in ("3", "0x2", "ax2", "9x9", "-1x2"):
        with pytest.raises(InputError):
            tiles_of((640, 480), wrong)


def test_a_part_is_enlarged_to_multiples_of_32_as_by_the_zoom_tool() -> None:
    picture = Image.new("RGB", (640, 480))
    for view, shape in ((View(0, 0, 211, 269), (480, 608)), (View(10, 10, 140, 50), (928, 288))):
        part = view.cut(picture)
        assert part.size == shape  # the sizes that the family's notebook shows
    assert whole((640, 480)).cut(picture) is picture
    assert View(100, 50, 200, 100).within(-5, 10, 30.2, 20) == View(95, 60, 131, 70)


def test_a_thing_on_a_seam_becomes_one_and_neighbours_stay_two() -> None:
    size = (1000, 100)
    left, right = View(0, 0, 600, 100), View(400, 0, 1000, 100)
    found = [
        (left, [box(450, 20, 600, 80), box(10, 10, 50, 50)]),
        (right, [box(448, 21, 700, 80), box(420, 5, 440, 15)]),
    ]
    assert [(b.x1, b.y1, b.x2, b.y2) for b in merging.merged_tiles(found, size)] == [
        (448, 20, 700, 80), (10, 10, 50, 50), (420, 5, 440, 15),
    ]  # fmt: skip
    same = [(left, [box(450, 20, 550, 80)]), (right, [box(451, 20, 550, 80, "b")])]
    assert len(merging.merged_tiles(same, size)) == 2, "labels differ"


def test_what_a_loop_wrote_again_is_left_out_and_told() -> None:
    looped = [box(1, 1, 9, 9)] + [box(20, 20, 40, 40)] * 50 + [box(1000, 3, 1000, 9)]
    kept, notes = merging.without_repeats(looped)
    assert len(kept) == 2 and notes == ("left out 1 box without area", "left out 49 repeated boxes")
    surer = merging.suppressed([box(0, 0, 10, 10, confidence=0.2), box(0, 0, 10, 9.9, confidence=0.9)], 0.5)
    assert [b.confidence for b in surer] == [0.9]


def independent_pixels(told: Box3D, camera: Camera, corner: tuple[int, int, int]) -> tuple[float, float]:
    """One corner through quaternions and one 3x4 projection matrix in homogeneous coordinates."""

    def times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        w, v, x, u = a[0], a[1:], b[0], b[1:]
        return np.array([w * x - v @ u, *(w * u + x * v + np.cross(v, u))])

    turned = np.array([0.0, *(np.array(corner) * np.array(told.size) / 2)])
    for axis, angle in zip(np.eye(3), told.angles, strict=True):
        turn = np.array([math.cos(angle / 2), *(math.sin(angle / 2) * axis)])
        turned = times(times(turn, turned), turn * [1, -1, -1, -1])
    matrix = np.array([[camera.fx, 0, camera.cx, 0], [0, camera.fy, camera.cy, 0], [0, 0, 1, 0]])
    u, v, w = matrix @ np.array([*(turned[1:] + told.center), 1.0])
    return u / w, v / w


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(6, 40)),
    st.tuples(st.floats(0.1, 4), st.floats(0.1, 4), st.floats(0.1, 4)),
    st.tuples(st.floats(-3.2, 3.2), st.floats(-3.2, 3.2), st.floats(-3.2, 3.2)),
)
def test_projection_agrees_with_an_independent_computation(
    center: tuple[float, float, float], size: tuple[float, float, float], angles: tuple[float, float, float]
) -> None:
    told = Box3D(center, size, angles)
    camera = Camera(fx=1110.2, fy=980.5, cx=643.1, cy=355.7)
    ours = camera.project(corners_m(told))
    for number in range(8):
        signs = tuple(1 if number >> shift & 1 else -1 for shift in (2, 1, 0))
        assert np.allclose(ours[number], independent_pixels(told, camera, signs), atol=1e-3)
    assert len(camera.edges_px(told)) == 12


def test_the_models_nine_numbers_are_metres_and_halves_of_turns() -> None:
    (told,) = boxes_3d([{"bbox_3d": [0, 0, 10, 2, 1, 4, 0, 0.5, 0], "label": "car"}])
    assert told == Box3D((0, 0, 10), (2, 1, 4), (0, math.pi / 2, 0), "car")
    corners = corners_m(told)  # a quarter turn about the vertical axis: its length is now from left to right
    assert np.allclose(np.ptp(corners, axis=0), [4, 1, 2])
    assert boxes_3d([{"bbox_3d": [1, 2, 3]}, {"bbox_3d": [0] * 9}]) == []


def test_a_box_that_is_partly_behind_the_camera_is_drawn_as_far_as_it_is_seen() -> None:
    camera = Camera.estimated(640, 480)
    around_us = Box3D((0, 1, 0), (2, 1, 8), (0, 0, 0))
    edges = camera.edges_px(around_us)
    assert 8 <= len(edges) < 12 and all(map(math.isfinite, np.ravel(edges)))
    assert camera.box_px(around_us, 640, 480) is not None
    behind = Box3D((0, 0, -5), (1, 1, 1), (0, 0, 0))
    assert camera.edges_px(behind) == [] and camera.box_px(behind, 640, 480) is None
    assert NEAR_M > 0


def test_cameras_are_given_as_four_numbers_or_one_angle_or_guessed() -> None:
    assert Camera.parse("500,510,320,240", 640, 480) == Camera(fx=500, fy=510, cx=320, cy=240)
    wide = Camera.parse("90", 640, 480)
    assert wide.fx == pytest.approx(320) and wide.fy == wide.fx
    guessed = Camera.estimated(640, 480)  # 60 degrees on both axes
    assert guessed.is_estimated and guessed.fx == pytest.approx(320 / math.tan(math.pi / 6))
    for wrong in ("", "1,2,3", "a", "0", "200", "0,1,2,3", "nan,1,2,3"):
        with pytest.raises(InputError):
            Camera.parse(wrong, 640, 480)


def test_lines_are_cut_at_the_edges_of_the_picture() -> None:
    assert clip_to_picture((-10, 5, 20, 5), 10, 10) == (0, 5, 10, 5)
    assert clip_to_picture((20, 20, 30, 30), 10, 10) is None and clip_to_picture((-5, 0, -5, 9), 10, 10) is None


def test_relations_follow_from_the_boxes() -> None:
    left, right, low, inner = (
        box(0, 0, 10, 10, "cup"),
        box(50, 0, 60, 10, "pot"),
        box(0, 70, 10, 90, "cat"),
        box(51, 1, 55, 5, "lid"),
    )
    told = {(r.a, r.b): (r.kind, r.text) for r in relations([left, right, low, inner])}
    assert told[0, 1] == ("left of", "cup left of pot") and told[0, 2][0] == "above" and told[1, 3][0] == "around"
    assert relations([left, box(5, 5, 15, 15)])[0].kind == "overlaps"
    near, far = Box3D((0, 0, 2), (1, 1, 1), (0, 0, 0), "a"), Box3D((0, 0, 9), (1, 1, 1), (0, 0, 0), "b")
    assert [r.kind for r in depth_relations([near, far])] == ["in front of"] and depth_relations([near, near]) == []
