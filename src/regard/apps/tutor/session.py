"""The tutor: a problem, its checked solution, and everything that is said about it afterwards.

    with Tutor(chat, "triangle.png", "Find AC.") as tutor:
        tutor.hint(1).text              "Look for the right angle and the sides beside it."
        tutor.say("is it 14?").attempt  "wrong"
        tutor.solution.answer           "10 cm"

The solution is asked for once, when it is first needed, and every step is checked (`checker`). If a step is wrong, the
model is shown it once and solves again; the better of both is kept, and what is still wrong stays marked. Until
`reveal` is called nothing that the tutor says holds the answer: hints and replies are checked (`leaks`), asked for
again, and in the end replaced by words of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from regard.apps.asking import Asked, ask
from regard.apps.reading import Read
from regard.apps.result import Progress
from regard.apps.tutor import prompts
from regard.apps.tutor.checker import Checker, Verdict
from regard.apps.tutor.dialogue import ladder, looks_like_attempt, read_mistakes, tidy_hint
from regard.apps.tutor.parts import lines_between, parts_of, points_from
from regard.apps.tutor.result import Hint, Review, Solution, Step, Turn
from regard.apps.tutor.review import review
from regard.apps.tutor.solution_text import Draft, read_solution
from regard.apps.tutor.tokens import formulas
from regard.client import Chat
from regard.conversation import normalize
from regard.errors import ConfigError, InputError, RegardError
from regard.messages import Image, Message, Part, Text
from regard.reply import Reply

NUM_HINTS = prompts.NUM_MODEL_HINTS + 1  # the last one tells the answer
MAX_TURNS = 16  # of the dialogue that the model sees again
WITHHELD = "I do not tell that yet. Ask for a hint, or tell me what you would do first."
RIGHT, WRONG = "Yes, that is it.", "Not yet. Look at it again, or ask for a hint."


class Tutor:
    """One problem with its dialogue. Not for several threads at once; close it, or use it in a `with` block."""

    def __init__(
        self,
        chat: Chat,
        image: Any,
        question: str | None = None,
        *,
        attempts: int = 3,
        preset: str | None = None,
        checker: Checker | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        **options: Any,
    ) -> None:
        """`image`: whatever names a picture. `checker`: one of your own, which stays open. `options`: of `Chat.chat`.

        Errors: MissingDependencyError without SymPy.
        """
        self._chat, self._preset, self._attempts, self._options = chat, preset, attempts, options
        self.question = (question or "").strip()
        self._first = Message("user", (_picture(image), Text(prompts.solve_prompt(self.question))))
        self._checker, self._owns_checker = checker or Checker(), checker is None
        self._on_progress = on_progress or (lambda progress: None)
        self._solution: Solution | None = None
        self._hints: dict[int, Hint] = {}
        self._turns: list[Message] = []
        self.is_revealed = False

    def __enter__(self) -> Tutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process that checks, if it is the tutor's own; the chat stays open."""
        if self._owns_checker:
            self._checker.close()

    # --- the solution -----------------------------------------------------------------------------------------------

    @property
    def solution(self) -> Solution:
        """The worked and checked solution. Errors: RegardError if the model gave none."""
        if self._solution is None:
            self._solution = self._solve()
        return self._solution

    def reveal(self) -> Solution:
        """The solution, and from now on nothing is kept back."""
        self.is_revealed = True
        return self.solution

    def _solve(self) -> Solution:
        self._tell(0, "solving")
        asked = self._ask([self._first], _draft, attempts=self._attempts)
        if asked.value is None:
            raise RegardError(
                f"the model gave no solution in {asked.num_attempts} answers; the last one began "
                f"{asked.reply.text[:60]!r}; ask the question in words, or use a larger --model"
            )
        self._tell(1, "checking")
        first = self._checked(asked.value, asked.reply.text, asked.repairs)
        if first.num_wrong == 0:
            return first
        self._tell(2, "solving again")
        history = [self._first, _said(asked.reply.text), _user(_objection(first))]
        again = self._ask(history, _draft, attempts=1)
        if again.value is None:
            return self._rechecked(first)
        second = self._checked(again.value, again.reply.text, again.repairs)
        better = second if (second.num_wrong, -second.num_checked) < (first.num_wrong, -first.num_checked) else first
        return self._rechecked(better, first)

    def _rechecked(self, kept: Solution, first: Solution | None = None) -> Solution:
        """The kept solution, with the checker's mind on it again."""
        draft = read_solution(kept.text)
        solution = self._checked(draft, kept.text, ()) if draft is not None else kept
        attempt = (first or kept).text if kept is not first else ""
        return solution.model_copy(update={"was_retried": True, "first_attempt": attempt, "repairs": kept.repairs})

    def _checked(self, draft: Draft, text: str, repairs: Sequence[str]) -> Solution:
        """A draft with a verdict on every step and on the answer."""
        self._checker.begin(
            given=draft.given, asked=draft.asked, texts=[*(step.text for step in draft.steps), draft.answer]
        )
        steps = []
        for number, step in enumerate(draft.steps, start=1):
            verdict = self._checker.step(step.text)
            steps.append(
                Step(number=number, text=step.text, reason=step.reason, verdict=verdict.verdict, note=verdict.note)
            )
        answer = self._checker.answer(draft.answer)
        wrong = next((step for step in steps if step.verdict == "wrong"), None)
        if wrong is not None and answer.verdict == "checked":
            answer = Verdict("not checkable", f"it rests on step {wrong.number}, which is wrong")
        return Solution(
            question=self.question, given=draft.given, asked=draft.asked, steps=tuple(steps), answer=draft.answer,
            answer_verdict=answer.verdict, answer_note=answer.note, repairs=(*repairs, *draft.repairs), text=text,
        )  # fmt: skip

    def mistakes(self) -> tuple[str, ...]:
        """Typical mistakes, in the model's words; asked for once. They may hold the answer."""
        solution = self.solution
        if not solution.mistakes:
            self._tell(3, "typical mistakes")
            asked = self._ask([*self._solved(), _user(prompts.MISTAKES)], read_mistakes, attempts=2)
            self._solution = solution.model_copy(update={"mistakes": asked.value or ()})
        return self.solution.mistakes

    def mark(self) -> Solution:
        """The solution with the figure's named parts in pixels, where the model finds them."""
        solution = self.solution
        names = parts_of(solution.given, solution.asked)
        if names and not solution.points:
            self._tell(4, "marking the figure")
            history = [Message("user", (self._first.parts[0], Text(prompts.marks_prompt(names))))]

            def read(reply: Reply) -> Read[Any] | None:
                points = points_from(reply, names)
                return Read(points) if points else None

            points = self._ask(history, read, attempts=2).value or ()
            repairs = solution.repairs if points else (*solution.repairs, "no part of the figure was marked")
            lines = lines_between(points, solution.given, solution.asked)
            self._solution = solution.model_copy(update={"points": points, "lines": lines, "repairs": repairs})
        return self.solution

    # --- hints ------------------------------------------------------------------------------------------------------

    def hint(self, number: int) -> Hint:
        """Hint 1 to NUM_HINTS; the last one tells the answer, none before it does.

        Errors: ConfigError for another number.
        """
        if not 1 <= number <= NUM_HINTS:
            raise ConfigError(f"there is no hint {number}; the hints are 1 to {NUM_HINTS}, the last tells the answer")
        if number not in self._hints:
            self._hints[number] = self._last_hint() if number == NUM_HINTS else self._new_hint(number)
        return self._hints[number]

    def _new_hint(self, number: int) -> Hint:
        self._tell(3, f"hint {number}")
        history = [*self._solved(), _user(prompts.HINT.format(number=number))]
        num_withheld = 0
        earlier = {hint.text for hint in self._hints.values()}
        for attempt in range(2):
            asked = self._ask(history, _plain, attempts=1, temperature_steps=attempt)
            text = tidy_hint(asked.reply.text)
            if text and text not in earlier and not self.tells(text):
                return Hint(number=number, total=NUM_HINTS, text=text, num_withheld=num_withheld)
            num_withheld += bool(text)
            history += [_said(asked.reply.text), _user(prompts.HINT_AGAIN.format(number=number))]
        for text in ladder(self.solution, number):
            if text not in earlier and not self.tells(text):
                return Hint(number=number, total=NUM_HINTS, text=text, source="solution", num_withheld=num_withheld)
        raise RegardError(f"there is no hint {number} that keeps the answer {self.solution.answer!r}")

    def _last_hint(self) -> Hint:
        solution = self.solution
        last = f"{solution.steps[-1].text}. " if solution.steps else ""
        text = f"{last}So the answer is {solution.answer}."
        return Hint(number=NUM_HINTS, total=NUM_HINTS, text=text, is_last=True, source="solution")

    def tells(self, text: str) -> bool:
        """Whether a text gives the answer away: the written one, or what the last step comes to."""
        solution = self.solution
        answers = [solution.answer]
        if solution.steps and (found := formulas(solution.steps[-1].text)):
            answers.append(
                solution.steps[-1].text.rsplit("=", 1)[-1] if "=" in solution.steps[-1].text else found[-1].text
            )
        return self._checker.leaks(text, answers=[a for a in answers if a.strip()], given=solution.given)

    def review(self, work: Any) -> Review:
        """A student's written work on a photo, line by line, with what this problem gives."""
        solution = self.solution
        return review(
            self._chat, work, given=solution.given, attempts=self._attempts, preset=self._preset, **self._options
        )

    # --- the dialogue -----------------------------------------------------------------------------------------------

    def say(self, text: str) -> Turn:
        """Answer a student's message.

        A message that is only a value is compared with the answer here; anything else goes to the model, whose reply is
        kept back if it gives the answer away before `reveal`. Errors: InputError for an empty message.
        """
        text = text.strip()
        if not text:
            raise InputError("the message is empty; write a question, or what you think the answer is")
        solution = self.solution
        if solution.answer and looks_like_attempt(text):
            is_right = self.tells(text)
            self.is_revealed = self.is_revealed or is_right
            return self._remember(
                text, Turn(text=RIGHT if is_right else WRONG, attempt="right" if is_right else "wrong")
            )
        checks = self.check(text)
        if self.is_revealed:
            reply = self._ask([*self._solved(), *self._turns, _user(text)], _plain, attempts=1).reply
            return self._remember(text, Turn(text=reply.text.strip(), checks=checks))
        guarded = prompts.GUARDED.format(text=text if text[-1] in ".?!" else text + ".")
        history = [*self._solved(), *self._turns, _user(guarded)]
        for attempt in range(2):
            reply = self._ask(history, _plain, attempts=1, temperature_steps=attempt).reply
            if reply.text.strip() and not self.tells(reply.text):
                return self._remember(text, Turn(text=reply.text.strip(), checks=checks))
        return self._remember(text, Turn(text=WITHHELD, is_withheld=True, checks=checks))

    def check(self, text: str) -> tuple[Step, ...]:
        """A verdict on each calculation in a student's text; notes that tell the answer are left out."""
        self.solution  # noqa: B018  # the checker knows the problem once it is solved
        checks = []
        for number, formula in enumerate(formulas(text), start=1):
            verdict = self._checker.judge(formula.text)
            note = "" if verdict.note and not self.is_revealed and self.tells(verdict.note) else verdict.note
            checks.append(Step(number=number, text=formula.text, verdict=verdict.verdict, note=note))
        return tuple(checks)

    def _remember(self, text: str, turn: Turn) -> Turn:
        self._turns = [*self._turns, _user(text), _said(turn.text)][-MAX_TURNS:]
        return turn

    # --- asking -----------------------------------------------------------------------------------------------------

    def _solved(self) -> list[Message]:
        """The conversation up to the solution that is kept."""
        return [self._first, _said(self.solution.text)]

    def _ask(
        self,
        history: Sequence[Message],
        read: Callable[[Reply], Read[Any] | None],
        *,
        attempts: int,
        temperature_steps: int = 0,
    ) -> Asked[Any]:
        options = dict(self._options)
        if temperature_steps:
            options["temperature"] = min(1.0, float(options.get("temperature", 0.4)) + 0.3 * temperature_steps)
        return ask(self._chat, list(history), read, attempts=attempts, preset=self._preset, **options)

    def _tell(self, done: int, text: str) -> None:
        self._on_progress(Progress(done, 5, text))


