"""Answers under a grammar, written by the worst model there is: one that takes any allowed token, all equally likely.

The tokenizer is the bundled checkpoint's. What such a model writes is validated by `json` and `jsonschema`.
"""

from __future__ import annotations

import json
import random
import re
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import regard
from regard.engine.closing import completes, find_end
from regard.engine.sampler import RowState, sample, score
from regard.engine.structured import Constraint, Grammar, Vocabulary
from regard.errors import CheckpointError, ConfigError, EngineError, MissingDependencyError
from regard.processing.tokenizer import Tokenizer
from regard.sampling_params import SamplingParams, Structure

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema validates the answers; install regard[dev]")
pytest.importorskip("llguidance", reason="structured output needs llguidance; install regard[structured]")

NANO = Path(regard.__file__).parent / "assets" / "nano"
TOKENIZER = NANO / "tokenizer.json"
NUM_IDS = json.loads((NANO / "config.json").read_text())["text_config"]["vocab_size"]
END_OF_TEXT, END_OF_TURN, END_THINK, LINE_BREAK = (
    Tokenizer.from_folder(NANO).encode(text)[0] for text in ("<|endoftext|>", "<|im_end|>", "</think>", "\n")
)
PLENTY = 10_000

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "nick": {"type": "string", "minLength": 12},
        "address": {
            "type": "object",
            "properties": {"street": {"type": "string", "maxLength": 20}, "number": {"type": "integer", "minimum": 1}},
            "required": ["street", "number"],
            "additionalProperties": False,
        },
    },
    "required": ["name", "address"],
    "additionalProperties": False,
}
BOXES = {
    "type": "array",
    "minItems": 1,
    "maxItems": 6,
    "items": {
        "type": "object",
        "properties": {
            "bbox_2d": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 1000}, "minItems": 4,
                        "maxItems": 4},
            "label": {"enum": ["button", "text field", "caf\u00e9 \u65e5\u672c"]},
        },
        "required": ["bbox_2d", "label"],
        "additionalProperties": False,
    },
}  # fmt: skip
VALUES = {
    "type": "object",
    "properties": {
        "price": {"type": "number", "minimum": -5, "maximum": 99.5},
        "date": {"type": "string", "format": "date"},
        "code": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{2,4}$"},
        "note": {"type": ["string", "null"]},
        "ok": {"type": "boolean"},
    },
    "required": ["price", "code", "ok"],
    "additionalProperties": {"type": "integer"},
}
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"value": {"type": "integer"}, "next": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "required": ["value"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
SCHEMAS: dict[str, dict[str, Any]] = {"person": PERSON, "boxes": BOXES, "values": VALUES, "tree": TREE}
ANSWERS_PER_SCHEMA = 60


@cache
def vocabulary() -> Vocabulary:
    return Vocabulary(TOKENIZER.read_text(), num_token_ids=NUM_IDS, end_ids=[END_OF_TURN, END_OF_TEXT])


@cache
def grammar(structure: Structure) -> Grammar:
    return Grammar(vocabulary(), structure)


def schema_grammar(schema: dict[str, Any]) -> Grammar:
    return grammar(Structure("json_schema", schema))


def mask() -> torch.Tensor:
    return torch.zeros(NUM_IDS // 32, dtype=torch.int32)


def allowed_ids(constraint: Constraint, num_left: int = PLENTY) -> list[int]:
    mask_W = mask()
    constraint.fill_mask(mask_W, num_left)
    bits = (mask_W[:, None] >> torch.arange(32, dtype=torch.int32) & 1).flatten()
    return torch.nonzero(bits).flatten().tolist()


def text_of(ids: list[int]) -> str:
    return b"".join(vocabulary().token_bytes(i) for i in ids if i not in vocabulary().end_ids).decode()


def write(constraint: Constraint, max_tokens: int, rng: random.Random) -> list[int]:
    """Take allowed tokens at random, all equally likely, until the answer is complete or the limit is reached."""
    ids: list[int] = []
    while len(ids) < max_tokens and not constraint.is_complete:
        num_left = max_tokens - len(ids)
        ids.append(constraint.accept(rng.choice(allowed_ids(constraint, num_left)), num_left))
    return ids


def feed(constraint: Constraint, text: str) -> bool:
    """Whether the constraint takes a whole text, token by token."""
    for token_id in vocabulary().tokenize(text.encode()):
        if token_id not in allowed_ids(constraint):
            return False
        constraint.accept(token_id, PLENTY)
    return True


def takes(structure: Structure, text: str) -> bool:
    """Whether a text is a whole answer."""
    constraint = Constraint(grammar(structure))
    return feed(constraint, text) and END_OF_TURN in allowed_ids(constraint)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_answer_of_a_random_writer_is_valid_whatever_its_limit(name: str) -> None:
    """Limits from the shortest answer known to a long one; without a way home nearly all would be cut off."""
    rng = random.Random(name)
    compiled = schema_grammar(SCHEMAS[name])
    assert compiled.shortest is not None
    for number in range(ANSWERS_PER_SCHEMA):
        max_tokens = compiled.shortest + min(number**2 // 12, 200)
        ids = write(Constraint(compiled), max_tokens, rng)
        assert len(ids) <= max_tokens
        jsonschema.validate(json.loads(text_of(ids)), SCHEMAS[name])


def test_any_json_object_is_complete_within_its_limit() -> None:
    rng = random.Random(1)
    for _ in range(ANSWERS_PER_SCHEMA):
        max_tokens = rng.choice([2, 3, 5, 20, 100])
        assert isinstance(
            json.loads(text_of(write(Constraint(grammar(Structure("json_object"))), max_tokens, rng))), dict
        )


@pytest.mark.parametrize(
    "structure",
    [
        Structure("regex", r"[A-Z][a-z]{2,30}( [0-9]+)*"),
        Structure("regex", r"[^x]*xyz"),
        Structure("regex", r"x(ab)*cd"),
        Structure("regex", r"[\]\[a-z]*x"),
    ],
    ids=lambda s: s.text,
)
def test_answers_under_an_expression_match_it_within_their_limit(structure: Structure) -> None:
    rng = random.Random(2)
    shortest = grammar(structure).shortest
    assert shortest is not None
    for max_tokens in range(shortest, shortest + 12):
        text = text_of(write(Constraint(grammar(structure)), max_tokens, rng))
        assert re.fullmatch(structure.text, text, re.DOTALL), text


def test_an_answer_under_a_grammar_is_completed() -> None:
    structure = Structure("grammar", 'start: "(" (start | NUMBER)* ")"\nNUMBER: /[0-9]+/')
    rng = random.Random(3)
    for max_tokens in (2, 3, 4, 10, 60):
        text = text_of(write(Constraint(grammar(structure)), max_tokens, rng))
        assert text.count("(") == text.count(")") and text.endswith(")"), text


def test_a_choice_is_one_of_the_strings_and_all_can_be_chosen() -> None:
    choices = ("yes", "no", 'a "quoted"\nline', "caf\u00e9 \U0001f600", "yes, but", "\x7f", "a|b\\")
    structure = Structure("choice", choices)
    rng = random.Random(4)
    found = {text_of(write(Constraint(grammar(structure)), 30, rng)) for _ in range(200)}
    assert found <= set(choices)
    assert all(takes(structure, choice) for choice in choices)
    assert not takes(structure, "maybe")


def test_a_model_that_never_wants_to_close_is_closed() -> None:
    """It opens brackets for as long as it can: the way home grows with each token until it is all that fits."""
    for max_tokens in (3, 4, 10, 51, 52, 200):
        constraint = Constraint(grammar(Structure("json_object")))
        ids: list[int] = []
        while not constraint.is_complete:
            num_left = max_tokens - len(ids)
            allowed = allowed_ids(constraint, num_left)
            wish = next((i for i in vocabulary().tokenize(b'["{:') if i in allowed), rng_choice(allowed, len(ids)))
            ids.append(constraint.accept(wish, num_left))
        assert isinstance(json.loads(text_of(ids)), dict)
        assert constraint.is_closing
        assert max_tokens - 3 <= len(ids) <= max_tokens


def rng_choice(ids: list[int], seed: int) -> int:
    return random.Random(seed).choice(ids)


def test_a_token_after_which_the_answer_could_not_be_completed_is_replaced() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "object", "properties": {"long_name": {"type": "string", "minLength": 40}},
                             "required": ["long_name"]}, "b": {"type": "integer"}},
        "additionalProperties": False,
    }  # fmt: skip
    constraint = Constraint(schema_grammar(schema))
    assert feed(constraint, '{"')
    (a,) = vocabulary().tokenize(b"a")
    assert a in allowed_ids(constraint, 20)
    assert constraint.accept(a, PLENTY) == a
    constraint.rollback(1)
    taken = constraint.accept(a, 20)
    assert text_of([taken]) == "b" and constraint.is_closing
    row = RowState(SamplingParams(num_logprobs=1), [], num_token_ids=NUM_IDS)
    assert score(torch.randn(NUM_IDS), row, taken).token_id == taken


