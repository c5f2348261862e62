"""The page's applications in a real Chromium: what goes in, what is drawn of what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the server needs the extra 'server'")
pytest.importorskip("playwright", reason="a browser needs playwright: the extra 'agent'")

from playwright.sync_api import Browser, Page, Route, expect

from regard.server.page import WEB_FOLDER
from regard.train.world.browser import CHROMIUM
from tests.clips import constant_times, write_clip
from tests.server.conftest import Running, png
from tests.server.page_browser import PHONE, WIDE, drop, opened, serious, shoot
from tests.server.page_server import Ran, Says, serving

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}"),
]

EXAMPLE = (WEB_FOLDER / "example.png").read_bytes()


def place(x1: float, y1: float, x2: float, y2: float, label: str, confidence: float | None = None) -> dict[str, Any]:
    return {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "label": label, "confidence": confidence, "extra": {}}


LOCATED = Ran(
    {
        "image": "settings.png",
        "width": 352,
        "height": 256,
        "boxes": [place(249, 185, 333, 218, "Save button", 0.94), place(293, 98, 333, 118, "switch", 0.71)],
        "points": [],
        "counts": [{"label": "Save button", "found": 1, "told": None}, {"label": "switch", "found": 1, "told": 2}],
        "relations": [{"a": 0, "b": 1, "text": "Save button is below switch", "kind": "below", "amount": 67}],
        "repairs": ["closed 2 open brackets"],
    },
    files=[("found.png", EXAMPLE), ("found.csv", b"label,x1\n")],
    progress=[(0, 1, "looking")],
)
DOCUMENT = Ran(
    {"files": [{"name": "page.png", "num_pages": 1, "num_failed": 0, "num_fallback": 0, "error": "", "outputs": []}]},
    files=[
        (
            "page.md",
            b"# Annual report\n\nThe year was good.\n\n| Part | Sum |\n|---|--:|\n| North | 12 |\n| South | 9 |\n",
        ),
        ("page.html", b"<h1>Annual report</h1><p>The year was good.<script>parent.document.title='owned'</script>"),
        ("page.pdf", b"%PDF-1.4"),
    ],
)
FORM = Ran(
    {
        "form": {
            "value": {"total": 84.2},
            "fields": {
                "total": {"value": 84.2, "written": "84,20", "page": 1, "problem": "",
                          "evidence": {"page": 1, "box": [0, 0, 9, 9], "text": "84.20", "likeness": 1}},
                "date": {"value": None, "written": "", "page": None, "evidence": None, "problem": ""},
            },
            "problems": [],
        }
    }
)  # fmt: skip
VIDEO = Ran(
    {
        "source": "clip.webm",
        "model": "nano",
        "task": "question",
        "question": "When does it appear?",
        "stretch": {"start_s": 0, "end_s": 3.0},
        "answer": "A red circle appears at 0:01.5.",
        "events": [
            {"span": {"start_s": 0.4, "end_s": 0.9}, "text": "a blue star", "checked": "pixels", "confidence": 0.6},
            {"span": {"start_s": 1.5, "end_s": 2.5}, "text": "a red circle", "checked": "looked", "confidence": 1},
        ],
        "chapters": [],
        "texts": [],
        "spent": {"tokens": 3120, "budget": 50000, "calls": 9, "seconds": 4.2, "unseen": 0},
    },
    progress=[(1, 10, "reading the clip")],
)
SCORES = {"total": 0.91, "block": 0.9, "text": 0.97, "position": 0.88, "color": 0.93, "ssim": 0.8}
CODED = Ran(
    {
        "source": "segmentation",
        "first": {**SCORES, "total": 0.82},
        "scores": SCORES,
        "steps": [
            {"kind": "segmentation", "scores": {**SCORES, "total": 0.82}, "is_kept": True, "note": ""},
            {"kind": "measured", "scores": SCORES, "is_kept": True, "note": ""},
        ],
        "repairs": [],
        "html": "<!doctype html><h1>Settings</h1><button>Save</button>",
    },
    files=[
        ("index.html", b"<h1>Settings</h1>"),
        ("after.png", EXAMPLE),
        ("difference.png", EXAMPLE),
        ("before.png", EXAMPLE),
    ],
)
SOLVED = Ran(
    {
        "solution": {
            "given": ["AB = 6", "BC = 8", "angle B = 90"],
            "asked": "AC",
            "steps": [
                {"number": 1, "text": "$AC^2 = AB^2 + BC^2$", "reason": "Pythagoras", "verdict": "checked", "note": ""},
                {"number": 2, "text": "$AC = 11$", "reason": "", "verdict": "wrong", "note": "it comes to 10"},
                {"number": 3, "text": "Look at the figure.", "reason": "", "verdict": "not checkable", "note": ""},
            ],
            "answer": "10 cm",
            "answer_verdict": "checked",
            "answer_note": "",
            "mistakes": ["Adding the sides."],
            "points": [{"x": 40, "y": 40, "label": "A", "confidence": None, "extra": {}}],
            "lines": [],
            "was_retried": True,
            "repairs": [],
        },
        "hints": [
            {"number": 1, "total": 2, "text": "Look for the right angle.", "is_last": False},
            {"number": 2, "total": 2, "text": "So the answer is 10 cm.", "is_last": True},
        ],
    }
)
TRACE = [
    {"kind": "start", "task": "Switch email alerts off"},
    {"kind": "step", "number": 1, "said": "Click the switch", "words": "click at (310, 108)", 
     "target": 'switch "Email alerts"',
     "thought": "It is on.", "outcome": "done", "reason": "", "changed": True,
     "screenshot": "001.png", "drawn": "001.png"},
    {"kind": "step", "number": 2, "said": "Buy it", "words": "click at (9, 9)", "target": "", "thought": "",
     "outcome": "refused", "reason": "it costs money", "changed": None, "screenshot": "002.png", "drawn": ""},
    {"kind": "end", "status": "stopped", "reason": "the user stopped it", "answer": None},
]  # fmt: skip


def finished(page: Page) -> Any:
    """The result, once it is complete."""
    out = page.locator(".app-out")
    expect(out).to_have_attribute("aria-busy", "false")
    expect(out).not_to_have_class("app-out app-empty")
    return out


def fits(page: Page) -> None:
    assert page.locator("#app").evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    assert page.locator("html").evaluate("e => e.scrollWidth - e.clientWidth") <= 0


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_locate_draws_boxes_in_their_place(browser: Browser, size: tuple[int, int]) -> None:
    with serving(LOCATED) as server, opened(browser, f"{server.url}/#locate", size) as page:
        expect(page.get_by_role("button", name="Locate")).to_be_disabled()
        drop(page, EXAMPLE, "settings.png")
        page.get_by_label("What to look for").fill("Save button, switch")
        page.get_by_role("button", name="Locate").click()
        out = finished(page)
        expect(out.locator("rect.box")).to_have_count(2)
        picture, mark = (
            out.locator(".picture img").bounding_box(),
            out.locator("rect.box").first.evaluate(
                "e => { const r = e.getBoundingClientRect(); return [r.x, r.y, r.right, r.bottom]; }"
            ),
        )
        scale = 352 / picture["width"]
        found = [(mark[i] - picture["xy"[i % 2]]) * scale for i in range(4)]
        assert all(abs(a - b) <= 2 for a, b in zip(found, (249, 185, 333, 218), strict=True))
        expect(out).to_contain_text("Save button is below switch")
        expect(out).to_contain_text("1 found, 2 counted")
        expect(out.locator(".app-file")).to_have_count(2)
        assert server.bodies[0]["inputs"] == ["file-1"]
        assert server.bodies[0]["options"]["what"] == "Save button, switch"
        fits(page)
        with page.expect_download() as download:
            out.locator(".app-file").nth(1).click()
        assert Path(download.value.path()).read_bytes() == b"label,x1\n"


def test_a_document_is_shown_as_text_and_as_a_harmless_page(browser: Browser) -> None:
    with serving(DOCUMENT, FORM) as server, opened(browser, f"{server.url}/#document") as page:
        drop(page, EXAMPLE, "page.png")
        page.get_by_role("button", name="Read", exact=True).click()
        out = finished(page)
        expect(out.locator(".prose h1")).to_have_text("Annual report")
        expect(out.locator(".prose td").first).to_have_text("North")
        shoot(page, "tab-document-text")
        out.get_by_text("Page", exact=True).click()
        expect(page.frame_locator("iframe.preview").locator("h1")).to_have_text("Annual report")
        assert page.locator("iframe.preview").get_attribute("sandbox") == "" and page.title() != "owned"
        page.get_by_label("What to make").select_option("fields")
        page.get_by_label("Fields of the form").fill("total, date")
        page.get_by_role("button", name="Read", exact=True).click()
        expect(page.locator(".app-out tbody tr")).to_have_count(2)
        expect(page.locator(".app-out tbody tr").first).to_contain_text("84.2")
        assert len(server.uploads) == 1 and server.bodies[1]["options"]["fields"] == "total, date"


def test_a_time_line_goes_to_the_moment(browser: Browser, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="writing a clip needs the extra 'video'")
    clip = write_clip(tmp_path / "clip.webm", constant_times(75, 25))
    with serving(VIDEO) as server, opened(browser, f"{server.url}/#video") as page:
        drop(page, clip.read_bytes(), "clip.webm", "video/webm")
        page.get_by_role("combobox", name="What to do").select_option("question")
        page.get_by_label("Question, or what to find").fill("When does it appear?")
        page.get_by_role("button", name="Watch").click()
        out = finished(page)
        expect(out.locator(".app-line button")).to_have_count(2)
        at = "wanted => Math.abs(document.querySelector('.app-clip').currentTime - wanted) < 0.05"
        for clicked, wanted_s in (
            (out.locator(".app-line button").nth(1), 1.5),
            (out.locator(".app-events a.time").first, 0.4),
            (out.locator(".prose a.time"), 1.5),
        ):
            clicked.click()
            page.wait_for_function(at, arg=wanted_s)


def test_code_shows_page_picture_and_difference(browser: Browser) -> None:
    with serving(CODED) as server, opened(browser, f"{server.url}/#code") as page:
        page.get_by_text("or try it with an example").click()
        page.get_by_role("button", name="Write the page").click()
        out = finished(page)
        expect(out).to_contain_text("0.91")
        for face in ("Picture", "Difference", "Page"):
            out.locator(".app-switch").get_by_text(face, exact=True).click()
            expect(out.locator(".app-face img")).to_be_visible()
        shoot(page, "tab-code")
        out.locator(".app-switch").get_by_text("HTML", exact=True).click()
        expect(out.locator(".code")).to_contain_text("<button>")
        assert server.bodies[0]["options"] == {"scale": 1}


def test_the_tutor_keeps_the_answer_until_it_is_asked_for(browser: Browser) -> None:
    with serving(SOLVED) as server, opened(browser, f"{server.url}/#tutor") as page:
        drop(page, png(), "triangle.png")
        page.get_by_role("button", name="Look at it").click()
        out = finished(page)
        expect(out.locator(".app-answer")).to_be_hidden()
        out.get_by_role("button", name="First hint").click()
        expect(out.locator(".app-hint")).to_have_text(["Hint 1 of 2Look for the right angle."])
        out.get_by_role("button", name="Last hint: tells the answer").click()
        out.get_by_role("button", name="Show the solution").click()
        expect(out.locator(".app-answer")).to_contain_text("10 cm")
        expect(out.locator(".app-step .app-mark.checked")).to_have_count(1)
        expect(out.locator(".app-step .app-mark.wrong")).to_have_count(1)
        expect(out).to_contain_text("it comes to 10")


def test_an_agent_is_not_started_but_its_trace_is_shown(browser: Browser, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text("\n".join(map(json.dumps, TRACE)))
    (tmp_path / "001.png").write_bytes(EXAMPLE)
    with serving(Says()) as server, opened(browser, f"{server.url}/#agent") as page:
        expect(page.locator(".app-refused")).to_contain_text("regard serve --allow-agent")
        expect(page.get_by_text("Start", exact=True)).to_be_hidden()
        page.locator(".app input[type=file]").set_input_files([trace, tmp_path / "001.png"])
        expect(page.locator(".app-frame")).to_have_count(2)
        expect(page.locator(".app-frame").first).to_contain_text("Click the switch")
        expect(page.locator(".app-frame").nth(1)).to_contain_text("refused: it costs money")
        expect(page.locator(".app-frame img")).to_have_count(1)
        assert server.bodies == [] and server.uploads == []


def test_a_run_is_stopped_and_an_error_told_in_words(browser: Browser) -> None:
    scripts = (Ran(forever=True), Ran(error="the page is upside down; turn it"), LOCATED)
    with serving(*scripts) as server, opened(browser, f"{server.url}/#locate") as page:
        drop(page, EXAMPLE, "settings.png")
        page.get_by_label("What to look for").fill("Save button")
        page.get_by_role("button", name="Locate", exact=True).click()
        expect(page.locator(".app-form [role=status]")).to_have_text("On and on")
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".app-form [role=status]")).to_have_text("Stopped.")
        assert server.hung_up.wait(10)
        page.get_by_role("button", name="Locate").click()
        expect(page.locator(".app-out [role=alert]")).to_contain_text("The page is upside down; turn it.")
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".app-out rect.box")).to_have_count(2)


def test_tabs_keep_what_they_hold_and_have_addresses(browser: Browser) -> None:
    with serving(Says("Hello.")) as server, opened(browser, server.url) as page:
        tabs = page.get_by_role("navigation", name="What to do")
        expect(tabs.get_by_role("link")).to_have_text(["Chat", "Locate", "Document", "Video", "Code", "Tutor", "Agent"])
        page.get_by_label("Your question").fill("half a question")
        tabs.get_by_text("Locate").click()
        expect(page.get_by_label("Your question")).to_be_hidden()
        page.get_by_label("What to look for").fill("a switch")
        tabs.get_by_text("Tutor").click()
        expect(page.get_by_label("What is asked")).to_be_visible()
        page.go_back()
        expect(page.get_by_label("What to look for")).to_have_value("a switch")
        drop(page, b"%PDF-1.4", "page.pdf", "application/pdf")
        expect(page.locator(".toast")).to_contain_text("page.pdf is not what is wanted here")
        tabs.get_by_text("Chat").click()
        expect(page.get_by_label("Your question")).to_have_value("half a question")


def test_a_file_that_is_dropped_while_a_tab_loads_is_kept(browser: Browser) -> None:
    with serving(LOCATED) as server, opened(browser, server.url) as page:
        waiting: list[Route] = []
        page.route("**/tabs/locate.js", lambda route: waiting.append(route))
        with page.expect_request("**/tabs/locate.js"):
            page.locator("#tabs").get_by_text("Locate", exact=True).click()
        drop(page, EXAMPLE, "settings.png")
        expect(page.locator("#app .app-form")).to_have_count(0)
        waiting.pop().continue_()
        page.get_by_label("What to look for").fill("Save button, switch")
        page.get_by_role("button", name="Locate", exact=True).click()
        expect(finished(page).locator("rect.box")).to_have_count(2)
        assert len(server.uploads) == 1 and server.bodies[0]["inputs"] == ["file-1"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_the_tabs(browser: Browser, theme: Any, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="writing a clip needs the extra 'video'")
    clip = write_clip(tmp_path / "clip.webm", constant_times(75, 25)).read_bytes()
    trace = tmp_path / "trace.jsonl"
    trace.write_text("\n".join(map(json.dumps, TRACE)))
    (tmp_path / "001.png").write_bytes(EXAMPLE)
    with (
        serving(LOCATED, DOCUMENT, VIDEO, CODED, SOLVED) as server,
        opened(browser, f"{server.url}/#locate", color_scheme=theme, bypass_csp=True) as page,
    ):
        for tab in ("Locate", "Document", "Video", "Code", "Tutor", "Agent"):
            page.locator("#tabs").get_by_text(tab, exact=True).click()
            expect(page.locator("#app .app-form")).to_have_attribute("aria-label", tab.lower())
            page.wait_for_timeout(100)
            assert serious(page) == [], f"{tab}, before anything is given"
            if tab == "Agent":
                page.locator(".app input[type=file]").set_input_files([trace, tmp_path / "001.png"])
                expect(page.locator(".app-frame")).to_have_count(2)
            else:
                given = (clip, "clip.webm", "video/webm") if tab == "Video" else (EXAMPLE, "settings.png", "image/png")
                drop(page, *given)
                if tab == "Locate":
                    page.get_by_label("What to look for").fill("switch")
                page.locator(".app-go").first.click()
                out = finished(page)
            if tab == "Tutor":
                out.get_by_role("button", name="First hint").click()
                out.get_by_role("button", name="Show the solution").click()
            page.wait_for_timeout(100)
            assert serious(page) == [], tab
            shoot(page, f"tab-{tab.lower()}-{theme}")


def test_the_real_server_locates_with_nano(browser: Browser, server: Running) -> None:
    with opened(browser, f"{server.url}/#locate") as page:
        page.get_by_text("or try it with an example").click()
        page.get_by_label("What to look for").fill("Save button")
        page.get_by_role("button", name="Locate").click()
        out = finished(page)
        expect(out.locator(".error")).to_have_count(0)
        expect(out.locator(".picture img")).to_be_visible()
        expect(out.locator(".app-file")).to_have_count(2)
        page.locator("#tabs").get_by_text("Agent").click()
        expect(page.locator(".app-refused")).to_contain_text("--allow-agent")
