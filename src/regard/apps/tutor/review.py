"""A student's written work, line by line: where each line stands on the photo, and whether it follows.

The model only reads the lines (the family's own words for text with places); what is right is decided by SymPy, with
everything that the lines before it say. After a wrong line later ones may follow from the mistake, so the first wrong
one is what counts.
"""

from __future__ import annotations

from typing import Any

from regard.apps.asking import ask
from regard.apps.reading import Read
from regard.apps.result import Box2D
from regard.apps.tutor import prompts
from regard.apps.tutor.checker import Checker
from regard.apps.tutor.result import Review, WorkLine
from regard.client import Chat
from regard.conversation import normalize
from regard.errors import InputError, RegardError
from regard.messages import Image, Message, Text
from regard.reply import Reply

MAX_LINES = 40


def review(
    chat: Chat,
    image: Any,
    *,
    given: tuple[str, ...] = (),
    attempts: int = 3,
    preset: str | None = None,
    checker: Checker | None = None,
    **options: Any,
) -> Review:
    """Read and check the lines on a photo. `given`: quantities of the problem, like "AB = 6 cm".

    `checker`: one of your own, which stays open. Errors: RegardError if no line was read; MissingDependencyError
    without SymPy.
    """
    part = normalize([image])[0].parts[0]
    if not isinstance(part, Image):
        raise InputError(f"the student's work must be a picture, and {str(image)[:80]!r} is none")
    what = [Message("user", (part, Text(prompts.STUDENT_LINES)))]
    asked = ask(chat, what, _read, attempts=attempts, preset=preset, **options)
    if asked.value is None:
        raise RegardError(
            f"the model found no lines with places in {asked.num_attempts} answers; "
            "use a sharper photo or a larger --model"
        )
    boxes = asked.value
    if checker is not None:
        lines = _checked(checker, boxes, given)
    else:
        with Checker() as own:
            lines = _checked(own, boxes, given)
    first_wrong = next((index for index, line in enumerate(lines) if line.verdict == "wrong"), None)
    return Review(lines=tuple(lines), first_wrong=first_wrong, repairs=asked.repairs)


def _checked(checker: Checker, boxes: list[Box2D], given: tuple[str, ...]) -> list[WorkLine]:
    checker.begin(given=given, asked="", texts=[box.label for box in boxes])
    lines = []
    for box in boxes:
        verdict = checker.step(box.label)
        lines.append(WorkLine(text=box.label, box=box, verdict=verdict.verdict, note=verdict.note))
    return lines


def _read(reply: Reply) -> Read[list[Box2D]] | None:
    """Lines with text, from top to bottom; boxes of replies are pixels already."""
    boxes = [Box2D.of(box) for box in reply.boxes if box.label.strip()]
    boxes.sort(key=lambda box: (box.y1 + box.y2, box.x1))
    return Read(boxes[:MAX_LINES]) if boxes else None
