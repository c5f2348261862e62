"""Thinking ends in time: for every budget and limit the answer comes, structured or not, streamed or not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import regard
from regard.engine.thinking import ThinkingBlock
from regard.llm import LLM
from regard.parity.random_checkpoint import THINKING_TEMPLATE
from regard.sampling_params import SamplingParams, Structure
from tests.engine.test_loops import END, streamed
from tests.tiny import ID_BY_TOKEN, tiny_folder
from tests.wants import wants

END_THINKING = ID_BY_TOKEN["</think>"]
SCHEMA = Structure("json_schema", {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
LONG = "one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, "


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> LLM:
    return regard.load(tiny_folder(tmp_path_factory.mktemp("tiny") / "model", thinking=True))


@pytest.fixture(scope="module")
def instruct(tmp_path_factory: pytest.TempPathFactory) -> LLM:
    return regard.load(tiny_folder(tmp_path_factory.mktemp("tiny") / "model"))


def thinks(model: LLM, thought: str, answer: str) -> Callable[[list[int]], int]:
    """A model that thinks the same thought for ever, and once that is closed, answers."""
    thought_ids, answer_ids = model.processor.tokenizer.encode(thought), model.processor.tokenizer.encode(answer)
    line_break = model.processor.tokenizer.encode("\n")[0]

    def next_id(ids: list[int]) -> int:
        if END_THINKING not in ids:
            return thought_ids[len(ids) % len(thought_ids)]
        said = ids[ids.index(END_THINKING) + 1 :]
        while said and said[0] == line_break:
            said = said[1:]
        return answer_ids[len(said)] if len(said) < len(answer_ids) else END

    return next_id


@pytest.mark.parametrize("budget", [0, 1, 2, 7, 30])
def test_a_budget_holds_and_the_answer_follows(thinker: LLM, monkeypatch: pytest.MonkeyPatch, budget: int) -> None:
    wants(monkeypatch, thinks(thinker, LONG, "Two."))
    text, thinking, reply = streamed(thinker, "1+1?", max_tokens=80, thinking_budget=budget)
    assert (text, thinking) == ("Two.", LONG[:budget]) == (reply.text, reply.thinking)
    assert reply.finish_reason == "stop" and reply.token_ids[budget : budget + 4].count(END_THINKING) == 1


@pytest.mark.parametrize("max_tokens", [2, 3, 5, 6, 7, 12, 40, 100])
@pytest.mark.parametrize("budget", [None, 0, 3, 1000])
def test_the_answer_is_never_empty(
    thinker: LLM, monkeypatch: pytest.MonkeyPatch, max_tokens: int, budget: int | None
) -> None:
    wants(monkeypatch, thinks(thinker, LONG, "yes " * 100))
    text, _, reply = streamed(thinker, "1+1?", max_tokens=max_tokens, thinking_budget=budget)
    assert text == reply.text != "" and reply.finish_reason == "length"
    if budget is None:
        assert len(text) >= max_tokens // 4
        assert len(text) <= max(1, max_tokens // 4) + 1, "the reserve takes no more from the thinking than it must"


def test_the_reserve_is_a_quarter_and_at_most_1024(thinker: LLM) -> None:
    reserves = {limit: thinker.sampling_params(max_tokens=limit).answer_reserve for limit in (1, 3, 100, 4096, 40960)}
    assert reserves == {1: 1, 3: 1, 100: 25, 4096: 1024, 40960: 1024}
    assert thinker.sampling_params(max_tokens=100, thinking_budget=90).answer_reserve == 1
    assert thinker.sampling_params(max_tokens=100, answer_reserve=50).answer_reserve == 50
    assert SamplingParams().answer_reserve == 0, "the bare engine does what the naive loop does"


def test_a_model_that_wants_to_end_behind_a_forced_closing_says_a_word_first(
    thinker: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    wants(monkeypatch, thinks(thinker, LONG, ""))
    reply = thinker.chat("1+1?", max_tokens=40, thinking_budget=3)
    assert len(reply.token_ids) > 3 + 3 + 1 and reply.token_ids[-1] == END
    assert END not in reply.token_ids[:-1] and reply.finish_reason == "stop"


def test_a_model_that_closes_its_thinking_itself_may_say_nothing(thinker: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    script = thinker.processor.tokenizer.encode("hm\n</think>\n\n<|im_end|>")
    wants(monkeypatch, lambda ids: script[min(len(ids), len(script) - 1)])
    reply = thinker.chat("1+1?", max_tokens=40, thinking_budget=20)
    assert (reply.thinking, reply.text, reply.finish_reason) == ("hm", "", "stop")


@pytest.mark.parametrize("budget", range(8))
def test_a_budget_that_ends_inside_a_character_leaves_the_answer_whole(
    thinker: LLM, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    thought = "\u4fdd\U0001f600"  # three bytes and four
    wants(monkeypatch, thinks(thinker, thought, "\u00e9 2"))
    text, thinking, reply = streamed(thinker, "1+1?", max_tokens=60, thinking_budget=budget)
    whole = thought.encode()[:budget].decode(errors="ignore")
    is_cut = budget not in (0, 3, 7)
    assert (text, thinking) == ("\u00e9 2", whole + "\ufffd" * is_cut) == (reply.text, reply.thinking)


@pytest.mark.parametrize("max_tokens", [8, 12, 16, 40])
@pytest.mark.parametrize("budget", [None, 0, 1, 9])
def test_thinking_and_a_schema_give_valid_json_streamed_or_not(
    thinker: LLM, monkeypatch: pytest.MonkeyPatch, max_tokens: int, budget: int | None
) -> None:
    wants(monkeypatch, thinks(thinker, LONG, '{"n": 12}'))
    options = {"max_tokens": max_tokens, "thinking_budget": budget, "structure": SCHEMA}
    text, thinking, reply = streamed(thinker, "1+1?", **options)
    assert set(json.loads(text)) == {"n"} and LONG.startswith(thinking)
    assert (reply.text, reply.thinking, reply.finish_reason) == (text, thinking, "stop")
    assert thinker.chat("1+1?", **options).token_ids == reply.token_ids
    assert budget is None or len(thinking) <= budget


def test_a_schema_whose_shortest_answer_leaves_no_room_for_the_closing_is_refused(thinker: LLM) -> None:
    with pytest.raises(regard.RegardError, match="max_tokens is 7 and the shortest answer with this structure has 8"):
        thinker.chat("1+1?", max_tokens=7, structure=SCHEMA)


def test_think_in_the_middle_of_a_text_is_text(instruct: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it was counted as thinking wherever it stood, and a budget put </think> into the answer."""
    script = instruct.processor.tokenizer.encode("The tag <think> opens a block of it.<|im_end|>")
    wants(monkeypatch, lambda ids: script[min(len(ids), len(script) - 1)])
    reply = instruct.chat("Hi", max_tokens=200, thinking_budget=2)
    assert (reply.text, reply.thinking) == ("The tag <think> opens a block of it.", None)


