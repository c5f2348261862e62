"""`ask`, `chat` and `eval` against a server: the same lines and the same JSON as with a model that is loaded here."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from regard.cli.main import run
from tests.fake_server import Answer, FakeServer, chunk, error, events, fake_server, says
from tests.tiny import tiny_folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """A server that answers "It is gray."."""
    monkeypatch.setenv("NO_PROXY", "*")
    with fake_server(says("It is gray.")) as running:
        yield running


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "shot.png"
    PILImage.new("RGB", (400, 200), "gray").save(path)
    return path


def ask(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = run(["ask", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_answer_goes_to_stdout_and_nothing_else_does(
    server: FakeServer, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        picture,
        "What colour?",
        "--model",
        server.url,
        "--max-tokens",
        5,
        "--system",
        "Be brief.",
        "--preset",
        "visual",
    )
    assert ask(capsys, *words) == (0, "It is gray.\n", "")
    body = server.bodies[0]
    assert (body["model"], body["max_tokens"], body["top_k"]) == ("qwen", 5, 20)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_json_has_the_shape_of_a_local_reply(
    server: FakeServer, picture: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    local = json.loads(
        ask(capsys, picture, "?", "--json", "--max-tokens", 1, "--model", tiny_folder(tmp_path / "model"))[1]
    )
    status, out, err = ask(capsys, picture, "?", "--json", "--model", server.url)
    remote = json.loads(out)
    assert (status, err, remote["text"]) == (0, "", "It is gray.")
    assert remote.keys() == local.keys() and remote["usage"].keys() == local["usage"].keys()


def test_what_the_answer_points_at_is_drawn(
    server: FakeServer, picture: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    server.answers[:] = [says('{"bbox_2d": [250, 250, 500, 750], "label": "Save"}')]
    assert ask(capsys, picture, "Where?", "--boxes", out, "--model", server.url)[0] == 0
    with PILImage.open(out) as opened:
        rows, columns = np.nonzero((np.asarray(opened) != 128).any(axis=2))
    assert abs(columns.min() - 100) < 6 and abs(columns.max() - 200) < 6 and abs(rows.max() - 150) < 6


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--device", "cpu"], "--device is for models that are loaded here; the server at"),
        (["--precision", "int8"], "--precision is for models that are loaded here"),
        (["--max-memory", "1GB"], "--max-memory is for models that are loaded here"),
        (["--media"], "does not tell what the model saw"),
        (["--server-kind", "tgi"], "the kind of server is 'tgi'"),
        (["--server-kind", "openai", "--top-k", "5"], "top_k cannot be honoured by"),
        (["--preset", "fast"], "there is no preset 'fast'"),
        (["--timeout", "-1"], "total_s is -1.0"),
    ],
)
def test_an_option_that_a_server_cannot_honour_is_refused(
    server: FakeServer, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    status, out, err = ask(capsys, "Hi", "--model", server.url, *words)
    assert (status, out, err.count("\n")) == (2, "", 1) and sentence in err
    assert server.bodies == []


@pytest.mark.parametrize("words", [["--api-key", "x"], ["--server-kind", "vllm"], ["--timeout", "5"]])
def test_options_of_servers_are_refused_for_a_model_that_is_loaded_here(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    status, out, err = ask(capsys, "Hi", *words)
    assert (status, out) == (2, "") and f"{words[0]} is for servers, and --model nano is loaded here" in err


def test_a_server_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = ask(capsys, "Hi", "--model", "http://127.0.0.1:1/v1")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "http://127.0.0.1:1/v1 cannot be reached" in err


def test_a_conversation_sends_its_history_and_survives_an_error(
    server: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers[:] = [says("One."), error(400, "too long"), says("Two.")]
    monkeypatch.setattr("sys.stdin", io.StringIO("first\nsecond\nthird\n/media\n"))
    assert run(["chat", "--model", server.url]) == 0
    captured = capsys.readouterr()
    assert captured.out == "One.\nTwo.\n"
    assert "too long" in captured.err and "this server does not tell what the model saw" in captured.err
    contents = [message["content"] for message in server.bodies[-1]["messages"]]
    assert contents == ["first", "One.", "third"]


def test_a_wrong_option_of_a_conversation_is_told_before_the_first_question(
    server: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\n"))
    assert run(["chat", "--model", server.url, "--server-kind", "openai", "--preset", "visual"]) == 2
    assert "top_k cannot be honoured" in capsys.readouterr().err and server.bodies == []


def test_an_evaluation_of_a_server_writes_the_same_report(
    server: FakeServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server.answers[:] = [Answer([events(chunk(content="a red circle"), chunk("stop"))])]
    words = [
        "eval",
        f"{server.url}#qwen",
        "--tasks",
        "scenes",
        "--samples",
        "3",
        "--out",
        str(tmp_path / "r.html"),
        "--json",
    ]
    assert run(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["model"] == f"{server.url}#qwen" and result["num_answers"] >= 3
    assert all(body["temperature"] == 0.0 for body in server.bodies)
