"""Textbook figures, each with a problem and its worked solution, values to read off and parts to point at.

Right and other triangles, circles, rectangles, bar charts, points on axes, equations. The questions are those of the
tutor (`apps/tutor`), the answers its format. The first turn is one of

    solve    "Given: AB = 6, BC = 8, angle B = 90 ... Answer: 10"; the question stands in the prompt or in the picture
    value    "12", "Tue", "6 cm", "a right triangle"
    mark     one point as JSON in 0-1000; "marks": all parts of one kind

and later turns ask for hints, mistakes, the reason of a step, or any of the above. The truth has a `kind`, the
`figure`, and `value`, `is_pi`, `answer`, `given` (solve; values in multiples of pi where `is_pi`), `answer` (value),
or `boxes` and `labels` in 0-1000.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from regard.messages import Image, Message, Text
from regard.train.world.figure_canvas import Canvas
from regard.train.world.figure_charts import axes, bar_chart, equation
from regard.train.world.figure_problem import Figure, Part, solution, spelled
from regard.train.world.figure_shapes import circle, rectangle
from regard.train.world.figure_triangles import right_triangle, triangle
from regard.train.world.sample import Sample
from regard.train.world.shapes import choose

# The tutor's own words (`apps/tutor/prompts.py`; a test compares them).
FORMAT = "Write Given, Asked, numbered steps with reasons, Answer."
SOLVE = "Solve the problem in the picture step by step. " + FORMAT
SOLVE_QUESTION = "{question} Solve it step by step. " + FORMAT
HINT = "Give hint {number} of 3. Do not tell the answer."
MISTAKES = "Which mistakes are typical here? Write one a line."
WHY = "Why is step {number} right?"
MARKS = "Locate {names} with points, report their point coordinates in JSON format."

MAX_SOLUTION_CHARS = 128  # about 120 tokens of the bundled checkpoint, whose context is trained on short answers
_MARK = ("Mark {}.", "Point to {}.", "Point at {}.", "Where is {}? Answer with a point.", "Show me {} with a point.",
         "Report a point on {} in JSON format.")  # fmt: skip
_ASK = ("{}", "{}", "{}", "{} Answer with one word or number.", "{} Answer shortly.")

Asked = tuple[str, str, dict[str, Any]]  # question, answer, truth


def make(rng: np.random.Generator, *, held_out: bool, num_turns: int = 1) -> Sample:
    """One figure with up to `num_turns` questions and their answers; `truth` belongs to the first."""
    kind = choose(rng, tuple(_KINDS), weights=tuple(weight for weight, _ in _KINDS.values()))
    figure = make_figure(rng, held_out=held_out)
    if kind == "solve":
        question, answer, truth = _ask_solution(rng, figure)
    else:
        question, answer, truth = _KINDS[kind][1](rng, figure)
    picture, dense = figure.canvas.finish()
    messages = [Message("user", (Image(picture), Text(question))), Message("assistant", (Text(answer),))]
    is_solved = kind == "solve"
    for _ in range(num_turns - 1):
        more, answer, _ = _later(rng, figure, is_solved=is_solved)
        is_solved = is_solved or answer.startswith("Given")
        messages += [Message("user", (Text(more),)), Message("assistant", (Text(answer),))]
    truth = {"kind": kind, "figure": figure.kind, **truth}
    return Sample(task="figures", messages=tuple(messages), truth=truth, dense=dense)


def make_figure(rng: np.random.Generator, *, held_out: bool) -> Figure:
    """One drawn figure, not yet finished; those whose labels collide or whose solution is long are drawn again."""
    build = choose(rng, tuple(builder for _, builder in _BUILDERS), weights=tuple(weight for weight, _ in _BUILDERS))
    while True:
        figure = build(Canvas(rng, held_out=held_out))
        if figure is not None and len(solution(figure.problem)) <= MAX_SOLUTION_CHARS:
            return figure


_BUILDERS: tuple[tuple[float, Callable[[Canvas], Figure | None]], ...] = (
    (0.22, right_triangle),
    (0.14, triangle),
    (0.15, circle),
    (0.12, rectangle),
    (0.19, bar_chart),
    (0.12, axes),
    (0.06, equation),
)


# --- questions ------------------------------------------------------------------------------------------------------


def _ask_solution(rng: np.random.Generator, figure: Figure) -> Asked:
    """The first turn; in some figures the question is written into the picture and not into the prompt."""
    problem = figure.problem
    answer = spelled(solution(problem), figure.words)
    truth = {
        "value": list(problem.value),
        "is_pi": problem.is_pi,
        "answer": problem.answer,
        "given": list(problem.given),
    }
    canvas = figure.canvas
    place = (canvas.width / 2, canvas.height - canvas.line_height * 0.45)
    is_short = canvas.text_width(problem.question) < canvas.width - 8
    if is_short and rng.random() < 0.3:
        top = (place[0], canvas.line_height * 0.45)
        if canvas.label(problem.question, place) or canvas.label(problem.question, top):
            return SOLVE, answer, truth
    return SOLVE_QUESTION.format(question=problem.question), answer, truth


def _ask_again(rng: np.random.Generator, figure: Figure) -> Asked:
    question = SOLVE_QUESTION.format(question=figure.problem.question)
    return question, spelled(solution(figure.problem), figure.words), {}


def _ask_value(rng: np.random.Generator, figure: Figure) -> Asked:
    fact = choose(rng, figure.facts)
    question = choose(rng, _ASK).format(choose(rng, fact.questions))
    return question, spelled(fact.answer, figure.words), {"answer": fact.answer}


def _ask_mark(rng: np.random.Generator, figure: Figure) -> Asked:
    part = choose(rng, figure.parts)
    return choose(rng, _MARK).format(part.name), *_points(figure, (part,))


def _ask_marks(rng: np.random.Generator, figure: Figure) -> Asked:
    """All parts that a drawing of the solution would name."""
    parts = [part for part in figure.parts if not part.name.startswith(("the highest", "the lowest"))][:4]
    names = [part.name for part in parts]
    listed = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    return MARKS.format(names=listed), *_points(figure, tuple(parts))


def _points(figure: Figure, parts: tuple[Part, ...]) -> tuple[str, dict[str, Any]]:
    """A fenced JSON list as the model family writes it, and the boxes in 0-1000 that the points must hit."""
    sides = (figure.canvas.width, figure.canvas.height)

    def per_mille(values: tuple[float, ...]) -> list[int]:
        return [min(max(round(v / sides[i % 2] * 1000), 0), 1000) for i, v in enumerate(values)]

    entries = [{"point_2d": per_mille(part.place), "label": part.name} for part in parts]
    lines = ",\n".join("\t" + json.dumps(entry) for entry in entries)
    truth = {"boxes": [per_mille(part.box) for part in parts], "labels": [part.name for part in parts]}
    return f"```json\n[\n{lines}\n]\n```", truth


def _ask_hint(rng: np.random.Generator, figure: Figure) -> Asked:
    index = int(rng.integers(3))
    return HINT.format(number=index + 1), spelled(figure.problem.hints[index], figure.words), {}


def _ask_mistakes(rng: np.random.Generator, figure: Figure) -> Asked:
    lines = "\n".join(f"- {mistake}" for mistake in figure.problem.mistakes)
    return MISTAKES, spelled(lines, figure.words), {}


def _ask_why(rng: np.random.Generator, figure: Figure) -> Asked:
    index = int(rng.integers(len(figure.problem.steps)))
    return WHY.format(number=index + 1), spelled(figure.problem.steps[index].why, figure.words), {}


_KINDS: dict[str, tuple[float, Callable[[np.random.Generator, Figure], Asked]]] = {
    "solve": (0.55, _ask_solution),
    "value": (0.30, _ask_value),
    "mark": (0.12, _ask_mark),
    "marks": (0.03, _ask_marks),
}
_AFTER_SOLUTION = (_ask_hint, _ask_mistakes, _ask_why, _ask_value, _ask_mark, _ask_marks)
_BEFORE_SOLUTION = (_ask_again, _ask_value, _ask_mark, _ask_marks)


def _later(rng: np.random.Generator, figure: Figure, *, is_solved: bool) -> Asked:
    if is_solved:
        return choose(rng, _AFTER_SOLUTION, weights=(0.3, 0.15, 0.15, 0.2, 0.1, 0.1))(rng, figure)
    return choose(rng, _BEFORE_SOLUTION, weights=(0.5, 0.3, 0.15, 0.05))(rng, figure)
