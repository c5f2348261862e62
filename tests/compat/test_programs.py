"""The two programs in examples/ run as they are, in processes of their own, and answer about the picture."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARIES = ("transformers", "vllm", "qwen_vl_utils", "torchvision")


@pytest.fixture(scope="module")
def shown(examples: Path) -> dict[str, str]:
    """What each program prints; a warning is an error, and an import of the library it was written for is one too."""
    printed = {}
    for name in ("transformers", "vllm"):
        code = (
            f"import runpy, sys; runpy.run_path({str(examples / f'{name}_program.py')!r}, run_name='__main__'); "
            f"sys.exit(', '.join(one for one in {LIBRARIES} if one in sys.modules) or None)"
        )
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        printed[name] = done.stdout
    return printed


@pytest.mark.parametrize("name", ["transformers", "vllm"])
def test_a_program_runs_with_only_its_import_lines_changed(name: str, shown: dict[str, str]) -> None:
    assert "bbox_2d" in shown[name]


def test_both_programs_say_the_same(shown: dict[str, str]) -> None:
    answers = [re.search(r"'(```json.*)'", printed) for printed in shown.values()]
    assert answers[0] is not None and answers[1] is not None and answers[0][1] == answers[1][1]


def test_each_name_of_the_drop_in_loads_and_others_are_explained() -> None:
    import regard.compat

    assert all(getattr(regard.compat, name) is not None for name in regard.compat.__all__)
    with pytest.raises(AttributeError, match="AutoTokenizer"):
        _ = regard.compat.AutoTokenizer


def test_a_deleted_model_gives_its_memory_back() -> None:
    """The engine's thread used to keep the weights for ever."""
    import gc
    import weakref

    from regard.compat import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained("nano")
    model.generate(**AutoProcessor.from_pretrained("nano")(text="Hi", return_tensors="pt"), max_new_tokens=2)
    weights = weakref.ref(model._llm.model)
    del model
    gc.collect()
    assert weights() is None
