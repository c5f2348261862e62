"""What 8 and 4 bits cost the bundled checkpoint: the tokens that it chooses, and what it gets right.

    python -m benchmarks.quantised --prompts 200 --samples 200 --out benchmarks/quantised.json

Each copy is written by `quantize`, rounded with the calibration set of `regard quantize nano`. Then its best token is
compared with the original's at every place of the original's answers to held-out prompts of four tasks, and it is
evaluated on the same samples as the original. Needs the rendered world's fonts and Chromium, as `regard eval` does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, get_args

import torch

import regard
from regard.bench.machine import describe
from regard.cli.eval import choose_tasks
from regard.cli.quantize import choose_prompts, collect_inputs, compare
from regard.evals.runner import run
from regard.weights.hub import resolve_model
from regard.weights.quantize import Method, quantize

TASKS = "lines,screens,scenes,clips"
PROMPT_SEED = 1


def main() -> None:
    """Quantise, compare, evaluate, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    began = time.perf_counter()
    folder, tasks = resolve_model(options.model), choose_tasks(TASKS)
    each = options.prompts // len(tasks)
    prompts = [sample.prompt for task in tasks for sample in task.samples(each, seed=PROMPT_SEED)]
    inputs = collect_inputs(folder, choose_prompts(folder, None)[0])

    def measured(model: Path) -> list[dict[str, Any]]:
        result = run(regard.load(str(model)), tasks, model=model.name, num_samples=options.samples)
        print(json.dumps({"model": model.name, "elapsed_s": round(time.perf_counter() - began)}), flush=True)
        return [
            {"task": row.task, "measure": row.measure, "value": round(row.value, 4), "num_samples": row.num_samples}
            for row in result.rows
        ]

    copies: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as work:
        for method in get_args(Method):
            copy = Path(work) / method
            made = quantize(folder, copy, method, inputs=inputs)
            agreement = compare(folder, copy, prompts)
            copies[method] = {
                "num_bytes_before": made.num_bytes_before,
                "num_bytes_after": made.num_bytes_after,
                "agreement": asdict(agreement) | {"share": round(agreement.share, 5)},
                "rows": measured(copy),
            }
    report = {
        "date": date.today().isoformat(),
        "command": f"python -m benchmarks.quantised --prompts {options.prompts} --samples {options.samples}",
        "model": options.model,
        "hardware": describe(torch.get_num_threads()),
        "rows": measured(folder),
        "copies": copies,
        "elapsed_s": round(time.perf_counter() - began),
    }
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
