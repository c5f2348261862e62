"""The shape of the house: who may know whom, where printing and asserting are allowed, how fast it starts.

The dependency table is the one in ARCHITECTURE.md: the test reads its rows, so the page cannot go stale.
Only `ast` is used; nothing of the package is imported here.
"""

from __future__ import annotations

import ast
import json
import re
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "regard"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
MAX_FILE_LINES = 400
MAX_START_S = 0.3
FILES = sorted(PACKAGE.rglob("*.py"))


def dotted_name(path: Path) -> str:
    """`src/regard/model/rope.py` -> `model.rope`; the package's own `__init__` is ``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {dotted_name(path) for path in FILES}


def room_of(module: str) -> str:
    """`model.rope` -> `model`; `` (the package itself) -> `regard`."""
    return module.split(".")[0] or "regard"


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module of ours) for each import in a file, wherever it stands, types-only ones included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import; write the full name"
            # `from regard.model import vision` names a module, `from regard.errors import InputError` does not
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name == "regard" or name.startswith("regard."):
                inner = name.removeprefix("regard").removeprefix(".")
                yield node.lineno, inner if inner in MODULES else inner.rpartition(".")[0]


def dependency_table() -> dict[str, set[str]]:
    """The rows of ARCHITECTURE.md's table: each room and the rooms or modules that it may import."""
    section = ARCHITECTURE.read_text().split("## Who may know whom")[1].split("\n## ")[0]
    table: dict[str, set[str]] = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rooms = re.findall(r"`([\w.]+)`", cells[0])
        if not line.startswith("|") or not rooms:
            continue
        allowed = {"*"} if cells[1] == "anything" else set(re.findall(r"`([\w.]+)`", cells[1]))
        table.update({room: allowed | {room} for room in rooms})
    return table


def is_allowed(target: str, allowed: set[str]) -> bool:
    return "*" in allowed or target in allowed or any(target.startswith(f"{name}.") for name in allowed)


def test_every_room_has_a_row_in_the_table() -> None:
    rooms = {room_of(dotted_name(path)) for path in FILES}
    missing = rooms - set(dependency_table())
    assert not missing, f"ARCHITECTURE.md, 'Who may know whom', has no row for {sorted(missing)}; add it"


def test_no_row_of_the_table_describes_a_room_that_is_gone() -> None:
    rooms = {room_of(dotted_name(path)) for path in FILES}
    gone = set(dependency_table()) - rooms
    assert not gone, f"ARCHITECTURE.md, 'Who may know whom', describes {sorted(gone)}, which does not exist"


def test_each_room_imports_only_what_its_row_allows() -> None:
    table = dependency_table()
    broken = []
    for path in FILES:
        room = room_of(dotted_name(path))
        for line, target in imports_of(path):
            if not is_allowed(target or "regard", table.get(room, {"*"})):
                allowed = ", ".join(sorted(table[room] - {room})) or "nothing of ours"
                broken.append(
                    f"{path.relative_to(ROOT)}:{line} imports regard.{target}, but the row `{room}` allows only "
                    f"{allowed}. Pass the value in as an argument, or move the code up to a room that may know both."
                )
    assert not broken, "\n".join(broken)


def test_rooms_do_not_import_each_other_in_a_circle() -> None:
    edges: dict[str, set[str]] = {}
    for path in FILES:
        room = room_of(dotted_name(path))
        targets = {room_of(target) for _, target in imports_of(path)}
        edges.setdefault(room, set()).update(targets - {room})
    circle = find_circle(edges)
    assert not circle, f"rooms import each other: {' -> '.join(circle)}; move what both need down into a value"


def find_circle(edges: dict[str, set[str]]) -> list[str]:
    """A path that returns to its start, or an empty list."""
    done: set[str] = set()

    def walk(node: str, trail: list[str]) -> list[str]:
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node in done:
            return []
        for target in sorted(edges.get(node, ())):
            if circle := walk(target, [*trail, node]):
                return circle
        done.add(node)
        return []

    return next((circle for node in sorted(edges) if (circle := walk(node, []))), [])


def test_a_circle_is_found_when_there_is_one() -> None:
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_only_the_command_line_prints() -> None:
    broken = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        if room_of(dotted_name(path)) != "cli"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not broken, f"print() outside cli/ at {broken}; return the value, or take a callback, and let cli/ print it"


def test_users_errors_are_never_assertions() -> None:
    broken = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        if room_of(dotted_name(path)) in {"processing", "conversation", "server", "apps"}
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert not broken, f"assert at {broken}; these rooms meet users' input: raise InputError with one sentence"


def test_no_file_grows_over_the_limit() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    broken = {name: size for name, size in sizes.items() if size > MAX_FILE_LINES}
    assert not broken, f"more than {MAX_FILE_LINES} lines: {broken}; is each still one idea? Split it at the seam"


def test_source_is_ascii_and_every_module_says_what_it_is() -> None:
    broken = []
    for path in FILES:
        text = path.read_text()
        if not text.isascii():
            broken.append(f"{path.relative_to(ROOT)}: not ASCII; write an escape")
        if text.strip() and not ast.get_docstring(ast.parse(text)):
            broken.append(f"{path.relative_to(ROOT)}: no module docstring")
    assert not broken, "\n".join(broken)


def test_no_room_is_called_utils() -> None:
    names = {path.stem for path in FILES} & {"utils", "helpers", "common", "misc", "manager", "handler"}
    assert not names, f"{sorted(names)} say nothing; name the file after the noun that it holds"


def test_the_public_names_are_the_documented_ones() -> None:
    section = ARCHITECTURE.read_text().split("## The public names")[1].split("\n## ")[0]
    documented = re.findall(r"^- `(\w+)`", section, flags=re.MULTILINE)
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    exported = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
    )
    assert sorted(documented) == sorted(exported), "regard.__all__ and ARCHITECTURE.md 'The public names' differ"


@pytest.mark.parametrize("arguments", [("-c", "import regard"), ("-m", "regard", "--help")], ids=["import", "help"])
def test_starting_is_fast_and_loads_no_torch(arguments: tuple[str, ...]) -> None:
    """The median of five, in processor seconds: starting waits for nothing, so an idle clock shows the same."""
    seconds = statistics.median(start_s(arguments) for _ in range(5))
    assert seconds < MAX_START_S, f"`python {' '.join(arguments)}` takes {seconds:.2f} s, limit {MAX_START_S} s"


def start_s(arguments: tuple[str, ...]) -> float:
    """Processor seconds, user and system, of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("statement", ["import regard", "import regard.cli.main"])
def test_heavy_packages_are_loaded_only_when_used(statement: str) -> None:
    code = f"{statement}; import sys, json; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    heavy = {"torch", "transformers", "numpy", "PIL", "av", "tokenizers", "huggingface_hub", "playwright"}
    loaded = heavy & set(json.loads(result.stdout))
    assert not loaded, f"`{statement}` loads {sorted(loaded)}; import it inside the function that needs it"
