"""Steps of an agent: does the step follow from what the screen shows, is it written as the agent reads it?"""

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from regard.apps.agent import prompts
from regard.apps.reading import read_tool_call
from regard.evals.actions import TASK, arguments_of
from regard.messages import Text
from regard.train.world import action_format
from regard.train.world.actions import ask_actions
from regard.train.world.sample import DenseTruth, plain
from regard.train.world.screen_lists import ask_absent, ask_every, ask_list
from regard.train.world.screens import Screen

SIZE = (320, 200)


def a_widget(label: str, kind: str = "button", box=(32.0, 20.0, 96.0, 40.0), **more) -> dict:
    return {"kind": kind, "label": label, "value": "", "box": box, "checked": False, "disabled": False} | more


WIDGETS = (
    a_widget("Save"),
    a_widget("Cancel", box=(120, 20, 180, 40)),
    a_widget("Sync", "switch", (10, 60, 40, 80), checked=True),
    a_widget("Mute", "switch", (10, 90, 40, 110)),
    a_widget("Name", "text field", (60, 60, 200, 80), value="Ada"),
    a_widget("City", "dropdown", (60, 90, 200, 110), value="Oslo"),
    a_widget("Files", "tab", (0, 0, 40, 18), checked=True),
    a_widget("Old", box=(200, 20, 260, 40), disabled=True),
)
SCREEN = Screen(Image.new("RGB", SIZE), WIDGETS, DenseTruth())
ELSEWHERE = (a_widget("Delete"), a_widget("Help", "link"))


def samples(num: int = 600):
    rng = np.random.default_rng(0)
    return [ask_actions(rng, SCREEN, ELSEWHERE, num_turns=1) for _ in range(num)]


def box_of(label: str):
    return next(list(w["box"]) for w in WIDGETS if w["label"] == label)


def test_the_prompts_are_the_agents_own():
    for device in ("computer", "phone"):
        assert action_format.SYSTEM[device] == prompts.system_text("brief", device)
        step = action_format.Step("a", "b", {"action": "wait", "time": 1})
        assert action_format.written(device, step) == prompts.call_text("a", "b", device, {"action": "wait", "time": 1})
    assert action_format.question("Log in.", ["Click A", "Type b"]) == prompts.user_text(
        "Log in.", ["Click A", "Type b"]
    )
    assert action_format.SECOND_LOOK == prompts.SECOND_LOOK


def test_every_step_is_read_by_the_agent_without_repairs():
    for sample in samples(300):
        if sample.truth["form"] == "step":
            read = read_tool_call(sample.answer)
            assert read.repairs == () and read.value is not None
            assert read.value.arguments == sample.truth["arguments"] == arguments_of(sample.answer)
            assert read.value.thought and read.value.action


def test_all_kinds_of_steps_occur():
    actions = Counter(s.truth.get("action") for s in samples())
    assert set(actions) == {None, "click", "left_click", "type", "scroll", "swipe", "terminate"}
    assert actions["click"] + actions["left_click"] > 250


def test_switches_that_are_on_are_left_on_and_others_are_clicked():
    seen = set()
    for sample in samples(2000):
        text, truth = sample.truth["instruction"], sample.truth
        if truth["form"] == "step" and text in ("Turn on Sync", "Turn on Mute", "Turn off Mute"):
            seen.add(text)
            if text == "Turn on Mute":
                assert truth["box"] == box_of("Mute")
            else:
                assert truth["arguments"] == {"action": "terminate", "status": "success"}
    assert seen == {"Turn on Sync", "Turn on Mute", "Turn off Mute"}


def test_absent_things_are_looked_for_and_then_given_up():
    for sample in samples():
        if "Delete" in sample.truth["instruction"] and sample.truth["form"] == "step":
            gave_up = sample.truth["arguments"].get("status") == "failure"
            assert gave_up == ("(nothing changed)" in sample.question)


def test_disabled_buttons_are_never_the_target():
    assert not any("Old" in sample.truth["instruction"] for sample in samples())


def test_what_must_be_read_is_marked_and_only_that():
    sample = next(s for s in samples() if s.truth.get("action") == "left_click")
    answer = sample.messages[-1].text
    assert answer.count("\u0001") == answer.count("\u0002") == 2
    assert plain(answer) == sample.answer


@pytest.mark.parametrize("num_turns", [2, 5])
def test_later_turns_ask_about_the_same_picture(num_turns):
    sample = ask_actions(np.random.default_rng(1), SCREEN, ELSEWHERE, num_turns=num_turns)
    roles = [message.role for message in sample.messages]
    assert roles == ["system", *["user", "assistant"] * num_turns]
    assert all(isinstance(part, Text) for message in sample.messages[3:] for part in message.parts)


def test_the_generators_own_answers_score_one_and_others_mostly_nothing():
    made = [s for s in samples(300) if s.truth["form"] == "step"]
    assert all(TASK.score(sample, sample.answer) == 1 for sample in made)
    swapped = [TASK.score(a, b.answer) for a, b in zip(made, made[1:] + made[:1], strict=True)]
    assert sum(swapped) / len(swapped) < 0.35
    assert all(TASK.score(sample, text) == 0 for sample in made[:40] for text in ("", "{", "<tool_call>", "[1, 2]"))


def test_lists_hold_every_element_once_in_reading_order():
    sample = ask_list(np.random.default_rng(0), SCREEN.image, WIDGETS)
    found = json.loads(sample.answer.removeprefix("```json\n").removesuffix("\n```"))
    assert [item["text_content"] for item in found] == [
        "Files",
        "Save",
        "Cancel",
        "Old",
        "Sync",
        "Name",
        "Mute",
        "City",
    ]
    assert found[0] == {"bbox_2d": [0, 0, 125, 90], "label": "tab", "text_content": "Files"}


def test_categories_that_are_not_there_are_left_out():
    rng = np.random.default_rng(0)
    for _ in range(60):
        sample = ask_every(rng, SCREEN.image, WIDGETS)
        found = json.loads(sample.answer.removeprefix("```json\n").removesuffix("\n```"))
        assert [item["label"] for item in found] == [element["kind"] for element in sample.truth["elements"]]
        assert all(item["label"] in sample.question for item in found)


def test_absent_elements_are_refused_in_words_or_with_an_empty_list():
    rng = np.random.default_rng(0)
    answers = Counter(ask_absent(rng, SCREEN.image, WIDGETS, ELSEWHERE).answer for _ in range(100))
    assert set(answers) == {"There is no such button.", "There is no such link.", "```json\n[]\n```"}
