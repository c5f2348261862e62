"""Chat completions through OpenAI's own client, over loopback, against regard-nano."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="openai is not installed")

import openai

from tests.clips import constant_times, write_clip
from tests.server.conftest import Running, asked, data_url, picture, png

ZOOM = {
    "type": "function",
    "function": {
        "name": "zoom",
        "parameters": {
            "type": "object",
            "properties": {"box": {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4}},
            "required": ["box"],
            "additionalProperties": False,
        },
    },
}
LOOK = {"type": "function", "function": {"name": "look"}}
CIRCLE = {"model": "nano", "messages": asked(picture()), "max_tokens": 60}


def create(client: openai.OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(**{**CIRCLE, **options})


def test_a_picture_is_answered_with_its_report(client: openai.OpenAI) -> None:
    reply = create(client)
    assert "red circle" in reply.choices[0].message.content
    assert reply.choices[0].finish_reason == "stop"
    (report,) = reply.media
    assert (report["kind"], report["width"], report["height"], report["num_visual_tokens"]) == ("image", 320, 200, 240)
    usage = reply.usage
    assert usage.prompt_tokens_details.image_tokens == 240
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_boxes_come_in_pixels_or_in_thousandths_with_their_confidence(client: openai.OpenAI) -> None:
    (pixel,) = create(client, extra_body={"coordinates": "pixel"}).choices[0].boxes
    (relative,) = create(client, extra_body={"coordinates": "relative"}).choices[0].boxes
    assert relative["x1"] == pytest.approx(pixel["x1"] * 1000 / 320)
    assert relative["y2"] == pytest.approx(pixel["y2"] * 1000 / 200)
    assert pixel["label"] == "red circle" and 0 < pixel["confidence"] <= 1
    assert not hasattr(create(client).choices[0], "boxes")


def test_a_stream_says_what_a_whole_answer_says(client: openai.OpenAI) -> None:
    options = {"logprobs": True, "top_logprobs": 2, "extra_body": {"coordinates": "pixel"}}
    whole = create(client, **options)
    chunks = list(create(client, stream=True, stream_options={"include_usage": True}, **options))
    *spoken, last = chunks
    pieces = [chunk.choices[0].delta.content or "" for chunk in spoken]
    assert len(pieces) > 10 and "".join(pieces) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert spoken[-1].choices[0].finish_reason == "stop"
    assert spoken[-1].choices[0].boxes[0]["x1"] == whole.choices[0].boxes[0]["x1"]
    assert spoken[-1].media[0]["width"] == 320
    assert last.choices == [] and last.usage.completion_tokens == whole.usage.completion_tokens
    tokens = [one.token for chunk in spoken if chunk.choices[0].logprobs for one in chunk.choices[0].logprobs.content]
    assert tokens == [one.token for one in whole.choices[0].logprobs.content]


def test_log_probabilities_spell_the_answer(client: openai.OpenAI) -> None:
    choice = create(client, logprobs=True, top_logprobs=3).choices[0]
    assert "".join(one.token for one in choice.logprobs.content) == choice.message.content
    assert all(one.logprob <= 0 and len(one.top_logprobs) == 3 for one in choice.logprobs.content)


def test_several_answers_have_their_own_index(client: openai.OpenAI) -> None:
    loose = {"top_k": 0}  # of whatever the bundled checkpoint is sure of, three answers may be the same
    options = {"n": 3, "temperature": 2.0, "top_p": 1.0, "extra_body": loose, "seed": 5, "max_tokens": 12}
    whole = create(client, **options)
    texts = [choice.message.content for choice in whole.choices]
    assert [choice.index for choice in whole.choices] == [0, 1, 2] and len(set(texts)) > 1
    streamed = ["", "", ""]
    for chunk in create(client, stream=True, **options):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts
    assert whole.usage.completion_tokens > 8


def test_a_stop_string_ends_the_answer_before_it(client: openai.OpenAI) -> None:
    choice = create(client, stop=["bbox", "zzz"]).choices[0]
    assert "bbox" not in choice.message.content and choice.message.content.endswith('{"')
    assert (choice.finish_reason, choice.stop_reason) == ("stop", "bbox")


def test_a_schema_is_kept_to(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"color": {"enum": ["red", "blue"]}}, "required": ["color"]}
    form = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": schema}}
    assert json.loads(create(client, response_format=form).choices[0].message.content)["color"] in ("red", "blue")
    outputs = {"structured_outputs": {"choice": ["left", "right"]}}
    assert create(client, extra_body=outputs).choices[0].message.content in ("left", "right")


def test_a_forced_call_is_made_and_its_arguments_come_in_pieces(client: openai.OpenAI) -> None:
    options = {"tools": [ZOOM, LOOK], "tool_choice": {"type": "function", "function": {"name": "zoom"}}}
    choice = create(client, max_tokens=200, **options).choices[0]
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    assert call.function.name == "zoom" and len(json.loads(call.function.arguments)["box"]) == 4
    deltas = [chunk.choices[0].delta for chunk in create(client, max_tokens=200, stream=True, **options)]
    first, *rest = [delta.tool_calls[0] for delta in deltas if delta.tool_calls]
    assert first.id and first.function.name == "zoom"
    assert len(rest) > 5 and all(piece.id is None and piece.index == 0 for piece in rest)
    assert "".join(piece.function.arguments for piece in rest) == call.function.arguments


def test_a_call_is_required_but_not_two(client: openai.OpenAI) -> None:
    choice = create(client, tools=[ZOOM, LOOK], tool_choice="required", parallel_tool_calls=False, max_tokens=300)
    assert len(choice.choices[0].message.tool_calls) == 1


def test_the_results_of_calls_go_back_as_they_came(client: openai.OpenAI) -> None:
    choice = create(client, tools=[ZOOM], tool_choice="required", parallel_tool_calls=False, max_tokens=200).choices[0]
    call = choice.message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": "a red circle"}
    messages = [*CIRCLE["messages"], choice.message.model_dump(), result]
    assert create(client, messages=messages, tools=[ZOOM], max_tokens=5).choices[0].finish_reason
    with pytest.raises(openai.BadRequestError, match="no such call"):
        create(client, messages=[*messages[:-1], {**result, "tool_call_id": "call_other"}])


@pytest.mark.parametrize("key", ["image_url", "input_image"])
def test_a_picture_may_have_its_own_pixel_limits(client: openai.OpenAI, key: str) -> None:
    part = {"type": key, "image_url": {"url": data_url(png())}, "max_pixels": 16 * 16 * 16}
    reply = create(client, messages=asked(part), max_tokens=2)
    assert reply.media[0]["num_visual_tokens"] <= 16


def test_clips_by_file_and_by_frames(client: openai.OpenAI, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="reading video needs the extra 'video'")
    clip = write_clip(tmp_path / "clip.mp4", constant_times(50))
    part = {"type": "video_url", "video_url": {"url": data_url(clip.read_bytes(), "video/mp4")}, "num_frames": 4}
    (report,) = create(client, messages=asked(part, text="What happens?"), max_tokens=3).media
    assert (report["kind"], report["num_frames"]) == ("video", 4)
    frames = {"type": "video", "video": [data_url(png())] * 4}
    (report,) = create(client, messages=asked(frames, text="What happens?"), max_tokens=3).media
    assert (report["kind"], report["num_frames"]) == ("video", 4)


def test_a_preset_gives_sampling_and_pixels(client: openai.OpenAI) -> None:
    reply = create(client, extra_body={"preset": "ocr", "temperature": 0}, max_tokens=2)
    assert reply.media[0]["num_visual_tokens"] >= 512
    with pytest.raises(openai.BadRequestError, match="there is no preset 'nope'"):
        create(client, extra_body={"preset": "nope"})


def test_files_of_the_media_folder_and_no_others(client: openai.OpenAI, media_folder: Path, tmp_path: Path) -> None:
    for folder in (media_folder, tmp_path):
        (folder / "shot.png").write_bytes(png())
    part = {"type": "image_url", "image_url": {"url": str(media_folder / "shot.png")}}
    assert create(client, messages=asked(part), max_tokens=2).media[0]["width"] == 320
    for path in (tmp_path / "shot.png", media_folder / ".." / "shot.png", "/etc/passwd"):
        with pytest.raises(openai.BadRequestError, match="not in a folder that may be read"):
            create(client, messages=asked({"type": "image_url", "image_url": {"url": str(path)}}))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"bogus": 1}, "has the field 'bogus', which is not supported"),
    ({"temperature": "warm"}, "temperature is 'warm'; it must be a number"),
    ({"temperature": -1}, "temperature is -1"),
    ({"max_tokens": 0}, "max_tokens is 0"),
    ({"max_tokens": 5, "max_completion_tokens": 6}, "they mean the same"),
    ({"n": 1000}, "n is 1000"),
    ({"stop": 3}, "stop is 3"),
    ({"stop": [""]}, "texts that are not empty"),
    ({"logit_bias": {"x": 1}}, "logit_bias names the token 'x'"),
    ({"top_logprobs": 2}, "top_logprobs is given without logprobs"),
    ({"messages": []}, "at least one message"),
    ({"messages": "hello"}, "messages of the request is 'hello'"),
    ({"messages": [{"role": "assistant", "content": "x"}]}, "end with the user's"),
    ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "a part has the type 'audio'"),
    ({"messages": [{"role": "user", "content": [7]}]}, "a part of a message is 7"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, "the role 'wizard'"),
    ({"response_format": {"type": "xml"}}, "type of response_format of the request is 'xml'"),
    ({"response_format": {"type": "json_schema"}}, "has no 'json_schema'"),
    ({"tools": [ZOOM], "response_format": {"type": "json_object"}}, "cannot keep to one and call the others"),
    ({"tools": [{**ZOOM, "function": {**ZOOM["function"], "strict": True}}]}, "strict of the tool 'zoom'"),
    ({"tools": [ZOOM, ZOOM]}, "two tools have the same name"),
    ({"tool_choice": "required"}, "there are no tools"),
    ({"tools": [ZOOM], "tool_choice": {"type": "function", "function": {"name": "fly"}}}, "names the function 'fly'"),
    ({"reasoning_effort": "high"}, "does not think before it answers"),
    ({"coordinates": "inches"}, "'pixel' or 'relative'"),
    ({"chat_template_kwargs": {"enable_thinking": False}}, "'enable_thinking', which is not supported"),
    ({"stream_options": {"include_usage": True}}, "stream_options is given without stream"),
    ({"modalities": ["audio"]}, "modalities of the request"),
    ({"messages": asked({"type": "file", "file": {"file_id": "file-1"}})}, "there is no file 'file-1'"),
    ({"model": "gpt-9"}, "there is no model 'gpt-9' here; ask for 'nano'"),
]


@pytest.mark.parametrize(("change", "words"), WRONG, ids=[words for _, words in WRONG])
def test_what_is_wrong_is_named_in_one_sentence(server: Running, change: dict[str, Any], words: str) -> None:
    import httpx2

    answer = httpx2.post(f"{server.url}/v1/chat/completions", json={**CIRCLE, **change}, trust_env=False)
    assert answer.status_code in (400, 404)
    error = answer.json()["error"]
    assert words in error["message"] and "\n" not in error["message"]
    assert error["type"] in ("invalid_request_error", "not_found_error")


def test_a_prompt_that_is_too_long_is_413(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError, match="the model's context holds 8192") as caught:
        create(client, messages=[{"role": "user", "content": "word " * 9000}])
    assert caught.value.status_code == 413 and caught.value.code == "context_length_exceeded"