def test_a_token_forced_against_the_way_home_is_replaced_too() -> None:
    """The engine may force a token that no mask allowed, such as a line break before </think>."""
    compiled = grammar(Structure("choice", ("a", "b")))
    constraint = Constraint(compiled, end_think_id=END_THINK)
    assert constraint.accept(LINE_BREAK, 3) == LINE_BREAK
    assert constraint.accept(LINE_BREAK, 2) == END_THINK
    assert constraint.accept(LINE_BREAK, 1) != LINE_BREAK
    assert constraint.is_complete


def test_nothing_is_forced_while_there_is_room() -> None:
    constraint = Constraint(schema_grammar(PERSON))
    ids = vocabulary().tokenize(b'{"name": "Ada", "address": {"street": "St. James", "number": 12}}')
    for place, token_id in enumerate(ids):
        assert constraint.accept(token_id, len(ids) - place) == token_id or place > len(ids) - 8
    assert constraint.is_complete
    constraint = Constraint(schema_grammar(PERSON))
    for token_id in ids:
        assert constraint.accept(token_id, PLENTY) == token_id
    assert constraint.is_complete and not constraint.is_closing


def test_a_complete_answer_allows_only_the_ends() -> None:
    constraint = Constraint(grammar(Structure("json_object")))
    assert feed(constraint, '{"a": 1}')
    assert constraint.is_complete
    assert allowed_ids(constraint) == [END_OF_TEXT, END_OF_TURN]
    assert constraint.accept(END_OF_TURN, 5) == END_OF_TURN
    assert constraint.is_complete
    with pytest.raises(EngineError, match="token 5 follows the end of a structured answer"):
        constraint.accept(5, 4)


