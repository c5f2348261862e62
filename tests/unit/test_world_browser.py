"""Many screens on one sheet in Chromium: is what the page reports where the pixels are?"""

import numpy as np
import pytest

from regard.train.world.browser import CHROMIUM, SHEET_PX, RenderedScreen, ScreenPage, SheetBrowser, pack

pytest.importorskip("playwright", reason="needs playwright")
needs_chromium = pytest.mark.skipif(not CHROMIUM.is_file(), reason=f"needs {CHROMIUM}")


@pytest.fixture(scope="module")
def browser():
    with SheetBrowser() as opened:
        yield opened


def render(browser: SheetBrowser, html: str, css: str = "") -> RenderedScreen:
    return browser.render([ScreenPage(320, 200, html, css)])[0]


@needs_chromium
def test_a_reported_box_is_where_the_pixels_are(browser):
    css = "button { position: absolute; left: 41px; top: 67px; width: 90px; height: 30px; border: 0; background: #f00 }"
    screen = render(browser, '<button data-k="button"></button>', css)
    red = np.asarray(screen.image)[:, :, 0].astype(int) - np.asarray(screen.image)[:, :, 1] > 128
    rows, columns = np.where(red)
    assert screen.image.size == (320, 200)
    assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == [41, 67, 131, 97]
    assert screen.widgets[0]["box"] == [41, 67, 131, 97]


@needs_chromium
def test_a_reported_character_centre_is_where_its_ink_is(browser):
    screen = render(browser, '<div style="padding: 60px 100px; font: 30px Liberation Mono">I</div>')
    ink = np.asarray(screen.image.convert("L")) < 128
    rows, columns = np.where(ink)
    assert screen.text == "I"
    assert abs(columns.mean() - screen.xs[0]) < 3 and abs(rows.mean() - screen.ys[0]) < 6


@needs_chromium
def test_zoomed_screens_report_boxes_in_pixels_of_the_picture(browser):
    html = '<div style="zoom: 1.5"><div data-k="slider" style="margin: 10px; width: 40px; height: 20px"></div></div>'
    assert render(browser, html).widgets[0]["box"] == [15, 15, 75, 45]


@needs_chromium
def test_screens_on_one_sheet_are_reported_in_their_own_coordinates(browser):
    page = ScreenPage(300, 100, '<b data-k="link" style="position: absolute; left: 5px; top: 9px">Go</b>')
    boxes = [screen.widgets[0]["box"][:2] for screen in browser.render([page] * 60)]
    assert boxes == [[5, 9]] * 60


@needs_chromium
def test_what_is_covered_or_cut_off_is_not_reported(browser):
    html = (
        '<button data-k="button" style="position:absolute;left:10px;top:10px">Below</button>'
        '<button data-k="button" style="position:absolute;left:290px;top:150px;width:80px">Outside</button>'
        '<div style="position:absolute;top:60px;width:50px;height:20px;overflow:hidden">'
        '<span data-k="link" style="white-space:nowrap">A link too long for its parent</span></div>'
        '<div data-over style="position:absolute;left:0;top:0;width:200px;height:50px;background:#fff">'
        '<button data-k="button" style="margin: 20px">Above</button></div>'
    )
    screen = render(browser, html)
    assert [widget["label"] for widget in screen.widgets] == ["Above"]
    assert "Above" in screen.text and "Below" not in screen.text and "parent" not in screen.text


@needs_chromium
def test_removable_parts_that_do_not_fit_are_removed(browser):
    rows = "".join(f'<p data-r data-k="text" style="height: 60px">row {i}</p>' for i in range(5))
    labels = [widget["label"] for widget in render(browser, rows).widgets]
    assert labels == ["row 0", "row 1", "row 2"]


@needs_chromium
def test_a_row_is_removed_as_a_whole_when_its_control_does_not_fit(browser):
    row = '<div data-r="whole" style="display:flex">{} <button data-r data-k="button" style="{}">Go</button></div>'
    screen = render(browser, row.format("Kept", "width:50px") + row.format("Removed", "min-width:900px"))
    assert screen.text == "KeptGo"


@needs_chromium
def test_states_are_read_from_the_form_controls(browser):
    html = (
        '<label data-k="checkbox"><input type="checkbox" checked>Sync</label>'
        '<label data-k="checkbox"><input type="checkbox">Backup</label>'
        '<button data-k="button" disabled>Send</button>'
    )
    states = {w["label"]: (w["checked"], w["disabled"]) for w in render(browser, html).widgets}
    assert states == {"Sync": (True, False), "Backup": (False, False), "Send": (False, True)}


@pytest.mark.parametrize("seed", range(5))
def test_packed_screens_stay_on_the_sheet_and_do_not_overlap(seed):
    rng = np.random.default_rng(seed)
    pages = [ScreenPage(int(w), int(h), "") for w, h in rng.integers(100, 600, (80, 2))]
    placed, corners = pack(pages)
    assert 10 < len(placed) < 80
    used = np.zeros((SHEET_PX, SHEET_PX), dtype=bool)
    for page, (x, y) in zip(placed, corners, strict=True):
        assert x + page.width <= SHEET_PX and y + page.height <= SHEET_PX
        assert not used[y : y + page.height, x : x + page.width].any()
        used[y : y + page.height, x : x + page.width] = True
