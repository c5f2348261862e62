"""`regard quantize MODEL OUT --to fp8|int8|int4`: a smaller copy of a checkpoint, and what that costs.

The model answers prompts, and its weights are rounded so that its layers' outputs on these change least; without
prompts, or with --nearest, to the nearest codes. The bundled checkpoint is asked samples of its own world, others what
lies in the `--calibration` folder:

    cat.jpg    a picture
    cat.txt    its questions, one a line; a picture without such a file is asked DEFAULT_QUESTION
    more.txt   a text file of its own: questions without a picture

The report goes to stdout: sizes, the layers with the largest errors, what was kept, and how often the copy would write
the same token. For the last, the bundled checkpoint is asked held-out samples; of a folder's prompts every fourth is
kept for it, or, of fewer than MIN_SPLIT, all serve for both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regard.errors import ConfigError, InputError, MissingDependencyError
from regard.messages import IMAGE_SUFFIXES, Image, Message, Text

if TYPE_CHECKING:
    from regard.parity.agreement import Agreement, Prompt
    from regard.weights.gptq import InputMoments
    from regard.weights.quantize import QuantizeReport

DEFAULT_QUESTION = "Describe this image."
NUM_HELD_OUT = 24  # prompts for the bundled checkpoint
NUM_CALIBRATION = 48
MIN_SPLIT = 8
NUM_WORST = 8
NOT_MEASURED = "not measured: no prompts; give pictures and questions with --calibration FOLDER"


def quantize_command(
    model: Annotated[str, typer.Argument(help="nano, a model folder, or a hub id.")],
    out: Annotated[Path, typer.Argument(help="The new folder; it must not exist or be empty.")],
    to: Annotated[str, typer.Option("--to", help="fp8 (GPUs, other programs), int8 or int4 (CPUs, this program).")],
    group: Annotated[int | None, typer.Option(help="int4: inputs that share a scale: 32, 64, 128 or 256.")] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Leave these layers as they are, as in down_proj or *.layers.0.*; may be repeated."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="A folder of pictures with questions (cat.jpg, cat.txt) to round and to compare with."),
    ] = None,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Round to the nearest codes, whatever prompts there are.")
    ] = False,
    report: Annotated[Path | None, typer.Option(help="Also write the report as an HTML file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a smaller copy of a checkpoint in FP8, INT8 or INT4 and report what it costs."""
    from regard.cli.quantize_report import print_report, render_report
    from regard.weights.hub import resolve_model
    from regard.weights.quantize import METHODS, quantize

    if to not in METHODS:
        raise ConfigError(f"--to {to}: the choices are {', '.join(METHODS)}")
    if report is not None and not report.resolve().parent.is_dir():
        raise ConfigError(f"--report {report}: the folder {report.resolve().parent} does not exist; make it first")
    folder = resolve_model(model)
    calibrating, comparing, reason = choose_prompts(folder, calibration)
    inputs = None if nearest or not calibrating else collect_inputs(folder, calibrating)
    with _bar("quantising") as on_progress:
        made = quantize(folder, out, to, group=group, keep=keep or (), inputs=inputs, on_progress=on_progress)
    agreement = compare(folder, out, comparing) if comparing else None
    facts = as_facts(model, out, made, agreement, reason)
    facts["num_calibration_prompts"] = 0 if inputs is None else len(calibrating)
    facts["is_compared_on_calibration"] = inputs is not None and comparing is calibrating
    if report is not None:
        report.write_text(render_report(facts), encoding="utf-8")
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        print_report(facts, NUM_WORST)


