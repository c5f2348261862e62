"""The web page in a real Chromium: what a person does with it, and what it looks like.

Most tests talk to a stand-in whose answers are scripted (`page_server.py`); the last one to regard-nano behind the real
server. REGARD_SHOTS=FOLDER keeps a picture of the page at the end of every test.
"""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the server needs the extra 'server'")
pytest.importorskip("playwright", reason="a browser needs playwright: the extra 'agent'")

from playwright.sync_api import Browser, Page, expect

from regard.server.page import WEB_FOLDER
from regard.train.world.browser import CHROMIUM
from tests.clips import constant_times, write_clip
from tests.server.conftest import Running, png
from tests.server.page_browser import PHONE, WIDE, drop, opened, serious
from tests.server.page_server import Says, box, saw, serving

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}"),
]

SAVE = box(200, 100, 260, 150, "Save", 0.93)
FOUND = Says(
    "The **Save** button is here.",
    boxes=[SAVE, box(20, 30, 90, 60, "Name", None)],
    points=[{"x": 160, "y": 20, "label": "Title", "image": 0, "confidence": 0.5}],
    media=[saw(width=320, height=200)],
)
RICH = Says(
    thinking="I look closely.",
    text=(
        "## What changes\n\n| Setting | State |\n|---|---|\n| Alerts | on |\n\nIt follows $x = \\frac{1}{2} a t^2$.\n\n"
        "```python\narea = width * height\n```\n\n```html\n"
        "<h1>Hello</h1><script>parent.document.title = 'owned'</script>\n```\n"
    ),
)


def ask(page: Page, text: str) -> None:
    page.get_by_label("Your question").fill(text)
    page.get_by_label("Send", exact=True).click()


def answer(page: Page) -> Any:
    """The newest answer, once it is complete."""
    newest = page.locator("article.answer").last
    expect(newest).to_have_attribute("aria-busy", "false")
    expect(newest.locator(".foot")).to_be_visible()
    return newest


def drawn_box(page: Page, width: int, height: int) -> tuple[float, float, float, float]:
    """The first drawn box, in pixels of the picture as given."""
    picture = page.locator(".found .picture img").bounding_box()
    mark = page.locator(".found rect.box").first.evaluate(
        "e => { const r = e.getBoundingClientRect(); return [r.x, r.y, r.right, r.bottom]; }"
    )
    assert picture is not None
    x_scale, y_scale = width / picture["width"], height / picture["height"]
    left, top, right, bottom = mark
    return (
        (left - picture["x"]) * x_scale,
        (top - picture["y"]) * y_scale,
        (right - picture["x"]) * x_scale,
        (bottom - picture["y"]) * y_scale,
    )


@pytest.mark.parametrize(("size", "scale"), [(WIDE, 1), (WIDE, 2), ((700, 700), 1.5), (PHONE, 3)])
def test_a_picture_is_dropped_asked_about_and_boxed_in_its_place(
    browser: Browser, size: tuple[int, int], scale: float
) -> None:
    with serving(FOUND) as server, opened(browser, server.url, size, device_scale_factor=scale) as page:
        drop(page, png())
        expect(page.locator(".attached img")).to_be_visible()
        ask(page, "Where is Save?")
        newest = answer(page)
        expect(newest.locator(".prose strong")).to_have_text("Save")
        expect(newest.locator("rect.box")).to_have_count(2)
        expect(newest.locator("line.dot")).to_have_count(1)
        for found, wanted in zip(drawn_box(page, 320, 200), (200, 100, 260, 150), strict=True):
            assert abs(found - wanted) <= 2
        assert server.bodies[0]["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")
        assert server.bodies[0]["coordinates"] == "pixel" and server.bodies[0]["stream"] is True


def test_what_is_pointed_at_lights_up_in_picture_list_and_text(browser: Browser) -> None:
    with serving(FOUND) as server, opened(browser, server.url) as page:
        drop(page, png())
        ask(page, "Where is Save?")
        newest = answer(page)
        row = newest.locator(".legend .mark", has_text="Save")
        expect(row).to_contain_text("200, 100, 260, 150")
        expect(row).to_contain_text("93")
        row.hover()
        expect(newest.locator("rect.box.lit")).to_have_count(1)
        expect(newest.locator(".prose .named.lit")).to_have_text("Save")
        newest.locator("rect.box").nth(1).hover()
        expect(newest.locator(".legend .mark.lit")).to_contain_text("Name")


