"""The pictures of docs/solve.md: a figure, its marks, the page with hints and solution, a student's work.

    python -m benchmarks.tutor_pictures [--model nano|reference|URL]

With `reference` the words and places are the generator's own (see benchmarks/tutor.py); reading, checking, marking and
the page are the program's. Needs Chromium for the page.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from benchmarks.tutor import Reference
from regard.apps.tutor import prompts
from regard.apps.tutor.parts import marked, reviewed
from regard.apps.tutor.report import report
from regard.apps.tutor.session import NUM_HINTS, Tutor
from regard.chromium import find_chromium
from regard.client import connect
from regard.conversation import normalize
from regard.processing.coordinates import find_boxes_and_points
from regard.reply import Reply
from regard.train.world import figures

IMAGES = Path(__file__).parent.parent / "docs" / "images"
SEED = 5
WORK = ("{}^2 = 6^2 + 8^2", "{}^2 = 36 + 62", "{} = sqrt(98)")
WORK_SIZE = (420, 210)


class WorkReader(Reference):
    """The reference, which also reads the written lines of `work`."""

    def chat(self, what: Any, **options: Any) -> Reply:
        if normalize(what)[-1].text != prompts.STUDENT_LINES:
            return super().chat(what, **options)
        assert self.figure is not None
        _, boxes = work(self.figure.problem.asked)
        entries = [
            {
                "bbox_2d": [round(1000 * v / WORK_SIZE[i % 2]) for i, v in enumerate(box)],
                "text_content": text.format(self.figure.problem.asked),
            }
            for text, box in zip(WORK, boxes, strict=True)
        ]
        text = f"```json\n{json.dumps(entries)}\n```"
        found, _ = find_boxes_and_points(text, (WORK_SIZE,))
        blank = super().chat(what, **options)
        return Reply(text, text, None, (), found, (), "stop", blank.usage, ())


def work(name: str) -> tuple[PILImage.Image, list[tuple[float, float, float, float]]]:
    """Three written lines, the second of which is wrong, and their boxes in pixels."""
    picture = PILImage.new("RGB", WORK_SIZE, (252, 250, 242))
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(26)
    boxes = []
    for number, text in enumerate(line.format(name) for line in WORK):
        place = (40, 28 + 58 * number)
        pen.text(place, text, fill=(30, 50, 120), font=font)
        boxes.append(pen.textbbox(place, text, font=font))
    return picture, boxes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reference")
    arguments = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure = next(
        one
        for number in range(2000)
        if (one := figures.make_figure(np.random.default_rng([SEED, number]), held_out=False)).kind == "right triangle"
        and one.problem.value == (10.0,)
        and one.problem.steps[0].reason == "Pythagoras"
        and "6" in one.problem.steps[0].text.split()[2]
    )
    reference = WorkReader(0.0, SEED)
    reference.show(figure)
    chat = reference if arguments.model == "reference" else connect(arguments.model)
    picture, _ = figure.canvas.finish()
    picture.save(IMAGES / "solve-figure.png")
    with Tutor(chat, picture, figure.problem.question) as tutor:
        tutor.mistakes()
        solution = tutor.mark()
        hints = [tutor.hint(number) for number in range(1, NUM_HINTS + 1)]
        shown = marked(picture, solution)
        shown.save(IMAGES / "solve-marked.png")
        page(report(shown, solution, hints))
        photo, _ = work(figure.problem.asked)
        review = tutor.review(photo)
        reviewed(photo, review).save(IMAGES / "solve-work.png")
    print(solution.text, *(hint.text for hint in hints), *(line.note for line in review.lines), sep="\n")


def page(text: str) -> None:
    """The page as Chromium shows it, two hints and the solution opened."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 820, "height": 600})
        opened.set_content(text)
        for summary in ("Hint 1 of 4", "Hint 2 of 4", "Solution", "Typical mistakes"):
            opened.get_by_text(summary, exact=True).click()
        opened.screenshot(path=str(IMAGES / "solve-page.png"), full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
