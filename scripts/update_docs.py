"""Regenerate the generated blocks of the documentation: python scripts/update_docs.py (or `make docs`)

A block stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; what is between them comes from here:

    models   the public checkpoints with the bytes that their configs imply, as `regard models` prints them
    tree     the files of the package, each with the first sentence of its docstring;
             of folders, what ARCHITECTURE.md says that they hold
    help     what `regard --help` and each command's `--help` say
    nano     the accuracies of regard-nano, from the committed result of `regard eval nano --json`
    speed    ours and the peers', from the committed results of `regard bench`

`--check` writes nothing and exits with 1 if a file is stale; tests/docs/test_docs.py does the same.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer.main
from typer.testing import CliRunner

from regard.cli.main import app
from regard.model.config import ModelConfig
from regard.weights.checkpoint import read_config
from regard.weights.family import public_models
from regard.weights.hub import NANO_FOLDER
from regard.weights.memory import count_parameters, memory_need, weight_bytes

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "regard"
FILES = (ROOT / "README.md", ROOT / "docs" / "cli.md", NANO_FOLDER / "README.md")
NANO_RESULT = ROOT / "benchmarks" / "nano.json"
SPEED = ROOT / "benchmarks" / "speed"
FOLDED = (
    "apps",
    "bench",
    "cli",
    "client",
    "compat",
    "train",
    "evals",
    "parity",
    "server",
)  # folders whose files the README does not list one by one
MAX_PHRASE = 94
CONTEXTS = (4096, 32768, 262144)
PLAIN = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}


def models_table() -> str:
    """One row per public size, regard-nano first; two precisions stand side by side in a cell."""
    configs: dict[str, list[ModelConfig]] = {"regard-nano (bundled)": [read_config(NANO_FOLDER)]}
    for model in public_models():
        configs.setdefault(f"Qwen3-VL-{model.size}", []).append(model.config)
    head = " | ".join(f"{num_tokens // 1024}k tokens" for num_tokens in CONTEXTS)
    rows = [f"| model | parameters | weights | {head} |", "|---|---|---|" + "---|" * len(CONTEXTS)]
    for name, precisions in configs.items():
        cells = [parameters(count_parameters(precisions[0])), gigabytes(*map(weight_bytes, precisions))]
        for num_tokens in CONTEXTS:
            fits = num_tokens <= precisions[0].text.max_position_embeddings
            cells.append(gigabytes(*(memory_need(config, num_tokens).total for config in precisions)) if fits else "-")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def parameters(count: int) -> str:
    """2127532032 -> 2.1 B"""
    return f"{count / 1e9:.1f} B" if count >= 1e8 else f"{count / 1e6:.1f} M"


def gigabytes(*counts: int) -> str:
    """4255064064, 2846195712 -> 4.3 / 2.8 GB; a GB is 10^9 bytes"""
    return " / ".join(f"{count / 1e9:.1f}" if count >= 1e8 else f"{count / 1e9:.2f}" for count in counts) + " GB"


def help_of(*command: str) -> str:
    """What `regard COMMAND --help` prints, in 100 columns."""
    result = CliRunner().invoke(app, [*command, "--help"], prog_name="regard", env=PLAIN)
    if result.exit_code != 0:
        raise SystemExit(f"regard {' '.join(command)} --help failed: {result.output}")
    lines = [line.rstrip() for line in result.output.strip().splitlines()]
    return "```text\n" + "\n".join(lines) + "\n```"


def help_blocks() -> str:
    """The help of the program, then of each command."""
    root = typer.main.get_command(app)
    blocks = [help_of()]
    for name, command in sorted(getattr(root, "commands", {}).items()):
        nested = sorted(getattr(command, "commands", {}))
        blocks.append(f"## regard {name}\n\n{help_of(name)}")
        blocks += [f"### regard {name} {inner}\n\n{help_of(name, inner)}" for inner in nested]
    return "\n\n".join(blocks)


def phrase_of(path: Path) -> str:
    """The first sentence of a module's docstring."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split())
    first = re.split(r"\.(?:\s|$)", text, maxsplit=1)[0]
    return first if len(first) <= MAX_PHRASE else first[: MAX_PHRASE - 3].rsplit(" ", 1)[0] + " ..."


def rooms() -> dict[str, str]:
    """What each room holds, from the table of ARCHITECTURE.md."""
    rows = re.findall(r"^\| `(\w+)`.*\| (.*) \|$", (ROOT / "ARCHITECTURE.md").read_text(), flags=re.MULTILINE)
    return dict(rows)


