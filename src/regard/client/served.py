"""What is at a URL: which kind of server, which of its models, and what is known about that model.

`GET /models` tells: our server adds a field `regard`, vLLM and SGLang name themselves as `owned_by`. Alibaba and
OpenAI are known by their host names. Anything else is spoken to as `openai`, whose dialect has the fewest options, so
that nothing is sent that might be ignored silently; `kind` says it better.

A URL with one model needs no name. With several, the name stands after a #: http://host:8000/v1#Qwen/Qwen3-VL-8B.
Other names of one model, and adapters on top of it (vLLM lists both), do not count as several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from regard.client import failures
from regard.client.connection import Connection
from regard.client.dialects import KINDS, ServerKind
from regard.errors import ConfigError

MAX_NAMES = 8  # shown in an error


@dataclass(frozen=True)
class Served:
    """One model at one server. `max_model_len` in tokens, None if the server does not tell."""

    kind: ServerKind
    model: str
    is_thinking: bool
    max_model_len: int | None = None

    @property
    def tells_thinking_apart(self) -> bool:
        """Whether thinking never comes in the text: elsewhere that is the operator's choice."""
        return self.kind in ("regard", "dashscope")


def find_out(connection: Connection, *, model: str | None = None, kind: str = "auto") -> Served:
    """Ask a server what it is; `model` and `kind` are what is known already.

    Errors: ConfigError for an unknown kind or model or a choice that is open; whatever the request runs into.
    """
    if kind not in ("auto", *KINDS):
        raise ConfigError(f"the kind of server is {kind!r}; it must be auto, {', '.join(KINDS)}")
    known = _kind_of_host(connection.host) if kind == "auto" else cast(ServerKind, kind)
    if known == "dashscope":  # does not list its models there
        if model is None:
            raise ConfigError(f"{connection.url} has many models; name one, as in {connection.url}#qwen3-vl-plus")
        return Served(known, model, _sounds_thinking(model))
    try:
        with connection.get("/models") as exchange:
            entries = _entries(exchange.read_json(), connection.url)
    except ConfigError:
        if model is None or kind == "auto":
            raise
        return Served(cast(ServerKind, kind), model, _sounds_thinking(model))  # the chat request tells what is wrong
    entry = _chosen(entries, model, connection.url)
    told = entry.get("regard")
    told = told if isinstance(told, Mapping) else {}
    is_thinking = told.get("is_thinking", _sounds_thinking(f"{entry['id']} {entry.get('root') or ''}"))
    length = told.get("max_model_len", entry.get("max_model_len"))
    return Served(
        known or _kind_of_entry(entry), entry["id"], bool(is_thinking), length if isinstance(length, int) else None
    )


def _kind_of_host(host: str) -> ServerKind | None:
    if host == "api.openai.com":
        return "openai"
    return "dashscope" if host.endswith(".aliyuncs.com") else None


def _kind_of_entry(entry: Mapping[str, Any]) -> ServerKind:
    if "regard" in entry:
        return "regard"
    owner = entry.get("owned_by")
    return cast(ServerKind, owner) if owner in ("regard", "vllm", "sglang") else "openai"


def _sounds_thinking(name: str) -> bool:
    return "thinking" in name.lower()


def _entries(value: Any, url: str) -> list[Mapping[str, Any]]:
    data = value.get("data") if isinstance(value, Mapping) else None
    entries = [one for one in data or () if isinstance(one, Mapping) and isinstance(one.get("id"), str) and one["id"]]
    if not isinstance(data, list) or (data and not entries):
        raise ConfigError(f"{url}/models answers with {failures.shown(value)}, which is no list of models")
    if not entries:
        raise ConfigError(f"{url} serves no model at this moment; load one there")
    return entries


def _chosen(entries: Sequence[Mapping[str, Any]], model: str | None, url: str) -> Mapping[str, Any]:
    if model is not None:
        for entry in entries:
            if entry["id"] == model:
                return entry
        raise ConfigError(f"{url} does not serve {model!r}; it serves {_names(entries)}")
    bases = [entry for entry in entries if not entry.get("parent")] or list(entries)
    if len({entry.get("root") or entry["id"] for entry in bases}) > 1:
        raise ConfigError(f"{url} serves {_names(bases)}; name one, as in {url}#{bases[0]['id']}")
    return bases[0]


def _names(entries: Sequence[Mapping[str, Any]]) -> str:
    names = [entry["id"] for entry in entries]
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
