"""The rendered prompt, character by character, in both editions' formats; and templates that misbehave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regard.errors import CheckpointError, InputError
from regard.messages import Document, Image, Message, Part, Text, ToolCall, Video
from regard.processing import template_sandbox
from regard.processing.chat_template import ChatTemplate, to_template_dict

ROOT = Path(__file__).parents[2]
SOURCES = {
    "instruct": (ROOT / "src/regard/assets/nano/chat_template.jinja").read_text(encoding="utf-8"),
    "thinking": (ROOT / "src/regard/assets/thinking/chat_template.jinja").read_text(encoding="utf-8"),
}
INSTRUCT, THINKING = ChatTemplate(SOURCES["instruct"]), ChatTemplate(SOURCES["thinking"])
BOTH = pytest.mark.parametrize("edition", [INSTRUCT, THINKING], ids=["instruct", "thinking"])

PICTURE, CLIP = Image("a.png"), Video("b.mp4")
SHOWN_PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"
SHOWN_CLIP = "<|vision_start|><|video_pad|><|vision_end|>"
TOOLS_TEXT = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
    '{"type": "function", "function": {"name": "zoom", "description": "<\u653e\u5927> & \'look\'", "parameters": {}}}\n'
    '{"type": "function", "function": {"name": "b"}}\n'
    "</tools>\n\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)
TOOLS = [
    {"type": "function", "function": {"name": "zoom", "description": "<\u653e\u5927> & 'look'", "parameters": {}}},
    {"type": "function", "function": {"name": "b"}},
]


def say(role: str, *parts: Part | str, reasoning: str | None = None, calls: tuple[ToolCall, ...] = ()) -> Message:
    made = tuple(Text(part) if isinstance(part, str) else part for part in parts)
    return Message(role, made, reasoning, calls)  # type: ignore[arg-type]


def turn(role: str, content: str) -> str:
    return f"<|im_start|>{role}\n{content}<|im_end|>\n"


def history(template: ChatTemplate, *messages: Message, add_vision_id: bool = False) -> str:
    return template.render(messages, add_generation_prompt=False, add_vision_id=add_vision_id)


def test_plain_text_and_the_generation_prompt_of_each_edition() -> None:
    messages = [say("system", "Be brief."), say("user", "Hi <b>")]
    expected = turn("system", "Be brief.") + turn("user", "Hi <b>") + "<|im_start|>assistant\n"
    assert INSTRUCT.render(messages) == expected
    assert THINKING.render(messages) == expected + "<think>\n"


def test_the_thinking_edition_is_known_by_its_generation_prompt() -> None:
    assert THINKING.opens_thinking and not INSTRUCT.opens_thinking


@BOTH
def test_there_is_no_default_system_prompt(edition: ChatTemplate) -> None:
    assert history(edition, say("user", "Hi")) == turn("user", "Hi")


@BOTH
def test_a_picture_stands_where_its_part_stands(edition: ChatTemplate) -> None:
    assert history(edition, say("user", PICTURE, "What is it?")) == turn("user", SHOWN_PICTURE + "What is it?")
    assert history(edition, say("user", "a", CLIP, "b")) == turn("user", "a" + SHOWN_CLIP + "b")


@BOTH
def test_vision_ids_count_pictures_and_clips_apart_over_the_whole_conversation(edition: ChatTemplate) -> None:
    messages = [
        say("user", "Compare ", PICTURE, PICTURE, CLIP, " now"),
        say("assistant", "ok", reasoning=None),
        say("user", PICTURE),
        say("tool", CLIP),
    ]
    assert history(edition, *messages, add_vision_id=True) == (
        turn("user", f"Compare Picture 1: {SHOWN_PICTURE}Picture 2: {SHOWN_PICTURE}Video 1: {SHOWN_CLIP} now")
        + turn("assistant", "ok")
        + turn("user", f"Picture 3: {SHOWN_PICTURE}")
        + turn("user", f"<tool_response>\nVideo 2: {SHOWN_CLIP}\n</tool_response>")
    )


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_parts_keys_decide_what_it_is(source: str) -> None:
    content = [
        {"type": "image_url", "image_url": {"url": "u"}},
        {"image": "u"},
        {"video": "u"},
        {"type": "video_url", "video_url": {"url": "u"}},
        {"type": "audio", "audio": "u"},
        {"text": "t"},
    ]
    variables = {"messages": [{"role": "user", "content": content}], "tools": None}
    rendered = template_sandbox.SandboxedTemplate(source).render(variables)
    assert rendered == turn("user", SHOWN_PICTURE * 2 + SHOWN_CLIP + "t")


def test_a_late_system_message_is_dropped_by_instruct_and_shown_by_thinking() -> None:
    messages = [say("user", "a"), say("system", "b"), say("user", "c")]
    assert history(INSTRUCT, *messages) == turn("user", "a") + turn("user", "c")
    assert history(THINKING, *messages) == turn("user", "a") + turn("system", "b") + turn("user", "c")


def test_pictures_in_system_and_assistant_turns_are_dropped_by_instruct_and_shown_by_thinking() -> None:
    messages = [say("system", "S", PICTURE), say("user", PICTURE), say("assistant", PICTURE, "A"), say("user", "q")]
    assert history(INSTRUCT, *messages, add_vision_id=True) == (
        turn("system", "S") + turn("user", f"Picture 1: {SHOWN_PICTURE}") + turn("assistant", "A") + turn("user", "q")
    )
    assert history(THINKING, *messages, add_vision_id=True) == (
        turn("system", f"SPicture 0: {SHOWN_PICTURE}")
        + turn("user", f"Picture 2: {SHOWN_PICTURE}")
        + turn("assistant", f"Picture 3: {SHOWN_PICTURE}A")
        + turn("user", "q")
    )


def test_instruct_ignores_reasoning_and_never_strips_think_text() -> None:
    messages = [say("user", "q"), say("assistant", "<think>\na\n</think>\n\n2", reasoning="r"), say("user", "q2")]
    assert history(INSTRUCT, *messages) == (
        turn("user", "q") + turn("assistant", "<think>\na\n</think>\n\n2") + turn("user", "q2")
    )


@BOTH
def test_tools_are_described_in_the_system_turn(edition: ChatTemplate) -> None:
    with_system = edition.render([say("system", "S"), say("user", "q")], TOOLS, add_generation_prompt=False)
    assert with_system == turn("system", "S\n\n" + TOOLS_TEXT) + turn("user", "q")
    without = edition.render([say("user", "q")], TOOLS, add_generation_prompt=False)
    assert without == turn("system", TOOLS_TEXT) + turn("user", "q")


@BOTH
def test_calls_of_the_assistant(edition: ChatTemplate) -> None:
    call = ToolCall("zoom", {"box": [1, 2], "\u6807\u7b7e": "\u732b"})
    shown = '<tool_call>\n{"name": "zoom", "arguments": {"box": [1, 2], "\u6807\u7b7e": "\u732b"}}\n</tool_call>'
    messages = [say("assistant", calls=(call,)), say("user", "q")]
    assert history(edition, *messages) == turn("assistant", shown) + turn("user", "q")
    messages = [say("assistant", "Sure.", calls=(call, ToolCall("b", {}))), say("user", "q")]
    second = '<tool_call>\n{"name": "b", "arguments": {}}\n</tool_call>'
    assert history(edition, *messages) == turn("assistant", f"Sure.\n{shown}\n{second}") + turn("user", "q")


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_flat_calls_and_arguments_as_a_string_are_rendered_verbatim(source: str) -> None:
    calls = [{"name": "zoom", "arguments": '{"box":[1]}', "id": "x"}, {"function": {"name": "b", "arguments": {}}}]
    messages = [{"role": "assistant", "content": "Sure.", "tool_calls": calls}, {"role": "user", "content": "q"}]
    rendered = template_sandbox.SandboxedTemplate(source).render({"messages": messages})
    assert rendered == turn(
        "assistant",
        'Sure.\n<tool_call>\n{"name": "zoom", "arguments": {"box":[1]}}\n</tool_call>\n'
        '<tool_call>\n{"name": "b", "arguments": {}}\n</tool_call>',
    ) + turn("user", "q")


@BOTH
def test_neighbouring_tool_results_share_one_user_turn(edition: ChatTemplate) -> None:
    messages = [say("tool", "r1"), say("tool", "see ", PICTURE), say("user", "q"), say("tool", "r3")]
    assert history(edition, *messages) == (
        turn(
            "user",
            "<tool_response>\nr1\n</tool_response>\n<tool_response>\nsee " + SHOWN_PICTURE + "\n</tool_response>",
        )
        + turn("user", "q")
        + turn("user", "<tool_response>\nr3\n</tool_response>")
    )


def test_reasoning_before_the_last_question_is_dropped() -> None:
    messages = [say("user", "1+1"), say("assistant", "<think>\neasy\n</think>\n\n2"), say("user", "2+2")]
    assert THINKING.render(messages) == (
        turn("user", "1+1") + turn("assistant", "2") + turn("user", "2+2") + "<|im_start|>assistant\n<think>\n"
    )
    as_field = [say("user", "1+1"), say("assistant", "2", reasoning="easy"), say("user", "2+2")]
    assert THINKING.render(as_field) == THINKING.render(messages)


def test_a_last_answer_without_reasoning_gets_an_empty_block() -> None:
    messages = [say("user", "1+1"), say("assistant", "2")]
    assert history(THINKING, *messages) == turn("user", "1+1") + turn("assistant", "<think>\n\n</think>\n\n2")


def test_reasoning_is_kept_through_steps_with_tools() -> None:
    call = ToolCall("zoom", {"box": [1]})
    shown = '<tool_call>\n{"name": "zoom", "arguments": {"box": [1]}}\n</tool_call>'
    response = turn("user", f"<tool_response>\n{SHOWN_PICTURE}crop\n</tool_response>")
    for reasoning, block in (("need zoom", "<think>\nneed zoom\n</think>\n\n"), (None, "")):
        messages = [
            say("user", "q"),
            say("assistant", reasoning=reasoning, calls=(call,)),
            say("tool", PICTURE, "crop"),
        ]
        assert THINKING.render(messages) == (
            turn("user", "q") + turn("assistant", block + shown) + response + "<|im_start|>assistant\n<think>\n"
        )


def test_a_user_message_that_is_a_wrapped_tool_result_is_not_a_question() -> None:
    messages = [
        say("user", "q"),
        say("assistant", "a", reasoning="r"),
        say("user", "<tool_response>\nx\n</tool_response>"),
    ]
    assert turn("assistant", "<think>\nr\n</think>\n\na") in THINKING.render(messages)


def test_a_message_of_text_alone_has_a_string_as_content() -> None:
    assert to_template_dict(say("user", "a", "b")) == {"role": "user", "content": "ab"}
    assert to_template_dict(say("assistant"))["content"] == ""
    with pytest.raises(InputError, match="page images"):
        to_template_dict(say("user", Document("a.pdf")))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chat_template.jinja", None),
        ("chat_template.json", {"chat_template": "found"}),
        ("tokenizer_config.json", {"chat_template": "found"}),
        ("tokenizer_config.json", {"chat_template": [{"name": "default", "template": "found"}]}),
    ],
)
def test_the_template_is_found_where_checkpoints_keep_it(tmp_path: Path, name: str, value: object) -> None:
    (tmp_path / name).write_text("found" if value is None else json.dumps(value), encoding="utf-8")
    assert ChatTemplate.from_folder(tmp_path).render([]) == "found"


def test_a_template_may_name_the_tokenizers_special_tokens(tmp_path: Path) -> None:
    config = {"eos_token": "<end>", "pad_token": {"content": "<pad>"}, "bos_token": None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "chat_template.jinja").write_text("{{ eos_token ~ pad_token ~ bos_token }}", encoding="utf-8")
    assert ChatTemplate.from_folder(tmp_path).render([]) == "<end><pad>"


def test_a_folder_without_a_template_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no chat template; add chat_template\.jinja"):
        ChatTemplate.from_folder(tmp_path)
    (tmp_path / "chat_template.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="not readable JSON"):
        ChatTemplate.from_folder(tmp_path)


@pytest.mark.parametrize("source", ["{% for x in %}", "{{ 'a' | nofilter }}", "{{ " + "(" * 3000, "{{ __join }}"])
def test_a_malformed_template_is_one_sentence(source: str) -> None:
    with pytest.raises(CheckpointError, match="is not a chat template") as caught:
        ChatTemplate(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ nothing.there }}", "undefined"),
        ("{{ 1 / 0 }}", "division"),
        ("{{ messages[0].content + 1 }}", "concatenate"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{% set n = namespace(_x=1) %}", "underscore"),
        ("{% include 'other' %}", "loader"),
        ("{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}", "nested too deeply"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "steps"),
        ("{{ 'a' * 10 ** 12 }}", "longer than"),
        ("{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}", "longer than"),
        ("{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}", "longer than"),
        ("{% set n = namespace(s=9) %}{% for i in range(99) %}{% set n.s = n.s * n.s %}{% endfor %}", "bits"),
        ("{% for i in range(99999) %}{{ 'a' * 99999 }}{% endfor %}", "longer than"),
        ("{{ 'x' | tojson(indent='a' * 9, sort_keys=messages) ~ 9 ** 999999 }}", "bits"),
    ],
)
def test_a_template_that_fails_or_never_ends_is_one_sentence(
    source: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_sandbox, "MAX_STEPS", 20_000)
    monkeypatch.setattr(template_sandbox, "MAX_CHARS", 1_000_000)
    with pytest.raises(InputError, match=reason) as caught:
        ChatTemplate(source).render([say("user", "q")])
    assert "\n" not in str(caught.value)


def test_generation_blocks_and_loop_controls_are_understood() -> None:
    source = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% break %}{% endfor %}"
    assert ChatTemplate(source).render([say("user", "a"), say("user", "b")]) == "a"
