"""The agent's loop: look, ask the model, judge, act, look again; until the model is done or a limit is met.

    guard = Guard(policy, secrets, ask_user=...)
    result = Agent(chat, screen, "Unpin the pinned chat", guard=guard, trace=Path("run")).run()

What the model remembers is the list of its own short "Action" lines, with a note behind those that changed nothing or
were not allowed. A screen is looked at when it stands still. The same action on the same screen is asked about once
more before it is repeated, and ends the run when it comes too often. When the model says that it is done, a second
look at the screen has to agree; after `MAX_DOUBTS` disagreements the model's word stands, and the result says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from regard.apps.agent.decide import Decision, Mind
from regard.apps.agent.guard import Guard, Ruling
from regard.apps.agent.records import AgentResult, Outcome, Status, StepRecord
from regard.apps.agent.screen import Action, Capture, KnowsElements, Screen, ScreenError, Target
from regard.apps.agent.trace import VERSION, TraceWriter, draw_action
from regard.apps.agent.watch import LoopWatch, has_changed, settle
from regard.errors import ConfigError, InputError, RegardError

MAX_STEPS, MAX_SECONDS = 30, 600.0
MAX_UNREADABLE = 2  # questions in a row whose answers cannot be read, each asked several times
MAX_DOUBTS = 2
_NOT_DONE = {"refused": "not allowed", "declined": "the user said no", "failed": "it failed"}


@dataclass(frozen=True)
class Limits:
    """When to stop. `settle_s` is the longest wait for a screen that goes on moving."""

    max_steps: int = MAX_STEPS
    max_seconds: float = MAX_SECONDS
    settle_s: float = 3.0

    def __post_init__(self) -> None:
        if self.max_steps < 1 or self.max_seconds <= 0 or self.settle_s < 0:
            raise ConfigError(
                f"the limits are {self.max_steps} steps and {self.max_seconds:g} seconds; both must be above 0"
            )


class Agent:
    """One run of one task on one screen."""

    def __init__(
        self,
        mind: Mind,
        screen: Screen,
        *,
        guard: Guard | None = None,
        limits: Limits | None = None,
        second_look: bool = True,
        trace: Path | None = None,
        on: str = "",
        screen_options: Mapping[str, Any] | None = None,
        on_step: Callable[[StepRecord], None] | None = None,
    ) -> None:
        if not mind.task.strip():
            raise InputError("the task is empty; say what is to be done")
        self.mind, self.screen, self.guard = mind, screen, guard or Guard()
        self.limits, self.second_look, self.on_step = limits or Limits(), second_look, on_step
        self._trace = None if trace is None else TraceWriter(trace, self.guard.secrets)
        self._on, self._screen_options = on, dict(screen_options or {})  # for the trace: what a replay has to open
        self._records: list[StepRecord] = []
        self._history: list[str] = []
        self._watch = LoopWatch()
        self._num_unreadable = self._num_doubts = 0
        self._judged: bool | None = None
        self._answer: str | None = None

    def run(self) -> AgentResult:
        """Work until done; the trace is finished whatever happens. Errors: RegardError of the model or the screen."""
        start_s = time.monotonic()
        self._write(
            "start", version=VERSION, task=self.mind.task, model=self.mind.chat.name, on=self._on,
            screen=self._screen_options,
        )  # fmt: skip
        status, reason = "stopped", "interrupted"
        try:
            status, reason = self._run(start_s)
        except RegardError as error:
            reason = self.guard.secrets.mask(str(error))
            raise
        finally:
            result = AgentResult(
                task=self.guard.secrets.mask(self.mind.task),
                model=self.mind.chat.name,
                status=status,  # type: ignore[arg-type]  # a literal from `_run`
                reason=reason,
                answer=self._answer,
                second_look=self._judged,
                steps=tuple(self._records),
                seconds=round(time.monotonic() - start_s, 2),
                trace=None if self._trace is None else str(self._trace.folder),
            )
            if self._trace is not None:
                self._write("end", **{key: value for key, value in result.to_json().items() if key != "steps"})
                self._trace.close()
        return result

    def _run(self, start_s: float) -> tuple[Status, str]:
        capture, is_stable = settle(self.screen, self.limits.settle_s)
        for number in range(1, self.limits.max_steps + 1):
            if time.monotonic() - start_s > self.limits.max_seconds:
                return "stopped", f"{self.limits.max_seconds:g} seconds are over"
            if sentence := self._watch.circle():
                return "stopped", sentence
            decision = self._decide(capture)
            step = _Step(self, number, time.monotonic() - start_s, capture, is_stable, decision)
            action = decision.action
            if action is None:
                step.end("unreadable", decision.problem)
                self._num_unreadable += 1
                if self._num_unreadable >= MAX_UNREADABLE:
                    return "failure", f"the model's answers cannot be read as actions: {decision.problem}"
                continue
            self._num_unreadable = 0
            if action.kind in ("terminate", "answer"):
                ending = self._finish(step, action, capture)
                if ending is not None:
                    return ending
                continue
            ruling, targets = self._ask_leave(action)
            step.ruling, step.targets = ruling, targets
            if ruling.leave == "dry run":
                step.end("dry run", ruling.verdict.reason)
                return "stopped", "this is a dry run: the first action that could change anything was not done"
            after, is_stable = self._act(step, action, capture, ruling)
            capture = after
        return "stopped", f"{self.limits.max_steps} steps were not enough"

    def _decide(self, capture: Capture) -> Decision:
        decision = self.mind.decide(self._history, capture)
        if decision.action is None or not self._watch.times_done(capture, decision.action):
            return decision
        # It did just this before, and the screen is the same again: perhaps it has another idea.
        other = self.mind.decide(self._history, capture, is_stuck=True)
        return decision if other.action is None else other

    def _ask_leave(self, action: Action) -> tuple[Ruling, tuple[Target, ...]]:
        targets: tuple[Target, ...] | None = None
        if isinstance(self.screen, KnowsElements):
            with suppress(ScreenError):  # then it is not known, which the policy has an opinion on
                targets = self.screen.targets(action)
        return self.guard.rule(action, targets), targets or ()

    def _act(self, step: _Step, action: Action, before: Capture, ruling: Ruling) -> tuple[Capture, bool]:
        """Do what is allowed, look again, and write the step down."""
        outcome: Outcome = "done" if ruling.leave == "do" else ruling.leave
        reason = ruling.verdict.reason
        if outcome == "done":
            try:
                self.screen.act(replace(action, text=self.guard.secrets.fill(action.text)))
            except ScreenError as error:
                outcome, reason = "failed", self.guard.secrets.mask(str(error))
        after, is_stable = settle(self.screen, self.limits.settle_s)
        changed = has_changed(before, after) if outcome == "done" else None
        self._watch.note(before, action, changed=bool(changed) or action.kind in ("wait", "move"))
        remarks = [_NOT_DONE[outcome]] if outcome != "done" else []
        if changed is False and action.kind not in ("wait", "move"):
            remarks.append("nothing changed")
        remarks += after.notes
        said = step.decision.said
        self._history.append(f"{said} ({'; '.join(remarks)})" if remarks else said)
        step.notes = after.notes
        step.end(outcome, reason if outcome != "done" else "", changed)
        return after, is_stable

    def _finish(self, step: _Step, action: Action, capture: Capture) -> tuple[Status, str] | None:
        """How the run ends with this last action; None if the second look sends the model back to work."""
        if action.kind == "answer":
            self._answer = self.guard.secrets.mask(action.text)
            step.end("finished")
            return "success", "the model answered"
        if action.status == "failure":
            step.end("finished")
            return "failure", "the model gave up"
        if self.second_look:
            self._judged = self.mind.is_done(self._history, capture)
            if self._judged is False and self._num_doubts < MAX_DOUBTS:
                self._num_doubts += 1
                self._history.append(f"{step.decision.said} (the task is not done yet)")
                step.end("refused", "a second look says that the task is not done")
                return None
        step.end("finished")
        doubt = ", though a second look doubts it" if self._judged is False else ""
        return "success", f"the model says that it is done{doubt}"

    def _write(self, kind: str, **values: Any) -> None:
        if self._trace is not None:
            self._trace.write(kind, **values)


class _Step:
    """A step while it goes on; `end` makes its record."""

    def __init__(
        self, agent: Agent, number: int, time_s: float, capture: Capture, is_stable: bool, decision: Decision
    ) -> None:
        self.agent, self.number, self.time_s = agent, number, time_s
        self.capture, self.is_stable, self.decision = capture, is_stable, decision
        self.ruling: Ruling | None = None
        self.targets: tuple[Target, ...] = ()
        self.notes: tuple[str, ...] = ()

    def end(self, outcome: Outcome, reason: str = "", changed: bool | None = None) -> None:
        agent, action, decision = self.agent, self.decision.action, self.decision
        trace, mask = agent._trace, agent.guard.secrets.mask
        screenshot = drawn = ""
        if trace is not None:
            screenshot = trace.picture(f"{self.number:03d}.png", self.capture.image)
            if action is not None:
                drawn = trace.picture(f"{self.number:03d}-action.png", draw_action(self.capture.image, action))
        record = StepRecord(
            number=self.number,
            time_s=round(self.time_s, 2),
            location=mask(self.capture.location),
            notes=self.notes,
            is_stable=self.is_stable,
            thought=mask(decision.thought),
            said=mask(decision.said),
            action=None if action is None else agent.guard.secrets.mask_all(action_json(action)),
            words="" if action is None else mask(action.in_words()),
            target=mask(" and ".join(target.in_words() for target in self.targets)),
            kinds=self.ruling.verdict.kinds if self.ruling is not None else (),
            outcome=outcome,
            reason=mask(reason),
            changed=changed,
            model_s=round(decision.seconds, 2),
            repairs=decision.repairs,
            raw=mask(decision.raw),
            screenshot=screenshot,
            drawn=drawn,
        )
        agent._records.append(record)
        agent._write("step", **record.to_json())
        if agent.on_step is not None:
            agent.on_step(record)


def action_json(action: Action) -> dict[str, Any]:
    """An action's fields that say something, as plain JSON types."""
    default = asdict(Action(action.kind))
    return {key: value for key, value in asdict(action).items() if key == "kind" or value != default[key]}


def action_from_json(values: dict[str, Any]) -> Action:
    """The action of `action_json`. Errors: InputError if it is none."""
    try:
        return Action(**(values | {"keys": tuple(values.get("keys", ()))}))
    except TypeError:
        raise InputError(f"{values} is no action of a trace") from None
