"""Answers held to a JSON schema, sampled at a temperature that makes the model write nonsense: are all of them valid?

    python -m benchmarks.structured --answers 1000 --out benchmarks/structured.json

Ten schemas of what people ask for (boxes, records, enumerations, nested lists, numbers with bounds, optional keys)
take turns, with a picture and without. Each answer has to parse and to be valid for jsonschema, an independent
validator. The limit of tokens differs from answer to answer, so that many are cut short and must still be whole.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import torch

import regard
from regard.bench.machine import describe
from regard.sampling_params import Structure

ROOT = Path(__file__).parent.parent
BATCH = 32
TEXT: dict[str, Any] = {"type": "string", "maxLength": 30}
COORDINATE = {"type": "integer", "minimum": 0, "maximum": 1000}
BOX = {"type": "array", "items": COORDINATE, "minItems": 4, "maxItems": 4}


def record(**properties: Any) -> dict[str, Any]:
    """An object with exactly these keys."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


SCHEMAS: dict[str, dict[str, Any]] = {
    "boxes": {"type": "array", "items": record(bbox_2d=BOX, label=TEXT), "maxItems": 4},
    "person": record(name=TEXT, age={"type": "integer", "minimum": 0, "maximum": 130}),
    "choice": {"enum": ["red", "green", "blue", None, 3]},
    "flags": record(is_open={"type": "boolean"}, is_new={"type": ["boolean", "null"]}),
    "nested": record(page=record(title=TEXT, lines={"type": "array", "items": TEXT, "maxItems": 3})),
    "number": record(value={"type": "number", "minimum": -1, "maximum": 1}),
    "pattern": record(date={"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}),
    "either": {"anyOf": [record(point_2d={**BOX, "minItems": 2, "maxItems": 2}), record(error=TEXT)]},
    "optional": {
        "type": "object",
        "properties": {"a": TEXT, "b": {"type": "integer", "minimum": 0, "maximum": 9}},
        "additionalProperties": False,
    },
    "referenced": {
        "$defs": {"row": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 99}, "maxItems": 3}},
        **record(rows={"type": "array", "items": {"$ref": "#/$defs/row"}, "maxItems": 3}),
    },
}


def main() -> None:
    """Ask, check, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--answers", type=int, default=1000)
    parser.add_argument("--temperature", type=float, default=1.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    draw, began = random.Random(options.seed), time.perf_counter()
    llm = regard.LLM.load(options.model)
    valid: Counter[str] = Counter()
    invalid: list[dict[str, str]] = []
    num_cut = 0
    while (done := sum(valid.values()) + len(invalid)) < options.answers:
        name = list(SCHEMAS)[done // BATCH % len(SCHEMAS)]
        structure = Structure("json_schema", json.dumps(SCHEMAS[name]))
        picture = [str(ROOT / "examples" / "shapes.png")] if draw.random() < 0.5 else []
        questions = [[*picture, f"Answer {number} as JSON."] for number in range(min(BATCH, options.answers - done))]
        replies = llm.chat_many(
            questions,
            structure=structure,
            temperature=options.temperature,
            top_k=0,
            top_p=1.0,
            seed=draw.randrange(2**31),
            max_tokens=draw.randrange(60, 160),
        )
        for reply in replies:
            num_cut += reply.finish_reason == "length"
            try:
                jsonschema.validate(json.loads(reply.text), SCHEMAS[name])
            except (json.JSONDecodeError, jsonschema.ValidationError) as error:
                invalid.append({"schema": name, "text": reply.text, "error": str(error)})
            else:
                valid[name] += 1
    report = {
        "date": date.today().isoformat(),
        "command": f"python -m benchmarks.structured --answers {options.answers}",
        "model": llm.name,
        "temperature": options.temperature,
        "hardware": describe(torch.get_num_threads()),
        "num_answers": options.answers,
        "num_valid": sum(valid.values()),
        "num_cut_off": num_cut,
        "valid_by_schema": dict(sorted(valid.items())),
        "invalid": invalid,
        "elapsed_s": round(time.perf_counter() - began, 1),
    }
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
