"""Boxes and points of a reply in pixels, however badly the JSON is written."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.processing.coordinates import find_boxes_and_points
from regard.reply import Box, Point

SIZE = (2000, 1000)
SAVE = Box(200, 100, 400, 200, "Save")


def boxes(text: str, size: tuple[int, int] = SIZE) -> tuple[Box, ...]:
    return find_boxes_and_points(text, [size])[0]


def points(text: str, size: tuple[int, int] = SIZE) -> tuple[Point, ...]:
    return find_boxes_and_points(text, [size])[1]


@pytest.mark.parametrize(
    "text",
    [
        '```json\n[\n\t{"bbox_2d": [100, 100, 200, 200], "label": "Save"}\n]\n```',
        '[{"bbox_2d": [100, 100, 200, 200], "label": "Save"}]',
        '{"bbox_2d": [100, 100, 200, 200], "label": "Save"}',
        "[{'bbox_2d': [100, 100, 200, 200], 'label': 'Save'}]",
        "[{'label': 'Save', 'bbox_2d': (100, 100, 200, 200)}]".replace("(", "[").replace(")", "]"),
        '[{"bbox_2d": [100, 100, 200, 200,], "label": "Save",},]',
        'Here it is: [{"bbox_2d": [100, 100, 200, 200], "label": "Save"}] That is {the} button, isn\'t it?',
        '```json\n[{"bbox_2d": [100, 100, 200, 200], "label": "Save"}, {"bbox_2d": [3, 4, 5',
        '[{"bbox_2d": [100, 100, 200, 200], "label": "Save"}, {"bbox_2d": [3, 4, 5, 6',
        '{"bbox_2d": [200, 200, 100, 100], "label": "Save"}',
        '{"bbox_2d": [[100, 100], [200, 200]], "label": "Save"}',
        '{bbox_2d: [100.0, 100, 200, 200], label: "Save"}',
        '{"bbox_2d": ["100", "100", "200", "200"], "label": "Save"}',
        '{"found": {"items": [{"bbox_2d": [100, 100, 200, 200], "label": "Save", "type": null}]}}',
    ],
)
def test_one_box_is_found_in_every_spelling(text: str) -> None:
    assert boxes(text) == (SAVE,)


def test_a_label_may_be_absent_or_cut_or_hold_quotes() -> None:
    assert boxes('{"bbox_2d": [100, 100, 200, 200]}')[0].label == ""
    assert boxes('[{"bbox_2d": [100, 100, 200, 200], "label": "Sa')[0].label == ""
    assert boxes('{"bbox_2d": [1, 2, 3, 4], "label": "the "Save" button"}')[0].label == 'the "Save" button'
    assert boxes("{'label': 'it's', 'bbox_2d': [1, 2, 3, 4]}")[0].label == "it's"
    assert boxes('{"label": "a\\n\\u732b\\"", "bbox_2d": [1, 2, 3, 4]}')[0].label == 'a\n\u732b"'
    assert boxes('{"bbox_2d": [1, 2, 3, 4], "text_content": "line one"}')[0].label == "line one"


def test_several_boxes_under_one_key() -> None:
    found = boxes('{"bbox_2d": [[100, 100, 200, 200], [0, 0, 1000, 1000]], "label": "Save"}')
    assert found == (SAVE, Box(0, 0, 2000, 1000, "Save"))


def test_values_outside_the_picture_are_clamped() -> None:
    assert boxes('{"bbox_2d": [-5, 0, 1200, 99999999999999999999]}') == (Box(0, 0, 2000, 1000),)


def test_points_as_json_and_as_xml() -> None:
    expected = Point(1000, 250, "cup")
    assert points('{"point_2d": [500, 250], "label": "cup"}') == (expected,)
    assert points('<points x="500" y="250" alt="cup">cup</points>') == (expected,)
    assert points("<points 500 250>cup</points>") == (expected,)
    assert points("<point x=500 y=250 alt='cup'>") == (expected,)
    two = points('<points x1="500" y1="250" x2="1" y2="2" alt="2 cups">cup</points>')
    assert two == (expected, Point(2, 2, "cup"))


@pytest.mark.parametrize("size", [(1380, 245), (3840, 2160), (1, 1)])
def test_pixels_come_back_within_half_a_thousandth_on_any_shape_of_picture(size: tuple[int, int]) -> None:
    width, height = size
    x1, y1, x2, y2 = 0.31 * width, 0.12 * height, 0.779 * width, 0.998 * height
    as_told = [round(x1 / width * 1000), round(y1 / height * 1000), round(x2 / width * 1000), round(y2 / height * 1000)]
    (box,) = boxes(f'{{"bbox_2d": {as_told}}}', size)
    half_step = max(0.5, max(size) / 2000)
    assert max(abs(box.x1 - x1), abs(box.y1 - y1), abs(box.x2 - x2), abs(box.y2 - y2)) <= half_step
    assert boxes('{"bbox_2d": [0, 0, 1000, 1000]}', size) == (Box(0, 0, width, height),)


def test_the_last_picture_is_meant_and_without_pictures_nothing_is_found() -> None:
    text = '{"point_2d": [500, 500]}'
    assert find_boxes_and_points(text, [(10, 10), (100, 200)])[1] == (Point(50, 100, "", image=1),)
    assert find_boxes_and_points(text, []) == ((), ())


def test_replies_without_coordinates_give_none() -> None:
    for text in ("", "The box is on the left.", "{", "[[[", '{"bbox_2d": null}', '{"bbox_2d": [1, 2, 3]}', "<points>"):
        assert find_boxes_and_points(text, [SIZE]) == ((), ())


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            list("{}[]:,\"'\\ \n12.-x") + ["bbox_2d", "point_2d", '"label"', "<points ", ">", "\\u12", "1e999"]
        )
    ).map("".join)
)
def test_no_text_raises(text: str) -> None:
    find_boxes_and_points(text, [SIZE])


@pytest.mark.parametrize("unit", ['{"a ', '{"a":', "{", "[", "{'a': [", '<points x="', "{\"'"])
def test_endless_replies_are_read_in_bounded_time(unit: str) -> None:
    start = time.process_time()
    find_boxes_and_points(unit * 20_000, [SIZE])
    assert time.process_time() - start < 5
