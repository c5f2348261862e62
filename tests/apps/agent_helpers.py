"""A browser for the agent's tests, a scripted model, and a small server whose requests are counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.agent_oracle import OracleChat
from regard.apps.agent import Action, Agent, AgentResult, BrowserScreen, Guard, Limits, Mind, Policy, Secrets
from regard.apps.agent.browser import address
from regard.apps.agent.screen import Device

EXAMPLES = Path(__file__).parents[2] / "examples" / "agent"
COMPUTER, PHONE = (640, 400), (360, 640)
FAST = Limits(max_steps=15, max_seconds=120, settle_s=0.5)
Step = Action | Callable[[], Action]
__all__ = ["COMPUTER", "EXAMPLES", "FAST", "PHONE", "chat_of", "run_agent", "serving"]


def chat_of(steps: Sequence[Step], size: tuple[int, int] = COMPUTER, device: Device = "computer") -> OracleChat:
    """A model that wants these actions one after the other, and then says that it is done."""
    rest = list(steps)

    def following() -> tuple[Action, str, str]:
        wanted = rest.pop(0) if rest else Action("terminate", status="success")
        action = wanted if isinstance(wanted, Action) else wanted()
        return action, "Next.", action.in_words().replace('"', "'")

    return OracleChat(following, size, device, name="nano")


def run_agent(
    screen: BrowserScreen,
    steps: Sequence[Step] | OracleChat,
    *,
    task: str = "Do it",
    guard: Guard | None = None,
    trace: Path | None = None,
    limits: Limits = FAST,
) -> AgentResult:
    """Run a scripted model on a screen."""
    chat = steps if isinstance(steps, OracleChat) else chat_of(steps, screen.capture().image.size)
    return Agent(Mind(chat, task), screen, guard=guard, limits=limits, trace=trace).run()


def guard_at(
    url: str, *, says: bool = False, secrets: Secrets | None = None, asked: list[str] | None = None, **policy: Any
) -> Guard:
    """A guard whose policy begins at a page; the user always gives the same answer, questions go to `asked`."""

    def answer(question: str) -> bool:
        if asked is not None:
            asked.append(question)
        return says

    return Guard(Policy(**policy).starting_at(address(url)), secrets, ask_user=answer)


def at(screen: BrowserScreen, selector: str, scale: float = 1.0) -> tuple[float, float]:
    """The middle of an element of the tab on top, in pixels of the picture."""
    x, y = screen.evaluate(
        "s => { const r = document.querySelector(s).getBoundingClientRect();"
        " return [(r.left + r.right) / 2, (r.top + r.bottom) / 2]; }",
        selector,
    )
    return x * scale, y * scale


def click(screen: BrowserScreen, selector: str) -> Callable[[], Action]:
    """A click on whatever the selector means when its turn comes."""
    return lambda: Action("click", *at(screen, selector))


@contextmanager
def serving(
    pages: dict[str, bytes], headers: dict[str, dict[str, str]] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A server of some pages: its address and the paths that were asked for, as they come."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            asked.append(self.path)
            path = self.path.partition("?")[0]
            extra = (headers or {}).get(path, {})
            status = int(extra.get("status", "200" if path in pages else "404"))
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            for name, value in extra.items():
                if name != "status":
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(pages.get(path, b""))

        do_POST = do_GET

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
