"""The part of an address behind its question mark, read name by name; as `fields` does it for bodies.

query = Query(request.query_params.multi_items())
limit = query.whole("limit", 1, 100, default=20)
query.end()                                         everything else is refused by its name
"""

from __future__ import annotations

from collections.abc import Iterable

from regard.errors import InputError
from regard.server.fields import shown

MAX_DIGITS = 9


class Query:
    """The options of one address. Errors: InputError for one that is given twice."""

    def __init__(self, options: Iterable[tuple[str, str]]) -> None:
        self._left: dict[str, str] = {}
        for name, value in options:
            if name in self._left:
                raise InputError(f"{shown(name)} stands twice in the address; give it once")
            self._left[name] = value

    def text(self, name: str) -> str | None:
        """Any text."""
        return self._left.pop(name, None)

    def whole(self, name: str, lowest: int, highest: int, *, default: int) -> int:
        """A whole number within bounds."""
        value = self.text(name)
        if value is None:
            return default
        is_number = value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS
        if not is_number or not lowest <= int(value) <= highest:
            raise InputError(f"{name} is {shown(value)}; it must be a whole number from {lowest} to {highest}")
        return int(value)

    def choice(self, name: str, default: str, *others: str) -> str:
        """One of some words."""
        value = self.text(name)
        if value is not None and value not in (default, *others):
            raise InputError(f"{name} is {shown(value)}; it must be {' or '.join(map(repr, (default, *others)))}")
        return default if value is None else value

    def end(self) -> None:
        """Errors: InputError if an option was not read."""
        for name in self._left:
            raise InputError(f"the address has the option {shown(name)}, which is not supported; leave it out")
