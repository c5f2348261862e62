"""Figures: solutions are right, fit the picture, and stay short; held-out figures differ from training's."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import regard
from regard.evals import figures as evaluation
from regard.train.world import figures
from regard.train.world.figure_problem import gives_away
from regard.train.world.sample import Sample

NUM_SAMPLES = 160


def _samples(seed: int, *, held_out: bool, num_turns: int = 1, num: int = NUM_SAMPLES) -> list[Sample]:
    rng = np.random.default_rng(seed)
    return [figures.make(rng, held_out=held_out, num_turns=num_turns) for _ in range(num)]


@pytest.fixture(scope="module")
def training() -> list[Sample]:
    return _samples(0, held_out=False)


@pytest.fixture(scope="module")
def held_out() -> list[Sample]:
    return _samples(0, held_out=True)


def _of_kind(samples: list[Sample], kind: str) -> list[Sample]:
    return [sample for sample in samples if sample.truth["kind"] == kind]


def _calculations(line: str) -> list[float]:
    """The values of the parts of an equation that are plain arithmetic."""
    values = []
    for side in line.split("="):
        if re.fullmatch(r"[\d\s.+*/^()-]*\d[\d\s.+*/^()-]*", side.replace("sqrt", "").replace("pi", "1")):
            plain = side.replace("^", "**").replace("sqrt", "math.sqrt").replace("pi", "math.pi")
            values.append(eval(plain, {"math": math}))  # our own generator's text, checked by the expression above
    return values


def test_the_same_seed_gives_the_same_pictures_and_words():
    for first, second in zip(_samples(7, held_out=False, num=15), _samples(7, held_out=False, num=15), strict=True):
        assert first.messages[0].text == second.messages[0].text
        assert first.answer == second.answer
        assert np.array_equal(first.messages[0].parts[0].source, second.messages[0].parts[0].source)


def test_all_figures_and_questions_come_up(training):
    assert {sample.truth["kind"] for sample in training} == {"solve", "value", "mark", "marks"}
    assert len({sample.truth["figure"] for sample in training}) == 7
    assert len({sample.messages[0].text for sample in _of_kind(training, "value")}) > 25


def test_every_calculation_of_a_solution_is_true(training, held_out):
    num_checked = 0
    for sample in _of_kind(training + held_out, "solve"):
        for line in re.findall(r"^\d\. (.*) \([^()]*\)$", sample.answer, re.MULTILINE):
            values = _calculations(re.sub(r"^[^=]*=", "", line, count=1) if "sqrt" not in line else line)
            assert all(math.isclose(value, values[0]) for value in values), line
            num_checked += len(values) > 1
    assert num_checked > NUM_SAMPLES


def test_the_answer_is_the_last_step(training):
    for sample in _of_kind(training, "solve"):
        last = [float(found) for found in re.findall(r"\d+(?:\.\d+)?", sample.answer.split("\n")[-1])]
        assert last[: len(sample.truth["value"])] == sample.truth["value"]
        assert evaluation.score(sample, sample.answer) == 1


def test_the_right_answer_scores_and_another_does_not(training, held_out):
    for sample in training + held_out:
        assert evaluation.score(sample, sample.answer) == 1, (sample.answer, sample.truth)
    wrong = [evaluation.score(a, b.answer) for a, b in zip(held_out, held_out[1:], strict=False)]
    assert np.mean(wrong) < 0.1


def test_multiples_of_pi_may_be_multiplied_out():
    sample = next(s for s in _samples(1, held_out=True) if s.truth.get("is_pi"))
    value = sample.truth["value"][0] * math.pi
    assert evaluation.score(sample, f"The answer is {value:.2f} cm.") == 1
    assert evaluation.score(sample, f"Answer: {1.02 * value:.2f}") == 0


def test_points_lie_on_the_picture_in_their_boxes(training):
    for sample in _of_kind(training, "mark") + _of_kind(training, "marks"):
        entries = json.loads(sample.answer.removeprefix("```json").removesuffix("```"))
        for entry, box in zip(entries, sample.truth["boxes"], strict=True):
            x, y = entry["point_2d"]
            assert box[0] <= x <= box[2] and box[1] <= y <= box[3] and min(x, y) >= 0 and max(x, y) <= 1000


def test_marked_bars_have_their_colour(training):
    """A bar's item says its colour's name; the pixel in its middle must be far from the background."""
    for sample in training:
        if sample.truth["figure"] != "bar chart":
            continue
        picture = np.asarray(sample.messages[0].parts[0].source).astype(int)
        corner = picture[2:5, 2:5].reshape(-1, 3).mean(axis=0)
        for item in sample.dense.items:
            x, y = round((item.box[0] + item.box[2]) / 2), round((item.box[1] + item.box[3]) / 2)
            assert math.dist(picture[y, x], corner) > 40


def test_characters_of_labels_lie_inside_the_picture(training, held_out):
    for sample in training + held_out:
        width, height = sample.messages[0].parts[0].source.size
        assert sample.dense.chars
        assert all(0 <= char.x < width and 0 <= char.y < height for char in sample.dense.chars)


def test_no_hint_and_nothing_given_holds_the_answer():
    rng = np.random.default_rng(3)
    for _ in range(150):
        problem = figures.make_figure(rng, held_out=bool(rng.random() < 0.5)).problem
        assert not gives_away(problem)
        assert len(problem.hints) == 3 and problem.mistakes


def test_held_out_numbers_and_words_are_not_in_training(training, held_out):
    def words(samples: list[Sample]) -> set[str]:
        charts = [s for s in samples if s.truth["figure"] == "bar chart"]
        labels = ["".join(char.char for char in s.dense.chars if char.char.isalpha()) for s in charts]
        return set(labels) - {""}

    def givens(samples: list[Sample]) -> set[tuple[str, ...]]:
        rectangles = [s for s in samples if s.truth["figure"] == "rectangle" and s.truth["kind"] == "solve"]
        return {tuple(re.findall(r"= (\S+)", " ".join(s.truth["given"]))) for s in rectangles}

    assert words(training) and words(held_out) and not words(training) & words(held_out)
    assert givens(held_out) and not givens(training) & givens(held_out)


def test_answers_are_short_for_the_bundled_tokenizer():
    from regard.train.encode import Encoder

    encoder = Encoder(Path(regard.__file__).parent / "assets/nano")
    for sample in _samples(2, held_out=False, num_turns=4, num=80):
        for message in sample.messages[1::2]:
            assert len(encoder.answer(message, sample)[0]) <= 128, message.text


def test_later_turns_ask_for_hints_mistakes_and_reasons():
    questions = {m.text for s in _samples(4, held_out=False, num_turns=6, num=80) for m in s.messages[2::2]}
    assert {figures.HINT.format(number=n) for n in (1, 2, 3)} <= questions
    assert figures.MISTAKES in questions and figures.WHY.format(number=1) in questions
