"""Evaluation: right answers score 1, wrong ones 0, and a reply in its own words is read fairly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PILImage

from regard.evals import answers
from regard.evals.scoring import TASKS, score
from regard.messages import Image, Message, Text
from regard.train.world import clips, scenes
from regard.train.world.sample import Sample
from regard.train.world.screen_questions import box_answer


def sample_of(task: str, truth: dict, question: str = "?", answer: str = "") -> Sample:
    picture = PILImage.new("RGB", (64, 64))
    messages = (Message("user", (Image(picture), Text(question))), Message("assistant", (Text(answer),)))
    return Sample(task, messages, truth)


@pytest.mark.parametrize("make", [scenes.make, clips.make])
def test_the_generators_own_answers_score_one(make):
    rng = np.random.default_rng(0)
    for _ in range(150):
        sample = make(rng, held_out=True)
        assert score(sample, sample.answer) == 1.0, (sample.messages[0].text, sample.answer)


@pytest.mark.parametrize("make", [scenes.make, clips.make])
def test_answers_to_other_samples_mostly_score_nothing(make):
    rng = np.random.default_rng(1)
    samples = [make(rng, held_out=True) for _ in range(200)]
    swapped = [score(a, b.answer) for a, b in zip(samples, samples[1:] + samples[:1], strict=True)]
    assert sum(swapped) / len(swapped) < 0.2


@pytest.mark.parametrize("make", [scenes.make, clips.make])
@pytest.mark.parametrize("reply", ["", "I do not know", "```json\n[", "\u0001\u0002", "-", "1" * 500])
def test_nonsense_scores_zero_and_never_fails(make, reply):
    rng = np.random.default_rng(2)
    assert sum(score(make(rng, held_out=True), reply) for _ in range(40)) == 0


class TestLines:
    line = sample_of("lines", {"text": "Save as..."})

    def test_one_wrong_character_of_ten_costs_a_tenth(self):
        assert score(self.line, "Save as..,") == pytest.approx(0.9)

    def test_white_space_at_the_ends_does_not_count(self):
        assert score(self.line, "  Save  as...\n") == 1.0

    def test_a_reply_that_is_far_too_long_is_not_below_zero(self):
        assert score(self.line, "x" * 300) == 0.0


class TestScreens:
    truth = {"form": "bbox", "width": 400, "height": 200, "box": [100, 50, 200, 70]}
    button = sample_of("screens", truth)

    def test_the_right_box_is_inside(self):
        assert score(self.button, box_answer("Save", [100, 50, 200, 70], (400, 200))) == 1.0

    def test_a_box_beside_the_widget_is_not(self):
        assert score(self.button, box_answer("Save", [210, 50, 300, 70], (400, 200))) == 0.0

    def test_a_point_counts_where_a_box_was_asked_for(self):
        assert score(self.button, '[{"point_2d": [375, 300], "label": "Save"}]') == 1.0
        assert score(self.button, '[{"point_2d": [375, 360], "label": "Save"}]') == 0.0

    def test_only_the_first_of_several_boxes_counts(self):
        wrong, right = [210, 50, 300, 70], [100, 50, 200, 70]
        both = box_answer("a", wrong, (400, 200)) + box_answer("b", right, (400, 200))
        assert score(self.button, both) == 0.0

    def test_yes_in_a_sentence_is_yes(self):
        asked = sample_of("screens", {"form": "yesno", "answer": "Yes."})
        assert score(asked, "Yes, there is.") == 1.0
        assert score(asked, "No.") == 0.0

    def test_text_must_be_read_without_a_mistake(self):
        asked = sample_of("screens", {"form": "text", "answer": "Settings"})
        assert score(asked, "Settings") == 1.0
        assert score(asked, "Setting") == 0.0


class TestScenes:
    def test_counts_are_read_as_digits_or_words(self):
        three = sample_of("scenes", {"kind": "count", "count": 3})
        assert [score(three, reply) for reply in ("3", "There are three.", "4", "33", "3.5")] == [1, 1, 0, 0, 0]
        assert score(sample_of("scenes", {"kind": "count", "count": 0}), "There are no circles.") == 1

    def test_a_side_may_stand_in_a_sentence(self):
        left = sample_of("scenes", {"kind": "relation", "answer": "left"})
        assert score(left, "The red circle is to the left of the blue square.") == 1
        assert score(left, "It is on the right, not on the left.") == 0
        assert score(sample_of("scenes", {"kind": "relation", "answer": "above"}), "over it") == 1

    def test_a_shape_that_the_question_names_is_not_the_answer(self):
        asked = sample_of(
            "scenes", {"kind": "relation", "answer": "red circle"}, question="What is above the blue star?"
        )
        assert score(asked, "Above the blue star is a red circle.") == 1
        assert score(asked, "Above the blue star is a red cross.") == 0

    def test_a_list_of_all_colours_is_not_an_answer(self):
        asked = sample_of("scenes", {"kind": "attribute", "answer": "green"})
        assert score(asked, "Green.") == 1
        assert score(asked, "red, orange, yellow, green, blue") == 0

    def test_a_description_is_scored_by_its_shapes_and_their_places(self):
        shapes = [
            {"shape": "circle", "colour": "red", "positions": ["top", "top left"]},
            {"shape": "star", "colour": "blue", "positions": ["centre"]},
        ]
        described = sample_of("scenes", {"kind": "describe", "shapes": shapes})
        right = "There are 2 shapes: a red circle at the top left and a blue star in the centre."
        assert score(described, right) == 1.0
        assert score(described, right.replace("centre", "center")) == 1.0
        assert score(described, right.replace("top left", "left")) == 0.5
        assert score(described, "a red circle at the top") == pytest.approx(2 / 3)
        assert score(described, "a red circle at the top, a red circle at the top") == 0.5
        assert score(described, "a red circle and a blue star in the centre") == 0.5

    def test_boxes_are_scored_by_overlap(self):
        truth = {"kind": "locate", "boxes": [[100, 100, 300, 300], [500, 500, 700, 700]]}
        asked = sample_of("scenes", truth)
        one = '[{"bbox_2d": [110, 110, 310, 310], "label": "x"}]'
        assert score(asked, one) == pytest.approx(2 / 3)
        assert score(asked, one + one) == 0.5
        assert score(asked, '[{"bbox_2d": [250, 250, 450, 450], "label": "x"}]') == 0.0


class TestClips:
    when = sample_of("clips", {"kind": "when", "event": "appear", "time_s": 3.5})

    @pytest.mark.parametrize(
        ("reply", "expected"),
        [("3.5 seconds", 1), ("4.5", 1), ("2.5 s", 1), ("4.7 seconds", 0), ("at 0:03", 1), ("0:01:03", 0), ("soon", 0)],
    )
    def test_a_time_is_right_within_one_second(self, reply, expected):
        assert score(self.when, reply) == expected

    def test_what_appears_may_be_a_shape_or_a_word(self):
        shape = sample_of("clips", {"kind": "what", "answer": "red circle"})
        assert [score(shape, reply) for reply in ("a red circle", "A blue star.", "the word RED")] == [1, 0, 0]
        word = sample_of("clips", {"kind": "what", "answer": "word STOP"})
        assert [score(word, reply) for reply in ("the word STOP", "Stop", "STOPPED")] == [1, 1, 0]


def test_a_clock_is_read_before_the_numbers_in_it():
    assert answers.first_time_s("1:02:03.5") == pytest.approx(3723.5)
    assert answers.first_time_s("after 2 seconds, at 0:05") == 2.0


def test_a_task_has_as_many_headline_samples_as_asked_for_and_half_as_many_others():
    task = TASKS["scenes"]
    samples = list(task.samples(20, seed=3))
    headline = [sample for sample in samples if task.measures[0].applies(sample)]
    assert len(headline) == 20
    assert len(samples) - len(headline) == 10
    again = list(task.samples(20, seed=3))
    assert [s.messages[0].text for s in again] == [s.messages[0].text for s in samples]


def test_every_task_knows_its_own_samples():
    for name, task in TASKS.items():
        assert task.name == name
        assert task.measures[0].goal is not None
    with pytest.raises(KeyError):
        score(replace(TestClips.when, task="poems"), "x")
