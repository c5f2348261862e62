"""The Messages API through Anthropic's own client, over loopback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("anthropic", reason="anthropic is not installed")

import anthropic

import regard
from regard.messages import Document, Image
from regard.server import messages_api
from regard.server.messages_events import MessageEvents
from tests.server.desk import WatchedService, frees_everything, masked, serving
from tests.server.test_responses import BOX, CALL, is_golden, png, scripted
from tests.tiny import tiny_folder
from tests.wants import wants

ZOOM = {
    "name": "zoom",
    "description": "Look closer.",
    "input_schema": {"type": "object", "properties": {"x": {"type": "integer"}}},
}
PICTURE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": png().partition(",")[2]},
}
QUESTION: dict[str, Any] = {"model": "tiny", "max_tokens": 40, "messages": [{"role": "user", "content": "1+1?"}]}

Say = Callable[[str], None]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> WatchedService:
    return WatchedService(regard.load(tiny_folder(tmp_path_factory.mktemp("tiny") / "model")))


@pytest.fixture(scope="module")
def thinking_desk(tmp_path_factory: pytest.TempPathFactory) -> WatchedService:
    return WatchedService(regard.load(tiny_folder(tmp_path_factory.mktemp("tiny") / "model", thinking=True)))


@pytest.fixture(scope="module")
def client(desk: WatchedService) -> Iterator[anthropic.Anthropic]:
    with serving(desk) as url:
        yield anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def thinking_client(thinking_desk: WatchedService) -> Iterator[anthropic.Anthropic]:
    with serving(thinking_desk) as url:
        yield anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, desk: WatchedService) -> Say:
    """Make the model want a text, and then its end."""
    return lambda text: wants(monkeypatch, scripted(desk.llm, text))


def test_an_answer_has_the_golden_shape(client: anthropic.Anthropic, say: Say) -> None:
    say("Two.")
    message = client.messages.create(**QUESTION, system="Be brief.")
    assert (message.content[0].text, message.stop_reason) == ("Two.", "end_turn")
    is_golden("message", message.model_dump(mode="json", exclude_unset=True))


def test_a_stream_has_the_golden_events_and_makes_the_same_message(client: anthropic.Anthropic, say: Say) -> None:
    say("Two.")
    client.messages.create(**QUESTION)  # from here on the prompt is in the cache for both
    events = list(client.messages.create(**QUESTION, stream=True))
    is_golden("message_stream", [event.model_dump(mode="json", exclude_unset=True) for event in events])
    with client.messages.stream(**QUESTION) as stream:
        final = stream.get_final_message()
    whole = client.messages.create(**QUESTION)
    assert masked(final.model_dump()["content"]) == masked(whole.model_dump()["content"])
    assert final.usage.output_tokens == whole.usage.output_tokens


@pytest.mark.parametrize("coordinates", ["pixel", "relative"])
def test_places_and_media_come_as_in_chat_streamed_or_not(
    client: anthropic.Anthropic, say: Say, coordinates: str
) -> None:
    say(BOX)
    content = [PICTURE, {"type": "text", "text": "Where?"}]
    question: Any = {
        "model": "tiny",
        "max_tokens": 80,
        "messages": [{"role": "user", "content": content}],
        "extra_body": {"coordinates": coordinates},
    }
    client.messages.create(**question)  # from here on the picture is in the cache for both
    whole = client.messages.create(**question).model_dump(mode="json", exclude_unset=True)
    events = [event.model_dump(mode="json") for event in client.messages.create(**question, stream=True)]
    (delta,) = [event for event in events if event["type"] == "message_delta"]
    names = ("boxes", "points", "media")
    assert {name: delta[name] for name in names} == {name: whole[name] for name in names}
    box = whole["boxes"][0]
    found = [box[name] for name in ("x1", "y1", "x2", "y2")]
    assert found == pytest.approx([6.4, 12.8, 32, 38.4] if coordinates == "pixel" else [100, 200, 500, 600])
    assert 0 < box["confidence"] <= 1
    is_golden(f"message_boxes_{coordinates}", whole)


def test_places_are_told_only_if_asked_for(client: anthropic.Anthropic, say: Say) -> None:
    say(BOX)
    plain = client.messages.create(**QUESTION).model_dump()
    assert plain["media"] == [] and "boxes" not in plain and "points" not in plain
    with pytest.raises(anthropic.BadRequestError, match="coordinates of the request is 'inch'; it must be 'pixel' or"):
        client.messages.create(**QUESTION, extra_body={"coordinates": "inch"})


def test_a_stop_sequence_is_named(client: anthropic.Anthropic, say: Say) -> None:
    say("one END two")
    message = client.messages.create(**QUESTION, stop_sequences=["STOP", "END"])
    assert (message.content[0].text, message.stop_reason, message.stop_sequence) == ("one ", "stop_sequence", "END")


def test_tools_are_called_and_their_results_go_back_with_pictures(
    client: anthropic.Anthropic, desk: WatchedService, say: Say
) -> None:
    say(CALL)
    question = {**QUESTION, "max_tokens": 200, "tools": [ZOOM]}
    first = client.messages.create(**question)
    with client.messages.stream(**question) as stream:
        streamed = stream.get_final_message()
    assert first.stop_reason == "tool_use" == streamed.stop_reason
    call = first.content[1]
    assert (call.name, call.input) == ("zoom", {"x": 7}) == (streamed.content[1].name, streamed.content[1].input)
    say("There.")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [PICTURE, {"type": "text", "text": "here"}]}
    turns = [
        *QUESTION["messages"],
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]
    second = client.messages.create(model="tiny", max_tokens=40, tools=[ZOOM], messages=turns)
    asked = desk.asks[-1]
    assert [message.role for message in asked.messages] == ["user", "assistant", "tool"]
    assert isinstance(asked.messages[2].parts[0], Image) and second.content[0].text == "There."


def test_a_call_can_be_forced(client: anthropic.Anthropic) -> None:
    question = {
        **QUESTION,
        "max_tokens": 90,
        "tools": [{**ZOOM, "input_schema": {**ZOOM["input_schema"], "required": ["x"]}}],
    }
    for choice in ({"type": "tool", "name": "zoom"}, {"type": "any", "disable_parallel_tool_use": True}):
        message = client.messages.create(**question, tool_choice=choice)
        assert [block.type for block in message.content] == ["tool_use"] and message.stop_reason == "tool_use"
        assert isinstance(message.content[0].input["x"], int)


def test_parallel_calls_can_be_switched_off(client: anthropic.Anthropic, say: Say) -> None:
    say(CALL + "\n" + CALL.partition("\n")[2])
    question = {**QUESTION, "max_tokens": 300, "tools": [ZOOM]}
    assert [block.type for block in client.messages.create(**question).content] == ["text", "tool_use", "tool_use"]
    one = client.messages.create(**question, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert [block.type for block in one.content] == ["text", "tool_use"] and one.stop_reason == "tool_use"


def test_thinking_is_a_block_of_its_own_with_a_budget(
    thinking_client: anthropic.Anthropic, thinking_desk: WatchedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    wants(monkeypatch, scripted(thinking_desk.llm, "hm\n</think>\n\nTwo."))
    with thinking_client.messages.stream(**QUESTION, thinking={"type": "enabled", "budget_tokens": 20}) as stream:
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert (message.content[0].thinking, message.content[1].text) == ("hm", "Two.")
    assert thinking_desk.asks[-1].options["thinking_budget"] == 20
    turns = [*QUESTION["messages"], {"role": "assistant", "content": message.content}, {"role": "user", "content": "?"}]
    thinking_client.messages.create(model="tiny", max_tokens=5, messages=turns)
    assert thinking_desk.asks[-1].messages[1].reasoning == "hm"
    thinking_client.messages.create(**QUESTION, thinking={"type": "disabled"})
    assert thinking_desk.asks[-1].options["thinking_budget"] == 0


def test_documents_and_files_become_parts(client: anthropic.Anthropic, desk: WatchedService) -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}
    content = [{"type": "document", "title": "A note", "source": source}, {"type": "text", "text": "?"}]
    with pytest.raises(anthropic.BadRequestError):  # the bytes are no PDF
        client.messages.create(**{**QUESTION, "messages": [{"role": "user", "content": content}]})
    assert isinstance(desk.asks[-1].messages[0].parts[1], Document)


def test_tokens_are_counted_pictures_and_tools_included(client: anthropic.Anthropic, say: Say) -> None:
    say("Red.")
    content = [PICTURE, {"type": "text", "text": "Which colour?"}]
    question = {"model": "tiny", "messages": [{"role": "user", "content": content}], "tools": [ZOOM]}
    count = client.messages.count_tokens(**question).input_tokens
    usage = client.messages.create(**question, max_tokens=8).usage
    assert count == usage.input_tokens + (usage.cache_read_input_tokens or 0) > 100


def test_a_schema_is_kept_to(client: anthropic.Anthropic) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    config = {"format": {"type": "json_schema", "schema": schema}}
    message = client.messages.create(**QUESTION, output_config=config)
    assert set(json.loads(message.content[0].text)) == {"n"}


def test_silences_are_filled_with_pings(client: anthropic.Anthropic, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    say("Two.")
    monkeypatch.setattr(messages_api, "PING_S", 0.0001)
    raw = client.messages.with_raw_response.create(**QUESTION, stream=True)
    text = raw.http_response.read().decode()
    assert text.count('"type": "ping"') > 2 and text.rstrip().endswith('data: {"type": "message_stop"}')


def test_a_client_that_goes_away_ends_the_answer_streamed_or_not(
    client: anthropic.Anthropic, desk: WatchedService, say: Say
) -> None:
    say("".join(f"{i} " for i in range(1200)))
    question = {**QUESTION, "max_tokens": 3900}
    stream = client.messages.create(**question, stream=True)
    assert [next(stream).type for _ in range(4)][-1] == "content_block_delta"
    assert desk.llm.engine.call(lambda engine: engine.has_work)
    stream.close()
    assert frees_everything(desk.llm)
    with pytest.raises(anthropic.APITimeoutError):
        client.with_options(timeout=0.3).messages.create(**question)
    assert frees_everything(desk.llm)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 20}}, "thinking is enabled, and this model does not think"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "type of a tool is 'bash_20250124', which is not"),
        ({"extra_body": {"colour": 1}}, "the request has the field 'colour', which is not supported; leave it out"),
        ({"extra_body": {"mcp_servers": [{"url": "x"}]}}, "the request has the field 'mcp_servers', which is not"),
        ({"output_config": {"effort": "high"}}, "the effort is 'high', and this model does not think"),
        ({"max_tokens": 0}, "max_tokens is 0; it must be 1 or more"),
        (
            {"messages": [*QUESTION["messages"], {"role": "assistant", "content": "Tw"}]},
            "the last message is the assis",
        ),
        ({"tool_choice": {"type": "any"}}, "tool_choice is required, and there are no tools; give some"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    client: anthropic.Anthropic, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(anthropic.BadRequestError, match=sentence):
        client.messages.create(**{**QUESTION, **options})


def test_another_model_is_not_found(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="there is no model 'claude' here; ask for 'tiny'") as caught:
        client.messages.create(**{**QUESTION, "model": "claude"})
    assert caught.value.body == {
        "type": "error",
        "error": {"type": "not_found_error", "message": "there is no model 'claude' here; ask for 'tiny'"},
    }


def test_the_key_of_this_api_opens_it_too(desk: WatchedService, say: Say) -> None:
    say("Two.")
    locked = WatchedService(desk.llm, api_keys=("secret",))
    with serving(locked) as url:
        with pytest.raises(anthropic.AuthenticationError, match="the API key is wrong"):
            anthropic.Anthropic(base_url=url, api_key="guess", max_retries=0).messages.create(**QUESTION)
        message = anthropic.Anthropic(base_url=url, api_key="secret", max_retries=0).messages.create(**QUESTION)
    assert message.content[0].text == "Two."


def test_an_error_in_the_middle_of_a_stream_is_told_in_it(
    client: anthropic.Anthropic, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    say("Two.")

    def breaks(*_: object) -> None:
        raise ZeroDivisionError("secret words")

    monkeypatch.setattr(MessageEvents, "push", breaks)
    with pytest.raises(anthropic.APIStatusError, match="this is a fault of the server's") as caught:
        list(client.messages.create(**QUESTION, stream=True))
    assert "secret words" not in str(caught.value)
