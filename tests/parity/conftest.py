"""Each tiny checkpoint is written, loaded by both libraries and compared once in a test session."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from regard.parity.cases import Case, make_cases
from regard.parity.compare import Comparison, Measurement
from regard.parity.suite import tiny_comparison

Open = Callable[[str], tuple[Comparison, list[Case]]]
Measure = Callable[[str], list[Measurement]]


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parity")


@pytest.fixture(scope="session")
def cases(scratch: Path) -> dict[str, Case]:
    return {case.name: case for case in make_cases(scratch)}


@pytest.fixture(scope="session")
def opened(scratch: Path, cases: dict[str, Case]) -> Open:
    pytest.importorskip("transformers", reason="the reference")
    return functools.cache(lambda name: tiny_comparison(name, scratch, list(cases.values())))


@pytest.fixture(scope="session")
def measured(opened: Open) -> Measure:
    @functools.cache
    def measure(name: str) -> list[Measurement]:
        comparison, chosen = opened(name)
        return list(comparison.run(chosen))

    return measure


@pytest.fixture(scope="session")
def dense(opened: Open) -> Comparison:
    return opened("tiny dense")[0]
