"""A model that wants what a test says, computed by the real engine: caches, guesses, penalties and all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

from regard.engine.runner import Runner
from regard.engine.scheduler import Chunk

RUN = Runner.run
WEIGHT = 1000.0  # beats every logit; what is forbidden stays forbidden


def wants(monkeypatch: pytest.MonkeyPatch, next_id: Callable[[list[int]], int]) -> None:
    """From now on, whatever was wanted before, the likeliest token by far is `next_id(the answer so far)`."""

    def biased(self: Runner, chunks: list[Chunk]) -> Tensor:
        logits_WV = RUN(self, chunks).clone()
        row = 0
        for chunk in chunks:
            sequence = chunk.sequence
            output_ids = sequence.token_ids[sequence.num_prompt :]
            for depth in range(1 + len(chunk.proposed) if chunk.is_last else 0):
                logits_WV[row, next_id([*output_ids, *chunk.proposed[:depth]])] += WEIGHT
                row += 1
        return logits_WV

    monkeypatch.setattr(Runner, "run", biased)