def solve(
    chat: Chat,
    image: Any,
    question: str | None = None,
    *,
    with_mistakes: bool = True,
    with_parts: bool = True,
    **options: Any,
) -> Solution:
    """Solve the problem in a picture, and check every step; `options` are those of `Tutor`.

    Errors: RegardError if the model gives no solution; MissingDependencyError without SymPy.
    """
    with Tutor(chat, image, question, **options) as tutor:
        if with_mistakes:
            tutor.mistakes()
        return tutor.mark() if with_parts else tutor.solution


def _picture(image: Any) -> Part:
    """The picture as a part of a message. Errors: InputError if it is none."""
    part = normalize([image])[0].parts[0]
    if not isinstance(part, Image):
        raise InputError(f"the tutor needs a picture, and {str(image)[:80]!r} is none")
    return part


def _user(text: str) -> Message:
    return Message("user", (Text(text),))


def _said(text: str) -> Message:
    return Message("assistant", (Text(text),))


def _draft(reply: Reply) -> Read[Draft] | None:
    draft = read_solution(reply.text)
    return None if draft is None else Read(draft)


def _plain(reply: Reply) -> Read[str] | None:
    return Read(reply.text)


def _objection(solution: Solution) -> str:
    wrong = next((step for step in solution.steps if step.verdict == "wrong"), None)
    if wrong is None:
        return prompts.ANSWER_AGAIN.format(why=solution.answer_note)
    return prompts.AGAIN.format(number=wrong.number, why=wrong.note)
