"""Asking a model within a budget of tokens, and never the same thing twice.

Every answer is kept in the clip's index under a hash of the model, the prompt and the pictures' times, so a second
question costs only what is new. An answer that would not fit into what is left of the budget is not asked for.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

from regard.apps.video.index import Index
from regard.apps.video.looks import Look, cell_px_of
from regard.client import Chat, LocalChat
from regard.messages import Part, Text
from regard.reply import Reply

CHARS_PER_TOKEN = 2.5  # fewer than any tokenizer's here: an estimate that is rather too high
_AT_ONCE = 8  # questions that are worked on together


def identity(chat: Chat) -> str:
    """The model's name, and for one that is loaded here a hash of a few of its weights: a name may be trained again."""
    if not isinstance(chat, LocalChat):
        return chat.name
    norm = [weight for weight in chat.llm.model.parameters() if weight.ndim == 1][-1]
    return f"{chat.name} {hashlib.blake2b(norm.detach().float().cpu().numpy().tobytes(), digest_size=8).hexdigest()}"


class Purse:
    """What may be spent on one question. `tokens` were spent, in `calls`; `refused` counts what did not fit."""

    def __init__(self, chat: Chat, index: Index, budget: int, preset: str | None, options: dict[str, Any]) -> None:
        self.chat, self.index, self.budget = chat, index, budget
        self._preset, self._options = preset, options
        self.model = identity(chat)
        self._cell_px = cell_px_of(chat)
        self.tokens = 0
        self.calls = 0
        self.refused = 0

    @property
    def left(self) -> int:
        """Tokens."""
        return self.budget - self.tokens

    def ask(self, look: Look | None, prompt: str, *, max_tokens: int, key: str = "") -> str | None:
        """The model's answer about a look, None if it does not fit into the budget. `key` tells looks apart that
        show the same times differently."""
        return self.ask_many([(look, prompt, key)], max_tokens=max_tokens)[0]

    def ask_many(self, asked: Sequence[tuple[Look | None, str, str]], *, max_tokens: int) -> list[str | None]:
        """As `ask` for several, worked on together; the earlier ones get what there is."""
        keys = [self._key(look, prompt, key, max_tokens) for look, prompt, key in asked]
        answers: list[str | None] = [self.index.recall(key) for key in keys]
        new = [number for number, answer in enumerate(answers) if answer is None]
        for first in range(0, len(new), _AT_ONCE):
            batch, reserved = [], 0
            for number in new[first : first + _AT_ONCE]:
                look, prompt, _ = asked[number]
                need = self.estimate(look, prompt, max_tokens)
                if self.tokens + reserved + need > self.budget:
                    self.refused += 1
                    continue
                reserved += need
                batch.append(number)
            if not batch:
                continue
            whats: list[list[Part]] = []
            for number in batch:
                look, prompt, _ = asked[number]
                whats.append([*(look.parts() if look is not None else []), Text(prompt)])
            for number, reply in zip(batch, self._replies(whats, max_tokens), strict=True):
                self.tokens += reply.usage.num_prompt_tokens + reply.usage.num_output_tokens
                self.calls += 1
                answers[number] = reply.text.strip()
                self.index.keep(keys[number], answers[number])
        return answers

    def estimate(self, look: Look | None, prompt: str, max_tokens: int) -> int:
        """About how many tokens a question costs at most."""
        shown = look.num_tokens(self._cell_px) if look is not None else 0
        return shown + math.ceil(len(prompt) / CHARS_PER_TOKEN) + max_tokens

    def _replies(self, whats: list[list[Part]], max_tokens: int) -> list[Reply]:
        options = {"max_tokens": max_tokens, **self._options}
        if len(whats) == 1:
            return [self.chat.chat(whats[0], preset=self._preset, **options)]
        return self.chat.chat_many(whats, preset=self._preset, **options)

    def _key(self, look: Look | None, prompt: str, key: str, max_tokens: int) -> str:
        shown = (
            None
            if look is None
            else (look.times_s, look.fps, look.is_dated, [picture.size for picture in look.pictures])
        )
        asked = repr((self.model, prompt, key, max_tokens, shown, self._preset, sorted(self._options.items())))
        return hashlib.blake2b(asked.encode(), digest_size=16).hexdigest()
