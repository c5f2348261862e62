"""How to choose the next token: validated, immutable values.

`temperature=0` is greedy. The order of operations is fixed and the same everywhere: penalties,
temperature, top-k, top-p, min-p, then one draw from a generator seeded with `seed`.
"""

from __future__ import annotations

from dataclasses import dataclass

from regard.errors import ConfigError


@dataclass(frozen=True)
class SamplingParams:
    """Sampling options of one request. `max_tokens` counts generated tokens, `stop` are strings."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    max_tokens: int = 1024

    def __post_init__(self) -> None:
        _check("temperature", self.temperature, self.temperature >= 0, "0 or more")
        _check("top_p", self.top_p, 0 < self.top_p <= 1, "in (0, 1]")
        _check("top_k", self.top_k, self.top_k >= 0, "0 (off) or more")
        _check("min_p", self.min_p, 0 <= self.min_p <= 1, "in [0, 1]")
        _check("repetition_penalty", self.repetition_penalty, self.repetition_penalty > 0, "above 0")
        _check("presence_penalty", self.presence_penalty, -2 <= self.presence_penalty <= 2, "in [-2, 2]")
        _check("frequency_penalty", self.frequency_penalty, -2 <= self.frequency_penalty <= 2, "in [-2, 2]")
        _check("max_tokens", self.max_tokens, self.max_tokens >= 1, "1 or more")
        if isinstance(self.stop, str) or not all(isinstance(s, str) and s for s in self.stop):
            raise ConfigError(f"stop is {self.stop!r}; it must be a tuple of non-empty strings")


def _check(name: str, value: float, is_good: bool, limit: str) -> None:
    if not is_good:
        raise ConfigError(f"{name} is {value}; it must be {limit}")
