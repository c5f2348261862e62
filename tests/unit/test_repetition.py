"""Loops are found exactly and early enough, and text that only looks like one is left alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain, cycle, islice, repeat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.engine.repetition import (
    MAX_ESCAPES,
    MIN_REPEATS,
    MIN_TOKENS,
    NOVELTY,
    Loop,
    RepetitionGuard,
    TailPeriods,
    longest_run,
    tokens_needed,
)
from regard.processing.tokenizer import Tokenizer

SMALL = {"min_tokens": 8, "min_repeats": 4, "max_period": 9}


def search(ids: Sequence[int], *, min_tokens: int, min_repeats: int, max_period: int) -> Loop | None:
    """The truth: every period is tried, the smallest first."""
    for period in range(1, max_period + 1):
        length = period
        while length < len(ids) and ids[-1 - length] == ids[-1 - length + period]:
            length += 1
        if length >= max(min_tokens, min_repeats * period) and length <= len(ids):
            return Loop(period, length)
    return None


def first_alarm(ids: Sequence[int], prompt_ids: Sequence[int] = (), **options: bool) -> int | None:
    """How many tokens are read when the guard first speaks."""
    guard = RepetitionGuard(prompt_ids, **options)
    return next((place for place, token_id in enumerate(ids, 1) if guard.extend(token_id) is not None), None)


def words(num: int, seed: int = 0) -> list[int]:
    """Different ids."""
    return random.Random(seed).sample(range(100_000), num)


@settings(deadline=None)  # a busy machine is not a mistake
@given(st.lists(st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=9), st.integers(1, 12)), max_size=8))
def test_what_is_found_token_by_token_is_what_a_search_through_all_periods_finds(
    stretches: list[tuple[list[int], int]],
) -> None:
    ids = list(chain.from_iterable(piece * times for piece, times in stretches))
    tails = TailPeriods(**SMALL)
    for place, token_id in enumerate(ids, 1):
        assert tails.extend(token_id) == search(ids[:place], **SMALL), ids[:place]


def test_long_random_texts_of_loops_within_loops_agree_with_the_search() -> None:
    """Loops that begin inside others, are left by one token, and come back."""
    rng = random.Random(5)
    num_found = 0
    for _ in range(40):
        ids: list[int] = []
        tails = TailPeriods(**SMALL)
        while len(ids) < 250:
            kind = rng.random()
            if kind < 0.5 and ids:
                span = ids[-rng.randint(1, min(len(ids), 12)) :]
                new = list(islice(cycle(span), rng.randint(1, 50)))
            else:
                new = [rng.randint(0, 3) for _ in range(rng.randint(1, 5))]
            for token_id in new:
                ids.append(token_id)
                found = tails.extend(token_id)
                assert found == search(ids, **SMALL)
                num_found += found is not None
    assert num_found > 1000, "texts without loops prove little"


def test_the_cost_of_a_token_does_not_grow_with_the_text() -> None:
    """The beginnings that are kept are bounded, in loops and outside."""
    rng = random.Random(1)
    tails = TailPeriods(min_tokens=16, min_repeats=4, max_period=32)
    most = 0
    for token_id in chain((rng.randint(0, 3) for _ in range(3000)), repeat(1, 3000), islice(cycle(range(30)), 3000)):
        tails.extend(token_id)
        most = max(most, len(tails._beginnings))
    assert most <= 2 * 32 // 8 + 2


@pytest.mark.parametrize("period", [1, 2, 3, 7, 16, 31, 64, 100, 150, 199, 200])
def test_a_real_loop_is_stopped_however_long_its_period_is(period: int) -> None:
    before = words(700, seed=1)
    loop = words(period)
    heard = first_alarm([*before, *islice(cycle(loop), 20_000)])
    assert heard is not None
    assert heard - len(before) == tokens_needed(loop) <= max(MIN_TOKENS, NOVELTY + period)


def test_every_period_up_to_200_is_heard_at_its_threshold_and_not_before() -> None:
    for period in range(1, 201):
        loop = words(period, seed=period)
        text = list(islice(cycle(loop), tokens_needed(loop)))
        assert first_alarm(text[:-1]) is None and first_alarm(text) == len(text), period


def test_a_long_paragraph_is_stopped_within_five_repeats() -> None:
    paragraph = words(600)
    heard = first_alarm(list(islice(cycle(paragraph), 10_000)))
    assert heard == MIN_REPEATS * 600


@pytest.fixture(scope="module")
def tokenizer(nano_folder: Path) -> Tokenizer:
    return Tokenizer.from_folder(nano_folder)


HONEST = {
    "a serial number of zeros": "Serial number: " + "0" * 200 + ".\n",
    "a line of dots": "Contents\n" + "".join(f"Chapter {i} {'.' * 90} {i * 7}\n" for i in range(40)),
    "forty equal rows": "| a | b | c |\n|---|---|---|\n" + "| 0 | 0 | 0 |\n" * 40,
    "forty rows of twelve equal cells": ("| 0.00 " * 12 + "|\n") * 40,
    "forty equal rows of words": "| Main Street 5 | open | pending |\n" * 40,
    "an html table of equal cells": "<table>" + ("<tr>" + "<td>0</td>" * 10 + "</tr>\n") * 40 + "</table>",
    "a grid of pixels": "[" + ", ".join("[" + ", ".join("0" * 16) + "]" for _ in range(16)) + "]",
    "a chorus": ("We will, we will rock you\nSing it out\n" * 4 + "A verse that is sung only once.\n") * 3,
    "a form that is printed four times": ("Name: ____ Date: ____ Signature: ____ " + "I agree to the terms. " * 3) * 4,
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_text_passes(tokenizer: Tokenizer, name: str) -> None:
    assert first_alarm(tokenizer.encode(HONEST[name])) is None


LOOPS = {
    "a sentence": "The cat sat on the mat and looked at the bird. ",
    "a list item": "- the item is in the list\n",
    "a doubt": "Wait, let me check that again. The number is 42, so the answer is 42. But is it right? ",
    "a row that never ends": "| 12.5 | 13.5 | open |\n",
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_sentence_without_end_is_stopped(tokenizer: Tokenizer, name: str) -> None:
    one = tokenizer.encode(LOOPS[name])
    heard = first_alarm(tokenizer.encode("First. ") + tokenizer.encode(LOOPS[name] * 100))
    assert heard is not None and heard <= max(MIN_TOKENS, 64 * len(one)) + len(one) + 10


def test_what_the_prompt_repeats_may_be_copied() -> None:
    row, copies = words(20), 80
    copied = row * copies
    assert first_alarm(copied) is not None
    assert first_alarm(copied, [1, 2, 3, *copied, 4]) is None
    assert first_alarm(row * 200, [1, 2, 3, *copied, 4]) is not None, "more than there was to copy"
    assert first_alarm(copied, words(20, seed=9) * copies) is not None, "another row in the prompt"


def test_the_longest_run_of_the_prompt_is_that_of_the_same_period_in_any_rotation() -> None:
    assert longest_run([9, 1, 2, 3, 1, 2, 3, 1, 9, 1, 2, 3, 1, 2, 3], [3, 1, 2]) == 7
    assert longest_run([1, 2, 3, 9, 1, 2, 3], [1, 2, 3]) == 0
    assert longest_run([7] * 10, [1]) == 0
    assert longest_run([], [1]) == 0


def test_a_structured_answer_is_waited_for_twice_as_long() -> None:
    text = words(8) * 200
    plain = first_alarm(text)
    assert plain is not None and first_alarm(text, is_structured=True) == 2 * plain


def test_a_token_that_leads_out_counts_and_the_next_loop_is_believed_sooner() -> None:
    loop = words(12)
    guard = RepetitionGuard([])
    lengths = []
    stream = cycle(loop)
    for escapes in range(MAX_ESCAPES + 1):
        assert guard.num_escapes == escapes and guard.is_at_end == (escapes == MAX_ESCAPES)
        count = 0
        while True:
            count += 1
            avoided = guard.extend(next(stream))
            if avoided is not None:
                break
        lengths.append(count)
        guard.extend(-1)  # the way out
    assert lengths[0] == tokens_needed(loop) and lengths == sorted(lengths, reverse=True) and lengths[-1] < lengths[0]


def test_where_a_grammar_allows_nothing_else_the_loop_is_told_again_and_no_escape_counts() -> None:
    loop = words(3)
    guard = RepetitionGuard([])
    heard = [guard.extend(token_id) for token_id in islice(cycle(loop), MIN_TOKENS + 5)]
    assert heard[MIN_TOKENS - 1 :] == [loop[(MIN_TOKENS + i) % 3] for i in range(6)]
    assert guard.num_escapes == 0
