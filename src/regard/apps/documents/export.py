"""Pages as Markdown, HTML, JSON, plain text, CSV and XLSX, written page after page.

All writers take an iterator, so that memory does not grow with the number of pages, and write the same bytes for the
same pages: no dates, no times, no random names.
"""

from __future__ import annotations

import html
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from regard.apps.documents.result import Block, PageText, Table
from regard.apps.documents.tables import table_to_csv, table_to_html, table_to_markdown
from regard.errors import InputError, MissingDependencyError

FORMATS = ("md", "html", "json", "txt", "pdf", "csv", "xlsx")
MAX_CELL = 32_767  # letters that a spreadsheet takes in one cell
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|])")
_STYLE = """
body { font: 16px/1.5 Georgia, serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
section { border-bottom: 1px solid #8886; margin-bottom: 2rem; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { border: 1px solid #8888; padding: .2rem .6rem; }
img { max-width: 100%; } .unread { color: #b00; } .page { color: #888; font: 12px sans-serif; }
pre { white-space: pre-wrap; }
"""


@contextmanager
def draft_of(path: Path) -> Iterator[IO[str]]:
    """A text file that takes its name only when it is whole."""
    draft = path.with_name(f".{path.name}.part")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written ({error.strerror}); name another place") from None


def block_to_markdown(block: Block) -> str:
    """A block as Markdown; letters that Markdown would take for its own signs are kept as letters."""
    if block.kind == "heading":
        return f"{'#' * max(1, min(block.level or 2, 6))} {escaped(block.text)}"
    if block.kind == "table" and block.table is not None:
        return table_to_markdown(block.table)
    if block.kind == "figure":
        return f"![{escaped(block.text)}]({block.file})" if block.file else f"<!-- figure{_place(block)} -->"
    if block.kind == "formula":
        return f"$$\n{block.text.strip('$ ')}\n$$"
    if block.kind == "list":
        return "\n".join(_item(line) for line in block.text.split("\n"))
    if block.kind == "caption":
        return f"*{escaped(block.text)}*"
    return escaped(block.text).replace("\n", "  \n")


def escaped(text: str) -> str:
    """Text without meaning to Markdown; also at the start of a line, where a number makes a list."""
    text = _SPECIAL.sub(r"\\\1", text)
    return re.sub(
        r"^(\s*)([-+=]|\d{1,9}[.)])(\s|$)", lambda m: f"{m[1]}{m[2][:-1]}\\{m[2][-1]}{m[3]}", text, flags=re.M
    )


def _item(line: str) -> str:
    found = re.match(r"\s*(?:[\u2022\u25cf\u25aa\u25a0\u25e6\u2023*\u2013\u2014-]|\(?(\d{1,3})[.)])\s+(.*)", line)
    if found is None:
        return f"- {escaped(line)}"
    return f"{found[1]}. {escaped(found[2])}" if found[1] else f"- {escaped(found[2])}"


def _place(block: Block) -> str:
    return f" ({', '.join(f'{value:.0f}' for value in block.box)})" if block.box else ""


def page_to_markdown(page: PageText) -> str:
    """A page as Markdown, which says so where it was not read."""
    if page.source == "failed":
        reason = (page.problems or ("",))[0].replace("--", "- -")
        return f"<!-- page {page.page} was not read: {reason} -->"
    return "\n\n".join(block_to_markdown(block) for block in page.blocks)


def write_markdown(pages: Iterable[PageText], path: Path) -> None:
    """Pages apart by a comment with their number."""
    with draft_of(path) as file:
        for page in pages:
            if page.num_pages > 1:
                file.write(f"<!-- page {page.page} -->\n\n")
            text = page_to_markdown(page)
            file.write(f"{text}\n\n" if text else "")


def write_text(pages: Iterable[PageText], path: Path) -> None:
    """Plain text, a form feed behind each page but the last."""
    with draft_of(path) as file:
        for page in pages:
            file.write(page.text + ("\n\f" if page.page < page.num_pages else "\n"))


def block_to_html(block: Block) -> str:
    """A block as HTML with its place on the page, in pixels."""
    box = f' data-bbox="{" ".join(f"{value:g}" for value in block.box)}"' if block.box else ""
    text = html.escape(block.text, quote=False).replace("\n", "<br>")
    if block.kind == "heading":
        level = max(1, min(block.level or 2, 6))
        return f"<h{level}{box}>{text}</h{level}>"
    if block.kind == "table" and block.table is not None:
        return f'<div class="table"{box}>{table_to_html(block.table)}</div>'
    if block.kind == "figure":
        image = f'<img src="{html.escape(block.file)}" alt="{html.escape(block.text)}">' if block.file else ""
        return f'<div class="figure"{box}>{image}</div>'
    if block.kind == "unread":
        return '<p class="unread">This page was not read.</p>'
    if block.kind == "list":
        items = "".join(f"<li>{html.escape(line, quote=False)}</li>" for line in block.text.split("\n"))
        return f'<ul style="list-style: none"{box}>{items}</ul>'
    if block.kind == "formula":
        return f'<pre class="formula"{box}>{html.escape(block.text, quote=False)}</pre>'
    return f'<p class="{block.kind}"{box}>{text}</p>'


