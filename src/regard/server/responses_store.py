"""Responses that are remembered, so that the next request can go on from one by its id.

What is kept is the conversation up to and with the answer, its instructions left out, as messages and as the items that
it was asked in, and the response as it was sent. Media are kept as they were given: a data URL with its bytes, once.
The store is bounded by number and by size, the oldest go first, and all of it is gone with the process. It is safe to
use from several threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regard.messages import Message
from regard.server.errors import HttpError

MAX_RESPONSES = 1000
MAX_BYTES = 256 * 1024**2


@dataclass(frozen=True)
class Stored:
    """A finished response. `items` are what it was asked (`responses_items`), without its own output; `open_calls` are
    the ids of the calls that it ends with; `num_bytes` is what it weighs."""

    response: Mapping[str, Any]
    messages: tuple[Message, ...]
    items: tuple[dict[str, Any], ...]
    open_calls: tuple[str, ...]
    num_bytes: int


class ResponseStore:
    """Stored responses by their ids."""

    def __init__(self, max_responses: int = MAX_RESPONSES, max_bytes: int = MAX_BYTES) -> None:
        self._max_responses, self._max_bytes = max_responses, max_bytes
        self._stored: OrderedDict[str, Stored] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def put(self, stored: Stored) -> None:
        """Keep a response; one that alone is too large is not kept."""
        if stored.num_bytes > self._max_bytes:
            return
        with self._lock:
            self._stored[str(stored.response["id"])] = stored
            self._num_bytes += stored.num_bytes
            while len(self._stored) > self._max_responses or self._num_bytes > self._max_bytes:
                _, oldest = self._stored.popitem(last=False)
                self._num_bytes -= oldest.num_bytes

    def get(self, response_id: str) -> Stored:
        """A response. Errors: HttpError if it is not there (any more)."""
        with self._lock:
            if response_id not in self._stored:
                raise HttpError(
                    404,
                    f"there is no stored response {response_id!r}: it was not stored, was deleted, or made room for "
                    "newer ones; send the whole conversation as input",
                )
            return self._stored[response_id]

    def delete(self, response_id: str) -> None:
        """Forget a response. Errors: as `get`."""
        self.get(response_id)
        with self._lock:
            if (stored := self._stored.pop(response_id, None)) is not None:
                self._num_bytes -= stored.num_bytes
