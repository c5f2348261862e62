"""The way home: a short text that completes an answer from where its grammar stands.

A grammar says what may come next, not how to finish. Here a copy of the grammar that reads single bytes is led to an
accepting state: bytes that are forced are followed, and at a choice the candidates are tried in an order that closes
things first:

    in free text (many bytes allowed)    "                          then the byte that leads to a new situation
    elsewhere                            } ] ) , then 0 and "       then the byte that leads to a new situation

A situation is told by the set of bytes that it allows, so a pattern like (ab)*c is left after a round or two. Where
several keys or alternatives begin, each is followed to its end and the shortest is taken.

The way found need not be the shortest there is. There is none if the grammar has no end, or one that is too far away.
It does not know tokens or budgets: that is `structured`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llguidance import LLMatcher

MAX_BYTES = 8192  # of a way
MAX_TRIALS = 4000  # bytes tried in one search, about two microseconds each
MAX_BRANCHES = 16  # alternatives followed to their ends
MAX_CANDIDATES = 8  # bytes tried at one choice
MAX_REPEATS = 64  # how often one situation may be closed in the same way
FREE_TEXT = 64  # allowed bytes above which the place is inside a string

IN_TEXT = b'"'
OUTSIDE = b"}])"
ORDER_IN_TEXT = b'"}])0'
ORDER_OUTSIDE = b'}])0"'
BLANKS = b" \t\r\n"


def completes(matcher: LLMatcher, way: bytes) -> bool:
    """Whether the bytes lead from here to an accepting state. Leaves the matcher as it was."""
    num_read = matcher.try_consume_tokens(list(way))
    is_complete = num_read == len(way) and matcher.is_accepting()
    matcher.rollback(num_read)
    return is_complete


def find_end(matcher: LLMatcher) -> bytes | None:
    """Return bytes that lead from here to an accepting state; None if none were found.

    `matcher` reads bytes as tokens, and is left as it was.
    """
    return _Search(matcher).run()


class _Search:
    """One search. The matcher moves with `_path` and is taken back at the end."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher
        self._num_trials = 0
        self._path = bytearray()

    def run(self) -> bytes | None:
        common = self._follow_forced()
        best: bytes | None = None
        if self._matcher.is_accepting():
            best = b""
        else:
            for first in self._branches():
                best = self._shorter(best, first, closes_first=True)
            best = self._shorter(best, b"", closes_first=False)
        self._take_back(0)
        return None if best is None else common + best

    def _branches(self) -> Iterator[bytes]:
        """First bytes worth a rollout of their own; nothing in free text or where something can be closed."""
        allowed = self._allowed()
        if allowed.bit_count() > FREE_TEXT or _first_of(OUTSIDE, allowed) is not None:
            yield b""
            return
        for byte in _in_order(allowed)[:MAX_BRANCHES]:
            yield bytes([byte])

    def _shorter(self, best: bytes | None, first: bytes, *, closes_first: bool) -> bytes | None:
        start = len(self._path)
        self._consume(first)
        limit = MAX_BYTES if best is None else len(best) - 1
        found = self._roll_out(start, limit, closes_first=closes_first)
        self._take_back(start)
        return best if found is None else found

    def _roll_out(self, start: int, limit: int, *, closes_first: bool) -> bytes | None:
        """Go on from here to an accepting state, at most to `limit` bytes after `start`."""
        visits: Counter[int] = Counter()
        while not self._matcher.is_accepting():
            if self._num_trials > MAX_TRIALS or len(self._path) - start >= limit:
                return None
            if self._follow_forced():
                continue
            allowed = self._allowed()
            visits[allowed] += 1
            closer = _first_of(IN_TEXT if allowed.bit_count() > FREE_TEXT else OUTSIDE, allowed)
            if closes_first and closer is not None and visits[allowed] <= MAX_REPEATS:
                self._consume(bytes([closer]))
                continue
            candidates = _in_order(allowed)[:MAX_CANDIDATES]
            if not candidates:
                return None
            self._consume(bytes([min(candidates, key=lambda byte: self._num_visits_after(byte, visits))]))
        way = bytes(self._path[start:])
        return way if len(way) <= limit else None

    def _num_visits_after(self, byte: int, visits: Counter[int]) -> int:
        """How often the situation after a byte was met; an accepting one beats all."""
        self._consume(bytes([byte]))
        num_visits = -1 if self._matcher.is_accepting() else visits[self._allowed()]
        self._take_back(len(self._path) - 1)
        return num_visits

    def _follow_forced(self) -> bytes:
        forced = self._matcher.compute_ff_bytes() if not self._matcher.is_accepting() else b""
        self._consume(forced)
        return forced

    def _allowed(self) -> int:
        """The bytes allowed here, as bits."""
        return int.from_bytes(self._matcher.compute_bitmask(), "little") & (1 << 256) - 1

    def _consume(self, text: bytes) -> None:
        self._num_trials += 1
        self._path += text
        self._matcher.consume_tokens(list(text))

    def _take_back(self, length: int) -> None:
        self._matcher.rollback(len(self._path) - length)
        del self._path[length:]


def _first_of(wanted: bytes, allowed: int) -> int | None:
    return next((byte for byte in wanted if allowed >> byte & 1), None)


def _in_order(allowed: int) -> list[int]:
    """The allowed bytes, what closes first and blanks last."""
    first = ORDER_IN_TEXT if allowed.bit_count() > FREE_TEXT else ORDER_OUTSIDE
    rest = (byte for byte in range(256) if byte not in first and byte not in BLANKS)
    return [byte for byte in (*first, *rest, *BLANKS) if allowed >> byte & 1]