def write_html(pages: Iterable[PageText], path: Path) -> None:
    """One page of HTML; `data-bbox` are pixels of the picture, whose size stands at each section."""
    title = html.escape(path.stem)
    with draft_of(path) as file:
        file.write(
            f'<!DOCTYPE html>\n<html>\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
            f"<style>{_STYLE}</style>\n</head>\n<body>\n"
        )
        for page in pages:
            file.write(f'<section data-page="{page.page}" data-size="{page.width} {page.height}">\n')
            file.write(f'<div class="page">page {page.page}</div>\n' if page.num_pages > 1 else "")
            file.writelines(block_to_html(block) + "\n" for block in page.blocks)
            file.write("</section>\n")
        file.write("</body>\n</html>\n")


def write_json(pages: Iterable[PageText], path: Path) -> None:
    """An object with the file's name and its pages, one page a line; `DocumentText` reads it."""
    with draft_of(path) as file:
        is_first = True
        for page in pages:
            if is_first:
                file.write(f'{{"file": {json.dumps(page.file, ensure_ascii=False)}, "pages": [\n')
            file.write(("" if is_first else ",\n") + json.dumps(page.to_json(), ensure_ascii=False))
            is_first = False
        file.write("\n]}\n" if not is_first else '{"file": "", "pages": []}\n')


def tables_of(pages: Iterable[PageText]) -> Iterator[tuple[str, Table]]:
    """All tables, each with a name that says where it stands."""
    for page in pages:
        tables = [block.table for block in page.blocks if block.table is not None]
        for number, table in enumerate(tables, 1):
            yield f"page-{page.page:04}-table-{number}", table


def write_csv(pages: Iterable[PageText], path: Path) -> None:
    """One file for each table, in a folder."""
    path.mkdir(parents=True, exist_ok=True)
    for name, table in tables_of(pages):
        with draft_of(path / f"{name}.csv") as file:
            file.write(table_to_csv(table))


def write_xlsx(pages: Iterable[PageText], path: Path) -> None:
    """A workbook with one sheet for each table, merged cells merged. Nothing is written as a formula."""
    try:
        import openpyxl
    except ImportError:
        raise MissingDependencyError(
            "writing XLSX needs openpyxl, which is not installed; run: pip install 'regard[documents]'"
        ) from None
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
    from openpyxl.styles import Font

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, table in tables_of(pages):
        sheet = book.create_sheet(name)
        for cell in table.cells:
            text = ILLEGAL_CHARACTERS_RE.sub("", cell.text)[:MAX_CELL]
            place = sheet.cell(cell.row + 1, cell.column + 1)
            number = as_number(text)
            if number is not None:
                place.value = number
            elif text:
                place.value = text
                place.data_type = "s"  # "=1+1" on a page is text
            if cell.is_header:
                place.font = Font(bold=True)
            if cell.num_rows > 1 or cell.num_columns > 1:
                sheet.merge_cells(
                    start_row=cell.row + 1,
                    start_column=cell.column + 1,
                    end_row=cell.row + cell.num_rows,
                    end_column=cell.column + cell.num_columns,
                )
    if not book.worksheets:
        book.create_sheet("no tables")
    buffer = io.BytesIO()
    book.save(buffer)
    _write_dateless(buffer, path)


def as_number(text: str) -> int | float | None:
    """A plain number as it is written in English or in code; anything that could mean two numbers stays text."""
    text = text.strip()
    if re.fullmatch(r"-?(?:0|[1-9]\d{0,14})", text):
        return int(text)
    if re.fullmatch(r"-?(?:0|[1-9]\d{0,11})\.\d{1,6}", text):
        return float(text)
    return None


def _write_dateless(buffer: io.BytesIO, path: Path) -> None:
    """The workbook without the time of writing, so that equal tables give equal files."""
    draft = path.with_name(f".{path.name}.part")
    with zipfile.ZipFile(buffer) as made, zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(made.namelist()):
            data = made.read(name)
            if name == "docProps/core.xml":
                data = re.sub(rb"(<dcterms:\w+[^>]*>)[^<]*", rb"\g<1>2000-01-01T00:00:00Z", data)
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, data)
    draft.replace(path)


WRITERS: dict[str, Callable[[Iterable[PageText], Path], None]] = {
    "md": write_markdown,
    "html": write_html,
    "json": write_json,
    "txt": write_text,
    "csv": write_csv,
    "xlsx": write_xlsx,
}
