"""Questions about one screen and their answers, made from the widgets the browser reported.

Four kinds of questions (`truth["form"]`):
- `bbox`, `point`: where a widget is; the answer is the family's JSON in 0-1000 of the picture;
- `yesno`: whether a widget is there, is on, is enabled, is selected;
- `text`: what a heading, a field, a dropdown or the selected tab shows.

Only widgets are asked for whose name says which one is meant: a name that occurs twice is asked for only with
its kind, and only if that kind has it once. Answers mark what must be read off the picture (`sample.verbatim`).
It does not look at pixels.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from regard.messages import Image as ImagePart
from regard.messages import Message, Text
from regard.train.world.sample import Area, Clue, DenseTruth, Sample, plain, verbatim

Widget = dict[str, Any]

TARGET_KINDS = frozenset(
    {
        "button", "link", "text field", "checkbox", "radio button", "switch", "tab", "menu item", "list item",
        "dropdown", "slider",
    }
)  # fmt: skip
_ALSO_NAMED = {
    "text field": ("text field", "field", "input", "input field", "text box"),
    "dropdown": ("dropdown", "select", "list box", "dropdown menu", "select box"),
    "switch": ("switch", "toggle", "toggle switch"),
    "radio button": ("radio button", "option", "radio"),
    "menu item": ("menu item", "menu entry", "entry"),
    "list item": ("list item", "row", "item", "entry"),
    "checkbox": ("checkbox", "check box"),
}

# {thing} is "Save button", "the button Save", ... or the bare name; {name} the bare name.
_BOX_WITH_KIND = (
    "Where is the {thing}?",
    "Where is the {thing}?",
    "Where is the {thing}?",
    "Where can I find the {thing}?",
    "Where's the {thing}?",
    "where is the {thing}",
    "Locate the {thing}, output its bbox coordinates using JSON format.",
    "Locate the {thing}.",
    "Find the {thing}.",
    "Find the {thing} in the image and give its bounding box.",
    "Detect the {thing} and report its bbox coordinates in JSON format.",
    "Give me the bounding box of the {thing}.",
    "Show me the {thing}.",
    "Ground the {thing}.",
    "Mark the {thing} with a box.",
    "Please outline the position of the {thing} and output all the coordinates in JSON format.",
    "In this screenshot, where is the {thing}?",
    "What is the position of the {thing}? Answer with bbox_2d.",
    "I am looking for the {thing}. Where is it?",
)
_BOX_BARE = (
    "Where is {name}?",
    "Locate {name}.",
    "Find {name}.",
    "Locate {name}, output its bbox coordinates using JSON format.",
    "Where on the screen is {name}?",
    "Give the box of {name}.",
    'Locate the element "{raw}", output its bbox coordinates using JSON format.',
)
_POINT_WITH_KIND = (
    "Point to the {thing}.",
    "Point at the {thing}.",
    "Click the {thing}.",
    "Click on the {thing}.",
    "Tap the {thing}.",
    "Where should I click for the {thing}? Answer with a point.",
    "Locate the {thing} with a point, report its point coordinates in JSON format.",
    "Give the point coordinates of the {thing}.",
    "Output the point_2d of the {thing}.",
    "point to the {thing}",
)
_POINT_BARE = (
    "Point to {name}.",
    "Click {name}",
    "Click {name}.",
    "Click on {name}.",
    "Tap {name}.",
    "Press {name}.",
    "Point at {name}",
    "Locate {name} with a point, report its point coordinates in JSON format.",
    "Where do I click for {name}? Give a point.",
)
_ACTIONS = {
    "checkbox": ("Tick {name}.", "Check the {name} box."),
    "switch": ("Toggle {name}.", "Flip the {name} switch."),
    "radio button": ("Choose {name}.", "Select the option {name}."),
    "tab": ("Switch to the {name} tab.", "Go to the {name} tab.", "Open the {name} tab."),
    "menu item": ("Choose {name} from the menu.",),
    "text field": ("Click into the {name} field.", "Focus the {name} field."),
    "dropdown": ("Open the {name} dropdown.",),
    "link": ("Follow the link {name}.", "Open the {name} link."),
}
_PRESENT = (
    "Is there a {thing}?",
    "Is there a {thing} on this screen?",
    "Does this screen have a {thing}?",
    "Can you see a {thing}?",
    "Is a {thing} visible?",
)
_FORM_SHARES = {"bbox": 0.55, "point": 0.27, "yesno": 0.1, "text": 0.08}


def askable(widgets: Sequence[Widget]) -> list[Widget]:
    """The widgets a question can name: of a kind one acts on, and the only one of that kind with that name."""
    count = Counter((w["kind"], w["label"].lower()) for w in widgets)
    return [
        w for w in widgets if w["kind"] in TARGET_KINDS and w["label"] and count[w["kind"], w["label"].lower()] == 1
    ]


def ask(
    rng: np.random.Generator,
    image: Image.Image,
    widgets: Sequence[Widget],
    elsewhere: Sequence[Widget],
    dense: DenseTruth | None = None,
) -> Sample:
    """Draw one question about a screen; `elsewhere` are another screen's widgets, to ask for what is absent."""
    form = str(rng.choice(list(_FORM_SHARES), p=list(_FORM_SHARES.values())))
    drawn = _yes_no(rng, widgets, elsewhere) if form == "yesno" else _reading(rng, widgets) if form == "text" else None
    if drawn is None:
        form = form if form in ("bbox", "point") else "bbox"
        drawn = _locating(rng, widgets, form, image.size)
    question, answer, target = drawn
    truth = {"form": form, "width": image.width, "height": image.height, "question": question}
    truth |= {key: target[key] for key in ("kind", "label", "box") if key in target}
    truth["answer"] = plain(answer)
    messages = (Message("user", (ImagePart(image), Text(question))), Message("assistant", (Text(answer),)))
    areas = _areas(target, image.size)
    # What decides that it is there comes before the first digit of where.
    said = {"yesno": (answer.removesuffix("."),), "text": (plain(answer),)}.get(form, ("```", "["))
    clues = tuple(Clue(words, areas, ((target["label"], areas),)) for words in said)
    return Sample(task="screens", messages=messages, truth=truth, dense=dense, clues=(clues,))


