"""Key information from documents: a JSON schema or a pydantic model in, values with the place they stand at out.

    found = extract(chat, read_document(chat, "invoice.png"), schema, pictures)
    found.value                     {"company": "Baker & Sons", "total": 84.2}
    found.fields["total"].evidence  page 1, the box of "84.20"

The official prompt asks for the form; the answer is bound to it where the model takes a schema, and read tolerantly
where not. Models that read lines and not pages are not asked: their values are what stands beside the labels.

Values become the types that the schema asks for ("1.234,56 EUR" a number, "12.03.2024" an ISO date), and what cannot is
told. Evidence is looked for in what was read of the pages, not taken from the model: a value that stands
nowhere is marked as not found, because models fill forms with what would fit.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image
from pydantic import BaseModel

from regard.apps.asking import ask
from regard.apps.documents import prompts
from regard.apps.documents.coerce import coerce, resolved
from regard.apps.documents.labels import beside_label, plain
from regard.apps.documents.result import DocumentText, Rect
from regard.apps.reading import Read, read_object
from regard.apps.result import Result
from regard.client import Chat
from regard.errors import ConfigError
from regard.reply import Reply
from regard.sampling_params import Structure

ENOUGH = 0.8  # of a value's letters that must stand in its evidence
MAX_DEPTH = 6


class Evidence(Result):
    """Where a value stands: page (1-based), box in pixels of its picture, the words there, how alike they are."""

    page: int
    box: Rect
    text: str
    likeness: float


class Field(Result):
    """A value as the schema wants it, what the model wrote, and its evidence; None: it stands nowhere on the pages."""

    value: Any
    written: str
    page: int | None = None
    evidence: Evidence | None = None
    problem: str = ""


class Extracted(Result):
    """The filled form. Keys of `fields` are paths: "items.0.price"."""

    value: dict[str, Any]
    fields: dict[str, Field]
    problems: tuple[str, ...] = ()

    @property
    def unsupported(self) -> tuple[str, ...]:
        """The fields whose value was found on no page."""
        return tuple(
            path for path, field in self.fields.items() if field.value not in (None, "") and not field.evidence
        )


def schema_of(wanted: Any) -> dict[str, Any]:
    """A JSON schema of what people give: a schema, a pydantic model, or names of fields. Errors: ConfigError."""
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        return wanted.model_json_schema()
    if isinstance(wanted, Mapping):
        if wanted.get("type") != "object" and "properties" not in wanted:
            raise ConfigError("the schema is no object; give one with 'type': 'object' and 'properties'")
        return dict(wanted)
    if isinstance(wanted, Sequence) and not isinstance(wanted, str) and all(isinstance(name, str) for name in wanted):
        names = [name.strip() for name in wanted if name.strip()]
        if names:
            properties = {name: {"type": "string"} for name in names}
            return {"type": "object", "properties": properties, "required": names}
    raise ConfigError("what to extract is a JSON schema, a pydantic model or a list of names; give one of them")


def extract(
    chat: Chat,
    pictures: Sequence[Image.Image],
    wanted: Any,
    *,
    document: DocumentText,
    language: str | None = None,
    attempts: int = 3,
) -> Extracted:
    """Fill a form from the pictures of pages, one after the other; later pages fill what earlier ones left open.

    `document` is what was read of them, in which evidence is looked for. Errors: ConfigError for a schema that is none.
    """
    schema = schema_of(wanted)
    form = _form(schema, schema)
    prompt = prompts.added(prompts.extract_like(form), language=language)
    grammar = Structure("json_schema", schema)
    merged: dict[str, Any] = {}
    page_of: dict[str, int] = {}
    problems: list[str] = []
    if prompts.is_small(chat.name):  # it reads lines, so the form is filled from them
        for path, _ in _leaves(form):
            beside = beside_label(path.rpartition(".")[2], document)
            if beside is not None:
                page_of[path] = document.pages[beside[0] - 1].page
                _set(merged, path, beside[1])
        pictures = ()
    for number, picture in enumerate(pictures, 1):
        asked = ask(chat, [picture, prompt], _read, attempts=attempts, grammar=grammar, max_tokens=1024, preset="ocr")
        problems += [f"page {number}: {repair}" for repair in asked.repairs]
        if asked.value is None:
            problems.append(f"page {number}: no form was understood in {asked.num_attempts} attempts")
            continue
        for path, value in _leaves(asked.value):
            if value in (None, ""):
                continue
            if path not in page_of:
                page_of[path] = number
                _set(merged, path, value)
            elif plain(str(value)) != plain(str(_get(merged, path))):
                problems.append(
                    f"page {number}: {path} is {value!r} there, and {_get(merged, path)!r} on an earlier page"
                )
    value, told = coerce(merged, schema)
    fields = _fields(value, merged, told, page_of, document)
    problems += [f"{path}: {problem}" for path, problem in told.items()]
    return Extracted(value=value, fields=fields, problems=tuple(problems))


def _read(reply: Reply) -> Read[dict[str, Any]] | None:
    found = read_object(reply.text)
    return found if found.value else None


def _form(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int = 0) -> Any:
    """The form to fill in, as the notebook writes it: empty texts, lists of one."""
    schema = resolved(schema, root)
    if depth > MAX_DEPTH:
        return ""
    if "properties" in schema:
        return {name: _form(inner, root, depth + 1) for name, inner in schema["properties"].items()}
    if "items" in schema:
        return [_form(schema["items"], root, depth + 1)]
    return ""


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{path}.{number}")
    else:
        yield path, value


def _set(target: dict[str, Any], path: str, value: Any) -> None:
    """Put a value at a path; numbers become places of a list."""
    keys = path.split(".")
    now: Any = target
    for key, after in zip(keys, [*keys[1:], None], strict=True):
        empty: Any = value if after is None else [] if after.isdigit() else {}
        if isinstance(now, list):
            place = int(key) if key.isdigit() else len(now)
            while len(now) <= min(place, len(now) + 1000):
                now.append(empty if len(now) == place else {})
            if after is None:
                now[place] = value
            now = now[place]
        else:
            if after is None or not isinstance(now.get(key), dict | list):
                now[key] = empty
            now = now[key]


def _get(source: Any, path: str) -> Any:
    for key in path.split("."):
        if isinstance(source, list):
            source = source[int(key)] if key.isdigit() and int(key) < len(source) else None
        elif isinstance(source, Mapping):
            source = source.get(key)
        else:
            return None
    return source


def _fields(
    value: dict[str, Any],
    merged: dict[str, Any],
    told: Mapping[str, str],
    page_of: Mapping[str, int],
    document: DocumentText,
) -> dict[str, Field]:
    fields = {}
    for path, leaf in _leaves(value):
        written = _get(merged, path)
        text = "" if written is None else str(written)
        page = page_of.get(path)
        evidence = find_evidence(text, document, first=page) if text else None
        problem = told.get(path, "") or ("" if evidence or not text else "this value was found on no page")
        fields[path] = Field(value=leaf, written=text, page=page, evidence=evidence, problem=problem)
    return fields


def find_evidence(text: str, document: DocumentText, *, first: int | None = None) -> Evidence | None:
    """The words that say a text, the likest ones; those of page number `first` (1-based) before others."""
    wanted = plain(text)
    if not wanted:
        return None
    best: Evidence | None = None
    order = sorted(range(len(document.pages)), key=lambda n: n + 1 != first)
    for number in order:
        page = document.pages[number]
        words = [word for line in page.lines for word in line.words]
        letters = [plain(word.text) for word in words]
        for start in range(len(words)):
            said, end = "", start
            while end < len(words) and len(said) < len(wanted):
                said += letters[end]
                end += 1
            if not said or abs(len(said) - len(wanted)) > 0.4 * len(wanted):
                continue
            likeness = 1.0 if said == wanted else _likeness(said, wanted)
            if likeness >= ENOUGH and (best is None or likeness > best.likeness):
                some = words[start:end]
                xs1, ys1, xs2, ys2 = zip(*(word.box for word in some), strict=True)
                box = (min(xs1), min(ys1), max(xs2), max(ys2))
                told = " ".join(word.text for word in some)
                best = Evidence(page=page.page, box=box, text=told, likeness=round(likeness, 3))
                if likeness == 1.0:
                    return best
    return best


def _likeness(a: str, b: str) -> float:
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    return matcher.ratio() if matcher.quick_ratio() >= ENOUGH else 0.0


def fields_of(text: str) -> list[str]:
    """Names of fields as they are typed: "company, date, total"."""
    return [name for name in re.split(r"\s*,\s*", text.strip()) if name]
