"""Mock-up to code without a browser: what is seen in pixels, put together, compared; HTML that is read and cleaned."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from regard.apps.coding import chart_to_code, mockup_to_code
from regard.apps.coding.compare import Block, compare
from regard.apps.coding.draft import draft_of_answer, has_content
from regard.apps.coding.images import difference
from regard.apps.coding.layout import assemble
from regard.apps.coding.likeness import ciede2000, color_difference, picture_likeness
from regard.apps.coding.markup import clean, parse, to_html
from regard.apps.coding.parts import Part, parts_of_list, parts_of_sight
from regard.apps.coding.sight import look
from regard.apps.coding.words import pieces
from regard.cli.main import run
from regard.errors import ConfigError, InputError, RegardError
from tests.apps.spoken import SpokenChat

WHITE, DARK, BLUE, GREY = (255, 255, 255), (30, 34, 40), (20, 90, 200), (200, 205, 215)


def screen() -> tuple[Image.Image, list[str]]:
    """A header, a heading, a label over a field, a filled button, a card with a picture; and its lines' texts."""
    picture = Image.new("RGB", (420, 330), WHITE)
    pen = ImageDraw.Draw(picture)

    def write(x: int, y: int, text: str, px: int, color: tuple[int, int, int]) -> None:
        pen.text((x, y), text, font=ImageFont.load_default(px), fill=color)

    pen.rectangle((0, 0, 419, 43), fill=DARK)
    write(16, 12, "Harbour", 18, WHITE)
    write(330, 14, "Boats", 15, WHITE)
    write(16, 60, "Find a berth", 28, DARK)
    write(16, 108, "Name", 15, DARK)
    pen.rounded_rectangle((16, 130, 235, 165), 6, fill=WHITE, outline=GREY)
    write(26, 139, "Elske", 15, DARK)
    pen.rounded_rectangle((16, 184, 105, 220), 6, fill=BLUE)
    write(42, 193, "Moor", 15, WHITE)
    pen.rectangle((16, 240, 403, 319), fill=(246, 247, 250), outline=GREY)
    for x in range(90):
        pen.line((30 + x, 250, 30 + x, 308), fill=(60 + 2 * x, 120, 250 - 2 * x))
    write(140, 266, "The outer quay", 15, DARK)
    return picture, ["Harbour", "Boats", "Find a berth", "Name", "Elske", "Moor", "The outer quay"]


def walk(parts: tuple[Part, ...]) -> list[Part]:
    return [found for part in parts for found in (part, *walk(part.children))]


def test_lines_grounds_and_pictures_are_found_where_they_were_drawn() -> None:
    sight = look(screen()[0])
    assert len(sight.lines) == 7
    assert sight.page == WHITE
    assert len(sight.pictures) == 1
    assert all(abs(a - b) <= 2 for a, b in zip(sight.pictures[0], (30, 250, 120, 309), strict=True))
    grounds = {region.color: region for region in sight.regions}
    assert abs(grounds[BLUE].box[0] - 16) <= 1 and abs(grounds[BLUE].height - 37) <= 2
    assert abs(grounds[BLUE].radius - 6) <= 3
    title = next(line for line in sight.lines if 60 <= line.box[1] <= 75)
    assert max(abs(a - b) for a, b in zip(title.color, DARK, strict=True)) < 12


def test_parts_know_what_they_are_and_what_is_in_them() -> None:
    picture, texts = screen()
    sight = look(picture)
    parts = parts_of_sight(sight, texts)
    kinds = {part.text: part.kind for part in walk(parts) if part.text}
    assert kinds["Find a berth"] == "heading"
    assert kinds["Elske"] == "text field"
    assert kinds["Moor"] == "button"
    header = next(part for part in parts if part.kind == "header")
    assert {part.text for part in header.children} == {"Harbour", "Boats"}
    card = next(part for part in parts if part.kind == "card")
    assert {part.kind for part in card.children} == {"picture", "text"}


def test_parts_become_semantic_html() -> None:
    picture, texts = screen()
    page = assemble(parts_of_sight(look(picture), texts), picture.size, ["assets/picture-1.png"])
    html = to_html(page.root)
    assert page.root.find("h1").text == "Find a berth"  # type: ignore[union-attr]
    label = page.root.find("label")
    assert label is not None and label.text == "Name" and label.find("input").attributes["value"] == "Elske"  # type: ignore[union-attr]
    assert page.root.find("nav").text == "Boats"  # type: ignore[union-attr]
    assert 'class="primary"' in html
    assert 'src="assets/picture-1.png"' in html
    assert "position" not in html


def test_rows_of_equal_columns_are_a_table_and_pairs_with_a_right_edge_a_list() -> None:
    def row(y: int, *cells: tuple[int, int, str]) -> list[Part]:
        return [Part("text", (x1, y, x2, y + 12), text, font_px=15) for x1, x2, text in cells]

    table = [part for n in range(3) for part in row(40 * n, (10, 60, f"a{n}"), (120, 150, f"{n}"), (220, 260, f"{n}%"))]
    root = assemble(table, (300, 200)).root
    assert [len(tr.all("td", "th")) for tr in root.all("tr")] == [3, 3, 3]
    pairs = [part for n in range(4) for part in row(40 * n, (10, 60 + n, f"a{n}"), (240 - n, 280, f"{n}"))]
    root = assemble(pairs, (300, 200)).root
    assert [li.text for li in root.all("li")] == ["a00", "a11", "a22", "a33"]


