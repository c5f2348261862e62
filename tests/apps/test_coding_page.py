"""Mock-up to code in real Chromium: drawing, containing hostile pages, the loop with a scripted model."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image, ImageDraw

from regard.apps.coding import mockup_to_code
from regard.apps.coding.compare import blocks_of_page, compare
from regard.apps.coding.render import PageError, Renderer
from regard.apps.coding.watch import family_of
from regard.reply import Reply, Usage

pytest.importorskip("playwright")
pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.skipif(not Path("/usr/bin/chromium").exists(), reason="no Chromium at /usr/bin/chromium"),
]

GOOD = """<header><b>Nordlake</b><nav><a>Home</a><a>Prices</a></nav></header>
<main><h1>Plan your trip</h1><p>Boats leave every hour.</p><button class="primary">Book</button></main>"""
MOCKUP = (
    """<style>body{margin:0;font:16px Arial;background:#fff;color:#222}header{padding:14px;background:#135;color:#fff}
nav{display:inline;margin-left:40px}a{margin-right:20px}main{padding:20px}button{font:inherit;background:#a31;color:#fff;
border:0;border-radius:5px;padding:9px 20px}</style>"""
    + GOOD
)


class ScriptedChat:
    """Reads lines from a list by turn and answers questions for pages from another."""

    is_thinking, reports_media = False, False

    def __init__(self, lines: Sequence[str], pages: Sequence[str], name: str = "large") -> None:
        self.name, self._lines, self._pages = name, list(lines), list(pages)
        self.asked: list[Any] = []

    def chat(self, what: Any, **options: Any) -> Reply:
        self.asked.append(what)
        return _reply(self._pages.pop(0) if self._pages else "I am sorry.")

    def chat_many(self, whats: Sequence[Any], **options: Any) -> list[Reply]:
        return [_reply(self._lines.pop(0)) for _ in whats]

    def check_options(self, preset: str | None = None, **options: Any) -> None:
        """Everything is fine."""


def _reply(text: str) -> Reply:
    return Reply(text, text, None, (), (), (), "stop", Usage(1, 1, 1, 0.0, 0.0, 0.0), ())


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with Renderer() as drawing:
        yield drawing


@pytest.fixture(scope="module")
def mockup(renderer: Renderer) -> SimpleNamespace:
    drawn = renderer.render(MOCKUP, width=480, min_height=240)
    from regard.apps.coding.sight import look

    texts = []
    for line in look(drawn.image).lines:
        x, y = (line.box[0] + line.box[2]) / 2, (line.box[1] + line.box[3]) / 2
        texts.append(next(w.text for w in drawn.lines if w.box[0] <= x <= w.box[2] and w.box[1] <= y <= w.box[3]))
    return SimpleNamespace(image=drawn.image, lines=texts, drawn=drawn)


def fenced(html: str) -> str:
    return f"Here it is:\n```html\n{html}\n```\nDone."


def test_lines_of_text_have_their_boxes_in_pixels_of_the_picture(renderer: Renderer) -> None:
    html = (
        "<style>body{margin:0}</style><p style='margin:20px;font:16px Arial'>One <b>bold</b> word</p>"
        "<input value='Anna'><input placeholder='Hint'>"
    )
    for scale in (1, 2):
        drawn = renderer.render(html, width=300, scale=scale)
        assert [line.text for line in drawn.lines] == ["One bold word", "Anna", "Hint"]
        assert drawn.image.width == 300 * scale
        assert abs(drawn.lines[0].box[0] - 20 * scale) < 2
        ink = drawn.image.convert("L").crop(tuple(map(int, drawn.lines[0].box))).getextrema()
        assert ink[0] < 100  # there are dark letters in the box


def test_a_page_equals_itself(renderer: Renderer, mockup: SimpleNamespace) -> None:
    blocks = blocks_of_page(mockup.drawn)
    assert compare(blocks, mockup.image, blocks, mockup.image).scores.total == 1.0


def test_a_hostile_page_reaches_nothing_and_runs_nothing(renderer: Renderer, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"")
    hits: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url, file = f"http://127.0.0.1:{server.server_port}", (tmp_path / "secret.png").as_uri()
    hostile = [
        f"<script>fetch('{url}/fetch'); while (true) {{}}</script><p>still here</p>",
        f"<img src=x onerror=\"location='{url}/onerror'\"><p>still here</p>",
        f"<meta http-equiv=refresh content='0;url={url}/refresh'><p>still here</p>",
        f"<meta http-equiv=refresh content='0;url={file}'><iframe src='{file}'></iframe><p>still here</p>",
        f"<link rel=stylesheet href='{url}/css'><style>@import '{url}/import'; p {{ background: url({url}/bg) }}"
        f"@font-face {{ font-family: x; src: url({url}/font) }}</style><p style='font-family: x'>still here</p>",
        f"<body onload=\"window.open('{url}/open')\"><img src='{file}'><img src='{url}/img'><p>still here</p>",
        f"<iframe srcdoc=\"<script>parent.location='{url}/frame'</script>\"></iframe>"
        f"<object data='{url}/object'></object><embed src='{url}/embed'>"
        f"<video src='{url}/video' autoplay></video><p>still here</p>",
        f"<link rel=preconnect href='{url}'><link rel=dns-prefetch href='//example.com'><link rel=prefetch "
        f"href='{url}/prefetch'><a href='{url}/ping' ping='{url}/ping'>still here</a>",
        f"<form action='{url}/form'><button autofocus>still here</button></form><base href='{url}/'><img src='rel'>",
        "<dialog open>still here</dialog><details open ontoggle=alert(1)><p>x</p></details><marquee>x</marquee>",
    ]  # fmt: skip
    try:
        for html in hostile:
            drawn = renderer.render(html, width=200)
            assert any("still here" in line.text for line in drawn.lines), html
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert hits == []


def test_a_page_over_a_limit_is_stopped_and_the_next_one_is_drawn() -> None:
    grown = (
        "<style>" + "".join(f".a{i} * * * * * * ~ * {{ color: red }}" for i in range(40)) + "</style>" + "<b>" * 5000
    )
    with Renderer(timeout_s=0.05) as renderer:
        with pytest.raises(PageError, match="more than 0.05 s"):
            renderer.render(grown, width=200)
        renderer._timeout_s = 60.0
        assert renderer.render("<p>next</p>", width=200).lines[0].text == "next"
        marker = renderer._marker
    deadline = time.monotonic() + 10
    while family_of(marker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not family_of(marker)  # nothing is left running


def test_a_page_that_needs_too_much_memory_is_stopped() -> None:
    with Renderer(memory_bytes=8 << 20) as renderer, pytest.raises(PageError, match="more than 8 MiB"):
        renderer.render("<p>small, but no browser is</p>" * 2000, width=200)


@pytest.mark.parametrize("html", ["x" * 2_000_001, "<i>" * 12_001])
def test_a_page_that_is_too_long_is_refused_before_it_is_drawn(renderer: Renderer, html: str) -> None:
    with pytest.raises(PageError, match="is not drawn"):
        renderer.render(html, width=200)


def test_an_endless_page_is_cut_at_the_height_asked_for(renderer: Renderer) -> None:
    drawn = renderer.render("<div style='height: 99999999px'>top</div>", width=100, max_height=500)
    assert drawn.image.size == (100, 500)


def test_the_answer_is_measured_into_place_and_never_worse(renderer: Renderer, mockup: SimpleNamespace) -> None:
    chat = ScriptedChat(mockup.lines, [fenced(GOOD)])
    page = mockup_to_code(chat, mockup.image, rounds=0, renderer=renderer)
    result = page.result
    assert result.source == result.first_source == "answer"
    assert result.scores.total > result.first.total
    assert result.scores.total > 0.93
    assert "<h1" in result.html and "<nav" in result.html and 'name="viewport"' in result.html
    assert max(step.scores.total for step in result.steps if step.scores) == result.scores.total


def test_bad_revisions_are_never_kept(renderer: Renderer, mockup: SimpleNamespace) -> None:
    bad = ["I cannot.", fenced("<h1>Something else</h1>"), fenced("<p>Plan your trap"), fenced("<script>1</script>")]
    chat = ScriptedChat(mockup.lines * 2, [fenced(GOOD)])
    best = mockup_to_code(chat, mockup.image, rounds=0, renderer=renderer).result
    chat = ScriptedChat(mockup.lines, [fenced(GOOD), *bad])
    result = mockup_to_code(chat, mockup.image, rounds=5, renderer=renderer).result
    assert result.html == best.html
    revisions = [step for step in result.steps if step.kind == "revision"]
    assert len(revisions) == 2 and not any(step.is_kept for step in revisions)  # two in a row end it
    assert result.scores.total >= result.first.total


def test_a_better_revision_is_kept_and_the_model_is_shown_what_differs(
    renderer: Renderer, mockup: SimpleNamespace
) -> None:
    poor = MOCKUP.replace("<p>Boats leave every hour.</p>", "").replace("your trip", "a trap")
    chat = ScriptedChat(mockup.lines, [fenced(poor), fenced(MOCKUP)])
    result = mockup_to_code(chat, mockup.image, rounds=1, renderer=renderer).result
    assert [step.is_kept for step in result.steps if step.kind == "revision"] == [True]
    assert result.scores.total > result.first.total
    shown = chat.asked[-1]
    assert sum(isinstance(part, Image.Image) for part in shown) > 2  # both pages and crops of the differences
    assert "Boats leave every hour." in shown[-1]  # in words, too


def test_without_a_page_in_the_answer_listed_elements_are_put_together(
    renderer: Renderer, mockup: SimpleNamespace
) -> None:
    width, height = mockup.image.size
    items = [
        {"bbox_2d": [round(v / s * 1000) for v, s in zip(line.box, (width, height) * 2, strict=True)],
         "label": "heading" if "Plan" in line.text else "button" if line.text == "Book" else "text",
         "text_content": line.text}
        for line in mockup.drawn.lines
    ]  # fmt: skip
    chat = ScriptedChat(mockup.lines, ["No.", "No.", f"```json\n{json.dumps(items)}\n```"])
    result = mockup_to_code(chat, mockup.image, rounds=0, renderer=renderer).result
    assert result.first_source == "elements"
    assert "Plan your trip</h1>" in result.html
    assert result.steps[0].note == "the answer holds no page"


def test_without_any_answer_the_page_is_put_together_from_the_pixels(
    renderer: Renderer, mockup: SimpleNamespace, tmp_path: Path
) -> None:
    picture = mockup.image.copy()
    pen = ImageDraw.Draw(picture)
    for y in range(60):  # a drawn landscape
        pen.line((330, 140 + y, 449, 140 + y), fill=(90 + 2 * y, 160, 220 - 2 * y))
    pen.ellipse((400, 146, 424, 170), fill=(255, 220, 80))
    chat = ScriptedChat(mockup.lines, [])
    page = mockup_to_code(chat, picture, renderer=renderer, rounds=0)
    assert page.result.source == "segmentation"
    assert page.result.scores.total > 0.9
    assert [(round(p.x1), round(p.y1), round(p.x2), round(p.y2)) for p in page.result.pictures] == [
        (330, 140, 450, 200)
    ]
    page.save(tmp_path / "out")
    html = (tmp_path / "out/index.html").read_text()
    assert 'src="assets/picture-1.png"' in html
    assert "<button" in html and "<header" in html
    with Image.open(tmp_path / "out/assets/picture-1.png") as cut:
        assert cut.size == (120, 60)
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {
        "before.png",
        "after.png",
        "difference.png",
        "report.json",
    }
    narrow = renderer.render(html, width=320)
    assert max(line.box[2] for line in narrow.lines) <= 330  # it fits a telephone


def test_a_hostile_answer_is_cleaned_before_it_is_handed_over(renderer: Renderer, mockup: SimpleNamespace) -> None:
    hostile = GOOD + (
        "<script>fetch('http://evil.example/')</script><img src='http://evil.example/x.png' onerror='alert(1)'>"
        "<meta http-equiv='refresh' content='0;url=http://evil.example/'><a href='javascript:alert(1)'>Home</a>"
        "<iframe src='file:///etc/passwd'></iframe>"
    )
    result = mockup_to_code(
        ScriptedChat(mockup.lines, [fenced(hostile)]), mockup.image, rounds=0, renderer=renderer
    ).result
    for word in ("<script", "evil.example", "onerror", "javascript:", "refresh", "iframe", "file:"):
        assert word not in result.html
    assert any("script" in what for what in result.removed) or result.source != "answer"
