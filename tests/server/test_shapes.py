"""The JSON of every shape, byte for byte but for ids and times: what programs of others rely on.

A tiny model says what a test wants. A golden file that is missing is written, and its test fails once.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytest.importorskip("fastapi", reason="the server needs the extra 'server'")

import regard
from regard.llm import LLM
from regard.server import apps_api
from tests.server.conftest import Running, asked, picture, png, running
from tests.tiny import ID_BY_TOKEN, tiny_folder
from tests.wants import wants

GOLDEN = Path(__file__).parent / "golden"
END = ID_BY_TOKEN["<|im_end|>"]
VARIABLE = {
    "id",
    "created",
    "created_at",
    "expires_at",
    "decode_s",
    "logprob",
    "confidence",
    "version",
    "token_logprobs",
    "device",
    "dtype",
}
TOOL = {"type": "function", "function": {"name": "zoom", "parameters": {"type": "object"}}}
CALLS = (
    'Look.\n<tool_call>\n{"name": "zoom", "arguments": {"x": [1, 2]}}\n</tool_call>\n'
    '<tool_call>\n{"name": "zoom", "arguments": {}}\n</tool_call>'
)
PLACES = '```json\n[\n\t{"bbox_2d": [100, 200, 500, 600], "label": "cup"}\n]\n```'
BOX = '[{"bbox_2d": [100, 200, 500, 600], "label": "cup"}]'


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from serve(tmp_path_factory, thinking=False)


@pytest.fixture(scope="module")
def thinking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from serve(tmp_path_factory, thinking=True)


def serve(factory: pytest.TempPathFactory, *, thinking: bool) -> Iterator[Running]:
    llm = regard.LLM.load(str(tiny_folder(factory.mktemp("tiny") / "tiny", thinking=thinking)))
    with running(llm) as one:
        yield one
    llm.engine.close()


Say = Callable[[Running, str], None]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Say:
    """Make a server's model say a text."""

    def script(one: Running, text: str) -> None:
        wants(monkeypatch, scripted(one.service.llm, text))

    return script


def scripted(llm: LLM, text: str) -> Callable[[list[int]], int]:
    ids = llm.processor.tokenizer.encode(text)
    return lambda output_ids: ids[len(output_ids)] if len(output_ids) < len(ids) else END


