"""Arrange widgets into whole screens: settings, sign-in, dialogs, lists, forms, toolbars, tabs, cards, menus.

`make_page(rng, held_out=False)` draws a size, a theme and one layout. A layout may ask for more than fits;
the browser removes what does not (see `browser`). Nothing here measures or asks questions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from regard.train.world.browser import ScreenPage
from regard.train.world.screen_labels import Labels
from regard.train.world.screen_theme import make_theme
from regard.train.world.screen_widgets import Widgets

ODD_SIZE_SHARE = 0.15
MIN_WIDTH, MAX_WIDTH = 256, 512
MIN_HEIGHT, MAX_HEIGHT = 192, 384
_STEP_PX = 32


def make_page(rng: np.random.Generator, *, held_out: bool) -> ScreenPage:
    """Draw one screen; everything follows from the state of `rng`."""
    width, height = _size(rng)
    theme = make_theme(rng, width, height, held_out=held_out)
    widgets = Widgets(rng, Labels(rng, held_out=held_out), theme)
    layout = _LAYOUTS[int(rng.choice(len(_LAYOUTS), p=_SHARES))]
    return ScreenPage(width, height, f'<div class="root">{layout(widgets)}</div>', theme.css)


def _size(rng: np.random.Generator) -> tuple[int, int]:
    """Width and height in pixels: smaller ones more often, mostly whole vision cells of 32 px."""
    width = MIN_WIDTH + (MAX_WIDTH - MIN_WIDTH) * rng.beta(1.1, 1.7)
    height = MIN_HEIGHT + (MAX_HEIGHT - MIN_HEIGHT) * rng.beta(1.1, 1.7)
    if rng.random() < ODD_SIZE_SHARE:
        return int(width), int(height)
    return round(width / _STEP_PX) * _STEP_PX, round(height / _STEP_PX) * _STEP_PX


def _buttons(w: Widgets, num: int) -> str:
    """A row of buttons; perhaps one of them stands out."""
    primary = w.count(0, num - 1) if w.chance(0.6) else -1
    return "".join(w.button("primary" if i == primary else "plain" if primary >= 0 else "") for i in range(num))


def _align(w: Widgets) -> str:
    return str(w.rng.choice(["", "end", "spread"], p=[0.4, 0.4, 0.2]))


def _bar(w: Widgets) -> str:
    """A header: a heading with up to two actions."""
    actions = "".join(w.button("plain") for _ in range(w.count(0, 2)))
    return f'<div class="bar row spread pad" data-r>{w.heading(w.count(1, 2))}<span class="row">{actions}</span></div>'


def _some(w: Widgets, num: int) -> list[str]:
    """Independent widgets of mixed kinds."""
    makers: tuple[Callable[[], str], ...] = (
        w.button, w.link, w.field, w.checkbox, w.switch_line, w.dropdown,
        lambda: w.radios(w.count(2, 3), str(w.rng.choice(["row", "col"]))),
        lambda: w.text(w.count(2, 6)), lambda: w.heading(w.count(2, 3)), w.ornament,
    )  # fmt: skip
    shares = [0.27, 0.11, 0.15, 0.12, 0.1, 0.08, 0.05, 0.04, 0.04, 0.04]
    return [makers[int(w.rng.choice(len(makers), p=shares))]() for _ in range(num)]


def _settings(w: Widgets) -> str:
    panel = str(w.rng.choice(["panel pad", "", "panel pad lift"]))
    sections = []
    for _ in range(w.count(1, 2)):
        rows = "".join(w.setting() for _ in range(w.count(3, 8)))
        title = w.heading(3) if w.chance(0.4) else ""
        sections.append(f'{title}<div class="{panel} lines col">{rows}</div>')
    foot = f'<div class="row {_align(w)}" data-r>{_buttons(w, w.count(1, 3))}</div>' if w.chance(0.6) else ""
    top = _bar(w) if w.chance(0.7) else ""
    return f'{top}<div class="col pad">{"".join(sections)}{foot}</div>'


def _sign_in(w: Widgets) -> str:
    fields = "".join(w.field() for _ in range(w.count(1, 3)))
    extra = w.checkbox() if w.chance(0.6) else ""
    links = "".join(w.link() for _ in range(w.count(0, 2)))
    heading = w.heading(1) if w.chance(0.85) else ""
    note = w.text(w.count(3, 7)) if w.chance(0.3) else ""
    place = w.rng.choice(["center", "flex-start", "flex-end"], p=[0.6, 0.2, 0.2])
    return (
        f'<div class="grow col" style="align-items:{place};justify-content:{w.rng.choice(["center", "flex-start"])}">'
        f'<div class="{w.rng.choice(["panel", "panel lift", ""])} pad col" style="width:{w.count(55, 96)}%">'
        f'{heading}{note}{fields}<div>{extra}</div><div class="row {_align(w)}">{_buttons(w, w.count(1, 2))}</div>'
        f'<div class="row spread">{links}</div></div></div>'
    )


def _dialog(w: Widgets) -> str:
    behind = w.rng.choice(["list", "mixed", "empty"], p=[0.35, 0.35, 0.3])
    back = _list(w) if behind == "list" else _mixed(w) if behind == "mixed" else ""
    veil = '<div class="veil"></div>' if w.chance(0.6) else ""
    body = w.text(w.count(3, 10), "") if w.chance(0.7) else ""
    extra = "".join(_some(w, w.count(1, 3))) if w.chance(0.6) else ""
    name = w.labels.take("heading")
    left, top = w.count(3, 40), w.count(3, 35)
    return (
        f'<div style="position:absolute;inset:0;overflow:hidden">{back}</div>{veil}'
        f'<div class="panel pad col lift" data-over data-k="dialog" data-l="{name}" style="position:absolute;'
        f'left:{left}%;top:{top}%;max-width:{97 - left}%;min-width:45%;background:var(--page)">'
        f'{w.heading(2, name)}{body}<div class="col" data-r>{extra}</div>'
        f'<div class="row {_align(w)}">{_buttons(w, w.count(2, 3))}</div></div>'
    )


def _list(w: Widgets) -> str:
    search = f'<div class="pad" data-r>{w.field(placeholder_only=True)}</div>' if w.chance(0.4) else ""
    side = w.chance(0.3)
    if side:
        rows = "".join(
            f'<div class="item row spread" data-r><span>{w.labels.value()}</span>'
            f"{w.button('plain') if w.chance(0.7) else w.link()}</div>"
            for _ in range(w.count(3, 6))
        )
    else:
        rows = w.items(w.count(4, 10))
    return f'{_bar(w)}{search}<div class="grow">{rows}</div>'


def _form(w: Widgets) -> str:
    columns = w.count(1, 2)
    cells = "".join(w.field() if w.chance(0.7) else w.dropdown() for _ in range(w.count(4, 10)))
    checks = "".join(w.checkbox() for _ in range(w.count(0, 2)))
    radios = w.radios(w.count(2, 3), "row") if w.chance(0.4) else ""
    heading = w.heading(w.count(1, 2)) if w.chance(0.7) else ""
    return (
        f'<div class="col pad">{heading}<div style="display:grid;gap:8px;'
        f'grid-template-columns:repeat({columns},1fr)">{cells}</div>{radios}<div class="row">{checks}</div>'
        f'<div class="row {_align(w)}">{_buttons(w, w.count(1, 3))}</div></div>'
    )


def _toolbar(w: Widgets) -> str:
    names = "".join(
        f'<span class="tab" data-r data-k="menu item">{w.labels.take("menu", 10)}</span>' for _ in range(w.count(3, 6))
    )
    menu = f'<div class="bar row" style="gap:2px">{names}</div>' if w.chance(0.6) else ""
    tools = "".join(w.button() for _ in range(w.count(2, 6)))
    items = w.items(w.count(2, 7), rich=0.1) if w.chance(0.6) else ""
    side = f'<div class="panel" style="border-radius:0">{items}</div>' if items else ""
    main = w.heading(2) + "".join(w.text(w.count(3, 10), "") for _ in range(w.count(1, 3)))
    if w.chance(0.3):
        main = "".join(f'<div data-r style="align-self:flex-start">{part}</div>' for part in _some(w, w.count(2, 5)))
    parts = [side, f'<div class="col pad grow">{main}</div>']
    if w.chance(0.25):
        parts.reverse()
    return (
        f'{menu}<div class="row pad" style="padding-block:4px">{tools}</div>'
        f'<div class="row grow" style="align-items:stretch;min-height:0">{"".join(parts)}</div>'
    )


def _tabs(w: Widgets) -> str:
    tabs = f'<div class="{w.rng.choice(["bar", ""])}" style="padding:4px 6px">{w.tabs(w.count(2, 5))}</div>'
    body = "".join(f'<div data-r style="align-self:flex-start">{part}</div>' for part in _some(w, w.count(5, 10)))
    content = f'<div class="col pad grow">{body}</div>'
    top = _bar(w) if w.chance(0.3) else ""
    return f"{top}{content}{tabs}" if w.chance(0.2) else f"{top}{tabs}{content}"


def _cards(w: Widgets) -> str:
    cards = "".join(w.card() for _ in range(w.count(2, 6)))
    top = _bar(w) if w.chance(0.6) else ""
    return (
        f'{top}<div class="pad" style="display:grid;gap:8px;grid-template-columns:repeat({w.count(2, 3)},1fr);'
        f'align-items:start">{cards}</div>'
    )


def _menu(w: Widgets) -> str:
    back = _toolbar(w) if w.chance(0.5) else _mixed(w)
    entries = w.items(w.count(3, 8), category="menu", kind="menu item", rich=0.4)
    return (
        f'<div style="position:absolute;inset:0;overflow:hidden;display:flex;flex-direction:column">{back}</div>'
        f'<div class="panel lift" data-over style="position:absolute;left:{w.count(2, 55)}%;top:{w.count(2, 35)}%;'
        f'padding:4px 0;background:var(--page)">{entries}</div>'
    )


def _mixed(w: Widgets) -> str:
    """Widgets scattered over a grid: positions that no convention explains."""
    columns, rows = w.count(2, 3), w.count(3, 6)
    cells = []
    for part in _some(w, columns * rows):
        if w.chance(0.2):
            cells.append("<div></div>")
            continue
        across, down = w.rng.choice(["start", "center", "end"], 2)
        place = f"justify-content:{across};align-items:{down}"
        cells.append(f'<div style="display:flex;{place}"><div data-r style="max-width:100%">{part}</div></div>')
    return (
        f'<div class="grow pad" style="display:grid;gap:6px;grid-template-columns:repeat({columns},minmax(0,1fr));'
        f'grid-auto-rows:minmax(0,1fr);min-height:0">{"".join(cells)}</div>'
    )


def _table(w: Widgets) -> str:
    """A table with an action, a link or a checkbox in every row."""
    columns, action = w.count(1, 3), str(w.rng.choice(["button", "link", "row link", "none"], p=[0.4, 0.2, 0.3, 0.1]))
    head = "".join(f"<th>{w.labels.take('field', 12)}</th>" for _ in range(columns))
    rows = []
    for _ in range(w.count(3, 8)):
        first = w.link("row") if action == "row link" else w.labels.value()
        cells = "".join(f"<td>{w.labels.value()[:9]}</td>" for _ in range(columns - 1))
        last = {"button": lambda: w.button("plain"), "link": w.link}.get(action, str)()
        rows.append(f"<tr data-r><td>{first}</td>{cells}<td>{last}</td></tr>")
    tools = f'<div class="row {_align(w)}" data-r>{_buttons(w, w.count(1, 3))}</div>'
    table = f"<table data-r><tr data-r>{head}</tr>{''.join(rows)}</table>"
    parts = [table, tools] if w.chance(0.5) else [tools, table]
    return f'{_bar(w) if w.chance(0.5) else ""}<div class="col pad">{"".join(parts)}</div>'


def _phone(w: Widgets) -> str:
    """An app screen: header, rows or widgets, and tabs along the bottom."""
    body = w.items(w.count(3, 9), rich=0.6) if w.chance(0.6) else f'<div class="col pad">{"".join(_some(w, 8))}</div>'
    return (
        f'{_bar(w)}<div class="grow" style="overflow:hidden;min-height:0">{body}</div>'
        f'<div class="bar" style="padding:4px">{w.tabs(w.count(3, 4))}</div>'
    )


def _article(w: Widgets) -> str:
    """Running text with headings, links between the words and a few buttons."""
    parts = []
    for _ in range(w.count(2, 4)):
        words = w.labels.sentence(w.count(3, 8)), w.labels.sentence(w.count(2, 6))
        parts.append(
            f"{w.heading(w.count(1, 3))}<p data-r>{words[0]} {w.link() if w.chance(0.8) else ''} {words[1]}</p>"
        )
        if w.chance(0.3):
            parts.append(w.ornament())
        if w.chance(0.5):
            parts.append(f'<div class="row" data-r>{_buttons(w, w.count(1, 2))}</div>')
    links = "".join(w.link("menu") for _ in range(w.count(2, 5)))
    top = f'<div class="bar row pad" style="gap:14px">{links}</div>' if w.chance(0.6) else ""
    return f'{top}<div class="col pad">{"".join(parts)}</div>'


def _window(w: Widgets) -> str:
    """A desktop window with a title bar around another layout."""
    dots = "".join(f'<i class="ico" style="background:{c};border-radius:50%"></i>' for c in ("#e55", "#eb4", "#5b5"))
    title = f'<span class="row">{dots}</span><span>{w.labels.take("heading")}</span><span></span>'
    inner = str(w.rng.choice(["form", "settings", "mixed", "toolbar", "list"]))
    content = {"form": _form, "settings": _settings, "mixed": _mixed, "toolbar": _toolbar, "list": _list}[inner](w)
    return f'<div class="panel row spread" style="padding:4px 8px;border-radius:0">{title}</div>{content}'


_LAYOUTS: tuple[Callable[[Widgets], str], ...] = (
    _settings, _sign_in, _dialog, _list, _form, _toolbar, _tabs, _cards, _menu, _mixed,
    _table, _phone, _article, _window,
)  # fmt: skip
_SHARES = (0.12, 0.07, 0.09, 0.07, 0.1, 0.08, 0.06, 0.04, 0.06, 0.11, 0.05, 0.05, 0.04, 0.06)