def test_an_answer_streams_and_stop_ends_it_at_the_server_too(browser: Browser) -> None:
    endless = Says("word " * 4000, pause_s=0.01)
    with serving(endless) as server, opened(browser, server.url) as page:
        ask(page, "Tell me everything.")
        prose = page.locator("article.answer .prose")
        expect(prose).to_contain_text("word word")
        early = len(prose.inner_text())
        expect(page.get_by_label("Stop", exact=True)).to_be_visible()
        page.wait_for_function("n => document.querySelector('article.answer .prose').innerText.length > n", arg=early)
        page.get_by_label("Stop", exact=True).click()
        expect(page.locator("article.answer .note")).to_have_text("Stopped.")
        assert server.hung_up.wait(10)
        assert server.num_sent < 3000
        expect(page.get_by_label("Send", exact=True)).to_be_visible()


def test_a_time_in_the_answer_jumps_the_clip(browser: Browser, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="writing a clip needs the extra 'video'")
    clip = write_clip(tmp_path / "clip.webm", constant_times(75, 25))
    says = Says("It appears at 0:01.5, again at <2.0 seconds> and not at 12:30.", media=[saw("video", duration_s=3.0)])
    with serving(says) as server, opened(browser, server.url) as page:
        drop(page, clip.read_bytes(), "clip.webm", "video/webm")
        ask(page, "When?")
        links = answer(page).locator("a.time")
        expect(links).to_have_text(["0:01.5", "<2.0 seconds>"])
        for number, wanted_s in enumerate((1.5, 2.0)):
            links.nth(number).click()
            page.wait_for_function(
                "wanted => Math.abs(document.querySelector('.given video').currentTime - wanted) < 0.05", arg=wanted_s
            )


def test_tables_mathematics_code_and_thinking_are_set(browser: Browser) -> None:
    with serving(RICH) as server, opened(browser, server.url) as page:
        ask(page, "Show me.")
        newest = answer(page)
        expect(newest.locator("td").first).to_have_text("Alerts")
        expect(newest.locator(".katex").first).to_be_visible()
        expect(newest.locator(".hljs-number, .hljs-keyword, .code code").first).to_be_visible()
        expect(newest.locator(".thinking summary")).to_contain_text("Thought for")
        expect(newest.locator(".thought")).to_be_hidden()
        newest.locator(".thinking summary").click()
        expect(newest.locator(".thought")).to_have_text("I look closely.")


def test_html_of_an_answer_is_shown_in_a_frame_that_can_do_nothing(browser: Browser) -> None:
    with serving(RICH) as server, opened(browser, server.url) as page:
        ask(page, "Write it as HTML.")
        answer(page).get_by_text("Preview", exact=True).click()
        frame = page.locator("iframe.preview")
        expect(frame).to_be_visible()
        assert frame.get_attribute("sandbox") == ""
        expect(page.frame_locator("iframe.preview").locator("h1")).to_have_text("Hello")
        assert page.title() != "owned"


def test_markup_in_an_answer_stays_harmless(browser: Browser) -> None:
    hostile = Says(
        "<img src=x onerror=\"document.title='owned'\"><a href=\"javascript:document.title='owned'\">go</a> done"
    )
    with serving(hostile) as server, opened(browser, server.url) as page:
        ask(page, "Hello?")
        newest = answer(page)
        expect(newest.locator(".prose")).to_contain_text("done")
        assert newest.locator("[onerror], a[href^=javascript]").count() == 0
        assert page.title() != "owned"


def test_conversations_survive_a_reload_and_can_be_renamed_and_deleted(browser: Browser) -> None:
    with serving(FOUND, Says("Second.")) as server, opened(browser, server.url) as page:
        drop(page, png())
        ask(page, "Where is Save?")
        answer(page)
        ask(page, "And now?")
        expect(answer(page).locator(".prose")).to_have_text("Second.")
        page.reload()
        page.wait_for_selector("html[data-started]")
        expect(page.locator("article.question .words")).to_have_text(["Where is Save?", "And now?"])
        expect(page.locator(".found rect.box")).to_have_count(2)
        assert page.locator(".given img").evaluate("e => e.decode().then(() => e.naturalWidth)") == 320
        assert len(server.bodies) == 2
        first = page.locator(".conversations .open").first
        first.focus()
        page.keyboard.press("F2")
        expect(page.get_by_label("Name of the conversation")).to_be_focused()
        page.keyboard.type("My screens")
        page.keyboard.press("Enter")
        expect(page.locator(".conversations .open")).to_have_text(["My screens"])
        page.locator(".conversations .open").first.focus()
        page.keyboard.press("Delete")
        expect(page.locator(".welcome")).to_be_visible()
        page.get_by_text("Undo").click()
        expect(page.locator(".conversations .open")).to_have_text(["My screens"])


