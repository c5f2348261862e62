"""From samples to rows: medians with quartiles, what the time was spent on, shares of the machine, ratios to peers.

A `Row` is one system in one case. Either it has numbers, or `failure` says in a sentence why not. `remark` tells what a
reader should know before comparing: another number of prompt tokens than ours, or fewer tokens written than asked for.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from regard.bench.cases import MORE_IS_BETTER, Case, num_patches
from regard.bench.requests import Answered, WaveResult
from regard.bench.systems import SystemSpec
from regard.bench.work import decode_bytes, kv_token_bytes, prefill_operations, vision_operations, weight_bytes
from regard.model.config import ModelConfig


@dataclass(frozen=True)
class Sample:
    """One repetition: the number, its parts (seconds or bytes), and the answers it comes from."""

    value: float
    wall_s: float
    peak_bytes: int
    answers: tuple[Answered, ...]
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Share:
    """Part of a measured rate of the machine that was used; `parts` for the phases that are known apart."""

    of: str
    value: float
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One system in one case. `times` says for each peer how many times as fast (or as small) this system is."""

    case: str
    title: str
    system: str
    unit: str
    is_more_better: bool
    median: float | None = None
    low: float | None = None
    high: float | None = None
    values: tuple[float, ...] = ()
    parts: Mapping[str, float] = field(default_factory=dict)
    wall_s: float | None = None
    peak_bytes: int | None = None
    num_prompt_tokens: int | None = None
    num_output_tokens: int | None = None
    begins_as_ours: float | None = None
    share: Share | None = None
    times: Mapping[str, float] = field(default_factory=dict)
    remark: str = ""
    failure: str = ""


MEASURED = "measured"


@dataclass(frozen=True)
class SystemReport:
    """What is known about a system besides its numbers. `status` is MEASURED, or why it took no part."""

    name: str
    weights: str
    version: str
    remark: str
    status: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BenchResult:
    """A whole run. JSON types inside, so that `to_json` loses nothing."""

    regard: str
    model: str
    command: str
    date: str
    dtype: str
    dtype_reason: str
    settings: Mapping[str, Any]
    machine: Mapping[str, Any]
    rates: Mapping[str, Any]
    load_average: Mapping[str, Any]
    elapsed_s: float
    systems: tuple[SystemReport, ...]
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def make_sample(case: Case, timed: WaveResult, peak_bytes: int, elapsed_s: float) -> Sample:
    """The number of one repetition. `elapsed_s` counts from the start of the process, for fresh ones.

    Errors: ValueError with a sentence if the system does not tell what the case needs.
    """
    first = timed.answers[0]
    value, parts = 0.0, {}
    if case.measure == "shell":
        value = elapsed_s
    elif case.measure == "memory":
        value = float(peak_bytes)
    elif case.measure == "throughput":
        value = sum(answer.num_output_tokens for answer in timed.answers) / timed.wall_s
    elif first.ttft_s is None:
        raise ValueError("it does not tell when the first token came")
    elif case.measure == "ttft":
        value, parts = first.ttft_s, _phases(first)
    elif first.num_output_tokens < 2:
        raise ValueError("it wrote one token, and a rate needs two")
    else:
        value = (first.num_output_tokens - 1) / (first.total_s - first.ttft_s)
    return Sample(value, timed.wall_s, peak_bytes, timed.answers, parts)


