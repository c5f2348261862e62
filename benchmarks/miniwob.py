"""Twenty tasks of MiniWoB++ (pip package `miniwob`, its own pages), seeds 0 to 24: what share does a model complete?

    pip install --no-deps miniwob
    python -m benchmarks.miniwob --model nano --out benchmarks/miniwob.json

The pages are opened as they are, 160 x 210 pixels at scale 2; the query that the page shows is the task, and success
is a positive raw reward of the page's own. Two things differ from the usual protocol, and are written into the report:
the time limit of an episode is lifted (the model runs on a CPU), and the agent may take `MAX_STEPS` steps. Nothing of
MiniWoB++ is used in training.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.agent_tasks import seeds_of, summary
from regard.apps.agent import Agent, BrowserScreen, Guard, Limits, Mind, Policy, Secrets, StepRecord
from regard.errors import InputError, RegardError

TASKS = (
    "click-test", "click-test-2", "click-button", "click-link", "click-dialog", "click-dialog-2", "click-tab",
    "click-option", "click-checkboxes", "click-widget", "click-color", "click-shape", "focus-text", "focus-text-2",
    "enter-text", "enter-password", "login-user", "choose-list", "use-slider", "navigate-tree",
)  # fmt: skip
VIEWPORT, SCALE = (160, 210), 2.0
MAX_STEPS, MAX_SECONDS, EPISODE_MS = 10, 120.0, 3_600_000
_BEGIN = """([seed, timeLimit]) => {
  core.EPISODE_MAX_TIME = timeLimit;
  Math.seedrandom(seed);
  core.startEpisodeReal();
  return document.querySelector('#query').innerText;
}"""
_STATE = "() => ({done: WOB_DONE_GLOBAL, reward: WOB_RAW_REWARD_GLOBAL})"


class EpisodeOverError(RegardError):
    """The page has given its reward."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--seeds", default="0-24")
    parser.add_argument("--html", type=Path, help="the package's folder miniwob/html, if it is not installed")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--traces", type=Path)
    parser.add_argument("--sandbox", action="store_true", help="Chromium's own; containers often cannot have it")
    options = parser.parse_args(arguments)
    folder = options.html or installed_html()
    from regard.client import connect

    chat = connect(options.model)
    runs = []
    with BrowserScreen("about:blank", viewport=VIEWPORT, scale=SCALE, sandbox=options.sandbox) as screen:
        for name in options.tasks.split(","):
            for seed in seeds_of(options.seeds):
                runs.append(run_episode(screen, folder, name, seed, chat, options.traces))
                print(
                    f"{name:20} {seed:3}  {'done' if runs[-1]['done'] else '-':5} {runs[-1]['query'][:60]}", flush=True
                )
    report = summary(options.model, runs) | {
        "viewport": VIEWPORT,
        "scale": SCALE,
        "max_steps": MAX_STEPS,
        "episode_time_limit": "lifted",
        "second_look": False,
    }
    for name, share in report["tasks"].items():
        print(f"{name:20} {share:6.0%}")
    print(f"{'all':20} {report['done']:6.1%} of {len(runs)} episodes")
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


def installed_html() -> Path:
    """The pages of the installed package, which is not imported. Errors: InputError if there are none."""
    spec = importlib.util.find_spec("miniwob")
    folder = Path(spec.origin).parent / "html" if spec is not None and spec.origin else None
    if folder is None or not folder.is_dir():
        raise InputError("miniwob is not installed; run pip install --no-deps miniwob, or give --html")
    return folder


def run_episode(
    screen: BrowserScreen, folder: Path, name: str, seed: int, chat: Any, traces: Path | None
) -> dict[str, Any]:
    """One episode: the page's own query, and its own reward."""
    url = (folder / "miniwob" / f"{name}.html").resolve().as_uri()
    policy = Policy(allowed_hosts=("file:" + str(folder.resolve()),), ask=frozenset())
    guard = Guard(policy)
    screen.reopen(url, secrets=Secrets(), may_open=guard.may_open)
    query = " ".join(str(screen.evaluate(_BEGIN, [str(seed), EPISODE_MS])).split())

    def on_step(step: StepRecord) -> None:
        if screen.evaluate(_STATE)["done"]:
            raise EpisodeOverError("the episode is over")

    agent = Agent(
        Mind(chat, query),
        screen,
        guard=guard,
        limits=Limits(MAX_STEPS, MAX_SECONDS, settle_s=0.6),
        second_look=False,
        trace=None if traces is None else traces / f"{name}-{seed}",
        on_step=on_step,
    )
    start_s, reason = time.monotonic(), ""
    try:
        reason = agent.run().reason
    except RegardError as error:
        reason = str(error)
    state = screen.evaluate(_STATE)
    return {
        "task": name,
        "seed": seed,
        "done": bool(state["done"] and state["reward"] > 0),
        "reward": state["reward"],
        "query": query,
        "reason": reason,
        "seconds": round(time.monotonic() - start_s, 1),
    }


if __name__ == "__main__":
    main()