def post(one: Running, path: str, **body: Any) -> httpx2.Response:
    answer = httpx2.post(f"{one.url}{path}", json=body, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer


def chat(one: Running, **body: Any) -> httpx2.Response:
    whole = {"messages": [{"role": "user", "content": "Hi."}], "max_tokens": 300, **body}
    return post(one, "/v1/chat/completions", **whole)


def chunks(answer: httpx2.Response) -> list[Any]:
    """The events of a stream; its end mark is checked and left out."""
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    return [json.loads(event) for event in events]


def masked(value: Any) -> Any:
    """Without what differs from run to run, from machine to machine, and between versions of libraries."""
    if isinstance(value, dict):
        return {
            key: "*"
            if one is not None and (key in VARIABLE or (key == "bytes" and isinstance(one, int)))
            else masked(one)
            for key, one in value.items()
        }
    if isinstance(value, str) and value.startswith("the data URL"):
        return "the data URL"
    return [masked(one) for one in value] if isinstance(value, list) else value


def is_golden(name: str, value: Any) -> None:
    path = GOLDEN / f"{name}.json"
    shown = json.dumps(masked(value), indent=1, ensure_ascii=False) + "\n"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
        pytest.fail(f"{path} was missing and is written; look at it and run again")
    assert shown == path.read_text(encoding="utf-8")


def joined(events: list[Any]) -> dict[str, Any]:
    """The message that a client builds of a stream's deltas."""
    message: dict[str, Any] = {"content": "", "reasoning_content": "", "tool_calls": []}
    for event in events:
        for choice in event["choices"]:
            delta = choice["delta"]
            for name in ("content", "reasoning_content"):
                message[name] += delta.get(name) or ""
            for call in delta.get("tool_calls", ()):
                if call["index"] == len(message["tool_calls"]):
                    message["tool_calls"].append({"name": call["function"]["name"], "arguments": ""})
                message["tool_calls"][call["index"]]["arguments"] += call["function"]["arguments"]
    return message


def test_a_plain_answer(tiny: Running, say: Say) -> None:
    say(tiny, "Two cups.")
    is_golden("chat", chat(tiny).json())
    is_golden("chat_stream", chunks(chat(tiny, stream=True, stream_options={"include_usage": True})))


def test_boxes_and_media(tiny: Running, say: Say) -> None:
    say(tiny, BOX)
    body = {"messages": asked(picture()), "coordinates": "pixel"}
    whole = chat(tiny, **body).json()
    is_golden("chat_boxes", whole)
    assert chunks(chat(tiny, stream=True, **body))[-1]["choices"][0]["boxes"] == whole["choices"][0]["boxes"]
    assert whole["choices"][0]["boxes"][0]["confidence"] == pytest.approx(1.0)


def test_applications(tiny: Running, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps_api, "PROGRESS_EVERY_S", 0.0)
    say(tiny, PLACES)
    with (  # a server of its own, for the files that stay
        running(tiny.service.llm) as one,
        httpx2.Client(base_url=one.url, trust_env=False, timeout=60) as http,
    ):
        is_golden("apps", http.get("/v1/apps").json())
        upload = http.post("/v1/files", files={"file": ("cup.png", png())}).json()
        body = {"inputs": [upload["id"]], "options": {"what": "cup"}}
        answer = http.post("/v1/apps/locate", json=body)
        assert answer.headers["content-type"].startswith("text/event-stream")
        is_golden("app_run", named_events(answer))
        no_picture = http.post("/v1/files", files={"file": ("cup.png", png()[:-200])}).json()
        is_golden("app_error", named_events(http.post("/v1/apps/locate", json={**body, "inputs": [no_picture["id"]]})))
        is_golden(
            "app_refused",
            http.post("/v1/apps/locate", json={**body, "options": {"what": "cup", "where": "left"}}).json(),
        )


def named_events(answer: httpx2.Response) -> list[Any]:
    """The events of a stream whose events have names, which are the types of their data."""
    blocks = [block.splitlines() for block in answer.text.split("\n\n") if block and not block.startswith(":")]
    events = [json.loads(data.removeprefix("data: ")) for _, data in blocks]
    assert [name for name, _ in blocks] == [f"event: {event['type']}" for event in events]
    return events


def test_log_probabilities(tiny: Running, say: Say) -> None:
    say(tiny, "A cup")
    whole = chat(tiny, logprobs=True, top_logprobs=1).json()
    content = whole["choices"][0]["logprobs"]["content"]
    assert bytes(byte for one in content for byte in one["bytes"]) == b"A cup"
    is_golden("chat_logprobs", whole)


def test_calls(tiny: Running, say: Say) -> None:
    say(tiny, CALLS)
    whole = chat(tiny, tools=[TOOL]).json()
    is_golden("chat_calls", whole)
    events = chunks(chat(tiny, tools=[TOOL], stream=True))
    is_golden("chat_calls_stream", events)
    message, built = whole["choices"][0]["message"], joined(events)
    assert built["content"] == message["content"] == "Look."
    assert built["tool_calls"] == [call["function"] for call in message["tool_calls"]]
    assert len(built["tool_calls"]) == 2


def test_what_looks_like_a_call_is_text_where_none_may_be(tiny: Running, say: Say) -> None:
    say(tiny, CALLS)
    for options in ({}, {"tools": [TOOL], "tool_choice": "none"}):
        choice = chat(tiny, **options).json()["choices"][0]
        assert choice["message"]["content"] == CALLS and "tool_calls" not in choice["message"]
        assert choice["finish_reason"] == "stop"


def test_one_call_is_enough_where_they_are_not_parallel(tiny: Running, say: Say) -> None:
    say(tiny, CALLS)
    choice = chat(tiny, tools=[TOOL], parallel_tool_calls=False).json()["choices"][0]
    assert len(choice["message"]["tool_calls"]) == 1 and choice["finish_reason"] == "tool_calls"


def test_a_call_that_is_cut_off_keeps_what_was_written(tiny: Running, say: Say) -> None:
    say(tiny, CALLS)
    whole = chat(tiny, tools=[TOOL], max_tokens=40).json()["choices"][0]
    events = chunks(chat(tiny, tools=[TOOL], max_tokens=40, stream=True))
    assert whole["finish_reason"] == "length" == events[-1]["choices"][0]["finish_reason"]
    assert joined(events)["tool_calls"] == [call["function"] for call in whole["message"]["tool_calls"]]


def test_thinking(thinking: Running, say: Say) -> None:
    say(thinking, "One and\none.\n</think>\n\nTwo.")
    whole = chat(thinking).json()
    is_golden("chat_thinking", whole)
    events = chunks(chat(thinking, stream=True))
    assert joined(events)["reasoning_content"] == whole["choices"][0]["message"]["reasoning_content"]
    assert whole["usage"]["completion_tokens_details"]["reasoning_tokens"] > 5


def test_an_effort_is_a_budget(thinking: Running, say: Say) -> None:
    say(thinking, "Well, " * 100 + "</think>\n\nTwo.")
    message = chat(thinking, reasoning_effort="none", max_tokens=40).json()["choices"][0]["message"]
    assert "reasoning_content" not in message and message["content"]
    message = chat(thinking, thinking_budget=5, max_tokens=40).json()["choices"][0]["message"]
    assert 0 < len(message["reasoning_content"]) < 40


def test_completions(tiny: Running, say: Say) -> None:
    say(tiny, "<think> cups <tool_call>")
    body = {"prompt": ["Two", "Three"], "max_tokens": 50, "logprobs": 1}
    whole = post(tiny, "/v1/completions", **body).json()
    assert [choice["text"] for choice in whole["choices"]] == ["<think> cups <tool_call>"] * 2
    is_golden("completion", whole)
    events = chunks(post(tiny, "/v1/completions", stream=True, **body))
    texts = ["", ""]
    for event in events:
        texts[event["choices"][0]["index"]] += event["choices"][0]["text"]
    assert texts == [choice["text"] for choice in whole["choices"]]
    echoed = post(tiny, "/v1/completions", prompt="Two", max_tokens=50, echo=True).json()
    assert echoed["choices"][0]["text"] == "Two<think> cups <tool_call>"


def test_the_small_routes(tiny: Running) -> None:
    with httpx2.Client(base_url=tiny.url, trust_env=False) as http:
        models = http.get("/v1/models").json()
        is_golden("models", models)
        assert http.get("/v1/models/tiny").json() == models["data"][0]
        assert http.get("/v1/models/other").status_code == 404
        is_golden("presets", http.get("/v1/presets").json())
        is_golden("error", http.post("/v1/chat/completions", json={"model": "tiny", "messages": 3}).json())
        is_golden("nothing", http.get("/v1/nothing").json())
        text = "Two cups, three w\u00f6rds"
        told = http.post("/tokenize", json={"prompt": text}).json()
        assert told["count"] == len(told["tokens"]) == len(told["token_strs"])
        assert http.post("/detokenize", json={"tokens": told["tokens"]}).json() == {"prompt": text}
        told = http.post("/tokenize", json={"messages": asked(picture())}).json()
        assert told["media"][0]["num_visual_tokens"] == 60 < told["count"]
        assert http.post("/detokenize", json={"tokens": [10**9]}).status_code == 400


def test_files_live_until_they_are_deleted(tiny: Running, say: Say) -> None:
    say(tiny, "A cup")
    with httpx2.Client(base_url=tiny.url, trust_env=False) as http:
        upload = {"file": ("../../shot.png", png())}
        made = http.post("/v1/files", files=upload, data={"purpose": "vision"}).json()
        assert (made["filename"], made["kind"]) == ("shot.png", "image")
        is_golden("file", made)
        assert http.get("/v1/files").json()["data"] == [made] == [http.get(f"/v1/files/{made['id']}").json()]
        content = http.get(f"/v1/files/{made['id']}/content")
        assert content.content == png() and "attachment" in content.headers["content-disposition"]
        for part in (
            {"type": "file", "file": {"file_id": made["id"]}, "max_pixels": 32 * 32 * 16},
            {"type": "image_file", "image_file": {"file_id": made["id"], "max_pixels": 32 * 32 * 16}},
            {"type": "image_url", "image_url": {"url": made["id"], "max_pixels": 32 * 32 * 16}},
        ):
            (report,) = chat(tiny, messages=asked(part)).json()["media"]
            assert report["name"] == "shot.png" and report["num_visual_tokens"] <= 16
        assert http.delete(f"/v1/files/{made['id']}").json()["deleted"] is True
        for path in (made["id"], "..%2F..%2Fetc%2Fpasswd", "file-"):
            assert http.get(f"/v1/files/{path}/content").status_code == 404
        assert http.post("/v1/files", files={"file": ("a.png", b"")}).status_code == 400
        assert http.post("/v1/files", data={"purpose": "vision"}, files={"other": b"x"}).status_code == 400
        assert http.post("/v1/files", json={}).status_code == 415


def test_a_gif_is_a_picture_or_a_clip_as_the_message_says(tiny: Running, say: Say) -> None:
    pytest.importorskip("av", reason="reading video needs the extra 'video'")
    from PIL import Image

    say(tiny, "A cup")
    out = io.BytesIO()
    frames = [Image.new("RGB", (64, 64), color) for color in ("red", "green", "blue", "white")]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=500)
    with httpx2.Client(base_url=tiny.url, trust_env=False) as http:
        made = http.post("/v1/files", files={"file": ("a.gif", out.getvalue())}).json()
    for part, kind in (
        ({"type": "image_url", "image_url": made["id"]}, "image"),
        ({"type": "video", "video": made["id"]}, "video"),
    ):
        (report,) = chat(tiny, messages=asked(part)).json()["media"]
        assert report["kind"] == kind


