"""What was read from a page: blocks in reading order, with their lines, words, tables and figures.

Places are pixels of the picture as it was given (of a PDF page: as rendered at the chosen dpi), even where the page had
to be turned for reading. Everything is frozen, becomes JSON, and is read back from it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from regard.apps.result import Result

Rect = Annotated[
    tuple[float, float, float, float], Field(description="x1, y1, x2, y2 in pixels of the picture as given")
]
Kind = Literal["heading", "text", "list", "table", "figure", "formula", "caption", "unread"]
# How a page was read: line by line, as QwenVL HTML or Markdown, from the PDF's own text; nothing on it; not at all.
Source = Literal["lines", "html", "markdown", "pdf", "blank", "failed"]


class Word(Result):
    """A word and where it stands."""

    text: str
    box: Rect


class Line(Result):
    """A line of text; `confidence` from 0 to 1 where the model told it."""

    text: str
    box: Rect
    words: tuple[Word, ...] = ()
    confidence: float | None = None


class Cell(Result):
    """A cell of a table: its first row and column (0-based), how many of each it covers, what it says."""

    row: int
    column: int
    num_rows: int = 1
    num_columns: int = 1
    text: str = ""
    is_header: bool = False


class Table(Result):
    """A table as its cells, each once, row by row."""

    num_rows: int
    num_columns: int
    cells: tuple[Cell, ...]

    def grid(self) -> list[list[str]]:
        """Every place's text; a merged cell's stands at its first place, the others are empty."""
        rows = [[""] * self.num_columns for _ in range(self.num_rows)]
        for cell in self.cells:
            rows[cell.row][cell.column] = cell.text
        return rows


class Block(Result):
    """A paragraph, heading, list item, table or figure. `level` is a heading's (1 to 6); `file` a figure's picture."""

    kind: Kind
    text: str = ""
    box: Rect | None = None
    level: int = 0
    lines: tuple[Line, ...] = ()
    table: Table | None = None
    file: str | None = None


class PageText(Result):
    """A page as read. `turn`: degrees clockwise it was turned for reading; `skew`: degrees it leaned clockwise."""

    file: str
    page: int
    num_pages: int
    width: int
    height: int
    source: Source
    blocks: tuple[Block, ...] = ()
    turn: int = 0
    skew: float = 0.0
    problems: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The plain text, blocks apart by empty lines."""
        return "\n\n".join(block.text for block in self.blocks if block.text)

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines in reading order."""
        return tuple(line for block in self.blocks for line in block.lines)


class DocumentText(Result):
    """All pages of a file."""

    file: str
    pages: tuple[PageText, ...]

    @property
    def text(self) -> str:
        """The plain text, pages apart by form feeds."""
        return "\f".join(page.text for page in self.pages)
