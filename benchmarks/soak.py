"""Many clients, some of them rude, for minutes: does the server keep answering, and does it keep its memory?

    python -m benchmarks.soak --minutes 5 --out benchmarks/soak            # writes soak.json and soak.svg
    python -m benchmarks.soak --minutes 0.3 --clients 16 --model nano

The server runs in a process of its own (`soak_server`), which is measured from outside: its memory, open files and
threads, once a second. Each client draws, with a seed of its own, one kind of request after the other:

    text, picture    a streamed answer, read as fast as it comes
    whole            one that is not streamed
    slow             a streamed answer, read with pauses
    abort            a streamed answer, hung up on after a few events, or before the first
    bad              a request that must be refused with status 400, 404, 413 or 422 and a message

Each answer must end properly, each refusal must be one; anything else counts as an error, by its kind. Status 429 is
no error: it is counted, and its client waits as long as it is told. At the end the server has to become idle, and its
engine's books (which block has how many users) must balance. The last line on stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import math
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import httpx2

from benchmarks.soak_plot import plot
from benchmarks.soak_server import Sample, Server
from regard.client.sse import EventReader

KINDS = {"text": 4, "picture": 3, "whole": 2, "slow": 1, "abort": 3, "bad": 2}  # how often each is drawn
MAX_ANSWER_TOKENS = 48
QUESTIONS = ("What is in the picture?", "Where is the Save button?", "Count to nine.", "Say hello.", "What colour?")
READ_S = 120.0  # longer silences are errors
SAMPLE_S = 1.0  # between two looks at the process
IDLE_S = 20.0  # a server without clients has to be idle after this
WARM_UP_SHARE = 0.2  # of the time; memory is compared from then on
BAD_STATUSES = frozenset({400, 404, 413, 422})


@dataclass
class Tally:
    """What all clients met together."""

    answered: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    num_429: int = 0
    num_tokens: int = 0
    ttft_s: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, *, ttft_s: float | None = None, num_tokens: int = 0) -> None:
        """Count an answer that was right."""
        with self.lock:
            self.answered[kind] += 1
            self.num_tokens += num_tokens
            if ttft_s is not None:
                self.ttft_s.append(ttft_s)

    def fail(self, kind: str, reason: str) -> None:
        """Count an answer that was wrong."""
        with self.lock:
            self.errors[f"{kind}: {reason}"] += 1


class Client:
    """One client with a seed: asks until the time is up."""

    def __init__(self, url: str, model: str, seed: int, tally: Tally, pictures: Sequence[str]) -> None:
        self._draw = random.Random(seed)
        self._model, self._tally, self._pictures = model, tally, pictures
        self._http = httpx2.Client(base_url=url, timeout=httpx2.Timeout(READ_S), trust_env=False)

    def run(self, until_s: float) -> None:
        """Ask one thing after the other."""
        with self._http:
            while time.monotonic() < until_s:
                kind = self._draw.choices(list(KINDS), list(KINDS.values()))[0]
                try:
                    self._ask(kind)
                except httpx2.HTTPError as error:
                    self._tally.fail(kind, type(error).__name__)
                except (ValueError, LookupError, TypeError) as error:
                    self._tally.fail(kind, f"{type(error).__name__}: {error}"[:80])

    def _ask(self, kind: str) -> None:
        if kind == "bad":
            self._ask_badly()
        elif kind == "whole":
            self._ask_whole()
        else:
            self._ask_streamed(kind)

    def _body(self, *, with_picture: bool, stream: bool) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": self._draw.choice(QUESTIONS)}]
        if with_picture:
            content.insert(0, {"type": "image_url", "image_url": {"url": self._draw.choice(self._pictures)}})
        return {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self._draw.randint(1, MAX_ANSWER_TOKENS),
            "temperature": self._draw.choice([0.0, 1.0]),
            "seed": self._draw.randrange(2**31),
            "stream": stream,
        }

    def _ask_streamed(self, kind: str) -> None:
        body = self._body(with_picture=kind == "picture" or self._draw.random() < 0.3, stream=True)
        body["stream_options"] = {"include_usage": True}
        num_wanted = self._draw.choice([0, 1, 3, 8]) if kind == "abort" else math.inf
        start_s = time.monotonic()
        with self._http.stream("POST", "/chat/completions", json=body) as response:
            if self._is_refused(kind, response):
                return
            if num_wanted == 0:
                self._tally.add(kind)
                return
            ttft_s, finish_reason, num_tokens = None, None, 0
            for number, chunk in enumerate(self._chunks(response)):
                choices = chunk.get("choices") or []
                if choices and ttft_s is None and any((choices[0].get("delta") or {}).get(key) for key in _WORDS):
                    ttft_s = time.monotonic() - start_s
                finish_reason = (choices[0].get("finish_reason") if choices else None) or finish_reason
                num_tokens = (chunk.get("usage") or {}).get("completion_tokens", num_tokens)
                if number + 1 >= num_wanted:
                    self._tally.add(kind)
                    return
                if kind == "slow":
                    time.sleep(self._draw.uniform(0.0, 0.3))
        if finish_reason is None:
            self._tally.fail(kind, "the stream ended without finish_reason")
        else:
            self._tally.add(kind, ttft_s=None if kind == "slow" else ttft_s, num_tokens=num_tokens)

    def _chunks(self, response: httpx2.Response) -> Iterator[dict[str, Any]]:
        reader = EventReader()
        for piece in response.iter_bytes():
            for data in reader.push(piece):
                if data == "[DONE]":
                    return
                chunk = json.loads(data)
                if chunk.get("error"):
                    raise ValueError(f"an error in the stream: {chunk['error'].get('message')}")
                yield chunk
        raise ValueError("the stream ended without [DONE]")

    def _ask_whole(self) -> None:
        response = self._http.post("/chat/completions", json=self._body(with_picture=False, stream=False))
        if self._is_refused("whole", response):
            return
        answer = response.json()
        if answer["choices"][0]["finish_reason"] is None:
            self._tally.fail("whole", "no finish_reason")
        else:
            self._tally.add("whole", num_tokens=answer["usage"]["completion_tokens"])

    def _ask_badly(self) -> None:
        body = self._body(with_picture=False, stream=self._draw.random() < 0.5)
        broken = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
        change: Any = self._draw.choice(
            [
                {"temperature": -1},
                {"max_tokens": 0},
                {"messages": []},
                {"messages": "hello"},
                {"no_such_option": 1},
                {"model": "no-such-model"},
                {"messages": [{"role": "user", "content": [broken]}]},
                {
                    "messages": [
                        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/x"}}]}
                    ]
                },
                None,
            ]
        )
        content = b"{not json" if change is None else json.dumps(body | change).encode()
        response = self._http.post("/chat/completions", content=content, headers={"Content-Type": "application/json"})
        if response.status_code == 429:
            self._wait(response)
        elif response.status_code not in BAD_STATUSES:
            self._tally.fail("bad", f"status {response.status_code} for {str(change)[:60]}")
        elif not response.json()["error"]["message"]:
            self._tally.fail("bad", "a refusal without a message")
        else:
            self._tally.add("bad")

    def _is_refused(self, kind: str, response: httpx2.Response) -> bool:
        if response.status_code == 200:
            return False
        if response.status_code == 429:
            self._wait(response)
        else:
            response.read()
            self._tally.fail(kind, f"status {response.status_code}: {response.text[:80]}")
        return True

    def _wait(self, response: httpx2.Response) -> None:
        with self._tally.lock:
            self._tally.num_429 += 1
        time.sleep(min(5.0, float(response.headers.get("Retry-After", "1"))))


_WORDS = ("content", "reasoning_content", "reasoning", "tool_calls")


class Watched(Protocol):
    """A server under test."""

    url: str
    model: str

    def check(self) -> dict[str, Any]:
        """`num_running`, `num_waiting`, and whether the engine's books balance (`is_balanced`)."""

    def sample(self, time_s: float) -> Sample:
        """The process at this moment."""


