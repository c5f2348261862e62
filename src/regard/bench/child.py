"""The process of one system: loads it, then answers one line of JSON for each line of JSON.

    python -m regard.bench.child SYSTEM LOAD_OPTIONS

    -> {"ready": facts}                                             after loading
    <- {"do": "answer", "waves": [[request, ...], ...]}
    -> {"waves": [wave result, ...], "peak_bytes": n}
    <- {"do": "measure"}                                            for the system "machine", which loads nothing
    -> {"rates": {...}}

A command that fails gives {"error": sentence} and the process goes on; the end of the input ends it, and so does the
end of the parent, even in the middle of a command. What libraries write to the standard output goes to the standard
error instead, so that answers stay alone on their lines.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from regard.bench.clock import forget_peak_memory, peak_memory_bytes
from regard.bench.requests import LoadOptions, Request, System
from regard.bench.systems import SYSTEMS, Adapter

MACHINE = "machine"
MAX_ERROR_CHARS = 300
PARENT_CHECK_S = 2.0


def load(adapter: Adapter, variant: str, options: LoadOptions) -> System:
    """Load a system; imports what it needs and nothing else."""
    if adapter == "ours":
        from regard.bench.ours import Ours

        return Ours(options, variant)
    if adapter == "transformers":
        from regard.bench.peer_transformers import Transformers

        return Transformers(options, variant)
    if adapter == "llama.cpp":
        from regard.bench.peer_llama_cpp import LlamaCpp

        return LlamaCpp(options, variant)
    from regard.bench.peer_vllm import Vllm

    return Vllm(options, variant)


def serve(make: Callable[[], System | None], commands: Iterator[str], say: Callable[[dict[str, Any]], None]) -> None:
    """Load, then answer commands until they end."""
    try:
        system = make()
        say({"ready": system.facts() if system is not None else {}})
    except Exception as error:  # a peer may raise anything; the report has to say what
        say({"error": sentence(error)})
        return
    for line in commands:
        try:
            say(_obey(system, json.loads(line)))
        except Exception as error:
            say({"error": sentence(error)})


def sentence(error: Exception) -> str:
    """The error on one line, its class in front unless it is a sentence of ours."""
    text = " ".join(str(error).split())[:MAX_ERROR_CHARS]
    is_ours = type(error).__module__.startswith("regard.")
    return text if is_ours else f"{type(error).__name__}: {text}"


def _obey(system: System | None, command: dict[str, Any]) -> dict[str, Any]:
    if system is None:
        from regard.bench.machine import measure_rates

        return {"rates": measure_rates()}
    if command.get("from_start") is not True:
        forget_peak_memory()
    waves = [[Request.from_json(request) for request in wave] for wave in command["waves"]]
    results = [system.answer(wave).to_json() for wave in waves]
    return {"waves": results, "peak_bytes": peak_memory_bytes()}


def main(arguments: list[str]) -> None:
    """Serve the system that the arguments name."""
    out = _own_stdout()
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    name, options = arguments[0], LoadOptions(**json.loads(arguments[1]))

    def make() -> System | None:
        if name == MACHINE:
            return None
        spec = next(spec for spec in SYSTEMS if spec.name == name)
        return load(spec.adapter, spec.variant, options)

    def say(answer: dict[str, Any]) -> None:
        out.write(json.dumps(answer) + "\n")
        out.flush()

    serve(make, iter(sys.stdin), say)
    os._exit(0)  # taking apart gigabytes in good order takes seconds, in which others are measured


def end_with(parent: int) -> None:
    """End this process when its parent is gone: nobody would read what it measures, and it disturbs what others do."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    os._exit(1)


def _own_stdout() -> TextIO:
    """The standard output for us alone; whoever writes to it from now on, C++ too, writes to the standard error."""
    kept = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(kept, "w", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
