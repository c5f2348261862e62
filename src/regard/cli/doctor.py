"""`regard doctor`: what this machine can run, and why each choice was made.

It looks, loads regard-nano and asks it one question about a picture made on the spot, and measures one matrix
product per dtype and, the first time, the products of each format of weights; about five seconds. Exit status 1
when regard-nano does not load or does not answer.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from regard.chromium import find_chromium
from regard.errors import RegardError

# What the instruction sets are good for here; the names are those of /proc/cpuinfo.
FLAGS = {
    "avx2": "float32, 8 lanes",
    "avx512f": "float32, 16 lanes",
    "avx512_vnni": "int8 dot products",
    "avx_vnni": "int8 dot products, 8 lanes",
    "avx512_bf16": "bfloat16 dot products",
    "avx512_fp16": "float16 arithmetic",
    "amx_bf16": "bfloat16 tiles",
    "amx_int8": "int8 tiles",
    "asimd": "float32, 4 lanes (Arm)",
    "bf16": "bfloat16 (Arm)",
    "i8mm": "int8 matrix products (Arm)",
}
# module -> (distribution, extra, what it brings)
OPTIONAL = {
    "av": ("av", "video", "videos"),
    "pypdfium2": ("pypdfium2", "pdf", "PDF pages"),
    "fastapi": ("fastapi", "server", "the HTTP server"),
    "playwright": ("playwright", "agent", "driving a browser; rendering training pages"),
    "rapidfuzz": ("rapidfuzz", "train", "training and scoring"),
    "transformers": ("transformers", "dev", "regard parity"),
    "ray": ("ray", "ray", "batches on a cluster"),
}
BYTES_PER_GIB = 1024**3
# The smallest public checkpoint stands for all large ones in the dtype question.
LARGE_PARAMETERS = 2_127_532_032
# Outputs and inputs of its feed-forward: the layer that kernels are shown for.
KERNEL_SHAPE = (6144, 2048)


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Tell what this machine can run and why each choice was made."""
    facts = examine()
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        _print(facts)
    if not facts["nano"]["answers"]:
        raise typer.Exit(1)


def examine() -> dict[str, Any]:
    """Look at the machine. JSON types only."""
    import torch

    from regard import __version__
    from regard.device import (
        allowed_cpus,
        available_memory_bytes,
        choose_device,
        choose_dtype,
        total_memory_bytes,
        use_allowed_cpus,
    )

    num_threads = use_allowed_cpus()
    device = choose_device()
    return {
        "regard": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": {"version": torch.__version__, "cuda": torch.version.cuda, "threads": num_threads},
        "cpu": {
            "name": _cpu_field("model name") or platform.machine(),
            "allowed": allowed_cpus(),
            "total": os.cpu_count(),
            "flags": [flag for flag in FLAGS if flag in _cpu_field("flags", "Features").split()],
        },
        "memory": {"total_bytes": total_memory_bytes(), "available_bytes": available_memory_bytes()},
        "gpus": [
            {"name": torch.cuda.get_device_name(index), "memory_bytes": torch.cuda.mem_get_info(index)[1]}
            for index in range(torch.cuda.device_count())
        ],
        "packages": {
            module: {"version": _version(module, distribution), "extra": extra, "brings": brings}
            for module, (distribution, extra, brings) in OPTIONAL.items()
        },
        "ffmpeg": _ffmpeg_version(),
        "chromium": find_chromium(),
        "choices": {
            "device": vars(device),
            "dtype of large models": vars(choose_dtype(device.value, "bfloat16", LARGE_PARAMETERS)),
            "attention in bfloat16 on this CPU": _attention(),
        },
        "kernels": _kernels(),
        "nano": _try_nano(),
    }


def _attention() -> dict[str, str]:
    """What attends many rows."""
    from regard.kernels.native import why_no_attend_tiles

    obstacle = why_no_attend_tiles()
    if obstacle:
        return {"value": "PyTorch's", "reason": obstacle}
    return {
        "value": "tiles",
        "reason": "AVX-512's bfloat16 dot product; PyTorch's kernel takes four times as long",
    }


