"""Instructions for screens of a bank, and the step that an agent takes: click, type, scroll, done, impossible.

    sample = action_turns(rng, bank=ScreenBank(...), num_turns=4)

The state of a screen is known from the DOM, so the right step depends on what the picture shows: a switch that is
already on needs no click, a field that holds the text is ready. What was done before is told in the prompt only; a
step that is remembered as "(nothing changed)" is taken again. What is not on the screen is looked for by scrolling;
where scrolling changed nothing, the answer is that it cannot be done.

Tasks over several pages are in `episodes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image as PILImage

from regard.train.world import action_format as form
from regard.train.world.action_format import DONE, IMPOSSIBLE, NOTHING_CHANGED, Device, Step
from regard.train.world.sample import DenseTruth, Sample
from regard.train.world.screen_questions import Widget, askable
from regard.train.world.screens import Screen, ScreenBank
from regard.train.world.shapes import choose
from regard.train.world.turns import join

_PRESSABLE = ("button", "link", "menu item", "list item", "tab")
_PRESS = (
    "Press {}",
    "Click {}",
    "Click on {}",
    "Press {}.",
    "Tap {}",
    "Click {}.",
    "Open {}",
    "Select {}",
    "Choose {}",
)
_OPEN_TAB = ("Open the {} tab", "Go to the {} tab", "Switch to the {} tab", "Show the {} tab")
_TURN_ON = ("Turn on {}", "Switch on {}", "Turn {} on", "Enable {}", "Switch {} on.")
_TURN_OFF = ("Turn off {}", "Switch off {}", "Turn {} off", "Disable {}", "Switch {} off.")
_TICK = ("Tick {}", "Check {}", "Tick the box {}", "Check the {} box", "Set the check mark at {}")
_UNTICK = ("Untick {}", "Uncheck {}", "Untick the box {}", "Uncheck the {} box", "Remove the check mark at {}")
_SELECT = ("Choose {}", "Select {}", "Select the option {}", "Choose the option {}")
_TYPE = (
    "Type {text} in {field}", "Type {text} into the {field} field", "Write {text} in {field}",
    "Fill {field} with {text}",
    'Type "{text}" into {field}', "Enter {text} in the {field} field", "Set {field} to {text}",
)  # fmt: skip
_SET = ("Set {} to {}", "Choose {1} in {0}", "Select {1} in {0}", "Change {} to {}")
_THEN = ("{} and press {}", "{}, then press {}", "{} and then click {}", "{}, then click {}")
_SCROLL = ("Scroll down", "Scroll down.", "Scroll further down", "Show me more of this page")

Task = tuple[str, list[str], Step, bool]  # instruction, progress, the next step, whether the task is done


def action_turns(rng: np.random.Generator, *, bank: ScreenBank, num_turns: int) -> Sample:
    """Up to `num_turns` tasks on the smaller of two screens; the other one names what is not there."""
    pair = [bank.screen(int(rng.integers(len(bank)))) for _ in range(2)]
    screen, elsewhere = sorted(pair, key=lambda one: one.image.width * one.image.height)
    return ask_actions(rng, screen, elsewhere.widgets, num_turns=num_turns)


def ask_actions(rng: np.random.Generator, screen: Screen, elsewhere: Sequence[Widget], *, num_turns: int) -> Sample:
    """Tasks on one screen for one device, joined into a conversation."""
    device: Device = "phone" if rng.random() < 0.35 else "computer"
    return join(
        [ask_action(rng, screen.image, screen.widgets, elsewhere, screen.dense, device) for _ in range(num_turns)]
    )


def ask_action(
    rng: np.random.Generator,
    picture: PILImage.Image,
    widgets: Sequence[Widget],
    elsewhere: Sequence[Widget],
    dense: DenseTruth | None,
    device: Device,
) -> Sample:
    """One task on a screen; now and then the question whether it is done."""
    usable = [w for w in _unmistakable(widgets) if not w["disabled"]]
    while True:
        ask = choose(rng, tuple(_TASKS), weights=tuple(_TASKS.values()))
        made = (
            ask(rng, device, usable, picture.size) if ask is not _absent else _absent(rng, device, widgets, elsewhere)
        )
        if made is not None:
            break
    instruction, progress, step, is_done = made
    if rng.random() < 0.12:
        return form.second_look(device, picture, instruction, progress, is_done=is_done, dense=dense)
    is_first_try = step.box is not None and step.arguments["action"] != "type"
    if is_first_try and rng.random() < 0.08:
        progress = [*progress, step.line + NOTHING_CHANGED]
    return form.sample(device, picture, instruction, progress, step, dense)


def _unmistakable(widgets: Sequence[Widget]) -> list[Widget]:
    """Widgets whose name nothing else on the screen has: instructions do not say the kind."""
    names = [w["label"].lower() for w in widgets if w["kind"] not in ("card", "dialog", "heading", "text")]
    return [w for w in askable(widgets) if names.count(w["label"].lower()) == 1]


def _of(widgets: Sequence[Widget], *kinds: str) -> list[Widget]:
    return [w for w in widgets if w["kind"] in kinds]


def _press(rng: np.random.Generator, device: Device, usable: Sequence[Widget], size: tuple[int, int]) -> Task | None:
    targets = _of(usable, *_PRESSABLE)
    if not targets:
        return None
    target = choose(rng, targets)
    if target["kind"] == "tab":
        instruction = choose(rng, _OPEN_TAB).format(target["label"])
        if target["checked"]:
            progress = [f"Click {target['label']}"] if rng.random() < 0.6 else []
            return instruction, progress, DONE, True
    else:
        instruction = choose(rng, _PRESS).format(target["label"])
    return instruction, [], form.click(device, target["label"], target["box"], size), False


def _press_two(
    rng: np.random.Generator, device: Device, usable: Sequence[Widget], size: tuple[int, int]
) -> Task | None:
    """Two presses after each other; what was pressed is only remembered."""
    targets = _of(usable, "button", "link", "menu item")
    if len(targets) < 2:
        return None
    first, second = (targets[i] for i in rng.permutation(len(targets))[:2])
    instruction = choose(rng, _THEN).format(choose(rng, _PRESS[:3]).format(first["label"]), second["label"])
    if rng.random() < 0.5:
        return instruction, [], form.click(device, first["label"], first["box"], size), False
    progress = [f"Click {first['label']}"]
    if rng.random() < 0.7:
        return instruction, progress, form.click(device, second["label"], second["box"], size), False
    return instruction, [*progress, f"Click {second['label']}"], DONE, True


def _toggle(rng: np.random.Generator, device: Device, usable: Sequence[Widget], size: tuple[int, int]) -> Task | None:
    """Bring a switch or box into a state, then perhaps press a button."""
    targets = _of(usable, "switch", "checkbox", "radio button")
    if not targets:
        return None
    target = choose(rng, targets)
    wants_on = target["kind"] == "radio button" or rng.random() < 0.6
    words = {
        ("switch", True): _TURN_ON,
        ("switch", False): _TURN_OFF,
        ("checkbox", True): _TICK,
        ("checkbox", False): _UNTICK,
    }.get((target["kind"], wants_on), _SELECT)
    instruction = choose(rng, words).format(target["label"])
    is_right = target["checked"] == wants_on
    progress = [f"Click {target['label']}"] if is_right and rng.random() < 0.6 else []
    buttons = _of(usable, "button")
    if buttons and rng.random() < 0.35:
        button = choose(rng, buttons)
        instruction = choose(rng, _THEN).format(instruction.removesuffix("."), button["label"])
        if is_right:
            return instruction, progress, form.click(device, button["label"], button["box"], size), False
    elif is_right:
        return instruction, progress, DONE, True
    return instruction, progress, form.click(device, target["label"], target["box"], size), False


def _type(rng: np.random.Generator, device: Device, usable: Sequence[Widget], size: tuple[int, int]) -> Task | None:
    """Click a field, type, and see the text in it."""
    fields = _of(usable, "text field")
    if not fields:
        return None
    target = choose(rng, fields)
    name = target["label"]
    if target["value"] and "*" not in target["value"] and rng.random() < 0.5:
        text, is_typed = target["value"], True
    else:
        text, is_typed = _some_text(rng, usable), False
    instruction = choose(rng, _TYPE).format(text=text, field=name)
    buttons = _of(usable, "button")
    then = choose(rng, buttons) if buttons and rng.random() < 0.3 else None
    if then is not None:
        instruction = choose(rng, _THEN).format(instruction, then["label"])
    if is_typed:
        progress = [f"Click {name}", f"Type {text}"]
        step = DONE if then is None else form.click(device, then["label"], then["box"], size)
        return instruction, progress, step, then is None
    if rng.random() < 0.5:
        return instruction, [], form.click(device, name, target["box"], size), False
    return instruction, [f"Click {name}"], form.type_text(text), False


def _some_text(rng: np.random.Generator, usable: Sequence[Widget]) -> str:
    """What may be typed: a word of the same screen's vocabulary, a name, a number."""
    words = [word for w in usable for word in w["label"].split() if word.isalpha()] or ["Ada"]
    word = choose(rng, words)
    number = int(rng.integers(1, 1000))
    return choose(rng, (word, word.title(), f"{word.title()} {choose(rng, words)}", str(number), f"{word}{number}"))


