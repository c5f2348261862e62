"""Answers that go round in circles: left, completed or ended, and the same whichever way they are computed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import cycle, islice

import pytest

import regard
from regard.engine import repetition
from regard.engine.engine import Tokens
from regard.engine.repetition import MAX_ESCAPES
from regard.errors import ConfigError
from regard.llm import LLM
from regard.sampling_params import SamplingParams, Structure
from tests.engine.conftest import Subject, greedy, run_all, step_until_done
from tests.tiny import ID_BY_TOKEN, NUM_TOKENS, tiny_folder
from tests.wants import wants

END = ID_BY_TOKEN["<|im_end|>"]
MAX_TOKENS = 400
GUARDED = greedy(max_tokens=MAX_TOKENS, repetition_guard=True)


@pytest.fixture(autouse=True)
def short_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule with small numbers, so that loops are short: 24 tokens and 4 to 8 repeats."""
    for name, value in {"MIN_TOKENS": 24, "MIN_REPEATS": 4, "MAX_REPEATS": 8, "NOVELTY": 24, "MAX_PERIOD": 16}.items():
        monkeypatch.setattr(repetition, name, value)


@pytest.fixture(scope="module")
def instruct(tmp_path_factory: pytest.TempPathFactory) -> LLM:
    return regard.load(tiny_folder(tmp_path_factory.mktemp("tiny") / "model"))


def for_ever(loop: list[int]) -> Callable[[list[int]], int]:
    """A model that goes on with the loop wherever it is, and falls back into it."""
    return lambda ids: loop[(loop.index(ids[-1]) + 1) % len(loop)] if ids and ids[-1] in loop else loop[0]


def until_disturbed(loop: list[int]) -> Callable[[list[int]], int]:
    """A model that ends once something else than the loop was said."""
    return lambda ids: loop[len(ids) % len(loop)] if ids == list(islice(cycle(loop), len(ids))) else END


@pytest.mark.parametrize("period", [1, 2, 5, 11])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_that_can_leave_its_loop_is_led_out_of_it(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, period: int, temperature: float
) -> None:
    loop = list(range(60, 60 + period))
    wants(monkeypatch, until_disturbed(loop))
    engine = subject.engine()
    engine.tokens = Tokens(frozenset({END}), NUM_TOKENS)
    params = SamplingParams(temperature=temperature, seed=4, max_tokens=MAX_TOKENS, repetition_guard=True)
    sequence = engine.add(subject.prompts["words"], params)[0]
    step_until_done(engine, [sequence])
    output = sequence.token_ids[sequence.num_prompt :]
    num_looped = repetition.tokens_needed(loop)
    assert output[:num_looped] == list(islice(cycle(loop), num_looped))
    assert output[num_looped] != loop[num_looped % period]
    assert (output[-1], sequence.finish_reason) == (END, "stop") and len(output) <= num_looped + 2


@pytest.mark.parametrize("period", [1, 3, 8])
def test_a_model_that_falls_back_into_its_loop_is_ended_for_its_repetition(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, period: int
) -> None:
    loop = list(range(60, 60 + period))
    wants(monkeypatch, for_ever(loop))
    engine = subject.engine()
    sequence = engine.add(subject.prompts["words"], GUARDED)[0]
    step_until_done(engine, [sequence])
    assert sequence.finish_reason == "repetition"
    assert sequence.num_output < (MAX_ESCAPES + 1) * (repetition.tokens_needed(loop) + 2 * period)
    engine.pool.check_integrity([])