def test_files_are_bounded_forgotten_and_gone_at_the_end(tiny: Running) -> None:
    with running(tiny.service.llm, max_file_bytes=2000, max_files=2, file_ttl_s=0.5) as one:
        folder = one.service.files.folder
        with httpx2.Client(base_url=one.url, trust_env=False) as http:
            assert http.post("/v1/files", files={"file": ("a", b"x" * 2001)}).status_code == 413
            for _ in range(2):
                assert http.post("/v1/files", files={"file": ("a.png", png())}).status_code == 200
            full = http.post("/v1/files", files={"file": ("a.png", png())})
            assert full.status_code == 413 and "no room for more files" in full.json()["error"]["message"]
            one.service.files._now = lambda: 1e12
            assert http.get("/v1/files").json()["data"] == [] and not list(folder.iterdir())
            one.service.files._now = lambda: 0.0
            assert http.post("/v1/files", files={"file": ("a.png", png())}).status_code == 200
    assert not folder.exists()


def test_metrics_are_counted(tiny: Running, say: Say) -> None:
    def figure(name: str) -> float:
        text = httpx2.get(f"{tiny.url}/metrics", trust_env=False).text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    say(tiny, "A cup")
    names = (
        "regard_output_tokens_total",
        "regard_visual_tokens_total",
        "regard_ttft_seconds_count",
        "regard_media_total",
        'regard_requests_total{endpoint="/v1/chat/completions",status="200"}',
    )
    before = [figure(name) for name in names]
    usage = chat(tiny, messages=asked(picture())).json()["usage"]
    after = [figure(name) for name in names]
    gained = [new - old for new, old in zip(after, before, strict=True)]
    assert gained == [usage["completion_tokens"], 60, 1, 1, 1]
    assert figure("regard_blocks ") > figure("regard_blocks_used ") == 0
