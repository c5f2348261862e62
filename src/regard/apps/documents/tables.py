"""Tables as models write them (HTML, LaTeX tabular, Markdown pipes) to cells, and cells to HTML, Markdown and CSV.

Merged cells keep their extent: `colspan` and `rowspan`, `\\multicolumn` and `\\multirow`. What does not fit together
(spans that overlap, rows of different length) is laid out as browsers do, and never fails.
"""

from __future__ import annotations

import csv
import html
import io
import re
from dataclasses import dataclass
from html.parser import HTMLParser

from regard.apps.documents.result import Cell, Table

MAX_SPAN = 1000
MAX_PLACES = 200_000  # of one table; a span that would make more is cut


@dataclass
class RawCell:
    """A cell as it was written: what it covers and says."""

    text: str = ""
    num_rows: int = 1
    num_columns: int = 1
    is_header: bool = False


def make_table(rows: list[list[RawCell]]) -> Table | None:
    """Lay cells out from left to right in the free places of each row; None for a table without cells."""
    taken: set[tuple[int, int]] = set()
    cells: list[Cell] = []
    for number, row in enumerate(rows):
        column = 0
        for cell in row:
            while (number, column) in taken:
                column += 1
            wide = min(max(cell.num_columns, 1), MAX_SPAN)
            high = min(max(cell.num_rows, 1), MAX_SPAN, len(rows) - number)
            if len(taken) + wide * high > MAX_PLACES:
                wide = high = 1
            while wide > 1 and any((number, column + n) in taken for n in range(wide)):
                wide -= 1
            taken.update((number + down, column + across) for down in range(high) for across in range(wide))
            cells.append(
                Cell(
                    row=number,
                    column=column,
                    num_rows=high,
                    num_columns=wide,
                    text=cell.text.strip(),
                    is_header=cell.is_header,
                )
            )
            column += wide
    if not cells:
        return None
    num_columns = max(column for _, column in taken) + 1
    return Table(num_rows=len(rows), num_columns=num_columns, cells=tuple(cells))


class TableParser(HTMLParser):
    """Reads the first table of an HTML text; an inner table's text goes to the cell that holds it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[RawCell]] = []
        self._depth = 0
        self._cell: RawCell | None = None
        self._is_head = False
        self._is_done = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag opens."""
        if tag == "table":
            self._depth += 1
        elif self._depth > 1 or self._is_done:
            return
        elif tag == "thead":
            self._is_head = True
        elif tag == "tr":
            self._cell = None
            self.rows.append([])
        elif tag in ("td", "th"):
            if not self.rows:
                self.rows.append([])
            known = dict(attrs)
            self._cell = RawCell(
                "", _span(known.get("rowspan")), _span(known.get("colspan")), tag == "th" or self._is_head
            )
            self.rows[-1].append(self._cell)
        elif tag in ("br", "p", "div", "li") and self._cell is not None and self._cell.text:
            self._cell.text += "\n"

    def handle_endtag(self, tag: str) -> None:
        """A tag closes."""
        if tag == "table":
            self._depth -= 1
            self._is_done = self._is_done or self._depth <= 0
        elif tag == "thead":
            self._is_head = False
        elif tag in ("td", "th", "tr") and self._depth <= 1:
            self._cell = None

    def handle_data(self, data: str) -> None:
        """Text."""
        if self._cell is not None and not self._is_done:
            self._cell.text += re.sub(r"\s+", " ", data)


def _span(value: str | None) -> int:
    found = re.match(r"\s*(\d{1,5})", value or "")
    return int(found[1]) if found else 1


def table_of_html(text: str) -> Table | None:
    """The first table of an HTML text, None if there is none."""
    parser = TableParser()
    parser.feed(text)
    parser.close()
    return make_table([row for row in parser.rows if row])


_TABULAR = re.compile(r"\\begin\{(tabular[x*]?|array|longtable)\}")
_RULE = re.compile(r"\\(?:hline|toprule|midrule|bottomrule)\b|\\(?:cline|cmidrule)(?:\([^)]*\))?\{[^{}]*\}")
_MULTI = re.compile(r"\\multi(column|row)\s*(?:\[[^\]]*\])?\{")
_STYLE = re.compile(r"\\(?:textbf|textit|emph|underline|text|mathrm|mathbf|texttt|makecell|textsc)\{")
_ESCAPED = re.compile(r"\\([&%$#_{}])")


def table_of_latex(text: str) -> Table | None:
    """The first tabular of a LaTeX text, also one that was cut; None if there is none."""
    start = _TABULAR.search(text)
    if start is None:
        return None
    body = text[start.end() :]
    while body.lstrip().startswith("{") or body.lstrip().startswith("["):  # the columns; tabularx has a width before
        body = body.lstrip()
        body = body[len(_group(body)) + 2 :] if body[0] == "{" else body.partition("]")[2]
    end = re.search(r"\\end\{" + re.escape(start[1]) + r"\}", body)
    body = _RULE.sub("", body[: end.start()] if end else body)
    rows: list[list[RawCell]] = []
    for row in _split(body, "\\\\"):
        row = re.sub(r"^\s*\[[^\]]*\]", "", row)  # the space behind a row
        if row.strip():
            rows.append([_latex_cell(cell) for cell in _split(row, "&")])
    return make_table(_without_covered(rows))


