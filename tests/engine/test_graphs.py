"""Recorded decoding steps: padded rows and block tables say what the plain step says; what cannot be recorded is run.

CUDA graphs themselves need a GPU; here a recording is the step's own function, run again over the same tensors at each
launch, so that what is tested is everything but the recording.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from regard.engine.engine import Engine
from regard.engine.graphs import MIN_BLOCKS, DecodeGraphs
from regard.kernels.paged_attention import gathered_attention
from tests.engine.conftest import Subject, greedy, run_all


class Recorder:
    """Counts recordings and launches; `fault` is added to every launch's logits."""

    def __init__(self, fault: float = 0.0) -> None:
        self.num_recorded, self.num_launched, self.fault = 0, 0, fault

    def __call__(self, compute: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        out = compute().clone()
        self.num_recorded += 1

        def launch() -> None:
            self.num_launched += 1
            out.copy_(compute() + self.fault)

        return launch, out


def with_graphs(subject: Subject, recorder: Callable[..., object], **options: object) -> Engine:
    """An engine as on a device with graphs."""
    engine = subject.engine(use_speculation=False, **options)
    cache = engine._runner._cache
    cache.attention, cache.is_native = gathered_attention, False
    engine._runner.graphs = DecodeGraphs(subject.model, engine._runner.decoder, cache, recorder)
    return engine


def forget_numbers(engine: Engine) -> None:
    """Memory that nothing was written to may hold anything."""
    cache = engine._runner._cache
    for stored in (*cache.keys, *cache.values):
        stored[:, : cache.empty_slot] = torch.nan


@pytest.mark.parametrize("way", ["runs", "gathered"])
def test_what_was_never_written_is_never_seen(subject: Subject, way: str) -> None:
    engine = subject.engine()
    cache = engine._runner._cache
    if way == "gathered":
        cache.attention, cache.is_native = gathered_attention, False
    forget_numbers(engine)
    names = list(subject.prompts)
    told = run_all(engine, [(subject.prompts[name], greedy()) for name in names])
    assert told == [subject.truth[name] for name in names]


@pytest.mark.parametrize("block_size", [2, 16])
def test_recorded_steps_say_what_the_naive_loop_says(subject: Subject, block_size: int) -> None:
    recorder = Recorder()
    engine = with_graphs(subject, recorder, block_size=block_size, num_blocks=1600 // block_size)
    forget_numbers(engine)
    names = list(subject.prompts)
    told = run_all(engine, [(subject.prompts[name], greedy()) for name in names])
    assert told == [subject.truth[name] for name in names]
    assert recorder.num_recorded >= 1 and recorder.num_launched > recorder.num_recorded


def test_a_sequence_that_outgrows_a_size_goes_on_in_the_next(subject: Subject) -> None:
    recorder = Recorder()
    engine = with_graphs(subject, recorder, block_size=2, num_blocks=400)
    prompt = subject.prompts["words"]
    size = 2 * MIN_BLOCKS  # tokens
    while size <= len(prompt.input_ids) + 4:
        size *= 2
    params = greedy(max_tokens=size - len(prompt.input_ids) + 8)
    assert run_all(engine, [(prompt, params)]) == [subject.naive(prompt, params)]
    assert recorder.num_recorded >= 2


def test_a_size_is_recorded_when_it_comes_up_again(subject: Subject) -> None:
    recorder = Recorder()
    engine = with_graphs(subject, recorder)
    run_all(engine, [(subject.prompts["words"], greedy(max_tokens=2))])
    assert recorder.num_recorded == 0
    run_all(engine, [(subject.prompts["words"], greedy(max_tokens=4))])
    assert recorder.num_recorded == 1


def test_what_cannot_be_recorded_is_run_plainly_and_said_once(
    subject: Subject, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    engine = with_graphs(subject, refuse)
    with caplog.at_level(logging.WARNING, "regard.engine"):
        assert run_all(engine, [(subject.prompts["words"], greedy())]) == [subject.truth["words"]]
    assert engine._runner.graphs.why_not == (
        "a step cannot be recorded (operation not permitted when stream is capturing)"
    )
    assert len(caplog.records) == 1


def test_a_recording_that_differs_from_the_plain_step_is_not_used(subject: Subject) -> None:
    recorder = Recorder(fault=100.0)
    engine = with_graphs(subject, recorder)
    assert run_all(engine, [(subject.prompts["words"], greedy())]) == [subject.truth["words"]]
    assert "differs from the plain one" in engine._runner.graphs.why_not and recorder.num_launched == 1


def test_padding_writes_where_no_sequence_reads(subject: Subject) -> None:
    engine = with_graphs(subject, Recorder())
    cache = engine._runner._cache
    forget_numbers(engine)
    prompts = [subject.prompts[name] for name in ("words", "a picture", "a clip")]  # a size of 4
    run_all(engine, [(prompt, greedy()) for prompt in prompts])
    first = cache.spare_block * cache.block_size
    spare = cache.keys[0][:, first:]
    assert spare[:, 0].isfinite().all() and spare[:, 1:-1].isnan().all() and not spare[:, -1].any()


def test_on_a_cpu_there_are_no_graphs(subject: Subject) -> None:
    assert subject.engine()._runner.graphs is None
