"""QwenVL Markdown, as the models write it for the prompt `qwenvl markdown`, to blocks.

    ## Price list
    All prices in EUR.
    <!-- Table (60, 300, 930, 700) -->
    \\begin{tabular}{|c|c|} ... \\end{tabular}
    <!-- Image (60, 720, 500, 960) -->

A comment gives the box of the table that follows, or is a figure itself. Text has no boxes. Fences are optional, and
an answer that was cut is read as far as it goes. Tables of pipes and of HTML are read too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from regard.apps.documents.result import Block, Rect, Table
from regard.apps.documents.tables import table_of_html, table_of_latex, table_of_pipes
from regard.apps.reading import Read, read_code
from regard.processing.coordinates import Units

_COMMENT = re.compile(
    r"<!--\s*([A-Za-z][\w ]*?)\s*\(\s*(-?\d+(?:\.\d+)?)[\s,]+(-?\d+(?:\.\d+)?)[\s,]+(-?\d+(?:\.\d+)?)[\s,]+"
    r"(-?\d+(?:\.\d+)?)\s*\)\s*-->"
)
_ANY_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*$")
_ITEM = re.compile(r"\s*(?:[-*+\u2022]|\d{1,3}[.)])\s+\S")
_LATEX = re.compile(r"\\begin\{(tabular[x*]?|array|longtable)\}.*?(?:\\end\{\1\}|\Z)", re.DOTALL)
_HTML_TABLE = re.compile(r"<table\b.*?(?:</table\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_FORMULA = re.compile(r"\$\$(.+?)(?:\$\$|\Z)|\\\[(.+?)(?:\\\]|\Z)", re.DOTALL)
_TAG = re.compile(r"</?(?:div|p|span|center|b|i|u|sup|sub|br)\b[^<>]*>", re.IGNORECASE)


def read_qwenvl_markdown(text: str, units: Units) -> Read[tuple[Block, ...] | None]:
    """The blocks of an answer, in its order; None if it says nothing. Units: boxes in pixels of the picture."""
    found = read_code(text, "markdown")
    if not found.value.strip():
        return Read(None, found.repairs)
    repairs = tuple(repair for repair in found.repairs if "no fence" not in repair)
    blocks: list[Block] = []
    box: Rect | None = None
    label = ""
    position = 0
    source = found.value.replace("\r\n", "\n")
    for comment in [*_COMMENT.finditer(source), None]:
        end = comment.start() if comment else len(source)
        blocks += _blocks(source[position:end], box, label)
        if comment is None:
            break
        label = comment[1].lower()
        box = units.box_px(*(float(comment[n]) for n in range(2, 6)))
        position = comment.end()
    return Read(tuple(blocks) if blocks else None, repairs)


def _blocks(text: str, box: Rect | None, label: str) -> Iterator[Block]:
    """The blocks of what follows a comment; the box is its table's, or else a figure's of its own."""
    is_table = "table" in label
    if box is not None and not is_table:
        yield Block(kind="figure", box=box, text="" if label == "image" else label)
        box = None
    text = _ANY_COMMENT.sub("", text)
    position = 0
    for start, end, block in _special(text, box):
        yield from _paragraphs(text[position:start])
        yield block
        position = end
    yield from _paragraphs(text[position:])


def _special(text: str, box: Rect | None) -> Iterator[tuple[int, int, Block]]:
    """Tables and formulas with where they stand; the first table gets the box."""
    found: list[tuple[int, int, Table | None, str]] = []
    for match in _LATEX.finditer(text):
        found.append((match.start(), match.end(), table_of_latex(match[0]), ""))
    for match in _HTML_TABLE.finditer(text):
        found.append((match.start(), match.end(), table_of_html(match[0]), ""))
    for match in _FORMULA.finditer(text):
        found.append((match.start(), match.end(), None, (match[1] or match[2] or "").strip()))
    position = 0
    for start, end, table, formula in sorted(found, key=lambda item: item[0]):
        if start < position or (table is None and not formula):
            continue
        if table is None:
            yield start, end, Block(kind="formula", text=formula)
        else:
            yield start, end, table_block(table, box)
            box = None
        position = end


def table_block(table: Table, box: Rect | None) -> Block:
    """A table as a block."""
    return Block(kind="table", box=box, table=table, text="\n".join("\t".join(row) for row in table.grid()))


def _paragraphs(text: str) -> Iterator[Block]:
    for piece in re.split(r"\n\s*\n", text):
        table = table_of_pipes(piece)
        if table is not None:
            yield table_block(table, None)
            continue
        kept: list[str] = []
        for line in piece.split("\n"):
            line = _TAG.sub("", line).rstrip()
            heading = _HEADING.fullmatch(line.strip())
            if heading or not line.strip():
                yield from _text(kept)
                kept = []
            if heading and heading[2]:
                yield Block(kind="heading", text=heading[2], level=len(heading[1]))
            elif line.strip() and not heading:
                kept.append(line.strip())
        yield from _text(kept)


def _text(lines: list[str]) -> Iterator[Block]:
    if lines:
        kind = "list" if all(_ITEM.match(line) for line in lines) else "text"
        yield Block(kind="list" if kind == "list" else "text", text="\n".join(lines))
