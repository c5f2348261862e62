"""What a stream's chunks build is what the whole answer says, for every way a text can come in tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("fastapi", reason="the server needs the extra 'server'")

from regard.answer import Answer
from regard.inputs import ModelInputs
from regard.messages import ToolCall
from regard.processing.processor import Processor
from regard.processing.reply_parser import ReplyParser, parse_reply
from regard.reply import Event, MediaReport
from regard.sampling_params import SamplingParams
from regard.server.chat_answer import ChatAnswer

NANO = Path(__file__).parents[2] / "src" / "regard" / "assets" / "nano"
PROCESSOR = Processor.from_folder(NANO)
MEDIA = (MediaReport("image", "a", 200, 100, 224, 96, 21),)
INPUTS = ModelInputs(np.zeros(3, np.int64), np.zeros((3, 3), np.int64), 0, media=MEDIA)

argument = st.recursive(
    st.none() | st.integers(-5, 5) | st.text('ab\u20ac"\\{}\n<', max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("xy", max_size=2), inner, max_size=2),
    max_leaves=4,
)
call = st.tuples(st.sampled_from(["zoom", 'look "at"', "\u20ac"]), st.dictionaries(st.text("kl", max_size=2), argument))


def written(value: tuple[str, Any]) -> str:
    name, arguments = value
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{body}\n</tool_call>"


BROKEN = (
    '<tool_call>\n{"name": "zoom", "arguments": {"a": }}\n</tool_call>',  # no JSON, but shown as it came
    '<tool_call>\n{"name": "zoom", "arguments": {"a": "',  # cut off
    '<tool_call>{"name": "zoom", "arguments": {"a": "x\ny\ty"}}</tool_call>',  # raw control characters
    '<tool_call>{"arguments": {"a": 1}, "name": "zoom"}</tool_call>',  # the name last
    '<tool_call>{"name": "zoom", "arguments": "{\\"a\\": 1}"}</tool_call>',
    '<tool_call>{"name": "zoom"}</tool_call>',
    '<tool_call>{"name": "zoom", "arguments": {}}}</tool_call>',  # one brace too many
    "<tool_call>nothing</tool_call>",
)
texts = st.lists(
    call.map(written)
    | st.sampled_from(BROKEN)
    | st.sampled_from(
        ["Look.", "\n", "\n\n", " ", "<", "</think>", "<think>", "na\u00efve \u20ac", '[{"bbox_2d": [1, 2, 3, 4]}]']
    ),
    max_size=6,
).map("".join)


def cut(text: str, data: st.DataObject) -> list[int]:
    """The text in tokens, encoded in pieces that were cut anywhere."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    return [token_id for piece in pieces for token_id in PROCESSOR.tokenizer.encode(piece)]


def answered(token_ids: list[int], **rules: Any) -> list[Event]:
    answer = Answer(INPUTS, PROCESSOR, SamplingParams(), start_s=0, preprocess_s=0, **rules)
    events = [event for token_id in token_ids for event in answer.push(token_id, -0.5)]
    return [*events, *answer.finish("length")]


