"""Prove the loader at full size without the real weights: a random checkpoint of the true 2B shape.

    python scripts/true_shape_2b.py FOLDER        writes 4.3 GB of bfloat16 shards, measures, deletes them

A fresh process loads the folder and answers a question about a picture. Printed as one JSON object: seconds,
and the peak of resident memory (weights that are mapped count as soon as they are touched, and answering
touches all of them) in bytes and as a multiple of the files' size. Exit status 1 if it is over MAX_RATIO.
The tokenizer is a small stand-in, so the answer is noise; shapes, sizes and code are the real ones. Linux only.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MAX_RATIO = 1.2
PICTURE = Path(__file__).parent.parent / "examples" / "settings.png"
MAX_PIXELS, MAX_TOKENS = 384 * 384, 8


def write(folder: Path) -> None:
    """Write the checkpoint."""
    from regard.bench.shapes import write_true_shape

    write_true_shape("2b", folder)


def measure(folder: Path) -> dict[str, Any]:
    """Load and answer in this process."""
    import torch

    import regard
    from regard.messages import Image, Message, Text

    before = resident_peak()
    start_s = time.perf_counter()
    vl = regard.load(folder, device="cpu", dtype="bfloat16")
    load_s = time.perf_counter() - start_s
    loaded = resident_peak()
    question = Message("user", (Image(PICTURE, max_pixels=MAX_PIXELS), Text("What is this?")))
    start_s = time.perf_counter()
    reply = vl.chat([question], preset="greedy", max_tokens=MAX_TOKENS)
    return {
        "load_s": round(load_s, 2),
        "answer_s": round(time.perf_counter() - start_s, 1),
        "prompt_tokens": reply.usage.num_prompt_tokens,
        "output_tokens": reply.usage.num_output_tokens,
        "threads": torch.get_num_threads(),
        "peak_after_import_bytes": before,
        "peak_after_load_bytes": loaded,
        "peak_after_answer_bytes": resident_peak(),
    }


def resident_peak() -> int:
    """The highest resident memory of this process so far, in bytes."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def main(folder: Path) -> int:
    """Write and measure, each in a process of its own, so that neither holds the other's memory."""
    try:
        run_self("--write", folder)
        result = json.loads(run_self("--measure", folder).splitlines()[-1])
        num_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ratio = result["peak_after_answer_bytes"] / num_bytes
    print(json.dumps({"weight_file_bytes": num_bytes, "peak_to_file": round(ratio, 3), **result}, indent=2))
    return int(ratio > MAX_RATIO)


def run_self(step: str, folder: Path) -> str:
    command = [sys.executable, __file__, step, str(folder)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]))))
    elif len(sys.argv) == 2 and not Path(sys.argv[1]).exists():
        sys.exit(main(Path(sys.argv[1])))
    else:
        sys.exit(f"usage: {sys.argv[0]} NEW_FOLDER")
