"""Refusing what is not honoured, in one sentence.

Options arrive as dictionaries. Whoever honours one takes it out; what is left at the end is refused. `only` takes
out an option that is accepted with some values alone, because with them it asks for what is done anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from regard.errors import ConfigError

Options = dict[str, Any]


def only(options: Options, name: str, *values: Any, advice: str) -> None:
    """Take out `name`. Errors: ConfigError unless it is missing, None or one of `values`."""
    value = options.pop(name, None)
    # Compared by type first: an array compares element by element, and True equals 1.
    if value is not None and not any(type(value) is type(one) and value == one for one in values):
        raise ConfigError(f"{name}={shown(value)} is not honoured here; {advice}")


def drop(options: Options, names: Iterable[str]) -> None:
    """Take out options that change nothing here, whatever their value."""
    for name in names:
        options.pop(name, None)


def refuse_rest(options: Options, where: str) -> None:
    """Errors: ConfigError if any option is left that has a value."""
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"{where} does not honour {name}={shown(value)}; leave it out (see docs/compat.md)")


def shown(value: Any) -> str:
    """A value in an error message, shortened."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}... ({type(value).__name__})"