def make_row(
    case: Case,
    spec: SystemSpec,
    samples: Sequence[Sample],
    *,
    config: ModelConfig,
    dtype: str,
    rates: Mapping[str, float],
    num_tokens: int,
    reserved_tokens: int | None = None,
) -> Row:
    """Summarise the repetitions. `num_tokens`: what each answer should have had."""
    values = tuple(sample.value for sample in samples)
    low, median, high = quartiles(values)
    first = samples[0].answers[0]
    num_written = min(answer.num_output_tokens for sample in samples for answer in sample.answers)
    parts = {name: statistics.median(sample.parts[name] for sample in samples) for name in samples[0].parts}
    if case.measure == "memory":
        tokens = reserved_tokens or first.num_prompt_tokens + first.num_output_tokens
        weights = weight_bytes(config, spec.width(config, dtype))
        cache = float(tokens * kv_token_bytes(config, spec.kv_value_bytes(dtype)))
        parts = {"weights": weights, "cache": cache, "rest": median - weights - cache}
    return Row(
        case=case.name,
        title=case.title,
        system=spec.name,
        unit=case.unit,
        is_more_better=case.measure in MORE_IS_BETTER,
        median=median,
        low=low,
        high=high,
        values=values,
        parts=parts,
        wall_s=statistics.median(sample.wall_s for sample in samples),
        peak_bytes=max(sample.peak_bytes for sample in samples),
        num_prompt_tokens=first.num_prompt_tokens,
        num_output_tokens=first.num_output_tokens,
        share=_share(case, spec, first, median, parts, config, dtype, rates),
        remark=f"wrote {num_written} of {num_tokens} tokens" if num_written < num_tokens else "",
    )


def failed_row(case: Case, spec: SystemSpec, failure: str) -> Row:
    """A row without numbers."""
    return Row(
        case.name, case.title, spec.name, case.unit, is_more_better=case.measure in MORE_IS_BETTER, failure=failure
    )


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def compare(rows: Sequence[Row], specs: Mapping[str, SystemSpec]) -> list[Row]:
    """The rows with ratios: ours against each peer in the same case."""
    from dataclasses import replace

    compared = []
    for row in rows:
        times = {}
        if row.median is not None and specs[row.system].is_ours:
            for other in rows:
                if other.case == row.case and other.median is not None and not specs[other.system].is_ours:
                    times[other.system] = _times(row, other)
        compared.append(replace(row, times=times))
    return compared


def begins_alike(ours: str, other: str) -> float:
    """The part of our answer that another answer begins with; 1 when it is the same."""
    return len(os.path.commonprefix([ours, other])) / len(ours) if ours else float(ours == other)


def _times(row: Row, other: Row) -> float:
    assert row.median is not None and other.median is not None
    ratio = row.median / other.median
    return ratio if row.is_more_better else 1 / ratio


def _phases(answer: Answered) -> dict[str, float]:
    """Where the time to the first token went, if the system tells."""
    if answer.ttft_s is None or answer.preprocess_s is None or answer.vision_s is None:
        return {}
    prefill_s = answer.ttft_s - answer.preprocess_s - answer.vision_s
    return {"preprocess": answer.preprocess_s, "vision": answer.vision_s, "prefill": prefill_s}


def _share(
    case: Case,
    spec: SystemSpec,
    first: Answered,
    median: float,
    parts: Mapping[str, float],
    config: ModelConfig,
    dtype: str,
    rates: Mapping[str, float],
) -> Share | None:
    """Of the memory bandwidth for decoding, of the matmul rate for a prompt that no cache knows."""
    if case.measure == "decode":
        num_before = first.num_prompt_tokens + first.num_output_tokens / 2
        read = decode_bytes(config, spec.width(config, dtype), spec.kv_value_bytes(dtype), num_before)
        return Share("memory bandwidth", read * median / rates["read"])
    if case.measure != "ttft" or case.before != "nothing" or case.num_frames:
        return None
    exact = ("float32",) if dtype == "float32" else ("float32", "bfloat16")  # widened, 16-bit weights stay exact
    kind = "int8" if spec.weights != "exact" else max(exact, key=lambda name: rates[name])
    vision = case.num_pictures * vision_operations(config.vision, num_patches(case))
    prefill = prefill_operations(config.text, first.num_prompt_tokens)
    done = {"vision": vision, "prefill": prefill}
    known = {name: done[name] / parts[name] / rates[kind] for name in done if parts.get(name, 0) > 0}
    return Share(f"{kind} rate", (vision + prefill) / median / rates[kind], known)
