"""Scenes for locating: the answers fit the pictures and the application's prompts."""

import json
from collections import Counter

import numpy as np
import pytest

from regard.apps.spatial import prompts
from regard.evals import spatial as task
from regard.evals.spatial import overlap_3d
from regard.messages import Image
from regard.processing.coordinates import boxes_3d
from regard.train.world import spatial

NUM_SAMPLES = 300


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(1)
    return [spatial.make(rng, held_out=bool(i % 2)) for i in range(NUM_SAMPLES)]


def test_the_generators_own_answers_score_one_and_silence_nothing(samples):
    for sample in samples:
        if len(sample.messages) == 2:
            assert task.score(sample, sample.answer) == pytest.approx(1), (sample.question, sample.answer)
            assert task.score(sample, "") == 0


def test_all_kinds_occur_and_some_things_are_absent(samples):
    kinds = Counter(sample.truth["kind"] for sample in samples)
    assert set(kinds) == {"front", "side", "locate", "every", "points", "count", "space", "pictures"}
    assert any(sample.truth.get("boxes") == [] and "[]" in sample.answer for sample in samples)


def test_letters_are_not_always_the_same(samples):
    letters = Counter(s.truth["answer"] for s in samples if s.truth["kind"] == "front")
    assert letters["A"] > 10 and letters["B"] > 10


def test_boxes_in_space_are_read_by_the_application_and_project_into_the_picture(samples):
    found = [sample for sample in samples if sample.truth["kind"] == "space" and sample.truth["boxes_3d"]]
    assert len(found) > 20
    for sample in found:
        items = json.loads(sample.answer.removeprefix("```json\n").removesuffix("\n```"))
        assert len(boxes_3d(items)) == len(items)
        size = sample.prompt[0].parts[0].source.size
        for box in boxes_3d(items):
            solid = spatial.Solid("cube", (0, 0, 0), box.center, box.size, box.angles[1])
            places = spatial.project(solid.corners(), size)
            assert places.min() > -3 and (places.max(axis=0) < np.array(size) + 3).all()


def test_equal_boxes_in_space_overlap_wholly_and_distant_ones_not_at_all():
    box = [0.0, 1.0, 5.0, 1.0, 1.0, 1.0, 0.0, 0.1, 0.0]
    assert overlap_3d(box, box) == 1
    assert overlap_3d(box, [3.0, *box[1:]]) == 0
    assert 0.2 < overlap_3d(box, [0.5, *box[1:]]) < 0.5


def test_conversations_may_show_a_second_picture_later():
    rng = np.random.default_rng(0)
    made = [spatial.make(rng, held_out=False) for _ in range(200)]
    counts = Counter(sum(isinstance(p, Image) for m in sample.messages for p in m.parts) for sample in made)
    assert counts[2] > 8 and any(isinstance(s.messages[2].parts[0], Image) for s in made if len(s.messages) == 4)


def test_prompts_are_the_applications_own():
    assert spatial.LOCATE.format("red circle") == prompts.boxes_prompt(["red circle"], every=False)
    assert spatial.EVERY.format("circle, red square") == prompts.boxes_prompt(["circle", "red square"], every=True)
    assert spatial.POINTS.format("circle") == prompts.points_prompt(["circle"], every=True)
    assert spatial.COUNT.format("red circles") == prompts.count_prompt("red circle")
    assert spatial.FRONT.format("cup", "box") == prompts.front_prompt("cup", "box")
    assert spatial.SPACE.format("cubes", "cube") == prompts.space_prompt("cube")
