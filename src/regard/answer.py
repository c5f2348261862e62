"""One answer in the making: token ids become text, thinking, tool calls, events, and at last a `Reply`.

    id -> characters (never half of one) -> stop strings -> thinking, text and calls apart -> events

Where log probabilities are asked for, it also knows which token wrote which characters of the text, and so how sure
the model was of each coordinate.

It does not know where the ids come from; `llm` pushes them in and stops when `is_over`.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace

from regard.inputs import ModelInputs
from regard.processing.coordinates import Span, find_boxes_and_points
from regard.processing.processor import Processor
from regard.processing.reply_parser import ReplyParser, parse_reply
from regard.processing.tokenizer import IncrementalDecoder
from regard.reply import Event, EventKind, FinishReason, Reply, TokenLogprob, Usage
from regard.sampling_params import SamplingParams


class Answer:
    """Collects one answer. Times count from `start_s` (`time.perf_counter`).

    `reads_calls`, `reads_tags`: as `ReplyParser`; without tags the prompt opened no thinking either.
    `max_calls`: the answer is over with so many tool calls.
    """

    def __init__(
        self,
        inputs: ModelInputs,
        processor: Processor,
        params: SamplingParams,
        *,
        start_s: float,
        preprocess_s: float,
        reads_calls: bool = True,
        reads_tags: bool = True,
        max_calls: int | None = None,
    ) -> None:
        self._inputs = inputs
        self._end_ids = frozenset() if params.ignore_eos else frozenset(processor.tokenizer.eos_token_ids)
        self._rules: dict[str, bool] = {
            "starts_in_thinking": processor.starts_in_thinking and reads_tags,
            "reads_calls": reads_calls,
            "reads_tags": reads_tags,
        }
        self._max_calls = max_calls
        self._start_s, self._preprocess_s = start_s, preprocess_s
        self._decoder = IncrementalDecoder(processor.tokenizer)
        self._stops = StopStrings(params.stop)
        self._parser = ReplyParser(**self._rules)
        self._token_ids: list[int] = []
        self._raw: list[str] = []
        self._ttft_s = 0.0
        self._num_thinking_tokens = self._num_cached_tokens = 0
        self._logprobs: list[TokenLogprob] = []
        self._num_told = 0  # of the log probabilities, with events
        self._num_chars = 0  # of text
        self._scores: list[float] = []  # the log probability of each token, thinking included
        self._ends: list[int] = []  # how much text there was after each
        self.is_over = False

    def push(
        self, token: int, logprob: float | None = None, alternatives: tuple[tuple[int, float], ...] = ()
    ) -> Iterator[Event]:
        """Take the next id; yields what can be shown now. Sets `is_over` at an end token, a stop string, a last call.

        `logprob` and `alternatives` where they were asked for.
        """
        self._token_ids.append(token)
        self._ttft_s = self._ttft_s or time.perf_counter() - self._start_s
        if token in self._end_ids:
            self.is_over = True
            return
        if logprob is not None and not self._parser.is_thinking:
            self._logprobs.append(TokenLogprob(token, logprob, alternatives))
        yield from self._show(self._stops.push(self._decoder.push(token)))
        if logprob is not None:
            self._scores.append(logprob)
            self._ends.append(self._num_chars)
        self._num_thinking_tokens += self._parser.is_thinking
        if self._stops.is_hit or len(self._parser.tool_calls) == self._max_calls:
            self.is_over = True

    def finish(
        self, reason: FinishReason, *, cache_hits: Sequence[bool] = (), num_cached_tokens: int = 0
    ) -> Iterator[Event]:
        """Yield what was kept back and the last event.

        `reason` is why no more tokens come; `cache_hits`: for each item of the prompt, in its order.
        """
        self._num_cached_tokens = num_cached_tokens
        yield from self._show(self._stops.push(self._decoder.flush()) + self._stops.flush())
        for kind, piece in self._parser.finish():
            yield self._event(kind, piece)
        if self._ends:
            self._ends[-1] = self._num_chars
        # A stop string may be found in the very token that reached a limit.
        reply = self._reply("stop" if self.is_over else reason, cache_hits)
        yield replace(self._event("done", ""), reply=reply)

    def _show(self, text: str) -> Iterator[Event]:
        self._raw.append(text)
        for kind, piece in self._parser.push(text):
            yield self._event(kind, piece)

    def _event(self, kind: EventKind, piece: str) -> Event:
        if kind == "text":
            self._num_chars += len(piece)
        logprobs = tuple(self._logprobs[self._num_told :])
        self._num_told = len(self._logprobs)
        return Event(kind, piece, logprobs=logprobs)

    def _confidence(self, spans: Sequence[Span]) -> float | None:
        """The geometric mean of the probabilities of the tokens that wrote these characters of the text."""
        tokens: set[int] = set()
        for start, end in spans:
            tokens.update(
                range(bisect_right(self._ends, start), min(bisect_left(self._ends, end) + 1, len(self._ends)))
            )
        if not tokens:
            return None
        return math.exp(sum(self._scores[token] for token in tokens) / len(tokens))

    def _reply(self, finish_reason: FinishReason, cache_hits: Sequence[bool]) -> Reply:
        raw, media = "".join(self._raw), self._inputs.media
        parsed = parse_reply(raw, **self._rules)
        sizes = [(report.width, report.height) for report in media if report.kind != "video"]
        boxes, points = find_boxes_and_points(parsed.text, sizes, self._confidence)
        if cache_hits:
            media = tuple(replace(report, cache_hit=hit) for report, hit in zip(media, cache_hits, strict=True))
        usage = Usage(
            num_prompt_tokens=len(self._inputs.input_ids),
            num_output_tokens=len(self._token_ids),
            num_visual_tokens=sum(report.num_visual_tokens for report in media),
            preprocess_s=self._preprocess_s,
            ttft_s=self._ttft_s,
            total_s=time.perf_counter() - self._start_s,
            num_thinking_tokens=self._num_thinking_tokens,
            num_cached_tokens=self._num_cached_tokens,
        )
        return Reply(
            text=parsed.text,
            raw=raw,
            thinking=parsed.thinking,
            tool_calls=parsed.tool_calls,
            boxes=boxes,
            points=points,
            finish_reason="tool_calls" if parsed.tool_calls else finish_reason,
            usage=usage,
            media=media,
            token_ids=tuple(self._token_ids),
            stop=self._stops.found,
            logprobs=tuple(self._logprobs),
        )


class StopStrings:
    """Ends text before the first stop string, and never lets a part of one through.

    Text that could be the beginning of a stop string waits until more is known:
    with stop "END", "the E" gives "the " and keeps "E"; "a" then gives "Ea", "ND" would have ended it.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._kept = ""
        self.found: str | None = None

    @property
    def is_hit(self) -> bool:
        """Whether a stop string came."""
        return self.found is not None

    def push(self, text: str) -> str:
        """Return the text that is certain now."""
        if self.is_hit:
            return ""
        text = self._kept + text
        # The stop that is complete first wins, as if the text came character by character.
        found = [(start + len(stop), start) for stop in self._stops if (start := text.find(stop)) >= 0]
        if found:
            end, start = min(found)
            self.found, self._kept = text[start:end], ""
            return text[:start]
        num_kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._kept = text[len(text) - num_kept :]
        return text[: len(text) - num_kept]

    def flush(self) -> str:
        """Return what was kept back, once it is known that nothing follows."""
        kept, self._kept = self._kept, ""
        return kept


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`, shorter than `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
