"""The run: repetition 1 of a case on each system in turn, then repetition 2, and so on, then the next case.

Systems stay loaded and idle while others are measured, as long as memory allows; the one that was used longest ago is
closed when the next would not fit. A system that fails in a case gets a row that says why, is not asked again in this
case, and goes on with the next one; a system that is not installed has no rows and is listed. The machine's own rates
are measured before the first case and after the last.

An interrupt (Ctrl-C, or SIGTERM where the caller makes it one) ends the run in good order: what was measured until then
is reported, and `settings` says that it is not all.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from regard.bench.cases import Case, max_context_tokens, warm_up, waves
from regard.bench.machine import describe, load_average
from regard.bench.pictures import Pictures
from regard.bench.requests import LoadOptions, Request, WaveResult
from regard.bench.results import (
    MEASURED,
    BenchResult,
    Row,
    Sample,
    SystemReport,
    begins_alike,
    compare,
    failed_row,
    make_row,
    make_sample,
)
from regard.bench.systems import SystemSpec
from regard.bench.work import kv_token_bytes, weight_bytes
from regard.bench.worker import Failed
from regard.model.config import ModelConfig

MACHINE = "machine"
# Beside weights and cache: PyTorch, activations, pictures.
_RESERVE_BYTES = 3 * 1024**3 // 2
# A layer is held twice while it is packed or quantised, and mapped pages count until they are dropped.
_WEIGHT_FACTOR = 1.3


class Asked(Protocol):
    """A child as the run sees it (`worker.Worker`)."""

    started_s: float

    @property
    def is_alive(self) -> bool: ...
    def ready(self, limit_s: float) -> dict[str, Any]: ...
    def ask(self, command: Mapping[str, Any], limit_s: float) -> dict[str, Any]: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Plan:
    """What is to be measured. `num_tokens` is the length of answers in the cases that need long ones."""

    model: str
    folder: Path
    config: ModelConfig
    dtype: str
    dtype_reason: str
    systems: tuple[SystemSpec, ...]
    cases: tuple[Case, ...]
    repeats: int = 5
    num_tokens: int = 32
    num_threads: int = 1
    time_limit_s: float = 600.0
    command: str = ""

    def load_options(self, gguf_folder: Path) -> LoadOptions:
        """How each child loads."""
        return LoadOptions(
            folder=str(self.folder),
            dtype=self.dtype,
            num_threads=self.num_threads,
            max_concurrent=max(case.num_requests for case in self.cases),
            num_context_tokens=max_context_tokens(self.cases, self.num_tokens),
            gguf_folder=str(gguf_folder),
        )


class Fleet:
    """The children that are loaded. `start` makes one; `room` says how many bytes are free, None where unknown."""

    def __init__(
        self,
        plan: Plan,
        start: Callable[[str], Asked],
        warming: Sequence[Sequence[Request]],
        room: Callable[[], int | None],
    ) -> None:
        self._plan, self._start, self._warming, self._room = plan, start, warming, room
        self._loaded: dict[str, Asked] = {}  # the one used last is the last
        self.broken: dict[str, str] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self.num_reloads: dict[str, int] = {}

    def get(self, spec: SystemSpec) -> Asked:
        """A child that has loaded and is warm. Errors: Failed."""
        worker = self._loaded.pop(spec.name, None)
        if worker is not None and not worker.is_alive:
            worker.close()
            worker = None
        if worker is None:
            if spec.name in self.facts:
                self.num_reloads[spec.name] = self.num_reloads.get(spec.name, 0) + 1
            worker = self.fresh(spec)
            try:
                worker.ask({"do": "answer", "waves": _as_json(self._warming)}, self._plan.time_limit_s)
            except Failed as error:
                worker.close()
                self.broken[spec.name] = f"could not answer a first small request: {error}"
                raise Failed(self.broken[spec.name]) from error
        self._loaded[spec.name] = worker
        return worker

    def fresh(self, spec: SystemSpec) -> Asked:
        """A child that has just loaded and is the caller's to close. Errors: Failed, each time if it cannot load."""
        if spec.name in self.broken:
            raise Failed(self.broken[spec.name])
        self._make_room(spec)
        worker = self._start(spec.name)
        try:
            self.facts[spec.name] = worker.ready(self._plan.time_limit_s)
        except Failed as error:
            worker.close()
            self.broken[spec.name] = f"could not be loaded: {error}"
            raise Failed(self.broken[spec.name]) from error
        return worker

    def close(self) -> None:
        """End all of them."""
        for worker in self._loaded.values():
            worker.close()
        self._loaded.clear()

    def _make_room(self, spec: SystemSpec) -> None:
        need = memory_need(self._plan, spec)
        while self._loaded and (free := self._room()) is not None and free < need:
            oldest = next(iter(self._loaded))
            self._loaded.pop(oldest).close()


