"""A page in a real Chromium as a `Screen`, driven through Playwright.

    with BrowserScreen("https://example.org", viewport=(1280, 800)) as screen:
        screen.capture().image
        screen.act(Action("click", 100, 40))

What is seen is the page itself, without the browser's frame: tabs, dialogs and downloads are told in the capture's
notes or drawn over it. The system's Chromium is used if there is one, else the one that Playwright brings. The picture
has `scale` pixels for each CSS pixel; points of actions are pixels of that picture. With `phone`, input is touch.

Playwright runs on a thread of its own, so that a screen can be used from any thread, beside other event loops.

Left out: windows of the operating system (printing, choosing files, colours and dates), pages inside closed shadow
roots as elements (they are seen, but their elements have no names), and frames under CSS transforms.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from PIL import Image, ImageDraw

from regard.apps.agent.browser_page import BrowserPage, Masked
from regard.apps.agent.screen import PRESSES, Action, Capture, Device, ScreenError, Target
from regard.apps.agent.secrets import Secrets
from regard.chromium import find_chromium
from regard.errors import InputError, MissingDependencyError

T = TypeVar("T")

COMPUTER_VIEWPORT, PHONE_VIEWPORT = (1280, 800), (412, 915)
CALL_TIMEOUT_S = 90.0
_FLAGS = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
          "--force-color-profile=srgb", "--hide-scrollbars")  # fmt: skip
_NUM_DOTS = 8  # of a masked field, however long its content is


class BrowserScreen:
    """One browser window; a context manager. `viewport` in CSS pixels, `may_open` says which pages may be visited.

    Errors: MissingDependencyError without Playwright or Chromium; ScreenError if the first page does not open.
    """

    def __init__(
        self,
        url: str,
        *,
        viewport: tuple[int, int] | None = None,
        scale: float = 1.0,
        phone: bool = False,
        secrets: Secrets | None = None,
        downloads: Path | None = None,
        may_open: Callable[[str], bool] = lambda url: True,
        headless: bool = True,
        sandbox: bool = True,
        executable: str | None = None,
    ) -> None:
        self._device: Device = "phone" if phone else "computer"
        self._scale, self._secrets = scale, secrets or Secrets()
        self._last: Image.Image | None = None  # without a dialog on it
        self._judged: tuple[Action, tuple[Target, ...]] | None = None
        url = address(url)
        if not may_open(url):
            raise InputError(f"the policy does not allow {url}; add its host to allowed_hosts")
        try:
            from playwright.async_api import async_playwright
        except ImportError:
            raise MissingDependencyError(
                "operating a browser needs playwright, which is not installed; run pip install 'regard[agent]'"
            ) from None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="regard-browser", daemon=True)
        self._thread.start()
        self._playwright: Any = None
        self._browser: Any = None

        self._viewport = viewport or (PHONE_VIEWPORT if phone else COMPUTER_VIEWPORT)
        self._downloads, self._may_open = downloads, may_open

        async def start() -> BrowserPage:
            self._playwright = await async_playwright().start()
            chromium = executable or find_chromium()
            try:
                self._browser = await self._playwright.chromium.launch(
                    executable_path=chromium, headless=headless, chromium_sandbox=sandbox, args=list(_FLAGS)
                )
            except Exception as error:
                raise MissingDependencyError(
                    f"Chromium does not start ({str(error).splitlines()[0]}); install the package chromium, or run "
                    "playwright install chromium"
                ) from None
            return await self._opened(url)

        try:
            self._page: BrowserPage = self._run(start())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> BrowserScreen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def reopen(
        self, url: str, *, secrets: Secrets | None = None, may_open: Callable[[str], bool] | None = None
    ) -> None:
        """Begin again with another page and nothing remembered: no tabs, cookies or dialogs."""
        old, self._last, self._judged = self._page, None, None
        self._secrets, self._may_open = secrets or self._secrets, may_open or self._may_open

        async def again() -> BrowserPage:
            await old.context.close()
            return await self._opened(address(url))

        self._page = self._run(again())

    async def _opened(self, url: str) -> BrowserPage:
        (width, height), phone = self._viewport, self._device == "phone"
        context = await self._browser.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=self._scale,
            has_touch=phone,
            is_mobile=phone,
            accept_downloads=True,
            service_workers="block",  # they would answer requests behind the guard's back
            permissions=[],
        )
        page = BrowserPage(context, is_phone=phone, downloads=self._downloads, may_open=self._may_open)
        await page.start(url)
        return page

    @property
    def location(self) -> str:
        """The address of the tab on top."""
        return self._secrets.mask(str(self._page.tabs[-1].url)) if self._page.tabs else ""

    def capture(self) -> Capture:
        """Photograph the tab on top; password fields and secrets are painted over."""
        self._run(self._page.leave_forbidden())
        for _ in range(2):  # a dialog may come up while the picture is taken
            dialog = self._page.dialog
            if dialog is not None:
                background = self._last or Image.new("RGB", (640, 400), (255, 255, 255))
                return self._captured(dialog.draw(background, self._scale))
            try:
                image, masked = self._run(self._page.picture(self._secrets))
                break
            except ScreenError:
                if self._page.dialog is None:
                    raise
        else:
            raise ScreenError("the page opens one dialog after the other")
        self._last = paint_over(image, masked, self._scale)
        return self._captured(self._last)

    def act(self, action: Action) -> None:
        """Do one action. Errors: ScreenError, also if what was judged is not there any more."""
        judged, self._judged = self._judged, None
        if judged is not None and replace(judged[0], text="") == replace(action, text=""):
            now = self._look_up(action)
            if [_identity(one) for one in now] != [_identity(one) for one in judged[1]]:
                raise ScreenError("what lies there changed after it was checked; nothing was done")
        self._run(self._page.do(self._in_css(action)))

    def targets(self, action: Action) -> tuple[Target, ...]:
        """The elements that an action would reach, with boxes in pixels of the picture."""
        found = self._look_up(action)
        self._judged = (action, found)
        return found

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """What a script returns in the tab on top; for tests and checks, not for agents."""
        return self._run(self._page.page.evaluate(script, argument))

    def close(self) -> None:
        """Close the browser."""

        async def stop() -> None:
            if self._browser is not None:
                await self._browser.close()
            if self._playwright is not None:
                await self._playwright.stop()

        if self._loop.is_closed():
            return
        try:
            self._run(stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
            self._loop.close()

    def _look_up(self, action: Action) -> tuple[Target, ...]:
        css = self._in_css(action)
        dialog = self._page.dialog
        if dialog is not None:
            found = [dialog.target(css, str(self._page.page.url))]
        elif css.kind in ("type", "key") or css.button == "Enter":
            found = [self._run(self._page.focused())]
        elif css.kind == "drag" and css.x2 is not None and css.y2 is not None:
            start = self._page.pointer if css.x is None or css.y is None else (css.x, css.y)
            found = [self._run(self._seen_at(*start)), self._run(self._page.target_at(css.x2, css.y2))]
        elif css.kind in PRESSES and css.x is not None and css.y is not None:
            found = [self._run(self._seen_at(css.x, css.y))]
        else:
            found = []
        return tuple(self._in_pixels(target) for target in found if target is not None)

    async def _seen_at(self, x: float, y: float) -> Target | None:
        await self._page.hover(x, y)  # what appears under the pointer is what would be pressed
        return await self._page.target_at(x, y)

    def _in_css(self, action: Action) -> Action:
        def css(value: float | None) -> float | None:
            return None if value is None else value / self._scale

        return replace(action, x=css(action.x), y=css(action.y), x2=css(action.x2), y2=css(action.y2))

    def _in_pixels(self, target: Target) -> Target:
        if target.box is None:
            return target
        x1, y1, x2, y2 = (value * self._scale for value in target.box)
        return replace(target, box=(x1, y1, x2, y2))

    def _captured(self, image: Image.Image) -> Capture:
        notes, self._page.notes = tuple(map(self._secrets.mask, self._page.notes)), []
        return Capture(image, self._device, self.location, notes)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)
        except TimeoutError:
            raise ScreenError(f"the browser did not answer within {CALL_TIMEOUT_S:g} s") from None
        except Exception as error:
            if type(error).__module__.startswith("playwright"):
                raise ScreenError(f"the page could not be used: {(str(error).splitlines() or [''])[0][:200]}") from None
            raise


def address(text: str) -> str:
    """A URL from what people type: a URL, a host, or the path of a file. Errors: InputError."""
    text = text.strip()
    if "://" in text or text.startswith(("about:", "data:")):
        return text
    path, _, query = text.partition("?")
    if Path(path).is_file():
        return Path(path).resolve().as_uri() + (f"?{query}" if query else "")
    if not text or " " in text or text.startswith((".", "/")):
        raise InputError(f"{text!r} is neither an address nor a file; give a URL, as in browser:https://example.org")
    return f"http://{text}" if text.startswith("localhost") else f"https://{text}"


def paint_over(image: Image.Image, masked: list[Masked], scale: float) -> Image.Image:
    """The picture with masked places painted over: fields show the same dots whatever they hold, texts a bar."""
    if not masked:
        return image
    canvas = image.copy()
    pen = ImageDraw.Draw(canvas)
    for box, is_field in masked:
        x1, y1, x2, y2 = (round(value * scale) for value in box)
        x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, image.width) - 1, min(y2, image.height) - 1
        if x2 <= x1 or y2 <= y1:
            continue
        inset = round(3 * scale) if is_field and min(x2 - x1, y2 - y1) > 8 * scale else 0
        ground = image.getpixel((min(x2, x1 + inset + 1), min(y2, y1 + inset + 1)))
        ground = ground if isinstance(ground, tuple) else (255, 255, 255)
        pen.rectangle((x1 + inset, y1 + inset, x2 - inset, y2 - inset), fill=ground)
        ink = (20, 20, 20) if sum(ground[:3]) > 380 else (235, 235, 235)
        if not is_field:
            pen.rectangle((x1, y1, x2, y2), fill=ink)
            continue
        radius, middle = max(1.0, 2.5 * scale), (y1 + y2) / 2
        for number in range(_NUM_DOTS):
            x = x1 + (10 + 9 * number) * scale
            if x + radius < x2 - inset:
                pen.ellipse((x - radius, middle - radius, x + radius, middle + radius), fill=ink)
    return canvas


def _identity(target: Target) -> tuple[Any, ...]:
    return target.role, target.text, target.words, target.url, target.location, target.is_password, target.sends
