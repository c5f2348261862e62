"""The Responses API through OpenAI's own client, over loopback."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage

pytest.importorskip("openai", reason="openai is not installed")

import openai

import regard
from regard.llm import LLM
from regard.messages import Image
from regard.server.responses_events import ResponseEvents
from tests.server.desk import WatchedService, frees_everything, masked, serving
from tests.tiny import ID_BY_TOKEN, tiny_folder
from tests.wants import wants

GOLDEN = Path(__file__).parent / "golden"
END = ID_BY_TOKEN["<|im_end|>"]
ZOOM = {
    "type": "function",
    "name": "zoom",
    "description": "Look closer.",
    "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}},
}
BOX = '[{"bbox_2d": [100, 200, 500, 600], "label": "cup"}]'
CALL = 'Let me look.\n<tool_call>\n{"name": "zoom", "arguments": {"x": 7}}\n</tool_call>'

Say = Callable[[str], None]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> WatchedService:
    return WatchedService(regard.load(tiny_folder(tmp_path_factory.mktemp("tiny") / "model")))


@pytest.fixture(scope="module")
def thinking_desk(tmp_path_factory: pytest.TempPathFactory) -> WatchedService:
    return WatchedService(regard.load(tiny_folder(tmp_path_factory.mktemp("tiny") / "model", thinking=True)))


@pytest.fixture(scope="module")
def client(desk: WatchedService) -> Iterator[openai.OpenAI]:
    with serving(desk) as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def thinking_client(thinking_desk: WatchedService) -> Iterator[openai.OpenAI]:
    with serving(thinking_desk) as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, desk: WatchedService) -> Say:
    """Make the model want a text, and then its end."""

    def script(text: str) -> None:
        wants(monkeypatch, scripted(desk.llm, text))

    return script


def scripted(llm: LLM, text: str) -> Callable[[list[int]], int]:
    ids = llm.processor.tokenizer.encode(text)
    return lambda output_ids: ids[len(output_ids)] if len(output_ids) < len(ids) else END


def png() -> str:
    buffer = io.BytesIO()
    PILImage.new("RGB", (64, 64), "red").save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def is_golden(name: str, value: Any) -> None:
    """Compare with the file; a missing one is written and told."""
    path = GOLDEN / f"{name}.json"
    shown = json.dumps(masked(value), indent=2, ensure_ascii=False) + "\n"
    if not path.exists():
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
        pytest.fail(f"{path} was missing and is written; look at it and run again")
    assert shown == path.read_text(encoding="utf-8")


def test_an_answer_has_the_golden_shape(client: openai.OpenAI, say: Say) -> None:
    say("Two.")
    response = client.responses.create(model="tiny", input="1+1?", max_output_tokens=20, metadata={"a": "b"})
    assert (response.output_text, response.status) == ("Two.", "completed")
    assert response.usage is not None and response.usage.output_tokens == 5
    is_golden("response", response.model_dump(mode="json", exclude_unset=True))


def test_a_stream_has_the_golden_events_and_ends_in_what_is_answered_without_one(
    client: openai.OpenAI, say: Say
) -> None:
    say("Two.")
    events = list(client.responses.create(model="tiny", input="1+1?", stream=True))
    is_golden("response_stream", [event.model_dump(mode="json", exclude_unset=True) for event in events])
    whole = client.responses.create(model="tiny", input="1+1?")
    last = events[-1]
    assert last.type == "response.completed"
    assert masked(last.response.model_dump()["output"]) == masked(whole.model_dump()["output"])


def test_the_clients_own_accumulator_reads_the_stream(client: openai.OpenAI, say: Say) -> None:
    say(CALL)
    with client.responses.stream(model="tiny", input="Where?", tools=[ZOOM]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert "response.function_call_arguments.delta" in kinds
    assert final.output_text == "Let me look." and final.output[1].arguments == '{"x": 7}'


def test_tools_are_called_and_their_outputs_go_back_with_pictures(
    client: openai.OpenAI, desk: WatchedService, say: Say
) -> None:
    say(CALL)
    first = client.responses.create(model="tiny", input="Where?", tools=[ZOOM], instructions="Be brief.")
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("zoom", {"x": 7})
    output = {
        "type": "function_call_output",
        "call_id": call.call_id,
        "output": [{"type": "input_image", "image_url": png()}],
    }
    say("There.")
    by_id = client.responses.create(model="tiny", previous_response_id=first.id, input=[output], tools=[ZOOM])
    asked = desk.asks[-1]
    assert [message.role for message in asked.messages] == ["user", "assistant", "tool"]
    assert asked.messages[1].tool_calls[0].arguments == {"x": 7} and isinstance(asked.messages[2].parts[0], Image)
    history = [{"role": "user", "content": "Where?"}, *(item.model_dump() for item in first.output), output]
    in_full = client.responses.create(model="tiny", input=history, tools=[ZOOM])
    assert desk.asks[-1].messages == asked.messages, "by id or in full, it is the same conversation"
    assert by_id.output_text == in_full.output_text == "There."


def test_a_call_can_be_forced_and_its_arguments_keep_to_the_schema(client: openai.OpenAI) -> None:
    tool = {**ZOOM, "strict": True, "parameters": {**ZOOM["parameters"], "required": ["x"]}}
    choice = {"type": "function", "name": "zoom"}
    response = client.responses.create(model="tiny", input="Hi", tools=[tool], tool_choice=choice, max_output_tokens=90)
    (call,) = response.output
    assert call.type == "function_call" and isinstance(json.loads(call.arguments)["x"], int)


def test_a_picture_is_seen(client: openai.OpenAI, desk: WatchedService, say: Say) -> None:
    say("Red.")
    content = [{"type": "input_text", "text": "Which?"}, {"type": "input_image", "image_url": png(), "detail": "auto"}]
    with_picture = client.responses.create(model="tiny", input=[{"role": "user", "content": content}])
    without = client.responses.create(model="tiny", input="Which?")
    assert with_picture.usage is not None and without.usage is not None
    assert with_picture.usage.input_tokens > without.usage.input_tokens


def test_an_uploaded_picture_is_named_by_its_id(client: openai.OpenAI, desk: WatchedService, say: Say) -> None:
    say("Red.")
    data = base64.b64decode(png().partition(",")[2])
    uploaded = client.files.create(file=("red.png", data), purpose="vision")
    for kind in ("input_image", "input_file"):
        content = [{"type": "input_text", "text": "Which?"}, {"type": kind, "file_id": uploaded.id}]
        client.responses.create(model="tiny", input=[{"role": "user", "content": content}])
        assert isinstance(desk.asks[-1].messages[0].parts[1], Image)


def test_a_schema_is_kept_to(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    text = {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}}
    response = client.responses.create(model="tiny", input="1+1?", text=text, max_output_tokens=40)
    assert set(json.loads(response.output_text)) == {"n"}


def test_a_limit_makes_a_response_incomplete(client: openai.OpenAI, say: Say) -> None:
    say("a long answer")
    response = client.responses.create(model="tiny", input="Go.", max_output_tokens=4)
    assert (response.output_text, response.status) == ("a lo", "incomplete")
    assert response.incomplete_details is not None and response.incomplete_details.reason == "max_output_tokens"


def test_thinking_is_an_item_of_its_own_and_effort_bounds_it(
    thinking_client: openai.OpenAI, thinking_desk: WatchedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    wants(monkeypatch, scripted(thinking_desk.llm, "hm\n</think>\n\nTwo."))
    events = list(
        thinking_client.responses.create(model="tiny", input="1+1?", reasoning={"effort": "low"}, stream=True)
    )
    response = events[-1].response
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.output[0].content[0].text == "hm" and response.output_text == "Two."
    assert response.usage.output_tokens_details.reasoning_tokens == 3
    assert thinking_desk.asks[-1].options["thinking_budget"] == 1024
    kinds = [event.type for event in events]
    assert kinds.index("response.reasoning_text.done") < kinds.index("response.output_text.delta")


def test_stored_responses_are_got_and_deleted_and_others_are_not_there(client: openai.OpenAI, say: Say) -> None:
    say("Two.")
    kept = client.responses.create(model="tiny", input="1+1?")
    assert client.responses.retrieve(kept.id).output_text == "Two."
    client.responses.delete(kept.id)
    unkept = client.responses.create(model="tiny", input="1+1?", store=False)
    for response_id in (kept.id, unkept.id):
        with pytest.raises(openai.NotFoundError, match="there is no stored response"):
            client.responses.create(model="tiny", previous_response_id=response_id, input="And?")


def test_what_a_stored_response_was_asked_is_listed_in_pages(client: openai.OpenAI, say: Say) -> None:
    say(CALL)
    content = [{"type": "input_text", "text": "Where?"}, {"type": "input_image", "image_url": png()}]
    first = client.responses.create(model="tiny", input=[{"role": "user", "content": content}], tools=[ZOOM])
    (call,) = [item for item in first.output if item.type == "function_call"]
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "It is red."}
    say("There.")
    second = client.responses.create(model="tiny", previous_response_id=first.id, input=[output], tools=[ZOOM])
    third = client.responses.create(model="tiny", previous_response_id=second.id, input="And now?")
    listed = client.responses.input_items.list(third.id, order="asc")
    is_golden("response_input_items", listed.model_dump(mode="json", exclude_unset=True))
    items = listed.data
    assert [item.id for item in items[1:3]] == [item.id for item in first.output], "answers keep their ids"
    assert [item.id for item in client.responses.input_items.list(third.id)] == [item.id for item in items[::-1]]
    pages = client.responses.input_items.list(third.id, order="asc", limit=4)
    assert len(pages.data) == 4 and pages.has_more
    assert [item.id for item in pages] == [item.id for item in items], "the client's own paging finds all of them"
    rest = client.responses.input_items.list(third.id, order="asc", after=items[3].id)
    assert [item.id for item in rest.data] == [item.id for item in items[4:]]
    end = client.responses.input_items.list(third.id, after=items[0].id)
    assert end.data == [] and (end.first_id, end.last_id, end.has_more) == (None, None, False)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"limit": 0}, "limit is '0'; it must be a whole number from 1 to 100"),
        ({"limit": 101}, "limit is '101'; it must be a whole number from 1 to 100"),
        ({"order": "up"}, "order is 'up'; it must be 'desc' or 'asc'"),
        ({"after": "msg_none"}, "after is 'msg_none', which is none of the response's input items; give an item's id"),
        ({"include": ["message.input_image.image_url"]}, "the address has the option 'include.*', which is not supp"),
        ({"extra_query": {"before": "msg_1"}}, "the address has the option 'before', which is not supported; leave it"),
    ],
)
def test_a_list_of_items_that_cannot_be_made_is_refused(
    client: openai.OpenAI, say: Say, query: dict[str, Any], sentence: str
) -> None:
    say("Two.")
    kept = client.responses.create(model="tiny", input="1+1?")
    with pytest.raises(openai.BadRequestError, match=sentence):
        client.responses.input_items.list(kept.id, **query)
    with pytest.raises(openai.BadRequestError, match="the address has the option 'stream', which is not supported"):
        list(client.responses.retrieve(kept.id, stream=True))


def test_items_of_what_is_not_stored_are_not_found(client: openai.OpenAI, say: Say) -> None:
    say("Two.")
    unkept = client.responses.create(model="tiny", input="1+1?", store=False)
    with pytest.raises(openai.NotFoundError, match="there is no stored response"):
        client.responses.input_items.list(unkept.id)


@pytest.mark.parametrize("coordinates", ["pixel", "relative"])
def test_places_and_media_come_as_in_chat_streamed_or_not(client: openai.OpenAI, say: Say, coordinates: str) -> None:
    say(BOX)
    content = [{"type": "input_text", "text": "Where?"}, {"type": "input_image", "image_url": png()}]
    question: Any = {
        "model": "tiny",
        "input": [{"role": "user", "content": content}],
        "extra_body": {"coordinates": coordinates},
    }
    client.responses.create(**question)  # from here on the picture is in the cache for both
    whole = client.responses.create(**question).model_dump(mode="json", exclude_unset=True)
    *_, last = client.responses.create(**question, stream=True)
    streamed = last.response.model_dump(mode="json", exclude_unset=True)
    names = ("boxes", "points", "media")
    assert {name: streamed[name] for name in names} == {name: whole[name] for name in names}
    box = whole["boxes"][0]
    found = [box[name] for name in ("x1", "y1", "x2", "y2")]
    assert found == pytest.approx([6.4, 12.8, 32, 38.4] if coordinates == "pixel" else [100, 200, 500, 600])
    assert 0 < box["confidence"] <= 1 and (whole["media"][0]["width"], whole["media"][0]["height"]) == (64, 64)
    is_golden(f"response_boxes_{coordinates}", {name: whole[name] for name in names})
    assert client.responses.retrieve(whole["id"]).model_dump(mode="json", exclude_unset=True) == whole


def test_places_are_told_only_if_asked_for(client: openai.OpenAI, say: Say) -> None:
    say(BOX)
    plain = client.responses.create(model="tiny", input="Where?").model_dump()
    assert plain["media"] == [] and "boxes" not in plain and "points" not in plain
    with pytest.raises(openai.BadRequestError, match="coordinates of the request is 'inch'; it must be 'pixel' or"):
        client.responses.create(model="tiny", input="Where?", extra_body={"coordinates": "inch"})


def test_a_streamed_response_is_stored_as_well(client: openai.OpenAI, desk: WatchedService, say: Say) -> None:
    say("Two.")
    *_, last = client.responses.create(model="tiny", input="1+1?", stream=True)
    client.responses.create(model="tiny", previous_response_id=last.response.id, input="And?")
    assert [message.text for message in desk.asks[-1].messages] == ["1+1?", "Two.", "And?"]


def test_a_client_that_goes_away_ends_the_answer_streamed_or_not(
    client: openai.OpenAI, desk: WatchedService, say: Say
) -> None:
    say("".join(f"{i} " for i in range(1200)))
    stream = client.responses.create(model="tiny", input="Count.", stream=True, max_output_tokens=3900)
    assert [next(stream).type for _ in range(6)][-1] == "response.output_text.delta"
    assert desk.llm.engine.call(lambda engine: engine.has_work)
    stream.close()
    assert frees_everything(desk.llm)
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).responses.create(model="tiny", input="Count.", max_output_tokens=3900)
    assert frees_everything(desk.llm)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"truncation": "auto"}, "truncation of the request is 'auto', which is not supported; leave it out or give"),
        ({"background": True}, "background of the request is True, which is not supported"),
        ({"tools": [{"type": "web_search"}]}, "a tool has the type 'web_search'; only functions are supported"),
        ({"reasoning": {"effort": "high"}}, "the effort is 'high', and this model does not think"),
        ({"temperature": 9e99, "top_p": 2}, "top_p is 2; it must be in"),
        ({"extra_body": {"colour": 1}}, "the request has the field 'colour', which is not supported; leave it out"),
        ({"max_output_tokens": 0}, "max_tokens is 0; it must be 1 or more"),
        ({"tool_choice": "required"}, "tool_choice is required, and there are no tools; give some"),
        ({"tools": [{**ZOOM, "strict": True}]}, "strict of the tool 'zoom' can be honoured only if a call is forced"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    client: openai.OpenAI, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=sentence):
        client.responses.create(**{"model": "tiny", "input": "Hi", **options})


def test_another_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-5' here; ask for 'tiny'"):
        client.responses.create(model="gpt-5", input="Hi")


def test_an_error_in_the_middle_of_a_stream_is_told_in_it(
    client: openai.OpenAI, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    say("Two.")

    def breaks(*_: object) -> None:
        raise ZeroDivisionError("secret words")

    monkeypatch.setattr(ResponseEvents, "push", breaks)
    *_, last = client.responses.create(model="tiny", input="1+1?", stream=True)
    assert last.type == "response.failed" and last.response.error is not None
    assert last.response.error.message.startswith("this is a fault of the server's")
