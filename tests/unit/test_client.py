"""The client against a scripted server: every dialect's streams, what is sent, errors, retries and cancelling."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import regard
from regard.client import HttpChat, connect, is_url
from regard.client.connection import Connection, Patience
from regard.client.sse import EventReader
from regard.errors import CapacityError, ConfigError, InputError, RegardError, ServerError
from regard.messages import ToolCall
from regard.reply import Event, Reply
from tests.fake_server import Answer, FakeServer, chunk, error, events, fake_server, models, plain, says

LONG_S = 20.0  # a loaded machine may take so long for what takes no time; what must not be waited for takes longer
QUICK = Patience(connect_s=10, read_s=30, max_retries=2, retry_delay_s=0.01)


@pytest.fixture(autouse=True)
def no_proxy_and_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    for name in ("REGARD_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def talking(*answers: Answer, patience: Patience = QUICK, **options: Any) -> Iterator[tuple[HttpChat, FakeServer]]:
    """A client and the server that it talks to."""
    with (
        fake_server(*answers, **options) as server,
        HttpChat.connect(server.url, patience=patience) as chat,
    ):
        yield chat, server


def answered(*answers: Answer, **options: Any) -> tuple[list[Event], Reply]:
    """All events of one answer, and its reply."""
    with talking(*answers, **options) as (chat, _):
        got = list(chat.stream("Hi"))
    assert got[-1].reply is not None
    return got, got[-1].reply


# Server-sent events


STREAM = ': ping\r\ndata: {"a": "\u00e9\u4e2d"}\r\n\r\nevent: x\nid: 7\ndata: one\ndata:two\n\nretry: 3\rdata: last\r\r'


@pytest.mark.parametrize("size", range(1, 12))
def test_events_are_the_same_however_the_bytes_are_cut(size: int) -> None:
    """Also through the middle of a character, and between CR and LF."""
    body, reader = STREAM.encode(), EventReader()
    found = [data for start in range(0, len(body), size) for data in reader.push(body[start : start + size])]
    assert [*found, *reader.finish()] == ['{"a": "\u00e9\u4e2d"}', "one\ntwo", "last"]


def test_an_event_counts_though_the_stream_ends_before_its_empty_line() -> None:
    reader = EventReader()
    assert reader.push(b"\xef\xbb\xbfdata: one\n\ndata: two") == ["one"]
    assert reader.finish() == ["two"]


def test_an_event_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regard.client.sse.MAX_EVENT_BYTES", 100)
    reader = EventReader()
    with pytest.raises(ServerError, match="event of more than 100 bytes"):
        for _ in range(20):
            reader.push(b"data: 123456")


# What each server's stream becomes. Shapes as in their documentation and sources (see `client/dialects.py`).

VLLM = Answer(
    [
        events(
            chunk(role="assistant", content=""),
            chunk(reasoning="\nhm"),
            chunk(reasoning=", yes\n"),
            chunk(content="\n\nIt is"),
            chunk(content=" gray."),
            {**chunk("stop", content=""), "choices": [{**chunk("stop")["choices"][0], "stop_reason": "END"}]},
            {
                "choices": [],
                "usage": {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}},
            },
        )
    ]
)
SGLANG_DELTA = {"role": None, "reasoning_content": None, "tool_calls": None}
SGLANG = Answer(
    [
        events(
            chunk(role="assistant", content="", reasoning_content=None, tool_calls=None),
            chunk(**SGLANG_DELTA | {"reasoning_content": "hm, yes"}, content=None),
            chunk(**SGLANG_DELTA, content="It is gray."),
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "matched_stop": 151645}]},
            {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5, "reasoning_tokens": 2}},
        )
    ]
)
DASHSCOPE = Answer(
    [
        events(
            chunk(role="assistant", content=None, reasoning_content=""),
            chunk(content=None, reasoning_content="hm, yes"),
            chunk(content="It is gray.", reasoning_content=None),
            chunk("stop", content="", reasoning_content=None),
            {
                "choices": [],
                "usage": {
                    "prompt_tokens": 9,
                    "completion_tokens": 5,
                    "prompt_tokens_details": {"text_tokens": 3, "image_tokens": 6},
                    "completion_tokens_details": {"reasoning_tokens": 2, "text_tokens": 3},
                },
            },
        )
    ]
)


@pytest.mark.parametrize("stream", [VLLM, SGLANG, DASHSCOPE], ids=["vllm", "sglang", "dashscope"])
def test_thinking_and_text_come_apart_from_every_server(stream: Answer) -> None:
    got, reply = answered(stream)
    assert (reply.thinking, reply.text, reply.finish_reason) == ("hm, yes", "It is gray.", "stop")
    assert "".join(event.text for event in got if event.kind == "thinking") == "hm, yes"
    assert "".join(event.text for event in got if event.kind == "text") == "It is gray."
    assert (reply.usage.num_prompt_tokens, reply.usage.num_output_tokens) == (9, 5)
    assert 0 < reply.usage.ttft_s <= reply.usage.total_s


def test_what_only_some_servers_tell_is_kept() -> None:
    _, from_vllm = answered(VLLM)
    _, from_dashscope = answered(DASHSCOPE)
    assert (from_vllm.stop, from_vllm.usage.num_cached_tokens) == ("END", 4)
    assert (from_dashscope.usage.num_visual_tokens, from_dashscope.usage.num_thinking_tokens) == (6, 2)


@pytest.mark.parametrize(
    "text", ["<think>\nhm\n</think>\n\nYes.", "hm\n</think>\n\nYes."], ids=["opened", "by template"]
)
def test_thinking_inside_the_text_is_found(text: str) -> None:
    """A Thinking edition's template writes the opening tag itself, so that the text begins inside the block."""
    listing = models({"id": "Qwen3-VL-4B-Thinking", "owned_by": "vllm"})
    pieces = [chunk(content=text[start : start + 3]) for start in range(0, len(text), 3)]
    _, reply = answered(Answer([events(*pieces, chunk("stop"))]), listing=listing)
    assert (reply.thinking, reply.text) == ("hm", "Yes.")


