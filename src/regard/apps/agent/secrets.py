"""Secrets that the model never sees: it writes {{secret:NAME}}, and the value is filled in on the way to the screen.

    secrets = Secrets({"PASSWORD": "hunter2"})
    secrets.fill("{{secret:PASSWORD}}")      # hunter2; only for the screen
    secrets.mask("Welcome, hunter2")         # Welcome, {{secret:PASSWORD}}; for everything else

Whatever is kept or shown (prompts, traces, errors, URLs) goes through `mask`, which also knows a value's usual
spellings in URLs and JSON. Values are never part of `repr`. Values shorter than `MIN_CHARS` are refused: masking them
would change ordinary text everywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from regard.errors import ConfigError

MIN_CHARS = 4
_PLACE = re.compile(r"\{\{\s*secret:([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Secrets:
    """Names and their values."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        for name, value in (values or {}).items():
            if not _NAME.fullmatch(name):
                raise ConfigError(f"the secret's name {name!r} is not usable; take letters, digits and underscores")
            if len(value) < MIN_CHARS:
                raise ConfigError(
                    f"the secret {name} has {len(value)} characters, the least is {MIN_CHARS}; shorter ones cannot be "
                    "kept out of traces"
                )
        self._values = dict(values or {})
        spelled = {
            spelling: name
            for name, value in self._values.items()
            for spelling in (value, quote(value, safe=""), quote(value), quote_plus(value), json.dumps(value)[1:-1])
        }
        self._spelled = dict(sorted(spelled.items(), key=lambda item: -len(item[0])))  # longest first

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self._values))})"

    def __bool__(self) -> bool:
        return bool(self._values)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that may be used."""
        return tuple(sorted(self._values))

    def and_also(self, values: Mapping[str, str]) -> Secrets:
        """These and more."""
        return Secrets(self._values | dict(values))

    def used_in(self, text: str) -> tuple[str, ...]:
        """The names that a text refers to, known or not, in order."""
        return tuple(_PLACE.findall(text))

    def fill(self, text: str) -> str:
        """The text with values in place of names. Errors: ConfigError naming one that is not known."""

        def value(found: re.Match[str]) -> str:
            if found[1] not in self._values:
                known = ", ".join(self.names) or "none"
                raise ConfigError(f"there is no secret {found[1]}; known are: {known}")
            return self._values[found[1]]

        return _PLACE.sub(value, text)

    def mask(self, text: str) -> str:
        """The text with names in place of values."""
        for spelling, name in self._spelled.items():
            text = text.replace(spelling, f"{{{{secret:{name}}}}}")
        return text

    def holds(self, text: str) -> bool:
        """Whether a text contains a value."""
        return any(spelling in text for spelling in self._spelled)

    def mask_all(self, value: Any) -> Any:
        """The same for every string in a JSON value, keys included."""
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, Mapping):
            return {self.mask(str(key)): self.mask_all(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.mask_all(item) for item in value]
        return value
