"""One call for a whole run: `operate("Unpin the pinned chat", on="browser:chats.html", phone=True)`.

    result = regard.apps.agent.operate("Log in as anna", on="browser:http://localhost:3000", secrets={...})
    result.status, result.steps, result.trace

What the user is asked goes through `ask_user`; without it the answer is no, so that nothing that needs a yes happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regard.apps.agent.agent import Agent, Limits
from regard.apps.agent.decide import Mind
from regard.apps.agent.guard import AskUser, Guard, nobody
from regard.apps.agent.policy import Policy
from regard.apps.agent.prompts import Style
from regard.apps.agent.records import AgentResult, StepRecord
from regard.apps.agent.screen import Screen
from regard.apps.agent.secrets import Secrets
from regard.client import Chat
from regard.errors import InputError

SMALL_COMPUTER, SMALL_PHONE = (640, 400), (360, 640)  # what regard-nano was shown in training
KEPT_OPTIONS = ("viewport", "scale", "phone")  # that a replay needs


def operate(
    task: str,
    *,
    on: str | Screen,
    model: str | Chat = "nano",
    policy: Policy | None = None,
    secrets: Secrets | None = None,
    ask_user: AskUser = nobody,
    confirm: bool = False,
    dry_run: bool = False,
    limits: Limits | None = None,
    second_look: bool = True,
    style: Style | None = None,
    max_pixels: int | None = None,
    trace: str | Path | None = None,
    on_step: Callable[[StepRecord], None] | None = None,
    **screen_options: Any,
) -> AgentResult:
    """Do a task on a screen; `screen_options` are those of `open_screen`. Errors: RegardError.

    `on` is "browser:URL", "android", "android:SERIAL", "desktop", or any `Screen`, which is not closed here.
    """
    if isinstance(model, str):
        from regard.client import connect

        chat: Chat = connect(model)
    else:
        chat = model
    folder = None if trace is None else Path(trace)
    guard = guard_for(on, policy, secrets, ask_user=ask_user, confirm=confirm, dry_run=dry_run)
    mind = Mind(chat, task, style=style, secret_names=guard.secrets.names, max_pixels=max_pixels)

    def run(screen: Screen, name: str) -> AgentResult:
        kept = {key: screen_options[key] for key in KEPT_OPTIONS if screen_options.get(key)}
        agent = Agent(
            mind,
            screen,
            guard=guard,
            limits=limits,
            second_look=second_look,
            trace=folder,
            on=name,
            screen_options=kept,
            on_step=on_step,
        )
        return agent.run()

    if not isinstance(on, str):
        return run(on, type(on).__name__)
    if mind.style == "brief" and on.startswith("browser:") and screen_options.get("viewport") is None:
        screen_options["viewport"] = SMALL_PHONE if screen_options.get("phone") else SMALL_COMPUTER
    if folder is not None:
        screen_options.setdefault("downloads", folder / "downloads")
    with open_screen(on, guard=guard, **screen_options) as screen:
        return run(screen, on)


def guard_for(
    on: str | Screen,
    policy: Policy | None,
    secrets: Secrets | None,
    *,
    ask_user: AskUser = nobody,
    confirm: bool = False,
    dry_run: bool = False,
) -> Guard:
    """The guard of a run; a policy without hosts allows the first page's."""
    policy = policy or Policy()
    if isinstance(on, str) and on.startswith("browser:"):
        from regard.apps.agent.browser import address

        policy = policy.starting_at(address(on.removeprefix("browser:")))
    return Guard(policy, secrets, ask_user=ask_user, confirm=confirm, dry_run=dry_run)


@contextmanager
def open_screen(
    on: str,
    *,
    guard: Guard,
    viewport: tuple[int, int] | None = None,
    scale: float = 1.0,
    phone: bool = False,
    downloads: Path | None = None,
    headless: bool = True,
    sandbox: bool = True,
) -> Iterator[Screen]:
    """Open what `--on` names. Errors: InputError for another word; what the screen runs into."""
    kind, _, rest = on.partition(":")
    if kind == "browser" and rest:
        from regard.apps.agent.browser import BrowserScreen

        with BrowserScreen(
            rest,
            viewport=viewport,
            scale=scale,
            phone=phone,
            secrets=guard.secrets,
            downloads=downloads,
            may_open=guard.may_open,
            headless=headless,
            sandbox=sandbox,
        ) as screen:
            yield screen
        return
    if viewport is not None or phone or scale != 1.0 or not headless:
        raise InputError(f"the viewport, scale, phone and window are options of browser:URL, and this is {on}")
    if kind == "android":
        from regard.apps.agent.android import AndroidScreen

        yield AndroidScreen(rest or None, secrets=guard.secrets)
    elif on == "desktop":
        from regard.apps.agent.desktop import DesktopScreen

        yield DesktopScreen()
    else:
        raise InputError(f"{on!r} is no screen; it must be browser:URL, android, android:SERIAL or desktop")
