"""The HTML report of a run: every page as a thumbnail with what was found on it, and what is wrong, first."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from regard import html_page
from regard.apps.documents.export import draft_of
from regard.apps.documents.result import PageText

SIDE = 220  # pixels of a thumbnail's longer side
COLORS = {"heading": "#c0143c", "table": "#0a7d32", "figure": "#b86a00", "formula": "#7a1fa2", "unread": "#c00"}
OTHER = "#1466c8"
_STYLE = """
.pages { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; width: 230px; font-size: 12px; }
figure img { border: 1px solid #8888; background: #fff; } .bad { color: #c00; } h2 { margin-top: 2rem; }
"""
_SOURCES = {
    "lines": "read by line",
    "html": "read whole",
    "markdown": "read whole",
    "pdf": "the PDF's own text",
    "blank": "blank",
    "failed": "not read",
}


@dataclass(frozen=True)
class ReportRow:
    """A page of a file (`page` 0: a file that could not be opened), with links to its output and its thumbnail."""

    file: str
    page: int
    link: str
    picture: str
    text: PageText | None
    error: str = ""


def thumbnail(picture: Image.Image, text: PageText) -> Image.Image:
    """A small picture of a page with the boxes of its blocks."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    zoom = small.width / picture.width
    pen = ImageDraw.Draw(small)
    for block in text.blocks:
        if block.box is not None:
            x1, y1, x2, y2 = (round(value * zoom) for value in block.box)
            pen.rectangle((x1 - 1, y1 - 1, max(x2, x1) + 1, max(y2, y1) + 1), outline=COLORS.get(block.kind, OTHER))
    return small


def write_report(rows: Iterable[ReportRow], path: Path, *, title: str) -> None:
    """Write the report, row after row."""
    whole = html_page.page(html.escape(title), "\0", _STYLE)
    head, _, tail = whole.partition("\0")
    with draft_of(path) as file:
        file.write(head)
        now: tuple[str, str] | None = None
        for row in rows:
            if now != (row.file, row.link):
                file.write(("</div>\n" if now is not None else "") + _heading(row))
                now = (row.file, row.link)
            if row.error:
                file.write(f'<p class="bad">{html.escape(row.error)}</p>\n')
            elif row.text is not None:
                file.write(_figure(row, row.text))
        file.write("</div>\n" if now is not None else "")
        file.write(tail)


def _heading(row: ReportRow) -> str:
    name = html.escape(row.file)
    return f'<h2><a href="{html.escape(row.link)}">{name}</a></h2>\n<div class="pages">\n' if row.link else (
        f'<h2>{name}</h2>\n<div class="pages">\n'
    )  # fmt: skip


def _figure(row: ReportRow, page: PageText) -> str:
    image = f'<img src="{html.escape(row.picture)}" loading="lazy" alt="page {page.page}">' if row.picture else ""
    told = [f"page {page.page}", _SOURCES[page.source]]
    num_words = len(page.text.split())
    told.append(f"{num_words} words, {len(page.blocks)} blocks" if page.source != "failed" else "")
    told += [f"turned by {page.turn}&deg;"] if page.turn else []
    told += [f"leaned by {page.skew}&deg;"] if page.skew else []
    problems = "".join(f'<br><span class="bad">{html.escape(problem)}</span>' for problem in page.problems)
    caption = ", ".join(part for part in told if part)
    return f"<figure>{image}<figcaption>{caption}{problems}</figcaption></figure>\n"
