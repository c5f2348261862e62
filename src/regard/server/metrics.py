"""Figures for Prometheus: counted as requests come and go, the engine's read in the moment that they are asked for.

    regard_requests_total{endpoint, status}            regard_request_seconds{endpoint}
    regard_ttft_seconds, regard_inter_token_seconds    histograms of the engine's answers
    regard_prompt_tokens_total, regard_output_tokens_total, regard_visual_tokens_total
    regard_prefix_cached_tokens_total                  of the prompt tokens, those not computed again
    regard_media_total, regard_media_cached_total      pictures and clips, and those not encoded again
    regard_answers_total{finish_reason}
    regard_running, regard_waiting, regard_looking     answers; requests whose media are being looked at
    regard_blocks, regard_blocks_used                  of the key-value cache

Each server has a registry of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from regard.engine.loop import Figures
from regard.reply import Event, Reply

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TTFT_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0)
_INTER_TOKEN_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_REQUEST_S = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class Metrics:
    """The figures of one server. `figures` tells what the engine holds, `num_looking` how many are looked at."""

    def __init__(self, figures: Callable[[], Figures], num_looking: Callable[[], int]) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter("regard_requests", "Requests", ["endpoint", "status"], registry=registry)
        self._request_s = Histogram(
            "regard_request_seconds", "Time of a whole request", ["endpoint"], buckets=_REQUEST_S, registry=registry
        )
        self._ttft_s = Histogram("regard_ttft_seconds", "Time to first token", buckets=_TTFT_S, registry=registry)
        self._inter_token_s = Histogram(
            "regard_inter_token_seconds", "Time between two tokens", buckets=_INTER_TOKEN_S, registry=registry
        )
        self._prompt = Counter("regard_prompt_tokens", "Tokens of prompts", registry=registry)
        self._output = Counter("regard_output_tokens", "Tokens of answers", registry=registry)
        self._visual = Counter("regard_visual_tokens", "Visual tokens of prompts", registry=registry)
        self._cached = Counter("regard_prefix_cached_tokens", "Prompt tokens not computed again", registry=registry)
        self._media = Counter("regard_media", "Pictures, pages and clips", registry=registry)
        self._media_cached = Counter("regard_media_cached", "Of these, not encoded again", registry=registry)
        self._answers = Counter("regard_answers", "Finished answers", ["finish_reason"], registry=registry)
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "regard_running": ("Answers that run", lambda: figures().num_running),
            "regard_waiting": ("Answers that wait for room", lambda: figures().num_waiting),
            "regard_looking": ("Requests whose media are looked at", num_looking),
            "regard_blocks": ("Blocks of the cache", lambda: figures().num_blocks),
            "regard_blocks_used": ("Blocks in use", lambda: figures().num_blocks_used),
        }
        for name, (words, function) in gauges.items():
            Gauge(name, words, registry=registry).set_function(function)

    def count_request(self, endpoint: str, status: int, duration_s: float) -> None:
        """One request has been answered."""
        self._requests.labels(endpoint, str(status)).inc()
        self._request_s.labels(endpoint).observe(duration_s)

    def count_prompt(self, num_tokens: int, num_visual_tokens: int, num_media: int) -> None:
        """The engine has a prompt."""
        self._prompt.inc(num_tokens)
        self._visual.inc(num_visual_tokens)
        self._media.inc(num_media)

    def watch(self, start_s: float) -> Watch:
        """Follow one answer; `start_s` by `time.perf_counter`."""
        return Watch(self, start_s)

    def observe_token(self, seconds: float, *, is_first: bool) -> None:
        """A piece of an answer came so many seconds after the one before, or after the question."""
        (self._ttft_s if is_first else self._inter_token_s).observe(seconds)

    def count_answer(self, reply: Reply, *, counts_prompt: bool) -> None:
        """An answer is finished; `counts_prompt`: it is the first of those to its prompt."""
        self._answers.labels(reply.finish_reason).inc()
        self._output.inc(reply.usage.num_output_tokens)
        if counts_prompt:
            self._cached.inc(reply.usage.num_cached_tokens)
            self._media_cached.inc(sum(report.cache_hit for report in reply.media))

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)


class Watch:
    """Times the pieces of one request's answers."""

    def __init__(self, metrics: Metrics, start_s: float) -> None:
        self._metrics, self._start_s = metrics, start_s
        self._last_s: dict[int, float] = {}

    def see(self, index: int, event: Event) -> None:
        """An event of answer `index`."""
        if event.reply is not None:
            self._metrics.count_answer(event.reply, counts_prompt=index == 0)
            return
        now_s = time.perf_counter()
        last_s = self._last_s.get(index)
        self._metrics.observe_token(now_s - (last_s or self._start_s), is_first=last_s is None)
        self._last_s[index] = now_s
