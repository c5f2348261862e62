"""Answers that go round in circles: an exactly repeated tail is found, and the model is led out of it or stopped.

    ... the cat sat. | the cat sat. | the cat sat. | the cat sat.      period 4, 16 tokens looped

**Finding** (`TailPeriods`). The smallest period of a text is its length minus its longest border, which the prefix
function of Knuth, Morris and Pratt keeps up to date. A loop begins anywhere, so a new prefix function is begun every
`min_tokens // 2` tokens and dropped once its text can have no period up to `max_period`. A tail that is long enough to
matter holds one of these beginnings, at least two periods back, so what is found equals a search through all periods;
the cost is O(max_period / min_tokens) per token, amortised, about a microsecond.

**Judging** (`RepetitionGuard`). Honest text repeats itself too: rows of equal cells, lines of dots, serial numbers.
What tells a loop from these is how much is said again: a row of zeros has three different tokens, a paragraph sixty.
So the repetitions that it takes fall with the number of different tokens in the period:

    repeats needed = 1024 / different tokens, at least 5 and at most 64;   and at least 512 looped tokens

    "0000..."                       512 tokens        a row of 3 different tokens     64 rows
    a sentence of 25                 40 times         a paragraph of 100              10 times, of 200 and more 5 times

Under a structure twice as much is needed: its answer is completed in any case. What the prompt itself repeats may be
copied: as many tokens as its longest such run are added to what is needed.

**Leading out.** What was streamed stays, so there is no way back: the engine forbids, for one place, the token that
would go on with the loop. After `MAX_ESCAPES` of these, each for half as long a loop as the one before, thinking is
closed, a structured answer is completed by the shortest way, and any other ends with the reason "repetition". It all
follows from the tokens alone: streamed or not, in a batch or not, guessed or not, the answer is the same.

It does not know text, and not what a user wants: who asks for the same word a thousand times turns it off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MIN_TOKENS = 512  # looped, whatever the period
MAX_PERIOD = 1024
MIN_REPEATS, MAX_REPEATS = 5, 64
NOVELTY = 1024  # different tokens of the period, times its repeats
STRUCTURE_PATIENCE = 2
MAX_ESCAPES = 2


@dataclass(frozen=True, slots=True)
class Loop:
    """The last `length` tokens repeat every `period` tokens; the period is the smallest."""

    period: int
    length: int


class TailPeriods:
    """Fed token by token; tells the smallest period with which enough of the tail repeats.

    Enough are `min_tokens` tokens and `min_repeats` periods (4 or more: see the module's text).
    """

    def __init__(self, *, min_tokens: int, min_repeats: int, max_period: int) -> None:
        assert min_repeats >= 4 and min_tokens >= 2, "a tail must hold a beginning two periods back"
        self.ids: list[int] = []
        self._min_tokens, self._min_repeats, self._max_period = min_tokens, min_repeats, max_period
        self._beginnings: list[_Beginning] = []  # the oldest first

    def extend(self, token_id: int) -> Loop | None:
        """Note the next token and return the loop at the tail."""
        ids = self.ids
        ids.append(token_id)
        if (len(ids) - 1) % (self._min_tokens // 2) == 0:
            self._beginnings.append(_Beginning(len(ids) - 1))
        found: Loop | None = None
        kept: list[_Beginning] = []
        older: _Beginning | None = None
        for one in self._beginnings:
            if one.extend(ids) > self._max_period:
                continue
            kept.append(one)
            if 2 * one.period <= len(one.borders):
                one.find_run(ids, older)
                older = one
                length = len(ids) - one.run_start
                if length >= max(self._min_tokens, self._min_repeats * one.period):
                    found = Loop(one.period, length)  # a later beginning has the smaller period
        # Two that reach back over two of the longest periods are in one run: the newer is enough.
        if len(kept) > 1 and len(kept[1].borders) >= 2 * self._max_period:
            del kept[0]
        self._beginnings = kept
        return found


class _Beginning:
    """The prefix function of the text from one place on, and the run of its period."""

    __slots__ = ("borders", "period", "run_period", "run_start", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.borders: list[int] = []  # for each length, that of the longest border
        self.period = 0  # the smallest, of all from `start` on
        self.run_period = self.run_start = 0  # what `run_start` was found for

    def extend(self, ids: Sequence[int]) -> int:
        """Take the newest token; returns the period."""
        borders, start, token_id = self.borders, self.start, ids[-1]
        length = 0
        if borders:
            length = borders[-1]
            while length and ids[start + length] != token_id:
                length = borders[length - 1]
            if ids[start + length] == token_id:
                length += 1
        borders.append(length)
        self.period = len(borders) - length
        return self.period

    def find_run(self, ids: Sequence[int], older: _Beginning | None) -> None:
        """Find how far the period reaches back before `start`; `older` may be in the same run."""
        period = self.period
        if self.run_period == period:
            return
        if older is not None and older.period == period:
            place = older.run_start
        else:
            place = self.start
            while place and ids[place - 1] == ids[place - 1 + period]:
                place -= 1
        self.run_period, self.run_start = period, place


class RepetitionGuard:
    """Watches one answer to a prompt. `is_structured`: a structure holds it, so more patience is shown."""

    def __init__(self, prompt_ids: Sequence[int], *, is_structured: bool = False) -> None:
        self._prompt_ids = prompt_ids
        self._patience = STRUCTURE_PATIENCE if is_structured else 1
        self._tails = _tails()
        self._run: tuple[int, int] | None = None  # period and start of the loop that `_needed` is for
        self._needed = 0
        self._avoided: int | None = None
        self.num_escapes = 0

    @property
    def is_at_end(self) -> bool:
        """Whether the next loop is not escaped from any more."""
        return self.num_escapes >= MAX_ESCAPES

    def extend(self, token_id: int) -> int | None:
        """Note the answer's next token; returns the token that would go on with a loop, or None if all is well."""
        if self._avoided is not None and token_id != self._avoided:
            self.num_escapes += 1  # where a structure allows nothing else, the loop goes on and is told again
        self._avoided = None
        loop = self._tails.extend(token_id)
        if loop is None:
            return None
        ids = self._tails.ids
        run = (loop.period, len(ids) - loop.length)
        if run != self._run:
            self._run = run
            # Once led out of a loop, the next is believed sooner.
            self._needed = self._patience * tokens_needed(ids[-loop.period :]) >> self.num_escapes
            self._needed += longest_run(self._prompt_ids, ids[-loop.period :])
        if loop.length < self._needed:
            return None
        self._avoided = ids[-loop.period]
        return self._avoided

    def begin_anew(self) -> None:
        """Forget the past: what follows is another text."""
        self._tails = _tails()
        self._run, self._avoided, self.num_escapes = None, None, 0


def _tails() -> TailPeriods:
    return TailPeriods(min_tokens=MIN_TOKENS, min_repeats=MIN_REPEATS, max_period=MAX_PERIOD)


def tokens_needed(period_ids: Sequence[int]) -> int:
    """Return how many tokens must have looped before no honest text does that; `period_ids` is one period."""
    repeats = min(max(NOVELTY // len(set(period_ids)), MIN_REPEATS), MAX_REPEATS)
    return max(MIN_TOKENS, repeats * len(period_ids))


def longest_run(ids: Sequence[int], period_ids: Sequence[int]) -> int:
    """Return the most tokens in a row, two periods or more, in which `ids` repeats this period; 0 if it does not."""
    period, twice = len(period_ids), [*period_ids, *period_ids]
    best = num_equal = 0
    for place in range(period, len(ids) + 1):
        if place < len(ids) and ids[place] == ids[place - period]:
            num_equal += 1
            continue
        if num_equal >= period and period + num_equal > best:
            first = list(ids[place - period : place])
            if any(twice[i : i + period] == first for i in range(period)):
                best = period + num_equal
        num_equal = 0
    return best
