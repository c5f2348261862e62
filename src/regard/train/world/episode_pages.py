"""Pages of small tasks in every state: menus of rows, log-in, nested settings, forms, tables, sliders, dialogs, lists.

An `Episode` is a task with its states in order; each state has the page as it looks then and the move that leads to the
next one. The layouts are not those of the example pages, and the words are drawn; nothing is rendered here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape

import numpy as np

from regard.train.world.action_format import Device
from regard.train.world.sample import plain, verbatim
from regard.train.world.screen_labels import Labels
from regard.train.world.screen_theme import Theme, make_theme
from regard.train.world.screen_widgets import Widgets
from regard.train.world.shapes import choose

_MENU = ("Mute", "Archive", "Delete", "Rename", "Share", "Copy link", "Mark as read")
_CLOSING = ("No thanks", "Not now", "Close", "Cancel", "Later", "Maybe later", "Skip")


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


class _Pages:
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
                '<i style="display:inline-block;width:5px;height:5px;margin-right:4px;border-radius:50%;background:currentColor"></i>'
                for _ in range(8)
            )
            shown = f"{dots}&nbsp;"
        marks = f'data-k="text field" data-l="{escape(name)}" data-v="{escape("" if is_secret else value)}"'
        return f'<div><div style="margin-bottom:2px">{escape(name)}</div><div class="box" {marks}{outline}>{shown}</div></div>'

    # --- tasks --------------------------------------------------------------------------------------------------

    def menu_of_row(self) -> tuple[str, list[State]]:
        """An entry of a row's menu; on phones also by holding the row."""
        what = str(choose(self.rng, ("chat", "mail", "file")))
        names = self.names(5)
        pinned, wanted = int(self.rng.integers(5)), int(self.rng.integers(5))
        is_unpin = self.rng.random() < 0.5
        entry = "Unpin" if is_unpin else str(choose(self.rng, _MENU))
        wanted = pinned if is_unpin else wanted
        name = names[wanted]
        joint = {"chat": "with", "mail": "from", "file": "called"}[what]
        instruction = f"Unpin the pinned {what}" if is_unpin else f"{entry} the {what} {joint} {name}"
        holds = self.device == "phone" and self.rng.random() < 0.3
        texts, times = (
            [self.labels.sentence(2) for _ in names],
            [f"{self.w.count(0, 23)}:{self.w.count(10, 59)}" for _ in names],
        )
        title = self.take("heading")
        others = [str(e) for e in self.rng.permutation(_MENU)[:3] if e != entry]
        entries = [*others[:2], entry, *others[2:]]

        def rows(unpinned: bool = False, gone: bool = False) -> str:
            made = []
            for i, (row, text, time) in enumerate(zip(names, texts, times, strict=True)):
                if gone and i == wanted:
                    continue
                mark = '<small style="color:var(--link)">Pinned</small>' if i == pinned and not unpinned else ""
                dots = (
                    ""
                    if holds
                    else (
                        f'<span data-k="button" data-l="Menu of {row}" style="padding:4px 8px;line-height:.4;font-size:22px">'
                        '<i style="font-style:normal;display:block">.</i>'
                        + '<i style="font-style:normal;display:block">.</i>' * 2
                        + "</span>"
                    )
                )
                made.append(
                    f'<div class="item row spread" data-k="list item" data-l="{row}"><span class="row"><span class="avatar">{row[0]}</span>'
                    f'<span><b>{row}</b><br><span class="muted">{escape(text)}</span></span></span>'
                    f'<span class="row">{mark}<span class="muted">{time}</span>{dots}</span></div>'
                )
            return f'<div class="lines">{"".join(made)}</div>'

        menu = "".join(f'<div class="item" data-k="menu item">{e}</div>' for e in entries)
        top = 12 + 14 * wanted if wanted < 3 else 30
        over = f'<div class="panel lift" data-over style="position:absolute;right:6%;top:{top}%;background:var(--page)">{menu}</div>'
        first = Move("hold", name, ("list item", name))
        if not holds:
            first = Move(
                "click", name, ("button", f"Menu of {name}"),
                f'Next is the menu of "{verbatim(name)}".', f"Click the menu of {verbatim(name)}",
            )  # fmt: skip
        return instruction, [
            State(self.page(title, rows()), first),
            State(self.page(title, rows(), over), click("menu item", entry)),
            State(self.page(title, rows(unpinned=is_unpin, gone=entry in ("Archive", "Delete"))), DONE),
        ]

    def log_in(self) -> tuple[str, list[State]]:
        """User name, secret, button."""
        user_label, enter = (
            choose(self.rng, ("User name", "E-mail", "Name", "Account")),
            choose(self.rng, ("Log in", "Sign in", "Continue", "Enter")),
        )
        user = choose(
            self.rng,
            (
                self.labels.word(),
                f"{self.labels.word()}{self.w.count(1, 99)}",
                f"{self.labels.word()}@{self.labels.word()}.com",
            ),
        )
        secret = (
            "{{secret:"
            + str(choose(self.rng, ("PASSWORD", "PASSWORD", "BANK_PASSWORD", "LOGIN", "PASS_2", "WORK_KEY")))
            + "}}"
        )
        title, note = (
            choose(self.rng, ("", self.take("heading"))),
            self.labels.sentence(3) if self.w.chance(0.4) else "",
        )
        instruction = f"Log in as {user} with the password {secret}"

        def form(name: str = "", password: str = "", active: int = 0) -> str:
            fields = self.field(user_label, name, is_active=active == 1) + self.field(
                "Password", password, is_active=active == 2, is_secret=True
            )
            return self.page(
                title,
                f'<div class="col" style="max-width:300px">{fields}<div>{self.button(enter)}</div><p>{note}</p></div>',
            )

        welcome = self.page("Welcome", f"<p>{escape(user)}</p>{self.button('Log out', 'plain')}")
        return instruction, [
            State(form(), click("text field", user_label)),
            State(form(active=1), Move("type", user)),
            State(form(user, active=1), click("text field", "Password")),
            State(form(user, active=2), Move("type", secret)),
            State(form(user, "x", 2), click("button", enter)),
            State(welcome, DONE),
        ]

    def settings(self) -> tuple[str, list[State]]:
        """A switch two levels down."""

        def listed(title: str, items: list[str]) -> str:
            rows = "".join(
                f'<div class="item row spread" data-k="list item" data-l="{escape(i)}">{escape(i)}<span>&rsaquo;</span></div>'
                for i in items
            )
            return self.page(title, f'<div class="lines">{rows}</div>')

        sections, pages = [self.take("row") for _ in range(5)], [self.take("row") for _ in range(4)]
        switches = [self.take("toggle") for _ in range(4)]
        section, inner, switch = (str(choose(self.rng, items)) for items in (sections, pages, switches))
        states = [bool(self.w.chance(0.4)) for _ in switches]
        wanted = bool(self.w.chance(0.65))
        index = switches.index(switch)
        is_right = self.w.chance(0.2)
        states[index] = wanted if is_right else not wanted

        def last(value: bool) -> str:
            rows = "".join(
                f'<div class="item row spread"><span>{escape(name)}</span><span class="switch {"on" if on else ""}" data-k="switch" '
                f'data-l="{escape(name)}" data-on="{int(on)}"></span></div>'
                for name, on in zip(switches, [*states[:index], value, *states[index + 1 :]], strict=True)
            )
            return self.page(inner, f'<div class="lines">{rows}</div>')

        instruction = f"Turn {'on' if wanted else 'off'} {switch} in {section} > {inner}"
        made = [
            State(listed("Settings", sections), click("list item", section)),
            State(listed(section, pages), click("list item", inner)),
        ]
        if not is_right:
            made.append(State(last(not wanted), click("switch", switch)))
        return instruction, [*made, State(last(wanted), DONE)]

    def form(self) -> tuple[str, list[State]]:
        """Fields, a dropdown that the page draws, and a button."""
        fields = [self.take("field") for _ in range(self.w.count(1, 2))]
        values = [self.labels.word().title() for _ in fields]
        topic, options, send = (
            self.take("select"),
            [self.take("option", 12) for _ in range(4)],
            choose(self.rng, ("Send", "Submit", "Done", "Save")),
        )
        chosen = str(choose(self.rng, options[1:]))
        title = self.take("heading")
        given = ", ".join(f'{f} "{v}"' for f, v in zip([*fields, topic], [*values, chosen], strict=True))
        instruction = f"Fill in the form: {given}, then {send.lower()} it"

        def page(filled: int, active: int = -1, option: str = "", opened: bool = False) -> str:
            parts = [
                self.field(f, v if i < filled else "", is_active=i == active)
                for i, (f, v) in enumerate(zip(fields, values, strict=True))
            ]
            shown = option or options[0]
            box = f'<div class="box sel-box" data-k="dropdown" data-l="{escape(topic)}" data-v="{escape(shown)}">{escape(shown)}</div>'
            items = "".join(f'<div class="item" data-k="menu item">{escape(o)}</div>' for o in options)
            listing = f'<div class="panel lift" data-over style="position:absolute;top:100%;left:0;right:0;background:var(--page);z-index:2">{items}</div>'
            parts.append(
                f'<div>{escape(topic)}<div style="position:relative">{box}{listing if opened else ""}</div></div>'
            )
            return self.page(
                title, f'<div class="col" style="max-width:320px">{"".join(parts)}<div>{self.button(send)}</div></div>'
            )

        made = []
        for i, (name, value) in enumerate(zip(fields, values, strict=True)):
            made += [State(page(i), click("text field", name)), State(page(i, i), Move("type", value))]
        num = len(fields)
        made += [
            State(page(num), click("dropdown", topic)),
            State(page(num, opened=True), click("menu item", chosen)),
            State(page(num, option=chosen), click("button", send)),
            State(self.page(title, f"<p>{choose(self.rng, ('Sent.', 'Thank you.', 'Saved.'))}</p>"), DONE),
        ]
        return instruction, made

    def slider(self) -> tuple[str, list[State]]:
        """A slider with numbers below its track."""
        label, high, low = self.take("select"), int(choose(self.rng, (10, 50, 100, 200))), 0
        step = max(1, high // int(choose(self.rng, (2, 4, 5))))
        start, goal = (int(v) for v in self.rng.permutation(np.arange(low, high + 1, max(1, high // 20)))[:2])
        title = self.take("heading")

        def page(value: int) -> str:
            ticks = "".join(
                f'<span class="muted" style="position:absolute;left:{100 * t / high:.2f}%;transform:translateX(-50%);top:8px">{t}</span>'
                for t in range(low, high + 1, step)
            )
            thumb = f'<i data-k="thumb" data-l="thumb" style="left:calc({100 * value / high:.2f}% - 7px)"></i>'
            goal_mark = f'<b data-k="tick" data-l="{goal}" style="position:absolute;left:calc({100 * goal / high:.2f}% - 4px);top:-6px;width:8px;height:16px"></b>'
            track = f'<div style="position:relative;margin:24px 20px"><div class="slider">{goal_mark}{thumb}</div>{ticks}</div>'
            return self.page(
                title, f"<div>{escape(label)}: <b>{value}</b></div>{track}<div>{self.button('OK', 'plain')}</div>"
            )

        drag = Move("drag", str(goal), ("tick", str(goal)))
        begin = Move("to slider", "", ("thumb", "thumb"))
        return f"Set {label} to {goal}", [State(page(start), begin), State(page(start), drag), State(page(goal), DONE)]

    def dialog(self) -> tuple[str, list[State]]:
        """A dialog is closed before something is pressed."""
        closing, wanted = str(choose(self.rng, _CLOSING)), self.take("button")
        body = (
            self.w.text(6) + f'<div class="row">{self.button(self.take("button"), "plain")}{self.button(wanted)}</div>'
        )
        title = self.take("heading")
        page = self.page(title, body)
        covered = page.removesuffix("</div>") + _dialog(self.w, closing) + "</div>"
        after = self.page(self.take("heading"), f"<p>{self.labels.sentence(4)}</p>")
        instruction = f"Dismiss the dialog with {closing}, then press {wanted}"
        return instruction, [
            State(covered, click("button", closing)),
            State(page, click("button", wanted)),
            State(after, DONE),
        ]

    def copy(self) -> tuple[str, list[State]]:
        """A value of the page goes into a field."""
        labels = [self.take("field") for _ in range(3)]
        values = [self.labels.value()[:14].strip() for _ in labels]
        source, target, check = int(self.rng.integers(3)), self.take("field"), self.take("button", 10)
        title = self.take("heading")
        facts = "".join(
            f'<div class="row spread"><span>{escape(k)}</span><b>{escape(v)}</b></div>'
            for k, v in zip(labels, values, strict=True)
        )

        def page(value: str = "", active: bool = False) -> str:
            return self.page(
                title,
                f'<div class="panel pad col">{facts}</div>{self.field(target, value, is_active=active)}<div>{self.button(check)}</div>',
            )

        instruction = f"Copy the {labels[source]} into the field {target} and press {check}"
        done = self.page(title, f"<p>{choose(self.rng, ('That is right.', 'Accepted.', 'Correct.'))}</p>")
        return instruction, [
            State(page(), click("text field", target)),
            State(page(active=True), Move("type", values[source])),
            State(page(values[source]), click("button", check)),
            State(done, DONE),
        ]

    def table(self) -> tuple[str, list[State]]:
        """Choose in the row of a name; or sort and choose in the first row."""
        columns = [self.take("field", 10) for _ in range(2)]
        names, numbers = self.names(4), [int(v) for v in self.rng.permutation(90)[:4] + 5]
        title, press = self.take("heading"), str(choose(self.rng, ("Choose", "Open", "Select", "Pick")))

        def page(order: list[int], sorted_by: int = -1, chosen: int = -1) -> str:
            heads = "".join(
                f'<th data-k="button">{escape(c)}{" &#9650;" if i == sorted_by else ""}</th>'
                for i, c in enumerate(columns)
            )
            rows = "".join(
                f"<tr><td>{names[i]}</td><td>{numbers[i]}</td><td>{self.button(press, 'plain', f'{press} {names[i]}')}</td></tr>"
                for i in order
            )
            note = f"<p>{names[chosen]} is chosen.</p>" if chosen >= 0 else ""
            return self.page(title, f"<table><tr>{heads}<th></th></tr>{rows}</table>{note}")

        order = list(range(4))
        if self.w.chance(0.4):
            wanted = int(self.rng.integers(4))
            move = Move("click", press, ("button", f"{press} {names[wanted]}"), f'Next is "{press}" in the row of "{verbatim(names[wanted])}".',
                        f"Click {press} in the row of {verbatim(names[wanted])}")  # fmt: skip
            return f"{press} {names[wanted]} in the table", [
                State(page(order), move),
                State(page(order, chosen=wanted), DONE),
            ]
        by = int(self.rng.integers(2))
        ordered = sorted(order, key=lambda i: names[i] if by == 0 else numbers[i])
        move = Move(
            "click",
            press,
            ("button", f"{press} {names[ordered[0]]}"),
            f'Next is "{press}" in the first row.',
            f"Click {press} in the first row",
        )
        return f"Sort the table by {columns[by]}, then choose the first row", [
            State(page(order), click("button", columns[by])),
            State(page(ordered, by), move),
            State(page(ordered, by, ordered[0]), DONE),
        ]

    def find_out(self) -> tuple[str, list[State]]:
        """A value behind a tab is the answer."""
        tabs = [self.take("tab", 12) for _ in range(3)]
        wanted = int(self.rng.integers(1, 3))
        rows = [(self.take("row"), self.labels.value()[:12].strip()) for _ in range(4)]
        key, value = rows[int(self.rng.integers(4))]
        title = self.take("heading")

        def page(active: int, body: str) -> str:
            made = "".join(
                f'<span class="tab {"sel" if i == active else ""}" data-k="tab" data-on="{int(i == active)}">{escape(t)}</span>'
                for i, t in enumerate(tabs)
            )
            return self.page(title, f'<div class="row">{made}</div>{body}')

        facts = "".join(
            f'<div class="item row spread"><span>{escape(k)}</span><span>{escape(v)}</span></div>' for k, v in rows
        )
        instruction = f"Answer: what does {tabs[wanted]} say about {key}?"
        return instruction, [
            State(page(0, self.w.text(8)), click("tab", tabs[wanted])),
            State(page(wanted, facts), Move("answer", value)),
        ]

    def long_list(self) -> tuple[str, list[State]]:
        """A name further down in a list."""
        what = str(choose(self.rng, ("contact", "file", "entry", "song")))
        names = sorted(self.names(16))
        shown = 6 if self.device == "computer" else 9
        wanted = int(self.rng.integers(shown, 16))
        title = self.take("heading")

        def page(first: int) -> str:
            rows = "".join(
                f'<div class="item" style="padding-block:9px" data-r data-k="list item">{n}</div>'
                for n in names[first : first + shown]
            )
            return self.page(title, f'<div class="lines">{rows}</div>')

        step = "Scroll down" if self.device == "computer" else "Swipe up"
        move = Move("scroll", names[wanted], action=step)
        opened = self.page(names[wanted], f"<p>{self.labels.sentence(5)}</p>")
        later = page(min(wanted - int(self.rng.integers(0, shown - 1)), 16 - shown))
        return f"Open the {what} {names[wanted]}", [
            State(page(0), move), State(later, click("list item", names[wanted])), State(opened, DONE),
        ]  # fmt: skip


def _dialog(w: Widgets, closing: str) -> str:
    other = w.labels.take("button", 12)
    left, top = w.count(4, 30), w.count(15, 40)
    buttons = "".join(
        f'<button class="btn {"plain" if i else "primary"}" data-k="button">{escape(n)}</button>'
        for i, n in enumerate((other, closing))
    )
    return (
        '<div class="veil"></div>'
        f'<div class="panel pad col lift" data-over style="position:absolute;left:{left}%;top:{top}%;max-width:{96 - left}%;'
        f'min-width:50%;background:var(--page)">{w.heading(2)}{w.text(5, "")}<div class="row">{buttons}</div></div>'
    )


def close_dialog(rng: np.random.Generator, html: str, *, held_out: bool) -> tuple[str, Move]:
    """The page with a dialog over it that nobody mentioned, and the move that closes it."""
    theme = make_theme(rng, 360, 400, held_out=held_out)
    closing = str(choose(rng, _CLOSING))
    dialog = _dialog(Widgets(rng, Labels(rng, held_out=held_out), theme), closing)
    return html.removesuffix("</div>") + dialog + "</div>", click("button", closing)


_ON_PHONES: tuple[Callable[[_Pages], tuple[str, list[State]]], ...] = (
    _Pages.menu_of_row, _Pages.menu_of_row, _Pages.settings, _Pages.long_list, _Pages.log_in, _Pages.dialog, _Pages.find_out,
)  # fmt: skip
_ON_COMPUTERS: tuple[Callable[[_Pages], tuple[str, list[State]]], ...] = (
    _Pages.log_in, _Pages.form, _Pages.table, _Pages.slider, _Pages.dialog, _Pages.copy, _Pages.find_out, _Pages.long_list,
    _Pages.settings,
)  # fmt: skip


def make_episode(rng: np.random.Generator, sizes: Mapping[Device, tuple[int, int]], *, held_out: bool) -> Episode:
    """A task for one of the devices."""
    device: Device = "phone" if rng.random() < 0.45 else "computer"
    width, height = sizes[device]
    theme = make_theme(rng, width, height, held_out=held_out)
    pages = _Pages(rng, device, theme, held_out=held_out)
    draw = choose(rng, _ON_PHONES if device == "phone" else _ON_COMPUTERS)
    instruction, states = draw(pages)
    css = f"{theme.css} .root {{ zoom: 1; width: {width}px; height: {height}px; font-size: {rng.integers(15, 20)}px; }}"
    return Episode(device, instruction, tuple(states), css, draw is not _Pages.dialog)
