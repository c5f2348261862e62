"""Tasks over several pages, as an agent meets them: one step of each, on the page as it then looks.

    build_bank(Path("episodes"), count=2000, seed=1, held_out=False, kind=EPISODES)
    sample = episode_turns(rng, bank=ScreenBank(Path("episodes")), num_turns=3)

`episode_pages` draws a task with all its states; here one state is chosen, rendered, and asked about: the next step, or
whether the task is done. Pages in which the last click missed look as before, and the step is taken again; a dialog
that nobody mentioned is closed first. Later turns of a conversation are other tasks on the same picture (`actions`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from regard.train.world import action_format as form
from regard.train.world.action_format import DONE, NOTHING_CHANGED, Device, Step
from regard.train.world.actions import ask_action
from regard.train.world.browser import RenderedScreen, ScreenPage
from regard.train.world.episode_pages import make_episode
from regard.train.world.episode_parts import Move, close_dialog
from regard.train.world.sample import Sample
from regard.train.world.screens import BankKind, Screen, ScreenBank
from regard.train.world.turns import join

SIZES: dict[Device, tuple[int, int]] = {"computer": (640, 400), "phone": (360, 640)}
_MISSED_SHARE, _DIALOG_SHARE, _LOOK_SHARE = 0.1, 0.08, 0.12


def make_state(rng: np.random.Generator, *, held_out: bool) -> tuple[ScreenPage, dict[str, Any]]:
    """One state of one episode, and in `extra` what an agent does in it."""
    episode = make_episode(rng, SIZES, held_out=held_out)
    index = int(rng.integers(len(episode.states)))
    state = episode.states[index]
    progress = [line for past in episode.states[:index] for line in past.move.lines]
    move, html = state.move, state.html
    if move.target and move.kind != "type" and rng.random() < _MISSED_SHARE:
        progress = [*progress, move.lines[0] + NOTHING_CHANGED]
    elif move.kind == "click" and episode.can_be_covered and rng.random() < _DIALOG_SHARE:
        html, move = close_dialog(rng, html, held_out=held_out)
    extra = {
        "device": episode.device,
        "instruction": episode.instruction,
        "progress": progress,
        "move": asdict(move),
        "is_last": move.kind == "done",
    }
    return ScreenPage(*SIZES[episode.device], html, episode.css), extra


def _is_good(screen: RenderedScreen, extra: dict[str, Any]) -> bool:
    target = extra["move"]["target"]
    return not target or _target(screen.widgets, target) is not None


EPISODES = BankKind("episodes", 1, make_state, _is_good)


def _target(widgets: Sequence[dict[str, Any]], target: Sequence[str]) -> dict[str, Any] | None:
    """The only widget of a kind and name."""
    found = [widget for widget in widgets if [widget["kind"], widget["label"]] == list(target)]
    return found[0] if len(found) == 1 else None


def step_of(screen: Screen) -> Step:
    """What an agent does in this state."""
    extra, size = screen.extra, screen.image.size
    move, device = Move(**extra["move"]), extra["device"]
    widget = _target(screen.widgets, move.target) if move.target else None
    box = widget["box"] if widget else (0.0, 0.0, 0.0, 0.0)
    makers: dict[str, Callable[[], Step]] = {
        "click": lambda: (
            form.click_as(device, move.thought, move.action, box, size)
            if move.thought
            else form.click(device, move.name, box, size)
        ),
        "hold": lambda: form.hold(move.name, box, size),
        "type": lambda: form.type_text(move.name),
        "to slider": lambda: form.to_slider(device, box, size),
        "drag": lambda: form.drag_to(move.name, box, size),
        "scroll": lambda: form.scroll(device, move.name),
        "answer": lambda: form.answer(move.name),
        "done": lambda: DONE,
    }
    return makers[move.kind]()


def ask_episode(rng: np.random.Generator, screen: Screen) -> Sample:
    """The next step in this state; now and then whether the task is done."""
    extra = screen.extra
    device, instruction, progress = extra["device"], extra["instruction"], extra["progress"]
    if rng.random() < _LOOK_SHARE and extra["move"]["kind"] != "answer":
        is_done = extra["is_last"]
        return form.second_look(device, screen.image, instruction, progress, is_done=is_done, dense=screen.dense)
    return form.sample(device, screen.image, instruction, progress, step_of(screen), screen.dense)


def episode_turns(rng: np.random.Generator, *, bank: ScreenBank, num_turns: int) -> Sample:
    """The step of the episode, then simple tasks on the same picture."""
    screen = bank.screen(int(rng.integers(len(bank))))
    elsewhere = bank.widgets(int(rng.integers(len(bank))))
    device: Device = screen.extra["device"]
    more = [
        ask_action(rng, screen.image, screen.widgets, elsewhere, screen.dense, device) for _ in range(num_turns - 1)
    ]
    return join([ask_episode(rng, screen), *more])
