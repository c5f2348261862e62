"""The documentation says what the program does: generated blocks, paths, commands and options exist."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import typer.main

from regard.cli.main import app, run
from regard.reply import Reply
from scripts.nano_curve import CURVE, VERSIONS, plot
from scripts.update_docs import FILES, NANO_RESULT, updated

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LOG.md")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_generated_blocks_are_fresh(path: Path) -> None:
    assert updated(path.read_text()) == path.read_text(), f"{path.name} is stale; run `make docs` and commit it"


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", (ROOT / page).read_text())
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing, f"{page} links to {missing}"


def test_every_path_that_the_architecture_names_exists() -> None:
    named = re.findall(r"`((?:[\w]+/)*[\w]+\.py)`", (ROOT / "ARCHITECTURE.md").read_text())
    package = ROOT / "src" / "regard"
    missing = [name for name in named if not (package / name).exists() and not (ROOT / name).exists()]
    missing = [name for name in missing if "NAME" not in name and not list(package.rglob(name))]
    assert named and not missing, f"ARCHITECTURE.md names {missing}"


def commands_shown() -> list[list[str]]:
    """Each `regard ...` line of the README's bash blocks, split into words."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    found = [match[1] for line in lines if (match := re.search(r"(?:^|/)regard (.*)", line))]
    return [shlex.split(line, comments=True) for line in found]


@pytest.mark.parametrize("words", commands_shown(), ids=" ".join)
def test_every_command_of_the_readme_exists_with_its_options(words: list[str]) -> None:
    root = typer.main.get_command(app)
    command = root.commands[words[0]]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word for word in words[1:] if word.startswith("--") and word not in known]
    assert not unknown, f"`regard {' '.join(words)}`: {words[0]} has no {unknown}"


def test_the_examples_of_the_readme_are_in_the_repository() -> None:
    files = {word for words in commands_shown() for word in words if word.startswith("examples/")}
    missing = [name for name in sorted(files) if not (ROOT / name).exists()]
    assert files and not missing


def can_run(words: list[str]) -> bool:
    """Whether a command needs nothing but what is in the repository."""
    is_about_examples = words[0] == "ask" and words[1].startswith("examples/") and "--model" not in words
    return is_about_examples or words in (["models"], ["doctor"])


@pytest.mark.parametrize("words", [words for words in commands_shown() if can_run(words)], ids=" ".join)
def test_the_commands_of_the_readme_run(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a folder of their own, so that what they write does not land in the repository."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    status = run(words)
    captured = capsys.readouterr()
    assert status == 0, captured.err
    assert captured.out.strip()


def test_the_python_of_the_readme_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert blocks
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    reply = names["reply"]
    assert isinstance(reply, Reply) and reply.media[0].width == 352
    assert capsys.readouterr().out


def test_the_curve_of_regard_nano_is_drawn_from_its_versions_and_ends_with_the_bundled_one() -> None:
    versions = json.loads(VERSIONS.read_text())
    assert CURVE.read_text() == plot(versions)
    result = json.loads(NANO_RESULT.read_text())
    assert result["model"].endswith(f"version {versions[-1]['version']}")
    wrong = next(row["value"] for row in result["rows"] if row["measure"] == "characters wrong")
    assert versions[-1]["right"]["characters of a line"] == pytest.approx(1 - wrong, abs=1e-4)
