"""The tutor with a scripted model: retries, hints, dialogue, marks, a student's work, the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as PILImage

pytest.importorskip("sympy", reason="needs sympy")

from regard.apps.tutor import prompts
from regard.apps.tutor.checker import Checker
from regard.apps.tutor.parts import marked, parts_of
from regard.apps.tutor.report import report
from regard.apps.tutor.session import NUM_HINTS, RIGHT, WITHHELD, Tutor, solve
from regard.cli.main import run
from regard.errors import ConfigError, InputError, RegardError
from regard.messages import Message
from regard.train.world import figures
from tests.apps.tutor_chat import ScriptedChat, figure

SOLUTION = """Given: AB = 6 cm, BC = 8 cm, angle B = 90\u00b0
Asked: AC
1. AC^2 = 6^2 + 8^2 = 100 (Pythagoras)
2. AC = sqrt(100) = 10 (root)
Answer: 10 cm"""
WRONG = SOLUTION.replace("= 100 ", "= 102 ").replace("sqrt(100) = 10", "sqrt(102) = 10.1").replace("10 cm", "10.1 cm")
POINTS = """```json
[
	{"point_2d": [200, 100], "label": "A"},
	{"point_2d": [200, 900], "label": "point B"},
	{"point_2d": [800, 900], "label": "C"}
]
```"""
WORK = """```json
[
	{"bbox_2d": [100, 500, 700, 580], "text_content": "AC = sqrt(98)"},
	{"bbox_2d": [100, 200, 700, 280], "text_content": "AC^2 = 6^2 + 8^2"},
	{"bbox_2d": [100, 350, 700, 430], "text_content": "AC^2 = 36 + 62"}
]
```"""


def script(**answers: str | Callable[[str], str]) -> Callable[[str, list[Message]], str]:
    """Answers by kind of prompt; a function is given the prompt."""

    def answer(prompt: str, messages: list[Message]) -> str:
        kinds = {
            "again": "is wrong:" in prompt, "hint": "Give hint" in prompt, "mistakes": prompt == prompts.MISTAKES,
            "marks": "with points" in prompt, "work": prompt == prompts.STUDENT_LINES,
            "solve": prompts.FORMAT in prompt,
        }  # fmt: skip
        kind = next((name for name, is_it in kinds.items() if is_it), "talk")
        said = answers.get(kind, {"solve": SOLUTION, "again": SOLUTION}.get(kind, ""))
        return said(prompt) if callable(said) else said

    return answer


@pytest.fixture(scope="module")
def checker():
    with Checker(time_limit_s=60) as one:
        yield one


@pytest.fixture
def tutor(checker):
    def make(question: str | None = None, **answers) -> Tutor:
        return Tutor(ScriptedChat(script(**answers)), figure(), question, checker=checker)

    return make


def test_the_prompts_are_those_that_the_bundled_checkpoint_learns():
    assert (prompts.SOLVE, prompts.SOLVE_QUESTION) == (figures.SOLVE, figures.SOLVE_QUESTION)
    assert (prompts.HINT, prompts.MISTAKES, prompts.MARKS) == (figures.HINT, figures.MISTAKES, figures.MARKS)


def test_a_right_solution_is_checked_step_by_step(tutor):
    one = tutor("Find AC")
    solution = one.solution
    assert solution.given == ("AB = 6 cm", "BC = 8 cm", "angle B = 90\u00b0") and solution.asked == "AC"
    assert [step.verdict for step in solution.steps] == ["checked", "checked"]
    assert [step.reason for step in solution.steps] == ["Pythagoras", "root"]
    assert solution.answer == "10 cm" and solution.answer_verdict == "checked"
    assert not solution.was_retried and one._chat.prompts == [prompts.solve_prompt("Find AC")]
    assert json.loads(json.dumps(solution.to_json()))["steps"][0]["verdict"] == "checked"


def test_a_wrong_step_is_shown_once_and_the_better_solution_kept(tutor):
    one = tutor(solve=WRONG)
    solution = one.solution
    assert solution.was_retried and solution.num_wrong == 0 and solution.answer == "10 cm"
    assert "102" in solution.first_attempt
    objection = one._chat.prompts[1]
    assert objection.startswith("Step 1 is wrong: 6^2 + 8^2 = 102 is false")
    assert [m.role for m in one._chat.histories[1]] == ["user", "assistant", "user"]


def test_a_step_that_stays_wrong_stays_marked(tutor):
    one = tutor(solve=WRONG, again=WRONG)
    assert one.solution.was_retried and one.solution.steps[0].verdict == "wrong"
    assert len(one._chat.prompts) == 2


def test_an_answer_that_follows_from_a_wrong_step_is_not_called_checked(tutor):
    sums = "Given: none\nAsked: the difference\n1. difference = 17 - 2 = 12.\nAnswer: 12"
    solution = tutor(solve=sums, again=sums).solution
    assert solution.steps[0].verdict == "wrong" and solution.answer == "12"
    assert (solution.answer_verdict, solution.answer_note) == ("not checkable", "it rests on step 1, which is wrong")


def test_an_answer_that_does_not_follow_is_asked_again(tutor):
    one = tutor(solve=SOLUTION.replace("Answer: 10 cm", "Answer: 14 cm"))
    assert one.solution.answer == "10 cm" and one._chat.prompts[1].startswith("The answer is wrong")


def test_a_model_without_a_solution_is_an_error_in_one_sentence(tutor):
    with pytest.raises(RegardError, match="gave no solution in 3 answers"):
        _ = tutor(solve="I see a triangle.").solution


def test_hints_come_from_the_model_and_the_last_one_tells(tutor):
    hints = {1: "Look for the right angle.", 2: "Hint 2: think of Pythagoras.", 3: "Square both legs and add."}
    one = tutor(hint=lambda prompt: hints[int(prompt.split("hint ")[1][0])])
    said = [one.hint(number) for number in range(1, NUM_HINTS + 1)]
    assert [hint.source for hint in said] == ["model"] * 3 + ["solution"]
    assert said[1].text == "think of Pythagoras."
    assert said[-1].is_last and "10 cm" in said[-1].text
    assert not any(one.tells(hint.text) for hint in said[:-1]) and one.tells(said[-1].text)
    with pytest.raises(ConfigError, match="there is no hint 5"):
        one.hint(5)


@pytest.mark.parametrize("hint", ["It is 10 cm.", "AC is ten.", "Compute 20 / 2.", "", "The answer: sqrt(100)"])
def test_a_hint_that_tells_is_asked_again_and_then_replaced(tutor, hint):
    one = tutor(hint=hint)
    said = [one.hint(number) for number in (1, 2, 3)]
    assert all(given.source == "solution" and not one.tells(given.text) for given in said)
    assert len({given.text for given in said}) == 3
    assert said[0].num_withheld == (2 if hint else 0)
    assert said[1].text == "Think of this: Pythagoras."


def test_a_hint_is_not_said_twice(tutor):
    one = tutor(hint="Look for the right angle.")
    assert one.hint(1).text == "Look for the right angle." != one.hint(2).text


def test_a_message_that_is_a_value_is_judged_without_the_model(tutor):
    one = tutor()
    _ = one.solution
    num_asked = len(one._chat.prompts)
    assert [one.say(text).attempt for text in ("is it 14?", "AC = 9 cm", "100")] == ["wrong"] * 3
    right = one.say("AC = 10 cm")
    assert right.attempt == "right" and right.text == RIGHT and one.is_revealed
    assert len(one._chat.prompts) == num_asked


def test_replies_keep_the_answer_until_it_is_shown(tutor):
    one = tutor(talk="Because AC is 10 cm.")
    turn = one.say("Why is AC the longest side?")
    assert turn.is_withheld and turn.text == WITHHELD
    one.reveal()
    assert one.say("Why is AC the longest side?").text == "Because AC is 10 cm."


def test_the_model_sees_the_dialogue_and_the_students_calculations_are_checked(tutor):
    one = tutor(talk="You are close.")
    turn = one.say("I have 6^2 + 8^2 = 98, what now?")
    assert turn.text == "You are close." and [check.verdict for check in turn.checks] == ["wrong"]
    one.say("And then?")
    assert [m.text for m in one._chat.histories[-1]][-3:-1] == ["I have 6^2 + 8^2 = 98, what now?", "You are close."]
    assert one._chat.prompts[-1].endswith("Do not tell the answer.")
    with pytest.raises(InputError, match="empty"):
        one.say("  ")


def test_a_note_on_a_students_mistake_does_not_tell_the_answer(tutor):
    (check,) = tutor().check("5 + 5 = 11")
    assert check.verdict == "wrong" and check.note == ""


def test_mistakes_are_lines_without_bullets(tutor):
    one = tutor(mistakes="- 6 + 8 = 14: add the squares.\n2. Forgetting the root.\nTypical:\n")
    assert one.mistakes() == ("6 + 8 = 14: add the squares.", "Forgetting the root.")


def test_named_parts_are_marked_and_sides_drawn_between_them(tutor):
    one = tutor(marks=POINTS)
    solution = one.mark()
    assert [(point.label, round(point.x), round(point.y)) for point in solution.points] == [
        ("A", 51, 19), ("B", 51, 173), ("C", 205, 173),
    ]  # fmt: skip
    assert {line.name: line.is_asked for line in solution.lines} == {"AB": False, "BC": False, "AC": True}
    picture = marked(figure(), solution)
    assert picture.getpixel((128, 96)) == (230, 25, 75)  # the middle of AC
    assert one._chat.prompts[-1] == "Locate A, B and C with points, report their point coordinates in JSON format."


def test_parts_are_corners_bars_or_the_circles_own():
    assert parts_of(("AB = 6", "angle C = 90"), "AC") == ["A", "B", "C"]
    assert parts_of(("r = 5 cm",), "area") == ["the centre", "the radius"]
    assert parts_of(("Mon = 3", "Tue = 4"), "total") == ["the bar of Mon", "the bar of Tue"]
    assert parts_of(("3x + 5 = 20",), "x") == []


def test_a_students_first_wrong_line_is_found_where_it_stands(tutor):
    found = tutor(work=WORK).review(figure())
    assert [line.text for line in found.lines] == ["AC^2 = 6^2 + 8^2", "AC^2 = 36 + 62", "AC = sqrt(98)"]
    assert found.first_wrong == 1 and found.lines[0].verdict == "checked"
    assert found.lines[1].box.y1 == pytest.approx(0.35 * 192)


def test_the_page_folds_the_answer_away_and_escapes_text(tutor):
    one = tutor("<b>Find AC</b>", mistakes="- <script>")
    one.mistakes()
    hints = [one.hint(number) for number in range(1, NUM_HINTS + 1)]
    text = report(figure(), one.solution, hints)
    assert "<script>" not in text and "&lt;script&gt;" in text and "<b>Find" not in text
    assert text.count("<details>") == NUM_HINTS + 2 and "data:image/png;base64," in text
    assert text.index("Hint 1 of 4") < text.index("Answer: 10 cm")


def test_solve_returns_everything_at_once(checker):
    chat = ScriptedChat(script(mistakes="- Forgetting the root.", marks=POINTS))
    seen = []
    solution = solve(chat, figure(), "Find AC.", checker=checker, on_progress=lambda p: seen.append(p.text))
    assert solution.mistakes and len(solution.points) == 3 and "solving" in seen and "marking the figure" in seen


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs `regard solve` on a picture with a scripted model; returns the exit status."""
    path = tmp_path / "figure.png"
    figure().save(path)

    def call(*arguments: str, **answers) -> int:
        monkeypatch.setattr("regard.cli.terminal.load_chat", lambda name, **_: ScriptedChat(script(**answers)))
        return run(["solve", str(path), *arguments])

    call.folder = tmp_path
    return call