def test_a_token_that_the_mask_forbids_is_our_own_mistake() -> None:
    constraint = Constraint(grammar(Structure("json_object")))
    with pytest.raises(EngineError, match=f"token {END_OF_TURN} is not allowed by the structure"):
        constraint.accept(END_OF_TURN, 10)


def test_white_space_in_json_is_bounded() -> None:
    """A model that loves blanks gets one, or a line break with 20, and must go on."""
    structure = Structure("json_object")
    assert takes(structure, '{"a": 1, "b": [1, 2]}')
    assert takes(structure, '{\n  "a": {\n    "b": 1\n  }\n}')
    assert takes(structure, '{\n\t"a":1\n}')
    assert not takes(structure, '{"a":  1}')
    assert not takes(structure, '{\n\n"a": 1}')
    assert not takes(structure, "{\n" + " " * 21 + '"a": 1}')
    assert not takes(structure, ' {"a": 1}') and not takes(structure, '{"a": 1}\n')
    constraint = Constraint(schema_grammar({"type": "array", "items": {"type": "integer"}, "minItems": 9}))
    ids: list[int] = []
    while not constraint.is_complete:
        allowed = allowed_ids(constraint)
        blanks = [i for i in allowed if not vocabulary().token_bytes(i).strip(b" \n\t")]
        assert constraint.closing_ids
        widest = max(blanks, key=lambda i: (b"\n" in vocabulary().token_bytes(i), i), default=constraint.closing_ids[0])
        ids.append(constraint.accept(widest, PLENTY))
    assert max(len(run) for run in re.findall(r"\s*", text_of(ids))) == 21


def test_a_schema_cannot_ask_for_unbounded_white_space() -> None:
    options: list[dict[str, Any]] = [{"whitespace_flexible": True}, {"whitespace_pattern": " *"}]
    for option in options:
        structure = Structure("json_schema", {"type": "object", "x-guidance": option})
        assert takes(structure, '{"a": 1}') and not takes(structure, '{"a":   1}')


def test_strings_may_hold_any_character_and_names_keep_their_order() -> None:
    schema = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "string"}}}
    structure = Structure("json_schema", schema)
    assert takes(structure, json.dumps({"z": 'caf\u00e9 \u65e5\u672c \U0001f600 \\ " \n', "a": ""}, ensure_ascii=False))
    assert not takes(structure, '{"a": "", "z": ""}')


