"""Evaluation: right answers score 1, wrong ones 0, and a reply in its own words is read fairly."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PILImage

from regard.cli.main import run as run_command
from regard.evals import answers
from regard.evals.pictures import ANSWERED_COLOUR, WANTED_COLOUR, illustrate
from regard.evals.report import render_report
from regard.evals.runner import Result, confidence_interval, run, wilson_interval
from regard.evals.scoring import TASKS, score
from regard.messages import Image, Message, Text, Video
from regard.reply import Reply, Usage
from regard.train.world import clips, scenes
from regard.train.world.sample import Sample
from regard.train.world.screen_questions import ask, box_answer


def sample_of(task: str, truth: dict, question: str = "?", answer: str = "") -> Sample:
    picture = PILImage.new("RGB", (64, 64))
    messages = (Message("user", (Image(picture), Text(question))), Message("assistant", (Text(answer),)))
    return Sample(task, messages, truth)


@pytest.mark.parametrize("make", [scenes.make, clips.make])
def test_the_generators_own_answers_score_one(make):
    rng = np.random.default_rng(0)
    for _ in range(60):
        sample = make(rng, held_out=True)
        assert score(sample, sample.answer) == 1.0, (sample.messages[0].text, sample.answer)


@pytest.mark.parametrize("make", [scenes.make, clips.make])
def test_answers_to_other_samples_mostly_score_nothing(make):
    rng = np.random.default_rng(1)
    samples = [make(rng, held_out=True) for _ in range(80)]
    swapped = [score(a, b.answer) for a, b in zip(samples, samples[1:] + samples[:1], strict=True)]
    assert sum(swapped) / len(swapped) < 0.2


@pytest.mark.parametrize("make", [scenes.make, clips.make])
@pytest.mark.parametrize("reply", ["", "I do not know", "```json\n[", "\u0001\u0002", "-", "1" * 500])
def test_nonsense_scores_zero_and_never_fails(make, reply):
    rng = np.random.default_rng(2)
    assert sum(score(make(rng, held_out=True), reply) for _ in range(12)) == 0


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

    def test_the_generators_own_answers_score_one(self):
        widgets = [
            {"kind": "button", "label": "Save", "box": [100, 50, 200, 70], "value": "", "checked": False},
            {"kind": "checkbox", "label": "Sound", "box": [10, 90, 90, 110], "value": "", "checked": True},
            {"kind": "text field", "label": "Name", "box": [10, 10, 90, 30], "value": "Ann", "checked": False},
            {"kind": "heading", "label": "Settings", "box": [100, 10, 200, 30], "value": "", "checked": False},
        ]
        elsewhere = [{"kind": "link", "label": "Help", "box": [0, 0, 9, 9], "value": "", "checked": False}]
        rng = np.random.default_rng(0)
        samples = [ask(rng, PILImage.new("RGB", (256, 128)), widgets, elsewhere) for _ in range(100)]
        assert {sample.truth["form"] for sample in samples} == {"bbox", "point", "yesno", "text"}
        assert {score(sample, sample.answer) for sample in samples} == {1.0}
        assert {score(sample, "nothing") for sample in samples} == {0.0}


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
    samples = list(task.samples(8, seed=3))
    headline = [sample for sample in samples if task.measures[0].applies(sample)]
    assert len(headline) == 8
    assert len(samples) - len(headline) == 4
    again = list(task.samples(8, seed=3))
    assert [s.messages[0].text for s in again] == [s.messages[0].text for s in samples]


def test_every_task_knows_its_own_samples():
    for name, task in TASKS.items():
        assert task.name == name
        assert task.measures[0].goal is not None
    with pytest.raises(KeyError):
        score(replace(TestClips.when, task="poems"), "x")


class ScriptedChat:
    """Answers from a script: what the task's own samples want, or always the same."""

    def __init__(self, always: str | None = None) -> None:
        self.always = always
        self.asked: list[tuple[Message, ...]] = []
        self.wanted = {name: list(TASKS[name].samples(6, seed=0)) for name in ("scenes", "clips")}

    def chat(self, what, *, temperature, max_tokens):
        assert temperature == 0.0
        self.asked.append(what)
        text = self.always if self.always is not None else self._wanted(what)
        return Reply(text, text, None, (), (), (), "stop", Usage(0, 0, 0, 0.0, 0.0, 0.0), ())

    def _wanted(self, what):
        task = "scenes" if isinstance(what[0].parts[0], Image) else "clips"
        sample = self.wanted[task].pop(0)
        assert sample.messages[0].text == what[0].text
        return sample.answer


def evaluate(chat: ScriptedChat) -> Result:
    return run(chat, [TASKS["scenes"], TASKS["clips"]], model="scripted", num_samples=6, seed=0)


@pytest.fixture(scope="module")
def perfect() -> Result:
    return evaluate(ScriptedChat())


