"""Small papers with questions in the prompts of document reading: text, Markdown, HTML, JSON by key, boxes.

`make` draws one paper (headings, paragraphs, lists, labels with values, tables, pictures) and asks up to `num_turns`
questions about it. Every truth has a `kind`:

    text       all lines; truth text
    html       "qwenvl html"; truth html
    markdown   "qwenvl markdown"; truth text (the Markdown)
    table      a table alone to HTML; truth html
    pairs      JSON by key, absent keys are ""; truth pairs
    spot       lines with boxes as JSON; truth texts, boxes (0-1000)
    find       the box of one text; truth text, boxes

Prompts and formats are those of `regard document` and of the model family. Long papers are not made: an answer is a few
hundred tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import numpy as np

from regard.messages import Image, Message, Text
from regard.train.world.document_page import Block, Cell, Line, Paper
from regard.train.world.document_text import LABELS, Texts
from regard.train.world.sample import Sample, verbatim
from regard.train.world.screen_lists import fenced, thousandths
from regard.train.world.shapes import choose

READ = "Read all the text in the image."
HTML, MARKDOWN = "qwenvl html", "qwenvl markdown"
PAIRS = "Extract the key-value information in the format:{}"
SPOT = (
    "Spotting all the text in the image with line-level, and output in JSON format as "
    "[{'bbox_2d': [x1, y1, x2, y2], 'text_content': 'text'}, ...]."
)
FIND = 'Locate the text "{}" in the image, report its bbox coordinates in JSON format.'
_READ = (READ, READ, READ, "Transcribe this page.", "Read this page.", "OCR this image.")
_TABLE = ("Convert the table to HTML.", "Write the table as HTML.", "Table to HTML.")
_SIZES = ((256, 256), (288, 256), (320, 256), (256, 320), (320, 320), (384, 256), (352, 288), (384, 384))
_HELD_OUT_SIZES = ((288, 288), (320, 288), (384, 320), (320, 256))
_TABLE_SIZES = ((256, 128), (320, 128), (320, 160), (384, 192), (256, 160))
_PARAGRAPH_SIZES = ((256, 64), (288, 96), (320, 96), (320, 128), (256, 128), (384, 160))
_MAX_SPOTTED = 5
_MAX_PARAGRAPH_LINES = 6

Asked = tuple[str, str, dict[str, Any]]  # question, answer, truth


def make(rng: np.random.Generator, *, held_out: bool, num_turns: int = 1) -> Sample:
    """One paper with up to `num_turns` questions, none twice; `truth` belongs to the first."""
    paper = choose(rng, (_mixed, _receipt, _paragraph, _table_only), weights=(0.36, 0.24, 0.2, 0.2))(
        rng, held_out=held_out
    )
    if rng.random() < 0.8:
        paper.trim()
    asked = [made for ask in _drawn(rng, paper) if (made := ask(rng, paper)) is not None][:num_turns]
    picture, dense = paper.finish()
    messages: list[Message] = []
    for question, answer, _ in asked:
        parts = (Text(question),) if messages else (Image(picture), Text(question))
        messages += [Message("user", parts), Message("assistant", (Text(answer),))]
    truth = {**asked[0][2], "width": picture.width, "height": picture.height}
    return Sample("documents", tuple(messages), truth, dense)


# --- papers ---------------------------------------------------------------------------------------------------------


def _new(rng: np.random.Generator, sizes: Sequence[tuple[int, int]], *, held_out: bool) -> tuple[Paper, Texts]:
    return Paper(rng, *choose(rng, sizes), held_out=held_out), Texts(rng, held_out=held_out)


def _mixed(rng: np.random.Generator, *, held_out: bool) -> Paper:
    """A heading and up to three other blocks."""
    while True:
        paper, texts = _new(rng, _HELD_OUT_SIZES if held_out else _SIZES, held_out=held_out)
        if rng.random() < 0.8:
            paper.heading(texts.title(int(rng.integers(1, 4))), int(rng.integers(1, 3)))
        kinds = ("paragraph", "paragraph", "table", "list", "pairs", "picture", "heading")
        for kind in [choose(rng, kinds) for _ in range(int(rng.integers(1, 4)))]:
            _add(rng, paper, texts, kind)
        if any(block.lines for block in paper.blocks):
            return paper


def _add(rng: np.random.Generator, paper: Paper, texts: Texts, kind: str) -> None:
    if kind == "paragraph":
        running = texts.running()
        words = [next(running) for _ in range(int(rng.integers(4, 22)))]
        paper.paragraph(paper.wrapped(words, max_lines=int(rng.integers(1, 5))))
    elif kind == "table":
        paper.table(table_cells(rng, texts, max_rows=4, max_columns=3))
    elif kind == "list":
        paper.listing([texts.title(int(rng.integers(1, 4))) for _ in range(int(rng.integers(2, 5)))])
    elif kind == "pairs":
        paper.pairs(texts.rows(int(rng.integers(2, 4))))
    elif kind == "picture":
        paper.picture()
    else:
        paper.heading(texts.title(int(rng.integers(1, 4))), 2)


def _receipt(rng: np.random.Generator, *, held_out: bool) -> Paper:
    """Labels with values, perhaps under a heading and around a list of prices."""
    while True:
        sizes = ((256, 128), (288, 160), (320, 192), (320, 256), (256, 192))
        paper, texts = _new(rng, sizes, held_out=held_out)
        if rng.random() < 0.5:
            paper.heading(choose(rng, (texts.company(), texts.title(2))), 2)
        pairs = texts.rows(int(rng.integers(2, 7)))
        if paper.pairs(pairs[:4]):
            if pairs[4:] and rng.random() < 0.7:
                paper.pairs(pairs[4:])
            return paper


def _paragraph(rng: np.random.Generator, *, held_out: bool) -> Paper:
    """Running text alone."""
    while True:
        paper, texts = _new(rng, _PARAGRAPH_SIZES, held_out=held_out)
        running = texts.running()
        lines = paper.wrapped(
            [next(running) for _ in range(60)], max_lines=int(rng.integers(2, _MAX_PARAGRAPH_LINES + 1))
        )
        while lines and not paper.paragraph(lines):
            lines = lines[:-1]
        if paper.blocks:
            return paper


def _table_only(rng: np.random.Generator, *, held_out: bool) -> Paper:
    """A table up to 5x5."""
    while True:
        paper, texts = _new(rng, _TABLE_SIZES, held_out=held_out)
        if paper.table(table_cells(rng, texts, max_rows=5, max_columns=5)):
            return paper


def table_cells(rng: np.random.Generator, texts: Texts, *, max_rows: int, max_columns: int) -> list[list[Cell]]:
    """Columns of one kind of value each, a head, and in one table of four a cell over two columns or rows."""
    num_rows, num_columns = int(rng.integers(2, max_rows + 1)), int(rng.integers(2, max_columns + 1))
    kinds = [choose(rng, ("word", "count", "amount", "word", "time", "percent")) for _ in range(num_columns)]
    rows = [[Cell(texts.word().title()) for _ in kinds]]
    for _ in range(num_rows - 1):
        made = [texts.word().title() if kind == "word" else texts.value(kind) for kind in kinds]
        rows.append([Cell("" if rng.random() < 0.04 else text) for text in made])
    if rng.random() < 0.3:
        _merge(rng, rows)
    return rows


def _merge(rng: np.random.Generator, rows: list[list[Cell]]) -> None:
    """One cell takes the place of its right or lower neighbour, too."""
    row, column = int(rng.integers(len(rows))), int(rng.integers(len(rows[0])))
    if rng.random() < 0.5 and column + 1 < len(rows[0]):
        rows[row][column] = replace(rows[row][column], across=2)
        del rows[row][column + 1]
    elif row + 1 < len(rows) and row > 0:
        rows[row][column] = replace(rows[row][column], down=2)
        del rows[row + 1][column]


# --- answers --------------------------------------------------------------------------------------------------------


def lines_of(paper: Paper) -> list[list[Line]]:
    """The lines of a paper in reading order; cells of a table's row stand in one line."""
    lines: list[list[Line]] = []
    for block in paper.blocks:
        rows: dict[float, list[Line]] = {}
        for line in block.lines:
            rows.setdefault(round(line.box[1]) if block.kind == "table" else len(rows), []).append(line)
        lines += rows.values()
    return lines


