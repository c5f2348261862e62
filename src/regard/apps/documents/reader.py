"""One page, read: set upright, looked over, read by the model line by line or as a whole, with a way out when it fails.

    page = read_page(chat, load_page(name), Reading())

A page without ink is not shown to the model, which would make text up. Where the model fails, the PDF's own text is
taken; where there is none, the page is one block that says that it was not read. Only what makes all further pages
fail too (a server that is gone) is raised.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from regard.apps.asking import ask
from regard.apps.documents import prompts
from regard.apps.documents.by_line import read_blocks, read_lines, strips_of
from regard.apps.documents.by_page import read_whole
from regard.apps.documents.ink_layout import Layout, find_layout
from regard.apps.documents.own_text import own_blocks
from regard.apps.documents.result import Block, Line, PageText, Source
from regard.apps.documents.upright import TURNS, Upright, set_upright
from regard.apps.pages import Page
from regard.apps.reading import Read, read_choice
from regard.client import Chat
from regard.errors import ConfigError, InputError, RegardError, ServerError

Mode = Literal["auto", "lines", "html", "markdown"]
OwnText = Literal["fallback", "prefer", "never"]
LINE_TOKENS = 96  # the longest answer for a strip
FAINTEST = 12  # of 255: a page with less contrast is blank
MIN_CONFIDENCE = 0.5  # of lines, below which a page is told to be doubtful


@dataclass(frozen=True)
class Reading:
    """How pages are read.

    mode        auto: line by line for small models, QwenVL HTML for all others
    language    told to the model, in words; small_text: told too (None: when the letters are small)
    turn        degrees clockwise that pages are turned; None: found
    own_text    of PDFs: a fallback, taken first where a page has any, or never
    attempts    for each answer of whole-page reading
    dpi         of PDF pages
    """

    mode: Mode = "auto"
    language: str | None = None
    small_text: bool | None = None
    turn: int | None = None
    own_text: OwnText = "fallback"
    attempts: int = 3
    dpi: int = 144

    def check(self) -> None:
        """Errors: ConfigError for a value that is none."""
        for name, value, allowed in (
            ("mode", self.mode, ("auto", "lines", "html", "markdown")),
            ("own_text", self.own_text, ("fallback", "prefer", "never")),
            ("turn", self.turn, (None, 0, 90, 180, 270)),
        ):
            if value not in allowed:
                raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(map(str, allowed))}")
        if self.attempts < 1:
            raise ConfigError(f"attempts is {self.attempts}; it must be 1 or more")
        if not 36 <= self.dpi <= 600:
            raise ConfigError(f"dpi is {self.dpi}; it must be from 36 to 600")

    def check_model(self, name: str) -> None:
        """Errors: ConfigError for what a model of this name cannot be told."""
        mode = self.for_model(name)
        if mode == "lines" and prompts.is_small(name) and self.language:
            raise ConfigError(f"language is {self.language!r}, and {name} cannot be told one; leave it out")
        if mode == "lines" and self.small_text is not None:
            raise ConfigError("small_text is for pages that are read whole, and these are read by line; leave it out")

    def for_model(self, name: str) -> Literal["lines", "html", "markdown"]:
        """The mode that "auto" stands for."""
        if self.mode == "auto":
            return "lines" if prompts.is_small(name) else "html"
        return self.mode


def read_page(
    chat: Chat, page: Page, reading: Reading, *, save_figure: Callable[[str, Image.Image], str] | None = None
) -> PageText:
    """Read a page. `save_figure` keeps a figure's picture and returns where. Errors: ServerError, ConfigError."""
    try:
        if reading.own_text == "prefer":
            own = own_blocks(page.name, reading.dpi)
            if own:
                return _made(page, "pdf", own)
        return _read(chat, page, reading, save_figure)
    except (ServerError, ConfigError):
        raise
    except RegardError as error:
        return unread(page.name.path, page, reading, str(error))


def unread(path: Path, page: Page, reading: Reading, reason: str) -> PageText:
    """A page that could not be read, with the PDF's own text or as one marked block."""
    own: list[Block] = []
    if reading.own_text != "never":
        try:
            own = own_blocks(page.name, reading.dpi)
        except RegardError:
            own = []
    if own:
        return _made(page, "pdf", own, problems=(f"the PDF's own text was taken, because {reason}",))
    block = Block(kind="unread", text="")
    return _made(page, "failed", [block], problems=(reason,))


def _made(page: Page, source: Source, blocks: list[Block], **more: Any) -> PageText:
    return PageText(
        file=page.path.name,
        page=page.number,
        num_pages=page.num_pages,
        width=page.picture.width,
        height=page.picture.height,
        source=source,
        blocks=tuple(blocks),
        **more,
    )


