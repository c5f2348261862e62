"""What the tutor hands back: pydantic values, places in pixels of the user's picture."""

from __future__ import annotations

from typing import Literal

from regard.apps.result import Box2D, Point2D, Result

StepVerdict = Literal["checked", "wrong", "not checkable"]


class Step(Result):
    """One step: what is done, why, and what checking it with SymPy found out."""

    number: int
    text: str
    reason: str = ""
    verdict: StepVerdict
    note: str = ""


class Line(Result):
    """A straight line of the figure between two named points, in pixels."""

    name: str
    start: Point2D
    end: Point2D
    is_asked: bool = False


class Solution(Result):
    """A worked solution. `answer_verdict`: whether the steps come to the answer, never "checked" beside a wrong step;
    `was_retried`: a wrong step was shown to the model once again, and `first_attempt` is what it had written before."""

    question: str
    given: tuple[str, ...]
    asked: str
    steps: tuple[Step, ...]
    answer: str
    answer_verdict: StepVerdict
    answer_note: str = ""
    mistakes: tuple[str, ...] = ()
    points: tuple[Point2D, ...] = ()
    lines: tuple[Line, ...] = ()
    was_retried: bool = False
    first_attempt: str = ""
    repairs: tuple[str, ...] = ()
    text: str = ""

    @property
    def num_wrong(self) -> int:
        """How many steps are wrong, the answer included."""
        return sum(step.verdict == "wrong" for step in self.steps) + (self.answer_verdict == "wrong")

    @property
    def num_checked(self) -> int:
        """How many steps are checked."""
        return sum(step.verdict == "checked" for step in self.steps)


class Hint(Result):
    """One hint of a ladder of `total`; only the last may hold the answer.

    `source`: the model's own words, or words of ours made of the solution where the model's gave the answer away
    `num_withheld` times.
    """

    number: int
    total: int
    text: str
    is_last: bool = False
    source: Literal["model", "solution"] = "model"
    num_withheld: int = 0


class Turn(Result):
    """One exchange of the dialogue.

    `attempt`: what the student's own answer was, if the message was one. `is_withheld`: the model's words gave the
    answer away before the student asked to see it, and were replaced. `checks`: calculations in the student's message.
    """

    text: str
    attempt: Literal["right", "wrong"] | None = None
    is_withheld: bool = False
    checks: tuple[Step, ...] = ()


class WorkLine(Result):
    """One line of a student's written work, where it stands, and whether it follows."""

    text: str
    box: Box2D
    verdict: StepVerdict
    note: str = ""


class Review(Result):
    """A student's work, line by line; `first_wrong`: index of the first line that is wrong."""

    lines: tuple[WorkLine, ...]
    first_wrong: int | None = None
    repairs: tuple[str, ...] = ()
