"""What models write about pages, and what is written for people: QwenVL HTML and Markdown, tables, exports."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from regard.apps.documents import Block, DocumentText, PageText, Reading, Table, read_page
from regard.apps.documents.export import block_to_markdown, write_html, write_json, write_markdown, write_xlsx
from regard.apps.documents.qwenvl_html import read_qwenvl_html
from regard.apps.documents.qwenvl_markdown import read_qwenvl_markdown
from regard.apps.documents.tables import (
    RawCell,
    make_table,
    table_of_html,
    table_of_latex,
    table_of_pipes,
    table_to_csv,
    table_to_html,
    table_to_markdown,
)
from regard.apps.pages import Page
from regard.processing.coordinates import Units
from tests.apps.document_pages import PlayedChat, report_page

UNITS = Units((1000, 2000))
HTML = (
    '<html><body><h2 data-bbox="60 40 520 110">Prices &amp; terms</h2>\n'
    '<div class="text" data-bbox="60 150 930 260">All prices\nin EUR.</div>\n'
    '<div class="table" data-bbox="60 300 930 700"><table><thead><tr><th>Item</th><th>Price</th></tr></thead><tbody>'
    '<tr><td rowspan="2">Tea</td><td>2.40</td></tr><tr><td>3</td></tr><tr><td colspan="2">Total</td></tr></tbody>'
    '</table></div>\n<div class="image" data-bbox="60 720 500 960"></div></body></html>'
)
MARKDOWN = r"""```markdown
## Prices & terms
All prices in EUR.
<!-- Table (60, 300, 930, 700) -->
\begin{tabular}{|c|c|}
\hline
\textbf{Item} & Price \\ \hline
\multirow{2}{*}{Tea \& co} & 2.40 \\ \cline{2-2}
 & 3 \\ \hline
\multicolumn{2}{|c|}{Total} \\ \hline
\end{tabular}
<!-- Image (60, 720, 500, 960) -->
- one
- two
```"""
SPANS = [(0, 0, 1, 1), (0, 1, 1, 1), (1, 0, 2, 1), (1, 1, 1, 1), (2, 1, 1, 1), (3, 0, 1, 2)]


def spans_of(table: Table | None) -> list[tuple[int, int, int, int]]:
    assert table is not None
    return [(cell.row, cell.column, cell.num_rows, cell.num_columns) for cell in table.cells]


def test_qwenvl_html_becomes_blocks_in_pixels() -> None:
    found = read_qwenvl_html(HTML, UNITS)
    assert found.value is not None and found.repairs == ()
    assert [block.kind for block in found.value] == ["heading", "text", "table", "figure"]
    assert found.value[0].box == (60, 80, 520, 220) and found.value[0].level == 2
    assert [block.text for block in found.value[:2]] == ["Prices & terms", "All prices\nin EUR."]
    assert spans_of(found.value[2].table) == SPANS


@pytest.mark.parametrize("length", range(20, len(HTML), 23))
def test_qwenvl_html_that_was_cut_keeps_what_is_whole(length: int) -> None:
    found = read_qwenvl_html(HTML[:length], UNITS)
    for block in found.value or ():
        assert block.kind in ("heading", "text", "table", "figure")


def test_the_older_generations_html_counts_a_picture_once() -> None:
    text = '```html\n<body><div class="image" data-bbox="1 2 3 4"><img data-bbox="1 2 3 4"/></div>'
    text += '<p data-bbox="5 6 7 8">x</p>'
    found = read_qwenvl_html(text, UNITS)
    assert found.value is not None and [block.kind for block in found.value] == ["figure", "text"]


def test_a_looping_answer_keeps_each_block_once() -> None:
    block = '<div class="text" data-bbox="1 2 300 4">again</div>'
    found = read_qwenvl_html(f"<html><body>{block * 50}", UNITS)
    assert found.value is not None and len(found.value) == 1


def test_qwenvl_markdown_becomes_blocks_with_the_boxes_of_comments() -> None:
    found = read_qwenvl_markdown(MARKDOWN, UNITS)
    assert found.value is not None
    assert [block.kind for block in found.value] == ["heading", "text", "table", "figure", "list"]
    assert found.value[2].box == (60, 600, 930, 1400)
    assert spans_of(found.value[2].table) == SPANS
    assert found.value[2].table is not None and found.value[2].table.cells[2].text == "Tea & co"
    assert found.value[3].box == (60, 1440, 500, 1920)


def test_both_formats_say_the_same() -> None:
    html, markdown = read_qwenvl_html(HTML, UNITS).value, read_qwenvl_markdown(MARKDOWN, UNITS).value
    assert html is not None and markdown is not None
    assert html[2].box == markdown[2].box and spans_of(html[2].table) == spans_of(markdown[2].table)


@given(st.text(alphabet='<>/ "=-!\\{}&|abt:dhrlvi0123456789\n#`()*', max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_answer_makes_the_readers_fail(text: str) -> None:
    for wrapped in (text, f"<html><body>{text}", f"<table>{text}", f"\\begin{{tabular}}{{{text}"):
        read_qwenvl_html(wrapped, UNITS)
        read_qwenvl_markdown(wrapped, UNITS)
        table_of_html(wrapped)
        table_of_latex(wrapped)
        table_of_pipes(wrapped)


cell_texts = st.text(alphabet="ab <&|1.\u20ac", max_size=6).map(lambda text: " ".join(text.split()))


@st.composite
def tables(draw: st.DrawFn) -> Table:
    width = draw(st.integers(1, 4))
    cell = st.builds(RawCell, cell_texts, st.integers(1, 2), st.integers(1, 2))
    made = make_table(draw(st.lists(st.lists(cell, min_size=1, max_size=width), min_size=1, max_size=4)))
    assert made is not None
    return made


@given(tables())
@settings(max_examples=200, deadline=None)
def test_a_table_survives_html(table: Table) -> None:
    again = table_of_html(table_to_html(table))
    assert again is not None
    assert [cell.text for cell in again.cells] == [cell.text for cell in table.cells]


@given(tables())
@settings(max_examples=200, deadline=None)
def test_the_cells_of_a_table_never_overlap(table: Table) -> None:
    taken = [
        (cell.row + down, cell.column + across)
        for cell in table.cells
        for down in range(cell.num_rows)
        for across in range(cell.num_columns)
    ]
    assert len(taken) == len(set(taken))
    assert max(row for row, _ in taken) < table.num_rows and max(column for _, column in taken) < table.num_columns


def test_a_plain_table_is_pipes_and_a_merged_one_html() -> None:
    plain = table_of_pipes("| a | b |\n|---|---|\n| 1 | x\\|y |")
    assert plain is not None and table_to_markdown(plain) == "| a | b |\n| --- | --- |\n| 1 | x\\|y |"
    merged = table_of_html('<table><tr><td colspan="2">a</td></tr><tr><td>1</td><td>2</td></tr></table>')
    assert merged is not None and table_to_markdown(merged).startswith("<table>")


def test_a_page_cannot_put_a_formula_into_a_spreadsheet(tmp_path: Path) -> None:
    table = table_of_html("<table><tr><td>=1+1</td><td>-3.5</td><td>@x</td><td>007</td></tr></table>")
    assert table is not None
    assert next(csv.reader(io.StringIO(table_to_csv(table)))) == ["'=1+1", "-3.5", "'@x", "007"]
    openpyxl = pytest.importorskip("openpyxl")
    write_xlsx([page_with(Block(kind="table", table=table))], tmp_path / "a.xlsx")
    row = openpyxl.load_workbook(tmp_path / "a.xlsx").worksheets[0][1]
    assert [(cell.value, cell.data_type) for cell in row] == [("=1+1", "s"), (-3.5, "n"), ("@x", "s"), ("007", "s")]


def test_a_workbook_has_merged_cells_and_no_date(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    found = read_qwenvl_html(HTML, UNITS).value
    assert found is not None
    for name in ("a", "b"):
        write_xlsx([page_with(found[2])], tmp_path / f"{name}.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx").worksheets[0]
    assert sorted(map(str, sheet.merged_cells.ranges)) == ["A2:A3", "A4:B4"]
    assert (tmp_path / "a.xlsx").read_bytes() == (tmp_path / "b.xlsx").read_bytes()


def page_with(*blocks: Block) -> PageText:
    return PageText(file="a.png", page=1, num_pages=1, width=100, height=200, source="html", blocks=blocks)


def test_text_that_looks_like_markdown_stays_text() -> None:
    assert block_to_markdown(Block(kind="text", text="# 1 *a* <b>\n2. x")) == "\\# 1 \\*a\\* \\<b\\>  \n2\\. x"
    assert block_to_markdown(Block(kind="list", text="\u2022 one\n12) two")) == "- one\n12. two"


def test_json_is_read_back_and_html_holds_no_tags_of_the_page(tmp_path: Path) -> None:
    page = page_with(Block(kind="text", text="<script>x</script>", box=(1, 2, 3, 4)))
    write_json([page], tmp_path / "a.json")
    assert DocumentText.model_validate_json((tmp_path / "a.json").read_text()).pages == (page,)
    write_html([page], tmp_path / "a.html")
    assert "<script" not in (tmp_path / "a.html").read_text()
    write_markdown([page], tmp_path / "a.md")
    assert "<script" not in (tmp_path / "a.md").read_text().replace("\\<script", "")


@pytest.mark.parametrize(("mode", "prompt"), [("html", "qwenvl html"), ("markdown", "qwenvl markdown")])
def test_a_whole_page_is_asked_with_the_official_prompt_and_its_words_are_placed(mode: str, prompt: str) -> None:
    drawn = report_page()
    body = " ".join(drawn.lines[1:5])
    rest = "\n\n".join(" ".join(drawn.lines[n : n + 4]) for n in (5, 9))
    answers = {
        "html": f'<html><body><h1 data-bbox="50 60 500 150">{drawn.lines[0]}</h1>'
        f'<div class="text" data-bbox="50 190 960 400">{body}</div></body></html>',
        "markdown": f"```markdown\n# {drawn.lines[0]}\n\n{body}\n\n{rest}\n```",
    }
    chat = PlayedChat(lambda picture, asked: answers[mode], name="Qwen3-VL-4B-Instruct")
    page = read_page(chat, Page(Path("a.png"), 1, 1, drawn.picture), Reading(mode=mode))  # type: ignore[arg-type]
    assert chat.prompts == [prompt] and page.source == mode
    placed = {(word.text, round(word.box[0] / 4)): word.box for line in page.lines for word in line.words}
    truth = drawn.words[: sum(len(line.split()) for line in drawn.lines[:5])]
    good = sum(
        any(key[0] == text and abs(found[0] - box[0]) <= 5 and abs(found[2] - box[2]) <= 5 and
            found[1] - 5 <= box[1] and box[3] <= found[3] + 5 for key, found in placed.items())
        for text, box in truth
    )  # fmt: skip
    assert good >= 0.95 * len(truth)


def test_language_and_small_text_are_told_behind_the_official_prompt() -> None:
    chat = PlayedChat(lambda picture, prompt: "<p>x</p>", name="Qwen3-VL-4B-Instruct")
    reading = Reading(language="German", small_text=True)
    read_page(chat, Page(Path("a.png"), 1, 1, report_page().picture), reading)
    assert chat.prompts[0].startswith("qwenvl html\n") and "German" in chat.prompts[0] and "small" in chat.prompts[0]


def test_figures_are_cut_out_of_the_page(tmp_path: Path) -> None:
    answer = '<html><body><div class="image" data-bbox="100 100 500 500"></div></body></html>'
    chat = PlayedChat(lambda picture, prompt: answer, name="Qwen3-VL-4B-Instruct")
    saved: dict[str, Image.Image] = {}

    def save(name: str, picture: Image.Image) -> str:
        saved[name] = picture
        return name

    drawn = report_page(size=(1000, 800))
    page = read_page(chat, Page(Path("a.png"), 3, 9, drawn.picture), Reading(turn=0), save_figure=save)
    assert page.blocks[0].file == "page-0003-figure-1.png"
    assert saved["page-0003-figure-1.png"].size == (400, 320)
    assert json.loads(json.dumps(page.to_json()))["blocks"][0]["kind"] == "figure"
