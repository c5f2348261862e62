"""Ask a model until its answer is understood.

    asked = ask(chat, ["page.png", "qwenvl html"], lambda reply: read_html(reply.text), preset="ocr")
    asked.value, asked.repairs, asked.num_attempts

The first attempt samples as the preset says (or as the model's own settings do), each further one hotter, because the
same settings would give much the same answer. The first reading that is not None is taken. An answer that was cut or
that looped is read too, as far as it goes, and `repairs` says what happened to it.

A `grammar` binds the answer's form where the model takes one: a model loaded here, our server, vLLM. Elsewhere it is
not sent, which is no loss of meaning: `read` understands free answers as well.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from regard import presets
from regard.apps.reading import Read
from regard.client import Chat, LocalChat
from regard.errors import ConfigError
from regard.reply import Event, Reply
from regard.sampling_params import Structure

T = TypeVar("T")
Grammar = Structure  # Structure("json_schema", {...}), Structure("regex", "..."), Structure("choice", [...])

HOTTER = 0.3  # added to the temperature by each further attempt
HOTTEST = 1.2
UNKNOWN_TEMPERATURE = 0.5  # of a model whose own settings cannot be seen


@dataclass(frozen=True)
class Asked(Generic[T]):
    """What was understood (None: nothing, in no attempt), how it was mended, and every answer that was given."""

    value: T | None
    repairs: tuple[str, ...]
    replies: tuple[Reply, ...]
    num_attempts: int

    @property
    def reply(self) -> Reply:
        """The newest answer: the one that was understood, if one was."""
        return self.replies[-1]


def ask(
    chat: Chat,
    what: Any,
    read: Callable[[Reply], Read[T] | None],
    *,
    attempts: int = 3,
    grammar: Grammar | None = None,
    preset: str | None = None,
    on_event: Callable[[Event], None] | None = None,
    **options: Any,
) -> Asked[T]:
    """Ask until `read` returns a reading with a value, at most `attempts` times.

    `what`, `preset` and `options` are those of `Chat.chat`; `on_event` sees every event as it comes.
    Errors: as `Chat.chat`; ConfigError for less than one attempt.
    """
    if attempts < 1:
        raise ConfigError(f"attempts is {attempts}; it must be 1 or more")
    options = with_grammar(chat, grammar, preset, options)
    replies: list[Reply] = []
    for attempt in range(attempts):
        reply = _answer(chat, what, preset, options | hotter(chat, attempt, preset, options), on_event)
        replies.append(reply)
        found = read(reply)
        if found is not None and found.value is not None:
            return Asked(found.value, (*endings(reply), *found.repairs), tuple(replies), len(replies))
    return Asked(None, endings(replies[-1]), tuple(replies), len(replies))


def ask_many(
    chat: Chat,
    whats: Sequence[Any],
    read: Callable[[Reply], Read[T] | None],
    *,
    attempts: int = 3,
    grammar: Grammar | None = None,
    preset: str | None = None,
    **options: Any,
) -> list[Asked[T]]:
    """As `ask` for independent questions that are worked on together; only what was not understood is asked again."""
    if attempts < 1:
        raise ConfigError(f"attempts is {attempts}; it must be 1 or more")
    options = with_grammar(chat, grammar, preset, options)
    asked: dict[int, Asked[T]] = {}
    replies: list[list[Reply]] = [[] for _ in whats]
    for attempt in range(attempts):
        missing = [number for number in range(len(whats)) if number not in asked]
        if not missing:
            break
        hot = options | hotter(chat, attempt, preset, options)
        for number, reply in zip(
            missing, chat.chat_many([whats[n] for n in missing], preset=preset, **hot), strict=True
        ):
            replies[number].append(reply)
            found = read(reply)
            if found is not None and found.value is not None:
                repairs = (*endings(reply), *found.repairs)
                asked[number] = Asked(found.value, repairs, tuple(replies[number]), attempt + 1)
    return [
        asked.get(number) or Asked(None, endings(given[-1]), tuple(given), len(given))
        for number, given in enumerate(replies)
    ]


def endings(reply: Reply) -> tuple[str, ...]:
    """In words, how an answer ended that did not end by itself."""
    if reply.finish_reason == "length":
        return (f"the answer was cut after {reply.usage.num_output_tokens} tokens",)
    if reply.finish_reason == "repetition":
        return ("the answer was ended because it repeated itself",)
    return ()


def with_grammar(chat: Chat, grammar: Grammar | None, preset: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """The options with the grammar as `structure`, if the model takes it."""
    if grammar is None:
        return options
    if isinstance(chat, LocalChat) and importlib.util.find_spec("llguidance") is None:
        return options  # a model loaded here needs it; a server has its own
    bound = options | {"structure": grammar}
    try:
        chat.check_options(preset, **bound)
    except ConfigError:
        chat.check_options(preset, **options)  # a mistake in another option is still told
        return options
    return bound


def hotter(chat: Chat, attempt: int, preset: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """What an attempt (0-based) samples differently from the first one."""
    if attempt == 0:
        return {}
    if "temperature" in options:
        base = float(options["temperature"])
    elif preset is not None:
        base = presets.find(preset, thinking=chat.is_thinking).sampling.temperature
    else:
        base = UNKNOWN_TEMPERATURE
    changed: dict[str, Any] = {"temperature": max(base, min(HOTTEST, base + HOTTER * attempt))}
    if isinstance(options.get("seed"), int):
        changed["seed"] = options["seed"] + attempt
    return changed


def _answer(
    chat: Chat, what: Any, preset: str | None, options: dict[str, Any], on_event: Callable[[Event], None] | None
) -> Reply:
    if on_event is None:
        return chat.chat(what, preset=preset, **options)
    reply: Reply | None = None
    for event in chat.stream(what, preset=preset, **options):
        on_event(event)
        reply = event.reply or reply
    if reply is None:
        raise ConfigError("the model's stream of events ended without a reply; this chat is not usable")
    return reply
