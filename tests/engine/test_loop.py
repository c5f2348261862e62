"""The engine's thread: many callers at once, closing in the middle, errors that hit only who caused them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from regard.engine.engine import Engine, Tokens
from regard.engine.loop import EngineLoop
from regard.errors import CapacityError, EngineError
from regard.messages import Image, Text
from regard.sampling_params import SamplingParams
from tests.engine.conftest import GREEDY, PROMPTS, Subject, greedy, picture
from tests.tiny import NUM_TOKENS


@pytest.fixture
def loop(subject: Subject) -> Iterator[EngineLoop]:
    loop = EngineLoop(subject.engine)
    yield loop
    loop.close()


def tokens(stream) -> list[int]:
    return [sampled.token_id for output in stream for sampled in output.sampled]


def test_many_threads_get_their_own_answers(subject: Subject, loop: EngineLoop) -> None:
    names = list(PROMPTS) * 3
    with ThreadPoolExecutor(len(names)) as pool:
        made = list(pool.map(lambda name: tokens(loop.submit(subject.prompts[name], GREEDY)[0]), names))
    assert made == [subject.truth[name] for name in names]


def test_a_closed_stream_frees_its_blocks(subject: Subject, loop: EngineLoop) -> None:
    stream = loop.submit(subject.prompts["a picture"], greedy(max_tokens=500))[0]
    next(iter(stream))
    stream.close()
    assert loop.call(lambda engine: (engine.has_work, engine.pool.check_integrity([]))) == (False, None)
    assert list(stream) == []


def test_tokens_come_while_they_are_made(subject: Subject, loop: EngineLoop) -> None:
    stream = iter(loop.submit(subject.prompts["words"], greedy(max_tokens=50))[0])
    next(stream)
    assert loop.call(lambda engine: engine.has_work), "the first token came before the last one was made"
    assert sum(len(output.sampled) for output in stream) == 49


def test_a_prompt_that_can_never_fit_is_refused_and_the_others_go_on(subject: Subject) -> None:
    loop = EngineLoop(lambda: subject.engine(num_blocks=8))
    stream = loop.submit(subject.prompts["words"], GREEDY)[0]
    with pytest.raises(CapacityError, match=r"the prompt has \d+ tokens and the memory given holds 128; give fewer"):
        loop.submit(subject.inputs(Text("word " * 200)), GREEDY)
    assert tokens(stream) == subject.truth["words"]
    loop.close()


def test_a_picture_that_needs_too_much_memory_is_refused(subject: Subject) -> None:
    engine = subject.engine()
    engine.budget = replace(engine.budget, vision_bytes=10_000)
    with pytest.raises(CapacityError, match=r"a picture of 0.0 megapixels needs .* lower max_pixels"):
        engine.add(subject.inputs(Image(picture(1, 160, 160)), Text("?")), GREEDY)


def test_a_failing_step_gives_everyone_the_error_and_the_next_request_works(
    subject: Subject, loop: EngineLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Engine, "step", lambda self: 1 / 0)
        for stream in (loop.submit(subject.prompts["words"], GREEDY)[0] for _ in range(2)):
            with pytest.raises(EngineError, match="the engine failed in the middle of a step .*ZeroDivisionError"):
                list(stream)
    assert tokens(loop.submit(subject.prompts["words"], GREEDY)[0]) == subject.truth["words"]


def test_closing_the_loop_ends_what_waits(subject: Subject) -> None:
    loop = EngineLoop(subject.engine)
    stream = loop.submit(subject.prompts["words"], greedy(max_tokens=100_000))[0]
    waiting = threading.Thread(target=loop.close)
    waiting.start()
    with pytest.raises(EngineError, match="closed before the answer was finished"):
        list(stream)
    waiting.join()
    with pytest.raises(EngineError, match="the engine is closed"):
        loop.submit(subject.prompts["words"], GREEDY)


def test_an_end_token_ends_the_answer_unless_it_is_ignored(subject: Subject) -> None:
    answer = subject.truth["a picture"]
    engine = subject.engine()
    engine.tokens = Tokens(frozenset({answer[3]}), NUM_TOKENS)
    cut = answer[: answer.index(answer[3]) + 1]
    for params, expected in ((GREEDY, cut), (greedy(ignore_eos=True), answer)):
        sequence = engine.add(subject.prompts["a picture"], params)[0]
        while engine.has_work:
            engine.step()
        assert sequence.token_ids[sequence.num_prompt :] == expected
        assert sequence.finish_reason == ("stop" if len(expected) < len(answer) else "length")


def test_stop_ids_and_a_least_length_are_kept(subject: Subject) -> None:
    answer = subject.truth["a picture"]
    engine = subject.engine()
    stopped = engine.add(subject.prompts["a picture"], greedy(stop_token_ids=(answer[2],)))[0]
    longer = engine.add(subject.prompts["a picture"], greedy(stop_token_ids=(answer[2],), min_tokens=8))[0]
    while engine.has_work:
        engine.step()
    assert stopped.token_ids[-1] == answer[2] and stopped.num_output == answer.index(answer[2]) + 1
    assert longer.num_output == 8


@pytest.mark.parametrize("budget", [0, 3])
def test_thinking_is_closed_when_its_budget_is_used(subject: Subject, budget: int) -> None:
    close = (7, 8, 9)
    engine = subject.engine()
    engine.tokens = Tokens(frozenset(), NUM_TOKENS, start_thinking=300, end_thinking=8, close_thinking=close)
    params = SamplingParams(max_tokens=12, thinking_budget=budget)
    sequence = engine.add(subject.prompts["words"], params, starts_in_thinking=True)[0]
    while engine.has_work:
        engine.step()
    output = sequence.token_ids[sequence.num_prompt :]
    assert tuple(output[budget : budget + 3]) == close
    assert output[:budget] == subject.truth["words"][:budget]
    assert len(output) == 12


def test_an_answer_ends_where_the_cache_does(subject: Subject) -> None:
    inputs = subject.prompts["words"]
    num_blocks = len(inputs.input_ids) // 16 + 2
    engine = subject.engine(num_blocks=num_blocks)
    sequence = engine.add(inputs, greedy(max_tokens=1000))[0]
    while engine.has_work:
        engine.step()
    assert sequence.finish_reason == "length"
    assert len(sequence.token_ids) == num_blocks * 16


def test_who_listens_is_woken_and_never_waits(subject: Subject, loop: EngineLoop) -> None:
    (stream,) = loop.submit(subject.prompts["words"], GREEDY)
    woken = threading.Event()
    stream.listen(woken.set)
    taken: list[int] = []
    while not stream.sequence.finish_reason or len(taken) < len(subject.truth["words"]):
        assert woken.wait(20)
        woken.clear()
        taken += [sampled.token_id for output in stream.take() for sampled in output.sampled]
    assert taken == subject.truth["words"] and stream.take() == []


def test_who_listens_hears_an_error_after_what_came_before(subject: Subject, loop: EngineLoop) -> None:
    (stream,) = loop.submit(subject.prompts["words"], greedy(max_tokens=500))
    for output in stream:
        stream.put(output)  # as if another had come,
        stream.put(EngineError("it broke"))  # and then the end
        break
    loop.abort(stream.sequence)
    seen = 0
    with pytest.raises(EngineError, match="it broke"):
        while True:
            seen += len(stream.take())
    assert seen >= 1 and stream.take() == []


def test_figures_are_seen_without_waiting(subject: Subject, loop: EngineLoop) -> None:
    assert loop.figures().num_blocks == 0, "no request yet"
    (stream,) = loop.submit(subject.prompts["words"], greedy(max_tokens=500))
    next(iter(stream))
    figures = loop.figures()
    assert figures.num_running == 1 and 0 < figures.num_blocks_used < figures.num_blocks
    stream.close()
    loop.call(lambda engine: None)
    assert loop.figures().num_blocks_used == 0


def test_a_call_raises_what_its_function_raises(loop: EngineLoop) -> None:
    with pytest.raises(ZeroDivisionError):
        loop.call(lambda engine: 1 // 0)
    assert loop.call(lambda engine: 1) == 1


def test_nobody_waits_for_an_engine_that_was_closed(subject: Subject) -> None:
    """A request that was posted while the engine was being closed used to wait for ever."""
    for _ in range(20):
        loop = EngineLoop(subject.engine)
        with ThreadPoolExecutor(4) as pool:
            made = [pool.submit(loop.submit, subject.prompts["words"], greedy(max_tokens=3)) for _ in range(4)]
            loop.close()
            for one in made:
                error = one.exception(timeout=20)
                assert error is None or isinstance(error, EngineError)
