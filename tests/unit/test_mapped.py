"""Pages of a mapped checkpoint are released, and nothing else is."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from regard.device import unread_bytes
from regard.weights.mapped import mapped_files, release_pages


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says what of a mapping was read")
def test_pages_of_a_mapped_file_can_be_released_and_come_back(tmp_path: Path) -> None:
    """A quantised model once held the pages of its source beside the codes: twice what it needs."""
    file, num_bytes = tmp_path / "model.safetensors", 32 * 1024**2
    save_file({"weight": torch.arange(num_bytes // 8)}, file)
    weight = load_file(file)["weight"]
    assert int(weight.sum()) == sum(range(num_bytes // 8))  # reads it
    before = unread_bytes(".safetensors")
    release_pages(weight.data_ptr(), weight.nbytes, mapped_files(".safetensors"))
    assert unread_bytes(".safetensors") - before > num_bytes - 2 * mmap.PAGESIZE
    assert int(weight.sum()) == sum(range(num_bytes // 8))


def test_memory_that_is_no_file_is_not_released() -> None:
    weight = torch.ones(2**20)
    release_pages(weight.data_ptr(), weight.nbytes, mapped_files(".safetensors"))
    assert float(weight.sum()) == 2**20
