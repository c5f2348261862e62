"""Damages written-down outputs of models for as long as you like, and reads them: no exception, no slow text.

    python -m benchmarks.fuzz_reading --minutes 10 [--seed 1] [--out fuzz.json]

Texts are made in three ways by turns: an output of tests/apps/outputs/ with stretches cut, doubled, swapped and pieces
put in; pieces alone; and one unit repeated 2,000 to 20,000 characters long. A reader that raises, or that takes more
than `MAX_S` seconds of processor time, is a failure: the text is printed and the exit status 1. It writes what was
done as JSON; the last line is the same as one object.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import traceback
from pathlib import Path

from tests.apps.damage import PIECES, READERS, UNITS

OUTPUTS = Path(__file__).parent.parent / "tests" / "apps" / "outputs"
MAX_S = 2.0
MAX_DAMAGES = 6


def main() -> int:
    """Run for the time asked for; 0 if nothing failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    outputs = [json.loads(line)["text"] for path in sorted(OUTPUTS.glob("*.jsonl")) for line in path.open()]
    outputs = [text for text in outputs if isinstance(text, str)]
    failures: list[dict[str, object]] = []
    num_texts = num_chars = 0
    slowest = {"seconds": 0.0, "reader": "", "text": ""}
    start = time.monotonic()
    while time.monotonic() - start < options.minutes * 60 and len(failures) < 10:
        text = make(rng, outputs)
        num_texts += 1
        num_chars += len(text)
        for name, reader in READERS.items():
            began = time.process_time()
            try:
                reader(text)
            except Exception:
                failures.append({"reader": name, "text": text, "error": traceback.format_exc()})
                print(f"{name} raised on {text[:300]!r}\n{traceback.format_exc()}")
            spent = time.process_time() - began
            if spent > float(slowest["seconds"]):
                slowest = {"seconds": spent, "reader": name, "text": text[:120], "length": len(text)}
            if spent > MAX_S:
                failures.append({"reader": name, "text": text, "seconds": spent})
                print(f"{name} took {spent:.1f} s for {len(text)} characters: {text[:300]!r}")
    report = {
        "minutes": round((time.monotonic() - start) / 60, 2),
        "seed": options.seed,
        "texts": num_texts,
        "characters": num_chars,
        "calls": num_texts * len(READERS),
        "failures": failures,
        "slowest": slowest,
    }
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report | {"failures": len(failures)}))
    return 1 if failures else 0


def make(rng: random.Random, outputs: list[str]) -> str:
    """One text to try."""
    way = rng.random()
    if way < 0.7:
        text = rng.choice(outputs)
        for _ in range(rng.randint(1, MAX_DAMAGES)):
            text = damage(rng, text, outputs)
        return text
    if way < 0.97:
        return "".join(rng.choice(PIECES) for _ in range(rng.randint(0, 80)))
    unit = rng.choice(UNITS) + (rng.choice(PIECES) if rng.random() < 0.7 else "")
    return rng.choice(PIECES) * rng.randint(0, 1) + unit * (rng.randint(2_000, 20_000) // len(unit))


def damage(rng: random.Random, text: str, outputs: list[str]) -> str:
    """The text with one thing done to it."""
    first, second = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
    return rng.choice(
        (
            text[:first],
            text[first:],
            text[:first] + text[second:],
            text[:first] + rng.choice(PIECES) + text[first:],
            text[:second] + text[first:],
            text[:first] + rng.choice(outputs) + text[first:],
            text.replace('"', "'"),
            text.replace("{", "{{"),
            text[:first] + text[first : first + 1] * rng.randint(2, 50) + text[first:],
        )
    )


if __name__ == "__main__":
    sys.exit(main())
