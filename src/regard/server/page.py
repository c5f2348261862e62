"""The web page: the files of `web/`, served as they are, with a policy that lets them call nobody but us.

default-src 'none'       nothing that is not named here
img, media               our own, and what the page itself holds (blob:, data:)
frame-src                only what the page makes itself, for previews in a sandbox
"""

from __future__ import annotations

from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

WEB_FOLDER = Path(__file__).parent / "web"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "font-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob: data:",
        "connect-src 'self'",
        "frame-src blob: data: 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), display-capture=(self)",
    "Cache-Control": "no-cache",
}


def page_paths(folder: Path) -> frozenset[str]:
    """The URL paths of the page's files, which need no key."""
    if not (folder / "index.html").is_file():
        return frozenset()
    files = ["/" + path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return frozenset({"/", *files})


class Page:
    """The page's files, with its headers."""

    def __init__(self, folder: Path) -> None:
        self._files: ASGIApp = StaticFiles(directory=folder, html=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request for a file."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._files(scope, receive, with_headers)
