"""Keys and values in 8 bits: a quarter of float32's memory, and nearly the same logits."""

from __future__ import annotations

import pytest
import torch

from regard.engine.budget import Budget
from regard.engine.engine import Engine
from regard.engine.paged_cache import FP8_MAX, StepCache
from regard.errors import ConfigError
from regard.kernels.paged_attention import Span
from tests.engine.conftest import Subject, greedy, run_all


def logits_of(engine: Engine, subject: Subject) -> torch.Tensor:
    """Of every step of one answer, as the sampler got them."""
    taken = []
    compute = engine._runner.run

    def run(chunks):
        logits = compute(chunks)
        taken.append(logits.clone())
        return logits

    engine._runner.run = run  # type: ignore[method-assign]
    run_all(engine, [(subject.prompts["pictures and a clip"], greedy(max_tokens=2))])
    return torch.cat(taken)


def test_logits_are_nearly_those_of_the_models_own_dtype(subject: Subject) -> None:
    exact = logits_of(subject.engine(use_speculation=False), subject)[:1]
    rounded = logits_of(subject.engine(use_speculation=False, cache_dtype="fp8"), subject)[:1]
    difference = (exact - rounded).abs().max() / exact.abs().max()
    assert 0 < difference < 0.1


def test_a_cache_in_8_bits_has_four_times_the_room_of_float32(subject: Subject) -> None:
    sizes = [
        Budget.measure(
            subject.model.config,
            dtype=torch.float32,
            device=torch.device("cpu"),
            block_size=16,
            max_memory=None,
            memory_utilization=0.001,
            cache_dtype=name,
        ).num_blocks  # fmt: skip
        for name in ("auto", "fp8")
    ]
    assert sizes[1] == pytest.approx(4 * sizes[0], rel=0.01)


def test_many_sequences_with_shared_prefixes_come_to_their_end(subject: Subject) -> None:
    engine = subject.engine(cache_dtype="fp8")
    prompts = [subject.prompts[name] for name in ("words", "a picture", "words", "a clip")]
    told = run_all(engine, [(prompt, greedy()) for prompt in prompts])
    assert all(len(one) == 8 for one in told) and told[0] == told[2]


def test_values_beyond_the_range_are_kept_at_its_end(subject: Subject) -> None:
    cache = subject.engine(cache_dtype="fp8")._runner._cache
    step = StepCache(cache, torch.tensor([3]), [Span(0, 1, ((3, 1),))])
    shape = (1, cache.keys[0].shape[0], cache.keys[0].shape[2])
    step.store(0, torch.full(shape, 1e6), torch.full(shape, -1e6))
    assert (cache.keys[0][:, 3].view(torch.float8_e4m3fn).float() == FP8_MAX).all()
    assert (cache.values[0][:, 3].view(torch.float8_e4m3fn).float() == -FP8_MAX).all()


def test_another_dtype_is_refused(subject: Subject) -> None:
    with pytest.raises(ConfigError, match="'int3'; it must be 'auto' or 'fp8'"):
        subject.engine(cache_dtype="int3")
