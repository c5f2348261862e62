"""How hard to think, in words, as tokens of thinking.

    none 0, minimal 256, low 1,024, medium 4,096, high 16,384, xhigh 32,768, max no limit

The budgets are ours: no source says what the words mean for this family. Whatever the budget, tokens are left for the
answer (`engine/thinking.py`).
"""

from __future__ import annotations

from regard.errors import ConfigError

EFFORT_BUDGETS: dict[str, int | None] = {
    "none": 0,
    "minimal": 256,
    "low": 1024,
    "medium": 4096,
    "high": 16384,
    "xhigh": 32768,
    "max": None,
}


def thinking_budget(effort: str, *, is_thinking: bool) -> int | None:
    """Return the budget of an effort for an edition; None is no limit.

    Errors: ConfigError for another word, or if an edition is to think that does not.
    """
    if effort not in EFFORT_BUDGETS:
        raise ConfigError(f"the effort is {effort!r}; it must be one of {', '.join(EFFORT_BUDGETS)}")
    if not is_thinking and effort != "none":
        raise ConfigError(
            f"the effort is {effort!r}, and this model does not think before it answers; leave it out, give 'none', "
            "or serve a Thinking edition"
        )
    return EFFORT_BUDGETS[effort]
