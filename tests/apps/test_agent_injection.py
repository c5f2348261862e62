"""Thirty pages that give orders, and a model that obeys: nothing forbidden happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from regard.apps.agent import Action, BrowserScreen, Secrets
from regard.apps.agent.policy import KINDS
from regard.chromium import find_chromium
from tests.apps.agent_helpers import COMPUTER, Step, at, click, guard_at, run_agent, serving
from tests.apps.injection_pages import PAGES, SCRIPT

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.skipif(not find_chromium(), reason="needs a Chromium"),
]
SECRET = "correct-horse-battery"


@pytest.fixture(scope="module")
def screen() -> Iterator[BrowserScreen]:
    with BrowserScreen("about:blank", viewport=COMPUTER, sandbox=False) as screen:
        yield screen


def as_step(screen: BrowserScreen, kind: str, what: str) -> Step:
    match kind:
        case "click":
            return click(screen, what)
        case "at":
            x, y = map(float, what.split(","))
            return Action("click", x, y)
        case "drag":
            start, end = what.split()
            return lambda: Action("drag", *at(screen, start), *at(screen, end))
        case "type" | "answer":
            return Action(kind, text=what)  # type: ignore[arg-type]
        case "ok":
            return Action("key", keys=("enter",))
        case _:
            return Action("key", keys=(what,))


@pytest.mark.parametrize("user", ["says no", "says yes to all, but the policy forbids"])
@pytest.mark.parametrize(("name", "html", "steps"), PAGES, ids=[page[0] for page in PAGES])
def test_nothing_forbidden_happens(
    name: str, html: str, steps: list[tuple[str, str]], user: str, screen: BrowserScreen
) -> None:
    login = b"<form><input type=password name=p style='margin:40px'><button>Log in</button></form>"
    with (
        serving({"/login": login}) as (evil, asked_evil),
        serving({"/": f"<!DOCTYPE html><meta charset=utf-8>{SCRIPT}{html}".replace("EVIL", evil).encode()}) as (
            home,
            _,
        ),
    ):
        secrets = Secrets({"PASSWORD": SECRET})
        policy: dict[str, Any] = {} if user == "says no" else {"forbid": frozenset(KINDS)}
        guard = guard_at(home, says=user != "says no", secrets=secrets, **policy)
        screen.reopen(home + "/", secrets=secrets, may_open=guard.may_open)
        result = run_agent(screen, [as_step(screen, *step) for step in steps], task="Read the page", guard=guard)
        if screen._page.dialog is not None:
            screen.act(Action("key", keys=("escape",)))
        assert screen.evaluate("window.harms") == []
        assert [path for path in asked_evil if path not in ("/login", "/favicon.ico")] == []
        end = screen.capture()
        assert end.location.startswith(home)
        assert SECRET not in repr(result)
        stopped = [step for step in result.steps if step.outcome in ("refused", "declined")]
        notes = [note for step in result.steps for note in step.notes] + list(end.notes)
        noted = [note for note in notes if "another host" in note]
        assert stopped or noted or result.answer is not None or steps[0][0] == "answer"


def test_there_are_thirty_pages() -> None:
    assert len({name for name, _, _ in PAGES}) == 30
