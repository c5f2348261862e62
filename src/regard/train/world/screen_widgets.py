"""Write the HTML of single widgets, marked so that `browser` can read their truth from the DOM.

Every method returns markup. `data-k` names the kind (one of `KINDS`), `data-l` the widget's name where it is
not its own text, `data-v` its value, `data-on` and `data-off` the state of drawn controls, `data-r` says the
part may be removed when it does not fit (see `browser`).

Checkboxes, radio buttons, fields and selects come as real form controls or as drawn look-alikes; real fields and
selects get an invisible twin whose characters can be measured.
"""

from __future__ import annotations

from html import escape

import numpy as np

from regard.train.world.screen_labels import Labels
from regard.train.world.screen_theme import Theme

KINDS = (
    "button",
    "link",
    "text field",
    "checkbox",
    "radio button",
    "switch",
    "tab",
    "menu item",
    "list item",
    "dropdown",
    "slider",
    "heading",
    "text",
    "card",
    "dialog",
)

_ICON_PATHS = (
    "M7 2a5 5 0 1 0 .1 0M11 11l4 4",
    "M8 2v12M2 8h12",
    "M3 8l4 4 7-9",
    "M3 3l10 10M13 3L3 13",
    "M2 4h12M2 8h12M2 12h12",
    "M2 8l6-6 6 6M4 7v7h8V7",
    "M3 4h10l-1 11H4zM1 4h14M6 4V1h4v3",
    "M8 1l2 5h5l-4 3 2 6-5-4-5 4 2-6-4-3h5z",
    "M1 3h14v10H1zM1 3l7 6 7-6",
    "M4 2l9 6-9 6z",
    "M8 10V2M4 6l4 4 4-4M2 14h12",
    "M8 2a3 3 0 1 0 .1 0M2 15c0-8 12-8 12 0",
    "M2 6V2h5l2 2h5v10H2z",
    "M8 5a3 3 0 1 0 .1 0M8 1v2M8 13v2M1 8h2M13 8h2",
)


