"""The tutor on generated figures that training never shows: final answers, checked steps, hints that keep the answer.

    python -m benchmarks.tutor --model nano --num 100 --out benchmarks/tutor.json
    python -m benchmarks.tutor --model reference --faults 0.3

The `reference` is no model: it answers with the generator's own solutions, hints and places, and puts a fault into a
share of them (a false result in one step; a hint that tells the answer). So it measures what is ours alone: reading,
checking, retrying and holding hints back. Prints a table, writes JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from regard.apps.tutor import prompts
from regard.apps.tutor.checker import Checker
from regard.apps.tutor.session import NUM_HINTS, Tutor
from regard.client import Chat, connect
from regard.conversation import normalize
from regard.errors import RegardError
from regard.evals import figures as evaluation
from regard.processing.coordinates import find_boxes_and_points
from regard.reply import Event, Reply, Usage
from regard.train.world import figures
from regard.train.world.figure_problem import Figure, solution
from regard.train.world.sample import Sample


class Reference:
    """Answers about one figure with the truth, sometimes with a fault on purpose."""

    name, is_thinking, reports_media = "reference", False, False

    def __init__(self, faults: float, seed: int) -> None:
        self._faults, self._rng = faults, np.random.default_rng(seed)
        self.figure: Figure | None = None
        self.has_fault = False

    def show(self, figure: Figure) -> None:
        """From now on it is asked about this figure."""
        self.figure, self.has_fault = figure, False

    def chat(self, what: Any, **_: Any) -> Reply:
        prompt = normalize(what)[-1].text
        assert self.figure is not None
        problem = self.figure.problem
        text = ""
        if "is wrong:" in prompt:
            text = solution(problem)
        elif prompts.FORMAT in prompt:
            text = self._solution()
        elif "with points" in prompt:
            text = self._marks(prompt)
        elif prompt == prompts.MISTAKES:
            text = "\n".join(f"- {mistake}" for mistake in problem.mistakes)
        elif found := re.search(r"Give hint (\d)", prompt):
            tells = self._rng.random() < self._faults
            text = f"It is {problem.answer}." if tells else problem.hints[int(found[1]) - 1]
        size = (self.figure.canvas.width, self.figure.canvas.height)
        boxes, points = find_boxes_and_points(text, (size,))
        return Reply(text, text, None, (), boxes, points, "stop", Usage(0, 0, 0, 0.0, 0.0, 0.0), ())

    def stream(self, what: Any, **options: Any) -> Iterator[Event]:
        yield Event("done", reply=self.chat(what, **options))

    def chat_many(self, whats: Any, **options: Any) -> list[Reply]:
        return [self.chat(what, **options) for what in whats]

    def check_options(self, preset: str | None = None, **options: Any) -> None:
        """It takes any."""

    def close(self) -> None:
        """Nothing to end."""

    def _marks(self, prompt: str) -> str:
        """The true places of the parts that the prompt names."""
        assert self.figure is not None
        canvas = self.figure.canvas
        entries = [
            {
                "point_2d": [round(1000 * p.place[0] / canvas.width), round(1000 * p.place[1] / canvas.height)],
                "label": p.name,
            }
            for p in self.figure.parts
            if re.search(rf"\b{re.escape(p.name)}\b", prompt)
        ]
        return f"```json\n{json.dumps(entries)}\n```"

    def _solution(self) -> str:
        """The worked solution; a fault is a result that is off by one, in a step that has a calculation."""
        assert self.figure is not None
        text = solution(self.figure.problem)
        self.has_fault = bool(self._rng.random() < self._faults)
        if not self.has_fault:
            return text
        results = list(re.finditer(r"= (\d+)(?= \()|= (\d+)(?= \* pi)", text))
        if not results:
            self.has_fault = False
            return text
        found = results[int(self._rng.integers(len(results)))]
        group = 1 if found[1] else 2
        return text[: found.start(group)] + str(int(found[group]) + 1) + text[found.end(group) :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="nano, a folder, a hub id, a URL, or reference")
    parser.add_argument("--num", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=float, default=0.3, help="share of answers of the reference with a fault")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    is_reference = arguments.model == "reference"
    chat: Chat = Reference(arguments.faults, arguments.seed) if is_reference else connect(arguments.model)
    rows = []
    with Checker() as checker:
        for number in range(arguments.num):
            rows.append(one_figure(chat, checker, np.random.default_rng([arguments.seed, number])))
            print(f"\r{number + 1} of {arguments.num}", end="", flush=True)
    print()
    result = {"model": arguments.model, "num_figures": arguments.num, "seed": arguments.seed, **summary(rows)}
    if is_reference:
        result["faults"] = arguments.faults
    for name, value in result.items():
        if not isinstance(value, list):
            print(f"{name:38} {value}")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result | {"figures": rows}, indent=1) + "\n", encoding="utf-8")


def one_figure(chat: Chat, checker: Checker, rng: np.random.Generator) -> dict[str, Any]:
    """Solve one figure, take all hints, and compare both with the truth."""
    figure = figures.make_figure(rng, held_out=True)
    if isinstance(chat, Reference):
        chat.show(figure)
    problem = figure.problem
    picture, _ = figure.canvas.finish()
    truth = {"kind": "solve", "value": list(problem.value), "is_pi": problem.is_pi, "given": list(problem.given)}
    start_s = time.perf_counter()
    row: dict[str, Any] = {"figure": figure.kind, "question": problem.question, "wanted": problem.answer}
    with Tutor(chat, picture, problem.question, checker=checker) as tutor:
        try:
            solved = tutor.solution
            hints = [tutor.hint(number) for number in range(1, NUM_HINTS + 1)]
        except RegardError as error:
            return row | {"failure": str(error), "is_right": False, "total_s": time.perf_counter() - start_s}
    sample = Sample("figures", (), truth)
    first = solved.first_attempt or solved.text
    return row | {
        "answer": solved.answer,
        "is_right": evaluation.score(sample, f"Answer: {solved.answer}") == 1,
        "was_right_at_first": evaluation.score(sample, first) == 1,
        "steps": [step.verdict for step in solved.steps],
        "answer_verdict": solved.answer_verdict,
        "was_retried": solved.was_retried,
        "had_fault": isinstance(chat, Reference) and chat.has_fault,
        "hints": [hint.text for hint in hints],
        "hint_sources": [hint.source for hint in hints],
        "num_withheld": sum(hint.num_withheld for hint in hints),
        # The truth's answer, not only the model's own, must stay untold.
        "told_early": [
            checker.leaks(hint.text, answers=[problem.answer, solved.answer], given=problem.given)
            for hint in hints[:-1]
        ],
        "total_s": round(time.perf_counter() - start_s, 2),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of the table."""
    solved = [row for row in rows if "failure" not in row]
    steps = [verdict for row in solved for verdict in row["steps"]]
    right = [row for row in solved if row["is_right"]]
    hints = [told for row in solved for told in row["told_early"]]
    sources = [source for row in solved for source in row["hint_sources"][:-1]]
    faults = [row for row in solved if row["had_fault"]]
    return {
        "solutions_read": len(solved),
        "final_answers_right": sum(row["is_right"] for row in rows),
        "right_at_first": sum(row.get("was_right_at_first", False) for row in rows),
        "steps": len(steps),
        "share_of_steps_checked": share(steps, "checked"),
        "share_of_steps_wrong": share(steps, "wrong"),
        "share_of_steps_not_checkable": share(steps, "not checkable"),
        "right_solutions_called_wrong": sum("wrong" in row["steps"] for row in right),
        "answers_called_checked_but_wrong": sum(
            row["answer_verdict"] == "checked" and not row["is_right"] for row in solved
        ),
        "faults_put_in": len(faults),
        "faults_found": sum(row["was_retried"] for row in faults),
        "hints_before_the_last": len(hints),
        "hints_that_tell_the_answer": sum(hints),
        "hints_in_the_models_words": sum(source == "model" for source in sources),
        "model_hints_withheld": sum(row["num_withheld"] for row in solved),
        "median_s": round(float(np.median([row["total_s"] for row in rows])), 2) if rows else 0.0,
    }


def share(values: list[str], wanted: str) -> float:
    """How many of the values are `wanted`, 0 to 1."""
    return round(values.count(wanted) / len(values), 3) if values else 0.0


if __name__ == "__main__":
    main()
