"""A small task for lmms-eval, made of pictures that are rendered here: nothing is downloaded.

lmms-eval wants its own versions of many packages (0.7.3: av below 16), so it lives in an environment of its own; the
variable REGARD_LMMS_EVAL holds the command that runs it there, as in "/path/venv/bin/python -m lmms_eval".
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regard.messages import Image
from regard.train.world import scenes
from regard.train.world.sample import Sample

NAME = "regard_scenes"
_YAML = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: generate_until
doc_to_visual: !function task_functions.doc_to_visual
doc_to_text: !function task_functions.doc_to_text
doc_to_target: answer
generation_kwargs:
  max_new_tokens: {max_tokens}
  temperature: 0
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata:
  - version: 0.0
"""
_FUNCTIONS = """\
from PIL import Image


def doc_to_visual(doc):
    with Image.open(doc["image"]) as picture:
        return [picture.convert("RGB")]


def doc_to_text(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]
"""


@dataclass(frozen=True)
class Result:
    """What lmms-eval found: the mean score, and for each question the answer that it was given."""

    exact_match: float
    answers: dict[str, str]


def command() -> list[str] | None:
    """How lmms-eval is run on this machine; None if it is not there."""
    if given := os.environ.get("REGARD_LMMS_EVAL"):
        return shlex.split(given)
    return [sys.executable, "-m", "lmms_eval"] if importlib.util.find_spec("lmms_eval") else None


def questions(count: int) -> list[Sample]:
    """Scenes with one picture each, no two with the same question."""
    rng = np.random.default_rng(7)
    found: dict[str, Sample] = {}
    while len(found) < count:
        sample = scenes.make(rng, held_out=True)
        found.setdefault(sample.messages[0].text, sample)
    return list(found.values())


def write_task(folder: Path, samples: list[Sample], max_tokens: int) -> None:
    """The task's files, with the pictures beside them."""
    rows: list[dict[str, Any]] = []
    for number, sample in enumerate(samples):
        (picture,) = (part for part in sample.messages[0].parts if isinstance(part, Image))
        path = folder / f"{number}.png"
        picture.source.save(path)
        rows.append({"image": str(path), "question": sample.messages[0].text, "answer": sample.answer})
    data = folder / "test.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "task_functions.py").write_text(_FUNCTIONS)
    (folder / f"{NAME}.yaml").write_text(_YAML.format(name=NAME, data=data, max_tokens=max_tokens))


def run(lmms_eval: list[str], folder: Path, *, url: str, model: str) -> Result:
    """Let lmms-eval's OpenAI client ask the server at `url`."""
    out = folder / "out"
    arguments = ["--model", "openai", "--tasks", NAME, "--include_path", str(folder), "--output_path", str(out)]
    arguments += ["--model_args", f"model={model},base_url={url},api_key=none,num_concurrent=2,max_retries=1"]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hub"), "NO_PROXY": "*"}
    finished = subprocess.run(
        [*lmms_eval, *arguments, "--log_samples", "--batch_size", "1"],
        env=os.environ | offline,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    (results,) = out.rglob("*_results.json")
    (logged,) = out.rglob(f"*samples_{NAME}.jsonl")
    answers = {}
    for line in logged.read_text().splitlines():
        sample = json.loads(line)
        answers[sample["input"]] = sample["filtered_resps"]
    scores = json.loads(results.read_text())["results"][NAME]
    return Result(next(value for key, value in scores.items() if key.startswith("exact_match,")), answers)
