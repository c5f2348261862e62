"""TEDS, the likeness of two HTML tables: 1 less the tree edit distance over the nodes of the larger tree.

    teds("<table><tr><td>Tea</td></tr></table>", "<table><tr><td>Tee</td></tr></table>")     # 0.89

Inserting or deleting a node costs 1; renaming one costs 1 where tag or spans differ, and between two cells the share of
characters that differ. Source: Zhong, ShafieiBavani, Jimeno Yepes, "Image-based table recognition" (2020), as in
PubTabNet's published metric; the distance is computed by the package apted. `thead`, `tbody` and styles are ignored,
`th` counts as `td`; what is not closed is closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

from apted import APTED, Config
from rapidfuzz.distance import Levenshtein

_NODES = frozenset({"table", "tr", "td"})
_MAX_NODES = 400  # the distance takes cubic time, and an answer may be endless


@dataclass
class Node:
    """A table, row or cell."""

    tag: str
    spans: tuple[str, str] = ("1", "1")
    text: str = ""
    children: list[Node] = field(default_factory=list)

    @property
    def num_nodes(self) -> int:
        """Of this part of the tree, itself included."""
        return 1 + sum(child.num_nodes for child in self.children)


class _Reader(HTMLParser):
    """Collects the tables; a row or cell ends where the next one begins."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[Node] = []
        self._is_open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        tag = "td" if tag == "th" else tag
        if tag not in _NODES:
            return
        if tag == "table":
            self.tables.append(Node("table"))
        elif self.tables and tag == "tr":
            self.tables[-1].children.append(Node("tr"))
        elif self.tables:
            rows = self.tables[-1].children
            if not rows:
                rows.append(Node("tr"))
            given = dict(attrs)
            spans = (given.get("colspan") or "1", given.get("rowspan") or "1")
            rows[-1].children.append(Node("td", spans))
        self._is_open = tag == "td"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr", "table"):
            self._is_open = False

    def handle_data(self, data: str) -> None:
        if self._is_open and self.tables and self.tables[-1].children:
            self.tables[-1].children[-1].children[-1].text += data


class _Costs(Config):  # type: ignore[misc]
    def rename(self, node1: Node, node2: Node) -> float:
        if (node1.tag, node1.spans) != (node2.tag, node2.spans):
            return 1.0
        a, b = " ".join(node1.text.split()), " ".join(node2.text.split())
        return Levenshtein.normalized_distance(a, b)

    def children(self, node: Node) -> list[Node]:
        return node.children


def read_tables(html: str) -> list[Node]:
    """The tables of a piece of HTML, in order."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.tables


def cells_of(table: Node) -> Iterator[str]:
    """Texts of the cells in reading order."""
    for row in table.children:
        for cell in row.children:
            yield " ".join(cell.text.split())


def teds(html: str, truth: str) -> float:
    """Likeness of the first tables of two pieces of HTML, 0 to 1; 0 where the answer has no table or an endless one."""
    given, wanted = read_tables(html), read_tables(truth)
    if not given or not wanted:
        return float(not given and not wanted)
    larger = max(given[0].num_nodes, wanted[0].num_nodes)
    if larger > _MAX_NODES:
        return 0.0
    distance: float = APTED(given[0], wanted[0], _Costs()).compute_edit_distance()
    return max(0.0, 1.0 - distance / larger)