def memory_need(plan: Plan, spec: SystemSpec) -> int:
    """A rough upper estimate of what a system takes: weights, the largest wave's cache, the rest."""
    weights = weight_bytes(plan.config, spec.width(plan.config, plan.dtype))
    tokens = max_context_tokens(plan.cases, plan.num_tokens)
    cache = tokens * kv_token_bytes(plan.config, spec.kv_value_bytes(plan.dtype))
    return int(_WEIGHT_FACTOR * weights + cache + _RESERVE_BYTES)


def run_bench(
    plan: Plan,
    start: Callable[[str], Asked],
    pictures: Pictures,
    room: Callable[[], int | None],
    on_progress: Callable[[str], None] = lambda text: None,
    failures: Mapping[str, str] | None = None,
) -> BenchResult:
    """Measure everything. `start` starts the child of a system, or of MACHINE; `failures` are known beforehand."""
    from datetime import UTC, datetime

    begin_s, load_before = time.perf_counter(), load_average()
    known = dict(failures or {})
    on_progress("the machine's own rates")
    before = _machine_rates(start, plan.time_limit_s)
    fleet = Fleet(plan, start, warm_up(pictures), room)
    measured: dict[tuple[str, str], list[Sample]] = {}
    failed: dict[tuple[str, str], str] = {}
    is_complete = True
    try:
        for case in plan.cases:
            _run_case(plan, case, fleet, pictures, known, measured, failed, on_progress)
    except KeyboardInterrupt:
        is_complete = False
        on_progress("interrupted: what was measured until now follows")
    finally:
        fleet.close()
    after = _machine_rates(start, plan.time_limit_s) if is_complete else before
    best = {name: max(before[name], after[name]) for name in before}
    rows = _rows(plan, fleet, measured, failed, best)
    return BenchResult(
        regard=importlib.metadata.version("regard"),
        model=plan.model,
        command=plan.command,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        dtype=plan.dtype,
        dtype_reason=plan.dtype_reason,
        settings={
            "repeats": plan.repeats,
            "tokens": plan.num_tokens,
            "time_limit_s": plan.time_limit_s,
            "is_complete": is_complete,
        },
        machine=describe(plan.num_threads),
        rates={"best": best, "before": before, "after": after},
        load_average={"before": load_before, "after": load_average()},
        elapsed_s=time.perf_counter() - begin_s,
        systems=tuple(_system_report(spec, fleet, known) for spec in plan.systems),
        rows=tuple(compare(rows, {spec.name: spec for spec in plan.systems})),
    )


def takes_part(spec: SystemSpec, case: Case) -> bool:
    """A system that is another one's way of batching is measured with concurrent requests only."""
    return spec.batching != "only" or case.num_requests > 1