def as_html(paper: Paper) -> str:
    """The family's HTML: one block a line, each with its box."""
    blocks = [_html_block(block, (paper.width, paper.height)) for block in paper.blocks]
    return "<html><body>" + "\n".join(blocks) + "</body></html>"


def _html_block(block: Block, size: tuple[int, int]) -> str:
    box = " ".join(str(v) for v in thousandths(block.box, size))
    if block.kind == "heading":
        return f'<h{block.level} data-bbox="{box}">{_marked(block.lines[0].text)}</h{block.level}>'
    if block.kind == "image":
        return f'<div class="image" data-bbox="{box}"></div>'
    if block.kind == "table":
        return f'<div class="table" data-bbox="{box}">{html_table(block)}</div>'
    if block.kind == "list":
        items = "".join(f"<li>{_marked(line.text)}</li>" for line in block.lines)
        return f'<ul data-bbox="{box}">{items}</ul>'
    joint = "\n" if block.kind == "rows" else " "
    return f'<div class="text" data-bbox="{box}">{_marked(joint.join(line.text for line in block.lines))}</div>'


def html_table(block: Block) -> str:
    """A table without boxes; merged cells have colspan or rowspan."""
    rows = ["".join(_html_cell(cell) for cell in row) for row in block.cells]
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def _html_cell(cell: Cell) -> str:
    across = f' colspan="{cell.across}"' if cell.across > 1 else ""
    down = f' rowspan="{cell.down}"' if cell.down > 1 else ""
    return f"<td{across}{down}>{_marked(cell.text)}</td>"


