"""What is measured: each case is a few waves of requests, of which the last is timed.

    ttft        seconds from the request to its first token; the answer is that one token
    decode      tokens per second of a single stream, from its first token on
    throughput  tokens per second of all answers together, from the first request to the last token
    shell       seconds from starting a process to its first token, loading included
    memory      the most memory that a fresh process held while it loaded and answered, in bytes

Pictures and words differ in every repetition and request, so that no system meets its own past in a cache; a case
that is about caches prepares them in a first wave. `FRESH` cases start a new process each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from regard.bench.pictures import FRAME_SIZE, PICTURE_SIZE, Pictures
from regard.bench.requests import Request
from regard.errors import ConfigError

Measure = Literal["ttft", "decode", "throughput", "shell", "memory"]
UNITS: dict[Measure, str] = {
    "ttft": "s",
    "decode": "tokens/s",
    "throughput": "tokens/s",
    "shell": "s",
    "memory": "bytes",
}
FRESH: tuple[Measure, ...] = ("shell", "memory")
MORE_IS_BETTER: tuple[Measure, ...] = ("decode", "throughput")

_CELL = 32  # pixels of a side that become one visual token
# Words and the template around them, in tokens, when every byte is one.
_MAX_TEXT_TOKENS = 320
_MAX_TOKENS_AROUND_A_PICTURE = 4


@dataclass(frozen=True)
class Case:
    """`before`: what the first wave asks, so that the timed one finds it in the caches."""

    name: str
    title: str
    measure: Measure
    num_requests: int = 1
    num_pictures: int = 0
    num_frames: int = 0
    before: Literal["nothing", "another question", "the same"] = "nothing"

    @property
    def unit(self) -> str:
        """Of its numbers."""
        return UNITS[self.measure]

    @property
    def is_fresh(self) -> bool:
        """Whether it starts a process of its own each time."""
        return self.measure in FRESH

    def num_tokens(self, num_tokens: int) -> int:
        """Length of its answers when long ones have `num_tokens`."""
        return 1 if self.measure in ("ttft", "shell") else num_tokens


def concurrent(num_requests: int, num_pictures: int) -> Case:
    """Requests at the same time, each about a picture of its own, or about none."""
    kind = "images" if num_pictures else "text"
    what = "picture questions" if num_pictures else "text streams"
    title = f"{num_requests} {what} at once" if num_requests > 1 else "one picture question"
    return Case(f"{kind}-{num_requests}", title, "throughput", num_requests, num_pictures)


CASES: tuple[Case, ...] = (
    Case("decode", "decode, one stream", "decode"),
    Case("image-ttft", "first token about a 640x480 picture", "ttft", num_pictures=1),
    *(concurrent(number, 1) for number in (1, 4, 8, 16, 64)),
    *(concurrent(number, 0) for number in (16, 32)),
    Case("second-question", "first token, new question about the same picture", "ttft", 1, 1, 0, "another question"),
    Case("same-request", "first token, identical request", "ttft", 1, 1, 0, "the same"),
    Case("pictures-20", "first token about 20 pictures", "ttft", num_pictures=20),
    Case("video-64", "first token about a clip of 64 frames", "ttft", num_frames=64),
    Case("shell", "from the shell to the first token", "shell"),
    Case("memory", "peak memory, one picture question", "memory", num_pictures=1),
)


def choose_cases(names: str) -> tuple[Case, ...]:
    """The cases of a comma-separated list; all if it is empty. Errors: ConfigError for an unknown name."""
    by_name = {case.name: case for case in CASES}
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(by_name)
    for name in wanted:
        if name not in by_name:
            raise ConfigError(f"there is no case {name!r}; the cases are {', '.join(by_name)}")
    return tuple(by_name[name] for name in dict.fromkeys(wanted))


def waves(case: Case, repetition: int, num_tokens: int, pictures: Pictures) -> list[list[Request]]:
    """What to ask, in order; the last wave is the timed one. The same for every system."""
    timed = [_request(case, f"{case.name}-{repetition}-{i}", num_tokens, pictures) for i in range(case.num_requests)]
    if case.before == "nothing":
        return [timed]
    if case.before == "the same":
        return [timed, timed]
    return [[replace(request, text="What is this, in one word?") for request in timed], timed]


def warm_up(pictures: Pictures) -> list[list[Request]]:
    """What a freshly loaded system is asked before anything is timed: a small picture, then two texts at once."""
    picture = pictures.path("warm-up", (128, 128))
    return [[Request(_question("warm-up"), 2, (picture,))], [Request(_question(name), 2) for name in ("one", "two")]]


def max_context_tokens(cases: Sequence[Case], num_tokens: int) -> int:
    """An upper estimate of the tokens of one wave, prompts and answers."""
    per_picture = _visual_tokens(PICTURE_SIZE) + _MAX_TOKENS_AROUND_A_PICTURE
    return max(
        case.num_requests * (case.num_pictures * per_picture + _MAX_TEXT_TOKENS + case.num_tokens(num_tokens))
        for case in cases
    )


def num_patches(case: Case) -> int:
    """Patches of one picture of a case, 16 pixels a side."""
    return 4 * _visual_tokens(PICTURE_SIZE) if case.num_pictures else 0


def _visual_tokens(size: tuple[int, int]) -> int:
    return (size[0] // _CELL) * (size[1] // _CELL)


def _request(case: Case, name: str, num_tokens: int, pictures: Pictures) -> Request:
    return Request(
        text=_question(name),
        max_tokens=case.num_tokens(num_tokens),
        pictures=tuple(pictures.path(f"{name}-{i}", PICTURE_SIZE) for i in range(case.num_pictures)),
        frames=tuple(pictures.path(f"{name}-frame-{i}", FRAME_SIZE) for i in range(case.num_frames)),
    )


def _question(name: str) -> str:
    """The name comes first, so that prompts differ from their first token on."""
    return f"{name}: tell what there is, where it is and what colours it has, in whole sentences."