def test_a_question_can_be_changed_and_an_answer_asked_for_again(browser: Browser) -> None:
    with serving(Says("One."), Says("Two."), Says("Three.")) as server, opened(browser, server.url) as page:
        ask(page, "First?")
        answer(page).get_by_label("Answer again").click()
        expect(answer(page).locator(".prose")).to_have_text("Two.")
        page.locator("article.question").hover()
        page.get_by_label("Edit and ask again").click()
        page.locator(".editor textarea").fill("Other?")
        page.get_by_text("Ask again", exact=True).click()
        expect(answer(page).locator(".prose")).to_have_text("Three.")
        assert [body["messages"][-1]["content"] for body in server.bodies] == ["First?", "First?", "Other?"]
        expect(page.locator("article.answer")).to_have_count(1)


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (Says("too many requests wait; try again in 3 s", status=429), "Too many requests wait"),
        (Says("the picture cannot be read", status=400), "The picture cannot be read."),
        (Says("Half an", cut=True), "Half an"),
    ],
)
def test_errors_are_told_in_words_with_a_way_on(browser: Browser, says: Says, words: str) -> None:
    with serving(says, Says("Fine.")) as server, opened(browser, server.url) as page:
        ask(page, "Well?")
        newest = page.locator("article.answer").last
        expect(newest.locator(".error")).to_be_visible()
        expect(newest).to_contain_text(words)
        newest.get_by_role("button", name="Try again").click()
        expect(answer(page).locator(".prose")).to_have_text("Fine.")


def test_a_server_with_a_key_asks_for_it(browser: Browser) -> None:
    with serving(Says("Hello."), key="secret") as server, opened(browser, server.url) as page:
        expect(page.locator("#server")).to_contain_text("Key needed")
        page.locator("#key").fill("wrong")
        page.get_by_text("Use it").click()
        expect(page.get_by_text("The server did not take this key.")).to_be_visible()
        page.locator("#key").fill("secret")
        page.get_by_text("Use it").click()
        expect(page.locator("#server")).to_contain_text("regard-nano")
        ask(page, "Hi")
        expect(answer(page).locator(".prose")).to_have_text("Hello.")


def test_settings_are_sent_only_where_they_were_changed(browser: Browser) -> None:
    with serving(Says("Yes.")) as server, opened(browser, server.url) as page:
        page.get_by_label("Settings", exact=True).first.click()
        page.locator("#settings select").select_option("ocr")
        page.locator("#settings input[type=range]").first.fill("8")  # the ninth position: 0.40
        ask(page, "Read it.")
        answer(page)
        body = server.bodies[0]
        assert body["preset"] == "ocr" and body["temperature"] == 0.4 and "top_p" not in body


def test_all_of_it_works_from_the_keyboard(browser: Browser) -> None:
    with serving(Says("word " * 2000, pause_s=0.01), Says("Short.")) as server, opened(browser, server.url) as page:
        expect(page.get_by_label("Your question")).to_be_focused()
        page.keyboard.type("First line")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("second line")
        page.keyboard.press("Enter")
        expect(page.locator("article.answer .prose")).to_contain_text("word")
        page.keyboard.press("Escape")
        expect(page.locator("article.answer .note")).to_have_text("Stopped.")
        assert server.bodies[0]["messages"][0]["content"] == "First line\nsecond line"
        page.get_by_label("Your question").focus()
        page.keyboard.press("ArrowUp")
        page.keyboard.type(" changed")
        page.keyboard.press("Enter")
        expect(answer(page).locator(".prose")).to_have_text("Short.")
        assert server.bodies[1]["messages"][0]["content"].endswith(" changed")


def test_what_is_no_picture_clip_or_document_is_refused_in_words(browser: Browser) -> None:
    with serving(Says("Yes.")) as server, opened(browser, server.url) as page:
        drop(page, b"PK", "archive.zip", "application/zip")
        expect(page.locator(".toast")).to_contain_text("archive.zip is not a picture, a clip or a PDF")
        drop(page, b"", "empty.png")
        expect(page.locator(".toast").last).to_contain_text("empty.png is empty")
        expect(page.locator(".attached")).to_have_count(0)
        assert server.bodies == []