def _marked(text: str) -> str:
    return verbatim(escape(text, quote=False)) if text else ""


def as_markdown(paper: Paper) -> str:
    """The family's Markdown: tables as LaTeX behind their box, pictures as their box."""
    size = (paper.width, paper.height)
    return "```markdown\n" + "\n".join(_markdown_block(block, size) for block in paper.blocks) + "\n```"


def _markdown_block(block: Block, size: tuple[int, int]) -> str:
    box = ", ".join(str(v) for v in thousandths(block.box, size))
    if block.kind == "heading":
        return f"{'#' * block.level} {verbatim(block.lines[0].text)}"
    if block.kind == "image":
        return f"<!-- Image ({box}) -->"
    if block.kind == "table":
        columns = sum(cell.across for cell in block.cells[0])
        rows = [" & ".join(verbatim(cell.text) if cell.text else "" for cell in row) for row in block.cells]
        body = "\n".join(f"{row} \\\\ \\hline" for row in rows)
        return f"<!-- Table ({box}) -->\n\\begin{{tabular}}{{|{'c|' * columns}}}\n\\hline\n{body}\n\\end{{tabular}}"
    if block.kind == "list":
        return "\n".join(f"- {verbatim(line.text)}" for line in block.lines)
    joint = "\n" if block.kind == "rows" else " "
    return verbatim(joint.join(line.text for line in block.lines))


def _ask_text(rng: np.random.Generator, paper: Paper) -> Asked | None:
    text = "\n".join(" ".join(line.text for line in row) for row in lines_of(paper))
    return choose(rng, _READ), verbatim(text), {"kind": "text", "text": text}


def _ask_html(rng: np.random.Generator, paper: Paper) -> Asked | None:
    made = as_html(paper)
    return HTML, made, {"kind": "html", "html": made.replace("\u0001", "").replace("\u0002", "")}


def _ask_markdown(rng: np.random.Generator, paper: Paper) -> Asked | None:
    if any(cell.across + cell.down > 2 for block in paper.blocks for row in block.cells for cell in row):
        return None  # the family has no one way to write merged cells here
    made = as_markdown(paper)
    return MARKDOWN, made, {"kind": "markdown", "text": made.replace("\u0001", "").replace("\u0002", "")}


