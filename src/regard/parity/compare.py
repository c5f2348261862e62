"""Ours against the reference: one `Measurement` per check and case.

    our Processor            its processor        token ids, timestamps, positions: equal; pixels: bit for bit
    our vision tower         its vision tower     features and each DeepStack feature, on the same pixels
    our decoder              its decoder          logits of every position
    our loop with KV cache   its `generate`       greedy tokens, for a random checkpoint past the end of turn too

Everything runs in float32 on the CPU: batching and kernels change the order of sums, and only float32 leaves them
small enough for a limit that a mistake cannot hide under. Clips are written into prompts the way the installed
transformers does it (video_dialect "transformers"), since the default dialect differs from it on purpose.

A batch of unequal lengths is padded on the left by the reference and on the right by ours; real positions are
compared. It does not measure speed or low precision.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from regard.generate import encode_items, generate
from regard.inputs import ModelInputs
from regard.model.qwen3_vl import Qwen3VL
from regard.model.vision import VisionFeatures
from regard.parity.cases import Case
from regard.parity.reference import Reference
from regard.processing.processor import Processor
from regard.sampling_params import SamplingParams
from regard.weights.checkpoint import load_model

FEATURE_LIMIT = 1e-4  # float32, values of order one: about ten times what the order of sums costs
EXACT = 0.0
NUM_GREEDY_TOKENS = 64
_TIMESTAMP = re.compile(r"<(\d+\.\d) seconds>")


@dataclass(frozen=True)
class Measurement:
    """The largest difference found by one check in one case; `detail` explains a failure."""

    checkpoint: str
    check: str
    case: str
    difference: float
    limit: float
    detail: str = ""

    @property
    def is_passed(self) -> bool:
        """Whether the difference is within the limit; not-a-number is not."""
        return self.difference <= self.limit


class Comparison:
    """One checkpoint loaded by both; `oracle` is the folder given to the reference when it cannot read ours."""

    def __init__(self, name: str, folder: Path, *, oracle: Path | None = None) -> None:
        self.name = name
        self.folder = folder
        self.processor = Processor.from_folder(folder, video_dialect="transformers")
        self.model = load_model(folder, dtype="float32")
        self.reference = Reference.from_folder(oracle or folder)

    def run(self, cases: Sequence[Case], *, num_tokens: int = NUM_GREEDY_TOKENS) -> Iterator[Measurement]:
        """Compare case by case, then those marked for it as one batch."""
        for case in cases:
            yield from self.compare(case, num_tokens=num_tokens)
        batch = [case for case in cases if case.is_batched]
        if len(batch) > 1:
            yield from self.compare_batch(batch, num_tokens=num_tokens)

    def compare(self, case: Case, *, num_tokens: int = NUM_GREEDY_TOKENS) -> Iterator[Measurement]:
        """All checks of one prompt."""
        ours = self.processor(case.messages, tools=case.tools or None, add_vision_id=case.add_vision_id)
        theirs = self.reference.inputs([case.messages], tools=case.tools or None, add_vision_id=case.add_vision_id)

        def measured(check: str, difference: float, limit: float = EXACT, detail: str = "") -> Measurement:
            return Measurement(self.name, check, case.name, difference, limit, detail)

        yield measured("token ids", count_different(ours.input_ids, theirs["input_ids"][0]))
        position_ids, deltas = self.reference.positions(theirs)
        yield measured("positions", largest_difference(ours.position_ids, position_ids[:, 0]))
        yield measured("rope_delta", abs(ours.rope_delta - int(deltas[0])))
        if any(item.is_video for item in ours.items):
            yield measured("timestamps", count_different(_our_times(ours), self._their_times(theirs)))
        for kind, is_video in (("image", False), ("video", True)):
            if any(item.is_video == is_video for item in ours.items):
                pixel_values = theirs["pixel_values_videos" if is_video else "pixel_values"]
                yield measured(f"{kind} pixels", largest_difference(_pixels(ours, is_video), pixel_values))
        for check, difference in self._vision(ours, theirs):
            yield measured(check, difference, FEATURE_LIMIT)
        our_logits, their_logits = our_forward(self.model, [ours])[0], self.reference.logits(theirs)[0]
        yield measured("logits", largest_difference(our_logits, their_logits), FEATURE_LIMIT)
        expected = self.reference.greedy(theirs, num_tokens)[0]
        difference, detail = self._greedy(ours, expected, num_tokens)
        yield measured(f"greedy {num_tokens} tokens", difference, EXACT, detail)

    def compare_batch(self, cases: Sequence[Case], *, num_tokens: int = NUM_GREEDY_TOKENS) -> Iterator[Measurement]:
        """Rows of unequal length in one forward, and the reference's batched loop against our single ones."""
        rows = [self.processor(case.messages) for case in cases]
        theirs = self.reference.inputs([case.messages for case in cases])
        their_logits, their_tokens = self.reference.logits(theirs), self.reference.greedy(theirs, num_tokens)
        our_logits = our_forward(self.model, rows)
        for index, (case, row) in enumerate(zip(cases, rows, strict=True)):
            name = f"batch of unequal lengths, row: {case.name}"
            length = len(row.input_ids)
            difference = largest_difference(our_logits[index], their_logits[index, -length:])
            yield Measurement(self.name, "logits", name, difference, FEATURE_LIMIT)
            difference, detail = self._greedy(row, their_tokens[index], num_tokens)
            yield Measurement(self.name, f"greedy {num_tokens} tokens", name, difference, EXACT, detail)

    def _their_times(self, inputs: Mapping[str, Tensor]) -> list[float]:
        prompt = self.reference.processor.tokenizer.decode(inputs["input_ids"][0])
        return [float(time) for time in _TIMESTAMP.findall(prompt)]

    def _vision(self, ours: ModelInputs, theirs: Mapping[str, Tensor]) -> Iterator[tuple[str, float]]:
        """The reference encodes pictures and clips apart, ours together in token order."""
        with torch.inference_mode():
            features = encode_items(self.model, ours)
        if features is None:
            return
        merge = self.model.config.vision.spatial_merge_size
        counts = [math.prod(item.grid_thw) // merge**2 for item in ours.items]
        of_video = torch.repeat_interleave(torch.tensor([item.is_video for item in ours.items]), torch.tensor(counts))
        names = ("vision features", *(f"DeepStack feature {k}" for k in range(len(features.deepstack))))
        largest = dict.fromkeys(names, 0.0)
        for pixels, grid, mask in (
            ("pixel_values", "image_grid_thw", ~of_video),
            ("pixel_values_videos", "video_grid_thw", of_video),
        ):
            if pixels in theirs:
                expected = self.reference.vision(theirs[pixels], theirs[grid])
                found = (features.embeds, *features.deepstack)
                for name, mine, other in zip(names, found, expected, strict=True):
                    largest[name] = max(largest[name], largest_difference(mine[mask], other))
        yield from largest.items()

    def _greedy(self, inputs: ModelInputs, expected: Sequence[int], num_tokens: int) -> tuple[float, str]:
        """How many tokens are left when the first one differs, and how close the choice was there."""
        found = list(generate(self.model, inputs, SamplingParams(max_tokens=num_tokens), eos_token_ids=()))
        if found == list(expected):
            return 0.0, ""
        pairs = zip(found, expected, strict=False)
        first = next((i for i, (mine, other) in enumerate(pairs) if mine != other), min(len(found), len(expected)))
        return float(max(len(found), len(expected)) - first), self._margin(inputs, found[:first])

    def _margin(self, inputs: ModelInputs, tokens: list[int]) -> str:
        """What tells a near tie from a mistake: the distance of the two best logits where the answers part."""
        start = inputs.position_ids.max() + 1
        following = np.broadcast_to(np.arange(start, start + len(tokens)), (3, len(tokens)))
        longer = ModelInputs(
            input_ids=np.concatenate([inputs.input_ids, np.array(tokens, dtype=np.int64)]),
            position_ids=np.concatenate([inputs.position_ids, following], axis=1),
            rope_delta=inputs.rope_delta,
            items=inputs.items,
        )
        best, second = our_forward(self.model, [longer])[0][-1].topk(2).values.tolist()
        return f"first difference at token {len(tokens)}, where the two best logits are {best - second:.1e} apart"


@torch.inference_mode()
def our_forward(model: Qwen3VL, rows: Sequence[ModelInputs]) -> list[Tensor]:
    """Logits of each row, computed as one batch padded on the right. Shapes: (T of the row, vocab) each."""
    lengths = [len(row.input_ids) for row in rows]
    input_ids = torch.zeros(len(rows), max(lengths), dtype=torch.long)
    position_ids = torch.zeros(3, len(rows), max(lengths), dtype=torch.long)
    for index, row in enumerate(rows):
        input_ids[index, : lengths[index]] = torch.from_numpy(row.input_ids)
        position_ids[:, index, : lengths[index]] = torch.from_numpy(row.position_ids)
    mask = (input_ids == model.config.image_token_id) | (input_ids == model.config.video_token_id)
    features = [found for row in rows if (found := encode_items(model, row)) is not None]
    visual = None
    if features:
        deepstack = zip(*(one.deepstack for one in features), strict=True)
        visual = VisionFeatures(torch.cat([one.embeds for one in features]), tuple(map(torch.cat, deepstack)))
    logits = model(input_ids, position_ids, visual=visual, visual_mask=None if visual is None else mask)
    return [logits[index, :length] for index, length in enumerate(lengths)]


def largest_difference(ours: Tensor | np.ndarray, theirs: Tensor) -> float:
    """max |ours - theirs|; infinite where the shapes differ, not-a-number where either holds one."""
    mine = torch.as_tensor(ours)
    if mine.shape != theirs.shape:
        return math.inf
    return float((mine - theirs).abs().max()) if mine.numel() else 0.0


def count_different(ours: Sequence[float] | np.ndarray, theirs: Sequence[float] | Tensor) -> float:
    """How many values differ; infinite where the lengths do."""
    mine, other = torch.as_tensor(ours), torch.as_tensor(theirs)
    return float((mine != other).sum()) if mine.shape == other.shape else math.inf


def _pixels(inputs: ModelInputs, is_video: bool) -> np.ndarray:
    return np.concatenate([item.pixel_values for item in inputs.items if item.is_video == is_video])


def _our_times(inputs: ModelInputs) -> list[float]:
    return [float(f"{time:.1f}") for report in inputs.media for time in report.timestamps_s]