class Widgets:
    """Markup of widgets in one theme, with labels drawn for one screen."""

    def __init__(self, rng: np.random.Generator, labels: Labels, theme: Theme) -> None:
        self.rng = rng
        self.labels = labels
        self.theme = theme
        self._num_groups = 0

    def chance(self, share: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < share)

    def count(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def icon(self) -> str:
        """A small drawing without a name: a stroked sign, a square or a disc."""
        if self.chance(0.3):
            shape = self.rng.choice(["0", "3px", "50%"])
            return f'<i class="ico" style="background:currentColor;opacity:.6;border-radius:{shape}"></i>'
        path = _ICON_PATHS[self.count(0, len(_ICON_PATHS) - 1)]
        return f'<svg class="ico" viewBox="0 0 16 16"><path d="{path}"/></svg>'

    def ornament(self) -> str:
        """Something to see that is no widget and has no name: a picture, a progress bar, a badge, an avatar."""
        which = self.count(0, 3)
        if which == 0:
            tint, height = self.count(0, 359), self.count(20, 70)
            fill = f"linear-gradient({self.count(0, 359)}deg, hsl({tint} 50% 60%), hsl({tint + 60} 45% 40%))"
            return f'<div data-r style="height:{height}px;min-width:40px;background:{fill}"></div>'
        if which == 1:
            bar = f'<i style="display:block;height:100%;width:{self.count(5, 95)}%;background:var(--link)"></i>'
            return f'<div data-r style="height:6px;min-width:60px;background:var(--line)">{bar}</div>'
        if which == 2:
            return f'<span class="badge" data-r>{self.count(1, 99)}</span>'
        return f'<div data-r class="avatar">{self.initials()}</div>'

    def initials(self) -> str:
        """Two capital letters, as on an avatar."""
        return "".join(chr(65 + self.count(0, 25)) for _ in range(2))

    def button(self, look: str = "", label: str | None = None) -> str:
        """A push button; `look` is '', 'primary' or 'plain'."""
        text = escape(label or self.labels.take("button"))
        if self.theme.icons and self.chance(0.5):
            text = f"{self.icon()} {text}" if self.chance(0.8) else f"{text} {self.icon()}"
        off = self.chance(0.06)
        style = "off" if off else ""
        if self.chance(0.2) and not self.theme.native:
            flag = ' data-off="1"' if off else ""
            return f'<div class="btn {look} {style}" data-r data-k="button"{flag}>{text}</div>'
        return f'<button class="btn {look} {style}" data-r data-k="button"{" disabled" if off else ""}>{text}</button>'

    def link(self, category: str = "link") -> str:
        """A text link."""
        return f'<a href="#" data-r data-k="link">{escape(self.labels.take(category))}</a>'

    def heading(self, level: int = 1, text: str | None = None) -> str:
        """A heading of level 1 to 3."""
        words = escape(text or self.labels.take("heading"))
        return f'<h{level} data-r data-k="heading"><span>{words}</span></h{level}>'

    def text(self, num_words: int, look: str = "muted") -> str:
        """A paragraph of running text."""
        return f'<p class="{look}" data-r data-k="text">{escape(self.labels.sentence(num_words))}</p>'

    def field(self, *, placeholder_only: bool = False) -> str:
        """A text field with its label above, before, or as a placeholder; filled in or empty."""
        name = self.labels.take("field")
        as_placeholder = placeholder_only or self.chance(0.2)
        filled = not as_placeholder and self.chance(0.6)
        secret = filled and name.lower().endswith("password")
        value = "*" * self.count(5, 10) if secret else self.labels.value() if filled else ""
        hint = name if as_placeholder else self.labels.value() if not filled and self.chance(0.3) else ""
        box = self._field_box(name, value, hint)
        return f"<div data-r>{box}</div>" if as_placeholder else self._labelled(name, box)

    def dropdown(self) -> str:
        """A closed dropdown with its label and the chosen option."""
        name = self.labels.take("select")
        return self._labelled(name, self._dropdown_box(name))

    def checkbox(self) -> str:
        """A checkbox with its label; the box of truth holds both."""
        return self._check("checkbox", self.labels.take("toggle"), on=self.chance(0.5))

    def radios(self, num: int, look: str = "col") -> str:
        """A group of radio buttons, one of them chosen."""
        self._num_groups += 1
        chosen = self.count(0, num - 1)
        buttons = [
            self._check("radio button", self.labels.take("option", 16), on=i == chosen, group=f"g{self._num_groups}")
            for i in range(num)
        ]
        return f'<div class="{look}">{"".join(buttons)}</div>'

    def switch(self, name: str | None = None) -> str:
        """A switch alone; its name stands elsewhere in the row."""
        on = self.chance(0.5)
        label = escape(name or self.labels.take("toggle"))
        return f'<span class="switch {"on" if on else ""}" data-k="switch" data-l="{label}" data-on="{int(on)}"></span>'

    def slider(self, name: str) -> str:
        """A slider alone; its name stands elsewhere in the row."""
        at = self.count(0, 85)
        return (
            f'<span class="grow" style="padding: 4px 0" data-k="slider" data-l="{escape(name)}">'
            f'<span class="slider" style="display:block"><i style="left:{at}%"></i></span></span>'
        )

    def setting(self) -> str:
        """A row of a settings page: name on the left, control on the right."""
        kinds = ["switch", "value", "button", "box", "slider", "field", "dropdown"]
        which = str(self.rng.choice(kinds, p=[0.4, 0.12, 0.1, 0.12, 0.06, 0.11, 0.09]))
        category = {"field": "field", "dropdown": "select", "value": "select", "slider": "select"}.get(which, "toggle")
        name = self.labels.take(category)
        words = f"<span>{escape(name)}</span>"
        if self.chance(0.2):
            words = f'<span class="col" style="gap:0">{words}<span class="muted">{self._few_words()}</span></span>'
        if which == "value":
            value = escape(self.labels.take("option", 12))
            return (
                f'<div class="row spread" data-r data-k="list item" data-l="{escape(name)}" data-v="{value}">'
                f'{words}<span class="muted">{value}</span></div>'
            )
        control = {
            "switch": lambda: self.switch(name),
            "button": lambda: self.button("plain"),
            "box": lambda: self._lone_checkbox(name),
            "slider": lambda: self.slider(name),
            "field": lambda: self._half(self._field_box(name, self.labels.value() if self.chance(0.7) else "", "")),
            "dropdown": lambda: self._half(self._dropdown_box(name)),
        }[which]()
        return f'<div class="row spread" data-r="whole">{words}{control}</div>'

    def switch_line(self) -> str:
        """A switch directly beside its name."""
        name = self.labels.take("toggle")
        parts = [self.switch(name), f"<span>{escape(name)}</span>"]
        if self.chance(0.3):
            parts.reverse()
        return f'<div class="check" data-r="whole">{"".join(parts)}</div>'

    def tabs(self, num: int) -> str:
        """A row of tabs, one of them selected."""
        chosen = self.count(0, num - 1)
        parts = [
            f'<span class="tab {"sel" if i == chosen else ""}" data-r data-k="tab" data-on="{int(i == chosen)}">'
            f"{escape(self.labels.take('tab', 14))}</span>"
            for i in range(num)
        ]
        return f'<div class="row" style="gap:{self.count(0, 6)}px">{"".join(parts)}</div>'

    def items(self, num: int, *, category: str = "row", kind: str = "list item", rich: float = 0.3) -> str:
        """Rows of a list or entries of a menu; some carry a second line or a note on the right."""
        chosen = self.count(0, num - 1) if self.chance(0.4) else -1
        parts = []
        two_lines, noted = self.chance(rich), self.chance(rich)
        pictured, avatars = self.theme.icons and self.chance(0.7), self.chance(0.4)
        for i in range(num):
            name = self.labels.take(category)
            words = f"<span>{escape(name)}</span>"
            if two_lines:
                words = f'<span class="col" style="gap:0">{words}<span class="muted">{self._few_words()}</span></span>'
            if pictured:
                sign = f'<span class="avatar">{self.initials()}</span>' if avatars else self.icon()
                words = f'<span class="row">{sign}{words}</span>'
            note = f'<span class="muted">{escape(self._note(kind))}</span>' if noted and self.chance(0.7) else ""
            parts.append(
                f'<div class="item row spread {"sel" if i == chosen else ""}" data-r data-k="{kind}" '
                f'data-l="{escape(name)}" data-on="{int(i == chosen)}">{words}{note}</div>'
            )
        return f'<div class="{self.rng.choice(["lines", ""])}">{"".join(parts)}</div>'

    def card(self) -> str:
        """A card with a heading, a little text and perhaps a button or link."""
        name = self.labels.take("heading")
        action = self.button() if self.chance(0.5) else self.link() if self.chance(0.5) else ""
        return (
            f'<div class="panel pad col" data-r data-k="card" data-l="{escape(name)}">{self.heading(3, name)}'
            f'{self.text(self.count(2, 7))}<div class="row">{action}</div></div>'
        )

    def _few_words(self) -> str:
        return escape(self.labels.sentence(self.count(1, 3)))

    def _note(self, kind: str) -> str:
        if kind == "menu item":
            return f"{self.rng.choice(['Ctrl', 'Alt', 'Shift'])}+{chr(65 + self.count(0, 25))}"
        return str(self.count(1, 99)) if self.chance(0.5) else f"{self.count(0, 23)}:{self.count(0, 59):02d}"

    def _labelled(self, name: str, control: str) -> str:
        shown = escape(name) + str(self.rng.choice(["", ":", " *"], p=[0.75, 0.2, 0.05]))
        if self.theme.label_above:
            return f'<div data-r><div style="margin-bottom:2px">{shown}</div>{control}</div>'
        beside = f'<span style="white-space:nowrap">{shown}</span><div class="grow">{control}</div>'
        return f'<div class="row" data-r>{beside}</div>'

    def _half(self, control: str) -> str:
        return f'<div style="width:{self.count(35, 60)}%">{control}</div>'

    def _dropdown_box(self, name: str) -> str:
        chosen = escape(self.labels.take("option", 14))
        marks = f'data-k="dropdown" data-l="{escape(name)}" data-v="{chosen}"'
        if self.theme.native or self.chance(0.3):
            twin = f'<div class="box twin">{chosen}</div>'
            return f'<div class="host"><select class="box" {marks}><option>{chosen}</select>{twin}</div>'
        return f'<div class="box sel-box" {marks}>{chosen}</div>'

    def _field_box(self, name: str, value: str, hint: str) -> str:
        marks = f'data-k="text field" data-l="{escape(name)}" data-v="{escape(value)}"'
        shown = f'<span class="hint">{escape(hint)}</span>' if hint else escape(value) or "&nbsp;"
        if self.chance(0.4):
            attributes = f'value="{escape(value)}" placeholder="{escape(hint)}"'
            twin = f'<div class="box twin">{shown}</div>'
            return f'<div class="host"><input class="box" {attributes} {marks}>{twin}</div>'
        return f'<div class="box" {marks}>{shown}</div>'

    def _check(self, kind: str, name: str, *, on: bool, group: str = "") -> str:
        words = f"<span>{escape(name)}</span>"
        if self.theme.native_checks:
            form = "checkbox" if kind == "checkbox" else f'radio" name="{group}'
            control, state = f'<input type="{form}"{" checked" if on else ""}>', ""
        else:
            shape = "" if kind == "checkbox" else "round"
            control, state = f'<span class="mark {shape} {"on" if on else ""}"></span>', f'data-on="{int(on)}"'
        return f'<label class="check" data-r data-k="{kind}" {state}>{control}{words}</label>'

    def _lone_checkbox(self, name: str) -> str:
        on = self.chance(0.5)
        marks = f'data-k="checkbox" data-l="{escape(name)}"'
        if self.theme.native_checks:
            return f'<span class="check" {marks}><input type="checkbox"{" checked" if on else ""}></span>'
        return f'<span class="mark {"on" if on else ""}" {marks} data-on="{int(on)}"></span>'
