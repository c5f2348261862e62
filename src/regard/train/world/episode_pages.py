"""Tasks over several pages with all their states: menus of rows, nested settings, dialogs, tabs, long lists, forms.

The layouts are not those of the example pages, and the words are drawn; nothing is rendered here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

import numpy as np

from regard.train.world import episode_forms
from regard.train.world.action_format import Device
from regard.train.world.episode_parts import CLOSING, DONE, Episode, Move, Pages, State, click, dialog_over
from regard.train.world.sample import verbatim
from regard.train.world.screen_theme import make_theme
from regard.train.world.shapes import choose

_MENU = ("Mute", "Archive", "Delete", "Rename", "Share", "Copy link", "Mark as read")


def menu_of_row(p: Pages) -> tuple[str, list[State]]:
    """An entry of a row's menu; on phones also by holding the row."""
    what = str(choose(p.rng, ("chat", "mail", "file")))
    names = p.names(5)
    pinned, wanted = int(p.rng.integers(5)), int(p.rng.integers(5))
    is_unpin = p.rng.random() < 0.5
    entry = "Unpin" if is_unpin else str(choose(p.rng, _MENU))
    wanted = pinned if is_unpin else wanted
    name = names[wanted]
    joint = {"chat": "with", "mail": "from", "file": "called"}[what]
    instruction = f"Unpin the pinned {what}" if is_unpin else f"{entry} the {what} {joint} {name}"
    holds = p.device == "phone" and p.rng.random() < 0.3
    texts, times = (
        [p.labels.sentence(2) for _ in names],
        [f"{p.w.count(0, 23)}:{p.w.count(10, 59)}" for _ in names],
    )
    title = p.take("heading")
    others = [str(e) for e in p.rng.permutation(_MENU)[:3] if e != entry]
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
                    f'<span data-k="button" data-l="Menu of {row}" style="padding:4px 8px;line-height:.4;'
                    f'font-size:22px">'
                    '<i style="font-style:normal;display:block">.</i>'
                    + '<i style="font-style:normal;display:block">.</i>' * 2
                    + "</span>"
                )
            )
            made.append(
                f'<div class="item row spread" data-k="list item" data-l="{row}"><span class="row"><span '
                f'class="avatar">{row[0]}</span>'
                f'<span><b>{row}</b><br><span class="muted">{escape(text)}</span></span></span>'
                f'<span class="row">{mark}<span class="muted">{time}</span>{dots}</span></div>'
            )
        return f'<div class="lines">{"".join(made)}</div>'

    menu = "".join(f'<div class="item" data-k="menu item">{e}</div>' for e in entries)
    top = 12 + 14 * wanted if wanted < 3 else 30
    over = (
        f'<div class="panel lift" data-over style="position:absolute;right:6%;top:{top}%;'
        f'background:var(--page)">{menu}</div>'
    )
    first = Move("hold", name, ("list item", name))
    if not holds:
        first = Move(
            "click", name, ("button", f"Menu of {name}"),
            f'Next is the menu of "{verbatim(name)}".', f"Click the menu of {verbatim(name)}",
        )  # fmt: skip
    return instruction, [
        State(p.page(title, rows()), first),
        State(p.page(title, rows(), over), click("menu item", entry)),
        State(p.page(title, rows(unpinned=is_unpin, gone=entry in ("Archive", "Delete"))), DONE),
    ]


def settings(p: Pages) -> tuple[str, list[State]]:
    """A switch two levels down."""

    def listed(title: str, items: list[str]) -> str:
        rows = "".join(
            f'<div class="item row spread" data-k="list item" data-l="{escape(i)}">{escape(i)}<span>&rsaquo;'
            f"</span></div>"
            for i in items
        )
        return p.page(title, f'<div class="lines">{rows}</div>')

    sections, pages = [p.take("row") for _ in range(5)], [p.take("row") for _ in range(4)]
    switches = [p.take("toggle") for _ in range(4)]
    section, inner, switch = (str(choose(p.rng, items)) for items in (sections, pages, switches))
    states = [bool(p.w.chance(0.4)) for _ in switches]
    wanted = bool(p.w.chance(0.65))
    index = switches.index(switch)
    is_right = p.w.chance(0.2)
    states[index] = wanted if is_right else not wanted

    def last(value: bool) -> str:
        rows = "".join(
            f'<div class="item row spread"><span>{escape(name)}</span><span class="switch '
            f'{"on" if on else ""}" data-k="switch" '
            f'data-l="{escape(name)}" data-on="{int(on)}"></span></div>'
            for name, on in zip(switches, [*states[:index], value, *states[index + 1 :]], strict=True)
        )
        return p.page(inner, f'<div class="lines">{rows}</div>')

    instruction = f"Turn {'on' if wanted else 'off'} {switch} in {section} > {inner}"
    made = [
        State(listed("Settings", sections), click("list item", section)),
        State(listed(section, pages), click("list item", inner)),
    ]
    if not is_right:
        made.append(State(last(not wanted), click("switch", switch)))
    return instruction, [*made, State(last(wanted), DONE)]


