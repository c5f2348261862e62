"""One place where errors become a status and a body, in the shape of the API that was called.

    InputError, ConfigError, CheckpointError    400
    CapacityError                               413, and BusyError 429 with Retry-After
    MissingDependencyError                      501
    ServerError                                 502
    EngineError and whatever is not ours        500; the latter without its words, which go to the log

    OpenAI's     {"error": {"message": ..., "type": ..., "param": null, "code": ...}}
    Anthropic's  {"type": "error", "error": {"type": ..., "message": ...}}     under /v1/messages

A traceback is never in a body.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

from regard.errors import (
    BusyError,
    CapacityError,
    CheckpointError,
    ConfigError,
    EngineError,
    InputError,
    MissingDependencyError,
    RegardError,
    ServerError,
)

RETRY_AFTER_S = 2
INTERNAL = "this is a fault of the server's, which has written it to its log; ask again, or tell its operator"

log = logging.getLogger("regard.server")

_STATUSES: tuple[tuple[type[RegardError], int], ...] = (
    (InputError, 400),
    (ConfigError, 400),
    (CheckpointError, 400),
    (BusyError, 429),
    (CapacityError, 413),
    (MissingDependencyError, 501),
    (ServerError, 502),
    (EngineError, 500),
)
_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
_CODES = {
    401: "invalid_api_key",
    404: "not_found",
    413: "request_too_large",
    429: "rate_limit_exceeded",
    503: "unavailable",
}


class HttpError(RegardError):
    """An error with a status of its own; `code` is for programs, `headers` go with the answer."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})


def status_of(error: BaseException) -> int:
    """The HTTP status that an error stands for."""
    if isinstance(error, HttpError):
        return error.status
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def error_body(error: BaseException, path: str) -> dict[str, Any]:
    """The body for an error, in the shape of the API at `path`."""
    status = status_of(error)
    message = " ".join(str(error).split()) if isinstance(error, RegardError) else INTERNAL
    if path.startswith("/v1/messages"):
        kind = _ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}
    kind = _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    code = getattr(error, "code", None) or _CODES.get(status)
    if isinstance(error, CapacityError) and status == 413:
        code = "context_length_exceeded"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def error_response(error: BaseException, path: str) -> Response:
    """The whole answer for an error; one that is our fault is logged."""
    log_fault(error)
    headers = dict(error.headers) if isinstance(error, HttpError) else {}
    status = status_of(error)
    if status in (429, 503):
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    return JSONResponse(error_body(error, path), status_code=status, headers=headers)


def error_event(error: BaseException) -> bytes:
    """The event that ends a stream of chat completions which failed after it had begun."""
    log_fault(error)
    return f"data: {json.dumps(error_body(error, ''), ensure_ascii=False)}\n\n".encode()


def log_fault(error: BaseException) -> None:
    """Write an error to the log if it is the server's fault."""
    if not isinstance(error, RegardError):
        log.error("a request failed", exc_info=error)
    elif isinstance(error, EngineError):
        log.error("a request failed: %s", error)
