"""What a run of the agent gives back: typed, and the same in JSON as in its trace."""

from __future__ import annotations

from typing import Any, Literal

from regard.apps.result import Result

Outcome = Literal["done", "refused", "declined", "dry run", "failed", "unreadable", "finished"]
Status = Literal["success", "failure", "stopped"]


class StepRecord(Result):
    """One step: what was seen, wanted, allowed and done. Points of `action` are pixels of the screenshot.

    `changed` says whether anything was to be seen of it; None where it was not done. `reason` is why it was not.
    """

    number: int
    time_s: float
    location: str
    notes: tuple[str, ...] = ()
    is_stable: bool = True
    thought: str = ""
    said: str = ""
    action: dict[str, Any] | None = None
    words: str = ""
    target: str = ""
    kinds: tuple[str, ...] = ()
    outcome: Outcome
    reason: str = ""
    changed: bool | None = None
    model_s: float = 0
    repairs: tuple[str, ...] = ()
    raw: str = ""
    screenshot: str = ""
    drawn: str = ""


class AgentResult(Result):
    """How a run ended.

    success   the model finished (or answered), and a second look, if there was one, agreed or was overruled
    failure   the model gave up, or its answers could not be used
    stopped   by a limit, a loop, the user, or because it was a dry run; `reason` says which
    """

    task: str
    model: str
    status: Status
    reason: str = ""
    answer: str | None = None
    second_look: bool | None = None
    steps: tuple[StepRecord, ...] = ()
    seconds: float = 0
    trace: str | None = None
