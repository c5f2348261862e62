"""The recommended settings: complete, sourced, and found by name."""

from __future__ import annotations

import pytest

from regard.errors import ConfigError
from regard.presets import PRESETS, find, names

TASKS = ("visual", "text", "stem", "gui", "ocr")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("thinking", [False, True], ids=["instruct", "thinking"])
def test_every_task_has_a_preset_for_each_edition(task: str, thinking: bool) -> None:
    preset = find(task, thinking=thinking)
    assert (preset.name, preset.edition) == (task, "thinking" if thinking else "instruct")


def test_no_two_presets_answer_to_the_same_name() -> None:
    keys = [(preset.name, preset.edition) for preset in PRESETS]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: f"{preset.name}-{preset.edition}")
def test_every_preset_names_its_source(preset) -> None:
    kinds = ("model card", "README", "generation_config", "cookbook", "ClawGUI-Eval", "this package")
    assert any(kind in preset.source for kind in kinds)


def test_the_cards_figures_are_kept() -> None:
    sampling = find("visual", thinking=False).sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.presence_penalty) == (0.7, 0.8, 20, 1.5)
    assert find("stem", thinking=True).sampling.max_tokens == 81920
    assert find("visual", thinking=True).sampling.max_tokens == 40960


def test_ocr_and_gui_carry_the_pixel_limits_of_their_recipes() -> None:
    assert (find("ocr", thinking=False).min_pixels, find("ocr", thinking=False).max_pixels) == (524288, 2097152)
    assert (find("gui", thinking=True).min_pixels, find("gui", thinking=True).max_pixels) == (65536, 16777216)


def test_reading_text_is_not_punished_for_repeating_words() -> None:
    assert find("ocr", thinking=False).sampling.presence_penalty == 0
    assert find("ocr", thinking=True).sampling.presence_penalty == 0


def test_greedy_is_the_same_for_both_editions() -> None:
    assert find("greedy", thinking=False) is find("greedy", thinking=True)
    assert find("greedy", thinking=False).sampling.temperature == 0


def test_a_name_may_carry_its_edition() -> None:
    assert find("ocr-thinking", thinking=True) is find("ocr", thinking=True)


def test_a_preset_of_the_other_edition_is_refused_and_the_right_name_given() -> None:
    with pytest.raises(ConfigError, match="'ocr-thinking' is not for this model, which is an instruct edition; use 'o"):
        find("ocr-thinking", thinking=False)


def test_an_unknown_preset_is_refused_with_the_list() -> None:
    with pytest.raises(ConfigError, match=f"no preset 'fast'; the presets are {', '.join(names())}"):
        find("fast", thinking=False)