def test_a_server_that_tells_thinking_apart_may_leave_it_empty() -> None:
    """A thinking model's answer without thinking was shown as thinking, since no </think> ended it."""
    entry = {"id": "m", "owned_by": "regard", "regard": {"is_thinking": True, "max_model_len": 4096}}
    _, reply = answered(says("Yes."), listing=models(entry))
    assert (reply.thinking, reply.text) == (None, "Yes.")


def test_tool_calls_are_put_together_from_their_pieces() -> None:
    def piece(index: int, **call: Any) -> dict[str, Any]:
        return chunk(tool_calls=[{"index": index, **call}])

    stream = events(
        chunk(role="assistant", content="I look."),
        piece(0, id="a", type="function", function={"name": "zoom", "arguments": ""}),
        piece(0, function={"arguments": '{"bo'}),
        piece(1, id="b", type="function", function={"name": "ask", "arguments": "{}"}),
        piece(0, function={"name": None, "arguments": 'x": [1, 2]}'}),
        chunk("tool_calls"),
    )
    _, reply = answered(Answer([stream]))
    assert reply.tool_calls == (ToolCall("zoom", {"box": [1, 2]}), ToolCall("ask", {}))
    assert (reply.text, reply.finish_reason) == ("I look.", "tool_calls")


def test_a_call_that_a_server_leaves_in_the_text_is_a_call_all_the_same() -> None:
    """vLLM without a tool parser streams the tags themselves."""
    text = 'Well.\n<tool_call>\n{"name": "zoom", "arguments": {"box": [1, 2]}}\n</tool_call>'
    _, reply = answered(Answer([events(*(chunk(content=character) for character in text), chunk("stop"))]))
    assert (reply.tool_calls, reply.text) == ((ToolCall("zoom", {"box": [1, 2]}),), "Well.")


