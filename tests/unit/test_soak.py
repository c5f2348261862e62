"""The soak's clients tell good servers from bad ones: tried on scripted servers that do one thing wrong."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from benchmarks import soak
from benchmarks.soak_plot import plot
from tests.fake_server import Answer, chunk, error, events, fake_server, plain

STREAM = [chunk(role="assistant", content="It"), chunk(content=" is."), chunk("stop", content="")]
USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
WHOLE = b'{"choices": [{"message": {"content": "A"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}'


def is_bad(body: Any) -> bool:
    """Whether a server has to refuse it."""
    return (
        body is None
        or body.get("temperature", 0) < 0
        or body.get("max_tokens") == 0
        or "no_such_option" in body
        or body.get("model") != "qwen"
        or not isinstance(body["messages"], list)
        or not body["messages"]
        or "iVBORw0KGgo=" in str(body)[:300]
        or "file://" in str(body)
    )


def good(body: Any) -> Answer:
    """What a server without faults answers."""
    if is_bad(body):
        return error(400, "no")
    return Answer([events(*STREAM, USAGE)]) if body["stream"] else plain(WHOLE)


@dataclass
class Scripted:
    """Stands for the server's process."""

    url: str
    model: str = "qwen"
    num_running: int = 0
    is_balanced: bool = True
    num_samples: int = 0

    def check(self) -> dict[str, Any]:
        return {"num_running": self.num_running, "num_waiting": 0, "is_balanced": self.is_balanced}

    def sample(self, time_s: float) -> soak.Sample:
        self.num_samples += 1
        return soak.Sample(time_s, 100_000_000 + 1_000_000 * self.num_samples, 10, 4)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(soak, "SAMPLE_S", 0.05)
    monkeypatch.setattr(soak, "IDLE_S", 0.3)
    yield


def soaked(respond: Callable[[Any], Answer], **state: Any) -> dict[str, Any]:
    with fake_server(respond=respond) as server:
        return soak.soak(Scripted(server.url, **state), num_clients=4, minutes=0.04)


def test_a_good_server_passes_and_every_kind_of_request_was_made() -> None:
    result = soaked(good)
    assert result["errors_by_kind"] == {} and soak.is_good(result)
    assert set(result["answers_by_kind"]) == set(soak.KINDS)
    assert 0 < result["ttft_p50_s"] <= result["ttft_p95_s"]
    assert result["memory"]["growth_bytes"] > 0 and result["memory"]["files_at_start_and_end"] == [10, 10]


@pytest.mark.parametrize(
    ("respond", "reason"),
    [
        (lambda body: good(body) if not is_bad(body) else plain(WHOLE), "bad: status 200 for"),
        (lambda body: error(500, "boom"), "status 500"),
        (lambda body: Answer([events(*STREAM[:2])]), "the stream ended without finish_reason"),
        (lambda body: Answer([events(*STREAM, done=False)]), "the stream ended without [DONE]"),
        (lambda body: Answer([events(STREAM[0], {"error": {"message": "died"}})]), "an error in the stream: died"),
    ],
    ids=["accepts what is wrong", "fails", "no reason", "no end", "dies"],
)
def test_what_a_server_does_wrong_is_an_error_by_its_kind(respond: Callable[[Any], Answer], reason: str) -> None:
    result = soaked(respond)
    assert any(reason in kind for kind in result["errors_by_kind"]), result["errors_by_kind"]
    assert not soak.is_good(result)


def test_being_busy_is_counted_and_no_error() -> None:
    result = soaked(lambda body: error(429, "busy", **{"Retry-After": "0.01"}))
    assert result["num_429"] > 0 and result["num_answers"] == 0
    assert result["errors_by_kind"] == {} and result["ttft_p50_s"] is None


@pytest.mark.parametrize("state", [{"num_running": 1}, {"is_balanced": False}], ids=["never idle", "wrong books"])
def test_what_an_engine_keeps_is_told(state: dict[str, Any]) -> None:
    result = soaked(good, **state)
    assert result["errors_by_kind"] == {} and not soak.is_good(result)


def test_the_plot_is_an_svg_with_the_curve() -> None:
    result = soaked(good)
    root = ElementTree.fromstring(plot(result))
    curve = next(element for element in root if element.tag.endswith("polyline"))
    assert len(curve.attrib["points"].split()) == len(result["samples"])
