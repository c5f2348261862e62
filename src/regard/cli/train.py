"""`regard train`: fine-tune a checkpoint on a user's conversations, or run the bundled checkpoint's recipe.

    regard train data.jsonl --model M --out runs/mine     LoRA (or --method full), writes runs/mine/model
    regard train nano --out runs/nano                     renders its own data, trains, writes runs/nano/model

Interrupt either at any time; the same command continues.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

    from regard.train.finetune.examples import Example
    from regard.train.finetune.loop import FinetuneConfig
    from regard.train.finetune.run import Outcome

NUM_TRAINING_SCREENS = 6_000
MAX_ANSWER_TOKENS = 512


def train(
    data: Annotated[
        str, typer.Argument(help="A .jsonl file (or a folder of them) of conversations, or 'nano' for its recipe.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run: state, log, the result.")],
    model: Annotated[str, typer.Option("--model", help="What to fine-tune: nano, a folder or a hub id.")] = "nano",
    method: Annotated[str, typer.Option("--method", help="lora, or full for all weights of what learns.")] = "lora",
    learn: Annotated[
        str, typer.Option("--learn", help="What learns, of decoder, merger and tower, with commas.")
    ] = "decoder,merger",
    epochs: Annotated[float, typer.Option("--epochs", help="How often each conversation is seen.")] = 3.0,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps, in place of epochs.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Conversations of one step.")] = 8,
    micro_batch: Annotated[int, typer.Option("--micro-batch", help="Conversations computed at once.")] = 1,
    lr: Annotated[
        float | None, typer.Option("--lr", help="Highest learning rate; else one that fits method and size.")
    ] = None,
    rank: Annotated[int, typer.Option("--rank", help="Rank of the adapters.")] = 16,
    alpha: Annotated[float | None, typer.Option("--alpha", help="Their weight times the rank; else 2 * rank.")] = None,
    held_out: Annotated[
        str, typer.Option("--held-out", help="A file of conversations to measure with, or a share of the data.")
    ] = "0.1",
    show: Annotated[
        int, typer.Option("--show", min=0, help="Held-out conversations to answer before and after, for the report.")
    ] = 16,
    max_pixels: Annotated[int | None, typer.Option("--max-pixels", help="Pixels of a picture at most.")] = None,
    recompute: Annotated[
        bool, typer.Option(help="Compute layers again for their gradients: slower, far less memory.")
    ] = True,
    device: Annotated[str, typer.Option(help="auto, cuda, cuda:N or cpu.")] = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Seed of weights and samples.")] = 0,
    init: Annotated[
        str | None, typer.Option("--init", help="The recipe: start from this checkpoint, not from random.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Stop in good order after this time; run again to continue.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="Processes that prepare samples.")] = 2,
    processes: Annotated[
        int, typer.Option("--processes", min=1, help="Processes that share every step; fine-tuning, the weights too.")
    ] = 1,
    json_lines: Annotated[bool, typer.Option("--json", help="Print each report as one JSON line.")] = False,
) -> int:
    """Fine-tune a checkpoint on conversations, or train regard-nano from data that this package renders."""
    from rich.progress import Progress

    limit_s = math.inf if seconds is None else seconds
    if data == "nano":
        with Progress(disable=json_lines) as progress:
            return _nano(out, seed, init, limit_s, workers, processes, _reporter(progress, json_lines=json_lines))
    from regard.device import choose_device
    from regard.errors import ConfigError
    from regard.train.finetune.examples import read_examples
    from regard.train.finetune.loop import FinetuneConfig
    from regard.train.finetune.run import finetune, split
    from regard.weights.hub import resolve_model

    if init is not None:
        raise ConfigError("--init belongs to the recipe; --model says what is fine-tuned")
    if method not in ("lora", "full"):
        raise ConfigError(f"the method is {method!r}; it must be lora or full")
    if not (0 < epochs < 1e6):
        raise ConfigError(f"the epochs are {epochs:g}; they must be above 0")
    examples = read_examples(Path(data))
    learned, measured = split(examples, float(held_out), seed) if _is_number(held_out) else (examples, None)
    measured = read_examples(Path(held_out)) if measured is None else measured
    config = FinetuneConfig(
        out=out, base=model, method="full" if method == "full" else "lora",
        learns=tuple(part.strip() for part in learn.split(",") if part.strip()),
        lora_rank=rank, lora_alpha=2.0 * rank if alpha is None else alpha, lr=lr,
        num_steps=max(1, math.ceil(epochs * len(learned) / max(1, batch_size))) if steps is None else steps,
        batch_size=batch_size, micro_batch=micro_batch, max_pixels=max_pixels, checkpoints_layers=recompute, seed=seed,
        seconds=limit_s, num_workers=workers, device=choose_device(device).value, world_size=processes,
    )  # fmt: skip
    config.check()
    folder = resolve_model(model)
    with Progress(disable=json_lines) as progress:
        report = _reporter(progress, json_lines=json_lines)
        outcome = finetune(config, folder, learned, measured, report)
        summary = _looked_at(config, folder, measured[:show], outcome, len(learned), report)
    if json_lines:
        import json

        typer.echo(json.dumps(summary))
    elif outcome.is_done:
        typer.echo(f"{out / 'model'} is written; look at {out / 'report.html'}")
    else:
        typer.echo(f"stopped in good order at step {outcome.log[-1]['step']}; run again to continue in {out}")
    return 0


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _looked_at(
    config: FinetuneConfig,
    folder: Path,
    examples: Sequence[Example],
    outcome: Outcome,
    num_learned: int,
    report: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Answer held-out conversations with both models, and write OUT/report.html; returns its figures."""
    from regard.evals.finetuned import Answered, figures, write_report

    answers = []
    for stage, model in (("before", folder), ("after", config.out / "model")) if examples else ():
        report({"stage": stage, "step": 0, "of": len(examples)})
        answers.append(_answers(model, examples, config.device))
        report({"stage": stage, "step": len(examples), "of": len(examples)})
    rows = [
        Answered(example.messages[:-1], example.messages[-1].text, before, after)
        for example, before, after in zip(examples, *answers, strict=True)
    ] if examples else []  # fmt: skip
    facts = (
        f"{config.base}, {config.method} of {', '.join(config.learns)}: {outcome.num_trained:,} numbers learned beside "
        f"{outcome.num_parameters:,}, {num_learned} conversations, "
        f"{outcome.log[-1]['step']} of {config.num_steps} steps of {config.batch_size}, learning rate {outcome.lr:g}."
    )
    write_report(
        config.out / "report.html", title=f"regard train {config.out.name}", facts=facts, log=outcome.log, rows=rows
    )
    summary: dict[str, Any] = {
        "is_done": outcome.is_done,
        "steps": outcome.log[-1]["step"],
        "model": str(config.out / "model"),
    }
    for name in ("before", "after") if rows else ():
        summary[name] = figures([(row.wanted, getattr(row, name)) for row in rows]).to_json()
    return summary


