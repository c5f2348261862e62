"""From options to a running comparison: the plan, the files that peers need, and real child processes.

llama.cpp's files are written once into the user's cache (`shapes.cache_folder`), in a process of their own, so that the
time and memory this takes are nobody's. The children's standard error and the pictures lie in a temporary folder.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from regard.bench.cases import choose_cases
from regard.bench.gguf_files import write_gguf
from regard.bench.own_process import in_own_process
from regard.bench.pictures import Pictures
from regard.bench.results import BenchResult
from regard.bench.run import Plan, run_bench
from regard.bench.shapes import cache_folder, true_shape
from regard.bench.systems import choose_systems
from regard.bench.worker import Worker
from regard.device import allowed_cpus, available_memory_bytes, choose_dtype
from regard.errors import ConfigError, RegardError
from regard.weights.checkpoint import read_config
from regard.weights.hub import resolve_model
from regard.weights.memory import count_parameters


def make_plan(
    *,
    model: str = "nano",
    shape: str | None = None,
    systems: str = "",
    cases: str = "",
    repeats: int = 5,
    num_tokens: int = 32,
    num_threads: int | None = None,
    time_limit_s: float = 600.0,
    command: str = "",
) -> Plan:
    """Check the options and find the model; writes the checkpoint of a shape if it is not in the cache.

    Errors: ConfigError and CheckpointError in one sentence.
    """
    if shape is not None and model != "nano":
        raise ConfigError(f"a model, {model!r}, and a shape, {shape!r}, are given; give one of them")
    chosen_systems, chosen_cases = choose_systems(systems), choose_cases(cases)
    for name, value, least in (("repeats", repeats, 1), ("tokens", num_tokens, 2), ("time limit", time_limit_s, 1)):
        if value < least:
            raise ConfigError(f"the {name} is {value:g}; it must be {least} or more")
    if num_threads is not None and num_threads < 1:
        raise ConfigError(f"the number of threads is {num_threads}; it must be 1 or more")
    folder = true_shape(shape) if shape is not None else resolve_model(model)
    config = read_config(folder)
    dtype = choose_dtype("cpu", config.dtype, count_parameters(config))
    return Plan(
        model=f"{shape.upper()} shape, random weights" if shape is not None else model,
        folder=folder.resolve(),
        config=config,
        dtype=dtype.value,
        dtype_reason=dtype.reason,
        systems=chosen_systems,
        cases=chosen_cases,
        repeats=repeats,
        num_tokens=num_tokens,
        num_threads=num_threads or allowed_cpus(),
        time_limit_s=time_limit_s,
        command=command,
    )


def run_plan(plan: Plan, on_progress: Callable[[str], None] = lambda text: None) -> BenchResult:
    """Measure with real processes."""
    gguf_folder = _gguf_folder(plan.folder)
    failures = _prepare(plan, gguf_folder, on_progress)
    options = plan.load_options(gguf_folder)
    with tempfile.TemporaryDirectory(prefix="regard-bench-") as scratch:
        return run_bench(
            plan,
            start=lambda name: Worker(name, options, Path(scratch)),
            pictures=Pictures(Path(scratch)),
            room=available_memory_bytes,
            on_progress=on_progress,
            failures=failures,
        )


def _prepare(plan: Plan, gguf_folder: Path, on_progress: Callable[[str], None]) -> dict[str, str]:
    """Write the files that systems need; returns why a system cannot take part, by its name."""
    failures = {}
    for spec in plan.systems:
        if spec.missing:
            failures[spec.name] = f"not installed: {spec.missing}"
        elif spec.adapter == "llama.cpp":
            on_progress(f"GGUF files for {spec.name}")
            try:
                in_own_process(write_gguf, plan.folder, spec.variant, gguf_folder)
            except RegardError as error:
                failures[spec.name] = str(error)
    return failures


def _gguf_folder(folder: Path) -> Path:
    """A folder of the cache that belongs to these weights: another file, size or time gives another."""
    files = sorted(folder.glob("*.safetensors"))
    facts = [str(folder), *(f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]
    return cache_folder() / f"gguf-{folder.name}-{digest}"
