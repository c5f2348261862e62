"""Asking the model what to do: one question, the answer read as an `Action`, asked again where it cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from regard.apps.agent import prompts
from regard.apps.agent.actions import TOOL_OF, action_of
from regard.apps.agent.screen import Action, Capture, Device
from regard.apps.asking import ask
from regard.apps.reading import RawCall, Read, read_choice, read_tool_call
from regard.client import Chat, HttpChat
from regard.errors import InputError
from regard.processing.coordinates import Units
from regard.reply import Reply
from regard.sampling_params import Structure

MAX_THINKING_TOKENS = 4096
ATTEMPTS = 3
SECOND_LOOK_TOKENS = 8
MAX_WORDS = 300  # characters of a thought that are kept


@dataclass(frozen=True)
class Decision:
    """What the model wants: its words, and the action; None if no answer could be read, then `problem` says why."""

    action: Action | None
    thought: str = ""
    said: str = ""
    raw: str = ""
    problem: str = ""
    repairs: tuple[str, ...] = ()
    seconds: float = 0


class Mind:
    """A chat model as the agent uses it."""

    def __init__(
        self,
        chat: Chat,
        task: str,
        *,
        style: prompts.Style | None = None,
        secret_names: Sequence[str] = (),
        max_pixels: int | None = None,
        uses_grammar: bool = True,
    ) -> None:
        self.chat, self.task = chat, task
        self.style: prompts.Style = style or prompts.style_of(chat.name)
        self.secret_names, self.max_pixels, self.uses_grammar = tuple(secret_names), max_pixels, uses_grammar

    def decide(self, steps: Sequence[str], capture: Capture, *, is_stuck: bool = False) -> Decision:
        """Ask for the next action; `is_stuck` asks for another one than the likeliest."""
        problem = ""

        def read(reply: Reply) -> Read[tuple[Action, str, str]] | None:
            nonlocal problem
            try:
                return self._read(reply, capture)
            except InputError as error:
                problem = str(error)
                return None

        options: dict[str, Any] = {
            "max_tokens": MAX_THINKING_TOKENS if self.chat.is_thinking else prompts.MAX_TOKENS[self.style]
        }
        if is_stuck:
            options["temperature"] = 0.9
        asked = ask(
            self.chat,
            self._messages(steps, capture),
            read,
            attempts=ATTEMPTS,
            grammar=self._grammar(capture.device),
            preset="gui",
            **options,
        )
        raw = asked.replies[-1].raw if asked.replies else ""
        seconds = sum(reply.usage.total_s for reply in asked.replies)
        if asked.value is None:
            return Decision(None, raw=raw, problem=problem or "the answer is no tool call", seconds=seconds)
        action, thought, said = asked.value
        return Decision(action, thought, said, raw, "", asked.repairs, seconds)

    def is_done(self, steps: Sequence[str], capture: Capture) -> bool | None:
        """The second look: whether the task is done on this screen; None if the answer is neither yes nor no."""
        question = self._messages(steps, capture, is_second_look=True)
        max_tokens = MAX_THINKING_TOKENS if self.chat.is_thinking else SECOND_LOOK_TOKENS
        reply = self.chat.chat(question, preset="gui", max_tokens=max_tokens)
        choice = read_choice(reply.text, ("yes", "no")).value
        return None if choice is None else choice == "yes"

    def _messages(self, steps: Sequence[str], capture: Capture, *, is_second_look: bool = False) -> list[object]:
        return list(
            prompts.messages(
                self.task,
                steps,
                capture,
                style=self.style,
                secret_names=self.secret_names,
                max_pixels=self.max_pixels,
                is_second_look=is_second_look,
            )
        )

    def _grammar(self, device: Device) -> Structure | None:
        """For our own engine: other servers write grammars differently; their answers are read as they come."""
        if not self.uses_grammar or not (hasattr(self.chat, "llm") or _is_ours(self.chat)):
            return None
        return Structure("grammar", prompts.grammar_text(self.style, device))

    def _read(self, reply: Reply, capture: Capture) -> Read[tuple[Action, str, str]]:
        """The first call of an answer. Errors: InputError, a sentence about what is missing."""
        report = reply.media[-1] if reply.media else None
        seen = None if report is None else (report.resized_width, report.resized_height)
        scale = prompts.scale_for(self.chat.name, self.style, capture.device)
        found = read_tool_call(reply.raw)
        call = found.value
        if reply.tool_calls:  # read by the server or by the parser of streams, which repairs nothing
            words = call or RawCall("")
            call = RawCall(reply.tool_calls[0].name, reply.tool_calls[0].arguments, words.thought, words.action)
        if call is None:
            raise InputError("the answer holds no tool call")
        if call.name not in (*TOOL_OF.values(), "") and "action" not in call.arguments:
            raise InputError(f"there is no tool {call.name!r}; it must be {TOOL_OF[capture.device]}")
        action = action_of(call.arguments, Units(capture.image.size, scale, seen))
        said = call.action[:MAX_WORDS] or action.in_words()
        return Read((action, call.thought[:MAX_WORDS], said), () if reply.tool_calls else found.repairs)


def _is_ours(chat: Chat) -> bool:
    return isinstance(chat, HttpChat) and chat.served.kind == "regard"
