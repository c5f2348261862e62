"""The browser behind `browser.BrowserScreen`: asynchronous, and everything on one thread.

Input goes to the tab on top, as real mouse, touch and keyboard events. An action that opens a dialog of the browser's
(alert, confirm, prompt) does not come back until the dialog is answered, so it is left waiting, the dialog is drawn
over the last picture (`browser_dialog`), and the next click answers it.

A page of another host is stopped before it is asked for (`may_open`); what gets there by a redirect is closed again
before anyone looks at it. Downloads go to a folder, files are never given to a page, pages get no permissions.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from regard.apps.agent import browser_scripts as scripts
from regard.apps.agent.browser_dialog import DialogBox
from regard.apps.agent.keys import playwright_key, shortcut
from regard.apps.agent.screen import Action, ScreenError, Target
from regard.apps.agent.secrets import Secrets

ACTION_TIMEOUT_S = 10.0
LOAD_TIMEOUT_MS = 15_000
DRAG_STEPS = 12
MAX_DOWNLOAD_BYTES = 200_000_000
_BUTTONS = {"click": "left", "right_click": "right", "middle_click": "middle"}
_CLICKS = {"double_click": 2, "triple_click": 3}
Masked = tuple[tuple[float, float, float, float], bool]  # a box in CSS pixels, whether a field


class BrowserPage:
    """One browser context with its tabs. `pointer` is where the mouse is, in CSS pixels."""

    def __init__(
        self, context: Any, *, is_phone: bool, downloads: Path | None, may_open: Callable[[str], bool]
    ) -> None:
        self.context, self.is_phone, self.may_open = context, is_phone, may_open
        self.downloads = downloads
        self.notes: list[str] = []
        self.tabs: list[Any] = []
        self.dialog: DialogBox | None = None
        self._dialog_came = asyncio.Event()
        self._waiting: asyncio.Task[Any] | None = None  # the action that a dialog holds up
        self.pointer = (0.0, 0.0)
        self._num_stopped = 0  # pages that were not opened since the last look
        self._background: set[asyncio.Task[Any]] = set()

    async def start(self, url: str) -> None:
        """Open the first page. Errors: ScreenError if it cannot be loaded."""
        await self.context.add_init_script(scripts.SELECT_LISTS)
        await self.context.route("**/*", self._route)
        self.context.on("page", self._add_tab)
        page = await self.context.new_page()
        try:
            await self._or_dialog(page.goto(url, wait_until="load", timeout=LOAD_TIMEOUT_MS))
        except Exception as error:
            raise ScreenError(f"the page {url} cannot be opened: {_first_line(error)}") from None

    @property
    def page(self) -> Any:
        """The tab on top. Errors: ScreenError if all are closed."""
        if not self.tabs:
            raise ScreenError("the browser has no tab left")
        return self.tabs[-1]

    def _add_tab(self, page: Any) -> None:
        if self.tabs:
            self.notes.append("a new tab opened")
        self.tabs.append(page)
        page.on("dialog", self._on_dialog)
        page.on("close", lambda: self._drop_tab(page))
        page.on("crash", lambda: self.notes.append("the page crashed"))
        page.on("download", lambda download: self._later(self._save(download)))
        page.on("filechooser", lambda _: self.notes.append("the page asked for a file, and none was given"))

    def _drop_tab(self, page: Any) -> None:
        if page in self.tabs:
            was_on_top = page is self.tabs[-1]
            self.tabs.remove(page)
            self.notes.append("the tab was closed" if was_on_top else "another tab was closed")

    def _on_dialog(self, dialog: Any) -> None:
        if self.dialog is not None:  # only one is shown at a time; one from a hidden tab is not answered for the user
            self._later(dialog.dismiss())
            return
        self.dialog = DialogBox(dialog)
        self._dialog_came.set()

    def _later(self, work: Coroutine[Any, Any, Any]) -> None:
        async def quietly() -> None:
            with suppress(Exception):  # what it was about may be gone by now
                await work

        task = asyncio.ensure_future(quietly())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _route(self, route: Any) -> None:
        request = route.request
        if request.is_navigation_request() and _is_on_top(request) and not self.may_open(request.url):
            self._num_stopped += 1
            self.notes.append(f"a page of another host was not opened: {request.url[:200]}")
            await route.fulfill(status=204)  # a page that answers with nothing leaves what is shown
        else:
            await route.continue_()

    async def _save(self, download: Any) -> None:
        name = Path(download.suggested_filename).name or "download"
        if self.downloads is None:
            await download.cancel()
            self.notes.append(f"the download {name} was not saved")
            return
        self.downloads.mkdir(parents=True, exist_ok=True)
        path = self.downloads / name
        for number in range(2, 1000):
            if not path.exists():
                break
            path = self.downloads / f"{Path(name).stem}-{number}{Path(name).suffix}"
        await download.save_as(path)
        if path.stat().st_size > MAX_DOWNLOAD_BYTES:
            path.unlink()
            self.notes.append(f"the download {name} was too large and is gone")
            return
        self.notes.append(f"saved {path.name}")

    async def _or_dialog(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of some work, or None if a dialog came up and holds it."""
        task = asyncio.ensure_future(work)
        came = asyncio.ensure_future(self._dialog_came.wait())
        try:
            done, _ = await asyncio.wait((task, came), timeout=30, return_when=asyncio.FIRST_COMPLETED)
        finally:
            came.cancel()
        if task in done:
            return task.result()
        if self.dialog is None:
            task.cancel()
            raise ScreenError("the page did not answer within 30 seconds")
        self._waiting = task
        return None

    async def leave_forbidden(self) -> None:
        """Close or leave pages that got to a host that may not be visited, by a redirect or a script."""
        num_stopped, self._num_stopped = self._num_stopped, 0
        for page in list(self.tabs) if self.dialog is None else []:
            if num_stopped and page is not self.tabs[0] and page.url in ("about:blank", "", ":"):
                await page.close()  # the tab that was made for a page that was not opened
                continue
            if self.may_open(page.url):
                continue
            self.notes.append(f"a page of another host was left: {page.url[:200]}")
            if len(self.tabs) > 1:
                await page.close()
                continue
            back = await page.go_back(timeout=LOAD_TIMEOUT_MS)
            if back is None or not self.may_open(page.url):
                await page.goto("about:blank")

    async def picture(self, secrets: Secrets) -> tuple[Image.Image, list[Masked]]:
        """The newest picture in RGB, and what is to be painted over, in CSS pixels."""
        page = self.page
        masked = await self._or_dialog(self._masked(page, secrets))
        shot = await self._or_dialog(page.screenshot(type="png", scale="device", timeout=LOAD_TIMEOUT_MS))
        if shot is None or masked is None:
            raise ScreenError("a dialog is open")
        return Image.open(io.BytesIO(shot)).convert("RGB"), masked

    async def _masked(self, page: Any, secrets: Secrets) -> list[Masked]:
        found: list[Masked] = []
        for frame in page.frames:
            with suppress(Exception):  # a frame may go away while it is asked
                dx, dy = await self._offset(frame)
                shown = await frame.evaluate(scripts.SHOWN, bool(secrets))
                for value, box, is_password in shown["fields"]:
                    if is_password or secrets.holds(value):
                        found.append((_moved(box, dx, dy), True))
                found += [(_moved(box, dx, dy), False) for text, box in shown["texts"] if secrets.holds(text)]
        return found

    async def _offset(self, frame: Any) -> tuple[float, float]:
        """Where a frame's content begins in the page, in CSS pixels."""
        if frame.parent_frame is None:
            return 0.0, 0.0
        element = await frame.frame_element()
        box, inset = await element.bounding_box(), await element.evaluate(scripts.FRAME_INSET)
        return box["x"] + inset[0], box["y"] + inset[1]

    async def target_at(self, x: float, y: float) -> Target | None:
        """What lies at a point of the page, in CSS pixels, in whichever frame."""
        return await self._target(self.page.main_frame, (x, y), (0.0, 0.0))

    async def focused(self) -> Target | None:
        """What has the keyboard's focus."""
        return await self._target(self.page.main_frame, None, (0.0, 0.0))

    async def _target(
        self, frame: Any, point: tuple[float, float] | None, offset: tuple[float, float]
    ) -> Target | None:
        element = (await frame.evaluate_handle(scripts.FIND, None if point is None else list(point))).as_element()
        if element is None:
            return None
        inner = await element.content_frame()
        if inner is not None:
            dx, dy = await self._offset(inner)
            dx, dy = dx - offset[0], dy - offset[1]
            moved = None if point is None else (point[0] - dx, point[1] - dy)
            return await self._target(inner, moved, (offset[0] + dx, offset[1] + dy))
        told = await element.evaluate(f"(e, byKeyboard) => ({scripts.DESCRIBE})(e, byKeyboard)", point is None)
        box = _moved(told.pop("box"), *offset)
        return Target(**(told | {"extra": tuple(told["extra"]), "box": box}))

    async def hover(self, x: float, y: float) -> None:
        """Bring the mouse to a point, so that what is asked about it is what a press would meet."""
        self.pointer = (x, y)
        if not self.is_phone:
            await self._or_dialog(self.page.mouse.move(x, y))

    async def do(self, action: Action) -> None:
        """Do an action whose points are CSS pixels. Errors: ScreenError."""
        if self.dialog is not None:
            await self._answer_dialog(action)
            return
        try:
            await asyncio.wait_for(self._or_dialog(self._input(action)), ACTION_TIMEOUT_S + action.seconds)
        except TimeoutError:
            raise ScreenError(f"the page did not take the {action.kind} within {ACTION_TIMEOUT_S:g} s") from None
        except ScreenError:
            raise
        except Exception as error:
            raise ScreenError(f"the {action.kind} could not be done: {_first_line(error)}") from None
        # Events of new tabs, dialogs and downloads arrive a moment later.
        await asyncio.sleep(0.05)

    async def _answer_dialog(self, action: Action) -> None:
        if self.dialog is None or not await self.dialog.take(action):
            return
        self.dialog = None
        self._dialog_came.clear()
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            with suppress(Exception):  # the held action may fail on a page that has gone
                await self._or_dialog(asyncio.wait_for(waiting, ACTION_TIMEOUT_S))

    async def _input(self, action: Action) -> None:
        page, mouse = self.page, self.page.mouse
        x, y = (action.x, action.y) if action.x is not None and action.y is not None else self.pointer
        match action.kind:
            case "click" if self.is_phone:
                await page.touchscreen.tap(x, y)
            case "click" | "right_click" | "middle_click":
                await mouse.click(x, y, button=_BUTTONS[action.kind])
            case "double_click" | "triple_click":
                await mouse.click(x, y, click_count=_CLICKS[action.kind])
            case "long_press":
                await self._hold(x, y, action.seconds or 1.0)
            case "move":
                await mouse.move(x, y)
            case "drag" if action.x2 is not None and action.y2 is not None:
                await self._drag((x, y), (action.x2, action.y2))
                x, y = action.x2, action.y2
            case "scroll" | "hscroll":
                await mouse.move(x, y)
                await mouse.wheel(*((0, -action.pixels) if action.kind == "scroll" else (-action.pixels, 0)))
            case "type":
                await page.keyboard.type(action.text)
            case "key":
                await self._press(action.keys)
            case "button":
                await self._system_button(action.button)
            case "wait":
                await asyncio.sleep(action.seconds)
        self.pointer = (x, y)

    async def _press(self, names: tuple[str, ...]) -> None:
        page = self.page
        match shortcut(names):
            case "back":
                await page.go_back(timeout=LOAD_TIMEOUT_MS)
            case "forward":
                await page.go_forward(timeout=LOAD_TIMEOUT_MS)
            case "reload":
                await page.reload(timeout=LOAD_TIMEOUT_MS)
            case "close tab":
                if len(self.tabs) > 1:
                    await page.close()
            case "next tab":
                self.tabs.insert(0, self.tabs.pop())
                await self.page.bring_to_front()
            case _:
                keys = [playwright_key(name) for name in names]
                for key in keys:
                    await page.keyboard.down(key)
                for key in reversed(keys):
                    await page.keyboard.up(key)

    async def _system_button(self, button: str) -> None:
        page = self.page
        if button == "Enter":
            await page.keyboard.press("Enter")
        elif button == "Back" and await page.evaluate("history.length") <= 1 and len(self.tabs) > 1:
            await page.close()
        elif button == "Back":
            await page.go_back(timeout=LOAD_TIMEOUT_MS)
        else:
            raise ScreenError(f"a page in a browser has no button {button}")

    async def _hold(self, x: float, y: float, seconds: float) -> None:
        if not self.is_phone:
            await self.page.mouse.move(x, y)
            await self.page.mouse.down()
            await asyncio.sleep(seconds)
            await self.page.mouse.up()
            return
        session = await self.context.new_cdp_session(self.page)
        # Phones call the menu after a while and take the touch away; Chromium elsewhere does neither by itself.
        await _touch(session, "touchStart", x, y)
        await asyncio.sleep(seconds)
        await _touch(session, "touchCancel")
        await session.detach()
        await self.page.mouse.click(x, y, button="right")

    async def _drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        path = [
            tuple(a + (b - a) * step / DRAG_STEPS for a, b in zip(start, end, strict=True))
            for step in range(1, DRAG_STEPS + 1)
        ]
        if not self.is_phone:
            mouse = self.page.mouse
            await mouse.move(*start)
            await mouse.down()
            for x, y in path:
                await mouse.move(x, y)
            await mouse.up()
            return
        session = await self.context.new_cdp_session(self.page)
        await _touch(session, "touchStart", *start)
        for x, y in path:
            await _touch(session, "touchMove", x, y)
            await asyncio.sleep(0.016)
        await asyncio.sleep(0.1)  # a finger that rests before it lifts does not fling
        await _touch(session, "touchEnd")
        await session.detach()


def _is_on_top(request: Any) -> bool:
    """Whether a page is asked for that fills a tab; a tab that is only being made has no frame yet."""
    try:
        return request.frame.parent_frame is None
    except Exception:
        return True


async def _touch(session: Any, kind: str, x: float | None = None, y: float | None = None) -> None:
    points = [] if x is None else [{"x": x, "y": y}]
    await session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def _moved(box: Any, dx: float, dy: float) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    return x1 + dx, y1 + dy, x2 + dx, y2 + dy


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
