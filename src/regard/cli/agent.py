"""`regard agent "task" --on browser:URL`: a model operates a browser, a phone or this desktop.

What the policy wants a yes for is asked on the terminal; where there is none, the answer is no. `--yes KIND` says yes
beforehand. `--replay FOLDER` does a recorded run again without a model.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regard.cli.options import ApiKeyOption, ModelOption
from regard.errors import ConfigError, InputError, RegardError

if TYPE_CHECKING:
    from regard.apps.agent.policy import Policy
    from regard.apps.agent.records import StepRecord
    from regard.apps.agent.secrets import Secrets


def agent(
    task: Annotated[str | None, typer.Argument(help="What is to be done, in one sentence.")] = None,
    on: Annotated[str | None, typer.Option(help="browser:URL, android, android:SERIAL or desktop.")] = None,
    model: ModelOption = "nano",
    policy: Annotated[
        Path | None, typer.Option(help="A TOML file: hosts, what is forbidden or asked, secrets.")
    ] = None,
    secret: Annotated[
        list[str] | None, typer.Option(help="NAME or NAME=VARIABLE: a value from the environment; may be repeated.")
    ] = None,
    yes: Annotated[
        list[str] | None, typer.Option(help="A kind that needs no asking, as send; may be repeated.")
    ] = None,
    confirm: Annotated[bool, typer.Option("--confirm", help="Ask about every action.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Stop before anything is changed.")] = False,
    max_steps: Annotated[int, typer.Option(help="Stop after this many steps.")] = 30,
    max_seconds: Annotated[float, typer.Option(help="Stop after this many seconds.")] = 600,
    second_look: Annotated[
        bool, typer.Option("--second-look/--no-second-look", help="Check the end with another question.")
    ] = True,
    prompt: Annotated[str, typer.Option(help="auto, official or brief (for nano).")] = "auto",
    max_pixels: Annotated[int | None, typer.Option(help="Shrink screenshots for the model to this area.")] = None,
    viewport: Annotated[str | None, typer.Option(help="The page's size, as 1280x800.")] = None,
    scale: Annotated[float, typer.Option(help="Pixels of the screen for each pixel of the page.")] = 1.0,
    phone: Annotated[bool, typer.Option("--phone", help="A touch screen of a phone's size.")] = False,
    window: Annotated[bool, typer.Option("--window", help="Show the browser's window.")] = False,
    sandbox: Annotated[
        bool, typer.Option("--sandbox/--no-sandbox", help="Chromium's own; containers often need it off.")
    ] = True,
    trace: Annotated[Path | None, typer.Option(help="Keep the run here; default regard-agent/DATE-TIME.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Do this recorded run again, without a model.")] = None,
    api_key: ApiKeyOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result as JSON.")] = False,
) -> None:
    """Operate a browser, an Android phone or this desktop until a task is done."""
    from regard.apps.agent.policy import Policy
    from regard.apps.agent.secrets import Secrets

    rules, secrets = (Policy(), Secrets()) if policy is None else Policy.load(policy)
    rules, secrets = _with_options(rules, secrets, secret or [], yes or [])
    size = None if viewport is None else _size(viewport)
    if replay is not None:
        _replay(replay, on, rules, secrets, size, scale, phone, window, sandbox, confirm, as_json)
        return
    if task is None or on is None:
        missing = "a task" if task is None else "--on"
        raise InputError(f'{missing} is missing; write regard agent "Open the first issue" --on browser:URL')
    if prompt not in ("auto", "official", "brief"):
        raise ConfigError(f"--prompt is {prompt!r}; it must be auto, official or brief")
    folder = trace or Path("regard-agent") / time.strftime("%Y%m%d-%H%M%S")
    from regard.apps.agent import Limits, operate
    from regard.cli.terminal import load_chat, stderr_console

    limits = Limits(max_steps=max_steps, max_seconds=max_seconds)
    chat = load_chat(model, api_key=api_key)
    console = stderr_console()

    def on_step(step: StepRecord) -> None:
        if not as_json:
            console.print(_line(step), markup=False, highlight=False, soft_wrap=True)

    result = operate(
        task,
        on=on,
        model=chat,
        policy=rules,
        secrets=secrets,
        ask_user=ask_on_terminal,
        confirm=confirm,
        dry_run=dry_run,
        limits=limits,
        second_look=second_look,
        style=None if prompt == "auto" else prompt,  # type: ignore[arg-type]  # checked above
        max_pixels=max_pixels,
        trace=folder,
        on_step=on_step,
        **({"viewport": size, "scale": scale, "phone": phone, "headless": not window, "sandbox": sandbox}),
    )
    if as_json:
        print(json.dumps(result.to_json(), ensure_ascii=False, indent=2))
    else:
        print(result.answer if result.answer is not None else f"{result.status}: {result.reason}")
        console.print(f"film strip: {folder / 'film.html'}", markup=False, highlight=False)
    if result.status != "success" and not dry_run:
        raise RegardError(f"the task was not done: {result.reason}; {folder / 'film.html'} shows the steps")


def ask_on_terminal(question: str) -> bool:
    """Ask the user; no without a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        print(f"regard: {question} no, for there is nobody to ask; --yes KIND says yes beforehand", file=sys.stderr)
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _with_options(policy: Policy, secrets: Secrets, secret: list[str], yes: list[str]) -> tuple[Policy, Secrets]:
    from regard.apps.agent.policy import KINDS

    for kind in yes:
        if kind not in KINDS:
            raise ConfigError(f"--yes {kind} is no kind of action; it must be one of {', '.join(KINDS)}")
    values = {}
    for item in secret:
        name, _, variable = item.partition("=")
        value = os.environ.get(variable or name)
        if not value:
            raise InputError(f"--secret {name}: the environment variable {variable or name} is not set")
        values[name] = value
    return replace(policy, ask=policy.ask - set(yes)), secrets.and_also(values) if values else secrets


