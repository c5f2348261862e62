"""More questions about a screen: all its elements, all of a kind, and what is not there.

    list      "List all elements ..." -> kind, text and box of each, in reading order
    all       "Locate every instance that belongs to the following categories: "button, link"." -> boxes by category
    absent    "Where is the Delete button?" -> "There is no such button."; in the JSON prompts: an empty list

The prompts are those of the applications (`regard code`, `regard locate`) and the family's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image as PILImage

from regard.messages import Image, Message, Text
from regard.train.world.sample import Clue, DenseTruth, Sample, verbatim
from regard.train.world.screen_questions import TARGET_KINDS, Widget, askable, thing_words
from regard.train.world.shapes import choose

LIST = (
    "List all elements of this screen with their kind and text. Report bbox_2d, label and text_content in JSON format."
)
LIST_QUESTIONS = (
    LIST,
    LIST,
    LIST,
    "List all elements.",
    "List all elements in JSON format.",
    "Which elements are on this screen?",
)
EVERY = 'Locate every instance that belongs to the following categories: "{}". Report bbox coordinates in JSON format.'
MAX_LISTED = 12
_ASK_ABSENT = (
    "Where is the {}?", "Where can I find the {}?", "Click the {}.", "Point to the {}.",
    "Where should I click for the {}?", "Show me the {}.", "Find the {}.",
)  # fmt: skip
_LOCATE_ABSENT = (
    "Locate the {}, report the bbox coordinates in JSON format.",
    "Locate the {}, output its bbox coordinates using JSON format.",
    "Locate the {} in this image. Output the point coordinates in JSON format.",
    "Detect the {} and report its bbox coordinates in JSON format.",
)
NOTHING = "```json\n[]\n```"


def fenced(lines: Sequence[str]) -> str:
    """The family's list: one object a line, in a fence."""
    return "```json\n[\n" + ",\n".join("\t" + line for line in lines) + "\n]\n```" if lines else NOTHING


def thousandths(box: Sequence[float], size: tuple[int, int]) -> list[int]:
    """A box in pixels in the model's units."""
    return [min(max(round(1000 * v / size[i % 2]), 0), 1000) for i, v in enumerate(box)]


def element(widget: Widget, size: tuple[int, int]) -> str:
    """One element as the list writes it."""
    text = verbatim(json.dumps(widget["label"], ensure_ascii=False)[1:-1])
    box = json.dumps(thousandths(widget["box"], size))
    return f'{{"bbox_2d": {box}, "label": "{widget["kind"]}", "text_content": "{text}"}}'


def reading_order(widgets: Sequence[Widget]) -> list[Widget]:
    """From the top; what overlaps by half of the lower one's height stands in one row and is read from the left."""
    rows: list[list[Widget]] = []
    for widget in sorted(widgets, key=lambda w: (w["box"][1] + w["box"][3]) / 2):
        middle = (widget["box"][1] + widget["box"][3]) / 2
        if rows and rows[-1][0]["box"][1] <= middle <= rows[-1][0]["box"][3]:
            rows[-1].append(widget)
        else:
            rows.append([widget])
    return [widget for row in rows for widget in sorted(row, key=lambda w: (w["box"][0], w["box"][1]))]


def ask_list(
    rng: np.random.Generator, image: PILImage.Image, widgets: Sequence[Widget], dense: DenseTruth | None = None
) -> Sample | None:
    """All elements; None where there are more than `MAX_LISTED`, or none."""
    if not 0 < len(widgets) <= MAX_LISTED:
        return None
    listed = reading_order(widgets)
    answer = fenced([element(widget, image.size) for widget in listed])
    elements = [{key: w[key] for key in ("kind", "label", "box")} for w in listed]
    return _sample(image, choose(rng, LIST_QUESTIONS), answer, {"form": "list", "elements": elements}, dense)


def ask_every(
    rng: np.random.Generator, image: PILImage.Image, widgets: Sequence[Widget], dense: DenseTruth | None = None
) -> Sample | None:
    """All of one to three kinds, grouped as asked; kinds that are not there are left out."""
    kinds = [str(kind) for kind in rng.permutation(sorted(TARGET_KINDS))[: int(rng.integers(1, 4))]]
    present = sorted({w["kind"] for w in widgets} & TARGET_KINDS)
    if present and rng.random() < 0.85:
        kinds[0] = choose(rng, present)
        kinds = list(dict.fromkeys(kinds))
    found = [w for kind in kinds for w in reading_order([w for w in widgets if w["kind"] == kind])]
    if len(found) > MAX_LISTED:
        return None
    lines = [f'{{"bbox_2d": {json.dumps(thousandths(w["box"], image.size))}, "label": "{w["kind"]}"}}' for w in found]
    elements = [{"kind": w["kind"], "label": "", "box": w["box"]} for w in found]
    question = EVERY.format(", ".join(kinds))
    return _sample(image, question, fenced(lines), {"form": "every", "elements": elements}, dense)


def ask_absent(
    rng: np.random.Generator,
    image: PILImage.Image,
    widgets: Sequence[Widget],
    elsewhere: Sequence[Widget],
    dense: DenseTruth | None = None,
) -> Sample | None:
    """Something that another screen has and this one has not."""
    shown = {w["label"].lower() for w in widgets} | {w["value"].lower() for w in widgets}
    absent = [w for w in askable(elsewhere) if w["label"].lower() not in shown]
    if not absent:
        return None
    target = choose(rng, absent)
    name = thing_words(rng, target["label"], target["kind"])
    truth = {"form": "absent", "kind": target["kind"], "label": target["label"]}
    nowhere = ((target["label"], ()),)
    if rng.random() < 0.4:
        clues = tuple(Clue(said, names=nowhere) for said in ("```", "["))
        return _sample(image, choose(rng, _LOCATE_ABSENT).format(name), NOTHING, truth, dense, clues)
    answer = f"There is no such {target['kind']}."
    clues = (Clue("There", names=nowhere),)
    return _sample(image, choose(rng, _ASK_ABSENT).format(name), answer, truth, dense, clues)


def _sample(
    image: PILImage.Image,
    question: str,
    answer: str,
    truth: dict[str, Any],
    dense: DenseTruth | None,
    clues: tuple[Clue, ...] = (),
) -> Sample:
    messages = (Message("user", (Image(image), Text(question))), Message("assistant", (Text(answer),)))
    size = {"width": image.width, "height": image.height, "question": question}
    return Sample("screens", messages, {**truth, **size}, dense, (clues,))
