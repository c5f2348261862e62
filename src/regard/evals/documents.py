"""Small papers in unseen fonts, words, labels and sizes: lines, paragraphs, tables, keys, HTML and Markdown.

Character errors count every character of a text; tables are compared by TEDS; keys are right if the value is the same
but for white space.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

import numpy as np

from regard.evals.answers import char_error, f1, intersection_over_union
from regard.evals.elements import listed
from regard.evals.tables import teds
from regard.evals.task import Measure, Task
from regard.processing.json_values import plain
from regard.processing.lenient_json import Scanner
from regard.train.world import document_strips, documents
from regard.train.world.sample import Sample

_MIN_IOU = 0.5
_MAX_TEXT_ERROR = 0.125
_MAX_TOKENS = 600
_STRIP_SHARE, _TURNED_SHARE = 0.3, 0.05
_TAG = re.compile(r"<[^>]*>")
_FENCE = re.compile(r"^\s*```[a-z]*\n?|\n?```\s*$")


def score(sample: Sample, answer: str) -> float:
    """0 to 1: characters right, TEDS, keys right, boxes (F1) or the angle."""
    return _SCORERS[sample.truth["kind"]](sample, answer)


def _error(sample: Sample, answer: str) -> float:
    wanted: str = sample.truth["text"]
    if not wanted:
        return float(len(answer.strip()))
    return char_error(answer, wanted)


def _read(sample: Sample, answer: str) -> float:
    return max(0.0, 1.0 - _error(sample, answer))


def _table(sample: Sample, answer: str) -> float:
    return teds(answer, sample.truth["html"])


def _html(sample: Sample, answer: str) -> float:
    """Texts and tables alike: the characters right, times TEDS where there is a table."""
    wanted: str = sample.truth["html"]
    read = max(0.0, 1.0 - char_error(_texts(answer), _texts(wanted)))
    return read * _table(sample, answer) if "<table>" in wanted else read


def _texts(html: str) -> str:
    return unescape(_TAG.sub(" ", html))


def _markdown(sample: Sample, answer: str) -> float:
    return max(0.0, 1.0 - char_error(_FENCE.sub("", answer), _FENCE.sub("", sample.truth["text"])))


def _pairs(sample: Sample, answer: str) -> float:
    scanner = Scanner(answer)
    scanner.position = max(answer.find("{"), 0)
    given = plain(scanner.read_value()) if "{" in answer else {}
    given = given if isinstance(given, dict) else {}
    wanted: dict[str, str] = sample.truth["pairs"]
    right = [" ".join(str(given.get(key, "?")).split()) == value for key, value in wanted.items()]
    return sum(right) / len(right)


def _boxes(sample: Sample, answer: str) -> float:
    """F1 of lines with the right box and (for spotting) nearly the right text."""
    wanted = list(zip(sample.truth["boxes"], sample.truth.get("texts", [None]), strict=True))
    given, num_wanted, num_right = listed(answer), len(wanted), 0
    for item in given:
        for place in wanted:
            box, text = place
            is_read = text is None or char_error(str(item.get("text_content", "")), text) <= _MAX_TEXT_ERROR
            if is_read and intersection_over_union(item["bbox_2d"], box) >= _MIN_IOU:
                wanted.remove(place)
                num_right += 1
                break
    return f1(num_right, len(given), num_wanted)


def _turned(sample: Sample, answer: str) -> float:
    found = re.search(r"\b(0|90|180|270)\b", answer)
    return float(found is not None and int(found[1]) == sample.truth["degrees"])


_SCORERS: dict[str, Callable[[Sample, str], float]] = {
    "strip": _read,
    "text": _read,
    "html": _html,
    "markdown": _markdown,
    "table": _table,
    "pairs": _pairs,
    "spot": _boxes,
    "find": _boxes,
    "turned": _turned,
}


def _of_kinds(*kinds: str) -> Callable[[Sample], bool]:
    return lambda sample: sample.truth["kind"] in kinds


def _make(rng: np.random.Generator, number: int) -> Sample:
    kind = rng.random()
    if kind < _STRIP_SHARE:
        return document_strips.make_strip(rng, held_out=True)
    if kind < _STRIP_SHARE + _TURNED_SHARE:
        return document_strips.make_turned(rng, held_out=True)
    return documents.make(rng, held_out=True)


def _length(sample: Sample) -> float:
    return float(max(len(sample.truth["text"]), 1))


TASK = Task(
    name="documents",
    title="small papers",
    make=_make,
    score=score,
    measures=(
        Measure("characters wrong in lines", _error, _of_kinds("strip"), goal=0.02, is_error=True, weight=_length),
        Measure("characters wrong in papers", _error, _of_kinds("text"), goal=0.04, is_error=True, weight=_length),
        Measure("tables (TEDS)", _table, _of_kinds("table"), goal=0.90),
        Measure("values by key", _pairs, _of_kinds("pairs")),
        Measure("HTML (texts x tables)", _html, _of_kinds("html")),
        Measure("Markdown (characters right)", _markdown, _of_kinds("markdown")),
        Measure("lines spotted and texts found (F1)", _boxes, _of_kinds("spot", "find")),
        Measure("which way is up", _turned, _of_kinds("turned")),
    ),
    max_tokens=_MAX_TOKENS,
)