@pytest.fixture(scope="module")
def clueless() -> Result:
    return evaluate(ScriptedChat("I <b>cannot</b> see it."))


def test_perfect_answers_reach_every_goal(perfect):
    assert {row.value for row in perfect.rows} == {1.0}
    assert all(row.is_reached for row in perfect.rows if row.goal is not None)
    # The headline of a task counts every sample; a goal of one kind of question counts those of its kind.
    assert max(row.num_samples for row in perfect.rows if row.goal is not None) == 6


def test_wrong_answers_reach_none(clueless):
    assert {row.value for row in clueless.rows} == {0.0}
    assert not any(row.is_reached for row in clueless.rows)


def test_the_model_is_asked_the_question_and_never_shown_the_answer():
    chat = ScriptedChat("no idea")
    evaluate(chat)
    assert all(len(what) == 1 and what[0].role == "user" for what in chat.asked)


def test_the_report_shows_failures_as_pictures_and_escapes_what_the_model_wrote(clueless):
    page = render_report(clueless)
    assert page.count("data:image/png;base64,") == len(clueless.examples) > 10
    assert "&lt;b&gt;cannot" in page and "<b>cannot" not in page
    assert "http" not in page


def test_the_numbers_of_a_result_are_json(perfect):
    rows = json.loads(json.dumps(perfect.to_json()))["rows"]
    assert {"task", "measure", "value", "low", "high", "is_reached"} <= set(rows[0])


def test_an_illustration_has_the_true_box_and_the_answered_one_in_their_colours():
    truth = {"kind": "locate", "boxes": [[100, 100, 400, 400]]}
    picture = illustrate(sample_of("scenes", truth), '[{"bbox_2d": [500, 500, 900, 900]}]')
    colours = {colour for _, colour in picture.getcolors(maxcolors=100_000)}
    assert {WANTED_COLOUR, ANSWERED_COLOUR} <= colours


def test_a_clip_is_shown_as_a_sheet_with_both_times_framed():
    frames = [PILImage.new("RGB", (32, 32), "white")] * 10
    messages = (Message("user", (Video(frames, sample_fps=2.0), Text("When?"))), Message("assistant", (Text("x"),)))
    clip = Sample("clips", messages, {"kind": "when", "time_s": 1.5})
    sheet = illustrate(clip, "3.0 seconds")
    assert sheet.width > 8 * 32 and sheet.height > 2 * 32
    assert {WANTED_COLOUR, ANSWERED_COLOUR} <= {colour for _, colour in sheet.getcolors(maxcolors=100_000)}


def test_intervals_hold_the_value_and_shrink_with_more_samples():
    low, high = wilson_interval(450, 500)
    assert (low, high) == pytest.approx((0.8705, 0.9234), abs=1e-3)  # worked out by hand from Wilson's formula
    assert wilson_interval(5, 5) == pytest.approx((0.5655, 1.0), abs=1e-3)
    few = confidence_interval(np.array([0.2, 0.9, 0.5, 0.7]), np.ones(4))
    many = confidence_interval(np.array([0.2, 0.9, 0.5, 0.7] * 50), np.ones(200))
    assert few[0] < many[0] < 0.575 < many[1] < few[1]


def test_heavy_samples_count_more_in_an_interval():
    low, high = confidence_interval(np.array([0.0, 1.0] * 40), np.array([1.0, 9.0] * 40))
    assert low < 0.9 < high


class TestCommand:
    def test_an_unknown_task_is_one_sentence(self, capsys):
        assert run_command(["eval", "nano", "--tasks", "scenes,poems"]) == 2
        assert f"there is no task 'poems'; the tasks are {', '.join(TASKS)}" in capsys.readouterr().err

    def test_a_missing_folder_for_the_report_is_told_before_anything_runs(self, capsys, tmp_path):
        assert run_command(["eval", "--out", str(tmp_path / "none" / "report.html")]) == 2
        assert "does not exist; make it first" in capsys.readouterr().err

    def test_two_different_models_are_refused(self, capsys):
        assert run_command(["eval", "one", "--model", "two"]) == 2
        assert "two models are given" in capsys.readouterr().err

    def test_the_table_and_the_report_are_written(self, capsys, tmp_path, monkeypatch):
        monkeypatch.setattr("regard.cli.terminal.load_chat", lambda *a, **k: ScriptedChat("a red circle"))
        report = tmp_path / "report.html"
        assert run_command(["eval", "--tasks", "clips", "--samples", "4", "--out", str(report)]) == 0
        assert "event time within 1 s" in capsys.readouterr().out
        assert report.read_text().startswith("<!DOCTYPE html>")
        assert run_command(["eval", "--tasks", "clips", "--samples", "4", "--out", str(report), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["rows"][0]["value"] == 0.0