def test_the_command_prints_marks_and_answer(command, capsys):
    assert command("Find AC.", mistakes="- Forgetting the root.") == 0
    out, err = capsys.readouterr()
    assert "\u2713 1. AC^2 = 6^2 + 8^2 = 100   (Pythagoras)" in out and "Answer: 10 cm \u2713" in out
    assert "  - Forgetting the root." in out and "2 of 2 steps checked" in err


def test_the_command_shows_one_hint_and_nothing_else(command, capsys):
    assert command("--hint", "1", hint="Look for the right angle.") == 0
    assert capsys.readouterr().out == "Look for the right angle.\n"


def test_the_command_writes_json_picture_and_page(command, capsys):
    picture, page = command.folder / "marked.png", command.folder / "page.html"
    assert command("--json", "--draw", str(picture), "--html", str(page), marks=POINTS, hint="Square the legs.") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["answer"] == "10 cm" and len(found["points"]) == 3
    assert picture.stat().st_size > 0 and "Hint 4 of 4: the answer" in page.read_text()


def test_the_dialogue_keeps_the_answer_until_it_is_asked_for(command, capsys, monkeypatch):
    lines = iter(
        ["/hint", "is it 14?", "/check 6^2 + 8^2 = 98", "what is it?", "/nothing", "/solution", "/quit", "never"]
    )
    monkeypatch.setattr("builtins.input", lambda prompt="": next(lines))
    assert command("--chat", hint="Look for the right angle.", talk="It is 10.") == 0
    out, err = capsys.readouterr()
    before, _, after = out.partition("Given:")
    assert "Hint 1 of 4: Look for the right angle." in before and "Not yet." in before
    assert "\u2717 1. 6^2 + 8^2 = 98" in before and WITHHELD in before and "10" not in before.replace("100", "")
    assert "Answer: 10 cm" in after and "there is no command '/nothing'" in err


def test_the_command_checks_a_students_work(command, capsys):
    work = command.folder / "figure.png"
    drawn = command.folder / "drawn.png"
    assert command("--work", str(work), "--draw", str(drawn), work=WORK) == 0
    assert "the first wrong line is line 2" in capsys.readouterr().out
    with PILImage.open(drawn) as picture:
        colours = [picture.getpixel((60, round(192 * y) - 3)) for y in (0.2, 0.35, 0.5)]
    assert colours == [(20, 150, 60), (230, 25, 75), (230, 25, 75)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--hint", "7"), "there are hints 1 to 4"),
        (("--hint", "1", "--chat"), "different ways"),
        (("--chat", "--json"), "--chat is a dialogue"),
        (("--draw", "out.txt"), "must be .png"),
        (("--html", "/nowhere/out.html"), "does not exist"),
        (("--steps", "--json"), "leave out --steps"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_a_model_is_loaded(command, capsys, arguments, sentence):
    assert command(*arguments) == 2
    assert sentence in capsys.readouterr().err


def test_a_missing_picture_is_bad_input(capsys):
    assert run(["solve", str(Path("no-such.png"))]) == 2
    assert "no-such.png" in capsys.readouterr().err