def _ask_table(rng: np.random.Generator, paper: Paper) -> Asked | None:
    tables = [block for block in paper.blocks if block.kind == "table"]
    if len(tables) != 1:
        return None
    made = html_table(tables[0])
    truth = {"kind": "table", "html": made.replace("\u0001", "").replace("\u0002", "")}
    return choose(rng, _TABLE), made, truth


def _ask_pairs(rng: np.random.Generator, paper: Paper) -> Asked | None:
    """Some of the values by key, and now and then a key that is not there."""
    shown = {label: value for block in paper.blocks for label, value in block.pairs}
    if not shown:
        return None
    labels = list(shown)
    wanted = [labels[int(i)] for i in rng.permutation(len(labels))[: int(rng.integers(1, 5))]]
    found = {key_of(label): shown[label] for label in wanted}
    absent = [name for name in LABELS if key_of(name) not in map(key_of, shown)]
    if rng.random() < 0.3:
        found[key_of(choose(rng, absent))] = ""
    order = [list(found)[int(i)] for i in rng.permutation(len(found))]
    question = PAIRS.format(json.dumps(dict.fromkeys(order, "")))
    fields = [f'{json.dumps(key)}: "{_in_json(found[key])}"' for key in order]
    truth = {"kind": "pairs", "pairs": {key: found[key] for key in order}}
    return question, "{" + ", ".join(fields) + "}", truth


def key_of(label: str) -> str:
    """The key that asks for a label: "Invoice no." -> "invoice_number"."""
    return label.lower().replace("no.", "number").replace("-", "").strip(".").replace(" ", "_")


def _in_json(text: str) -> str:
    return verbatim(json.dumps(text, ensure_ascii=False)[1:-1]) if text else ""


def _ask_spot(rng: np.random.Generator, paper: Paper) -> Asked | None:
    """Lines with boxes; pieces that stand far apart in one line are several."""
    lines = [line for row in lines_of(paper) for line in row]
    if not 0 < len(lines) <= _MAX_SPOTTED:
        return None
    boxes = [thousandths(line.box, (paper.width, paper.height)) for line in lines]
    made = [
        f'{{"bbox_2d": {json.dumps(box)}, "text_content": "{_in_json(line.text)}"}}'
        for box, line in zip(boxes, lines, strict=True)
    ]
    return SPOT, fenced(made), {"kind": "spot", "texts": [line.text for line in lines], "boxes": boxes}


def _ask_find(rng: np.random.Generator, paper: Paper) -> Asked | None:
    """Where a line, a cell or a value stands."""
    lines = [line for block in paper.blocks for line in block.values or block.lines]
    everything = "\n".join(line.text for block in paper.blocks for line in block.lines)
    once = [line for line in lines if everything.count(line.text) == 1 and '"' not in line.text]
    if not once:
        return None
    line = choose(rng, once)
    box = thousandths(line.box, (paper.width, paper.height))
    made = f'{{"bbox_2d": {json.dumps(box)}, "label": "{_in_json(line.text)}"}}'
    return FIND.format(line.text), fenced([made]), {"kind": "find", "text": line.text, "boxes": [box]}


_ASKS: dict[Callable[[np.random.Generator, Paper], Asked | None], float] = {
    _ask_text: 0.16,
    _ask_html: 0.2,
    _ask_markdown: 0.12,
    _ask_table: 0.16,
    _ask_pairs: 0.2,
    _ask_spot: 0.06,
    _ask_find: 0.1,
}


def _drawn(rng: np.random.Generator, paper: Paper) -> list[Callable[[np.random.Generator, Paper], Asked | None]]:
    """All kinds of questions in a random order that their weights lead."""
    asks, weights = list(_ASKS), np.array(list(_ASKS.values()))
    keys = rng.exponential(size=len(asks)) / weights
    return [asks[int(i)] for i in np.argsort(keys)]
