"""Stands for the engine: what it says is given, token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace

import pytest

from regard.engine.loop import EngineLoop
from regard.engine.sampler import Sampled
from regard.inputs import ModelInputs


class ScriptedStream:
    """The engine's stream of one answer."""

    def __init__(self, token_ids: Iterable[int]) -> None:
        self._token_ids = token_ids
        self.sequence = SimpleNamespace(cache_hits=list, num_cached=0, finish_reason="stop")

    def __iter__(self) -> Iterator[SimpleNamespace]:
        for token_id in self._token_ids:
            yield SimpleNamespace(sampled=(Sampled(token_id),))

    def close(self) -> None:
        """Nothing to free."""


def script(monkeypatch: pytest.MonkeyPatch, tokens: Callable[[ModelInputs], Iterable[int]]) -> None:
    """From now on every model answers what `tokens` gives for its inputs."""
    monkeypatch.setattr(EngineLoop, "submit", lambda self, inputs, params, **_: [ScriptedStream(tokens(inputs))])
