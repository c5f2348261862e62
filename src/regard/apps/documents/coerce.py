"""Values as models write them to the types that a JSON schema asks for; what cannot be is told, field by field.

Amounts are read in both notations ("1,234.56", "1.234,56 EUR"), dates in the usual orders to ISO, words to booleans. A
date whose day and month could be either way is taken day first where dots are written and told to be unclear elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

MAX_REFERENCES = 6  # that a schema follows one after the other
_TRUE = {"true", "yes", "x", "checked", "ja", "oui", "si", "1", "\u2713", "\u2714", "\u2612"}
_FALSE = {"false", "no", "unchecked", "nein", "non", "0", "", "\u2610"}
_MONTHS = {
    name: number
    for number, names in enumerate(
        ("jan januar", "feb februar", "mar mrz maerz", "apr", "may mai", "jun", "jul", "aug", "sep", "oct okt", "nov",
         "dec dez"), 1,
    )
    for name in names.split()
}  # fmt: skip


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema without references into its own definitions and without the choice of null."""
    for _ in range(MAX_REFERENCES):
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            found: Any = root
            for key in reference[2:].split("/"):
                found = found.get(key, {}) if isinstance(found, Mapping) else {}
            schema = found
            continue
        choices = [choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"]
        if len(choices) == 1:
            schema = choices[0]
            continue
        break
    return schema


def coerce(value: Any, schema: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The form in the schema's types, fields that are missing as null, and by path what does not fit."""
    problems: dict[str, str] = {}
    made = _coerce(value, schema, schema, "", problems, 0)
    return (made if isinstance(made, dict) else {}), problems


def _coerce(
    value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str, problems: dict[str, str], depth: int
) -> Any:
    schema = resolved(schema, root)
    if depth > 12:
        return value
    if "properties" in schema:
        source = value if isinstance(value, Mapping) else {}
        required = schema.get("required", [])
        made: dict[str, Any] = {}
        for name, inner in schema["properties"].items():
            at = f"{path}.{name}" if path else name
            if source.get(name) in (None, "") and not _is_nested(inner, root):
                made[name] = None
                if name in required:
                    problems[at] = "nothing was found for this field"
                continue
            made[name] = _coerce(source.get(name), inner, root, at, problems, depth + 1)
        return made
    if schema.get("type") == "array" or "items" in schema:
        items = value if isinstance(value, list) else [] if value in (None, "") else [value]
        inner = schema.get("items", {})
        return [
            _coerce(item, inner, root, f"{path}.{number}", problems, depth + 1) for number, item in enumerate(items)
        ]
    made, problem = _leaf(value, schema)
    if problem:
        problems[path] = problem
    return made


def _is_nested(schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    found = resolved(schema, root)
    return "properties" in found or "items" in found or found.get("type") == "array"


def _leaf(value: Any, schema: Mapping[str, Any]) -> tuple[Any, str]:
    kind = schema.get("type", "string")
    if "enum" in schema:
        for choice in schema["enum"]:
            if str(choice).casefold() == str(value).strip().casefold():
                return choice, ""
        return None, f"{value!r} is none of {', '.join(map(str, schema['enum']))}"
    if kind in ("number", "integer"):
        number = number_of(value)
        if number is None:
            return None, f"{str(value)[:60]!r} is no number"
        if kind == "integer" and number != int(number):
            return None, f"{str(value)[:60]!r} is no whole number"
        return (int(number) if kind == "integer" else number), ""
    if kind == "boolean":
        word = str(value).strip().casefold()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE, ""
        return None, f"{str(value)[:60]!r} is neither yes nor no"
    if schema.get("format") == "date":
        found = date_of(str(value))
        return (found, "") if found else (None, f"{str(value)[:60]!r} is no date")
    text = value if isinstance(value, str) else str(value)
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and len(text) < 1000:
        try:
            if not re.search(pattern, text):
                return text, f"{text[:60]!r} does not fit the pattern {pattern}"
        except re.error:
            return text, f"the schema's pattern {pattern} is no regular expression"
    return text, ""


def number_of(value: Any) -> float | None:
    """A number in English or continental notation, with a currency or unit around it; None if it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    found = re.search(r"[-\u2212(]?\s*\d[\d.,'\u2019\u00a0\u202f ]*", str(value))
    if found is None:
        return None
    text = found[0]
    is_negative = text[0] in "-\u2212" or (text[0] == "(" and ")" in str(value))
    text = re.sub(r"[^\d.,]", "", text).rstrip(".,")
    last = max(text.rfind("."), text.rfind(","))
    if last >= 0:
        mark, tail = text[last], text[last + 1 :]
        is_grouping = len(tail) == 3 and text.count(mark) >= 1 and ("." in text) != ("," in text)
        if is_grouping and (text.count(mark) > 1 or not text.startswith("0")):
            text = text.replace(mark, "")
        else:
            text = re.sub(r"[.,]", "", text[:last]) + "." + tail
    try:
        number = float(text)
    except ValueError:
        return None
    return -number if is_negative else number


def date_of(text: str) -> str | None:
    """A date in ISO form; None if it is none, or could be two."""
    found = re.search(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})", text)
    if found:
        return _iso(int(found[1]), int(found[2]), int(found[3]))
    found = re.search(r"(\d{1,2})\s*([./-])\s*(\d{1,2})\s*[./-]\s*(\d{4}|\d{2})(?!\d)", text)
    if found:
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        year += 2000 if year < 70 else 1900 if year < 100 else 0
        if found[2] == "." or first > 12:
            return _iso(year, second, first)
        return _iso(year, first, second) if second > 12 or first == second else None
    found = re.search(r"(\d{1,2})(?:st|nd|rd|th|\.)?\s+([A-Za-z]{3})[a-z]*\.?,?\s+(\d{4})", text)
    if found and found[2].lower() in _MONTHS:
        return _iso(int(found[3]), _MONTHS[found[2].lower()], int(found[1]))
    found = re.search(r"([A-Za-z]{3})[a-z]*\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})", text)
    if found and found[1].lower() in _MONTHS:
        return _iso(int(found[3]), _MONTHS[found[1].lower()], int(found[2]))
    return None


def _iso(year: int, month: int, day: int) -> str | None:
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None
