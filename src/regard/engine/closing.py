"""The way home: a short text that completes an answer from where its grammar stands.

A grammar says what may come next, not how to finish. Here a copy of the grammar that reads single bytes is led to an
accepting state. Bytes that are forced are followed; at a choice

    in free text (many bytes allowed)    the quote is taken, or any plain byte until it is allowed
    elsewhere                            a closing bracket is taken, or the byte that leads to the newest situation

A situation is told by the set of bytes that it allows, and the newest is the one met least often on the way, so a
pattern like (ab)*c is left after a round. If this finds no end, a second try asks only for new situations. Then the
alternatives on the way (other keys, other values) are followed to their ends as well, from left to right, and the
shortest way is kept, until a number of trials is spent.

The way found need not be the shortest there is. There is none if the grammar has no end, or one that is too far away.
It does not know tokens or budgets: that is `structured`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llguidance import LLMatcher

MAX_BYTES = 4096  # of a way
TRIALS, THOROUGH_TRIALS = 600, 5_000  # bytes tried to shorten a way, each some microseconds
MAX_ALTERNATIVES = 12  # followed at one choice
FREE_TEXT = 64  # allowed bytes above which the place is inside a string

OUTSIDE = b"}])"
ORDER_IN_TEXT = b'"}])0'
ORDER_OUTSIDE = b'}])0"'
BLANKS = b" \t\r\n"
MAX_PLAIN = 1024  # plain bytes taken before the text must have been left otherwise
MAX_REPEATS = 64  # how often one situation is left by a closing bracket
DETOUR = 3  # visits that a byte of an escape or a long character counts as

ACCEPTING = -1  # the situation in which the answer is complete; others are sets of bytes, as bits


def completes(matcher: LLMatcher, way: bytes) -> bool:
    """Whether the bytes lead from here to an accepting state. Leaves the matcher as it was."""
    num_read = matcher.try_consume_tokens(list(way))
    is_complete = num_read == len(way) and matcher.is_accepting()
    matcher.rollback(num_read)
    return is_complete


def find_end(matcher: LLMatcher, *, is_thorough: bool) -> bytes | None:
    """Return bytes that lead from here to an accepting state; None if none were found.

    `matcher` reads bytes as tokens. Cost: usually a tenth of a millisecond, at most a few; thorough ten times that.
    """
    search = _Search(matcher.deep_copy())  # a search that breaks the library's limits breaks only the copy
    way = search.roll_out(b"", MAX_BYTES, closes_first=True)
    if way is None or is_thorough:
        way = search.roll_out(b"", MAX_BYTES if way is None else len(way) - 1, closes_first=False) or way
    return None if way is None else search.shorten(way, THOROUGH_TRIALS if is_thorough else TRIALS)


class _Search:
    """One search. The matcher moves with `_path` and is taken back after each roll-out."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher
        self._num_trials = 0
        self._path = bytearray()
        self._choices_in: dict[int, list[int]] = {}
        self._others: dict[int, list[int]] = {}  # place in the newest way -> bytes that were not taken there

    def shorten(self, way: bytes, max_trials: int) -> bytes:
        """Follow the alternatives along a way, from left to right, and return the shortest way met."""
        place, others = -1, self._others
        while (place := min((p for p in others if p > place), default=-1)) >= 0:
            for byte in others[place]:
                if self._num_trials > max_trials:
                    return way
                found = self.roll_out(way[:place] + bytes([byte]), len(way) - 1, closes_first=True)
                if found is not None:
                    way, others = found, self._others
        return way

    def roll_out(self, start: bytes, limit: int, *, closes_first: bool) -> bytes | None:
        """Go from `start` to an accepting state, in at most `limit` bytes."""
        self._others = {}
        visits: Counter[int] = Counter()
        self._consume(start)
        while not self._matcher.is_accepting() and len(self._path) < limit:
            allowed = self._allowed()
            visits[allowed] += 1
            if forced := self._matcher.compute_ff_bytes():
                self._consume(forced)
                continue
            byte = self._closing_byte(allowed, visits) if closes_first else None
            if byte is None:
                byte = self._newest(allowed, visits)
            if byte is None:
                break
            self._consume(bytes([byte]))
        found = bytes(self._path) if self._matcher.is_accepting() and len(self._path) <= limit else None
        self._take_back(len(self._path))
        return found

    def _closing_byte(self, allowed: int, visits: Counter[int]) -> int | None:
        if allowed.bit_count() > FREE_TEXT:
            if visits[allowed] > MAX_PLAIN:
                return None
            return _first_of(ORDER_IN_TEXT, allowed) or (allowed & -allowed).bit_length() - 1
        return _first_of(OUTSIDE, allowed) if visits[allowed] <= MAX_REPEATS else None

    def _newest(self, allowed: int, visits: Counter[int]) -> int | None:
        """The byte that leads to the situation met least often; the others are noted as alternatives."""
        choices = self._choices(allowed)
        if not choices:
            return None
        best = min(choices, key=lambda byte: self._age(byte, visits))
        self._others[len(self._path)] = [byte for byte in choices if byte != best][:MAX_ALTERNATIVES]
        return best

    def _age(self, byte: int, visits: Counter[int]) -> int:
        """How often the situation after a byte was met; a complete answer comes before all."""
        situation = self._situation_after(byte)
        if situation == ACCEPTING:
            return ACCEPTING
        return visits[situation] + (DETOUR if byte >= 0x80 or byte in b"\\" else 0)

    def _choices(self, allowed: int) -> list[int]:
        """The allowed bytes, one for each situation that they lead to; blanks only if there is nothing else."""
        if allowed not in self._choices_in:
            byte_by_situation: dict[int, int] = {}
            in_order = _in_order(allowed)
            for byte in [b for b in in_order if b not in BLANKS] or in_order:
                byte_by_situation.setdefault(self._situation_after(byte), byte)
            self._choices_in[allowed] = list(byte_by_situation.values())
        return self._choices_in[allowed]

    def _situation_after(self, byte: int) -> int:
        self._num_trials += 1
        self._consume(bytes([byte]))
        situation = ACCEPTING if self._matcher.is_accepting() else self._allowed()
        self._take_back(1)
        return situation

    def _allowed(self) -> int:
        """The bytes allowed here, as bits."""
        return int.from_bytes(self._matcher.compute_bitmask(), "little") & (1 << 256) - 1

    def _consume(self, text: bytes) -> None:
        self._num_trials += 1
        self._path += text
        self._matcher.consume_tokens(list(text))

    def _take_back(self, num_bytes: int) -> None:
        self._matcher.rollback(num_bytes)
        del self._path[len(self._path) - num_bytes :]


def _first_of(wanted: bytes, allowed: int) -> int | None:
    return next((byte for byte in wanted if allowed >> byte & 1), None)


def _in_order(allowed: int) -> list[int]:
    """The allowed bytes, what closes first and blanks last."""
    first = ORDER_IN_TEXT if allowed.bit_count() > FREE_TEXT else ORDER_OUTSIDE
    rest = (byte for byte in range(256) if byte not in first and byte not in BLANKS)
    return [byte for byte in (*first, *rest, *BLANKS) if allowed >> byte & 1]
