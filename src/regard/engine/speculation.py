"""Guessing the next tokens by looking back: what followed the last time the text ended like this?

    prompt + answer   ... "total" ":" "42" ...... "total" ":"      the last two tokens occurred before
    proposal          "42" ...                                     so what followed them is proposed

Documents, code and tables repeat their input, and a guess costs little: all guesses go through the model together,
as further rows of the step that computes the newest token. Copying may run over the end of the text into the
proposal itself, so that a short period is continued.

Each row is sampled as usual, and guesses are kept while the sampled token is the guessed one (`num_agreed`). Nothing
else is needed, greedy or not: a token is always the one drawn from the model's own distribution with the number that
belongs to its place, so the answer is the same, token for token, as without guesses.

How many tokens to propose adapts: more after full agreement, fewer after none, and after several misses in a row a
pause that doubles each time (`ProposalLength`).

It is pure Python and knows neither the model nor the text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

START_LENGTH = 4
MISSES_BEFORE_PAUSE = 3
FIRST_PAUSE, LONGEST_PAUSE = 8, 128  # in proposals that are not made


class PromptLookup:
    """The tokens of one sequence, and where each n-gram occurred last.

    `never_ids` (pads of pictures and clips) are not proposed; a proposal ends with the first of `end_ids`.
    Cost: O(1) per token, about 300 bytes of memory.
    """

    def __init__(
        self,
        ids: Iterable[int],
        *,
        never_ids: Collection[int] = (),
        end_ids: Collection[int] = (),
        min_ngram: int = 2,
        max_ngram: int = 4,
        max_length: int = 16,
    ) -> None:
        self._never_ids = frozenset(never_ids)
        self._end_ids = frozenset(end_ids)
        self._lengths = range(max_ngram, min_ngram - 1, -1)
        self._ids: list[int] = []
        self._place_by_hash: dict[int, int] = {}  # hash of an n-gram -> index of the token after it
        self.length = ProposalLength(max_length)
        for token_id in ids:
            self.extend(token_id)

    def extend(self, token_id: int) -> None:
        """Note the sequence's next token."""
        ids = self._ids
        if token_id not in self._never_ids:
            for n in self._lengths:
                if n <= len(ids):
                    self._place_by_hash[hash(tuple(ids[-n:]))] = len(ids)
        ids.append(token_id)

    def propose(self, max_tokens: int) -> list[int]:
        """Return up to `max_tokens` ids that may come next, fewer while guesses do badly; often none."""
        num_tokens = min(max_tokens, self.length.next())
        if num_tokens < 1:
            return []
        for n in self._lengths:
            place = self._place_after_last(n)
            if place is not None and (proposed := self._copy(place, num_tokens)):
                return proposed
        return []

    def _place_after_last(self, n: int) -> int | None:
        """Index of the token that followed the last earlier occurrence of the final n tokens."""
        ids = self._ids
        if n > len(ids):
            return None
        ending = ids[-n:]
        place = self._place_by_hash.get(hash(tuple(ending)))
        # Equal hashes need not be equal n-grams.
        return place if place is not None and ids[place - n : place] == ending else None

    def _copy(self, place: int, num_tokens: int) -> list[int]:
        ids, proposed = self._ids, list[int]()
        for source in range(place, place + num_tokens):
            token_id = ids[source] if source < len(ids) else proposed[source - len(ids)]
            if token_id in self._never_ids:
                break
            proposed.append(token_id)
            if token_id in self._end_ids:
                break
        return proposed


class ProposalLength:
    """How many tokens to propose next, from how the last proposals did."""

    def __init__(self, max_length: int) -> None:
        self._max_length = max_length
        self._length = min(START_LENGTH, max_length)
        self._num_misses = 0
        self._pause = FIRST_PAUSE
        self._num_paused = 0  # proposals still to be left out

    def next(self) -> int:
        """The length of the next proposal; 0 in a pause, which each call shortens."""
        if self._num_paused:
            self._num_paused -= 1
            return 0
        return self._length

    def learn(self, num_proposed: int, num_agreed: int) -> None:
        """Note how a proposal did. Proposals of no tokens say nothing."""
        if num_proposed == 0:
            return
        if num_agreed == 0:
            self._length = max(1, self._length // 2)
            self._num_misses += 1
            if self._num_misses >= MISSES_BEFORE_PAUSE:
                self._num_misses, self._num_paused = 0, self._pause
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
            return
        self._num_misses, self._pause = 0, FIRST_PAUSE
        if num_agreed == num_proposed:
            self._length = min(max(self._length, 2 * num_proposed), self._max_length)
        else:
            self._length = min(num_agreed + 1, self._max_length)


def num_agreed(sampled_ids: Sequence[int], proposed_ids: Sequence[int]) -> int:
    """Return how many guesses to keep; the answer grows by the first `num_agreed + 1` of `sampled_ids`.

    `sampled_ids[i]` was sampled from the row that has the first i guesses ahead, so there is one more of them than
    of guesses: the token after the last guess, or in the place of the first wrong one, comes free.
    """
    for place, (sampled_id, proposed_id) in enumerate(zip(sampled_ids, proposed_ids, strict=False)):
        if sampled_id != proposed_id:
            return place
    return len(proposed_ids)