def _areas(widget: Widget, size: tuple[int, int]) -> tuple[Area, ...]:
    """Where a widget is; nowhere if it is none of this screen's."""
    if "box" not in widget:
        return ()
    x1, y1, x2, y2 = (value / size[index % 2] for index, value in enumerate(widget["box"]))
    return (Area((x1, y1, x2, y2)),)


def box_answer(label: str, box: Sequence[float], size: tuple[int, int]) -> str:
    """The family's answer to `where is`: box in 0-1000 of the picture's width and height."""
    x1, y1, x2, y2 = (round(1000 * v / size[i % 2]) for i, v in enumerate(box))
    return f'```json\n[\n\t{{"bbox_2d": [{x1}, {y1}, {x2}, {y2}], "label": {_quoted(label)}}}\n]\n```'


def point_answer(label: str, box: Sequence[float], size: tuple[int, int]) -> str:
    """The family's answer to `point to`: the middle of the box in 0-1000 of the picture's width and height."""
    x, y = round(500 * (box[0] + box[2]) / size[0]), round(500 * (box[1] + box[3]) / size[1])
    return f'```json\n[\n\t{{"point_2d": [{x}, {y}], "label": {_quoted(label)}}}\n]\n```'


def _quoted(label: str) -> str:
    return f'"{verbatim(json.dumps(label, ensure_ascii=False)[1:-1])}"'


