"""The drop-in's processor and model, and the reference's, of the bundled checkpoint: loaded once in a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from regard.errors import MissingDependencyError
from regard.parity.reference import Reference


@pytest.fixture(scope="session")
def reference(nano_folder: Path) -> Reference:
    """transformers' processor and model in float32. Its processor is shared: tests leave it as it is."""
    try:
        return Reference.from_folder(nano_folder)
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.fixture
def processor() -> Any:
    from regard.compat import AutoProcessor

    return AutoProcessor.from_pretrained("nano")


@pytest.fixture(scope="session")
def model() -> Any:
    import torch

    from regard.compat import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained("nano", dtype=torch.float32)