def test_columns_that_are_filled_from_top_to_bottom_stay_columns() -> None:
    left = [Part("heading", (10, 10, 120, 40), "Write"), Part("text", (10, 60, 120, 72), "We answer")]
    right = [Part("text", (200, 4, 260, 16), "Name"), Part("text field", (200, 20, 380, 52)),
             Part("text field", (200, 66, 380, 98))]  # fmt: skip
    main = assemble([*left, *right], (400, 120)).root.find("main")
    assert main is not None
    line = main.children[0]
    assert not isinstance(line, str) and line.attributes["class"] == "line"
    assert [child.text for child in line.children if not isinstance(child, str)] == ["Write We answer", "Name"]


def test_a_list_of_elements_without_boxes_or_kinds_is_left_out() -> None:
    items: list[dict[str, Any]] = [
        {"label": "Button", "box": (10, 10, 90, 40), "text_content": "Go"},
        {"label": "spaceship", "box": (10, 10, 90, 40)},
        {"label": "text"},
        {"label": "title", "box": (300, 80, 20, 60), "text_content": "Back to front"},
    ]
    parts = parts_of_list(items, (200, 100))
    assert [(part.kind, part.text) for part in parts] == [("button", "Go"), ("heading", "Back to front")]
    assert parts[1].box == (20, 60, 200, 80)


# Sharma, Wu, Dalal (2005), table 1
@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_ciede2000_gives_the_published_values(first: Any, second: Any, wanted: float) -> None:
    assert math.isclose(ciede2000(first, second), wanted, abs_tol=1e-4)


def test_black_and_white_are_a_hundred_apart() -> None:
    assert math.isclose(color_difference((0, 0, 0), (255, 255, 255)), 100, abs_tol=0.01)


def test_ssim_is_one_for_equal_pictures_and_counts_what_is_not_covered_as_nothing() -> None:
    picture = screen()[0]
    assert math.isclose(picture_likeness(picture, picture), 1.0, abs_tol=1e-9)
    assert math.isclose(picture_likeness(picture, picture.crop((0, 0, 420, 165))), 0.5, abs_tol=0.02)
    assert picture_likeness(picture, Image.new("RGB", picture.size, DARK)) < 0.4


def test_each_score_falls_with_its_own_defect_only() -> None:
    picture = Image.new("RGB", (200, 100), WHITE)
    wanted = [Block("First line", (10, 10, 90, 22), DARK), Block("Second", (10, 50, 70, 62), DARK)]

    def scores(found: list[Block]) -> Any:
        return compare(wanted, picture, found, picture).scores

    assert scores(wanted).total == 1.0
    assert scores(wanted[:1]).block < 0.75 and scores(wanted[:1]).text == 1.0
    misread = scores([wanted[0], Block("Sacond", wanted[1].box, DARK)])
    assert misread.text < 1 and misread.block == misread.position == misread.color == 1.0
    moved = scores([wanted[0], Block("Second", (110, 50, 170, 62), DARK)])
    assert math.isclose(moved.position, 0.75) and moved.text == moved.color == 1.0
    red = scores([wanted[0], Block("Second", wanted[1].box, (255, 0, 0))])
    assert red.color < 0.8 and red.text == red.position == 1.0


def test_a_line_that_breaks_elsewhere_is_joined_before_it_is_compared() -> None:
    picture = Image.new("RGB", (300, 100), WHITE)
    wanted = [Block("Boats leave every hour from the quay", (10, 10, 250, 22), DARK)]
    found = [Block("Boats leave every hour", (10, 10, 160, 22), DARK), Block("from the quay", (10, 28, 100, 40), DARK)]
    comparison = compare(wanted, picture, found, picture)
    assert len(comparison.pairs) == 1 and not comparison.extra
    assert comparison.scores.text == 1.0


def test_a_misread_line_counts_by_its_place_where_words_are_not_certain() -> None:
    picture = Image.new("RGB", (200, 60), WHITE)
    wanted, found = [Block("OUcd", (10, 10, 60, 22), DARK)], [Block("Order", (10, 10, 61, 22), DARK)]
    assert not compare(wanted, picture, found, picture).pairs
    assert len(compare(wanted, picture, found, picture, by_place=True).pairs) == 1


