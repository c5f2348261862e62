"""From what a user names as the model to something that answers.

A name that begins with http:// or https:// is a server, anything else a model to load: "nano", a folder, a hub id.
The options of the one are not options of the other, and are refused there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.client.chat import Chat, LocalChat
from regard.client.http_chat import HttpChat
from regard.errors import ConfigError

if TYPE_CHECKING:
    from regard.llm import LLM

HTTP_OPTIONS = ("api_key", "server_kind", "patience", "max_concurrency")


def is_url(model: str) -> bool:
    """Whether a model's name is the address of a server."""
    return model.lower().startswith(("http://", "https://"))


def connect(model: str = "nano", **options: Any) -> Chat:
    """Load a model, or find the server at a URL; the options are those of `LLM.load` or of `HttpChat.connect`.

    Errors: ConfigError for an option of the other kind; whatever loading or connecting runs into.
    """
    _check(model, options)
    return HttpChat.connect(model, **options) if is_url(model) else LocalChat.load(model, **options)


def load(name: str | Path = "nano", **options: Any) -> LLM | HttpChat:
    """As `connect`, but a model that is loaded here is the `LLM` itself, with all that it can do."""
    model = str(name)
    _check(model, options)
    if is_url(model):
        return HttpChat.connect(model, **options)
    from regard.llm import LLM

    return LLM.load(model, **options)


def _check(model: str, options: dict[str, Any]) -> None:
    for option in options:
        if is_url(model) and option not in HTTP_OPTIONS:
            raise ConfigError(
                f"{option} is an option of models that are loaded here, and {model} is a server, which decides itself; "
                "leave it out"
            )
        if not is_url(model) and option in HTTP_OPTIONS:
            raise ConfigError(f"{option} is an option of servers, and {model!r} is loaded here; leave it out")
