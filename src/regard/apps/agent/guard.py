"""Between the model's wish and the screen: the policy's verdict, and the user's yes where it needs one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from regard.apps.agent.policy import Policy, Verdict
from regard.apps.agent.screen import Action, Target
from regard.apps.agent.secrets import Secrets

Leave = Literal["do", "refused", "declined", "dry run"]
AskUser = Callable[[str], bool]


@dataclass(frozen=True)
class Ruling:
    """What became of a wish: the verdict, and whether it may be done."""

    leave: Leave
    verdict: Verdict
    question: str = ""  # what the user was asked


def nobody(question: str) -> bool:
    """The user who is not there: no."""
    return False


class Guard:
    """Holds the policy of one run; it grows by the hosts that the user allows.

    `ask_user` gets one sentence and returns the answer; without a user it is no. `confirm` asks about every action
    that is not harmless; `dry_run` lets none of them through.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        secrets: Secrets | None = None,
        *,
        ask_user: AskUser = nobody,
        confirm: bool = False,
        dry_run: bool = False,
    ) -> None:
        self.policy = policy or Policy()
        self.secrets = secrets or Secrets()
        self.ask_user, self.confirm, self.dry_run = ask_user, confirm, dry_run

    def may_open(self, url: str) -> bool:
        """Whether a page may be visited, as far as is allowed now."""
        return self.policy.allows(url)

    def rule(self, action: Action, targets: Sequence[Target] | None) -> Ruling:
        """Judge an action, and ask the user if the policy says so."""
        verdict = self.policy.judge(action, targets, self.secrets)
        if verdict.decision == "refuse":
            return Ruling("refused", verdict)
        if self.dry_run and not action.is_harmless:
            return Ruling("dry run", verdict)
        needs_yes = verdict.decision == "ask" or (self.confirm and not action.is_harmless)
        if not needs_yes:
            return Ruling("do", verdict)
        question = self._question(action, targets or (), verdict)
        if not self.ask_user(question):
            return Ruling("declined", verdict, question)
        if verdict.hosts:
            self.policy = self.policy.allowing(*verdict.hosts)
        return Ruling("do", verdict, question)

    def _question(self, action: Action, targets: Sequence[Target], verdict: Verdict) -> str:
        # Only the element's own name and the policy's reason: what the model says may be what a page told it to say.
        on = f" on {' and '.join(target.in_words() for target in targets)}" if targets else ""
        why = f" ({verdict.reason})" if verdict.reason else ""
        return self.secrets.mask(f"The agent wants to {action.in_words()}{on}{why}. Allow it?")
