"""What `regard parity` runs: five tiny random checkpoints, or one folder of the user's.

Each tiny checkpoint is written to disk in the official layout and loaded by both libraries through their own
loaders, so that reading is compared too:

    dense            tied head, Instruct template            all cases
    MoE              official expert layout                  all cases
    dense YaRN       untied head, Thinking template          where the template or the positions matter
    dense FP8        16x16 blocks                            a few: only the weights differ
    MoE FP8          the same, with experts

FP8 is compared with its dequantised copy (`fp8_checkpoint.py` says why). A folder of the user's gets all cases.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from regard.errors import ConfigError
from regard.parity.cases import Case, make_cases
from regard.parity.compare import Comparison, Measurement
from regard.parity.fp8_checkpoint import write_dequantised, write_quantised
from regard.parity.random_checkpoint import write_random_checkpoint
from regard.weights.checkpoint import read_config

TINY_BLOCK = (16, 16)  # several blocks in each matrix, the last ones partly filled
TINY_NAMES = ("tiny dense", "tiny MoE", "tiny dense, YaRN, Thinking", "tiny dense FP8", "tiny MoE FP8")
_THINKING_CASES = ("text", "system turn", "image, video and text mixed", "follow-up question", "tools")
_FP8_CASES = ("text", "image, video and text mixed")


def compare_tiny(on_start: Callable[[str], None] = lambda name: None) -> Iterator[Measurement]:
    """Compare all of TINY_NAMES; `on_start` hears the name of each. Errors: MissingDependencyError."""
    with tempfile.TemporaryDirectory() as scratch:
        cases = make_cases(Path(scratch))
        for name in TINY_NAMES:
            on_start(name)
            comparison, chosen = tiny_comparison(name, Path(scratch), cases)
            yield from comparison.run(chosen)


def tiny_comparison(name: str, scratch: Path, cases: Sequence[Case]) -> tuple[Comparison, list[Case]]:
    """One of TINY_NAMES, written into `scratch` and loaded by both, and the cases that are meant for it."""
    is_moe, is_fp8, is_yarn = "MoE" in name, "FP8" in name, "YaRN" in name
    folder = scratch / name
    write_random_checkpoint(folder, moe=is_moe, tied=not is_yarn, thinking=is_yarn, yarn=is_yarn)
    if is_fp8:
        folder = write_quantised(folder, scratch / f"{name}, quantised", TINY_BLOCK)
    wanted = _FP8_CASES if is_fp8 else _THINKING_CASES if is_yarn else [case.name for case in cases]
    return open_comparison(name, folder, scratch), [case for case in cases if case.name in wanted]


def compare_folder(name: str, folder: Path) -> Iterator[Measurement]:
    """Compare a checkpoint, all cases. Errors: MissingDependencyError, CheckpointError."""
    with tempfile.TemporaryDirectory() as scratch:
        yield from open_comparison(name, folder, Path(scratch)).run(make_cases(Path(scratch)))


def open_comparison(name: str, folder: Path, scratch: Path) -> Comparison:
    """Load a folder for both; for an FP8 folder the reference gets a dequantised copy in `scratch`."""
    quantization = read_config(folder).quantization
    if quantization is not None and quantization.method != "fp8":
        raise ConfigError(
            f"{folder} holds {quantization.method.upper()} weights, which the reference cannot read; "
            "compare the checkpoint that it was made from"
        )
    oracle = write_dequantised(folder, scratch / f"{folder.name}, dequantised") if quantization else None
    return Comparison(name, folder, oracle=oracle)
