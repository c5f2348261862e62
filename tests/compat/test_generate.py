"""`generate` of the drop-in answers token for token like transformers' own, and returns what it returns."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from regard.compat import (
    AutoModelForImageTextToText,
    GenerationConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeForConditionalGeneration,
    TextIteratorStreamer,
    TextStreamer,
    set_seed,
)
from regard.errors import CapacityError, ConfigError, InputError
from regard.parity.cases import TOOLS, clip, picture
from regard.parity.reference import Reference
from regard.processing.tokenizer import Tokenizer
from regard.train.nano_folder import ASSETS
from tests.compat.test_processor import user
from tests.tiny import tiny_folder

NUM_TOKENS = 24
_TOKENIZER = Tokenizer.from_folder(ASSETS)
PAD, _END, IMAGE_PAD = (_TOKENIZER.encode(text)[0] for text in ("<|endoftext|>", "<|im_end|>", "<|image_pad|>"))
ENDS = [_END, PAD]
SYSTEM = {"role": "system", "content": "You look closely."}
FRAMES = [user(clip(5, 96, 64, 4), "When does it change?")]

BATCHES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "text": ([[user("Describe a red circle.")]], {}),
    "one image": ([[user(picture(90, 70, 1), "What is it?")]], {}),
    "two images of different sizes": ([[user(picture(61, 150, 2), picture(200, 64, 3), "Compare them.")]], {}),
    "a clip as frames": (
        [FRAMES],
        {"do_sample_frames": False, "video_metadata": [{"fps": 2.0, "total_num_frames": 5}]},
    ),
    "system and tools": ([[SYSTEM, user(picture(90, 70, 1), "Read it.")]], {"tools": list(TOOLS)}),
    "a batch of three": (
        [[user(picture(90, 70, 1), "Where is the button?")], [user("Hi")], [SYSTEM, user(picture(64, 64, 2), "Text?")]],
        {},
    ),
}


@pytest.mark.parametrize("name", BATCHES)
def test_greedy_tokens_equal_the_reference(name: str, model: Any, processor: Any, reference: Reference) -> None:
    conversations, options = BATCHES[name]
    processor.tokenizer.padding_side = "left"
    inputs = processor.apply_chat_template(
        conversations,
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        padding=True,
        **options,
    )
    options = {"max_new_tokens": NUM_TOKENS, "do_sample": False, "eos_token_id": ENDS, "pad_token_id": PAD}
    ours = model.generate(**inputs, **options)
    assert torch.equal(ours, reference.model.generate(**inputs, **options))


@pytest.fixture
def inputs(processor: Any) -> Any:
    """A question about a picture, which nano answers with a list of boxes."""
    conversation = [user(picture(352, 256, 1), "Where is the Save button?")]
    return processor.apply_chat_template(
        conversation, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )


def new_ids(model: Any, inputs: Any, **options: Any) -> list[list[int]]:
    made = model.generate(**inputs, **options)
    return made[:, inputs["input_ids"].shape[1] :].tolist()


def test_a_prompt_padded_on_the_right_is_answered_like_one_padded_on_the_left(model: Any, processor: Any) -> None:
    batch = [[user(picture(90, 70, 1), "What is it?")], [user("Hi")]]
    answers = []
    for side in ("left", "right"):
        made = processor.apply_chat_template(
            batch, tokenize=True, return_dict=True, return_tensors="pt", padding=True, padding_side=side
        )
        answers.append(new_ids(model, made, max_new_tokens=8))
    assert answers[0] == answers[1]


def test_a_stop_string_ends_an_answer_with_the_token_that_completes_it(
    model: Any, processor: Any, inputs: Any, reference: Reference
) -> None:
    whole = processor.decode(new_ids(model, inputs, max_new_tokens=20)[0])
    stop = whole[5:8]
    options = {"max_new_tokens": 20, "stop_strings": [stop, "never"], "eos_token_id": ENDS, "pad_token_id": PAD}
    ours = model.generate(**inputs, **options)
    theirs = reference.model.generate(**inputs, **options, do_sample=False, tokenizer=reference.processor.tokenizer)
    assert torch.equal(ours, theirs) and ours.shape[1] < inputs.input_ids.shape[1] + 20


def test_a_stop_string_may_begin_in_the_prompt(model: Any, processor: Any, inputs: Any) -> None:
    first = processor.decode(new_ids(model, inputs, max_new_tokens=1)[0])
    assert len(new_ids(model, inputs, max_new_tokens=9, stop_strings="assistant\n" + first)[0]) == 1
    assert len(new_ids(model, inputs, max_new_tokens=9, stop_strings="assistant\n")[0]) == 9


def test_the_limits_are_those_of_the_reference(model: Any, inputs: Any) -> None:
    """Without any, 20 tokens; max_length counts the prompt; min_new_tokens keeps the end away."""
    num_prompt = inputs.input_ids.shape[1]
    assert len(new_ids(model, inputs, min_new_tokens=20)[0]) == 20
    assert len(new_ids(model, inputs, max_length=num_prompt + 3)[0]) == 3
    assert len(new_ids(model, inputs, max_new_tokens=7, max_length=9999)[0]) == 7
    assert len(new_ids(model, inputs, min_new_tokens=60, max_new_tokens=60)[0]) == 60
    with pytest.raises(ConfigError, match="max_length is 3"):
        model.generate(**inputs, max_length=3)


def test_another_end_token_ends_the_answer_and_pads_are_as_asked(model: Any, processor: Any, inputs: Any) -> None:
    whole = new_ids(model, inputs, max_new_tokens=12)[0]
    ended = new_ids(model, inputs, max_new_tokens=12, eos_token_id=whole[3])[0]
    assert ended == whole[: whole.index(whole[3]) + 1]
    batch = processor(text=["a", "b"], return_tensors="pt")
    first, second = (new_ids(model, {"input_ids": batch.input_ids[i : i + 1]}, max_new_tokens=6)[0] for i in (0, 1))
    end = next(token for token in first if token not in second[: first.index(token) + 1])
    rows = new_ids(model, batch, max_new_tokens=6, eos_token_id=end, pad_token_id=7)
    num_first = first.index(end) + 1
    assert rows[0] == first[:num_first] + [7] * (len(rows[1]) - num_first)


def test_sampled_answers_follow_torchs_seed(model: Any, inputs: Any) -> None:
    # Hot: the better the bundled checkpoint gets, the more often all samples agree otherwise.
    options = {"do_sample": True, "temperature": 5.0, "top_p": 0.95, "num_return_sequences": 3, "max_new_tokens": 12}
    set_seed(1)
    first = new_ids(model, inputs, **options)
    other = new_ids(model, inputs, **options)
    torch.manual_seed(1)
    assert new_ids(model, inputs, **options) == first != other
    assert len(first) == 3 and len({tuple(row) for row in first}) > 1


def test_top_k_of_one_is_greedy_and_is_off_when_it_is_none(model: Any, inputs: Any) -> None:
    greedy = new_ids(model, inputs, max_new_tokens=12)
    assert new_ids(model, inputs, max_new_tokens=12, do_sample=True, top_k=1) == greedy
    made = new_ids(model, inputs, max_new_tokens=12, do_sample=True, top_k=None, temperature=50.0)
    assert made != greedy


def test_the_repetition_penalty_is_the_references(model: Any, processor: Any, reference: Reference) -> None:
    """In a batch, where the padding must not be punished."""
    batch = processor.apply_chat_template(
        BATCHES["a batch of three"][0],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        padding=True,
        padding_side="left",
    )
    options = {"max_new_tokens": 16, "repetition_penalty": 1.3, "eos_token_id": ENDS, "pad_token_id": PAD}
    theirs = reference.model.generate(**batch, **options, do_sample=False)
    assert torch.equal(model.generate(**batch, **options), theirs)


def test_options_of_sampling_are_said_to_be_unused_without_it(model: Any, inputs: Any) -> None:
    with pytest.warns(UserWarning, match="temperature changes nothing without do_sample"):
        model.generate(**inputs, max_new_tokens=2, temperature=0.3)


def test_a_generation_config_holds_between_the_call_and_the_checkpoint(model: Any, inputs: Any) -> None:
    assert len(new_ids(model, inputs, generation_config=GenerationConfig(max_new_tokens=5))[0]) == 5
    made = new_ids(model, inputs, generation_config=GenerationConfig(max_new_tokens=5), max_new_tokens=3)
    assert len(made[0]) == 3
    model.generation_config.max_new_tokens = 4
    try:
        assert len(new_ids(model, inputs)[0]) == 4
    finally:
        model.generation_config.max_new_tokens = None
    with pytest.raises(ConfigError, match="num_beams=4"):
        GenerationConfig(num_beams=4)


def test_a_generation_config_of_transformers_is_read_too(model: Any, inputs: Any, reference: Reference) -> None:
    from transformers import GenerationConfig as Theirs

    assert len(new_ids(model, inputs, generation_config=Theirs(max_new_tokens=5))[0]) == 5
    with pytest.raises(ConfigError, match="num_beams=3"):
        model.generate(**inputs, generation_config=Theirs(max_new_tokens=5, num_beams=3))


def test_a_dictionary_is_returned_on_request(model: Any, inputs: Any) -> None:
    made = model.generate(**inputs, max_new_tokens=3, return_dict_in_generate=True)
    assert made.sequences.shape[1] == inputs.input_ids.shape[1] + 3


def test_time_can_be_limited(model: Any, inputs: Any) -> None:
    assert 1 <= len(new_ids(model, inputs, max_new_tokens=5000, min_new_tokens=5000, max_time=0.0)[0]) < 100


def test_a_streamer_shows_the_text_of_the_answer(
    model: Any, processor: Any, inputs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    made = model.generate(
        **inputs,
        max_new_tokens=16,
        streamer=TextStreamer(processor.tokenizer, skip_prompt=True, skip_special_tokens=True),
    )
    text = processor.decode(made[0, inputs.input_ids.shape[1] :], skip_special_tokens=True)
    assert capsys.readouterr().out == text + "\n"


@pytest.mark.parametrize("whose", ["ours", "transformers'"])
def test_an_iterator_in_another_thread_gets_the_same_pieces(
    whose: str, model: Any, processor: Any, inputs: Any, reference: Reference
) -> None:
    from transformers import TextIteratorStreamer as Theirs

    kind: Any = TextIteratorStreamer if whose == "ours" else Theirs
    streamer = kind(processor.tokenizer, skip_prompt=True, timeout=60, skip_special_tokens=True)
    options = {**inputs, "streamer": streamer, "max_new_tokens": 16}
    thread = threading.Thread(target=model.generate, kwargs=options)
    thread.start()
    pieces = list(streamer)
    thread.join()
    text = processor.decode(new_ids(model, inputs, max_new_tokens=16)[0], skip_special_tokens=True)
    assert "".join(pieces) == text and len(pieces) > 2


def test_a_streamer_ends_when_generation_fails(model: Any, processor: Any, inputs: Any) -> None:
    """Without this the thread that iterates would wait for ever."""
    long = {"input_ids": torch.full((1, 9000), 64)}
    streamer = TextIteratorStreamer(processor.tokenizer, skip_prompt=True, timeout=60)
    with pytest.raises(CapacityError, match="9000 tokens"):
        model.generate(**long, streamer=streamer, max_new_tokens=4)
    assert list(streamer) == [""]


def test_a_character_of_several_tokens_is_streamed_whole(processor: Any) -> None:
    ids = processor.tokenizer.encode("\u65e5\u672c \U0001f600!")
    assert len(ids) > 5
    shown: list[str] = []

    class Collected(TextStreamer):
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            shown.append(text)

    streamer = Collected(processor.tokenizer)
    for token in ids:
        streamer.put(torch.tensor([token]))
    streamer.end()
    assert "".join(shown) == "\u65e5\u672c \U0001f600!" and not any("\ufffd" in piece for piece in shown)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_beams": 2}, "num_beams=2"),
        ({"num_return_sequences": 2}, "all answers would be the same"),
        ({"do_sample": True, "temperature": 0.0}, "do_sample=False"),
        ({"output_scores": True}, "output_scores=True"),
        ({"bad_words_ids": [[1]]}, "bad_words_ids"),
        ({"no_such_option": 1}, "no_such_option=1"),
        ({"past_key_values": ()}, "past_key_values"),
        ({"assistant_model": 3}, "assistant_model"),
    ],
    ids=str,
)
def test_an_option_that_is_not_honoured_is_refused(options: Any, words: str, model: Any, inputs: Any) -> None:
    with pytest.raises(ConfigError, match=words):
        model.generate(**inputs, max_new_tokens=2, **options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pixel_values": None, "image_grid_thw": None}, "show more pictures than the 0"),
        ({"pixel_values": None}, "without their patches"),
        ({"image_grid_thw": torch.tensor([[1, 2, 2]])}, "their grids ask for"),
        ({"mm_token_type_ids": torch.zeros(1, 1)}, None),
        ({"input_ids": None}, "no input_ids"),
        ({"attention_mask": torch.zeros(1, 3)}, "both must be"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else None,
)
def test_tensors_that_do_not_belong_together_are_refused(
    change: Any, words: str | None, model: Any, inputs: Any
) -> None:
    with pytest.raises((InputError, ValueError), match=words):
        model.generate(**(dict(inputs) | change), max_new_tokens=2)


# Loading


def test_a_model_has_the_attributes_that_programs_read(model: Any) -> None:
    assert model.device == torch.device("cpu") and model.dtype == torch.float32
    assert model.config.text_config.hidden_size == 256 and model.config.image_token_id == IMAGE_PAD
    assert model.config.to_dict()["vision_config"]["patch_size"] == 8
    assert model.eval() is model and model.to("cpu") is model and model.to(model.device) is model
    assert isinstance(model, Qwen3VLForConditionalGeneration)
    with pytest.raises(ConfigError, match="cannot be set"):
        model.config.image_token_id = 3
    with pytest.raises(ConfigError, match="call generate"):
        model(input_ids=None)


def test_options_of_placement_are_accepted_and_others_are_refused() -> None:
    load = AutoModelForImageTextToText.from_pretrained
    loaded = load(
        "nano",
        torch_dtype=torch.bfloat16,
        device_map={"": "cpu"},
        attn_implementation="flash_attention_2",
        low_cpu_mem_usage=True,
        trust_remote_code=True,
    )
    assert loaded.dtype == torch.bfloat16
    for options, words in (
        ({"load_in_8bit": True}, "load_in_8bit"),
        ({"device_map": {"model": "cpu", "lm_head": "meta"}}, "one device"),
        ({"attn_implementation": "mine"}, "flash_attention_2"),
        ({"quantization_config": {}}, "quantization_config"),
        ({"revision": "v2"}, "revision"),
    ):
        with pytest.raises(ConfigError, match=words):
            load("nano", **options)


def test_a_model_can_go_to_another_dtype(processor: Any) -> None:
    loaded = Qwen3VLForConditionalGeneration.from_pretrained("nano", dtype=torch.float32)
    inputs = processor(text="Hi", return_tensors="pt")
    before = loaded.generate(**inputs, max_new_tokens=3)
    assert loaded.to(torch.bfloat16) is loaded and loaded.dtype == torch.bfloat16
    assert loaded.to("cpu", torch.float32).dtype == torch.float32
    assert torch.equal(loaded.generate(**inputs, max_new_tokens=3), before)


def test_a_class_loads_the_checkpoints_of_its_kind_alone(tmp_path: Path) -> None:
    moe = tiny_folder(tmp_path / "moe", moe=True)
    assert isinstance(AutoModelForImageTextToText.from_pretrained(moe), Qwen3VLMoeForConditionalGeneration)
    with pytest.raises(ConfigError, match="use Qwen3VLMoeForConditionalGeneration"):
        Qwen3VLForConditionalGeneration.from_pretrained(moe)
    with pytest.raises(ConfigError, match="use Qwen3VLForConditionalGeneration"):
        Qwen3VLMoeForConditionalGeneration.from_pretrained("nano")
