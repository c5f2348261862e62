"""What the routes of the Responses and Messages APIs need of the server that they are part of.

`Desk` is the server's side: it knows the model, the files and the limits. The routes read a body, hand an `Ask` to the
desk, and shape the events that come back.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from regard.messages import Part

if TYPE_CHECKING:
    from regard.llm import LLM
    from regard.server.asking import Ask, Asking


class Desk(Protocol):
    """The server, as the routes see it."""

    llm: LLM

    def served_name(self, asked: str | None) -> str:
        """The name that answers carry. Errors: RegardError if another model is asked for."""

    def find_file(self, file_id: str) -> Part:
        """An uploaded file as a part. Errors: RegardError if there is none."""

    async def start(self, ask: Ask) -> Asking:
        """Begin to answer. Errors: RegardError before anything is sent."""

    async def count_tokens(self, ask: Ask) -> int:
        """How many tokens the prompt has. Errors: as `start`."""


def new_id(prefix: str) -> str:
    """An id that cannot be guessed, as in resp_68f0..."""
    return f"{prefix}_{secrets.token_hex(16)}"


def named_event(event: Mapping[str, Any]) -> bytes:
    """One event of a stream, named by its type."""
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
