"""Messages in, events out. What the model says is scripted where the words matter, and computed where they do not."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage

import regard
from regard.answer import StopStrings
from regard.errors import CheckpointError, ConfigError, EngineError, InputError
from regard.llm import LLM, checkpoint_sampling
from regard.messages import ToolCall
from regard.reply import Box, Point
from regard.sampling_params import SamplingParams
from tests.scripted import script
from tests.tiny import ID_BY_TOKEN, tiny_folder

Say = Callable[[str], None]
END = "<|im_end|>"


@pytest.fixture(scope="module")
def instruct(tmp_path_factory: pytest.TempPathFactory) -> LLM:
    return LLM.load(str(tiny_folder(tmp_path_factory.mktemp("tiny") / "model")))


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> LLM:
    return LLM.load(str(tiny_folder(tmp_path_factory.mktemp("tiny") / "model", thinking=True)))


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, instruct: LLM) -> Say:
    """Make every model say one text, token by token: one byte each, special tokens whole."""

    def text_script(text: str) -> None:
        script(monkeypatch, lambda _: instruct.processor.tokenizer.encode(text))

    return text_script


def streamed(model: LLM, what: object, **options) -> tuple[str, str, regard.Reply]:
    """(visible pieces joined, thinking pieces joined, the reply)."""
    *pieces, done = model.stream(what, **options)
    assert done.kind == "done" and done.reply is not None
    text = "".join(event.text for event in pieces if event.kind == "text")
    return text, "".join(event.text for event in pieces if event.kind == "thinking"), done.reply


# Text


def test_an_end_token_stops_and_is_not_shown(instruct: LLM, say: Say) -> None:
    say(f"Hello.{END}never shown")
    text, _, reply = streamed(instruct, "Hi")
    assert (text, reply.text, reply.raw, reply.finish_reason) == ("Hello.", "Hello.", "Hello.", "stop")
    assert reply.token_ids[-1] == ID_BY_TOKEN[END]


def test_an_answer_that_ignores_end_tokens_goes_on_to_its_limit(instruct: LLM) -> None:
    reply = instruct.chat("Go on.", max_tokens=40, ignore_eos=True, logit_bias={ID_BY_TOKEN["<|im_end|>"]: 100.0})
    assert reply.finish_reason == "length" and reply.usage.num_output_tokens == 40


def test_an_answer_that_runs_out_of_tokens_says_so(instruct: LLM) -> None:
    reply = instruct.chat("Hi", max_tokens=3)
    assert (reply.finish_reason, reply.usage.num_output_tokens) == ("length", 3)


def test_characters_of_several_tokens_come_whole(instruct: LLM, say: Say) -> None:
    say(f"a\u00e9\u4fdd\U0001f600!{END}")
    pieces = [event.text for event in instruct.stream("Hi") if event.kind == "text"]
    assert "".join(pieces) == "a\u00e9\u4fdd\U0001f600!"
    assert not any("\ufffd" in piece for piece in pieces)


def test_text_comes_as_it_is_made_and_not_at_the_end(instruct: LLM, say: Say) -> None:
    say(f"one two{END}")
    assert len([event for event in instruct.stream("Hi") if event.kind == "text"]) > 3


# Stop strings


def test_a_stop_string_ends_the_answer_and_no_part_of_it_is_shown(instruct: LLM, say: Say) -> None:
    say(f"the eND ENd END and more{END}")
    text, _, reply = streamed(instruct, "Hi", stop="END")
    assert (text, reply.text, reply.finish_reason) == ("the eND ENd ", "the eND ENd ", "stop")


def test_what_only_began_like_a_stop_string_is_shown(instruct: LLM, say: Say) -> None:
    say(f"in the EN{END}")
    assert streamed(instruct, "Hi", stop=["END"])[0] == "in the EN"


@given(
    text=st.text("ab", max_size=20),
    cuts=st.lists(st.integers(0, 20), max_size=6),
    stops=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
)
def test_stop_strings_work_the_same_however_the_text_is_cut(text: str, cuts: list[int], stops: list[str]) -> None:
    """The truth: the shortest beginning of the text that ends with a stop string, without the longest such."""
    ends = [n for n in range(len(text) + 1) if any(text[:n].endswith(stop) for stop in stops)]
    expected = text
    if ends:
        longest = max(len(stop) for stop in stops if text[: ends[0]].endswith(stop))
        expected = text[: ends[0] - longest]
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    stopper = StopStrings(stops)
    shown = "".join(stopper.push(text[a:b]) for a, b in zip(edges, edges[1:], strict=False)) + stopper.flush()
    assert (shown, stopper.is_hit) == (expected, bool(ends))


# Thinking, tool calls, places


def test_thinking_is_kept_apart_from_the_answer(thinker: LLM, say: Say) -> None:
    say(f"easy: 1+1\n</think>\n\nTwo.{END}")
    text, thinking, reply = streamed(thinker, "1+1?")
    assert (text, thinking) == ("Two.", "easy: 1+1") == (reply.text, reply.thinking)
    assert reply.raw == "easy: 1+1\n</think>\n\nTwo."


def test_an_instruct_edition_has_no_thinking(instruct: LLM, say: Say) -> None:
    say(f"Two.{END}")
    assert streamed(instruct, "1+1?")[2].thinking is None


def test_tool_calls_are_parsed_and_named_as_the_reason_to_finish(instruct: LLM, say: Say) -> None:
    say(f'Let me look.\n<tool_call>\n{{"name": "zoom", "arguments": {{"box": [1, 2]}}}}\n</tool_call>{END}')
    tools = [{"type": "function", "function": {"name": "zoom", "parameters": {}}}]
    text, _, reply = streamed(instruct, "Hi", tools=tools)
    assert (text, reply.text) == ("Let me look.", "Let me look.")
    assert (reply.tool_calls, reply.finish_reason) == ((ToolCall("zoom", {"box": [1, 2]}),), "tool_calls")


def test_places_are_in_pixels_of_the_picture_that_was_given(instruct: LLM, say: Say) -> None:
    say(f'[{{"bbox_2d": [100, 200, 300, 400], "label": "a"}}, {{"point_2d": [500, 500], "label": "b"}}]{END}')
    reply = instruct.chat([PILImage.new("RGB", (2000, 500)), "Where?"])
    assert (reply.media[0].width, reply.media[0].resized_width) != (2000, 2000)
    assert reply.boxes == (Box(200, 100, 600, 200, "a"),)
    assert reply.points == (Point(1000, 250, "b"),)


def test_without_a_picture_there_are_no_places(instruct: LLM, say: Say) -> None:
    say(f'{{"bbox_2d": [100, 200, 300, 400]}}{END}')
    assert instruct.chat("Where?").boxes == ()


# What is asked for


def test_the_same_question_has_the_same_answer_by_default(instruct: LLM) -> None:
    assert instruct.sampling_params().temperature == 0
    assert instruct.chat("Hi", max_tokens=8).token_ids == instruct.chat("Hi", max_tokens=8).token_ids


def test_the_picture_changes_the_answer(instruct: LLM) -> None:
    answers = {
        instruct.chat([PILImage.new("RGB", (64, 64), colour), "Which colour?"], max_tokens=8).token_ids
        for colour in ("red", "green", "blue", "white")
    }
    assert len(answers) > 1


def test_a_checkpoint_that_samples_brings_its_own_settings() -> None:
    config = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.0}
    params = checkpoint_sampling(config, thinking=False)
    assert params == SamplingParams(temperature=0.7, top_p=0.8, top_k=20, max_tokens=2048)
    assert checkpoint_sampling(config, thinking=True).max_tokens == 40960
    assert checkpoint_sampling({**config, "do_sample": False}, thinking=False).temperature == 0


def test_options_of_the_call_beat_the_presets(instruct: LLM) -> None:
    params = instruct.sampling_params("visual", temperature=0.1, stop=["x"])
    assert (params.temperature, params.top_p, params.stop) == (0.1, 0.8, ("x",))


def test_a_preset_brings_its_pixel_limits(instruct: LLM) -> None:
    picture = PILImage.new("RGB", (64, 64))
    small = instruct.chat([picture, "Read."], max_tokens=1).media[0]
    large = instruct.chat([picture, "Read."], preset="ocr", max_tokens=1).media[0]
    assert small.resized_width * small.resized_height < 512 * 32 * 32
    assert large.resized_width * large.resized_height >= 512 * 32 * 32


def test_a_presets_edition_is_the_models(instruct: LLM, thinker: LLM) -> None:
    assert instruct.sampling_params("stem").temperature == 0.7
    assert thinker.sampling_params("stem").temperature == 1.0


@pytest.mark.parametrize(
    ("what", "options", "kind", "sentence"),
    [
        (
            "Hi",
            {"temprature": 1},
            ConfigError,
            "no option 'temprature'; the options are answer_reserve, frequency_penalty",
        ),
        ("Hi", {"temperature": -1}, ConfigError, "temperature is -1"),
        ("Hi", {"preset": "fast"}, ConfigError, "no preset 'fast'"),
        ([], {}, InputError, "nothing to answer"),
        (["nowhere.png", "Hi"], {}, InputError, "nowhere.png does not exist"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_iterated(
    instruct: LLM, what: object, options: dict, kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence):
        instruct.stream(what, **options)


def test_usage_counts_tokens_and_times(instruct: LLM) -> None:
    reply = instruct.chat([PILImage.new("RGB", (64, 64)), "Hi"], max_tokens=4)
    usage = reply.usage
    assert usage.num_output_tokens == len(reply.token_ids)
    assert usage.num_visual_tokens == reply.media[0].num_visual_tokens > 0
    assert usage.num_prompt_tokens > usage.num_visual_tokens
    assert 0 < usage.preprocess_s <= usage.ttft_s <= usage.total_s


def test_a_reply_becomes_json(instruct: LLM) -> None:
    reply = instruct.chat([PILImage.new("RGB", (64, 64)), "Hi"], max_tokens=4)
    assert json.loads(json.dumps(reply.to_json()))["text"] == reply.text


def test_history_is_the_callers(instruct: LLM) -> None:
    turns = [{"role": "user", "content": "Hi"}]
    first = instruct.chat(turns, max_tokens=4)
    assert instruct.chat(turns, max_tokens=4).token_ids == first.token_ids
    longer = [*turns, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "And?"}]
    assert instruct.chat(longer, max_tokens=4).usage.num_prompt_tokens > first.usage.num_prompt_tokens


# Loading


def test_load_takes_a_folder_and_says_what_was_chosen(tmp_path: Path) -> None:
    model = regard.load(tiny_folder(tmp_path / "model"), device="cpu")
    assert (model.device.value, model.dtype.value) == ("cpu", "float32")
    assert model.device.reason == "asked for" and model.dtype.reason


def test_bfloat16_can_be_asked_for(tmp_path: Path) -> None:
    import torch

    model = regard.load(tiny_folder(tmp_path / "model"), device="cpu", dtype="bfloat16")
    assert model.model.dtype == torch.bfloat16
    assert len(model.chat([PILImage.new("RGB", (64, 64)), "Hi"], max_tokens=3).token_ids) == 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"device": "toaster"}, "no device 'toaster'"),
        ({"device": "cuda:64"}, "'cuda:64' was asked for and PyTorch sees"),
        ({"dtype": "int3"}, "dtype is 'int3'; the choices are auto, float32"),
        ({"video_dialect": "x"}, "video_dialect is 'x'"),
    ],
)
def test_a_wrong_loading_option_is_refused(tmp_path: Path, options: dict, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        regard.load(tiny_folder(tmp_path / "model"), **options)


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json"):
        regard.load(tmp_path)


def test_a_model_that_is_let_go_frees_its_weights_and_its_thread(tmp_path: Path) -> None:
    llm = LLM.load(str(tiny_folder(tmp_path / "model")))
    llm.chat("Hi", max_tokens=2)
    weights, threads = weakref.ref(llm.model), {thread.name for thread in threading.enumerate()}
    assert "regard-engine" in threads
    engine = llm.engine
    del llm
    gc.collect()
    with pytest.raises(EngineError, match="the engine is closed"):
        engine.call(lambda _: None)
    del engine
    gc.collect()
    assert weights() is None
