"""Reading solutions: the wanted form, what other models write instead, and any text at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.apps.tutor.dialogue import looks_like_attempt, tidy_hint
from regard.apps.tutor.solution_text import read_solution

WANTED = """Given: AB = 6, BC = 8, angle B = 90
Asked: AC
1. AC^2 = 6^2 + 8^2 = 100 (Pythagoras)
2. AC = sqrt(100) = 10 (root)
Answer: 10"""
MARKDOWN = r"""### Given:
- AB = 6 cm
- BC = 8 cm

**Asked:** the length of AC

### Steps:
1. **Use the Pythagorean theorem.**
   $AC^2 = AB^2 + BC^2$
   Reason: the angle at B is right
2. Compute: $AC = \sqrt{36 + 64} = 10$ because the length is positive.

**Answer:** $\boxed{10\text{ cm}}$"""
STEP_WORDS = """Step 1: 3x = 20 - 5 = 15 (subtract 5)
Step 2: x = 15 / 3 = 5

The final answer is: 5."""
BARE = "3x + 5 = 20\n3x = 15\nx = 5"
CUT = "Given: AB = 6\nAsked: AC\n1. AC^2 = 6^2 + 8^2 = 100 (Pythagoras)\n2. AC = sqrt(1"


def test_the_wanted_form_is_read_without_repairs():
    draft = read_solution(WANTED)
    assert draft is not None and draft.repairs == ()
    assert draft.given == ("AB = 6", "BC = 8", "angle B = 90") and draft.asked == "AC" and draft.answer == "10"
    assert [(step.text, step.reason) for step in draft.steps] == [
        ("AC^2 = 6^2 + 8^2 = 100", "Pythagoras"),
        ("AC = sqrt(100) = 10", "root"),
    ]


def test_markdown_with_steps_over_several_lines_is_read():
    draft = read_solution(MARKDOWN)
    assert draft is not None
    assert draft.given == ("AB = 6 cm", "BC = 8 cm") and draft.asked == "the length of AC"
    assert draft.answer == r"10\text{ cm}"
    assert "AC^2 = AB^2 + BC^2" in draft.steps[0].text and draft.steps[0].reason == "the angle at B is right"
    assert draft.steps[1].reason == "the length is positive"


def test_steps_that_are_called_steps_are_read():
    draft = read_solution(STEP_WORDS)
    assert draft is not None
    assert [step.text for step in draft.steps] == ["3x = 20 - 5 = 15", "x = 15 / 3 = 5"]
    assert draft.steps[0].reason == "subtract 5" and draft.answer == "5"


def test_bare_equations_are_steps_and_the_last_result_is_the_answer():
    draft = read_solution(BARE)
    assert draft is not None and len(draft.steps) == 3 and draft.answer == "5"
    assert "steps without numbers" in draft.repairs


def test_a_solution_that_was_cut_is_read_as_far_as_it_goes():
    draft = read_solution(CUT)
    assert draft is not None and len(draft.steps) == 2 and draft.repairs


@pytest.mark.parametrize("text", ["", "I cannot see it.", "```json\n[]\n```", "Given: AB = 6"])
def test_what_is_no_solution_is_none(text):
    assert read_solution(text) is None


def test_brackets_of_mathematics_are_no_reason():
    draft = read_solution("1. perimeter = 2 * (6 + 8)\nAnswer: 28")
    assert draft is not None and draft.steps[0].text == "perimeter = 2 * (6 + 8)" and draft.steps[0].reason == ""


def test_points_in_the_given_stay_whole():
    draft = read_solution("Given: P = (1, 2), Q = (3, 4)\nAsked: slope\n1. m = 2 / 2 = 1\nAnswer: 1")
    assert draft is not None and draft.given == ("P = (1, 2)", "Q = (3, 4)")


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.sampled_from([*WANTED.splitlines(), *MARKDOWN.splitlines(), "", "```", "\\boxed{", ")", "1.", "Answer"])
    )
)
def test_shuffled_lines_never_raise(lines):
    read_solution("\n".join(lines))


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=300))
def test_any_text_never_raises(text):
    read_solution(text)
    tidy_hint(text)
    looks_like_attempt(text)


@pytest.mark.parametrize(
    "text", ["10", "10 cm", "is it 10?", "AC = 10", "I think it's 14", "maybe 3/4", "Is it Tue?", "10 pi"]
)
def test_a_bare_value_is_an_attempt(text):
    assert looks_like_attempt(text)


@pytest.mark.parametrize(
    "text",
    [
        "why step 1?",
        "What is a hypotenuse?",
        "6^2 + 8^2 = 100",
        "I added 6 and 8, why is that wrong?",
        "hello",
        "/hint",
    ],
)
def test_a_question_is_no_attempt(text):
    assert not looks_like_attempt(text)
