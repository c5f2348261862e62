"""Scenes: answers follow from what is drawn, and held-out pictures show what training never does."""

from __future__ import annotations

import numpy as np
import pytest

from regard.train.world import scenes
from regard.train.world.sample import Sample
from regard.train.world.scene_questions import position_of
from regard.train.world.shapes import COLOURS, SHAPES, Shape, is_unseen, paint_shape, spread, with_article

NUM_SAMPLES = 300


def _samples(seed: int, *, held_out: bool) -> list[Sample]:
    rng = np.random.default_rng(seed)
    return [scenes.make(rng, held_out=held_out) for _ in range(NUM_SAMPLES)]


@pytest.fixture(scope="module")
def training() -> list[Sample]:
    return _samples(0, held_out=False)


@pytest.fixture(scope="module")
def held_out() -> list[Sample]:
    return _samples(0, held_out=True)


def _picture(sample: Sample) -> np.ndarray:
    return np.asarray(sample.messages[0].parts[0].source)


def _of_kind(samples: list[Sample], kind: str) -> list[Sample]:
    return [sample for sample in samples if sample.truth["kind"] == kind]


def test_the_same_seed_gives_the_same_pictures_and_words():
    for first, second in zip(_samples(5, held_out=False)[:20], _samples(5, held_out=False)[:20], strict=True):
        assert first.messages[0].text == second.messages[0].text
        assert first.answer == second.answer
        assert np.array_equal(_picture(first), _picture(second))


def test_every_kind_of_question_is_asked_in_many_ways(training):
    for kind in ("describe", "count", "relation", "attribute", "locate", "point"):
        questions = {sample.messages[0].text for sample in _of_kind(training, kind)}
        assert len(questions) >= 6, kind


def test_training_never_shows_the_unseen_pairs_and_held_out_pictures_do(training, held_out):
    def pairs(samples: list[Sample]) -> set[tuple[str, str]]:
        return {(item.kind, item.text) for sample in samples for item in sample.dense.items}

    unseen = {(name, colour) for name in SHAPES for colour in COLOURS if is_unseen(name, colour)}
    assert {colour for _, colour in unseen} == set(COLOURS) and len(unseen) == len(COLOURS)
    assert not pairs(training) & unseen
    assert len(pairs(held_out) & unseen) >= 5


def test_held_out_numbers_are_never_drawn_in_training():
    rng = np.random.default_rng(0)
    training = [spread(rng, 0, 3, held_out=False) for _ in range(500)]
    held_out = [spread(rng, 0, 3, held_out=True) for _ in range(500)]
    assert all(0 <= value < 1 or 2 <= value < 3 for value in training)
    assert all(1 <= value < 2 for value in held_out)
    assert min(training) < 0.1 and max(training) > 2.9


def test_shapes_stay_inside_the_picture_and_apart(training):
    for sample in training:
        height, width, _ = _picture(sample).shape
        boxes = [item.box for item in sample.dense.items]
        assert all(x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height for x1, y1, x2, y2 in boxes)
        for index, a in enumerate(boxes):
            for b in boxes[:index]:
                assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_fills_its_box_and_nothing_else(name):
    from PIL import Image

    picture = Image.new("RGB", (80, 80), "white")
    shape = Shape(name, "red", (200, 0, 0), 41.3, 38.7, 50.0, turn=6.0)
    paint_shape(picture, shape)
    rows, columns = np.nonzero(np.asarray(picture)[..., 1] < 250)
    drawn = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert drawn == pytest.approx(shape.box, abs=1.3)


def test_counts_agree_with_what_is_drawn(training):
    for sample in _of_kind(training, "count"):
        question, items = sample.messages[0].text, sample.dense.items
        named = [name for name in SHAPES if f"{name}s" in question or f"{name}es" in question]
        coloured = [colour for colour in COLOURS if f" {colour} " in question]
        matching = [item for item in items if named in ([], [item.kind]) and coloured in ([], [item.text])]
        assert len(matching) == sample.truth["count"] == int(sample.answer), question


def test_the_picture_shows_the_colour_that_is_answered(training):
    """Red, green and blue shapes have their strongest channel there, whatever the background is."""
    for sample in training:
        for item in sample.dense.items:
            if item.text not in ("red", "green", "blue"):
                continue
            x, y = round((item.box[0] + item.box[2]) / 2), round((item.box[1] + item.box[3]) / 2)
            patch = _picture(sample)[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(axis=0)
            assert ("red", "green", "blue")[int(patch.argmax())] == item.text


def test_two_shapes_of_a_relation_are_clearly_apart(training):
    seen = set()
    for sample in _of_kind(training, "relation"):
        if sample.truth["answer"] not in ("left", "right", "above", "below"):
            continue
        height, width, _ = _picture(sample).shape
        question = sample.messages[0].text
        named = [item for item in sample.dense.items if f"{item.text} {item.kind}" in question]
        assert len(named) == 2
        centres = [((i.box[0] + i.box[2]) / 2 / width, (i.box[1] + i.box[3]) / 2 / height) for i in named]
        axis = 0 if sample.truth["answer"] in ("left", "right") else 1
        assert abs(centres[0][axis] - centres[1][axis]) > 0.1
        seen.add(sample.truth["answer"])
    assert seen == {"left", "right", "above", "below"}


def test_boxes_are_those_of_the_shapes_in_thousandths(training):
    for sample in _of_kind(training, "locate") + _of_kind(training, "point"):
        height, width, _ = _picture(sample).shape
        for box, label in zip(sample.truth["boxes"], sample.truth["labels"], strict=True):
            pixels = [value * side / 1000 for value, side in zip(box, (width, height) * 2, strict=True)]
            items = [item for item in sample.dense.items if f"{item.text} {item.kind}" == label]
            assert any(item.box == pytest.approx(pixels, abs=0.3) for item in items)
            assert f'"label": "{label}"' in sample.answer


def test_a_centre_near_a_border_of_thirds_has_two_accepted_names():
    shape = Shape("circle", "red", (200, 0, 0), x=66, y=20, diameter=10)
    assert position_of(shape, 200, 200) == ("top left",)
    assert position_of(shape, 200, 200, tolerance=0.03) == ("top left", "top")


def test_articles_follow_the_sound():
    assert with_article("orange star") == "an orange star"
    assert with_article("red circle") == "a red circle"
