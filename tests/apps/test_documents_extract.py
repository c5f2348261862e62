"""Forms filled from pages: types, evidence, and values that stand nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from regard.apps.documents import DocumentText, Reading, read_document
from regard.apps.documents.coerce import coerce, date_of, number_of
from regard.apps.documents.extract import extract, find_evidence, schema_of
from regard.apps.documents.forms import extract_file
from regard.apps.documents.result import Block, Line, PageText, Word
from regard.errors import ConfigError
from tests.apps.document_pages import DrawnPage, PlayedChat


class Item(BaseModel):
    """A row."""

    name: str
    price: float


class Invoice(BaseModel):
    """What is wanted."""

    company: str
    total: float
    paid: bool | None = None
    items: list[Item] = []


def document_of(*lines: str) -> DocumentText:
    made = []
    for row, text in enumerate(lines):
        words = tuple(
            Word(text=word, box=(100.0 * n, 40.0 * row, 100.0 * n + 90, 40.0 * row + 20))
            for n, word in enumerate(text.split())
        )
        made.append(Line(text=text, box=(0, 40.0 * row, 100.0 * len(words), 40.0 * row + 20), words=words))
    block = Block(kind="text", text="\n".join(lines), lines=tuple(made))
    page = PageText(file="a.png", page=1, num_pages=1, width=900, height=700, source="html", blocks=(block,))
    return DocumentText(file="a.png", pages=(page,))


ANSWER = (
    '{"company": "Baker & Sons", "total": "1.234,56 EUR", "paid": "yes", "items": [{"name": "Tea", "price": "2.40"}]}'
)


def test_a_form_is_filled_with_types_and_evidence() -> None:
    document = document_of("Baker & Sons Ltd", "Tea 2.40", "Total 1.234,56 EUR")
    chat = PlayedChat(lambda picture, prompt: ANSWER, name="Qwen3-VL-4B-Instruct")
    found = extract(chat, [DrawnPage().picture], Invoice, document=document)
    assert Invoice.model_validate(found.value) == Invoice(
        company="Baker & Sons", total=1234.56, paid=True, items=[Item(name="Tea", price=2.4)]
    )
    assert chat.prompts[0] == (
        'Extract the key-value information in the format:{"company": "", "total": "", "paid": "", '
        '"items": [{"name": "", "price": ""}]}'
    )
    evidence = found.fields["total"].evidence
    assert evidence is not None and evidence.text == "1.234,56 EUR" and evidence.box == (100, 80, 290, 100)
    assert found.fields["items.0.price"].evidence is not None


def test_a_value_that_stands_nowhere_is_told() -> None:
    chat = PlayedChat(lambda picture, prompt: '{"company": "Miller", "total": "9"}', name="Qwen3-VL-4B-Instruct")
    found = extract(chat, [DrawnPage().picture], ["company", "total"], document=document_of("Baker & Sons", "Total 9"))
    assert found.unsupported == ("company",)
    assert found.fields["company"].problem == "this value was found on no page"


def test_pages_that_contradict_each_other_are_told_and_the_first_wins() -> None:
    answers = ['{"total": "9"}', '{"total": "10", "date": "1.2.2024"}']
    chat = PlayedChat(lambda picture, prompt: answers.pop(0), name="Qwen3-VL-4B-Instruct")
    found = extract(chat, [DrawnPage().picture] * 2, ["total", "date"], document=document_of("9 1.2.2024"))
    assert found.value == {"total": "9", "date": "1.2.2024"}
    assert any("earlier page" in problem for problem in found.problems)


def test_a_model_that_reads_lines_gets_values_from_beside_their_labels(tmp_path: Path) -> None:
    drawn = DrawnPage()
    drawn.write("Company: Baker", 60, 60)
    drawn.write("Tolal", 60, 140)
    drawn.write("84.20", 500, 140)
    drawn.picture.save(tmp_path / "a.png")
    texts = ["Company: Baker", "Tolal", "84.20"]
    chat = PlayedChat(lambda picture, prompt: texts.pop(0))
    found = extract_file(chat, tmp_path / "a.png", ["company", "total"], Reading(turn=0))
    assert found.value == {"company": "Baker", "total": "84.20"}
    assert found.unsupported == ()
    evidence = found.fields["total"].evidence
    assert evidence is not None and abs(evidence.box[0] - 500) < 5


def test_what_is_missing_is_null_and_told_if_it_is_required() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["b"]}
    value, problems = coerce({}, schema)
    assert value == {"a": None, "b": None} and list(problems) == ["b"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234.56", 1234.56), ("1.234,56 \u20ac", 1234.56), ("EUR 12,50", 12.5), ("1 234 567", 1234567),
        ("-3.5", -3.5), ("1,234", 1234), ("1.234", 1234), ("0.125", 0.125), ("12.5 %", 12.5), ("(4.20)", -4.2),
        ("1'234.50", 1234.5), ("none", None), ("84.20.", 84.2),
    ],
)  # fmt: skip
def test_amounts_are_read_in_both_notations(text: str, number: float | None) -> None:
    assert number_of(text) == number


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("12.03.2024", "2024-03-12"), ("2024-3-2", "2024-03-02"), ("March 5, 2024", "2024-03-05"),
        ("5 Mar 2024", "2024-03-05"), ("12. M\u00e4rz 2024", None), ("25/12/2023", "2023-12-25"), ("03/04/2024", None),
        ("31.02.2024", None), ("1.2.24", "2024-02-01"),
    ],
)  # fmt: skip
def test_dates_become_iso_unless_they_could_be_two(text: str, iso: str | None) -> None:
    assert date_of(text) == iso


@given(st.text(max_size=30))
def test_no_value_makes_the_types_fail(text: str) -> None:
    number_of(text)
    date_of(text)
    for kind in ("string", "number", "integer", "boolean"):
        coerce({"a": text}, {"type": "object", "properties": {"a": {"type": kind}}})


def test_evidence_survives_a_misread_letter() -> None:
    found = find_evidence("Invoice 2024-0317", document_of("lnvoice 2024-0317 of today"))
    assert found is not None and found.text == "lnvoice 2024-0317" and found.likeness < 1


def test_a_schema_that_is_none_is_refused() -> None:
    for wrong in ({"type": "string"}, [], "company", 3):
        with pytest.raises(ConfigError):
            schema_of(wrong)
    assert json.loads(json.dumps(schema_of(Invoice)))["properties"]["total"]["type"] == "number"


def test_a_document_is_read_into_memory(tmp_path: Path) -> None:
    drawn = DrawnPage()
    drawn.write("Two words", 60, 60)
    drawn.picture.save(tmp_path / "a.png")
    document = read_document(PlayedChat(lambda picture, prompt: "Two words"), tmp_path / "a.png")
    assert document.text == "Two words"
