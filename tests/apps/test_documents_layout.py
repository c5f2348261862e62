"""What is found in a page's picture: lines, words, columns, tables, figures, and which way is up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from regard.apps.documents import Reading, read_page
from regard.apps.documents.by_line import scaled
from regard.apps.documents.by_page import tiles_of
from regard.apps.documents.ink_layout import find_layout
from regard.apps.documents.upright import TURNS, set_upright, to_given
from regard.apps.documents.words import align, joined, place_words
from regard.apps.pages import Page
from tests.apps.document_pages import DrawnPage, PlayedChat, report_page

BACK = {0: 0, 90: 270, 180: 180, 270: 90}


def page_of(picture: Image.Image) -> Page:
    from pathlib import Path

    return Page(Path("page.png"), 1, 1, picture)


def test_every_word_is_found_where_it_was_written() -> None:
    drawn = report_page()
    layout = find_layout(drawn.picture)
    boxes = [scaled(word, layout.scale) for line in layout.lines for word in line.words]
    assert len(boxes) == len(drawn.words)
    for _, truth in drawn.words:
        assert min(max(abs(a - b) for a, b in zip(box, truth, strict=True)) for box in boxes) <= 3


def test_a_heading_and_paragraphs_are_parts_of_their_own() -> None:
    layout = find_layout(report_page().picture)
    assert [part.kind for part in layout.parts] == ["heading", "text", "text", "text"]
    assert layout.parts[0].level == 1
    assert [len(part.lines) for part in layout.parts[1:]] == [4, 4, 4]


def test_columns_are_read_one_after_the_other() -> None:
    drawn = DrawnPage((1000, 600))
    drawn.paragraph(40, 40, 420, 10)
    drawn.paragraph(540, 40, 420, 10, seed=1)
    lefts = [line.box[0] for line in find_layout(drawn.picture).lines]
    assert len(lefts) == 20
    assert max(lefts[:10]) < 500 < min(lefts[10:])


def test_a_ruled_table_keeps_its_merged_cells() -> None:
    drawn = DrawnPage()
    drawn.paragraph(60, 60, 700, 4)
    drawn.table(60, 400)
    (table,) = [part.table for part in find_layout(drawn.picture).parts if part.table is not None]
    spans = [(cell.row, cell.column, cell.num_rows, cell.num_columns) for cell in table.cells]
    assert (table.num_rows, table.num_columns) == (3, 3)
    assert (2, 0, 1, 2) in spans and (2, 2, 1, 1) in spans and len(spans) == 8
    assert all(len(cell.lines) == 1 for cell in table.cells)


def test_a_table_without_rules_is_found_by_its_columns() -> None:
    drawn = DrawnPage()
    for row, texts in enumerate((("Item", "Count", "Price"), ("Tea", "12", "2.40"), ("Milk", "3", "1.10"))):
        for column, text in enumerate(texts):
            drawn.write(text, 60 + 250 * column, 80 + 40 * row)
    (part,) = find_layout(drawn.picture).parts
    assert part.table is not None and (part.table.num_rows, part.table.num_columns) == (3, 3)


def test_a_drawing_is_a_figure_and_no_text() -> None:
    drawn = DrawnPage()
    drawn.paragraph(60, 60, 700, 4)
    ImageDraw.Draw(drawn.picture).ellipse((200, 350, 500, 600), fill=(200, 80, 80), outline="black", width=3)
    kinds = [part.kind for part in find_layout(drawn.picture).parts]
    assert kinds == ["text", "figure"]


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("skew", [0.0, -1.5, 2.0])
def test_a_turned_and_leaning_page_is_set_upright(turn: int, skew: float) -> None:
    picture = report_page(size=(900, 760)).picture.rotate(-skew, resample=Image.Resampling.BICUBIC, fillcolor="white")
    given_picture = picture.transpose(TURNS[BACK[turn]]) if turn else picture
    found = set_upright(given_picture)
    assert found.turn == turn
    assert found.skew == pytest.approx(skew, abs=0.3)


@given(
    turn=st.sampled_from([0, 90, 180, 270]),
    x=st.floats(100, 300),
    y=st.floats(100, 500),
    wide=st.floats(10, 80),
    high=st.floats(10, 40),
)
def test_a_box_goes_back_to_the_picture_as_given(turn: int, x: float, y: float, wide: float, high: float) -> None:
    box = (x, y, x + wide, y + high)
    back = to_given(box, (400, 600), turn, 0.0)
    given_size = (400, 600) if turn % 180 == 0 else (600, 400)
    again = to_given(back, given_size, BACK[turn], 0.0)
    assert again == pytest.approx(box, abs=0.3)


def test_a_blank_page_is_not_shown_to_the_model() -> None:
    chat = PlayedChat(lambda picture, prompt: "made up")
    page = read_page(chat, page_of(Image.new("RGB", (600, 800), "white")), Reading())
    assert page.source == "blank" and page.text == "" and chat.prompts == []


def test_strips_have_the_size_that_the_small_model_knows() -> None:
    chat = PlayedChat(lambda picture, prompt: "word")
    read_page(chat, page_of(report_page().picture), Reading())
    assert chat.sizes and all(height == 32 and width <= 256 and width % 32 == 0 for width, height in chat.sizes)


def test_a_page_that_fails_is_marked_and_says_why() -> None:
    chat = PlayedChat(lambda picture, prompt: "")
    page = read_page(chat, page_of(report_page().picture), Reading())
    assert page.source == "failed" and page.problems and page.blocks[0].kind == "unread"


def test_a_page_of_small_letters_is_read_in_tiles_that_cut_no_line() -> None:
    drawn = DrawnPage((1800, 2400))
    drawn.paragraph(60, 60, 1600, 70)
    layout = find_layout(drawn.picture)
    tiles = tiles_of(drawn.picture, layout, 600_000)
    assert len(tiles) > 1
    for line in layout.lines:
        x1, y1, x2, y2 = scaled(line.box, layout.scale)
        assert any(a <= x1 and b <= y1 and x2 <= c and y2 <= d for a, b, c, d in tiles)


def test_words_that_were_read_as_one_share_its_place() -> None:
    boxes = [(0.0, 0.0, 40.0, 10.0), (50.0, 0.0, 90.0, 10.0), (100.0, 0.0, 140.0, 10.0)]
    words = place_words("abcd efghijklm", boxes)
    assert [word.text for word in words] == ["abcd", "efghijklm"]
    assert words[0].box[2] == 40 and words[1].box[0] == 50 and words[1].box[2] == 140


def test_a_missed_word_does_not_shift_those_behind_it() -> None:
    ink = [(100.0 * n, 0.0, 100.0 * n + width, 10.0) for n, width in enumerate((80, 20, 50, 90, 30))]
    placed = align(["mmmmmmmm", "mmmmm", "mmmmmmmmm", "mmm"], ink, [11.5] * 5)  # the second word was not read
    assert [box[0] for _, box in placed] == [0, 200, 300, 400]


@given(st.lists(st.text(min_size=0, max_size=12), max_size=8), st.integers(1, 8))
def test_every_word_of_a_text_gets_a_place(words: list[str], num_boxes: int) -> None:
    boxes = [(20.0 * n, 0.0, 20.0 * n + 15, 10.0) for n in range(num_boxes)]
    text = " ".join(words)
    assert [word.text for word in place_words(text, boxes)] == text.split()
    assert [word for word, _ in align(text.split(), boxes, [12.0] * num_boxes)] == text.split()


def test_a_word_divided_at_the_end_of_a_line_is_put_together() -> None:
    assert joined(["a long exam-", "ple of a line"]) == "a long example of a line"
    assert joined(["Meyer-", "Schmidt"]) == "Meyer- Schmidt"
