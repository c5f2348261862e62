"""Reading a whole page with the prompts of the official models, `qwenvl html` or `qwenvl markdown`.

A page whose letters would be too small after it has been scaled to what the model may see is cut into tiles at its
widest empty stretches; each tile is asked for itself, and their blocks are put together. The words get their places
from the ink of the picture: those inside a block's box, or of the whole page in order where a block has no box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

from regard.apps.asking import ask
from regard.apps.documents import prompts
from regard.apps.documents.by_line import scaled
from regard.apps.documents.ink_layout import Layout
from regard.apps.documents.ink_lines import InkLine
from regard.apps.documents.qwenvl_html import read_qwenvl_html
from regard.apps.documents.qwenvl_markdown import read_qwenvl_markdown
from regard.apps.documents.result import Block, Line, Word
from regard.apps.documents.words import align
from regard.apps.reading import Read
from regard.client import Chat
from regard.messages import Image as ImagePart
from regard.messages import Text
from regard.processing.coordinates import Units, scale_of
from regard.reply import Reply

CELL = 32 * 32  # pixels of one visual token
# Pixels the notebook gives a page: its own limits for each format.
MAX_PIXELS = {"html": 2048 * CELL, "markdown": 4608 * CELL}
MIN_PIXELS = 512 * CELL
SMALLEST_EM = 10.5  # pixels: smaller letters are not read well
GOOD_EM = 14.0
MAX_TILES = 32
Rect = tuple[float, float, float, float]


@dataclass(frozen=True)
class Whole:
    """What was read of a page, in pixels of the upright picture, and in words what had to be mended."""

    blocks: tuple[Block, ...] | None
    problems: tuple[str, ...]
    num_tiles: int


def read_whole(
    chat: Chat,
    picture: Image.Image,
    layout: Layout,
    form: Literal["html", "markdown"],
    *,
    language: str | None = None,
    small_text: bool | None = None,
    attempts: int = 3,
    **options: Any,
) -> Whole:
    """Read an upright page. `small_text` None: decided by the size of the letters as the model sees them."""
    tiles = tiles_of(picture, layout, MAX_PIXELS[form])
    blocks: list[Block] = []
    problems: list[str] = []
    for number, tile in enumerate(tiles, 1):
        crop = picture.crop(tile) if len(tiles) > 1 else picture
        is_small = _em_seen(crop.size, layout, MAX_PIXELS[form]) < GOOD_EM if small_text is None else small_text
        prompt = prompts.added(
            prompts.HTML if form == "html" else prompts.MARKDOWN, language=language, small_text=is_small
        )
        what = [ImagePart(crop, MIN_PIXELS, MAX_PIXELS[form]), Text(prompt)]
        asked = ask(chat, what, _reader(form, crop.size, chat.name), attempts=attempts, **options)
        where = f"part {number} of {len(tiles)}: " if len(tiles) > 1 else ""
        problems += [where + repair for repair in asked.repairs]
        if asked.value is None:
            problems.append(f"{where}nothing was understood in {asked.num_attempts} attempts")
            continue
        blocks = _with(blocks, [_moved(block, tile[0], tile[1]) for block in asked.value])
    if not blocks:
        return Whole(None, tuple(problems), len(tiles))
    return Whole(tuple(placed(blocks, layout)), tuple(problems), len(tiles))


def _reader(form: str, size: tuple[int, int], model: str) -> Callable[[Reply], Read[Any] | None]:
    def read(reply: Reply) -> Read[Any] | None:
        media = reply.media[-1] if reply.media else None
        seen = (media.resized_width, media.resized_height) if media else None
        units = Units(size, scale_of(model), seen)
        if form == "markdown":
            return read_qwenvl_markdown(reply.text, units)
        found = read_qwenvl_html(reply.text, units)
        if found.value:
            return found
        return read_qwenvl_markdown(reply.text, units) if reply.text.strip() else None

    return read


def _em_seen(size: tuple[int, int], layout: Layout, max_pixels: int) -> float:
    """The size of letters in the picture that the model sees, in pixels."""
    zoom = min(1.0, (max_pixels / (size[0] * size[1])) ** 0.5)
    return layout.em * layout.scale * zoom if layout.em else GOOD_EM


def tiles_of(picture: Image.Image, layout: Layout, max_pixels: int) -> list[tuple[int, int, int, int]]:
    """The boxes that a page is read in, in reading order: the page, or parts of it in which letters are large enough.

    Where no empty stretch is near the middle the page is cut through its middle, with an overlap of two lines.
    """
    whole = (0, 0, picture.width, picture.height)
    if _em_seen(picture.size, layout, max_pixels) >= SMALLEST_EM or not layout.parts:
        return [whole]
    boxes = [scaled(line.box, layout.scale) for line in layout.lines]
    boxes += [scaled(part.box, layout.scale) for part in layout.parts if part.kind in ("figure", "table")]
    done: list[tuple[int, int, int, int]] = []
    left = [whole]
    while left:
        tile = left.pop(0)
        size = (tile[2] - tile[0], tile[3] - tile[1])
        enough = _em_seen(size, layout, max_pixels) >= GOOD_EM or min(size) < 256
        if enough or len(done) + len(left) + 1 >= MAX_TILES:
            done.append(tile)
        else:
            left[:0] = _halves(tile, boxes, layout.em * layout.scale)
    return done


def _halves(tile: tuple[int, int, int, int], boxes: Sequence[Rect], em: float) -> list[tuple[int, int, int, int]]:
    x1, y1, x2, y2 = tile
    inside = [box for box in boxes if box[0] < x2 and box[2] > x1 and box[1] < y2 and box[3] > y1]
    across = _gap(inside, 0, x1, x2, 1.2 * em)
    down = _gap(inside, 1, y1, y2, 0.0)
    if across is not None and (down is None or x2 - x1 > 0.6 * (y2 - y1)):
        return [(x1, y1, across, y2), (across, y1, x2, y2)]
    if down is not None:
        return [(x1, y1, x2, down), (x1, down, x2, y2)]
    overlap = round(2 * em)
    if x2 - x1 > y2 - y1:
        middle = (x1 + x2) // 2
        return [(x1, y1, middle + overlap, y2), (middle - overlap, y1, x2, y2)]
    middle = (y1 + y2) // 2
    return [(x1, y1, x2, middle + overlap), (x1, middle - overlap, x2, y2)]


def _gap(boxes: Sequence[Rect], axis: int, low: int, high: int, least: float) -> int | None:
    """The middle of the widest empty stretch in the middle half of a tile."""
    reached, best, place = float(low), least, None
    for box in [*sorted(boxes, key=lambda box: box[axis]), (high, high, high, high)]:
        gap, middle = box[axis] - reached, (box[axis] + reached) / 2
        if gap > best and low + 0.25 * (high - low) <= middle <= low + 0.75 * (high - low):
            best, place = gap, round(middle)
        reached = max(reached, box[axis + 2])
    return place


def _moved(block: Block, x: int, y: int) -> Block:
    if block.box is None or (x == 0 and y == 0):
        return block
    box = (block.box[0] + x, block.box[1] + y, block.box[2] + x, block.box[3] + y)
    return block.model_copy(update={"box": box})


def _with(blocks: list[Block], added: list[Block]) -> list[Block]:
    """Blocks of one more tile, without what an overlap of tiles shows twice."""
    kept = [block for block in added if not any(_is_same(block, other) for other in blocks[-8:])]
    return blocks + kept


def _is_same(a: Block, b: Block) -> bool:
    if a.box is None or b.box is None or a.kind != b.kind:
        return False
    width = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    height = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a.box, b.box))
    is_on_it = width > 0 and height > 0 and width * height > 0.5 * smaller
    return is_on_it and (a.text in b.text or b.text in a.text)


def placed(blocks: Sequence[Block], layout: Layout) -> Iterator[Block]:
    """Blocks with the lines and words that their boxes hold; blocks without a box take what is left, in order."""
    lines = layout.lines
    taken: set[int] = set()
    owned: dict[int, list[InkLine]] = {}
    for number, block in enumerate(blocks):
        if block.box is not None and block.kind != "figure":
            owned[number] = [line for line in lines if id(line) not in taken and _is_in(line, block.box, layout.scale)]
            taken.update(id(line) for line in owned[number])
        elif block.box is not None:
            taken.update(id(line) for line in lines if _is_in(line, block.box, layout.scale))
    free = [line for line in lines if id(line) not in taken]
    bare = [n for n, block in enumerate(blocks) if block.box is None and block.text]
    found = _spread([blocks[n].text.split() for n in bare], free, layout)
    found.update({n: _lines(blocks[n].text.split(), owned[n], layout) for n in owned})
    spread = dict(zip(bare, (found.pop(-1 - n, []) for n in range(len(bare))), strict=True))
    for number, block in enumerate(blocks):
        its = spread.get(number) or found.get(number) or []
        box = block.box
        if box is None and its:
            box = _around([line.box for line in its])
        yield block.model_copy(update={"lines": tuple(its), "box": box})


def _is_in(line: InkLine, box: Rect, scale: int) -> bool:
    x, y = (line.box[0] + line.box[2]) / 2 * scale, (line.box[1] + line.box[3]) / 2 * scale
    slack = 0.3 * line.em * scale
    return box[0] - slack <= x <= box[2] + slack and box[1] - slack <= y <= box[3] + slack


def _spread(texts: list[list[str]], lines: list[InkLine], layout: Layout) -> dict[int, list[Line]]:
    """Lines for each of several texts that follow each other; the key of text n is -1 - n."""
    words = [word for text in texts for word in text]
    owner = [number for number, text in enumerate(texts) for _ in text]
    result: dict[int, list[Line]] = {}
    pairs = _aligned(words, lines, layout)
    for number in range(len(texts)):
        own = [pair for pair, its in zip(pairs, owner, strict=False) if its == number]
        result[-1 - number] = _gathered(own, lines, layout)
    return result


def _lines(words: list[str], lines: list[InkLine], layout: Layout) -> list[Line]:
    return _gathered(_aligned(words, lines, layout), lines, layout)


def _aligned(words: list[str], lines: list[InkLine], layout: Layout) -> list[tuple[str, Rect]]:
    ink = [scaled(word, layout.scale) for line in lines for word in line.words]
    return align(words, ink, [line.em * layout.scale for line in lines for _ in line.words])


def _gathered(pairs: list[tuple[str, Rect]], lines: list[InkLine], layout: Layout) -> list[Line]:
    """Placed words as lines of the ink."""
    made = []
    for line in lines:
        box = scaled(line.box, layout.scale)
        own = [
            Word(text=text, box=(round(place[0], 1), box[1], round(place[2], 1), box[3]))
            for text, place in pairs
            if box[1] <= (place[1] + place[3]) / 2 <= box[3] and box[0] - 1 <= place[0] and place[2] <= box[2] + 1
        ]
        if own:
            around = (own[0].box[0], box[1], max(word.box[2] for word in own), box[3])
            made.append(Line(text=" ".join(word.text for word in own), box=around, words=tuple(own)))
    return made


def _around(boxes: Sequence[Rect]) -> Rect:
    x1, y1, x2, y2 = zip(*boxes, strict=True)
    return min(x1), min(y1), max(x2), max(y2)
