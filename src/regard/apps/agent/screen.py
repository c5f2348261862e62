"""What the agent operates: a `Screen` has two methods, `capture()` and `act(action)`.

    capture = screen.capture()           # a picture and what is known beside it
    screen.act(Action("click", 320, 200))

Points of an `Action` are pixels of the newest capture's picture; a screen whose input speaks another unit (a scaled
desktop, a page at device scale 2) divides by its scale itself. Text arrives as it is to be typed.

A screen that knows what lies under a point may say so (`KnowsElements`): the policy judges an action by the element
that it would reach, never by what the model says about it. Without that knowledge every action counts as unknown,
which the policy asks the user about.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from regard.errors import RegardError

if TYPE_CHECKING:
    from PIL.Image import Image

Device = Literal["computer", "phone"]
ActionKind = Literal[
    "click",
    "double_click",
    "triple_click",
    "right_click",
    "middle_click",
    "long_press",
    "move",
    "drag",
    "scroll",
    "hscroll",
    "type",
    "key",
    "button",
    "wait",
    "answer",
    "terminate",
]
PRESSES = frozenset({"click", "double_click", "triple_click", "right_click", "middle_click", "long_press"})
HARMLESS = frozenset({"move", "scroll", "hscroll", "wait", "answer", "terminate"})  # they change nothing by themselves


class ScreenError(RegardError):
    """The screen could not be seen or an action could not be done; the agent goes on and tells the model."""


@dataclass(frozen=True)
class Action:
    """One thing to do. x, y, x2, y2 in pixels of the capture; None where the action has no such point.

    drag      from (x, y), or from where the pointer is, to (x2, y2)
    scroll    `pixels` of the picture, positive is up (hscroll: left)
    type      `text`; key: `keys`, pressed in order; button: Back, Home, Menu or Enter of a phone
    wait      `seconds`, also of a long press; answer: `text`; terminate: `status`
    """

    kind: ActionKind
    x: float | None = None
    y: float | None = None
    x2: float | None = None
    y2: float | None = None
    text: str = ""
    keys: tuple[str, ...] = ()
    pixels: float = 0
    seconds: float = 0
    button: str = ""
    status: str = ""

    @property
    def is_harmless(self) -> bool:
        """Whether it cannot change anything, whatever lies under it."""
        return self.kind in HARMLESS

    def in_words(self) -> str:
        """One line for people."""
        point = "" if self.x is None or self.y is None else f" at ({self.x:.0f}, {self.y:.0f})"
        end = "" if self.x2 is None or self.y2 is None else f" to ({self.x2:.0f}, {self.y2:.0f})"
        detail = {
            "type": f" {self.text!r}",
            "answer": f" {self.text!r}",
            "key": f" {'+'.join(self.keys)}",
            "button": f" {self.button}",
            "wait": f" {self.seconds:g} s",
            "terminate": f" with {self.status}",
            "scroll": f" {'up' if self.pixels > 0 else 'down'} {abs(self.pixels):.0f} px",
            "hscroll": f" {'left' if self.pixels > 0 else 'right'} {abs(self.pixels):.0f} px",
        }.get(self.kind, "")
        return f"{self.kind.replace('_', ' ')}{point}{end}{detail}"


@dataclass(frozen=True)
class Capture:
    """The screen as it is now.

    `image` is RGB, with everything secret painted over. `location` is a URL or the like; `notes` say what happened
    beside the picture since the last capture (a new tab, a download, a navigation that was stopped).
    """

    image: Image
    device: Device = "computer"
    location: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """The element that an action would reach.

    `role` is its tag or class, `text` what a person reads on it, `words` everything that names it (labels, titles,
    identifiers, what the form around it sends); `url` where a press would lead, `location` the page that it is on.
    `box` is (x1, y1, x2, y2) in pixels of the capture.
    """

    role: str
    text: str = ""
    words: str = ""
    url: str = ""
    location: str = ""
    is_password: bool = False
    is_field: bool = False
    sends: bool = False
    pays: bool = False
    downloads: bool = False
    opens_files: bool = False
    box: tuple[float, float, float, float] | None = None
    extra: tuple[str, ...] = field(default=())  # further locations that a press would send to

    def in_words(self) -> str:
        """One phrase for people."""
        names = [name for name in (self.text, *self.words.splitlines()) if name.strip()]
        name = " ".join(names[0].split())[:60] if names else ""
        return f'{self.role} "{name}"' if name else self.role


@runtime_checkable
class Screen(Protocol):
    """Something that can be looked at and acted on."""

    def capture(self) -> Capture:
        """Look. Errors: ScreenError if there is nothing to see."""

    def act(self, action: Action) -> None:
        """Do one action. Errors: ScreenError if it cannot be done here."""


@runtime_checkable
class KnowsElements(Protocol):
    """A screen that can say what an action would reach."""

    def targets(self, action: Action) -> tuple[Target, ...]:
        """The elements at the action's points, or the one with the keyboard's focus; may move the pointer there."""
