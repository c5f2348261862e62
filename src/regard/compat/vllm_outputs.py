"""What `LLM.generate` and `LLM.chat` return, with the names of vLLM's outputs, and how an answer becomes one.

    output.prompt, output.prompt_token_ids
    output.outputs[0].text, .token_ids, .finish_reason, .stop_reason, .logprobs, .cumulative_logprob

`token_ids` has the end token, `text` has not; a stop string is cut off unless it is to be included. `logprobs` has for
each token the likeliest ones and the chosen one; the rank of a chosen token that is not among them is not known here
and None.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from regard.compat.stops import Found, StopWatch
from regard.compat.vllm_params import SamplingParams
from regard.engine.loop import Stream
from regard.engine.sampler import Sampled
from regard.processing.tokenizer import Tokenizer


@dataclass(frozen=True)
class Logprob:
    """One token at one place. `rank` counts from 1."""

    logprob: float
    rank: int | None
    decoded_token: str


@dataclass(frozen=True)
class CompletionOutput:
    """One answer. `stop_reason`: the stop string or stop token that ended it; None for the end of turn."""

    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str | None
    stop_reason: int | str | None = None

    def finished(self) -> bool:
        """Always true: answers are returned when they are over."""
        return True


@dataclass(frozen=True)
class RequestOutput:
    """The answers to one prompt."""

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    prompt_logprobs: None = None
    finished: bool = True
    metrics: None = field(default=None, repr=False)


def read_answer(
    stream: Stream, index: int, params: SamplingParams, tokenizer: Tokenizer, eos_token_ids: Collection[int]
) -> CompletionOutput:
    """Take one answer to its end."""
    watch = StopWatch(tokenizer, params.stops, skip_special=params.skip_special_tokens)
    end_ids = {*(params.stop_token_ids or ()), *(() if params.ignore_eos else eos_token_ids)}
    taken: list[Sampled] = []
    found: Found | None = None
    reason: str | None = None
    for output in stream:
        reason = output.finish_reason
        for sampled in output.sampled:
            taken.append(sampled)
            # A token that ends the answer is not shown, special or not. Structured output may end without one.
            is_end = reason == "stop" and sampled is output.sampled[-1] and sampled.token_id in end_ids
            if not is_end or params.include_stop_str_in_output:
                found = watch.push(sampled.token_id, is_early=len(taken) <= params.min_tokens)
            if found is not None:
                break
        if found is not None:
            stream.close()
            break
    text, stop_reason = _ended(watch, found, params, taken, reason, eos_token_ids)
    logprobs = None if params.logprobs is None else [_logprobs(one, tokenizer) for one in taken]
    return CompletionOutput(
        index=index,
        text=text,
        token_ids=[one.token_id for one in taken],
        cumulative_logprob=None if params.logprobs is None else sum(one.logprob or 0.0 for one in taken),
        logprobs=logprobs,
        finish_reason="stop" if found is not None else reason,
        stop_reason=stop_reason,
    )


def _ended(
    watch: StopWatch,
    found: Found | None,
    params: SamplingParams,
    taken: list[Sampled],
    reason: str | None,
    eos_token_ids: Collection[int],
) -> tuple[str, Any]:
    """The text, and what stopped it."""
    if found is not None:
        return watch.text[: found.end if params.include_stop_str_in_output else found.start], found.stop
    watch.finish()
    last = taken[-1].token_id if taken and reason == "stop" else None
    is_eos = last in eos_token_ids and not params.ignore_eos
    return watch.text, last if last in (params.stop_token_ids or ()) and not is_eos else None


def _logprobs(one: Sampled, tokenizer: Tokenizer) -> dict[int, Logprob]:
    """The chosen token first, then the likeliest."""
    rank_by_id = {token_id: rank for rank, (token_id, _) in enumerate(one.alternatives, 1)}
    chosen = {one.token_id: one.logprob if one.logprob is not None else 0.0}
    values = chosen | dict(one.alternatives)
    return {
        token_id: Logprob(value, rank_by_id.get(token_id), tokenizer.decode([token_id], skip_special=False))
        for token_id, value in values.items()
    }
