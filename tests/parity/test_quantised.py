"""Quantised folders and the reference: FP8 is read by it, our own formats stop it.

The FP8 copy of regard-nano is loaded by transformers as anyone would load it (on a CPU it dequantises), and by us in
FP8; both are compared with our dequantised copy of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from regard.errors import ConfigError
from regard.messages import Image, Message, Text
from regard.parity.cases import picture
from regard.parity.compare import FEATURE_LIMIT, our_forward
from regard.parity.fp8_checkpoint import write_dequantised
from regard.parity.reference import Reference
from regard.parity.suite import open_comparison
from regard.processing.processor import Processor
from regard.weights.checkpoint import load_model
from regard.weights.quantize import quantize
from tests.tiny import tiny_folder

pytest.importorskip("transformers", reason="the reference")
PROMPTS = [
    (Message("user", (Text("Hello!"),)),),
    (Message("user", (Image(picture(90, 70, 1)), Text("What is it?"))),),
]


def test_an_fp8_copy_of_nano_loads_in_the_reference_and_gives_our_logits(nano_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="transformers wants it for FP8 files")
    report = quantize(nano_folder, tmp_path / "fp8", "fp8")
    assert len(report.layers) == 42
    plain = load_model(write_dequantised(tmp_path / "fp8", tmp_path / "plain"), dtype="float32")
    ours, original = load_model(tmp_path / "fp8", dtype="float32"), load_model(nano_folder, dtype="float32")
    reference = Reference.from_folder(tmp_path / "fp8")
    reference.model.float()  # asked for float32, it dequantises to it and leaves the rest in bfloat16
    processor = Processor.from_folder(tmp_path / "fp8")
    for prompt in PROMPTS:
        inputs = processor(prompt)
        expected = our_forward(plain, [inputs])[0]
        theirs = reference.logits(reference.inputs([prompt]))[0]
        assert theirs.dtype == torch.float32
        assert (theirs - expected).abs().max() < FEATURE_LIMIT
        assert (our_forward(ours, [inputs])[0] - expected).abs().max() < FEATURE_LIMIT
        difference = (our_forward(original, [inputs])[0] - expected).abs().max()
        assert difference > 100 * FEATURE_LIMIT, "the copy is not the original: the check can fail"


@pytest.mark.parametrize("method", ["int8", "int4"])
def test_the_reference_refuses_our_own_formats(tmp_path: Path, method: Any) -> None:
    """It only warns about an unknown quant_method and would answer from the codes."""
    quantize(tiny_folder(tmp_path / "source"), tmp_path / "out", method, group=32 if method == "int4" else None)
    with pytest.raises(ValueError, match="regard_qwen3_vl"):
        Reference.from_folder(tmp_path / "out")
    with pytest.raises(ConfigError, match=f"{method.upper()} weights, which the reference cannot read"):
        open_comparison("out", tmp_path / "out", tmp_path)
