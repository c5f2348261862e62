"""Every faster path equals the naive loop, token for token, in float32."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from torch import Tensor

from regard.engine.engine import Engine
from regard.messages import Image, Text
from regard.sampling import GOLDEN
from regard.sampling_params import SamplingParams
from tests.engine.conftest import GREEDY, PROMPTS, Subject, greedy, picture, run_all

NAMES = tuple(PROMPTS)


def preempts(engine: Engine, rng: random.Random) -> Callable[[], None]:
    """After some steps, take the blocks of a running sequence; at most 12 times, since each starts again."""
    left = iter(range(12))

    def preempt() -> None:
        if engine.scheduler.running and rng.random() < 0.3 and next(left, None) is not None:
            engine.scheduler.preempt(rng.choice(engine.scheduler.running))

    return preempt


def test_a_single_request_equals_the_naive_loop(subject: Subject) -> None:
    for name in NAMES:
        assert run_all(subject.engine(), [(subject.prompts[name], GREEDY)]) == [subject.truth[name]], name


@pytest.mark.parametrize("size", [3, 8])
def test_a_batch_gives_each_request_what_it_gets_alone(subject: Subject, size: int) -> None:
    names = [NAMES[i % len(NAMES)] for i in range(size)]
    made = run_all(subject.engine(), [(subject.prompts[name], GREEDY) for name in names])
    assert made == [subject.truth[name] for name in names]


@pytest.mark.slow
def test_a_prompt_in_chunks_of_any_size_equals_the_prompt_in_one_piece(subject: Subject) -> None:
    for size in range(1, 98):
        engine = subject.engine(max_tokens_per_step=size, use_prefix_cache=False)
        made = run_all(engine, [(subject.prompts[name], GREEDY) for name in NAMES])
        assert made == list(subject.truth.values()), size


@pytest.mark.parametrize("size", [1, 7, 16, 33])
def test_chunks_equal_the_prompt_in_one_piece(subject: Subject, size: int) -> None:
    engine = subject.engine(max_tokens_per_step=size)
    made = run_all(engine, [(subject.prompts[name], GREEDY) for name in NAMES])
    assert made == list(subject.truth.values())


def test_of_a_prompts_rows_the_last_layer_finishes_the_wanted_ones_only(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = subject.engine(max_tokens_per_step=40, use_prefix_cache=False)
    layers, finished = engine._runner.decoder.layers, [0, 0]
    for place, layer in enumerate((layers[0], layers[-1])):

        def counted(x: Tensor, place: int = place, mlp: Callable[[Tensor], Tensor] = layer.mlp) -> Tensor:
            finished[place] += len(x)
            return mlp(x)

        monkeypatch.setattr(layer, "mlp", counted)
    inputs = subject.prompts["pictures and a clip"]
    assert run_all(engine, [(inputs, GREEDY)]) == [subject.truth["pictures and a clip"]]
    num_rows = len(inputs.input_ids) + GREEDY.max_tokens - 1
    assert finished[0] == num_rows and GREEDY.max_tokens <= finished[1] < GREEDY.max_tokens + 40


def test_the_second_time_a_prompt_comes_it_is_taken_from_the_cache(subject: Subject) -> None:
    engine = subject.engine()
    for name in NAMES:
        first = run_all(engine, [(subject.prompts[name], GREEDY)])
        sequence = engine.add(subject.prompts[name], GREEDY)[0]
        while engine.has_work:
            engine.step()
        num_full = (sequence.num_prompt - 1) // 16 * 16
        assert sequence.num_cached == num_full, name
        assert first == [subject.truth[name]] == [sequence.token_ids[sequence.num_prompt :]], name


def test_a_follow_up_question_shares_the_beginning(subject: Subject) -> None:
    engine = subject.engine()
    shared = (Image(picture(5, 160, 128)), Text("One two three."))
    run_all(engine, [(subject.inputs(*shared, Text("And?")), GREEDY)])
    other = subject.inputs(*shared, Text("But why?"))
    sequence = engine.add(other, GREEDY)[0]
    while engine.has_work:
        engine.step()
    assert sequence.num_cached > 16
    assert sequence.token_ids[sequence.num_prompt :] == subject.naive(other)


def test_two_pictures_of_equal_size_never_share_blocks(subject: Subject) -> None:
    engine = subject.engine()
    first, second = (subject.inputs(Image(picture(seed, 160, 128)), Text("What?")) for seed in (6, 7))
    assert first.input_ids.tolist() == second.input_ids.tolist()
    assert run_all(engine, [(first, GREEDY)]) == [subject.naive(first)]
    sequence = engine.add(second, GREEDY)[0]
    while engine.has_work:
        engine.step()
    num_before_picture = second.items[0].token_offset
    assert sequence.num_cached <= num_before_picture
    assert sequence.token_ids[sequence.num_prompt :] == subject.naive(second)


def test_equal_pictures_in_another_order_are_another_prompt(subject: Subject) -> None:
    engine = subject.engine()
    one, two = Image(picture(6, 96, 96)), Image(picture(7, 96, 96))
    for parts in ((one, two), (two, one), (one, one)):
        inputs = subject.inputs(*parts, Text("Which?"))
        assert run_all(engine, [(inputs, GREEDY)]) == [subject.naive(inputs)]


@pytest.mark.parametrize("seed", range(4))
def test_preemption_at_random_changes_nothing(subject: Subject, seed: int) -> None:
    rng = random.Random(seed)
    engine = subject.engine(max_tokens_per_step=rng.choice([5, 24, 512]), use_prefix_cache=seed % 2 == 0)

    made = run_all(engine, [(subject.prompts[name], GREEDY) for name in NAMES], every_step=preempts(engine, rng))
    assert made == list(subject.truth.values())


def test_a_cache_that_is_too_small_for_all_serves_them_one_after_the_other(subject: Subject) -> None:
    longest = max(len(inputs.input_ids) for inputs in subject.prompts.values())
    engine = subject.engine(num_blocks=(longest + GREEDY.max_tokens) // 16 + 2)
    made = run_all(engine, [(subject.prompts[name], GREEDY) for name in NAMES])
    assert made == list(subject.truth.values())


def test_several_answers_to_one_prompt_compute_the_prompt_once(subject: Subject) -> None:
    engine = subject.engine()
    inputs = subject.prompts["a picture"]
    sequences = engine.add(inputs, SamplingParams(temperature=1.0, seed=7, n=3, max_tokens=8))
    while engine.has_work:
        engine.step()
    made = [s.token_ids[s.num_prompt :] for s in sequences]
    seeds = [(7 + i * GOLDEN) % 2**63 for i in range(3)]
    assert made == [subject.naive(inputs, SamplingParams(temperature=1.0, seed=s, max_tokens=8)) for s in seeds]
    assert [s.num_cached > 0 for s in sequences] == [False, True, True]


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_speculation_changes_nothing(subject: Subject, temperature: float) -> None:
    for inputs in subject.prompts.values():
        params = SamplingParams(temperature=temperature, seed=3, max_tokens=30)
        assert run_all(subject.engine(use_speculation=True), [(inputs, params)]) == [subject.naive(inputs, params)]


def test_right_guesses_save_steps(subject: Subject) -> None:
    """The answer is known; a prompt lookup that knows it too needs far fewer steps than tokens."""
    inputs = subject.prompts["a picture"]
    answer = subject.naive(inputs, greedy(max_tokens=40))
    engine = subject.engine()
    sequence = engine.add(inputs, greedy(max_tokens=40))[0]
    assert sequence.lookup is not None
    sequence.lookup.propose = lambda room: answer[sequence.num_output :][: min(room, 8)]  # type: ignore[method-assign]
    num_steps = 0
    while engine.has_work:
        engine.step()
        num_steps += 1
        engine.pool.check_integrity([sequence.blocks])
    assert sequence.token_ids[sequence.num_prompt :] == answer
    assert num_steps <= 7


def test_penalties_and_seeds_survive_batches_and_preemption(subject: Subject) -> None:
    kinds = [
        SamplingParams(temperature=0.9, top_k=20, seed=1, max_tokens=10),
        SamplingParams(temperature=1.2, top_p=0.8, repetition_penalty=1.3, seed=2, max_tokens=10),
        SamplingParams(repetition_penalty=1.5, presence_penalty=0.5, max_tokens=10),
        SamplingParams(temperature=0.8, min_p=0.1, frequency_penalty=0.7, seed=4, max_tokens=10),
    ]
    requests = [(subject.prompts[name], kinds[i % len(kinds)]) for i, name in enumerate(NAMES)]
    rng = random.Random(5)
    engine = subject.engine(max_tokens_per_step=40)
    assert run_all(engine, requests, every_step=preempts(engine, rng)) == [
        subject.naive(*request) for request in requests
    ]