def _kernels() -> dict[str, list[dict[str, Any]]]:
    """Which product a large model's layer takes on this CPU for how many rows, by format of the weights."""
    import torch

    from regard.kernels.choice import LinearChoice, Measurements, choose_linear
    from regard.kernels.floats import FLOAT_KERNELS, FloatWeight
    from regard.kernels.int4 import INT4_KERNELS, Int4Weight
    from regard.kernels.int8 import INT8_KERNELS, Int8Weight

    num_outputs, num_inputs = KERNEL_SHAPE
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 256, KERNEL_SHAPE, dtype=torch.uint8, generator=generator)
    int8 = Int8Weight(codes.view(torch.int8).clamp(min=-127), torch.full((num_outputs,), 1e-3))
    scale = torch.full((num_outputs, num_inputs // 128), 1e-2, dtype=torch.bfloat16)
    int4 = Int4Weight(codes[:, ::2].contiguous(), scale, torch.zeros_like(scale), num_inputs)
    bf16 = FloatWeight((codes.float() / 255 - 0.5).bfloat16())
    measurements = Measurements()
    found: dict[str, tuple[LinearChoice[Any], ...]] = {
        "int8": choose_linear(INT8_KERNELS, int8, torch.bfloat16, "int8", measurements),
        "int4": choose_linear(INT4_KERNELS, int4, torch.bfloat16, "int4, groups of 128,", measurements),
        "bfloat16": choose_linear(FLOAT_KERNELS, bf16, torch.bfloat16, "bf16", measurements),
        "float32": choose_linear(FLOAT_KERNELS, FloatWeight(bf16.widened()), torch.float32, "f32", measurements),
    }
    return {
        name: [{"rows": choice.rows, "value": choice.kernel.name, "reason": choice.reason} for choice in choices]
        for name, choices in found.items()
    }


def _cpu_field(*names: str) -> str:
    """A field of the first CPU in /proc/cpuinfo; empty where there is no such file or field."""
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in names:
                return value.strip()
    return ""


def _version(module: str, distribution: str) -> str | None:
    import importlib.metadata
    import importlib.util

    if importlib.util.find_spec(module) is None:
        return None
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def _ffmpeg_version() -> str | None:
    """The FFmpeg that PyAV carries."""
    import importlib.util

    if importlib.util.find_spec("av") is None:
        return None
    import av

    versions = av.library_versions
    return ", ".join(f"{name} {'.'.join(map(str, versions[name]))}" for name in ("libavcodec", "libavformat"))


def _try_nano() -> dict[str, Any]:
    """Load regard-nano and ask it one thing; `problem` says in one sentence what went wrong."""
    import PIL.Image

    found: dict[str, Any] = {"answers": False, "problem": None}
    try:
        start_s = time.perf_counter()
        from regard.llm import LLM

        llm = LLM.load("nano")
        found["load_s"] = time.perf_counter() - start_s
        found["device"], found["dtype"] = vars(llm.device), vars(llm.dtype)
        picture = PIL.Image.new("RGB", (128, 128), "white")
        picture.paste("red", (32, 32, 96, 96))
        reply = llm.chat([picture, "What colour is the square?"], preset="greedy", max_tokens=16)
        found["answer"], found["answer_s"] = reply.text, reply.usage.total_s
        found["answers"] = bool(reply.token_ids)
    except RegardError as error:
        found["problem"] = str(error)
    return found


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(facts):
        table.add_row(name, value)
    Console(file=sys.stdout, highlight=False, markup=False).print(table)


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    torch, cpu, memory, nano = facts["torch"], facts["cpu"], facts["memory"], facts["nano"]
    rows = [
        ("regard", f"{facts['regard']} on Python {facts['python']}, {facts['platform']}"),
        ("torch", f"{torch['version']}, CUDA {torch['cuda'] or 'not built in'}, {torch['threads']} threads"),
        ("cpu", f"{cpu['name']}: {cpu['allowed']} of {cpu['total']} CPUs may be used"),
        *(("", f"{flag}: {FLAGS[flag]}") for flag in cpu["flags"]),
        ("memory", f"{_gib(memory['available_bytes'])} of {_gib(memory['total_bytes'])} available"),
        ("gpu", "; ".join(f"{gpu['name']}, {_gib(gpu['memory_bytes'])}" for gpu in facts["gpus"]) or "none"),
    ]
    for name, choice in facts["choices"].items():
        rows.append((name, f"{choice['value']}: {choice['reason']}"))
    for name, choices in facts["kernels"].items():
        previous = ""
        for choice in choices:  # one line for each kernel, with the times for the fewest rows that it takes
            if choice["value"] != previous:
                rows.append((f"{name} layers", f"{_rows_text(choice['rows'])}: {choice['value']}: {choice['reason']}"))
                previous = choice["value"]
    for module, package in facts["packages"].items():
        missing = f"not installed; pip install 'regard[{package['extra']}]' brings {package['brings']}"
        rows.append((module, f"{package['version']}: {package['brings']}" if package["version"] else missing))
    rows.append(("ffmpeg", facts["ffmpeg"] or "none: it comes with PyAV"))
    rows.append(("chromium", facts["chromium"] or "none: needed to render training pages and to drive a browser"))
    if "load_s" in nano:
        rows.append(("nano", f"loads in {nano['load_s']:.1f} s in {nano['dtype']['value']}: {nano['dtype']['reason']}"))
    if nano["answers"]:
        rows.append(("", f"answers in {nano['answer_s']:.2f} s: {nano['answer']!r}"))
    if nano["problem"]:
        rows.append(("nano", f"does not work: {nano['problem']}"))
    return rows


def _rows_text(rows: int) -> str:
    return "1 row and more" if rows == 1 else f"{rows} rows and more"


def _gib(num_bytes: int | None) -> str:
    return "unknown" if num_bytes is None else f"{num_bytes / BYTES_PER_GIB:.1f} GiB"
