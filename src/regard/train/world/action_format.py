"""How the agent asks for one step, and how the step is written: the family's prompt and answer, and nothing else.

    system      You operate a computer with computer_use. ...
    user        <picture>The user query: Open Settings.
                Task progress (You have done the following operation on the current device): Step 1: ...; .
    assistant   Thought: Next is "Settings".
                Action: "Click Settings"
                <tool_call>
                {"name": "computer_use", "arguments": {"action": "left_click", "coordinate": [447, 81]}}
                </tool_call>

The words are those of `apps/agent/prompts.py` in its brief style (a test compares them): the applications stand above
the rendered world, so it cannot be imported.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from PIL import Image as PILImage

from regard.messages import Image, Message, Text
from regard.train.world.sample import DenseTruth, Sample, plain, verbatim

Device = Literal["computer", "phone"]

TOOLS: dict[Device, str] = {"computer": "computer_use", "phone": "mobile_use"}
SYSTEM: dict[Device, str] = {
    "computer": "You operate a computer with computer_use. The screen is 1000x1000. "
    "Answer with Thought, Action and one <tool_call>.",
    "phone": "You operate a phone with mobile_use. The screen is 1000x1000. "
    "Answer with Thought, Action and one <tool_call>.",
}
SECOND_LOOK = "Is the task done? Answer yes or no."
NOTHING_CHANGED = " (nothing changed)"


@dataclass(frozen=True)
class Step:
    """One step: what the model says and calls. `arguments` may hold marked texts; `box`: where the pointer must be."""

    thought: str
    action: str
    arguments: dict[str, Any] = field(default_factory=dict)
    box: tuple[float, float, float, float] | None = None

    @property
    def line(self) -> str:
        """The step as later steps remember it."""
        return plain(self.action)


def read(text: str) -> str:
    """Text that stands on the screen, marked as such."""
    return verbatim(text)


def thousandths(x: float, y: float, size: tuple[int, int]) -> list[int]:
    """A point in pixels in the model's units."""
    return [min(max(round(1000 * x / size[0]), 0), 1000), min(max(round(1000 * y / size[1]), 0), 1000)]