def _run_case(
    plan: Plan,
    case: Case,
    fleet: Fleet,
    pictures: Pictures,
    known: Mapping[str, str],
    measured: dict[tuple[str, str], list[Sample]],
    failed: dict[tuple[str, str], str],
    on_progress: Callable[[str], None],
) -> None:
    for repetition in range(plan.repeats):
        asked = waves(case, repetition, plan.num_tokens, pictures)
        for spec in plan.systems:
            key = case.name, spec.name
            if key in failed or spec.name in known or not takes_part(spec, case):
                continue
            on_progress(f"{case.name}, repetition {repetition + 1} of {plan.repeats}, {spec.name}")
            try:
                sample = _measure(plan, case, spec, fleet, asked)
            except (Failed, ValueError) as error:
                failed[key] = str(error)
            else:
                measured.setdefault(key, []).append(sample)


def _measure(plan: Plan, case: Case, spec: SystemSpec, fleet: Fleet, asked: list[list[Request]]) -> Sample:
    command = {"do": "answer", "waves": _as_json(asked), "from_start": case.is_fresh}
    worker = fleet.fresh(spec) if case.is_fresh else fleet.get(spec)
    try:
        answer = worker.ask(command, plan.time_limit_s)
        elapsed_s = time.perf_counter() - worker.started_s
    finally:
        if case.is_fresh:
            worker.close()
    timed = WaveResult.from_json(answer["waves"][-1])
    return make_sample(case, timed, answer["peak_bytes"], elapsed_s)


def _rows(
    plan: Plan,
    fleet: Fleet,
    measured: Mapping[tuple[str, str], list[Sample]],
    failed: Mapping[tuple[str, str], str],
    rates: Mapping[str, float],
) -> list[Row]:
    rows = []
    for case in plan.cases:
        ours = measured.get((case.name, "regard"))
        for spec in plan.systems:
            key = case.name, spec.name
            if key in failed:
                rows.append(failed_row(case, spec, failed[key]))
            elif key in measured:
                facts = fleet.facts.get(spec.name, {})
                row = make_row(
                    case,
                    spec,
                    measured[key],
                    config=plan.config,
                    dtype=plan.dtype,
                    rates=rates,
                    num_tokens=case.num_tokens(plan.num_tokens),
                    reserved_tokens=facts.get("reserved_tokens"),
                )
                rows.append(_beside_ours(row, measured[key][0], ours[0]) if ours else row)
    return rows


def _beside_ours(row: Row, sample: Sample, ours: Sample) -> Row:
    """What both saw and wrote, compared in the first repetition."""
    mine, other = ours.answers[0], sample.answers[0]
    remarks = [row.remark] if row.remark else []
    if other.num_prompt_tokens != mine.num_prompt_tokens:
        remarks.append(f"read {other.num_prompt_tokens} prompt tokens, regard {mine.num_prompt_tokens}")
    return replace(row, begins_as_ours=begins_alike(mine.text, other.text), remark="; ".join(remarks))


def _system_report(spec: SystemSpec, fleet: Fleet, known: Mapping[str, str]) -> SystemReport:
    reasons = {**fleet.broken, **known}
    status = reasons.get(spec.name, MEASURED if spec.name in fleet.facts else "no case for it")
    facts = dict(fleet.facts.get(spec.name, {}))
    if reloads := fleet.num_reloads.get(spec.name):
        facts["loaded_again"] = reloads
    version = spec.version if not spec.missing else ""
    return SystemReport(spec.name, spec.weights, version, spec.remark, status, facts)


def _machine_rates(start: Callable[[str], Asked], limit_s: float) -> dict[str, float]:
    worker = start(MACHINE)
    try:
        worker.ready(limit_s)
        rates: dict[str, float] = worker.ask({"do": "measure"}, limit_s)["rates"]
    finally:
        worker.close()
    return rates


def _as_json(waves_of_requests: Sequence[Sequence[Request]]) -> list[list[dict[str, Any]]]:
    from dataclasses import asdict

    return [[asdict(request) for request in wave] for wave in waves_of_requests]