def _group(text: str) -> str:
    """What stands between the brace that a text begins with and its partner."""
    depth = 0
    for place, letter in enumerate(text):
        if letter == "\\":
            continue
        depth += (letter == "{") - (letter == "}")
        if depth == 0:
            return text[1:place]
    return text[1:]


def _split(text: str, mark: str) -> list[str]:
    """Parts between marks that stand outside braces."""
    parts, depth, start, place = [], 0, 0, 0
    while place < len(text):
        if depth <= 0 and text.startswith(mark, place):
            parts.append(text[start:place])
            place += len(mark)
            start = place
            continue
        if text[place] == "\\":
            place += 2  # an escaped letter is neither brace nor mark
            continue
        depth += (text[place] == "{") - (text[place] == "}")
        place += 1
    return [*parts, text[start:]]


def _latex_cell(text: str) -> RawCell:
    cell, is_header = RawCell(), "\\textbf{" in text
    while found := _MULTI.search(text):
        count = _group(text[found.end() - 1 :])
        rest = text[found.end() + len(count) + 1 :].lstrip()
        width = _group(rest) if rest.startswith("{") else ""
        rest = rest[len(width) + 2 :].lstrip() if rest.startswith("{") else rest.removeprefix("*").lstrip()
        inner = _group(rest) if rest.startswith("{") else rest
        number = abs(int(count)) if re.fullmatch(r"\s*-?\d{1,4}\s*", count) else 1
        if found[1] == "column":
            cell.num_columns = max(number, 1)
        else:
            cell.num_rows = max(number, 1)
        tail = rest[len(inner) + 2 :] if rest.startswith("{") else ""
        text = text[: found.start()] + inner + tail
    cell.text = latex_text(text)
    cell.is_header = is_header
    return cell


def latex_text(text: str) -> str:
    """LaTeX's words without its commands for looks; formulas stay as they are."""
    for _ in range(8):
        found = _STYLE.search(text)
        if found is None:
            break
        inner = _group(text[found.end() - 1 :])
        text = text[: found.start()] + inner + text[found.end() + len(inner) + 1 :]
    text = re.sub(r"\\(?:newline|\\)\s*", "\n", text).replace("~", " ")
    return _ESCAPED.sub(r"\1", text).strip()


def _without_covered(rows: list[list[RawCell]]) -> list[list[RawCell]]:
    """Rows without the empty cells that LaTeX writes below a cell of several rows."""
    covered: dict[int, int] = {}
    kept = []
    for row in rows:
        column, cells = 0, []
        below: dict[int, int] = {}
        for cell in row:
            if covered.get(column, 0) > 0 and not cell.text:
                below[column] = covered[column] - 1
                column += cell.num_columns
                continue
            if cell.num_rows > 1:
                below.update({column + n: cell.num_rows - 1 for n in range(cell.num_columns)})
            cells.append(cell)
            column += cell.num_columns
        covered = below
        kept.append(cells)
    return kept


def table_of_pipes(text: str) -> Table | None:
    """A table of Markdown; None if the text is none."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if len(lines) < 2 or not re.fullmatch(r"\|?[\s:|-]*-[\s:|-]*\|?", lines[1]):
        return None
    rows = []
    for number, line in enumerate(lines):
        if number == 1 or "|" not in line:
            continue
        parts = re.split(r"(?<!\\)\|", line.removeprefix("|").removesuffix("|"))
        rows.append([RawCell(part.strip().replace("\\|", "|"), is_header=number == 0) for part in parts])
    return make_table(rows)


def table_to_html(table: Table) -> str:
    """The table as HTML, one row a line."""
    rows: list[list[str]] = [[] for _ in range(table.num_rows)]
    for cell in table.cells:
        tag = "th" if cell.is_header else "td"
        spans = f' colspan="{cell.num_columns}"' if cell.num_columns > 1 else ""
        spans += f' rowspan="{cell.num_rows}"' if cell.num_rows > 1 else ""
        text = html.escape(cell.text, quote=False).replace("\n", "<br>")
        rows[cell.row].append(f"<{tag}{spans}>{text}</{tag}>")
    return "<table>\n" + "".join(f"<tr>{''.join(row)}</tr>\n" for row in rows) + "</table>"


def table_to_markdown(table: Table) -> str:
    """The table as Markdown pipes; one with merged cells as HTML, which Markdown takes and pipes cannot say."""
    if any(cell.num_rows > 1 or cell.num_columns > 1 for cell in table.cells):
        return table_to_html(table)
    grid = [[_pipe(text) for text in row] for row in table.grid()]
    head, *rows = grid
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * table.num_columns}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _pipe(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "<br>")


def table_to_csv(table: Table) -> str:
    """The table as CSV; a merged cell's text stands at its first place."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([[_harmless(text) for text in row] for row in table.grid()])
    return file.getvalue()


def _harmless(text: str) -> str:
    """A text that a spreadsheet does not take for a formula: pages may say anything."""
    is_number = re.fullmatch(r"[+-]?[\d.,' ]+\s*[%\u20ac$]?", text) is not None
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") and len(text) > 1 and not is_number else text
