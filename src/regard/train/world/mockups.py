r"""Mock-ups of pages with the very HTML that drew them, in the compact dialect of `regard code`.

    build_bank(Path("mockups"), count=1500, seed=1, held_out=False, kind=MOCKUPS)
    sample = mockup_turns(rng, bank=ScreenBank(Path("mockups")), num_turns=3)

The answer to "Analyze this screenshot ..." is "```html\n" and the lines of the body: semantic elements, no colours,
sizes or fonts, `li`, `tr`, `td`, `th` and `option` not closed. The page is drawn by the application's own stylesheet
with drawn values for its variables; the texts are marked as read. What needs more than `MAX_CHARS` or does not fit is
not kept. Elements carry `data-k` for the browser and pictures a drawing, which the answer leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from regard.messages import Image, Message, Text
from regard.train.world.browser import RenderedScreen, ScreenPage
from regard.train.world.sample import Sample, plain, verbatim
from regard.train.world.screen_labels import Labels
from regard.train.world.screen_lists import ask_list
from regard.train.world.screen_questions import ask, askable
from regard.train.world.screen_theme import fonts, palette
from regard.train.world.screens import MIN_ASKABLE, BankKind, Screen, ScreenBank
from regard.train.world.shapes import choose
from regard.train.world.turns import join

PROMPT = "Analyze this screenshot and convert it to clean, functional and modern HTML code."
MAX_CHARS = 620
_STYLESHEET = Path(__file__).parents[2] / "apps" / "coding" / "page.css"
_WIDTHS = (320, 352, 384, 448, 512, 640)
_WIDTH_SHARES = (0.2, 0.15, 0.25, 0.2, 0.15, 0.05)
_MAX_HEIGHT, _MIN_HEIGHT = 640, 160
_HELD_OUT_RADII, _RADII = (3, 10), (0, 2, 4, 6, 8, 12)
_HIDDEN = re.compile(r' (?:data-[a-z]+|style|src)="[^"]*"')


def answer_of(html: str) -> str:
    """The answer: without what only the drawing needs; texts stay marked."""
    return "```html\n" + _HIDDEN.sub("", html) + "\n```"


def make_mockup(rng: np.random.Generator, *, held_out: bool) -> tuple[ScreenPage, dict[str, Any]]:
    """One page; `extra["html"]` is its marked body."""
    width = int(choose(rng, _WIDTHS, weights=_WIDTH_SHARES))
    body = _Body(rng, Labels(rng, held_out=held_out), is_wide=width >= 384)
    html = body.page()
    return ScreenPage(width, _MAX_HEIGHT, plain(html), _css(rng, held_out=held_out)), {"html": html}


def _css(rng: np.random.Generator, *, held_out: bool) -> str:
    """The stylesheet's rules inside one screen, with drawn variables."""
    colours = palette(rng)
    colours.pop("dark")
    size = int(rng.integers(14, 20))
    has_filled_bar, families = rng.random() < 0.35, fonts(held_out)
    usual = families[: max(2, len(families) // 3)] if rng.random() < 0.7 else families
    radius = choose(rng, _HELD_OUT_RADII if held_out else _RADII)
    variables = {
        "page": colours["page"],
        "ink": colours["text"],
        "muted": colours["muted"],
        "accent": colours["link"],
        "on-accent": colours["page"],
        "panel": colours["surface"],
        "line": colours["line"],
        "bar": colours["accent"] if has_filled_bar else choose(rng, (colours["page"], colours["surface"])),
        "on-bar": colours["on-accent"] if has_filled_bar else colours["text"],
        "field": choose(rng, (colours["page"], colours["surface"])),
        "size": f"{size}px",
        "h1": f"{size * rng.uniform(1.4, 1.9):.0f}px",
        "h2": f"{size * rng.uniform(1.1, 1.3):.0f}px",
        "gap": f"{rng.integers(6, 18)}px",
        "pad": f"{rng.integers(8, 22)}px",
        "radius": f"{radius}px",
        "font": f"'{choose(rng, usual)}'",
    }
    drawn = "".join(f"--{name}: {value}; " for name, value in variables.items())
    return f"{drawn} font-variant-ligatures: none; {_rules()}"


@cache
def _rules() -> str:
    """The application's stylesheet, made to hold inside a part of a sheet."""
    text = _STYLESHEET.read_text(encoding="utf-8")
    text = re.sub(r":root \{.*?\}", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"@media.*\Z", "", text, flags=re.DOTALL)
    text = re.sub(r"^html \{.*?\}\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^body \{", "& {", text, flags=re.MULTILINE)


def _is_good(screen: RenderedScreen, extra: dict[str, Any]) -> bool:
    """Everything that the HTML says can be seen, there is something to ask for, and the answer is short."""
    shown = re.findall("\u0001(.*?)\u0002", extra["html"])
    num_chars = sum(len("".join(_unescaped(text).split())) for text in shown)
    is_short = len(plain(answer_of(extra["html"]))) <= MAX_CHARS
    return is_short and len(screen.text) == num_chars and len(askable(screen.widgets)) >= MIN_ASKABLE


def _unescaped(text: str) -> str:
    return (
        text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", '"')
        .replace("&#x27;", "'")
        .replace("&amp;", "&")
    )


def _cropped(screen: RenderedScreen) -> RenderedScreen:
    """Without what is empty below the last element, in whole cells of 32 px."""
    bottom = max([*screen.ys, *(widget["box"][3] for widget in screen.widgets)]) + 12
    height = min(screen.image.height, 32 * max(_MIN_HEIGHT // 32, -(-int(bottom) // 32)))
    return replace(screen, image=screen.image.crop((0, 0, screen.image.width, height)))


MOCKUPS = BankKind("mockups", 1, make_mockup, _is_good, _cropped)


class _Body:
    """Draws the body of a page, line by line."""

    def __init__(self, rng: np.random.Generator, labels: Labels, *, is_wide: bool) -> None:
        self.rng, self.labels, self.is_wide = rng, labels, is_wide
        self._num_groups = 0

    def page(self) -> str:
        """Header, one kind of content, footer."""
        content = choose(
            self.rng, (self._sign_in, self._landing, self._form, self._list, self._table, self._settings, self._article)
        )
        lines = self._header() if self._chance(0.6) else []
        lines += content()
        if self._chance(0.2):
            lines.append(f"<footer>{self._words(2, 3)}</footer>")
        return "\n".join(lines)

    def _chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def _count(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def _label(self, category: str, max_chars: int = 16) -> str:
        return verbatim(escape(self.labels.take(category, max_chars)))

    def _words(self, low: int, high: int) -> str:
        return verbatim(escape(self.labels.sentence(self._count(low, high)).removesuffix(".")))

    def _header(self) -> list[str]:
        name = f'<b data-k="text">{self._label("heading", 12)}</b>'
        parts = [name]
        if self._chance(0.55):
            links = "".join(self._link("tab", 9) for _ in range(self._count(2, 4 if self.is_wide else 2)))
            parts.append(f"<nav>{links}</nav>")
        if self._chance(0.4):
            hint = self.labels.take("field", 10)
            marks = self._marks("text field", hint, hint)
            search = f'<input placeholder="{verbatim(escape(hint))}" {marks} style="width:9em">'
            parts.append(search if self._chance(0.3) and len(parts) == 1 else self._button(10))
        return [f'<header data-k="header" data-l="">{"".join(parts)}</header>']

    def _marks(self, kind: str, label: str, shown: str = "") -> str:
        made = f'data-k="{kind}" data-l="{escape(label)}"'
        return f'{made} data-m="{escape(shown)}"' if shown else made

    def _link(self, category: str = "link", max_chars: int = 18) -> str:
        return f'<a data-k="link">{self._label(category, max_chars)}</a>'

    def _button(self, max_chars: int = 14) -> str:
        look = ' class="primary"' if self._chance(0.55) else ""
        return f'<button{look} data-k="button">{self._label("button", max_chars)}</button>'

    def _heading(self, level: int) -> str:
        centred = ' class="center"' if level == 1 and self._chance(0.2) else ""
        return f'<h{level}{centred} data-k="heading">{self._label("heading")}</h{level}>'

    def _text(self, low: int = 3, high: int = 8) -> str:
        tag = "small" if self._chance(0.2) else "p"
        return f'<{tag} data-k="text">{self._words(low, high)}</{tag}>'

    def _field(self) -> str:
        name = self.labels.take("field")
        shown = verbatim(escape(name))
        if name.lower().endswith("password"):
            return f'<label>{shown}<input type="password" {self._marks("text field", name)}></label>'
        if self._chance(0.12):
            return f"<label>{shown}<textarea {self._marks('text field', name)}></textarea></label>"
        filled = choose(self.rng, ("value", "placeholder", ""))
        if not filled:
            return f"<label>{shown}<input {self._marks('text field', name)}></label>"
        text = self.labels.value()[:16] if filled == "value" else self.labels.take("field")
        return (
            f'<label>{shown}<input {filled}="{verbatim(escape(text))}" {self._marks("text field", name, text)}></label>'
        )

    def _dropdown(self) -> str:
        name, option = self.labels.take("select"), self.labels.take("option", 14)
        marks = f'{self._marks("dropdown", name, option)} data-v="{escape(option)}"'
        return f"<label>{verbatim(escape(name))}<select {marks}><option>{verbatim(escape(option))}</select></label>"

    def _check(self, kind: str = "checkbox", *, is_on: bool | None = None) -> str:
        name = self._label("toggle" if kind == "checkbox" else "option", 20)
        on = " checked" if (self._chance(0.5) if is_on is None else is_on) else ""
        form, marks = (
            ("checkbox" if kind == "checkbox" else "radio"),
            f'data-k="{kind} button"' if kind == "radio" else 'data-k="checkbox"',
        )
        return f'<label class="check" {marks}><input type="{form}"{on}>{name}</label>'

    def _switch(self) -> str:
        on = " checked" if self._chance(0.5) else ""
        name = self._label("toggle", 20)
        return f'<label class="switch" data-k="switch">{name}<input type="checkbox"{on}></label>'

    def _picture(self, height: int) -> str:
        """A drawing: a ground with hills, discs or bars."""
        rng = self.rng
        hue = int(rng.integers(360))
        shapes = []
        for _ in range(self._count(2, 6)):
            x, y, size, tint = (
                int(rng.integers(100)),
                int(rng.integers(20, 100)),
                int(rng.integers(10, 60)),
                int(rng.integers(360)),
            )
            fill = f'fill="hsl({tint} 50% {int(rng.integers(30, 80))}%)"'
            shapes.append(
                f'<circle cx="{x}" cy="{y}" r="{size // 2}" {fill}/>' if self._chance(0.5)
                else f'<rect x="{x}" y="{y}" width="{size // 2}" height="{100 - y}" {fill}/>'
            )  # fmt: skip
        ground = f'<rect width="100" height="100" fill="hsl({hue} 45% 70%)"/>'
        frame = 'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100" preserveAspectRatio="none"'
        svg = f"<svg {frame}>{ground}{''.join(shapes)}</svg>"
        alt = choose(rng, ("photo", "photo", "chart", "map"))
        style = f"width:100%;height:{height}px;object-fit:cover"
        return f'<img alt="{alt}" data-k="picture" data-l="" style="{style}" src="data:image/svg+xml,{quote(svg)}">'

    def _row(self, parts: Sequence[str]) -> str:
        look = choose(self.rng, ("row", "row", "row end", "row center"))
        return f'<div class="{look}">{"".join(parts)}</div>'

    def _controls(self, low: int, high: int) -> list[str]:
        makers: tuple[Callable[[], str], ...] = (self._field, self._field, self._dropdown, self._check)
        return [choose(self.rng, makers)() for _ in range(self._count(low, high))]

    def _radios(self) -> str:
        num = self._count(2, 3)
        chosen = self._count(0, num - 1)
        return '<div class="row">' + "".join(self._check("radio", is_on=i == chosen) for i in range(num)) + "</div>"

    def _sign_in(self) -> list[str]:
        fields = [self._field() for _ in range(self._count(1, 3))]
        extra = [self._check()] if self._chance(0.5) else []
        links = [self._link() for _ in range(self._count(0, 2))]
        return [
            '<main class="narrow">', self._heading(1), "<form>", *fields, *extra, self._button(), "</form>",
            *links, "</main>",
        ]  # fmt: skip

    def _card(self, *, has_picture: bool, action: str) -> list[str]:
        picture = self._picture(self._count(50, 90)) if has_picture else ""
        end = {"button": self._button, "link": lambda: self._link(max_chars=10)}.get(action, str)()
        text = f'<p data-k="text">{self._words(1, 3)}</p>'
        heading = f'<h2 data-k="heading">{self._label("heading", 9)}</h2>'
        return [f'<section class="card" data-k="card" data-l="">{picture}{heading}{text}{end}</section>']

    def _landing(self) -> list[str]:
        lines = ["<main>", self._heading(1), self._text()]
        if self._chance(0.7):
            lines.append(self._row([self._button() for _ in range(self._count(1, 2))]))
        has_picture, action = self._chance(0.5), choose(self.rng, ("", "button", "link"))
        cards = [
            line
            for _ in range(self._count(2, 3 if self.is_wide else 2))
            for line in self._card(has_picture=has_picture, action=action)
        ]
        return [*lines, '<div class="grid">', *cards, "</div>", "</main>"]

    def _form(self) -> list[str]:
        middle = self._controls(2, 4)
        if self._chance(0.3):
            middle.append(self._radios())
        buttons = self._row([self._button() for _ in range(self._count(1, 2))])
        return ["<main>", self._heading(1), "<form>", *middle, buttons, "</form>", "</main>"]

    def _list(self) -> list[str]:
        has_note = self._chance(0.6)
        rows = []
        for _ in range(self._count(3, 6)):
            name = self._label("row", 16)
            note = f"<small>{verbatim(f'{self._count(0, 23)}:{self._count(0, 59):02d}')}</small>" if has_note else ""
            look = ' class="spread"' if has_note else ""
            rows.append(f'<li{look} data-k="list item" data-l="{plain(name)}">{name}{note}')
        top = self._heading(1)
        if self._chance(0.4):
            top = f'<div class="row spread">{self._heading(2)}{self._button(10)}</div>'
        return ["<main>", top, "<ul>", *rows, "</ul>", "</main>"]

    def _table(self) -> list[str]:
        num_columns = self._count(2, 3)
        head = "<tr>" + "".join(f"<th>{self._label('field', 9)}" for _ in range(num_columns))
        rows = []
        for _ in range(self._count(2, 4)):
            cells = [verbatim(escape(self.labels.value()[:9].strip())) for _ in range(num_columns)]
            rows.append("<tr>" + "".join(f"<td>{cell}" for cell in cells))
        top = f'<div class="row spread">{self._heading(2)}{self._button(8)}</div>'
        inner = ["<main>", top, "<table>", head, *rows, "</table>", "</main>"]
        if self.is_wide and self._chance(0.5):
            links = "".join(self._link("tab", 8) for _ in range(self._count(2, 4)))
            return [f'<div class="side"><nav>{links}</nav>', *inner, "</div>"]
        return inner

    def _settings(self) -> list[str]:
        lines = ["<main>", self._heading(1)]
        inner = [choose(self.rng, (self._switch, self._switch, self._check))() for _ in range(self._count(2, 4))]
        if self._chance(0.5):
            inner = ['<section class="card" data-k="card" data-l="">', *inner, "</section>"]
        lines += inner
        if self._chance(0.4):
            lines.append(self._dropdown())
        if self._chance(0.5):
            lines.append(self._row([self._button() for _ in range(self._count(1, 2))]))
        return [*lines, "</main>"]

    def _article(self) -> list[str]:
        lines = ["<main>", self._heading(1)]
        if self._chance(0.5):
            lines.append(self._picture(self._count(60, 120)))
        for _ in range(self._count(1, 2)):
            lines += [*([self._heading(2)] if self._chance(0.5) else []), self._text(5, 14)]
        return [*lines, self._link(), self._button(), "</main>"]


def ask_html(screen: Screen) -> Sample:
    """The page to HTML. truth: {"form": "html", "html": ...}."""
    answer = answer_of(screen.extra["html"])
    truth = {"form": "html", "html": plain(answer), "width": screen.image.width, "height": screen.image.height}
    messages = (Message("user", (Image(screen.image), Text(PROMPT))), Message("assistant", (Text(answer),)))
    return Sample("mockups", messages, truth, screen.dense)


def mockup_turns(rng: np.random.Generator, *, bank: ScreenBank, num_turns: int) -> Sample:
    """The page's HTML, then its elements or questions about them."""
    screen = bank.screen(int(rng.integers(len(bank))))
    elsewhere = bank.widgets(int(rng.integers(len(bank))))
    samples = [ask_html(screen)]
    listed = ask_list(rng, screen.image, screen.widgets, screen.dense) if rng.random() < 0.5 else None
    samples += [listed] if listed is not None and num_turns > 1 else []
    while len(samples) < num_turns:
        samples.append(ask(rng, screen.image, screen.widgets, elsewhere, screen.dense))
    return join(samples)
