"""docs/compat.md names what the code accepts, honours and exports."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import regard.compat
from regard.compat import SamplingParams, generation, vllm, vllm_params

PAGE = (Path(__file__).parents[2] / "docs" / "compat.md").read_text()
NAMED = set(re.findall(r"`(\w+)", PAGE))


@pytest.mark.parametrize("module", [generation, vllm], ids=lambda module: module.__name__)
def test_every_option_without_effect_is_on_the_page(module: object) -> None:
    assert sorted(module.WITHOUT_EFFECT - NAMED) == []  # type: ignore[attr-defined]


def test_every_honoured_option_is_on_the_page() -> None:
    assert sorted(generation.HONOURED - NAMED) == []
    options = {field.name for field in dataclasses.fields(SamplingParams)} - set(vllm_params._NEUTRAL)
    in_words = {"presence_penalty", "frequency_penalty", "repetition_penalty", "guided_decoding"}
    assert sorted(options - NAMED - in_words) == []


def test_every_exported_name_is_on_the_page() -> None:
    assert sorted(set(regard.compat.__all__) - NAMED - {"StructuredOutputsParams"}) == []


def test_its_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)", PAGE)
    assert links and all((Path(__file__).parents[2] / "docs" / link).exists() for link in links)
