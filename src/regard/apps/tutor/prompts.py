"""What the tutor says to the model. regard-nano is trained on the same words (`train/world/figures.py`)."""

from __future__ import annotations

from collections.abc import Sequence

NUM_MODEL_HINTS = 3

FORMAT = "Write Given, Asked, numbered steps with reasons, Answer."
SOLVE = "Solve the problem in the picture step by step. " + FORMAT
SOLVE_QUESTION = "{question} Solve it step by step. " + FORMAT
AGAIN = "Step {number} is wrong: {why}. Solve it again from the start. " + FORMAT
ANSWER_AGAIN = "The answer is wrong: {why}. Solve it again from the start. " + FORMAT
HINT = "Give hint {number} of 3. Do not tell the answer."
HINT_AGAIN = "That gives the answer away. Give hint {number} of 3 without any result. Do not tell the answer."
MISTAKES = "Which mistakes are typical here? Write one a line."
MARKS = "Locate {names} with points, report their point coordinates in JSON format."
GUARDED = "{text} Do not tell the answer."
# The model family's own words for lines with their places.
STUDENT_LINES = (
    "Spotting all the text in the image with line-level, and output in JSON format as "
    "[{'bbox_2d': [x1, y1, x2, y2], 'text_content': 'text'}, ...]."
)


def solve_prompt(question: str | None) -> str:
    """The first turn's text; without a question the picture holds the problem."""
    if question is None or not question.strip():
        return SOLVE
    question = " ".join(question.split())
    return SOLVE_QUESTION.format(question=question if question[-1] in ".?!:" else question + ".")


def marks_prompt(names: Sequence[str]) -> str:
    """Ask where named parts of the figure are."""
    listed = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    return MARKS.format(names=listed)
