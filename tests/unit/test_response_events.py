"""Answers in the shapes of two more APIs: the events in their order, and together what the whole answer is."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from regard.messages import ToolCall
from regard.reply import Event, FinishReason, Reply, Usage
from regard.server.messages_events import MessageEvents
from regard.server.responses_events import ResponseEvents

USAGE = Usage(100, 20, 64, 0.1, 0.2, 0.5, num_thinking_tokens=7, num_cached_tokens=48)
CALL = ToolCall("zoom", {"box": [1, 2], "why": "\u00e9"})


def reply(reason: FinishReason = "stop", *, calls: tuple[ToolCall, ...] = (), stop: str | None = None) -> Reply:
    return Reply("Two.", "Two.", "hm", calls, (), (), reason, USAGE, (), (), stop)


def ids() -> Callable[[str], str]:
    numbers = itertools.count()
    return lambda prefix: f"{prefix}_{next(numbers)}"


ANSWER = [Event("thinking", "h"), Event("thinking", "m"), Event("text", "Tw"), Event("text", "o.")]
CALLING = [Event("call", "zoom"), Event("arguments", '{"box": [1, 2], '), Event("arguments", '"why": "\u00e9"}')]


def respond(last: Reply) -> tuple[list[dict[str, Any]], ResponseEvents]:
    events = ResponseEvents({"id": "resp_1", "object": "response"}, ids())
    made = events.begin()
    for event in [*ANSWER, *(CALLING if last.tool_calls else []), Event("done", reply=last)]:
        made += events.push(event)
    return made, events


def test_the_events_of_a_response_come_in_the_order_of_the_api_and_are_numbered() -> None:
    made, _ = respond(reply("tool_calls", calls=(CALL,)))
    assert [event["sequence_number"] for event in made] == list(range(len(made)))
    assert [event["type"].removeprefix("response.") for event in made] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]


def test_a_response_is_the_sum_of_its_events() -> None:
    made, events = respond(reply("tool_calls", calls=(CALL,)))
    response = made[-1]["response"]
    assert response == events.response
    done = [event["item"] for event in made if event["type"] == "response.output_item.done"]
    assert response["output"] == done and [item["type"] for item in done] == ["reasoning", "message", "function_call"]
    for name, place in (("reasoning_text", 0), ("output_text", 1)):
        deltas = "".join(event["delta"] for event in made if event["type"] == f"response.{name}.delta")
        assert deltas == response["output"][place]["content"][0]["text"]
    call = response["output"][2]
    assert (call["name"], call["arguments"]) == ("zoom", '{"box": [1, 2], "why": "\u00e9"}')
    assert events.call_ids == (call["call_id"],)
    assert response["usage"] == {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 48},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 7},
        "total_tokens": 120,
    }


def test_events_that_were_sent_do_not_change_afterwards() -> None:
    made, _ = respond(reply())
    added = next(event for event in made if event["type"] == "response.output_item.added")
    assert added["item"]["content"] == [] and made[0]["response"]["output"] == []
    assert made[0]["response"]["status"] == "in_progress"


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("repetition", "incomplete", {"reason": "repetition"}),
    ],
)
def test_why_a_response_ended_is_told(reason: FinishReason, status: str, details: object) -> None:
    made, events = respond(reply(reason))
    assert made[-1]["type"] == f"response.{status}"
    assert (events.response["status"], events.response["incomplete_details"]) == (status, details)
    assert events.response["output"][-1]["status"] == status


def test_a_response_that_an_error_ends_says_so() -> None:
    events = ResponseEvents({"id": "resp_1"}, ids())
    made = [*events.begin(), *events.push(ANSWER[0]), *events.fail("the engine is closed")]
    assert made[-1]["type"] == "response.failed"
    assert made[-1]["response"]["error"] == {"code": "server_error", "message": "the engine is closed"}


def write(last: Reply) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    events = MessageEvents("nano", ids())
    made = events.begin(100)
    for event in [*ANSWER, *(CALLING if last.tool_calls else []), Event("done", reply=last)]:
        made += events.push(event)
    return made, events.message


def test_the_events_of_a_message_come_in_the_order_of_the_api() -> None:
    made, _ = write(reply("tool_calls", calls=(CALL,)))
    shown = [
        event["type"] + (":" + event["delta"]["type"] if "index" in event and "delta" in event else "")
        for event in made
    ]
    assert shown == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta:thinking_delta",
        "content_block_delta:thinking_delta",
        "content_block_delta:signature_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta:text_delta",
        "content_block_delta:text_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta:input_json_delta",
        "content_block_delta:input_json_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert [event["index"] for event in made if event["type"] == "content_block_start"] == [0, 1, 2]
    assert made[0]["message"]["content"] == [] and made[2]["content_block"]["thinking"] == ""


def test_a_message_is_the_sum_of_its_events() -> None:
    made, message = write(reply("tool_calls", calls=(CALL,)))
    assert message["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "Two."},
        {"type": "tool_use", "id": "toolu_1", "name": "zoom", "input": CALL.arguments},
    ]
    assert message["usage"] == {
        "input_tokens": 52,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 48,
        "output_tokens": 20,
    }
    assert made[-2]["usage"] == message["usage"]


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (reply("stop"), "end_turn"),
        (reply("length"), "max_tokens"),
        (reply("tool_calls", calls=(CALL,)), "tool_use"),
        (reply("repetition"), "repetition"),
        (reply("stop", stop="END"), "stop_sequence"),
    ],
)
def test_why_a_message_ended_is_told(last: Reply, reason: str) -> None:
    made, message = write(last)
    assert message["stop_reason"] == reason == made[-2]["delta"]["stop_reason"]
    assert message["stop_sequence"] == last.stop


def test_a_call_that_breaks_off_is_told_as_such() -> None:
    events = ResponseEvents({"id": "resp_1"}, ids())
    message = MessageEvents("nano", ids())
    for event in [*ANSWER, *CALLING[:2], Event("done", reply=reply("length"))]:
        events.push(event)
        message.push(event)
    assert [item["status"] for item in events.response["output"]] == ["completed", "completed", "incomplete"]
    assert events.call_ids == ()
    assert [block["type"] for block in message.message["content"]] == ["thinking", "text"]


def test_text_around_calls_makes_messages_around_them() -> None:
    events = ResponseEvents({"id": "resp_1"}, ids())
    for event in [
        ANSWER[2],
        *CALLING,
        *CALLING,
        ANSWER[3],
        Event("done", reply=reply("tool_calls", calls=(CALL, CALL))),
    ]:
        events.push(event)
    kinds = [item["type"] for item in events.response["output"]]
    assert kinds == ["message", "function_call", "function_call", "message"]
    assert len(set(events.call_ids)) == 2