def test_without_the_guard_a_loop_runs_to_its_limit(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    wants(monkeypatch, for_ever([60, 61]))
    engine = subject.engine()
    sequence = engine.add(subject.prompts["words"], greedy(max_tokens=MAX_TOKENS))[0]
    step_until_done(engine, [sequence])
    assert (sequence.finish_reason, sequence.num_output) == ("length", MAX_TOKENS)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_loop_is_left_the_same_way_with_guesses_in_a_batch_preempted_or_from_the_cache(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    wants(monkeypatch, for_ever([60, 61, 62]))
    params = SamplingParams(
        temperature=temperature, seed=2, max_tokens=MAX_TOKENS, repetition_guard=True, repetition_penalty=1.1
    )
    request = (subject.prompts["a picture"], params)
    alone = run_all(subject.engine(use_speculation=False), [request])
    assert len(alone[0]) < MAX_TOKENS
    assert run_all(subject.engine(use_speculation=True), [request]) == alone
    others = [(subject.prompts[name], greedy(max_tokens=30)) for name in ("words", "a clip")]
    assert run_all(subject.engine(), [others[0], request, others[1]])[1] == alone[0]
    rng = random.Random(3)
    engine = subject.engine(num_blocks=60)

    def preempt() -> None:
        if engine.scheduler.running and rng.random() < 0.05:
            engine.scheduler.preempt(engine.scheduler.running[-1])

    assert run_all(engine, [request], every_step=preempt) == alone
    assert run_all(engine, [request]) == alone, "the second time much of it comes from the prefix cache"


def test_several_answers_are_watched_each_for_itself(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    wants(monkeypatch, for_ever([60, 61]))
    engine = subject.engine()
    params = SamplingParams(temperature=1.0, seed=1, n=3, max_tokens=MAX_TOKENS, repetition_guard=True)
    sequences = engine.add(subject.prompts["a picture"], params)
    step_until_done(engine, sequences)
    assert [one.finish_reason for one in sequences] == ["repetition"] * 3
    assert len({tuple(one.token_ids) for one in sequences}) > 1, "the ways out are drawn, each with its own numbers"


def test_log_probabilities_counts_and_tokens_stay_in_step(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    wants(monkeypatch, for_ever([60, 61]))
    engine = subject.engine()
    params = greedy(max_tokens=MAX_TOKENS, repetition_guard=True, num_logprobs=2, frequency_penalty=0.1)
    sequence = engine.add(subject.prompts["words"], params)[0]
    sampled = [one for output in step_until_done(engine, [sequence]) for one in output.sampled]
    output_ids = sequence.token_ids[sequence.num_prompt :]
    assert [one.token_id for one in sampled] == output_ids == sequence.row.output_ids
    assert sequence.row.counts_V is not None and sequence.row.counts_V.sum() == len(output_ids)
    ways_out = [one for one in sampled if one.token_id not in (60, 61)]
    assert len(ways_out) == MAX_ESCAPES
    for one in ways_out:  # the log probability is the model's: it wanted to go on
        assert one.logprob is not None and one.logprob < -100 and one.alternatives[0][0] in (60, 61)


# Through the whole of it


def streamed(model: LLM, what: object, **options) -> tuple[str, str, regard.Reply]:
    *pieces, done = model.stream(what, **options)
    assert done.reply is not None
    text = "".join(event.text for event in pieces if event.kind == "text")
    return text, "".join(event.text for event in pieces if event.kind == "thinking"), done.reply


def test_a_chat_is_guarded_and_what_is_streamed_is_the_reply(instruct: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = instruct.processor.tokenizer.encode("ab")
    wants(monkeypatch, for_ever(ids))
    text, _, reply = streamed(instruct, "Hi", max_tokens=MAX_TOKENS)
    assert reply.finish_reason == "repetition" and text == reply.text and reply.text.startswith("abababab")
    assert instruct.chat("Hi", max_tokens=MAX_TOKENS).text == text
    unguarded = instruct.chat("Hi", max_tokens=MAX_TOKENS, repetition_guard=False)
    assert unguarded.finish_reason == "length"
    assert instruct.chat("Hi", max_tokens=MAX_TOKENS, ignore_eos=True).finish_reason == "length"


def test_a_structured_answer_that_loops_is_completed(instruct: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = {"type": "object", "properties": {"s": {"type": "string"}}, "required": ["s"]}
    wants(monkeypatch, for_ever(instruct.processor.tokenizer.encode("ab")))
    text, _, reply = streamed(instruct, "Hi", max_tokens=MAX_TOKENS, structure=Structure("json_schema", schema))
    assert reply.finish_reason == "repetition" and reply.usage.num_output_tokens < MAX_TOKENS
    assert "abababab" in json.loads(text)["s"] and text == reply.text


def test_a_grammar_that_asks_for_a_long_repetition_gets_it(instruct: LLM) -> None:
    reply = instruct.chat("Hi", max_tokens=MAX_TOKENS, structure=Structure("regex", "(ab){100}"))
    assert (reply.text, reply.finish_reason) == ("ab" * 100, "stop")


def test_thinking_that_loops_is_closed_and_the_answer_comes(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    thinker = regard.load(tiny_folder(tmp_path_factory.mktemp("tiny") / "model", thinking=True))
    tokenizer = thinker.processor.tokenizer
    hm, answer, end_thinking = tokenizer.encode("hm "), tokenizer.encode("Two."), ID_BY_TOKEN["</think>"]

    def next_id(ids: list[int]) -> int:
        if end_thinking not in ids:
            return for_ever(hm)(ids)
        said = tokenizer.decode(ids[ids.index(end_thinking) + 1 :]).strip("\n")
        return answer[len(said)] if len(said) < len(answer) else END

    wants(monkeypatch, next_id)
    text, thinking, reply = streamed(thinker, "1+1?", max_tokens=MAX_TOKENS)
    assert (text, reply.text, reply.finish_reason) == ("Two.", "Two.", "stop")
    assert thinking == reply.thinking and thinking.startswith("hm hm hm") and reply.usage.num_output_tokens < 120


def test_the_guard_is_a_switch() -> None:
    with pytest.raises(ConfigError, match="repetition_guard is 1; it must be True or False"):
        SamplingParams(repetition_guard=1)  # type: ignore[arg-type]
