"""regard-nano: its architecture and how it is trained, start to end, in one file.

    stage     what                                                              learns
    look      plain lines, scenes and screens together, dense truth             tower + dense heads
    look2     the same with all fonts, several lines, more screens              tower + dense heads
    talk      all tasks as conversations, dense truth kept as a second loss     everything
    find      short conversations about what is where, above all                everything
    reread    pages, half of them in the sizes of screens, dense truth          tower + dense heads
    polish    all tasks; the learning rate falls to 2 %, and the moving         decoder + mergers
              average ships

Run it with `regard train nano --out RUN`; it saves often and continues where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from regard.train.batches import Generator, TaskShare
from regard.train.world import clip_windows, clips, document_strips, documents, figures, lines, scenes, spatial, talk
from regard.train.world.actions import action_turns
from regard.train.world.episodes import episode_turns
from regard.train.world.mockups import mockup_turns
from regard.train.world.screens import KINDS, ScreenBank
from regard.train.world.shapes import SHAPES
from regard.train.world.turns import LIST_TURNS, screen_turns

VOCAB_SIZE = 1280
TALK_STEPS, FIND_STEPS, REREAD_STEPS, POLISH_STEPS = 4430, 6000, 600, 2000

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3VLForConditionalGeneration"],
    "model_type": "qwen3_vl",
    "tie_word_embeddings": True,
    "text_config": {
        "model_type": "qwen3_vl_text",
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 256,
        "intermediate_size": 640,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        # Half of the 32 frequencies hardly turn within a conversation, so that a head can match content: with 32 and
        # a base of 1,000 the heads that find a place turned up the gains of the slowest pairs and had too few of them.
        "head_dim": 64,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000,
        "rope_scaling": {"rope_type": "default", "mrope_section": [12, 10, 10], "mrope_interleaved": True},
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        "use_cache": True,
        "dtype": "bfloat16",
    },
    "vision_config": {
        "model_type": "qwen3_vl",
        "depth": 6,
        "hidden_size": 192,
        "intermediate_size": 768,
        "num_heads": 6,
        "out_hidden_size": 256,
        "in_channels": 3,
        # Half of the family's: with 16 a visual token is 32x32 pixels, up to ten letters of a screen, and after two
        # minutes of the same pages a tower that sees them twice as large reads 66 % of small letters instead of 31 %.
        "patch_size": 8,
        "temporal_patch_size": 2,
        "spatial_merge_size": 2,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [1, 2, 4],
        "hidden_act": "gelu_pytorch_tanh",
        "initializer_range": 0.02,
    },
}


# "tower": the tower and the dense heads; "decoder": the decoder and the tower's mergers, which hand it their rows.
Learns = Literal["everything", "tower", "decoder"]


@dataclass(frozen=True)
class Stage:
    """One part of the recipe. Learning rates peak at `lr` (tower: times `tower_lr_factor`)."""

    name: str
    num_steps: int
    lr: float
    shares: tuple[TaskShare, ...]
    tower_lr_factor: float = 1.0
    warmup_steps: int = 200
    final_lr_factor: float = 1.0
    learns: Learns = "everything"


def kind_classes() -> dict[str, int]:
    """Class names of everything that can lie in a cell, numbered from 1."""
    return {name: index + 1 for index, name in enumerate((*KINDS, *SHAPES))}


def stages(
    screen_bank: ScreenBank, mockup_bank: ScreenBank | None = None, episode_bank: ScreenBank | None = None
) -> tuple[Stage, ...]:
    """The recipe. On two cores with bfloat16 matrix units a step of "talk" takes about 2.5 s.

    Without a bank of mock-ups or of episodes there is no share of them.
    """
    scene = partial(scenes.make, held_out=False)
    screen = partial(screen_turns, bank=screen_bank)
    page = partial(lines.make_page, held_out=False)
    plain_page = partial(page, is_plain=True)

    def seen(name: str, count: int, generate: Generator) -> TaskShare:
        return TaskShare(name, count, generate, has_one_size=name == "pages", is_dense_only=True)

    look = Stage(
        "look",
        2000,
        3e-3,
        learns="tower",
        shares=(
            seen("pages", 128, plain_page),
            seen("scenes", 4, scene),
            seen("screens", 1, partial(screen, num_turns=1)),
        ),
    )
    look2 = Stage(
        "look2",
        900,
        2e-3,
        learns="tower",
        shares=(
            seen("pages", 128, page),
            seen("scenes", 6, scene),
            seen("screens", 4, partial(screen, num_turns=1)),
        ),
    )
    shares: tuple[TaskShare, ...] = (
        replace(seen("pages", 16, page), name="pages seen"),
        TaskShare("pages", 8, page, has_one_size=True),
        TaskShare("lines", 16, partial(lines.make, held_out=False), has_one_size=True),
        TaskShare("strips", 8, partial(document_strips.make_strip, held_out=False), has_one_size=True),
        TaskShare("documents", 3, partial(documents.make, held_out=False, num_turns=3)),
        TaskShare("turned", 2, partial(document_strips.make_turned, held_out=False), weight=0.3),
        TaskShare("screens", 12, partial(screen, num_turns=10), weight=2.0),
        TaskShare("actions", 4, partial(action_turns, bank=screen_bank, num_turns=6), weight=2.0),
        TaskShare("scenes", 8, partial(scene, num_turns=8), weight=2.0),
        TaskShare("spatial", 4, partial(spatial.make, held_out=False, num_turns=4)),
        TaskShare("figures", 3, partial(figures.make, held_out=False, num_turns=4)),
        TaskShare("clips", 2, partial(clips.make, held_out=False, num_turns=4)),
        TaskShare("windows", 2, partial(clip_windows.make, held_out=False, num_turns=5)),
        TaskShare("talk", 2, partial(talk.make, held_out=False), weight=0.3),
    )
    of_banks: tuple[TaskShare, ...] = ()
    if mockup_bank is not None:
        of_banks = (*of_banks, TaskShare("mockups", 3, partial(mockup_turns, bank=mockup_bank, num_turns=3)))
    if episode_bank is not None:
        episode = partial(episode_turns, bank=episode_bank, num_turns=3)
        of_banks = (*of_banks, TaskShare("episodes", 3, episode, weight=2.0))
    talk_stage = Stage("talk", TALK_STEPS, 1.5e-3, tower_lr_factor=0.7, shares=(*shares, *of_banks))
    # Few questions a picture: places are found from the words of a question soon after the picture first, and many
    # pictures a step make many places.
    find = Stage(
        "find",
        FIND_STEPS,
        1.5e-3,
        tower_lr_factor=0.7,
        warmup_steps=1,
        shares=(
            replace(seen("pages", 8, page), name="pages seen"),
            TaskShare("pages", 4, page, has_one_size=True),
            TaskShare("lines", 8, partial(lines.make, held_out=False), has_one_size=True),
            TaskShare("strips", 4, partial(document_strips.make_strip, held_out=False), has_one_size=True),
            TaskShare("documents", 2, partial(documents.make, held_out=False, num_turns=2)),
            TaskShare("screens", 20, partial(screen, num_turns=4), weight=2.0),
            TaskShare("actions", 6, partial(action_turns, bank=screen_bank, num_turns=3), weight=2.0),
            TaskShare("scenes", 24, partial(scene, num_turns=4), weight=2.0),
            TaskShare("spatial", 4, partial(spatial.make, held_out=False, num_turns=3)),
            TaskShare("figures", 2, partial(figures.make, held_out=False, num_turns=3)),
            TaskShare("clips", 2, partial(clips.make, held_out=False, num_turns=2)),
            TaskShare("windows", 2, partial(clip_windows.make, held_out=False, num_turns=2)),
            TaskShare("talk", 2, partial(talk.make, held_out=False), weight=0.3),
        ),
    )
    # Beside conversations, whose gradients are many times as large, reading stands still; alone it goes on.
    reread = Stage(
        "reread",
        REREAD_STEPS,
        2e-3,
        warmup_steps=20,
        final_lr_factor=0.02,
        learns="tower",
        shares=(
            seen("pages", 64, page),
            replace(seen("pages", 64, partial(page, is_small=True)), name="small pages"),
            seen("screens", 32, partial(screen, num_turns=1)),
            seen("scenes", 6, scene),
        ),
    )
    # The decoder learns to use what the tower sees by now, without taking any of it away.
    polish = Stage(
        "polish",
        POLISH_STEPS,
        1.5e-3,
        warmup_steps=20,
        final_lr_factor=0.02,
        learns="decoder",
        shares=(
            TaskShare("pages", 8, page, has_one_size=True),
            TaskShare("lines", 16, partial(lines.make, held_out=False), has_one_size=True),
            TaskShare("strips", 8, partial(document_strips.make_strip, held_out=False), has_one_size=True),
            TaskShare("documents", 2, partial(documents.make, held_out=False, num_turns=2)),
            TaskShare("screens", 12, partial(screen, num_turns=LIST_TURNS + 1), weight=2.0),
            TaskShare("actions", 6, partial(action_turns, bank=screen_bank, num_turns=3), weight=2.0),
            TaskShare("scenes", 12, partial(scene, num_turns=4), weight=2.0),
            # Many questions a picture: to compare and to count takes far more examples than to find.
            TaskShare("compared", 12, partial(scene, num_turns=12, kinds=("count", "relation")), weight=2.0),
            TaskShare("spatial", 4, partial(spatial.make, held_out=False, num_turns=3)),
            TaskShare("figures", 2, partial(figures.make, held_out=False, num_turns=3)),
            TaskShare("clips", 8, partial(clips.make, held_out=False, num_turns=3), weight=2.0),
            TaskShare("windows", 6, partial(clip_windows.make, held_out=False, num_turns=3), weight=2.0),
            TaskShare("talk", 1, partial(talk.make, held_out=False), weight=0.3),
            *of_banks,
        ),
    )
    return (look, look2, talk_stage, find, reread, polish)


def generators(screen_bank: ScreenBank) -> tuple[Generator, ...]:
    """One generator per task: what the tokenizer learns its merges from."""
    return (
        partial(lines.make, held_out=False),
        partial(scenes.make, held_out=False),
        partial(spatial.make, held_out=False),
        partial(clips.make, held_out=False),
        partial(clip_windows.make, held_out=False),
        partial(figures.make, held_out=False),
        partial(documents.make, held_out=False),
        partial(talk.make, held_out=False),
        partial(screen_turns, bank=screen_bank, num_turns=1),
        partial(action_turns, bank=screen_bank, num_turns=1),
    )