def _read(chat: Chat, page: Page, reading: Reading, save_figure: Callable[[str, Image.Image], str] | None) -> PageText:
    upright = set_upright(page.picture, turn=reading.turn)
    layout = find_layout(upright.picture, upright.ink)
    mode = reading.for_model(chat.name)
    if not layout.parts and (mode == "lines" or _is_plain(upright.picture)):
        return _made(page, "blank", [], turn=upright.turn, skew=upright.skew)
    options = _options(chat, page, mode)
    if not upright.is_sure and len(layout.lines) >= 3:
        upright, layout = _turned_by_model(chat, upright, layout, mode, options)
    problems: tuple[str, ...] = ()
    if mode == "lines":
        strips = strips_of(chat, language=reading.language)
        found: list[Block] | tuple[Block, ...] | None = read_blocks(
            chat, upright.picture, layout, strips, max_tokens=LINE_TOKENS, **options
        )
        problems = _doubts(list(found or ()), layout)
        if layout.lines and not any(block.text for block in found or ()):
            found = None
    else:
        whole = read_whole(
            chat,
            upright.picture,
            layout,
            mode,
            language=reading.language,
            small_text=reading.small_text,
            attempts=reading.attempts,
            **options,
        )
        found, problems = whole.blocks, whole.problems
    if found is None:
        raise InputError("; ".join(problems) or f"{len(layout.lines)} lines were seen and none was read")
    blocks = [_finished(block, upright, page, number, save_figure) for number, block in enumerate(found, 1)]
    return _made(page, mode, blocks, turn=upright.turn, skew=upright.skew, problems=problems)


def _is_plain(picture: Image.Image) -> bool:
    """Whether a page without ink is one colour; a model that sees pages may read what is too faint for ink."""
    low, high = np.percentile(np.asarray(picture.convert("L")), (0.1, 99.9))
    return bool(high - low < FAINTEST)


def _options(chat: Chat, page: Page, mode: str) -> dict[str, Any]:
    """Sampling options: greedy for strips and small models, else the preset of text reading with a seed of the page."""
    if mode == "lines" or prompts.is_small(chat.name):
        return {"preset": "greedy"}
    options: dict[str, Any] = {"preset": "ocr"}
    seed = zlib.crc32(f"{page.path.name}:{page.number}".encode())
    try:
        chat.check_options("ocr", seed=seed)
    except ConfigError:
        return options
    return options | {"seed": seed}


def _doubts(blocks: list[Block], layout: Layout) -> tuple[str, ...]:
    lines = [line for block in blocks for line in block.lines]
    empty = sum(not line.text for line in lines)
    doubtful = sum(line.confidence is not None and line.confidence < MIN_CONFIDENCE for line in lines)
    told = []
    if empty:
        told.append(f"{empty} of {len(lines)} lines could not be read")
    if doubtful:
        told.append(f"{doubtful} of {len(lines)} lines are doubtful")
    return tuple(told)


def _turned_by_model(
    chat: Chat, upright: Upright, layout: Layout, mode: str, options: dict[str, Any]
) -> tuple[Upright, Layout]:
    """The page turned upside down if the model reads it better so, or says so."""
    turned = set_upright(upright.picture.transpose(TURNS[180]), turn=0)
    other = find_layout(turned.picture, turned.ink)
    if mode == "lines":
        ours, theirs = _readable(chat, upright, layout, options), _readable(chat, turned, other, options)
        is_turned = theirs > ours * 1.1
    else:
        small = upright.picture.copy()
        small.thumbnail((1024, 1024))
        asked = ask(
            chat,
            [small, prompts.UPRIGHT],
            lambda reply: _choice(reply.text),
            attempts=1,
            **options,
        )
        is_turned = asked.value == "180"
    if not is_turned:
        return upright, layout
    whole = Upright(turned.picture, turned.ink, (upright.turn + 180) % 360, upright.skew, True)
    return whole, other


def _choice(text: str) -> Read[str] | None:
    found = read_choice(text, ("0", "90", "180", "270"))
    return None if found.value is None else Read(found.value, found.repairs)


def _readable(chat: Chat, upright: Upright, layout: Layout, options: dict[str, Any]) -> float:
    """How surely the three longest lines are read, from 0 to 1; by their letters where the model tells nothing."""
    longest = sorted(layout.lines, key=lambda line: line.box[0] - line.box[2])[:3]
    lines = read_lines(chat, upright.picture, longest, layout.scale, strips_of(chat), max_tokens=LINE_TOKENS, **options)
    return sum(_surety(line) for line in lines) / max(len(lines), 1)


def _surety(line: Line) -> float:
    if line.confidence is not None:
        return line.confidence
    return sum(letter.isalnum() or letter == " " for letter in line.text) / max(len(line.text), 12)


def _finished(
    block: Block,
    upright: Upright,
    page: Page,
    number: int,
    save_figure: Callable[[str, Image.Image], str] | None,
) -> Block:
    """A block with its figure cut out, and all places brought back to the picture as given."""
    change: dict[str, Any] = {}
    if block.kind == "figure" and block.box is not None and save_figure is not None:
        cut = _cut(upright.picture, block.box)
        if cut is not None:
            change["file"] = save_figure(f"page-{page.number:04}-figure-{number}.png", cut)
    if block.box is not None:
        change["box"] = upright.given(block.box)
    if block.lines and (upright.turn or upright.skew):
        change["lines"] = tuple(
            line.model_copy(
                update={
                    "box": upright.given(line.box),
                    "words": tuple(word.model_copy(update={"box": upright.given(word.box)}) for word in line.words),
                }
            )
            for line in block.lines
        )
    return block.model_copy(update=change) if change else block


def _cut(picture: Image.Image, box: tuple[float, float, float, float]) -> Image.Image | None:
    x1, y1 = max(0, int(box[0])), max(0, int(box[1]))
    x2, y2 = min(picture.width, round(box[2])), min(picture.height, round(box[3]))
    return picture.crop((x1, y1, x2, y2)) if x2 - x1 >= 4 and y2 - y1 >= 4 else None
