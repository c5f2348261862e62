"""What tasks over several pages are made of: moves, states, and the parts of pages that all of them use.

An `Episode` is a task with its states in order; each state has the page as it looks then and the move that leads to the
next one. The tasks are in `episode_pages` and `episode_forms`.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np

from regard.train.world.action_format import Device
from regard.train.world.sample import plain
from regard.train.world.screen_labels import Labels
from regard.train.world.screen_theme import Theme, make_theme
from regard.train.world.screen_widgets import Widgets
from regard.train.world.shapes import choose

CLOSING = ("No thanks", "Not now", "Close", "Cancel", "Later", "Maybe later", "Skip")


@dataclass(frozen=True)
class Move:
    """What is done in a state. `target`: kind and name of the widget; `name`: what is clicked, typed or looked for."""

    kind: str
    name: str = ""
    target: tuple[str, str] | None = None
    thought: str = ""
    action: str = ""

    @property
    def lines(self) -> list[str]:
        """The step as it is remembered."""
        line = plain(self.action) or {
            "click": f"Click {self.name}", "hold": f"Hold {self.name}", "type": f"Type {self.name}",
            "to slider": "Move to the slider", "drag": f"Drag to {self.name}", "answer": f"Answer {self.name}",
        }.get(self.kind, "")  # fmt: skip
        return [line] if line else []


DONE = Move("done")


@dataclass(frozen=True)
class State:
    """A page and what is done on it."""

    html: str
    move: Move


@dataclass(frozen=True)
class Episode:
    """A task for a device, its states in order, and the style sheet of its pages."""

    device: Device
    instruction: str
    states: tuple[State, ...]
    css: str
    can_be_covered: bool = True


def click(kind: str, name: str) -> Move:
    """Click a widget that shows its name."""
    return Move("click", name, (kind, name))


class Pages:
    """Draws episodes in one theme."""

    def __init__(self, rng: np.random.Generator, device: Device, theme: Theme, *, held_out: bool) -> None:
        self.rng, self.device = rng, device
        self.labels = Labels(rng, held_out=held_out)
        self.w = Widgets(rng, self.labels, theme)

    def take(self, category: str, max_chars: int = 16) -> str:
        return self.labels.take(category, max_chars)

    def names(self, num: int) -> list[str]:
        made: list[str] = []
        while len(made) < num:
            name = self.labels.word().title()
            if name not in made and len(name) < 10:
                made.append(name)
        return made

    def page(self, title: str, body: str, over: str = "") -> str:
        bar = (
            f'<div class="bar row pad" data-k="heading" data-l="{escape(title)}"><b>{escape(title)}</b></div>'
            if title
            else ""
        )
        return f'<div class="root">{bar}<div class="col pad grow" style="min-height:0">{body}</div>{over}</div>'

    def button(self, name: str, look: str = "primary", label: str = "") -> str:
        marked = f' data-l="{escape(label)}"' if label else ""
        return f'<button class="btn {look}" data-k="button"{marked}>{escape(name)}</button>'

    def field(self, name: str, value: str = "", *, is_active: bool = False, is_secret: bool = False) -> str:
        outline = ' style="outline:2px solid var(--link)"' if is_active else ""
        shown = escape(value) or "&nbsp;"
        if is_secret and value:
            dots = "".join(
                '<i style="display:inline-block;width:5px;height:5px;margin-right:4px;border-radius:50%;'
                'background:currentColor"></i>'
                for _ in range(8)
            )
            shown = f"{dots}&nbsp;"
        marks = f'data-k="text field" data-l="{escape(name)}" data-v="{escape("" if is_secret else value)}"'
        return (
            f'<div><div style="margin-bottom:2px">{escape(name)}</div><div class="box" {marks}{outline}>'
            f"{shown}</div></div>"
        )


def dialog_over(w: Widgets, closing: str) -> str:
    other = w.labels.take("button", 12)
    left, top = w.count(4, 30), w.count(15, 40)
    buttons = "".join(
        f'<button class="btn {"plain" if i else "primary"}" data-k="button">{escape(n)}</button>'
        for i, n in enumerate((other, closing))
    )
    return (
        '<div class="veil"></div>'
        f'<div class="panel pad col lift" data-over style="position:absolute;left:{left}%;top:{top}%;'
        f"max-width:{96 - left}%;"
        f'min-width:50%;background:var(--page)">{w.heading(2)}{w.text(5, "")}<div class="row">{buttons}</div></div>'
    )


def close_dialog(rng: np.random.Generator, html: str, *, held_out: bool) -> tuple[str, Move]:
    """The page with a dialog over it that nobody mentioned, and the move that closes it."""
    theme = make_theme(rng, 360, 400, held_out=held_out)
    closing = str(choose(rng, CLOSING))
    dialog = dialog_over(Widgets(rng, Labels(rng, held_out=held_out), theme), closing)
    return html.removesuffix("</div>") + dialog + "</div>", click("button", closing)