def point_at(box: Sequence[float], size: tuple[int, int]) -> list[int]:
    """The middle of a box."""
    return thousandths((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, size)


def click(device: Device, name: str, box: Sequence[float], size: tuple[int, int]) -> Step:
    """Click what is called `name` on the screen."""
    press = "left_click" if device == "computer" else "click"
    arguments = {"action": press, "coordinate": point_at(box, size)}
    return Step(f'Next is "{read(name)}".', f"Click {read(name)}", arguments, _box(box))


def click_as(device: Device, thought: str, action: str, box: Sequence[float], size: tuple[int, int]) -> Step:
    """A click whose target has no name of its own."""
    press = "left_click" if device == "computer" else "click"
    return Step(thought, action, {"action": press, "coordinate": point_at(box, size)}, _box(box))


def hold(name: str, box: Sequence[float], size: tuple[int, int]) -> Step:
    """Hold what is called `name` (phone)."""
    arguments = {"action": "long_press", "coordinate": point_at(box, size), "time": 1}
    return Step(f'Next is "{read(name)}".', f"Hold {read(name)}", arguments, _box(box))


def type_text(text: str) -> Step:
    """Type into the field that was clicked."""
    marked = read(text)
    return Step("The field is ready.", f"Type {marked}", {"action": "type", "text": marked})


def to_slider(device: Device, box: Sequence[float], size: tuple[int, int]) -> Step:
    """Move to the thumb of a slider."""
    arguments = {"action": "mouse_move", "coordinate": point_at(box, size)}
    return Step("Next is the slider.", "Move to the slider", arguments, _box(box))


def drag_to(value: str, box: Sequence[float], size: tuple[int, int]) -> Step:
    """Drag the slider's thumb to `value`, which lies in the middle of `box`."""
    arguments = {"action": "left_click_drag", "coordinate": point_at(box, size)}
    return Step("The mouse is on the slider.", f"Drag to {read(value)}", arguments, _box(box))


def scroll(device: Device, name: str) -> Step:
    """Scroll on, because `name` is not on the screen."""
    thought = f'"{read(name)}" is not on the screen.'
    if device == "computer":
        return Step(thought, "Scroll down", {"action": "scroll", "coordinate": [500, 500], "pixels": -300})
    return Step(thought, "Swipe up", {"action": "swipe", "coordinate": [500, 750], "coordinate2": [500, 250]})


def answer(text: str) -> Step:
    """Answer with what the screen shows."""
    marked = read(text)
    return Step("The screen shows it.", f"Answer {marked}", {"action": "answer", "text": marked})


def back() -> Step:
    """Leave a page that does not help (phone)."""
    return Step("This is the wrong page.", "Go back", {"action": "system_button", "button": "Back"})


def press_enter() -> Step:
    """Send a text that was typed (computer)."""
    return Step("The text is complete.", "Press Enter", {"action": "key", "keys": ["enter"]})


def wait() -> Step:
    """Wait for a page that is loading."""
    return Step("The page is loading.", "Wait", {"action": "wait", "time": 1})


DONE = Step("The task is done.", "Finish", {"action": "terminate", "status": "success"})
IMPOSSIBLE = Step("This cannot be done.", "Give up", {"action": "terminate", "status": "failure"})


def question(instruction: str, progress: Sequence[str]) -> str:
    """The user's text: the task and the steps already taken, each as its action line."""
    steps = "".join(f"Step {number}: {step}; " for number, step in enumerate(progress, start=1))
    return (
        f"The user query: {instruction.removesuffix('.')}.\n"
        f"Task progress (You have done the following operation on the current device): {steps}.\n"
    )


def written(device: Device, step: Step) -> str:
    """The answer, with what is read off the screen marked."""
    call = json.dumps({"name": TOOLS[device], "arguments": step.arguments}, ensure_ascii=False)
    # The marks are control characters, which JSON escapes.
    call = call.replace("\\u0001", "\u0001").replace("\\u0002", "\u0002")
    return f'Thought: {step.thought}\nAction: "{step.action}"\n<tool_call>\n{call}\n</tool_call>'


def sample(
    device: Device,
    picture: PILImage.Image,
    instruction: str,
    progress: Sequence[str],
    step: Step,
    dense: DenseTruth | None,
) -> Sample:
    """One step of a task as a conversation. truth: device, action, arguments (plain), box, width, height."""
    arguments = {key: plain(value) if isinstance(value, str) else value for key, value in step.arguments.items()}
    truth: dict[str, Any] = {
        "form": "step",
        "device": device,
        "action": arguments["action"],
        "arguments": arguments,
        "width": picture.width,
        "height": picture.height,
        "instruction": instruction,
    }
    if step.box is not None:
        truth["box"] = list(step.box)
    messages = (
        Message("system", (Text(SYSTEM[device]),)),
        Message("user", (Image(picture), Text(question(instruction, progress)))),
        Message("assistant", (Text(written(device, step)),)),
    )
    return Sample("actions", messages, truth, dense)


def second_look(
    device: Device,
    picture: PILImage.Image,
    instruction: str,
    progress: Sequence[str],
    *,
    is_done: bool,
    dense: DenseTruth | None,
) -> Sample:
    """The question behind the last step: whether the picture shows that the task is done."""
    truth = {
        "form": "done",
        "device": device,
        "answer": "yes" if is_done else "no",
        "width": picture.width,
        "height": picture.height,
        "instruction": instruction,
    }
    messages = (
        Message("system", (Text(SYSTEM[device]),)),
        Message("user", (Image(picture), Text(question(instruction, progress) + SECOND_LOOK))),
        Message("assistant", (Text("Yes." if is_done else "No."),)),
    )
    return Sample("actions", messages, truth, dense)


def _box(box: Sequence[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    return x1, y1, x2, y2