def test_html_that_is_cut_or_has_no_end_tags_is_closed() -> None:
    html = to_html(parse("<ul><li>One<li>Two</ul><table><tr><th>A<th>B<tr><td>1<td>2</table><p>x<p>y <b>cut"))
    assert html.count("<li>") == html.count("</li>") == 2
    assert html.count("<tr>") == 2 and html.count("</td>") == 2
    assert html.count("</p>") == 2 and "</b></p>" in html
    assert to_html(parse(html)) == html


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<a href=' java\nscript:alert(1)'>x</a>",
        "<iframe src='https://evil'></iframe>", "<meta http-equiv=refresh content='0;url=https://evil'>",
        "<svg onload=alert(1)><script>1</script></svg>", "<svg><use xlink:href='https://evil#a'/></svg>",
        "<form action='https://evil'><button formaction='https://evil'>x</button></form>",
        "<style>@import 'https://evil'; a { background: url(https://evil/a.png) }</style>",
        "<p style='background: u\\72l(https://evil)'>x</p>", "<base href='https://evil'>", "<link rel=stylesheet href=https://evil>",
        "<object data='file:///etc/passwd'></object>", "<img srcset='https://evil 2x'>", "<body background='https://evil'>",
        "<style>p { color: red }</style ><script>1</script>", "<a href='data:text/html,<script>1</script>'>x</a>",
        "<math><mi xlink:href='javascript:alert(1)'>x</mi></math>", "<video poster=https://evil src=https://evil></video>",
    ],
)  # fmt: skip
def test_what_acts_or_loads_is_taken_out(hostile: str) -> None:
    root = parse(hostile + "<p>kept</p>")
    removed = clean(root)
    html = to_html(root).lower()
    assert "kept" in html
    assert removed
    for word in ("<script", "evil", "onerror", "onload", "javascript:", "refresh", "file:", "data:text"):
        assert word not in html


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="<>/ab pdiv\"'=&;!-script{}:u()\\\n", max_size=120))
def test_any_text_can_be_read_and_written_as_a_page(text: str) -> None:
    root = parse(text)
    clean(root)
    html = to_html(root)
    assert html.startswith("<!DOCTYPE html>\n<html")
    assert "<script" not in html.lower()
    has_content(text)


def test_a_page_without_styles_gets_ours_and_one_with_styles_keeps_its_own() -> None:
    plain = draft_of_answer("<h1>Hello</h1>", "answer", {"page": "#101010"})
    assert "--page: #101010" in plain.html({}, is_final=True)
    own = draft_of_answer("<style>h1 { color: red }</style><h1>Hello</h1>", "answer", {"page": "#101010"})
    html = own.html({}, is_final=True)
    assert "#101010" not in html and "h1 { color: red }" in html
    assert 'id="m' not in html  # no style needs one
    assert "<title>Hello</title>" in html


def test_long_lines_are_cut_between_words() -> None:
    picture = Image.new("RGB", (300, 30), WHITE)
    ImageDraw.Draw(picture).text((5, 5), "several words in one line", font=ImageFont.load_default(16), fill=DARK)
    import numpy as np

    cut = pieces(np.asarray(picture), (5, 5, 195, 24), WHITE, 80)
    assert len(cut) >= 3
    assert all(box[2] - box[0] <= 90 for box in cut)
    assert cut[0][0] == 5 and cut[-1][2] == 195


def test_the_difference_is_red_where_only_the_mockup_has_something() -> None:
    mockup, page = Image.new("RGB", (40, 20), WHITE), Image.new("RGB", (40, 20), WHITE)
    mockup.paste(DARK, (2, 2, 8, 8))
    page.paste(DARK, (20, 2, 26, 8))
    shown = difference(mockup, page)
    assert shown.getpixel((4, 4)) == (214, 40, 40) and shown.getpixel((22, 4)) == (30, 90, 220)


def test_what_cannot_be_a_mockup_is_refused_in_a_sentence() -> None:
    chat = SpokenChat(["no"])
    with pytest.raises(InputError, match="16x16 pixels"):
        mockup_to_code(chat, Image.new("RGB", (16, 16)))
    with pytest.raises(ConfigError, match="scale is 9"):
        mockup_to_code(chat, Image.new("RGB", (64, 64)), scale=9)
    with pytest.raises(ConfigError, match="rounds is -1"):
        mockup_to_code(chat, Image.new("RGB", (64, 64)), rounds=-1)


def test_chart_code_is_handed_over_and_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    chat = SpokenChat([f"```python\nimport matplotlib.pyplot as plt\nopen({str(trap)!r}, 'w')\nplt.bar([1], [2])"])
    result = chart_to_code(chat, Image.new("RGB", (64, 64)))
    assert "plt.bar" in result.code and "closed a fence that was open" in result.repairs
    assert not trap.exists()
    with pytest.raises(RegardError, match="no matplotlib code"):
        chart_to_code(SpokenChat(["It is a bar chart."]), Image.new("RGB", (64, 64)))


def test_the_command_refuses_what_cannot_be_right_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "m.png"
    Image.new("RGB", (64, 64)).save(picture)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/index.html").write_text("mine")
    for arguments, words in (
        ([str(tmp_path / "none.png"), "-o", str(tmp_path)], "none.png"),
        ([str(picture), "-o", str(picture)], "is a file"),
        ([str(picture), "-o", str(tmp_path / "out")], "--overwrite"),
        ([str(picture), "-o", str(tmp_path / "new"), "--chart", "--rounds", "2"], "leave them out with --chart"),
    ):
        assert run(["code", *arguments]) == 2
        assert words in capsys.readouterr().err
    assert (tmp_path / "out/index.html").read_text() == "mine"
