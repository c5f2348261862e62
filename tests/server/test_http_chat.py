"""The client against our own server with regard-nano: what comes back is what the model says when it is asked here."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import soak
from benchmarks.soak_server import Server
from regard.cli.main import run
from regard.client import HttpChat
from regard.client.connection import Patience
from regard.errors import CapacityError, ConfigError, InputError
from regard.llm import LLM
from regard.messages import Document, Image, Message, Text, ToolCall, Video
from regard.reply import Reply
from regard.sampling_params import Structure
from tests.server import lmms_task
from tests.server.conftest import Running, running

IDLE_S = 20.0  # what takes a step may take so long on a loaded machine


@pytest.fixture(scope="module")
def url(server: Running) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "*")
        yield f"{server.url}/v1"


@pytest.fixture(scope="module")
def chat(url: str) -> Iterator[HttpChat]:
    with HttpChat.connect(url) as connected:
        yield connected


@pytest.fixture(scope="module")
def local() -> Iterator[LLM]:
    """The same model with a user's rules: files may be named."""
    llm = LLM.load("nano")
    yield llm
    llm.engine.close()


def compared(reply: Reply) -> dict[str, Any]:
    """A reply without what is measured, what a server does not send, and what the engines' histories decide."""
    made = reply.to_json()
    for key in ("token_ids", "logprobs"):
        del made[key]
    made["usage"] = {key: made["usage"][key] for key in ("num_prompt_tokens", "num_output_tokens", "num_visual_tokens")}
    for report in made["media"]:
        del report["cache_hit"], report["decode_s"]
    return made


def test_the_server_is_recognised_with_its_model(chat: HttpChat, nano: LLM) -> None:
    assert (chat.name, chat.served.kind, chat.is_thinking) == ("nano", "regard", False)
    assert chat.served.max_model_len == nano.model.config.text.max_position_embeddings


def questions(examples: Path) -> dict[str, list[Any]]:
    shot, clip = str(examples / "settings.png"), str(examples / "clip.mp4")
    frames = [np.full((64, 64, 3), level, np.uint8) for level in (0, 80, 160, 240)]
    return {
        "words": ["What colour is the sky?"],
        "picture": [Image(shot), Text("Where is the Save button?")],
        "smaller": [Image(shot, max_pixels=40_000), Text("What is written there?")],
        "page": [Document(str(examples / "page.pdf"), pages="1", max_pixels=100_000), Text("What is the total?")],
        "clip": [Video(clip, fps=1.0, max_frames=6), Text("When does the red circle appear?")],
        "frames": [Video(frames, sample_fps=2.0), Text("What happens?")],
        "system": [
            Message("system", (Text("Be brief."),)),
            Message("user", (Image(shot), Text("Look."))),
            Message("assistant", (), tool_calls=(ToolCall("zoom", {"x": 1}),)),
            Message("tool", (Text("done"),)),
        ],
    }


@pytest.mark.parametrize("name", ["words", "picture", "smaller", "page", "clip", "frames", "system"])
def test_an_answer_is_the_same_here_and_over_there(chat: HttpChat, local: LLM, examples: Path, name: str) -> None:
    what = questions(examples)[name]
    here, there = (one.chat(what, temperature=0.0, max_tokens=24) for one in (local, chat))
    assert compared(there) == compared(here)


def test_presets_and_seeds_mean_the_same_here_and_over_there(chat: HttpChat, local: LLM, examples: Path) -> None:
    what = [str(examples / "settings.png"), "Read the text."]
    here, there = (one.chat(what, preset="ocr", seed=5, max_tokens=16) for one in (local, chat))
    assert compared(there) == compared(here)
    assert there.media[0].resized_width * there.media[0].resized_height >= 512 * 32 * 32  # the preset's own limit


@pytest.mark.parametrize(
    ("structure", "is_kept"),
    [
        (Structure("choice", ["red", "green"]), lambda text: text in ("red", "green")),
        (Structure("regex", "[0-9]{3}"), lambda text: len(text) == 3 and text.isdigit()),
        (Structure("grammar", 'start: "a" "b"+'), lambda text: set(text) == {"a", "b"}),
        (
            Structure("json_schema", {"type": "object", "properties": {"a": {"enum": [1]}}, "required": ["a"]}),
            lambda text: json.loads(text)["a"] == 1,
        ),
    ],
    ids=["choice", "regex", "grammar", "schema"],
)
def test_structures_are_kept(chat: HttpChat, structure: Structure, is_kept: Any) -> None:
    pytest.importorskip("llguidance", reason="structured output needs llguidance")
    reply = chat.chat("Say something.", structure=structure, max_tokens=40)
    assert reply.finish_reason == "length" or is_kept(reply.text)


