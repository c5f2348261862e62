"""`regard models`: what exists, what it needs, what fits this machine, what is downloaded.

Memory is computed from the configs (`weights/memory.py`) for each context length: weights, KV cache and an
estimate of the activations. Nothing is fetched and no model is loaded.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from regard.model.config import ModelConfig

DEFAULT_CONTEXTS = (4096, 32768, 262144)
GB = 1e9


def models(
    context: Annotated[
        list[int] | None, typer.Option(min=1, help="Context length in tokens; may be given several times.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the public models: memory at each context length, what fits this machine, what is downloaded."""
    contexts = sorted(set(context or DEFAULT_CONTEXTS))
    machine = _machine()
    rows = [_row(*entry, contexts, machine) for entry in _entries()]
    if as_json:
        typer.echo(json.dumps({"machine": machine, "models": rows}, indent=2))
    else:
        _print_table(rows, contexts, machine)


def _machine() -> dict[str, int | None]:
    """Free bytes of main memory and of each GPU; None where unknown."""
    import torch

    from regard.device import available_memory_bytes

    machine = {"cpu": available_memory_bytes()}
    for index in range(torch.cuda.device_count()):
        machine[f"cuda:{index}"] = torch.cuda.mem_get_info(index)[0]
    return machine


def _entries() -> list[tuple[str, str, ModelConfig, dict[str, str]]]:
    """(name, precision, config, folders of what is on this machine by edition)."""
    from regard.weights.checkpoint import read_config
    from regard.weights.family import public_models
    from regard.weights.hub import NANO, NANO_FOLDER, downloaded_folder

    entries = []
    if (NANO_FOLDER / "config.json").is_file():
        config = read_config(NANO_FOLDER)
        entries.append((NANO, config.dtype, config, {"bundled": str(NANO_FOLDER)}))
    for model in public_models():
        folders = {edition: downloaded_folder(hub_id) for edition, hub_id in model.hub_ids.items()}
        here = {edition: str(folder) for edition, folder in folders.items() if folder is not None}
        entries.append((f"Qwen3-VL-{model.size}", model.precision, model.config, here))
    return entries


def _row(
    name: str,
    precision: str,
    config: ModelConfig,
    downloaded: dict[str, str],
    contexts: list[int],
    machine: dict[str, int | None],
) -> dict[str, Any]:
    from regard.weights.memory import count_parameters, memory_need, weight_bytes

    needs = []
    for num_tokens in contexts:
        if num_tokens <= config.text.max_position_embeddings:
            need = memory_need(config, num_tokens)
            fits = [device for device, free in machine.items() if free is not None and need.total <= free]
            needs.append(
                {
                    "context_tokens": num_tokens,
                    "kv_cache_bytes": need.kv_cache,
                    "activation_bytes": need.activations,
                    "total_bytes": need.total,
                    "fits": fits,
                }
            )
    return {
        "name": name,
        "precision": precision,
        "parameters": count_parameters(config),
        "weight_bytes": weight_bytes(config),
        "contexts": needs,
        "downloaded": downloaded,
    }


def _print_table(rows: list[dict[str, Any]], contexts: list[int], machine: dict[str, int | None]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("model", "precision"):
        table.add_column(title, no_wrap=True)
    for title in ("weights", *map(_short, contexts)):
        table.add_column(title, justify="right")
    for device in machine:
        table.add_column(f"fits {device}", no_wrap=True)
    table.add_column("downloaded")
    for row in rows:
        totals = {need["context_tokens"]: f"{need['total_bytes'] / GB:.1f}" for need in row["contexts"]}
        table.add_row(
            row["name"],
            row["precision"],
            f"{row['weight_bytes'] / GB:.1f}",
            *(totals.get(n, "-") for n in contexts),
            *(_longest_fit(row, device) for device in machine),
            ", ".join(row["downloaded"]) or "-",
        )
    console = Console()
    console.print(table)
    free = ", ".join(f"{device} {'?' if n is None else f'{n / GB:.1f}'}" for device, n in machine.items())
    console.print("\nGB: the weights alone, then with KV cache and estimated activations of one conversation.")
    console.print(f"Free on this machine: {free}.")


def _longest_fit(row: dict[str, Any], device: str) -> str:
    fitting = [need["context_tokens"] for need in row["contexts"] if device in need["fits"]]
    return f"to {_short(max(fitting))}" if fitting else "no"


def _short(num_tokens: int) -> str:
    """4096 -> 4k; numbers that are no multiple of 1024 stay as they are."""
    return f"{num_tokens // 1024}k" if num_tokens % 1024 == 0 else str(num_tokens)
