"""Stop strings over a stream of ids, for one answer.

    watch = StopWatch(tokenizer, ("END",), skip_special=True)
    found = watch.push(token_id)     a Found as soon as one is complete
    watch.text                       the answer so far

A stop string may begin in `before`, the text in front of the answer, but must end in the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regard.processing.tokenizer import IncrementalDecoder, Tokenizer


@dataclass(frozen=True)
class Found:
    """A stop string and where it lies in the answer's text; `start` is below 0 if it begins before the answer."""

    stop: str
    start: int
    end: int


class StopWatch:
    """Decodes an answer and looks for stop strings in what is new."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str], *, skip_special: bool, before: str = "") -> None:
        self._decoder = IncrementalDecoder(tokenizer, skip_special)
        self._stops, self._before = tuple(stops), before
        self.text = ""

    def push(self, token_id: int, *, is_early: bool = False) -> Found | None:
        """Take the next id; the stop string that is complete first, if any. `is_early`: none counts yet."""
        num_before = len(self._before) + len(self.text)
        piece = self._decoder.push(token_id)
        self.text += piece
        if is_early or not piece or not self._stops:
            return None
        whole = self._before + self.text
        found = []
        for stop in self._stops:
            start = whole.find(stop, max(0, num_before - len(stop) + 1))
            if start >= 0:
                found.append((start + len(stop), start, stop))
        if not found:
            return None
        end, start, stop = min(found)
        return Found(stop, start - len(self._before), end - len(self._before))

    def finish(self) -> None:
        """Add what was left of an incomplete character."""
        self.text += self._decoder.flush()
