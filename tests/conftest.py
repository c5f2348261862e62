"""What every test has: no network, wide output, and the folders of the examples and the bundled checkpoint."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before any import of huggingface_hub: tests never reach for a network
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["COLUMNS"] = "200"  # tables in captured output do not wrap, however long the name of a temporary folder

ROOT = Path(__file__).parent.parent


def pytest_report_header() -> str:
    """Versions that decide numbers."""
    names = ("torch", "transformers", "numpy", "pillow", "tokenizers", "av")
    found = {name: importlib.metadata.version(name) for name in names if has(name)}
    return "versions: " + ", ".join(f"{name} {version}" for name, version in found.items())


def has(distribution: str) -> bool:
    """Whether a distribution is installed."""
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of example files."""
    return ROOT / "examples"


@pytest.fixture(scope="session")
def nano_folder() -> Path:
    """The bundled checkpoint."""
    return ROOT / "src" / "regard" / "assets" / "nano"