def _replay(
    folder: Path,
    on: str | None,
    policy: Policy,
    secrets: Secrets,
    viewport: tuple[int, int] | None,
    scale: float,
    phone: bool,
    window: bool,
    sandbox: bool,
    confirm: bool,
    as_json: bool,
) -> None:
    from regard.apps.agent.operate import guard_for, open_screen
    from regard.apps.agent.replay import replay as replay_run
    from regard.apps.agent.replay import start_of

    recorded, options = start_of(folder)
    where = on or recorded
    given = {"viewport": viewport, "scale": scale if scale != 1.0 else None, "phone": phone or None}
    options |= {name: value for name, value in given.items() if value is not None}
    guard = guard_for(where, policy, secrets, ask_user=ask_on_terminal, confirm=confirm)
    with open_screen(where, guard=guard, headless=not window, sandbox=sandbox, **options) as screen:
        result = replay_run(folder, screen, guard=guard)
    if as_json:
        print(json.dumps(result.to_json(), ensure_ascii=False, indent=2))
    else:
        print(f"{result.num_steps} steps done again, {'all as recorded' if result.is_equal else 'with differences:'}")
        for difference in result.differences:
            print(f"  {difference}")
    if not result.is_complete:
        raise RegardError(f"the replay ended early: {result.differences[-1]}")


def _line(step: StepRecord) -> str:
    remark = "" if step.outcome in ("done", "finished") else f"  [{step.outcome}: {step.reason}]"
    unchanged = "  (nothing changed)" if step.changed is False else ""
    return f"{step.number:3}. {step.said or step.words or step.raw[:80]!r}  {step.words}{unchanged}{remark}"


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{2,5})x(\d{2,5})", text)
    if found is None:
        raise ConfigError(f"--viewport is {text!r}; write it as 1280x800")
    return int(found[1]), int(found[2])
