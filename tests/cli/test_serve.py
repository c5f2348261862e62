"""`regard serve`: what cannot be right is told in one line before a model is loaded."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from regard.cli.main import run

pytest.importorskip("fastapi", reason="the server needs the extra 'server'")

WRONG = [
    (["--media-folder", "/no/such/folder"], "--media-folder /no/such/folder is no folder"),
    (["--max-body", "plenty"], "the size 'plenty' is not understood"),
    (["--api-key", "two words"], "an API key is empty or has characters"),
    (["--allow-origin", "example.com"], "the origin 'example.com' is not one"),
    (["--max-queue", "-1"], "max_queue is -1"),
    (["--max-video-seconds", "0"], "--max-video-seconds is 0"),
    (["--port", "99999"], "the port is 99999"),
    (["--model", "no/such-model-anywhere"], "no/such-model-anywhere"),
]


@pytest.mark.parametrize(("options", "words"), WRONG, ids=[" ".join(options) for options, _ in WRONG])
def test_a_wrong_option_is_one_line(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--port", "0", *options]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert words in said[-1]


def test_a_port_in_use_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["serve", "--port", str(port)]) == 2
    assert f"nothing can listen on 127.0.0.1 port {port}" in capsys.readouterr().err
