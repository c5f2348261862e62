"""Doing a recorded run again without the model, and saying where it went another way.

    replayed = replay(Path("run"), screen, guard=guard)
    replayed.is_equal, replayed.differences

Every action that was done is judged and done again, at the same place. It is only done if the element there is the one
that the trace names; the first other element, refusal or failure ends the replay. Pictures are compared with the
recorded ones where those have the same size; a clock on the page is enough to make them differ, so a difference in
pixels alone is told and does not end anything.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from regard.apps.agent.agent import action_from_json
from regard.apps.agent.guard import Guard
from regard.apps.agent.screen import Capture, KnowsElements, Screen, ScreenError
from regard.apps.agent.trace import read_trace
from regard.apps.agent.watch import SAME_SHARE, difference, settle
from regard.apps.result import Result

SETTLE_S = 3.0


class ReplayResult(Result):
    """How a replay went: whether all was as recorded, the steps done, and each difference in a sentence."""

    task: str
    is_equal: bool
    is_complete: bool
    num_steps: int
    differences: tuple[str, ...] = ()


def replay(
    folder: Path, screen: Screen, *, guard: Guard | None = None, on_step: Callable[[int, str], None] | None = None
) -> ReplayResult:
    """Replay a trace on a screen that stands where the recorded one began. Errors: InputError for a damaged trace."""
    guard = guard or Guard()
    lines = list(read_trace(folder))
    task = str(next((line["task"] for line in lines if line.get("kind") == "start"), ""))
    steps = [line for line in lines if line.get("kind") == "step" and line.get("action")]
    differences: list[str] = []
    num_done = 0
    is_complete = True
    capture, _ = settle(screen, SETTLE_S)
    for step in steps:
        differences += _looks_other(folder, step, capture)
        if step["outcome"] != "done":
            continue
        problem = _do_again(step, screen, guard)
        if on_step is not None:
            on_step(int(step["number"]), problem or str(step.get("words", "")))
        if problem:
            differences.append(f"step {step['number']}: {problem}")
            is_complete = False
            break
        num_done += 1
        capture, _ = settle(screen, SETTLE_S)
    return ReplayResult(
        task=task, is_equal=not differences, is_complete=is_complete, num_steps=num_done, differences=tuple(differences)
    )


def start_of(folder: Path) -> tuple[str, dict[str, Any]]:
    """Where a trace was recorded, as `--on` takes it, and the options of `open_screen`. Errors: InputError."""
    start: dict[str, Any] = next((line for line in read_trace(folder) if line.get("kind") == "start"), {})
    options = dict(start.get("screen") or {})
    if "viewport" in options:
        options["viewport"] = tuple(options["viewport"])
    return str(start.get("on", "")), options


def _looks_other(folder: Path, step: dict[str, Any], capture: Capture) -> list[str]:
    path = folder / str(step.get("screenshot") or "")
    if not path.is_file():
        return []
    share = difference(Image.open(path).convert("RGB"), capture.image)
    if share <= SAME_SHARE:
        return []
    return [f"step {step['number']}: {share:.1%} of the pixels differ from the recorded picture"]


def _do_again(step: dict[str, Any], screen: Screen, guard: Guard) -> str:
    """Do a step's action; a sentence if it cannot or must not be done."""
    action = action_from_json(step["action"])
    targets = None
    if isinstance(screen, KnowsElements):
        with suppress(ScreenError):
            targets = screen.targets(action)
    if targets is not None:
        here = guard.secrets.mask(" and ".join(target.in_words() for target in targets))
        if here != step.get("target", ""):
            return f"at this place is {here or 'nothing'}, recorded was {step.get('target') or 'nothing'}"
    ruling = guard.rule(action, targets)
    if ruling.leave != "do":
        return f"{action.in_words()} was {ruling.leave}: {ruling.verdict.reason}"
    try:
        screen.act(replace(action, text=guard.secrets.fill(action.text)))
    except ScreenError as error:
        return guard.secrets.mask(str(error))
    return ""
