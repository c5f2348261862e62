"""The jinja2 environment in which a checkpoint's chat template runs.

A template is a small program from whoever made the checkpoint. It runs in jinja2's immutable sandbox (no
attribute that starts with an underscore, no unsafe or mutating method) with the names that templates of the
Hugging Face ecosystem rely on: `tojson` without HTML escaping, `raise_exception`, `strftime_now`, `namespace`,
`dict`, loop controls and an inert `{% generation %}` block.

Three budgets stop a template that would never end or fill the memory: steps (every round of a loop and every
macro call is one), the length of any text or list made by `+`, `*` or `~`, and the length of the output.

What it does not do: it does not limit a single filter or method call, such as padding a word to a billion
characters. A folder whose template is not trusted that far should not be loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.meta import find_undeclared_variables
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

MAX_STEPS = 1_000_000
MAX_CHARS = 50_000_000  # a prompt of a million tokens is about five million characters
MAX_BITS = 100_000  # of a whole number
_COUNT, _JOIN = "__count_step", "__join"


class SandboxedTemplate:
    """One compiled template; `variables` are the names it reads. Errors: TemplateError if `source` is none."""

    def __init__(self, source: str) -> None:
        sandbox = _Sandbox()
        self._template = sandbox.from_string(source)
        self.variables = frozenset(find_undeclared_variables(sandbox.parse(source))) - {_COUNT, _JOIN}

    def render(self, variables: dict[str, Any]) -> str:
        """Render within the budgets. Errors: whatever the template raises, SecurityError for a spent budget."""
        pieces: list[str] = []
        num_chars = 0
        for piece in self._template.generate({**variables, _COUNT: _new_counter(), _JOIN: _join}):
            num_chars += len(piece)
            _check_length(num_chars)
            pieces.append(piece)
        return "".join(pieces)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Compiles templates so that they count their steps and check the sizes of what they build."""

    intercepted_binops = frozenset({"+", "*", "**"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _GenerationBlock])
        self.filters["tojson"] = _to_json
        self.globals.update(
            raise_exception=_raise_exception,
            strftime_now=_strftime_now,
            namespace=_TemplateNamespace,
            dict=_make_dict,
        )

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """Put a counted step into every loop and macro, and a checked function in the place of `~`."""
        tree = super()._parse(source, name, filename)
        if any(node.name in (_COUNT, _JOIN) for node in tree.find_all(nodes.Name)):
            raise SecurityError(f"the names {_COUNT} and {_JOIN} are reserved")
        blocks: list[Any] = [*tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock))]
        for block in blocks:
            block.body.insert(0, nodes.ExprStmt(_call(_COUNT, []), lineno=block.lineno))
        _replace_concatenations(tree)
        return tree

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse a result that would be huge, before computing it."""
        if operator == "+":
            _check_length(_length(left) + _length(right))
        elif operator == "*":
            _check_length(_length(left) * _whole(right))
            _check_length(_whole(left) * _length(right))
            _check_bits(_whole(left).bit_length() + _whole(right).bit_length())
        elif operator == "**":
            _check_bits(_whole(left).bit_length() * _whole(right))
        return super().call_binop(context, operator, left, right)


class _GenerationBlock(Extension):
    """`{% generation %}` marks the assistant's text for training; here it renders its body."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _TemplateNamespace(Namespace):
    """Jinja's namespace without names that start with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, values = args[0], dict(*args[1:], **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: Any) -> None:
    if str(name).startswith("_"):
        raise SecurityError(f"it stores {name!r}; names that start with an underscore are not allowed")


def _call(name: str, arguments: list[nodes.Expr]) -> nodes.Call:
    return nodes.Call(nodes.Name(name, "load"), arguments, [], None, None)


def _replace_concatenations(tree: nodes.Node) -> None:
    for field, value in tree.iter_fields():
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if not isinstance(child, nodes.Node):
                continue
            _replace_concatenations(child)
            if isinstance(child, nodes.Concat):
                call = _call(_JOIN, child.nodes)
                if isinstance(value, list):
                    value[index] = call
                else:
                    setattr(tree, field, call)


def _new_counter() -> Callable[[], str]:
    num_steps = 0

    def count() -> str:
        nonlocal num_steps
        num_steps += 1
        if num_steps > MAX_STEPS:
            raise SecurityError(f"it takes more than {MAX_STEPS} steps")
        return ""

    return count


def _join(*operands: Any) -> str:
    texts = [str(operand) for operand in operands]
    _check_length(sum(map(len, texts)))
    return "".join(texts)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple) else 0


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _check_length(length: int) -> None:
    if length > MAX_CHARS:
        raise SecurityError(f"it makes a text or list longer than {MAX_CHARS}")


def _check_bits(num_bits: int) -> None:
    if num_bits > MAX_BITS:
        raise SecurityError(f"it computes a number of more than {MAX_BITS} bits")


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON: jinja2's own filter would escape `<`, `>`, `&` and quotes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _make_dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    return dict(*args, **kwargs)