def _pick(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[int(rng.integers(len(options)))]


def _as_typed(rng: np.random.Generator, label: str) -> str:
    """A name as people type it: sometimes in small letters, sometimes in quotes."""
    if rng.random() < 0.12:
        label = label.lower()
    return str(_pick(rng, ('"{}"', "'{}'"))).format(label) if rng.random() < 0.3 else label


def thing_words(rng: np.random.Generator, label: str, kind: str) -> str:
    """`Save button`, `button Save`, `"Save" button`, `button labelled "Save"`."""
    kind = kind if rng.random() < 0.6 else str(_pick(rng, _ALSO_NAMED.get(kind, (kind,))))
    pattern = "{0} {1}" if rng.random() < 0.78 else str(_pick(rng, ("{1} {0}", '{1} labelled "{0}"', "{1} called {0}")))
    return pattern.format(label if "labelled" in pattern else _as_typed(rng, label), kind)


def _locating(
    rng: np.random.Generator, widgets: Sequence[Widget], form: str, size: tuple[int, int]
) -> tuple[str, str, Widget]:
    target: Widget = _pick(rng, askable(widgets))
    label, kind = target["label"], target["kind"]
    alone = sum(w["label"].lower() == label.lower() and w["kind"] not in ("card", "dialog") for w in widgets) == 1
    if form == "point" and kind in _ACTIONS and rng.random() < 0.3:
        question = str(_pick(rng, _ACTIONS[kind])).format(name=_as_typed(rng, label))
    elif not alone or rng.random() < 0.62:
        with_kind = _BOX_WITH_KIND if form == "bbox" else _POINT_WITH_KIND
        question = str(_pick(rng, with_kind)).format(thing=thing_words(rng, label, kind))
    else:
        bare = _BOX_BARE if form == "bbox" else _POINT_BARE
        question = str(_pick(rng, bare)).format(name=_as_typed(rng, label), raw=label)
    answer = (box_answer if form == "bbox" else point_answer)(label, target["box"], size)
    return question, answer, target


def _yes_no(
    rng: np.random.Generator, widgets: Sequence[Widget], elsewhere: Sequence[Widget]
) -> tuple[str, str, Widget] | None:
    states = [w for w in askable(widgets) if w["kind"] in ("checkbox", "switch", "radio button", "tab")]
    if states and rng.random() < 0.55:
        target: Widget = _pick(rng, states)
        templates = {
            "checkbox": ("Is {name} checked?", "Is the {name} checkbox ticked?", "Is the {name} checkbox checked?"),
            "switch": ("Is {name} on?", "Is {name} turned on?", "Is the {name} switch on?", "Is {name} enabled?"),
            "radio button": ("Is {name} selected?", "Is the option {name} chosen?"),
            "tab": ("Is the {name} tab selected?", "Is {name} the active tab?"),
        }[str(target["kind"])]
        question = str(_pick(rng, templates)).format(name=_as_typed(rng, target["label"]))
        return question, "Yes." if target["checked"] else "No.", target
    here = {(w["kind"], w["label"].lower()) for w in widgets}
    shown = {w["label"].lower() for w in widgets}
    if rng.random() < 0.5:
        target = _pick(rng, askable(widgets))
        answer = "Yes."
    else:
        absent = [w for w in askable(elsewhere) if w["label"].lower() not in shown]
        wrong_kind = [
            {**w, "kind": kind}
            for w in askable(widgets)
            for kind in ("button", "link", "checkbox", "tab")
            if (kind, w["label"].lower()) not in here
        ]
        pool = wrong_kind if wrong_kind and rng.random() < 0.25 else absent
        if not pool:
            return None
        chosen: Widget = _pick(rng, pool)
        target, answer = {"kind": chosen["kind"], "label": chosen["label"]}, "No."
    question = str(_pick(rng, _PRESENT)).format(thing=thing_words(rng, target["label"], target["kind"]))
    return question, answer, target


def _reading(rng: np.random.Generator, widgets: Sequence[Widget]) -> tuple[str, str, Widget] | None:
    """A question whose answer is a text of the screen, or None where the screen has no such text."""
    found: list[tuple[str, str, Widget]] = []
    questions: tuple[str, ...]
    headings = [w for w in widgets if w["kind"] == "heading"]
    if len(headings) == 1:
        questions = ("What does the heading say?", "Read the heading.", "What is the title of this screen?")
        found.append((str(_pick(rng, questions)), headings[0]["label"], headings[0]))
    selected = [w for w in widgets if w["kind"] == "tab" and w["checked"]]
    if len(selected) == 1:
        found.append(("Which tab is selected?", selected[0]["label"], selected[0]))
    for w in askable(widgets):
        name = _as_typed(rng, w["label"])
        if w["kind"] == "text field" and w["value"]:
            questions = ("What is written in the {} field?", "What does the {} field contain?", "Read the {} field.")
            found.append((str(_pick(rng, questions)).format(name), w["value"], w))
        if w["kind"] == "dropdown":
            questions = ("Which option is selected in the {} dropdown?", "What is {} set to?")
            found.append((str(_pick(rng, questions)).format(name), w["value"], w))
    if not found:
        return None
    question, text, target = _pick(rng, found)
    return question, verbatim(text), target
