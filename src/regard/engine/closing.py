"""The way home: a short text that completes an answer from where its grammar stands.

A grammar says what may come next, not how to finish. Here a copy of the grammar that reads single bytes is led to an
accepting state. Bytes that are forced are followed; at a choice

    in free text (many bytes allowed)    the quote is taken, or any plain byte until it is allowed
    elsewhere                            a closing bracket is taken, or the byte that leads to the newest situation

A situation is told by the set of bytes that it allows, and the newest is the one met least often on the way, so a
pattern like (ab)*c is left after some rounds. If this finds no end, a second try asks only for new situations. Then the
alternatives on the way (other keys, other values) are followed to their ends as well, from left to right, and the
shortest way is kept, until a number of trials is spent.

The way found need not be the shortest there is. There is none if the grammar has no end, or one that is too far away.
It does not know tokens or budgets: that is `structured`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llguidance import LLMatcher

MAX_BYTES = 4096  # of a way
TRIALS, THOROUGH_TRIALS = 300, 3_000  # bytes tried to shorten a way, each some microseconds
MAX_ALTERNATIVES = 32  # followed at one choice
FREE_TEXT = 64  # allowed bytes above which the place is inside a string

OUTSIDE = b"}])"
ORDER_IN_TEXT = b'"}])0'
ORDER_OUTSIDE = b'}]),:0"'
BLANKS = b" \t\r\n"
DIGITS = b"0123456789"
MAX_PLAIN = 1024  # plain bytes taken before the text must have been left otherwise
MAX_REPEATS = 64  # how often one situation is left by a closing bracket
FEW_LETTERS = 8
VISITS_PER_ROUND = 4  # below, a situation counts as new and the order decides
DETOUR = 3  # rounds that a byte of an escape or a long character counts as

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
    found = search.roll_out(b"", MAX_BYTES, closes_first=True)
    if found is None or is_thorough:
        found = search.roll_out(b"", MAX_BYTES if found is None else len(found.way) - 1, closes_first=False) or found
    return None if found is None else search.shorten(found, THOROUGH_TRIALS if is_thorough else TRIALS)


@dataclass(frozen=True)
class _Found:
    """A way, and at places on it the bytes that were not taken."""

    way: bytes
    others: dict[int, list[int]]


class _Search:
    """One search. The matcher moves with `_path` and is taken back after each roll-out."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher
        self._num_trials = 0
        self._path = bytearray()
        self._choices_in: dict[int, list[int]] = {}

    def shorten(self, best: _Found, max_trials: int) -> bytes:
        """Follow the alternatives along a way, from left to right, and return the shortest way met."""
        place = -1
        while (place := min((p for p in best.others if p > place), default=-1)) >= 0:
            for byte in best.others[place]:
                if self._num_trials > max_trials:
                    return best.way
                start = best.way[:place] + bytes([byte])
                best = self.roll_out(start, len(best.way) - 1, closes_first=True) or best
        return best.way

    def roll_out(self, start: bytes, limit: int, *, closes_first: bool) -> _Found | None:
        """Go from `start` to an accepting state, in at most `limit` bytes."""
        others: dict[int, list[int]] = {}
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
                choices = self._choices(allowed)
                if not choices:
                    break
                byte = min(choices, key=lambda byte: self._age(byte, visits)) if len(choices) > 1 else choices[0]
                others[len(self._path)] = [other for other in choices if other != byte][:MAX_ALTERNATIVES]
            self._consume(bytes([byte]))
        is_found = self._matcher.is_accepting() and len(self._path) <= limit
        way = bytes(self._path)
        self._take_back(len(self._path))
        return _Found(way, others) if is_found else None

    def _closing_byte(self, allowed: int, visits: Counter[int]) -> int | None:
        if allowed.bit_count() > FREE_TEXT:
            if visits[allowed] > MAX_PLAIN:
                return None
            return _first_of(ORDER_IN_TEXT, allowed) or (allowed & -allowed).bit_length() - 1
        return _first_of(OUTSIDE, allowed) if visits[allowed] <= MAX_REPEATS else None

    def _age(self, byte: int, visits: Counter[int]) -> int:
        """How many rounds ago the situation after a byte was new; a complete answer comes before all."""
        situation, _ = self._situation_after(byte)
        if situation == ACCEPTING:
            return ACCEPTING
        return visits[situation] // VISITS_PER_ROUND + (DETOUR if byte >= 0x80 or byte in b"\\" else 0)

    def _choices(self, allowed: int) -> list[int]:
        """The bytes worth trying: of those that lead to the same situation one, except where names begin.

        Names that begin with different letters look alike for a while, so few letters are all kept, and many where
        what is forced after them differs. Blanks are there only if nothing else is.
        """
        if allowed not in self._choices_in:
            in_order = _in_order(allowed)
            in_order = [byte for byte in in_order if byte not in BLANKS] or in_order
            is_name = sum(byte not in DIGITS for byte in in_order) <= FEW_LETTERS
            byte_by_key: dict[tuple[int, bytes, int], int] = {}
            for byte in in_order:
                situation, forced = self._situation_after(byte)
                byte_by_key.setdefault((situation, forced, byte if is_name and byte not in DIGITS else 0), byte)
            self._choices_in[allowed] = list(byte_by_key.values())
        return self._choices_in[allowed]

    def _situation_after(self, byte: int) -> tuple[int, bytes]:
        """The situation after a byte, and what is forced there."""
        self._num_trials += 1
        self._consume(bytes([byte]))
        is_accepting = self._matcher.is_accepting()
        situation, forced = (ACCEPTING, b"") if is_accepting else (self._allowed(), self._matcher.compute_ff_bytes())
        self._take_back(1)
        return situation, forced

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
