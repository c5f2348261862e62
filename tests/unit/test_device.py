"""Choices of device and dtype, each with the reason that it gives."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from regard import device
from regard.device import (
    BYTES_PER_GIB,
    allowed_cpus,
    available_memory_bytes,
    choose_dtype,
    measure_matmul,
    unread_bytes,
)

LARGE = 2_000_000_000


def rates(monkeypatch: pytest.MonkeyPatch, **gflops: float) -> None:
    monkeypatch.setattr(device, "measure_matmul", lambda name: gflops[name])


def test_small_models_compute_in_float32_on_a_cpu() -> None:
    choice = choose_dtype("cpu", "bfloat16", 12_000_000)
    assert choice.value == "float32" and "small model (12.0 M parameters)" in choice.reason


def test_a_cpu_with_bfloat16_keeps_the_checkpoints_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    rates(monkeypatch, float32=260, bfloat16=147)
    choice = choose_dtype("cpu", "bfloat16", LARGE)
    assert choice.value == "bfloat16" and "260 GFLOP/s in float32 and 147 in bfloat16" in choice.reason


def test_a_cpu_that_imitates_bfloat16_gets_float32_where_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    rates(monkeypatch, float32=260, bfloat16=10)
    monkeypatch.setattr(device, "available_memory_bytes", lambda: 64 * BYTES_PER_GIB)
    assert choose_dtype("cpu", "bfloat16", LARGE).value == "float32"
    monkeypatch.setattr(device, "available_memory_bytes", lambda: 8 * BYTES_PER_GIB)
    choice = choose_dtype("cpu", "bfloat16", LARGE)
    assert choice.value == "bfloat16" and "need 7.5 GiB of 8.0 free" in choice.reason


def test_a_gpu_computes_in_the_checkpoints_dtype() -> None:
    assert choose_dtype("mps", "bfloat16", 1000).value == "bfloat16"


def test_what_is_asked_for_is_taken() -> None:
    assert choose_dtype("cpu", "bfloat16", 1000, asked="float16").value == "float16"


def test_a_float32_checkpoint_stays_float32_however_large() -> None:
    assert choose_dtype("cpu", "float32", LARGE).value == "float32"


def test_a_matrix_product_has_a_measurable_rate() -> None:
    assert measure_matmul("float32", side=128) > 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_threads_are_counted_by_the_affinity_mask() -> None:
    mask = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(mask)})
        assert allowed_cpus() == 1
    finally:
        os.sched_setaffinity(0, mask)


def test_free_memory_is_known_and_plausible() -> None:
    free = available_memory_bytes()
    assert free is not None and 0 < free < 2**50


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says what of a mapping was read")
def test_mapped_weights_count_until_they_are_read(tmp_path: Path) -> None:
    """A limit of memory once counted what was resident; mapped weights are not until they are used."""
    file, num_bytes = tmp_path / "model.safetensors", 32 * 1024**2
    file.write_bytes(bytes(num_bytes))
    before = unread_bytes(".safetensors")
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert unread_bytes(".safetensors") - before == num_bytes
        assert unread_bytes(".nothing") == 0
        sum(mapped[::4096])
        assert unread_bytes(".safetensors") - before < num_bytes // 100
    assert unread_bytes(".safetensors") == before
