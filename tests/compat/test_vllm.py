"""The drop-in's `LLM` answers as the Transformers way does, and its outputs have what vLLM's have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from regard.compat import LLM, AutoProcessor, SamplingParams, StructuredOutputsParams, process_vision_info
from regard.errors import CapacityError, ConfigError, InputError
from regard.parity.cases import clip, picture
from regard.parity.fp8_checkpoint import write_quantised
from regard.processing.tokenizer import Tokenizer
from regard.train.nano_folder import ASSETS
from tests.compat.test_processor import user
from tests.tiny import tiny_folder

GREEDY = SamplingParams(temperature=0, max_tokens=12)
END = Tokenizer.from_folder(ASSETS).encode("<|im_end|>")[0]


@pytest.fixture(scope="module")
def llm() -> LLM:
    return LLM(model="nano", dtype="float32", max_model_len=2048, limit_mm_per_prompt={"image": 3, "video": 1})


def prompt(processor: Any, *parts: Any) -> dict[str, Any]:
    """A prompt as programs make it: text by the template, media by process_vision_info."""
    messages = [user(*parts)]
    images, videos, video_kwargs = process_vision_info(
        messages, image_patch_size=16, return_video_kwargs=True, return_video_metadata=True
    )
    media = {name: one for name, one in (("image", images), ("video", videos)) if one is not None}
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    return {"prompt": text, "multi_modal_data": media, "mm_processor_kwargs": video_kwargs}


def answered_by_the_model(model: Any, processor: Any, made: dict[str, Any], num_tokens: int) -> tuple[Any, Any]:
    """The same prompt through the Transformers way: ids of the prompt, new ids."""
    videos, metadata = zip(*made["multi_modal_data"].get("video", [(None, None)]), strict=True)
    inputs = processor(
        text=made["prompt"],
        images=made["multi_modal_data"].get("image"),
        videos=None if videos[0] is None else list(videos),
        video_metadata=None if videos[0] is None else list(metadata),
        return_tensors="pt",
        **({} if videos[0] is None else made["mm_processor_kwargs"]),
    )
    out = model.generate(**inputs, max_new_tokens=num_tokens)
    return inputs.input_ids[0].tolist(), out[0, inputs.input_ids.shape[1] :].tolist()


def test_prompts_with_media_are_answered_in_order_like_one_by_one(llm: LLM, model: Any, processor: Any) -> None:
    prompts = [
        prompt(processor, picture(352, 256, 1), "Where is the Save button?"),
        prompt(processor, "Hi"),
        prompt(processor, clip(5, 96, 64, 4), "When does it change?"),
        prompt(processor, picture(90, 70, 1), picture(64, 128, 2), "Compare them."),
    ]
    outputs = llm.generate(prompts, GREEDY, use_tqdm=False)
    for made, output in zip(prompts, outputs, strict=True):
        prompt_ids, new_ids = answered_by_the_model(model, processor, made, GREEDY.max_tokens or 0)
        answer = output.outputs[0]
        assert output.prompt == made["prompt"] and output.prompt_token_ids == prompt_ids and output.finished
        assert answer.token_ids == new_ids
        assert answer.text == processor.decode([one for one in new_ids if one != END], skip_special_tokens=True)
        assert answer.finish_reason == ("stop" if new_ids[-1] == END else "length") and answer.stop_reason is None


def test_prompts_may_be_strings_or_ids(llm: LLM, processor: Any) -> None:
    text = processor.apply_chat_template([user("Hi")], add_generation_prompt=True)
    by_text = llm.generate(text, GREEDY)[0]
    by_ids = llm.generate({"prompt_token_ids": processor.tokenizer.encode(text)}, GREEDY)[0]
    assert by_text.outputs[0].token_ids == by_ids.outputs[0].token_ids and by_ids.prompt is None


def test_each_prompt_may_have_its_own_parameters(llm: LLM) -> None:
    params = [SamplingParams(temperature=0, max_tokens=count, ignore_eos=True) for count in (2, 5)]
    outputs = llm.generate(["Hello", "Hello"], params)
    assert [len(output.outputs[0].token_ids) for output in outputs] == [2, 5]
    with pytest.raises(InputError, match="2 sampling_params for 1 prompts"):
        llm.generate("Hello", params)


def test_the_default_is_16_tokens_sampled_as_the_checkpoint_says(llm: LLM) -> None:
    assert llm.get_default_sampling_params() == SamplingParams()
    assert len(llm.generate("Hello")[0].outputs[0].token_ids) <= 16


def test_a_stop_string_is_cut_off_unless_it_is_to_be_included(llm: LLM, processor: Any) -> None:
    made = prompt(processor, picture(352, 256, 1), "Where is the Save button?")
    whole = llm.generate(made, SamplingParams(temperature=0, max_tokens=20))[0].outputs[0].text
    stop = whole[5:8]
    first = whole.index(stop)
    cut = llm.generate(made, SamplingParams(temperature=0, max_tokens=20, stop=stop))[0].outputs[0]
    assert (cut.text, cut.finish_reason, cut.stop_reason) == (whole[:first], "stop", stop)
    params = SamplingParams(temperature=0, max_tokens=20, stop=["never", stop], include_stop_str_in_output=True)
    assert llm.generate(made, params)[0].outputs[0].text == whole[: first + len(stop)]
    late = SamplingParams(temperature=0, max_tokens=20, stop=stop, min_tokens=len(cut.token_ids))
    assert len(llm.generate(made, late)[0].outputs[0].token_ids) > len(cut.token_ids)


def test_a_stop_token_ends_the_text_in_front_of_it(llm: LLM, processor: Any) -> None:
    made = prompt(processor, picture(352, 256, 1), "Where is the Save button?")
    whole = llm.generate(made, GREEDY)[0].outputs[0]
    token = next(one for one in whole.token_ids[3:] if one not in whole.token_ids[:3])
    num_tokens = whole.token_ids.index(token) + 1
    ended = llm.generate(made, SamplingParams(temperature=0, max_tokens=12, stop_token_ids=[token]))[0].outputs[0]
    assert ended.token_ids == whole.token_ids[:num_tokens]
    assert (ended.finish_reason, ended.stop_reason) == ("stop", token)
    assert ended.text == processor.decode(whole.token_ids[: num_tokens - 1])


def test_log_probabilities_hold_the_chosen_token_and_the_likeliest(llm: LLM, processor: Any) -> None:
    params = SamplingParams(temperature=0, max_tokens=4, logprobs=3)
    answer = llm.generate("Hello", params)[0].outputs[0]
    assert answer.logprobs is not None and len(answer.logprobs) == len(answer.token_ids)
    for token_id, row in zip(answer.token_ids, answer.logprobs, strict=True):
        assert len(row) == 3 and row[token_id].rank == 1
        assert row[token_id].decoded_token == processor.decode([token_id])
        assert row[token_id].logprob == max(one.logprob for one in row.values()) < 0
    total = sum(row[token_id].logprob for token_id, row in zip(answer.token_ids, answer.logprobs, strict=True))
    assert answer.cumulative_logprob == pytest.approx(total)
    sampled = SamplingParams(temperature=5.0, max_tokens=6, logprobs=0, seed=3)
    rows = llm.generate("Hello", sampled)[0].outputs[0].logprobs
    assert rows is not None and all(len(row) == 1 for row in rows)


def test_the_seed_of_the_llm_makes_a_program_repeatable() -> None:
    params = SamplingParams(temperature=2.0, max_tokens=8, n=2)
    made = []
    for seed in (7, 7, 8):
        fresh = LLM("nano", seed=seed)
        made.append([one.token_ids for _ in range(2) for one in fresh.generate("Hello", params)[0].outputs])
    assert made[0] == made[1] != made[2]
    assert len({tuple(ids) for ids in made[0]}) > 1


def test_structured_output_keeps_to_a_schema_or_a_choice(llm: LLM) -> None:
    pytest.importorskip("llguidance", reason="structured output")
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    asked = StructuredOutputsParams(json=schema)
    params = SamplingParams(temperature=0, max_tokens=40, structured_outputs=asked)
    assert isinstance(json.loads(llm.generate("Hello", params)[0].outputs[0].text)["x"], int)
    params = SamplingParams(temperature=0, guided_decoding=StructuredOutputsParams(choice=["left", "right"]))
    assert llm.generate("Hello", params)[0].outputs[0].text in ("left", "right")
    with pytest.raises(ConfigError, match="2 kinds"):
        SamplingParams(structured_outputs=StructuredOutputsParams(regex="a", json_object=True))
    with pytest.raises(ConfigError, match="grammar"):
        SamplingParams(structured_outputs=StructuredOutputsParams(grammar="root ::= a"))  # type: ignore[arg-type]


def test_a_chat_of_openai_messages_is_answered(llm: LLM, model: Any, processor: Any, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    picture(90, 70, 1).save(path)
    open_llm = LLM("nano", dtype="float32", allowed_local_media_path=str(tmp_path))
    messages = [
        {"role": "system", "content": "You look closely."},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": f"file://{path}"}},
                {"type": "text", "text": "What is it?"},
            ],
        },
    ]
    output = open_llm.chat(messages, GREEDY)[0]
    same = [messages[0], user(picture(90, 70, 1), "What is it?")]
    inputs = processor.apply_chat_template(
        same, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    expected = model.generate(**inputs, max_new_tokens=12)[0, inputs.input_ids.shape[1] :]
    assert output.outputs[0].token_ids == expected.tolist()
    pil = [{"role": "user", "content": [{"type": "image_pil", "image_pil": picture(90, 70, 1)}]}]
    outputs = llm.chat([pil, [{"role": "user", "content": "Hi"}]], GREEDY)
    assert len(outputs) == 2 and len(outputs[0].prompt_token_ids) > len(outputs[1].prompt_token_ids)
    fewer = llm.chat(pil, GREEDY, mm_processor_kwargs={"max_pixels": 4096})[0]
    assert len(fewer.prompt_token_ids) < len(outputs[0].prompt_token_ids)


def test_a_chat_opens_local_files_only_where_it_may(llm: LLM, examples: Path, tmp_path: Path) -> None:
    def ask(path: Path) -> list[Any]:
        return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"file://{path}"}}]}]

    with pytest.raises(InputError, match="allowed_local_media_path is not set"):
        llm.chat(ask(examples / "settings.png"), GREEDY)
    elsewhere = LLM("nano", allowed_local_media_path=str(tmp_path))
    with pytest.raises(InputError, match="outside"):
        elsewhere.chat(ask(examples / "settings.png"), GREEDY)
    (tmp_path / "link.png").symlink_to(examples / "settings.png")
    with pytest.raises(InputError, match="outside"):
        elsewhere.chat(ask(tmp_path / "link.png"), GREEDY)


def test_an_fp8_checkpoint_is_loaded_and_named(tmp_path: Path) -> None:
    folder = write_quantised(tiny_folder(tmp_path / "plain", moe=True), tmp_path / "fp8", (16, 16))
    loaded = LLM(model=str(folder), quantization="fp8", tensor_parallel_size=0)
    assert len(loaded.generate("Hello", SamplingParams(temperature=0, max_tokens=3))[0].outputs[0].token_ids) == 3
    with pytest.raises(ConfigError, match="quantization is 'fp8' and nano is not quantised"):
        LLM("nano", quantization="fp8")


@pytest.mark.parametrize(
    ("media", "words"),
    [
        ({"image": [picture(64, 64, 1)] * 4}, "limit_mm_per_prompt allows 3"),
        ({"video": [torch.zeros(4, 3, 64, 64)]}, "without metadata"),
        ({"audio": 3}, "'audio'"),
        ({"image": picture(64, 64, 1)}, "0 <|image_pad|> for 1 pictures"),
    ],
    ids=str,
)
def test_media_that_cannot_be_used_are_refused(media: Any, words: str, llm: LLM) -> None:
    with pytest.raises(InputError) as caught:
        llm.generate({"prompt": "Hi", "multi_modal_data": media}, GREEDY)
    assert words in str(caught.value)


def test_a_prompt_longer_than_max_model_len_is_refused_and_answers_end_at_it() -> None:
    small = LLM("nano", max_model_len=32)
    answer = small.generate("Hello", SamplingParams(temperature=0, max_tokens=500, ignore_eos=True))[0]
    assert len(answer.prompt_token_ids) + len(answer.outputs[0].token_ids) == 32
    with pytest.raises(CapacityError, match="max_model_len is 32"):
        small.generate("a b c d e f g h i j k l m n o p q r s t u v w x y z " * 3, GREEDY)
    with pytest.raises(ConfigError, match="max_model_len is 99999"):
        LLM("nano", max_model_len=99999)


@pytest.mark.parametrize(
    "options",
    [
        {"tensor_parallel_size": 2},
        {"pipeline_parallel_size": 2},
        {"cpu_offload_gb": 4},
        {"kv_cache_dtype": "fp8_e5m2"},
        {"hf_overrides": {"a": 1}},
        {"enable_lora": True},
        {"speculative_config": {}},
        {"limit_mm_per_prompt": {"audio": 1}},
    ],
    ids=str,
)
def test_an_option_that_is_not_honoured_is_refused(options: Any) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        LLM("nano", **options)


def test_options_that_only_say_how_vllm_computes_are_accepted() -> None:
    made = LLM(
        model="nano",
        enforce_eager=True,
        tensor_parallel_size=1,
        gpu_memory_utilization=0.5,
        max_num_seqs=2,
        trust_remote_code=True,
        mm_encoder_tp_mode="data",
        enable_prefix_caching=False,
        dtype=torch.bfloat16,
    )
    assert len(made.generate(["a", "b", "c"], GREEDY)) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 2, "temperature": 0}, "all answers would be the same"),
        ({"prompt_logprobs": 1}, "prompt_logprobs=1"),
        ({"bad_words": ["a"]}, "bad_words"),
        ({"top_k": -2}, "top_k is -2"),
        ({"temperature": -1.0}, "temperature"),
        ({"logprobs": 99}, "logprobs is 99; it must be None, or from 0 to 20"),
    ],
    ids=str,
)
def test_parameters_are_checked_when_they_are_made(options: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SamplingParams(**options)


def test_the_processor_and_the_llm_write_clips_in_the_same_dialect() -> None:
    for dialect in ("transformers", "authors"):
        processor = AutoProcessor.from_pretrained("nano", video_dialect=dialect)
        made = prompt(processor, clip(4, 64, 64, 1), "When?")
        frames, metadata = made["multi_modal_data"]["video"][0]
        ids = processor(
            text=made["prompt"], videos=[frames], video_metadata=[metadata], do_sample_frames=False
        ).input_ids
        output = LLM("nano", video_dialect=dialect).generate(made, SamplingParams(temperature=0, max_tokens=1))[0]
        assert output.prompt_token_ids == ids[0]
