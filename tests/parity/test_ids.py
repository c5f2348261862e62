"""Token ids, pads, timestamps and positions equal transformers' own processor and tokenizer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regard.messages import Image, Message, Text, Video
from regard.parity.reference import import_transformers
from regard.processing.processor import Processor
from regard.processing.tokenizer import Tokenizer
from regard.train.tokenizer_training import train_tokenizer, write_tokenizer
from tests.parity.conversations import TOOLS, as_dicts, conversations, texts
from tests.tiny import tiny_folder

pytest.importorskip("transformers", reason="the reference")
transformers = import_transformers()

WORDS = ["the save button and the cancel button, sorted by size: 12 of 34 lines\n" * 2, "\u65e5\u672c\u8a9e see: it's"]
many_examples = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def noise(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def clip(num_frames: int) -> Video:
    return Video([noise(40 + 32 * num_frames, 70)] * num_frames, sample_fps=24)


# Arrays as source: the reference's loader and ours read them alike, and 24 is what it assumes for frame lists.
media = st.sampled_from([Image(noise(64, 64)), Image(noise(50, 333)), clip(2), clip(5)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("ids"))


@pytest.fixture(scope="module")
def processors(folder: Path) -> dict[str, Processor]:
    return {
        "authors": Processor.from_folder(folder, video_dialect="authors"),
        "transformers": Processor.from_folder(folder, video_dialect="transformers"),
    }


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    return transformers.AutoProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return transformers.Qwen3VLForConditionalGeneration.from_pretrained(folder).model


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that has learned merges, in the two layouts that official folders carry."""
    made = tmp_path_factory.mktemp("trained")
    tokenizer = train_tokenizer(WORDS, vocab_size=330)
    write_tokenizer(tokenizer, made / "whole", "")
    write_tokenizer(tokenizer, made / "parts", "")
    (made / "parts" / "tokenizer.json").unlink()
    tokenizer.model.save(str(made / "parts"))
    return made


@many_examples
@given(messages=conversations(media, roles=("user", "tool")), add_vision_id=st.booleans(), with_tools=st.booleans())
def test_whole_prompts_equal_the_reference_in_its_dialect(
    processors: dict[str, Processor],
    reference: Any,
    model: Any,
    messages: list[Message],
    add_vision_id: bool,
    with_tools: bool,
) -> None:
    tools = TOOLS if with_tools else None
    ours = processors["transformers"](messages, tools=tools, add_vision_id=add_vision_id)
    theirs = expected_inputs(reference, messages, tools, add_vision_id)
    assert ours.input_ids.tolist() == theirs["input_ids"][0].tolist()
    grids = {kind: theirs.get(f"{kind}_grid_thw") for kind in ("image", "video")}
    for kind, grid in grids.items():
        own = [list(item.grid_thw) for item in ours.items if item.is_video == (kind == "video")]
        assert own == ([] if grid is None else grid.tolist())
    positions, delta = model.get_rope_index(
        theirs["input_ids"], theirs["mm_token_type_ids"], grids["image"], grids["video"]
    )
    np.testing.assert_array_equal(ours.position_ids, positions[:, 0].numpy())
    assert ours.rope_delta == int(delta)
    for item in ours.items:
        pad = model.config.video_token_id if item.is_video else model.config.image_token_id
        assert ours.input_ids[item.token_offset] == pad != ours.input_ids[item.token_offset - 1]


@many_examples
@given(messages=conversations(media, roles=("user", "tool")))
def test_the_authors_dialect_differs_only_by_the_outer_pair_of_each_clip(
    processors: dict[str, Processor], messages: list[Message]
) -> None:
    authors, other = (processors[dialect](messages) for dialect in ("authors", "transformers"))
    pair = r"<\|vision_start\|>((?:<[\d.]+ seconds><\|vision_start\|><\|video_pad\|><\|vision_end\|>)+)<\|vision_end\|>"
    assert authors.prompt == re.sub(pair, r"\1", other.prompt)
    assert len(other.input_ids) == len(authors.input_ids) + 2 * sum(item.is_video for item in authors.items)


@many_examples
@given(messages=conversations(media, roles=("user", "tool")), dialect=st.sampled_from(["authors", "transformers"]))
def test_repeating_ids_equals_encoding_the_expanded_string(
    processors: dict[str, Processor], messages: list[Message], dialect: str
) -> None:
    processor = processors[dialect]
    inputs = processor(messages)
    repeats = iter(
        report.num_visual_tokens // (len(report.timestamps_s) or 1)
        for report in inputs.media
        for _ in range(len(report.timestamps_s) or 1)
    )
    expanded = re.sub(r"<\|(?:image|video)_pad\|>", lambda pad: pad[0] * next(repeats), inputs.prompt)
    assert processor.tokenizer.encode(expanded) == inputs.input_ids.tolist()


@pytest.mark.parametrize("layout", ["whole", "parts"])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts | st.text(max_size=40))
def test_the_tokenizer_equals_the_references(
    trained_folder: Path, tokenizers_by_layout: Any, layout: str, text: str
) -> None:
    ours, theirs = tokenizers_by_layout[layout]
    ids = ours.encode(text)
    assert ids == theirs(text)["input_ids"]
    for skip_special in (True, False):
        assert ours.decode(ids, skip_special) == theirs.decode(ids, skip_special_tokens=skip_special)


@pytest.fixture(scope="module")
def tokenizers_by_layout(trained_folder: Path) -> dict[str, tuple[Tokenizer, Any]]:
    reference = transformers.AutoTokenizer.from_pretrained(trained_folder / "whole")
    return {layout: (Tokenizer.from_folder(trained_folder / layout), reference) for layout in ("whole", "parts")}


def expected_inputs(reference: Any, messages: list[Message], tools: Any, add_vision_id: bool) -> Any:
    """What transformers makes of the same conversation; a missing clip's metadata means 24 frames a second."""
    prompt = reference.apply_chat_template(
        as_dicts(messages), tools=tools, add_generation_prompt=True, add_vision_id=add_vision_id, tokenize=False
    )
    parts = [part for message in messages for part in message.parts if not isinstance(part, Text)]
    clips = [part.source for part in parts if isinstance(part, Video)]
    return reference(
        text=[prompt],
        images=[part.source for part in parts if isinstance(part, Image)] or None,
        videos=[np.stack(frames) for frames in clips] or None,
        video_metadata=[
            {"fps": 24, "total_num_frames": len(frames), "frames_indices": list(range(len(frames)))} for frames in clips
        ]
        or None,
        do_sample_frames=False,
        return_tensors="pt",
    )