def tree() -> str:
    """The package's files, folders last, one phrase each."""
    files = [path for path in sorted(PACKAGE.glob("*.py")) if path.stem not in {"__init__", "__main__"}]
    rows = [("src/regard/", ""), *((f"  {path.name}", phrase_of(path)) for path in files)]
    for folder in sorted(path for path in PACKAGE.iterdir() if (path / "__init__.py").exists()):
        rows.append((f"  {folder.name}/", rooms()[folder.name]))
        if folder.name not in FOLDED:
            inside = [path for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]
            rows += [(f"    {path.name}", phrase_of(path)) for path in inside]
    width = max(len(name) for name, _ in rows) + 2
    return "```text\n" + "\n".join(f"{name:<{width}}{phrase}".rstrip() for name, phrase in rows) + "\n```"


def goals_table() -> str:
    """Of regard-nano's measures those that have a goal."""
    head, line, *rows = nano_table().splitlines()
    return "\n".join([head, line, *(row for row in rows if not row.endswith("| - |"))])


def nano_table() -> str:
    """One row per measure, with its 95 % interval and, where there is one, the goal."""
    result = json.loads(NANO_RESULT.read_text())
    rows = ["| task | measure | value | 95 % interval | samples | goal |", "|---|---|---|---|---|---|"]
    for row in result["rows"]:
        value, low, high = (f"{100 * row[key]:.1f} %" for key in ("value", "low", "high"))
        goal = (
            "-" if row["goal"] is None else f"{'at most' if row['is_error'] else 'at least'} {100 * row['goal']:.0f} %"
        )
        rows.append(f"| {row['task']} | {row['measure']} | {value} | {low} to {high} | {row['num_samples']} | {goal} |")
    return "\n".join(rows)


def speed_table() -> str:
    """One row per model, case and system of ours; peers with their medians and how many times better ours is."""
    rows = ["| model | case | ours | median | beside it, in the same run |", "|---|---|---|---|---|"]
    for folder in sorted(path for path in SPEED.iterdir() if path.is_dir()):
        result = json.loads((folder / "bench.json").read_text())
        by_case: dict[str, list[dict[str, Any]]] = {}
        for row in result["rows"]:
            if not row["failure"]:
                by_case.setdefault(row["title"], []).append(row)
        for title, found in by_case.items():
            peers = [row for row in found if not row["system"].startswith("regard")]
            for row in (row for row in found if row["system"].startswith("regard")):
                beside = [f"{peer['system']} {amount(peer)} ({times(row, peer):.1f}x)" for peer in peers]
                name = "nano" if result["model"] == "nano" else result["model"].removesuffix(", random weights")
                rows.append(f"| {name} | {title} | {row['system']} | {amount(row)} | {', '.join(beside) or '-'} |")
    return "\n".join(rows)


def amount(row: dict[str, Any]) -> str:
    """A median with its unit."""
    value, unit = row["median"], row["unit"]
    if unit == "bytes":
        return f"{value / 1e9:.2f} GB"
    if unit == "s" and value < 1:
        return f"{1000 * value:.0f} ms"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def times(row: dict[str, Any], peer: dict[str, Any]) -> float:
    """How many times better `row` is."""
    ratio: float = row["median"] / peer["median"]
    return ratio if row["is_more_better"] else 1 / ratio


BLOCKS: dict[str, Callable[[], str]] = {
    "models": models_table,
    "tree": tree,
    "help": help_blocks,
    "goals": goals_table,
    "nano": nano_table,
    "speed": speed_table,
}


def updated(text: str) -> str:
    """The text with each of its blocks generated anew."""

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        return f"<!-- begin {name} -->\n{BLOCKS[name]()}\n<!-- end {name} -->"

    return re.sub(r"<!-- begin (\w+) -->\n.*?<!-- end \1 -->", replace, text, flags=re.DOTALL)


def main() -> None:
    """Rewrite what is stale, or only say so."""
    stale = [path for path in FILES if updated(path.read_text()) != path.read_text()]
    if "--check" in sys.argv and stale:
        raise SystemExit(f"stale: {', '.join(str(path.relative_to(ROOT)) for path in stale)}; run `make docs`")
    for path in stale:
        path.write_text(updated(path.read_text()))


if __name__ == "__main__":
    main()