def _set(rng: np.random.Generator, device: Device, usable: Sequence[Widget], size: tuple[int, int]) -> Task | None:
    """A dropdown that shows the wanted option, or has to be opened."""
    targets = [w for w in _of(usable, "dropdown") if w["value"]]
    if not targets:
        return None
    target = choose(rng, targets)
    name = target["label"]
    if rng.random() < 0.35:
        progress = [f"Click {name}", f"Click {target['value']}"] if rng.random() < 0.6 else []
        return choose(rng, _SET).format(name, target["value"]), progress, DONE, True
    wanted = _some_text(rng, usable)
    if wanted.lower() == target["value"].lower():
        return None
    return choose(rng, _SET).format(name, wanted), [], form.click(device, name, target["box"], size), False


def _scroll(rng: np.random.Generator, device: Device, usable: Sequence[Widget], size: tuple[int, int]) -> Task | None:
    instruction = choose(rng, _SCROLL)
    step = replace(form.scroll(device, ""), thought="Next is the rest of the page.")
    if rng.random() < 0.35:
        return instruction, [step.line], DONE, True
    return instruction, [], step, False


def _absent(
    rng: np.random.Generator, device: Device, widgets: Sequence[Widget], elsewhere: Sequence[Widget]
) -> Task | None:
    """Something of another screen: look further down, and give up where there is nothing further down."""
    shown = {w["label"].lower() for w in widgets} | {w["value"].lower() for w in widgets}
    absent = [w for w in _of(askable(elsewhere), *_PRESSABLE) if w["label"].lower() not in shown]
    if not absent:
        return None
    target = choose(rng, absent)
    template = choose(rng, _OPEN_TAB if target["kind"] == "tab" else _PRESS)
    step = form.scroll(device, target["label"])
    if rng.random() < 0.6:
        progress = [step.line] * int(rng.integers(0, 2)) + [step.line + NOTHING_CHANGED]
        return template.format(target["label"]), progress, IMPOSSIBLE, False
    return template.format(target["label"]), [step.line] * int(rng.integers(0, 3)), step, False


_TASKS: dict[Callable[..., Any], float] = {
    _press: 0.4,
    _press_two: 0.1,
    _toggle: 0.15,
    _type: 0.14,
    _set: 0.05,
    _scroll: 0.02,
    _absent: 0.14,
}
