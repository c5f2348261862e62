"""The worked examples of the family's position ids, and layouts that must be refused."""

from __future__ import annotations

import numpy as np
import pytest

from regard.errors import EngineError
from regard.model.config import ModelConfig
from regard.processing.positions import mrope_positions
from tests.tiny import tiny_config

CONFIG = ModelConfig.from_hf(tiny_config())
I, V, S, E = CONFIG.image_token_id, CONFIG.video_token_id, CONFIG.vision_start_token_id, CONFIG.vision_end_token_id  # noqa: E741


def test_text_counts_up_on_all_axes() -> None:
    position_ids, rope_delta = mrope_positions([5, 6, 7], [], CONFIG)
    np.testing.assert_array_equal(position_ids, [[0, 1, 2]] * 3)
    assert rope_delta == 0


def test_a_picture_between_texts() -> None:
    position_ids, rope_delta = mrope_positions([1, 2, S, *[I] * 6, E, 3], [(1, 4, 6)], CONFIG)
    assert position_ids.tolist() == [
        [0, 1, 2, 3, 3, 3, 3, 3, 3, 6, 7],
        [0, 1, 2, 3, 3, 3, 4, 4, 4, 6, 7],
        [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7],
    ]
    assert rope_delta == -3


def test_a_clip_is_positioned_group_by_group() -> None:
    ids = [1, 8, 8, S, *[V] * 6, E, 8, 8, S, *[V] * 6, E, 3]
    position_ids, rope_delta = mrope_positions(ids, [(2, 4, 6)], CONFIG)
    assert position_ids[2].tolist() == [0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 11, 12, 13, 14, 15]
    assert position_ids[0].tolist() == [0, 1, 2, 3, *[4] * 6, 7, 8, 9, 10, *[11] * 6, 14, 15]
    assert rope_delta == -6


def test_neighbouring_pictures_need_no_token_between_them() -> None:
    position_ids, rope_delta = mrope_positions([I, I, V, 3], [(1, 2, 2), (1, 2, 2), (1, 2, 2)], CONFIG)
    np.testing.assert_array_equal(position_ids, [[0, 1, 2, 3]] * 3)
    assert rope_delta == 0


@pytest.mark.parametrize("ids", [[I] * 5, [I] * 7, [1, 2], [I, I, 3, I, I, I, I]])
def test_pads_that_do_not_fit_the_grids_are_our_own_mistake(ids: list[int]) -> None:
    with pytest.raises(EngineError):
        mrope_positions(ids, [(1, 4, 6)], CONFIG)
