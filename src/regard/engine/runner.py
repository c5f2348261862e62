"""Runs one step: chunks of several sequences as one flat batch through the decoder.

    rows      chunk 0: 5 tokens of a prompt | chunk 1: 1 token | chunk 2: 1 token + 3 guesses | ...
    logits    only of the rows that are wanted: the last of a chunk that reaches the newest token, and the guesses

Shape letters: R rows, H hidden size, V visual rows, W wanted rows.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from regard.engine.decoder import Decoder, Wanted
from regard.engine.graphs import DecodeGraphs, Row, cuda_recorder
from regard.engine.paged_cache import PagedCache, StepCache, slot_runs
from regard.engine.request import Sequence
from regard.engine.scheduler import Chunk
from regard.kernels.paged_attention import Span
from regard.model.qwen3_vl import Qwen3VL
from regard.model.vision import VisionFeatures


class Runner:
    """The model and its paged cache."""

    def __init__(self, model: Qwen3VL, cache: PagedCache, *, use_graphs: bool = True) -> None:
        self._model, self._cache = model, cache
        self.decoder = Decoder(model.model.language_model)
        has_graphs = use_graphs and model.device.type == "cuda"
        self.graphs = DecodeGraphs(model, self.decoder, cache, cuda_recorder()) if has_graphs else None

    def run(self, chunks: Seq[Chunk]) -> Tensor:
        """Compute all chunks and store their keys and values.

        Shapes: returns (W, vocabulary) logits: for each chunk with `is_last`, in order, one row and one for each guess.
        """
        if self.graphs is not None and all(_is_decoding(chunk) for chunk in chunks):
            logits = self.graphs.run([_row(chunk) for chunk in chunks])
            if logits is not None:
                return logits
        device = self._model.device
        ids: list[int] = []
        slots: list[int] = []
        spans: list[Span] = []
        wanted: list[int] = []
        wanted_spans: list[Span] = []
        positions = []
        size = self._cache.block_size
        for chunk in chunks:
            sequence, end = chunk.sequence, chunk.start + chunk.count
            num_known = end - len(chunk.proposed)
            spans.append(Span(len(ids), chunk.count, slot_runs(sequence.blocks, end, size)))
            ids += sequence.token_ids[chunk.start : num_known]
            ids += chunk.proposed
            slots += [sequence.blocks[i // size] * size + i % size for i in range(chunk.start, end)]
            positions.append(sequence.positions(chunk.start, end))
            if chunk.is_last:
                count = 1 + len(chunk.proposed)
                wanted_spans.append(Span(len(wanted), count, spans[-1].runs))
                wanted += range(len(ids) - count, len(ids))
        x_RH = F.embedding(torch.tensor(ids, device=device), self._model.model.language_model.embed_tokens.weight)
        visual_rows_V, visual = self._visual(chunks)
        deepstack: tuple[Tensor, ...] = ()
        if visual is not None:
            x_RH[visual_rows_V] = visual.embeds.to(x_RH.dtype)
            deepstack = visual.deepstack
        slots_R = torch.tensor(slots, device=device)
        cache, cut = StepCache(self._cache, slots_R, spans), None
        if len(wanted) < len(ids):
            rows_W = torch.tensor(wanted, dtype=torch.long, device=device)
            cut = Wanted(rows_W, StepCache(self._cache, slots_R[rows_W], wanted_spans) if wanted else cache)
        rows_WH = self.decoder(
            x_RH,
            torch.from_numpy(np.concatenate(positions, axis=1)).to(device),
            cache,
            visual_rows_V=visual_rows_V,
            deepstack=deepstack,
            wanted=cut,
        )
        return self._model.logits(rows_WH)

    def _visual(self, chunks: Seq[Chunk]) -> tuple[Tensor | None, VisionFeatures | None]:
        """Which rows of the batch are visual tokens, and their features."""
        masks, pieces = [], []
        for chunk in chunks:
            sequence, span = chunk.sequence, slice(chunk.start, chunk.start + chunk.count)
            units = sequence.visual.unit_of_T[span]
            mask = np.zeros(chunk.count, dtype=bool)
            mask[: len(units)] = units >= 0  # tokens after the prompt are text
            masks.append(mask)
            pieces += _pieces(sequence, units, sequence.visual.row_of_T[span])
        if not pieces:
            return None, None
        num_taps = len(pieces[0].deepstack)
        features = VisionFeatures(
            torch.cat([piece.embeds for piece in pieces]),
            tuple(torch.cat([piece.deepstack[tap] for piece in pieces]) for tap in range(num_taps)),
        )
        return torch.from_numpy(np.concatenate(masks).nonzero()[0]).to(self._model.device), features


def _is_decoding(chunk: Chunk) -> bool:
    """Whether it is one token that was generated, without guesses after it."""
    return chunk.count == 1 and chunk.is_last and chunk.start >= len(chunk.sequence.visual.unit_of_T)


def _row(chunk: Chunk) -> Row:
    sequence, end = chunk.sequence, chunk.start + 1
    t, h, w = sequence.positions(chunk.start, end)[:, 0].tolist()
    return Row(sequence.token_ids[chunk.start], (t, h, w), end, sequence.blocks)


def _pieces(sequence: Sequence, units: np.ndarray, rows: np.ndarray) -> list[VisionFeatures]:
    """Slices of the features, unit by unit: the rows of one unit inside a chunk follow each other."""
    pieces = []
    for unit in sorted(set(units[units >= 0].tolist())):
        own = rows[units == unit]
        span = slice(int(own[0]), int(own[-1]) + 1)
        features = sequence.features[unit]
        pieces.append(VisionFeatures(features.embeds[span], tuple(tap[span] for tap in features.deepstack)))
    return pieces
