"""Children that answer at once, for tests of the run: no process, no model, no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from regard.bench.cases import choose_cases
from regard.bench.results import BenchResult
from regard.bench.run import MACHINE, Asked, Plan, run_bench
from regard.bench.systems import choose_systems
from regard.bench.worker import Failed
from regard.weights.checkpoint import read_config
from regard.weights.hub import NANO_FOLDER

RATES = {"read": 1e10, "float32": 1e11, "bfloat16": 2e11, "int8": 1e12}


def plan_of(systems: str, cases: str, *, repeats: int = 3, num_tokens: int = 5) -> Plan:
    """A plan for regard-nano."""
    return Plan(
        model="nano",
        folder=NANO_FOLDER,
        config=read_config(NANO_FOLDER),
        dtype="float32",
        dtype_reason="small",
        systems=choose_systems(systems),
        cases=choose_cases(cases),
        repeats=repeats,
        num_tokens=num_tokens,
        command="regard bench",
    )


class FakePictures:
    """Names instead of files."""

    def path(self, name: str, size: tuple[int, int]) -> str:
        return name


class Stage:
    """Makes fake children and writes down what happens: ("start" | "ask" | "close", name).

    seconds:  (system, how many times it was asked before) -> seconds of an answer, or an error to raise
    loading:  why a system does not load
    """

    def __init__(
        self,
        seconds: Callable[[str, int], float] = lambda name, count: 1.0,
        loading: Mapping[str, str] | None = None,
    ) -> None:
        self.events: list[tuple[str, str]] = []
        self.commands: list[tuple[str, Mapping[str, Any]]] = []
        self.seconds, self.loading = seconds, dict(loading or {})
        self.warming: dict[str, str] = {}  # why a system fails its first small request
        self.asked: dict[str, int] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self.edit: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda name, answer: answer

    def start(self, name: str) -> Asked:
        self.events.append(("start", name))
        return FakeChild(name, self)

    def order(self, what: str) -> list[str]:
        """The names of one kind of event."""
        return [name for event, name in self.events if event == what and name != MACHINE]

    def run(self, plan: Plan, room: Callable[[], int | None] = lambda: None, **options: Any) -> BenchResult:
        return run_bench(plan, self.start, FakePictures(), room, **options)  # type: ignore[arg-type]


class FakeChild:
    """A child that is asked through a `Stage`."""

    def __init__(self, name: str, stage: Stage) -> None:
        self.name, self.stage = name, stage
        self.started_s = 0.0
        self.is_alive = True

    def ready(self, limit_s: float) -> dict[str, Any]:
        if self.name in self.stage.loading:
            raise Failed(self.stage.loading[self.name])
        return self.stage.facts.get(self.name, {})

    def ask(self, command: Mapping[str, Any], limit_s: float) -> dict[str, Any]:
        if command["do"] == "measure":
            return {"rates": RATES}
        if is_warm_up(command["waves"]):
            if self.name in self.stage.warming:
                raise Failed(self.stage.warming[self.name])
            return {"waves": [], "peak_bytes": 0}
        self.stage.events.append(("ask", self.name))
        self.stage.commands.append((self.name, command))
        count = self.stage.asked.get(self.name, 0)
        self.stage.asked[self.name] = count + 1
        seconds = self.stage.seconds(self.name, count)
        answers = [answer_of(request, seconds) for request in command["waves"][-1]]
        wave = {"wall_s": seconds, "answers": answers}
        empty = {"wall_s": 0.0, "answers": []}
        answer = {"waves": [empty] * (len(command["waves"]) - 1) + [wave], "peak_bytes": 10**9}
        return self.stage.edit(self.name, answer)

    def close(self) -> None:
        self.is_alive = False
        self.stage.events.append(("close", self.name))


def is_warm_up(waves: Sequence[Sequence[Mapping[str, Any]]]) -> bool:
    return waves[0][0]["text"].startswith("warm-up")


def answer_of(request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The first token after half the time."""
    return {
        "num_prompt_tokens": 40,
        "num_output_tokens": request["max_tokens"],
        "total_s": seconds,
        "ttft_s": seconds / 2,
        "preprocess_s": seconds / 10,
        "vision_s": seconds / 5,
        "text": "It is a red circle.",
    }