def shaped(events: list[Event]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The whole completion, and the message that a client builds of the chunks."""
    answer = ChatAnswer("nano", 1, lambda prefix: prefix, PROCESSOR.tokenizer, coordinates="pixel", created_s=0)
    built: dict[str, Any] = {"content": "", "reasoning_content": "", "tool_calls": []}
    for event in events:
        delta = answer.push(0, event)["choices"][0]["delta"]
        for name in ("content", "reasoning_content"):
            built[name] += delta.get(name, "")
        for piece in delta.get("tool_calls", ()):
            if "id" in piece:
                built["tool_calls"].append({"name": piece["function"]["name"], "arguments": ""})
            built["tool_calls"][piece["index"]]["arguments"] += piece["function"]["arguments"]
    return answer.whole(), built


@settings(max_examples=400, deadline=None)
@given(text=texts, data=st.data())
def test_chunks_build_the_whole_answer_however_the_text_is_cut(text: str, data: st.DataObject) -> None:
    events = answered(cut(text, data))
    whole, built = shaped(events)
    message = whole["choices"][0]["message"]
    assert built["content"] == (message["content"] or "")
    assert built["reasoning_content"] == message.get("reasoning_content", "")
    assert built["tool_calls"] == [one["function"] for one in message.get("tool_calls", ())]
    other, _ = shaped(answered(cut(text, data)))
    for one in (whole, other):
        one["usage"] = None  # as many tokens as it was cut into
        one["choices"][0]["boxes"] = [{**box, "confidence": None} for box in one["choices"][0]["boxes"]]
    assert other == whole
    reply = events[-1].reply
    assert reply is not None
    parsed = parse_reply(reply.raw, starts_in_thinking=False)
    assert (reply.text, reply.thinking or "", reply.tool_calls) == (
        parsed.text,
        parsed.thinking or "",
        parsed.tool_calls,
    )
    assert built["content"] == reply.text


@settings(max_examples=200, deadline=None)
@given(made=call, data=st.data())
def test_a_good_call_arrives_as_it_was_meant(made: tuple[str, Any], data: st.DataObject) -> None:
    name, arguments = made
    (reply,) = [event.reply for event in answered(cut(written(made), data)) if event.reply is not None]
    is_cut_short = "</tool_call>" in json.dumps(arguments)
    assert is_cut_short or reply.tool_calls == (ToolCall(name, arguments),)
    assert reply.finish_reason == "tool_calls" and reply.text == ""


def test_arguments_are_shown_before_the_call_is_whole() -> None:
    parser = ReplyParser(starts_in_thinking=False)
    assert parser.push('A\n<tool_call>\n{"name": "zoom", "argu') == [("text", "A")]
    assert parser.push('ments": {"x": "a') == [("call", "zoom"), ("arguments", '{"x": "a')]
    assert parser.push("\nb</tool") == [("arguments", "\\nb")]
    assert parser.push('_"}, ') == [("arguments", '</tool_"}')]
    assert parser.push("}\n</tool_call>") == [] and parser.finish() == []
    assert parser.tool_calls == [ToolCall("zoom", {"x": "a\nb</tool_"})]


def test_a_call_that_breaks_off_is_no_call_and_no_text() -> None:
    parsed = parse_reply(BROKEN[1], starts_in_thinking=False)
    assert parsed.tool_calls == () and parsed.text == ""
    assert parsed.malformed_calls == (BROKEN[1].removeprefix("<tool_call>"),)


@pytest.mark.parametrize("body", BROKEN[2:7])
def test_calls_that_can_be_understood_are(body: str) -> None:
    parsed = parse_reply(body, starts_in_thinking=False)
    assert [one.name for one in parsed.tool_calls] == ["zoom"] and not parsed.text


def test_without_tags_everything_is_text() -> None:
    raw = f"<think>a</think>\n{BROKEN[5]}\n\n"
    events = answered(PROCESSOR.tokenizer.encode(raw), reads_tags=False)
    assert "".join(event.text for event in events if event.kind == "text") == raw
    reply = events[-1].reply
    assert reply is not None and reply.text == raw and reply.tool_calls == () and reply.thinking is None


def test_confidence_is_that_of_the_coordinates_alone() -> None:
    text = 'Sure: [{"bbox_2d": [12, 3, 45, 60], "label": "99"}] <points x1="7" y1="8" alt="cup 5">cup</points>'
    digits = {"12, 3, 45, 60": -0.1, '7" y1="8': -0.3}
    answer = Answer(INPUTS, PROCESSOR, SamplingParams(), start_s=0, preprocess_s=0)
    for place, char in enumerate(text):
        (token_id,) = PROCESSOR.tokenizer.encode(char)
        inside = [
            logprob
            for part, logprob in digits.items()
            if text.index(part) <= place < text.index(part) + len(part) and char.isdigit()
        ]
        list(answer.push(token_id, inside[0] if inside else -9.0))
    reply = list(answer.finish("stop"))[-1].reply
    assert reply is not None
    assert reply.boxes[0].confidence == pytest.approx(np.exp(-0.1))
    box, point = text.index("y1"), text.index("x1") + 1
    assert text[box + 1] == "1" and text[point] == "1"  # the names' own digits do not count
    assert reply.points[0].confidence == pytest.approx(np.exp(-0.3))