def test_thinking_is_free_and_the_grammar_begins_behind_it() -> None:
    compiled = schema_grammar({"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]})
    constraint = Constraint(compiled, end_think_id=END_THINK)
    allowed = allowed_ids(constraint)
    assert len(allowed) == NUM_IDS - 2 and END_OF_TURN not in allowed and END_OF_TEXT not in allowed
    for token_id in vocabulary().tokenize(b"let me see {{{"):
        assert constraint.accept(token_id, PLENTY) == token_id
    assert not constraint.is_complete
    constraint.accept(END_THINK, PLENTY)
    for _ in range(2):
        assert LINE_BREAK in allowed_ids(constraint)
        constraint.accept(LINE_BREAK, PLENTY)
    assert {text_of([i])[0] for i in allowed_ids(constraint)} == {"{"}
    assert feed(constraint, '{"x": 5}')
    assert constraint.is_complete


def test_the_answer_need_not_begin_with_the_line_breaks_of_the_format() -> None:
    constraint = Constraint(grammar(Structure("choice", ("a", "b"))), end_think_id=END_THINK)
    constraint.accept(END_THINK, PLENTY)
    assert feed(constraint, "b")
    assert LINE_BREAK not in allowed_ids(constraint)


def test_thinking_ends_in_time_for_the_answer() -> None:
    rng = random.Random(5)
    compiled = schema_grammar(PERSON)
    assert compiled.shortest is not None
    for max_tokens in (compiled.shortest + 1, compiled.shortest + 2, 80, 150):
        ids = write(Constraint(compiled, end_think_id=END_THINK), max_tokens, rng)
        place = ids.index(END_THINK)
        jsonschema.validate(json.loads(text_of(ids[place + 1 :])), PERSON)
        assert len(ids) <= max_tokens


def test_a_rollback_restores_everything() -> None:
    """Compared with a constraint that never went the wrong way: masks, ways and completeness, through all phases."""
    rng = random.Random(6)
    for seed in range(20):
        rng.seed(seed)
        plain, moved = (Constraint(schema_grammar(TREE), end_think_id=END_THINK) for _ in range(2))
        max_tokens, num = 60, 0
        while not plain.is_complete and num < max_tokens:
            num_left = max_tokens - num
            detour = 0
            while detour < rng.randrange(6) and not moved.is_complete and detour < num_left:
                left = num_left - detour
                moved.accept(rng.choice(allowed_ids(moved, left)), left)
                detour += 1
            moved.rollback(detour)
            allowed = allowed_ids(plain, num_left)
            assert allowed_ids(moved, num_left) == allowed
            assert moved.closing_ids == plain.closing_ids and moved.is_closing == plain.is_closing
            token_id = END_THINK if num == 3 and END_THINK in allowed else rng.choice(allowed)
            assert plain.accept(token_id, num_left) == moved.accept(token_id, num_left)
            num += 1
        assert plain.is_complete and moved.is_complete


def test_a_rollback_over_the_end_makes_the_answer_open_again() -> None:
    constraint = Constraint(grammar(Structure("regex", "a+")))
    (a,) = vocabulary().tokenize(b"a")
    constraint.accept(a, PLENTY)
    constraint.accept(END_OF_TURN, PLENTY)
    constraint.rollback(1)
    assert not constraint.is_complete and set(allowed_ids(constraint)) >= {a, END_OF_TURN}
    constraint.rollback(1)
    assert END_OF_TURN not in allowed_ids(constraint)


def test_the_sampler_takes_the_mask_and_the_answer_is_valid() -> None:
    """Random logits at temperature 1.5 through `sample`, several answers in one batch."""
    max_tokens = 60
    params = SamplingParams(temperature=1.5, seed=0, structure=Structure("json_schema", BOXES))
    generator = torch.Generator().manual_seed(0)
    rows = [RowState(params, [], num_token_ids=NUM_IDS, index=i) for i in range(4)]
    constraints = [Constraint(schema_grammar(BOXES)) for _ in rows]
    for step in range(max_tokens):
        masks_BW = torch.zeros(len(rows), NUM_IDS // 32, dtype=torch.int32)
        for mask_W, constraint in zip(masks_BW, constraints, strict=True):
            constraint.fill_mask(mask_W, max_tokens - step)
        found = sample(torch.randn(len(rows), NUM_IDS, generator=generator) * 5, rows, allowed_BW=masks_BW)
        for row, constraint, one in zip(rows, constraints, found, strict=True):
            if not constraint.is_complete:
                row.append(constraint.accept(one.token_id, max_tokens - step))
    for row in rows:
        jsonschema.validate(json.loads(text_of(row.output_ids)), BOXES)


@pytest.mark.parametrize(
    ("structure", "sentence"),
    [
        (Structure("json_schema", {"type": "objekt"}), "the json_schema cannot be used: Invalid type: objekt"),
        (Structure("json_schema", {"not": {}}), r"the json_schema cannot be used: Unimplemented keys: \[\"not\"\]"),
        (
            Structure("json_schema", {"type": "integer", "minimum": 5, "maximum": 3}),
            "the json_schema cannot be used: Unsatisfiable schema",
        ),
        (Structure("regex", "a(b"), "the regex cannot be used: unclosed group"),
        (Structure("regex", "(?=a)b"), "the regex cannot be used: look-around"),
        (Structure("grammar", "start: foo"), r'the grammar cannot be used: .*unknown name: "foo"'),
    ],
    ids=lambda x: x.value if isinstance(x, Structure) else "",
)
def test_what_cannot_be_compiled_is_one_sentence_with_the_reason(structure: Structure, sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{sentence}") as caught:
        Grammar(vocabulary(), structure)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_what_would_take_long_or_cannot_be_read_is_refused_before_it_is_compiled() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(150):
        deep = {"type": "array", "items": deep}
    for structure, sentence in {
        Structure("json_schema", deep): "the json_schema cannot be used: recursion limit exceeded",
        Structure(
            "json_schema", {"type": "integer", "minimum": 10**400}
        ): "the json_schema cannot be used: number out of",
        Structure("json_schema", {"enum": ["x" * 130_000]}): r"the json_schema has \d+ characters, the limit is 120000",
        Structure("regex", "(abc|def)?" * 3000): "the regex has 30000 characters, the limit is 20000; shorten it",
        Structure("choice", [f"word {i}" for i in range(50_000)]): r"the choice has \d+ characters, the limit is",
    }.items():
        with pytest.raises(ConfigError, match=f"^{sentence}"):
            Grammar(vocabulary(), structure)


def test_a_grammar_without_an_end_makes_no_promise_and_costs_no_searching() -> None:
    compiled = grammar(Structure("grammar", 'start: ("x" | "y") start'))
    assert compiled.shortest is None
    constraint = Constraint(compiled)
    start_s = time.process_time()
    ids = write(constraint, 20, random.Random(0))
    assert len(ids) == 20 and not constraint.is_complete and constraint.closing_ids is None
    assert time.process_time() - start_s < 2


def test_a_grammar_that_outgrows_the_librarys_limits_is_told_in_one_sentence() -> None:
    with pytest.raises(
        EngineError, match=r"^the structure became too complex to be followed further \(.*; simplify it$"
    ):
        write(Constraint(grammar(Structure("grammar", 'start: "x" start'))), 2000, random.Random(0))


def test_the_shortest_answer_known_avoids_costly_options() -> None:
    """The optional key comes first and costs 40 characters; the way goes past it."""
    schema = {
        "type": "object",
        "properties": {"extra": {"type": "string", "minLength": 40}, "id": {"type": "integer"}},
        "required": ["id"],
        "additionalProperties": False,
    }
    way = schema_grammar(schema).way
    assert way is not None and way.text == b'{"id":0}'


def test_a_way_home_is_a_completion_from_anywhere() -> None:
    rng = random.Random(7)
    for schema in SCHEMAS.values():
        _, by_bytes = schema_grammar(schema).matchers()
        assert by_bytes is not None
        constraint = Constraint(schema_grammar(schema))
        for token_id in write(constraint, 60, rng):
            if token_id in vocabulary().end_ids:
                break
            way = find_end(by_bytes, is_thorough=False)
            assert way is not None and completes(by_bytes, way)
            assert by_bytes.consume_tokens(list(vocabulary().token_bytes(token_id)))


def test_without_llguidance_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'regard\[structured\]'"):
        Vocabulary("{}", num_token_ids=10, end_ids=[1])


def test_a_tokenizer_that_cannot_be_read_is_named() -> None:
    with pytest.raises(CheckpointError, match="the tokenizer cannot be used for structured output"):
        Vocabulary('{"no": 1}', num_token_ids=10, end_ids=[1])


def test_a_grammar_that_names_an_added_token_knows_the_way_home(nano_folder: Path) -> None:
    """It could not be read by bytes once, so a forced call was cut off at its limit."""
    tokenizer = Tokenizer.from_folder(nano_folder)
    vocabulary = Vocabulary(
        tokenizer.to_json(), num_token_ids=tokenizer.vocab_size, end_ids=sorted(tokenizer.eos_token_ids)
    )
    text = 'start: <tool_call> "\\n{\\"<b>\\": " NUMBER "}\\n" </tool_call>\nNUMBER: /[0-9]+/'
    grammar = Grammar(vocabulary, Structure("grammar", text))
    assert grammar.way is not None and grammar.way.ids[0] == tokenizer.find_token("<tool_call>")
    assert tokenizer.decode(grammar.way.ids) == '<tool_call>\n{"<b>": 0}\n</tool_call>'
    constraint = Constraint(grammar)
    for num_left in range(len(grammar.way.ids), 0, -1):
        assert constraint.closing_ids is not None
        constraint.accept(constraint.closing_ids[0], num_left)
    assert constraint.is_complete
