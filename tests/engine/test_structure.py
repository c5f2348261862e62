"""Structured output through the whole engine, and what happens when a structure cannot be followed."""

from __future__ import annotations

import json

import pytest

import regard
from regard.engine.structured import Constraint
from regard.errors import ConfigError, EngineError
from regard.llm import LLM
from regard.sampling_params import Structure
from tests.tiny import tiny_folder

SCHEMA = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "bbox_2d": {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4},
    },
    "required": ["label", "bbox_2d"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def instruct(tmp_path_factory: pytest.TempPathFactory) -> LLM:
    return regard.load(tiny_folder(tmp_path_factory.mktemp("tiny") / "model"))


def test_every_answer_is_valid_json_however_wild_the_sampling_and_however_short_the_limit(instruct: LLM) -> None:
    for max_tokens in (40, 64, 200):
        options = {"temperature": 1.5, "seed": 5, "max_tokens": max_tokens, "n": 8}
        for events in instruct.answers("Where?", structure=Structure("json_schema", SCHEMA), **options):
            *_, done = events
            assert done.reply is not None and done.reply.finish_reason == "stop"
            made = json.loads(done.reply.text)
            assert set(made) == {"label", "bbox_2d"} and len(made["bbox_2d"]) == 4


def test_structured_and_free_requests_share_a_batch(instruct: LLM) -> None:
    free = instruct.chat("Hi", max_tokens=12)
    streams = [
        instruct.stream("Hi", max_tokens=12),
        instruct.stream("Pick", structure=Structure("choice", ["red", "green"]), max_tokens=12),
    ]
    replies = [[*events][-1].reply for events in streams]
    assert replies[0] is not None and replies[0].token_ids == free.token_ids
    assert replies[1] is not None and replies[1].text in ("red", "green")


def test_a_limit_below_the_shortest_answer_is_refused(instruct: LLM) -> None:
    with pytest.raises(ConfigError, match="max_tokens is 5 and the shortest answer with this structure has"):
        instruct.chat("Where?", structure=Structure("json_schema", SCHEMA), max_tokens=5)


def test_a_structure_that_breaks_ends_only_its_own_request(instruct: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise EngineError("the structure cannot be followed further: too complex")

    monkeypatch.setattr(Constraint, "fill_mask", broken)
    bad = instruct.stream("Pick", structure=Structure("choice", ["red", "green"]), max_tokens=12)
    good = instruct.stream("Hi", max_tokens=12)
    with pytest.raises(EngineError, match="too complex"):
        list(bad)
    assert [*good][-1].reply is not None
    assert instruct.engine.call(lambda engine: engine.pool.check_integrity([])) is None
