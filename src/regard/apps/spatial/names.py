"""What a model calls a thing, as what was asked for: "Cups" is the "cup" of the question."""

from __future__ import annotations

from collections.abc import Sequence


def own_label(told: str, names: Sequence[str]) -> str:
    """The name that was asked for, if the label means it; else the label as it was told.

    Case, articles and a plural make no difference. Where one thing was asked for, an empty label, or one that was
    numbered ("point_1", "cup 2"), means that thing; a name that is told of one part of "plate/dish" means the whole.
    """
    plain = _plain(told)
    for name in names:
        if plain == _plain(name) or plain in map(_plain, name.split("/")):
            return name
    if len(names) == 1 and (
        not plain or plain.rstrip("0123456789 _") in ("point", "box", "object", "", _plain(names[0]))
    ):
        return names[0]
    return told


def plural(name: str) -> str:
    """More than one of it, as English regularly says it; other scripts, and what ends in s already, stay."""
    if not name[-1:].isascii() or not name[-1:].isalpha() or name.endswith("s"):
        return name
    if name.endswith(("x", "ch", "sh")):
        return f"{name}es"
    return f"{name[:-1]}ies" if name.endswith("y") and name[-2:-1] not in "aeiou" else f"{name}s"


def _plain(name: str) -> str:
    words = name.lower().replace("_", " ").split()
    if words and words[0] in ("a", "an", "the") and len(words) > 1:
        words = words[1:]
    if not words:
        return ""
    last = words[-1]
    if last.endswith("ies") and len(last) > 4:
        last = last[:-3] + "y"
    elif last.endswith(("ses", "xes", "ches", "shes")):
        last = last[:-2]
    elif last.endswith("s") and not last.endswith(("ss", "us", "is")) and len(last) > 3:
        last = last[:-1]
    return " ".join((*words[:-1], last))
