"""What a server or the way to it did wrong, as one sentence of our error family.

    400, 413, 422    InputError: the server's own words      401, 403    ConfigError: the key
    404, 405, 3xx    ConfigError: the URL or the model       429         CapacityError: too much at once
    5xx              ServerError                             no answer   ServerError

It never repeats a key, and of a body only what can be read as a message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from regard.errors import CapacityError, ConfigError, InputError, RegardError, ServerError

MAX_WORDS = 400  # characters of a server's message
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


def of_status(url: str, status: int, body: bytes, headers: Mapping[str, str]) -> RegardError:
    """The error for an answer that is not a success."""
    said = message_of(body)
    words = f": {said}" if said else ""
    if status in (401, 403):
        return ConfigError(f"{url} refuses the key (status {status}{words}); give --api-key or set REGARD_API_KEY")
    if status in (404, 405):
        if "model" in said.lower():
            return ConfigError(f"{url} does not serve that model{words}; name another after # in the URL")
        return ConfigError(f"{url} is not the address of a chat server (status {status}{words}){_better(url)}")
    if status in (400, 413, 422):
        return InputError(f"{url} refuses the request (status {status}{words or ', without a reason'})")
    if status == 429:
        return CapacityError(f"{url} has too much to do (status 429{words}); try again later")
    if 300 <= status < 400:
        where = headers.get("Location", "an address that it does not name")
        return ConfigError(f"{url} redirects to {where}, and redirects are not followed; give the final URL")
    return ServerError(f"{url} failed (status {status}{words}); try again later, or look into its log")


def of_transport(url: str, error: Exception, connect_s: float, read_s: float) -> RegardError:
    """The error for a connection that could not be made or broke."""
    reason = str(error).strip().rstrip(".") or type(error).__name__
    match type(error).__name__:
        case "ConnectTimeout":
            return ServerError(f"{url} does not accept a connection within {connect_s:g} s; is the host right?")
        case "ReadTimeout" | "WriteTimeout":
            return ServerError(f"{url} was silent for {read_s:g} s; ask again, or allow a longer silence (read_s)")
        case "UnsupportedProtocol":
            return ConfigError(f"{url} is no web address; it must begin with http:// or https://")
        case "ProxyError":
            return ServerError(f"the proxy on the way to {url} refuses ({reason}); check HTTPS_PROXY and NO_PROXY")
        case "ConnectError" if "CERTIFICATE" in reason:
            return ServerError(f"{url} has no certificate that is trusted here ({reason}); check the address")
        case "ConnectError" if "SSL" in reason:
            return ServerError(f"{url} does not speak TLS ({reason}); did you mean http:// instead of https://?")
        case "ConnectError":
            return ServerError(f"{url} cannot be reached ({reason}); is the server running there?")
        case "RemoteProtocolError":
            return ServerError(f"{url} broke off or does not speak HTTP ({reason}); is the URL right?")
    return ServerError(f"the connection to {url} broke ({reason}); ask again")


def cancelled(url: str) -> RegardError:
    """The error of whoever still reads an answer that was ended from elsewhere."""
    return RegardError(f"the answer from {url} was cancelled")


def not_json(url: str, body: bytes) -> RegardError:
    """The error for an answer that is something else than asked."""
    return ConfigError(f"{url} answers with {_described(body)}, not with JSON{_better(url)}")


def message_of(body: bytes) -> str:
    """What an error's body says: OpenAI's, FastAPI's and plain shapes; empty if nothing can be read."""
    text = body.decode("utf-8", errors="replace").strip()
    try:
        said = words_of(json.loads(text))
    except (ValueError, RecursionError):
        said = _described(body) if _is_html(text) else text
    return _short(said)


def words_of(value: Any) -> str:
    """The message in an error's JSON value."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):  # FastAPI: one object for each fault
        return "; ".join(filter(None, map(words_of, value[:3])))
    if isinstance(value, Mapping):
        for key in ("error", "message", "detail", "msg"):
            if value.get(key):
                where = value.get("loc")
                place = f"{'.'.join(map(str, where))}: " if key == "msg" and isinstance(where, list) else ""
                return place + words_of(value[key])
    return ""


def shown(value: Any, limit: int = 80) -> str:
    """A value as it would be typed, shortened."""
    return _short(repr(value), limit)


def _described(body: bytes) -> str:
    text = body.decode("utf-8", errors="replace").strip()
    if not text:
        return "nothing"
    if not _is_html(text):
        return f"{_short(text, 60)!r}"
    title = _TITLE.search(text)
    return f"an HTML page ({_short(title[1], 80)!r})" if title and title[1].strip() else "an HTML page"


def _is_html(text: str) -> bool:
    return text[:200].lower().startswith(("<!doctype", "<html", "<head", "<body"))


def _better(url: str) -> str:
    """A guess at the right URL."""
    if "/v1" not in url:
        return f"; did you mean {url}/v1?"
    return "; give the URL up to /v1, without /chat/completions" if not url.endswith("/v1") else "; check the URL"


def _short(text: str, limit: int = MAX_WORDS) -> str:
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= limit else text[: limit - 3] + "..."
