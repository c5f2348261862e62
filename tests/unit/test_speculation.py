"""Guesses by looking back, and the rule that keeps answers what they would have been."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.engine.sampler import RowState, sample
from regard.engine.speculation import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MISSES_BEFORE_PAUSE,
    PromptLookup,
    ProposalLength,
    num_agreed,
)
from regard.sampling_params import SamplingParams

PAD, END = 90, 91
NUM_IDS = 6


def proposal(ids: list[int], max_tokens: int = 4) -> list[int]:
    return PromptLookup(ids, never_ids=[PAD], end_ids=[END]).propose(max_tokens)


def slow_proposal(ids: list[int], num_tokens: int) -> list[int]:
    """The definition: search backwards for the longest ending, copy what follows, on into the copy."""
    for n in (4, 3, 2):
        for place in range(len(ids) - 1, n - 1, -1):
            if ids[place - n : place] == ids[-n:] and ids[place] != PAD:
                copied = list(ids)
                for source in range(place, place + num_tokens):
                    if copied[source] == PAD:
                        break
                    copied.append(copied[source])
                    if copied[-1] == END:
                        break
                return copied[len(ids) :]
    return []


def test_what_followed_the_last_occurrence_is_proposed() -> None:
    assert proposal([1, 2, 3, 4, 5, 9, 1, 2]) == [3, 4, 5, 9]
    assert proposal([1, 2, 3, 1, 2, 7, 8, 1, 2], 2) == [7, 8]


def test_a_longer_match_beats_a_later_one() -> None:
    assert proposal([5, 1, 2, 3, 0, 1, 2, 4, 0, 5, 1, 2], 1) == [3]


def test_nothing_is_proposed_without_a_match_of_two_tokens() -> None:
    assert proposal([1, 2, 3, 4]) == []
    assert proposal([1, 5, 1]) == []
    assert proposal([]) == proposal([1]) == []
    assert proposal([1, 2, 1, 2], 0) == []


def test_a_period_is_continued_beyond_the_end_of_the_text() -> None:
    assert proposal([8, 1, 2, 3, 1, 2, 3], 4) == [1, 2, 3, 1]
    assert proposal([7, 7, 7], 4) == [7, 7, 7, 7]


def test_a_proposal_stops_before_a_visual_pad_and_after_an_end() -> None:
    assert proposal([1, 2, 3, PAD, 5, 1, 2]) == [3]
    assert proposal([1, 2, 3, END, 5, 1, 2]) == [3, END]
    assert proposal([1, 2, PAD, 5, 1, 2]) == []
    assert proposal([0, 1, 2, 3, 1, 2, PAD, 1, 2]) == [3, 1, 2]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([1, 2, 3, PAD, END]), max_size=40), st.integers(1, 4))
def test_the_index_finds_what_a_search_would_find(ids: list[int], num_tokens: int) -> None:
    lookup = PromptLookup(ids[:10], never_ids=[PAD], end_ids=[END])
    for token_id in ids[10:]:
        lookup.extend(token_id)
    assert lookup.propose(num_tokens) == slow_proposal(ids, num_tokens)


def test_guesses_are_kept_up_to_the_first_wrong_one() -> None:
    assert num_agreed([5, 6, 7], [5, 6]) == 2
    assert num_agreed([5, 9, 7], [5, 6]) == 1
    assert num_agreed([4, 6, 7], [5, 6]) == 0
    assert num_agreed([4], []) == 0


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
    options=st.sampled_from([{}, {"top_k": 3}, {"top_p": 0.7}, {"presence_penalty": 1.0, "repetition_penalty": 1.3}]),
)
def test_an_answer_with_guesses_is_the_answer_without(seed: int, temperature: float, options: dict[str, float]) -> None:
    """A model whose next logits depend on the last token only, so that its answers repeat and guesses often agree."""
    table = torch.randn(NUM_IDS, NUM_IDS, generator=torch.Generator().manual_seed(seed)) * 3
    params = SamplingParams(temperature=temperature, seed=seed, max_tokens=60, **options)
    prompt = [0, 1, 2, 0, 1]
    plain = RowState(params, prompt, num_token_ids=NUM_IDS)
    last = prompt[-1]
    while len(plain.output_ids) < params.max_tokens:
        last = sample(table[last][None], [plain])[0].token_id
        plain.append(last)

    state = RowState(params, prompt, num_token_ids=NUM_IDS)
    lookup = PromptLookup(prompt)
    num_kept = 0
    ids = list(prompt)
    while len(state.output_ids) < params.max_tokens:
        proposed = lookup.propose(params.max_tokens - len(state.output_ids) - 1)
        ahead = [proposed[:i] for i in range(len(proposed) + 1)]
        found = sample(table[[ids[-1], *proposed]], [state] * len(ahead), ahead=ahead)
        agreed = num_agreed([one.token_id for one in found], proposed)
        lookup.length.learn(len(proposed), agreed)
        num_kept += agreed
        for one in found[: agreed + 1]:
            ids.append(one.token_id)
            state.append(one.token_id)
            lookup.extend(one.token_id)
    assert state.output_ids == plain.output_ids
    if temperature == 0 and not options:
        assert num_kept > 20


def test_full_agreement_lengthens_and_partial_agreement_sets_the_length() -> None:
    length = ProposalLength(16)
    seen = []
    for _ in range(4):
        seen.append(length.next())
        length.learn(seen[-1], seen[-1])
    assert seen == [4, 8, 16, 16]
    length.learn(16, 5)
    assert length.next() == 6


def test_an_agreement_on_a_short_proposal_does_not_shorten() -> None:
    length = ProposalLength(16)
    length.learn(4, 4)
    length.learn(1, 1)
    assert length.next() == 8


def test_misses_shorten_and_then_pause_for_longer_each_time() -> None:
    length = ProposalLength(16)

    def miss_until_pause() -> int:
        for _ in range(MISSES_BEFORE_PAUSE):
            proposed = length.next()
            assert proposed >= 1
            length.learn(proposed, 0)
        pause = 0
        while length.next() == 0:
            pause += 1
        return pause

    pauses = [miss_until_pause() for _ in range(6)]
    assert pauses == [FIRST_PAUSE, 16, 32, 64, LONGEST_PAUSE, LONGEST_PAUSE]
    length.learn(1, 1)
    assert miss_until_pause() == FIRST_PAUSE


def test_proposals_of_nothing_teach_nothing() -> None:
    length = ProposalLength(16)
    for _ in range(10):
        length.learn(0, 0)
    assert length.next() == 4
