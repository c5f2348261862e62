"""Tasks over several pages: every state has a target that is really there, and the step hits it."""

from collections import Counter

import numpy as np
import pytest

from regard.apps.reading import read_tool_call
from regard.evals.actions import TASK
from regard.train.world.browser import CHROMIUM
from regard.train.world.episode_pages import make_episode
from regard.train.world.episodes import EPISODES, SIZES, ask_episode, episode_turns, make_state, step_of
from regard.train.world.screens import ScreenBank, build_bank

pytest.importorskip("playwright", reason="needs playwright")
needs_chromium = pytest.mark.skipif(not CHROMIUM.is_file(), reason=f"needs {CHROMIUM}")


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> ScreenBank:
    folder = tmp_path_factory.mktemp("episodes")
    build_bank(folder, count=30, seed=3, held_out=True, kind=EPISODES)
    return ScreenBank(folder)


def test_every_task_ends_and_tells_its_steps_in_words():
    kinds = Counter()
    for seed in range(150):
        episode = make_episode(np.random.default_rng(seed), SIZES, held_out=False)
        moves = [state.move for state in episode.states]
        kinds |= Counter(move.kind for move in moves)
        assert moves[-1].kind in ("done", "answer")
        assert all(len(move.lines) == 1 and '"' not in move.lines[0] for move in moves[:-1])
        assert len(episode.states) <= 9
    assert set(kinds) == {"click", "hold", "type", "to slider", "drag", "scroll", "answer", "done"}


def test_secrets_are_typed_by_their_name():
    typed = [
        state.move.name
        for seed in range(80)
        for state in make_episode(np.random.default_rng(seed), SIZES, held_out=False).states
        if state.move.kind == "type" and "{" in state.move.name
    ]
    assert typed and all(text.startswith("{{secret:") and text.endswith("}}") for text in typed)


def test_progress_tells_all_earlier_steps_and_missed_clicks():
    extras = [make_state(np.random.default_rng(seed), held_out=False)[1] for seed in range(300)]
    missed = [extra for extra in extras if extra["progress"] and extra["progress"][-1].endswith("(nothing changed)")]
    assert len(missed) > 5
    assert any(len(extra["progress"]) > 3 for extra in extras)


@needs_chromium
def test_steps_are_read_by_the_agent_and_score_one(bank):
    rng = np.random.default_rng(0)
    for index in range(len(bank)):
        screen = bank.screen(index)
        assert screen.image.size == SIZES[screen.extra["device"]]
        sample = ask_episode(rng, screen)
        assert TASK.score(sample, sample.answer) == 1
        if sample.truth["form"] == "step":
            assert read_tool_call(sample.answer).repairs == ()


@needs_chromium
def test_clicks_lie_in_the_picture(bank):
    for index in range(len(bank)):
        step = step_of(bank.screen(index))
        place = step.arguments.get("coordinate")
        assert place is None or all(0 <= v <= 1000 for v in place)


@needs_chromium
def test_later_turns_are_tasks_on_the_same_picture(bank):
    sample = episode_turns(np.random.default_rng(0), bank=bank, num_turns=3)
    assert [message.role for message in sample.messages] == ["system", *["user", "assistant"] * 3]