def dialog(p: Pages) -> tuple[str, list[State]]:
    """A dialog is closed before something is pressed."""
    closing, wanted = str(choose(p.rng, CLOSING)), p.take("button")
    body = p.w.text(6) + f'<div class="row">{p.button(p.take("button"), "plain")}{p.button(wanted)}</div>'
    title = p.take("heading")
    page = p.page(title, body)
    covered = page.removesuffix("</div>") + dialog_over(p.w, closing) + "</div>"
    after = p.page(p.take("heading"), f"<p>{p.labels.sentence(4)}</p>")
    instruction = f"Dismiss the dialog with {closing}, then press {wanted}"
    return instruction, [
        State(covered, click("button", closing)),
        State(page, click("button", wanted)),
        State(after, DONE),
    ]


def find_out(p: Pages) -> tuple[str, list[State]]:
    """A value behind a tab is the answer."""
    tabs = [p.take("tab", 12) for _ in range(3)]
    wanted = int(p.rng.integers(1, 3))
    rows = [(p.take("row"), p.labels.value()[:12].strip()) for _ in range(4)]
    key, value = rows[int(p.rng.integers(4))]
    title = p.take("heading")

    def page(active: int, body: str) -> str:
        made = "".join(
            f'<span class="tab {"sel" if i == active else ""}" data-k="tab" data-on="{int(i == active)}">'
            f"{escape(t)}</span>"
            for i, t in enumerate(tabs)
        )
        return p.page(title, f'<div class="row">{made}</div>{body}')

    facts = "".join(
        f'<div class="item row spread"><span>{escape(k)}</span><span>{escape(v)}</span></div>' for k, v in rows
    )
    instruction = f"Answer: what does {tabs[wanted]} say about {key}?"
    return instruction, [
        State(page(0, p.w.text(8)), click("tab", tabs[wanted])),
        State(page(wanted, facts), Move("answer", value)),
    ]


def long_list(p: Pages) -> tuple[str, list[State]]:
    """A name further down in a list."""
    what = str(choose(p.rng, ("contact", "file", "entry", "song")))
    names = sorted(p.names(16))
    shown = 6 if p.device == "computer" else 9
    wanted = int(p.rng.integers(shown, 16))
    title = p.take("heading")

    def page(first: int) -> str:
        rows = "".join(
            f'<div class="item" style="padding-block:9px" data-r data-k="list item">{n}</div>'
            for n in names[first : first + shown]
        )
        return p.page(title, f'<div class="lines">{rows}</div>')

    step = "Scroll down" if p.device == "computer" else "Swipe up"
    move = Move("scroll", names[wanted], action=step)
    opened = p.page(names[wanted], f"<p>{p.labels.sentence(5)}</p>")
    later = page(min(wanted - int(p.rng.integers(0, shown - 1)), 16 - shown))
    return f"Open the {what} {names[wanted]}", [
        State(page(0), move), State(later, click("list item", names[wanted])), State(opened, DONE),
    ]  # fmt: skip


_ON_PHONES: tuple[Callable[[Pages], tuple[str, list[State]]], ...] = (
    menu_of_row, menu_of_row, settings, long_list, episode_forms.log_in, dialog, find_out,
)  # fmt: skip
_ON_COMPUTERS: tuple[Callable[[Pages], tuple[str, list[State]]], ...] = (
    episode_forms.log_in, episode_forms.form, episode_forms.table, episode_forms.slider,
    dialog, episode_forms.copy, find_out, long_list,
    settings,
)  # fmt: skip


def make_episode(rng: np.random.Generator, sizes: Mapping[Device, tuple[int, int]], *, held_out: bool) -> Episode:
    """A task for one of the devices."""
    device: Device = "phone" if rng.random() < 0.45 else "computer"
    width, height = sizes[device]
    theme = make_theme(rng, width, height, held_out=held_out)
    pages = Pages(rng, device, theme, held_out=held_out)
    draw = choose(rng, _ON_PHONES if device == "phone" else _ON_COMPUTERS)
    instruction, states = draw(pages)
    css = f"{theme.css} .root {{ zoom: 1; width: {width}px; height: {height}px; font-size: {rng.integers(15, 20)}px; }}"
    css += f" .item {{ min-height: {rng.integers(30, 46)}px; }}"
    return Episode(device, instruction, tuple(states), css, draw is not dialog)