def read_calibration(folder: Path) -> list[Prompt]:
    """The prompts of a calibration folder, in the order of its names.

    Errors:  InputError if it is no folder, holds no prompt, or a text file cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"--calibration {folder} is not a folder; give one with pictures and .txt files of questions")
    prompts: list[Prompt] = []
    files = sorted(file for file in folder.iterdir() if file.is_file())
    pictures = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    for file in pictures:
        questions = _lines(file.with_suffix(".txt")) or [DEFAULT_QUESTION]
        prompts += [(Message("user", (Image(str(file)), Text(question))),) for question in questions]
    of_pictures = {file.with_suffix(".txt") for file in pictures}
    for file in files:
        if file.suffix.lower() == ".txt" and file not in of_pictures:
            prompts += [(Message("user", (Text(question),)),) for question in _lines(file)]
    if not prompts:
        raise InputError(f"--calibration {folder} holds neither pictures nor questions in .txt files; put some there")
    return prompts


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        return []
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text ({error.reason}); save it as UTF-8") from error


def choose_prompts(folder: Path, calibration: Path | None) -> tuple[list[Prompt], list[Prompt], str]:
    """Prompts to round with, prompts to compare answers on, and why there are none."""
    if calibration is None:
        calibrating, reason = world_prompts(folder, NUM_CALIBRATION, held_out=False)
        return calibrating, world_prompts(folder, NUM_HELD_OUT, held_out=True)[0], reason
    prompts = read_calibration(calibration)
    if len(prompts) < MIN_SPLIT:
        return prompts, prompts, ""
    return [prompt for index, prompt in enumerate(prompts) if index % 4], prompts[::4], ""


def world_prompts(folder: Path, num: int, *, held_out: bool) -> tuple[list[Prompt], str]:
    """Samples of its world for the bundled checkpoint; for others, or where nothing can be rendered, none and why."""
    import numpy as np

    from regard.weights.hub import NANO_FOLDER

    if folder.resolve() != NANO_FOLDER.resolve():
        return [], NOT_MEASURED
    from regard.train.world import lines, scenes

    rng = np.random.default_rng(0)
    try:
        samples = [make(rng, held_out=held_out) for make in (lines.make, scenes.make) for _ in range(num // 2)]
    except MissingDependencyError as error:
        return [], f"not measured: {error}"
    return [sample.messages[:-1] for sample in samples], ""


def collect_inputs(folder: Path, prompts: Sequence[Prompt]) -> InputMoments:
    """The inputs of the model's layers while it answers the prompts."""
    from functools import partial

    from regard.parity.agreement import answer_prompts, force
    from regard.processing.processor import Processor
    from regard.weights.gptq import InputMoments

    model, processor = _load(folder), Processor.from_folder(folder)
    with _bar("answering") as on_progress:
        answers = answer_prompts(model, processor, prompts, on_answer=_counter(on_progress, len(prompts)))
    runs = [
        partial(force, model, processor(prompt), answer.tokens) for prompt, answer in zip(prompts, answers, strict=True)
    ]
    return InputMoments(model, runs)


def compare(folder: Path, out: Path, prompts: Sequence[Prompt]) -> Agreement:
    """How often the quantised model's best token is the original's; the models are loaded one after the other."""
    from regard.parity.agreement import answer_prompts, measure_agreement
    from regard.processing.processor import Processor

    processor = Processor.from_folder(folder)
    with _bar("comparing") as on_progress:
        on_answer = _counter(on_progress, 2 * len(prompts))
        answers = answer_prompts(_load(folder), processor, prompts, on_answer=on_answer)
        return measure_agreement(_load(out), processor, prompts, answers, on_answer=on_answer)


def _load(folder: Path) -> Any:
    """The model as `LLM.load` would load it, without the rest."""
    from regard.device import choose_device, choose_dtype, use_allowed_cpus
    from regard.weights.checkpoint import load_model, read_config
    from regard.weights.memory import count_parameters

    use_allowed_cpus()
    config = read_config(folder)
    is_for_cpus = config.quantization is not None and config.quantization.method != "fp8"
    device = choose_device("cpu" if is_for_cpus else "auto").value
    dtype = choose_dtype(device, config.dtype, count_parameters(config)).value
    return load_model(folder, device=device, dtype=dtype)


def as_facts(model: str, out: Path, made: QuantizeReport, agreement: Agreement | None, reason: str) -> dict[str, Any]:
    """The report, JSON types only."""
    from dataclasses import asdict

    return {
        "model": model,
        "out": str(out),
        "method": made.method,
        "bytes_before": made.num_bytes_before,
        "bytes_after": made.num_bytes_after,
        "layers": [asdict(layer) for layer in made.layers],
        "kept": dict(made.kept),
        "agreement": None if agreement is None else asdict(agreement) | {"share": agreement.share},
        "agreement_reason": reason,
    }


def _counter(on_progress: Callable[[int, int], None], total: int) -> Callable[[], None]:
    """Something to call after each of `total` steps."""
    done = count(1)
    return lambda: on_progress(next(done), total)


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal; gives the function to call with (done, in all)."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from regard.cli.terminal import stderr_console

    console = stderr_console()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
