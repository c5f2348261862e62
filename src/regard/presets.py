"""Recommended settings by task and edition, as data; every row says where it comes from.

`find("ocr", thinking=False)` returns a row. A preset holds sampling options and, where the task's source gives
them, the pixel limits of a picture. An option that the caller gives beats the preset; a picture's own limits
beat the preset's.

The sources disagree in places. The model cards are newer than the README, so they win where both speak of the
same task; the row's `source` names the loser. `greedy` and `default` are not rows of the cards: `greedy` is the
same for every model, `default` is what the checkpoint's own generation_config.json says (`llm` reads it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regard.errors import ConfigError
from regard.sampling_params import SamplingParams

Edition = Literal["instruct", "thinking"]

CELL = 32 * 32  # pixels that become one visual token


@dataclass(frozen=True)
class Preset:
    """Settings for one task. `edition` None fits both. Units: min_pixels/max_pixels are pixels of one picture."""

    name: str
    edition: Edition | None
    purpose: str
    sampling: SamplingParams
    source: str
    min_pixels: int | None = None
    max_pixels: int | None = None


def _qwen(temperature: float, top_p: float, top_k: int, presence: float, max_tokens: int) -> SamplingParams:
    return SamplingParams(
        temperature=temperature, top_p=top_p, top_k=top_k, presence_penalty=presence, max_tokens=max_tokens
    )


PRESETS: tuple[Preset, ...] = (
    Preset(
        "greedy",
        None,
        "the likeliest token every time; the default of regard-nano",
        SamplingParams(temperature=0.0, max_tokens=1024),
        "this package: deterministic, for small models, tests and comparisons",
    ),
    Preset(
        "visual",
        "instruct",
        "dialogue about pictures and clips",
        _qwen(0.7, 0.8, 20, 1.5, 16384),
        "model card Qwen3-VL-4B-Instruct, vision tasks (the README has the same with 32768 tokens)",
    ),
    Preset(
        "visual",
        "thinking",
        "dialogue about pictures and clips",
        _qwen(1.0, 0.95, 20, 0.0, 40960),
        "model cards of the small Thinking editions, vision tasks (README: temperature 0.6; "
        "generation_config.json of 30B-A3B-Thinking: 0.8)",
    ),
    Preset(
        "text",
        "instruct",
        "reasoning without pictures",
        _qwen(1.0, 1.0, 40, 2.0, 32768),
        "model card Qwen3-VL-4B-Instruct, text-only tasks",
    ),
    Preset(
        "text",
        "thinking",
        "reasoning without pictures",
        _qwen(1.0, 0.95, 20, 1.5, 32768),
        "model cards of the small Thinking editions, text-only tasks",
    ),
    Preset(
        "stem",
        "instruct",
        "mathematics and science with long derivations",
        _qwen(0.7, 0.8, 20, 1.5, 81920),
        "README 'Evaluation Reproduction', Instruct, for the sampling; 81920 tokens from the Thinking cards, "
        "since no Instruct source gives a length for these benchmarks beyond 32768",
    ),
    Preset(
        "stem",
        "thinking",
        "mathematics and science with long derivations",
        _qwen(1.0, 0.95, 20, 1.5, 81920),
        "model cards of the small Thinking editions: 81920 tokens for AIME, LiveCodeBench and GPQA",
    ),
    Preset(
        "gui",
        "instruct",
        "finding and operating things on a screen",
        SamplingParams(temperature=0.0, max_tokens=512),
        "ClawGUI-Eval d990d3e: greedy, 512 tokens, 65536 to 16777216 pixels (reproduces ScreenSpot-Pro)",
        min_pixels=64 * CELL,
        max_pixels=16384 * CELL,
    ),
    Preset(
        "gui",
        "thinking",
        "finding and operating things on a screen; Instruct clicks better by 8 to 10 points",
        _qwen(1.0, 0.95, 20, 0.0, 40960),
        "pixel limits of ClawGUI-Eval d990d3e; sampling and length of the Thinking model cards, vision tasks",
        min_pixels=64 * CELL,
        max_pixels=16384 * CELL,
    ),
    Preset(
        "ocr",
        "instruct",
        "reading text, key-value extraction, text spotting",
        _qwen(0.7, 0.8, 20, 0.0, 4096),
        "ocr cookbook for pixels and length; generation_config.json of the Instruct editions for the sampling "
        "(the notebook samples at the service's defaults; a presence penalty would punish repeated words on a page)",
        min_pixels=512 * CELL,
        max_pixels=2048 * CELL,
    ),
    Preset(
        "ocr",
        "thinking",
        "reading text, key-value extraction, text spotting",
        _qwen(0.8, 0.95, 20, 0.0, 40960),
        "ocr cookbook for pixels; generation_config.json of 30B-A3B-Thinking for the sampling; "
        "length of the Thinking model cards, since the thinking counts too",
        min_pixels=512 * CELL,
        max_pixels=2048 * CELL,
    ),
)


def find(name: str, *, thinking: bool) -> Preset:
    """Return the preset of a task for an edition.

    `name` is a task ("ocr") or a task with its edition ("ocr-thinking"), which then must be the model's.
    Errors: ConfigError for a name that is not in the table or belongs to the other edition.
    """
    edition: Edition = "thinking" if thinking else "instruct"
    task, _, asked = name.partition("-")
    for preset in PRESETS:
        if preset.name == task and preset.edition in (None, edition) and asked in ("", preset.edition):
            return preset
    if any(preset.name == task and asked == preset.edition for preset in PRESETS):
        raise ConfigError(f"preset {name!r} is not for this model, which is an {edition} edition; use {task!r}")
    raise ConfigError(f"there is no preset {name!r}; the presets are {', '.join(names())}")


def names() -> tuple[str, ...]:
    """The tasks that have presets, in the table's order."""
    return tuple(dict.fromkeys(preset.name for preset in PRESETS))
