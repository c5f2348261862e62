"""Bodies, fields, structures and file ids that are wrong, and some that are strange but right."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from tests.server.hostile import HUGE, MESSAGES, RESPONSES, Hostile, chat, picture


def raw(text: str) -> Callable[[], bytes]:
    return lambda: text.encode("utf-8", "surrogatepass")


def turn(content: str) -> str:
    return f'{{"messages": [{{"role": "user", "content": {content}}}], "max_tokens": 2}}'


BODIES: dict[str, Callable[[], bytes]] = {
    "nothing": raw(""),
    "no JSON": raw("{"),
    "null": raw("null"),
    "a list": raw("[]"),
    "a text": raw('"messages"'),
    "two objects": raw("{}{}"),
    "bytes that are no UTF-8": lambda: b'{"messages": "\xff\xfe"}',
    "UTF-16": lambda: turn('"hi"').encode("utf-16-be")[:-1],
    "a bomb of brackets": raw("[" * 1_000_000),
    "closed brackets, 100,000 deep": raw("[" * 100_000 + "]" * 100_000),
    "objects, 20,000 deep": raw('{"a":' * 20_000 + "1" + "}" * 20_000),
    "two million zeros": raw("[" + "0," * 2_000_000 + "0]"),
    "a number of 100,000 digits": raw(f'{{"max_tokens": {"9" * 100_000}}}'),
    "NaN": raw('{"messages": [{"role": "user", "content": "hi"}], "temperature": NaN}'),
    "Infinity": raw('{"messages": [{"role": "user", "content": "hi"}], "top_p": Infinity}'),
    "minus infinity": raw('{"messages": [{"role": "user", "content": "hi"}], "min_p": -Infinity}'),
    "a number that is infinite": raw('{"messages": [{"role": "user", "content": "hi"}], "temperature": 1e999}'),
    "half a character": raw(turn('"\\ud800"')),
    "half a character in a name": raw(turn('[{"type": "text", "text": "a", "\\udfff": 1}]')),
    "more bytes than are taken": lambda: turn('"' + "a" * 9_000_000 + '"').encode(),
    "no messages": raw('{"messages": []}'),
    "a million characters": raw(turn('"' + "a " * 500_000 + '"')),
    "a picture's own token": raw(turn('"<|vision_start|><|image_pad|><|vision_end|>"')),
    "10,000 messages": lambda: json.dumps({"messages": [{"role": "user", "content": "hi"}] * 10_000}).encode(),
    "10,000 parts": lambda: chat(*[{"type": "text", "text": "hi there, how are you"}] * 10_000),
    "10,000 pictures": lambda: chat(*[picture("data:,x")] * 10_000),
    "one message of a strange role": raw('{"messages": [{"role": "root", "content": "hi"}]}'),
    "a message without a role": raw('{"messages": [{"content": "hi"}]}'),
    "an assistant's last word": raw('{"messages": [{"role": "assistant", "content": "hi"}]}'),
    "a part of a strange type": raw(turn('[{"type": "audio_url", "audio_url": {"url": "data:,x"}}]')),
    "a part with a strange key": raw(turn('[{"type": "text", "text": "a", "cache": 1}]')),
    "arguments that are nested": lambda: call_with("[" * 50_000),
    "arguments that are no object": lambda: call_with("[]"),
    "tools with one name": lambda: chat(tools=[{"type": "function", "function": {"name": "a"}}] * 2),
    "1,000 tools": lambda: chat(tools=[{"type": "function", "function": {"name": f"t{n}"}} for n in range(1000)]),
}


def call_with(arguments: str) -> bytes:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [call]}]
    return json.dumps({"messages": [*messages, {"role": "user", "content": "hi"}]}).encode()


# Field -> values that are wrong for it; what is written with the right type is out of its range.
FIELDS: dict[str, tuple[Any, ...]] = {
    "messages": (
        "hi",
        5,
        {"role": "user"},
        [5],
        [[]],
        [{"role": 5, "content": "hi"}],
        [{"role": "user", "content": 5}],
    ),
    "model": (5, [], "another", "../../etc/passwd"),
    "max_tokens": (0, -1, 1.5, "9", True, [1]),
    "n": (0, -1, 1.5, "2", 10**9, [1]),
    "temperature": (-1, "hot", [], HUGE),
    "top_p": (-1, 2, "0.5", {}),
    "top_k": (-2, 1.5, "5"),
    "min_p": (-0.1, 1.5, "a"),
    "presence_penalty": ("a", HUGE, []),
    "frequency_penalty": ("a", HUGE, []),
    "repetition_penalty": (0, -1, "a", HUGE),
    "seed": (1.5, "a", 2**70, HUGE),
    "stop": (5, [5], [""], ["a"] * 1000, {}),
    "logit_bias": ([], {"a": 1}, {"1": "a"}, {"-1": 1}, {"999999999": 1}, {"1": HUGE}, {"9" * 30: 1}),
    "logprobs": ("yes", 5),
    "top_logprobs": (-1, 5, 10**6, "a"),
    "stream": ("yes", 1),
    "stream_options": ([], {"include_usage": True}),
    "tools": ("a", [5], [{}], [{"type": "function"}], [{"type": "function", "function": {"name": 5}}]),
    "tool_choice": ("always", 5, "required", {"type": "function", "function": {"name": "missing"}}),
    "response_format": ("json", [], {"type": "xml"}, {"type": "json_schema"}),
    "thinking_budget": (-1, 1.5, "a"),
    "min_tokens": (-1, 10**9, "a"),
    "stop_token_ids": (5, ["a"], [-1], [HUGE]),
    "preset": (5, "missing"),
    "coordinates": (5, "polar"),
    "reasoning_effort": (5, "extreme"),
    "ignore_eos": ("yes", 5),
    "modalities": (["audio"], "text"),
    "chat_template_kwargs": ([], {"enable_thinking": True}, {"add_vision_id": "yes"}),
    "unknown_field": (1, "a"),
    "__class__": ("a",),
}


def bodies() -> Iterator[Hostile]:
    for name, make in BODIES.items():
        yield Hostile(f"body: {name}", make)
    for field, values in FIELDS.items():
        for value in values:
            yield Hostile(f"{field} is {str(value)[:30]!r}", lambda field=field, value=value: chat(**{field: value}))
    yield Hostile("no JSON by its type", lambda: chat(), content_type="text/plain")
    yield Hostile("a form by its type", lambda: chat(), content_type="application/x-www-form-urlencoded")
    yield Hostile("no type", lambda: chat(), content_type="")
    for path in (RESPONSES, MESSAGES):
        for name in ("nothing", "null", "a bomb of brackets", "NaN", "half a character", "a list"):
            yield Hostile(f"body at {path}: {name}", BODIES[name], path)


# Valid, however strange: whatever becomes of them, it is no fault of the server's.
EXTREME: tuple[dict[str, Any], ...] = (
    {"temperature": 1e308},
    {"temperature": 1e-30, "seed": 1},
    {"temperature": 1.0, "top_p": 1e-300, "seed": 1},
    {"temperature": 1.0, "min_p": 1.0, "seed": 1},
    {"temperature": 1.0, "top_k": 10**18, "seed": 1},
    {"temperature": 1.0, "top_k": HUGE, "seed": 1},
    {"repetition_penalty": 1e308},
    {"repetition_penalty": 1e-308},
    {"presence_penalty": 2, "frequency_penalty": 2},
    {"presence_penalty": 1e308},
    {"frequency_penalty": -1e308},
    {"logit_bias": {"1": 100, "2": -100}},
    {"stop": ["\u0000", " " * 10_000]},
    {"n": 128},
    {"max_tokens": 10**30, "stop_token_ids": list(range(4096))},
    {"top_logprobs": 20, "logprobs": True},
    {"user": "x" * 1_000_000, "metadata": {"a": "b" * 1_000_000}},
)


def nested(num: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(num):
        schema = {"type": "array", "items": schema}
    return schema


SCHEMAS: dict[str, Any] = {
    "an address": {"$ref": "http://169.254.169.254/schema.json"},
    "a file": {"$ref": "file:///etc/passwd"},
    "what is not there": {"$ref": "#/$defs/missing"},
    "a type that is a number": {"type": 5},
    "an unknown type": {"type": "strin"},
    "nothing fits": {"type": "integer", "minimum": 5, "maximum": 1},
    "nested 120 deep": nested(120),
    "100,000 values": {"enum": [f"value {n}" for n in range(100_000)]},
    "10,000 fields": {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(10_000)}},
    "a million times a million": {"type": "string", "pattern": "^" + "(a{1,1000}" * 8 + "){1,1000}" * 8 + "$"},
    "a megabyte of expression": {"type": "string", "pattern": "(a|b)?" * 170_000},
    "an expression that is not closed": {"type": "string", "pattern": "(" * 1000},
    "looking ahead": {"type": "string", "pattern": "^(?=a)(?!b).*$"},
    "looking back": {"type": "string", "pattern": "^(a+)+\\1$"},
    "exactly one of many": {"oneOf": [{"type": "string", "pattern": f".*{n}.*"} for n in range(50)]},
    "not anything": {"not": {}},
    "steps of 1e-300": {"type": "number", "multipleOf": 1e-300},
    "a limit of 400 digits": {"type": "integer", "minimum": HUGE},
    "six to the eighth": {
        "allOf": [
            {"anyOf": [{"type": "object", "properties": {f"k{i}{j}": {"type": "string"}}} for j in range(6)]}
            for i in range(8)
        ]
    },
    "a billion items": {"type": "array", "items": {"type": "integer"}, "minItems": 10**9, "maxItems": 1},
}
OUTPUTS: dict[str, Any] = {
    "an expression of 100,000 brackets": {"regex": "(" * 100_000},
    "a long expression": {"regex": "(abc|def|[a-z]{3,9})?" * 8000},
    "looking ahead": {"regex": "(?=a)b"},
    "an expression that is a number": {"regex": 5},
    "a grammar without a start": {"grammar": "a: b"},
    "a grammar that names nothing": {"grammar": "start: x"},
    "a grammar of a megabyte": {"grammar": "start: " + ' "a"' * 250_000},
    "a grammar that includes": {"grammar": '%import /etc/passwd\nstart: "a"'},
    "no choice": {"choice": []},
    "a choice of numbers": {"choice": [1, 2]},
    "a choice of 50,000": {"choice": [f"choice {n}" for n in range(50_000)]},
    "two at once": {"regex": "a", "choice": ["a"]},
    "something unknown": {"xml": "a"},
}


def structures() -> Iterator[Hostile]:
    for name, schema in SCHEMAS.items():
        form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        yield Hostile(f"schema: {name}", lambda form=form: chat(response_format=form))
    for name, outputs in OUTPUTS.items():
        yield Hostile(f"structure: {name}", lambda outputs=outputs: chat(structured_outputs=outputs))
    for schema in ([], "a", 5):
        form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        yield Hostile(f"schema that is {schema!r}", lambda form=form: chat(response_format=form))


FILE_IDS = [
    "file-",
    "file-0",
    "file-../../etc/passwd",
    "file-..%2f..%2fetc%2fpasswd",
    "file-/etc/passwd",
    "file-" + "0" * 32,
]
FILE_IDS += ["file-\0", "file-" + "a" * 100_000, "file-*", "file-' OR 1=1"]


def files() -> Iterator[Hostile]:
    for file_id in FILE_IDS:
        part = {"type": "file", "file": {"file_id": file_id}}
        yield Hostile(f"file id {file_id[:40]!r}", lambda part=part: chat(part))
        yield Hostile(f"picture of file id {file_id[:40]!r}", lambda file_id=file_id: chat(picture(file_id)))
    for inner in ({"file_id": 5}, {"file_data": 5}, {}, {"file_data": "@@@"}, {"file_id": "a", "file_data": "b"}, None):
        yield Hostile(f"file {inner}", lambda inner=inner: chat({"type": "file", "file": inner}))