def test_think_at_the_beginning_opens_a_block_with_a_budget(instruct: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    thinking = thinks(instruct, LONG, "Two.")
    wants(monkeypatch, lambda ids: thinking(ids[1:]) if ids else ID_BY_TOKEN["<think>"])
    reply = instruct.chat("Hi", max_tokens=200, thinking_budget=4)
    assert (reply.text, reply.thinking) == ("Two.", LONG[:4])


def test_a_second_block_is_text() -> None:
    block = ThinkingBlock(is_open=True, start_id=1, end_id=2, close_ids=[9, 2, 9], budget=2)
    for token_id in (5, 2, 9, 1, 5, 5, 5):
        block.take(token_id)
        assert not block.must_close(100)


def test_where_the_context_is_short_the_reserve_is_a_quarter_of_what_is_left(
    thinker: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    wants(monkeypatch, thinks(thinker, LONG, "yes " * 1000))
    prompt = "word " * 790  # of a context of 4096 bytes
    reply = thinker.chat(prompt, max_tokens=4000, repetition_guard=False)
    num_left = 4096 - reply.usage.num_prompt_tokens
    assert reply.usage.num_output_tokens == num_left < 300
    assert num_left // 4 <= len(reply.text) <= num_left // 4 + 1


def test_the_bundled_checkpoint_with_the_thinking_template_answers(tmp_path: Path, nano_folder: Path) -> None:
    """A Thinking edition of nano: its files, and the template that opens the answer with <think>."""
    folder = tmp_path / "nano-thinking"
    shutil.copytree(nano_folder, folder, ignore=shutil.ignore_patterns("chat_template.jinja"))
    shutil.copyfile(THINKING_TEMPLATE, folder / "chat_template.jinja")
    thinker = regard.load(folder, device="cpu")
    assert thinker.is_thinking
    for budget in (0, 2):  # nano thinks no more than three tokens of its own accord
        reply = thinker.chat("What is 1+1?", max_tokens=24, thinking_budget=budget)
        assert reply.thinking is not None and reply.text and "</think>" in reply.raw
