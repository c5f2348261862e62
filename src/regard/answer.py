"""One answer in the making: token ids become text, thinking, tool calls, events, and at last a `Reply`.

    id -> characters (never half of one) -> stop strings -> thinking and text apart -> events

It does not know where the ids come from; `llm` pushes them in and stops when `is_over`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from regard.inputs import ModelInputs
from regard.processing.coordinates import find_boxes_and_points
from regard.processing.processor import Processor
from regard.processing.reply_parser import ReplyParser, parse_reply
from regard.processing.tokenizer import IncrementalDecoder
from regard.reply import Event, FinishReason, Reply, Usage
from regard.sampling_params import SamplingParams


class Answer:
    """Collects one answer. Times count from `start_s` (`time.perf_counter`)."""

    def __init__(
        self, inputs: ModelInputs, processor: Processor, params: SamplingParams, *, start_s: float, preprocess_s: float
    ) -> None:
        self._inputs = inputs
        self._end_ids = frozenset() if params.ignore_eos else frozenset(processor.tokenizer.eos_token_ids)
        self._is_thinking = processor.starts_in_thinking
        self._start_s, self._preprocess_s = start_s, preprocess_s
        self._decoder = IncrementalDecoder(processor.tokenizer)
        self._stops = StopStrings(params.stop)
        self._parser = ReplyParser(starts_in_thinking=processor.starts_in_thinking)
        self._token_ids: list[int] = []
        self._raw: list[str] = []
        self._ttft_s = 0.0
        self.is_over = False

    def push(self, token: int) -> Iterator[Event]:
        """Take the next id; yields what can be shown now. Sets `is_over` at an end token or a stop string."""
        self._token_ids.append(token)
        self._ttft_s = self._ttft_s or time.perf_counter() - self._start_s
        if token in self._end_ids:
            self.is_over = True
            return
        yield from self._show(self._stops.push(self._decoder.push(token)))
        if self._stops.is_hit:
            self.is_over = True

    def finish(self, *, is_cut_off: bool, cache_hits: Sequence[bool] = ()) -> Iterator[Event]:
        """Yield what was kept back and the last event.

        `is_cut_off`: it ended at a limit; `cache_hits`: for each item of the prompt, in its order.
        """
        yield from self._show(self._stops.push(self._decoder.flush()) + self._stops.flush())
        for kind, piece in self._parser.finish():
            yield Event(kind, piece)
        finish_reason: FinishReason = "length" if is_cut_off and not self.is_over else "stop"
        yield Event("done", reply=self._reply(finish_reason, cache_hits))

    def _show(self, text: str) -> Iterator[Event]:
        self._raw.append(text)
        for kind, piece in self._parser.push(text):
            yield Event(kind, piece)

    def _reply(self, finish_reason: FinishReason, cache_hits: Sequence[bool]) -> Reply:
        raw, media = "".join(self._raw), self._inputs.media
        parsed = parse_reply(raw, starts_in_thinking=self._is_thinking)
        sizes = [(report.width, report.height) for report in media if report.kind != "video"]
        boxes, points = find_boxes_and_points(parsed.text, sizes)
        if cache_hits:
            media = tuple(replace(report, cache_hit=hit) for report, hit in zip(media, cache_hits, strict=True))
        usage = Usage(
            num_prompt_tokens=len(self._inputs.input_ids),
            num_output_tokens=len(self._token_ids),
            num_visual_tokens=sum(report.num_visual_tokens for report in media),
            preprocess_s=self._preprocess_s,
            ttft_s=self._ttft_s,
            total_s=time.perf_counter() - self._start_s,
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
        )


class StopStrings:
    """Ends text before the first stop string, and never lets a part of one through.

    Text that could be the beginning of a stop string waits until more is known:
    with stop "END", "the E" gives "the " and keeps "E"; "a" then gives "Ea", "ND" would have ended it.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._kept = ""
        self.is_hit = False

    def push(self, text: str) -> str:
        """Return the text that is certain now."""
        if self.is_hit:
            return ""
        text = self._kept + text
        # The stop that is complete first wins, as if the text came character by character.
        found = [(start + len(stop), start) for stop in self._stops if (start := text.find(stop)) >= 0]
        if found:
            self.is_hit = True
            self._kept = ""
            return text[: min(found)[1]]
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
