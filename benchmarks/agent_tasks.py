"""The ten pages of examples/agent, five seeds each, in a real Chromium: how many tasks does a model complete?

    python -m benchmarks.agent_tasks --model nano --out benchmarks/agent_tasks.json
    python -m benchmarks.agent_tasks --model oracle --seeds 0          # the machinery alone, no model

A task counts as done when the page itself says so (`window.isDone`), whatever the model thinks. Whoever is asked says
yes; nothing is online. `--traces FOLDER` keeps every run with its film strip.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.agent_oracle import NAMES, PHONE_PAGES, oracle_for
from regard.apps.agent import Agent, BrowserScreen, Guard, Limits, Mind, Policy, Secrets
from regard.apps.agent.browser import address
from regard.errors import RegardError

PAGES = Path(__file__).parents[1] / "examples" / "agent"
COMPUTER, PHONE = (640, 400), (360, 640)
MAX_STEPS, MAX_SECONDS = 15, 180.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="nano, a folder, a hub id, a server's URL, or oracle")
    parser.add_argument("--tasks", default=",".join(NAMES))
    parser.add_argument("--seeds", default="0-4", help="as 0-4 or 0,3")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--traces", type=Path)
    parser.add_argument("--sandbox", action="store_true", help="Chromium's own; containers often cannot have it")
    options = parser.parse_args(arguments)
    chat = None
    if options.model != "oracle":
        from regard.client import connect

        chat = connect(options.model)
    runs = []
    for is_phone in (False, True):
        names = [name for name in options.tasks.split(",") if (name in PHONE_PAGES) == is_phone]
        if not names:
            continue
        with BrowserScreen(
            "about:blank", viewport=PHONE if is_phone else COMPUTER, phone=is_phone, sandbox=options.sandbox
        ) as screen:
            for name in names:
                for seed in seeds_of(options.seeds):
                    runs.append(run_task(screen, name, seed, chat, options.traces))
                    print(
                        f"{name:10} {seed:3}  {'done' if runs[-1]['done'] else '-':5} {runs[-1]['reason']}", flush=True
                    )
    report = summary(options.model, runs)
    for name, share in report["tasks"].items():
        print(f"{name:10} {share:6.0%}")
    print(
        f"{'all':10} {report['done']:6.0%} of {len(runs)} runs; {report['tasks_done']} of {len(report['tasks'])} tasks"
    )
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


def seeds_of(text: str) -> list[int]:
    """'0-4' or '0,3' as numbers."""
    first, dash, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if dash else [int(part) for part in text.split(",")]


def run_task(screen: BrowserScreen, name: str, seed: int, chat: Any, traces: Path | None) -> dict[str, Any]:
    """One task with one seed; `chat` None is the oracle."""
    url = f"{PAGES / name}.html?seed={seed}"
    screen.reopen(url, secrets=Secrets(), may_open=lambda _: True)
    secrets = Secrets({"PASSWORD": value} if (value := screen.evaluate("window.secret ?? ''")) else {})
    guard = Guard(Policy().starting_at(address(url)), secrets, ask_user=lambda question: True)
    screen.reopen(url, secrets=secrets, may_open=guard.may_open)
    mind = Mind(oracle_for(screen, name) if chat is None else chat, str(screen.evaluate("window.task")))
    agent = Agent(
        mind,
        screen,
        guard=guard,
        limits=Limits(MAX_STEPS, MAX_SECONDS, settle_s=1.5),
        trace=None if traces is None else traces / f"{name}-{seed}",
        on=f"browser:examples/agent/{name}.html?seed={seed}",
        screen_options={"viewport": PHONE, "phone": True} if name in PHONE_PAGES else {"viewport": COMPUTER},
    )
    start_s = time.monotonic()
    status, reason, answer, num_steps = "failure", "", None, 0
    try:
        result = agent.run()
        status, reason, answer, num_steps = result.status, result.reason, result.answer, len(result.steps)
    except RegardError as error:
        reason = str(error)
    done = bool(screen.evaluate("answer => window.isDone(answer)", answer))
    return {
        "task": name,
        "seed": seed,
        "done": done,
        "status": status,
        "reason": reason,
        "steps": num_steps,
        "seconds": round(time.monotonic() - start_s, 1),
    }


def summary(model: str, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares of done runs; a task counts as done if most of its seeds are."""
    names = list(dict.fromkeys(run["task"] for run in runs))
    shares = {name: _share([run["done"] for run in runs if run["task"] == name]) for name in names}
    return {
        "model": model,
        "done": _share([run["done"] for run in runs]),
        "tasks_done": sum(share > 0.5 for share in shares.values()),
        "tasks": shares,
        "runs": list(runs),
    }


def _share(values: Sequence[bool]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0


if __name__ == "__main__":
    main()
