"""The batched sampler against the naive one, row by row, and against the distribution it must draw from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.engine.sampler import MAX_COMPACT, RowState, Sampled, sample, score
from regard.errors import ConfigError
from regard.sampling import Sampler, narrow, weights
from regard.sampling_params import SamplingParams, Structure

NUM_ROWS_OF_LOGITS, NUM_IDS = 70, 67  # three padding rows
END_ID = 5
NUM_STEPS = 4
NUM_DRAWS = 20_000
# Expected total variation of NUM_DRAWS draws over 12 tokens is at most sqrt(12 / NUM_DRAWS) / 2 = 0.012.
TOTAL_VARIATION = 0.03

PARAMS = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.0, 1e-30, 0.3, 0.7, 1.0, 1.5, 10.0]),
    top_p=st.sampled_from([1.0, 1.0, 0.999, 0.95, 0.8, 0.5, 0.25, 0.01]),
    top_k=st.sampled_from([0, 0, 1, 2, 5, 20, 66, 67, 68, 100]),
    min_p=st.sampled_from([0.0, 0.0, 0.05, 0.5, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 1.0, 1.3, 0.7]),
    presence_penalty=st.sampled_from([0.0, 0.0, 1.5, -0.4]),
    frequency_penalty=st.sampled_from([0.0, 0.0, 0.37, -2.0]),
    seed=st.integers(0, 2**32),
    logit_bias=st.dictionaries(st.integers(0, NUM_IDS - 1), st.sampled_from([-100.0, -1.5, 0.1, 4.0]), max_size=3),
    min_tokens=st.sampled_from([0, 0, 2]),
    stop_token_ids=st.sampled_from([(), (9,), (1, 60)]),
)


def pack(allowed: torch.Tensor) -> torch.Tensor:
    """(B, V) bool to (B, ceil(V / 32)) int32, bit i of word w is id 32 w + i."""
    padded = np.zeros((len(allowed), -(-allowed.shape[1] // 32) * 32), dtype=bool)
    padded[:, : allowed.shape[1]] = allowed.numpy()
    return torch.from_numpy(np.packbits(padded, axis=1, bitorder="little").view(np.int32))


def row(params: SamplingParams, prompt_ids: list[int] | None = None, index: int = 0) -> RowState:
    return RowState(params, prompt_ids or [], num_token_ids=NUM_IDS, end_ids=[END_ID], index=index)


def tokens(sampled: list[Sampled]) -> list[int]:
    return [one.token_id for one in sampled]


def random_logits(num_rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(num_rows, NUM_ROWS_OF_LOGITS, generator=torch.Generator().manual_seed(seed)) * 3


@settings(max_examples=80, deadline=None, derandomize=True)
@given(data=st.data())
def test_each_row_of_a_batch_is_what_the_naive_sampler_chooses(data: st.DataObject) -> None:
    all_params = data.draw(st.lists(PARAMS, min_size=1, max_size=6))
    prompts = [data.draw(st.lists(st.integers(0, NUM_IDS - 1), max_size=8)) for _ in all_params]
    rows = [row(params, prompt) for params, prompt in zip(all_params, prompts, strict=True)]
    naive = [
        Sampler(params, prompt, num_token_ids=NUM_IDS, end_ids=[END_ID])
        for params, prompt in zip(all_params, prompts, strict=True)
    ]
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32)))
    has_ties, is_masked = data.draw(st.booleans()), data.draw(st.booleans())
    for _ in range(NUM_STEPS):
        logits = torch.randn(len(rows), NUM_ROWS_OF_LOGITS, generator=generator) * 4
        if has_ties:
            logits = logits.div(3).round()
        allowed = None
        if is_masked:
            allowed = torch.rand(len(rows), NUM_ROWS_OF_LOGITS, generator=generator) < 0.3
            allowed[:, 7] = True
        expected = [
            sampler.choose(one, None if allowed is None else allowed[i])
            for i, (sampler, one) in enumerate(zip(naive, logits, strict=True))
        ]
        found = tokens(sample(logits, rows, allowed_BW=None if allowed is None else pack(allowed)))
        assert found == expected
        for state, token_id in zip(rows, found, strict=True):
            state.append(token_id)


def test_a_vocabulary_of_the_family_is_sampled_like_the_naive_sampler_does() -> None:
    """Wide enough that each group of rows takes its own way: unsorted, k columns, all sorted."""
    num_ids = 9000
    logits = (torch.randn(6, num_ids, generator=torch.Generator().manual_seed(1)) * 4).bfloat16()  # many ties
    choices = [
        SamplingParams(),
        SamplingParams(temperature=1.0, seed=1),
        SamplingParams(temperature=1.0, seed=2, top_k=20, top_p=0.8),
        SamplingParams(temperature=1.2, seed=3, top_p=0.9, min_p=0.001),
        SamplingParams(temperature=0.9, seed=4, top_k=MAX_COMPACT + 1),
        SamplingParams(temperature=0.9, seed=5, top_k=MAX_COMPACT, presence_penalty=1.0),
    ]
    rows = [RowState(params, [3], num_token_ids=num_ids) for params in choices]
    naive = [Sampler(params, [3], num_token_ids=num_ids) for params in choices]
    for _ in range(10):
        expected = [sampler.choose(one) for sampler, one in zip(naive, logits, strict=True)]
        found = tokens(sample(logits, rows))
        assert found == expected
        for state, token_id in zip(rows, found, strict=True):
            state.append(token_id)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_greedy_batch_takes_the_first_of_equals_and_no_padding(dtype: torch.dtype) -> None:
    logits = torch.zeros(3, NUM_ROWS_OF_LOGITS, dtype=dtype)
    logits[1, 40] = logits[1, 12] = 2.0
    logits[2, NUM_IDS:] = 9.0
    assert tokens(sample(logits, [row(SamplingParams())] * 3)) == [0, 12, 0]


def test_padding_is_never_drawn() -> None:
    logits = torch.zeros(50, NUM_ROWS_OF_LOGITS)
    logits[:, NUM_IDS:] = 50.0
    choices = [{}, {"top_k": 10}, {"top_p": 0.99}, {"min_p": 0.5}]
    rows = [row(SamplingParams(temperature=2.0, seed=i, **choices[i % 4])) for i in range(50)]
    assert max(tokens(sample(logits, rows))) < NUM_IDS


def test_a_seed_gives_the_same_tokens_whatever_else_is_in_the_batch() -> None:
    logits = random_logits(5)
    params = SamplingParams(temperature=1.0, top_k=30, seed=11)
    alone, among = row(params), row(params)
    others = [row(SamplingParams(temperature=t, top_p=0.9, seed=i)) for i, t in enumerate((0.0, 0.5, 1.0, 2.0))]
    for step in range(20):
        mine = random_logits(1, seed=step)
        first = sample(mine, [alone])[0].token_id
        batch = torch.cat([logits[: step % 5], mine, logits[step % 5 : 4]])
        rows = [*others[: step % 5], among, *others[step % 5 :]]
        second = sample(batch, rows)[rows.index(among)].token_id
        assert first == second
        alone.append(first)
        among.append(second)


def test_several_answers_to_one_prompt_differ_and_the_first_is_the_only_answers() -> None:
    logits = random_logits(1)
    params = SamplingParams(temperature=1.5, seed=3, n=3)

    def answer(index: int) -> list[int]:
        state = row(params, index=index)
        for _ in range(30):
            state.append(sample(logits, [state])[0].token_id)
        return state.output_ids

    first, second, third = answer(0), answer(1), answer(2)
    assert first != second != third != first
    naive = Sampler(params, [], num_token_ids=NUM_IDS)
    assert first == [naive.choose(logits[0]) for _ in range(30)]


@pytest.mark.parametrize(
    "options",
    [{}, {"top_k": 6}, {"top_p": 0.7}, {"min_p": 0.2}, {"top_k": 9, "top_p": 0.8, "min_p": 0.1}],
    ids=str,
)
def test_draws_follow_the_distribution_exactly(options: dict[str, float]) -> None:
    """12 tokens, compared with the softmax after narrowing: total variation, and nothing outside its support."""
    logits = torch.randn(12, generator=torch.Generator().manual_seed(4)) * 1.5
    params = SamplingParams(temperature=1.3, seed=0, **options)
    states = [RowState(params, [], num_token_ids=12, index=i) for i in range(20)]
    counts = np.zeros(12)
    for _ in range(NUM_DRAWS // len(states)):
        for state, one in zip(states, sample(logits.expand(len(states), -1), states), strict=True):
            counts[one.token_id] += 1
            state.append(one.token_id)
    expected = weights(narrow(logits, params))
    expected = (expected / expected.sum()).numpy()
    assert np.abs(counts / counts.sum() - expected).sum() / 2 < TOTAL_VARIATION
    assert not counts[expected == 0].any()


def test_each_token_costs_one_number_and_asking_costs_none() -> None:
    state, reference = row(SamplingParams(temperature=1.0, seed=8)), torch.Generator().manual_seed(8)
    numbers = torch.rand(5, dtype=torch.float64, generator=reference).tolist()
    assert [state.number(2), state.number(0), state.number(0)] == [numbers[2], numbers[0], numbers[0]]
    state.append(1)
    assert state.number(0) == numbers[1]
    state.append(1)  # forced by something else: a number is spent all the same
    state.append(1)
    state.append(1)
    assert state.number(0) == numbers[4]


def test_the_smallest_number_does_not_draw_an_excluded_token() -> None:
    """A running sum is 0 at all tokens before the first that is kept, and so is the number."""
    logits = torch.zeros(1, NUM_ROWS_OF_LOGITS)
    logits[0, 30] = 1.0
    for options in ({"min_p": 1.0}, {"top_k": 1}, {"top_p": 0.001}):
        state = row(SamplingParams(temperature=1.0, seed=0, **options))
        state._numbers = [0.0]
        assert tokens(sample(logits, [state])) == [30]


def test_both_zeros_are_equal_so_the_lowest_ids_are_kept() -> None:
    logits = torch.full((1, NUM_ROWS_OF_LOGITS), -50.0)
    logits[0, [3, 8]], logits[0, [10, 20]] = -0.0, 0.0
    drawn = [sample(logits, [row(SamplingParams(temperature=1.0, seed=i, top_k=2))])[0].token_id for i in range(40)]
    assert set(drawn) == {3, 8}


def test_rows_ahead_are_what_steps_one_by_one_would_be() -> None:
    """Penalties, `min_tokens` and draws see the guesses before a row as if they were there."""
    params = SamplingParams(
        temperature=1.0, seed=4, presence_penalty=1.0, frequency_penalty=0.5, repetition_penalty=1.2, min_tokens=3
    )
    guesses = [7, 7, 30]
    logits = random_logits(4)
    logits[:, END_ID] = 20.0
    one_by_one = row(params, [2])
    expected = []
    for i in range(4):
        expected += tokens(sample(logits[i : i + 1], [one_by_one]))
        if i < 3:
            one_by_one.append(guesses[i])
    state = row(params, [2])
    found = sample(logits, [state] * 4, ahead=[guesses[:i] for i in range(4)])
    assert tokens(found) == expected
    assert END_ID not in expected[:3] and expected[3] == END_ID
    assert state.output_ids == []


def test_logprobs_are_of_the_raw_model_without_padding() -> None:
    logits = random_logits(3, seed=9)
    expected = torch.log_softmax(logits[:, :NUM_IDS].double(), -1)
    rows = [
        row(SamplingParams(temperature=0.3, seed=1, num_logprobs=2, presence_penalty=2.0, logit_bias={4: 100.0})),
        row(SamplingParams()),
        row(SamplingParams(num_logprobs=0)),
    ]
    found = sample(logits, rows)
    assert found[0].token_id == 4
    assert found[0].logprob == pytest.approx(float(expected[0, 4]), abs=1e-5)
    best = torch.sort(expected[0], descending=True)
    assert [i for i, _ in found[0].alternatives] == best.indices[:2].tolist()
    assert [p for _, p in found[0].alternatives] == pytest.approx(best.values[:2].tolist(), abs=1e-5)
    assert found[1] == Sampled(int(logits[1, :NUM_IDS].argmax()))
    assert found[2].alternatives == ()
    assert found[2].logprob == pytest.approx(float(expected[2].max()), abs=1e-5)


def test_a_token_decided_elsewhere_is_scored_like_a_chosen_one() -> None:
    logits = random_logits(1)
    state = row(SamplingParams(num_logprobs=3))
    chosen = sample(logits, [state])[0]
    assert score(logits[0], state, chosen.token_id) == chosen
    other = score(logits[0], state, 8)
    assert other.token_id == 8 and other.alternatives == chosen.alternatives
    assert other.logprob == pytest.approx(float(torch.log_softmax(logits[0, :NUM_IDS], -1)[8]), abs=1e-5)


def test_more_alternatives_than_tokens_are_all_tokens() -> None:
    states = [RowState(SamplingParams(num_logprobs=20), [], num_token_ids=4) for _ in range(2)]
    found = sample(torch.tensor([[1.0, 3.0, 2.0, 0.0], [0.0, 1.0, 2.0, 3.0]]), states)
    assert [[i for i, _ in one.alternatives] for one in found] == [[1, 2, 0, 3], [3, 2, 1, 0]]


def test_the_callers_logits_and_the_global_generator_stay_as_they_were() -> None:
    logits = random_logits(2)
    before, generator_state = logits.clone(), torch.get_rng_state()
    rows = [row(SamplingParams(logit_bias={1: 5.0}, presence_penalty=1.0, min_tokens=2, num_logprobs=1))]
    rows.append(row(SamplingParams(temperature=1.0, seed=0, top_p=0.5)))
    sample(logits, rows)
    assert torch.equal(logits, before)
    assert torch.equal(generator_state, torch.get_rng_state())


def test_states_made_in_inference_mode_can_be_changed_outside() -> None:
    with torch.inference_mode():
        state = row(SamplingParams(frequency_penalty=1.0), [1])
    state.append(3)
    assert state.counts_V is not None and state.counts_V[3] == 1


def test_an_empty_batch_has_no_tokens() -> None:
    assert sample(torch.zeros(0, NUM_IDS), []) == []


@pytest.mark.parametrize("options", [{"logit_bias": {NUM_IDS: 1.0}}, {"stop_token_ids": (NUM_IDS,)}], ids=str)
def test_an_option_that_names_a_token_beyond_the_tokenizer_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"names the token {NUM_IDS}; the ids of this model go up to {NUM_IDS - 1}"):
        row(SamplingParams(**options))
    with pytest.raises(ConfigError, match="names the token"):
        Sampler(SamplingParams(**options), [], num_token_ids=NUM_IDS)


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("n", 0, "n is 0; it must be from 1 to 128"),
        ("n", 1.5, "n is 1.5; it must be a whole number, from 1 to 128"),
        ("top_k", True, "top_k is True; it must be a whole number"),
        ("temperature", float("nan"), "temperature is nan; it must be 0 or more"),
        ("temperature", float("inf"), "temperature is inf; it must be 0, or finite"),
        ("temperature", 1e-40, "temperature is 1e-40; it must be 0, or finite and 1e-30 or more"),
        ("temperature", "1", "temperature is '1'; it must be a number, 0 or more"),
        ("repetition_penalty", float("inf"), "repetition_penalty is inf; it must be finite"),
        ("logit_bias", {5: 101.0}, r"logit_bias of token 5 is 101.0; it must be in \[-100, 100\]"),
        ("logit_bias", {"5": 1.0}, "logit_bias names the token '5'; it must be a token id, 0 or more"),
        ("logit_bias", {-1: 1.0}, "logit_bias names the token -1"),
        ("logit_bias", 3, "logit_bias is 3; it must map token ids to numbers"),
        ("num_logprobs", 21, "num_logprobs is 21; it must be None, or from 0 to 20"),
        ("thinking_budget", -1, "thinking_budget is -1; it must be None, or 0 or more"),
        ("ignore_eos", 1, "ignore_eos is 1; it must be True or False"),
        ("min_tokens", 2000, r"min_tokens is 2000; it must be from 0 to max_tokens \(1024\)"),
        ("stop_token_ids", (-3,), r"stop_token_ids is \(-3,\); it must be a tuple of token ids"),
        ("stop", "x", "stop is 'x'; it must be a tuple of non-empty strings"),
        ("stop", 3, "stop is 3; it must be a tuple of non-empty strings"),
        ("seed", 2**70, "seed is .*; it must be None or a number of 64 bits"),
        ("structure", {"type": "object"}, "structure is .*; it must be a Structure"),
    ],
)
def test_a_bad_option_is_one_sentence_with_its_value_and_limit(option: str, value: object, sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        SamplingParams(**{option: value})


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        ("xml", "", "structure kind is 'xml'; it must be one of json_schema, json_object"),
        ("choice", (), "structure choice is"),
        ("choice", "ab", "structure choice is 'ab'"),
        ("choice", ("a", "a"), ".*each string may occur once"),
        ("json_object", {}, "structure json_object takes no value"),
        ("json_schema", "{", "structure json_schema is not JSON"),
        ("json_schema", "[1]", "structure json_schema is .*; it must be a JSON object"),
        ("json_schema", {"a": {1, 2}}, "structure json_schema is not JSON"),
        ("regex", "", "structure regex is ''; it must be text"),
    ],
)
def test_a_bad_structure_is_one_sentence(kind: str, value: object, sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        Structure(kind, value)


@pytest.mark.parametrize("option", ["ignore_eos", "min_tokens"])
def test_options_that_forbid_the_end_cannot_be_combined_with_structure(option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} cannot be combined with structure"):
        SamplingParams(structure=Structure("json_object"), **{option: 1 if option == "min_tokens" else True})


def test_options_given_as_mappings_and_lists_are_kept_immutably() -> None:
    params = SamplingParams(logit_bias={7: 1, 3: -2.5}, stop=["a"], stop_token_ids=[4])
    assert params.logit_bias == params.bias_pairs == ((3, -2.5), (7, 1.0))
    assert params == SamplingParams(logit_bias=((3, -2.5), (7, 1.0)), stop=("a",), stop_token_ids=(4,))
    assert len({params, SamplingParams(logit_bias={3: -2.5, 7: 1.0}, stop=("a",), stop_token_ids=(4,))}) == 1
    schema = Structure("json_schema", {"type": "object"})
    assert schema == Structure("json_schema", '{"type":"object"}') and hash(schema)
    assert Structure("choice", ["a", "b"]).choices == ("a", "b")
