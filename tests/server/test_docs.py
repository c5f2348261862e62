"""The Python of docs/server.md runs as it stands there, one block after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="openai is not installed")
pytest.importorskip("pypdfium2", reason="reading PDF needs the extra 'pdf'")
pytest.importorskip("llguidance", reason="structured output needs the extra 'structured'")

from tests.server.conftest import Running

ROOT = Path(__file__).parents[2]
DOCUMENTED_URL = "http://127.0.0.1:8000/v1"


def test_the_python_of_the_page_runs(
    server: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "server.md").read_text(), flags=re.DOTALL)
    assert len(blocks) >= 3 and DOCUMENTED_URL in blocks[0]
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block.replace(DOCUMENTED_URL, f"{server.url}/v1"), names)
    said = capsys.readouterr().out
    assert "zoom" in said and "confidence" in said


def test_every_route_is_in_the_table() -> None:
    """The paths are those that stand in the sources, as decorators."""
    text = (ROOT / "docs" / "server.md").read_text()
    sources = [path.read_text() for path in (ROOT / "src" / "regard" / "server").glob("*_api.py")]
    paths = {path for source in sources for path in re.findall(r'@router\.\w+\("([^"]+)"\)', source)}
    shown = {re.sub(r"\{\w+(:path)?\}", "{id}", path) for path in paths}
    assert len(shown) > 12
    assert not [path for path in sorted(shown) if path not in text]