def test_pictures_can_be_pasted_and_taken_away_again(browser: Browser) -> None:
    with serving(Says("Yes.")) as server, opened(browser, server.url) as page:
        page.evaluate(
            """(data) => {
              const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
              const clipboardData = new DataTransfer();
              clipboardData.items.add(new File([bytes], "image.png", {type: "image/png"}));
              document.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true, cancelable: true}));
            }""",
            base64.b64encode(png()).decode(),
        )
        expect(page.locator(".attached img")).to_have_count(1)
        page.get_by_label("Remove image.png").click()
        expect(page.locator(".attached")).to_have_count(0)
        assert server.bodies == []


def test_large_files_are_uploaded_once(browser: Browser) -> None:
    from PIL import Image

    file = Path(os.environ.get("TMPDIR", "/tmp")) / f"regard-large-{os.getpid()}.bmp"
    Image.effect_noise((1200, 900), 100).convert("RGB").save(file, "BMP")
    try:
        with serving(Says("Noise.")) as server, opened(browser, server.url) as page:
            page.locator("#file").set_input_files(file)
            ask(page, "What is it?")
            answer(page)
            ask(page, "Really?")
            expect(page.locator("article.answer")).to_have_count(2)
            answer(page)
            assert len(server.uploads) == 1
            assert server.bodies[1]["messages"][0]["content"][0]["file"] == {"file_id": "file-1"}
    finally:
        file.unlink()


@pytest.mark.parametrize("size", [PHONE, (900, 700), WIDE])
def test_nothing_is_cut_off_or_scrolls_sideways(browser: Browser, size: tuple[int, int]) -> None:
    with serving(RICH) as server, opened(browser, server.url, size) as page:
        composer = page.locator("#question").bounding_box()
        assert composer is not None and composer["height"] < 60, "an empty question is one line high"
        ask(page, "Show me.")
        answer(page)
        for element in ("html", "#scroll"):
            assert page.locator(element).evaluate("e => e.scrollWidth - e.clientWidth") <= 0
        inside = page.locator(".turn").evaluate_all(
            "es => es.every(e => e.getBoundingClientRect().right <= innerWidth)"
        )
        assert inside


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_axe_finds_nothing_serious(browser: Browser, theme: Any, size: tuple[int, int]) -> None:
    with serving(FOUND, RICH) as server, opened(browser, server.url, size, color_scheme=theme, bypass_csp=True) as page:
        assert page.locator("html").get_attribute("data-theme") == theme
        assert serious(page) == []
        drop(page, png())
        ask(page, "Where is Save?")
        answer(page)
        ask(page, "And?")
        answer(page)
        assert serious(page) == []
        page.get_by_label("Settings", exact=True).first.click()
        assert serious(page) == []


def test_the_real_server_answers_the_example_about_its_picture(browser: Browser, server: Running) -> None:
    with opened(browser, server.url) as page:
        expect(page.locator("#server")).to_contain_text("nano")
        began = time.monotonic()
        page.get_by_text("Where is the Save button? Give its bounding box.").click()
        newest = answer(page)
        assert time.monotonic() - began < 60
        expect(newest.locator(".report summary")).to_contain_text("352 visual tokens")
        expect(newest.locator("rect.box")).not_to_have_count(0)
        expect(newest.locator(".error")).to_have_count(0)


def test_the_stand_in_serves_what_the_real_server_serves(server: Running) -> None:
    """Otherwise tests above would prove something about a page that nobody gets."""
    import httpx2

    with serving(Says()) as stand_in:
        for path in ("/", "/app.js", "/style.css"):
            real, other = (httpx2.get(url + path, trust_env=False) for url in (server.url, stand_in.url))
            assert real.content == other.content
            for name in ("content-security-policy", "x-content-type-options", "referrer-policy"):
                assert real.headers[name] == other.headers[name]


def test_what_others_wrote_is_listed_and_small() -> None:
    folder = WEB_FOLDER / "vendor"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1_200_000
    assert {path.suffix for path in files} <= {".js", ".css", ".woff2", ".md", ""}
    told = (folder / "README.md").read_text(encoding="utf-8")
    for one in folder.iterdir():
        if one.is_dir():
            assert f"`{one.name}`" in told and (one / "LICENSE").is_file()
