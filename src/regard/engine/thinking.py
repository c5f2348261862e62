"""The block of thinking at the beginning of an answer, and the room that it has to leave for the answer itself.

    prompt <think> \n     t t t t t t t      \n </think> \n\n     answer
                          the model's own    forced, if need be   at least one word

The block is closed by forcing the closing tokens when the budget of thinking tokens is used up, or when no more tokens
are left than the closing and the answer's reserve need. Where so few are left that the closing tokens would be all of
them, </think> alone is forced. After a forced closing the answer may not end before it has a word, so that it is never
empty if a single token of it can be made.

A block is open from the start where the prompt opened it; <think> opens one only at the very beginning of the answer,
behind nothing but line breaks, as `processing/reply_parser.py` reads it. There is one block: what comes later is text.

It knows ids only. A budget may end in the middle of a character of several tokens; the decoder then shows U+FFFD at
the end of the thinking, and the answer is whole.
"""

from __future__ import annotations

from collections.abc import Sequence


class ThinkingBlock:
    """Follows one answer. `close_ids` are written to close a block, `end_id` among them is </think>.

    `budget` None: as long as it likes; `reserve`: tokens left for the answer behind the closing.
    """

    def __init__(
        self,
        *,
        is_open: bool,
        start_id: int | None = None,
        end_id: int | None = None,
        close_ids: Sequence[int] = (),
        budget: int | None = None,
        reserve: int = 0,
    ) -> None:
        self.is_open = is_open
        self._is_at_start = True  # nothing but line breaks so far
        self._start_id, self._end_id = start_id, end_id
        self._close_ids = tuple(close_ids)
        self._budget, self._reserve = budget, reserve
        self._num_tokens = 0  # of thinking
        self.owes_answer = False  # closed by force, and no word behind it yet

    def take(self, token_id: int) -> None:
        """Note the answer's next token."""
        if self.is_open and token_id == self._end_id:
            self.is_open = False
        elif self.is_open:
            self._num_tokens += 1
        elif self._is_at_start and token_id == self._start_id:
            self.is_open = True
        elif token_id not in self._close_ids:
            self.owes_answer = False
        self._is_at_start = self._is_at_start and token_id in self._close_ids and token_id != self._end_id

    def must_close(self, num_left: int) -> bool:
        """Whether the closing has to come now; `num_left` is how many tokens may still come."""
        if not self.is_open or num_left < 2:  # one token is no room for both
            return False
        is_used_up = self._budget is not None and self._num_tokens >= self._budget
        return is_used_up or (self._reserve > 0 and num_left <= self._reserve + len(self._close_ids))

    def close(self, num_left: int) -> list[int]:
        """Close the block; returns the tokens to force."""
        self.is_open, self._is_at_start, self.owes_answer = False, False, True
        if num_left <= len(self._close_ids) and self._end_id is not None:
            return [self._end_id]
        return list(self._close_ids)
