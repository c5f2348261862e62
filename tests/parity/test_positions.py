"""Positions equal transformers' `get_rope_index`, on random layouts of text, pictures and clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.model.config import ModelConfig
from regard.parity.reference import import_transformers
from regard.processing.positions import Grid, mrope_positions
from tests.tiny import tiny_config

pytest.importorskip("transformers", reason="the reference")
transformers = import_transformers()

CONFIG = ModelConfig.from_hf(tiny_config())
IMAGE, VIDEO, START, END, TEXT = CONFIG.image_token_id, CONFIG.video_token_id, 1, 2, 7


@pytest.fixture(scope="module")
def reference() -> torch.nn.Module:
    with torch.device("meta"):
        model = transformers.Qwen3VLModel(transformers.Qwen3VLConfig(**tiny_config()))
    return model


@dataclass(frozen=True)
class Layout:
    """A prompt's ids and its grids in token order."""

    ids: list[int]
    grids: list[tuple[bool, Grid]]


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    ids = [TEXT] * draw(st.integers(0, 5))
    grids: list[tuple[bool, Grid]] = []
    for _ in range(draw(st.integers(0, 5))):
        is_video, keeps_outer_pair = draw(st.booleans()), draw(st.booleans())
        t = draw(st.integers(1, 4)) if is_video else 1
        h, w = 2 * draw(st.integers(1, 5)), 2 * draw(st.integers(1, 5))
        grids.append((is_video, (t, h, w)))
        outer = is_video and keeps_outer_pair
        ids += [START] * outer
        for _ in range(t):
            ids += [TEXT] * (draw(st.integers(0, 4)) if is_video else 0)
            ids += [START] + [VIDEO if is_video else IMAGE] * (h * w // 4) + [END]
        ids += [END] * outer + [TEXT] * draw(st.integers(0, 5))
    return Layout(ids or [TEXT], grids)


@settings(max_examples=300, deadline=None)
@given(layout=layouts())
def test_positions_equal_the_reference(reference: torch.nn.Module, layout: Layout) -> None:
    ids = torch.tensor([layout.ids])
    pictures = [grid for is_video, grid in layout.grids if not is_video]
    clips = [grid for is_video, grid in layout.grids if is_video]
    expected, delta = reference.get_rope_index(
        ids,
        mm_token_type_ids=(ids == IMAGE).int() + 2 * (ids == VIDEO).int(),
        image_grid_thw=torch.tensor(pictures) if pictures else None,
        video_grid_thw=torch.tensor(clips) if clips else None,
    )
    position_ids, rope_delta = mrope_positions(layout.ids, [grid for _, grid in layout.grids], CONFIG)
    np.testing.assert_array_equal(position_ids, expected[:, 0].numpy())
    assert rope_delta == int(delta)
