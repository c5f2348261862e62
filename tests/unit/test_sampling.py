"""Choosing tokens, checked against plain numpy and by counting draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regard.errors import ConfigError
from regard.sampling import Sampler, keep_min_p, keep_top_k, keep_top_p, narrow, penalize
from regard.sampling_params import SamplingParams

LOGITS = torch.tensor([1.0, 3.0, 2.0, -1.0, 3.0, 0.5, -2.0, 2.5])
NUM_DRAWS = 4000
# Five standard deviations of a share estimated from NUM_DRAWS draws, at its widest (p = 1/2).
SHARE_TOLERANCE = 5 * 0.5 / NUM_DRAWS**0.5


def numpy_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max())
    return shifted / shifted.sum()


def kept(logits: torch.Tensor) -> list[int]:
    return torch.nonzero(torch.isfinite(logits)).flatten().tolist()


def draws(params: SamplingParams, logits: torch.Tensor = LOGITS, num: int = NUM_DRAWS) -> np.ndarray:
    """Shares of each token over independent draws from one seeded generator."""
    sampler = Sampler(params, [])
    return np.bincount([sampler.choose(logits) for _ in range(num)], minlength=len(logits)) / num


def test_temperature_zero_takes_the_largest_logit_and_the_lowest_id_of_equals() -> None:
    assert Sampler(SamplingParams(), []).choose(LOGITS) == 1
    assert Sampler(SamplingParams(), []).choose(torch.zeros(50_000)) == 0


def test_greedy_ignores_the_seed() -> None:
    assert {Sampler(SamplingParams(seed=seed), []).choose(LOGITS) for seed in range(20)} == {1}


def test_plain_sampling_draws_from_the_softmax() -> None:
    shares = draws(SamplingParams(temperature=1.0, seed=0))
    assert np.abs(shares - numpy_softmax(LOGITS.numpy())).max() < SHARE_TOLERANCE


def test_temperature_divides_the_logits() -> None:
    shares = draws(SamplingParams(temperature=0.5, seed=0))
    assert np.abs(shares - numpy_softmax(LOGITS.numpy() / 0.5)).max() < SHARE_TOLERANCE


def test_a_tiny_temperature_is_nearly_greedy_and_never_not_a_number() -> None:
    assert draws(SamplingParams(temperature=1e-30, seed=0), torch.tensor([1e4, 2e4, -1e4]), 50)[1] == 1.0


def test_the_same_seed_gives_the_same_tokens_and_another_gives_others() -> None:
    def tokens(seed: int) -> list[int]:
        sampler = Sampler(SamplingParams(temperature=1.0, seed=seed), [])
        return [sampler.choose(LOGITS) for _ in range(40)]

    assert tokens(7) == tokens(7)
    assert tokens(7) != tokens(8)


def test_without_a_seed_two_samplers_differ() -> None:
    """40 draws from eight tokens agree by chance less than once in 10^16."""
    samplers = [Sampler(SamplingParams(temperature=1.0), []) for _ in range(2)]
    first, second = ([sampler.choose(LOGITS) for _ in range(40)] for sampler in samplers)
    assert first != second


def test_a_sampler_does_not_touch_the_global_generator() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    draws(SamplingParams(temperature=1.0, seed=0), num=5)
    assert torch.equal(before, torch.get_rng_state())


def test_top_k_keeps_the_k_largest_and_of_equals_the_lowest_ids() -> None:
    assert kept(keep_top_k(LOGITS, 3)) == [1, 4, 7]
    assert kept(keep_top_k(LOGITS, 1)) == [1]
    assert kept(keep_top_k(torch.zeros(6), 2)) == [0, 1]


def test_top_k_beyond_the_vocabulary_keeps_all() -> None:
    assert kept(narrow(LOGITS, SamplingParams(temperature=1.0, top_k=100))) == list(range(len(LOGITS)))


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.8, 0.95, 0.999])
def test_top_p_keeps_the_smallest_set_that_reaches_p(p: float) -> None:
    probabilities = numpy_softmax(LOGITS.numpy().astype(np.float64))
    order = np.argsort(-probabilities, kind="stable")
    num_kept = int(np.searchsorted(np.cumsum(probabilities[order]), p)) + 1
    assert kept(keep_top_p(LOGITS, p)) == sorted(order[:num_kept].tolist())


def test_min_p_is_relative_to_the_likeliest_token() -> None:
    probabilities = numpy_softmax(LOGITS.numpy())
    for p in (0.05, 0.3, 0.9, 1.0):
        assert kept(keep_min_p(LOGITS, p)) == np.flatnonzero(probabilities >= p * probabilities.max()).tolist()


def test_top_p_is_taken_over_what_top_k_left() -> None:
    """Over all eight tokens the two likeliest have 0.62 of the probability; over four they have 0.67."""
    params = SamplingParams(temperature=1.0, top_k=4, top_p=0.65)
    assert kept(narrow(LOGITS, params)) == [1, 4]
    assert kept(keep_top_p(LOGITS, 0.65)) == [1, 4, 7]


def test_sampling_after_narrowing_draws_from_the_renormalised_rest() -> None:
    shares = draws(SamplingParams(temperature=1.0, top_k=3, seed=0))
    expected = np.zeros(len(LOGITS))
    expected[[1, 4, 7]] = numpy_softmax(LOGITS.numpy()[[1, 4, 7]])
    assert np.abs(shares - expected).max() < SHARE_TOLERANCE
    assert not shares[[0, 2, 3, 5, 6]].any()


def test_repetition_penalty_pulls_both_signs_down_for_prompt_and_answer_once_each() -> None:
    params = SamplingParams(repetition_penalty=2.0)
    penalized = penalize(LOGITS, torch.tensor([1, 3]), torch.tensor([1, 2, 2]), params)
    assert penalized.tolist() == [1.0, 1.5, 1.0, -2.0, 3.0, 0.5, -2.0, 2.5]


def test_presence_and_frequency_count_only_the_answer() -> None:
    params = SamplingParams(presence_penalty=0.5, frequency_penalty=0.25)
    penalized = penalize(LOGITS, torch.tensor([0, 4]), torch.tensor([1, 2, 2]), params)
    assert penalized.tolist() == [1.0, 2.25, 1.0, -1.0, 3.0, 0.5, -2.0, 2.5]


def test_penalties_change_greedy_choices_too() -> None:
    sampler = Sampler(SamplingParams(presence_penalty=2.0), [])
    assert [sampler.choose(LOGITS) for _ in range(4)] == [1, 4, 7, 2]


def test_rows_without_a_token_are_never_chosen() -> None:
    sampler = Sampler(SamplingParams(), [], num_token_ids=4)
    assert sampler.choose(LOGITS) == 1
    sampler = Sampler(SamplingParams(temperature=100.0, seed=0), [], num_token_ids=4)
    assert max(sampler.choose(LOGITS) for _ in range(300)) == 3


def test_the_callers_logits_stay_as_they_were() -> None:
    logits = LOGITS.clone()
    sampler = Sampler(SamplingParams(temperature=1.0, top_k=2, presence_penalty=1.0, seed=0), [1], num_token_ids=5)
    for _ in range(3):
        sampler.choose(logits)
    assert torch.equal(logits, LOGITS)


def test_half_precision_logits_are_chosen_from_in_float32() -> None:
    assert Sampler(SamplingParams(temperature=0.7, top_p=0.5, seed=3), []).choose(LOGITS.bfloat16()) in (1, 4, 7)


@pytest.mark.parametrize(
    ("option", "value"),
    [("temperature", -0.1), ("top_p", 0.0), ("top_k", -1), ("min_p", 1.1), ("repetition_penalty", 0.0)],
)
def test_an_impossible_option_is_refused_with_its_value_and_limit(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"{option} is {value}; it must be"):
        SamplingParams(**{option: value})