def _answers(model: Path, examples: Sequence[Example], device: str) -> list[str]:
    """What a checkpoint says to each conversation without its last answer; what it cannot take has no answer."""
    from regard.errors import RegardError
    from regard.llm import LLM

    llm = LLM.load(str(model), device=device)
    said = []
    for example in examples:
        try:
            reply = llm.chat(example.messages[:-1], tools=example.tools, temperature=0.0, max_tokens=MAX_ANSWER_TOKENS)
            said.append(reply.text)
        except RegardError as error:
            said.append(f"({error})")
    return said


def _nano(
    out: Path, seed: int, init: str | None, seconds: float, workers: int, processes: int, report: Callable[..., None]
) -> int:
    """The bundled checkpoint's recipe."""
    from regard.evals.curves import write_log_report
    from regard.train.run import train_nano
    from regard.weights.hub import resolve_model

    is_done = train_nano(
        out,
        seed=seed,
        seconds=seconds,
        num_workers=workers,
        num_processes=processes,
        num_screens=NUM_TRAINING_SCREENS,
        init=resolve_model(init, offline=True) if init else None,
        on_report=report,
    )
    if (out / "log.jsonl").exists():
        write_log_report(out / "log.jsonl", out / "report.html")
    done = f"{out / 'model'} is written; look at {out / 'report.html'}"
    typer.echo(done if is_done else f"stopped in good order; run again to continue in {out}")
    return 0


def _reporter(progress: Progress, *, json_lines: bool) -> Any:
    import json

    bars: dict[str, Any] = {}

    def report(record: dict[str, Any]) -> None:
        if json_lines:
            typer.echo(json.dumps(record))
            return
        stage = record["stage"]
        if stage not in bars:
            bars[stage] = progress.add_task(stage, total=record["of"])
        numbers = {name: value for name, value in record.items() if isinstance(value, float)}
        shown = "  ".join(f"{name} {value:g}" for name, value in sorted(numbers.items()))
        progress.update(bars[stage], completed=record["step"])
        progress.console.print(f"[dim]{stage} {record['step']}[/dim]  {shown}", highlight=False)

    return report
