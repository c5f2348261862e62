"""What is asked about a window of a clip, and what in it the questions look at.

An `ask_...` function takes a window and returns (question, answer, truth, clues), or None if this window has no
clear answer of that kind. It draws nothing and does not choose what happens: that is `clip_windows`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from regard.train.world.clips import GROUP_FRAMES, Word
from regard.train.world.sample import Area, Clue, plain, verbatim
from regard.train.world.shapes import COLOURS, SHAPES, Background, Shape, choose, with_article

EVENTS = (
    "Localize a series of activity events in the video, output the start and end timestamp for each event, and "
    "describe each event with sentences. Provide the result in json format with 'mm:ss.ff' format for time depiction."
)
QUERY = "Give the query: '{}', when does the described content occur in the video?"
DESCRIBE = "Briefly describe the video."
NOTHING = "Nothing happens."
_WHAT = ("What appears at {} seconds?", "What appears at {} seconds?", "What is new at {} seconds?")
_SHOWN = ("What is shown at {} seconds?", "What is shown at {} seconds?", "What can be seen at {} seconds?")
_NUMBER = ("How many shapes are there at {} seconds?", "How many shapes are shown at {} seconds?")
_WHEN = {
    "appear": "When does the {} appear?",
    "disappear": "When does the {} disappear?",
    "turn": "When does the {} turn {}?",
}
_MAX_SHOWN = 3

Look = Shape | Word
Asked = tuple[str, str, dict[str, Any], tuple[Clue, ...]]  # question, answer, truth, what the answer is about


@dataclass(frozen=True)
class Event:
    """Something that happens from frame `first` to frame `last`; the sentence says what."""

    kind: str
    first: int
    last: int
    sentence: str
    thing: Look
    colour: str = ""


@dataclass(frozen=True)
class Thing:
    """Something in the picture: its look in every frame, None where it is not there."""

    looks: tuple[Look | None, ...]
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Window:
    """Frames and all that happens in them; `things` are those whose changes or presence can be asked for."""

    size: tuple[int, int]
    num_frames: int
    fps: float
    background: Background
    things: tuple[Thing, ...]
    clutter: tuple[Shape, ...]  # cut by the border; nobody asks for them

    @property
    def events(self) -> list[Event]:
        """In order of time."""
        return sorted((event for thing in self.things for event in thing.events), key=lambda event: event.first)

    def at(self, frame: int) -> list[Look]:
        """What can be named in a frame, from left to right."""
        return sorted((look for t in self.things if (look := t.looks[frame]) is not None), key=lambda look: look.x)

    def seconds(self, frame: int) -> float:
        return frame / self.fps

    def area(self, look: Look, frame: int) -> Area:
        """Where something is, in the group of a frame."""
        x1, y1, x2, y2 = look.box
        box = x1 / self.size[0], y1 / self.size[1], x2 / self.size[0], y2 / self.size[1]
        return Area(box, frame // GROUP_FRAMES)

    def areas(self, event: Event) -> tuple[Area]:
        """Where an event begins."""
        return (self.area(event.thing, event.first),)


def name_of(look: Look) -> str:
    """Like "red circle" or "word STOP"; words are marked as read."""
    return look.label if isinstance(look, Shape) else f"word {verbatim(look.text)}"


def clock(seconds: float) -> str:
    """2.5 -> '00:02.50'."""
    return f"{int(seconds // 60):02d}:{seconds % 60:05.2f}"


def _ask_events(rng: np.random.Generator, window: Window) -> Asked:
    events = window.events
    fields = [f'"{clock(window.seconds(e.first))} - {clock(window.seconds(e.last))}": "{e.sentence}"' for e in events]
    truth = [
        {"start": window.seconds(e.first), "end": window.seconds(e.last), "sentence": plain(e.sentence)} for e in events
    ]
    clues = []
    for e in events:
        last = next(t for t in window.things if e in t.events).looks[e.last] or e.thing
        clues += [
            Clue(clock(window.seconds(e.first)), window.areas(e)),
            Clue(clock(window.seconds(e.last)), (window.area(last, e.last),)),
            Clue(plain(e.sentence), window.areas(e)),
        ]
    return EVENTS, "{" + ", ".join(fields) + "}", {"kind": "events", "events": truth}, tuple(clues)


def _ask_describe(rng: np.random.Generator, window: Window) -> Asked:
    """One sentence for each kind of event that is common, one for each other."""
    events = window.events[:3]
    sentences = [e.sentence[0].upper() + e.sentence[1:] + "." for e in events]
    clues = tuple(Clue(plain(sentence), window.areas(e)) for sentence, e in zip(sentences, events, strict=True))
    truth = {"kind": "describe", "answer": [plain(sentence) for sentence in sentences]}
    return DESCRIBE, " ".join(sentences) or NOTHING, truth, clues


def _ask_when(rng: np.random.Generator, window: Window) -> Asked | None:
    """The moment of a change; one in four asks for something that does not happen."""
    changes = [e for e in window.events if e.kind in _WHEN]
    if rng.random() < 0.3 or not changes:
        return _ask_never(rng, window)
    event = choose(rng, changes)
    if sum(e.sentence == event.sentence for e in window.events) > 1:
        return None
    time_s = window.seconds(event.first)
    truth = {"kind": "window when", "time_s": time_s}
    if rng.random() < 0.5:
        question = _WHEN[event.kind].format(plain(name_of(event.thing)), event.colour)
    else:
        question = QUERY.format(plain(event.sentence))
    areas = window.areas(event)
    clue = Clue(f"{time_s:.1f}", areas, ((plain(name_of(event.thing)), areas),))
    return question, f"{time_s:.1f} seconds", truth, (clue,)


def _ask_never(rng: np.random.Generator, window: Window) -> Asked | None:
    colour, name = choose(rng, COLOURS), choose(rng, SHAPES)
    static = [t.looks[0] for t in window.things if not t.events and isinstance(t.looks[0], Shape)]
    is_there = bool(static) and rng.random() < 0.5  # all the time
    thing = choose(rng, static).label if is_there else f"{colour} {name}"
    kind = choose(rng, ("appear", "appear", "disappear"))
    happens = {plain(event.sentence) for event in window.events}
    sentence = f"{with_article(thing)} appears" if kind == "appear" else f"the {thing} disappears"
    if sentence in happens or any(e.kind == "turn" and f"{e.colour} {name}" == thing for e in window.events):
        return None
    question = _WHEN[kind].format(thing, "") if rng.random() < 0.5 else QUERY.format(sentence)
    return question, "never", {"kind": "window when", "time_s": None}, (Clue("never", names=((thing, ()),)),)


def _ask_what(rng: np.random.Generator, window: Window) -> Asked | None:
    appearing = [event for event in window.events if event.kind == "appear"]
    if not appearing:
        return None
    event = choose(rng, appearing)
    time = f"{window.seconds(event.first):.1f}"
    name = name_of(event.thing)
    answer = f"the {name}" if isinstance(event.thing, Word) else with_article(name)
    clue = Clue(plain(name), window.areas(event), ((time, window.areas(event)),))
    return choose(rng, _WHAT).format(time), answer, {"kind": "what", "answer": plain(name)}, (clue,)


def _ask_shown(rng: np.random.Generator, window: Window) -> Asked | None:
    frame = int(rng.integers(window.num_frames))
    looks = window.at(frame)
    if len(looks) > _MAX_SHOWN or (window.clutter and rng.random() < 0.5):
        return None
    named = [f"the {name_of(look)}" if isinstance(look, Word) else with_article(name_of(look)) for look in looks]
    answer = named[0] if len(named) == 1 else ", ".join(named[:-1]) + " and " + named[-1] if named else "nothing"
    names = [plain(name_of(look)) for look in looks]
    time, areas = f"{window.seconds(frame):.1f}", [window.area(look, frame) for look in looks]
    asked = ((time, tuple(areas)),)
    clues = tuple(Clue(name, (area,), asked) for name, area in zip(names, areas, strict=True))
    return choose(rng, _SHOWN).format(time), answer, {"kind": "shown", "things": names}, clues


def _ask_number(rng: np.random.Generator, window: Window) -> Asked | None:
    if window.clutter:
        return None  # whether what is cut counts would be a guess
    frame = int(rng.integers(window.num_frames))
    areas = tuple(window.area(look, frame) for look in window.at(frame) if isinstance(look, Shape))
    time, answer = f"{window.seconds(frame):.1f}", str(len(areas))
    clue = Clue(answer, areas, ((time, areas),))
    return choose(rng, _NUMBER).format(time), answer, {"kind": "count", "count": len(areas)}, (clue,)


ASKS: dict[Callable[[np.random.Generator, Window], Asked | None], float] = {
    _ask_events: 0.34,
    _ask_when: 0.24,
    _ask_what: 0.14,
    _ask_shown: 0.14,
    _ask_number: 0.06,
    _ask_describe: 0.08,
}
