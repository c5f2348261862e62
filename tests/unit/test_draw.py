"""Drawing on pictures: marks are where they should be, readable, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from regard.draw import COLORS, draw
from regard.reply import Box, Point

SIZE = (400, 300)
BACKGROUNDS = {"white": "white", "black": "black", "the box's own colour": COLORS[0]}


def changed(before: Image.Image, after: Image.Image) -> np.ndarray:
    """Which pixels differ, (H, W)."""
    return (np.asarray(before.convert("RGB")) != np.asarray(after)).any(axis=2)


def test_the_given_picture_is_not_touched() -> None:
    picture = Image.new("RGB", SIZE, "white")
    draw(picture, [Box(10, 10, 50, 50, "it")])
    assert picture.getextrema() == ((255, 255),) * 3


def test_nothing_to_draw_changes_nothing() -> None:
    picture = Image.new("RGB", SIZE, "gray")
    assert not changed(picture, draw(picture)).any()


def test_what_is_boxed_stays_visible() -> None:
    picture = Image.new("RGB", SIZE, "gray")
    marks = changed(picture, draw(picture, [Box(100, 100, 200, 180)]))
    assert not marks[101:180, 101:200].any()


def test_the_outline_runs_right_around_the_box() -> None:
    picture = Image.new("RGB", SIZE, "gray")
    marks = changed(picture, draw(picture, [Box(100, 100, 200, 180)]))
    rows, columns = np.nonzero(marks)
    assert (rows.min(), columns.min()) >= (94, 94) and (rows.max(), columns.max()) <= (186, 206)
    assert marks[98, 100:200].all() and marks[182, 100:200].all()
    assert marks[100:180, 98].all() and marks[100:180, 202].all()


@pytest.mark.parametrize("background", BACKGROUNDS.values(), ids=BACKGROUNDS.keys())
def test_a_box_and_a_point_are_seen_on_any_background(background: object) -> None:
    """Somewhere on each mark the brightness differs from the background by a third of the whole range."""
    picture = Image.new("RGB", SIZE, background)
    before = np.asarray(picture.convert("L")).astype(int)
    for marks in ({"boxes": [Box(100, 100, 200, 180)]}, {"points": [Point(200, 150)]}):
        after = np.asarray(draw(picture, **marks).convert("L")).astype(int)
        assert np.abs(after - before).max() > 85


def test_a_box_given_by_its_other_corners_is_drawn_the_same() -> None:
    picture = Image.new("RGB", SIZE, "gray")
    assert draw(picture, [Box(200, 180, 100, 100)]).tobytes() == draw(picture, [Box(100, 100, 200, 180)]).tobytes()


@pytest.mark.parametrize("box", [Box(0, 0, 30, 20, "top left"), Box(370, 280, 399, 299, "bottom right, a long label")])
def test_a_label_at_the_edge_stays_on_the_picture(box: Box) -> None:
    picture = Image.new("RGB", SIZE, "gray")
    bare = draw(picture, [Box(box.x1, box.y1, box.x2, box.y2)])
    with_label = draw(picture, [box])
    label = changed(bare, with_label)
    rows, columns = np.nonzero(label)
    assert (np.ptp(rows), np.ptp(columns)) > (10, 30)
    colour = np.asarray(with_label)[label]
    assert (colour == 255).all(axis=1).sum() > 20, "white letters"


def test_labels_grow_with_the_picture() -> None:
    def label_height(size: int) -> int:
        picture = Image.new("RGB", (size, size), "gray")
        middle = size / 2
        bare, full = draw(picture, [], [Point(middle, middle)]), draw(picture, [], [Point(middle, middle, "word")])
        return int(np.ptp(np.nonzero(changed(bare, full))[0]))

    assert label_height(2000) > 3 * label_height(200)


def test_two_boxes_have_two_colours() -> None:
    drawn = np.asarray(draw(Image.new("RGB", SIZE, "black"), [Box(20, 20, 60, 60), Box(120, 20, 160, 60)]))
    colours = {tuple(pixel) for pixel in drawn.reshape(-1, 3).tolist()}
    assert {COLORS[0], COLORS[1]} <= colours


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_pictures_of_any_mode_come_back_in_rgb(mode: str) -> None:
    assert draw(Image.new(mode, (64, 64)), [Box(5, 5, 20, 20, "x")]).mode == "RGB"


def test_marks_outside_the_picture_do_not_fail() -> None:
    draw(Image.new("RGB", (64, 64)), [Box(-50, -50, 500, 500, "\u4fdd\u5b58 is outside")], [Point(900, 900, "far")])