def test_a_stop_string_is_told(chat: HttpChat, local: LLM) -> None:
    text = local.chat("Describe.", temperature=0.0, max_tokens=12).text
    assert len(text) > 4
    reply = chat.chat("Describe.", temperature=0.0, max_tokens=12, stop=text[2:4])
    assert (reply.text, reply.stop, reply.finish_reason) == (text[:2], text[2:4], "stop")


def test_many_questions_are_answered_in_order(chat: HttpChat, local: LLM, examples: Path) -> None:
    whats = [[str(examples / "shapes.png"), f"How many shapes are {colour}?"] for colour in ("red", "blue", "green")]
    here, there = (one.chat_many(whats, temperature=0.0, max_tokens=8) for one in (local, chat))
    assert [reply.text for reply in there] == [reply.text for reply in here]


def test_hanging_up_frees_the_engine(chat: HttpChat, nano: LLM) -> None:
    stream = chat.stream("Count.", max_tokens=1000, ignore_eos=True, repetition_guard=False)
    next(stream)
    assert nano.engine.figures().num_running == 1
    stream.close()
    deadline = time.monotonic() + IDLE_S
    while nano.engine.figures().num_running and time.monotonic() < deadline:
        time.sleep(0.01)
    assert nano.engine.figures().num_running == 0


@pytest.mark.parametrize(
    ("what", "options", "kind", "sentence"),
    [
        ("Hi", {"max_tokens": 10**9}, None, ""),
        ("word " * 9000, {}, (InputError, CapacityError), "refuses the request .status 413"),
        ("Hi", {"logit_bias": {10**8: 1.0}}, InputError, "refuses the request .status 400: logit_bias"),
    ],
)
def test_what_the_server_refuses_is_told_in_its_words(
    chat: HttpChat, what: str, options: dict[str, Any], kind: Any, sentence: str
) -> None:
    if kind is None:
        assert chat.chat(what, **options).text is not None
        return
    with pytest.raises(kind, match=sentence):
        chat.chat(what, **options)


def test_the_key_is_asked_for_and_found(nano: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with running(nano, api_keys=("s3cret",)) as closed:
        with pytest.raises(ConfigError, match="refuses the key .*; give --api-key or set REGARD_API_KEY"):
            HttpChat.connect(f"{closed.url}/v1")
        monkeypatch.setenv("REGARD_API_KEY", "s3cret")
        with HttpChat.connect(f"{closed.url}/v1", patience=Patience(max_retries=0)) as chat:
            assert chat.chat("Hi", max_tokens=2).finish_reason in ("stop", "length")


def test_the_command_line_tells_what_the_server_saw(
    url: str, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = examples / "settings.png"
    words = ["ask", str(picture), "Where is the Save button?", "--model", url, "--json", "--media", "--max-tokens", "4"]
    assert run(words) == 0
    captured = capsys.readouterr()
    reply = json.loads(captured.out)
    assert reply["media"][0]["name"] == str(picture) and reply["media"][0]["num_visual_tokens"] > 0
    assert "what the model saw" in captured.err


def test_lmms_evals_own_client_gets_scored_answers(url: str, local: LLM, tmp_path: Path) -> None:
    """Its answers are the model's: nothing is lost between its client and ours."""
    command = lmms_task.command()
    if command is None:
        pytest.skip("lmms-eval is not installed, and REGARD_LMMS_EVAL names no command that runs it")
    samples = lmms_task.questions(4)
    lmms_task.write_task(tmp_path, samples, max_tokens=24)
    result = lmms_task.run(command, tmp_path, url=url, model="nano")
    here = {
        sample.messages[0].text: local.chat(sample.messages[:1], temperature=0.0, max_tokens=24).text
        for sample in samples
    }
    assert result.answers == here
    assert result.exact_match == sum(here[one.messages[0].text] == one.answer for one in samples) / len(samples)


@pytest.mark.slow
def test_a_crowd_of_rude_clients_leaves_the_server_whole() -> None:
    """The short form of `python -m benchmarks.soak`; the long one looks at the memory, too."""
    server = Server("nano")
    try:
        result = soak.soak(server, num_clients=64, minutes=20 / 60)
    finally:
        server.stop()
    assert result["errors_by_kind"] == {}
    assert result["num_answers"] > 20
    assert soak.is_good(result), result["engine"]
