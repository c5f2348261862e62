"""Reading an object of a request field by field, so that nothing in it is passed over in silence.

    fields = Fields(body, "the request")
    limit = fields.whole("max_output_tokens")     None if it is not there or null
    fields.skip("user", "metadata")               accepted, and without effect on the answer
    fields.only("background", False)              accepted with this value alone
    fields.end()                                  everything else is refused by its name

Every mistake is an InputError in one sentence that names the field. It knows no API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regard.errors import InputError

MAX_SHOWN = 60  # characters of a wrong value in an error


class Fields:
    """The fields of one object; `where` names it in errors, as in "a part of type 'input_text'"."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise InputError(f"{where} is {shown(value)}; it must be an object")
        self.where = where
        self._left = {str(name): item for name, item in value.items() if item is not None}

    def has(self, name: str) -> bool:
        """Whether the field is there, not null, and not read yet."""
        return name in self._left

    def raw(self, name: str) -> Any:
        """The value whatever it is."""
        return self._left.pop(name, None)

    def text(self, name: str) -> str | None:
        """A string."""
        return self._typed(name, str, "a string")

    def needed_text(self, name: str) -> str:
        """A string that must be there."""
        return self.needed(name, self.text(name))

    def whole(self, name: str) -> int | None:
        """A whole number."""
        value = self.raw(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise self.wrong(name, value, "a whole number")
        return value

    def number(self, name: str) -> float | None:
        """A number."""
        value = self.raw(name)
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
            raise self.wrong(name, value, "a number")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._typed(name, bool, "true or false")
        return default if value is None else bool(value)

    def items(self, name: str) -> list[Any]:
        """A list; empty if it is not there."""
        value = self._typed(name, list, "a list")
        return [] if value is None else list(value)

    def object(self, name: str) -> Fields | None:
        """An object inside this one."""
        value = self.raw(name)
        return None if value is None else Fields(value, f"{name} of {self.where}")

    def plain(self, name: str) -> dict[str, Any] | None:
        """An object that is handed on as it is, such as a JSON Schema."""
        value = self._typed(name, dict, "an object")
        return None if value is None else dict(value)

    def choice(self, name: str, *choices: str) -> str | None:
        """One of some strings."""
        value = self.raw(name)
        if value is not None and value not in choices:
            raise self.wrong(name, value, " or ".join(map(repr, choices)))
        return value

    def only(self, name: str, *values: Any) -> None:
        """Accept a field with these values alone, since they ask for nothing."""
        value = self.raw(name)
        if value is not None and not any(type(value) is type(one) and value == one for one in values):
            kept = " or ".join(map(shown, values))
            raise InputError(
                f"{name} of {self.where} is {shown(value)}, which is not supported; leave it out"
                + (f" or give {kept}" if kept else "")
            )

    def skip(self, *names: str) -> None:
        """Accept fields that have no effect on the answer."""
        for name in names:
            self._left.pop(name, None)

    def end(self) -> None:
        """Errors: InputError if a field was not read."""
        for name in self._left:
            raise InputError(f"{self.where} has the field {name!r}, which is not supported; leave it out")

    def needed(self, name: str, value: Any) -> Any:
        """The value. Errors: InputError if it is None."""
        if value is None:
            raise InputError(f"{self.where} has no {name!r}; give it")
        return value

    def wrong(self, name: str, value: Any, wanted: str) -> InputError:
        """The error for a value that cannot be used."""
        return InputError(f"{name} of {self.where} is {shown(value)}; it must be {wanted}")

    def _typed(self, name: str, kind: type, wanted: str) -> Any:
        value = self.raw(name)
        if value is not None and not isinstance(value, kind):
            raise self.wrong(name, value, wanted)
        return value


def shown(value: Any) -> str:
    """A value in an error, cut short."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