def soak(server: Watched, *, num_clients: int, minutes: float, seed: int = 0) -> dict[str, Any]:
    """Let the clients loose and return all that was seen."""
    tally, samples = Tally(), [server.sample(0.0)]
    pictures = make_pictures(seed)
    start_s = time.monotonic()
    until_s = start_s + minutes * 60
    clients = [Client(server.url, server.model, seed + number, tally, pictures) for number in range(num_clients)]
    threads = [threading.Thread(target=client.run, args=(until_s,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(SAMPLE_S)
        samples.append(server.sample(time.monotonic() - start_s))
    elapsed_s = time.monotonic() - start_s
    idle_after_s, books = wait_until_idle(server)
    samples.append(server.sample(time.monotonic() - start_s))
    return {
        "date": date.today().isoformat(),
        "model": server.model,
        "num_clients": num_clients,
        "elapsed_s": round(elapsed_s, 1),
        **figures(tally, elapsed_s),
        "memory": memory(samples, elapsed_s),
        "idle_after_s": idle_after_s,
        "engine": books,
        "samples": [asdict(sample) for sample in samples],
    }


def wait_until_idle(server: Watched) -> tuple[float | None, dict[str, Any]]:
    """Seconds until nothing runs or waits any more (None: not within IDLE_S), and the last check."""
    start_s = time.monotonic()
    while True:
        books = server.check()
        waited_s = round(time.monotonic() - start_s, 1)
        if not books["num_running"] and not books["num_waiting"]:
            return waited_s, books
        if waited_s > IDLE_S:
            return None, books
        time.sleep(0.2)


def figures(tally: Tally, elapsed_s: float) -> dict[str, Any]:
    """The counts and the times to the first token."""
    num = sum(tally.answered.values())
    return {
        "num_answers": num,
        "answers_by_kind": dict(sorted(tally.answered.items())),
        "num_errors": sum(tally.errors.values()),
        "errors_by_kind": dict(tally.errors.most_common()),
        "num_429": tally.num_429,
        "answers_per_s": round(num / elapsed_s, 2),
        "tokens_per_s": round(tally.num_tokens / elapsed_s, 1),
        "ttft_p50_s": percentile(tally.ttft_s, 50),
        "ttft_p95_s": percentile(tally.ttft_s, 95),
    }


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile; None without values."""
    if not values:
        return None
    rank = max(1, math.ceil(percent / 100 * len(values)))
    return round(sorted(values)[rank - 1], 4)


def memory(samples: Sequence[Sample], elapsed_s: float) -> dict[str, Any]:
    """The process's memory after the warm-up: first and last tenth by their medians, growth, and the peak."""
    warm = [sample for sample in samples if sample.time_s >= WARM_UP_SHARE * elapsed_s] or list(samples)
    tenth = max(1, len(warm) // 10)
    first, last = (sorted(one.rss_bytes for one in part)[len(part) // 2] for part in (warm[:tenth], warm[-tenth:]))
    return {
        "start_bytes": samples[0].rss_bytes,
        "warm_bytes": first,
        "end_bytes": last,
        "growth_bytes": last - first,
        "peak_bytes": max(sample.rss_bytes for sample in samples),
        "files_at_start_and_end": [samples[0].num_files, samples[-1].num_files],
        "threads_at_start_and_end": [samples[0].num_threads, samples[-1].num_threads],
    }


def make_pictures(seed: int, count: int = 24) -> list[str]:
    """Data URLs of small drawings; some come again, so that the caches are hit and missed."""
    from PIL import Image, ImageDraw

    draw, urls = random.Random(seed), []
    for _ in range(count):
        picture = Image.new("RGB", (draw.randrange(64, 400), draw.randrange(64, 300)), draw.choice(["white", "gray"]))
        for _ in range(draw.randrange(1, 5)):
            x, y, size = draw.randrange(40), draw.randrange(40), draw.randrange(10, 60)
            ImageDraw.Draw(picture).ellipse((x, y, x + size, y + size), fill=draw.choice(["red", "green", "blue"]))
        out = io.BytesIO()
        picture.save(out, draw.choice(["PNG", "JPEG"]))
        urls.append("data:image/png;base64," + base64.b64encode(out.getvalue()).decode())
    return urls


def main(arguments: Sequence[str]) -> int:
    """Soak, write the files, print the figures; status 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description="Many clients at once, for minutes.")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="writes OUT/soak.json and OUT/soak.svg")
    options = parser.parse_args(arguments)
    server = Server(options.model)
    try:
        result = soak(server, num_clients=options.clients, minutes=options.minutes, seed=options.seed)
    finally:
        server.stop()
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "soak.json").write_text(json.dumps(result, indent=1) + "\n")
        (options.out / "soak.svg").write_text(plot(result))
    print(json.dumps({key: value for key, value in result.items() if key != "samples"}))
    return 0 if is_good(result) else 1


def is_good(result: dict[str, Any]) -> bool:
    """Whether nothing went wrong: no error, idle in time, books that balance."""
    return not result["num_errors"] and result["engine"]["is_balanced"] and result["idle_after_s"] is not None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