def test_arguments_that_are_no_json_stay_in_the_text() -> None:
    call = {"index": 0, "id": "a", "function": {"name": "zoom", "arguments": '{"box": [1,'}}
    _, reply = answered(Answer([events(chunk(tool_calls=[call]), chunk("length"))]))
    assert (reply.tool_calls, reply.finish_reason) == ((), "length")
    assert "zoom" in reply.text and '{\\"box\\": [1,' in reply.text


def test_an_answer_that_is_not_streamed_is_taken() -> None:
    """Some servers ignore `stream`."""
    call = {"id": "a", "type": "function", "function": {"name": "zoom", "arguments": {"x": 1}}}
    message = {"role": "assistant", "content": "Yes.", "reasoning_content": "hm", "tool_calls": [call]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
    _, reply = answered(plain(json.dumps(body).encode()))
    assert (reply.text, reply.thinking, reply.usage.num_prompt_tokens) == ("Yes.", "hm", 3)
    assert reply.tool_calls == (ToolCall("zoom", {"x": 1}),)


@pytest.mark.parametrize(
    ("said", "meant"), [("length", "length"), ("stop", "stop"), ("repetition", "repetition"), ("eos", "stop")]
)
def test_why_an_answer_ended_is_told_in_our_words(said: str, meant: str) -> None:
    assert answered(Answer([events(chunk(content="A"), chunk(said))]))[1].finish_reason == meant


def test_a_stream_may_end_without_done() -> None:
    _, reply = answered(Answer([events(chunk(content="A"), chunk("stop"), done=False)[:-2]]))
    assert reply.text == "A"


@pytest.mark.parametrize(
    ("pieces", "sentence"),
    [
        ([events(chunk(content="It is"), done=False), "cut"], r"broke off before .* \(5 characters came\); ask again"),
        ([events(chunk(content="A"), {"error": {"message": "CUDA out of memory"}})], "failed while.*: CUDA out of mem"),
        ([events({"object": "error", "message": "engine died", "code": 500})], "failed while answering: engine died"),
        ([b"data: {oops\n\n"], "an event that is not JSON, '{oops'"),
        ([events(["chunk"])], "which is no chat completion"),
        ([events({"choices": ["A"]})], "which is no chat completion"),
        ([events(chunk(content=["A"]))], "which is no chat completion"),
        ([events(chunk("content_filter", content=""))], "withholds the answer"),
        ([events(chunk("abort", content=""))], "ended the answer with finish_reason 'abort'"),
    ],
)
def test_an_answer_that_goes_wrong_is_one_sentence(pieces: list[Any], sentence: str) -> None:
    with pytest.raises(ServerError, match=sentence):
        answered(Answer(pieces))


# Errors before the answer


@pytest.mark.parametrize(
    ("answer", "kind", "sentence"),
    [
        (
            error(400, "max_tokens is too large"),
            InputError,
            "refuses the request .status 400: max_tokens is too large.",
        ),
        (error(401, "no such key"), ConfigError, "refuses the key .status 401: no such key.; give --api-key or set"),
        (error(404, "The model `x` does not exist."), ConfigError, "does not serve that model: The model `x`"),
        (
            plain(b'{"detail":"Not Found"}', 404),
            ConfigError,
            "is not the address of a chat server .status 404: Not Found",
        ),
        (error(413, "too many pixels"), InputError, "status 413: too many pixels"),
        (
            plain(b'{"detail":[{"loc":["body","top_p"],"msg":"must be below 1","type":"x"}]}', 422),
            InputError,
            "status 422: body.top_p: must be below 1",
        ),
        (error(500, "boom"), ServerError, "failed .status 500: boom.; try again later"),
        (
            plain(b"<html><title>Bad\n gateway</title></html>", 500, "text/html"),
            ServerError,
            "an HTML page .'Bad gateway'",
        ),
        (
            plain(b"<!DOCTYPE html><title>Login</title>", 200, "text/html"),
            ConfigError,
            "answers with an HTML page .'Login'",
        ),
        (plain(b"upstream?"), ConfigError, "answers with 'upstream\\?', not with JSON"),
        (
            Answer([], 307, {"Location": "https://other/v1"}),
            ConfigError,
            "redirects to https://other/v1, and redirects",
        ),
    ],
)
def test_a_refusal_is_one_sentence_of_the_right_kind(answer: Answer, kind: type[RegardError], sentence: str) -> None:
    with talking(answer) as (chat, _), pytest.raises(kind, match=sentence) as refusal:
        chat.chat("Hi")
    assert "\n" not in str(refusal.value)


def test_a_path_without_v1_gets_a_better_one() -> None:
    with fake_server(says("A")) as server:
        base = server.url.removesuffix("/v1")
        with pytest.raises(ConfigError, match=rf"is not the address .* did you mean {base}/v1\?"):
            connect(base)


@pytest.mark.parametrize(
    ("url", "kind", "sentence"),
    [
        ("http://127.0.0.1:1/v1", ServerError, "cannot be reached .*refused.*; is the server running there"),
        ("http://no-such-host.invalid/v1", ServerError, "cannot be reached"),
        ("http://[::1/v1", ConfigError, "cannot be used"),
        ("http://127.0.0.1:99999/v1", ConfigError, "has no valid host and port"),
        ("http:///v1", ConfigError, "has no valid host and port"),
    ],
)
def test_an_address_where_nothing_is_fails_at_once(url: str, kind: type[RegardError], sentence: str) -> None:
    start_s = time.monotonic()
    with pytest.raises(kind, match=sentence):
        connect(url, patience=Patience(connect_s=10, retry_delay_s=30))
    assert time.monotonic() - start_s < LONG_S


def test_what_is_no_http_server_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                peer.recv(65536)

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(ServerError, match="does not speak HTTP"):
            connect(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", patience=QUICK)
        thread.join()


def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-second")
    monkeypatch.setenv("REGARD_API_KEY", "sk-first")
    with fake_server(error(401, "wrong")) as server:
        for given, sent in ((None, "sk-first"), ("sk-given", "sk-given")):
            with HttpChat.connect(server.url, api_key=given) as chat, pytest.raises(ConfigError) as refusal:
                chat.chat("Hi")
            assert server.requests[-1][1]["Authorization"] == f"Bearer {sent}"
            assert "sk-" not in str(refusal.value)


# Which server, which model


@pytest.mark.parametrize(
    ("entries", "name", "kind", "is_thinking"),
    [
        ([{"id": "a", "owned_by": "vllm", "max_model_len": 8192}], "a", "vllm", False),
        ([{"id": "a", "owned_by": "sglang", "root": "Qwen/Qwen3-VL-4B-Thinking"}], "a", "sglang", True),
        ([{"id": "a", "owned_by": "me", "regard": {"is_thinking": True}}], "a", "regard", True),
        ([{"id": "a", "owned_by": "library"}], "a", "openai", False),
        (
            [{"id": "a", "owned_by": "vllm", "root": "r"}, {"id": "b", "owned_by": "vllm", "root": "r"}],
            "a",
            "vllm",
            False,
        ),
        ([{"id": "a", "owned_by": "vllm"}, {"id": "lora", "owned_by": "vllm", "parent": "a"}], "a", "vllm", False),
    ],
)
def test_the_server_and_its_model_are_found(entries: list[Any], name: str, kind: str, is_thinking: bool) -> None:
    with talking(listing=models(*entries)) as (chat, _):
        assert (chat.name, chat.served.kind, chat.is_thinking) == (name, kind, is_thinking)
        assert chat.reports_media == (kind == "regard")


def test_one_of_several_models_is_named_after_a_hash() -> None:
    listing = models({"id": "a/b"}, {"id": "c"})
    with fake_server(says("A"), listing=listing) as server:
        with HttpChat.connect(f"{server.url}#c") as chat:
            chat.chat("Hi")
        assert server.bodies[0]["model"] == "c"
        with pytest.raises(ConfigError, match=rf"serves a/b, c; name one, as in {server.url}#a/b"):
            connect(server.url)
        with pytest.raises(ConfigError, match="does not serve 'd'; it serves a/b, c"):
            connect(f"{server.url}#d")


def test_a_server_without_a_list_works_when_all_is_said() -> None:
    with fake_server(says("A"), listing=plain(b"{}", 404)) as server:
        with HttpChat.connect(f"{server.url}#m", server_kind="vllm") as chat:
            assert chat.chat("Hi").text == "A"
        with pytest.raises(ConfigError, match="is not the address of a chat server"):
            connect(server.url)


@pytest.mark.parametrize(
    ("listing", "sentence"),
    [
        (models(), "serves no model at this moment"),
        (plain(b'{"models": []}'), "which is no list of models"),
        (plain(b'["a"]'), "which is no list of models"),
        (plain(b'{"data": [1]}'), "which is no list of models"),
        (plain(b"<html>hi</html>", 200, "text/html"), "an HTML page, not with JSON"),
    ],
)
def test_a_strange_list_of_models_is_one_sentence(listing: Answer, sentence: str) -> None:
    with fake_server(listing=listing) as server, pytest.raises(ConfigError, match=sentence):
        connect(server.url)


def test_an_unknown_kind_of_server_is_refused() -> None:
    with (
        fake_server() as server,
        pytest.raises(ConfigError, match="kind of server is 'tgi'; it must be auto, regard, vllm"),
    ):
        connect(server.url, server_kind="tgi")


def test_options_of_the_other_side_are_refused() -> None:
    with pytest.raises(ConfigError, match="device is an option of models that are loaded here"):
        regard.load("http://127.0.0.1:1/v1", device="cpu")
    with pytest.raises(ConfigError, match="api_key is an option of servers"):
        regard.load("nano", api_key="x")
    assert is_url("HTTPS://host/v1") and not is_url("nano")


def test_the_face_of_a_server_is_that_of_a_model() -> None:
    with fake_server(says("Yes.")) as server:
        vl = regard.load(server.url)
        assert vl.chat("Hi", max_tokens=4).text == "Yes."
        assert [event.kind for event in vl.stream("Hi")] == ["text", "done"]
        vl.close()


# Retries


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_server_that_is_busy_is_asked_again(status: int) -> None:
    with talking(error(status, "busy"), error(status, "busy"), says("Yes.")) as (chat, server):
        assert chat.chat("Hi").text == "Yes."
        assert len(server.bodies) == 3


def test_a_server_that_stays_busy_is_told_in_the_end() -> None:
    with talking(error(429, "12 requests wait")) as (chat, server):
        with pytest.raises(CapacityError, match="too much to do .status 429: 12 requests wait.; try again later"):
            chat.chat("Hi")
        assert len(server.bodies) == 1 + QUICK.max_retries


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_other_failures_are_not_repeated(status: int) -> None:
    with talking(error(status, "no")) as (chat, server):
        with pytest.raises(RegardError):
            chat.chat("Hi")
        assert len(server.bodies) == 1


def test_retry_after_is_honoured() -> None:
    with talking(error(429, "busy", **{"Retry-After": "0.3"}), says("Yes.")) as (chat, _):
        start_s = time.monotonic()
        assert chat.chat("Hi").text == "Yes."
        assert time.monotonic() - start_s >= 0.3


def test_a_long_retry_after_is_not_waited_for() -> None:
    with talking(error(429, "busy", **{"Retry-After": "3600"})) as (chat, server):
        with pytest.raises(CapacityError):
            chat.chat("Hi")
        assert len(server.bodies) == 1


def test_a_connection_that_fails_is_made_again() -> None:
    """Nothing listens on the port until the second attempt."""
    with socket.create_server(("127.0.0.1", 0)) as finder:
        port = finder.getsockname()[1]
    connection = Connection(f"http://127.0.0.1:{port}/v1", patience=Patience(retry_delay_s=0.1, max_retries=6))

    def serve() -> None:
        time.sleep(0.1)
        with socket.create_server(("127.0.0.1", port)) as listener:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    thread = threading.Thread(target=serve)
    thread.start()
    with connection.post("/chat/completions", {}) as exchange:
        assert exchange.read_json() == {}
    thread.join()
    connection.close()


def test_nothing_is_asked_again_once_an_answer_began() -> None:
    with talking(Answer([events(chunk(content="A"), done=False), "cut"]), says("B")) as (chat, server):
        stream = chat.stream("Hi")
        assert next(stream).text == "A"
        with pytest.raises(ServerError, match="broke off"):
            next(stream)
        assert len(server.bodies) == 1


# Time limits and cancelling


def test_a_silent_server_is_left_after_a_while() -> None:
    slow = Answer([events(chunk(content="A"), done=False), 60.0])
    patience = Patience(read_s=0.2)
    with talking(slow, patience=patience) as (chat, _), pytest.raises(ServerError, match="was silent for 0.2 s"):
        chat.chat("Hi")


def test_a_server_that_drips_is_left_at_the_total_limit() -> None:
    """No single silence is long, so that only the limit for the whole answer can end it."""
    drip = Answer([piece for _ in range(600) for piece in (b": ping\n", 0.05)])
    with talking(drip, patience=Patience(read_s=30, total_s=1.5)) as (chat, _):
        start_s = time.monotonic()
        with pytest.raises(ServerError, match="took longer than 1.5 s"):
            chat.chat("Hi")
        assert time.monotonic() - start_s < LONG_S


@pytest.mark.parametrize("option", ["connect_s", "read_s", "total_s", "max_retries"])
def test_impatience_below_zero_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} is -1"):
        Patience(**{option: -1})


ENDLESS = Answer([piece for _ in range(3000) for piece in (events(chunk(content="A "), done=False), 0.01)])


def test_closing_the_iterator_hangs_up() -> None:
    with talking(ENDLESS) as (chat, server):
        stream = chat.stream("Hi")
        assert next(stream).kind == "text"
        stream.close()
        assert server.hung_up.wait(LONG_S)
        assert list(stream) == []


def test_forgetting_the_iterator_hangs_up() -> None:
    with talking(ENDLESS) as (chat, server):
        stream = chat.stream("Hi")
        next(stream)
        del stream
        assert server.hung_up.wait(LONG_S)


def test_a_stream_that_was_never_read_is_closed_too() -> None:
    with talking(ENDLESS) as (chat, server):
        chat.stream("Hi").close()
        assert server.hung_up.wait(LONG_S)


def test_another_thread_can_end_an_answer_that_is_waited_for() -> None:
    """The reader sleeps in `recv`: closing a descriptor does not wake it, shutting the socket does."""
    with talking(Answer([events(chunk(content="A"), done=False), 60.0])) as (chat, _):
        stream = chat.stream("Hi")
        next(stream)
        threading.Timer(0.1, stream.close).start()
        start_s = time.monotonic()
        with pytest.raises(RegardError, match="was cancelled"):
            next(stream)
        assert time.monotonic() - start_s < LONG_S


def test_closing_the_client_ends_a_request_whose_answer_has_not_begun() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        threading.Timer(0.1, connection.close).start()
        start_s = time.monotonic()
        with pytest.raises(RegardError, match="was cancelled"):
            connection.post("/chat/completions", {})
        assert time.monotonic() - start_s < LONG_S


# Many at once


def test_several_questions_are_asked_at_once_and_answered_in_order() -> None:
    with talking(Answer([0.3, *says("A").pieces])) as (chat, server):
        assert [reply.text for reply in chat.chat_many(["1", "2", "3", "4"])] == ["A"] * 4
        assert server.most_at_once > 1
        assert {body["messages"][0]["content"] for body in server.bodies} == {"1", "2", "3", "4"}
        assert chat.chat_many([]) == []


def test_the_first_error_ends_the_other_questions() -> None:
    with talking(ENDLESS, ENDLESS, error(400, "bad")) as (chat, _):
        start_s = time.monotonic()
        with pytest.raises(InputError, match="bad"):
            chat.chat_many(["1", "2", "3"])
        assert time.monotonic() - start_s < LONG_S


def test_importing_the_client_loads_neither_torch_nor_the_http_library() -> None:
    code = "import regard.client, sys; print(*sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "PIL", "httpx2"} & set(result.stdout.split())
